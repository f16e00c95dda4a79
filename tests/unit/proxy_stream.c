/* A stream at one end of a socket pair, the test at the other. */
#include "proxy/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { PIECE = 1024 };

struct fixture {
    uv_loop_t loop;
    struct buffer_pool *buffers;
    struct stream stream;
    int peer;
    int events;
    bool closed;
    bool close_in_event;
    size_t consume_in_event;
};

static void on_closed(struct stream *stream) {
    ((struct fixture *)stream->owner)->closed = true;
}

static void on_event(struct stream *stream) {
    struct fixture *f = stream->owner;
    f->events++;
    if (f->close_in_event) {
        stream_close(stream, on_closed);
        stream_close(stream, on_closed);
        return;
    }
    size_t length = stream_available(stream);
    stream_consume(stream, f->consume_in_event < length ? f->consume_in_event : length);
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    int pair[2];
    struct error error;
    assert_non_null(f);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->buffers = buffer_pool_new(PIECE, 4);
    f->peer = pair[1];
    assert_true(stream_init(&f->stream, &f->loop, f->buffers, pair[0], on_event, f, &error));
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    stream_close(&f->stream, on_closed);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_true(f->closed);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    buffer_pool_free(f->buffers);
    close(f->peer);
    free(f);
    return 0;
}

static void turn(struct fixture *f) {
    uv_run(&f->loop, UV_RUN_NOWAIT);
}

static void peer_sends(struct fixture *f, const void *data, size_t length) {
    assert_int_equal(write(f->peer, data, length), (ssize_t)length);
}

static void bytes_that_arrive_are_told_once_and_wait(void **state) {
    struct fixture *f = *state;
    peer_sends(f, "hello", 5);
    turn(f);
    assert_int_equal(f->events, 1);
    assert_int_equal(stream_available(&f->stream), 5);
    assert_memory_equal(stream_peek(&f->stream), "hello", 5);
    turn(f);
    assert_int_equal(f->events, 1);
}

static void an_idle_stream_holds_no_buffers(void **state) {
    struct fixture *f = *state;
    peer_sends(f, "hello", 5);
    turn(f);
    stream_send(&f->stream, "world", 5);
    stream_flush(&f->stream);
    stream_consume(&f->stream, 5);
    assert_null(f->stream.in.data);
    assert_null(f->stream.out.data);
}

static void a_byte_after_the_end_is_writable(void **state) {
    struct fixture *f = *state;
    char data[PIECE * 2];
    memset(data, 'x', sizeof data);
    peer_sends(f, data, sizeof data);
    turn(f);
    assert_int_equal(stream_available(&f->stream), PIECE - 1);
    f->stream.in.data[f->stream.in.end] = 0;
    assert_int_equal(strlen((const char *)stream_peek(&f->stream)), PIECE - 1);
}

static void a_full_buffer_waits_for_its_owner(void **state) {
    struct fixture *f = *state;
    char data[PIECE * 2];
    memset(data, 'x', sizeof data);
    peer_sends(f, data, sizeof data);
    turn(f);
    int events = f->events;
    turn(f);
    assert_int_equal(f->events, events);
    stream_consume(&f->stream, PIECE - 1);
    turn(f);
    assert_int_equal(stream_available(&f->stream), PIECE - 1);
}

static void reserve_shows_a_message_in_one_piece(void **state) {
    struct fixture *f = *state;
    char data[PIECE * 20];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i % 251);
    peer_sends(f, data, sizeof data);
    turn(f);
    stream_consume(&f->stream, 7);
    stream_reserve(&f->stream, sizeof data - 7);
    for (int i = 0; i < 20; i++)
        turn(f);
    assert_int_equal(stream_available(&f->stream), sizeof data - 7);
    assert_memory_equal(stream_peek(&f->stream), data + 7, sizeof data - 7);
}

static void a_reservation_costs_nothing_before_bytes_arrive(void **state) {
    struct fixture *f = *state;
    peer_sends(f, "Q", 1);
    turn(f);
    stream_reserve(&f->stream, (size_t)1 << 30);
    turn(f);
    assert_int_equal(f->stream.in.capacity, PIECE);
}

