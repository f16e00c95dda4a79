/* What takes several steps: the statements of a simple query one after the other, or one statement
 * of the extended protocol that the proxy runs itself. A script stands while it waits; script_run()
 * takes it up again. */
#include "proxy/session_fan.h"
#include "proxy/session_internal.h"
#include "proxy/session_sequences.h"
#include "proxy/session_violations.h"

#include "routing/escape_strings.h"
#include "routing/text.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- one statement ----------------------------------------------------------------------------- */

static __attribute__((cold)) void run_own_setting(struct session *s,
                                                  const struct statement *statement,
                                                  const struct decision *decision) {
    const struct statement_facts *facts = statement->facts;
    const char *sqlstate = "22023";
    struct error error = {{0}};
    if (facts->kind == KIND_SET && !(facts->flags & STATEMENT_DEFAULT) &&
        !session_check_setting(s->routing, facts->name, facts->value, &sqlstate, &error)) {
        bool value = strcmp(sqlstate, "22023") == 0;
        reply_error(s, sqlstate, error.text, NULL,
                    value ? session_setting_hint(s->routing, facts->name) : NULL);
        s->script.failed = true;
        return;
    }
    if (facts->kind == KIND_SHOW && session_show(s->routing, facts->name) == NULL) {
        char message[200];
        snprintf(message, sizeof message, "unrecognized configuration parameter \"%s\"",
                 facts->name);
        script_fail(s, "42704", message);
        return;
    }
    reply_local_statement(s, s->script.query, statement, decision, s->script.describe);
}

/* The server would have read the whole text before it ran any of it: a setting that an earlier part
 * made doesn't change what this one says. */
static void send_part(const struct session *s, struct link *link, const char *sql, size_t length,
                      const struct lexing *lexing) {
    if (s->lexing.standard_conforming_strings == lexing->standard_conforming_strings) {
        link_send_query(link, sql, length);
        return;
    }
    char *plain = text_with_escape_strings(sql, length, lexing);
    link_send_query(link, plain, strlen(plain));
    free(plain);
}

static enum progress run_on_link(struct session *s, const struct statement *statement,
                                 const struct decision *decision) {
    struct link *link;
    switch (session_use_link(s, decision->database, &link)) {
    case USE_WAIT:
        return PROGRESS_WAIT;
    case USE_FAILED:
        s->script.failed = true;
        return PROGRESS_DONE;
    case USE_READY:
    case USE_ANSWERED:
        break;
    }
    struct query *query = s->script.query;
    bool alone = session_block_status(s->routing) == BLOCK_IMPLICIT && !link->in_block;
    if (alone && !s->script.extended && !statement_only_reads(statement))
        s->script.alone |= database_bit(link->physical);
    session_prepare_named(s, link, statement, 1);
    session_own_sequences(s, link, statement, 1, true);
    struct request *request = answers_push(&link->answers, REQUEST_QUERY, AUDIENCE_PART);
    request->query = query_ref(query);
    request->next = s->script.next;
    request->database = decision->database;
    request->apply = true;
    session_keep_effects(request, statement, decision);
    if (query->count == 1) {
        link_send_query(link, query->text, query->length);
    } else {
        size_t length;
        const char *sql = statement_text(query, statement, &length);
        send_part(s, link, sql, length, &query->lexing);
        request->part_offset = (size_t)position_in_characters(query->text, query->length,
                                                              (int)statement->facts->start) -
                               1;
    }
    session_flush_link(link);
    s->script.next++;
    return PROGRESS_DONE;
}

static bool prepare_transaction_is_split(struct session *s, const struct statement *statement) {
    database_set links = session_links_in_block(s);
    if (statement->facts->kind != KIND_PREPARE_TRANSACTION || (links & (links - 1)) == 0)
        return false;
    struct decision decision = {
        .violated = true,
        .subject = statement,
        .violation = {.rule = RULE_UNROUTABLE,
                      .sqlstate = rule_sqlstate(RULE_UNROUTABLE),
                      .message = "PREPARE TRANSACTION cannot be executed: the transaction is open "
                                 "on more than one database",
                      .hint = "Use a transaction that stays on one database, or COMMIT.",
                      .position = -1}};
    reply_violation(s, s->script.query, statement, &decision);
    s->script.failed = true;
    return true;
}

