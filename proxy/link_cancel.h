/* What a link needs to have its server cancel what it runs; it may be gone before its requests are.
 * For link.c; who uses links calls link_cancel(). The loop's thread. */
#ifndef PGINTERLOCK_LINK_CANCEL_H
#define PGINTERLOCK_LINK_CANCEL_H

#include "proxy/link.h"

#include <libpq-fe.h>

/* From the connection that is about to be taken over; NULL: it can't be cancelled. */
struct link_cancel *link_cancel_new(struct link *link, PGconn *conn);

/* The link is closed: what is under way ends by itself. */
void link_cancel_leave(struct link *link);

#endif
