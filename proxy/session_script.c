/* What takes several steps: the statements of a simple query one after the other, and commands that go to several
 * links in turn. A script stands while it waits; script_run() takes it up again. */
#include "proxy/session_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* -- commands for several links (the fan) ----------------------------------------------------------------------------- */

static database_set bit(int physical) {
    return (database_set)1 << physical;
}

static database_set modified_links(const struct session *s) {
    database_set set = 0, logical = session_modified(s->routing);
    for (int i = 0; i < DATABASES_MAX; i++)
        if (logical >> i & 1)
            set |= bit(session_physical(s, i));
    return set;
}

static void fan_start(struct session *s, database_set links, const char *sql, size_t length, bool commits,
                      const struct statement *statement) {
    struct fan *fan = &s->script.fan;
    *fan = (struct fan){.active = true,
                        .several = links == 0 || (links & (links - 1)) != 0,
                        .commits = commits,
                        .sql = sql,
                        .sql_length = length,
                        .left = links,
                        .modified = modified_links(s) & links,
                        .statement = statement};
}

static int fan_next(const struct fan *fan) {
    database_set first = fan->left & fan->modified ? fan->left & fan->modified : fan->left;
    return __builtin_ctz(first);
}

/* "COMMIT succeeded on main; it failed on ci" */
static void describe_commits(const struct session *s, const struct link *failed, char *out, size_t size) {
    size_t at = 0;
    for (int i = 0; i < DATABASES_MAX; i++)
        if (s->script.fan.succeeded & s->script.fan.modified & bit(i)) {
            int wrote = snprintf(out + at, size - at, "%s\"%s\"", at == 0 ? "Committed on " : ", ",
                                 session_settings(s)->databases[i].name);
            at += wrote > 0 && (size_t)wrote < size - at ? (size_t)wrote : 0;
        }
    snprintf(out + at, size - at, "; not committed on \"%s\".", failed->name);
}

/* An error of one of several links: the first is told. That of a link that was only read, after others committed,
 * changes nothing. */
void script_take_error(struct session *s, struct link *link, const uint8_t *body, size_t length) {
    struct fan *fan = &s->script.fan;
    struct diagnostic diagnostic;
    struct error error = {{0}};
    if (!message_read_diagnostic(body + FRAME_HEADER, length - FRAME_HEADER, &diagnostic, &error))
        return;
    if (!fan->active) { /* settings of the session, repeated there */
        char text[1200];
        snprintf(text, sizeof text, "cannot repeat the session's settings on database \"%s\": %s", link->name,
                 diagnostic.message != NULL ? diagnostic.message : "");
        free(s->settings_error);
        s->settings_error = strdup(text);
        link->settings_applied = 0;
        link->aligned = false;
        return;
    }
    if (fan->failed || (fan->commits && fan->succeeded != 0 && !(fan->modified & bit(link->physical))))
        return;
    char detail[1200];
    if (fan->commits && (fan->succeeded & fan->modified) != 0) {
        describe_commits(s, link, detail, sizeof detail);
        diagnostic.detail = detail;
    }
    message_put_diagnostic(&s->out, 'E', &diagnostic);
    reply_flush(s);
    fan->failed = true;
}

static bool fan_rolls_back(const struct fan *fan) {
    return fan->statement != NULL && fan->statement->facts->kind == KIND_ROLLBACK;
}

bool script_tolerates_loss(struct session *s, const struct link *link) {
    struct fan *fan = &s->script.fan;
    if (!fan->active)
        return false;
    bool only_read = fan->commits && fan->succeeded != 0 && !(fan->modified & bit(link->physical));
    bool undone = fan_rolls_back(fan) || fan->failed || (fan->statement == NULL && !fan->commits);
    if (only_read || undone) {
        fan->several = true; /* the tag is ours to give */
        return true;
    }
    return false;
}

