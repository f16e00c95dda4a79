/* Has a link's server cancel what it runs. A CancelRequest goes to the address that the link itself
 * is connected to, unencrypted, as libpq's PQcancel() sends it. It is over when the server hangs
 * up, which PostgreSQL does when the statement's process has got the signal. One is on its way at a
 * time; those that come meanwhile go together in the next one. A request that the server has not
 * taken within login_timeout is given up, but may still lie in its queue: such a link goes to no
 * other session.
 *
 *     IDLE → CONNECTING → SENT → IDLE;  any → IDLE, in doubt where it was SENT
 *
 * Used by link.c; other files call link_cancel(). A request that is on its way outlives its link.
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

/* The link is closed: a request that is under way goes on without it. */
void link_cancel_leave(struct link *link);

/* The worker ends and its links are closed: gives up the requests that are still under way. */
void link_cancels_stop(struct worker *worker);

#endif
