/* The files of a classification, in both of GitLab's forms. */
#include "config/classification_internal.h"

#include "config/alloc.h"
#include "config/file.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* One file of a folder. */
typedef bool file_reader(struct classification *c, const struct tree_node *root,
                         struct error *error);

/* The schema that a file names, entered if the files of `schemas` don't settle which there are. */
static bool read_schema(struct classification *c, const struct tree_node *node, const char *what,
                        int *out, struct error *error) {
    const char *name;
    if (!tree_text(node, what, &name, error))
        return false;
    name += name[0] == ':'; /* a Ruby symbol */
    size_t length = strlen(name);
    if (length == 0 || length > 63 ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != length)
        return tree_error(node, error,
                          "%s: \"%s\" is no schema name: write one such as gitlab_main", what,
                          node->text);
    int found = classification_schema_by_name(c, name);
    if (c->has_permissions && (found < 0 || !c->schemas[found].declared))
        return tree_error(node, error,
                          "%s: unknown schema \"%s\": correct it, or add its file to "
                          "classification.schemas",
                          what, name);
    *out = classification_add_schema(c, name);
    return *out >= 0 || tree_error(node, error, "%s: \"%s\" is one schema too many: at most %d",
                                   what, name, SCHEMAS_MAX);
}

static bool read_schema_set(struct classification *c, const struct tree_node *map, const char *key,
                            schema_set *set, struct error *error) {
    const struct tree_node *list = tree_find(map, key);
    if (list == NULL || list->kind == TREE_NULL)
        return true;
    if (!tree_expect(list, key, TREE_LIST, error))
        return false;
    for (size_t i = 0; i < list->count; i++) {
        int schema = -1;
        if (!read_schema(c, list->values[i], key, &schema, error))
            return false;
        *set |= (schema_set)1 << schema;
    }
    return true;
}

static bool read_name(const struct tree_node *root, const char *what, const char **name,
                      struct error *error) {
    if (!tree_expect(root, what, TREE_MAP, error))
        return false;
    const struct tree_node *node = tree_find(root, "name");
    if (node == NULL)
        return tree_error(root, error, "%s without a name: add `name: …`", what);
    return tree_text(node, "name", name, error);
}

/* GitLab's files carry keys that are not for us; one that looks like a permission is a slip of the
 * pen. */
static bool check_keys(const struct tree_node *root, const char *const *known,
                       const char *const *suspicious, struct error *error) {
    for (size_t i = 0; i < root->count; i++) {
        const char *key = root->keys[i]->text;
        bool found = false, suspect = false;
        for (size_t n = 0; known[n] != NULL; n++)
            found = found || strcmp(key, known[n]) == 0;
        for (size_t n = 0; suspicious[n] != NULL; n++)
            suspect = suspect || strncmp(key, suspicious[n], strlen(suspicious[n])) == 0;
        if (suspect && !found)
            return tree_error(root->keys[i], error, "unknown key \"%s\": correct or remove it",
                              key);
    }
    return true;
}

static bool load_path(const struct tree_node *node, const char *what, char **path,
                      struct error *error) {
    const char *text;
    if (!tree_text(node, what, &text, error))
        return false;
    *path = file_resolve(node->path, text);
    return true;
}

/* A file that can't be read: the error becomes the line of `node`, which named it. */
static bool unreadable(const struct tree_node *node, const char *what, struct error *error) {
    struct error cause = *error;
    return tree_error(node, error, "%s: %s: correct the path or its permissions", what, cause.text);
}

static bool load_file(struct classification *c, const struct tree_node *node, const char *what,
                      const char *path, file_reader *read, struct error *error) {
    struct tree *tree;
    if (!file_check_readable(path, error))
        return unreadable(node, what, error);
    if (!tree_load_file(path, 0, &tree, error))
        return false;
    bool ok = read(c, tree_root(tree), error);
    tree_free(tree);
    return ok;
}

static bool load_folder(struct classification *c, const struct tree_node *node, const char *what,
                        const char *folder, bool optional, file_reader *read, size_t *total,
                        struct error *error) {
    char **paths;
    size_t count;
    if (!file_list_yaml(folder, optional, &paths, &count, error))
        return unreadable(node, what, error);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = load_file(c, node, what, paths[i], read, error);
    file_list_free(paths, count);
    *total += count;
    return ok;
}

/* A folder that must have files. */
static bool load_filled_folder(struct classification *c, const struct tree_node *node,
                               const char *what, file_reader *read, struct error *error) {
    char *folder;
    if (!load_path(node, what, &folder, error))
        return false;
    size_t total = 0;
    bool ok = load_folder(c, node, what, folder, false, read, &total, error);
    if (ok && total == 0)
        ok = tree_error(node, error, "%s: no *.yml or *.yaml files in %s: correct the path", what,
                        folder);
    free(folder);
    return ok;
}

