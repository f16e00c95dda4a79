/* Allocation inside protocol/: out of memory ends the process, so callers need no branch for it.
 * What is allocated is bounded before the call, so a peer can't make this happen on purpose. */
#ifndef PGINTERLOCK_PROTOCOL_MEMORY_H
#define PGINTERLOCK_PROTOCOL_MEMORY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* realloc() that never returns NULL; size > 0. */
static inline void *memory_reallocate(void *old, size_t size) {
    void *grown = realloc(old, size);
    if (!grown) {
        fputs("pginterlock: out of memory\n", stderr);
        abort();
    }
    return grown;
}

/* Zeroed; the caller frees. */
static inline void *memory_allocate(size_t size) {
    return memset(memory_reallocate(NULL, size), 0, size);
}

/* A copy of NUL-terminated text; the caller frees. */
static inline char *memory_copy_text(const char *text) {
    size_t size = strlen(text) + 1;
    return memcpy(memory_reallocate(NULL, size), text, size);
}

#endif
