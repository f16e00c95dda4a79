/* Who gets which connection. */
#include "proxy/pool_internal.h"

#include "config/alloc.h"
#include "config/conninfo.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

enum {
    TICK_MILLISECONDS = 250,
    ASKER_MILLISECONDS = 20, /* one that asks is counted on to be back within this time */
};

/* -- handing over ------------------------------------------------------------------------------ */

/* Sessions go on from the loop, right after the events that freed their connections: within the
 * call of the one that gave it back, they could go on within each other without end. */
static void hand_over(struct pools *pools) {
    while (pools->granted != NULL) {
        struct pool_waiter *waiter = pools->granted;
        pools->granted = waiter->next;
        if (pools->granted == NULL)
            pools->granted_tail = &pools->granted;
        struct link *link = waiter->link;
        struct pool *pool = waiter->pool;
        pool->figures->waits++;
        pool->figures->waited += uv_now(pools->loop) - waiter->since;
        waiter->pool = NULL;
        waiter->next = NULL;
        waiter->granted = false;
        waiter->link = NULL;
        waiter->done(waiter, link);
        pool_unref(pool);
    }
}

static void on_prepare(uv_prepare_t *handle) {
    hand_over(handle->data);
}

static void on_check(uv_check_t *handle) {
    hand_over(handle->data);
}

/* -- the queue --------------------------------------------------------------------------------- */

static void queue_append(struct pool *pool, struct pool_waiter *waiter) {
    waiter->previous = pool->last;
    waiter->next = NULL;
    *(pool->last != NULL ? &pool->last->next : &pool->first) = waiter;
    pool->last = waiter;
    pool->waiting_count++;
    pool->pools->waiting_count++;
}

static void queue_remove(struct pool *pool, struct pool_waiter *waiter) {
    *(waiter->previous != NULL ? &waiter->previous->next : &pool->first) = waiter->next;
    *(waiter->next != NULL ? &waiter->next->previous : &pool->last) = waiter->previous;
    waiter->previous = waiter->next = NULL;
    pool->waiting_count--;
    pool->pools->waiting_count--;
}

void pool_grant(struct pool_waiter *waiter, struct link *link) {
    struct pools *pools = waiter->pool->pools;
    queue_remove(waiter->pool, waiter);
    waiter->link = link;
    waiter->granted = true;
    if (link != NULL)
        link->holder = waiter;
    *pools->granted_tail = waiter;
    pools->granted_tail = &waiter->next;
}

void pool_recall_logins(struct pool *pool) {
    for (struct pool_waiter *waiter = pool->first, *next; waiter != NULL; waiter = next) {
        next = waiter->next;
        if (!waiter->logs_in)
            continue;
        waiter->recalled = true;
        pool_grant(waiter, NULL);
    }
}

/* Connections that somebody will get soon; not one whose question to the catalogs takes long. */
static size_t coming_count(const struct pool *pool) {
    const struct table_code *code = &pool->database->table_code;
    bool lasts = code->asker != NULL && code->asker->pool == pool &&
                 uv_now(pool->pools->loop) - code->asked_at >= ASKER_MILLISECONDS;
    return pool->opening_count + pool->resetting_count - (lasts ? 1 : 0);
}

bool pool_is_exhausted(const struct pool_waiter *waiter) {
    const struct pool *pool = waiter->pool;
    return pool != NULL && !waiter->granted && pool->waiting_count > coming_count(pool);
}

static void ungrant(struct pool_waiter *waiter) {
    struct pools *pools = waiter->pool->pools;
    struct pool_waiter **at = &pools->granted;
    while (*at != waiter)
        at = &(*at)->next;
    *at = waiter->next;
    if (pools->granted_tail == &waiter->next)
        pools->granted_tail = at;
}

