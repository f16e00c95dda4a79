/* Questions of a console to other threads, by message. A worker that is asked fills in its own rows
 * on its own thread and posts them back: nothing is locked, and nobody reads another's memory. The
 * asker may leave meanwhile. */
#ifndef PGINTERLOCK_CONSOLE_GATHER_H
#define PGINTERLOCK_CONSOLE_GATHER_H

#include "proxy/console_command.h"
#include "proxy/figures_table.h"
#include "proxy/worker.h"

struct gathering;

/* Called once by the asking worker's loop, never from within the call that asked. `table`: the rows
 * of all workers, to be taken or left; NULL for RELOAD. `error`: what RELOAD failed with, or NULL.
 */
typedef void gathered_callback(void *owner, struct figures_table *table, const struct error *error);

/* Asks every worker for its rows. */
struct gathering *gather_figures(struct worker *worker, enum console_command command,
                                 const struct figures_kind *kind, gathered_callback *done,
                                 void *owner);
/* Asks the main thread to read the settings anew. */
struct gathering *gather_reload(struct worker *worker, gathered_callback *done, void *owner);
/* Asks nobody: `done` is called after the loop has done its other work. */
struct gathering *gather_turn(struct worker *worker, gathered_callback *done, void *owner);
/* The asker leaves: `done` will not be called. Must not be called after `done` was. */
void gathering_abandon(struct gathering *gathering);

#endif
