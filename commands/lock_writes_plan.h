/* Which tables of a database are to be locked against writes, which are, and the SQL that makes the
 * one the other.
 *
 * The lock is GitLab's, so that its rake tasks and ours undo and recognise each other's work: a
 * statement trigger `gitlab_schema_write_trigger_for_TABLE` that calls
 * `gitlab_schema_prevent_write()`. Pure functions but for lock_survey_read(), which reads the
 * catalogs. One thread. */
#ifndef PGINTERLOCK_LOCK_WRITES_PLAN_H
#define PGINTERLOCK_LOCK_WRITES_PLAN_H

#include "commands/database_client.h"

#define LOCK_FUNCTION "gitlab_schema_prevent_write"
#define LOCK_TRIGGER_PREFIX "gitlab_schema_write_trigger_for_"

enum { IDENTIFIER_BYTES = 63 };

enum lock_want {
    LOCK_WANT_EITHER,   /* unclassified, or nobody's concern here: left as it is */
    LOCK_WANT_LOCKED,   /* belongs to another database */
    LOCK_WANT_UNLOCKED, /* belongs here */
};

enum lock_state {
    LOCK_NONE,
    LOCK_BROKEN, /* there is a trigger, but it doesn't stop every write, or isn't called as it
                    should */
    LOCK_GOOD,
};

struct lock_table {
    char *schema, *name;
    int gitlab_schema; /* -1: unclassified */
    enum lock_want want;
    enum lock_state state;
    const char *broken; /* why; static */
    char **triggers;    /* the names of all its lock triggers */
    size_t trigger_count;
};

enum lock_function_state { LOCK_FUNCTION_NONE, LOCK_FUNCTION_FOREIGN, LOCK_FUNCTION_GOOD };

/* What there is in one physical database. Ordinary and partitioned tables and partitions of all
 * schemas, without temporary ones, views, foreign tables and what extensions own. */
struct lock_survey {
    struct lock_table *tables; /* by schema and name */
    size_t count;
    enum lock_function_state function;
    char *function_schema; /* where the function is, or would be made */
};

bool lock_survey_read(struct lock_survey *survey, struct database_client *client,
                      struct error *error) __attribute__((warn_unused_result));
void lock_survey_close(struct lock_survey *survey); /* zeroed is fine */
const struct lock_table *lock_survey_find(const struct lock_survey *survey, const char *schema,
                                          const char *name); /* NULL: no such table */

/* Whether the table is not as it should be. */
bool lock_table_drifts(const struct lock_table *table);

/* The gitlab_schema of a table: its own name's, else that of the partitioned table `root` that it
 * is a part of (NULL: of none); -1: unclassified. */
int lock_table_schema(const struct classification *c, const char *schema, const char *name,
                      const char *root);

/* The logical databases that the physical database `database` stores. */
database_set lock_stored_databases(const struct settings *settings, int database);

/* What the classification asks for in the physical database `database`. A table is locked only
 * where none of the databases stored there holds it. */
enum lock_want lock_want(const struct settings *settings, int database, int gitlab_schema);

/* The trigger's name, cut to 63 bytes between characters as PostgreSQL does; `out` has
 * IDENTIFIER_BYTES + 1. */
void lock_trigger_name(const char *table, char *out);

/* Judges one trigger by its row in pg_trigger; NULL: it is as it should be, else what is wrong. */
const char *lock_trigger_fault(int type, const char *enabled, bool conditional, bool right_function,
                               bool right_name);

/* SQL; the caller frees. `replace`: the trigger may be there though the survey doesn't tell of it.
 */
char *lock_function_sql(const struct lock_survey *survey);
char *lock_table_sql(const struct lock_survey *survey, const struct lock_table *table,
                     bool replace);
char *lock_table_unlock_sql(const struct lock_table *table);

#endif
