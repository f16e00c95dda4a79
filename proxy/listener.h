/* Listening sockets: TCP and Unix, opened all or none, and handed over from one configuration to
 * the next. What they accept goes to the worker with the fewest clients. Belongs to the main
 * thread's loop. */
#ifndef PGINTERLOCK_LISTENER_H
#define PGINTERLOCK_LISTENER_H

#include "config/settings.h"
#include "proxy/log.h"
#include "proxy/worker.h"

#include <stdbool.h>
#include <uv.h>

struct listeners;

/* Binds every address of the settings and lets clients queue; nobody is accepted yet. The error
 * reads `FILE:LINE: listen ADDRESS: what is wrong: what to do`. */
bool listeners_open(struct listeners **out, uv_loop_t *loop, const struct settings *settings,
                    struct log *log, struct error *error) __attribute__((warn_unused_result));

/* From here on clients are accepted and given to the workers. */
bool listeners_start(struct listeners *listeners, struct workers *workers, struct error *error)
    __attribute__((warn_unused_result));

/* Opens the addresses that are new, then closes those that are gone; the others don't notice. On
 * failure everything is as before. */
bool listeners_change(struct listeners *listeners, const struct settings *settings,
                      struct error *error) __attribute__((warn_unused_result));

/* Stops accepting, removes the Unix sockets' files and frees everything once the loop has closed
 * its handles. */
void listeners_close(struct listeners *listeners);

#endif