static void a_grown_buffer_shrinks_when_consumed(void **state) {
    struct fixture *f = *state;
    char data[PIECE * 8];
    memset(data, 'x', sizeof data);
    peer_sends(f, data, sizeof data);
    stream_reserve(&f->stream, sizeof data);
    for (int i = 0; i < 8; i++)
        turn(f);
    assert_int_equal(stream_available(&f->stream), sizeof data);
    stream_consume(&f->stream, sizeof data - 1);
    peer_sends(f, "y", 1);
    turn(f);
    assert_int_equal(f->stream.in.capacity, PIECE);
    assert_memory_equal(stream_peek(&f->stream), "xy", 2);
}

static void nothing_is_read_while_reading_is_off(void **state) {
    struct fixture *f = *state;
    stream_set_reading(&f->stream, false);
    peer_sends(f, "hello", 5);
    turn(f);
    assert_int_equal(f->events, 0);
    stream_set_reading(&f->stream, true);
    turn(f);
    assert_int_equal(stream_available(&f->stream), 5);
}

static void what_is_queued_is_sent_by_flush(void **state) {
    struct fixture *f = *state;
    char got[16];
    stream_send(&f->stream, "he", 2);
    stream_send(&f->stream, "llo", 3);
    assert_int_equal(read(f->peer, got, sizeof got), -1);
    stream_flush(&f->stream);
    assert_int_equal(read(f->peer, got, sizeof got), 5);
    assert_memory_equal(got, "hello", 5);
}

/* Reads `size` bytes from the peer's end while the loop runs, and checks the pattern. */
static void expect_pattern(struct fixture *f, size_t size) {
    uint8_t got[4096];
    size_t total = 0;
    while (total < size) {
        ssize_t length = read(f->peer, got, sizeof got);
        if (length < 0) {
            assert_int_equal(errno, EAGAIN);
            turn(f);
            continue;
        }
        for (ssize_t i = 0; i < length; i++)
            assert_int_equal(got[i], (uint8_t)((total + (size_t)i) % 251));
        total += (size_t)length;
    }
    assert_int_equal(total, size);
}

static void more_than_the_socket_takes_follows_in_order_and_is_told(void **state) {
    struct fixture *f = *state;
    enum { SIZE = 4 << 20 };
    uint8_t *data = malloc(SIZE);
    assert_non_null(data);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (uint8_t)(i % 251);
    for (size_t at = 0; at < SIZE;) {
        size_t length = 1 + at % 20000;
        if (length > SIZE - at)
            length = SIZE - at;
        stream_send(&f->stream, data + at, length);
        at += length;
    }
    stream_flush(&f->stream);
    assert_true(stream_unsent(&f->stream) > 0);
    assert_int_equal(f->events, 0);
    expect_pattern(f, SIZE);
    turn(f);
    assert_int_equal(stream_unsent(&f->stream), 0);
    assert_int_equal(f->events, 1);
    assert_int_equal(f->stream.sent, SIZE);
    free(data);
}

static void the_end_is_told_once_after_the_last_bytes(void **state) {
    struct fixture *f = *state;
    peer_sends(f, "bye", 3);
    shutdown(f->peer, SHUT_WR);
    for (int i = 0; i < 4; i++)
        turn(f);
    assert_int_equal(f->stream.state, STREAM_EOF);
    assert_int_equal(f->events, 2);
    assert_int_equal(stream_available(&f->stream), 3);
}

