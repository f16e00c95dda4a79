#include "proxy/stream.h"

#include "config/alloc.h"
#include "config/rarely.h"
#include "proxy/stream_buffer.h"
#include "proxy/stream_bulk.h"
#include "proxy/stream_transfer.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SEND_DIRECTLY = 8192, /* from this size on, bytes are sent without being copied */
    RECEIVE_ROUNDS = 4,   /* reads of one stream before the other ones' turn comes */
};

/* -- what the loop watches --------------------------------------------------------------------- */

static bool is_readable_wanted(const struct stream *stream) {
    if (stream->state == STREAM_HANDSHAKE || stream->write_failed || stream->tls_wants_read)
        return true;
    if (!stream->reading)
        return false;
    size_t waiting = stream->in.end - stream->in.start;
    return stream->in.data == NULL || waiting < stream->in.capacity - 1 ||
           stream->reserved > waiting;
}

static int wanted_events(const struct stream *stream) {
    bool writable = stream->writable_wanted || stream->tls_wants_write || stream->write_failed;
    if (stream->state == STREAM_EOF && stream->serves_half_open)
        return UV_PRIORITIZED | (writable ? UV_WRITABLE : 0); /* the former for its going */
    if (stream->state != STREAM_OPEN && stream->state != STREAM_HANDSHAKE)
        return 0;
    int events = is_readable_wanted(stream) ? UV_READABLE : 0;
    if (writable)
        events |= UV_WRITABLE;
    /* Bytes that OpenSSL has decrypted already don't make the socket readable; that it is writable
     * wakes us. */
    if (stream->state == STREAM_OPEN && stream->ssl != NULL && events & UV_READABLE &&
        SSL_pending(stream->ssl) > 0)
        events |= UV_WRITABLE;
    return events;
}

/* Each change costs system calls: it is made only where the mask differs, and once at the end of an
 * event. */
static void update_polling(struct stream *stream) {
    if (stream->in_event || stream->state == STREAM_CLOSED)
        return;
    int events = wanted_events(stream);
    if (events == stream->polled_events)
        return;
    stream->polled_events = events;
    if (events == 0)
        uv_poll_stop(&stream->poll);
    else
        uv_poll_start(&stream->poll, events, stream_on_poll);
}

static __attribute__((cold)) void set_broken(struct stream *stream) {
    stream->state = STREAM_BROKEN;
    stream_buffer_release(&stream->out, stream->buffers);
    update_polling(stream);
}

/* -- reading and writing ----------------------------------------------------------------------- */

/* Sends as much of `data` as the socket takes and returns how much that was. Where sending fails
 * the loop is asked for one more event, in which the peer's last words are read: a server that ends
 * says why before it closes. */
static size_t write_all(struct stream *stream, const uint8_t *data, size_t size) {
    size_t total = 0;
    stream->run = 0;
    while (total < size) {
        size_t done;
        enum transfer result = stream_write_some(stream, data + total, size - total, &done);
        total += done;
        stream->sent += done;
        if (result == TRANSFER_BLOCKED)
            break;
        if (RARELY(result != TRANSFER_DONE)) {
            if (result == TRANSFER_END)
                stream_note_error(stream, "sending", "the peer closed the connection");
            stream->write_failed = true;
            return size;
        }
        if (stream->ssl == NULL && total < size)
            break; /* a short send: the next one would only say EAGAIN */
    }
    stream->writable_wanted = total < size && !stream->tls_wants_read;
    return total;
}

static void write_queued(struct stream *stream) {
    struct stream_buffer *out = &stream->out;
    if (out->data == NULL)
        return;
    size_t done = write_all(stream, out->data + out->start, out->end - out->start);
    stream_buffer_consume(out, stream->buffers, done);
}

static bool may_write(const struct stream *stream) {
    return (stream->state == STREAM_OPEN || stream->state == STREAM_EOF) && !stream->write_failed;
}

/* What doesn't simply fit behind what is waiting. */
static void send_else(struct stream *stream, const void *data, size_t length) {
    if (RARELY(stream->state == STREAM_CLOSED || stream->state == STREAM_BROKEN ||
               stream->write_failed || length == 0))
        return;
    struct stream_buffer *out = &stream->out;
    bool blocked = stream->writable_wanted || stream->tls_wants_read || !may_write(stream);
    bool tried = false;
    const uint8_t *bytes = data;
    if (!blocked && out->data != NULL && stream_buffer_room(out) < length) {
        write_queued(stream);
        tried = true;
        blocked = out->data != NULL;
    }
    if (!blocked && out->data == NULL && length >= SEND_DIRECTLY) {
        size_t done = write_all(stream, bytes, length);
        tried = true;
        bytes += done;
        length -= done;
    }
    if (length > 0 && !stream->write_failed) {
        stream_buffer_grow(out, stream->buffers, length);
        memcpy(out->data + out->end, bytes, length);
        out->end += length;
    }
    if (tried)
        update_polling(stream);
}

