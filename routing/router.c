#include "routing/router.h"

#include "routing/arena.h"
#include "routing/cache.h"
#include "routing/shape.h"
#include "routing/text.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* A longer text is hardly ever sent twice, and hashing it costs more than is won. */
enum { CACHED_LENGTH_MAX = 64 * 1024, SHAPED_LENGTH_MAX = 1024 * 1024 };

struct router {
    const struct settings *settings;
    struct cache *cache;
    char *shape; /* where shapes are written */
    size_t shape_room;
};

struct router *router_new(const struct settings *settings, size_t cache_bytes) {
    unsigned char secret[CACHE_SECRET_SIZE];
    ssize_t got = getrandom(secret, sizeof secret, 0);
    assert(got == (ssize_t)sizeof secret);
    struct router *router = alloc_new(sizeof *router);
    router->settings = settings;
    router->cache = cache_new(cache_bytes, secret);
    return router;
}

void router_free(struct router *router) {
    if (router != NULL) {
        cache_free(router->cache);
        free(router->shape);
        free(router);
    }
}

const struct settings *router_settings(const struct router *router) {
    return router->settings;
}

/* A sequence made for a column is called TABLE_COLUMN_seq: the longest table name that fits is its
 * table's. */
static int router_lookup_sequence(const struct classification *c, const struct table_facts *table) {
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
static bool router_may_be_unclassified(const struct table_facts *table, enum statement_kind kind) {
    return kind == KIND_UNPARSED ||
           (table->flags & (TABLE_NAMED_IN_STRING | TABLE_TYPE | TABLE_IN_BODY | TABLE_SEQUENCE |
                            TABLE_TEMPORARY)) != 0;
}

static void router_classify_table(const struct settings *settings, const struct table_facts *table,
                                  enum statement_kind kind, struct routed_table *out) {
    const struct classification *c = settings->classification;
    *out = (struct routed_table){.facts = table, .role = ROLE_IGNORED, .schema = -1};
    if ((table->flags & (TABLE_OTHER_OBJECT | TABLE_TEMPORARY)) != 0) {
        return;
    }
    out->schema = classification_lookup(c, table->schema, table->name);
    if (out->schema < 0) {
        out->schema = router_lookup_sequence(c, table);
    }
    if (out->schema >= 0) {
        out->role = ROLE_COUNTS;
        out->databases = classification_schema_databases(c, out->schema);
    } else if (!router_may_be_unclassified(table, kind)) {
        out->role = ROLE_UNKNOWN;
    }
}

static size_t query_bytes(const struct query *query) {
    size_t bytes = sizeof *query + query->length + query->count * sizeof(struct statement);
    for (size_t i = 0; i < query->count; i++) {
        bytes += query->facts.statements[i].table_count * sizeof(struct routed_table);
    }
    return bytes + arena_size(query->facts.arena);
}

static void query_classify(struct query *query, struct routed_table *tables,
                           const struct settings *settings) {
    query->generation = settings->generation;
    for (size_t i = 0; i < query->count; i++) {
        struct statement *statement = &query->statements[i];
        statement->facts = &query->facts.statements[i];
        statement->query = query;
        statement->tables = tables;
        for (size_t t = 0; t < statement->facts->table_count; t++) {
            router_classify_table(settings, &statement->facts->tables[t], statement->facts->kind,
                                  tables++);
        }
        statement_summarize(statement, settings);
    }
}

/* One allocation holds the query, its statements, their tables and, unless it is that of `origin`, the text. Facts are
 * shared with `origin`, on which the caller gives a reference. */
static struct query *query_new(const char *text, size_t length, const struct query_facts *facts,
                               struct query *origin, const struct settings *settings) {
    bool own_text = origin == NULL || text != origin->text;
    size_t table_count = 0;
    for (size_t i = 0; i < facts->count; i++) {
        table_count += facts->statements[i].table_count;
    }
    size_t statements_at = (sizeof(struct query) + 15) & ~(size_t)15;
    size_t tables_at = statements_at + facts->count * sizeof(struct statement);
    size_t text_at = tables_at + table_count * sizeof(struct routed_table);
    char *memory = alloc_new(text_at + (own_text ? length + 1 : 0));
    struct query *query = (struct query *)(void *)memory;
    query->statements = (struct statement *)(void *)(memory + statements_at);
    query->text = text;
    if (own_text) {
        memcpy(memory + text_at, text, length);
        query->text = memory + text_at;
    }
    query->length = length;
    query->facts = *facts;
    query->count = facts->count;
    query->origin = origin;
    query->is_shape = origin != NULL && own_text;
    query->references = 1;
    query_classify(query, (struct routed_table *)(void *)(memory + tables_at), settings);
    return query;
}

struct query *query_reclassify(const struct query *query, const struct settings *settings) {
    struct query *origin = query_ref(query->origin != NULL ? query->origin : query);
    struct query *again = query_new(query->text, query->length, &query->facts, origin, settings);
    again->parse_error = alloc_text(query->parse_error);
    return again;
}

enum { FLAG_CONFORMING = 1, FLAG_UTF8 = 2, FLAG_SHAPE = 4 }; /* of cache entries */

static unsigned lexing_flags(const struct lexing *lexing, bool check_utf8) {
    return (lexing->standard_conforming_strings ? FLAG_CONFORMING : 0U) | (check_utf8 ? FLAG_UTF8 : 0U);
}

static bool parse(struct router *router, const char *text, size_t length, const struct lexing *lexing,
                  bool check_utf8, struct query **out, struct error *error) {
    struct query_facts facts;
    struct error parse_error = {{0}};
    if (!facts_parse(text, length, lexing, check_utf8, &facts, &parse_error)) {
        *error = parse_error;
        return false;
    }
    *out = query_new(text, length, &facts, NULL, router->settings);
    (*out)->parse_error = parse_error.text[0] != '\0' ? alloc_text(parse_error.text) : NULL;
    return true;
}

bool router_query(struct router *router, const char *text, size_t length,
                  const struct lexing *lexing, bool check_utf8, struct query **out,
                  struct error *error) {
    unsigned flags = lexing_flags(lexing, check_utf8);
    bool cacheable = length <= CACHED_LENGTH_MAX;
    struct query *found = cacheable ? cache_find(router->cache, text, length, flags) : NULL;
    if (found != NULL) {
        *out = query_ref(found);
        return true;
    }
    if (!parse(router, text, length, lexing, check_utf8, out, error))
        return false;
    if (cacheable)
        cache_put(router->cache, *out, flags, query_bytes(*out));
    return true;
}

/* Whether the facts of a text are those of its shape. */
static bool query_has_shape(const struct query *query) {
    for (size_t i = 0; i < query->count; i++) {
        const struct statement_facts *facts = query->statements[i].facts;
        bool plain = facts->kind == KIND_SELECT || facts->kind == KIND_INSERT || facts->kind == KIND_UPDATE ||
                     facts->kind == KIND_DELETE || facts->kind == KIND_MERGE;
        if (!plain || (facts->flags & (STATEMENT_CONSTANTS | STATEMENT_CATALOG | STATEMENT_SET_CONFIG)) != 0)
            return false;
    }
    return query->count > 0;
}

static bool write_shape(struct router *router, const char *text, size_t length, const struct lexing *lexing,
                        size_t *shape_length) {
    size_t bound = shape_bound(length);
    if (bound > router->shape_room) {
        router->shape = alloc_resize(router->shape, bound);
        router->shape_room = bound;
    }
    return shape_write(text, length, lexing->standard_conforming_strings, router->shape, shape_length);
}

bool router_query_shape(struct router *router, const char *text, size_t length, const struct lexing *lexing,
                        bool check_utf8, struct query **out, struct error *error) {
    unsigned flags = lexing_flags(lexing, check_utf8);
    struct query *found = length <= CACHED_LENGTH_MAX ? cache_find(router->cache, text, length, flags) : NULL;
    size_t shape_length = 0;
    bool shaped = false;
    if (found == NULL && length <= SHAPED_LENGTH_MAX &&
        (shaped = write_shape(router, text, length, lexing, &shape_length)))
        found = cache_find(router->cache, router->shape, shape_length, flags | FLAG_SHAPE);
    if (found != NULL) {
        *out = query_ref(found);
        return true;
    }
    if (!parse(router, text, length, lexing, check_utf8, out, error))
        return false;
    struct query *query = *out;
    if (shaped && shape_length <= CACHED_LENGTH_MAX && query_has_shape(query)) {
        struct query *shape = query_new(router->shape, shape_length, &query->facts, query_ref(query), router->settings);
        cache_put(router->cache, shape, flags | FLAG_SHAPE, query_bytes(shape) + query_bytes(query));
        query_unref(shape);
    } else if (length <= CACHED_LENGTH_MAX) {
        cache_put(router->cache, query, flags, query_bytes(query));
    }
    return true;
}

struct query *query_ref(const struct query *query) {
    /* Immutable but for its count. */
    struct query *counted = (struct query *)(uintptr_t)query;
    counted->references++;
    return counted;
}

void query_unref(struct query *query) {
    if (query != NULL && --query->references == 0) {
        if (query->origin != NULL) {
            query_unref(query->origin);
        } else {
            facts_close(&query->facts);
        }
        free(query->parse_error);
        free(query);
    }
}
