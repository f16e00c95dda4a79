/* The inside of a worker's pools. Only these files include it:
 *
 *     pool.c           hands connections to sessions that wait
 *     pool_links.c     opens, resets and closes connections that no session has
 *     pool_limits.c    sizes, ages, timeouts
 *     pool_kept.c      recalls connections that sessions keep without using them
 *     pool_deadlock.c  finds sessions that wait in vain
 *     pool_welcome.c   what clients are told of a server before they have a connection
 *     pool_figures.c   what the console shows */
#ifndef PGINTERLOCK_POOL_INTERNAL_H
#define PGINTERLOCK_POOL_INTERNAL_H

#include "proxy/pool.h"
#include "proxy/table_code.h"
#include "proxy/worker.h"

/* Connections to one server, whichever of the databases there. */
struct pool_budget {
    struct pool_budget *next;
    char *server;       /* "host=… port=…" of the connection string */
    size_t open, limit; /* limit 0: none */
};

/* What a session with these settings is told when it begins. Both are references. */
struct welcome {
    struct setting_set *settings;
    struct parameters *reported;
};

enum { WELCOMES_MAX = 64 };

/* What the pools of one database have in common, whatever their user. */
struct pool_database {
    struct pool_database *next;
    char *identity;
    struct table_code table_code;
};

struct pool {
    struct pool *next;
    struct pools *pools;
    unsigned references; /* of sessions */
    bool stale;          /* its database is no longer configured like this */
    int physical;
    char *name, *conninfo, *user, *password; /* user and password NULL: the string has them */
    struct pool_settings limits;             /* as configured, for all workers */
    size_t size, most; /* this worker's share of them: without and with the reserve */
    unsigned connect_timeout;
    struct pool_budget *budget;
    struct pool_database *database;
    struct database_figures *figures;
    struct link *idle; /* the one used last first */
    struct link *busy; /* opening or resetting: the pool's own */
    struct link *used; /* by sessions */
    bool reached;      /* during a search of pool_deadlock.c */
    struct pool *next_reached;
    struct pool_waiter *first, *last;
    size_t idle_count, used_count, opening_count, resetting_count, waiting_count;
    struct parameters *baseline; /* its servers' defaults when last seen; a reference */
    bool doubts_strings;
    struct welcome welcomes[WELCOMES_MAX];
    size_t welcome_count, welcome_next; /* where the next one goes when there are many */
    uint64_t failed_at;                 /* when the last attempt to connect failed; 0: it did not */
    uint64_t retired_at;                /* when a connection was last closed for its age */
};

struct pools {
    struct worker *worker;
    unsigned workers;
    uv_loop_t *loop;
    struct pool *list;
    struct pool_budget *budgets;
    struct pool_database *databases;
    size_t waiting_count;                        /* of all pools */
    struct pool_waiter *granted, **granted_tail; /* to be told by the loop */
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t tick;
    uv_timer_t patience; /* how long waiters count on a connection that asks the catalogs */
    uv_timer_t keeping;  /* how long sessions keep connections that they don't use */
    bool stopping;
};

/* -- pool_links.c ------------------------------------------------------------------------------ */

/* Starts to connect one more; when it is ready, it serves the waiters of that moment. */
void pool_open_link(struct pool *pool);
/* Takes back a link that no session uses: idle at once, or after a reset. */
void pool_keep_link(struct pool *pool, struct link *link, bool reset);
/* Takes it out of the list of idle ones. */
void pool_unlist_idle(struct pool *pool, struct link *link);
/* Into the list of used ones, and out of it. */
void pool_list_used(struct pool *pool, struct link *link);
void pool_unlist_used(struct pool *pool, struct link *link);
/* Closes one that is the pool's own (idle, opening or resetting) or was just given back. */
void pool_close_link(struct pool *pool, struct link *link) __attribute__((cold));

/* -- pool_welcome.c ---------------------------------------------------------------------------- */

/* A server reports these at the start of a connection, or reports something new: welcomes that say
 * otherwise are forgotten. */
void pool_heed_baseline(struct pool *pool, struct parameters *reported);
/* For a link that no session uses: apart from the settings that it was left with, what it reports
 * are its server's defaults, which may be new. */
void pool_learn_defaults(struct pool *pool, struct link *link);
static inline void pool_heed_defaults(struct pool *pool, struct link *link) {
    if (link->reported != link->heeded)
        pool_learn_defaults(pool, link);
}
void pool_forget_welcomes(struct pool *pool);

/* -- pool_limits.c ----------------------------------------------------------------------------- */

size_t pool_link_count(const struct pool *pool);
/* Takes the configured limits. */
void pool_set_limits(struct pool *pool, const struct pool_settings *limits);
/* Whether one more may be opened for the waiters; closes an idle one of another pool of the same
 * server where that makes room. */
bool pool_may_open(struct pool *pool);
/* Whether a connection that comes back may stay. */
bool pool_has_room(const struct pool *pool);
/* Whether it was made before ALTER ROLE or the like changed what connections begin with. */
bool pool_link_is_outdated(const struct pool *pool, const struct link *link);
/* Whether a connection that comes back is outdated or too old. Of many that became old together,
 * one after another is. */
bool pool_retires(struct pool *pool, const struct link *link);
/* At a server's limit: another of its pools whose waiters have waited much longer than ours, or
 * that has any waiters where we have none. A connection that comes back makes room for it. NULL:
 * there is none. */
struct pool *pool_neighbour_in_need(struct pool *pool);
struct pool_budget *pool_budget_get(struct pools *pools, const struct settings *settings,
                                    int physical);
/* Regular work: timeouts, ages, and connections that are kept open ahead of need. */
void pool_tick(struct pool *pool);

/* -- pool_deadlock.c --------------------------------------------------------------------------- */

/* Where who waits here waits in vain, the last one who holds something gives up. */
void pool_end_deadlock(struct pool *pool);

/* -- pool_kept.c ------------------------------------------------------------------------------- */

/* Recalls what is kept for too long, in so many milliseconds or earlier. */
void pools_recall_kept(struct pools *pools, uint64_t milliseconds);

/* -- pool.c ------------------------------------------------------------------------------------ */

/* Hands idle connections to waiters and opens more for the rest. */
void pool_serve_waiters(struct pool *pool);
static inline void pool_serve(struct pool *pool) {
    if (pool->first != NULL)
        pool_serve_waiters(pool);
}
void pool_grant(struct pool_waiter *waiter, struct link *link);
void pool_recall_logins(struct pool *pool);
/* A connection has begun to ask the catalogs. Waiters count on having it back soon, but not for
 * long. */
void pools_await_asker(struct pools *pools);
/* Tells all waiters what went wrong. */
void pool_fail(struct pool *pool, const struct link_failure *failure);

#endif
