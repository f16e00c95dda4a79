/* Transaction verbs and other commands that the proxy runs itself: BEGIN, COMMIT, SAVEPOINT …,
 * DISCARD. Many need no database, the others are started as a fan (session_fan.c). */
#include "proxy/session_fan.h"
#include "proxy/session_internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

const char *statement_text(const struct query *query, const struct statement *statement,
                           size_t *length) {
    *length = statement->facts->length;
    return query->text + statement->facts->start;
}

static void executed_here(struct session *s, const struct statement *statement, const char *tag) {
    struct decision decision = {.destination = DESTINATION_ALL,
                                .database = session_default_database(s->routing)};
    session_executed(s->routing, statement, &decision);
    reply_command_complete(s, tag);
}

const char *begin_tag(const struct query *query, const struct statement *statement) {
    size_t length;
    const char *sql = statement_text(query, statement, &length);
    return length >= 5 && strncasecmp(sql, "START", 5) == 0 ? "START TRANSACTION" : "BEGIN";
}

/* Whether BEGIN may come with characteristics of the transaction; wrong only where a comment names
 * them. */
static bool begins_with_characteristics(const char *sql, size_t length) {
    static const char *const words[] = {"isolation", "read", "deferrable"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        for (size_t at = 0, size = strlen(words[i]); at + size <= length; at++)
            if (strncasecmp(sql + at, words[i], size) == 0)
                return true;
    return false;
}

/* BEGIN within a transaction: the server has the warning, and with characteristics each that is in
 * it changes them, or says that it is too late. True: the fan was started. */
static bool begin_again(struct session *s, const struct statement *statement, const char *sql,
                        size_t length) {
    database_set links = session_links_in_block(s);
    bool open = session_block_status(s->routing) == BLOCK_OPEN;
    if (begins_with_characteristics(sql, length)) {
        if (open)
            reply_notice(s, "WARNING", "25001", "there is already a transaction in progress");
        fan_start(s, links, sql, length, false, statement);
        s->script.fan.several = true;
        return true;
    }
    if (open && links != 0) {
        fan_start(s, links & (~links + 1), sql, length, false, statement);
        return true;
    }
    if (open)
        reply_notice(s, "WARNING", "25001", "there is already a transaction in progress");
    return false;
}

/* What a pipeline did before BEGIN becomes part of the block: its links get BEGIN at once, and may
 * refuse it. */
static enum progress begin_on_pipeline(struct session *s) {
    for (int i = 0; i < s->link_count && !s->skip_until_sync; i++) {
        struct link *link = s->links[i];
        if (link == NULL || !link->unsynced || link->in_block)
            continue;
        if (session_wait_drained(s) == PROGRESS_WAIT)
            return PROGRESS_WAIT;
        if (s->skip_until_sync)
            break;
        session_send_prelude(link, s->block.entries[0].sql, false);
        link->in_block = true;
        link->deed = DEED_MAY_WRITE; /* nobody knows what it did before */
        link->log_applied++; /* settings that it made in the pipeline stand behind BEGIN in the log
                              */
        s->active = link;
    }
    return session_wait_drained(s);
}

/* BEGIN reaches a database together with the first statement that goes there. */
static enum progress run_begin(struct session *s, const struct statement *statement) {
    size_t length;
    const char *sql = statement_text(s->script.query, statement, &length);
    bool within = s->block.count > 0 && s->block.entries[0].kind == ENTRY_BEGIN;
    if (within && !s->script.begun && block_log_has_savepoint(&s->block) &&
        begins_with_characteristics(sql, length)) {
        /* Too late for most of them, which a server says that has the savepoints. */
        struct link *link;
        enum use use = session_use_link(s, session_default_database(s->routing), &link);
        if (use != USE_READY) {
            s->script.failed = use == USE_FAILED;
            return use == USE_WAIT ? PROGRESS_WAIT : PROGRESS_DONE;
        }
    }
    if (within && !s->script.begun && begin_again(s, statement, sql, length))
        return PROGRESS_DONE;
    if (!within)
        block_log_begin(&s->block, sql, length);
    s->script.begun = true;
    if (session_block_status(s->routing) != BLOCK_OPEN && begin_on_pipeline(s) == PROGRESS_WAIT)
        return PROGRESS_WAIT;
    s->script.begun = false;
    if (s->skip_until_sync) { /* a server would not begin like that, and has said why */
        session_block_finished(s, false, false);
        s->script.failed = true;
        return PROGRESS_DONE;
    }
    executed_here(s, statement, begin_tag(s->script.query, statement));
    session_end_implicit(s->routing, true); /* it has become the block: nothing else ends it */
    return PROGRESS_DONE;
}

static database_set links_past(const struct session *s, size_t index) {
    database_set set = 0;
    for (int i = 0; i < s->link_count; i++)
        if (s->links[i] != NULL && s->links[i]->in_block && s->links[i]->log_applied > index)
            set |= database_bit(i);
    return set;
}

void script_fail(struct session *s, const char *sqlstate, const char *message) {
    reply_error(s, sqlstate, message, NULL, NULL);
    s->script.failed = true;
}

void script_refuse_torn(struct session *s) {
    reply_error(s, "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
                "A connection was lost in it, and with that what was done there before the "
                "savepoint.",
                "ROLLBACK, and run the whole transaction again.");
    s->script.failed = true;
}

/* RELEASE and ROLLBACK TO go where the savepoint was made. */
static void run_savepoint_end(struct session *s, const struct statement *statement) {
    const struct statement_facts *facts = statement->facts;
    if (facts->kind == KIND_ROLLBACK_TO && s->block_torn) {
        script_refuse_torn(s);
        return;
    }
    long index = block_log_find_savepoint(&s->block, facts->name);
    if (index < 0) {
        char message[200];
        snprintf(message, sizeof message, "savepoint \"%s\" does not exist", facts->name);
        script_fail(s, "3B001", message);
        return;
    }
    size_t length;
    const char *sql = statement_text(s->script.query, statement, &length);
    fan_start(s, links_past(s, (size_t)index), sql, length, false, statement);
}

/* Whether a link of the block has yet to get a setting that was made in it. */
static bool lacks_settings(const struct session *s, database_set links) {
    for (int i = 0; i < s->link_count; i++)
        if ((links & database_bit(i)) != 0 && s->links[i]->log_applied < s->block.count)
            return true;
    return false;
}

static void run_end(struct session *s, const struct statement *statement) {
    bool failed = session_block_status(s->routing) == BLOCK_FAILED;
    size_t length;
    const char *sql = statement_text(s->script.query, statement, &length);
    bool commits = statement->facts->kind == KIND_COMMIT && !failed;
    if (failed) {
        /* The links need not have failed: a rejection never reached them. */
        sql = "ROLLBACK";
        length = strlen(sql);
    }
    database_set links = session_links_in_block(s);
    bool chain = (statement->facts->flags & STATEMENT_CHAIN) != 0;
    bool unchained = (links & (links - 1)) != 0 || (chain && commits && lacks_settings(s, links));
    if (unchained) {
        /* Without AND CHAIN: a link that has not had every setting of this block gets it before it
         * joins the next. */
        sql = commits ? "COMMIT" : "ROLLBACK";
        length = strlen(sql);
    }
    fan_start(s, links, sql, length, commits, statement);
    s->script.fan.several = s->script.fan.several || unchained;
}

database_set session_links_unsynced(const struct session *s) {
    database_set set = 0;
    for (int i = 0; i < s->link_count; i++)
        if (s->links[i] != NULL && s->links[i]->unsynced)
            set |= database_bit(i);
    return set;
}

/* AND CHAIN outside a block. True: it is there, and the client has got the error. */
static bool refuse_chain(struct session *s, const struct statement *statement) {
    if ((statement->facts->flags & STATEMENT_CHAIN) == 0)
        return false;
    script_fail(s, "25P01",
                statement->facts->kind == KIND_COMMIT
                    ? "COMMIT AND CHAIN can only be used in transaction blocks"
                    : "ROLLBACK AND CHAIN can only be used in transaction blocks");
    return true;
}

/* COMMIT and ROLLBACK in the implicit transaction of a query with several statements, or of a
 * pipeline. */
static void run_implicit_end(struct session *s, const struct statement *statement) {
    if (refuse_chain(s, statement))
        return;
    reply_notice(s, "WARNING", "25P01", "there is no transaction in progress");
    bool commits = statement->facts->kind == KIND_COMMIT;
    fan_start(s, session_links_in_block(s) | session_links_unsynced(s),
              commits ? "COMMIT" : "ROLLBACK", commits ? 6 : 8, commits, statement);
    s->script.fan.several = true;
}

static enum progress run_discard(struct session *s, const struct statement *statement) {
    database_set links = 0;
    struct link *link;
    if (s->pool_mode == POOL_TRANSACTION && statement->facts->kind == KIND_DISCARD) {
        /* A server knows the values that settings go back to. */
        enum use use = session_use_link(s, session_default_database(s->routing), &link);
        if (use != USE_READY) {
            s->script.failed = use == USE_FAILED;
            return use == USE_WAIT ? PROGRESS_WAIT : PROGRESS_DONE;
        }
    }
    for (int i = 0; i < s->link_count; i++)
        if (s->links[i] != NULL && s->links[i]->state == LINK_READY)
            links |= database_bit(i);
    size_t length;
    const char *sql = statement_text(s->script.query, statement, &length);
    fan_start(s, links, sql, length, false, statement);
    return PROGRESS_DONE;
}

/* DEALLOCATE of what came by Parse, where clients share connections: the server knows it by another
 * name, and keeps it. */
static void deallocate_shared(struct session *s, const char *name) {
    prepared_remove(&s->prepared, prepared_find(&s->prepared, name));
    reply_command_complete(s, "DEALLOCATE");
}

/* COMMIT or ROLLBACK outside a transaction: the server has the warning; where it is not connected
 * we have it. */
static bool end_outside_block(struct session *s, const struct statement *statement) {
    struct link *link = s->links[session_physical(s, session_default_database(s->routing))];
    if (link != NULL && link->state == LINK_READY)
        return false;
    if (refuse_chain(s, statement))
        return true;
    reply_notice(s, "WARNING", "25P01", "there is no transaction in progress");
    reply_command_complete(s, statement->facts->kind == KIND_COMMIT ? "COMMIT" : "ROLLBACK");
    return true;
}

/* True: the statement is answered, or its fan was started. */
bool script_run_verb(struct session *s, const struct statement *statement,
                     enum progress *progress) {
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
            script_fail(s, "25P01", "SAVEPOINT can only be used in transaction blocks");
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
            script_fail(s, "25P01",
                        facts->kind == KIND_RELEASE
                            ? "RELEASE SAVEPOINT can only be used in transaction blocks"
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
    case KIND_DEALLOCATE:
        if (facts->name != NULL) {
            deallocate_shared(s, facts->name);
            return true;
        }
        *progress = run_discard(s, statement);
        return true;
    case KIND_DISCARD:
    case KIND_CLOSE:
        if (session_block_status(s->routing) == BLOCK_IDLE || facts->kind != KIND_DISCARD)
            *progress = run_discard(s, statement);
        else
            return false; /* not allowed within a transaction: the server has the error */
        return true;
    default:
        return false;
    }
}
