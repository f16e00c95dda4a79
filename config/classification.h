/* The classification: which gitlab_schema a table belongs to, which databases hold a schema, and what the schemas
 * permit each other. Loaded once by settings_load(), then immutable; it may be read from every thread.
 *
 * Schemas and databases are small numbers: an index is an `int` (-1: none), a set is a bit mask. */
#ifndef PGINTERLOCK_CLASSIFICATION_H
#define PGINTERLOCK_CLASSIFICATION_H

#include "config/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DATABASES_MAX = 32, SCHEMAS_MAX = 64 };

typedef uint32_t database_set; /* bit i: settings->databases[i], the logical database */
typedef uint64_t schema_set;   /* bit i: the schema with index i */

struct classification;

/* The gitlab_schema of a relation, in GitLab's order (contract.md, "Classification of a name"), or -1: unclassified.
 * `schema` is the PostgreSQL schema as written or NULL; it only matters for information_schema. `name` is the
 * identifier as PostgreSQL would store it (folded, unquoted, truncated to 63 bytes). O(1), no allocation. */
int classification_lookup(const struct classification *c, const char *schema, const char *name);

/* The schema of a function named in `classification.functions`, or -1. */
int classification_lookup_function(const struct classification *c, const char *name);

int classification_schema_count(const struct classification *c);
const char *classification_schema_name(const struct classification *c, int schema);
int classification_schema_by_name(const struct classification *c, const char *name); /* -1: no such schema */

/* True for gitlab_internal and gitlab_shared*, which go with everything. */
bool classification_schema_is_neutral(const struct classification *c, int schema);
bool classification_schema_is_internal(const struct classification *c, int schema); /* gitlab_internal only */

/* The databases that hold the schema's tables as their own (all of them for a neutral schema). Never empty. */
database_set classification_schema_databases(const struct classification *c, int schema);

/* The schemas that are locked against writes on a database (`lock_gitlab_schemas`, or without `connections` every
 * schema that the database does not hold). */
schema_set classification_locked_schemas(const struct classification *c, int database);

/* Whether `schemas` (the permission lists) were given at all, and what schema `from` lists. A schema lists itself. */
bool classification_has_permissions(const struct classification *c);
schema_set classification_allowed_joins(const struct classification *c, int from);
schema_set classification_allowed_transactions(const struct classification *c, int from);
schema_set classification_allowed_foreign_keys(const struct classification *c, int from);

size_t classification_table_count(const struct classification *c);
/* Tables and views of one schema, without removed ones. Walks over all: for reports. */
size_t classification_schema_table_count(const struct classification *c, int schema);

/* Walks over the tables and views, without removed ones, in no order: set *cursor to 0 first. NULL: there are no more. */
const char *classification_next_table(const struct classification *c, size_t *cursor, int *schema);

#endif
