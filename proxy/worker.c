#include "proxy/worker.h"

#include "config/alloc.h"
#include "config/allowlist.h"
#include "protocol/scram_keys.h"
#include "proxy/link_cancel.h"
#include "proxy/parameters.h"
#include "proxy/pool.h"
#include "proxy/read_code.h"
#include "proxy/server_statements.h"
#include "proxy/session.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    WORKER_STACK =
        256 * 1024 * 1024, /* address space, not memory: touched only by deep statements */
    CACHE_BYTES = 32 * 1024 * 1024,
    OBJECT_NAMES_MAX = 16 * 1024, /* some hundred bytes each */
    BUFFER_SIZE = 16 * 1024,
    BUFFERS_KEPT = 256,
    VIOLATIONS_TICK = 1000, /* milliseconds */
    DAY_CHECK =
        60 * 1000, /* milliseconds; the clock may be set, so that midnight can't be waited for */
    CLOCK_MILLISECONDS = 250,
    REQUESTS_PATIENCE = 1000, /* milliseconds */
};

enum message_kind { MESSAGE_CLIENT, MESSAGE_SETTINGS, MESSAGE_REOPEN, MESSAGE_DRAIN };

struct worker_message {
    struct letter letter; /* first */
    enum message_kind kind;
    int fd; /* MESSAGE_CLIENT */
    bool is_unix;
    char peer[128];
    const struct settings *settings; /* MESSAGE_SETTINGS: a reference each */
    SSL_CTX *tls;
    struct scram_keys *scram_keys;
    unsigned seconds; /* MESSAGE_DRAIN */
};

/* -- configuration ----------------------------------------------------------------------------- */

/* Takes over the references. */
static struct worker_config *config_new_take(const struct settings *settings, SSL_CTX *tls,
                                             struct scram_keys *keys) {
    struct worker_config *config = alloc_new(sizeof *config);
    config->settings = settings;
    config->tls = tls;
    config->scram_keys = keys;
    config->router = router_new(settings, CACHE_BYTES);
    config->objects = object_names_new(settings, OBJECT_NAMES_MAX);
    config->read_code = alloc_zeroed(settings->database_count, sizeof *config->read_code);
    config->references = 1;
    return config;
}

struct worker_config *worker_config_ref(struct worker_config *config) {
    config->references++;
    return config;
}

void worker_config_unref(struct worker_config *config) {
    if (config == NULL || --config->references > 0)
        return;
    object_names_free(config->objects);
    free(config->read_code);
    router_free(config->router);
    SSL_CTX_free(config->tls);
    scram_keys_unref(config->scram_keys);
    settings_unref(config->settings);
    free(config);
}

/* -- what is in the mailbox -------------------------------------------------------------------- */

/* Calls `visit` on every session; a session may end meanwhile. */
static void each_session(struct worker *worker, void (*visit)(struct session *session)) {
    for (struct session *session = worker->sessions, *next; session != NULL; session = next) {
        next = session_next(session);
        visit(session);
    }
}

static void end_if_done(struct worker *worker) {
    if (!worker->draining || worker->sessions != NULL)
        return;
    worker->stopping = true;
    uv_stop(&worker->loop);
}

void worker_begin_walk(struct worker *worker, struct session_walk *walk) {
    *walk = (struct session_walk){.next = worker->walks, .at = worker->sessions};
    worker->walks = walk;
}

void worker_end_walk(struct worker *worker, struct session_walk *walk) {
    struct session_walk **at = &worker->walks;
    while (*at != walk)
        at = &(*at)->next;
    *at = walk->next;
}

void worker_session_ended(struct worker *worker, struct session *session) {
    for (struct session_walk *walk = worker->walks; walk != NULL; walk = walk->next)
        if (walk->at == session)
            walk->at = session_next(session);
    atomic_fetch_sub(&worker->client_count, 1);
    end_if_done(worker);
}

static void on_drain_deadline(uv_timer_t *timer) {
    struct worker *worker = timer->data;
    each_session(worker, session_terminate);
    end_if_done(worker);
}

static void drain(struct worker *worker, unsigned seconds) {
    worker->draining = true;
    uv_timer_start(&worker->drain_timer, on_drain_deadline, (uint64_t)seconds * 1000, 0);
    each_session(worker, session_drain);
    end_if_done(worker);
}

static void adopt(struct worker *worker, struct worker_message *message) {
    if (worker->draining) {
        close(message->fd);
        atomic_fetch_sub(&worker->client_count, 1);
        return;
    }
    struct error error = {{0}};
    if (!session_open(worker, message->fd, message->is_unix, message->peer, &error)) {
        log_event(
            worker->log, LOG_ERROR, "cannot serve a client",
            (struct log_field[]){{"client", message->peer, 0}, {"error", error.text, 0}, {0}});
        atomic_fetch_sub(&worker->client_count, 1);
    }
}

static void on_clock(uv_timer_t *timer) {
    struct worker *worker = timer->data;
    for (struct session *s = worker->sessions, *next; s != NULL; s = next) {
        next = session_next(s);
        session_check_time(s, uv_now(&worker->loop));
    }
}

