/* databases_from: a Rails database.yml, read by GitLab's rules. */
#include "config/settings_internal.h"

#include "config/alloc.h"
#include "config/conninfo.h"
#include "config/file.h"

#include <stdlib.h>
#include <string.h>

/* Where in the settings the file is named. */
struct rails_source {
    const struct tree_node *file_node, *environment_node;
    char *path;
    const char *environment;
};

/* Keys that only concern Rails. They may also stand in a `url`. */
static bool is_harmless(const char *key, size_t length) {
    static const char *const keys[] = {"adapter",
                                       "advisory_locks",
                                       "allow_concurrency",
                                       "checkout_timeout",
                                       "collation",
                                       "connection_retries",
                                       "ctype",
                                       "database_tasks",
                                       "idle_timeout",
                                       "insert_returning",
                                       "keepalive",
                                       "load_balancing",
                                       "max_age",
                                       "max_connections",
                                       "max_queue",
                                       "max_threads",
                                       "migrations_paths",
                                       "min_connections",
                                       "min_messages",
                                       "min_threads",
                                       "pool",
                                       "pool_jitter",
                                       "prepared_statements",
                                       "query_cache",
                                       "reaping_frequency",
                                       "reconnect",
                                       "replica",
                                       "retry_deadline",
                                       "schema_cache_path",
                                       "schema_dump",
                                       "schema_format",
                                       "schema_migrations_path",
                                       "schema_order",
                                       "schema_search_path",
                                       "seeds",
                                       "statement_limit",
                                       "strict",
                                       "template",
                                       "timeout",
                                       "use_metadata_table",
                                       "verify_timeout"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strlen(keys[i]) == length && memcmp(keys[i], key, length) == 0)
            return true;
    }
    return false;
}

/* libpq's name of a key, or NULL. */
static const char *keyword_of(const char *key) {
    static const char *const names[][2] = {
        {"database", "dbname"}, {"username", "user"}, {"encoding", "client_encoding"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i][0], key) == 0)
            return names[i][1];
    }
    /* In database.yml `dbname` and `replication` are nobody's keys. */
    return strcmp(key, "dbname") != 0 && strcmp(key, "replication") != 0 &&
                   conninfo_has_keyword(key)
               ? key
               : NULL;
}

/* The URL without the parameters that are for Rails, which libpq would refuse. */
static char *url_for_libpq(const char *url) {
    const char *query = strchr(url, '?');
    if (query == NULL)
        return alloc_text(url);
    char *out = alloc_copy(url, strlen(url)), *to = out + (query - url);
    char separator = '?';
    for (const char *at = query + 1; *at != '\0';) {
        size_t length = strcspn(at, "&");
        if (length > 0 && !is_harmless(at, strcspn(at, "=&"))) {
            *to++ = separator;
            memcpy(to, at, length);
            to += length;
            separator = '&';
        }
        at += length + (at[length] == '&');
    }
    *to = '\0';
    return out;
}

static bool read_url(const struct tree_node *node, const char *what, struct conninfo_parts *parts,
                     struct error *error) {
    const char *text;
    if (!tree_text(node, what, &text, error))
        return false;
    char *url = url_for_libpq(text);
    bool ok = conninfo_set_uri(parts, url, error) ||
              settings_wrap_error(node, what, "correct the URL", error);
    free(url);
    return ok;
}

/* Appends ` -c name=value` as the server's pg_split_opts() takes it apart: a backslash before
 * blanks and backslashes. */
static char *append_option(char *options, const char *name, const char *value) {
    size_t size = (options != NULL ? strlen(options) : 0) + strlen(name) + 2 * strlen(value) + 6;
    char *out = alloc_zeroed(size, 1);
    char *to = out + snprintf(out, size, "%s%s-c %s=", options != NULL ? options : "",
                              options != NULL && options[0] != '\0' ? " " : "", name);
    for (const char *from = value; *from != '\0'; from++) {
        if (strchr(" \t\n\r\f\v\\", *from) != NULL)
            *to++ = '\\';
        *to++ = *from;
    }
    free(options);
    return out;
}

