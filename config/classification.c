#include "config/classification_internal.h"

#include "config/alloc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* -- names ------------------------------------------------------------------------------------- */

static struct name_entry *name_table_slot(const struct name_table *table, const char *name,
                                          size_t length) {
    size_t at = (size_t)XXH3_64bits(name, length) & table->mask;
    while (table->slots[at].name != NULL &&
           (table->slots[at].length != length || memcmp(table->slots[at].name, name, length) != 0))
        at = (at + 1) & table->mask;
    return &table->slots[at];
}

static const struct name_entry *name_table_find(const struct name_table *table, const char *name,
                                                size_t length) {
    if (table->slots == NULL)
        return NULL;
    const struct name_entry *slot = name_table_slot(table, name, length);
    return slot->name != NULL ? slot : NULL;
}

static void name_table_grow(struct name_table *table) {
    struct name_table bigger = {.count = table->count};
    bigger.mask = table->slots == NULL ? 63 : table->mask * 2 + 1;
    bigger.slots = alloc_zeroed(bigger.mask + 1, sizeof *bigger.slots);
    for (size_t i = 0; table->slots != NULL && i <= table->mask; i++) {
        const struct name_entry *entry = &table->slots[i];
        if (entry->name != NULL)
            *name_table_slot(&bigger, entry->name, entry->length) = *entry;
    }
    free(table->slots);
    *table = bigger;
}

struct name_entry *name_table_add(struct name_table *table, const char *name) {
    if (table->slots == NULL || (table->count + 1) * 2 > table->mask)
        name_table_grow(table);
    size_t length = strlen(name);
    struct name_entry *slot = name_table_slot(table, name, length);
    if (slot->name == NULL) {
        *slot = (struct name_entry){
            .name = alloc_text(name), .length = length, .live = -1, .deleted = -1, .parent = -1};
        table->count++;
    }
    return slot;
}

static void name_table_close(struct name_table *table) {
    for (size_t i = 0; table->slots != NULL && i <= table->mask; i++)
        free(table->slots[i].name);
    free(table->slots);
}

/* -- building ---------------------------------------------------------------------------------- */

struct classification *classification_new(void) {
    static const char *const known[] = {"gitlab_main", "gitlab_ci", "gitlab_sec", "gitlab_pm"};
    struct classification *c = alloc_zeroed(1, sizeof *c);
    c->gitlab_internal = classification_add_schema(c, "gitlab_internal");
    c->gitlab_shared = classification_add_schema(c, "gitlab_shared");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        (void)classification_add_schema(c, known[i]);
    /* These two go with everything, whether or not a file speaks of them. */
    c->schemas[c->gitlab_internal].declared = c->schemas[c->gitlab_shared].declared = true;
    return c;
}

void classification_free(struct classification *c) {
    if (c == NULL)
        return;
    name_table_close(&c->tables);
    name_table_close(&c->functions);
    for (int i = 0; i < c->schema_count; i++)
        free(c->schemas[i].name);
    for (int i = 0; i < c->connection_count; i++) {
        free(c->connections[i].name);
        free(c->connections[i].fallback);
    }
    free(c);
}

int classification_add_schema(struct classification *c, const char *name) {
    int found = classification_schema_by_name(c, name);
    if (found >= 0)
        return found;
    if (c->schema_count == SCHEMAS_MAX)
        return -1;
    schema_set self = (schema_set)1 << c->schema_count;
    bool internal = strcmp(name, "gitlab_internal") == 0;
    bool shared = strcmp(name, "gitlab_shared") == 0 || strncmp(name, "gitlab_shared_", 14) == 0;
    c->schemas[c->schema_count] = (struct schema){.name = alloc_text(name),
                                                  .internal = internal,
                                                  .neutral = internal || shared,
                                                  .joins = self,
                                                  .transactions = self,
                                                  .foreign_keys = self};
    return c->schema_count++;
}

/* -- looking up -------------------------------------------------------------------------------- */

/* The length without a trailing `_[0-9]+`: partitions carry a number. */
static size_t length_without_number(const char *name, size_t length) {
    size_t at = length;
    while (at > 0 && name[at - 1] >= '0' && name[at - 1] <= '9')
        at--;
    return at < length && at > 0 && name[at - 1] == '_' ? at - 1 : length;
}

