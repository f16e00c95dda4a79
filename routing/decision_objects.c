/* Names of indexes, sequences and the like that a catalog has resolved count as the table that they
 * belong to. */
#include "routing/decision.h"
#include "routing/object_names.h"

#include <string.h>

void session_set_objects(struct session_state *state, struct object_names *objects) {
    state->objects = objects;
    state->asker = objects != NULL ? object_names_new_asker(objects) : 0;
}

uint64_t session_asker(const struct session_state *state) {
    return state->asker;
}

/* A look-up of a name in a string counts for nothing where the table has no class, and is free on a
 * pinned connection; a plain table says no more than its name did. */
static bool counts(const struct deciding *d, const struct table_facts *name,
                   const struct object_table *found) {
    bool string = (name->flags & TABLE_NAMED_IN_STRING) != 0;
    bool looks_up = string && (name->flags & TABLE_SEQUENCE_USED) == 0;
    switch (found->role) {
    case ROLE_IGNORED:
        return false;
    case ROLE_UNKNOWN:
        return found->belongs && !string;
    default:
        return d->pin < 0 || !looks_up;
    }
}

enum { FOLDED_MAX = 64 };

/* Whether a table before it is the same: then it is that one, and need not be told twice. */
static bool fold(struct routed_table *tables, struct table_facts *facts, size_t index) {
    size_t first = index > FOLDED_MAX ? index - FOLDED_MAX : 0;
    for (size_t i = first; i < index; i++) {
        if (tables[i].role != ROLE_IGNORED && tables[i].role == tables[index].role &&
            tables[i].databases == tables[index].databases &&
            strcmp(facts[i].name, facts[index].name) == 0) {
            facts[i].access =
                facts[index].access > facts[i].access ? facts[index].access : facts[i].access;
            return true;
        }
    }
    return false;
}

static void replace(struct routed_table *table, struct table_facts *facts,
                    const struct object_table *found) {
    *facts = *table->facts;
    facts->schema = found->table_schema;
    facts->name = found->table;
    facts->flags &= ~(unsigned)(TABLE_OTHER_OBJECT | TABLE_INDEX | TABLE_STATISTICS |
                                TABLE_CONSTRAINT | TABLE_SEQUENCE | TABLE_DROPPED);
    table->facts = facts;
    table->role = found->role;
    table->schema = found->schema;
    table->databases = found->databases;
}

const struct statement_facts *decision_resolve_objects(const struct deciding *d,
                                                       struct routed_table *tables) {
    const struct statement *s = d->subject;
    size_t count = s->facts->table_count;
    struct table_facts *names = scratch_new(&d->state->scratch, count * sizeof *names);
    bool resolved = false;
    for (size_t i = 0; i < count; i++) {
        names[i] = *tables[i].facts;
        tables[i].facts = &names[i];
        struct object_name name;
        if (tables[i].role == ROLE_TEMPORARY || !statement_object_name(s, i, &name)) {
            continue;
        }
        const struct object_table *found =
            object_names_find(d->state->objects, &name, d->state->asker);
        if (found == NULL || !counts(d, s->tables[i].facts, found)) {
            continue;
        }
        tables[i].facts = s->tables[i].facts;
        replace(&tables[i], &names[i], found);
        if (fold(tables, names, i)) {
            tables[i].role = ROLE_IGNORED;
        }
        resolved = true;
    }
    for (size_t i = 0; resolved && i < count; i++) { /* ALTER TABLE an_index RENAME TO another */
        if ((names[i].flags & TABLE_RENAMED) != 0) {
            tables[i].role = ROLE_IGNORED;
        }
    }
    if (!resolved) {
        return NULL;
    }
    struct statement_facts *facts = scratch_new(&d->state->scratch, sizeof *facts);
    *facts = *s->facts;
    facts->tables = names;
    return facts;
}
