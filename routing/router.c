#include "routing/router.h"

#include "config/alloc.h"
#include "routing/cache.h"
#include "routing/patterns.h"
#include "routing/query.h"
#include "routing/reading.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    CACHED_LENGTH_MAX =
        64 *
        1024, /* a longer text is hardly ever sent twice, and hashing it costs more than is won */
    SHAPED_LENGTH_MAX = 1024 * 1024,
    AGAIN_PART = 16,        /* of the cache's bytes */
    FACTS_ROOM = 16 * 1024, /* kept for the next text; what a text needs more is given back */
    SCRATCH_ROOM = 64 * 1024,
};

struct router {
    const struct settings *settings;
    struct cache *cache;
    struct cache *again;       /* queries that have a shape, by texts that come again and again */
    struct patterns *patterns; /* …and by what such texts have in common byte for byte */
    struct arena *facts, *scratch; /* what is being read */
    char *shape;                   /* where shapes are written */
    size_t shape_room;
};

struct router *router_new(const struct settings *settings, size_t cache_bytes) {
    unsigned char secret[CACHE_SECRET_SIZE];
    ssize_t got = getrandom(secret, sizeof secret, 0);
    assert(got == (ssize_t)sizeof secret);
    struct router *router = alloc_new(sizeof *router);
    router->settings = settings;
    router->again = cache_new(cache_bytes / AGAIN_PART, secret);
    router->cache = cache_new(cache_bytes - cache_bytes / AGAIN_PART, secret);
    router->patterns = patterns_new();
    router->facts = arena_new(FACTS_ROOM);
    router->scratch = arena_new(SCRATCH_ROOM);
    return router;
}

void router_free(struct router *router) {
    if (router != NULL) {
        patterns_free(router->patterns);
        cache_free(router->again);
        cache_free(router->cache);
        arena_free(router->facts);
        arena_free(router->scratch);
        free(router->shape);
        free(router);
    }
}

const struct settings *router_settings(const struct router *router) {
    return router->settings;
}

enum { FLAG_CONFORMING = 1, FLAG_UTF8 = 2, FLAG_SHAPE = 4 }; /* of cache entries */

static unsigned lexing_flags(const struct lexing *lexing, bool check_utf8) {
    return (lexing->standard_conforming_strings ? FLAG_CONFORMING : 0U) |
           (check_utf8 ? FLAG_UTF8 : 0U);
}

static struct reading begin_reading(struct router *router, const char *text, size_t length,
                                    const struct lexing *lexing) {
    arena_reset(router->facts);
    arena_reset(router->scratch);
    return (struct reading){.text = text,
                            .length = length,
                            .lexing = lexing,
                            .arena = router->facts,
                            .scratch = router->scratch};
}

/* What a scanned text says, and where it came before, into the cache: under its shape, if it has
 * one, else under the text itself. A key without a text stands for what is not to be kept. */
static struct query *read_query(struct router *router, const struct reading *reading,
                                struct cache_key *key, struct cache_key *shape_key,
                                struct error *error) {
    struct query_facts facts;
    reading_parse(reading, &facts, error);
    bool is_shape = shape_key->text != NULL && query_has_shape(&facts);
    struct query_source source = {.text = reading->text,
                                  .length = reading->length,
                                  .facts = &facts,
                                  .parse_error = error->text[0] != '\0' ? error->text : NULL,
                                  .lexing = *reading->lexing,
                                  .shape = is_shape ? shape_key->text : NULL,
                                  .shape_length = is_shape ? shape_key->length : 0};
    struct query *query = query_new(&source, router->settings);
    arena_reset(router->facts); /* a big text's memory is not kept until the next one comes */
    arena_reset(router->scratch);
    struct cache_key *wanted = is_shape ? shape_key : key;
    if (wanted->text != NULL && cache_wants(router->cache, wanted)) {
        wanted->text = is_shape ? query->shape : query->text;
        cache_put(router->cache, wanted, query, query->bytes);
    }
    return query;
}

bool router_query(struct router *router, const char *text, size_t length,
                  const struct lexing *lexing, bool check_utf8, struct query **out,
                  struct error *error) {
    struct cache_key key = {.text = NULL}, no_shape = {.text = NULL};
    if (length <= CACHED_LENGTH_MAX) {
        key = cache_key_of(router->cache, text, length, lexing_flags(lexing, check_utf8));
        struct query *found = cache_find(router->cache, &key);
        if (found != NULL) {
            *out = query_ref(found);
            return true;
        }
    }
    struct reading reading = begin_reading(router, text, length, lexing);
    if (!reading_scan(&reading, check_utf8, NULL, error))
        return false;
    *out = read_query(router, &reading, &key, &no_shape, error);
    return true;
}

static char *shape_room(struct router *router, size_t length) {
    size_t bound = shape_bound(length);
    if (bound > router->shape_room) {
        router->shape = alloc_resize(router->shape, bound);
        router->shape_room = bound;
    }
    return router->shape;
}

/* …by what follows from reading it. */
static __attribute__((noinline)) bool query_by_shape(struct router *router, const char *text,
                                                     size_t length, const struct lexing *lexing,
                                                     bool check_utf8, struct cache_key *key,
                                                     struct query **out, struct error *error) {
    struct reading reading = begin_reading(router, text, length, lexing);
    struct shape shape;
    struct cache_key shape_key = {.text = NULL};
    struct query *found = NULL;
    unsigned flags = lexing_flags(lexing, check_utf8);
    shape_begin(&shape, shape_room(router, length));
    if (!reading_scan(&reading, check_utf8, &shape, error))
        return false;
    if (shape_exists(&shape) && shape.length <= CACHED_LENGTH_MAX) {
        shape_key = cache_key_of(router->cache, shape.out, shape.length, flags | FLAG_SHAPE);
        found = cache_find(router->cache, &shape_key);
    }
    if (found == NULL) {
        *out = read_query(router, &reading, key, &shape_key, error);
        return true;
    }
    *out = query_ref(found);
    if (key->text != NULL && cache_wants(router->again, key))
        cache_put(router->again, key, found, found->bytes);
    else
        patterns_offer(router->patterns, text, length, lexing, flags, found);
    return true;
}

bool router_query_shape(struct router *router, const char *text, size_t length,
                        const struct lexing *lexing, bool check_utf8, struct query **out,
                        struct error *error) {
    if (length > SHAPED_LENGTH_MAX)
        return router_query(router, text, length, lexing, check_utf8, out, error);
    unsigned flags = lexing_flags(lexing, check_utf8);
    struct query *found = patterns_find(router->patterns, text, length, flags);
    struct cache_key key = {.text = NULL};
    if (found == NULL && length <= CACHED_LENGTH_MAX) {
        key = cache_key_of(router->cache, text, length, flags);
        found = cache_find(router->cache, &key);
        if (found == NULL)
            found = cache_find(router->again, &key);
    }
    if (found == NULL)
        return query_by_shape(router, text, length, lexing, check_utf8, &key, out, error);
    *out = query_ref(found);
    return true;
}
