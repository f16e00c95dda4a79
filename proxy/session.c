/* A session's life: login, the first link, events of client and links, and its end. */
#include "proxy/session_internal.h"

#include "config/alloc.h"
#include "proxy/startup_options.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

struct session *session_next(struct session *session) {
    return session->next;
}

/* -- end --------------------------------------------------------------------------------------- */

static void session_free(struct session *s) {
    for (int i = 0; s->lost != NULL && i < DATABASES_MAX; i++)
        free(s->lost[i]);
    free(s->lost);
    free(s->settings_error);
    free(s->message);
    free(s->peer);
    parameters_unref(s->worker->parameters, s->parameters);
    parameters_unref(s->worker->parameters, s->outside);
    startup_close(&s->startup);
    if (s->password != NULL)
        OPENSSL_cleanse(s->password, strlen(s->password));
    free(s->password);
    wire_buffer_close(&s->out);
    setting_log_close(&s->settings);
    block_log_close(&s->block);
    portal_clear(&s->portals);
    prepared_clear(&s->prepared);
    if (s->query != NULL)
        query_unref(s->query);
    if (s->script.query != NULL)
        query_unref(s->script.query);
    catalog_close(&s->catalog);
    if (s->routing != NULL)
        session_state_free(s->routing);
    setting_set_unref(s->set);
    login_free(s->login);
    worker_config_unref(s->config);
    free(s);
}

static void on_client_closed(struct stream *stream) {
    session_free(stream->owner);
}

static void leave_worker(struct session *s) {
    cancel_keys_leave(&s->worker->cancel_keys, &s->cancel);
    *s->previous_next = s->next;
    if (s->next != NULL)
        s->next->previous_next = s->previous_next;
    worker_session_ended(s->worker);
}

void session_end(struct session *s, const char *reason) {
    if (s->phase == PHASE_CLOSING)
        return;
    s->phase = PHASE_CLOSING;
    reply_flush(s);
    stream_flush(&s->client);
    log_event(s->worker->log, LOG_DEBUG, "session ended",
              (struct log_field[]){{"client", s->peer, 0},
                                   {"pid", NULL, (int64_t)s->pid},
                                   {"reason", reason, 0},
                                   {"received", NULL, (int64_t)s->client.received},
                                   {"sent", NULL, (int64_t)s->client.sent},
                                   {0}});
    if (s->pool_mode != POOL_OFF)
        session_leave_links(s);
    for (int i = 0; i < DATABASES_MAX; i++)
        if (s->links[i] != NULL)
            session_drop_link(s, s->links[i]);
    leave_worker(s);
    stream_close(&s->client, on_client_closed);
}

void session_terminate(struct session *s) {
    if (s->phase == PHASE_CLOSING)
        return;
    reply_fatal(s, "57P01", "terminating connection due to administrator command", NULL, NULL);
    session_end(s, "shutdown");
}

static bool session_is_idle(const struct session *s) {
    return s->phase == PHASE_READY && !s->script.active && session_drained(s) &&
           s->body_fate == BODY_NONE && s->query == NULL && /* else a message waits for a link */
           session_block_status(s->routing) == BLOCK_IDLE;
}

void session_drain(struct session *s) {
    s->draining = true;
    if (s->phase == PHASE_LOGIN || s->phase == PHASE_LINKING ||
        (session_is_idle(s) && stream_available(&s->client) == 0))
        session_terminate(s);
}

/* -- cancel ------------------------------------------------------------------------------------ */

void session_cancel(struct session *s) {
    if (s->active != NULL && s->active->answers.count > 0)
        link_cancel(s->active);
    else
        (void)session_cancel_wait(s);
}

/* -- work -------------------------------------------------------------------------------------- */

/* After a reload an idle session goes on under the new settings, where its databases are still the
 * same. */
static void follow_reload(struct session *s) {
    struct worker_config *fresh = s->worker->config;
    if (s->config == fresh || !session_is_idle(s))
        return;
    int entrypoint = settings_find_entrypoint(fresh->settings, s->startup.database);
    if (entrypoint < 0 || !settings_same_databases(s->config->settings, fresh->settings))
        return;
    session_set_settings(s->routing, fresh->settings, entrypoint);
    session_set_objects(s->routing, fresh->objects);
    s->entrypoint = entrypoint;
    worker_config_unref(s->config);
    s->config = worker_config_ref(fresh);
    struct prepared *prepared = NULL;
    while ((prepared = prepared_next(&s->prepared, prepared)) != NULL) {
        /* Prepared statements are classified anew; they stay where they are prepared. */
        struct query *old = prepared->query;
        prepared->query = query_reclassify(old, fresh->settings);
        query_unref(old);
    }
}