void stream_send(struct stream *stream, const void *data, size_t length) {
    struct stream_buffer *out = &stream->out;
    if (out->data == NULL || out->capacity - out->end <= length || stream->write_failed) {
        send_else(stream, data, length);
        return;
    }
    /* Bytes are only ever waiting on a stream that may still send them. */
    memcpy(out->data + out->end, data, length);
    out->end += length;
}

void stream_flush(struct stream *stream) {
    if (!may_write(stream) || stream->writable_wanted || stream->tls_wants_read)
        return;
    write_queued(stream);
    if (stream->writable_wanted || stream->write_failed || stream->ssl != NULL)
        update_polling(stream);
}

/* Room at the end of `in` for at least one byte; false where the owner has to consume first. */
static bool prepare_room(struct stream *stream) {
    struct stream_buffer *in = &stream->in;
    bool is_long = stream_run_is_long(stream);
    if (in->data == NULL) {
        stream_buffer_borrow(in, stream->buffers);
        if (is_long)
            stream_buffer_grow(in, stream->buffers, STREAM_LONG_ROOM);
        return true;
    }
    if (stream->reserved == 0 && !is_long)
        stream_buffer_shrink(in, stream->buffers);
    if (stream_buffer_room(in) < in->capacity / 2)
        stream_buffer_compact(in);
    if (stream_buffer_room(in) > 0)
        return true;
    if (stream->reserved <= in->end)
        return false;
    stream_buffer_grow(in, stream->buffers, 1);
    return true;
}

/* One read into `in`. True: the owner has to be told; *more says that the buffer was filled. */
static bool receive_once(struct stream *stream, bool *more) {
    *more = false;
    if (!prepare_room(stream))
        return false;
    struct stream_buffer *in = &stream->in;
    size_t room = stream_buffer_room(in), done;
    enum transfer result = stream_read_some(stream, in->data + in->end, room, &done);
    in->end += done;
    stream->received += done;
    stream_bulk_received(stream, done);
    if (in->start == in->end)
        stream_buffer_release(in, stream->buffers);
    if (result == TRANSFER_FAILED)
        set_broken(stream);
    else if (result == TRANSFER_END)
        stream->state = STREAM_EOF;
    *more = done == room;
    return result != TRANSFER_BLOCKED;
}

/* After a failed send: what has arrived is taken as far as it fits, and the stream is over. */
static __attribute__((cold)) void receive_last_words(struct stream *stream) {
    bool more = true;
    char *error = stream->error; /* why sending failed says more than why receiving does */
    stream->error = NULL;
    while (more && stream->state == STREAM_OPEN)
        if (!receive_once(stream, &more))
            break;
    free(stream->error);
    stream->error = error;
    set_broken(stream);
    stream->on_event(stream);
}

/* -- TLS --------------------------------------------------------------------------------------- */

static __attribute__((cold)) void continue_handshake(struct stream *stream) {
    ERR_clear_error();
    errno = 0;
    int result = SSL_accept(stream->ssl);
    if (result == 1) {
        stream->tls_wants_write = false;
        stream->state = STREAM_OPEN;
        write_queued(stream);
        update_polling(stream);
        stream->on_event(stream);
        return;
    }
    bool wants_write = false;
    switch (stream_judge_tls(stream, result, "the handshake", &wants_write, SSL_ERROR_WANT_WRITE)) {
    case TRANSFER_BLOCKED:
        stream->tls_wants_write = wants_write;
        update_polling(stream);
        return;
    case TRANSFER_END:
        stream_note_error(stream, "TLS: the peer closed the connection during the handshake", NULL);
        break;
    case TRANSFER_DONE:
    case TRANSFER_FAILED:
        break;
    }
    set_broken(stream);
    stream->on_event(stream);
}

