/* The extended protocol: Execute, Flush, Sync, and what all of its messages share. A message goes
 * to the link where its statement or portal lives; what the proxy runs itself it answers itself.
 * After an error everything is skipped up to Sync, and what the pipeline did before is undone. */
#include "proxy/session_internal.h"
#include "proxy/session_sequences.h"
#include "proxy/session_violations.h"

#include "config/alloc.h"
#include "config/rarely.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void session_fail_pipeline(struct session *s) {
    s->skip_until_sync = true;
    if (session_block_status(s->routing) == BLOCK_IMPLICIT)
        s->implicit_failed = true;
}

enum progress extended_consumed(struct session *s, size_t length) {
    stream_consume(&s->client, length);
    if (s->query != NULL)
        query_unref(session_give_query(s));
    return PROGRESS_DONE;
}

/* The rest of the message may not have arrived yet. */
enum progress extended_dropped(struct session *s, size_t length) {
    size_t available = stream_available(&s->client);
    size_t here = available < length ? available : length;
    stream_consume(&s->client, here);
    if (here < length) {
        s->body_fate = BODY_DROP;
        s->body_left = length - here;
    }
    return PROGRESS_DONE;
}

enum progress extended_refused(struct session *s, size_t length) {
    session_fail_pipeline(s);
    if (s->query != NULL)
        query_unref(session_give_query(s));
    return extended_dropped(s, length);
}

enum progress extended_malformed(struct session *s, const struct error *error) {
    reply_fatal(s, "08P01", error->text, NULL, NULL);
    session_end(s, error->text);
    return PROGRESS_WAIT;
}

enum progress extended_not_ready(struct session *s, enum use use, size_t length) {
    if (use == USE_FAILED)
        return extended_refused(s, length);
    return use == USE_WAIT ? PROGRESS_WAIT : PROGRESS_DONE;
}

/* Effects of an Execute that are known only with its answer: what comes next has to wait for it. */
bool extended_behind_barrier(struct session *s) {
    return s->barrier && session_wait_drained(s) == PROGRESS_WAIT;
}

struct request *extended_forward(struct session *s, struct link *link, enum request_kind kind,
                                 size_t length) {
    struct request *request = answers_push(&link->answers, kind, AUDIENCE_CLIENT);
    link->unsynced = true;
    session_forward_message(s, link, length);
    return request;
}

/* What may be done although the block failed: its end; and an empty text may be parsed, no more. */
static bool runs_in_failed_block(const struct query *query, enum request_kind kind) {
    if (query == NULL || query->count > 1)
        return false;
    return query->count == 0 ? kind == REQUEST_PARSE
                             : statement_leaves_failed_block(&query->statements[0]);
}

enum use extended_check_transaction(struct session *s, const struct query *query,
                                    database_set known_on, enum request_kind kind, size_t length) {
    if (!extended_transaction_in_doubt(s) || runs_in_failed_block(query, kind))
        return USE_READY;
    if (session_wait_drained(s) == PROGRESS_WAIT) /* errors keep their place among the answers */
        return USE_WAIT;
    if (session_tell_block_lost(s))
        return USE_FAILED;
    struct link *link = session_failed_link(s);
    if (link == NULL || !(known_on >> link->physical & 1)) {
        reply_aborted(s);
        return USE_FAILED;
    }
    if (s->query != NULL)
        query_unref(session_give_query(s));
    s->active = link;
    extended_forward(s, link, kind, length);
    return USE_ANSWERED;
}

/* -- Execute ----------------------------------------------------------------------------------- */

/* Statements whose effect on the session is certain enough to be noted when they are sent: if they
 * fail, the whole transaction fails with them, and takes the note along. */
static bool noted_when_sent(const struct statement *statement) {
    if (statement->facts->flags & (STATEMENT_SET_CONFIG | STATEMENT_TEMPORARY))
        return false;
    switch (statement->facts->kind) {
    case KIND_SELECT:
    case KIND_INSERT:
    case KIND_UPDATE:
    case KIND_DELETE:
    case KIND_MERGE:
    case KIND_TRUNCATE:
    case KIND_COPY_FROM:
    case KIND_COPY_TO:
    case KIND_EXPLAIN:
    case KIND_SHOW:
        return true;
    default:
        return false;
    }
}