void script_part_ended(struct session *s, struct link *link, const struct request *request) {
    struct fan *fan = &s->script.fan;
    if (!fan->active)
        return;
    if (!request->failed)
        fan->succeeded |= bit(link->physical);
    else if (request->audience == AUDIENCE_PART)
        fan->failed = true;
}

static void fan_send(struct session *s, struct link *link) {
    struct fan *fan = &s->script.fan;
    enum audience audience = fan->several || fan->statement == NULL ? AUDIENCE_PROXY : AUDIENCE_PART;
    enum request_kind kind = REQUEST_QUERY;
    if (fan->sync && (link->skipping || !fan->failed)) {
        static const uint8_t sync[] = {'S', 0, 0, 0, 4};
        stream_send(&link->stream, sync, sizeof sync);
        kind = REQUEST_SYNC;
    } else if (fan->failed && (fan->commits || fan->sync)) {
        link_send_query(link, "ROLLBACK", 8);
    } else {
        link_send_query(link, fan->sql, fan->sql_length);
    }
    struct request *request = answers_push(&link->answers, kind, audience);
    if (fan->statement != NULL) {
        request->query = query_ref(s->script.query);
        request->next = s->script.next;
    }
    s->active = link;
    session_flush_link(link);
}

static void local_tag(struct session *s, const struct statement_facts *facts, bool was_failed) {
    switch (facts->kind) {
    case KIND_COMMIT:
    case KIND_PREPARE_TRANSACTION: /* only of a failed block: else it is no fan */
        reply_command_complete(s, was_failed ? "ROLLBACK" : "COMMIT");
        break;
    case KIND_ROLLBACK:
    case KIND_ROLLBACK_TO:
        reply_command_complete(s, "ROLLBACK");
        break;
    case KIND_RELEASE:
        reply_command_complete(s, "RELEASE");
        break;
    case KIND_DEALLOCATE:
        reply_command_complete(s, "DEALLOCATE ALL");
        break;
    case KIND_CLOSE:
        reply_command_complete(s, "CLOSE CURSOR ALL");
        break;
    case KIND_DISCARD: {
        bool all = facts->name != NULL && strcmp(facts->name, "all") == 0;
        char tag[32];
        snprintf(tag, sizeof tag, "DISCARD %s", facts->name != NULL ? facts->name : "all");
        for (char *c = tag; *c != '\0'; c++)
            *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
        reply_command_complete(s, all ? "DISCARD ALL" : tag);
        break;
    }
    default:
        assert(!"a statement that does not fan out");
    }
}

static void savepoint_done(struct session *s, const struct statement_facts *facts) {
    long index = block_log_find_savepoint(&s->block, facts->name);
    if (index < 0)
        return;
    size_t *applied[DATABASES_MAX];
    size_t count = 0;
    for (int i = 0; i < DATABASES_MAX; i++)
        if (s->links[i] != NULL)
            applied[count++] = &s->links[i]->log_applied;
    if (facts->kind == KIND_RELEASE) {
        block_log_release(&s->block, (size_t)index, applied, count);
        return;
    }
    block_log_truncate(&s->block, (size_t)index);
    for (size_t i = 0; i < count; i++)
        if (*applied[i] > s->block.count)
            *applied[i] = s->block.count;
}

static void discard_done(struct session *s, const struct statement_facts *facts) {
    bool all = facts->kind == KIND_DISCARD && facts->name != NULL && strcmp(facts->name, "all") == 0;
    if (all || facts->kind == KIND_DEALLOCATE)
        prepared_clear(&s->prepared);
    if (all || facts->kind == KIND_CLOSE)
        portal_clear(&s->portals);
    if (all) {
        setting_log_forget(&s->settings);
        session_unalign_links(s);
    }
}

