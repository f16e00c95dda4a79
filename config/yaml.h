/* A YAML file as a tree that knows its lines. Aliases are shared nodes, `<<` merges are resolved,
 * and a key that is given twice is an error, so that a reader only has to look at keys and values.
 *
 * A tree owns its nodes; nodes are immutable. Used while loading, on one thread. */
#ifndef PGINTERLOCK_CONFIG_YAML_H
#define PGINTERLOCK_CONFIG_YAML_H

#include "config/error.h"

#include <stdbool.h>
#include <stddef.h>

enum tree_kind { TREE_NULL, TREE_SCALAR, TREE_LIST, TREE_MAP };

struct tree_node {
    enum tree_kind kind;
    bool plain;       /* a scalar written without quotes */
    int line;         /* from 1 */
    const char *path; /* of the file, for messages; the tree's */
    char *text;       /* of a scalar, NUL-terminated, without a NUL inside; "" for TREE_NULL */
    struct tree_node **keys;   /* of a map: scalars, all different, in the file's order */
    struct tree_node **values; /* of a map or list */
    size_t count;
};

struct tree;

enum tree_option {
    TREE_ENVIRONMENT = 1 << 0, /* ${VAR} and ${VAR:-default} are replaced in scalars */
    TREE_NO_ERB = 1 << 1, /* a line with <% is an error that says that ERB can't be evaluated */
};

/* The error reads `FILE:LINE: …`. A file that can't be read has no line: the error then is
 * file_read()'s. */
bool tree_load_file(const char *path, unsigned options, struct tree **out, struct error *error)
    __attribute__((warn_unused_result));
/* `path` only names the text in messages. */
bool tree_load_buffer(const char *path, const char *data, size_t length, unsigned options,
                      struct tree **out, struct error *error) __attribute__((warn_unused_result));
void tree_free(struct tree *tree);

const struct tree_node *tree_root(const struct tree *tree); /* TREE_NULL where the file is empty */

/* The value of a key of a map, or NULL. */
const struct tree_node *tree_find(const struct tree_node *map, const char *key);

/* Sets `FILE:LINE: ` and the message; returns false. */
bool tree_error(const struct tree_node *node, struct error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The node as a type, or an error that names `what` ("auth.method"). Text is not empty. */
bool tree_text(const struct tree_node *node, const char *what, const char **out,
               struct error *error) __attribute__((warn_unused_result));
bool tree_bool(const struct tree_node *node, const char *what, bool *out, struct error *error)
    __attribute__((warn_unused_result));
bool tree_unsigned(const struct tree_node *node, const char *what, unsigned least, unsigned most,
                   unsigned *out, struct error *error) __attribute__((warn_unused_result));
/* The node's place among `names` (count of them). */
bool tree_choice(const struct tree_node *node, const char *what, const char *const *names,
                 size_t count, unsigned *out, struct error *error)
    __attribute__((warn_unused_result));
bool tree_expect(const struct tree_node *node, const char *what, enum tree_kind kind,
                 struct error *error) __attribute__((warn_unused_result));

#endif
