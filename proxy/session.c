/* A session's life: events of client and links, work, and its end. */
#include "proxy/session_internal.h"

#include "config/alloc.h"
#include "config/rarely.h"
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
    for (int i = 0; s->lost != NULL && i < s->link_count; i++)
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
    if (s->admitted)
        workers_dismiss_client(s->worker->workers);
    worker_session_ended(s->worker, s);
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
    console_free(s->console);
    s->console = NULL;
    if (s->pool_mode != POOL_OFF)
        session_leave_links(s);
    for (int i = 0; i < s->link_count; i++)
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

/* The answer to what still runs is for nobody: its client has gone, or said goodbye. */
static bool has_left(const struct session *s) {
    bool goodbye =
        stream_available(&s->client) == FRAME_HEADER && stream_peek(&s->client)[0] == 'X';
    return s->client.state == STREAM_BROKEN || (s->client.state == STREAM_EOF && goodbye);
}

void session_drain(struct session *s) {
    s->draining = true;
    if (s->phase == PHASE_READY && has_left(s))
        session_process(s); /* no other event may come */
    if (s->phase == PHASE_LOGIN || s->phase == PHASE_LINKING || s->phase == PHASE_CONSOLE ||
        (session_is_idle(s) && stream_available(&s->client) == 0))
        session_terminate(s);
}

/* -- work -------------------------------------------------------------------------------------- */

/* Whether the databases of new settings can be the session's: they are the same, or it has no
 * connection to them now, and its next one can be another server's. */
static bool can_follow(const struct session *s, const struct settings *fresh) {
    if (settings_same_databases(session_settings(s), fresh))
        return true;
    if (s->pool_mode != POOL_TRANSACTION || !settings_same_layout(session_settings(s), fresh))
        return false;
    for (int i = 0; i < s->link_count; i++)
        if (s->links[i] != NULL)
            return false;
    return true;
}