/* The command went to all of its links: what that means. */
static void fan_finish(struct session *s) {
    struct fan fan = s->script.fan;
    s->script.fan.active = false;
    const struct statement *statement = fan.statement;
    if (statement == NULL) {
        s->script.failed = s->script.failed || fan.failed;
        if (session_block_status(s->routing) != BLOCK_IMPLICIT)
            return; /* a Sync within a block ends nothing */
        bool committed = fan.commits && !fan.failed;
        session_end_implicit(s->routing, committed);
        session_block_finished(s, committed, false);
        return;
    }
    const struct statement_facts *facts = statement->facts;
    enum statement_kind kind = facts->kind;
    bool ends = kind == KIND_COMMIT || kind == KIND_ROLLBACK || kind == KIND_PREPARE_TRANSACTION;
    if (fan.failed) {
        s->script.failed = true;
        if (ends) {
            session_rolled_back(s->routing);
            session_block_finished(s, false, false);
        } else {
            session_failed(s->routing);
        }
        return;
    }
    bool was_failed = session_block_status(s->routing) == BLOCK_FAILED;
    bool chain = (facts->flags & STATEMENT_CHAIN) != 0;
    struct decision decision = {.destination = DESTINATION_ALL, .database = session_default_database(s->routing)};
    if (ends && session_block_status(s->routing) == BLOCK_IMPLICIT)
        session_end_implicit(s->routing, kind == KIND_COMMIT);
    else
        session_executed(s->routing, statement, &decision);
    if (ends) {
        session_block_finished(s, kind == KIND_COMMIT && !was_failed, chain);
        for (int i = 0; chain && i < DATABASES_MAX; i++)
            if ((fan.succeeded & bit(i)) && s->links[i] != NULL) {
                s->links[i]->in_block = true;
                s->links[i]->log_applied = s->block.count;
            }
    } else if (kind == KIND_RELEASE || kind == KIND_ROLLBACK_TO) {
        savepoint_done(s, facts);
    } else if (kind != KIND_BEGIN) {
        discard_done(s, facts);
    }
    if (fan.several)
        local_tag(s, facts, was_failed);
}

static enum progress fan_run(struct session *s) {
    struct fan *fan = &s->script.fan;
    if (session_wait_drained(s) == PROGRESS_WAIT)
        return PROGRESS_WAIT;
    while (fan->left != 0) {
        int physical = fan_next(fan);
        fan->left &= ~bit(physical);
        struct link *link = s->links[physical];
        if (link == NULL || link->state != LINK_READY)
            continue;
        fan_send(s, link);
        return PROGRESS_WAIT;
    }
    fan_finish(s);
    return PROGRESS_DONE;
}

/* -- transaction verbs -------------------------------------------------------------------------------------------- */

static const char *statement_text(const struct query *query, const struct statement *statement, size_t *length) {
    *length = statement->facts->length;
    return query->text + statement->facts->start;
}

static void executed_here(struct session *s, const struct statement *statement, const char *tag) {
    struct decision decision = {.destination = DESTINATION_ALL, .database = session_default_database(s->routing)};
    session_executed(s->routing, statement, &decision);
    reply_command_complete(s, tag);
}

/* What a pipeline did before BEGIN becomes part of the block: its links get BEGIN at once. */
static enum progress begin_on_pipeline(struct session *s) {
    for (int i = 0; i < DATABASES_MAX; i++) {
        struct link *link = s->links[i];
        if (link == NULL || !link->unsynced || link->in_block)
            continue;
        if (session_wait_drained(s) == PROGRESS_WAIT)
            return PROGRESS_WAIT;
        session_send_prelude(link, s->block.entries[0].sql);
        link->in_block = true;
        link->log_applied++; /* settings that it made in the pipeline stand behind BEGIN in the log */
        s->active = link;
    }
    return PROGRESS_DONE;
}

