/* The databases' errors: passed on, and what they mean for the requests behind them. */
#include "proxy/session_fan.h"
#include "proxy/session_internal.h"
#include "proxy/session_sequences.h"

#include "config/alloc.h"
#include "proxy/server_statements.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The same error with its position moved, since the database was sent only a part of the client's
 * text. */
static void forward_moved_error(struct session *s, const struct diagnostic *read, size_t offset) {
    struct diagnostic diagnostic = *read;
    char position[24];
    snprintf(position, sizeof position, "%zu", strtoul(read->position, NULL, 10) + offset);
    diagnostic.position = position;
    message_put_diagnostic(&s->out, 'E', &diagnostic);
    reply_flush(s);
}

static void log_error(struct session *s, const struct link *link,
                      const struct diagnostic *diagnostic) {
    if (!log_wants(s->worker->log, LOG_DEBUG))
        return;
    log_event(s->worker->log, LOG_DEBUG, "error from a database",
              (struct log_field[]){{"client", s->peer, 0},
                                   {"pid", NULL, (int64_t)s->pid},
                                   {"database", link->name, 0},
                                   {"sqlstate", diagnostic->sqlstate, 0},
                                   {"error", diagnostic->message, 0},
                                   {0}});
}

/* Nobody waits for it any more. Nothing should be lost with a transaction that only read; but code
 * that was made past the proxy is not known at once. */
static __attribute__((cold)) void log_late_error(struct session *s, const struct link *link,
                                                 const struct request *request,
                                                 const struct diagnostic *diagnostic) {
    if (request->asks_code)
        return;
    log_event(s->worker->log, LOG_WARNING, "a transaction that only read was not committed",
              (struct log_field[]){{"client", s->peer, 0},
                                   {"pid", NULL, (int64_t)s->pid},
                                   {"database", link->name, 0},
                                   {"sqlstate", diagnostic->sqlstate, 0},
                                   {"error", diagnostic->message, 0},
                                   {0}});
}

/* A statement of the client's does not exist then; one that was prepared again by us is only
 * missing there. */
void session_parse_failed(struct session *s, struct link *link, const struct request *request) {
    struct prepared *prepared = request->prepared;
    if (prepared->shared != NULL && !request->local)
        server_statements_remove(link->statements, prepared->shared);
    if (link->unnamed == prepared->serial)
        link->unnamed = 0;
    if (request->audience == AUDIENCE_PROXY)
        prepared->prepared_on &= ~((database_set)1 << link->physical);
    else
        prepared_remove(&s->prepared, prepared);
}

/* A statement that several clients share is of no use any more on any connection: what it selects
 * has other types by now. The client has got the error, as on a direct connection, and so will the
 * others that prepared it. */
static void note_stale_plan(struct session *s, const struct request *request,
                            const struct diagnostic *diagnostic) {
    bool stale = diagnostic->sqlstate != NULL && strcmp(diagnostic->sqlstate, "0A000") == 0 &&
                 diagnostic->routine != NULL &&
                 strcmp(diagnostic->routine, "RevalidateCachedQuery") == 0;
    if (stale && request->prepared != NULL && request->prepared->shared != NULL)
        session_statement_stale(s, request->prepared);
}

/* What skipped requests did to the names of statements is undone, the last one first: one name may
 * have been closed and given again several times. */
static void undo_names(struct session *s, struct link *link) {
    size_t count = 0;
    while (count < link->answers.count && answers_at(&link->answers, count)->kind != REQUEST_SYNC)
        count++;
    while (count-- > 0) {
        struct request *request = answers_at(&link->answers, count);
        if (request->kind == REQUEST_PARSE && request->prepared != NULL)
            session_parse_failed(s, link, request);
        if (request->kind == REQUEST_CLOSE && request->prepared != NULL)
            prepared_enter(&s->prepared, request->prepared);
        if (request->evicted != 0)
            server_statements_restore(link->statements, request->evicted);
    }
}

/* The server skips everything up to Sync: none of these requests will be answered. */
static void skip_requests(struct session *s, struct link *link) {
    bool simple = false;
    enum audience audience = AUDIENCE_CLIENT;
    undo_names(s, link);
    struct request *request;
    while ((request = answers_front(&link->answers)) != NULL && request->kind != REQUEST_SYNC) {
        simple = request->kind == REQUEST_QUERY || request->kind == REQUEST_FUNCTION;
        audience = request->audience;
        answers_pop(&link->answers);
    }
    if (request != NULL) {
        request->failed = true;
        return;
    }
    link->skipping = true;
    if (simple) {
        /* A prelude failed in front of a simple query, which the server skipped: bring both back in
         * step. */
        static const uint8_t sync[] = {'S', 0, 0, 0, 4};
        stream_send(&link->stream, sync, sizeof sync);
        answers_push(&link->answers, REQUEST_SYNC, audience)->failed = true;
        if (audience != AUDIENCE_CLIENT)
            s->script.failed = true;
        return;
    }
    session_fail_pipeline(s);
}

void session_on_error(struct session *s, struct link *link, const uint8_t *message, size_t length) {
    struct diagnostic diagnostic;
    struct error error = {{0}};
    if (!message_read_diagnostic(message + FRAME_HEADER, length - FRAME_HEADER, &diagnostic,
                                 &error))
        memset(&diagnostic, 0, sizeof diagnostic);
    if (diagnostic_is_fatal(&diagnostic)) {
        /* The connection ends with it, and is left as soon as this has been read. */
        free(link->last_words);
        link->last_words = alloc_text(diagnostic.message);
        free(link->last_message);
        link->last_message = (uint8_t *)alloc_copy((const char *)message, length);
        link->last_message_length = length;
        return;
    }
    log_error(s, link, &diagnostic);
    session_claim_failed(s, link);
    struct request *request = answers_front(&link->answers);
    if (request == NULL)
        return;
    if (request->trails) {
        log_late_error(s, link, request, &diagnostic);
        return;
    }
    if (request->asks_catalog && session_catalog_may_fail(link, diagnostic.sqlstate)) {
        skip_requests(s, link);
        return;
    }
    if (request->asks_catalog)
        session_catalog_failed(s, link->unsynced);
    request->failed = true;
    bool extended = request->kind != REQUEST_QUERY && request->kind != REQUEST_SYNC &&
                    request->kind != REQUEST_FUNCTION;
    bool told = request->audience != AUDIENCE_PROXY || extended || s->script.fan.active;
    if (told && diagnostic.sqlstate != NULL && strcmp(diagnostic.sqlstate, "57014") == 0)
        s->cancel_kept = false; /* it has hit */
    /* A lock of the session's stays although its statement failed. */
    if (request->query != NULL && request->next < request->query->count)
        session_note_binding(s, link, &request->query->statements[request->next]);
    note_stale_plan(s, request, &diagnostic);
    if (s->copy_in == link)
        s->copy_in = NULL;
    if (!extended && request->audience == AUDIENCE_PROXY) {
        fan_take_error(s, link, message, length);
        return;
    }
    if (request->part_offset > 0 && diagnostic.position != NULL)
        forward_moved_error(s, &diagnostic, request->part_offset);
    else
        stream_send(&s->client, message, length);
    if (request->audience == AUDIENCE_PART)
        s->script.failed = true;
    session_failed(s->routing);
    if (extended) {
        link->prelude_left = link->prelude_left || request->audience == AUDIENCE_PROXY;
        skip_requests(s, link);
    }
}
