/* The buffers below a stream: a free list of pieces of one size, and a buffer that starts as one
 * such piece and doubles on the heap when a message doesn't fit. Internal to stream.c. One thread.
 */
#ifndef PGINTERLOCK_STREAM_BUFFER_H
#define PGINTERLOCK_STREAM_BUFFER_H

#include "proxy/stream.h"

/* Bytes that may be appended at `end`; one byte of the capacity is never handed out, so that a NUL
 * can follow. */
size_t stream_buffer_room(const struct stream_buffer *buffer);

/* Gives memory to an empty buffer that has none. */
void stream_buffer_borrow(struct stream_buffer *buffer, struct buffer_pool *pool);

/* Gives the memory back; the buffer is then empty. */
void stream_buffer_release(struct stream_buffer *buffer, struct buffer_pool *pool);

/* Moves the waiting bytes to the front. Pointers into the buffer end to be valid. */
void stream_buffer_compact(struct stream_buffer *buffer) __attribute__((cold));

/* Room for `length` more bytes at `end`: by moving the waiting bytes to the front, else by
 * doubling. */
void stream_buffer_grow(struct stream_buffer *buffer, struct buffer_pool *pool, size_t length);

/* Moves the waiting bytes out of a grown buffer into a piece of the pool, if they are so few that
 * much room is left there. */
void stream_buffer_shrink(struct stream_buffer *buffer, struct buffer_pool *pool);

/* Drops bytes at the front; the memory is given back with the last one. */
void stream_buffer_consume(struct stream_buffer *buffer, struct buffer_pool *pool, size_t length);

#endif