static __attribute__((cold)) enum progress execute_local(struct session *s, struct portal *portal,
                                                         size_t length) {
    if (session_wait_drained(s) == PROGRESS_WAIT)
        return PROGRESS_WAIT;
    if (portal->done) {
        const char *name = portal->name != NULL ? portal->name : "";
        reply_error(s, "55000", session_message(s, "portal \"%s\" cannot be run", name), NULL,
                    NULL);
        return extended_refused(s, length);
    }
    portal->done = true;
    session_note_reading(s, prepared_statement(portal->prepared));
    script_start(s, query_ref(portal->prepared->query), true);
    stream_consume(&s->client, length);
    return PROGRESS_DONE;
}

static enum progress execute_on(struct session *s, const struct portal *portal, size_t length) {
    const struct statement *statement = prepared_statement(portal->prepared),
                           *effective = statement;
    struct decision decision; /* large, and only what is asked for below need be set */
    decision.violated = false;
    decision.destination = DESTINATION_ONE;
    decision.database = portal->database;
    if (statement != NULL) {
        if (!statement->plain && session_claim_pends(s, portal->database) &&
            session_wait_drained(s) == PROGRESS_WAIT)
            return PROGRESS_WAIT;
        if (session_resolve_names(s, statement) == PROGRESS_WAIT)
            return PROGRESS_WAIT;
        session_route_now(s, statement, &decision, &effective);
        if (RARELY(decision.violated)) {
            if (session_wait_drained(s) == PROGRESS_WAIT)
                return PROGRESS_WAIT;
            reply_violation(s, portal->prepared->query, statement, &decision);
            return extended_refused(s, length);
        }
    }
    bool moved = !decision.violated && decision.destination == DESTINATION_ONE &&
                 decision.database >= 0 &&
                 session_physical(s, decision.database) != session_physical(s, portal->database);
    if (RARELY(moved && statement != NULL && statement->writes)) {
        /* A shared table's row goes where the transaction writes, and that has changed since Bind.
         */
        if (session_wait_drained(s) == PROGRESS_WAIT)
            return PROGRESS_WAIT;
        reply_error(s, rule_sqlstate(RULE_UNROUTABLE),
                    "the portal was bound for another database than the transaction "
                    "writes to by now",
                    NULL, "Bind it after the transaction's first write.");
        return extended_refused(s, length);
    }
    struct link *link;
    enum use use = session_use_link(s, portal->database, &link);
    if (use != USE_READY)
        return extended_not_ready(s, use, length);
    if (statement != NULL)
        session_own_sequences(s, link, statement, 1, false);
    struct query *query = query_ref(portal->prepared->query);
    int database = portal->database;
    if (session_block_status(s->routing) == BLOCK_IDLE)
        session_begin_implicit(s->routing);
    struct request *request = extended_forward(s, link, REQUEST_EXECUTE, length);
    request->query = query;
    request->database = database;
    link->wrote = link->wrote || request_writes(request);
    session_note_reading(s, statement != NULL ? effective : NULL);
    if (statement == NULL)
        return PROGRESS_DONE;
    session_note_observations(s, query_sent_text(query), statement, &decision);
    request->apply = !noted_when_sent(statement);
    if (request->apply) {
        session_keep_effects(request, statement, &decision);
        s->barrier = true;
        s->noted_late = true;
    } else {
        decision.database = database;
        session_executed(s->routing, effective, &decision);
    }
    return PROGRESS_DONE;
}

int session_portal_database(struct session *s, const char *name) {
    int database = session_cursor_database(s->routing, name);
    return database >= 0 ? database : session_default_database(s->routing);
}

/* The physical database that has the portal. */
static database_set portal_home(const struct session *s, const struct portal *portal) {
    return portal->database >= 0 ? database_bit(session_physical(s, portal->database)) : 0;
}

/* Perhaps a cursor that was declared in SQL, or a name that the server does not know either. */
static __attribute__((noinline)) enum progress execute_unbound(struct session *s, const char *name,
                                                               size_t length) {
    struct link *link;
    enum use use = session_use_link(s, session_portal_database(s, name), &link);
    if (use != USE_READY)
        return extended_not_ready(s, use, length);
    extended_forward(s, link, REQUEST_EXECUTE, length);
    return PROGRESS_DONE;
}

