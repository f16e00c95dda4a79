/* What the open transaction has modified, as the rule cross_transaction and the allowlist ask for
 * it. */
#include "routing/session_model.h"

#include "config/allowlist.h"

static bool modified_before(const struct session_state *state, const char *table) {
    for (size_t i = 0; i < state->now.modification_count; i++) {
        const struct statement *statement = state->modifications[i].statement;
        for (size_t t = 0; t < statement->facts->table_count; t++) {
            if (statement_modifies_table(statement, t) &&
                allowlist_same_table(statement->tables[t].facts->name, table)) {
                return true;
            }
        }
    }
    return false;
}

/* Whether the statement modifies a table that the log does not name. */
static bool brings_table(const struct session_state *state, const struct statement *statement) {
    size_t modified = 0;
    for (size_t i = 0; i < statement->facts->table_count; i++) {
        bool modifies = statement_modifies_table(statement, i);
        modified += modifies;
        if (modifies && !modified_before(state, statement->tables[i].facts->name)) {
            return true;
        }
    }
    /* A structure change without a table's name, or with more than it names. */
    return modified == 0 || statement_alters_objects(statement);
}

/* What its tables say: EXECUTE does what was prepared. */
static const struct statement *modifying_subject(const struct session_state *state,
                                                 const struct statement *statement) {
    const struct named_statement *named = session_referred(state, statement);
    return named != NULL && !session_creates_from_prepared(statement) ? named->statement
                                                                      : statement;
}

static void add_modification(struct session_state *state, struct modification modification) {
    state->modifications = array_grow(state->modifications, state->now.modification_count,
                                      &state->modification_room, sizeof *state->modifications);
    modification.query = query_ref(modification.statement->query);
    state->modifications[state->now.modification_count++] = modification;
}

/* Enters what brings something that the log does not have yet. */
static void log_modification(struct session_state *state, const struct statement *statement,
                             const struct decision *decision) {
    bool news = (decision->modifies & ~state->now.counted) != 0 ||
                (decision->modified_schemas & ~state->now.counted_schemas) != 0;
    if (news) {
        add_modification(state, (struct modification){
                                    .statement = modifying_subject(state, statement),
                                    .databases = decision->modifies,
                                    .schemas = decision->modified_schemas,
                                });
    } else if (allowlist_asks_tables(state->settings->allowlist, RULE_CROSS_TRANSACTION)) {
        const struct statement *subject = modifying_subject(state, statement);
        if (brings_table(state, subject)) {
            add_modification(state, (struct modification){.statement = subject});
        }
    }
}

bool session_counts(const struct session_state *state) {
    return !state->outer_ignored || state->savepoint_count > 0;
}

void session_note_modification(struct session_state *state, const struct statement *statement,
                               const struct decision *decision) {
    if (session_counts(state)) {
        log_modification(state, statement, decision);
        state->now.counted |= decision->modifies;
        state->now.counted_schemas |= decision->modified_schemas;
    }
    state->now.modified |= decision->modifies;
    /* Over two databases in one store it may have run at home of what it read. */
    bool there = (decision->modifies >> decision->database & 1) != 0;
    state->now.last_wrote = there ? decision->database : database_set_first(decision->modifies);
}