void pool_withdraw(struct pool_waiter *waiter) {
    struct pool *pool = waiter->pool;
    if (pool == NULL)
        return;
    struct link *link = waiter->link;
    if (waiter->granted)
        ungrant(waiter);
    else
        queue_remove(pool, waiter);
    waiter->pool = NULL;
    waiter->next = NULL;
    waiter->granted = waiter->recalled = waiter->deadlocked = false;
    waiter->link = NULL;
    if (link != NULL)
        pool_give(link, link->state == LINK_READY ? POOL_KEEP : POOL_CLOSE);
    pool_unref(pool);
}

/* Between two sessions: what the server says now waits for the next one. */
static void on_event_of_nobody(struct link *link) {
    (void)link;
}

/* A link that a session will own, with the state in which it comes. */
static void lend(struct pool *pool, struct link *link) {
    assert(link->pool == pool);
    pool_list_used(pool, link);
    pool->figures->assignments++;
    link->on_event = on_event_of_nobody; /* its session sets its own */
    link->owner = NULL;
}

static struct link *take_idle(struct pool *pool) {
    struct link *link;
    while ((link = pool->idle) != NULL) {
        pool_unlist_idle(pool, link);
        if (!pool_link_is_outdated(pool, link)) {
            lend(pool, link);
            break;
        }
        pool_close_link(pool, link);
    }
    return link;
}

struct link *pool_take(struct pool *pool, struct pool_waiter *waiter, unsigned timeout) {
    assert(waiter->pool == NULL);
    struct link *link = pool->first == NULL ? take_idle(pool) : NULL;
    if (link != NULL) {
        link->holder = waiter;
        return link;
    }
    waiter->pool = pool;
    pool->references++;
    waiter->since = uv_now(pool->pools->loop);
    waiter->timeout = timeout;
    queue_append(pool, waiter);
    pool_serve(pool);
    if (pool->pools->worker->asks_sequences)
        pools_recall_kept(pool->pools, 0);
    return NULL;
}

struct link *pool_take_drawn(struct pool *pool, struct pool_waiter *waiter, uint64_t sequences) {
    assert(waiter->pool == NULL);
    struct link *link = pool->idle;
    while (link != NULL && (link->sequences != sequences || pool_link_is_outdated(pool, link)))
        link = link->pool_next;
    if (link != NULL) {
        pool_unlist_idle(pool, link);
        lend(pool, link);
        link->holder = waiter;
    }
    return link;
}

void pool_serve_waiters(struct pool *pool) {
    while (pool->first != NULL) {
        struct link *link = take_idle(pool);
        if (link == NULL)
            break;
        pool_grant(pool->first, link);
    }
    while (pool->waiting_count > coming_count(pool) && pool_may_open(pool))
        pool_open_link(pool);
}

static void on_patience(uv_timer_t *timer) {
    struct pools *pools = timer->data;
    uint64_t now = uv_now(pools->loop);
    for (struct pool_database *database = pools->databases; database != NULL;
         database = database->next) {
        const struct table_code *code = &database->table_code;
        if (code->asker == NULL)
            continue;
        if (now - code->asked_at >= ASKER_MILLISECONDS)
            pool_serve(code->asker->pool);
        else
            pools_await_asker(pools);
    }
}

void pools_await_asker(struct pools *pools) {
    if (!uv_is_active((uv_handle_t *)&pools->patience))
        uv_timer_start(&pools->patience, on_patience, ASKER_MILLISECONDS, 0);
}

void pool_fail(struct pool *pool, const struct link_failure *failure) {
    while (pool->first != NULL) {
        struct link *link = link_failed(pool->pools->worker, pool->physical, pool->name, failure);
        link->pool = pool;
        pool_list_used(pool, link);
        pool_grant(pool->first, link);
    }
}

void pool_give(struct link *link, enum pool_giving how) {
    struct pool *pool = link->pool;
    pool_unlist_used(pool, link);
    struct pool *neighbour = pool_neighbour_in_need(pool);
    bool wanted = !pool->stale || pool->first != NULL; /* by who goes on as before a reload */
    bool fit = link->state == LINK_READY && link->stream.state == STREAM_OPEN && wanted &&
               !link_cancel_in_doubt(link) && !pool->pools->stopping && pool_has_room(pool) &&
               !pool_retires(pool, link);
    if (how == POOL_CLOSE || !fit || neighbour != NULL)
        pool_close_link(pool, link);
    else
        pool_keep_link(pool, link, how == POOL_RESET);
    if (neighbour != NULL)
        pool_serve(neighbour);
    pool_serve(pool);
}

