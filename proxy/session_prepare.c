/* The extended protocol: Parse, Bind, Describe and Close of statements and portals. */
#include "proxy/session_internal.h"

#include "config/alloc.h"
#include "config/rarely.h"
#include "routing/escape_strings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- Parse ------------------------------------------------------------------------------------- */

/* The database of a statement, whether or not the open transaction would let it run now. */
static int home_of(struct session *s, const struct statement *statement,
                   const struct decision *decision) {
    if (!decision->violated)
        return decision->database;
    if (statement->hint_database >= 0)
        return statement->hint_database;
    database_set set =
        decision->subject != NULL ? decision->subject->databases : statement->databases;
    return set != 0 && (set & (set - 1)) == 0 ? database_set_first(set)
                                              : session_default_database(s->routing);
}

/* Whether the database has all that the statement names. */
static bool may_run_on(const struct statement *statement, int database) {
    return statement == NULL ||
           (!statement_is_scripted(statement) && (statement->databases >> database & 1) != 0);
}

/* *database -1: the proxy runs it itself. */
static enum use place_parse(struct session *s, const char *name, const struct prepared *existing,
                            size_t length, int *database) {
    const struct query *query = s->query;
    const struct statement *statement = query->count == 1 ? &query->statements[0] : NULL,
                           *effective;
    if (extended_transaction_in_doubt(s)) {
        enum use use = extended_check_transaction(s, query, KNOWN_ANYWHERE, REQUEST_PARSE, length);
        if (use != USE_READY)
            return use;
    }
    int taken = -1;
    if (existing != NULL && !existing->local)
        taken = existing->database;
    else if (existing == NULL && name[0] != '\0')
        taken = session_prepared_database(s->routing, name);
    if (taken >= 0 && may_run_on(statement, taken) &&
        s->pool_mode != POOL_TRANSACTION) { /* the server that has it says so */
        *database = taken;
        return USE_READY;
    }
    if (RARELY(taken >= 0 || existing != NULL)) {
        if (session_wait_drained(s) == PROGRESS_WAIT)
            return USE_WAIT;
        reply_error(s, "42P05",
                    session_message(s, "prepared statement \"%s\" already exists", name), NULL,
                    NULL);
        return USE_FAILED;
    }
    if (statement == NULL) { /* empty, or several commands, which the server refuses */
        *database = session_default_database(s->routing);
        return USE_READY;
    }
    if (session_scripts(s, statement)) {
        *database = -1;
        return USE_READY;
    }
    if (session_resolve_names(s, statement) == PROGRESS_WAIT)
        return USE_WAIT;
    struct decision decision;
    session_route(s, statement, &decision, &effective);
    /* What only this transaction forbids is for Execute to say. */
    if (RARELY(decision.violated) && decision.violation.rule != RULE_CROSS_TRANSACTION) {
        if (session_wait_drained(s) == PROGRESS_WAIT)
            return USE_WAIT;
        reply_violation(s, query, statement, &decision);
        return USE_FAILED;
    }
    *database = home_of(s, statement, &decision);
    return USE_READY;
}

/* What Parse makes, for s->query, whose reference it takes; a reference for the caller. Drivers
 * send one text as the unnamed statement again and again: where nobody holds the one before and it
 * was made of the same, it is made new in its place. */
static struct prepared *make_prepared(struct session *s, const struct parse_message *parse,
                                      int database) {
    size_t types_length = (size_t)4 * parse->type_count;
    struct prepared *prepared = parse->name[0] == '\0' ? s->prepared.unnamed : NULL;
    bool again = prepared != NULL && prepared->query == s->query && prepared->references == 1 &&
                 prepared->types_length == types_length &&
                 (types_length == 0 || memcmp(prepared->types, parse->types, types_length) == 0);
    if (again) {
        query_unref(session_give_query(s));
        prepared->prepared_on = 0;
    } else {
        prepared = prepared_new(parse->name, session_give_query(s));
        prepared->types_length = types_length;
        if (types_length > 0) {
            prepared->types = alloc_new(types_length);
            memcpy(prepared->types, parse->types, types_length);
        }
    }
    prepared->local = database < 0;
    prepared->database = database;
    session_share_statement(s, prepared);
    if (again)
        return prepared_ref(prepared);
    prepared_enter(&s->prepared, prepared);
    return prepared;
}

