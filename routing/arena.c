#include "routing/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_ALIGNMENT = 16, ARENA_BLOCK_MAX = 1 << 16 };

struct block {
    struct block *previous;
    size_t size; /* of `bytes` */
    size_t used;
    size_t padding;
    unsigned char bytes[];
};

struct arena {
    struct block *current;
};

static struct block *block_new(size_t size, struct block *previous) {
    struct block *block = NULL;
    if (size <= SIZE_MAX - sizeof *block)
        block = malloc(sizeof *block + size);
    if (!block)
        abort();
    block->previous = previous;
    block->size = size;
    block->used = 0;
    return block;
}

struct arena *arena_new(size_t first_block) {
    struct arena *arena = malloc(sizeof *arena);
    if (!arena)
        abort();
    if (first_block < 64)
        first_block = 64;
    arena->current = block_new(first_block, NULL);
    return arena;
}

void arena_free(struct arena *arena) {
    if (!arena)
        return;
    for (struct block *block = arena->current; block;) {
        struct block *previous = block->previous;
        free(block);
        block = previous;
    }
    free(arena);
}

static void grow(struct arena *arena, size_t size) {
    size_t next = arena->current->size * 2;
    if (next > ARENA_BLOCK_MAX)
        next = ARENA_BLOCK_MAX;
    if (next < size)
        next = size;
    arena->current = block_new(next, arena->current);
}

void *arena_alloc(struct arena *arena, size_t size) {
    if (size > SIZE_MAX - ARENA_ALIGNMENT)
        abort();
    size = (size + ARENA_ALIGNMENT - 1) & ~(size_t)(ARENA_ALIGNMENT - 1);
    if (size > arena->current->size - arena->current->used)
        grow(arena, size);
    void *result = arena->current->bytes + arena->current->used;
    arena->current->used += size;
    return result;
}

char *arena_copy_text(struct arena *arena, const char *text, size_t length) {
    if (length == SIZE_MAX)
        abort();
    char *copy = arena_alloc(arena, length + 1);
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

void arena_reset(struct arena *arena) {
    while (arena->current->previous) {
        struct block *block = arena->current;
        arena->current = block->previous;
        free(block);
    }
    arena->current->used = 0;
}
