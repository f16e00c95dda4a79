/* Simple queries: passed on as they are where one database runs all of it, else run as a script. */
#include "proxy/session_internal.h"
#include "proxy/session_sequences.h"
#include "proxy/session_violations.h"

#include "config/rarely.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool statement_is_scripted(const struct statement *statement) {
    const struct statement_facts *facts = statement->facts;
    switch (facts->kind) {
    case KIND_BEGIN:
    case KIND_COMMIT:
    case KIND_ROLLBACK:
    case KIND_SAVEPOINT:
    case KIND_RELEASE:
    case KIND_ROLLBACK_TO:
    case KIND_PREPARE_TRANSACTION:
    case KIND_DISCARD:
        return true;
    case KIND_DEALLOCATE:
    case KIND_CLOSE:
        return facts->name == NULL;
    case KIND_SET:
    case KIND_SHOW:
        return facts->name != NULL && session_is_own_setting(facts->name);
    default:
        return false;
    }
}

bool session_scripts(const struct session *s, const struct statement *statement) {
    if (statement_is_scripted(statement))
        return true;
    if (s->pool_mode != POOL_TRANSACTION || statement->facts->kind != KIND_DEALLOCATE)
        return false;
    const struct prepared *prepared = prepared_find(&s->prepared, statement->facts->name);
    return prepared != NULL && prepared->shared != NULL;
}

/* Others' statements must not be reached by the names that they have on the server. */
static bool names_reserved_statement(const struct session *s, const struct statement_facts *facts) {
    bool runs = facts->kind == KIND_EXECUTE || facts->kind == KIND_DEALLOCATE ||
                facts->inner_kind == KIND_EXECUTE;
    return runs && facts->name != NULL && session_name_is_reserved(s, facts->name);
}

bool statement_leaves_failed_block(const struct statement *statement) {
    enum statement_kind kind = statement->facts->kind;
    return kind == KIND_ROLLBACK || kind == KIND_COMMIT || kind == KIND_ROLLBACK_TO ||
           kind == KIND_PREPARE_TRANSACTION;
}

bool session_take_query(struct session *s, const char *text, size_t length, bool shape) {
    if (s->query != NULL)
        return true;
    struct error error;
    bool (*look_up)(struct router *, const char *, size_t, const struct lexing *, bool,
                    struct query **, struct error *) = shape ? router_query_shape : router_query;
    if (look_up(s->config->router, text, length, &s->lexing, s->utf8, &s->query, &error))
        return true;
    s->query = NULL;
    reply_error(s, "22021", error.text, NULL, NULL);
    return false;
}

struct query *session_give_query(struct session *s) {
    struct query *query = s->query;
    s->query = NULL;
    return query;
}

/* Encodings in which the second byte of a character can look like a quote or a backslash: what the
 * proxy reads and what the server reads could differ. */
bool encoding_is_unsafe(const char *name) {
    static const char *const unsafe[] = {
        "sjis", "shiftjis", "mskanji",    "win932",  "windows932", "shiftjis2004",
        "big5", "win950",   "windows950", "gbk",     "win936",     "windows936",
        "uhc",  "win949",   "windows949", "gb18030", "johab"};
    char plain[32];
    size_t length = 0;
    for (; *name != '\0' && length < sizeof plain - 1; name++)
        if (isalnum((unsigned char)*name))
            plain[length++] = (char)tolower((unsigned char)*name);
    plain[length] = '\0';
    for (size_t i = 0; i < sizeof unsafe / sizeof unsafe[0]; i++)
        if (strcmp(plain, unsafe[i]) == 0)
            return true;
    return false;
}

static bool sets_unsafe_encoding(const struct statement_facts *facts) {
    return facts->name != NULL && facts->value != NULL &&
           strcasecmp(facts->name, "client_encoding") == 0 && encoding_is_unsafe(facts->value);
}

