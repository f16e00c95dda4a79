#include "routing/names.h"

#include "config/alloc.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define uthash_fatal(message) abort()
#define HASH_FUNCTION(key, length, hash) (hash) = (unsigned)XXH3_64bits(key, length)
#include <uthash.h>

struct name_entry {
    UT_hash_handle hh;
    long index;
    char name[];
};

static struct name_entry *names_find(const struct names *names, const char *name) {
    struct name_entry *found = NULL;
    HASH_FIND_STR(names->entries, name, found);
    return found;
}

long names_get(const struct names *names, const char *name) {
    const struct name_entry *found = names_find(names, name);
    return found != NULL ? found->index : -1;
}

void names_set(struct names *names, const char *name, long index) {
    struct name_entry *entry = names_find(names, name);
    if (index < 0) {
        if (entry != NULL) {
            HASH_DEL(names->entries, entry);
            free(entry);
        }
        return;
    }
    if (entry == NULL) {
        size_t length = strlen(name);
        entry = alloc_new(sizeof *entry + length + 1);
        memcpy(entry->name, name, length + 1);
        HASH_ADD_STR(names->entries, name, entry);
    }
    entry->index = index;
}

void names_clear(struct names *names) {
    struct name_entry *entry, *next;
    HASH_ITER(hh, names->entries, entry, next) {
        HASH_DEL(names->entries, entry);
        free(entry);
    }
}
