/* The `explain` command: how each statement of a text would be routed, and why. Needs no server. */
#ifndef PGINTERLOCK_EXPLAIN_H
#define PGINTERLOCK_EXPLAIN_H

#include <stdbool.h>

/* Explains `sql`, else the contents of `file`, else ("-" or NULL) standard input, as one session on
 * the entrypoint (NULL: the first routed one, else the first). Answers on stdout, one JSON object a
 * line or for reading.
 *
 * Returns the exit status: 0 fine, 1 some statement violates a rule, 2 bad input, said on stderr.
 * Call it on a thread with a big stack, as parsing is recursive. */
int explain_command(const char *config_path, const char *entrypoint, bool json, const char *sql,
                    const char *file);

#endif
