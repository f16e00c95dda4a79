/* The extended protocol: Parse, Bind, Describe, Execute, Close, Flush, Sync. A message goes to the link where its
 * statement or portal lives; what the proxy runs itself it answers itself. After an error everything is skipped up to
 * Sync, and what the pipeline did before is undone. */
#include "proxy/session_internal.h"

#include "config/alloc.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void session_fail_pipeline(struct session *s) {
    s->skip_until_sync = true;
    if (session_block_status(s->routing) == BLOCK_IMPLICIT)
        s->implicit_failed = true;
}

static enum progress consumed(struct session *s, size_t length) {
    stream_consume(&s->client, length);
    if (s->query != NULL)
        query_unref(session_give_query(s));
    return PROGRESS_DONE;
}

/* The rest of the message may not have arrived yet. */
static enum progress dropped(struct session *s, size_t length) {
    size_t available = stream_available(&s->client);
    size_t here = available < length ? available : length;
    stream_consume(&s->client, here);
    if (here < length) {
        s->body_fate = BODY_DROP;
        s->body_left = length - here;
    }
    return PROGRESS_DONE;
}

static enum progress refused(struct session *s, size_t length) {
    session_fail_pipeline(s);
    if (s->query != NULL)
        query_unref(session_give_query(s));
    return dropped(s, length);
}

static enum progress malformed(struct session *s, const struct error *error) {
    reply_fatal(s, "08P01", error->text, NULL, NULL);
    session_end(s, error->text);
    return PROGRESS_WAIT;
}

/* Effects of an Execute that are known only with its answer: what comes next has to wait for it. */
static bool behind_barrier(struct session *s) {
    return s->barrier && session_wait_drained(s) == PROGRESS_WAIT;
}

static struct request *forward(struct session *s, struct link *link, enum request_kind kind, size_t length) {
    struct request *request = answers_push(&link->answers, kind, AUDIENCE_CLIENT);
    link->unsynced = true;
    session_forward_message(s, link, length);
    return request;
}

static bool leaves_failed_block(const struct statement *statement) {
    return statement != NULL && statement_leaves_failed_block(statement);
}

/* 25P02, or the loss of a link within the transaction. USE_FAILED: the client has got the error; USE_ANSWERED: the
 * message went to a database that will refuse it in its own words. */
static enum use check_transaction(struct session *s, const struct statement *statement, enum request_kind kind,
                                  size_t length) {
    bool failed = session_block_status(s->routing) == BLOCK_FAILED;
    if ((s->block_lost < 0 && !failed) || leaves_failed_block(statement))
        return USE_READY;
    if (session_wait_drained(s) == PROGRESS_WAIT) /* errors keep their place among the answers */
        return USE_WAIT;
    if (session_tell_block_lost(s))
        return USE_FAILED;
    struct link *link = session_failed_link(s);
    if (link == NULL) {
        reply_aborted(s);
        return USE_FAILED;
    }
    if (s->query != NULL)
        query_unref(session_give_query(s));
    s->active = link;
    forward(s, link, kind, length);
    return USE_ANSWERED;
}

/* -- Parse -------------------------------------------------------------------------------------------------------- */

/* The database of a statement, whether or not the open transaction would let it run now. */
static int home_of(struct session *s, const struct statement *statement, const struct decision *decision) {
    if (!decision->violated)
        return decision->database;
    if (statement->hint_database >= 0)
        return statement->hint_database;
    return statement->databases != 0 && (statement->databases & (statement->databases - 1)) == 0
               ? __builtin_ctz(statement->databases)
               : session_default_database(s->routing);
}

/* *database -1: the proxy runs it itself. */
static enum use place_parse(struct session *s, const char *name, const struct prepared *existing, size_t length,
                            int *database) {
    const struct query *query = s->query;
    if (existing != NULL) { /* its name is taken: the server that has it says so */
        *database = existing->local ? session_default_database(s->routing) : existing->database;
        return USE_READY;
    }
    const struct statement *statement = query->count == 1 ? &query->statements[0] : NULL, *effective;
    enum use use = check_transaction(s, statement, REQUEST_PARSE, length);
    if (use != USE_READY)
        return use;
    int taken = name[0] != '\0' ? session_prepared_database(s->routing, name) : -1;
    if (taken >= 0) { /* by PREPARE: the server that has it says so */
        *database = taken;
        return USE_READY;
    }
    if (statement == NULL) { /* empty, or several commands, which the server refuses */
        *database = session_default_database(s->routing);
        return USE_READY;
    }
    if (statement_is_scripted(statement)) {
        *database = -1;
        return USE_READY;
    }
    struct decision decision;
    session_route(s, statement, &decision, &effective);
    /* What only this transaction forbids is for Execute to say. */
    if (decision.violated && decision.violation.rule != RULE_CROSS_TRANSACTION) {
        if (session_wait_drained(s) == PROGRESS_WAIT)
            return USE_WAIT;
        reply_violation(s, query, statement, &decision.violation);
        return USE_FAILED;
    }
    *database = home_of(s, statement, &decision);
    return USE_READY;
}

