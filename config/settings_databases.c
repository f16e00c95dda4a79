/* Databases, the classification over them, and entrypoints: the keys that name each other. */
#include "config/settings_internal.h"

#include "config/alloc.h"
#include "config/classification_internal.h"
#include "config/conninfo.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES_MAX = 63 }; /* what PostgreSQL keeps of an identifier */

/* -- databases --------------------------------------------------------------------------------- */

static bool check_name(const struct tree_node *name, const char *what, struct error *error) {
    if (name->text[0] == '\0' || strlen(name->text) > NAME_BYTES_MAX)
        return tree_error(name, error, "%s needs a name of 1 to %d bytes: correct it", what,
                          NAME_BYTES_MAX);
    return true;
}

bool settings_add_database(struct loader *loader, const struct tree_node *name, char *conninfo,
                           struct error *error) {
    struct settings *s = loader->settings;
    bool ok = check_name(name, "a database", error);
    if (ok && strcmp(name->text, "routed") == 0)
        ok = tree_error(name, error,
                        "a database can't be called \"routed\", which is what entrypoints say: "
                        "rename it");
    if (ok && s->database_count == 0 && strcmp(name->text, "main") != 0)
        ok = tree_error(name, error, "database \"%s\" is listed first: put main first", name->text);
    if (ok && s->database_count == DATABASES_MAX)
        ok = tree_error(name, error, "more than %d databases: remove some", DATABASES_MAX);
    if (!ok) {
        free(conninfo);
        return false;
    }
    s->databases = alloc_grow(s->databases, s->database_count, sizeof *s->databases);
    s->databases[s->database_count] = (struct database){
        .name = alloc_text(name->text), .conninfo = conninfo, .physical = (int)s->database_count};
    loader->origins[s->database_count++] = name;
    return true;
}

static bool read_database(struct loader *loader, const struct tree_node *name,
                          const struct tree_node *value, struct error *error) {
    char what[128];
    snprintf(what, sizeof what, "databases.%.63s", name->text);
    const char *conninfo;
    if (value->kind == TREE_MAP) {
        const struct tree_node *other = tree_find(value, "same_as");
        for (size_t i = 0; i < value->count; i++) {
            if (strcmp(value->keys[i]->text, "same_as") != 0)
                return tree_error(value->keys[i], error,
                                  "unknown key \"%s\" in %s: write a connection string or "
                                  "{same_as: DATABASE}",
                                  value->keys[i]->text, what);
        }
        if (other == NULL)
            return tree_error(value, error,
                              "%s is empty: write a connection string or {same_as: DATABASE}",
                              what);
        if (!tree_text(other, "same_as", &conninfo, error) ||
            !settings_add_database(loader, name, NULL, error))
            return false;
        loader->same_as[loader->settings->database_count - 1] = other;
        return true;
    }
    if (value->kind != TREE_SCALAR)
        return tree_error(value, error,
                          "%s has no value: write a connection string or {same_as: DATABASE}",
                          what);
    if (!tree_text(value, what, &conninfo, error))
        return false;
    if (!conninfo_check(conninfo, error))
        return settings_wrap_error(value, what, "correct the connection string", error);
    return settings_add_database(loader, name, alloc_text(conninfo), error);
}

/* Follows same_as from database `at` to the one that it is stored in. */
static bool resolve_same_as(struct loader *loader, size_t at, int *physical, struct error *error) {
    const struct settings *s = loader->settings;
    size_t steps = 0;
    int now = (int)at;
    while (loader->same_as[now] != NULL) {
        const struct tree_node *node = loader->same_as[now];
        int next = settings_find_database(s, node->text);
        if (next < 0)
            return tree_error(
                node, error, "same_as: unknown database \"%s\": name one of this file", node->text);
        if (next == now || ++steps > s->database_count)
            return tree_error(node, error,
                              "same_as of \"%s\" leads back to itself: give one of them a "
                              "connection string",
                              s->databases[now].name);
        now = next;
    }
    *physical = now;
    return true;
}

/* Two names for one server and dbname are one physical database, whether or not the file says so.
 */
static void find_equal(struct settings *s, char **identities, size_t at) {
    for (size_t i = 0; i < at; i++) {
        if (s->databases[i].physical != (int)i || strcmp(identities[i], identities[at]) != 0)
            continue;
        s->databases[at].physical = (int)i;
        settings_notice(s,
                        "database \"%s\" is the same server and dbname as \"%s\": it is treated as "
                        "{same_as: %s}",
                        s->databases[at].name, s->databases[i].name, s->databases[i].name);
        return;
    }
}

static void merge_equal(struct loader *loader) {
    struct settings *s = loader->settings;
    char *identities[DATABASES_MAX] = {NULL};
    for (size_t i = 0; i < s->database_count; i++) {
        if (loader->same_as[i] != NULL)
            continue;
        identities[i] = conninfo_identity(s->databases[i].conninfo);
        find_equal(s, identities, i);
    }
    for (size_t i = 0; i < s->database_count; i++) {
        struct database *database = &s->databases[i];
        /* What it is same_as may itself have turned out to be another's. */
        database->physical = s->databases[database->physical].physical;
        if (database->physical != (int)i) {
            free(database->conninfo);
            database->conninfo = alloc_text(s->databases[database->physical].conninfo);
        }
        free(identities[i]);
    }
}

static bool read_map_of_databases(struct loader *loader, const struct tree_node *node,
                                  struct error *error) {
    if (!tree_expect(node, "databases", TREE_MAP, error))
        return false;
    if (node->count == 0)
        return tree_error(node, error, "databases is empty: add `main: \"host=… dbname=…\"`");
    for (size_t i = 0; i < node->count; i++) {
        if (!read_database(loader, node->keys[i], node->values[i], error))
            return false;
    }
    return true;
}