/* What of new settings is the worker's own business. */
static void configure(struct worker *worker, const struct settings *settings) {
    pools_configure(worker->pools, settings);
    each_session(worker, session_heed_limits);
    bool limits = false;
    for (size_t i = 0; i < settings->entrypoint_count; i++) {
        const struct pool_settings *pool = &settings->entrypoints[i].pool;
        limits = limits || pool->client_idle_timeout > 0 || pool->idle_transaction_timeout > 0;
    }
    if (limits)
        uv_timer_start(&worker->clock, on_clock, CLOCK_MILLISECONDS, CLOCK_MILLISECONDS);
    else
        uv_timer_stop(&worker->clock);
}

static void handle(struct worker *worker, struct worker_message *message) {
    switch (message->kind) {
    case MESSAGE_CLIENT:
        adopt(worker, message);
        break;
    case MESSAGE_SETTINGS:
        worker_config_unref(worker->config);
        worker->config = config_new_take(message->settings, message->tls, message->scram_keys);
        violations_open(worker->violations, message->settings->violations);
        configure(worker, message->settings);
        break;
    case MESSAGE_REOPEN:
        violations_open(worker->violations, worker->config->settings->violations);
        break;
    case MESSAGE_DRAIN:
        drain(worker, message->seconds);
        break;
    }
}

static void on_message(struct letter *letter, void *owner) {
    struct worker_message *message = (struct worker_message *)(void *)letter;
    handle(owner, message);
    free(message);
}

/* The worker has ended. */
static void drop_message(struct letter *letter) {
    struct worker_message *message = (struct worker_message *)(void *)letter;
    if (message->fd >= 0)
        close(message->fd);
    settings_unref(message->settings);
    SSL_CTX_free(message->tls);
    scram_keys_unref(message->scram_keys);
    free(message);
}

static struct worker_message *message_new(enum message_kind kind) {
    struct worker_message *message = alloc_new(sizeof *message);
    message->letter.deliver = on_message;
    message->letter.drop = drop_message;
    message->kind = kind;
    message->fd = -1;
    return message;
}

static void post(struct worker *worker, struct worker_message *message) {
    mailbox_post(&worker->mailbox, &message->letter);
}

/* -- violations -------------------------------------------------------------------------------- */

static void on_violations_tick(uv_timer_t *timer) {
    struct worker *worker = timer->data;
    violations_tick(worker->violations, uv_now(&worker->loop));
    if (!violations_pending(worker->violations))
        uv_timer_stop(timer);
}

void worker_note_violation(struct worker *worker, const struct occurrence *occurrence) {
    violations_note(worker->violations, occurrence, uv_now(&worker->loop));
    worker->figures.violations[occurrence->rule][occurrence->action]++;
    uv_timer_t *timer = &worker->violations_timer;
    bool ticks = uv_is_active((uv_handle_t *)timer) || uv_is_closing((uv_handle_t *)timer);
    if (!ticks && violations_pending(worker->violations))
        uv_timer_start(timer, on_violations_tick, VIOLATIONS_TICK, VIOLATIONS_TICK);
}

/* -- the day ----------------------------------------------------------------------------------- */

static void on_day(uv_timer_t *timer) {
    struct worker *worker = timer->data;
    worker->today = allowlist_day(time(NULL));
}

/* -- life -------------------------------------------------------------------------------------- */

