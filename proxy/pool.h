/* Connections to databases that sessions take turns with. A worker has its own pools, one for each
 * database and user, so that nothing is locked; of a pool's size each worker has its share.
 *
 *     opening → idle ⇄ used by a session;  used → resetting → idle;  any → closed
 *
 * Who finds none waits in order of arrival. What was waited for is handed over by the event loop,
 * never from within a call of the session that gave it back. Names and meanings of the limits are
 * PgBouncer's. Source: PostgreSQL manual, "Message Flow"; PgBouncer manual, "Pool settings". */
#ifndef PGINTERLOCK_POOL_H
#define PGINTERLOCK_POOL_H

#include "config/settings.h"
#include "proxy/link.h"
#include "proxy/log.h"

struct pools;
struct pool;

/* Of a worker, one of so many; its loop is there already. False: the loop gives no timer. */
bool pools_new(struct pools **out, struct worker *worker, unsigned workers, struct error *error)
    __attribute__((warn_unused_result));
/* Whether the clients of any entrypoint share connections. */
bool pools_are_used(const struct settings *settings);
/* New limits, and what is kept warm. Connections of databases that have changed end when they are
 * given back. */
void pools_configure(struct pools *pools, const struct settings *settings);
/* Before the loop ends: closes all that is idle. No session has a pool any more when it is freed.
 */
void pools_stop(struct pools *pools);
void pools_free(struct pools *pools);

/* The pool of a physical database for connections as `user` with `password` (or NULL). Both count
 * only where the database's connection string names no user. A reference for the caller. */
struct pool *pool_get(struct pools *pools, const struct settings *settings, int physical,
                      const char *user, const char *password);
void pool_unref(struct pool *pool);

/* One session's place in the queue; embedded, zeroed. */
struct pool_waiter {
    struct pool *pool; /* NULL: it doesn't wait */
    struct pool_waiter *previous, *next;
    bool granted;      /* not yet handed over: */
    struct link *link; /* …this */
    bool logs_in;      /* wants only what its client is to be told: see pool_keep_welcome() */
    bool recalled;     /* `done` with NULL, for that is known now */
    uint64_t since;    /* uv_now() */
    unsigned timeout;  /* seconds; 0: none */
    /* `link` is READY, FAILED (its `failure` says why), or NULL: it was recalled, or the wait took
     * too long. The link is the session's from then on; it ends with pool_give(). */
    void (*done)(struct pool_waiter *waiter, struct link *link);
};

/* Whether it waits in vain: all that could be given back is held by others who wait, in the end,
 * for what its own session holds. */
bool pool_is_deadlocked(const struct pool_waiter *waiter);

/* Whether it gets one only when somebody else gives one back, or when one has asked the catalogs
 * for long: none is free or being made for it. */
bool pool_is_exhausted(const struct pool_waiter *waiter);

/* A connection at once; or NULL, and the waiter is in the queue. */
struct link *pool_take(struct pool *pool, struct pool_waiter *waiter, unsigned timeout)
    __attribute__((warn_unused_result));
void pool_withdraw(struct pool_waiter *waiter); /* nothing where it doesn't wait */

enum pool_giving {
    POOL_KEEP,  /* outside a transaction, answered in full, nothing of the session is left on it but
                   settings (link->set) and shared statements */
    POOL_RESET, /* as KEEP, but what the session left is to be discarded first */
    POOL_CLOSE,
};
/* Ends the session's turn with a link that came from a pool. */
void pool_give(struct link *link, enum pool_giving how);

/* What clients with these settings were told when they were let in (borrowed), or NULL. Forgotten
 * when a server says otherwise. */
struct parameters *pool_find_welcome(struct pool *pool, const struct setting_set *settings);
/* Recalls those in the queue who log in: they may do without a connection now. */
void pool_keep_welcome(struct pool *pool, struct setting_set *settings,
                       struct parameters *reported);

/* Whether its server's defaults are the ones that were seen last in its pool: of several
 * connections each gets to know of a reload when it is next used. */
bool pool_has_newest_defaults(const struct link *link);

/* Whether its servers' default of standard_conforming_strings may be another by now than its
 * connections began with, so that no session may rely on it. */
void pool_doubt_strings(struct pool *pool);
bool pool_doubts_strings(const struct pool *pool);

/* Whether somebody else wants one; one of whatever pool. */
bool pool_has_waiter(const struct pool *pool);
bool pools_have_waiter(const struct pools *pools);

/* How many statements one of its connections may keep. */
size_t pool_statement_limit(const struct pool *pool);

/* -- pool_figures.c: for the console ----------------------------------------------------------- */

struct pool_figures {
    const char *database, *user; /* borrowed; user NULL where the connection string has it */
    const char *conninfo;
    size_t clients; /* sessions that have used it; of them… */
    size_t waiting; /* …these wait */
    size_t idle, used, opening, resetting;
    uint64_t longest_wait; /* milliseconds of who waits now */
};
/* Calls `visit` for each pool. */
void pools_visit(struct pools *pools, void (*visit)(void *context, const struct pool_figures *),
                 void *context);
/* …for each connection that no session has. */
void pools_visit_links(struct pools *pools, void (*visit)(void *context, const struct link *link),
                       void *context);
/* As whom a pool's connections are made: the string, and the user or NULL. Borrowed. */
const char *pool_conninfo(const struct pool *pool);
const char *pool_user(const struct pool *pool);

#endif
