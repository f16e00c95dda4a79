#include "routing/collect.h"

#include "routing/lexer.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { LINEAR_MAX = 16, FUNCTIONS_MAX = 4096, LITERALS_MAX = 1024 };

/* A table is any of these only if it is so in all its places. */
static const unsigned weak_flags = TABLE_NAMED_IN_STRING | TABLE_IN_BODY | TABLE_TYPE |
                                   TABLE_OTHER_OBJECT | TABLE_SEQUENCE | TABLE_INDEX |
                                   TABLE_STATISTICS | TABLE_CONSTRAINT;

void collector_init(struct collector *collector, struct arena *arena) {
    *collector = (struct collector){.arena = arena};
}

/* Room for one more element, `size` bytes each. */
static void *grow(struct arena *arena, void *items, size_t count, size_t *capacity, size_t size) {
    if (count < *capacity)
        return items;
    *capacity = *capacity ? *capacity * 2 : 4;
    void *larger = arena_alloc(arena, *capacity * size);
    if (count > 0)
        memcpy(larger, items, count * size);
    return larger;
}

static size_t hash_name(const char *schema, const char *name) {
    uint64_t hash = UINT64_C(14695981039346656037);
    for (; schema && *schema; schema++)
        hash = (hash ^ (unsigned char)*schema) * UINT64_C(1099511628211);
    hash = (hash ^ '.') * UINT64_C(1099511628211);
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * UINT64_C(1099511628211);
    return (size_t)(hash ^ (hash >> 32));
}

/* CREATE TEMP TABLE x AS SELECT … FROM x names two relations, of which the temporary one is there
 * only for what comes behind it: the rest of a body. */
static bool same_table(const struct table_facts *table, const char *schema, const char *name,
                       unsigned flags) {
    if (strcmp(table->name, name) != 0 || !table->schema != !schema)
        return false;
    if (schema)
        return strcmp(table->schema, schema) == 0;
    return (table->flags & TABLE_TEMPORARY) ? (flags & (TABLE_TEMPORARY | TABLE_IN_BODY))
                                            : !(flags & TABLE_TEMPORARY);
}

static void enter_slot(struct collector *collector, size_t index) {
    const struct table_facts *table = &collector->tables[index];
    size_t slot = hash_name(table->schema, table->name) & (collector->slot_count - 1);
    while (collector->slots[slot])
        slot = (slot + 1) & (collector->slot_count - 1);
    collector->slots[slot] = (unsigned)index + 1;
}

static void rehash(struct collector *collector) {
    collector->slot_count =
        collector->slot_count ? collector->slot_count * 4 : 4 * (size_t)LINEAR_MAX;
    size_t size = collector->slot_count * sizeof *collector->slots;
    collector->slots = arena_alloc(collector->arena, size);
    memset(collector->slots, 0, size);
    for (size_t i = 0; i < collector->table_count; i++)
        enter_slot(collector, i);
}

static struct table_facts *find_table(const struct collector *collector, const char *schema,
                                      const char *name, unsigned flags) {
    struct table_facts *found = NULL;
    if (!collector->slots) {
        for (size_t i = 0; i < collector->table_count; i++)
            if (same_table(&collector->tables[i], schema, name, flags))
                found = &collector->tables[i]; /* the last: a temporary one hides another */
        return found;
    }
    size_t slot = hash_name(schema, name) & (collector->slot_count - 1);
    for (; collector->slots[slot]; slot = (slot + 1) & (collector->slot_count - 1)) {
        struct table_facts *table = &collector->tables[collector->slots[slot] - 1];
        if (same_table(table, schema, name, flags) && (!found || found < table))
            found = table;
    }
    return found;
}

/* What a name alone says, which may be no table's. */
static const unsigned doubtful_flags = TABLE_NAMED_IN_STRING | TABLE_TYPE | TABLE_OTHER_OBJECT;

static void merge(struct table_facts *table, enum access access, unsigned flags, int position) {
    bool rows = access < ACCESS_DDL || table->access < ACCESS_DDL;
    if (rows && (access == ACCESS_DDL || table->access == ACCESS_DDL))
        table->flags |= TABLE_READ_TOO;
    if (access > table->access)
        table->access = access;
    unsigned kept = table->flags & flags & weak_flags;
    if ((table->flags & doubtful_flags) && (flags & doubtful_flags) && !(kept & doubtful_flags))
        kept |= TABLE_TYPE; /* in doubt in each place, though for other reasons */
    table->flags = ((table->flags | flags) & ~weak_flags) | kept;
    if (position >= 0 && (table->position < 0 || position < table->position))
        table->position = position;
}