static void close_handle(uv_handle_t *handle, void *argument) {
    (void)argument;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void on_patience_over(uv_timer_t *timer) {
    uv_stop(timer->loop);
}

/* What libuv's threads are at can't be stopped: names that are being resolved. They get a moment,
 * in which handles are closed, too. */
static void wait_for_requests(struct worker *worker) {
    uv_timer_t *patience = &worker->end_timer;
    uv_timer_init(&worker->loop, patience);
    uv_timer_start(patience, on_patience_over, REQUESTS_PATIENCE, 0);
    uv_unref((uv_handle_t *)patience);
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    worker->unfinished = uv_loop_alive(&worker->loop) != 0;
    uv_close((uv_handle_t *)patience, NULL);
    while (!worker->unfinished && uv_run(&worker->loop, UV_RUN_NOWAIT) != 0)
        ;
}

static void *run(void *argument) {
    struct worker *worker = argument;
    sigset_t all; /* signals are for the main thread; libuv's threads are started from here */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    while (!worker->stopping)
        uv_run(&worker->loop, UV_RUN_DEFAULT);
    /* Let closing handles call back; whatever is left then is closed too. */
    for (int round = 0;
         round < 100 && uv_run(&worker->loop, UV_RUN_NOWAIT) != 0 && worker->sessions != NULL;
         round++)
        ;
    pools_stop(worker->pools);
    link_cancels_stop(worker);
    uv_walk(&worker->loop, close_handle, NULL);
    wait_for_requests(worker);
    violations_open(worker->violations, NULL);
    return NULL;
}

static bool worker_start(struct workers *workers, unsigned index, const struct settings *settings,
                         SSL_CTX *tls, struct scram_keys *keys, struct error *error) {
    struct worker *worker = alloc_new(sizeof *worker);
    workers->list[index] = worker;
    worker->index = index;
    worker->workers = workers;
    worker->log = workers->log;
    worker->buffers = buffer_pool_new(BUFFER_SIZE, BUFFERS_KEPT);
    worker->parameters = parameter_store_new();
    if (tls != NULL)
        SSL_CTX_up_ref(tls);
    worker->config = config_new_take(settings_ref(settings), tls, scram_keys_ref(keys));
    int rc = uv_loop_init(&worker->loop);
    if (rc == 0)
        rc = mailbox_init(&worker->mailbox, &worker->loop, worker);
    if (rc == 0)
        rc = uv_timer_init(&worker->loop, &worker->drain_timer);
    if (rc == 0)
        rc = uv_timer_init(&worker->loop, &worker->violations_timer);
    if (rc == 0)
        rc = uv_timer_init(&worker->loop, &worker->day_timer);
    if (rc == 0)
        rc = uv_timer_init(&worker->loop, &worker->clock);
    if (rc != 0)
        return error_set(error, "cannot start an event loop: %s", uv_strerror(rc));
    worker->drain_timer.data = worker->violations_timer.data = worker;
    worker->day_timer.data = worker->clock.data = worker;
    on_day(&worker->day_timer);
    uv_timer_start(&worker->day_timer, on_day, DAY_CHECK, DAY_CHECK);
    worker->violations = violations_new(worker->log);
    violations_open(worker->violations, settings->violations);
    worker->statements = shared_statements_new();
    if (!pools_new(&worker->pools, worker, (unsigned)workers->count, error))
        return false;
    configure(worker, settings);

    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, WORKER_STACK);
    rc = pthread_create(&worker->thread, &attributes, run, worker);
    pthread_attr_destroy(&attributes);
    if (rc != 0)
        return error_set(error, "cannot start a worker thread: %s", strerror(rc));
    return true;
}

bool workers_start(struct workers *workers, size_t count, struct log *log,
                   const struct settings *settings, SSL_CTX *tls, struct scram_keys *keys,
                   struct error *error) {
    workers->list = alloc_new(count * sizeof workers->list[0]);
    workers->count = count;
    workers->log = log;
    for (size_t i = 0; i < count; i++)
        if (!worker_start(workers, (unsigned)i, settings, tls, keys, error))
            return false;
    return true;
}

bool workers_join(struct workers *workers) {
    bool finished = true;
    for (size_t i = 0; i < workers->count; i++) {
        pthread_join(workers->list[i]->thread, NULL);
        finished = finished && !workers->list[i]->unfinished;
    }
    if (!finished)
        return false;
    for (size_t i = 0; i < workers->count; i++) {
        struct worker *worker = workers->list[i];
        mailbox_close(&worker->mailbox);
        worker_config_unref(worker->config);
        pools_free(worker->pools);
        shared_statements_free(worker->statements);
        buffer_pool_free(worker->buffers);
        violations_free(worker->violations);
        figures_close(&worker->figures);
        parameter_store_free(worker->parameters);
        cancel_keys_close(&worker->cancel_keys);
        uv_loop_close(&worker->loop);
        free(worker);
    }
    free(workers->list);
    workers->list = NULL;
    workers->count = 0;
    return true;
}

/* -- what other threads ask of a worker -------------------------------------------------------- */

void worker_adopt_client(struct worker *worker, int fd, bool is_unix, const char *peer) {
    struct worker_message *message = message_new(MESSAGE_CLIENT);
    message->fd = fd;
    message->is_unix = is_unix;
    snprintf(message->peer, sizeof message->peer, "%s", peer);
    atomic_fetch_add(&worker->client_count, 1);
    post(worker, message);
}

size_t worker_client_count(const struct worker *worker) {
    return atomic_load(&worker->client_count);
}

bool workers_admit_client(struct workers *workers, size_t most) {
    size_t count = atomic_load(&workers->client_count);
    do
        if (most > 0 && count >= most)
            return false;
    while (!atomic_compare_exchange_weak(&workers->client_count, &count, count + 1));
    return true;
}

void workers_dismiss_client(struct workers *workers) {
    atomic_fetch_sub(&workers->client_count, 1);
}

void workers_set_settings(struct workers *workers, const struct settings *settings, SSL_CTX *tls,
                          struct scram_keys *keys) {
    for (size_t i = 0; i < workers->count; i++) {
        struct worker_message *message = message_new(MESSAGE_SETTINGS);
        message->settings = settings_ref(settings);
        if (tls != NULL)
            SSL_CTX_up_ref(tls);
        message->tls = tls;
        message->scram_keys = scram_keys_ref(keys);
        post(workers->list[i], message);
    }
}

void workers_reopen(struct workers *workers) {
    for (size_t i = 0; i < workers->count; i++)
        post(workers->list[i], message_new(MESSAGE_REOPEN));
}

void workers_drain(struct workers *workers, unsigned seconds) {
    for (size_t i = 0; i < workers->count; i++) {
        struct worker_message *message = message_new(MESSAGE_DRAIN);
        message->seconds = seconds;
        post(workers->list[i], message);
    }
}
