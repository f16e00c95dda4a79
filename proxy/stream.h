/* A non-blocking byte stream over a socket, with TLS or without: the client's and each link's.
 *
 * Incoming bytes wait in `in` until they are consumed, outgoing ones in `out` until the peer takes
 * them. Both buffers are borrowed from the worker's free list when there are bytes, and given back
 * when there are none, so that an idle connection holds no memory for them. One loop, one thread.
 */
#ifndef PGINTERLOCK_STREAM_H
#define PGINTERLOCK_STREAM_H

#include "config/error.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* Bytes between `start` and `end` are waiting. Invariant: start <= end <= capacity; empty means
 * start == end == 0. */
struct stream_buffer {
    uint8_t *data;
    size_t start, end, capacity;
};

enum stream_state {
    STREAM_CLOSED,
    STREAM_OPEN,
    STREAM_HANDSHAKE, /* SSL_accept() under way */
    STREAM_EOF,       /* the peer sent its end; what is in `in` may still be read */
    STREAM_BROKEN,    /* reading or writing failed; `error` says why */
};

struct buffer_pool; /* free list of buffers of one size; see stream.c */

struct stream {
    uv_poll_t poll; /* first: handle->data is the stream's owner */
    int fd;
    SSL *ssl; /* NULL: plain */
    enum stream_state state;
    bool reading; /* wants to be told of bytes to read */
    bool writable_wanted;
    bool tls_wants_write; /* SSL_read or a handshake waits for the socket to take bytes */
    bool tls_wants_read;  /* SSL_write waits for bytes to arrive */
    bool write_failed;    /* sending failed: the peer's last words are still read, then the state
                             becomes BROKEN */
    bool in_event;        /* within its own on_event, at whose end the watched events change once */
    bool serves_half_open; /* see stream_serve_half_open() */
    bool bulk_reads;       /* set by the owner: long runs may be read in big pieces, see
                              stream_bulk.h */
    int polled_events;     /* what uv_poll watches now */
    struct stream_buffer in, out;
    size_t run;               /* bytes received since something was sent */
    struct stream_bulk *bulk; /* NULL until the first long run; see stream_bulk.h */
    size_t reserved; /* what stream_reserve() asked for; ends with the next stream_consume() */
    struct buffer_pool *buffers;
    uint64_t received, sent; /* bytes, for the log */
    /* Bytes arrived, everything was sent, the peer ended or failed: look at the stream. */
    void (*on_event)(struct stream *stream);
    void *owner;
    void (*closed)(struct stream *stream);
    char *error; /* why it is BROKEN, or sending failed; NULL: nothing is wrong */
};

struct buffer_pool *buffer_pool_new(size_t size, size_t keep);
void buffer_pool_free(struct buffer_pool *pool);

/* Takes over a connected, non-blocking socket. Reading is on. False: the loop refused the socket.
 */
bool stream_init(struct stream *stream, uv_loop_t *loop, struct buffer_pool *buffers, int fd,
                 void (*on_event)(struct stream *stream), void *owner, struct error *error)
    __attribute__((warn_unused_result));

/* Starts TLS as a server on an open stream; on_event is called when the handshake has ended (state
 * OPEN or BROKEN). */
bool stream_start_tls(struct stream *stream, SSL_CTX *context, struct error *error)
    __attribute__((warn_unused_result));

/* Takes over a TLS connection on the stream's socket that is up already, as libpq made it. */
void stream_take_tls(struct stream *stream, SSL *ssl);

/* Waiting bytes, readable in every state but CLOSED: when on_event tells of EOF or BROKEN, the
 * peer's last words are in `in`. What stream_peek() gives is valid until the next stream_consume()
 * or stream_reserve(), or the return to the loop. While `in` is full (the buffers' size, or what
 * was reserved), nothing more is read. */
static inline size_t stream_available(const struct stream *stream) {
    return stream->in.end - stream->in.start;
}
/* NUL follows the last byte: in.data[in.end] is writable. */
static inline const uint8_t *stream_peek(const struct stream *stream) {
    return stream->in.data == NULL ? (const uint8_t *)"" : stream->in.data + stream->in.start;
}
void stream_consume(struct stream *stream, size_t length);

/* Makes room for a message of `length` bytes in all, so that it can be seen in one piece. Memory
 * grows as the bytes arrive, not as the peer claims. Call it again if something was consumed and
 * the message still isn't whole. */
void stream_reserve(struct stream *stream, size_t length);

/* Queues bytes; nothing is sent before stream_flush(), unless much is waiting. Never calls
 * on_event: if sending fails, the loop tells. In the states EOF and BROKEN bytes may be dropped. */
void stream_send(struct stream *stream, const void *data, size_t length);
/* Sends as much of the queue as the socket takes. If some is left it watches for room, and on_event
 * is called when all of it is gone. */
void stream_flush(struct stream *stream);
static inline size_t stream_unsent(const struct stream *stream) {
    return stream->out.end - stream->out.start;
}

/* Why the stream is BROKEN, until it is closed; "" if it isn't. */
static inline const char *stream_error(const struct stream *stream) {
    return stream->error != NULL ? stream->error : "";
}

/* A peer that has sent its end (EOF) may still take what it asked for. After this call it is sent
 * that. If it has gone altogether, the state becomes BROKEN: a closed Unix socket says so itself,
 * with TCP the peer's system does when something more is sent to it. */
void stream_serve_half_open(struct stream *stream);

/* Back-pressure: stop or resume reading. */
void stream_set_reading(struct stream *stream, bool reading);

/* What the loop calls when the socket is ready; with UV_READABLE it reads what is there. */
void stream_on_poll(uv_poll_t *handle, int status, int events);
/* Reads what has arrived before the loop gets to it, and calls on_event as the loop would. Not from
 * within on_event. */
static inline void stream_look(struct stream *stream) {
    if (stream->state == STREAM_OPEN && stream->reading)
        stream_on_poll(&stream->poll, 0, UV_READABLE);
}

/* Stops watching and closes the socket. `closed` is called by the loop when the memory may be
 * freed. */
void stream_close(struct stream *stream, void (*closed)(struct stream *stream));

#endif