enum progress session_on_execute(struct session *s, const uint8_t *body, size_t body_length,
                                 size_t length) {
    struct execute_message execute;
    struct error error;
    if (!message_read_execute(body, body_length, &execute, &error))
        return extended_malformed(s, &error);
    if (RARELY(s->skip_until_sync))
        return extended_consumed(s, length);
    if (RARELY(extended_behind_barrier(s)))
        return PROGRESS_WAIT;
    if (session_take_catalog_failure(s))
        return extended_refused(s, length);
    struct portal *portal = portal_find(&s->portals, execute.portal);
    if (extended_transaction_in_doubt(s)) {
        enum use use = extended_check_transaction(
            s, portal != NULL ? portal->prepared->query : NULL,
            portal != NULL ? portal_home(s, portal) : KNOWN_ANYWHERE, REQUEST_EXECUTE, length);
        if (use != USE_READY)
            return extended_not_ready(s, use, length);
    }
    if (RARELY(portal == NULL))
        return execute_unbound(s, execute.portal, length);
    return portal->database < 0 ? execute_local(s, portal, length) : execute_on(s, portal, length);
}

/* -- Flush, Sync ------------------------------------------------------------------------------- */

enum progress session_on_flush(struct session *s, size_t length) {
    struct link *link = s->active;
    if (link == NULL || link->answers.count == 0)
        return extended_consumed(s, length);
    answers_last(&link->answers)->flushed = true;
    session_forward_message(s, link, length);
    return PROGRESS_DONE;
}

/* One link has the whole pipeline: its Sync is the client's. */
static enum progress sync_one(struct session *s, struct link *link, size_t length) {
    bool failed = link->skipping;
    s->skip_until_sync = false;
    bool certain = !s->noted_late && s->block.count == 0;
    if (session_block_status(s->routing) == BLOCK_IMPLICIT && certain && !failed) {
        /* Nothing that was done in it is worth remembering, whether or not it commits: what the
         * client sends next need not wait. */
        session_end_implicit(s->routing, true);
        if (portal_any(&s->portals))
            portal_clear(&s->portals);
    }
    if (session_block_status(s->routing) == BLOCK_IMPLICIT)
        s->barrier = true; /* the answer ends it: what comes next belongs to another transaction */
    struct request *request = answers_push(&link->answers, REQUEST_SYNC, AUDIENCE_CLIENT);
    request->failed = failed;
    s->active = link;
    session_forward_message(s, link, length);
    return PROGRESS_DONE;
}

/* A Sync whose answer decides what the session remembers. */
static bool behind_sync(struct session *s) {
    struct answers *answers = s->active != NULL ? &s->active->answers : NULL;
    return s->barrier && answers != NULL && answers->count > 0 &&
           answers_last(answers)->kind == REQUEST_SYNC;
}

/* None has any of it, or several have. `implicit`, `undo`: a transaction is to end, and how. */
static __attribute__((noinline)) enum progress sync_else(struct session *s, database_set unsynced,
                                                         bool implicit, bool undo, size_t length) {
    bool is_idle = unsynced == 0 && !implicit && session_drained(s);
    if (!is_idle && session_wait_drained(s) == PROGRESS_WAIT)
        return PROGRESS_WAIT;
    stream_consume(&s->client, length);
    s->skip_until_sync = false;
    if (unsynced == 0) {
        if (implicit) {
            session_end_implicit(s->routing, !undo);
            session_block_finished(s, !undo, false);
        }
        s->implicit_failed = false;
        reply_ready(s);
        return PROGRESS_DONE;
    }
    script_start_sync(s, unsynced, !undo);
    return PROGRESS_DONE;
}

enum progress session_on_sync(struct session *s, size_t length) {
    if (RARELY(behind_sync(s)))
        return PROGRESS_WAIT;
    database_set unsynced = session_links_unsynced(s);
    struct link *link = unsynced != 0 ? s->links[database_set_first(unsynced)] : NULL;
    bool implicit = session_block_status(s->routing) == BLOCK_IMPLICIT;
    if (RARELY(s->block_lost >= 0) && implicit && !s->skip_until_sync) {
        if (session_wait_drained(s) == PROGRESS_WAIT)
            return PROGRESS_WAIT;
        session_tell_block_lost(s);
    }
    bool undo = implicit && s->implicit_failed;
    bool single = link != NULL && (unsynced & (unsynced - 1)) == 0;
    if (single && (!undo || link->skipping) && (s->active == link || session_drained(s)))
        return sync_one(s, link, length);
    return sync_else(s, unsynced, implicit, undo, length);
}
