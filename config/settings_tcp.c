/* What the kernel does about clients that have gone silently. Names, units and meanings are
 * PgBouncer's; towards databases they are libpq's, in the connection strings. */
#include "config/settings_internal.h"

#include <string.h>

/* As in tcp(7): what setsockopt() takes at most. */
enum { KEEP_SECONDS_MAX = 32767, KEEP_COUNT_MAX = 127, USER_TIMEOUT_MAX = 999999999 };

bool settings_read_tcp_keepalive(struct loader *loader, const struct tree_node *node,
                                 struct error *error) {
    bool *keepalive = &loader->settings->tcp.keepalive;
    if (node->kind == TREE_SCALAR && node->plain &&
        (strcmp(node->text, "0") == 0 || strcmp(node->text, "1") == 0)) {
        *keepalive = node->text[0] == '1';
        return true;
    }
    return tree_bool(node, "tcp_keepalive", keepalive, error);
}

bool settings_read_tcp_keepidle(struct loader *loader, const struct tree_node *node,
                                struct error *error) {
    return tree_unsigned(node, "tcp_keepidle", 0, KEEP_SECONDS_MAX, &loader->settings->tcp.keepidle,
                         error);
}

bool settings_read_tcp_keepintvl(struct loader *loader, const struct tree_node *node,
                                 struct error *error) {
    return tree_unsigned(node, "tcp_keepintvl", 0, KEEP_SECONDS_MAX,
                         &loader->settings->tcp.keepintvl, error);
}

bool settings_read_tcp_keepcnt(struct loader *loader, const struct tree_node *node,
                               struct error *error) {
    return tree_unsigned(node, "tcp_keepcnt", 0, KEEP_COUNT_MAX, &loader->settings->tcp.keepcnt,
                         error);
}

bool settings_read_tcp_user_timeout(struct loader *loader, const struct tree_node *node,
                                    struct error *error) {
    return tree_unsigned(node, "tcp_user_timeout", 0, USER_TIMEOUT_MAX,
                         &loader->settings->tcp.user_timeout, error);
}