enum progress session_on_parse(struct session *s, const uint8_t *body, size_t body_length,
                               size_t length) {
    struct parse_message parse;
    struct error error;
    if (!message_read_parse(body, body_length, &parse, &error))
        return extended_malformed(s, &error);
    if (RARELY(s->skip_until_sync))
        return extended_consumed(s, length);
    if (RARELY(extended_behind_barrier(s) ||
               session_wait_reading(s, parse.text, parse.text_length) == PROGRESS_WAIT))
        return PROGRESS_WAIT;
    if (session_take_catalog_failure(s) ||
        !session_take_query(s, parse.text, parse.text_length, false))
        return extended_refused(s, length);
    struct prepared *existing =
        parse.name[0] != '\0' ? prepared_find(&s->prepared, parse.name) : NULL;
    int database = -1;
    enum use use = place_parse(s, parse.name, existing, length, &database);
    if (use == USE_READY && database < 0 && session_wait_drained(s) == PROGRESS_WAIT)
        return PROGRESS_WAIT;
    struct link *link = NULL;
    if (use == USE_READY && database >= 0)
        use = session_use_link_for(s, database, s->query, &link);
    if (use != USE_READY)
        return extended_not_ready(s, use, length);
    struct prepared *prepared = NULL;
    if (existing == NULL)
        prepared = make_prepared(s, &parse, database);
    else
        query_unref(session_give_query(s));
    if (link == NULL) {
        stream_consume(&s->client, length);
        reply_empty(s, '1');
        prepared_unref(prepared);
        return PROGRESS_DONE;
    }
    if (prepared != NULL)
        session_prepare_named(s, link, prepared->query->statements, prepared->query->count);
    session_forward_parse(s, link, prepared, &parse, length);
    return PROGRESS_DONE;
}

/* -- Bind -------------------------------------------------------------------------------------- */

/* A statement that every database could run (shared tables, none at all) runs where the transaction
 * wants it, not where it happened to be parsed. */
static int place_bind(struct session *s, const struct prepared *prepared) {
    const struct statement *statement = prepared_statement(prepared);
    if (statement == NULL)
        return prepared->database;
    bool moved = (statement->databases >> prepared->database & 1) == 0; /* by a reload */
    if (!moved && (statement->schemas != 0 || statement->facts->kind == KIND_UNPARSED))
        return prepared->database;
    struct decision decision;
    const struct statement *effective;
    session_route(s, statement, &decision, &effective);
    if (decision.violated || decision.destination != DESTINATION_ONE)
        return prepared->database;
    return decision.database;
}

/* Portals are one space to the client, whatever the database: the server's own words. */
static __attribute__((cold)) enum progress
refuse_taken_portal(struct session *s, const struct portal *taken, size_t length) {
    if (session_wait_drained(s) == PROGRESS_WAIT)
        return PROGRESS_WAIT;
    reply_error(s, "42P03", session_message(s, "cursor \"%s\" already exists", taken->name), NULL,
                NULL);
    return extended_refused(s, length);
}

enum { BIND_HERE_MAX = 16 * 1024 }; /* names and no parameters */

/* How many parameters a Bind gives; its counts have been checked. */
static unsigned bind_parameters(const struct session *s, const struct bind_message *bind,
                                size_t length) {
    if (stream_available(&s->client) < length)
        return 1; /* so long a Bind has some */
    const uint8_t *formats = (const uint8_t *)bind->statement + strlen(bind->statement) + 1;
    return wire_get_u16(formats + 2 + 2 * (size_t)wire_get_u16(formats));
}

/* Others' statements must not be reached by the names that they have on the server. */
static __attribute__((cold)) enum progress
refuse_unknown_statement(struct session *s, const char *name, size_t length) {
    if (session_wait_drained(s) == PROGRESS_WAIT)
        return PROGRESS_WAIT;
    reply_error(s, "26000", session_message(s, "prepared statement \"%s\" does not exist", name),
                NULL, NULL);
    return extended_refused(s, length);
}

/* Bind of a statement that nobody knows: the server has the words, and must not have the statement,
 * which nobody would count. */
static __attribute__((cold)) enum progress
bind_unknown(struct session *s, const struct bind_message *bind, size_t length) {
    if (session_name_is_reserved(s, bind->statement))
        return refuse_unknown_statement(s, bind->statement, length);
    struct link *link;
    enum use use = session_use_link(s, session_default_database(s->routing), &link);
    if (use != USE_READY)
        return extended_not_ready(s, use, length);
    struct wire_buffer out = {0};
    message_put_close(&out, 'S', bind->statement);
    stream_send(&link->stream, out.data, out.length);
    wire_buffer_close(&out);
    answers_push(&link->answers, REQUEST_CLOSE, AUDIENCE_PROXY);
    extended_forward(s, link, REQUEST_BIND, length);
    return PROGRESS_DONE;
}

