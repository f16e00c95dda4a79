/* The file that violations are recorded in: lines are added to its end, one write(2) each, so that
 * workers and processes can share it. If it can't be written, that is logged once and tried again
 * with each line; it never stops the worker.
 *
 * Embedded in its owner, one thread. */
#ifndef PGINTERLOCK_VIOLATIONS_FILE_H
#define PGINTERLOCK_VIOLATIONS_FILE_H

#include "proxy/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct violations_file {
    struct log *log; /* borrowed */
    char *path;      /* NULL: nothing is recorded */
    int fd;          /* -1: not open */
    bool failing;    /* and that was logged */
    bool torn;       /* the last line was not written to its end */
    uint64_t lost;   /* violations that could not be written since it began to fail */
};

void violations_file_init(struct violations_file *file, struct log *log);

/* Opens the file at that path (copied) instead of the previous one; NULL: none. The same path is
 * opened anew, since the file may have been renamed. A new file gets mode 0640. */
void violations_file_open(struct violations_file *file, const char *path);
void violations_file_close(struct violations_file *file);

/* Adds the bytes, which end in a newline. False: they could not be written. Without a file there is
 * nothing to do, and the result is true. */
bool violations_file_write(struct violations_file *file, const char *line, size_t length);

#endif
