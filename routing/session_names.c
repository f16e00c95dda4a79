/* The names that live on one database: temporary tables, SQL-level prepared statements, cursors. */
#include "routing/session_model.h"

#include <stdlib.h>
#include <string.h>

static void named_statement_close(struct named_statement *named) {
    free(named->name);
    query_unref(named->query);
}

const struct temporary_table *session_find_temporary(const struct session_state *state,
                                                     const char *name) {
    long found = names_get(&state->temporary_names, name);
    return found < 0 || state->temporaries[found].dropped ? NULL : &state->temporaries[found];
}

const struct temporary_table *session_meant_temporary(const struct session_state *state,
                                                      const struct statement *statement,
                                                      const struct table_facts *table) {
    const struct statement_facts *facts = statement->facts;
    for (size_t i = 0; (table->flags & TABLE_RENAMED) != 0 && i < facts->table_count; i++) {
        if ((facts->tables[i].flags & TABLE_CREATED) == 0) {
            return session_meant_temporary(state, statement, &facts->tables[i]);
        }
    }
    bool qualified = table->schema != NULL && strcmp(table->schema, "pg_temp") != 0;
    bool other = (table->flags & (TABLE_CREATED | TABLE_OTHER_OBJECT)) != 0;
    bool hidden = table->schema == NULL && session_temporary_comes_last(state) &&
                  classification_lookup(state->settings->classification, NULL, table->name) >= 0;
    return qualified || other || hidden ? NULL : session_find_temporary(state, table->name);
}

/* Takes the table's name. */
static void temporary_push(struct session_state *state, struct temporary_table table) {
    state->temporaries = array_grow(state->temporaries, state->now.temporary_count,
                                    &state->temporary_room, sizeof *state->temporaries);
    table.before = names_get(&state->temporary_names, table.name);
    names_set(&state->temporary_names, table.name, (long)state->now.temporary_count);
    state->temporaries[state->now.temporary_count++] = table;
}

void session_pop_temporary(struct session_state *state) {
    struct temporary_table *last = &state->temporaries[--state->now.temporary_count];
    names_set(&state->temporary_names, last->name, last->before);
    free(last->name);
}

static __attribute__((cold)) void temporary_drop(struct session_state *state, const char *name) {
    const struct temporary_table *table = session_find_temporary(state, name);
    if (table != NULL) {
        temporary_push(state, (struct temporary_table){.name = alloc_text(name),
                                                       .database = table->database,
                                                       .dropped = true});
    }
}

void session_drop_temporaries(struct session_state *state) {
    for (size_t i = 0, count = state->now.temporary_count; i < count; i++) {
        temporary_drop(state, state->temporaries[i].name);
    }
}

const struct named_statement *session_find_prepared(const struct session_state *state,
                                                    const char *name) {
    long found = names_get(&state->prepared_names, name);
    return found >= 0 ? &state->prepared[found] : NULL;
}

