/* What a worker counts, for the console: plain increments on its own thread, and read there. */
#ifndef PGINTERLOCK_FIGURES_H
#define PGINTERLOCK_FIGURES_H

#include "proxy/violations.h"

#include <stdint.h>

/* Of one physical database, since the start. */
struct database_figures {
    struct database_figures *next;
    char *name;
    uint64_t transactions;
    uint64_t queries;        /* statements of clients that were completed */
    uint64_t received, sent; /* bytes for the database, and from it, on links that are closed */
    uint64_t assignments;    /* links that a pool handed out */
    uint64_t waits, waited;  /* how often clients waited for one, and how long in all, in ms */
};

/* Zeroed: empty. */
struct figures {
    struct database_figures *databases;
    uint64_t violations[RULE_COUNT][ACTION_COUNT];
};

/* The figures of a database, made when first asked for. They don't move until figures_close(). */
struct database_figures *figures_of_database(struct figures *figures, const char *name);
void figures_close(struct figures *figures);

#endif
