/* How many connections a pool may have, and for how long. */
#include "proxy/pool_internal.h"

#include "config/alloc.h"
#include "config/conninfo.h"

#include <stdlib.h>
#include <string.h>

enum { RETRY_MILLISECONDS = 1000 }; /* after an attempt that failed, one at a time in so long */

size_t pool_link_count(const struct pool *pool) {
    return pool->idle_count + pool->used_count + pool->opening_count + pool->resetting_count;
}

/* This worker's part of what is configured for all of them; 0 only where all of it is. */
static size_t share(const struct pools *pools, size_t configured) {
    size_t share =
        configured / pools->workers + (pools->worker->index < configured % pools->workers ? 1 : 0);
    return share > 0 || configured == 0 ? share : 1;
}

void pool_set_limits(struct pool *pool, const struct pool_settings *limits) {
    pool->limits = *limits;
    pool->size = share(pool->pools, limits->size);
    pool->most = pool->size + share(pool->pools, limits->reserve_size);
}

/* -- how many ---------------------------------------------------------------------------------- */

static bool reserve_is_due(const struct pool *pool) {
    uint64_t now = uv_now(pool->pools->loop);
    return pool->limits.reserve_size > 0 && pool->first != NULL &&
           now - pool->first->since >= (uint64_t)pool->limits.reserve_timeout * 1000;
}

static size_t size_now(const struct pool *pool) {
    return reserve_is_due(pool) ? pool->most : pool->size;
}

/* The oldest idle connection of another user to the same server ends for this pool's sake. */
static bool make_room(struct pool *pool) {
    struct pool *from = NULL;
    struct link *oldest = NULL;
    for (struct pool *other = pool->pools->list; other != NULL; other = other->next)
        if (other != pool && other->budget == pool->budget)
            for (struct link *link = other->idle; link != NULL; link = link->pool_next)
                if (oldest == NULL || link->idle_since < oldest->idle_since) {
                    oldest = link;
                    from = other;
                }
    if (oldest == NULL)
        return false;
    pool_unlist_idle(from, oldest);
    pool_close_link(from, oldest);
    return true;
}

bool pool_may_open(struct pool *pool) {
    if (pool->pools->stopping)
        return false;
    uint64_t now = uv_now(pool->pools->loop);
    bool failing = pool->failed_at > 0 && now - pool->failed_at < RETRY_MILLISECONDS;
    if (failing && pool->opening_count > 0)
        return false;
    if (pool_link_count(pool) >= size_now(pool))
        return false;
    const struct pool_budget *budget = pool->budget;
    while (budget->limit > 0 && budget->open >= budget->limit) /* a reload may have lowered it */
        if (!make_room(pool))
            return false;
    return true;
}

bool pool_has_room(const struct pool *pool) {
    const struct pool_budget *budget = pool->budget;
    return pool_link_count(pool) < pool->most &&
           (budget->limit == 0 || budget->open <= budget->limit);
}

/* At a limit that pools share, each handing over from one to another costs a new connection: who
 * waits here goes first until the other has waited for so much longer. */
enum { PATIENCE_MILLISECONDS = 500 };

struct pool *pool_neighbour_in_need(struct pool *pool) {
    const struct pool_budget *budget = pool->budget;
    if (budget->limit == 0 || budget->open < budget->limit)
        return NULL;
    struct pool *found = NULL;
    for (struct pool *other = pool->pools->list; other != NULL; other = other->next)
        if (other != pool && other->budget == budget && other->first != NULL &&
            other->opening_count + other->resetting_count == 0 &&
            pool_link_count(other) < size_now(other) &&
            (found == NULL || other->first->since < found->first->since))
            found = other;
    bool here = found != NULL && pool->first != NULL &&
                pool->first->since < found->first->since + PATIENCE_MILLISECONDS;
    return here ? NULL : found;
}

