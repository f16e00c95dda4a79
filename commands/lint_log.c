#include "commands/lint_log.h"

#include "commands/statements.h"

#include <stdlib.h>
#include <string.h>

/* ---- transactions ---- */

static void end_block(struct lint_session *session, bool committed) {
    if (session_block_status(session->state) == BLOCK_IMPLICIT) {
        session_end_implicit(session->state, committed);
    } else if (session_block_status(session->state) != BLOCK_IDLE) {
        session_rolled_back(session->state);
    }
}

static bool ends_transaction(const struct query *query) {
    for (size_t i = 0; i < query->count; i++) {
        enum statement_kind kind = query->statements[i].facts->kind;
        if (kind == KIND_COMMIT || kind == KIND_ROLLBACK || kind == KIND_PREPARE_TRANSACTION) {
            return true;
        }
    }
    return false;
}

/* What succeeded didn't stand in a failed block: the log lacks that one's end. */
static void follow_success(struct lint_session *session, const struct query *query) {
    if (query->count > 0 && statements_refused_by_block(session->state, &query->statements[0])) {
        end_block(session, false);
    }
}

static bool begins_transaction(const struct query *query) {
    return query->count > 0 && query->statements[0].facts->kind == KIND_BEGIN;
}

/* The log numbers transactions: what has one number is one, whether or not its BEGIN was logged,
 * and what has another isn't. None is told after the end, and in a failed block. */
static void follow_number(struct lint_session *session, uint64_t lxid, const struct query *query) {
    enum block_status status = session_block_status(session->state);
    if (lxid != 0 && lxid != session->lxid) {
        end_block(session, true);
        session_end_implicit(session->state, true);
        session_begin_implicit(session->state);
        session->lxid = lxid;
    } else if (lxid == 0 && !ends_transaction(query) && status != BLOCK_FAILED) {
        end_block(session, true);
        session_end_implicit(session->state, true);
        session->lxid = 0;
    }
}

/* Without numbers a BEGIN within a block mostly means that the log lacks the block's end, as logs
 * of slow statements only do; unless the server complains, which it may do before or after. True:
 * wait for that. */
static bool follow_begin(struct lint_session *session, const struct query *query) {
    enum block_status status = session_block_status(session->state);
    bool within = session->within;
    session->within = false;
    if (!begins_transaction(query) || within || (status != BLOCK_OPEN && status != BLOCK_FAILED)) {
        return false;
    }
    session->begin_waits = query->count == 1;
    if (!session->begin_waits) {
        end_block(session, false);
    }
    return session->begin_waits;
}

static bool says(const struct lint_record *record, const char *words) {
    return memmem(record->message, record->length, words, strlen(words)) != NULL;
}

/* ---- statements ---- */

/* What can't be parsed as a whole is looked at statement by statement. False: there is only one. */
static bool check_pieces(struct lint_log *log, struct lint_session *session, char *text,
                         size_t length, const struct lint_place *place) {
    size_t start, end, next = 0;
    struct query *query;
    struct error error;
    if (!statements_next_piece(text, length, &start, &end, &next) ||
        !statements_next_piece(text, length, &start, &end, &next)) {
        return false;
    }
    next = 0;
    while (statements_next_piece(text, length, &start, &end, &next)) {
        char kept = text[end];
        text[end] = '\0';
        if (lint_check_read(log->check, text + start, end - start, place, &query, &error)) {
            lint_check_query(log->check, session->state, query, text + start, end - start, place);
        }
        text[end] = kept;
    }
    return true;
}

/* EXECUTE of a name that nothing was prepared under, as far as the log tells. */
static bool is_unknown_execute(struct lint_session *session, const struct query *query) {
    if (query->count != 1 || query->statements[0].facts->kind != KIND_EXECUTE) {
        return false;
    }
    struct decision decision = {.destination = DESTINATION_NONE, .database = -1};
    session_decide(session->state, &query->statements[0], &decision);
    return decision.subject == &query->statements[0];
}

static void check_query(struct lint_log *log, struct lint_session *session, struct query *query,
                        char *text, size_t length, const struct lint_place *place) {
    bool several = query->count > 1, bracketed = session->lxid != 0;
    bool unparsed = query->count == 1 && query->statements[0].facts->kind == KIND_UNPARSED;
    if (several && !bracketed) { /* statements of one message are one transaction */
        session_begin_implicit(session->state);
    }
    if (unparsed && check_pieces(log, session, text, length, place)) {
        query_unref(query);
    } else {
        lint_check_query(log->check, session->state, query, text, length, place);
    }
    if (several && !bracketed) {
        session_end_implicit(session->state, true);
    }
}

