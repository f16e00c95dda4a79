/* What ties tables of two databases together within one: foreign keys, inheritance, views, rules
 * and policies. */
#include "commands/live_audit.h"

#include "config/alloc.h"

#include <stdlib.h>
#include <string.h>

enum { TABLES_TOLD = 8 };

/* -- tables together --------------------------------------------------------------------------- */

void live_crossing_start(struct live_crossing *crossing) {
    *crossing = (struct live_crossing){.databases = ~(database_set)0};
}

void live_crossing_close(struct live_crossing *crossing) {
    free(crossing->tables);
    crossing->tables = NULL;
}

/* Whether the list has the entry already. */
static bool told(const char *tables, const char *entry) {
    size_t length = strlen(entry);
    for (const char *at = tables; at != NULL && (at = strstr(at, entry)) != NULL; at += length)
        if ((at == tables || at[-1] == ' ') && (at[length] == '\0' || at[length] == ','))
            return true;
    return false;
}

static void tell(struct live_crossing *crossing, const char *entry) {
    const char *before = crossing->tables != NULL ? crossing->tables : "";
    if (crossing->count >= TABLES_TOLD || told(crossing->tables, entry))
        return;
    char *tables = ++crossing->count == TABLES_TOLD
                       ? alloc_format("%s and others", before)
                       : alloc_format("%s%s%s", before, before[0] != '\0' ? ", " : "", entry);
    free(crossing->tables);
    crossing->tables = tables;
}

void live_crossing_merge(struct live_crossing *crossing, const struct live_crossing *from,
                         const char *name) {
    if (from->count == 0)
        return;
    crossing->schemas |= from->schemas;
    crossing->databases &= from->databases;
    char *entry = alloc_format("what %s() uses", name);
    tell(crossing, entry);
    free(entry);
}

void live_crossing_add(struct live_crossing *crossing, const struct classification *c,
                       int gitlab_schema, const char *name) {
    if (gitlab_schema < 0 || classification_schema_is_neutral(c, gitlab_schema))
        return;
    crossing->schemas |= (schema_set)1 << gitlab_schema;
    crossing->databases &= classification_schema_databases(c, gitlab_schema);
    char *entry = alloc_format("%s (%s)", name, classification_schema_name(c, gitlab_schema));
    tell(crossing, entry);
    free(entry);
}

/* Whether one of the schemas lists all the others. */
static bool joins_allowed(const struct classification *c, schema_set schemas) {
    for (schema_set rest = schemas; rest != 0; rest &= rest - 1)
        if ((schemas & ~classification_allowed_joins(c, __builtin_ctzll(rest))) == 0)
            return true;
    return schemas == 0;
}

bool live_crossing_is_apart(const struct live_crossing *crossing, const struct classification *c) {
    return crossing->databases == 0 ||
           (classification_has_permissions(c) && !joins_allowed(c, crossing->schemas));
}

const char *live_value(const PGresult *rows, int row, int column) {
    return PQgetisnull(rows, row, column) ? NULL : PQgetvalue(rows, row, column);
}

/* The schema of the table in three columns: its PostgreSQL schema, its name, the root of its
 * partitioning. */
static int schema_at(const struct classification *c, const PGresult *rows, int row, int column) {
    return lock_table_schema(c, PQgetvalue(rows, row, column), PQgetvalue(rows, row, column + 1),
                             live_value(rows, row, column + 2));
}

#define ROOT_OF(c)                                                                                 \
    "(SELECT r.relname FROM pg_catalog.pg_class r WHERE " c ".relispartition"                      \
    " AND r.oid = pg_catalog.pg_partition_root(" c ".oid))"

/* -- foreign keys and inheritance: two tables each --------------------------------------------- */

static const char foreign_keys_sql[] =
    "SELECT n.nspname, c.relname, " ROOT_OF("c") ", fn.nspname, f.relname, " ROOT_OF(
        "f") ", k.conname FROM pg_catalog.pg_constraint k"
             " JOIN pg_catalog.pg_class c ON c.oid = k.conrelid"
             " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
             " JOIN pg_catalog.pg_class f ON f.oid = k.confrelid"
             " JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace"
             " WHERE k.contype = 'f' AND k.conparentid = 0 ORDER BY 1, 2, 7";

