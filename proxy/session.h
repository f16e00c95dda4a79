/* A session: one client's connection from its first byte to its last, with its links to the
 * databases. It belongs to one worker and runs on that worker's thread only. */
#ifndef PGINTERLOCK_SESSION_H
#define PGINTERLOCK_SESSION_H

#include "config/error.h"

#include <stdbool.h>
#include <stdint.h>

struct cancel_request;
struct session;
struct worker;

/* Takes over the accepted socket (closed on failure). The session frees itself when it ends. */
bool session_open(struct worker *worker, int fd, bool is_unix, const char *peer,
                  struct error *error) __attribute__((warn_unused_result));

struct session *session_next(struct session *session); /* in the worker's list */

/* Cancels what it runs or is about to run, if anything; the request is told when it is over. */
void session_cancel(struct session *session, struct cancel_request *request_take);

void session_drain(struct session *session); /* end when idle and outside a transaction */
/* End now: FATAL 57P01. */
void session_terminate(struct session *session) __attribute__((cold));

/* After a reload: gives the session a new time limit if it waits for a connection. */
void session_heed_limits(struct session *session);

/* Ends it if it has been idle for longer than its settings allow; `now` is uv_now(). */
void session_check_time(struct session *session, uint64_t now);

/* A session says that it is gone: it has left the list but still knows its successor there.
 * Implemented by the worker. */
void worker_session_ended(struct worker *worker, struct session *session);

#endif