/* BEGIN reaches a database together with the first statement that goes there. */
static enum progress run_begin(struct session *s, const struct statement *statement) {
    size_t length;
    const char *sql = statement_text(s->script.query, statement, &length);
    if (session_block_status(s->routing) == BLOCK_OPEN) {
        database_set links = session_links_in_block(s);
        if (links != 0) { /* the server has the warning, and more to say where there are options */
            fan_start(s, links & (~links + 1), sql, length, false, statement);
            return PROGRESS_DONE;
        }
        reply_notice(s, "WARNING", "25001", "there is already a transaction in progress");
    } else {
        if (s->block.count == 0 || s->block.entries[0].kind != ENTRY_BEGIN)
            block_log_begin(&s->block, sql, length);
        if (begin_on_pipeline(s) == PROGRESS_WAIT)
            return PROGRESS_WAIT;
    }
    bool start = length >= 5 && strncasecmp(sql, "START", 5) == 0;
    executed_here(s, statement, start ? "START TRANSACTION" : "BEGIN");
    return PROGRESS_DONE;
}

static database_set links_past(const struct session *s, size_t index) {
    database_set set = 0;
    for (int i = 0; i < DATABASES_MAX; i++)
        if (s->links[i] != NULL && s->links[i]->in_block && s->links[i]->log_applied > index)
            set |= bit(i);
    return set;
}

static void fail(struct session *s, const char *sqlstate, const char *message) {
    reply_error(s, sqlstate, message, NULL, NULL);
    s->script.failed = true;
}

/* RELEASE and ROLLBACK TO go where the savepoint was made. */
static void run_savepoint_end(struct session *s, const struct statement *statement) {
    const struct statement_facts *facts = statement->facts;
    long index = block_log_find_savepoint(&s->block, facts->name);
    if (index < 0) {
        char message[200];
        snprintf(message, sizeof message, "savepoint \"%s\" does not exist", facts->name);
        fail(s, "3B001", message);
        return;
    }
    size_t length;
    const char *sql = statement_text(s->script.query, statement, &length);
    fan_start(s, links_past(s, (size_t)index), sql, length, false, statement);
}

static void run_end(struct session *s, const struct statement *statement) {
    bool failed = session_block_status(s->routing) == BLOCK_FAILED;
    size_t length;
    const char *sql = statement_text(s->script.query, statement, &length);
    bool commits = statement->facts->kind == KIND_COMMIT && !failed;
    if (failed && statement->facts->kind != KIND_ROLLBACK) {
        /* The links need not have failed: a rejection never reached them. */
        sql = statement->facts->flags & STATEMENT_CHAIN ? "ROLLBACK AND CHAIN" : "ROLLBACK";
        length = strlen(sql);
    }
    fan_start(s, session_links_in_block(s), sql, length, commits, statement);
}

static database_set links_unsynced(const struct session *s) {
    database_set set = 0;
    for (int i = 0; i < DATABASES_MAX; i++)
        if (s->links[i] != NULL && s->links[i]->unsynced)
            set |= bit(i);
    return set;
}

/* COMMIT and ROLLBACK in the implicit transaction of a query with several statements, or of a pipeline. */
static void run_implicit_end(struct session *s, const struct statement *statement) {
    if (statement->facts->flags & STATEMENT_CHAIN) {
        fail(s, "25P01", statement->facts->kind == KIND_COMMIT
                             ? "COMMIT AND CHAIN can only be used in transaction blocks"
                             : "ROLLBACK AND CHAIN can only be used in transaction blocks");
        return;
    }
    reply_notice(s, "WARNING", "25P01", "there is no transaction in progress");
    bool commits = statement->facts->kind == KIND_COMMIT;
    fan_start(s, session_links_in_block(s) | links_unsynced(s), commits ? "COMMIT" : "ROLLBACK", commits ? 6 : 8,
              commits, statement);
    s->script.fan.several = true;
}

static void run_discard(struct session *s, const struct statement *statement) {
    database_set links = 0;
    for (int i = 0; i < DATABASES_MAX; i++)
        if (s->links[i] != NULL && s->links[i]->state == LINK_READY)
            links |= bit(i);
    size_t length;
    const char *sql = statement_text(s->script.query, statement, &length);
    fan_start(s, links, sql, length, false, statement);
}