static void refuse(struct decision *decision, const char *sqlstate, const char *message,
                   const char *hint) {
    memset(decision, 0, sizeof *decision);
    decision->destination = DESTINATION_NONE;
    decision->database = -1;
    decision->violated = true;
    decision->violation = (struct violation){.rule = RULE_UNROUTABLE,
                                             .sqlstate = sqlstate,
                                             .message = message,
                                             .hint = hint,
                                             .position = -1};
}

/* Where the name that a PREPARE or DECLARE wants to give is taken already, or -1. */
static int name_taken_on(struct session *s, const struct statement_facts *facts) {
    if (facts->name == NULL)
        return -1;
    if (facts->kind == KIND_DECLARE)
        return session_cursor_database(s->routing, facts->name);
    if (facts->kind != KIND_PREPARE)
        return -1;
    struct prepared *prepared = prepared_find(&s->prepared, facts->name);
    return prepared != NULL ? prepared->database
                            : session_prepared_database(s->routing, facts->name);
}

/* Whether PREPARE wants a name of Parse's that its server does not know. */
static bool is_ours(const struct session *s, const struct statement_facts *facts) {
    const struct prepared *prepared =
        facts->kind == KIND_PREPARE ? prepared_find(&s->prepared, facts->name) : NULL;
    return prepared != NULL && (prepared->local || prepared->shared != NULL);
}

/* Names are one space to the client, whatever the database: the server's own words. */
static void refuse_taken_name(struct session *s, const struct statement_facts *facts,
                              struct decision *decision) {
    bool cursor = facts->kind == KIND_DECLARE;
    const char *message = session_message(s, "%s \"%s\" already exists",
                                          cursor ? "cursor" : "prepared statement", facts->name);
    refuse(decision, cursor ? "42P03" : "42P05", message, NULL);
}

/* EXPLAIN EXECUTE of a statement that was prepared by the protocol, of which routing doesn't know:
 * as that statement. */
static void route_explained(struct session *s, const struct statement *statement,
                            const struct prepared *prepared, struct decision *decision,
                            const struct statement **effective) {
    const struct statement *inner = prepared_statement(prepared);
    session_decide(s->routing, inner, decision);
    if (statement->executes) {
        *effective = inner;
    } else { /* it only plans */
        if (decision->violated)
            decision->violated = decision->violation.rule != RULE_CROSS_TRANSACTION;
        decision->modifies = 0;
        decision->modified_schemas = 0;
    }
    if (!decision->violated)
        decision->destination = DESTINATION_ONE;
}

/* CREATE TABLE AS EXECUTE of one: where that statement is, if its table may be there too. */
static void route_created(struct session *s, const struct statement *statement,
                          const struct prepared *prepared, struct decision *decision) {
    session_decide(s->routing, prepared_statement(prepared), decision);
    if (decision->violated)
        return;
    session_decide(s->routing, statement, decision);
    bool apart = decision->destination == DESTINATION_ONE &&
                 (statement->bound || statement->hint_database >= 0) &&
                 session_physical(s, decision->database) != session_physical(s, prepared->database);
    if (!decision->violated && apart)
        refuse(decision, rule_sqlstate(RULE_CROSS_JOIN),
               "the prepared statement reads another database than the table is created in",
               "Read the rows from one database, then insert them into the other.");
}

/* Whether a reload has moved the statement's tables away from where it was prepared. */
static bool has_moved(const struct session *s, const struct prepared *prepared,
                      const struct statement *inner, const struct decision *decision) {
    return decision->destination == DESTINATION_ONE && decision->database >= 0 && inner->bound &&
           (inner->databases >> prepared->database & 1) == 0 &&
           session_physical(s, decision->database) != session_physical(s, prepared->database);
}

