/* Connections to databases that sessions take turns with. Each worker has its own pools, one for
 * each database and user, and its share of a pool's configured size, so nothing is locked.
 *
 *     opening → idle ⇄ used by a session;  used → resetting → idle;  any → closed
 *
 * Sessions that find no connection wait in order of arrival. A connection is handed to a waiter by
 * the event loop, never from within the call of the session that gives it back. Names and meanings
 * of the limits are PgBouncer's. Source: PostgreSQL manual, "Message Flow"; PgBouncer manual, "Pool
 * settings". */
#ifndef PGINTERLOCK_POOL_H
#define PGINTERLOCK_POOL_H

#include "config/settings.h"
#include "proxy/link.h"
#include "proxy/log.h"

struct pools;
struct pool;

/* The pools of one worker, of `workers` in all; its loop exists already. False: the loop gives no
 * timer. */
bool pools_new(struct pools **out, struct worker *worker, unsigned workers, struct error *error)
    __attribute__((warn_unused_result));
/* Whether the clients of any entrypoint share connections. */
bool pools_are_used(const struct settings *settings);
/* Takes new limits (`min_size` included). Connections to databases whose configuration has changed
 * are closed when they are given back. */
void pools_configure(struct pools *pools, const struct settings *settings);
/* Before the loop ends: closes all idle connections. When the pools are freed, no session may refer
 * to one. */
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
    struct link *link; /* NULL unless granted */
    bool granted;      /* `link` is the session's, but hasn't been handed over */
    bool logs_in;      /* wants only what its client is to be told, see pool_keep_welcome() */
    bool recalled;     /* that has become known: `done` is called with NULL */
    bool deadlocked;   /* it waits in vain: so, too; `done` clears it */
    unsigned timeout;  /* seconds; 0: none */
    uint64_t since;    /* uv_now() */
    /* Ends the wait. `link` is READY, or FAILED (its `failure` says why), or NULL if the waiter was
     * recalled, is deadlocked, or waited too long. The link is the session's until pool_give(). */
    void (*done)(struct pool_waiter *waiter, struct link *link);
};

/* Whether it waits in vain: every connection that could be given back is held by a session that
 * itself waits, in the end, for a connection that the waiter's own session holds. Where a limit
 * that was lowered brings this about, rather than one more who waits, the pool finds it out later.
 */
bool pool_is_deadlocked(const struct pool_waiter *waiter);

/* Whether no connection is free or being made for the waiter: it gets one only when another session
 * gives one back, or when the one that asks the catalogs has taken too long. */
bool pool_is_exhausted(const struct pool_waiter *waiter);

/* A connection at once; or NULL, and the waiter is in the queue. */
struct link *pool_take(struct pool *pool, struct pool_waiter *waiter, unsigned timeout)
    __attribute__((warn_unused_result));
void pool_withdraw(struct pool_waiter *waiter); /* nothing where it doesn't wait */

/* The idle connection with this claim (link->sequences), or NULL. The waiter is not in the queue.
 */
struct link *pool_take_drawn(struct pool *pool, struct pool_waiter *waiter, uint64_t sequences)
    __attribute__((warn_unused_result));

enum pool_giving {
    POOL_KEEP,  /* as it is: outside a transaction, everything answered, and nothing of the session
                   left on it except settings (link->set) and shared statements */
    POOL_RESET, /* after DISCARD ALL */
    POOL_CLOSE, /* not at all */
};
/* Ends the session's turn with a link that came from a pool. */
void pool_give(struct link *link, enum pool_giving how);

/* Whether the session may keep a link that it doesn't use: for 20 ms from the first time that this
 * is asked, or a second while nobody waits. When that is over on_wanted() is called, which may give
 * the link back. */
bool pool_may_keep(struct link *link, void (*on_wanted)(struct link *));

/* What clients with these settings were told at login (borrowed), or NULL. It is forgotten when a
 * server reports something else. */
struct parameters *pool_find_welcome(struct pool *pool, const struct setting_set *settings);
/* Stores that, and recalls waiters that only log in: they can do without a connection. */
void pool_keep_welcome(struct pool *pool, struct setting_set *settings,
                       struct parameters *reported);

/* Whether its server's defaults are the ones that were last seen in its pool. Each connection
 * learns of a reload only when it is next used. */
bool pool_has_newest_defaults(const struct link *link);

/* Says that the servers' default of standard_conforming_strings may have changed since connections
 * began, so that no session may rely on it; and whether that was said. */
void pool_doubt_strings(struct pool *pool);
bool pool_doubts_strings(const struct pool *pool);

/* Whether any session waits for a connection of this pool; of any pool. */
bool pool_has_waiter(const struct pool *pool);
bool pools_have_waiter(const struct pools *pools);

/* How many prepared statements each of its connections may keep. */
size_t pool_statement_limit(const struct pool *pool);

/* -- pool_figures.c: for the console ----------------------------------------------------------- */

struct pool_figures {
    const char *database, *user; /* borrowed; user NULL where the connection string has it */
    const char *conninfo;
    size_t clients; /* sessions that have used the pool, waiting ones included */
    size_t waiting;
    size_t idle, used, opening, resetting;
    uint64_t longest_wait; /* milliseconds, of the sessions that wait at present */
};
/* Calls `visit` for each pool. */
void pools_visit(struct pools *pools, void (*visit)(void *context, const struct pool_figures *),
                 void *context);
/* Calls `visit` for each connection that no session has. */
void pools_visit_links(struct pools *pools, void (*visit)(void *context, const struct link *link),
                       void *context);
/* How a pool's connections are made: the connection string, and the user where that has none, else
 * NULL. Borrowed. */
const char *pool_conninfo(const struct pool *pool);
const char *pool_user(const struct pool *pool);

#endif
