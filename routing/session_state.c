#include "routing/session_model.h"

#include "config/allowlist.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- logs and marks ---- */

/* Cuts every log back to what it was at the mark. */
static void session_return_to(struct session_state *state, const struct mark *mark) {
    while (state->now.temporary_count > mark->temporary_count) {
        session_pop_temporary(state);
    }
    while (state->now.cursor_count > mark->cursor_count) {
        session_pop_cursor(state);
    }
    while (state->now.own_count > mark->own_count) {
        free(state->own[--state->now.own_count].value);
    }
    while (state->now.modification_count > mark->modification_count) {
        query_unref(state->modifications[--state->now.modification_count].query);
    }
    state->now = *mark;
}

static void session_cut_savepoints(struct session_state *state, size_t count) {
    while (state->savepoint_count > count) {
        free(state->savepoints[--state->savepoint_count].name);
    }
}

/* What was modified stays known, but the next modification is not held against it. */
static void session_count_anew(struct session_state *state) {
    while (state->now.modification_count > 0) {
        query_unref(state->modifications[--state->now.modification_count].query);
    }
    state->now.counted = 0;
    state->now.counted_schemas = 0;
}

/* The transaction is over; what it did stays where it committed. */
static void session_end(struct session_state *state, bool committed, bool chain) {
    if (!committed) {
        session_return_to(state, &state->begin);
    }
    session_count_anew(state);
    state->now.modified = 0;
    state->now.last_wrote = -1;
    session_cut_savepoints(state, 0);
    if (state->now.temporary_count > 0) {
        session_compact_temporaries(state);
    }
    if (state->now.cursor_count > 0) {
        session_compact_cursors(state);
    }
    if (state->now.own_count > 0) {
        session_compact_settings(state);
    }
    state->begin = state->now;
    state->last_ran = -1;
    state->used = 0;
    state->tables_unknown = false;
    state->status = chain ? BLOCK_OPEN : state->bracketed ? BLOCK_IMPLICIT : BLOCK_IDLE;
    state->outer_ignored = chain && state->settings->outer_transaction_ignored;
}

static void session_begin(struct session_state *state, enum block_status status) {
    if (state->status == BLOCK_IDLE) {
        state->begin = state->now;
    }
    state->status = status;
    if (status == BLOCK_OPEN && state->settings->outer_transaction_ignored) {
        state->outer_ignored = true;
        session_count_anew(state);
    }
}

/* ---- life ---- */

static const int before_all_dates = 0;

struct session_state *session_state_new(const struct settings *settings, int entrypoint) {
    assert(entrypoint >= 0 && (size_t)entrypoint < settings->entrypoint_count);
    struct session_state *state = alloc_new(sizeof *state);
    state->settings = settings;
    state->entrypoint = entrypoint;
    state->today = &before_all_dates;
    state->now.last_wrote = -1;
    state->begin = state->now;
    state->last_ran = state->last_used = state->last_catalog = state->last_drew = -1;
    return state;
}

void session_state_free(struct session_state *state) {
    if (state == NULL) {
        return;
    }
    session_return_to(state, &(struct mark){.last_wrote = -1});
    session_cut_savepoints(state, 0);
    session_forget_prepared(state);
    scratch_clear(&state->scratch);
    free(state->transaction);
    free(state->temporaries);
    free(state->cursors);
    free(state->own);
    free(state->modifications);
    free(state->prepared);
    free(state->savepoints);
    free(state);
}

void session_use_today(struct session_state *state, const int *today) {
    state->today = today;
}

/* The same schemas under the numbers that other settings give them. */
static schema_set renumber(schema_set schemas, const struct settings *from,
                           const struct settings *to) {
    schema_set renumbered = 0;
    for (; schemas != 0; schemas &= schemas - 1) {
        const char *name =
            classification_schema_name(from->classification, __builtin_ctzll(schemas));
        int schema = classification_schema_by_name(to->classification, name);
        if (schema >= 0 && !classification_schema_is_neutral(to->classification, schema)) {
            renumbered |= (schema_set)1 << schema;
        }
    }
    return renumbered;
}

/* What a statement kept from before the reload is under the new classification. */
static void reclassify(struct query **query, const struct statement **statement,
                       const struct settings *settings) {
    struct query *old = *query;
    size_t index = (size_t)(*statement - old->statements);
    *query = query_reclassify(old, settings);
    *statement = &(*query)->statements[index];
    query_unref(old);
}

