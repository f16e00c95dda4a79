/* How connections to databases are shared: pool, and what of it one database or entrypoint has for
 * itself. Names and meanings are PgBouncer's. */
#include "config/settings_internal.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { SECONDS_MAX = 86400 * 365, CONNECTIONS_MAX = 100000 };

/* Who a key is about: a database's connections, an entrypoint's clients, or the process. */
enum scope { OF_DATABASE = 1, OF_ENTRYPOINT = 2, OF_ALL = 4 };

struct pool_key {
    const char *name;
    size_t offset; /* in struct pool_settings, an unsigned */
    unsigned least, most;
    enum scope scope;
};

#define POOL_KEY(field, least, most, scope)                                                        \
    { #field, offsetof(struct pool_settings, field), least, most, scope }

static const struct pool_key pool_keys[] = {
    POOL_KEY(size, 1, CONNECTIONS_MAX, OF_DATABASE),
    POOL_KEY(min_size, 0, CONNECTIONS_MAX, OF_DATABASE),
    POOL_KEY(reserve_size, 0, CONNECTIONS_MAX, OF_DATABASE),
    POOL_KEY(reserve_timeout, 0, SECONDS_MAX, OF_DATABASE),
    POOL_KEY(max_db_connections, 0, CONNECTIONS_MAX, OF_DATABASE),
    POOL_KEY(server_lifetime, 0, SECONDS_MAX, OF_DATABASE),
    POOL_KEY(server_idle_timeout, 0, SECONDS_MAX, OF_DATABASE),
    POOL_KEY(max_prepared_statements, 1, CONNECTIONS_MAX, OF_DATABASE),
    POOL_KEY(query_wait_timeout, 0, SECONDS_MAX, OF_ENTRYPOINT),
    POOL_KEY(idle_transaction_timeout, 0, SECONDS_MAX, OF_ENTRYPOINT),
    POOL_KEY(client_idle_timeout, 0, SECONDS_MAX, OF_ENTRYPOINT),
    POOL_KEY(max_client_conn, 0, 1000000, OF_ALL),
};

enum { POOL_KEYS = sizeof pool_keys / sizeof pool_keys[0] };

static const struct pool_settings defaults = {
    .mode = POOL_SESSION,
    .size = 20,
    .reserve_timeout = 5,
    .server_lifetime = 3600,
    .server_idle_timeout = 600,
    .max_prepared_statements = 200,
    .query_wait_timeout = 120,
};

static const struct pool_key *find_key(const char *name) {
    for (size_t i = 0; i < POOL_KEYS; i++)
        if (strcmp(pool_keys[i].name, name) == 0)
            return &pool_keys[i];
    return NULL;
}

static bool unknown(const struct tree_node *key, const char *what, unsigned scopes,
                    struct error *error) {
    char list[512] = "";
    size_t used = 0;
    if ((scopes & OF_ENTRYPOINT) != 0)
        used += (size_t)snprintf(list, sizeof list, "mode");
    for (size_t i = 0; i < POOL_KEYS; i++)
        if ((pool_keys[i].scope & scopes) != 0)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? ", " : "",
                                     pool_keys[i].name);
    bool elsewhere = strcmp(key->text, "mode") == 0 || find_key(key->text) != NULL;
    return tree_error(key, error, "%s \"%s\" in %s: write one of %s",
                      elsewhere ? "misplaced key" : "unknown key", key->text, what, list);
}

static bool read_mode(const struct tree_node *node, const char *what, struct pool_settings *out,
                      struct error *error) {
    static const char *const modes[] = {"off", "session", "transaction"};
    unsigned mode;
    char name[160];
    snprintf(name, sizeof name, "%s.mode", what);
    if (!tree_choice(node, name, modes, 3, &mode, error))
        return false;
    out->mode = (enum pool_mode)mode;
    return true;
}

static bool read_number(const struct tree_node *node, const struct pool_key *key, const char *what,
                        struct pool_settings *out, struct error *error) {
    char name[160];
    snprintf(name, sizeof name, "%s.%s", what, key->name);
    unsigned *value = (unsigned *)(void *)((char *)out + key->offset);
    return tree_unsigned(node, name, key->least, key->most, value, error);
}