static void resume_links(struct session *s) {
    if (stream_unsent(&s->client) > CLIENT_UNSENT_HIGH / 2)
        return;
    for (size_t i = 0; i < session_settings(s)->database_count; i++) {
        struct link *link = s->links[i];
        if (link == NULL || link->state != LINK_READY || link->stream.reading)
            continue;
        stream_set_reading(&link->stream, true);
        if (stream_available(&link->stream) > 0)
            session_read_link(s, link);
        if (s->phase == PHASE_CLOSING)
            return;
    }
}

static bool session_waits(const struct session *s) {
    return s->script.active || s->connecting != NULL || session_waits_for_pool(s) ||
           !session_drained(s) ||
           (s->body_fate == BODY_FORWARD &&
            stream_unsent(&s->body_link->stream) > LINK_UNSENT_HIGH);
}

static void after_work(struct session *s) {
    if (s->active != NULL)
        session_flush_link(s->active);
    stream_flush(&s->client);
    resume_links(s);
    if (s->phase != PHASE_READY)
        return;
    s->last_active = uv_now(&s->worker->loop);
    if (s->pool_mode == POOL_TRANSACTION)
        session_release_links(s);
    bool waits = session_waits(s);
    stream_set_reading(&s->client, !waits || stream_available(&s->client) < CLIENT_WAITING_HIGH);
    bool gone = s->client.state == STREAM_EOF || s->client.state == STREAM_BROKEN;
    if (s->active != NULL && stream_unsent(&s->active->stream) > 0)
        gone = false; /* what it asked for last is still on its way */
    if (gone && (!waits || stream_available(&s->client) == 0) && !s->script.active)
        session_end(s, s->client.state == STREAM_EOF ? "client disconnected"
                                                     : stream_error(&s->client));
    else if (s->draining && session_is_idle(s) && stream_available(&s->client) == 0)
        session_terminate(s);
}

static void link_home(struct session *s);

void session_process(struct session *s) {
    if (s->phase == PHASE_LINKING) {
        link_home(s);
        return;
    }
    if (s->processing || s->phase != PHASE_READY) {
        s->again = true;
        return;
    }
    s->processing = true;
    do {
        s->again = false;
        s->connecting = NULL;
        enum progress progress = PROGRESS_DONE;
        while (progress == PROGRESS_DONE && s->phase == PHASE_READY) {
            if (s->script.active) {
                progress = script_run(s);
                bool copies = s->copy_in != NULL && stream_available(&s->client) > 0;
                if (progress == PROGRESS_WAIT &&
                    copies) /* what it waits for is the client's copy data */
                    progress = session_handle_message(s);
                continue;
            }
            if (stream_available(&s->client) == 0)
                break;
            if (s->config != s->worker->config)
                follow_reload(s);
            session_let_others(s);
            progress = session_handle_message(s);
            s->handled += progress == PROGRESS_DONE ? 1 : 0;
        }
        if (s->phase == PHASE_READY)
            after_work(s);
    } while (s->again && s->phase == PHASE_READY);
    s->processing = false;
}

/* -- the first link ---------------------------------------------------------------------------- */

static void report_parameters(struct session *s, const struct link *link) {
    struct parameter parameter;
    for (size_t cursor = 0; parameters_next(link_parameters(link), &cursor, &parameter);) {
        message_put_parameter_status(&s->out, parameter.name, parameter.value);
        session_heed_parameter(s, parameter.name, parameter.value);
    }
    s->parameters = parameters_ref(link->parameters);
}

static bool make_key(struct session *s) {
    uint32_t random;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return false;
    uint32_t count = (uint32_t)s->worker->workers->count;
    random &= 0x7fffffff; /* the worker is found by key % count; leave room for rounding */
    s->key = random - random % count + s->worker->index;
    return true;
}

