/* The console: a client that has connected to the admin database may ask for figures and reload the
 * settings. It speaks both query protocols and has no connection to any
 * database. Figures are gathered from the workers by message; one answer at a time is under way,
 * and what the client has sent meanwhile waits in its stream.
 *
 * Belongs to a session, whose client's stream it uses, on the worker's thread. */
#ifndef PGINTERLOCK_CONSOLE_H
#define PGINTERLOCK_CONSOLE_H

#include "proxy/stream.h"
#include "proxy/worker.h"

struct console;

/* Greets the client, who is authenticated and allowed. `peer` and `user` live as long as the
 * console. `ended` is called once, by console_on_event() or by the loop, when the client is to be
 * disconnected (it has been told why); it may call console_free(). */
struct console *console_open(struct worker *worker, struct stream *client, const char *peer,
                             const char *user, void (*ended)(void *owner, const char *reason),
                             void *owner);
/* Bytes arrived, room came, or the stream is over. */
void console_on_event(struct console *console);
/* At any time; what was asked of other workers comes back to nobody. NULL is fine. */
void console_free(struct console *console);

#endif
