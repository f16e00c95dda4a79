#include "routing/cache.h"

#include "config/alloc.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { BUCKETS_AT_FIRST = 256, BYTES_A_QUERY = 1024 };

struct entry {
    struct cache_key key; /* its text: the query's own text or shape, or behind the entry */
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
    uint32_t *seen;    /* by one half of a key's hash, of the last such key a part of the other */
    size_t seen_count; /* a power of two */
};

struct cache *cache_new(size_t bytes, const unsigned char *secret) {
    struct cache *cache = alloc_new(sizeof *cache);
    memcpy(cache->secret, secret, sizeof cache->secret);
    cache->limit = bytes;
    cache->bucket_count = BUCKETS_AT_FIRST;
    cache->buckets = alloc_new(cache->bucket_count * sizeof *cache->buckets);
    cache->seen_count = 1;
    while (cache->seen_count < bytes / BYTES_A_QUERY) {
        cache->seen_count *= 2;
    }
    cache->seen = alloc_zeroed(cache->seen_count, sizeof *cache->seen);
    return cache;
}

static struct entry **cache_bucket(struct cache *cache, const struct cache_key *key) {
    return &cache->buckets[key->hash[0] & (cache->bucket_count - 1)];
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
    struct entry **place = cache_bucket(cache, &entry->key);
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
    free(cache->seen);
    free(cache);
}

struct cache_key cache_key_of(const struct cache *cache, const char *text, size_t length,
                              unsigned flags) {
    XXH128_hash_t hash = XXH3_128bits_withSecret(text, length, cache->secret, CACHE_SECRET_SIZE);
    return (struct cache_key){
        .text = text, .length = length, .hash = {hash.low64, hash.high64}, .flags = flags};
}

static bool cache_key_equal(const struct cache_key *a, const struct cache_key *b) {
    return a->hash[0] == b->hash[0] && a->hash[1] == b->hash[1] && a->flags == b->flags &&
           a->length == b->length && memcmp(a->text, b->text, a->length) == 0;
}

struct query *cache_find(struct cache *cache, const struct cache_key *key) {
    struct entry *entry = *cache_bucket(cache, key);
    while (entry != NULL && !cache_key_equal(&entry->key, key)) {
        entry = entry->next_in_bucket;
    }
    if (entry == NULL) {
        /* Far away as a rule, and asked for as soon as the text has been parsed. */
        __builtin_prefetch(&cache->seen[key->hash[1] & (cache->seen_count - 1)], 1);
        return NULL;
    }
    if (cache->newest != entry) {
        cache_unlink(cache, entry);
        cache_link_newest(cache, entry);
    }
    return entry->query;
}

bool cache_wants(struct cache *cache, const struct cache_key *key) {
    uint32_t *seen = &cache->seen[key->hash[1] & (cache->seen_count - 1)];
    uint32_t mark = (uint32_t)(key->hash[0] >> 32);
    bool again = *seen == mark;
    *seen = mark;
    return again;
}

static void cache_double_buckets(struct cache *cache) {
    free(cache->buckets);
    cache->bucket_count *= 2;
    cache->buckets = alloc_new(cache->bucket_count * sizeof *cache->buckets);
    for (struct entry *entry = cache->newest; entry != NULL; entry = entry->older) {
        struct entry **bucket = cache_bucket(cache, &entry->key);
        entry->next_in_bucket = *bucket;
        *bucket = entry;
    }
}

void cache_put(struct cache *cache, const struct cache_key *key, struct query *query,
               size_t bytes) {
    bool own = key->text == query->text || key->text == query->shape;
    size_t text_size = own ? 0 : key->length;
    bytes += sizeof(struct entry) + text_size;
    if (bytes > cache->limit / 8) {
        return;
    }
    while (cache->bytes > cache->limit - bytes) {
        cache_evict_oldest(cache);
    }
    if (cache->count >= cache->bucket_count) {
        cache_double_buckets(cache);
    }
    struct entry *entry = alloc_resize(NULL, sizeof *entry + text_size);
    entry->key = *key;
    if (text_size > 0) {
        entry->key.text = memcpy(entry + 1, key->text, text_size);
    }
    entry->bytes = bytes;
    entry->query = query_ref(query);
    struct entry **bucket = cache_bucket(cache, key);
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
