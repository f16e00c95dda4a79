/* The file that violations are recorded in: lines are added to its end, one write(2) each, so that
 * workers and processes can share it. A file that can't be written is said once and tried again
 * with each line; it never stops who writes.
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
    bool failing;    /* said already */
    bool torn;       /* the last line was not written to its end */
    uint64_t lost;   /* violations that nobody could write down since it fails */
};

void violations_file_init(struct violations_file *file, struct log *log);

/* Opens the file of that path (copied) instead of the one before; NULL: none. One of the same path
 * is opened again, since it may have been renamed. A new one is made with mode 0640. */
void violations_file_open(struct violations_file *file, const char *path);
void violations_file_close(struct violations_file *file);

/* Adds the bytes, which end in a newline. False: not written; where there is no file there is
 * nothing to do and it is true. */
bool violations_file_write(struct violations_file *file, const char *line, size_t length);

#endif