static bool read_variables(const struct tree_node *node, const char *what,
                           struct conninfo_parts *parts, struct error *error) {
    if (!tree_expect(node, what, TREE_MAP, error))
        return false;
    char *options = alloc_text(conninfo_get(parts, "options"));
    bool ok = true;
    for (size_t i = 0; ok && i < node->count; i++) {
        const struct tree_node *name = node->keys[i], *value = node->values[i];
        size_t valid =
            strspn(name->text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.");
        if (valid == 0 || name->text[valid] != '\0')
            ok = tree_error(name, error, "%s: \"%s\" is no setting of PostgreSQL: correct it", what,
                            name->text);
        else if (value->kind == TREE_NULL)
            continue;
        else if (!tree_expect(value, name->text, TREE_SCALAR, error))
            ok = false;
        /* Rails sets `default` and `:default` to the server's default, which a new connection has.
         */
        else if (strcmp(value->text, "default") != 0 && strcmp(value->text, ":default") != 0)
            options = append_option(options, name->text, value->text);
    }
    if (ok && options != NULL)
        conninfo_set(parts, "options", options);
    free(options);
    return ok;
}

static bool read_adapter(const struct tree_node *database, struct error *error) {
    const struct tree_node *node = tree_find(database, "adapter");
    if (node == NULL || (node->kind == TREE_SCALAR && strcmp(node->text, "postgresql") == 0))
        return true;
    return tree_error(node, error, "adapter is \"%s\": only postgresql can be used",
                      node->kind == TREE_SCALAR ? node->text : "");
}

static bool read_key(const struct tree_node *key, const struct tree_node *value, const char *name,
                     struct conninfo_parts *parts, struct error *error) {
    if (strcmp(key->text, "url") == 0 || strcmp(key->text, "variables") == 0 ||
        is_harmless(key->text, strlen(key->text)))
        return true;
    const char *keyword = keyword_of(key->text);
    if (keyword == NULL)
        return tree_error(key, error, "unknown key \"%s\" of database \"%s\": correct or remove it",
                          key->text, name);
    if (value->kind == TREE_NULL || (value->kind == TREE_SCALAR && value->text[0] == '\0'))
        return true; /* Rails leaves out what is nil */
    if (!tree_expect(value, key->text, TREE_SCALAR, error))
        return false;
    conninfo_set(parts, keyword, value->text);
    return true;
}

/* Keys first, then what a `url` says, which wins in Rails too, then `variables`. */
static bool read_parts(const struct tree_node *database, const char *name,
                       struct conninfo_parts *parts, struct error *error) {
    if (!read_adapter(database, error))
        return false;
    for (size_t i = 0; i < database->count; i++) {
        if (!read_key(database->keys[i], database->values[i], name, parts, error))
            return false;
    }
    const struct tree_node *url = tree_find(database, "url");
    const struct tree_node *variables = tree_find(database, "variables");
    if (url != NULL && url->kind != TREE_NULL && !read_url(url, "url", parts, error))
        return false;
    if (variables != NULL && variables->kind != TREE_NULL &&
        !read_variables(variables, "variables", parts, error))
        return false;
    return conninfo_get(parts, "dbname") != NULL || conninfo_get(parts, "service") != NULL ||
           tree_error(database, error,
                      "database \"%s\" has no `database`: add the name of one on its server", name);
}

static bool add_database(struct loader *loader, const struct tree_node *name,
                         const struct tree_node *database, struct error *error) {
    struct conninfo_parts parts = {0};
    char what[128];
    snprintf(what, sizeof what, "database \"%.63s\"", name->text);
    bool ok = tree_expect(database, what, TREE_MAP, error) &&
              read_parts(database, name->text, &parts, error);
    char *conninfo = ok ? conninfo_text(&parts) : NULL;
    conninfo_parts_close(&parts);
    if (ok && !conninfo_check(conninfo, error)) {
        ok = settings_wrap_error(database, what, "correct it", error);
        free(conninfo);
    } else if (ok) {
        ok = settings_add_database(loader, name, conninfo, error);
    }
    return ok;
}

static bool is_one_level(const struct tree_node *environment) {
    for (size_t i = 0; i < environment->count; i++) {
        if (environment->values[i]->kind != TREE_MAP)
            return true;
    }
    return false;
}

static bool read_environment(struct loader *loader, const struct rails_source *source,
                             const struct tree_node *environment, struct error *error) {
    if (!tree_expect(environment, source->environment, TREE_MAP, error))
        return false;
    if (environment->count == 0)
        return tree_error(environment, error, "%s has no databases: add main", source->environment);
    if (is_one_level(environment)) {
        /* The map itself stands for `main`, at its own line. */
        static const char main_name[] = "main";
        struct tree_node *name = alloc_zeroed(1, sizeof *name);
        *name = *environment;
        name->text = (char *)main_name;
        settings_notice(loader->settings,
                        "%s:%d: the one-level form is deprecated: put the keys of %s under `main:`",
                        environment->path, environment->line, source->environment);
        bool ok = add_database(loader, name, environment, error);
        if (ok)
            loader->origins[0] = environment;
        free(name);
        return ok;
    }
    for (size_t i = 0; i < environment->count; i++) {
        if (!add_database(loader, environment->keys[i], environment->values[i], error))
            return false;
    }
    return true;
}

static bool load_rails(struct loader *loader, const struct rails_source *source,
                       struct error *error) {
    if (!tree_load_file(source->path, TREE_NO_ERB, &loader->rails, error))
        return false;
    const struct tree_node *root = tree_root(loader->rails);
    if (root->kind != TREE_MAP)
        return tree_error(root, error, "no environments here: write `%s:` and its databases",
                          source->environment);
    const struct tree_node *environment = tree_find(root, source->environment);
    if (environment == NULL)
        return tree_error(root, error,
                          "no environment \"%s\" here: correct databases_from.environment in line "
                          "%d of %s",
                          source->environment, source->environment_node->line,
                          source->environment_node->path);
    return read_environment(loader, source, environment, error);
}

bool settings_read_rails(struct loader *loader, const struct tree_node *node, struct error *error) {
    static const struct setting_key keys[] = {{"file", NULL}, {"environment", NULL}};
    struct rails_source source = {0};
    if (!settings_read_map(loader, node, "databases_from", keys, 2, error))
        return false;
    source.file_node = tree_find(node, "file");
    source.environment_node = tree_find(node, "environment");
    if (source.file_node == NULL || source.environment_node == NULL)
        return tree_error(node, error,
                          "databases_from needs a file and an environment: write {file: "
                          "config/database.yml, environment: production}");
    if (!tree_text(source.environment_node, "databases_from.environment", &source.environment,
                   error) ||
        !settings_read_path(source.file_node, "databases_from.file", &source.path, error))
        return false;
    bool ok = load_rails(loader, &source, error);
    free(source.path);
    return ok;
}