static enum progress run_statement(struct session *s) {
    const struct statement *statement = &s->script.query->statements[s->script.next];
    enum block_status status = session_block_status(s->routing);
    if (s->block_lost >= 0 && statement->facts->kind != KIND_ROLLBACK &&
        session_tell_block_lost(s)) {
        s->script.failed = true;
        if (statement->facts->kind != KIND_COMMIT)
            return PROGRESS_DONE;
        /* COMMIT ends the transaction, but as a rollback; the error has been told. */
        fan_start(s, session_links_in_block(s), "ROLLBACK", 8, false, statement);
        s->script.fan.several = true;
        s->script.fan.failed = true;
        return PROGRESS_DONE;
    }
    if (status == BLOCK_FAILED && !statement_leaves_failed_block(statement)) {
        reply_aborted(s);
        s->script.failed = true;
        return PROGRESS_DONE;
    }
    if (status == BLOCK_IDLE && s->script.query->count > 1 && !s->script.extended &&
        (!session_scripts(s, statement) || statement->facts->kind == KIND_PREPARE_TRANSACTION)) {
        session_begin_implicit(s->routing);
        s->script.implicit = true;
        if (s->block.count == 0)
            block_log_add(&s->block, ENTRY_BEGIN, NULL, "BEGIN", 5);
    }
    enum progress progress = PROGRESS_DONE;
    size_t next = s->script.next;
    struct decision decision;
    const struct statement *effective = statement;
    if (prepare_transaction_is_split(s, statement))
        return PROGRESS_DONE;
    if (session_scripts(s, statement) && script_run_verb(s, statement, &progress)) {
        if (progress == PROGRESS_DONE)
            s->script.next = next + (s->script.fan.active || s->script.failed ? 0 : 1);
        return progress;
    }
    if (session_resolve_names(s, statement) == PROGRESS_WAIT)
        return PROGRESS_WAIT;
    session_route_now(s, statement, &decision, &effective);
    if (decision.violated) {
        reply_violation(s, s->script.query, statement, &decision);
        s->script.failed = true;
        return PROGRESS_DONE;
    }
    if (decision.destination == DESTINATION_NONE) {
        run_own_setting(s, statement, &decision);
        s->script.next++;
        return PROGRESS_DONE;
    }
    progress = run_on_link(s, statement, &decision);
    if (progress == PROGRESS_DONE && !s->script.failed)
        session_note_observations(s, query_sent_text(s->script.query), statement, &decision);
    return progress;
}

/* -- the script -------------------------------------------------------------------------------- */

void script_start(struct session *s, struct query *query_take, bool extended) {
    assert(!s->script.active);
    s->script = (struct script){
        .active = true, .extended = extended, .query = query_take, .describe = !extended};
}

void script_start_sync(struct session *s, database_set unsynced, bool commit) {
    s->script = (struct script){.active = true};
    bool implicit = session_block_status(s->routing) == BLOCK_IMPLICIT;
    fan_start(s, unsynced, "", 0, implicit, NULL);
    s->script.fan.sync = true;
    s->script.fan.several = true;
    s->script.fan.failed = implicit && !commit;
}

static void script_end(struct session *s) {
    bool extended = s->script.extended, failed = s->script.failed;
    if (s->script.query != NULL)
        query_unref(s->script.query);
    s->script = (struct script){0};
    s->implicit_failed = extended ? s->implicit_failed : false;
    if (!extended)
        reply_ready(s);
    else if (failed)
        session_fail_pipeline(s);
}

/* An implicit transaction ends with the script: committed everywhere, or nowhere. */
static bool end_implicit(struct session *s) {
    if (!s->script.implicit || session_block_status(s->routing) != BLOCK_IMPLICIT)
        return false;
    s->script.implicit = false;
    bool commit = !s->script.failed && !s->implicit_failed;
    fan_start(s, session_links_in_block(s), commit ? "COMMIT" : "ROLLBACK", commit ? 6 : 8, commit,
              NULL);
    return true;
}

/* A simple query behind an open pipeline ends that one's transaction, too. */
static bool end_pipeline(struct session *s) {
    database_set unsynced = session_links_unsynced(s);
    if (s->script.extended || s->script.query == NULL || unsynced == 0)
        return false;
    bool commit = !s->script.failed && !s->implicit_failed;
    database_set alone = commit ? s->script.alone : 0;
    query_unref(s->script.query);
    script_start_sync(s, unsynced, commit);
    s->script.fan.acted |= alone;
    s->script.fan.succeeded |= alone;
    return true;
}

/* A database of the implicit transaction is gone, and no statement that would say so follows. */
static void tell_implicit_lost(struct session *s) {
    if (s->block_lost < 0 || s->script.extended || s->script.query == NULL ||
        session_block_status(s->routing) != BLOCK_IMPLICIT)
        return;
    int physical = s->block_lost;
    s->block_lost = -1;
    if (!s->script.failed)
        fan_tell_gone(s, physical, s->script.alone);
    s->script.failed = true;
    if (!s->script.implicit && session_links_unsynced(s) == 0) { /* nothing is left of it */
        session_end_implicit(s->routing, false);
        session_block_finished(s, false, false);
    }
}

enum progress script_run(struct session *s) {
    for (;;) {
        if (s->script.fan.active) {
            bool statement = s->script.fan.statement != NULL;
            if (fan_run(s) == PROGRESS_WAIT)
                return PROGRESS_WAIT;
            if (statement)
                s->script.next++;
            continue;
        }
        bool more =
            s->script.query != NULL && s->script.next < s->script.query->count && !s->script.failed;
        if (session_wait_drained(s) == PROGRESS_WAIT)
            return PROGRESS_WAIT;
        if (more) {
            if (run_statement(s) == PROGRESS_WAIT)
                return PROGRESS_WAIT;
            continue;
        }
        tell_implicit_lost(s);
        if (end_implicit(s))
            continue;
        bool empty = s->script.query != NULL && s->script.query->count == 0;
        if (empty)
            reply_empty(s, 'I');
        if (end_pipeline(s))
            continue;
        script_end(s);
        return PROGRESS_DONE;
    }
}
