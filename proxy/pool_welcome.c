/* What servers do by themselves, and what clients are told when they are let in, so that a login
 * needs no connection. */
#include "proxy/pool_internal.h"

#include "proxy/setting_set.h"

#include <string.h>

struct parameters *pool_find_welcome(struct pool *pool, const struct setting_set *settings) {
    for (size_t i = 0; i < pool->welcome_count; i++)
        if (setting_set_equal(pool->welcomes[i].settings, settings))
            return pool->welcomes[i].reported;
    return NULL;
}

static void welcome_close(struct pool *pool, struct welcome *welcome) {
    setting_set_unref(welcome->settings);
    parameters_unref(pool->pools->worker->parameters, welcome->reported);
}

void pool_keep_welcome(struct pool *pool, struct setting_set *settings,
                       struct parameters *reported) {
    if (pool_find_welcome(pool, settings) != NULL)
        return;
    struct welcome *place = &pool->welcomes[pool->welcome_next];
    if (pool->welcome_next < pool->welcome_count)
        welcome_close(pool, place);
    else
        pool->welcome_count++;
    *place = (struct welcome){setting_set_ref(settings), parameters_ref(reported)};
    pool->welcome_next = (pool->welcome_next + 1) % WELCOMES_MAX;
    pool_recall_logins(pool);
}

void pool_forget_welcomes(struct pool *pool) {
    for (size_t i = 0; i < pool->welcome_count; i++)
        welcome_close(pool, &pool->welcomes[i]);
    pool->welcome_count = pool->welcome_next = 0;
    parameters_unref(pool->pools->worker->parameters, pool->baseline);
    pool->baseline = NULL;
}

void pool_heed_baseline(struct pool *pool, struct parameters *reported) {
    if (pool->baseline == reported) /* equal sets are one */
        return;
    pool_forget_welcomes(pool);
    pool->baseline = parameters_ref(reported);
}

bool pool_has_newest_defaults(const struct link *link) {
    return link->pool->baseline == link->parameters;
}

/* Whether the sessions' settings decide what it reports of the parameter. */
static bool is_set(const struct link *link, const char *name) {
    bool of_identity =
        strcmp(name, "is_superuser") == 0 || strcmp(name, "session_authorization") == 0;
    return of_identity ? setting_set_has_identity(link->set) : setting_set_has(link->set, name);
}

void pool_learn_defaults(struct pool *pool, struct link *link) {
    struct parameter_store *store = pool->pools->worker->parameters;
    if (link->set_unknown)
        return;
    parameters_unref(store, link->heeded);
    link->heeded = parameters_ref(link->reported);
    bool changed = false;
    struct parameter parameter;
    for (size_t cursor = 0; parameters_next(link->heeded, &cursor, &parameter);) {
        const char *before = parameters_find(link->parameters, parameter.name);
        if ((before != NULL && strcmp(before, parameter.value) == 0) ||
            is_set(link, parameter.name))
            continue;
        link->parameters =
            parameters_change_take(store, link->parameters, parameter.name, parameter.value);
        changed = true;
    }
    if (changed)
        pool_heed_baseline(pool, link->parameters);
}

void pool_doubt_strings(struct pool *pool) {
    pool->doubts_strings = true;
}

bool pool_doubts_strings(const struct pool *pool) {
    return pool->doubts_strings;
}