void session_set_settings(struct session_state *state, const struct settings *settings,
                          int entrypoint) {
    assert(entrypoint >= 0 && (size_t)entrypoint < settings->entrypoint_count);
    const struct settings *old = state->settings;
    for (size_t i = 0; i < state->prepared_count; i++) {
        reclassify(&state->prepared[i].query, &state->prepared[i].statement, settings);
    }
    for (size_t i = 0; i < state->now.cursor_count; i++) {
        reclassify(&state->cursors[i].query, &state->cursors[i].statement, settings);
    }
    for (size_t i = 0; i < state->now.modification_count; i++) {
        struct modification *modification = &state->modifications[i];
        reclassify(&modification->query, &modification->statement, settings);
        modification->schemas = renumber(modification->schemas, old, settings);
    }
    state->now.counted_schemas = renumber(state->now.counted_schemas, old, settings);
    for (size_t i = 0; i < state->savepoint_count; i++) {
        struct mark *mark = &state->savepoints[i].mark;
        mark->counted_schemas = renumber(mark->counted_schemas, old, settings);
    }
    state->tables_unknown |= state->now.modified != 0 &&
                             allowlist_asks_tables(settings->allowlist, RULE_CROSS_TRANSACTION) &&
                             !allowlist_asks_tables(old->allowlist, RULE_CROSS_TRANSACTION);
    state->settings = settings;
    state->entrypoint = entrypoint;
    session_renumber_settings(state);
}

/* ---- savepoints ---- */

static size_t find_savepoint(const struct session_state *state, const char *name) {
    size_t i = state->savepoint_count;
    while (i > 0 && strcmp(state->savepoints[i - 1].name, name) != 0) {
        i--;
    }
    return i; /* one more than the index; 0: none */
}

static __attribute__((cold)) void savepoint_push(struct session_state *state, const char *name) {
    if (!session_counts(state)) { /* it begins where a transaction does: nowhere yet */
        state->now.last_wrote = -1;
        state->last_ran = -1;
    }
    state->savepoints = array_grow(state->savepoints, state->savepoint_count,
                                   &state->savepoint_room, sizeof *state->savepoints);
    state->savepoints[state->savepoint_count++] =
        (struct savepoint){.name = alloc_text(name), .mark = state->now};
}

static __attribute__((cold)) void savepoint_return(struct session_state *state, const char *name) {
    size_t found = find_savepoint(state, name);
    if (found > 0) {
        struct mark mark = state->savepoints[found - 1].mark;
        session_cut_savepoints(state, found);
        session_return_to(state, &mark);
        state->status = BLOCK_OPEN;
        if (state->outer_ignored && found == 1) { /* another transaction, as the test sees it */
            state->last_ran = -1;
        }
    }
}

static __attribute__((cold)) void savepoint_release(struct session_state *state, const char *name) {
    size_t found = find_savepoint(state, name);
    if (found > 0) {
        session_cut_savepoints(state, found - 1);
        if (!session_counts(state)) {
            session_count_anew(state);
        }
    }
}

size_t session_savepoint_count(const struct session_state *state) {
    return state->savepoint_count;
}

const char *session_savepoint_name(const struct session_state *state, size_t index) {
    assert(index < state->savepoint_count);
    return state->savepoints[index].name;
}

bool session_has_savepoint(const struct session_state *state, const char *name) {
    return find_savepoint(state, name) > 0;
}

/* ---- what ran ---- */

/* EXECUTE draws as what was prepared does. */
static bool execute_draws(const struct session_state *state, const struct statement *statement) {
    const struct named_statement *named =
        statement->facts->kind == KIND_EXECUTE ? session_referred(state, statement) : NULL;
    return named != NULL && named->statement->draws;
}

void session_follow_types(struct session_state *state, int database) {
    if (database >= 0)
        state->last_catalog = database;
}

/* A statement that ran on one database: which matters for where the next ones go. */
static void note_run(struct session_state *state, const struct statement *statement,
                     const struct decision *decision) {
    int database = decision->database;
    if (database < 0 || decision->destination == DESTINATION_ALL) {
        return;
    }
    state->last_used = database;
    /* The oid of 'x'::regclass is what psql's \sv goes on with. */
    if ((statement->facts->flags & STATEMENT_CATALOG) != 0 || statement->looks_up) {
        state->last_catalog = database;
    }
    if (statement->draws || execute_draws(state, statement)) {
        state->last_drew = database;
    }
    if (state->status != BLOCK_IDLE) {
        state->last_ran = database;
        state->used |= (database_set)1 << database;
        if (decision->modifies != 0) {
            session_note_modification(state, statement, decision);
        }
    }
    if (statement->facts->kind != KIND_PREPARE && statement->facts->kind != KIND_DECLARE) {
        session_note_temporaries(state, statement, database);
    }
}

static void note_setting(struct session_state *state, const struct statement *statement) {
    const struct statement_facts *facts = statement->facts;
    bool path = facts->name != NULL && strcasecmp(facts->name, "search_path") == 0;
    if (facts->name == NULL || (!path && !session_is_own_setting(facts->name))) {
        return;
    }
    if (facts->kind != KIND_SET && facts->value == NULL) {
        return; /* set_config() of what is known only when it runs */
    }
    bool local = (facts->flags & STATEMENT_LOCAL) != 0;
    if (local && state->status == BLOCK_IDLE) {
        return;
    }
    if (path) {
        session_note_search_path(state, facts->value, local);
    } else {
        session_apply_setting(state, facts->name, facts->value, local);
    }
}

