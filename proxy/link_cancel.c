#include "proxy/link_cancel.h"

#include "config/alloc.h"
#include "proxy/cancel_request.h"
#include "proxy/worker.h"

#include <stdlib.h>

/* Shared by the link and the requests under way, which may outlive it; counted on the loop's
 * thread. */
struct link_cancel {
    PGcancel *handle;
    unsigned references; /* the link's, and one for each request */
    struct link *link;   /* NULL once it was closed */
};

struct cancel_work {
    uv_work_t work;
    struct link_cancel *cancel;
    struct cancel_request *request;
};

struct link_cancel *link_cancel_new(struct link *link, PGconn *conn) {
    PGcancel *handle = PQgetCancel(conn);
    if (handle == NULL)
        return NULL;
    struct link_cancel *cancel = alloc_new(sizeof *cancel);
    *cancel = (struct link_cancel){.handle = handle, .references = 1, .link = link};
    return cancel;
}

static void cancel_unref(struct link_cancel *cancel) {
    if (--cancel->references > 0)
        return;
    PQfreeCancel(cancel->handle);
    free(cancel);
}

void link_cancel_leave(struct link *link) {
    if (link->cancel == NULL)
        return;
    link->cancel->link = NULL;
    cancel_unref(link->cancel);
    link->cancel = NULL;
}

static void cancel_send(uv_work_t *work) {
    const struct cancel_work *sent = work->data;
    char ignored[256];
    PQcancel(sent->cancel->handle, ignored, sizeof ignored);
}

static void cancel_sent(uv_work_t *work, int status) {
    (void)status;
    struct cancel_work *sent = work->data;
    struct link *link = sent->cancel->link;
    cancel_unref(sent->cancel);
    cancel_request_over(sent->request);
    free(sent);
    if (link != NULL && !link_is_cancelling(link) && link->on_cancelled != NULL)
        link->on_cancelled(link);
}

void link_cancel(struct link *link, struct cancel_request *request_take) {
    if (link->cancel == NULL) {
        cancel_request_over(request_take);
        return;
    }
    struct cancel_work *sent = alloc_new(sizeof *sent);
    sent->cancel = link->cancel;
    sent->request = request_take;
    sent->work.data = sent;
    link->cancel->references++;
    if (uv_queue_work(&link->worker->loop, &sent->work, cancel_send, cancel_sent) != 0)
        cancel_sent(&sent->work, UV_ECANCELED);
}

bool link_is_cancelling(const struct link *link) {
    return link->cancel != NULL && link->cancel->references > 1;
}
