/* A progress bar for a person who waits: on standard error, only where that is a terminal. */
#ifndef PGINTERLOCK_LINT_PROGRESS_H
#define PGINTERLOCK_LINT_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lint_progress {
    bool shown;           /* standard error is a terminal */
    uint64_t total;       /* bytes to come; 0: unknown */
    uint64_t done, drawn; /* bytes read; as of the bar on the screen */
};

/* The sizes of the files are added up; one that isn't regular makes the total unknown. */
void lint_progress_init(struct lint_progress *progress, char *const *files, size_t count);
void lint_progress_add(struct lint_progress *progress, size_t bytes); /* NULL is fine */
void lint_progress_clear(struct lint_progress *progress); /* before anything else is written */

#endif
