/* Queries by their text or its shape, bounded in bytes; what was used longest ago goes first. Texts
 * that come only once, as most with constants in them do, are better kept out: making room for them
 * costs more than parsing them, and pushes out what comes again. So the caller asks cache_wants()
 * before it fills the cache.
 *
 * The key is the text with how it was read (lexing flags). It is found by a hash with a secret, so
 * that no client can make texts collide, and confirmed by comparing the whole text. One thread. */
#ifndef PGINTERLOCK_CACHE_H
#define PGINTERLOCK_CACHE_H

#include "routing/router.h"

enum { CACHE_SECRET_SIZE = 192 };

struct cache;

/* `secret` is CACHE_SECRET_SIZE random bytes, copied. `bytes` bounds the sum of the sizes given to
 * cache_put(). */
struct cache *cache_new(size_t bytes, const unsigned char *secret);
void cache_free(struct cache *cache); /* gives back its references */

/* What a query is found by. The text is borrowed. */
struct cache_key {
    const char *text;
    size_t length;
    uint64_t hash[2];
    unsigned flags;
};
struct cache_key cache_key_of(const struct cache *cache, const char *text, size_t length,
                              unsigned flags);

/* The query, borrowed until the next cache_put(), or NULL. Counts as used. */
struct query *cache_find(struct cache *cache, const struct cache_key *key);

/* Whether the key was asked for before: the cache remembers hashes of about as many as it can hold.
 */
bool cache_wants(struct cache *cache, const struct cache_key *key);

/* Stores a query that is not in the cache yet: keeps a reference of its own, and a copy of the
 * key's text unless that is the query's own text or shape. `bytes` is what the query occupies in
 * memory. A query bigger than an eighth of the cache is not kept. */
void cache_put(struct cache *cache, const struct cache_key *key, struct query *query, size_t bytes);

size_t cache_count(const struct cache *cache);
size_t cache_bytes(const struct cache *cache);

#endif
