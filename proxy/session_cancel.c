/* Cancel requests. What a server runs is cancelled there. A message that is still here - it waits
 * for a connection, for settings to be put in place, for answers from another database - is refused
 * here, if the request hits nothing else: on a connection of its own it would be running by now. A
 * request is kept for no longer than that message. */
#include "proxy/session_internal.h"

#include "proxy/cancel_request.h"

/* Whether one has come that is not done with, and has not been sent. */
static bool message_waits(const struct session *s) {
    return s->script.active || s->query != NULL ||
           (s->body_fate == BODY_NONE && session_has_whole_message(s));
}

void session_cancel(struct session *s, struct cancel_request *request_take) {
    /* What the client sent before the request may have come to the socket only. */
    if (s->phase == PHASE_READY && session_drained(s) && !message_waits(s))
        stream_look(&s->client);
    if (s->phase != PHASE_READY) {
        cancel_request_over(request_take);
        return;
    }
    s->cancel_kept = message_waits(s);
    if (s->active != NULL && s->active->answers.count > 0) {
        link_cancel(s->active, request_take);
        return;
    }
    cancel_request_over(request_take);
    if (s->cancel_kept) {
        pool_withdraw(&s->waiter);
        session_process(s);
    }
}

static bool is_cancelling(const struct session *s) {
    for (int i = 0; i < s->link_count; i++)
        if (s->links[i] != NULL && link_is_cancelling(s->links[i]))
            return true;
    return false;
}

enum use session_heed_cancel(struct session *s) {
    if (session_wait_drained(s) == PROGRESS_WAIT || is_cancelling(s))
        return USE_WAIT;
    s->cancel_kept = false;
    reply_error(s, "57014", "canceling statement due to user request", NULL, NULL);
    return USE_FAILED;
}

void session_link_cancelled(struct link *link) {
    session_process(link->owner);
}