/* The keys of one map, those that are about one of `scopes`; `databases` and `entrypoints` are left
 * to the caller. */
static bool read_keys(const struct tree_node *node, const char *what, unsigned scopes,
                      struct pool_settings *out, struct error *error) {
    if (!tree_expect(node, what, TREE_MAP, error))
        return false;
    for (size_t i = 0; i < node->count; i++) {
        const char *name = node->keys[i]->text;
        bool sub = strcmp(name, "databases") == 0 || strcmp(name, "entrypoints") == 0;
        if (sub && (scopes & OF_ALL) != 0)
            continue;
        if (strcmp(name, "mode") == 0 && (scopes & OF_ENTRYPOINT) != 0) {
            if (!read_mode(node->values[i], what, out, error))
                return false;
            continue;
        }
        const struct pool_key *key = find_key(name);
        if (key == NULL || (key->scope & scopes) == 0)
            return unknown(node->keys[i], what, scopes, error);
        if (!read_number(node->values[i], key, what, out, error))
            return false;
    }
    if (out->min_size > out->size)
        return tree_error(node, error, "%s: min_size %u is over size %u: lower it", what,
                          out->min_size, out->size);
    return true;
}

static bool read_one_database(struct settings *s, const struct tree_node *name,
                              const struct tree_node *value, struct error *error) {
    int index = settings_find_database(s, name->text);
    if (index < 0)
        return tree_error(name, error,
                          "pool.databases: unknown database \"%s\": name one of this file",
                          name->text);
    if (s->databases[index].physical != index)
        return tree_error(name, error,
                          "pool.databases: \"%s\" is stored in \"%s\" and shares its connections: "
                          "set them there",
                          name->text, s->databases[s->databases[index].physical].name);
    char what[128];
    snprintf(what, sizeof what, "pool.databases.%.63s", name->text);
    return read_keys(value, what, OF_DATABASE, &s->databases[index].pool, error);
}

static bool read_one_entrypoint(struct settings *s, const struct tree_node *name,
                                const struct tree_node *value, struct error *error) {
    int index = settings_find_entrypoint(s, name->text);
    if (index < 0)
        return tree_error(name, error,
                          "pool.entrypoints: unknown entrypoint \"%s\": name one of this file",
                          name->text);
    char what[128];
    snprintf(what, sizeof what, "pool.entrypoints.%.63s", name->text);
    return read_keys(value, what, OF_ENTRYPOINT, &s->entrypoints[index].pool, error);
}

static bool read_each(struct settings *s, const struct tree_node *node, const char *what,
                      bool (*read)(struct settings *, const struct tree_node *,
                                   const struct tree_node *, struct error *),
                      struct error *error) {
    if (node == NULL)
        return true;
    if (!tree_expect(node, what, TREE_MAP, error))
        return false;
    for (size_t i = 0; i < node->count; i++)
        if (!read(s, node->keys[i], node->values[i], error))
            return false;
    return true;
}

bool settings_read_pool(struct loader *loader, struct error *error) {
    struct settings *s = loader->settings;
    const struct tree_node *node = tree_find(loader->root, "pool");
    struct pool_settings pool = defaults;
    if (node == NULL)
        pool.mode = POOL_OFF;
    else if (!read_keys(node, "pool", OF_DATABASE | OF_ENTRYPOINT | OF_ALL, &pool, error))
        return false;
    for (size_t i = 0; i < s->database_count; i++)
        s->databases[i].pool = pool;
    for (size_t i = 0; i < s->entrypoint_count; i++)
        s->entrypoints[i].pool = pool;
    s->max_client_conn = pool.max_client_conn;
    return node == NULL || (read_each(s, tree_find(node, "databases"), "pool.databases",
                                      read_one_database, error) &&
                            read_each(s, tree_find(node, "entrypoints"), "pool.entrypoints",
                                      read_one_entrypoint, error));
}
