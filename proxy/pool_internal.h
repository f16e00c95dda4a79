/* The inside of a worker's pools, shared by the file that hands connections out (pool.c), the ones
 * that look after those that nobody uses (pool_links.c), keep the limits (pool_limits.c), find who
 * waits in vain (pool_deadlock.c) and know what clients are told (pool_welcome.c). Nobody else
 * includes it. */
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

/* What a session with these settings is told when it begins. */
struct welcome {
    struct setting_set *settings; /* both are references */
    struct parameters *reported;
};

enum { WELCOMES_MAX = 64 };

/* What all pools of one database have in common, whoever's they are. */
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
    bool reached;      /* by pool_deadlock.c… */
    struct pool *next_reached;
    struct pool_waiter *first, *last;
    size_t idle_count, used_count, opening_count, resetting_count, waiting_count;
    struct parameters *baseline; /* what its servers' defaults were when seen last; a reference */
    bool doubts_strings;
    struct welcome welcomes[WELCOMES_MAX];
    size_t welcome_count, welcome_next; /* where the next one goes when there are many */
    uint64_t failed_at;                 /* when the last attempt to connect failed; 0: it did not */
    uint64_t retired_at;                /* when one was closed last because it was old */
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
    uv_timer_t patience; /* with a connection that asks the catalogs */
    bool stopping;
};

/* -- pool_links.c ------------------------------------------------------------------------------ */

/* Starts to connect one more; it serves who waits then. */
void pool_open_link(struct pool *pool);
/* Takes a link that nobody uses any more: idle, or first reset. */
void pool_keep_link(struct pool *pool, struct link *link, bool reset);
/* Out of the list of idle ones. */
void pool_unlist_idle(struct pool *pool, struct link *link);
/* Into that of used ones, and out of it. */
void pool_list_used(struct pool *pool, struct link *link);
void pool_unlist_used(struct pool *pool, struct link *link);
/* Closes one that is the pool's own (idle, opening or resetting) or was just given back. */
void pool_close_link(struct pool *pool, struct link *link);

/* -- pool_welcome.c ---------------------------------------------------------------------------- */

/* A server reports these at the start, or reports something new: what was told so far may be wrong.
 */
void pool_heed_baseline(struct pool *pool, struct parameters *reported);
/* Of a link that nobody uses: what it reports beyond the settings that it was left with are its
 * server's defaults, which may be new. */
void pool_learn_defaults(struct pool *pool, struct link *link);
static inline void pool_heed_defaults(struct pool *pool, struct link *link) {
    if (link->reported != link->heeded)
        pool_learn_defaults(pool, link);
}
void pool_forget_welcomes(struct pool *pool);

/* -- pool_limits.c ----------------------------------------------------------------------------- */

size_t pool_link_count(const struct pool *pool);
/* As configured by now. */
void pool_set_limits(struct pool *pool, const struct pool_settings *limits);
/* Whether one more may be opened for who waits; makes room where another pool of the server has
 * idle ones. */
bool pool_may_open(struct pool *pool);
/* Whether one that comes back may stay. */
bool pool_has_room(const struct pool *pool);
/* Whether it was made before ALTER ROLE or the like changed what connections begin with. */
bool pool_link_is_outdated(const struct pool *pool, const struct link *link);
/* Whether one that comes back is that, or too old; of many that became old together one after
 * another is. */
bool pool_retires(struct pool *pool, const struct link *link);
/* Another pool of the same server, whose limit is reached, that has waited for long, or for
 * anything at all where nobody waits here: one that comes back makes room for it. NULL: none. */
struct pool *pool_neighbour_in_need(struct pool *pool);
struct pool_budget *pool_budget_get(struct pools *pools, const struct settings *settings,
                                    int physical);
/* What time brings: timeouts, ages, what is kept warm. */
void pool_tick(struct pool *pool);

/* -- pool.c ------------------------------------------------------------------------------------ */

/* Hands idle connections to who waits and opens more for the rest. */
void pool_serve_waiters(struct pool *pool);
static inline void pool_serve(struct pool *pool) {
    if (pool->first != NULL)
        pool_serve_waiters(pool);
}
void pool_grant(struct pool_waiter *waiter, struct link *link);
void pool_recall_logins(struct pool *pool);
/* One has begun to ask the catalogs: it is counted on to be back soon, but not for long. */
void pools_await_asker(struct pools *pools);
/* Gives what went wrong to all who wait. */
void pool_fail(struct pool *pool, const struct link_failure *failure);

#endif
