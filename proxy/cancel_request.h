/* A client's cancel request on its way: from the connection that brought it to the worker of the
 * session that it means, to that session's server, and back. Only then is its connection closed, so
 * that clients that wait for this, as libpq's do, know that nothing they send later can be hit.
 * One that was sent belongs to whom it was posted to; the asker keeps a pointer, on its own thread.
 */
#ifndef PGINTERLOCK_CANCEL_REQUEST_H
#define PGINTERLOCK_CANCEL_REQUEST_H

#include <stdint.h>

struct cancel_request;
struct worker;

/* `done` is called once by `from`'s loop, never from within this call: the request has reached the
 * server, or there was nothing to cancel. [from's thread] */
struct cancel_request *cancel_request_send(struct worker *from, uint32_t pid, uint32_t key,
                                           void (*done)(void *asker), void *asker);

/* The asker goes away before `done` was called. NULL is fine. [from's thread] */
void cancel_request_forget(struct cancel_request *request);

/* By whom they were posted to: a list of those that go together. Takes both; the list may be NULL.
 */
struct cancel_request *cancel_request_join(struct cancel_request *list, struct cancel_request *one);

/* Says that these can hit nothing more; takes the list, which may be NULL. [any worker's thread] */
void cancel_request_over(struct cancel_request *list);

#endif