static const char inheritance_sql[] =
    "SELECT n.nspname, c.relname, " ROOT_OF("c") ", pn.nspname, p.relname, " ROOT_OF(
        "p") " FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid"
             " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
             " JOIN pg_catalog.pg_class p ON p.oid = i.inhparent"
             " JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace"
             " WHERE c.relkind IN ('r', 'p', 'f') ORDER BY 1, 2";

static bool foreign_key_allowed(const struct classification *c, int from, int to) {
    if (from < 0 || to < 0 || from == to || classification_schema_is_neutral(c, from) ||
        classification_schema_is_neutral(c, to))
        return true;
    if ((classification_schema_databases(c, from) & classification_schema_databases(c, to)) == 0)
        return false;
    return !classification_has_permissions(c) ||
           (classification_allowed_foreign_keys(c, from) >> to & 1) != 0 ||
           (classification_allowed_foreign_keys(c, to) >> from & 1) != 0;
}

static bool check_foreign_keys(struct live_audit *audit, struct live_database *database,
                               struct error *error) {
    const struct classification *c = audit->settings->classification;
    PGresult *rows;
    if (!database_client_query(&database->client, foreign_keys_sql, &rows, error))
        return false;
    for (int i = 0; i < PQntuples(rows); i++) {
        int from = schema_at(c, rows, i, 0), to = schema_at(c, rows, i, 3);
        if (foreign_key_allowed(c, from, to))
            continue;
        live_find(audit, LIVE_FOREIGN_KEY, true, database->client.database,
                  alloc_format("%s.%s", PQgetvalue(rows, i, 0), PQgetvalue(rows, i, 1)),
                  alloc_format("the foreign key %s goes from %s to %s.%s (%s)",
                               PQgetvalue(rows, i, 6), classification_schema_name(c, from),
                               PQgetvalue(rows, i, 3), PQgetvalue(rows, i, 4),
                               classification_schema_name(c, to)),
                  "drop it and use a loose foreign key");
    }
    PQclear(rows);
    return true;
}

static bool check_inheritance(struct live_audit *audit, struct live_database *database,
                              struct error *error) {
    const struct classification *c = audit->settings->classification;
    PGresult *rows;
    if (!database_client_query(&database->client, inheritance_sql, &rows, error))
        return false;
    for (int i = 0; i < PQntuples(rows); i++) {
        struct live_crossing crossing;
        live_crossing_start(&crossing);
        live_crossing_add(&crossing, c, schema_at(c, rows, i, 0), PQgetvalue(rows, i, 1));
        live_crossing_add(&crossing, c, schema_at(c, rows, i, 3), PQgetvalue(rows, i, 4));
        if (crossing.databases == 0)
            live_find(
                audit, LIVE_PARTITION, true, database->client.database,
                alloc_format("%s.%s", PQgetvalue(rows, i, 0), PQgetvalue(rows, i, 1)),
                alloc_format("it is a part of a table of another database: %s", crossing.tables),
                "detach it, or correct its classification");
        live_crossing_close(&crossing);
    }
    PQclear(rows);
    return true;
}

/* -- views, rules, policies and defaults: any number ---------------------------------------------
 */

#define CLASS_OF(c, n, oid)                                                                        \
    " JOIN pg_catalog.pg_class " c " ON " c ".oid = " oid " JOIN pg_catalog.pg_namespace " n       \
    " ON " n ".oid = " c ".relnamespace"
#define CLASS_NEEDED(d, catalog, oid)                                                              \
    " JOIN pg_catalog.pg_depend " d " ON " d ".classid = 'pg_catalog." catalog                     \
    "'::pg_catalog.regclass AND " d ".objid = " oid " AND " d                                      \
    ".refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
#define DEPENDENT(name, oid)                                                                       \
    ", n.nspname, c.relname, " ROOT_OF("c") ", " name ", " oid                                     \
                                            ", tn.nspname, t.relname, " ROOT_OF("t")
#define OTHER_RELATION " AND t.oid <> c.oid AND t.relkind IN ('r', 'p', 'v', 'm', 'f')"

/* One row for each relation that something depends on, what depends first: its kind, schema,
 * relation and root, its own name, its oid. A default depends on the tables of its sequences. */