enum progress session_on_parse(struct session *s, const uint8_t *body, size_t body_length, size_t length) {
    struct parse_message parse;
    struct error error = {{0}};
    if (!message_read_parse(body, body_length, &parse, &error))
        return malformed(s, &error);
    if (s->skip_until_sync)
        return consumed(s, length);
    if (behind_barrier(s))
        return PROGRESS_WAIT;
    if (!session_take_query(s, parse.text, parse.text_length, false))
        return refused(s, length);
    struct prepared *existing = parse.name[0] != '\0' ? prepared_find(s->prepared, parse.name) : NULL;
    int database = -1;
    enum use use = place_parse(s, parse.name, existing, length, &database);
    if (use == USE_READY && database < 0 && session_wait_drained(s) == PROGRESS_WAIT)
        return PROGRESS_WAIT;
    struct link *link = NULL;
    if (use == USE_READY && database >= 0)
        use = session_use_link(s, database, &link);
    if (use == USE_ANSWERED)
        return PROGRESS_DONE;
    if (use == USE_WAIT)
        return PROGRESS_WAIT;
    if (use == USE_FAILED)
        return refused(s, length);
    struct prepared *prepared = NULL;
    if (existing == NULL) {
        prepared = prepared_new(parse.name, session_give_query(s));
        prepared->local = link == NULL;
        prepared->database = database;
        prepared->prepared_on = link != NULL ? (database_set)1 << link->physical : 0;
        prepared->types_length = 4u * parse.type_count;
        if (prepared->types_length > 0) {
            prepared->types = alloc_new(prepared->types_length);
            memcpy(prepared->types, parse.types, prepared->types_length);
        }
        prepared_enter(&s->prepared, prepared);
    } else {
        query_unref(session_give_query(s));
    }
    if (link == NULL) {
        stream_consume(&s->client, length);
        reply_empty(s, '1');
        prepared_unref(prepared);
        return PROGRESS_DONE;
    }
    forward(s, link, REQUEST_PARSE, length)->prepared = prepared;
    return PROGRESS_DONE;
}

/* -- Bind --------------------------------------------------------------------------------------------------------- */

/* A statement that every database could run (shared tables, none at all) runs where the transaction wants it, not
 * where it happened to be parsed. */
static int place_bind(struct session *s, const struct prepared *prepared) {
    const struct statement *statement = prepared_statement(prepared);
    if (statement == NULL || statement->schemas != 0 || statement->facts->kind == KIND_UNPARSED)
        return prepared->database;
    struct decision decision;
    const struct statement *effective;
    session_route(s, statement, &decision, &effective);
    if (decision.violated || decision.destination != DESTINATION_ONE)
        return prepared->database;
    return decision.database;
}

/* Parse again, on another link than at first. */
static void prepare_there(struct session *s, struct link *link, struct prepared *prepared) {
    struct wire_buffer out = {0};
    if (prepared->name[0] != '\0') { /* an earlier one of the name may have been left there */
        message_put_close(&out, 'S', prepared->name);
        answers_push(&link->answers, REQUEST_CLOSE, AUDIENCE_PROXY);
    }
    size_t mark = message_begin(&out, 'P');
    message_put_string(&out, prepared->name);
    wire_append(&out, prepared->query->text, prepared->query->length);
    message_put_u8(&out, 0);
    message_put_u16(&out, (uint16_t)(prepared->types_length / 4));
    wire_append(&out, prepared->types, prepared->types_length);
    message_end(&out, mark);
    stream_send(&link->stream, out.data, out.length);
    wire_buffer_close(&out);
    answers_push(&link->answers, REQUEST_PARSE, AUDIENCE_PROXY)->prepared = prepared_ref(prepared);
    prepared->prepared_on |= (database_set)1 << link->physical;
    (void)s;
}

