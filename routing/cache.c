#include "routing/cache.h"

#include "routing/text.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { BUCKETS_AT_FIRST = 256 };

struct entry {
    XXH128_hash_t hash;
    unsigned flags;
    size_t bytes;
    struct query *query;
    struct entry *next_in_bucket;
    struct entry *newer, *older;
};

struct cache {
    unsigned char secret[CACHE_SECRET_SIZE];
    size_t limit, bytes, count;
    struct entry **buckets;
    size_t bucket_count; /* a power of two */
    struct entry *newest, *oldest;
};

struct cache *cache_new(size_t bytes, const unsigned char *secret) {
    struct cache *cache = alloc_new(sizeof *cache);
    memcpy(cache->secret, secret, sizeof cache->secret);
    cache->limit = bytes;
    cache->bucket_count = BUCKETS_AT_FIRST;
    cache->buckets = alloc_new(cache->bucket_count * sizeof *cache->buckets);
    return cache;
}

static struct entry **cache_bucket(struct cache *cache, XXH128_hash_t hash) {
    return &cache->buckets[hash.low64 & (cache->bucket_count - 1)];
}

static void cache_unlink(struct cache *cache, struct entry *entry) {
    *(entry->newer != NULL ? &entry->newer->older : &cache->newest) = entry->older;
    *(entry->older != NULL ? &entry->older->newer : &cache->oldest) = entry->newer;
}

static void cache_link_newest(struct cache *cache, struct entry *entry) {
    entry->newer = NULL;
    entry->older = cache->newest;
    *(cache->newest != NULL ? &cache->newest->newer : &cache->oldest) = entry;
    cache->newest = entry;
}

static void cache_evict_oldest(struct cache *cache) {
    struct entry *entry = cache->oldest;
    struct entry **place = cache_bucket(cache, entry->hash);
    while (*place != entry) {
        place = &(*place)->next_in_bucket;
    }
    *place = entry->next_in_bucket;
    cache_unlink(cache, entry);
    cache->bytes -= entry->bytes;
    cache->count--;
    query_unref(entry->query);
    free(entry);
}

void cache_free(struct cache *cache) {
    if (cache == NULL) {
        return;
    }
    while (cache->oldest != NULL) {
        cache_evict_oldest(cache);
    }
    free(cache->buckets);
    free(cache);
}

struct query *cache_find(struct cache *cache, const char *text, size_t length, unsigned flags) {
    XXH128_hash_t hash = XXH3_128bits_withSecret(text, length, cache->secret, CACHE_SECRET_SIZE);
    struct entry *entry = *cache_bucket(cache, hash);
    while (entry != NULL) {
        if (XXH128_isEqual(entry->hash, hash) && entry->flags == flags &&
            entry->query->length == length && memcmp(entry->query->text, text, length) == 0) {
            if (cache->newest != entry) {
                cache_unlink(cache, entry);
                cache_link_newest(cache, entry);
            }
            return entry->query;
        }
        entry = entry->next_in_bucket;
    }
    return NULL;
}

static void cache_double_buckets(struct cache *cache) {
    free(cache->buckets);
    cache->bucket_count *= 2;
    cache->buckets = alloc_new(cache->bucket_count * sizeof *cache->buckets);
    for (struct entry *entry = cache->newest; entry != NULL; entry = entry->older) {
        struct entry **bucket = cache_bucket(cache, entry->hash);
        entry->next_in_bucket = *bucket;
        *bucket = entry;
    }
}

void cache_put(struct cache *cache, struct query *query, unsigned flags, size_t bytes) {
    bytes += sizeof(struct entry);
    if (bytes > cache->limit / 8) {
        return;
    }
    while (cache->bytes > cache->limit - bytes) {
        cache_evict_oldest(cache);
    }
    if (cache->count >= cache->bucket_count) {
        cache_double_buckets(cache);
    }
    struct entry *entry = alloc_new(sizeof *entry);
    entry->hash =
        XXH3_128bits_withSecret(query->text, query->length, cache->secret, CACHE_SECRET_SIZE);
    entry->flags = flags;
    entry->bytes = bytes;
    entry->query = query_ref(query);
    struct entry **bucket = cache_bucket(cache, entry->hash);
    entry->next_in_bucket = *bucket;
    *bucket = entry;
    cache_link_newest(cache, entry);
    cache->bytes += bytes;
    cache->count++;
}

size_t cache_count(const struct cache *cache) {
    return cache->count;
}

size_t cache_bytes(const struct cache *cache) {
    return cache->bytes;
}
