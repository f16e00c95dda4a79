/* A bump allocator: many small allocations that live and die together.
 *
 * Owned by whoever calls arena_new(); used by one thread at a time. Running out of memory ends the
 * process, as a proxy without memory for a few names cannot answer anybody. */
#ifndef PGINTERLOCK_ARENA_H
#define PGINTERLOCK_ARENA_H

#include <stddef.h>

struct arena;

struct arena *arena_new(size_t first_block); /* bytes expected; grows beyond them */
void arena_free(struct arena *arena);        /* NULL is fine */

/* `size` bytes aligned for any type, uninitialized; never NULL. */
void *arena_alloc(struct arena *arena, size_t size);
/* A NUL-terminated copy of `length` bytes. */
char *arena_copy_text(struct arena *arena, const char *text, size_t length);

/* Gives back everything but the first block, for reuse; what was allocated before is invalid. */
void arena_reset(struct arena *arena);

#endif