enum progress session_on_bind(struct session *s, const struct bind_message *bind, size_t length) {
    if (s->skip_until_sync)
        return dropped(s, length);
    if (behind_barrier(s))
        return PROGRESS_WAIT;
    struct prepared *prepared = prepared_find(s->prepared, bind->statement);
    enum use use = check_transaction(s, prepared != NULL ? prepared_statement(prepared) : NULL, REQUEST_BIND, length);
    if (use == USE_READY && prepared != NULL && prepared->local) {
        if (session_wait_drained(s) == PROGRESS_WAIT)
            return PROGRESS_WAIT;
        portal_enter(&s->portals, bind->portal, prepared, -1);
        dropped(s, length);
        reply_empty(s, '2');
        return PROGRESS_DONE;
    }
    int database = prepared != NULL ? place_bind(s, prepared) : session_default_database(s->routing);
    const struct portal *taken = bind->portal[0] != '\0' ? portal_find(s->portals, bind->portal) : NULL;
    if (use == USE_READY && taken != NULL && taken->database != database) {
        if (session_wait_drained(s) == PROGRESS_WAIT)
            return PROGRESS_WAIT;
        char message[200];
        snprintf(message, sizeof message, "cursor \"%s\" already exists", bind->portal);
        reply_error(s, "42P03", message, NULL, NULL);
        return refused(s, length);
    }
    struct link *link = NULL;
    if (use == USE_READY)
        use = session_use_link(s, database, &link);
    if (use == USE_ANSWERED)
        return PROGRESS_DONE;
    if (use == USE_WAIT)
        return PROGRESS_WAIT;
    if (use == USE_FAILED)
        return refused(s, length);
    if (prepared != NULL) {
        if (!(prepared->prepared_on >> link->physical & 1))
            prepare_there(s, link, prepared);
        portal_enter(&s->portals, bind->portal, prepared, database);
    }
    forward(s, link, REQUEST_BIND, length);
    return PROGRESS_DONE;
}

/* -- Describe, Close ---------------------------------------------------------------------------------------------- */

static void describe_local(struct session *s, char kind, const struct prepared *prepared) {
    const struct statement *statement = prepared_statement(prepared);
    if (kind == 'S') {
        size_t mark = message_begin(&s->out, 't');
        message_put_u16(&s->out, 0);
        message_end(&s->out, mark);
    }
    if (statement != NULL && statement->facts->kind == KIND_SHOW)
        message_put_text_column(&s->out, statement->facts->name);
    else
        message_put_empty(&s->out, 'n');
    reply_flush(s);
}

/* Where a statement ('S') or portal ('P') of that name lives; the active link where it is not known. */
static int find_named(struct session *s, const struct named_message *named, struct prepared **prepared) {
    *prepared = NULL;
    if (named->kind == 'S') {
        *prepared = prepared_find(s->prepared, named->name);
        return *prepared != NULL ? (*prepared)->database : session_default_database(s->routing);
    }
    struct portal *portal = portal_find(s->portals, named->name);
    if (portal == NULL)
        return session_default_database(s->routing);
    *prepared = portal->prepared;
    return portal->database;
}

enum progress session_on_describe(struct session *s, const uint8_t *body, size_t body_length, size_t length) {
    struct named_message named;
    struct error error = {{0}};
    if (!message_read_named(body, body_length, &named, &error))
        return malformed(s, &error);
    if (s->skip_until_sync)
        return consumed(s, length);
    if (behind_barrier(s))
        return PROGRESS_WAIT;
    struct prepared *prepared;
    int database = find_named(s, &named, &prepared);
    if (prepared != NULL && prepared->local) {
        if (session_wait_drained(s) == PROGRESS_WAIT)
            return PROGRESS_WAIT;
        stream_consume(&s->client, length);
        describe_local(s, named.kind, prepared);
        return PROGRESS_DONE;
    }
    struct link *link;
    enum use use = session_use_link(s, database, &link);
    if (use == USE_WAIT)
        return PROGRESS_WAIT;
    if (use == USE_FAILED)
        return refused(s, length);
    if (named.kind == 'S' && prepared != NULL && !(prepared->prepared_on >> link->physical & 1))
        prepare_there(s, link, prepared);
    forward(s, link, REQUEST_DESCRIBE, length);
    return PROGRESS_DONE;
}

