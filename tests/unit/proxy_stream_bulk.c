/* A stream that receives long runs of bytes over TCP: when the system is asked to wake it. */
#include "proxy/stream_bulk.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROUNDS = 100000 };

struct fixture {
    uv_loop_t loop;
    uv_timer_t ticker; /* so that a turn of the loop ends where nothing else happens */
    struct buffer_pool *buffers;
    struct stream stream;
    int peer;
    size_t received;
    size_t most;  /* bytes that came at once */
    int woken_at; /* what the system was asked to wake at after the last read; a pause may end that
                   */
    bool close_in_event;
    bool closed;
};

static int wakes_at(const struct fixture *f) {
    int bytes;
    socklen_t size = sizeof bytes;
    assert_int_equal(getsockopt(f->stream.fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, &size), 0);
    return bytes;
}

static void on_closed(struct stream *stream) {
    ((struct fixture *)stream->owner)->closed = true;
}

static void on_tick(uv_timer_t *timer) {
    (void)timer;
}

static void on_event(struct stream *stream) {
    struct fixture *f = stream->owner;
    f->received += stream_available(stream);
    f->most = f->most > stream_available(stream) ? f->most : stream_available(stream);
    f->woken_at = wakes_at(f);
    stream_consume(stream, stream_available(stream));
    if (f->close_in_event)
        stream_close(stream, on_closed);
}

static void connect_pair(int pair[2]) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    pair[1] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(pair[1], (struct sockaddr *)&address, size), 0);
    pair[0] = accept(listener, NULL, NULL);
    assert_true(pair[0] >= 0);
    close(listener);
    for (int i = 0; i < 2; i++)
        assert_int_equal(fcntl(pair[i], F_SETFL, O_NONBLOCK), 0);
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    int pair[2];
    struct error error;
    connect_pair(pair);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(uv_timer_init(&f->loop, &f->ticker), 0);
    assert_int_equal(uv_timer_start(&f->ticker, on_tick, 1, 1), 0);
    f->buffers = buffer_pool_new(16 * 1024, 4);
    f->peer = pair[1];
    assert_true(stream_init(&f->stream, &f->loop, f->buffers, pair[0], on_event, f, &error));
    f->stream.bulk_reads = true;
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    stream_close(&f->stream, on_closed);
    uv_close((uv_handle_t *)&f->ticker, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_true(f->closed);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    buffer_pool_free(f->buffers);
    close(f->peer);
    free(f);
    return 0;
}

/* The peer sends, and the stream reads all of it. */
static void receive(struct fixture *f, size_t length) {
    static const char zeros[32 * 1024];
    size_t sent = 0, before = f->received;
    for (int i = 0; i < ROUNDS && f->received < before + length; i++) {
        size_t piece = length - sent < sizeof zeros ? length - sent : sizeof zeros;
        ssize_t done = piece > 0 ? write(f->peer, zeros, piece) : 0;
        sent += done > 0 ? (size_t)done : 0;
        uv_run(&f->loop, sent < length ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    }
    assert_int_equal(f->received, before + length);
}

static void wait_for_pause(struct fixture *f) {
    for (int i = 0; i < ROUNDS && wakes_at(f) > 1; i++)
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(wakes_at(f), 1);
}

static void a_short_run_wakes_for_every_byte(void **state) {
    struct fixture *f = *state;
    receive(f, STREAM_BULK_AFTER - 1);
    assert_null(f->stream.bulk);
    assert_int_equal(f->woken_at, 1);
}

static void a_long_run_wakes_for_much(void **state) {
    struct fixture *f = *state;
    receive(f, STREAM_BULK_AFTER - 1);
    receive(f, 1);
    assert_int_equal(f->woken_at, STREAM_BULK_WAKE);
}

static void what_is_little_is_read_after_a_pause(void **state) {
    struct fixture *f = *state;
    receive(f, STREAM_BULK_AFTER);
    receive(f, 10);
    assert_true(f->received == STREAM_BULK_AFTER + 10);
}

static void a_pause_ends_the_waiting_and_the_next_byte_begins_it(void **state) {
    struct fixture *f = *state;
    receive(f, STREAM_BULK_AFTER);
    wait_for_pause(f);
    receive(f, 1);
    assert_int_equal(f->woken_at, STREAM_BULK_WAKE);
}

static void who_sends_ends_the_run(void **state) {
    struct fixture *f = *state;
    receive(f, STREAM_BULK_AFTER);
    stream_send(&f->stream, "next", 4);
    stream_flush(&f->stream);
    wait_for_pause(f);
    receive(f, 1);
    assert_int_equal(f->woken_at, 1);
}

static void nothing_waits_while_reading_is_off(void **state) {
    struct fixture *f = *state;
    receive(f, STREAM_BULK_AFTER);
    stream_set_reading(&f->stream, false);
    assert_int_equal(write(f->peer, "more", 4), 4);
    wait_for_pause(f);
    assert_true(f->received == STREAM_BULK_AFTER);
    stream_set_reading(&f->stream, true);
    for (int i = 0; i < ROUNDS && f->received < STREAM_BULK_AFTER + 4; i++)
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_true(f->received == STREAM_BULK_AFTER + 4);
}

static void what_comes_after_the_pause_may_close_the_stream(void **state) {
    struct fixture *f = *state;
    receive(f, STREAM_BULK_AFTER);
    f->close_in_event = true;
    receive(f, 1);
    for (int i = 0; i < ROUNDS && !f->closed; i++)
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_true(f->closed);
}

static void the_end_of_a_run_is_told_at_once(void **state) {
    struct fixture *f = *state;
    receive(f, STREAM_BULK_AFTER);
    shutdown(f->peer, SHUT_WR);
    for (int i = 0; i < ROUNDS && f->stream.state == STREAM_OPEN; i++)
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(f->stream.state, STREAM_EOF);
}

static void clients_streams_do_not_wait(void **state) {
    struct fixture *f = *state;
    f->stream.bulk_reads = false;
    receive(f, STREAM_BULK_AFTER + 1);
    assert_int_equal(f->woken_at, 1);
    assert_null(f->stream.bulk);
}

static void a_long_run_is_read_in_big_pieces(void **state) {
    struct fixture *f = *state;
    f->stream.bulk_reads = false;
    receive(f, STREAM_LONG_AFTER - 1);
    assert_true(f->most < 16 * 1024);
    receive(f, 1);
    static const char zeros[STREAM_LONG_ROOM];
    assert_int_equal(write(f->peer, zeros, sizeof zeros), sizeof zeros);
    for (int i = 0; i < ROUNDS && f->received < STREAM_LONG_AFTER + sizeof zeros; i++)
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(f->most, sizeof zeros);
}

static void its_memory_is_given_back(void **state) {
    struct fixture *f = *state;
    receive(f, STREAM_BULK_AFTER);
    assert_null(f->stream.in.data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_short_run_wakes_for_every_byte),
        TEST(a_long_run_wakes_for_much),
        TEST(what_is_little_is_read_after_a_pause),
        TEST(a_pause_ends_the_waiting_and_the_next_byte_begins_it),
        TEST(who_sends_ends_the_run),
        TEST(nothing_waits_while_reading_is_off),
        TEST(what_comes_after_the_pause_may_close_the_stream),
        TEST(the_end_of_a_run_is_told_at_once),
        TEST(clients_streams_do_not_wait),
        TEST(a_long_run_is_read_in_big_pieces),
        TEST(its_memory_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