/* clang-format off */
static const char dependents_sql[] =
    "SELECT CASE WHEN w.rulename = '_RETURN' THEN 'v' ELSE 'r' END" DEPENDENT("w.rulename", "w.oid")
    " FROM pg_catalog.pg_rewrite w" CLASS_OF("c", "n", "w.ev_class")
    CLASS_NEEDED("d", "pg_rewrite", "w.oid") CLASS_OF("t", "tn", "d.refobjid") OTHER_RELATION
    " WHERE" LIVE_USER_SCHEMA("n") "AND" LIVE_NO_EXTENSION("pg_class", "c.oid")
    "UNION SELECT 'p'" DEPENDENT("o.polname", "o.oid")
    " FROM pg_catalog.pg_policy o" CLASS_OF("c", "n", "o.polrelid")
    CLASS_NEEDED("d", "pg_policy", "o.oid") CLASS_OF("t", "tn", "d.refobjid") OTHER_RELATION
    " UNION SELECT 'd'" DEPENDENT("a.attname", "f.oid")
    " FROM pg_catalog.pg_attrdef f JOIN pg_catalog.pg_attribute a"
    "  ON a.attrelid = f.adrelid AND a.attnum = f.adnum" CLASS_OF("c", "n", "f.adrelid")
    CLASS_NEEDED("d", "pg_attrdef", "f.oid") " JOIN pg_catalog.pg_sequence q ON q.seqrelid = d.refobjid"
    CLASS_NEEDED("u", "pg_class", "q.seqrelid") " AND u.deptype IN ('a', 'i')"
    CLASS_OF("t", "tn", "u.refobjid")
    " ORDER BY 1, 2, 3, 5, 6, 7, 8";
/* clang-format on */

static void find_dependent(struct live_audit *audit, int database, const PGresult *rows, int row,
                           const struct live_crossing *crossing) {
    char kind = PQgetvalue(rows, row, 0)[0];
    char *object = alloc_format("%s.%s", PQgetvalue(rows, row, 1), PQgetvalue(rows, row, 2));
    if (kind == 'v')
        live_find(
            audit, LIVE_VIEW, true, database, object,
            alloc_format("this view uses tables of more than one database: %s", crossing->tables),
            "drop it, or split it into one for each database");
    else if (kind == 'd')
        live_find(audit, LIVE_SEQUENCE, true, database, object,
                  alloc_format("the default of its column %s draws from a sequence of another "
                               "database's table: %s",
                               PQgetvalue(rows, row, 4), crossing->tables),
                  "give it a sequence of its own");
    else
        live_find(audit, kind == 'r' ? LIVE_RULE : LIVE_POLICY, true, database, object,
                  alloc_format("the %s %s uses tables of more than one database: %s",
                               kind == 'r' ? "rule" : "policy", PQgetvalue(rows, row, 4),
                               crossing->tables),
                  "drop it");
}

static bool check_dependents(struct live_audit *audit, struct live_database *database,
                             struct error *error) {
    const struct classification *c = audit->settings->classification;
    PGresult *rows;
    if (!database_client_query(&database->client, dependents_sql, &rows, error))
        return false;
    int count = PQntuples(rows);
    for (int i = 0, next; i < count; i = next) {
        struct live_crossing crossing;
        live_crossing_start(&crossing);
        live_crossing_add(&crossing, c, schema_at(c, rows, i, 1), PQgetvalue(rows, i, 2));
        for (next = i; next < count && PQgetvalue(rows, next, 0)[0] == PQgetvalue(rows, i, 0)[0] &&
                       strcmp(PQgetvalue(rows, next, 5), PQgetvalue(rows, i, 5)) == 0;
             next++)
            live_crossing_add(&crossing, c, schema_at(c, rows, next, 6), PQgetvalue(rows, next, 7));
        if (live_crossing_is_apart(&crossing, c))
            find_dependent(audit, database->client.database, rows, i, &crossing);
        live_crossing_close(&crossing);
    }
    PQclear(rows);
    return true;
}

bool live_check_crossings(struct live_audit *audit, struct live_database *database,
                          struct error *error) {
    return check_foreign_keys(audit, database, error) &&
           check_inheritance(audit, database, error) && check_dependents(audit, database, error);
}