/* A statement may have been prepared on several links: the others forget it unseen. */
static void close_elsewhere(struct session *s, const struct prepared *prepared, const struct link *except) {
    for (int i = 0; i < DATABASES_MAX; i++) {
        struct link *link = s->links[i];
        if (link == NULL || link == except || !(prepared->prepared_on >> i & 1) || link->answers.count > 0)
            continue;
        struct wire_buffer out = {0};
        message_put_close(&out, 'S', prepared->name);
        message_put_sync(&out);
        stream_send(&link->stream, out.data, out.length);
        wire_buffer_close(&out);
        answers_push(&link->answers, REQUEST_CLOSE, AUDIENCE_PROXY);
        answers_push(&link->answers, REQUEST_SYNC, AUDIENCE_PROXY);
        session_flush_link(link);
    }
}

enum progress session_on_close(struct session *s, const uint8_t *body, size_t body_length, size_t length) {
    struct named_message named;
    struct error error = {{0}};
    if (!message_read_named(body, body_length, &named, &error))
        return malformed(s, &error);
    if (s->skip_until_sync)
        return consumed(s, length);
    if (behind_barrier(s))
        return PROGRESS_WAIT;
    struct prepared *prepared;
    int database = find_named(s, &named, &prepared);
    bool local = prepared != NULL && prepared->local;
    struct link *link = NULL;
    if (local && session_wait_drained(s) == PROGRESS_WAIT)
        return PROGRESS_WAIT;
    if (!local) {
        enum use use = session_use_link(s, database, &link);
        if (use == USE_WAIT)
            return PROGRESS_WAIT;
        if (use == USE_FAILED)
            return refused(s, length);
    }
    if (prepared != NULL)
        prepared_ref(prepared);
    if (named.kind == 'P')
        portal_remove(&s->portals, named.name);
    else if (prepared != NULL)
        prepared_remove(&s->prepared, prepared);
    if (local) {
        prepared_unref(prepared);
        stream_consume(&s->client, length);
        reply_empty(s, '3');
        return PROGRESS_DONE;
    }
    bool statement = named.kind == 'S' && prepared != NULL;
    if (statement && (prepared->prepared_on & (prepared->prepared_on - 1)) != 0)
        close_elsewhere(s, prepared, link);
    struct request *request = forward(s, link, REQUEST_CLOSE, length);
    if (statement)
        request->prepared = prepared;
    else if (prepared != NULL)
        prepared_unref(prepared);
    return PROGRESS_DONE;
}

/* -- Execute ------------------------------------------------------------------------------------------------------ */

/* Statements whose effect on the session is certain enough to be noted when they are sent: if they fail, the whole
 * transaction fails with them, and takes the note along. */
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

static enum progress execute_local(struct session *s, const struct portal *portal, size_t length) {
    if (session_wait_drained(s) == PROGRESS_WAIT)
        return PROGRESS_WAIT;
    script_start(s, query_ref(portal->prepared->query), true);
    stream_consume(&s->client, length);
    return PROGRESS_DONE;
}

static enum progress execute_on(struct session *s, const struct portal *portal, size_t length) {
    const struct statement *statement = prepared_statement(portal->prepared), *effective = statement;
    struct decision decision = {.destination = DESTINATION_ONE, .database = portal->database};
    if (statement != NULL) {
        session_route(s, statement, &decision, &effective);
        if (decision.violated) {
            if (session_wait_drained(s) == PROGRESS_WAIT)
                return PROGRESS_WAIT;
            reply_violation(s, portal->prepared->query, statement, &decision.violation);
            return refused(s, length);
        }
    }
    bool moved = !decision.violated && decision.destination == DESTINATION_ONE && decision.database >= 0 &&
                 session_physical(s, decision.database) != session_physical(s, portal->database);
    if (moved && statement != NULL && statement->writes) {
        /* A shared table's row goes where the transaction writes, and that has changed since Bind. */
        if (session_wait_drained(s) == PROGRESS_WAIT)
            return PROGRESS_WAIT;
        reply_error(s, rule_sqlstate(RULE_UNROUTABLE), "the portal was bound for another database than the transaction "
                    "writes to by now", NULL, "Bind it after the transaction's first write.");
        return refused(s, length);
    }
    struct link *link;
    enum use use = session_use_link(s, portal->database, &link);
    if (use == USE_WAIT)
        return PROGRESS_WAIT;
    if (use == USE_FAILED)
        return refused(s, length);
    struct query *query = query_ref(portal->prepared->query);
    int database = portal->database;
    if (session_block_status(s->routing) == BLOCK_IDLE)
        session_begin_implicit(s->routing);
    struct request *request = forward(s, link, REQUEST_EXECUTE, length);
    request->query = query;
    request->database = database;
    link->wrote = link->wrote || request_writes(request);
    if (statement == NULL)
        return PROGRESS_DONE;
    session_note_observations(s, statement, &decision);
    request->apply = !noted_when_sent(statement);
    if (request->apply) {
        s->barrier = true;
        s->noted_late = true;
    } else {
        decision.database = database;
        session_executed(s->routing, effective, &decision);
    }
    return PROGRESS_DONE;
}

