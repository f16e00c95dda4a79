#include "routing/query.h"

#include "config/alloc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { QUERY_ALIGNMENT = 8 };

/* A sequence made for a column is called TABLE_COLUMN_seq: the longest table name that fits is its
 * table's. */
static int lookup_sequence(const struct classification *c, const struct table_facts *table) {
    char name[64];
    size_t length = strlen(table->name);
    if (length < 5 || length >= sizeof name || memcmp(table->name + length - 4, "_seq", 4) != 0) {
        return -1;
    }
    memcpy(name, table->name, length + 1);
    name[length - 4] = '\0';
    for (;;) {
        int schema = classification_lookup(c, table->schema, name);
        if (schema >= 0) {
            return schema;
        }
        char *column = strrchr(name, '_');
        if (column == NULL || column == name) {
            return -1;
        }
        *column = '\0';
    }
}

/* Whether a table without a class is no cause for complaint, because its name may well not be a
 * table's at all. */
static bool may_be_unclassified(const struct table_facts *table, enum statement_kind kind) {
    return kind == KIND_UNPARSED ||
           (table->flags & (TABLE_NAMED_IN_STRING | TABLE_TYPE | TABLE_IN_BODY | TABLE_SEQUENCE |
                            TABLE_TEMPORARY)) != 0;
}

static void classify_table(const struct settings *settings, const struct table_facts *table,
                           enum statement_kind kind, struct routed_table *out) {
    const struct classification *c = settings->classification;
    *out = (struct routed_table){.facts = table, .role = ROLE_IGNORED, .schema = -1};
    if ((table->flags & (TABLE_OTHER_OBJECT | TABLE_TEMPORARY)) != 0) {
        return;
    }
    out->schema = classification_lookup(c, table->schema, table->name);
    if (out->schema < 0) {
        out->schema = lookup_sequence(c, table);
    }
    if (out->schema >= 0) {
        out->role = ROLE_COUNTS;
        out->databases = classification_schema_databases(c, out->schema);
    } else if (!may_be_unclassified(table, kind)) {
        out->role = ROLE_UNKNOWN;
    }
}

static size_t text_bytes(const char *text) {
    return text != NULL ? strlen(text) + 1 : 0;
}

static size_t statement_bytes(const struct statement_facts *facts) {
    size_t bytes = sizeof(struct statement) + sizeof *facts;
    bytes += facts->table_count * (sizeof(struct table_facts) + sizeof(struct routed_table));
    bytes += facts->foreign_key_count * sizeof(struct foreign_key_facts);
    bytes += (facts->function_count + facts->literal_count) * sizeof(char *);
    for (size_t i = 0; i < facts->table_count; i++) {
        bytes += text_bytes(facts->tables[i].schema) + text_bytes(facts->tables[i].name);
    }
    for (size_t i = 0; i < facts->function_count; i++) {
        bytes += text_bytes(facts->functions[i]);
    }
    for (size_t i = 0; i < facts->literal_count; i++) {
        bytes += text_bytes(facts->literals[i]);
    }
    return bytes + text_bytes(facts->name) + text_bytes(facts->value) +
           text_bytes(facts->hint_database);
}

/* Where a query's parts go: what needs alignment from the front, strings from the back. */
struct packing {
    char *front, *back;
};

static void *pack(struct packing *packing, const void *from, size_t count, size_t size) {
    if (count == 0) {
        return NULL;
    }
    void *to = packing->front;
    packing->front += count * size;
    if (from != NULL) {
        memcpy(to, from, count * size);
    }
    return to;
}

static const char *pack_text(struct packing *packing, const char *text) {
    if (text == NULL) {
        return NULL;
    }
    size_t size = strlen(text) + 1;
    packing->back -= size;
    return memcpy(packing->back, text, size);
}

static const char *const *pack_names(struct packing *packing, const char *const *names,
                                     size_t count) {
    const char **to = pack(packing, NULL, count, sizeof *to);
    for (size_t i = 0; i < count; i++) {
        to[i] = pack_text(packing, names[i]);
    }
    return to;
}

