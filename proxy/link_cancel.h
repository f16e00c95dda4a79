/* Having a link's server cancel what it runs. A CancelRequest goes to the address that the link
 * itself is connected to, in plain, as libpq's PQcancel() sends it, and is over when the server
 * hangs up: PostgreSQL does so when the statement's process has got the signal. One is on its way
 * at a time; those that come meanwhile go together in the next one. What a server has not taken
 * within login_timeout is given up, but may still be lying there: such a link goes to nobody else.
 *
 *     IDLE → CONNECTING → SENT → IDLE;  any → IDLE, in doubt where it was SENT
 *
 * For link.c; who uses links calls link_cancel(). A request that is on its way outlives its link.
 * The loop's thread. */
#ifndef PGINTERLOCK_LINK_CANCEL_H
#define PGINTERLOCK_LINK_CANCEL_H

#include "proxy/backend_key.h"
#include "proxy/link.h"

#include <libpq-fe.h>

/* From the connection that is about to be taken over; link->pid is known. NULL: it can't be
 * cancelled, which is logged. */
struct link_cancel *link_cancel_new(struct link *link, PGconn *conn,
                                    const struct backend_key *watch);

/* The link is closed: what is under way ends by itself. */
void link_cancel_leave(struct link *link);

/* The worker ends, its links are closed: what is under way still is given up. */
void link_cancels_stop(struct worker *worker);

#endif