enum progress session_on_execute(struct session *s, const uint8_t *body, size_t body_length, size_t length) {
    struct execute_message execute;
    struct error error = {{0}};
    if (!message_read_execute(body, body_length, &execute, &error))
        return malformed(s, &error);
    if (s->skip_until_sync)
        return consumed(s, length);
    if (behind_barrier(s))
        return PROGRESS_WAIT;
    struct portal *portal = portal_find(s->portals, execute.portal);
    enum use use = check_transaction(s, portal != NULL ? prepared_statement(portal->prepared) : NULL, REQUEST_EXECUTE, length);
    if (use == USE_READY && portal != NULL && portal->database < 0)
        return execute_local(s, portal, length);
    if (use == USE_READY && portal != NULL)
        return execute_on(s, portal, length);
    /* Perhaps a cursor that was declared in SQL, or a name that the server does not know either. */
    struct link *link = NULL;
    if (use == USE_READY)
        use = session_use_link(s, session_default_database(s->routing), &link);
    if (use == USE_ANSWERED)
        return PROGRESS_DONE;
    if (use == USE_WAIT)
        return PROGRESS_WAIT;
    if (use == USE_FAILED)
        return refused(s, length);
    forward(s, link, REQUEST_EXECUTE, length);
    return PROGRESS_DONE;
}

/* -- Flush, Sync -------------------------------------------------------------------------------------------------- */

enum progress session_on_flush(struct session *s, size_t length) {
    struct link *link = s->active;
    if (link == NULL || link->answers.count == 0)
        return consumed(s, length);
    answers_at(&link->answers, link->answers.count - 1)->flushed = true;
    session_forward_message(s, link, length);
    return PROGRESS_DONE;
}

/* One link has the whole pipeline: its Sync is the client's. */
static enum progress sync_one(struct session *s, struct link *link, size_t length) {
    bool failed = link->skipping;
    s->skip_until_sync = false;
    bool certain = !s->noted_late && s->block.count == 0;
    if (session_block_status(s->routing) == BLOCK_IMPLICIT && certain && !failed) {
        /* Nothing that was done in it is worth remembering, whether or not it commits: what the client sends next
         * need not wait. */
        session_end_implicit(s->routing, true);
        if (s->portals != NULL)
            portal_clear(&s->portals);
    }
    struct request *request = answers_push(&link->answers, REQUEST_SYNC, AUDIENCE_CLIENT);
    request->failed = failed;
    s->active = link;
    session_forward_message(s, link, length);
    return PROGRESS_DONE;
}

enum progress session_on_sync(struct session *s, size_t length) {
    database_set unsynced = 0;
    struct link *link = NULL;
    for (int i = 0; i < DATABASES_MAX; i++)
        if (s->links[i] != NULL && s->links[i]->unsynced) {
            unsynced |= (database_set)1 << i;
            link = s->links[i];
        }
    bool implicit = session_block_status(s->routing) == BLOCK_IMPLICIT;
    if (s->block_lost >= 0 && implicit && !s->skip_until_sync) {
        if (session_wait_drained(s) == PROGRESS_WAIT)
            return PROGRESS_WAIT;
        session_tell_block_lost(s);
    }
    bool undo = implicit && s->implicit_failed;
    bool single = link != NULL && (unsynced & (unsynced - 1)) == 0;
    if (single && (!undo || link->skipping) && (s->active == link || session_drained(s)))
        return sync_one(s, link, length);
    if (session_wait_drained(s) == PROGRESS_WAIT)
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