/* Of the statements that run one that was prepared by the protocol. */
static void route_prepared(struct session *s, const struct statement *statement,
                           const struct prepared *prepared, struct decision *decision,
                           const struct statement **effective) {
    const struct statement *inner = prepared_statement(prepared);
    enum statement_kind kind = statement->facts->kind;
    if (inner == NULL || kind == KIND_DEALLOCATE) {
        memset(decision, 0, sizeof *decision);
        decision->destination = DESTINATION_ONE;
    } else if (kind == KIND_EXECUTE) {
        session_decide(s->routing, inner, decision);
        *effective = inner;
    } else if (kind == KIND_EXPLAIN && !statement->writes) {
        route_explained(s, statement, prepared, decision, effective);
    } else {
        route_created(s, statement, prepared, decision);
    }
    if (decision->violated)
        return;
    if (inner != NULL && kind != KIND_DEALLOCATE && has_moved(s, prepared, inner, decision))
        refuse(decision, rule_sqlstate(RULE_UNROUTABLE),
               "the statement was prepared on another database than its tables are in by now",
               "The configuration was reloaded. DEALLOCATE it and prepare it again.");
    else
        decision->database = prepared->database;
}

static bool runs_prepared(const struct statement_facts *facts) {
    return facts->name != NULL && (facts->kind == KIND_EXECUTE || facts->kind == KIND_DEALLOCATE ||
                                   facts->inner_kind == KIND_EXECUTE);
}

static __attribute__((noinline)) void route_by_words(struct session *s,
                                                     const struct statement *statement,
                                                     struct decision *decision,
                                                     const struct statement **effective) {
    enum statement_kind kind = statement->facts->kind;
    if (kind == KIND_SET && sets_unsafe_encoding(statement->facts)) {
        refuse(decision, "0A000", ENCODING_REFUSED, ENCODING_HINT);
        return;
    }
    const char *setting, *sqlstate;
    struct error error;
    if (!session_check_words(s->routing, statement, &setting, &sqlstate, &error)) {
        refuse(decision, sqlstate, session_message(s, "%s", error.text),
               session_setting_hint(s->routing, setting));
        return;
    }
    if (names_reserved_statement(s, statement->facts)) {
        refuse(
            decision, "26000",
            session_message(s, "prepared statement \"%s\" does not exist", statement->facts->name),
            NULL);
        return;
    }
    struct prepared *prepared = runs_prepared(statement->facts)
                                    ? prepared_find(&s->prepared, statement->facts->name)
                                    : NULL;
    if (prepared == NULL || prepared->local) {
        session_decide(s->routing, statement, decision);
        int taken = decision->violated ? -1 : name_taken_on(s, statement->facts);
        if (is_ours(s, statement->facts) ||
            (taken >= 0 && session_physical(s, taken) != session_physical(s, decision->database)))
            refuse_taken_name(s, statement->facts, decision);
        return;
    }
    route_prepared(s, statement, prepared, decision, effective);
}

void session_route(struct session *s, const struct statement *statement, struct decision *decision,
                   const struct statement **effective) {
    *effective = statement;
    if (statement->plain) /* it has no names and words of those that others have */
        session_decide(s->routing, statement, decision);
    else
        route_by_words(s, statement, decision, effective);
}

void session_route_now(struct session *s, const struct statement *statement,
                       struct decision *decision, const struct statement **effective) {
    session_route(s, statement, decision, effective);
    if (s->pool_mode == POOL_TRANSACTION && !statement->plain && !decision->violated &&
        !session_knows_sequences(s, statement, decision))
        refuse(decision, "55000", "currval and lastval are not yet defined in this session",
               "Clients share connections by transaction, and others have drawn from sequences "
               "meanwhile. Use RETURNING, or ask in the transaction that draws.");
}

/* What a set_config() of ours does counts for the statements behind it; where its name is computed
 * it can be none of ours. */
static bool may_restrict(const struct statement *statement) {
    const struct statement_facts *facts = statement->facts;
    return (facts->flags & STATEMENT_SET_CONFIG) != 0 && facts->name != NULL &&
           session_is_own_setting(facts->name);
}

/* RESET, after which what the startup packet said has to be set again before the next statement. */
static bool resets(struct session *s, const struct statement *statement) {
    const struct statement_facts *facts = statement->facts;
    bool one = facts->kind == KIND_SET && (facts->flags & STATEMENT_DEFAULT) != 0;
    return (one || facts->kind == KIND_RESET_ALL) && session_has_startup_settings(s);
}