struct pool_budget *pool_budget_get(struct pools *pools, const struct settings *settings,
                                    int physical) {
    char *server = conninfo_server(settings->databases[physical].conninfo);
    struct pool_budget *budget = pools->budgets;
    while (budget != NULL && strcmp(budget->server, server) != 0)
        budget = budget->next;
    if (budget == NULL) {
        budget = alloc_new(sizeof *budget);
        budget->server = alloc_text(server);
        budget->next = pools->budgets;
        pools->budgets = budget;
    }
    /* Of several databases on one server the smallest limit counts. */
    size_t limit = 0;
    for (size_t i = 0; i < settings->database_count; i++) {
        const struct database *database = &settings->databases[i];
        size_t own = share(pools, database->pool.max_db_connections);
        char *other = conninfo_server(database->conninfo);
        if (database->physical == (int)i && own > 0 && strcmp(other, server) == 0 &&
            (limit == 0 || own < limit))
            limit = own;
        free(other);
    }
    budget->limit = limit;
    free(server);
    return budget;
}

/* -- how long ---------------------------------------------------------------------------------- */

static void time_out_waiters(struct pool *pool, uint64_t now) {
    for (struct pool_waiter *waiter = pool->first, *next; waiter != NULL; waiter = next) {
        next = waiter->next;
        if (waiter->timeout > 0 && now - waiter->since >= (uint64_t)waiter->timeout * 1000)
            pool_grant(waiter, NULL);
    }
}

static bool is_over(uint64_t since, unsigned seconds, uint64_t now) {
    return seconds > 0 && now - since >= (uint64_t)seconds * 1000;
}

bool pool_link_is_outdated(const struct pool *pool, const struct link *link) {
    const struct workers *workers = pool->pools->worker->workers;
    return link->defaults != atomic_load_explicit(&workers->defaults, memory_order_relaxed);
}

bool pool_retires(struct pool *pool, const struct link *link) {
    if (pool_link_is_outdated(pool, link))
        return true;
    uint64_t now = uv_now(pool->pools->loop);
    unsigned lifetime = pool->limits.server_lifetime;
    if (!is_over(link->opened_at, lifetime, now))
        return false;
    uint64_t gap = (uint64_t)lifetime * 1000 / pool->size;
    if (pool->retired_at > 0 && now - pool->retired_at < gap)
        return false;
    pool->retired_at = now;
    return true;
}

/* After a reload that lowered a limit. */
static bool has_too_many(const struct pool *pool) {
    const struct pool_budget *budget = pool->budget;
    return pool_link_count(pool) > pool->most ||
           (budget->limit > 0 && budget->open > budget->limit);
}

static void close_old_links(struct pool *pool, uint64_t now) {
    size_t least = share(pool->pools, pool->limits.min_size);
    for (struct link *link = pool->idle, *next; link != NULL; link = next) {
        next = link->pool_next;
        bool old = is_over(link->opened_at, pool->limits.server_lifetime, now);
        bool unused = is_over(link->idle_since, pool->limits.server_idle_timeout, now) &&
                      pool_link_count(pool) > least;
        if (!old && !unused && !pool->stale && !has_too_many(pool) &&
            !pool_link_is_outdated(pool, link))
            continue;
        pool_unlist_idle(pool, link);
        pool_close_link(pool, link);
    }
}

/* Not at another pool's expense, which would take them back to keep its own. */
static void keep_warm(struct pool *pool, uint64_t now) {
    size_t least = share(pool->pools, pool->limits.min_size);
    bool failing = pool->failed_at > 0 && now - pool->failed_at < RETRY_MILLISECONDS;
    const struct pool_budget *budget = pool->budget;
    while (!failing && !pool->stale && pool_link_count(pool) < least &&
           (budget->limit == 0 || budget->open < budget->limit) && pool_may_open(pool))
        pool_open_link(pool);
}

void pool_tick(struct pool *pool) {
    uint64_t now = uv_now(pool->pools->loop);
    time_out_waiters(pool, now);
    close_old_links(pool, now);
    pool_serve(pool); /* the reserve may be due */
    pool_end_deadlock(pool);
    keep_warm(pool, now);
}
