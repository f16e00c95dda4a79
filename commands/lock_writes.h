/* The commands lock-writes, unlock-writes and lock-status: GitLab's locks against writes, on every
 * database, for the tables that don't belong to it. Synchronous, on the calling thread. */
#ifndef PGINTERLOCK_LOCK_WRITES_H
#define PGINTERLOCK_LOCK_WRITES_H

#include "config/settings.h"

#include <stdbool.h>

enum { LOCK_RETRIES = 10, LOCK_RETRIES_MAX = 10000 };

struct lock_options {
    const char *config;
    const char *database; /* only this one; NULL: all */
    bool dry_run;         /* print the SQL, change nothing */
    unsigned retries;     /* further passes over tables that were busy */
};

/* Each prints to standard output, and what went wrong to standard error. 0: fine; 1: a table was
 * busy to the end, or (of lock-status) is not as it should be; 2: a database can't be reached or
 * refuses, or the options are wrong. */
int lock_writes_command(const struct lock_options *options);
int unlock_writes_command(const struct lock_options *options);
int lock_status_command(const struct lock_options *options);

/* -- shared by the files of these commands ----------------------------------------------------- */

struct database_client;

/* Does its work on one connected database; the result is an exit status. */
typedef int lock_visit(struct database_client *client, const struct lock_options *options,
                       void *context);

/* Loads the settings and visits each physical database that is asked for; says so of the others.
 * The worst status. */
int lock_visit_databases(const struct lock_options *options, lock_visit *visit, void *context);

#endif