static int lookup_prefix(const struct classification *c, const char *name, size_t length) {
    static const char test[] = "_test_";
    size_t test_length = sizeof test - 1;
    if (length >= 3 && memcmp(name, "pg_", 3) == 0)
        return c->gitlab_internal;
    if (length < test_length || memcmp(name, test, test_length) != 0)
        return -1;
    const char *rest = name + test_length;
    size_t rest_length = length - test_length;
    for (int i = 0; i < c->by_length_count; i++) {
        const char *schema = c->schemas[c->by_length[i]].name;
        size_t schema_length = strlen(schema);
        if (rest_length > schema_length && memcmp(rest, schema, schema_length) == 0 &&
            rest[schema_length] == '_')
            return c->by_length[i];
    }
    return c->gitlab_shared;
}

int classification_lookup(const struct classification *c, const char *schema, const char *name) {
    static const struct name_entry none = {.live = -1, .deleted = -1, .parent = -1};
    size_t full = strlen(name), length = length_without_number(name, full);
    const struct name_entry *entry = name_table_find(&c->tables, name, length);
    /* GitLab looks only for the name without its number; a view such as `ci_builds_views_100`,
     * which has one of its own, is in its dictionary all the same. */
    const struct name_entry *exact =
        length != full ? name_table_find(&c->tables, name, full) : NULL;
    entry = entry != NULL ? entry : &none;
    exact = exact != NULL ? exact : &none;
    const int found[] = {entry->live,    exact->live,   entry->deleted,
                         exact->deleted, entry->parent, exact->parent};
    for (size_t i = 0; i < sizeof found / sizeof *found; i++) {
        if (found[i] >= 0)
            return found[i];
    }
    if (schema != NULL && strcmp(schema, "information_schema") == 0)
        return c->gitlab_internal;
    return lookup_prefix(c, name, length);
}

int classification_lookup_function(const struct classification *c, const char *name) {
    const struct name_entry *entry = name_table_find(&c->functions, name, strlen(name));
    return entry != NULL ? entry->live : -1;
}

int classification_schema_count(const struct classification *c) {
    return c->schema_count;
}

static const struct schema *schema_at(const struct classification *c, int schema) {
    assert(schema >= 0 && schema < c->schema_count);
    return &c->schemas[schema];
}

const char *classification_schema_name(const struct classification *c, int schema) {
    return schema_at(c, schema)->name;
}

int classification_schema_by_name(const struct classification *c, const char *name) {
    for (int i = 0; i < c->schema_count; i++) {
        if (strcmp(c->schemas[i].name, name) == 0)
            return i;
    }
    return -1;
}

bool classification_schema_is_neutral(const struct classification *c, int schema) {
    return schema_at(c, schema)->neutral;
}

bool classification_schema_is_internal(const struct classification *c, int schema) {
    return schema_at(c, schema)->internal;
}

database_set classification_schema_databases(const struct classification *c, int schema) {
    return schema_at(c, schema)->databases;
}

schema_set classification_locked_schemas(const struct classification *c, int database) {
    assert(database >= 0 && database < DATABASES_MAX);
    return c->locked[database];
}

bool classification_has_permissions(const struct classification *c) {
    return c->has_permissions;
}

schema_set classification_allowed_joins(const struct classification *c, int from) {
    return schema_at(c, from)->joins;
}

schema_set classification_allowed_transactions(const struct classification *c, int from) {
    return schema_at(c, from)->transactions;
}

schema_set classification_allowed_foreign_keys(const struct classification *c, int from) {
    return schema_at(c, from)->foreign_keys;
}

size_t classification_table_count(const struct classification *c) {
    return c->table_count;
}

size_t classification_schema_table_count(const struct classification *c, int schema) {
    size_t count = 0;
    for (size_t i = 0; c->tables.slots != NULL && i <= c->tables.mask; i++)
        if (c->tables.slots[i].name != NULL && c->tables.slots[i].live == schema)
            count++;
    return count;
}

const char *classification_next_table(const struct classification *c, size_t *cursor, int *schema) {
    while (c->tables.slots != NULL && *cursor <= c->tables.mask) {
        const struct name_entry *entry = &c->tables.slots[(*cursor)++];
        if (entry->name != NULL && entry->live >= 0) {
            *schema = entry->live;
            return entry->name;
        }
    }
    return NULL;
}