static __attribute__((cold)) void note_discard(struct session_state *state, const char *what) {
    bool all = what == NULL || strcmp(what, "all") == 0;
    if (all || strcmp(what, "temp") == 0) {
        session_drop_temporaries(state);
    }
    if (all) {
        session_forget_prepared(state);
        session_close_cursors(state);
        session_reset_settings(state);
    }
}

static void note_name(struct session_state *state, const struct statement *statement,
                      const struct decision *decision) {
    const struct statement_facts *facts = statement->facts;
    switch (facts->kind) {
    case KIND_SET:
        note_setting(state, statement);
        break;
    case KIND_RESET_ALL:
        session_reset_settings(state);
        break;
    case KIND_DISCARD:
        note_discard(state, facts->name);
        break;
    case KIND_PREPARE:
        session_remember_prepared(state, statement, decision->database);
        break;
    case KIND_DEALLOCATE:
        if (facts->name == NULL) {
            session_forget_prepared(state);
        } else {
            session_forget_named(state, facts->name);
        }
        break;
    case KIND_DECLARE:
        session_remember_cursor(state, statement, decision->database);
        break;
    case KIND_CLOSE:
        if (facts->name == NULL) {
            session_close_cursors(state);
        } else {
            session_close_cursor(state, facts->name);
        }
        break;
    default:
        if ((facts->flags & STATEMENT_SET_CONFIG) != 0) {
            note_setting(state, statement);
        }
    }
}

/* The statements that move the block. False: it is none of them. */
static bool session_move_block(struct session_state *state, const struct statement *statement) {
    const struct statement_facts *facts = statement->facts;
    bool in_block = state->status == BLOCK_OPEN || state->status == BLOCK_FAILED;
    bool chain = in_block && (facts->flags & STATEMENT_CHAIN) != 0;
    switch (facts->kind) {
    case KIND_BEGIN:
        if (state->status == BLOCK_IDLE || state->status == BLOCK_IMPLICIT) {
            session_begin(state, BLOCK_OPEN);
        }
        return true;
    case KIND_COMMIT:
        session_end(state, state->status != BLOCK_FAILED, chain);
        return true;
    case KIND_PREPARE_TRANSACTION:
        session_end(state, state->status != BLOCK_FAILED, false);
        return true;
    case KIND_ROLLBACK:
        session_end(state, false, chain);
        return true;
    case KIND_SAVEPOINT:
        if (state->status == BLOCK_OPEN) {
            savepoint_push(state, facts->name);
        }
        return true;
    case KIND_RELEASE:
        savepoint_release(state, facts->name);
        return true;
    case KIND_ROLLBACK_TO:
        savepoint_return(state, facts->name);
        return true;
    default:
        return false;
    }
}

void session_executed(struct session_state *state, const struct statement *statement,
                      const struct decision *decision) {
    if (session_move_block(state, statement)) {
        return;
    }
    note_run(state, statement, decision);
    note_name(state, statement, decision);
    if (state->status == BLOCK_IDLE &&
        (state->now.temporary_count | state->now.cursor_count | state->now.own_count) != 0) {
        session_end(state, true, false);
    }
}

void session_failed(struct session_state *state) {
    if (state->status == BLOCK_OPEN) {
        state->status = BLOCK_FAILED;
    }
}

void session_begin_implicit(struct session_state *state) {
    state->bracketed = true;
    if (state->status == BLOCK_IDLE) {
        session_begin(state, BLOCK_IMPLICIT);
    }
}

void session_end_implicit(struct session_state *state, bool committed) {
    state->bracketed = false;
    if (state->status == BLOCK_IMPLICIT) {
        session_end(state, committed, false);
    }
}

void session_rolled_back(struct session_state *state) {
    session_end(state, false, false);
}

void session_adopt_status(struct session_state *state, char status, int database) {
    if (status == 'I' && (state->status == BLOCK_OPEN || state->status == BLOCK_FAILED)) {
        session_end(state, false, false);
    } else if (status != 'I' && (state->status == BLOCK_IDLE || state->status == BLOCK_IMPLICIT)) {
        session_begin(state, BLOCK_OPEN);
        state->last_ran = database;
        state->used |= database >= 0 ? (database_set)1 << database : 0;
    }
    if (status == 'E' && state->status == BLOCK_OPEN) {
        state->status = BLOCK_FAILED;
    } else if (status == 'T' && state->status == BLOCK_FAILED) {
        state->status = BLOCK_OPEN;
    }
}

enum block_status session_block_status(const struct session_state *state) {
    return state->status;
}

const struct statement *session_first_modification(const struct session_state *state) {
    return state->now.modification_count > 0 ? state->modifications[0].statement : NULL;
}

database_set session_modified(const struct session_state *state) {
    return state->now.modified;
}

int session_prepared_database(const struct session_state *state, const char *name) {
    const struct named_statement *found = session_find_prepared(state, name);
    return found != NULL ? found->database : -1;
}

int session_cursor_database(const struct session_state *state, const char *name) {
    const struct named_statement *found = session_find_cursor(state, name);
    return found != NULL ? found->database : -1;
}