int collector_add_table(struct collector *collector, const char *schema, const char *name,
                        enum access access, unsigned flags, int position) {
    struct table_facts *known = find_table(collector, schema, name, flags);
    if (known) {
        merge(known, access, flags, position);
        return (int)(known - collector->tables);
    }
    if (schema && strcmp(schema, "pg_temp") == 0)
        flags |= TABLE_TEMPORARY;
    collector->tables = grow(collector->arena, collector->tables, collector->table_count,
                             &collector->table_capacity, sizeof *collector->tables);
    size_t index = collector->table_count++;
    collector->tables[index] = (struct table_facts){
        .schema = schema ? arena_copy_text(collector->arena, schema, strlen(schema)) : NULL,
        .name = arena_copy_text(collector->arena, name, strlen(name)),
        .access = access,
        .flags = flags,
        .position = position,
    };
    if (collector->slots && collector->table_count * 2 <= collector->slot_count)
        enter_slot(collector, index);
    else if (collector->table_count > LINEAR_MAX)
        rehash(collector);
    return (int)index;
}

void collector_add_foreign_key(struct collector *collector, int from, int to) {
    collector->foreign_keys =
        grow(collector->arena, collector->foreign_keys, collector->foreign_key_count,
             &collector->foreign_key_capacity, sizeof *collector->foreign_keys);
    collector->foreign_keys[collector->foreign_key_count++] = (struct foreign_key_facts){from, to};
}

/* Beyond 16 functions duplicates may stay: looking for them in a long list would cost more than it
 * saves. */
void collector_add_function(struct collector *collector, const char *name) {
    size_t looked_at =
        collector->function_count < LINEAR_MAX ? collector->function_count : LINEAR_MAX;
    for (size_t i = 0; i < looked_at; i++)
        if (strcmp(collector->functions[i], name) == 0)
            return;
    if (collector->function_count >= 1 &&
        strcmp(collector->functions[collector->function_count - 1], name) == 0)
        return;
    collector->functions = grow(collector->arena, collector->functions, collector->function_count,
                                &collector->function_capacity, sizeof *collector->functions);
    collector->functions[collector->function_count++] =
        arena_copy_text(collector->arena, name, strlen(name));
}

void collector_add_literal(struct collector *collector, const char *text, size_t length) {
    if (collector->literal_count >= LITERALS_MAX)
        return;
    collector->literals = grow(collector->arena, collector->literals, collector->literal_count,
                               &collector->literal_capacity, sizeof *collector->literals);
    collector->literals[collector->literal_count++] =
        arena_copy_text(collector->arena, text, length);
}

/* Names in DROP, COMMENT and the like carry no location in the parse tree. */
static void find_positions(struct collector *collector, const char *text,
                           const struct statement_facts *out) {
    bool missing = false;
    for (size_t i = 0; i < collector->table_count; i++)
        missing |= collector->tables[i].position < 0;
    if (!missing)
        return;
    struct lexer lexer;
    lexer_init(&lexer, text, out->start + out->length, true);
    lexer.position = out->start;
    struct token token;
    char name[LEXER_NAME_MAX + 1];
    for (lexer_next(&lexer, &token); token.kind != TOKEN_END; lexer_next(&lexer, &token)) {
        if (token.start > INT_MAX || lexer_name_escaped(&lexer, &token, name) == 0)
            continue;
        for (size_t i = 0; i < collector->table_count && i < LINEAR_MAX; i++) {
            struct table_facts *table = &collector->tables[i];
            if (table->position < 0 && strcmp(table->name, name) == 0)
                table->position = (int)token.start;
        }
    }
}

struct ranked {
    int position;
    int index;
};

static int compare_ranked(const void *left, const void *right) {
    const struct ranked *a = left;
    const struct ranked *b = right;
    unsigned pa = (unsigned)a->position, pb = (unsigned)b->position; /* -1, unknown, comes last */
    if (pa != pb)
        return pa < pb ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

static void sort_tables(struct collector *collector) {
    size_t count = collector->table_count;
    bool sorted = true;
    for (size_t i = 1; i < count; i++)
        sorted &=
            (unsigned)collector->tables[i - 1].position <= (unsigned)collector->tables[i].position;
    if (sorted)
        return;
    struct ranked *ranks = arena_alloc(collector->arena, count * sizeof *ranks);
    struct table_facts *tables = arena_alloc(collector->arena, count * sizeof *tables);
    int *moved = arena_alloc(collector->arena, count * sizeof *moved);
    for (size_t i = 0; i < count; i++)
        ranks[i] = (struct ranked){collector->tables[i].position, (int)i};
    qsort(ranks, count, sizeof *ranks, compare_ranked);
    for (size_t i = 0; i < count; i++) {
        tables[i] = collector->tables[ranks[i].index];
        moved[ranks[i].index] = (int)i;
    }
    for (size_t i = 0; i < collector->foreign_key_count; i++) {
        struct foreign_key_facts *key = &collector->foreign_keys[i];
        *key = (struct foreign_key_facts){moved[key->from], moved[key->to]};
    }
    collector->tables = tables;
}

void collector_finish(struct collector *collector, const char *text, struct statement_facts *out) {
    find_positions(collector, text, out);
    sort_tables(collector);
    out->tables = collector->tables;
    out->table_count = collector->table_count;
    out->foreign_keys = collector->foreign_keys;
    out->foreign_key_count = collector->foreign_key_count;
    out->functions = collector->functions;
    out->function_count = collector->function_count;
    out->literals = collector->literals;
    out->literal_count = collector->literal_count;
}
