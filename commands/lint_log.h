/* From the records of a log to statements in sessions: who executed what, in which transaction.
 *
 * Embedded; one thread. */
#ifndef PGINTERLOCK_LINT_LOG_H
#define PGINTERLOCK_LINT_LOG_H

#include "commands/lint_check.h"
#include "commands/lint_record.h"
#include "commands/lint_sessions.h"

struct lint_log {
    struct lint_sink sink; /* give this to a reader */
    struct lint_check *check;
    struct lint_sessions *sessions; /* they go on from one file to the next */
    size_t file;                    /* the one that is being read */
};

void lint_log_init(struct lint_log *log, struct lint_check *check);
void lint_log_close(struct lint_log *log);

/* A text that stands by itself, in a session of its own: a row of pg_stat_statements. */
void lint_log_alone(struct lint_log *log, char *text, size_t length, size_t line, uint64_t count);

#endif
