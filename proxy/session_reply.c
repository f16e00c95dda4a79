/* What the proxy says itself: errors, notices, and the answers to statements that need no database.
 */
#include "proxy/session_internal.h"
#include "proxy/session_violations.h"

#include "config/alloc.h"
#include "routing/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 'I', 'T' or 'E' */
static char status_of(const struct session *s) {
    switch (session_block_status(s->routing)) {
    case BLOCK_OPEN:
        return 'T';
    case BLOCK_FAILED:
        return 'E';
    default:
        return 'I';
    }
}

void reply_flush(struct session *s) {
    if (s->out.length == 0)
        return;
    stream_send(&s->client, s->out.data, s->out.length);
    wire_buffer_close(&s->out); /* an idle session keeps nothing */
}

const char *session_message(struct session *s, const char *format, ...) {
    va_list arguments;
    free(s->message);
    va_start(arguments, format);
    s->message = alloc_format_list(format, arguments);
    va_end(arguments);
    return s->message;
}

/* The commonest answers are written where they go, without a buffer on their way. */
static void send_short(struct session *s, const uint8_t *message, size_t length) {
    reply_flush(s);
    stream_send(&s->client, message, length);
}

void reply_ready(struct session *s) {
    session_heed_news(s);
    const uint8_t message[] = {'Z', 0, 0, 0, 5, (uint8_t)status_of(s)};
    send_short(s, message, sizeof message);
}

void reply_command_complete(struct session *s, const char *tag) {
    message_put_command_complete(&s->out, tag);
    reply_flush(s);
}

void reply_empty(struct session *s, char type) {
    const uint8_t message[] = {(uint8_t)type, 0, 0, 0, 4};
    send_short(s, message, sizeof message);
}

static void put(struct session *s, char type, const struct diagnostic *diagnostic) {
    message_put_diagnostic(&s->out, type, diagnostic);
    reply_flush(s);
}

static void log_reply(struct session *s, enum log_level level, const char *what,
                      const char *sqlstate, const char *message) {
    log_event(s->worker->log, level, what,
              (struct log_field[]){{"client", s->peer, 0},
                                   {"pid", NULL, (int64_t)s->pid},
                                   {"sqlstate", sqlstate, 0},
                                   {"error", message, 0},
                                   {0}});
}

void reply_error(struct session *s, const char *sqlstate, const char *message, const char *detail,
                 const char *hint) {
    struct diagnostic diagnostic = {.severity = "ERROR",
                                    .sqlstate = sqlstate,
                                    .message = message,
                                    .detail = detail,
                                    .hint = hint,
                                    .routine = "pginterlock"};
    put(s, 'E', &diagnostic);
    log_reply(s, LOG_WARNING, "error told to a client", sqlstate, message);
    session_failed(s->routing);
}

/* Whether the client has got the beginning of a message only, so that nothing else can be sent. */
bool session_is_mid_message(const struct session *s) {
    const struct link *link = s->active;
    return link != NULL && link->frame_left > 0 && link->frame_forwarded;
}

void reply_fatal(struct session *s, const char *sqlstate, const char *message, const char *detail,
                 const char *hint) {
    struct diagnostic diagnostic = {.severity = "FATAL",
                                    .sqlstate = sqlstate,
                                    .message = message,
                                    .detail = detail,
                                    .hint = hint,
                                    .routine = "pginterlock"};
    if (!session_is_mid_message(s))
        put(s, 'E', &diagnostic);
    log_reply(s, LOG_WARNING, "session ended by an error", sqlstate, message);
}

void reply_notice(struct session *s, const char *severity, const char *sqlstate,
                  const char *message) {
    struct diagnostic diagnostic = {.severity = severity, .sqlstate = sqlstate, .message = message};
    put(s, 'N', &diagnostic);
}

void reply_stale_plan(struct session *s) {
    struct diagnostic diagnostic = {.severity = "ERROR",
                                    .sqlstate = "0A000",
                                    .message = "cached plan must not change result type",
                                    .routine = "RevalidateCachedQuery"};
    put(s, 'E', &diagnostic);
    session_failed(s->routing);
}

void reply_aborted(struct session *s) {
    struct diagnostic diagnostic = {
        .severity = "ERROR",
        .sqlstate = "25P02",
        .message =
            "current transaction is aborted, commands ignored until end of transaction block"};
    put(s, 'E', &diagnostic);
}

void reply_violation(struct session *s, const struct query *query,
                     const struct statement *statement, const struct decision *decision) {
    const struct violation *violation = &decision->violation;
    char position[16], routine[64];
    snprintf(position, sizeof position, "%d",
             position_in_characters(query->text, query->length, violation->position));
    bool of_rule = strcmp(violation->sqlstate, rule_sqlstate(violation->rule)) == 0;
    snprintf(routine, sizeof routine, "pginterlock%s%s", of_rule ? "_" : "",
             of_rule ? rule_name(violation->rule) : "");
    struct diagnostic diagnostic = {.severity = "ERROR",
                                    .sqlstate = violation->sqlstate,
                                    .message = violation->message,
                                    .detail = violation->detail,
                                    .hint = violation->hint,
                                    .position = violation->position >= 0 ? position : NULL,
                                    .table = violation->table,
                                    .routine = routine};
    put(s, 'E', &diagnostic);
    session_note_rejection(s, query_sent_text(query), statement, decision);
    session_failed(s->routing);
}

/* SET, RESET and SHOW of the proxy's own settings; the caller has checked a SET's value. */
void reply_local_statement(struct session *s, const struct query *query,
                           const struct statement *statement, const struct decision *decision,
                           bool describe) {
    (void)query;
    const struct statement_facts *facts = statement->facts;
    if (facts->kind == KIND_SHOW) {
        if (describe)
            message_put_text_column(&s->out, facts->name);
        message_put_text_row(&s->out, session_show(s->routing, facts->name));
        message_put_command_complete(&s->out, "SHOW");
        reply_flush(s);
        return;
    }
    session_executed(s->routing, statement, decision);
    reply_command_complete(s, facts->flags & STATEMENT_DEFAULT ? "RESET" : "SET");
}