/* Whether one database runs the whole query, and which. Nothing is changed by asking. `decision`:
 * of the last statement. */
static bool whole_query_goes_to(struct session *s, const struct query *query,
                                struct decision *decision, int *database) {
    int chosen = -1, fallback = -1;
    database_set modifies = 0;
    schema_set schemas = 0;
    for (size_t i = 0; i < query->count; i++) {
        const struct statement *statement = &query->statements[i], *effective;
        if (session_scripts(s, statement) || (query->count > 1 && may_restrict(statement)))
            return false;
        if (query->count > 1 && (statement->asks_catalogs || resets(s, statement)))
            return false; /* what it means is known when it is its turn */
        session_route_now(s, statement, decision, &effective);
        if (decision->violated || decision->destination == DESTINATION_NONE)
            return false;
        if (query->count > 1 && (effective != statement || decision->observation_count > 0))
            return false;
        modifies |= decision->modifies;
        schemas |= decision->modified_schemas;
        if (decision->destination != DESTINATION_ONE) {
            fallback = fallback < 0 ? decision->database : fallback;
            continue;
        }
        if (chosen >= 0 && session_physical(s, chosen) != session_physical(s, decision->database))
            return false;
        chosen = chosen >= 0 ? chosen : decision->database;
    }
    *database = chosen >= 0 ? chosen : fallback;
    /* Several databases in one store: what each statement may do depends on those before it. */
    bool several = (modifies & (modifies - 1)) != 0 || (schemas & (schemas - 1)) != 0;
    return *database >= 0 && (query->count == 1 || !several);
}

/* The query that is at hand, as it is, to a server that answers it whatever it says. */
static __attribute__((cold)) void pass_on_unread(struct session *s, struct link *link,
                                                 size_t length) {
    query_unref(session_give_query(s));
    s->active = link;
    answers_push(&link->answers, REQUEST_QUERY, AUDIENCE_CLIENT);
    link->unnamed = 0;
    session_forward_message(s, link, length);
}

/* In a failed block the server refuses whatever does not end it, and finds errors of syntax first:
 * in its own words, where it holds the block. */
static bool refuse_in_failed_block(struct session *s, const struct query *query, size_t length) {
    struct link *link = session_failed_link(s);
    if (link == NULL || s->block_lost >= 0)
        return false;
    for (size_t i = 0; i < query->count; i++)
        if (statement_leaves_failed_block(&query->statements[i]))
            return false;
    pass_on_unread(s, link, length);
    return true;
}

/* Drivers ask with an empty text whether their database is still there: where there is only one
 * that can be meant, and a connection to it, it is the server that answers. */
static bool ask_server(struct session *s, const struct query *query, size_t length) {
    struct link *link = s->links[s->home];
    enum block_status status = session_block_status(s->routing);
    int pinned = session_settings(s)->entrypoints[s->entrypoint].database;
    if (query->count > 0 || pinned < 0 || link == NULL || link->state != LINK_READY ||
        session_links_unsynced(s) != 0 ||
        (status != BLOCK_IDLE && (status != BLOCK_OPEN || !link->in_block)))
        return false;
    pass_on_unread(s, link, length);
    return true;
}

/* Whether the server that runs a simple query ends with it the pipeline that is open, too. */
static bool ends_pipeline_itself(const struct session *s, int database) {
    database_set there = database_bit(session_physical(s, database));
    return (session_links_unsynced(s) & ~there) == 0;
}

/* The client has got the error. */
static __attribute__((cold)) enum progress query_refused(struct session *s, size_t length) {
    stream_consume(&s->client, length);
    if (s->query != NULL)
        query_unref(session_give_query(s));
    database_set unsynced = session_links_unsynced(s);
    if (unsynced != 0)
        script_start_sync(s, unsynced, false);
    else
        reply_ready(s);
    return PROGRESS_DONE;
}

