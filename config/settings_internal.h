/* Between the parts that read a settings file. One load, one thread, one struct loader. */
#ifndef PGINTERLOCK_SETTINGS_INTERNAL_H
#define PGINTERLOCK_SETTINGS_INTERNAL_H

#include "config/settings.h"
#include "config/yaml.h"

struct loader {
    struct settings *settings; /* filled in step by step */
    const struct tree_node *root;
    struct tree *rails; /* the file of databases_from, as long as `origins` point into it */
    /* Where each database is written, for errors that only later steps find. */
    const struct tree_node *origins[DATABASES_MAX];
    const struct tree_node *same_as[DATABASES_MAX]; /* the value of its same_as, or NULL */
};

/* A key of a map and who reads its value; NULL: the caller does, in its own order. */
struct setting_key {
    const char *name;
    bool (*read)(struct loader *loader, const struct tree_node *node, struct error *error);
};

/* Reads a map by its keys, in their order; a key that isn't among them (count) is an error. `what`
 * names the map. */
bool settings_read_map(struct loader *loader, const struct tree_node *node, const char *what,
                       const struct setting_key *keys, size_t count, struct error *error)
    __attribute__((warn_unused_result));

/* Something to be said at start. */
void settings_notice(struct settings *settings, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Wraps an error without a line into the line of `node`: `FILE:LINE: what: cause: advice`. Returns
 * false. */
bool settings_wrap_error(const struct tree_node *node, const char *what, const char *advice,
                         struct error *error);

/* A path as the file that names it means it; must be a file that can be read. The caller frees. */
bool settings_read_path(const struct tree_node *node, const char *what, char **out,
                        struct error *error) __attribute__((warn_unused_result));

/* -- sections ---------------------------------------------------------------------------------- */

bool settings_read_databases(struct loader *loader, struct error *error)
    __attribute__((warn_unused_result)); /* databases or databases_from */
bool settings_read_classification(struct loader *loader, struct error *error)
    __attribute__((warn_unused_result));
bool settings_read_entrypoints(struct loader *loader, struct error *error)
    __attribute__((warn_unused_result));
bool settings_read_allowlist(struct loader *loader, struct error *error)
    __attribute__((warn_unused_result)); /* after the classification */
bool settings_read_pool(struct loader *loader, struct error *error)
    __attribute__((warn_unused_result)); /* after databases and entrypoints */
bool settings_read_admin(struct loader *loader, struct error *error)
    __attribute__((warn_unused_result)); /* after entrypoints and auth */
bool settings_read_listen(struct loader *loader, const struct tree_node *node, struct error *error)
    __attribute__((warn_unused_result));
bool settings_read_auth(struct loader *loader, const struct tree_node *node, struct error *error)
    __attribute__((warn_unused_result));
bool settings_read_tls(struct loader *loader, const struct tree_node *node, struct error *error)
    __attribute__((warn_unused_result));
bool settings_read_tcp_keepalive(struct loader *loader, const struct tree_node *node,
                                 struct error *error) __attribute__((warn_unused_result));
bool settings_read_tcp_keepidle(struct loader *loader, const struct tree_node *node,
                                struct error *error) __attribute__((warn_unused_result));
bool settings_read_tcp_keepintvl(struct loader *loader, const struct tree_node *node,
                                 struct error *error) __attribute__((warn_unused_result));
bool settings_read_tcp_keepcnt(struct loader *loader, const struct tree_node *node,
                               struct error *error) __attribute__((warn_unused_result));
bool settings_read_tcp_user_timeout(struct loader *loader, const struct tree_node *node,
                                    struct error *error) __attribute__((warn_unused_result));
/* What holds between listen, auth and tls; after them. */
bool settings_check_access(struct loader *loader, struct error *error)
    __attribute__((warn_unused_result));

/* A Rails database.yml, named by the node of databases_from. */
bool settings_read_rails(struct loader *loader, const struct tree_node *node, struct error *error)
    __attribute__((warn_unused_result));
/* Enters a database; takes `conninfo` (NULL: same_as another, not yet known which). */
bool settings_add_database(struct loader *loader, const struct tree_node *name, char *conninfo,
                           struct error *error) __attribute__((warn_unused_result));

/* The settings of a text; `path` names it in messages and is where relative paths start. */
bool settings_load_buffer(const char *path, const char *data, size_t length, struct settings **out,
                          struct error *error) __attribute__((warn_unused_result));

#endif
