/* Inside of a classification, for those who build it: names are added one by one while loading,
 * then classification_finish() works out what depends on all of them. After that it is immutable.
 */
#ifndef PGINTERLOCK_CLASSIFICATION_INTERNAL_H
#define PGINTERLOCK_CLASSIFICATION_INTERNAL_H

#include "config/classification.h"
#include "config/yaml.h"

enum { CONNECTIONS_MAX = 64 };

/* What a name stands for. -1: not so. */
struct name_entry {
    char *name; /* NULL: the slot is free */
    size_t length;
    int8_t live;    /* schema of the table or view */
    int8_t deleted; /* schema of the table or view that was removed */
    int8_t parent;  /* for `ci_x`: schema of the table `p_ci_x` */
};

/* Open addressing with linear probing, at most half full, so a look-up is a hash and about one
 * comparison. */
struct name_table {
    struct name_entry *slots;
    size_t mask; /* slots - 1; slots are a power of two */
    size_t count;
};

struct schema {
    char *name;
    bool declared; /* by a file of `schemas` */
    bool neutral, internal;
    database_set databases;
    schema_set joins, transactions, foreign_keys;
};

/* A file of `connections`. */
struct connection {
    char *name;
    char *fallback; /* or NULL */
    schema_set holds, locks;
};

struct classification {
    struct name_table tables, functions;
    size_t table_count; /* tables and views, without removed ones */
    struct schema schemas[SCHEMAS_MAX];
    int schema_count;
    int gitlab_internal, gitlab_shared;
    int by_length[SCHEMAS_MAX]; /* the gitlab_* schemas, longest name first */
    int by_length_count;
    bool has_permissions;
    bool has_connections;
    struct connection connections[CONNECTIONS_MAX];
    int connection_count;
    schema_set locked[DATABASES_MAX];
};

/* Knows the schemas that GitLab's rules name, and no table. */
struct classification *classification_new(void);
void classification_free(struct classification *c); /* NULL is fine */

/* Index of the schema, entered if new; -1: there are SCHEMAS_MAX already. */
int classification_add_schema(struct classification *c, const char *name);

/* The name's entry, entered if new. It is valid until the next addition. */
struct name_entry *name_table_add(struct name_table *table, const char *name);

const struct connection *classification_find_connection(const struct classification *c,
                                                        const char *name);

/* Whether the classification knows of a database called so: from the connections, or else from its
 * schemas. */
bool classification_knows_database(const struct classification *c, const char *name);

/* Works out databases, locks and prefixes. `names` are the configured databases, `main` first. */
void classification_finish(struct classification *c, const char *const *names, size_t count);

/* -- files (classification_load.c); errors read `FILE:LINE: …` --------------------------------- */

/* Call in this order. `node` names the path in the settings file. */
bool classification_load_schemas(struct classification *c, const struct tree_node *node,
                                 struct error *error) __attribute__((warn_unused_result));
bool classification_load_connections(struct classification *c, const struct tree_node *node,
                                     struct error *error) __attribute__((warn_unused_result));
bool classification_load_tables(struct classification *c, const struct tree_node *node,
                                struct error *error) __attribute__((warn_unused_result));
/* `node` is the map of functions itself. */
bool classification_load_functions(struct classification *c, const struct tree_node *node,
                                   struct error *error) __attribute__((warn_unused_result));

#endif
