#include "protocol/scram_keys.h"

#include "config/alloc.h"
#include "protocol/scram.h"

#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    char *user;
    uint8_t tag[CRYPTO_KEY]; /* a keyed hash of the password: whether it is still the same */
    struct secret_verifier verifier;
};

struct scram_keys {
    atomic_uint references;
    struct entry *entries; /* sorted by user */
    size_t count;
};

static int compare(const void *name, const void *entry) {
    return strcmp(name, ((const struct entry *)entry)->user);
}

static const struct entry *find(const struct scram_keys *keys, const char *user) {
    if (keys == NULL || keys->count == 0)
        return NULL;
    return bsearch(user, keys->entries, keys->count, sizeof *keys->entries, compare);
}

/* False where libcrypto refuses: the user's logins then derive, or fail, by themselves. */
static bool fill(struct entry *entry, const struct user *user, const struct scram_keys *before) {
    uint8_t key[CRYPTO_KEY];
    bool done =
        crypto_process_key(key) && crypto_hmac(key, user->secret, strlen(user->secret), entry->tag);
    OPENSSL_cleanse(key, sizeof key);
    const struct entry *old = find(before, user->name);
    if (done && old != NULL && CRYPTO_memcmp(old->tag, entry->tag, sizeof entry->tag) == 0)
        entry->verifier = old->verifier;
    else
        done = done && secret_derive_salt(user->name, &entry->verifier) &&
               secret_derive_keys(user->secret, &entry->verifier);
    entry->user = done ? alloc_text(user->name) : NULL;
    return done;
}

struct scram_keys *scram_keys_new(const struct user *users, size_t count,
                                  const struct scram_keys *before) {
    struct scram_keys *keys = alloc_new(sizeof *keys);
    atomic_init(&keys->references, 1);
    keys->entries = alloc_zeroed(count, sizeof *keys->entries);
    for (size_t i = 0; i < count; i++)
        if (secret_is_plain(users[i].secret) &&
            fill(&keys->entries[keys->count], &users[i], before))
            keys->count++;
    return keys;
}

struct scram_keys *scram_keys_ref(struct scram_keys *keys) {
    if (keys != NULL)
        atomic_fetch_add(&keys->references, 1);
    return keys;
}

void scram_keys_unref(struct scram_keys *keys) {
    if (keys == NULL || atomic_fetch_sub(&keys->references, 1) > 1)
        return;
    for (size_t i = 0; i < keys->count; i++)
        free(keys->entries[i].user);
    OPENSSL_cleanse(keys->entries, keys->count * sizeof *keys->entries);
    free(keys->entries);
    free(keys);
}

const struct secret_verifier *scram_keys_find(const struct scram_keys *keys, const char *user) {
    const struct entry *entry = find(keys, user);
    return entry != NULL ? &entry->verifier : NULL;
}