/* An own setting of the startup packet. False: the client has got the error. */
static bool take_own_setting(void *context, const char *name, const char *value) {
    struct session *s = context;
    const char *sqlstate = "22023";
    struct error error = {{0}};
    if (!session_check_setting(s->routing, name, value, &sqlstate, &error)) {
        bool known = strcmp(sqlstate, "22023") == 0;
        reply_fatal(s, sqlstate, error.text, NULL,
                    known ? session_setting_hint(s->routing, name) : NULL);
        return false;
    }
    session_set_at_startup(s->routing, name, value);
    return true;
}

static bool take_own_settings(struct session *s) {
    for (size_t i = 0; i < s->startup.parameter_count; i++) {
        const struct startup_parameter *parameter = &s->startup.parameters[i];
        if (strcmp(parameter->name, "options") == 0) {
            if (!startup_options_read(parameter->value, take_own_setting, s, NULL))
                return false;
        } else if (session_is_own_setting(parameter->name) &&
                   !take_own_setting(s, parameter->name, parameter->value)) {
            return false;
        }
    }
    return true;
}

/* A process id that no server's connection has, since it changes; distinct within the process. */
static uint32_t made_up_pid(const struct session *s) {
    uint64_t number = ++s->worker->last_client * s->worker->workers->count + s->worker->index;
    return (uint32_t)(number % 0x3fffffff) + 1;
}

static void become_ready(struct session *s, struct link *link) {
    const char *encoding = parameters_find(link_parameters(link), "client_encoding");
    if (encoding != NULL && encoding_is_unsafe(encoding)) {
        reply_fatal(s, "0A000", ENCODING_REFUSED, NULL, ENCODING_HINT);
        session_end(s, "unsafe client_encoding");
        return;
    }
    s->pid = s->pool_mode == POOL_TRANSACTION ? made_up_pid(s) : link->pid;
    if (!make_key(s)) {
        reply_fatal(s, "XX000", "could not generate random cancel key", NULL, NULL);
        session_end(s, "no random bytes");
        return;
    }
    const struct settings *settings = session_settings(s);
    if (!take_own_settings(s)) {
        session_end(s, "a setting of the startup packet is wrong");
        return;
    }
    report_parameters(s, link);
    message_put_backend_key(&s->out, s->pid, s->key);
    cancel_keys_enter(&s->worker->cancel_keys, &s->cancel, s->pid, s->key, s);
    s->phase = PHASE_READY;
    link->home = s->pool_mode == POOL_OFF;
    link->aligned = true; /* what it reported is what the client is told */
    s->aligned = database_bit(link->physical);
    reply_ready(s);
    log_event(s->worker->log, LOG_INFO, "session started",
              (struct log_field[]){{"client", s->peer, 0},
                                   {"pid", NULL, (int64_t)s->pid},
                                   {"user", s->startup.user, 0},
                                   {"entrypoint", settings->entrypoints[s->entrypoint].name, 0},
                                   {0}});
    session_process(s);
}

/* The next physical database to log in at, or -1. Only a routed session may begin without its
 * first. */
static int next_to_try(const struct session *s, int failed) {
    const struct settings *settings = session_settings(s);
    if (settings->entrypoints[s->entrypoint].database != ENTRYPOINT_ROUTED)
        return -1;
    for (int i = failed + 1; i < (int)settings->database_count; i++)
        if (settings->databases[i].physical == i)
            return i;
    return -1;
}

static void first_link_failed(struct session *s, struct link *link) {
    const struct link_failure *failure = link->failure;
    log_event(s->worker->log, LOG_WARNING, "cannot connect to a database",
              (struct log_field[]){{"client", s->peer, 0},
                                   {"database", link->name, 0},
                                   {"sqlstate", failure->sqlstate, 0},
                                   {"error", failure->message, 0},
                                   {0}});
    int next = failure->refused ? -1 : next_to_try(s, link->physical);
    if (next >= 0) {
        session_drop_link(s, link);
        s->home = next;
        link_home(s);
        return;
    }
    if (failure->refused) { /* the server's own words, as on a direct connection */
        reply_fatal(s, failure->sqlstate, failure->message,
                    failure->detail[0] != '\0' ? failure->detail : NULL,
                    failure->hint[0] != '\0' ? failure->hint : NULL);
    } else {
        char message[1400];
        snprintf(message, sizeof message, "cannot connect to database \"%s\": %s", link->name,
                 failure->message);
        reply_fatal(s, failure->sqlstate, message, NULL, NULL);
    }
    session_end(s, "no database");
}