/* Bind of what the proxy runs itself. */
static __attribute__((noinline)) enum progress bind_here(struct session *s,
                                                         const struct bind_message *bind,
                                                         struct prepared *prepared, size_t length) {
    if (session_wait_drained(s) == PROGRESS_WAIT)
        return PROGRESS_WAIT;
    if (stream_available(&s->client) < length && length <= BIND_HERE_MAX) {
        stream_reserve(&s->client, length);
        return PROGRESS_WAIT;
    }
    unsigned parameters = bind_parameters(s, bind, length);
    if (parameters > 0) {
        const char *message = session_message(
            s, "bind message supplies %u parameters, but prepared statement \"%s\" requires 0",
            parameters, bind->statement);
        reply_error(s, "08P01", message, NULL, NULL);
        return extended_refused(s, length);
    }
    portal_enter(&s->portals, bind->portal, prepared, -1);
    extended_dropped(s, length);
    reply_empty(s, '2');
    return PROGRESS_DONE;
}

/* The databases that can refuse it under the client's own name for it. */
static __attribute__((cold)) database_set known_on(const struct session *s,
                                                   const struct prepared *prepared) {
    database_set set = 0;
    for (int i = 0; i < s->link_count && prepared->shared == NULL; i++)
        if (s->links[i] != NULL && session_knows_statement(s->links[i], prepared))
            set |= database_bit(i);
    return set;
}

/* `prepared` NULL: no statement of that name is known. */
static enum progress bind_prepared(struct session *s, const struct bind_message *bind,
                                   struct prepared *prepared, size_t length) {
    enum use use = USE_READY;
    if (RARELY(prepared == NULL) && bind->statement[0] != '\0' && s->block_lost < 0 &&
        session_block_status(s->routing) == BLOCK_FAILED && session_failed_link(s) == NULL)
        return refuse_unknown_statement(s, bind->statement, length); /* what a server says first */
    if (extended_transaction_in_doubt(s))
        use = extended_check_transaction(s, prepared != NULL ? prepared->query : NULL,
                                         prepared != NULL ? known_on(s, prepared) : KNOWN_ANYWHERE,
                                         REQUEST_BIND, length);
    if (use != USE_READY)
        return extended_not_ready(s, use, length);
    if (prepared == NULL)
        return bind_unknown(s, bind, length);
    if (prepared->local)
        return bind_here(s, bind, prepared, length);
    const struct statement *statement = prepared_statement(prepared);
    if (statement != NULL && session_resolve_names(s, statement) == PROGRESS_WAIT)
        return PROGRESS_WAIT;
    int database = place_bind(s, prepared);
    struct portal *taken = bind->portal[0] != '\0' ? portal_find(&s->portals, bind->portal) : NULL;
    if (taken != NULL && taken->database != database)
        return refuse_taken_portal(s, taken, length);
    struct link *link;
    use = session_use_link_for(s, database, prepared->query, &link);
    if (use != USE_READY)
        return extended_not_ready(s, use, length);
    session_prepare_named(s, link, prepared->query->statements, prepared->query->count);
    use = session_hold_statement(s, link, prepared, true);
    if (use != USE_READY)
        return extended_not_ready(s, use, length);
    portal_enter(&s->portals, bind->portal, prepared, database);
    if (bind->portal[0] != '\0' && statement != NULL)
        session_note_portal(s->routing, bind->portal, statement, database);
    session_forward_bind(s, link, prepared, bind, length);
    return PROGRESS_DONE;
}

enum progress session_on_bind(struct session *s, const struct bind_message *bind, size_t length) {
    if (RARELY(s->skip_until_sync))
        return extended_dropped(s, length);
    if (RARELY(extended_behind_barrier(s)))
        return PROGRESS_WAIT;
    if (session_take_catalog_failure(s))
        return extended_refused(s, length);
    struct prepared *prepared = session_find_for_bind(s, bind->statement);
    enum progress progress = bind_prepared(s, bind, prepared, length);
    prepared_unref(prepared);
    return progress;
}

/* -- Describe, Close --------------------------------------------------------------------------- */

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

/* Where a statement ('S') or portal ('P') of that name lives; the active link where it is not
 * known. */
static int find_named(struct session *s, const struct named_message *named,
                      struct prepared **prepared) {
    *prepared = NULL;
    if (named->kind == 'S') {
        *prepared = prepared_find(&s->prepared, named->name);
        return *prepared != NULL ? (*prepared)->database : session_default_database(s->routing);
    }
    struct portal *portal = portal_find(&s->portals, named->name);
    if (portal == NULL)
        return session_portal_database(s, named->name);
    *prepared = portal->prepared;
    return portal->database;
}