static void pack_facts(struct packing *packing, struct statement_facts *facts, bool is_shape) {
    size_t count = facts->table_count;
    struct table_facts *tables = pack(packing, facts->tables, count, sizeof *tables);
    for (size_t i = 0; i < count; i++) {
        tables[i].schema = pack_text(packing, tables[i].schema);
        tables[i].name = pack_text(packing, tables[i].name);
        tables[i].position = is_shape ? -1 : tables[i].position;
    }
    facts->tables = tables;
    facts->foreign_keys =
        pack(packing, facts->foreign_keys, facts->foreign_key_count, sizeof *facts->foreign_keys);
    facts->functions = pack_names(packing, facts->functions, facts->function_count);
    facts->literals = pack_names(packing, facts->literals, facts->literal_count);
    facts->name = pack_text(packing, facts->name);
    facts->value = pack_text(packing, facts->value);
    facts->hint_database = pack_text(packing, facts->hint_database);
    if (is_shape) {
        facts->start = facts->length = 0;
    }
}

static void classify_statement(struct packing *packing, struct statement *statement,
                               const struct settings *settings) {
    const struct statement_facts *facts = statement->facts;
    struct routed_table *tables = pack(packing, NULL, facts->table_count, sizeof *tables);
    for (size_t i = 0; i < facts->table_count; i++) {
        classify_table(settings, &facts->tables[i], facts->kind, &tables[i]);
    }
    statement->tables = tables;
    statement_summarize(statement, settings);
}

struct query *query_new(const struct query_source *source, const struct settings *settings) {
    size_t count = source->facts->count;
    bool is_shape = source->shape != NULL;
    size_t text_size = is_shape ? 1 : source->length + 1;
    size_t shape_size = is_shape ? source->shape_length + 1 : 0;
    size_t bytes = sizeof(struct query) + text_size + shape_size + text_bytes(source->parse_error) +
                   QUERY_ALIGNMENT;
    for (size_t i = 0; i < count; i++) {
        bytes += statement_bytes(&source->facts->statements[i]);
    }
    char *memory = alloc_resize(NULL, bytes);
    struct packing packing = {.front = memory + sizeof(struct query), .back = memory + bytes};
    struct query *query = (struct query *)(void *)memory;
    packing.back -= text_size;
    packing.back[text_size - 1] = '\0';
    *query = (struct query){.text = memcpy(packing.back, source->text, text_size - 1),
                            .length = text_size - 1,
                            .count = count,
                            .generation = settings->generation,
                            .references = 1,
                            .is_shape = is_shape,
                            .shape_length = source->shape_length,
                            .lexing = source->lexing,
                            .bytes = bytes};
    if (is_shape) {
        packing.back -= shape_size;
        query->shape = memcpy(packing.back, source->shape, shape_size);
    }
    query->parse_error = pack_text(&packing, source->parse_error);
    query->statements = pack(&packing, NULL, count, sizeof *query->statements);
    query->facts.statements =
        pack(&packing, source->facts->statements, count, sizeof *query->facts.statements);
    query->facts.count = count;
    for (size_t i = 0; i < count; i++) {
        query->statements[i] =
            (struct statement){.facts = &query->facts.statements[i], .query = query};
        pack_facts(&packing, &query->facts.statements[i], is_shape);
        classify_statement(&packing, &query->statements[i], settings);
    }
    assert(packing.front <= packing.back);
    return query;
}

bool query_has_shape(const struct query_facts *facts) {
    for (size_t i = 0; i < facts->count; i++) {
        enum statement_kind kind = facts->statements[i].kind;
        bool plain = kind == KIND_SELECT || kind == KIND_INSERT || kind == KIND_UPDATE ||
                     kind == KIND_DELETE || kind == KIND_MERGE;
        if (!plain ||
            (facts->statements[i].flags & (STATEMENT_CONSTANTS | STATEMENT_CATALOG |
                                           STATEMENT_SET_CONFIG | STATEMENT_TEMPORARY)) != 0)
            return false;
    }
    return facts->count > 0;
}

struct query *query_reclassify(const struct query *query, const struct settings *settings) {
    struct query_source source = {.text = query->text,
                                  .length = query->length,
                                  .facts = &query->facts,
                                  .parse_error = query->parse_error,
                                  .lexing = query->lexing,
                                  .shape = query->shape,
                                  .shape_length = query->shape_length};
    return query_new(&source, settings);
}

struct query *query_ref(const struct query *query) {
    /* Immutable but for its count. */
    struct query *counted = (struct query *)(uintptr_t)query;
    counted->references++;
    return counted;
}

void query_unref(struct query *query) {
    if (query != NULL && --query->references == 0) {
        free(query);
    }
}
