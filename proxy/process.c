#include "proxy/process.h"

#include "config/conninfo.h"
#include "config/settings.h"
#include "protocol/scram_keys.h"
#include "proxy/allowlist_use.h"
#include "proxy/environment.h"
#include "proxy/listener.h"
#include "proxy/log.h"
#include "proxy/tls.h"
#include "proxy/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_CONFIGURATION = 2 };

enum { CLIENTS_EXPECTED = 1000 };

enum process_state { PROCESS_SERVING, PROCESS_DRAINING };

/* Everything that the main thread holds; on its stack. */
struct process {
    uv_loop_t loop;
    const char *config_path;
    struct settings *settings;
    SSL_CTX *tls;
    struct scram_keys *scram_keys;
    struct log log;
    struct workers workers;
    struct listeners *listeners;
    uv_signal_t terminate, interrupt, reload;
    uv_async_t workers_ended;
    struct mailbox mailbox; /* what workers ask for */
    pthread_t joiner;       /* waits for the workers while this thread listens to signals */
    bool unfinished;        /* …and tells that libuv's threads are still at work */
    enum process_state state;
};

/* -- end --------------------------------------------------------------------------------------- */

static void close_handle(uv_handle_t *handle, void *argument) {
    (void)argument;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void on_workers_ended(uv_async_t *async) {
    struct process *process = async->data;
    pthread_join(process->joiner, NULL);
    log_event(&process->log, LOG_INFO, "stopped", NULL);
    if (process->unfinished)
        _exit(EXIT_SUCCESS);
    uv_walk(&process->loop, close_handle, NULL);
}

static void *join_workers(void *argument) {
    struct process *process = argument;
    process->unfinished = !workers_join(&process->workers);
    uv_async_send(&process->workers_ended);
    return NULL;
}

static void start_draining(struct process *process) {
    unsigned seconds = process->settings->shutdown_timeout;
    process->state = PROCESS_DRAINING;
    sd_notify(0, "STOPPING=1\nSTATUS=Waiting for transactions to finish");
    log_event(&process->log, LOG_INFO, "stopping: idle sessions end now, transactions may finish",
              (struct log_field[]){{"seconds", NULL, seconds}, {0}});
    listeners_close(process->listeners);
    process->listeners = NULL;
    mailbox_stop(&process->mailbox); /* the workers may be gone before their letters are read */
    workers_drain(&process->workers, seconds);
    int result = pthread_create(&process->joiner, NULL, join_workers, process);
    if (result != 0) {
        log_event(&process->log, LOG_ERROR, "can't wait for transactions: stopping at once",
                  (struct log_field[]){{"error", strerror(result), 0}, {0}});
        _exit(EXIT_SUCCESS);
    }
}

static void on_terminate(uv_signal_t *handle, int number) {
    struct process *process = handle->data;
    (void)number;
    if (process->state == PROCESS_SERVING) {
        start_draining(process);
        return;
    }
    log_event(&process->log, LOG_WARNING, "stopping at once", NULL);
    _exit(EXIT_SUCCESS);
}

/* -- reload ------------------------------------------------------------------------------------ */

static void log_notice(void *context, const char *text) {
    struct process *process = context;
    log_event(&process->log, LOG_WARNING, text, NULL);
}

static void log_notices(struct process *process) {
    for (size_t i = 0; i < process->settings->notice_count; i++)
        log_notice(process, process->settings->notices[i]);
}

static void log_databases(struct process *process) {
    const struct settings *settings = process->settings;
    for (size_t i = 0; i < settings->database_count; i++) {
        const struct database *database = &settings->databases[i];
        char text[1024];
        conninfo_redact(database->conninfo, text, sizeof text);
        bool own = database->physical == (int)i;
        log_event(
            &process->log, LOG_INFO, "database",
            (struct log_field[]){{"name", database->name, 0},
                                 {own ? "conninfo" : "same_as",
                                  own ? text : settings->databases[database->physical].name, 0},
                                 {0}});
    }
}

/* What the users' plain passwords give, where clients log in by SCRAM. */
static struct scram_keys *derive_keys(const struct settings *settings,
                                      const struct scram_keys *before) {
    if (settings->auth.method != AUTH_SCRAM_SHA_256)
        return NULL;
    return scram_keys_new(settings->auth.users, settings->auth.user_count, before);
}

/* Loads the file anew; on failure nothing has changed. */
static bool load_again(struct process *process, struct settings **settings, SSL_CTX **tls,
                       struct error *error) {
    if (!settings_load(process->config_path, settings, error))
        return false;
    if (!settings_check_violations(*settings, error) || !tls_context_new(*settings, tls, error)) {
        settings_unref(*settings);
        return false;
    }
    if (!listeners_change(process->listeners, *settings, error)) {
        SSL_CTX_free(*tls);
        settings_unref(*settings);
        return false;
    }
    return true;
}

static void adopt_settings(struct process *process, struct settings *settings, SSL_CTX *tls) {
    struct settings *old = process->settings;
    bool same_databases = settings_same_databases(old, settings);
    struct scram_keys *keys = derive_keys(settings, process->scram_keys);
    workers_set_settings(&process->workers, settings, tls, keys);
    scram_keys_unref(process->scram_keys);
    process->scram_keys = keys;
    process->log.level = (int)settings->log.level;
    process->log.format = (int)settings->log.format;
    process->settings = settings;
    SSL_CTX_free(process->tls);
    process->tls = tls;
    log_event(&process->log, LOG_INFO, "configuration reloaded",
              (struct log_field[]){
                  {"file", process->config_path, 0},
                  {"databases", same_databases ? "unchanged" : "changed, for new sessions", 0},
                  {"tables", NULL, (int64_t)classification_table_count(settings->classification)},
                  {"tables_before", NULL, (int64_t)classification_table_count(old->classification)},
                  {"entrypoints", NULL, (int64_t)settings->entrypoint_count},
                  {"users", NULL, (int64_t)settings->auth.user_count},
                  {0}});
    if (!same_databases)
        log_databases(process);
    if (old->workers != settings->workers)
        log_event(&process->log, LOG_WARNING, "`workers` changes with the next start only", NULL);
    log_notices(process);
    settings_unref(old);
}

static void notify_reloading(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld",
               (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

static bool reload(void *argument, struct error *error) {
    struct process *process = argument;
    struct settings *settings = NULL;
    SSL_CTX *tls = NULL;
    if (process->state != PROCESS_SERVING)
        return error_set(error, "the proxy is stopping");
    notify_reloading();
    bool loaded = load_again(process, &settings, &tls, error);
    if (loaded) {
        adopt_settings(process, settings, tls);
    } else {
        workers_reopen(&process->workers); /* logrotate has renamed the file all the same */
        log_event(&process->log, LOG_ERROR, "configuration not reloaded, the old one stays",
                  (struct log_field[]){{"error", error->text, 0}, {0}});
    }
    sd_notify(0, "READY=1");
    return loaded;
}

static void on_reload(uv_signal_t *handle, int number) {
    struct error error;
    (void)number;
    (void)reload(handle->data, &error); /* it has logged what is wrong */
}

/* -- start ------------------------------------------------------------------------------------- */

static bool start_signal(struct process *process, uv_signal_t *handle, int number,
                         void (*on_signal)(uv_signal_t *handle, int number), struct error *error) {
    int result = uv_signal_init(&process->loop, handle);
    handle->data = process;
    if (result == 0)
        result = uv_signal_start(handle, on_signal, number);
    return result == 0 ||
           error_set(error, "signal %d can't be caught: %s", number, uv_strerror(result));
}

static bool start_signals(struct process *process, struct error *error) {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of the write */
    /* Names are resolved by libuv's threads; one that takes long must not hold up the others. Read
     * by libuv when its first work comes. */
    setenv("UV_THREADPOOL_SIZE", "32", 0);
    int result = uv_async_init(&process->loop, &process->workers_ended, on_workers_ended);
    if (result != 0)
        return error_set(error, "the event loop can't be woken: %s", uv_strerror(result));
    process->workers_ended.data = process;
    result = mailbox_init(&process->mailbox, &process->loop, process);
    if (result != 0)
        return error_set(error, "the event loop can't be woken: %s", uv_strerror(result));
    process->workers.main = &process->mailbox;
    process->workers.reload = reload;
    return start_signal(process, &process->terminate, SIGTERM, on_terminate, error) &&
           start_signal(process, &process->interrupt, SIGINT, on_terminate, error) &&
           start_signal(process, &process->reload, SIGHUP, on_reload, error);
}

/* One for two cores: a worker that waits less is cheaper (ARCHITECTURE.md, "Threads"), and what it
 * serves is often on the same machine. */
static size_t default_workers(void) {
    size_t cores = uv_available_parallelism();
    return cores > 1 ? cores / 2 : 1;
}

/* A client has a socket of its own and one for each database that it uses. */
static void tell_few_files(struct process *process, uint64_t files) {
    const struct settings *settings = process->settings;
    uint64_t each = 1;
    for (size_t i = 0; i < settings->database_count; i++)
        each += settings->databases[i].physical == (int)i;
    if (files / each >= CLIENTS_EXPECTED)
        return;
    log_event(&process->log, LOG_WARNING,
              "few files may be open at a time: let this user open more (LimitNOFILE, ulimit -Hn)",
              (struct log_field[]){{"files", NULL, (int64_t)files},
                                   {"clients", NULL, (int64_t)(files / each)},
                                   {0}});
}

static bool start_serving(struct process *process, struct error *error) {
    const struct settings *settings = process->settings;
    size_t count = settings->workers > 0 ? settings->workers : default_workers();
    process->scram_keys = derive_keys(settings, NULL);
    if (!start_signals(process, error) ||
        !workers_start(&process->workers, count, &process->log, settings, process->tls,
                       process->scram_keys, error))
        return false;
    uint64_t files = environment_raise_files();
    tell_few_files(process, files);
    log_databases(process);
    log_notices(process);
    allowlist_tell_unused(settings, ALLOWLIST_READ_AT_START, log_notice, process);
    if (!listeners_start(process->listeners, &process->workers, error))
        return false;
    log_event(&process->log, LOG_INFO, "pginterlock " PGINTERLOCK_VERSION " is ready",
              (struct log_field[]){{"pid", NULL, getpid()},
                                   {"workers", NULL, (int64_t)count},
                                   {"files", NULL, (int64_t)files},
                                   {0}});
    sd_notify(0, "READY=1\nSTATUS=Serving");
    return true;
}

static void close_process(struct process *process) {
    sigset_t all; /* the handlers go with the loop: another SIGTERM would end us by itself */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    if (process->listeners != NULL)
        listeners_close(process->listeners);
    uv_walk(&process->loop, close_handle, NULL);
    while (uv_run(&process->loop, UV_RUN_DEFAULT) != 0)
        ;
    uv_loop_close(&process->loop);
    mailbox_close(&process->mailbox);
    SSL_CTX_free(process->tls);
    scram_keys_unref(process->scram_keys);
    settings_unref(process->settings);
}

/* The load and the addresses come first: what is wrong with them is said before anything runs. */
static bool prepare(struct process *process, struct error *error) {
    if (!settings_load(process->config_path, &process->settings, error) ||
        !settings_check_violations(process->settings, error) ||
        !tls_context_new(process->settings, &process->tls, error))
        return false;
    const struct settings *settings = process->settings;
    log_init(&process->log, STDERR_FILENO, settings->log.level, settings->log.format);
    environment_clear_libpq(process->config_path);
    return listeners_open(&process->listeners, &process->loop, settings, &process->log, error);
}

int run_command(const char *config_path) {
    struct process process = {.config_path = config_path};
    struct error error;
    int result = uv_loop_init(&process.loop);
    if (result != 0) {
        fprintf(stderr, "pginterlock: the event loop can't start: %s\n", uv_strerror(result));
        return EXIT_CONFIGURATION;
    }
    if (!prepare(&process, &error)) {
        fprintf(stderr, "%s\n", error.text);
        close_process(&process);
        return EXIT_CONFIGURATION;
    }
    if (!start_serving(&process, &error)) {
        /* Workers may run already; nobody is served yet, so that there is nothing to wait for. */
        fprintf(stderr, "pginterlock: %s\n", error.text);
        listeners_close(process.listeners);
        _exit(EXIT_CONFIGURATION);
    }
    uv_run(&process.loop, UV_RUN_DEFAULT);
    close_process(&process);
    return EXIT_SUCCESS;
}
