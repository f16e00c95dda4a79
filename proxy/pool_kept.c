/* Connections that sessions keep without using them, for what their client may ask next, and how
 * they come back. */
#include "proxy/pool_internal.h"

enum {
    KEPT_MILLISECONDS = 20, /* while others wait */
    KEPT_AT_MOST = 1000     /* so that limits, a reload and its server's end find it in time */
};

/* How many milliseconds more it may be kept. */
static uint64_t time_left(const struct link *link) {
    const struct pools *pools = link->pool->pools;
    uint64_t kept = uv_now(pools->loop) - link->kept_since;
    uint64_t most = pools->waiting_count > 0 ? KEPT_MILLISECONDS : KEPT_AT_MOST;
    return kept < most ? most - kept : 0;
}

/* How long until the next one is to be recalled; 0: none is kept. */
static uint64_t recall_from(struct pool *pool) {
    uint64_t soonest = 0;
    for (struct link *link = pool->used, *next; link != NULL; link = next) {
        next = link->pool_next;
        if (link->kept_since == 0)
            continue;
        uint64_t left = time_left(link);
        if (left == 0) {
            link->on_wanted(link); /* the list may be without it now… */
            left = KEPT_AT_MOST;   /* …or it is in use, and asked about once more */
        }
        if (soonest == 0 || left < soonest)
            soonest = left;
    }
    return soonest;
}

static void on_keeping(uv_timer_t *timer) {
    struct pools *pools = timer->data;
    for (struct pool *pool = pools->list; pool != NULL; pool = pool->next) {
        uint64_t soonest = recall_from(pool);
        if (soonest > 0)
            pools_recall_kept(pools, soonest);
    }
}

void pools_recall_kept(struct pools *pools, uint64_t milliseconds) {
    uv_timer_t *timer = &pools->keeping;
    if (!uv_is_active((uv_handle_t *)timer) || uv_timer_get_due_in(timer) > milliseconds)
        uv_timer_start(timer, on_keeping, milliseconds, 0);
}

bool pool_may_keep(struct link *link, void (*on_wanted)(struct link *)) {
    struct pools *pools = link->pool->pools;
    if (link->kept_since == 0) {
        link->kept_since = uv_now(pools->loop);
        link->on_wanted = on_wanted;
        pools_recall_kept(pools, time_left(link));
    }
    return time_left(link) > 0;
}