/* -- schemas ----------------------------------------------------------------------------------- */

static bool read_schema_name(struct classification *c, const struct tree_node *root,
                             struct error *error) {
    static const char *const known[] = {"allow_cross_joins", "allow_cross_transactions",
                                        "allow_cross_foreign_keys", NULL};
    static const char *const suspicious[] = {"allow", NULL};
    const char *name;
    int schema = -1;
    if (!read_name(root, "a schema file", &name, error) ||
        !check_keys(root, known, suspicious, error) ||
        !read_schema(c, tree_find(root, "name"), "name", &schema, error))
        return false;
    bool by_rule = schema == c->gitlab_internal || schema == c->gitlab_shared;
    if (c->schemas[schema].declared && !by_rule)
        return tree_error(tree_find(root, "name"), error,
                          "a second file for schema \"%s\": remove one", name);
    c->schemas[schema].declared = true;
    return true;
}

static bool read_schema_permissions(struct classification *c, const struct tree_node *root,
                                    struct error *error) {
    int schema = -1;
    if (!read_schema(c, tree_find(root, "name"), "name", &schema, error))
        return false;
    struct schema *s = &c->schemas[schema];
    return read_schema_set(c, root, "allow_cross_joins", &s->joins, error) &&
           read_schema_set(c, root, "allow_cross_transactions", &s->transactions, error) &&
           read_schema_set(c, root, "allow_cross_foreign_keys", &s->foreign_keys, error);
}

bool classification_load_schemas(struct classification *c, const struct tree_node *node,
                                 struct error *error) {
    const char *what = "classification.schemas";
    /* All names first: the lists name schemas of other files. */
    if (!load_filled_folder(c, node, what, read_schema_name, error))
        return false;
    c->has_permissions = true;
    return load_filled_folder(c, node, what, read_schema_permissions, error);
}

/* -- connections ------------------------------------------------------------------------------- */

static bool read_connection(struct classification *c, const struct tree_node *root,
                            struct error *error) {
    static const char *const known[] = {"gitlab_schemas", "lock_gitlab_schemas",
                                        "fallback_database", NULL};
    static const char *const suspicious[] = {"gitlab_", "lock_", "fallback", NULL};
    const char *name, *fallback = NULL;
    if (!read_name(root, "a connection file", &name, error) ||
        !check_keys(root, known, suspicious, error))
        return false;
    const struct tree_node *name_node = tree_find(root, "name");
    if (classification_find_connection(c, name) != NULL)
        return tree_error(name_node, error, "a second file for connection \"%s\": remove one",
                          name);
    if (c->connection_count == CONNECTIONS_MAX)
        return tree_error(name_node, error, "more than %d connections: remove some",
                          CONNECTIONS_MAX);
    if (tree_find(root, "gitlab_schemas") == NULL)
        return tree_error(root, error, "connection \"%s\" without gitlab_schemas: list them", name);
    const struct tree_node *node = tree_find(root, "fallback_database");
    if (node != NULL && node->kind != TREE_NULL &&
        !tree_text(node, "fallback_database", &fallback, error))
        return false;
    struct connection *connection = &c->connections[c->connection_count++];
    *connection = (struct connection){.name = alloc_text(name), .fallback = alloc_text(fallback)};
    return read_schema_set(c, root, "gitlab_schemas", &connection->holds, error) &&
           read_schema_set(c, root, "lock_gitlab_schemas", &connection->locks, error);
}

static bool check_fallback(struct classification *c, const struct tree_node *root,
                           struct error *error) {
    const struct tree_node *node = tree_find(root, "fallback_database");
    if (node == NULL || node->kind == TREE_NULL)
        return true;
    const char *own = tree_find(root, "name")->text;
    if (strcmp(node->text, own) == 0)
        return tree_error(node, error,
                          "fallback_database of \"%s\" is itself: name another, or remove it", own);
    return classification_find_connection(c, node->text) != NULL ||
           tree_error(node, error,
                      "fallback_database: unknown database \"%s\": correct it, or add its file",
                      node->text);
}

bool classification_load_connections(struct classification *c, const struct tree_node *node,
                                     struct error *error) {
    const char *what = "classification.connections";
    c->has_connections = true;
    return load_filled_folder(c, node, what, read_connection, error) &&
           load_filled_folder(c, node, what, check_fallback, error);
}

/* -- tables ------------------------------------------------------------------------------------ */

