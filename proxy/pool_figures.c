/* What the console tells of a worker's pools. */
#include "proxy/pool_internal.h"

static size_t count_granted(const struct pools *pools, const struct pool *pool) {
    size_t count = 0;
    for (const struct pool_waiter *waiter = pools->granted; waiter != NULL; waiter = waiter->next)
        count += waiter->pool == pool;
    return count;
}

void pools_visit(struct pools *pools, void (*visit)(void *context, const struct pool_figures *),
                 void *context) {
    for (const struct pool *pool = pools->list; pool != NULL; pool = pool->next) {
        /* Each waiter has a reference beside its session's. */
        size_t waiters = pool->waiting_count + count_granted(pools, pool);
        struct pool_figures figures = {
            .database = pool->name,
            .user = pool->user,
            .conninfo = pool->conninfo,
            .clients = pool->references - waiters,
            .waiting = pool->waiting_count,
            .idle = pool->idle_count,
            .used = pool->used_count,
            .opening = pool->opening_count,
            .resetting = pool->resetting_count,
            .longest_wait = pool->first != NULL ? uv_now(pools->loop) - pool->first->since : 0,
        };
        visit(context, &figures);
    }
}

void pools_visit_links(struct pools *pools, void (*visit)(void *context, const struct link *link),
                       void *context) {
    for (const struct pool *pool = pools->list; pool != NULL; pool = pool->next) {
        for (const struct link *link = pool->idle; link != NULL; link = link->pool_next)
            visit(context, link);
        for (const struct link *link = pool->busy; link != NULL; link = link->pool_next)
            visit(context, link);
    }
}

const char *pool_conninfo(const struct pool *pool) {
    return pool->conninfo;
}

const char *pool_user(const struct pool *pool) {
    return pool->user;
}