static void a_peer_that_has_sent_its_end_takes_all_that_is_queued(void **state) {
    struct fixture *f = *state;
    enum { SIZE = 4 << 20 };
    char *data = calloc(1, SIZE), got[65536];
    stream_serve_half_open(&f->stream);
    shutdown(f->peer, SHUT_WR);
    turn(f);
    assert_int_equal(f->stream.state, STREAM_EOF);
    stream_send(&f->stream, data, SIZE);
    stream_flush(&f->stream);
    size_t received = 0;
    for (int i = 0; i < 10000 && received < SIZE; i++) {
        ssize_t length = read(f->peer, got, sizeof got);
        received += length > 0 ? (size_t)length : 0;
        turn(f);
    }
    assert_int_equal(received, SIZE);
    assert_int_equal(stream_unsent(&f->stream), 0);
    assert_int_equal(f->stream.state, STREAM_EOF);
    assert_int_equal(f->events, 2); /* its end, and room */
    free(data);
}

static void a_peer_that_goes_after_its_end_is_told(void **state) {
    struct fixture *f = *state;
    stream_serve_half_open(&f->stream);
    shutdown(f->peer, SHUT_WR);
    for (int i = 0; i < 4; i++)
        turn(f);
    assert_int_equal(f->events, 1);
    close(f->peer);
    f->peer = -1;
    for (int i = 0; i < 4; i++)
        turn(f);
    assert_int_equal(f->events, 2);
    assert_int_equal(f->stream.state, STREAM_BROKEN);
}

static void last_words_are_read_after_a_failed_send(void **state) {
    struct fixture *f = *state;
    peer_sends(f, "why", 3);
    close(f->peer);
    f->peer = -1;
    stream_send(&f->stream, "x", 1);
    stream_flush(&f->stream);
    assert_int_equal(f->events, 0);
    for (int i = 0; i < 4; i++)
        turn(f);
    assert_int_equal(f->events, 1);
    assert_int_equal(f->stream.state, STREAM_BROKEN);
    assert_memory_equal(stream_peek(&f->stream), "why", 3);
    assert_non_null(strstr(stream_error(&f->stream), "sending failed"));
}

static void a_failed_send_is_told_though_reading_is_off(void **state) {
    struct fixture *f = *state;
    stream_set_reading(&f->stream, false);
    close(f->peer);
    f->peer = -1;
    stream_send(&f->stream, "x", 1);
    stream_flush(&f->stream);
    turn(f);
    assert_int_equal(f->events, 1);
    assert_int_equal(f->stream.state, STREAM_BROKEN);
}

static void closing_twice_within_an_event_is_safe(void **state) {
    struct fixture *f = *state;
    f->close_in_event = true;
    peer_sends(f, "hello", 5);
    turn(f);
    turn(f);
    assert_true(f->closed);
    assert_int_equal(f->events, 1);
}

static void what_is_watched_stays_as_it_is_in_the_steady_state(void **state) {
    struct fixture *f = *state;
    f->consume_in_event = PIECE;
    for (int i = 0; i < 10; i++) {
        peer_sends(f, "hello", 5);
        turn(f);
        assert_int_equal(f->stream.polled_events, UV_READABLE);
        stream_send(&f->stream, "world", 5);
        stream_flush(&f->stream);
        assert_int_equal(f->stream.polled_events, UV_READABLE);
    }
    assert_int_equal(f->events, 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        TEST(bytes_that_arrive_are_told_once_and_wait),
        TEST(an_idle_stream_holds_no_buffers),
        TEST(a_byte_after_the_end_is_writable),
        TEST(a_full_buffer_waits_for_its_owner),
        TEST(reserve_shows_a_message_in_one_piece),
        TEST(a_reservation_costs_nothing_before_bytes_arrive),
        TEST(a_grown_buffer_shrinks_when_consumed),
        TEST(nothing_is_read_while_reading_is_off),
        TEST(what_is_queued_is_sent_by_flush),
        TEST(more_than_the_socket_takes_follows_in_order_and_is_told),
        TEST(the_end_is_told_once_after_the_last_bytes),
        TEST(a_peer_that_has_sent_its_end_takes_all_that_is_queued),
        TEST(a_peer_that_goes_after_its_end_is_told),
        TEST(last_words_are_read_after_a_failed_send),
        TEST(a_failed_send_is_told_though_reading_is_off),
        TEST(closing_twice_within_an_event_is_safe),
        TEST(what_is_watched_stays_as_it_is_in_the_steady_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