const struct named_statement *session_find_cursor(const struct session_state *state,
                                                  const char *name) {
    long found = names_get(&state->cursor_names, name);
    return found >= 0 && !state->cursors[found].closed ? &state->cursors[found] : NULL;
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

bool session_creates_from_prepared(const struct statement *statement) {
    const struct statement_facts *facts = statement->facts;
    bool creates = facts->kind == KIND_DDL;
    for (size_t i = 0; facts->kind == KIND_EXPLAIN && i < facts->table_count; i++) {
        creates |= facts->tables[i].access == ACCESS_DDL;
    }
    return creates && facts->inner_kind == KIND_EXECUTE && facts->name != NULL;
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
    struct named_statement *last = &state->prepared[--state->prepared_count];
    names_set(&state->prepared_names, state->prepared[index].name, -1);
    named_statement_close(&state->prepared[index]);
    if (index != state->prepared_count) {
        state->prepared[index] = *last;
        names_set(&state->prepared_names, last->name, (long)index);
    }
}

void session_forget_named(struct session_state *state, const char *name) {
    const struct named_statement *found = session_find_prepared(state, name);
    if (found != NULL) {
        prepared_forget(state, (size_t)(found - state->prepared));
    }
}

void session_remember_prepared(struct session_state *state, const struct statement *statement,
                               int database) {
    session_forget_named(state, statement->facts->name);
    state->prepared = array_grow(state->prepared, state->prepared_count, &state->prepared_room,
                                 sizeof *state->prepared);
    names_set(&state->prepared_names, statement->facts->name, (long)state->prepared_count);
    state->prepared[state->prepared_count++] = named_of(statement, database);
}

/* Takes what the cursor owns. */
static void cursor_push(struct session_state *state, struct named_statement cursor) {
    state->cursors = array_grow(state->cursors, state->now.cursor_count, &state->cursor_room,
                                sizeof *state->cursors);
    cursor.before = names_get(&state->cursor_names, cursor.name);
    names_set(&state->cursor_names, cursor.name, (long)state->now.cursor_count);
    state->cursors[state->now.cursor_count++] = cursor;
}

void session_remember_cursor(struct session_state *state, const struct statement *statement,
                             int database) {
    cursor_push(state, named_of(statement, database));
}

void session_note_portal(struct session_state *state, const char *name,
                         const struct statement *statement, int database) {
    if (state->status != BLOCK_OPEN && state->status != BLOCK_IMPLICIT) {
        return;
    }
    struct named_statement portal = {.name = alloc_text(name),
                                     .database = database,
                                     .query = query_ref(statement->query),
                                     .statement = statement};
    cursor_push(state, portal);
}

void session_pop_cursor(struct session_state *state) {
    struct named_statement *last = &state->cursors[--state->now.cursor_count];
    names_set(&state->cursor_names, last->name, last->before);
    named_statement_close(last);
}

void session_close_cursor(struct session_state *state, const char *name) {
    long found = names_get(&state->cursor_names, name);
    if (found >= 0) {
        state->cursors[found].closed = true;
    }
}

void session_close_cursors(struct session_state *state) {
    for (size_t i = 0; i < state->now.cursor_count; i++) {
        state->cursors[i].closed = true;
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

void session_found_transaction(struct session_state *state, const char *gid, database_set on) {
    free(state->transaction);
    state->transaction = alloc_text(gid);
    state->transaction_on = on;
}

void session_forget_prepared(struct session_state *state) {
    names_clear(&state->prepared_names);
    while (state->prepared_count > 0) {
        named_statement_close(&state->prepared[--state->prepared_count]);
    }
}

/* Keeps each table that is there after COMMIT. */
void session_compact_temporaries(struct session_state *state) {
    size_t count = state->now.temporary_count;
    for (size_t i = 0; i < count; i++) {
        struct temporary_table *table = &state->temporaries[i];
        table->dropped |=
            table->drops_on_commit || names_get(&state->temporary_names, table->name) != (long)i;
    }
    names_clear(&state->temporary_names);
    state->now.temporary_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct temporary_table table = state->temporaries[i];
        if (table.dropped) {
            free(table.name);
        } else {
            temporary_push(state, table);
        }
    }
}

/* Keeps the open ones WITH HOLD. */
void session_compact_cursors(struct session_state *state) {
    size_t count = state->now.cursor_count;
    names_clear(&state->cursor_names);
    state->now.cursor_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct named_statement cursor = state->cursors[i];
        if (cursor.closed || !cursor.hold) {
            named_statement_close(&cursor);
        } else {
            cursor_push(state, cursor);
        }
    }
}

/* ALTER TABLE … RENAME TO: the new name takes the old one's place. */
static __attribute__((cold)) void note_renamed(struct session_state *state,
                                               const struct statement *statement,
                                               const struct table_facts *table) {
    const struct temporary_table *meant = session_meant_temporary(state, statement, table);
    if (meant == NULL) {
        return;
    }
    struct temporary_table renamed = {.name = alloc_text(table->name),
                                      .database = meant->database,
                                      .drops_on_commit = meant->drops_on_commit,
                                      .view = meant->view};
    char *before = alloc_text(meant->name);
    temporary_push(state, renamed);
    temporary_drop(state, before);
    free(before);
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
        if ((table->flags & TABLE_RENAMED) != 0) {
            note_renamed(state, statement, table);
        } else if (temporary && (table->flags & TABLE_CREATED) != 0) {
            /* ON COMMIT DROP outside a transaction is gone when it is made. */
            bool gone = statement->drops_on_commit && state->status == BLOCK_IDLE;
            temporary_push(state,
                           (struct temporary_table){.name = alloc_text(table->name),
                                                    .database = database,
                                                    .dropped = gone,
                                                    .view = (table->flags & TABLE_VIEW) != 0,
                                                    .drops_on_commit = statement->drops_on_commit});
        } else if ((table->flags & TABLE_DROPPED) != 0 &&
                   (table->schema == NULL || temporary || strcmp(table->schema, "pg_temp") == 0)) {
            temporary_drop(state, table->name);
        }
    }
}
