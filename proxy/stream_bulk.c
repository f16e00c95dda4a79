#include "proxy/stream_bulk.h"

#include "config/alloc.h"

#include <stdlib.h>
#include <sys/socket.h>

/* Made at a stream's first long run; it goes when the loop has let go of the timer. */
struct stream_bulk {
    uv_timer_t timer;
    struct stream *stream;
    bool waiting; /* for STREAM_BULK_WAKE bytes; the timer runs */
};

/* Where the system refuses, it wakes us for less, which is only slower. */
static void wake_at(const struct stream *stream, int bytes) {
    setsockopt(stream->fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes);
}

static void stop_waiting(struct stream_bulk *bulk) {
    bulk->waiting = false;
    uv_timer_stop(&bulk->timer);
    wake_at(bulk->stream, 1);
}

/* Reading may close the stream, and `bulk` with it, which then lives until the loop's next round.
 */
static void on_pause(uv_timer_t *timer) {
    struct stream_bulk *bulk = timer->data;
    struct stream *stream = bulk->stream;
    uint64_t received = stream->received;
    bool watched = (stream->polled_events & UV_READABLE) != 0;
    if (watched)
        stream_on_poll(&stream->poll, 0, UV_READABLE);
    if (bulk->waiting && (!watched || stream->received == received))
        stop_waiting(bulk);
}

void stream_bulk_continue(struct stream *stream) {
    struct stream_bulk *bulk = stream->bulk;
    if (bulk != NULL && bulk->waiting) {
        uv_timer_again(&bulk->timer);
        return;
    }
    if (!stream->bulk_reads || stream->ssl != NULL)
        return;
    if (bulk == NULL) {
        bulk = alloc_zeroed(1, sizeof *bulk);
        bulk->stream = stream;
        uv_timer_init(stream->poll.loop, &bulk->timer); /* never fails */
        bulk->timer.data = bulk;
        stream->bulk = bulk;
    }
    bulk->waiting = true;
    uv_timer_start(&bulk->timer, on_pause, STREAM_BULK_PAUSE_MS, STREAM_BULK_PAUSE_MS);
    wake_at(stream, STREAM_BULK_WAKE);
}

static void on_closed(uv_handle_t *handle) {
    free(handle->data);
}

void stream_bulk_close(struct stream *stream) {
    struct stream_bulk *bulk = stream->bulk;
    if (bulk == NULL)
        return;
    bulk->waiting = false;
    stream->bulk = NULL;
    uv_close((uv_handle_t *)&bulk->timer, on_closed);
}
