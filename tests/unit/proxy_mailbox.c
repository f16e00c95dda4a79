/* Mailboxes: letters in order, from many threads, and what becomes of those that nobody reads. */
#include "proxy/mailbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SENDERS = 4, LETTERS = 10000 };

struct reader {
    uv_loop_t loop;
    struct mailbox mailbox;
    size_t read, dropped;
    unsigned next[SENDERS]; /* that must come from each sender */
    size_t stop_after;
};

struct numbered {
    struct letter letter; /* first */
    struct reader *reader;
    unsigned sender, number;
};

static void on_letter(struct letter *letter, void *owner) {
    struct numbered *numbered = (struct numbered *)(void *)letter;
    struct reader *reader = owner;
    assert_ptr_equal(reader, numbered->reader);
    assert_int_equal(numbered->number, reader->next[numbered->sender]++);
    free(numbered);
    if (++reader->read == reader->stop_after)
        uv_close((uv_handle_t *)&reader->mailbox.wake, NULL);
}

static void drop(struct letter *letter) {
    ((struct numbered *)(void *)letter)->reader->dropped++;
    free(letter);
}

static void post(struct reader *reader, unsigned sender, unsigned number) {
    struct numbered *numbered = calloc(1, sizeof *numbered);
    if (numbered == NULL)
        abort();
    *numbered = (struct numbered){{NULL, on_letter, drop}, reader, sender, number};
    mailbox_post(&reader->mailbox, &numbered->letter);
}

static int setup(void **state) {
    struct reader *reader = calloc(1, sizeof *reader);
    *state = reader;
    return reader == NULL || uv_loop_init(&reader->loop) != 0 ||
           mailbox_init(&reader->mailbox, &reader->loop, reader) != 0;
}

static int teardown(void **state) {
    struct reader *reader = *state;
    if (!uv_is_closing((uv_handle_t *)&reader->mailbox.wake))
        uv_close((uv_handle_t *)&reader->mailbox.wake, NULL);
    uv_run(&reader->loop, UV_RUN_DEFAULT);
    mailbox_close(&reader->mailbox);
    int result = uv_loop_close(&reader->loop);
    free(reader);
    return result;
}

struct sender {
    struct reader *reader;
    unsigned number;
};

static void *send_all(void *argument) {
    struct sender *sender = argument;
    for (unsigned i = 0; i < LETTERS; i++)
        post(sender->reader, sender->number, i);
    return NULL;
}

static void every_letter_of_every_thread_is_read_once_in_its_order(void **state) {
    struct reader *reader = *state;
    pthread_t threads[SENDERS];
    struct sender senders[SENDERS];
    reader->stop_after = (size_t)SENDERS * LETTERS;
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){reader, i};
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
    uv_run(&reader->loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(reader->read, (size_t)SENDERS * LETTERS);
}

static void what_nobody_reads_is_dropped(void **state) {
    struct reader *reader = *state;
    for (unsigned i = 0; i < 3; i++)
        post(reader, 0, i);
    mailbox_close(&reader->mailbox);
    assert_int_equal(reader->dropped, 3);
    assert_int_equal(reader->read, 0);
}

static void who_has_stopped_reading_leaves_letters_to_be_dropped(void **state) {
    struct reader *reader = *state;
    mailbox_stop(&reader->mailbox);
    post(reader, 0, 0);
    uv_run(&reader->loop, UV_RUN_NOWAIT);
    assert_int_equal(reader->read, 0);
    mailbox_close(&reader->mailbox);
    assert_int_equal(reader->dropped, 1);
}

static void one_that_was_never_made_can_be_closed(void **state) {
    (void)state;
    struct mailbox mailbox = {0};
    mailbox_close(&mailbox);
}

int main(void) {
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(every_letter_of_every_thread_is_read_once_in_its_order),
        CASE(what_nobody_reads_is_dropped),
        CASE(who_has_stopped_reading_leaves_letters_to_be_dropped),
        cmocka_unit_test(one_that_was_never_made_can_be_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
