/* Between the parts of check --live: what was read of each database, what was found, and the parts
 * themselves.
 *
 * A `struct live_audit` lives for one run of the command, on one thread; what it holds is freed by
 * live_audit_close(). A part returns false where it couldn't read a database; the error names it.
 */
#ifndef PGINTERLOCK_LIVE_AUDIT_H
#define PGINTERLOCK_LIVE_AUDIT_H

#include "commands/lock_writes_plan.h"
#include "routing/names.h"

/* What was looked at, in the order of the report. */
enum live_check {
    LIVE_UNCLASSIFIED,
    LIVE_ONE_SIDED,
    LIVE_FOREIGN_KEY,
    LIVE_PARTITION,
    LIVE_VIEW,
    LIVE_RULE,
    LIVE_POLICY,
    LIVE_TRIGGER,
    LIVE_FUNCTION,
    LIVE_SEQUENCE,
    LIVE_LOCK,
    LIVE_TYPE,
    LIVE_ROLE,
    LIVE_SETTING,
    LIVE_MISSING,
    LIVE_CHECK_COUNT
};

struct live_finding {
    enum live_check check;
    bool problem;       /* stands in the split's way; else good to know */
    int database;       /* index of the physical database; -1: it is about several */
    char *object;       /* what it is about */
    char *message;      /* what is wrong with it */
    const char *advice; /* what to do; static */
    size_t order;       /* as found */
};

/* A table, partitioned table, view, materialized view or foreign table. */
struct live_relation {
    const char *schema, *name; /* borrowed from the rows */
    char kind;                 /* pg_class.relkind */
    bool is_partition;
    int gitlab_schema;
};

/* A physical database that could be reached. */
struct live_database {
    struct database_client client;
    struct lock_survey locks;
    PGresult *rows;
    struct live_relation *relations;
    size_t relation_count;
    struct names by_name; /* "schema.name" → index of the relation */
};

struct live_audit {
    const struct settings *settings;
    struct live_database *databases;
    size_t database_count;
    bool complete; /* every database was reached */
    struct live_finding *findings;
    size_t finding_count;
};

/* -- findings (live_report.c) ------------------------------------------------------------------ */

/* Takes over `object` and `message`. */
void live_find(struct live_audit *audit, enum live_check check, bool problem, int database,
               char *object, char *message, const char *advice);
void live_report(struct live_audit *audit, bool json); /* sorts them */
size_t live_problem_count(const struct live_audit *audit);
void live_findings_close(struct live_audit *audit);

/* -- tables together (live_crossing.c) --------------------------------------------------------- */

/* The tables that something uses. Zeroed but for what live_crossing_start() sets. */
struct live_crossing {
    schema_set schemas;     /* without those that go with everything */
    database_set databases; /* that hold all of them */
    char *tables; /* "projects (gitlab_main), …", cut off where there are many; NULL: none */
    size_t count; /* of the tables told; 0: none is used */
};

void live_crossing_start(struct live_crossing *crossing);
void live_crossing_close(struct live_crossing *crossing);
/* Unclassified tables (-1) are found elsewhere and don't count. */
void live_crossing_add(struct live_crossing *crossing, const struct classification *c,
                       int gitlab_schema, const char *name);
/* Adds all that the function `name` uses. */
void live_crossing_merge(struct live_crossing *crossing, const struct live_crossing *from,
                         const char *name);
/* Whether one statement could not use all of them. */
bool live_crossing_is_apart(const struct live_crossing *crossing, const struct classification *c);

/* The schema of a table by which a sequence is called (`x_id_seq`), or -1. */
int live_sequence_schema(const struct classification *c, const char *name);

/* A row's column, or NULL where it is null. */
const char *live_value(const PGresult *rows, int row, int column);

/* The part of a WHERE that leaves out PostgreSQL's own schemas and what extensions own. */
#define LIVE_USER_SCHEMA(n)                                                                        \
    " " n ".nspname <> 'information_schema'"                                                       \
    " AND NOT pg_catalog.starts_with(" n ".nspname::text, 'pg_') "
#define LIVE_NO_EXTENSION(catalog, oid)                                                            \
    " NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.deptype = 'e'"                        \
    " AND e.classid = 'pg_catalog." catalog "'::pg_catalog.regclass AND e.objid = " oid ") "

/* -- the parts --------------------------------------------------------------------------------- */

bool live_relations_read(struct live_database *database, struct error *error);
void live_relations_close(struct live_database *database);
void live_check_relations(struct live_audit *audit); /* unclassified, one-sided, missing, locks */

bool live_check_crossings(
    struct live_audit *audit, struct live_database *database,
    struct error *error); /* foreign keys, partitions, views, rules, policies */
bool live_check_functions(struct live_audit *audit, struct live_database *database,
                          struct error *error); /* and triggers */
bool live_check_sequences(struct live_audit *audit, struct error *error);
bool live_check_types(struct live_audit *audit, struct error *error);
bool live_check_servers(struct live_audit *audit, struct error *error); /* roles and settings */

#endif