bool settings_read_databases(struct loader *loader, struct error *error) {
    const struct tree_node *map = tree_find(loader->root, "databases");
    const struct tree_node *rails = tree_find(loader->root, "databases_from");
    struct settings *s = loader->settings;
    if (map != NULL && rails != NULL)
        return tree_error(rails, error,
                          "databases and databases_from are both given: remove one of them");
    if (map == NULL && rails == NULL)
        return tree_error(loader->root, error,
                          "no databases: add `databases: {main: \"host=… dbname=…\"}`");
    if (map != NULL ? !read_map_of_databases(loader, map, error)
                    : !settings_read_rails(loader, rails, error))
        return false;
    for (size_t i = 0; i < s->database_count; i++) {
        if (!resolve_same_as(loader, i, &s->databases[i].physical, error))
            return false;
    }
    merge_equal(loader);
    return true;
}

/* -- classification ---------------------------------------------------------------------------- */

/* GitLab's rule for database.yml, and for ours where `connections` says which databases there are.
 */
static bool check_known(const struct loader *loader, struct error *error) {
    const struct settings *s = loader->settings;
    const struct classification *c = s->classification;
    for (size_t i = 0; i < s->database_count; i++) {
        const char *name = s->databases[i].name;
        if (c->has_connections && classification_find_connection(c, name) == NULL)
            return tree_error(loader->origins[i], error,
                              "database \"%s\" has no file in classification.connections: add one, "
                              "or remove the database",
                              name);
        if (loader->rails != NULL && !classification_knows_database(c, name))
            return tree_error(loader->origins[i], error,
                              "the classification knows no database \"%s\": remove it, or add its "
                              "file to classification.connections",
                              name);
    }
    return true;
}

bool settings_read_classification(struct loader *loader, struct error *error) {
    static const struct setting_key keys[] = {
        {"tables", NULL}, {"schemas", NULL}, {"connections", NULL}, {"functions", NULL}};
    const struct tree_node *node = tree_find(loader->root, "classification");
    if (node == NULL)
        return tree_error(loader->root, error,
                          "no classification: add `classification: {tables: gitlab_schemas.yml}`");
    if (!settings_read_map(loader, node, "classification", keys, 4, error))
        return false;
    struct settings *s = loader->settings;
    struct classification *c = s->classification = classification_new();
    const struct tree_node *tables = tree_find(node, "tables"), *functions;
    const struct tree_node *schemas = tree_find(node, "schemas");
    const struct tree_node *connections = tree_find(node, "connections");
    functions = tree_find(node, "functions");
    if (tables == NULL)
        return tree_error(node, error,
                          "classification has no tables: add `tables: gitlab_schemas.yml`");
    if ((schemas != NULL && !classification_load_schemas(c, schemas, error)) ||
        (connections != NULL && !classification_load_connections(c, connections, error)) ||
        !classification_load_tables(c, tables, error) ||
        (functions != NULL && !classification_load_functions(c, functions, error)) ||
        !check_known(loader, error))
        return false;
    const char *names[DATABASES_MAX];
    for (size_t i = 0; i < s->database_count; i++)
        names[i] = s->databases[i].name;
    classification_finish(c, names, s->database_count);
    return true;
}

/* -- entrypoints ------------------------------------------------------------------------------- */

static void add_entrypoint(struct settings *s, const char *name, int database) {
    s->entrypoints = alloc_grow(s->entrypoints, s->entrypoint_count, sizeof *s->entrypoints);
    s->entrypoints[s->entrypoint_count++] =
        (struct entrypoint){.name = alloc_text(name), .database = database};
}

/* Without `entrypoints`: main's dbname is routed, and the databases' names are pinned. */
static bool add_default_entrypoints(struct loader *loader, struct error *error) {
    struct settings *s = loader->settings;
    char *routed = conninfo_dbname(s->databases[0].conninfo);
    if (routed == NULL)
        return tree_error(loader->origins[0], error,
                          "main's connection string has no dbname that could be the routed "
                          "entrypoint: add it, or add `entrypoints: {NAME: routed}`");
    add_entrypoint(s, routed, ENTRYPOINT_ROUTED);
    for (size_t i = 0; i < s->database_count; i++) {
        if (strcmp(s->databases[i].name, routed) != 0)
            add_entrypoint(s, s->databases[i].name, (int)i);
        else
            settings_notice(s,
                            "main's dbname is \"%s\", which is therefore routed, not pinned to the "
                            "database of that name: name your own entrypoints to have both",
                            routed);
    }
    free(routed);
    return true;
}

bool settings_read_entrypoints(struct loader *loader, struct error *error) {
    struct settings *s = loader->settings;
    const struct tree_node *node = tree_find(loader->root, "entrypoints");
    if (node == NULL)
        return add_default_entrypoints(loader, error);
    if (!tree_expect(node, "entrypoints", TREE_MAP, error))
        return false;
    if (node->count == 0)
        return tree_error(node, error,
                          "entrypoints is empty: add `NAME: routed`, or remove it for the default");
    for (size_t i = 0; i < node->count; i++) {
        const struct tree_node *name = node->keys[i], *value = node->values[i];
        const char *target;
        char what[128];
        snprintf(what, sizeof what, "entrypoints.%.63s", name->text);
        if (!check_name(name, "an entrypoint", error) || !tree_text(value, what, &target, error))
            return false;
        int database = settings_find_database(s, target);
        bool routed = strcmp(target, "routed") == 0;
        if (!routed && database < 0)
            return tree_error(
                value, error,
                "%s: unknown database \"%s\": write routed or a database of this file", what,
                target);
        add_entrypoint(s, name->text, routed ? ENTRYPOINT_ROUTED : database);
    }
    return true;
}
