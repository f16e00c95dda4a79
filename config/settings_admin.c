/* The key `admin`: the console's name and who may use it. */
#include "config/settings_internal.h"

#include "config/alloc.h"

#include <stdlib.h>
#include <string.h>

static const char default_database[] = "pginterlock";

static bool read_database(struct loader *loader, const struct tree_node *node,
                          struct error *error) {
    const char *text;
    if (!tree_text(node, "admin.database", &text, error))
        return false;
    loader->settings->admin.database = alloc_text(text);
    return true;
}

/* Who can't log in can't be let in: a name that is written wrong is better said now. */
static bool can_log_in(const struct settings *settings, const char *user) {
    bool listed = settings->auth.method != AUTH_TRUST && settings->auth.method != AUTH_CERT;
    return !listed || settings_find_user(settings, user) != NULL;
}

static bool read_user(struct settings *settings, const struct tree_node *node,
                      struct error *error) {
    const char *name;
    if (!tree_text(node, "admin.users", &name, error))
        return false;
    if (settings_is_admin(settings, name))
        return tree_error(node, error, "admin.users: \"%s\" is given twice: remove one of them",
                          name);
    if (!can_log_in(settings, name))
        return tree_error(
            node, error, "admin.users: \"%s\" is not in the list of auth.users: add the user there",
            name);
    settings->admin.users = alloc_grow(settings->admin.users, settings->admin.user_count,
                                       sizeof *settings->admin.users);
    settings->admin.users[settings->admin.user_count++] = alloc_text(name);
    return true;
}

static bool read_users(struct loader *loader, const struct tree_node *node, struct error *error) {
    if (!tree_expect(node, "admin.users", TREE_LIST, error))
        return false;
    for (size_t i = 0; i < node->count; i++)
        if (!read_user(loader->settings, node->values[i], error))
            return false;
    return true;
}

bool settings_read_admin(struct loader *loader, struct error *error) {
    static const struct setting_key keys[] = {{"database", read_database}, {"users", read_users}};
    struct settings *settings = loader->settings;
    const struct tree_node *node = tree_find(loader->root, "admin");
    if (node == NULL)
        return true;
    if (!settings_read_map(loader, node, "admin", keys, 2, error))
        return false;
    const struct tree_node *database = tree_find(node, "database");
    if (database == NULL)
        settings->admin.database = alloc_text(default_database);
    if (settings_find_entrypoint(settings, settings->admin.database) >= 0)
        return tree_error(database != NULL ? database : node, error,
                          "admin.database \"%s\" is an entrypoint: choose another name",
                          settings->admin.database);
    if (settings->admin.user_count == 0) {
        const struct tree_node *users = tree_find(node, "users");
        return tree_error(users != NULL ? users : node, error,
                          "admin names nobody who may use it: write users: [NAME, …]");
    }
    return true;
}

bool settings_is_admin(const struct settings *settings, const char *user) {
    for (size_t i = 0; i < settings->admin.user_count; i++)
        if (strcmp(settings->admin.users[i], user) == 0)
            return true;
    return false;
}