/* One statement after another, each where it belongs. */
static __attribute__((noinline)) enum progress run_in_parts(struct session *s, const char *text,
                                                            size_t text_length, size_t length) {
    if (s->query->count > 1 && session_block_status(s->routing) == BLOCK_IMPLICIT &&
        session_links_unsynced(s) != 0) {
        /* The first part would end the transaction that a pipeline has begun. */
        reply_error(s, "0A000", "several statements behind an open pipeline can't be run in parts",
                    NULL, "Send Sync first, or one statement at a time.");
        return query_refused(s, length);
    }
    if (s->query->is_shape) { /* from here on the text itself is needed */
        query_unref(session_give_query(s));
        if (!session_take_query(s, text, text_length, false))
            return query_refused(s, length);
    }
    stream_consume(&s->client, length);
    script_start(s, session_give_query(s), false);
    return PROGRESS_DONE;
}

enum progress session_on_query(struct session *s, const uint8_t *body, size_t body_length,
                               size_t length) {
    const char *text;
    size_t text_length;
    struct error error;
    if (!message_read_query(body, body_length, &text, &text_length, &error)) {
        reply_fatal(s, "08P01", error.text, NULL, NULL);
        session_end(s, error.text);
        return PROGRESS_WAIT;
    }
    if (RARELY(session_wait_drained(s) == PROGRESS_WAIT ||
               session_wait_reading(s, text, text_length) == PROGRESS_WAIT))
        return PROGRESS_WAIT;
    if (s->prepared.unnamed != NULL) /* it ends, whichever database runs the query */
        prepared_remove(&s->prepared, s->prepared.unnamed);
    if (session_take_catalog_failure(s) || !session_take_query(s, text, text_length, true))
        return query_refused(s, length);
    struct query *query = s->query;
    if (query->count > 1 && session_is_read_twice(query, text, text_length)) {
        query_unref(session_give_query(s));
        reply_error(s, "0A000",
                    "a body would be read by a setting that its own text changes before it", NULL,
                    "Send the SET in a query of its own.");
        return query_refused(s, length);
    }
    if (session_block_status(s->routing) == BLOCK_FAILED &&
        refuse_in_failed_block(s, query, length))
        return PROGRESS_DONE;
    if (ask_server(s, query, length))
        return PROGRESS_DONE;
    struct decision decision;
    int database = -1;
    bool usable =
        query->count > 0 && s->block_lost < 0 && session_block_status(s->routing) != BLOCK_FAILED;
    if (usable && query->count == 1 &&
        session_resolve_names(s, &query->statements[0]) == PROGRESS_WAIT)
        return PROGRESS_WAIT;
    if (!usable || !whole_query_goes_to(s, query, &decision, &database) ||
        !ends_pipeline_itself(s, database))
        return run_in_parts(s, text, text_length, length);
    struct link *link;
    switch (session_use_link_for(s, database, query, &link)) {
    case USE_WAIT:
        return PROGRESS_WAIT;
    case USE_FAILED:
        return query_refused(s, length);
    case USE_READY:
    case USE_ANSWERED:
        break;
    }
    if (query->count == 1)
        session_note_observations(s, (struct sent_text){text, text_length}, &query->statements[0],
                                  &decision);
    if (query->count > 1 && session_block_status(s->routing) == BLOCK_IDLE)
        session_begin_implicit(s->routing);
    session_prepare_named(s, link, query->statements, query->count);
    session_own_sequences(s, link, query->statements, query->count, true);
    struct request *request = answers_push(&link->answers, REQUEST_QUERY, AUDIENCE_CLIENT);
    request->query = session_give_query(s);
    request->database = database;
    request->apply = true;
    if (query->count == 1)
        session_keep_effects(request, &query->statements[0], &decision);
    link->unnamed = 0;
    s->barrier = true; /* a pipeline behind it is another transaction */
    session_forward_message(s, link, length);
    return PROGRESS_DONE;
}
