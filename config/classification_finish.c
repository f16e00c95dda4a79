/* What depends on the whole classification: the databases of each schema, locks, prefixes, `ci_x`
 * for `p_ci_x`. */
#include "config/classification_internal.h"

#include "config/alloc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

const struct connection *classification_find_connection(const struct classification *c,
                                                        const char *name) {
    for (int i = 0; i < c->connection_count; i++) {
        if (strcmp(c->connections[i].name, name) == 0)
            return &c->connections[i];
    }
    return NULL;
}

/* Whether the schema is gitlab_<database> or gitlab_<database>_*. */
static bool named_for(const char *schema, const char *database) {
    size_t length = strlen(database);
    return strncmp(schema, "gitlab_", 7) == 0 && strncmp(schema + 7, database, length) == 0 &&
           (schema[7 + length] == '\0' || schema[7 + length] == '_');
}

bool classification_knows_database(const struct classification *c, const char *name) {
    if (strcmp(name, "main") == 0)
        return true;
    if (c->has_connections)
        return classification_find_connection(c, name) != NULL;
    for (int i = 0; i < c->schema_count; i++) {
        if (!c->schemas[i].neutral && named_for(c->schemas[i].name, name))
            return true;
    }
    return false;
}

static int find_name(const char *const *names, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0)
            return (int)i;
    }
    return -1;
}

/* Without `connections`: the database that the schema is named for (the longest name, of `ci` and
 * `ci_archive`), else the first, `main`. */
static int database_by_name(const char *schema, const char *const *names, size_t count) {
    int best = 0;
    size_t best_length = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(names[i]);
        if (length > best_length && named_for(schema, names[i])) {
            best = (int)i;
            best_length = length;
        }
    }
    return best;
}

/* For a schema that no configured database holds: where the connection that holds it falls back to,
 * else `main`. A fallback may itself not be configured, and go on to its own. */
static int database_by_fallback(const struct classification *c, int schema,
                                const char *const *names, size_t count) {
    const struct connection *at = NULL;
    for (int i = 0; at == NULL && i < c->connection_count; i++) {
        if ((c->connections[i].holds >> schema & 1) != 0)
            at = &c->connections[i];
    }
    for (int step = 0; at != NULL && at->fallback != NULL && step < CONNECTIONS_MAX; step++) {
        int database = find_name(names, count, at->fallback);
        if (database >= 0)
            return database;
        at = classification_find_connection(c, at->fallback);
    }
    return 0;
}

static database_set databases_of(const struct classification *c, int schema,
                                 const char *const *names, size_t count) {
    if (c->schemas[schema].neutral)
        return (database_set)(((uint64_t)1 << count) - 1);
    if (!c->has_connections)
        return (database_set)1 << database_by_name(c->schemas[schema].name, names, count);
    database_set set = 0;
    for (size_t i = 0; i < count; i++) {
        const struct connection *connection = classification_find_connection(c, names[i]);
        if (connection != NULL && (connection->holds >> schema & 1) != 0)
            set |= (database_set)1 << i;
    }
    return set != 0 ? set : (database_set)1 << database_by_fallback(c, schema, names, count);
}

static void finish_locks(struct classification *c, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++) {
        schema_set held = 0, all = 0;
        for (int n = 0; n < c->schema_count; n++) {
            all |= (schema_set)1 << n;
            if ((c->schemas[n].databases >> i & 1) != 0)
                held |= (schema_set)1 << n;
        }
        const struct connection *connection = classification_find_connection(c, names[i]);
        /* What fell back to this database is written here, though its own file asks for a lock. */
        schema_set asked = !c->has_connections ? all : connection != NULL ? connection->locks : 0;
        c->locked[i] = asked & ~held;
    }
}

static void finish_prefixes(struct classification *c) {
    for (int i = 0; i < c->schema_count; i++) {
        if (strncmp(c->schemas[i].name, "gitlab_", 7) != 0)
            continue;
        size_t length = strlen(c->schemas[i].name);
        int at = c->by_length_count++;
        for (; at > 0 && strlen(c->schemas[c->by_length[at - 1]].name) < length; at--)
            c->by_length[at] = c->by_length[at - 1];
        c->by_length[at] = i;
    }
}

/* Enters `ci_x` for each `p_ci_x`, so that a look-up needs no second name. */
static void finish_parents(struct classification *c) {
    struct name_entry *parents = NULL;
    size_t count = 0;
    for (size_t i = 0; c->tables.slots != NULL && i <= c->tables.mask; i++) {
        const struct name_entry *entry = &c->tables.slots[i];
        if (entry->name == NULL || entry->live < 0 || strncmp(entry->name, "p_ci_", 5) != 0)
            continue;
        parents = alloc_grow(parents, count, sizeof *parents);
        parents[count++] = *entry;
    }
    for (size_t i = 0; i < count; i++)
        name_table_add(&c->tables, parents[i].name + 2)->parent = parents[i].live;
    free(parents);
}

void classification_finish(struct classification *c, const char *const *names, size_t count) {
    assert(count > 0 && count <= DATABASES_MAX);
    for (int i = 0; i < c->schema_count; i++)
        c->schemas[i].databases = databases_of(c, i, names, count);
    finish_locks(c, names, count);
    finish_prefixes(c);
    finish_parents(c);
}
