#include "proxy/stream_buffer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A piece that is on the free list holds the link to the next one in its first bytes. */
struct free_piece {
    struct free_piece *next;
};

struct buffer_pool {
    size_t size;
    size_t keep;
    size_t count;
    struct free_piece *first;
};

/* A proxy that can't get memory can't even say so to its clients: the supervisor starts it again.
 */
static void *allocate_bytes(size_t size) {
    void *data = malloc(size);
    if (data == NULL) {
        fputs("pginterlock: out of memory\n", stderr);
        abort();
    }
    return data;
}

struct buffer_pool *buffer_pool_new(size_t size, size_t keep) {
    assert(size >= sizeof(struct free_piece));
    struct buffer_pool *pool = allocate_bytes(sizeof *pool);
    *pool = (struct buffer_pool){.size = size, .keep = keep};
    return pool;
}

void buffer_pool_free(struct buffer_pool *pool) {
    if (pool == NULL)
        return;
    while (pool->first != NULL) {
        struct free_piece *piece = pool->first;
        pool->first = piece->next;
        free(piece);
    }
    free(pool);
}

static uint8_t *pool_take(struct buffer_pool *pool) {
    struct free_piece *piece = pool->first;
    if (piece == NULL)
        return allocate_bytes(pool->size);
    pool->first = piece->next;
    pool->count--;
    return (uint8_t *)piece;
}

static void pool_give(struct buffer_pool *pool, uint8_t *data) {
    if (pool->count >= pool->keep) {
        free(data);
        return;
    }
    struct free_piece *piece = (struct free_piece *)(void *)data;
    piece->next = pool->first;
    pool->first = piece;
    pool->count++;
}

size_t stream_buffer_room(const struct stream_buffer *buffer) {
    return buffer->data == NULL ? 0 : buffer->capacity - 1 - buffer->end;
}

void stream_buffer_borrow(struct stream_buffer *buffer, struct buffer_pool *pool) {
    assert(buffer->data == NULL);
    *buffer = (struct stream_buffer){.data = pool_take(pool), .capacity = pool->size};
}

void stream_buffer_release(struct stream_buffer *buffer, struct buffer_pool *pool) {
    if (buffer->data != NULL) {
        if (buffer->capacity == pool->size)
            pool_give(pool, buffer->data);
        else
            free(buffer->data);
    }
    *buffer = (struct stream_buffer){0};
}

void stream_buffer_compact(struct stream_buffer *buffer) {
    if (buffer->start == 0)
        return;
    memmove(buffer->data, buffer->data + buffer->start, buffer->end - buffer->start);
    buffer->end -= buffer->start;
    buffer->start = 0;
}

/* Moves the waiting bytes into other memory and gives the old one back. */
static void buffer_move(struct stream_buffer *buffer, struct buffer_pool *pool, uint8_t *data,
                        size_t capacity) {
    size_t waiting = buffer->end - buffer->start;
    if (waiting > 0)
        memcpy(data, buffer->data + buffer->start, waiting);
    stream_buffer_release(buffer, pool);
    *buffer = (struct stream_buffer){.data = data, .end = waiting, .capacity = capacity};
}

void stream_buffer_grow(struct stream_buffer *buffer, struct buffer_pool *pool, size_t length) {
    size_t waiting = buffer->end - buffer->start;
    assert(length < SIZE_MAX / 4 && waiting < SIZE_MAX / 4);
    if (buffer->data == NULL)
        stream_buffer_borrow(buffer, pool);
    if (stream_buffer_room(buffer) >= length)
        return;
    size_t capacity = buffer->capacity;
    while (capacity - 1 - waiting < length)
        capacity *= 2;
    /* Moving to the front is cheaper than doubling, but not if it has to be done for every few
     * bytes. */
    if (capacity == buffer->capacity && waiting <= capacity / 2) {
        stream_buffer_compact(buffer);
        return;
    }
    if (capacity == buffer->capacity)
        capacity *= 2;
    buffer_move(buffer, pool, allocate_bytes(capacity), capacity);
}

void stream_buffer_shrink(struct stream_buffer *buffer, struct buffer_pool *pool) {
    if (buffer->capacity > pool->size && buffer->end - buffer->start <= pool->size / 2)
        buffer_move(buffer, pool, pool_take(pool), pool->size);
}

void stream_buffer_consume(struct stream_buffer *buffer, struct buffer_pool *pool, size_t length) {
    assert(length <= buffer->end - buffer->start);
    buffer->start += length;
    if (buffer->start == buffer->end)
        stream_buffer_release(buffer, pool);
}
