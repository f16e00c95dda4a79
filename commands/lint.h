/* The `lint` command: violations in SQL files, PostgreSQL's logs and pg_stat_statements. Needs no
 * server. */
#ifndef PGINTERLOCK_LINT_H
#define PGINTERLOCK_LINT_H

#include <stddef.h>

struct lint_options {
    const char *config;
    const char *entrypoint; /* NULL: the first routed one, else the first */
    const char *format;     /* text, json, junit, sarif; NULL: text */
    const char *prefix;     /* log_line_prefix; NULL: PostgreSQL's own */
    char *const *files;     /* "-": the standard input */
    size_t file_count;
};

/* Writes what it found to standard output, a summary to standard error. Returns the exit status: 0
 * nothing, 1 violations, 2 bad input, said on stderr in one line each. Call it on a thread with a
 * big stack, as parsing is recursive. */
int lint_command(const struct lint_options *options);

#endif