static void set_tls_mode(SSL *ssl) {
    SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

bool stream_start_tls(struct stream *stream, SSL_CTX *context, struct error *error) {
    assert(stream->ssl == NULL && stream->state == STREAM_OPEN);
    assert(stream_unsent(stream) == 0);
    if (stream_available(stream) > 0)
        return error_set(error,
                         "bytes arrived before the TLS handshake: they may be an attacker's");
    SSL *ssl = SSL_new(context);
    if (ssl == NULL || SSL_set_fd(ssl, stream->fd) != 1) {
        SSL_free(ssl);
        return error_set(error, "TLS can't be started: out of memory");
    }
    set_tls_mode(ssl);
    SSL_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
    SSL_set_accept_state(ssl);
    stream->ssl = ssl;
    stream->state = STREAM_HANDSHAKE;
    update_polling(stream);
    return true;
}

void stream_take_tls(struct stream *stream, SSL *ssl) {
    assert(stream->ssl == NULL);
    set_tls_mode(ssl);
    stream->ssl = ssl;
    update_polling(stream);
}

/* -- events ------------------------------------------------------------------------------------ */

/* Reads while the buffer is filled and the owner makes room, but not for ever. `drained`: on_event
 * is due anyway. */
static void receive(struct stream *stream, bool drained) {
    for (int round = 0; round < RECEIVE_ROUNDS; round++) {
        bool more = false;
        bool told = receive_once(stream, &more);
        if (!told && !drained)
            break;
        drained = false;
        stream->on_event(stream);
        if (!more || stream->state != STREAM_OPEN || !stream->reading || stream->write_failed)
            break;
    }
}

/* What an open stream does when its socket is ready. */
static void transfer(struct stream *stream, int events, bool forced) {
    bool drained = false;
    bool was_wanting_write = stream->tls_wants_write;
    if (RARELY(stream_unsent(stream) > 0) && (events & UV_WRITABLE || stream->tls_wants_read)) {
        write_queued(stream);
        drained = stream_unsent(stream) == 0 && !stream->write_failed;
    }
    bool readable = events & UV_READABLE || was_wanting_write ||
                    (stream->ssl != NULL && SSL_pending(stream->ssl) > 0);
    if (readable && (stream->reading || forced) && !stream->write_failed)
        receive(stream, drained);
    else if (drained)
        stream->on_event(stream);
}

/* The peer takes what is queued, or has gone. */
static __attribute__((cold)) void serve_half_open(struct stream *stream, int events) {
    if (events & UV_WRITABLE)
        write_queued(stream);
    bool gone = stream->write_failed || events & UV_PRIORITIZED;
    if (gone && stream->error == NULL)
        stream_note_error(stream, "the peer closed the connection", NULL);
    if (gone)
        set_broken(stream);
    else if (stream_unsent(stream) > 0)
        return;
    stream->on_event(stream);
}

void stream_on_poll(uv_poll_t *handle, int status, int events) {
    struct stream *stream = (struct stream *)handle;
    if (RARELY(status < 0)) {
        stream->polled_events =
            0; /* libuv stopped watching; the system calls below say what is wrong */
        events = UV_READABLE | UV_WRITABLE | UV_PRIORITIZED;
    }
    stream->in_event = true;
    if (stream->state == STREAM_HANDSHAKE)
        continue_handshake(stream);
    else if (stream->state == STREAM_EOF)
        serve_half_open(stream, events);
    else if (stream->write_failed)
        receive_last_words(stream);
    else
        transfer(stream, events, status < 0);
    stream->in_event = false;
    update_polling(stream);
}

/* -- the owner's calls ------------------------------------------------------------------------- */

bool stream_init(struct stream *stream, uv_loop_t *loop, struct buffer_pool *buffers, int fd,
                 void (*on_event)(struct stream *stream), void *owner, struct error *error) {
    *stream = (struct stream){.fd = fd,
                              .state = STREAM_OPEN,
                              .reading = true,
                              .buffers = buffers,
                              .on_event = on_event,
                              .owner = owner};
    int result = uv_poll_init(loop, &stream->poll, fd);
    if (result != 0) {
        stream->state = STREAM_CLOSED;
        return error_set(error, "socket %d can't be watched: %s", fd, uv_strerror(result));
    }
    stream->poll.data = owner;
    update_polling(stream);
    return true;
}

void stream_consume(struct stream *stream, size_t length) {
    if (length == 0)
        return;
    stream->reserved = 0;
    struct stream_buffer *in = &stream->in;
    if (stream->in_event && length < in->end - in->start) { /* nearly always: look no further */
        in->start += length;
        return;
    }
    stream_buffer_consume(in, stream->buffers, length);
    update_polling(stream);
}

void stream_reserve(struct stream *stream, size_t length) {
    stream->reserved = length;
    update_polling(stream);
}

void stream_serve_half_open(struct stream *stream) {
    stream->serves_half_open = true;
    update_polling(stream);
}

void stream_set_reading(struct stream *stream, bool reading) {
    if (stream->reading == reading)
        return;
    stream->reading = reading;
    update_polling(stream);
}

static void on_closed(uv_handle_t *handle) {
    struct stream *stream = (struct stream *)handle;
    free(stream->error);
    stream->error = NULL;
    if (stream->closed != NULL)
        stream->closed(stream);
}

void stream_close(struct stream *stream, void (*closed)(struct stream *stream)) {
    if (stream->state == STREAM_CLOSED)
        return;
    bool orderly = may_write(stream);
    stream->state = STREAM_CLOSED;
    stream->closed = closed;
    stream_bulk_close(stream);
    uv_close((uv_handle_t *)&stream->poll, on_closed);
    if (stream->ssl != NULL) {
        ERR_clear_error();
        if (orderly)
            SSL_shutdown(stream->ssl);
        SSL_free(stream->ssl);
    }
    stream->ssl = NULL;
    stream_buffer_release(&stream->in, stream->buffers);
    stream_buffer_release(&stream->out, stream->buffers);
    close(stream->fd);
    stream->fd = -1;
}
