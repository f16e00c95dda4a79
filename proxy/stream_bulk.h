/* Long runs of bytes (COPY, a big value). Once a stream has received STREAM_LONG_AFTER bytes
 * without sending any, everything that has arrived is read at once, so that it is passed on in one
 * piece.
 *
 * Databases send in pieces of some kilobytes, and waking for each of them costs more than passing
 * it on. After STREAM_BULK_AFTER bytes their socket is asked to wake us only when much has arrived
 * (SO_RCVLOWAT), and a timer reads smaller amounts. A pause in the run ends this until the next
 * bytes come, so that a row that comes alone is passed on at once; the last piece of a run may wait
 * for 2 ms. Clients' sockets are not read so: it made COPY FROM slower (PERFORMANCE.md).
 *
 * Only without TLS, whose records are handed out whole, however few bytes they have. Internal to
 * stream.c. */
#ifndef PGINTERLOCK_STREAM_BULK_H
#define PGINTERLOCK_STREAM_BULK_H

#include "proxy/stream.h"

enum {
    STREAM_LONG_AFTER = 1 << 20,      /* bytes */
    STREAM_LONG_ROOM = 64 * 1024 - 1, /* of `in` */
    STREAM_BULK_AFTER = 4 << 20,      /* bytes; takes longer than the last piece may wait */
    STREAM_BULK_WAKE = 60 * 1024,     /* bytes that must have arrived */
    STREAM_BULK_PAUSE_MS = 1,         /* after which anything that has arrived is read */
};

/* Called after each read, once `run` counts it. */
void stream_bulk_continue(struct stream *stream);

static inline void stream_bulk_received(struct stream *stream, size_t length) {
    stream->run += length;
    if (stream->run >= STREAM_BULK_AFTER && length > 0)
        stream_bulk_continue(stream);
}

static inline bool stream_run_is_long(const struct stream *stream) {
    return stream->run >= STREAM_LONG_AFTER && stream->ssl == NULL;
}

/* Before the stream's socket is closed. */
void stream_bulk_close(struct stream *stream);

#endif