bool pool_has_waiter(const struct pool *pool) {
    return pool->first != NULL;
}

bool pools_have_waiter(const struct pools *pools) {
    return pools->waiting_count > 0;
}

size_t pool_statement_limit(const struct pool *pool) {
    return pool->limits.max_prepared_statements;
}

/* -- pools ------------------------------------------------------------------------------------- */

static bool same(const char *a, const char *b) {
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Without a name in the string the user's is the database's. */
static struct pool_database *database_get(struct pools *pools, const char *conninfo,
                                          const char *user) {
    char *server = conninfo_identity(conninfo);
    char *dbname = conninfo_dbname(conninfo);
    char *identity = alloc_format("%s %s", server, dbname == NULL && user != NULL ? user : "");
    struct pool_database *database = pools->databases;
    while (database != NULL && strcmp(database->identity, identity) != 0)
        database = database->next;
    if (database == NULL) {
        database = alloc_new(sizeof *database);
        database->identity = alloc_text(identity);
        database->next = pools->databases;
        pools->databases = database;
    }
    free(identity);
    free(dbname);
    free(server);
    return database;
}

/* Whether it is the database's. A link bears the index of its database, which another one may have
 * after a reload, or have had for sessions of before it. */
static bool is_of(const struct pool *pool, const struct database *database) {
    return pool->physical == database->physical && strcmp(pool->name, database->name) == 0 &&
           strcmp(pool->conninfo, database->conninfo) == 0;
}

/* One that is stale serves who goes on under settings of before a reload. */
static struct pool *find(struct pools *pools, const struct database *database, const char *user,
                         const char *password) {
    for (struct pool *pool = pools->list; pool != NULL; pool = pool->next)
        if (is_of(pool, database) && same(pool->user, user) && same(pool->password, password))
            return pool;
    return NULL;
}

/* Whether a pool is still what these settings ask for. */
static bool is_current(const struct pool *pool, const struct settings *settings) {
    return pool->physical < (int)settings->database_count &&
           is_of(pool, &settings->databases[pool->physical]);
}

struct pool *pool_get(struct pools *pools, const struct settings *settings, int physical,
                      const char *user, const char *password) {
    const struct database *database = &settings->databases[physical];
    if (conninfo_has_user(database->conninfo))
        user = password = NULL;
    struct pool *pool = find(pools, database, user, password);
    if (pool == NULL) {
        pool = alloc_new(sizeof *pool);
        pool->pools = pools;
        pool->physical = physical;
        pool->name = alloc_text(database->name);
        pool->conninfo = alloc_text(database->conninfo);
        pool->user = alloc_text(user);
        pool->password = alloc_text(password);
        pool->stale = !is_current(pool, pools->worker->config->settings);
        pool_set_limits(pool, &database->pool);
        pool->connect_timeout = settings->connect_timeout;
        pool->budget = pool_budget_get(pools, settings, physical);
        pool->database = database_get(pools, database->conninfo, user);
        pool->figures = figures_of_database(&pools->worker->figures, database->name);
        pool->next = pools->list;
        pools->list = pool;
    }
    pool->references++;
    return pool;
}

void pool_unref(struct pool *pool) {
    if (pool != NULL) {
        assert(pool->references > 0);
        pool->references--;
    }
}

static void wipe(char *text) {
    if (text != NULL)
        OPENSSL_cleanse(text, strlen(text));
    free(text);
}

static void free_unused(struct pools *pools) {
    for (struct pool **at = &pools->list, *pool; (pool = *at) != NULL;) {
        if (pool->references > 0 || pool_link_count(pool) > 0) {
            at = &pool->next;
            continue;
        }
        *at = pool->next;
        pool_forget_welcomes(pool);
        free(pool->name);
        wipe(pool->conninfo);
        free(pool->user);
        wipe(pool->password);
        free(pool);
    }
}

/* -- life -------------------------------------------------------------------------------------- */

static void on_tick(uv_timer_t *timer) {
    struct pools *pools = timer->data;
    for (struct pool *pool = pools->list; pool != NULL; pool = pool->next)
        pool_tick(pool);
    free_unused(pools);
}

bool pools_new(struct pools **out, struct worker *worker, unsigned workers, struct error *error) {
    struct pools *pools = alloc_new(sizeof *pools);
    uv_loop_t *loop = &worker->loop;
    *pools = (struct pools){.worker = worker, .workers = workers, .loop = loop};
    pools->granted_tail = &pools->granted;
    pools->prepare.data = pools->check.data = pools;
    pools->tick.data = pools->patience.data = pools->keeping.data = pools;
    uv_prepare_init(loop, &pools->prepare); /* these two can't fail */
    uv_check_init(loop, &pools->check);
    int result = uv_timer_init(loop, &pools->tick);
    if (result == 0)
        result = uv_timer_init(loop, &pools->patience);
    if (result == 0)
        result = uv_timer_init(loop, &pools->keeping);
    *out = pools;
    return result == 0 ||
           error_set(error, "cannot make a timer for the pools: %s", uv_strerror(result));
}

bool pools_are_used(const struct settings *settings) {
    for (size_t i = 0; i < settings->entrypoint_count; i++)
        if (settings->entrypoints[i].pool.mode != POOL_OFF)
            return true;
    return false;
}

static void warm_up(struct pools *pools, const struct settings *settings) {
    for (size_t i = 0; i < settings->database_count; i++) {
        const struct database *database = &settings->databases[i];
        if (database->physical != (int)i || database->pool.min_size == 0 ||
            !conninfo_has_user(database->conninfo))
            continue;
        struct pool *pool = pool_get(pools, settings, (int)i, NULL, NULL);
        pool_tick(pool);
        pool_unref(pool);
    }
}

void pools_configure(struct pools *pools, const struct settings *settings) {
    for (struct pool *pool = pools->list; pool != NULL; pool = pool->next) {
        pool->stale = !is_current(pool, settings);
        if (!pool->stale) {
            pool_set_limits(pool, &settings->databases[pool->physical].pool);
            pool->connect_timeout = settings->connect_timeout;
            pool->budget = pool_budget_get(pools, settings, pool->physical);
        }
    }
    if (!pools_are_used(settings) || pools->stopping)
        return;
    if (!uv_is_active((uv_handle_t *)&pools->tick)) {
        uv_prepare_start(&pools->prepare, on_prepare);
        uv_check_start(&pools->check, on_check);
        uv_timer_start(&pools->tick, on_tick, TICK_MILLISECONDS, TICK_MILLISECONDS);
    }
    warm_up(pools, settings);
}

void pools_stop(struct pools *pools) {
    pools->stopping = true;
    for (struct pool *pool = pools->list; pool != NULL; pool = pool->next) {
        while (pool->idle != NULL) {
            struct link *link = pool->idle;
            pool_unlist_idle(pool, link);
            pool_close_link(pool, link);
        }
        while (pool->busy != NULL)
            pool_close_link(pool, pool->busy);
    }
}

void pools_free(struct pools *pools) {
    if (pools == NULL)
        return;
    free_unused(pools);
    assert(pools->list == NULL);
    for (struct pool_budget *budget = pools->budgets, *next; budget != NULL; budget = next) {
        next = budget->next;
        free(budget->server);
        free(budget);
    }
    for (struct pool_database *database = pools->databases, *next; database != NULL;
         database = next) {
        next = database->next;
        table_code_close(&database->table_code);
        free(database->identity);
        free(database);
    }
    free(pools);
}
