#include "proxy/cancel_keys.h"

#include "config/alloc.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

enum { CAPACITY_FIRST = 64 };

/* The keys are random and ours, so that nobody can make them collide; their lowest bits are not:
 * they tell the worker. */
static struct cancel_entry **bucket_of(const struct cancel_keys *keys, uint32_t pid, uint32_t key) {
    uint64_t both = (uint64_t)pid << 32 | key;
    uint64_t mixed = both * UINT64_C(0x9e3779b97f4a7c15);
    return &keys->buckets[(mixed >> 32) & (keys->capacity - 1)];
}

static void insert(struct cancel_keys *keys, struct cancel_entry *entry) {
    struct cancel_entry **bucket = bucket_of(keys, entry->pid, entry->key);
    entry->next = *bucket;
    *bucket = entry;
}

static void grow(struct cancel_keys *keys) {
    struct cancel_keys old = *keys;
    keys->capacity = old.capacity > 0 ? old.capacity * 2 : CAPACITY_FIRST;
    keys->buckets = alloc_zeroed(keys->capacity, sizeof(struct cancel_entry *));
    for (size_t i = 0; i < old.capacity; i++)
        for (struct cancel_entry *entry = old.buckets[i], *next; entry != NULL; entry = next) {
            next = entry->next;
            insert(keys, entry);
        }
    free(old.buckets);
}

void cancel_keys_enter(struct cancel_keys *keys, struct cancel_entry *entry, uint32_t pid,
                       uint32_t key, struct session *session) {
    assert(entry->session == NULL && session != NULL);
    if (keys->count == keys->capacity)
        grow(keys);
    *entry = (struct cancel_entry){.session = session, .pid = pid, .key = key};
    insert(keys, entry);
    keys->count++;
}

void cancel_keys_leave(struct cancel_keys *keys, struct cancel_entry *entry) {
    if (entry->session == NULL)
        return;
    struct cancel_entry **at = bucket_of(keys, entry->pid, entry->key);
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    *entry = (struct cancel_entry){0};
    keys->count--;
}

struct session *cancel_keys_find(const struct cancel_keys *keys, uint32_t pid, uint32_t key) {
    if (keys->count == 0)
        return NULL;
    for (const struct cancel_entry *entry = *bucket_of(keys, pid, key); entry != NULL;
         entry = entry->next)
        if (entry->pid == pid && CRYPTO_memcmp(&entry->key, &key, sizeof key) == 0)
            return entry->session;
    return NULL;
}

void cancel_keys_close(struct cancel_keys *keys) {
    free(keys->buckets);
    *keys = (struct cancel_keys){0};
}