/* The startup packet's settings could not be made: what the server would have said to it. */
static void refuse_startup(struct session *s) {
    reply_fatal(s, s->settings_sqlstate, s->settings_error, NULL, NULL);
    session_end(s, "a setting of the startup packet is wrong");
}

/* The link to begin with; called again whenever something happened. */
static void link_home(struct session *s) {
    if (s->links[s->home] == NULL && s->pool_mode == POOL_OFF) {
        session_connect(s, s->home);
        return;
    }
    if (s->links[s->home] == NULL && session_take_link(s, s->home) != USE_READY)
        return;
    struct link *link = s->links[s->home];
    if (link->state == LINK_FAILED) {
        first_link_failed(s, link);
        return;
    }
    if (link->state != LINK_READY)
        return;
    enum use use = s->pool_mode != POOL_OFF ? session_use_settings(s, link) : USE_READY;
    if (use == USE_READY)
        become_ready(s, link);
    else if (use == USE_FAILED)
        refuse_startup(s);
}

void session_link_connected(struct link *link) {
    session_process(link->owner);
}

/* -- login ------------------------------------------------------------------------------------- */

static void on_login_done(struct login *login, bool ok) {
    struct session *s = login->owner;
    if (!ok) {
        session_end(s, "login failed");
        return;
    }
    worker_config_unref(s->config);
    s->config = worker_config_ref(login->config);
    s->entrypoint = login->entrypoint;
    s->startup = login->startup;
    login->startup = (struct startup){0};
    s->password = login->password;
    login->password = NULL;
    login_free(login); /* the session may be idle for days */
    s->login = NULL;
    s->phase = PHASE_LINKING;
    const struct settings *settings = session_settings(s);
    int home = settings->entrypoints[s->entrypoint].database;
    s->home = settings->databases[home >= 0 ? home : 0].physical;
    s->pool_mode = session_pool_settings(s)->mode;
    s->routing = session_state_new(settings, s->entrypoint);
    session_use_today(s->routing, &s->worker->today);
    session_set_objects(s->routing, s->config->objects);
    struct error error;
    if (s->pool_mode != POOL_OFF && !session_log_startup(s, NULL, &error)) {
        reply_fatal(s, "42601", error.text, NULL, NULL);
        session_end(s, "an option of the startup packet is wrong");
        return;
    }
    link_home(s);
}

static void on_client_event(struct stream *stream) {
    struct session *s = stream->owner;
    switch (s->phase) {
    case PHASE_LOGIN:
        login_on_event(s->login);
        break;
    case PHASE_LINKING:
        if (stream->state == STREAM_EOF || stream->state == STREAM_BROKEN)
            session_end(s, "client disconnected");
        break;
    case PHASE_READY:
        session_process(s);
        break;
    case PHASE_CLOSING:
        break;
    }
}

bool session_open(struct worker *worker, int fd, bool is_unix, const char *peer,
                  struct error *error) {
    struct session *s = alloc_new(sizeof *s);
    s->worker = worker;
    s->config = worker_config_ref(worker->config);
    s->is_unix = is_unix;
    s->block_lost = -1;
    s->lexing.standard_conforming_strings = true;
    s->utf8 = true;
    s->peer = alloc_text(peer);
    if (!stream_init(&s->client, &worker->loop, worker->buffers, fd, on_client_event, s, error)) {
        close(fd);
        session_free(s);
        return false;
    }
    s->previous_next = &worker->sessions;
    s->next = worker->sessions;
    if (s->next != NULL)
        s->next->previous_next = &s->next;
    worker->sessions = s;
    struct error why = {{0}};
    if (!login_start(&s->login, worker, &s->client, is_unix, s->peer, on_login_done, s, &why)) {
        log_event(worker->log, LOG_ERROR, "cannot start a login",
                  (struct log_field[]){{"client", s->peer, 0}, {"error", why.text, 0}, {0}});
        session_end(s, why.text); /* the worker has counted it, and is told here that it is gone */
    }
    return true;
}