static void run_own_setting(struct session *s, const struct statement *statement, const struct decision *decision) {
    const struct statement_facts *facts = statement->facts;
    const char *sqlstate = "22023";
    struct error error = {{0}};
    if (facts->kind == KIND_SET && !(facts->flags & STATEMENT_DEFAULT) &&
        !session_check_setting(s->routing, facts->name, facts->value, &sqlstate, &error)) {
        fail(s, sqlstate, error.text);
        return;
    }
    if (facts->kind == KIND_SHOW && session_show(s->routing, facts->name) == NULL) {
        char message[200];
        snprintf(message, sizeof message, "unrecognized configuration parameter \"%s\"", facts->name);
        fail(s, "42704", message);
        return;
    }
    reply_local_statement(s, s->script.query, statement, decision, s->script.describe);
}

/* -- one statement ------------------------------------------------------------------------------------------------ */

static enum progress run_on_link(struct session *s, const struct statement *statement, int database) {
    struct link *link;
    switch (session_use_link(s, database, &link)) {
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
    struct request *request = answers_push(&link->answers, REQUEST_QUERY, AUDIENCE_PART);
    request->query = query_ref(query);
    request->next = s->script.next;
    request->database = database;
    request->apply = true;
    if (query->count == 1) {
        link_send_query(link, query->text, query->length);
    } else {
        size_t length;
        const char *sql = statement_text(query, statement, &length);
        link_send_query(link, sql, length);
        request->part_offset = (size_t)position_in_characters(query->text, query->length,
                                                              (int)statement->facts->start) - 1;
    }
    session_flush_link(link);
    s->script.next++;
    return PROGRESS_DONE;
}

/* COMMIT or ROLLBACK outside a transaction: the server has the warning; where it is not connected we have it. */
static bool end_outside_block(struct session *s, const struct statement *statement) {
    struct link *link = s->links[session_physical(s, session_default_database(s->routing))];
    if (link != NULL && link->state == LINK_READY)
        return false;
    reply_notice(s, "WARNING", "25P01", "there is no transaction in progress");
    reply_command_complete(s, statement->facts->kind == KIND_COMMIT ? "COMMIT" : "ROLLBACK");
    return true;
}

/* True: the statement is answered, or its fan was started. */
static bool run_verb(struct session *s, const struct statement *statement, enum progress *progress) {
    enum block_status status = session_block_status(s->routing);
    const struct statement_facts *facts = statement->facts;
    switch (facts->kind) {
    case KIND_BEGIN:
        *progress = run_begin(s, statement);
        return true;
    case KIND_SAVEPOINT:
        if (status == BLOCK_IDLE)
            return false; /* the server has the error */
        if (status == BLOCK_IMPLICIT) {
            fail(s, "25P01", "SAVEPOINT can only be used in transaction blocks");
            return true;
        }
        {
            size_t length;
            const char *sql = statement_text(s->script.query, statement, &length);
            block_log_add(&s->block, ENTRY_SAVEPOINT, facts->name, sql, length);
        }
        executed_here(s, statement, "SAVEPOINT");
        return true;
    case KIND_RELEASE:
    case KIND_ROLLBACK_TO:
        if (status == BLOCK_IDLE)
            return false;
        if (status == BLOCK_IMPLICIT)
            fail(s, "25P01", facts->kind == KIND_RELEASE ? "RELEASE SAVEPOINT can only be used in transaction blocks"
                                                         : "ROLLBACK TO SAVEPOINT can only be used in transaction blocks");
        else
            run_savepoint_end(s, statement);
        return true;
    case KIND_PREPARE_TRANSACTION:
        if (status != BLOCK_FAILED)
            return false;
        run_end(s, statement);
        return true;
    case KIND_COMMIT:
    case KIND_ROLLBACK:
        if (status == BLOCK_IDLE)
            return end_outside_block(s, statement);
        if (status == BLOCK_IMPLICIT)
            run_implicit_end(s, statement);
        else
            run_end(s, statement);
        return true;
    case KIND_DISCARD:
    case KIND_DEALLOCATE:
    case KIND_CLOSE:
        if (session_block_status(s->routing) == BLOCK_IDLE || facts->kind != KIND_DISCARD)
            run_discard(s, statement);
        else
            return false; /* not allowed within a transaction: the server has the error */
        return true;
    default:
        return false;
    }
}

static bool prepare_transaction_is_split(struct session *s, const struct statement *statement) {
    database_set links = session_links_in_block(s);
    if (statement->facts->kind != KIND_PREPARE_TRANSACTION || (links & (links - 1)) == 0)
        return false;
    struct violation violation = {.rule = RULE_UNROUTABLE,
                                  .sqlstate = rule_sqlstate(RULE_UNROUTABLE),
                                  .message = "PREPARE TRANSACTION cannot be executed: the transaction is open on more "
                                             "than one database",
                                  .hint = "Use a transaction that stays on one database, or COMMIT.",
                                  .position = -1};
    reply_violation(s, s->script.query, statement, &violation);
    s->script.failed = true;
    return true;
}

static enum progress run_statement(struct session *s) {
    const struct statement *statement = &s->script.query->statements[s->script.next];
    enum block_status status = session_block_status(s->routing);
    if (s->block_lost >= 0 && statement->facts->kind != KIND_ROLLBACK && session_tell_block_lost(s)) {
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
        (!statement_is_scripted(statement) || statement->facts->kind == KIND_PREPARE_TRANSACTION)) {
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
    if (statement_is_scripted(statement) && run_verb(s, statement, &progress)) {
        if (progress == PROGRESS_DONE)
            s->script.next = next + (s->script.fan.active || s->script.failed ? 0 : 1);
        return progress;
    }
    session_route(s, statement, &decision, &effective);
    if (decision.violated) {
        reply_violation(s, s->script.query, statement, &decision.violation);
        s->script.failed = true;
        return PROGRESS_DONE;
    }
    if (decision.destination == DESTINATION_NONE) {
        run_own_setting(s, statement, &decision);
        s->script.next++;
        return PROGRESS_DONE;
    }
    int database = decision.database;
    progress = run_on_link(s, statement, database);
    if (progress == PROGRESS_DONE && !s->script.failed)
        session_note_observations(s, statement, &decision);
    return progress;
}

/* -- the script --------------------------------------------------------------------------------------------------- */

void script_start(struct session *s, struct query *query_take, bool extended) {
    assert(!s->script.active);
    s->script = (struct script){.active = true, .extended = extended, .query = query_take, .describe = !extended};
}

void script_start_sync(struct session *s, database_set unsynced, bool commit) {
    assert(!s->script.active);
    s->script = (struct script){.active = true};
    bool implicit = session_block_status(s->routing) == BLOCK_IMPLICIT;
    fan_start(s, unsynced, "", 0, implicit, NULL);
    s->script.fan.sync = true;
    s->script.fan.several = true;
    s->script.fan.modified = modified_links(s) & unsynced;
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
    fan_start(s, session_links_in_block(s), commit ? "COMMIT" : "ROLLBACK", commit ? 6 : 8, commit, NULL);
    return true;
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
        if (session_wait_drained(s) == PROGRESS_WAIT)
            return PROGRESS_WAIT;
        bool more = s->script.query != NULL && s->script.next < s->script.query->count && !s->script.failed;
        if (more) {
            if (run_statement(s) == PROGRESS_WAIT)
                return PROGRESS_WAIT;
            continue;
        }
        if (end_implicit(s))
            continue;
        bool empty = s->script.query != NULL && s->script.query->count == 0;
        if (empty)
            reply_empty(s, 'I');
        script_end(s);
        return PROGRESS_DONE;
    }
}
