/* Whether sessions that wait for connections hold, all of them, what the others wait for. */
#include "proxy/pool_internal.h"

/* Pools that are looked at, in the order in which they were reached. */
struct search {
    struct pool *first, **tail;
};

static void reach(struct search *search, struct pool *pool) {
    if (pool->reached)
        return;
    pool->reached = true;
    pool->next_reached = NULL;
    *search->tail = pool;
    search->tail = &pool->next_reached;
}

/* One that trails is given back when its answer is there, or its session looks for a deadlock. */
static bool goes_on(const struct link *link) {
    return link->holder->pool == NULL || link->holder->granted || link_trails(link);
}

/* Every connection is held by who waits for others; the pools of those are reached, too. */
static bool all_held(struct search *search, const struct pool *pool) {
    if (pool->idle_count + pool->opening_count + pool->resetting_count > 0)
        return false;
    for (const struct link *link = pool->used; link != NULL; link = link->pool_next) {
        if (goes_on(link))
            return false;
        reach(search, link->holder->pool);
    }
    return true;
}

static bool nothing_comes(struct search *search, const struct pool *pool) {
    if (!all_held(search, pool))
        return false;
    if (pool_link_count(pool) >= pool->most)
        return true;
    const struct pool_budget *budget = pool->budget;
    if (budget->limit == 0 || budget->open < budget->limit)
        return false;
    for (const struct pool *other = pool->pools->list; other != NULL; other = other->next)
        if (other != pool && other->budget == budget && !all_held(search, other))
            return false;
    return true;
}

static bool is_deadlocked(struct pool *start) {
    struct search search = {NULL, &search.first};
    reach(&search, start);
    bool found = true;
    for (struct pool *pool = search.first; pool != NULL && found; pool = pool->next_reached)
        found = nothing_comes(&search, pool);
    for (struct pool *pool = search.first; pool != NULL; pool = pool->next_reached)
        pool->reached = false;
    return found;
}

bool pool_is_deadlocked(const struct pool_waiter *waiter) {
    return is_deadlocked(waiter->pool);
}

static bool holds_any(const struct pool_waiter *waiter) {
    for (const struct pool *pool = waiter->pool->pools->list; pool != NULL; pool = pool->next)
        for (const struct link *link = pool->used; link != NULL; link = link->pool_next)
            if (link->holder == waiter)
                return true;
    return false;
}

/* Along the cycle of pools each has somebody waiting who holds one of another's connections. */
void pool_end_deadlock(struct pool *pool) {
    if (pool->first == NULL || !is_deadlocked(pool))
        return;
    struct pool_waiter *waiter = pool->last;
    while (waiter != NULL && !holds_any(waiter))
        waiter = waiter->previous;
    if (waiter == NULL)
        return;
    waiter->deadlocked = true;
    pool_grant(waiter, NULL);
}