/* After a reload an idle session goes on under the new settings. */
static __attribute__((cold)) void follow_reload(struct session *s) {
    struct worker_config *fresh = s->worker->config;
    if (s->config == fresh || !session_is_idle(s))
        return;
    int entrypoint = settings_find_entrypoint(fresh->settings, s->startup.database);
    if (entrypoint < 0 || !can_follow(s, fresh->settings))
        return;
    if (!settings_same_databases(session_settings(s), fresh->settings))
        session_leave_pools(s);
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

static __attribute__((noinline)) void resume_links(struct session *s) {
    if (stream_unsent(&s->client) > CLIENT_UNSENT_HIGH / 2)
        return;
    s->paused = false;
    for (int i = 0; i < s->link_count; i++) {
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
    return s->script.active || s->awaited != NULL || session_waits_for_pool(s) ||
           !session_drained(s) || session_client_is_full(s) ||
           (s->body_fate == BODY_FORWARD &&
            stream_unsent(&s->body_link->stream) > LINK_UNSENT_HIGH);
}

/* Whether more than a part of a message is there, which from a client that has hung up is all. */
static bool has_message(const struct session *s) {
    return s->body_fate != BODY_NONE ? stream_available(&s->client) > 0
                                     : session_has_whole_message(s);
}

/* Whether nothing remains to be done for a client that has sent its end or has gone. */
static bool is_done_with(const struct session *s, bool waits) {
    if (s->active != NULL && stream_unsent(&s->active->stream) > 0)
        return false; /* what it asked for last is still on its way */
    bool commits = s->script.active && s->script.fan.active && s->script.fan.commits;
    if (s->draining && has_left(s) && !commits)
        return true;
    bool alone = !has_message(s);
    bool runs = s->script.active && (s->copy_in == NULL || !alone); /* it comes to an end */
    if (runs || (waits && !alone))
        return false;
    bool lacks = s->copy_in != NULL || s->body_fate != BODY_NONE; /* what it will never get */
    return s->client.state == STREAM_BROKEN ||
           (stream_unsent(&s->client) == 0 && (lacks || !session_is_owed(s)));
}

/* A client that has only sent its end waits for its answers; one that has closed its socket looks
 * the same over TCP, until its system is sent something. A ParameterStatus may come at any time,
 * and this one tells nothing new. */
static __attribute__((cold)) void probe(struct session *s) {
    const char *encoding = session_parameter(s, "client_encoding");
    if (s->probed || s->is_unix || session_is_mid_message(s) || encoding == NULL)
        return;
    s->probed = true;
    message_put_parameter_status(&s->out, "client_encoding", encoding);
    reply_flush(s);
    stream_flush(&s->client);
}

static void after_work(struct session *s) {
    if (s->active != NULL)
        session_flush_link(s->active);
    stream_flush(&s->client);
    if (RARELY(s->paused))
        resume_links(s);
    if (s->phase != PHASE_READY)
        return;
    s->last_active = uv_now(&s->worker->loop);
    if (s->pool_mode == POOL_TRANSACTION)
        session_release_links(s);
    bool waits = session_waits(s);
    stream_set_reading(&s->client, !waits || stream_available(&s->client) < CLIENT_WAITING_HIGH);
    bool hung_up = s->client.state == STREAM_EOF || s->client.state == STREAM_BROKEN;
    if (RARELY(hung_up) && is_done_with(s, waits))
        session_end(s, s->client.state == STREAM_EOF ? "client disconnected"
                                                     : stream_error(&s->client));
    else if (RARELY(s->draining) && session_is_idle(s) && stream_available(&s->client) == 0)
        session_terminate(s);
    else if (s->client.state == STREAM_EOF)
        probe(s);
}

void session_process(struct session *s) {
    if (RARELY(s->phase == PHASE_LINKING)) {
        session_link_home(s);
        return;
    }
    if (s->processing || s->phase != PHASE_READY) {
        s->again = true;
        return;
    }
    s->processing = true;
    do {
        s->again = false;
        s->awaited = NULL;
        enum progress progress = PROGRESS_DONE;
        while (progress == PROGRESS_DONE && s->phase == PHASE_READY) {
            if (s->script.active) {
                progress = script_run(s);
                bool copies = s->copy_in != NULL && stream_available(&s->client) > 0;
                if (progress == PROGRESS_WAIT &&
                    copies) /* what it waits for is the client's copy data */
                    progress = session_handle_message(s);
            } else {
                if (stream_available(&s->client) == 0 || session_is_full(s))
                    break;
                if (s->config != s->worker->config)
                    follow_reload(s);
                if (s->pool_mode == POOL_TRANSACTION)
                    session_let_others(s);
                progress = session_handle_message(s);
                s->handled += progress == PROGRESS_DONE ? 1 : 0;
            }
            if (RARELY(s->cancel_kept) && progress == PROGRESS_DONE && !s->script.active)
                s->cancel_kept = false; /* it was for what is handled now */
        }
        if (s->phase == PHASE_READY)
            after_work(s);
    } while (s->again && s->phase == PHASE_READY);
    s->processing = false;
}

/* -- events ------------------------------------------------------------------------------------ */

static void on_client_event(struct stream *stream) {
    struct session *s = stream->owner;
    switch (s->phase) {
    case PHASE_LOGIN:
        login_on_event(s->login);
        break;
    case PHASE_LINKING:
        if (stream->state == STREAM_BROKEN ||
            (stream->state == STREAM_EOF && !session_has_whole_message(s)))
            session_end(s, "client disconnected");
        break;
    case PHASE_READY:
        session_process(s);
        break;
    case PHASE_CONSOLE:
        console_on_event(s->console);
        break;
    case PHASE_CLOSING:
        break;
    }
}

bool session_open(struct worker *worker, int fd, bool is_unix, const char *peer,
                  struct error *error) {
    size_t databases = worker->config->settings->database_count;
    struct session *s = alloc_new(sizeof *s + databases * sizeof s->links[0]);
    s->worker = worker;
    s->config = worker_config_ref(worker->config);
    s->link_count = (int)databases;
    s->is_unix = is_unix;
    s->connected = time(NULL);
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
    if (!login_start(&s->login, worker, &s->client, is_unix, s->peer, session_on_login_done, s,
                     &why)) {
        log_event(worker->log, LOG_ERROR, "cannot start a login",
                  (struct log_field[]){{"client", s->peer, 0}, {"error", why.text, 0}, {0}});
        session_end(s, why.text); /* the worker has counted it, and is told here that it is gone */
    }
    return true;
}
