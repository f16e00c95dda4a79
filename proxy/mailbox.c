#include "proxy/mailbox.h"

#include <stddef.h>

static struct letter *take_all(struct mailbox *mailbox) {
    pthread_mutex_lock(&mailbox->lock);
    struct letter *letter = mailbox->first;
    mailbox->first = NULL;
    mailbox->tail = &mailbox->first;
    pthread_mutex_unlock(&mailbox->lock);
    return letter;
}

static void on_wake(uv_async_t *async) {
    struct mailbox *mailbox = async->data;
    if (mailbox->stopped)
        return;
    for (struct letter *letter = take_all(mailbox), *next; letter != NULL; letter = next) {
        next = letter->next;
        letter->deliver(letter, mailbox->owner);
    }
}

int mailbox_init(struct mailbox *mailbox, uv_loop_t *loop, void *owner) {
    int result = uv_async_init(loop, &mailbox->wake, on_wake);
    if (result != 0)
        return result;
    mailbox->wake.data = mailbox;
    mailbox->owner = owner;
    mailbox->tail = &mailbox->first;
    pthread_mutex_init(&mailbox->lock, NULL);
    return 0;
}

void mailbox_post(struct mailbox *mailbox, struct letter *letter) {
    letter->next = NULL;
    pthread_mutex_lock(&mailbox->lock);
    *mailbox->tail = letter;
    mailbox->tail = &letter->next;
    pthread_mutex_unlock(&mailbox->lock);
    uv_async_send(&mailbox->wake);
}

void mailbox_stop(struct mailbox *mailbox) {
    mailbox->stopped = true;
}

void mailbox_close(struct mailbox *mailbox) {
    if (mailbox->tail == NULL)
        return;
    for (struct letter *letter = take_all(mailbox), *next; letter != NULL; letter = next) {
        next = letter->next;
        letter->drop(letter);
    }
    pthread_mutex_destroy(&mailbox->lock);
    mailbox->tail = NULL;
}
