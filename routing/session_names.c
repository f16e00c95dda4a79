/* The names that live on one database: temporary tables, SQL-level prepared statements, cursors. */
#include "routing/session_model.h"

#include <stdlib.h>
#include <string.h>

void named_statement_close(struct named_statement *named) {
    free(named->name);
    query_unref(named->query);
}

int session_temporary_database(const struct session_state *state, const char *name) {
    for (size_t i = state->now.temporary_count; i-- > 0;) {
        if (strcmp(state->temporaries[i].name, name) == 0) {
            return state->temporaries[i].dropped ? -1 : state->temporaries[i].database;
        }
    }
    return -1;
}

static void temporary_add(struct session_state *state, struct temporary_table table) {
    state->temporaries = array_grow(state->temporaries, state->now.temporary_count,
                                    &state->temporary_room, sizeof *state->temporaries);
    table.name = alloc_text(table.name);
    state->temporaries[state->now.temporary_count++] = table;
}

static void temporary_drop(struct session_state *state, const char *name) {
    int database = session_temporary_database(state, name);
    if (database >= 0) {
        /* A copy: adding may move the array that the name stands in. */
        struct temporary_table gone = {
            .name = alloc_text(name), .database = database, .dropped = true};
        temporary_add(state, gone);
        free(gone.name);
    }
}

void session_drop_temporaries(struct session_state *state) {
    for (size_t i = 0, count = state->now.temporary_count; i < count; i++) {
        temporary_drop(state, state->temporaries[i].name);
    }
}

const struct named_statement *session_find_prepared(const struct session_state *state,
                                                    const char *name) {
    for (size_t i = 0; i < state->prepared_count; i++) {
        if (strcmp(state->prepared[i].name, name) == 0) {
            return &state->prepared[i];
        }
    }
    return NULL;
}

const struct named_statement *session_find_cursor(const struct session_state *state,
                                                  const char *name) {
    for (size_t i = state->now.cursor_count; i-- > 0;) {
        if (!state->cursors[i].closed && strcmp(state->cursors[i].name, name) == 0) {
            return &state->cursors[i];
        }
    }
    return NULL;
}

const struct named_statement *session_referred(const struct session_state *state,
                                               const struct statement *statement) {
    const struct statement_facts *facts = statement->facts;
    if (facts->name == NULL) {
        return NULL;
    }
    switch (facts->kind) {
    case KIND_FETCH:
    case KIND_CLOSE:
        return session_find_cursor(state, facts->name);
    case KIND_EXECUTE:
    case KIND_DEALLOCATE:
        return session_find_prepared(state, facts->name);
    default:
        return facts->inner_kind == KIND_EXECUTE ? session_find_prepared(state, facts->name) : NULL;
    }
}

static struct named_statement named_of(const struct statement *statement, int database) {
    return (struct named_statement){
        .name = alloc_text(statement->facts->name),
        .database = database,
        .hold = (statement->facts->flags & STATEMENT_HOLD) != 0,
        .query = query_ref(statement->query),
        .statement = statement,
    };
}

static void prepared_forget(struct session_state *state, size_t index) {
    named_statement_close(&state->prepared[index]);
    state->prepared[index] = state->prepared[--state->prepared_count];
}

void session_remember_prepared(struct session_state *state, const struct statement *statement,
                               int database) {
    const struct named_statement *old = session_find_prepared(state, statement->facts->name);
    if (old != NULL) {
        prepared_forget(state, (size_t)(old - state->prepared));
    }
    state->prepared = array_grow(state->prepared, state->prepared_count, &state->prepared_room,
                                 sizeof *state->prepared);
    state->prepared[state->prepared_count++] = named_of(statement, database);
}

void session_remember_cursor(struct session_state *state, const struct statement *statement,
                             int database) {
    state->cursors = array_grow(state->cursors, state->now.cursor_count, &state->cursor_room,
                                sizeof *state->cursors);
    state->cursors[state->now.cursor_count++] = named_of(statement, database);
}