/* `prepare: PREPARE x AS …`, said with an EXECUTE: what it executes, where that isn't known. */
static void learn_prepared(struct lint_log *log, struct lint_session *session,
                           const struct lint_record *record, const struct lint_place *place) {
    static const char word[] = "prepare: ";
    size_t skip = strlen(word);
    if (record->detail == NULL || record->detail_length < skip ||
        memcmp(record->detail, word, skip) != 0) {
        return;
    }
    struct query *query;
    struct error error;
    char *text = record->detail + skip;
    size_t length = record->detail_length - skip;
    if (lint_check_read(log->check, text, length, place, &query, &error)) {
        bool prepares = query->count == 1 && query->statements[0].facts->kind == KIND_PREPARE;
        if (prepares) {
            lint_check_query(log->check, session->state, query, text, length, place);
        } else {
            query_unref(query);
        }
    }
}

static void take_statement(struct lint_log *log, struct lint_session *session,
                           const struct lint_record *record, size_t start, bool succeeded) {
    char *text = record->message + start;
    size_t length = record->length - start;
    const struct lint_place place = {.file = log->file, .line = record->line, .count = 1};
    struct query *query;
    struct error error;
    if (!lint_check_read(log->check, text, length, &place, &query, &error)) {
        return;
    }
    if (succeeded) {
        follow_success(session, query);
    }
    if (record->has_lxid) {
        follow_number(session, record->lxid, query);
    } else if (follow_begin(session, query)) {
        query_unref(query);
        return;
    }
    if (record->detail != NULL && is_unknown_execute(session, query)) {
        learn_prepared(log, session, record, &place);
    }
    check_query(log, session, query, text, length, &place);
}

void lint_log_alone(struct lint_log *log, char *text, size_t length, size_t line, uint64_t count) {
    struct lint_check *check = log->check;
    struct lint_session session = {.state = session_state_new(check->settings, check->entrypoint)};
    session_use_today(session.state, &check->today);
    const struct lint_place place = {.file = log->file, .line = line, .count = count};
    struct query *query;
    struct error error;
    if (lint_check_read(check, text, length, &place, &query, &error)) {
        check_query(log, &session, query, text, length, &place);
    }
    session_state_free(session.state);
}

/* ---- records ---- */

/* A BEGIN that waited did begin a transaction, unless this record says that it stood in one. */
static void settle_begin(struct lint_log *log, const struct lint_record *record) {
    bool warning = record->severity == LINT_OTHER &&
                   says(record, "there is already a transaction in progress");
    if (record->severity == LINT_OTHER && !warning) {
        return;
    }
    struct lint_session *session = lint_sessions_get(log->sessions, record->session);
    bool aborted = record->severity == LINT_ERROR && says(record, "current transaction is aborted");
    if (!session->begin_waits) {
        session->within |= warning;
        return;
    }
    session->begin_waits = false;
    if (!warning && !aborted) {
        char begin[] = "BEGIN";
        const struct lint_place place = {.file = log->file, .line = record->line, .count = 1};
        struct query *query;
        struct error error;
        end_block(session, false);
        if (lint_check_read(log->check, begin, strlen(begin), &place, &query, &error)) {
            lint_check_query(log->check, session->state, query, begin, strlen(begin), &place);
        }
    }
}

static void take_failure(struct lint_log *log, const struct lint_record *record) {
    struct lint_session *session = lint_sessions_get(log->sessions, record->session);
    if (session_block_status(session->state) == BLOCK_IMPLICIT) {
        session_end_implicit(session->state, false);
    } else {
        session_failed(session->state);
    }
}

static void take_log(struct lint_log *log, struct lint_record *record) {
    size_t start;
    bool succeeded;
    if (lint_message_statement(record->message, record->length, &start, &succeeded)) {
        if (record->has_session) {
            take_statement(log, lint_sessions_get(log->sessions, record->session), record, start,
                           succeeded);
        } else {
            lint_log_alone(log, record->message + start, record->length - start, record->line, 1);
        }
        return;
    }
    enum lint_event event = lint_message_event(record->message, record->length);
    if (event == LINT_EVENT_SERVER_STARTED) {
        lint_sessions_clear(log->sessions);
    } else if (event == LINT_EVENT_SESSION_ENDED && record->has_session) {
        lint_sessions_end(log->sessions, record->session);
    }
}

static void take_record(struct lint_sink *sink, struct lint_record *record) {
    struct lint_log *log = (struct lint_log *)(void *)sink; /* its first member */
    if (record->has_session && record->severity != LINT_FATAL) {
        settle_begin(log, record);
    }
    if (record->severity == LINT_LOG) {
        take_log(log, record);
    } else if (record->severity == LINT_ERROR && record->has_session) {
        take_failure(log, record);
    } else if (record->severity == LINT_FATAL && record->has_session) {
        lint_sessions_end(log->sessions, record->session);
    }
}

void lint_log_init(struct lint_log *log, struct lint_check *check) {
    *log = (struct lint_log){.sink = {.take = take_record}, .check = check};
    log->sessions = lint_sessions_new(check->settings, check->entrypoint, &check->today);
}

void lint_log_close(struct lint_log *log) {
    lint_sessions_free(log->sessions);
}
