/* What a worker counts, for the console: plain increments on its own thread, read there when they
 * are asked for. */
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
    uint64_t waits, waited;  /* of clients for one, and for how long in all: milliseconds */
};

/* Zeroed: empty. */
struct figures {
    struct database_figures *databases;
    uint64_t violations[RULE_COUNT][ACTION_COUNT];
};

/* The database's, made when it is first asked for; it stays where it is until figures_close(). */
struct database_figures *figures_of_database(struct figures *figures, const char *name);
void figures_close(struct figures *figures);

#endif