void session_forget_named(struct session_state *state, const char *name) {
    if (name == NULL) {
        session_forget_prepared(state);
        return;
    }
    const struct named_statement *found = session_find_prepared(state, name);
    if (found != NULL) {
        prepared_forget(state, (size_t)(found - state->prepared));
    }
}

void session_close_cursor(struct session_state *state, const char *name) {
    for (size_t i = 0; i < state->now.cursor_count; i++) {
        struct named_statement *cursor = &state->cursors[i];
        cursor->closed |= name == NULL || strcmp(cursor->name, name) == 0;
    }
}

static bool same_store(const struct session_state *state, int a, int b) {
    return state->settings->databases[a].physical == state->settings->databases[b].physical;
}

void session_lost_database(struct session_state *state, int database) {
    for (size_t i = 0, count = state->now.temporary_count; i < count; i++) {
        if (same_store(state, state->temporaries[i].database, database)) {
            state->temporaries[i].dropped = true;
        }
    }
    for (size_t i = 0; i < state->now.cursor_count; i++) {
        state->cursors[i].closed |= same_store(state, state->cursors[i].database, database);
    }
    for (size_t i = state->prepared_count; i-- > 0;) {
        if (same_store(state, state->prepared[i].database, database)) {
            prepared_forget(state, i);
        }
    }
}

void session_forget_prepared(struct session_state *state) {
    while (state->prepared_count > 0) {
        named_statement_close(&state->prepared[--state->prepared_count]);
    }
}

/* Whether a later entry speaks of the same temporary table. */
static bool temporary_is_superseded(const struct session_state *state, size_t index) {
    for (size_t i = index + 1; i < state->now.temporary_count; i++) {
        if (strcmp(state->temporaries[i].name, state->temporaries[index].name) == 0) {
            return true;
        }
    }
    return false;
}

void session_compact_temporaries(struct session_state *state) {
    size_t kept = 0;
    for (size_t i = 0; i < state->now.temporary_count; i++) {
        struct temporary_table *table = &state->temporaries[i];
        if (table->dropped || table->drops_on_commit || temporary_is_superseded(state, i)) {
            table->dropped = true; /* freed below, once nobody compares with it any more */
        }
    }
    for (size_t i = 0; i < state->now.temporary_count; i++) {
        if (state->temporaries[i].dropped) {
            free(state->temporaries[i].name);
        } else {
            state->temporaries[kept++] = state->temporaries[i];
        }
    }
    state->now.temporary_count = kept;
}

void session_compact_cursors(struct session_state *state) {
    size_t kept = 0;
    for (size_t i = 0; i < state->now.cursor_count; i++) {
        struct named_statement *cursor = &state->cursors[i];
        if (cursor->closed || !cursor->hold) {
            named_statement_close(cursor);
        } else {
            state->cursors[kept++] = *cursor;
        }
    }
    state->now.cursor_count = kept;
}

void session_note_temporaries(struct session_state *state, const struct statement *statement,
                              int database) {
    const struct statement_facts *facts = statement->facts;
    if ((facts->flags & STATEMENT_TEMPORARY) == 0 && state->now.temporary_count == 0) {
        return;
    }
    for (size_t i = 0; i < facts->table_count; i++) {
        const struct table_facts *table = &facts->tables[i];
        bool temporary = (table->flags & TABLE_TEMPORARY) != 0;
        if (temporary && (table->flags & TABLE_CREATED) != 0) {
            /* ON COMMIT DROP outside a transaction is gone when it is made. */
            bool gone = statement->drops_on_commit && state->status == BLOCK_IDLE;
            temporary_add(state,
                          (struct temporary_table){.name = (char *)(uintptr_t)table->name,
                                                   .database = database,
                                                   .dropped = gone,
                                                   .drops_on_commit = statement->drops_on_commit});
        } else if ((table->flags & TABLE_DROPPED) != 0 &&
                   (table->schema == NULL || temporary || strcmp(table->schema, "pg_temp") == 0)) {
            temporary_drop(state, table->name);
        }
    }
}
