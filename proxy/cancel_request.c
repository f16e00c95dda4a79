#include "proxy/cancel_request.h"

#include "config/alloc.h"
#include "proxy/session.h"
#include "proxy/worker.h"

#include <stdlib.h>

struct cancel_request {
    struct letter letter; /* first */
    struct worker *from;
    struct cancel_request *next; /* of a list */
    uint32_t pid, key;
    /* `from`'s alone: */
    void (*done)(void *asker);
    void *asker; /* NULL: it has gone */
};

static void drop(struct letter *letter) {
    free(letter);
}

/* By the session's worker. */
static void on_request(struct letter *letter, void *owner) {
    struct cancel_request *request = (struct cancel_request *)(void *)letter;
    struct worker *worker = owner;
    struct session *session = cancel_keys_find(&worker->cancel_keys, request->pid, request->key);
    if (session != NULL)
        session_cancel(session, request);
    else
        cancel_request_over(request);
}

/* Back home. */
static void on_over(struct letter *letter, void *owner) {
    (void)owner;
    struct cancel_request *request = (struct cancel_request *)(void *)letter;
    if (request->asker != NULL)
        request->done(request->asker);
    free(request);
}

struct cancel_request *cancel_request_send(struct worker *from, uint32_t pid, uint32_t key,
                                           void (*done)(void *asker), void *asker) {
    struct cancel_request *request = alloc_new(sizeof *request);
    *request = (struct cancel_request){.letter = {.deliver = on_request, .drop = drop},
                                       .from = from,
                                       .pid = pid,
                                       .key = key,
                                       .done = done,
                                       .asker = asker};
    const struct workers *workers = from->workers;
    mailbox_post(&workers->list[key % workers->count]->mailbox, &request->letter);
    return request;
}

void cancel_request_forget(struct cancel_request *request) {
    if (request != NULL)
        request->asker = NULL;
}

struct cancel_request *cancel_request_join(struct cancel_request *list,
                                           struct cancel_request *one) {
    one->next = list;
    return one;
}

void cancel_request_over(struct cancel_request *list) {
    for (struct cancel_request *request = list, *next; request != NULL; request = next) {
        next = request->next;
        request->letter.deliver = on_over;
        mailbox_post(&request->from->mailbox, &request->letter);
    }
}