static bool add_table(struct classification *c, const struct tree_node *name,
                      const struct tree_node *schema_node, bool deleted, struct error *error) {
    int schema = -1;
    if (name->text[0] == '\0')
        return tree_error(name, error, "a table without a name: give one");
    if (schema_node->kind == TREE_NULL)
        return tree_error(schema_node, error, "\"%s\" has no gitlab_schema: give one", name->text);
    if (!read_schema(c, schema_node, name->text, &schema, error))
        return false;
    struct name_entry *entry = name_table_add(&c->tables, name->text);
    int8_t *place = deleted ? &entry->deleted : &entry->live;
    if (*place >= 0 && *place != schema)
        return tree_error(name, error,
                          "\"%s\" is in %s here, but in %s in an earlier file: keep one",
                          name->text, c->schemas[schema].name, c->schemas[*place].name);
    c->table_count += !deleted && *place < 0;
    *place = (int8_t)schema;
    return true;
}

static bool read_flat_file(struct classification *c, const struct tree_node *root,
                           struct error *error) {
    if (root->kind != TREE_MAP)
        return tree_error(root, error,
                          "no tables here: write a line `table: :gitlab_main` for each");
    for (size_t i = 0; i < root->count; i++) {
        if (!add_table(c, root->keys[i], root->values[i], false, error))
            return false;
    }
    return true;
}

static bool read_entry(struct classification *c, const struct tree_node *root, bool deleted,
                       struct error *error) {
    if (!tree_expect(root, "a dictionary file", TREE_MAP, error))
        return false;
    const struct tree_node *name = tree_find(root, "table_name");
    if (name == NULL)
        name = tree_find(root, "view_name");
    if (name == NULL)
        return tree_error(root, error, "neither table_name nor view_name: add one");
    const struct tree_node *schema = tree_find(root, "gitlab_schema");
    const char *text;
    if (!tree_text(name, "table_name", &text, error))
        return false;
    if (schema == NULL)
        return tree_error(name, error, "\"%s\" has no gitlab_schema: add `gitlab_schema: …`", text);
    return add_table(c, name, schema, deleted, error);
}

static bool read_live_entry(struct classification *c, const struct tree_node *root,
                            struct error *error) {
    return read_entry(c, root, false, error);
}

static bool read_deleted_entry(struct classification *c, const struct tree_node *root,
                               struct error *error) {
    return read_entry(c, root, true, error);
}

static bool load_dictionary(struct classification *c, const struct tree_node *node,
                            const char *folder, struct error *error) {
    static const struct {
        const char *subfolder;
        file_reader *read;
    } parts[] = {{"", read_live_entry},
                 {"/views", read_live_entry},
                 {"/deleted_tables", read_deleted_entry},
                 {"/deleted_views", read_deleted_entry}};
    const char *what = "classification.tables";
    size_t total = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char *path = alloc_format("%s%s", folder, parts[i].subfolder);
        bool ok = load_folder(c, node, what, path, i > 0, parts[i].read, &total, error);
        free(path);
        if (!ok)
            return false;
    }
    return total > 0 ||
           tree_error(node, error, "%s: no *.yml files in %s: correct the path", what, folder);
}

bool classification_load_tables(struct classification *c, const struct tree_node *node,
                                struct error *error) {
    const char *what = "classification.tables";
    char *path;
    if (!load_path(node, what, &path, error))
        return false;
    struct stat status;
    bool folder = stat(path, &status) == 0 && S_ISDIR(status.st_mode);
    bool ok = folder ? load_dictionary(c, node, path, error)
                     : load_file(c, node, what, path, read_flat_file, error);
    free(path);
    return ok;
}

bool classification_load_functions(struct classification *c, const struct tree_node *node,
                                   struct error *error) {
    if (!tree_expect(node, "classification.functions", TREE_MAP, error))
        return false;
    for (size_t i = 0; i < node->count; i++) {
        const struct tree_node *value = node->values[i];
        const char *dot = strrchr(node->keys[i]->text, '.'), *text;
        const char *name = dot != NULL ? dot + 1 : node->keys[i]->text;
        if (name[0] == '\0')
            return tree_error(node->keys[i], error, "a function without a name: give one");
        if (!tree_text(value, node->keys[i]->text, &text, error))
            return false;
        int schema = classification_schema_by_name(c, text + (text[0] == ':'));
        if (schema < 0 || (c->has_permissions && !c->schemas[schema].declared))
            return tree_error(value, error,
                              "classification.functions: unknown schema \"%s\": name one that the "
                              "classification has",
                              text);
        name_table_add(&c->functions, name)->live = (int8_t)schema;
    }
    return true;
}
