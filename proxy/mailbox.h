/* Letters from one thread to another's event loop, in the order in which they were posted. Once
 * posted, a letter and what is in it belong to the reader. */
#ifndef PGINTERLOCK_MAILBOX_H
#define PGINTERLOCK_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <uv.h>

struct letter {
    struct letter *next;
    /* On the reader's thread; the letter is the function's. `owner`: as given to mailbox_init(). */
    void (*deliver)(struct letter *letter, void *owner);
    /* Called instead, to free it, when the mailbox closes before it was read. The threads that used
     * the mailbox, and the letter's sender, have ended. */
    void (*drop)(struct letter *letter);
};

struct mailbox {
    uv_async_t wake;
    pthread_mutex_t lock;
    struct letter *first, **tail; /* tail NULL: not initialised */
    void *owner;
    bool stopped; /* the reader's */
};

/* 0, or libuv's error. The loop closes `wake` with its other handles. */
int mailbox_init(struct mailbox *mailbox, uv_loop_t *loop, void *owner);
/* From any thread, as long as the loop isn't freed; takes the letter. */
void mailbox_post(struct mailbox *mailbox, struct letter *letter);
/* By the reader: no more letters are delivered, they wait for mailbox_close(). For a reader whose
 * answers might otherwise go to somebody who is gone. */
void mailbox_stop(struct mailbox *mailbox);
/* Drops all letters that were not read, once no other thread can post. A mailbox that was never
 * initialised is fine. */
void mailbox_close(struct mailbox *mailbox);

#endif