enum progress session_on_describe(struct session *s, const uint8_t *body, size_t body_length,
                                  size_t length) {
    struct named_message named;
    struct error error;
    if (!message_read_named(body, body_length, &named, &error))
        return extended_malformed(s, &error);
    if (s->skip_until_sync)
        return extended_consumed(s, length);
    if (extended_behind_barrier(s))
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
    if (prepared == NULL && named.kind == 'S' && session_name_is_reserved(s, named.name))
        return refuse_unknown_statement(s, named.name, length);
    struct link *link;
    enum use use = session_use_link(s, database, &link);
    if (use != USE_READY)
        return extended_not_ready(s, use, length);
    bool statement = named.kind == 'S' && prepared != NULL;
    if (statement)
        use = session_hold_statement(s, link, prepared, false);
    if (use != USE_READY)
        return extended_not_ready(s, use, length);
    session_forward_describe(s, link, statement ? prepared : NULL, named.name, length);
    if (!statement && prepared != NULL)
        session_heed_portal(link, prepared);
    return PROGRESS_DONE;
}

/* A statement may have been prepared on several links: the others forget it unseen. */
static void close_elsewhere(struct session *s, const struct prepared *prepared,
                            const struct link *except) {
    for (int i = 0; i < s->link_count; i++) {
        struct link *link = s->links[i];
        if (link == NULL || link == except || !(prepared->prepared_on >> i & 1) ||
            (link->answers.count > 0 && !link_trails(link)))
            continue;
        struct wire_buffer out = {0};
        message_put_close(&out, 'S', prepared->name);
        answers_push(&link->answers, REQUEST_CLOSE, AUDIENCE_PROXY);
        if (!link->unsynced) { /* else it would commit what a pipeline did there */
            message_put_sync(&out);
            answers_push(&link->answers, REQUEST_SYNC, AUDIENCE_PROXY);
        }
        stream_send(&link->stream, out.data, out.length);
        wire_buffer_close(&out);
        session_flush_link(link);
    }
}

/* What clients share stays prepared, until a connection has too many; closing what nobody knows is
 * no error. */
static enum progress close_shared(struct session *s, struct prepared *prepared, size_t length) {
    stream_consume(&s->client, length);
    if (prepared == NULL) {
        session_reply_in_turn(s, REQUEST_CLOSE, NULL);
        return PROGRESS_DONE;
    }
    prepared_ref(prepared);
    prepared_remove(&s->prepared, prepared);
    session_reply_in_turn(s, REQUEST_CLOSE, prepared);
    prepared_unref(prepared);
    return PROGRESS_DONE;
}

enum progress session_on_close(struct session *s, const uint8_t *body, size_t body_length,
                               size_t length) {
    struct named_message named;
    struct error error;
    if (!message_read_named(body, body_length, &named, &error))
        return extended_malformed(s, &error);
    if (s->skip_until_sync)
        return extended_consumed(s, length);
    if (extended_behind_barrier(s))
        return PROGRESS_WAIT;
    struct prepared *prepared;
    int database = find_named(s, &named, &prepared);
    bool local = prepared != NULL && prepared->local;
    int by_sql = named.kind == 'S' && prepared == NULL
                     ? session_prepared_database(s->routing, named.name)
                     : -1;
    if (named.kind == 'S' && s->pool_mode == POOL_TRANSACTION && !local && by_sql < 0)
        return close_shared(s, prepared, length);
    if (by_sql >= 0)
        database = by_sql;
    struct link *link = NULL;
    if ((local || by_sql >= 0) && session_wait_drained(s) == PROGRESS_WAIT)
        return PROGRESS_WAIT; /* an error before it would have the server pass over it */
    if (!local) {
        enum use use = session_use_link(s, database, &link);
        if (use == USE_WAIT)
            return PROGRESS_WAIT;
        if (use == USE_FAILED)
            return extended_refused(s, length);
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
    char *name = by_sql >= 0 ? alloc_text(named.name) : NULL; /* it goes with the message */
    struct request *request = extended_forward(s, link, REQUEST_CLOSE, length);
    if (by_sql >= 0) {
        session_forget_named(s->routing, name);
        link->asks_binding = link->bindings != 0;
        free(name);
    }
    if (statement)
        request->prepared = prepared;
    else if (prepared != NULL)
        prepared_unref(prepared);
    return PROGRESS_DONE;
}
