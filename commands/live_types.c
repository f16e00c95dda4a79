/* Types of users and extensions: a driver that learned their OIDs from one database misreads the
 * other's values where they differ. */
#include "commands/live_audit.h"

#include "config/alloc.h"

#include <stdlib.h>
#include <string.h>

/* Row types of tables stay within a server. Columns count in whatever relation they are, and in
 * arrays. */
static const char types_sql[] =
    "SELECT n.nspname, t.typname, t.oid, t.typtype,"
    " EXISTS (SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = "
    "a.attrelid"
    "  JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace"
    "  WHERE a.atttypid IN (t.oid, NULLIF(t.typarray, 0)) AND NOT a.attisdropped"
    "  AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND" LIVE_USER_SCHEMA(
        "cn") "),"
              " (SELECT pg_catalog.string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder)"
              "  FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid),"
              " CASE WHEN t.typbasetype <> 0 THEN pg_catalog.format_type(t.typbasetype, "
              "t.typtypmod) END,"
              " (SELECT x.extname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension x"
              "  ON x.oid = d.refobjid WHERE d.deptype = 'e' AND d.objid = t.oid"
              "  AND d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass)"
              " FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace"
              " LEFT JOIN pg_catalog.pg_class r ON r.oid = t.typrelid"
              " WHERE t.oid >= 16384 AND t.typisdefined AND (t.typtype <> 'c' OR r.relkind = 'c')"
              " AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.typarray = t.oid)"
              " AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_t')"
              " ORDER BY n.nspname COLLATE \"C\", t.typname COLLATE \"C\"";

enum column {
    COL_SCHEMA,
    COL_NAME,
    COL_OID,
    COL_KIND,
    COL_USED,
    COL_LABELS,
    COL_BASE,
    COL_EXTENSION
};

static const char *kind_word(char kind) {
    switch (kind) {
    case 'e':
        return "enum";
    case 'd':
        return "domain";
    case 'c':
        return "composite type";
    case 'r':
    case 'm':
        return "range type";
    default:
        return "type";
    }
}

static bool same(const PGresult *a, int i, const PGresult *b, int j, int column) {
    return strcmp(PQgetvalue(a, i, column), PQgetvalue(b, j, column)) == 0;
}

static char *describe(const PGresult *rows, int row) {
    const char *extension = live_value(rows, row, COL_EXTENSION);
    const char *kind = kind_word(PQgetvalue(rows, row, COL_KIND)[0]);
    return extension != NULL ? alloc_format("this %s of the extension %s", kind, extension)
                             : alloc_format("this %s", kind);
}

static char *type_name(const PGresult *rows, int row) {
    return alloc_format("%s.%s", PQgetvalue(rows, row, COL_SCHEMA),
                        PQgetvalue(rows, row, COL_NAME));
}

/* The same name on both sides. A domain's values travel under its base type's OID. */
static void compare_type(struct live_audit *audit, const char *const names[2], const PGresult *a,
                         int i, const PGresult *b, int j) {
    char *what = describe(a, i);
    bool used = PQgetvalue(a, i, COL_USED)[0] == 't' || PQgetvalue(b, j, COL_USED)[0] == 't';
    bool domain = PQgetvalue(a, i, COL_KIND)[0] == 'd';
    if (!same(a, i, b, j, COL_KIND) || !same(a, i, b, j, COL_BASE) || !same(a, i, b, j, COL_LABELS))
        live_find(audit, LIVE_TYPE, true, -1, type_name(a, i),
                  alloc_format("%s is defined differently in %s and %s", what, names[0], names[1]),
                  "make them the same");
    if (!same(a, i, b, j, COL_OID))
        live_find(
            audit, LIVE_TYPE, used && !domain, -1, type_name(a, i),
            alloc_format("%s has OID %s in %s and %s in %s, which drivers that use the binary "
                         "format misread",
                         what, PQgetvalue(a, i, COL_OID), names[0], PQgetvalue(b, j, COL_OID),
                         names[1]),
            used && !domain ? "let the driver read it as text, or make it text in the tables"
                            : "nothing to do while no column sends it");
    free(what);
}

static void only_one(struct live_audit *audit, const char *const names[2], const PGresult *rows,
                     int row) {
    char *what = describe(rows, row);
    live_find(audit, LIVE_TYPE, false, -1, type_name(rows, row),
              alloc_format("%s is in %s and not in %s", what, names[0], names[1]),
              "nothing to do unless a table there needs it");
    free(what);
}

/* Both are sorted by name. */
static void compare_types(struct live_audit *audit, const char *left, const PGresult *a,
                          const char *right, const PGresult *b) {
    const char *const forth[2] = {left, right}, *const back[2] = {right, left};
    int i = 0, j = 0;
    while (i < PQntuples(a) || j < PQntuples(b)) {
        int order = i == PQntuples(a) ? 1 : j == PQntuples(b) ? -1 : 0;
        if (order == 0)
            order = strcmp(PQgetvalue(a, i, COL_SCHEMA), PQgetvalue(b, j, COL_SCHEMA));
        if (order == 0)
            order = strcmp(PQgetvalue(a, i, COL_NAME), PQgetvalue(b, j, COL_NAME));
        if (order < 0)
            only_one(audit, forth, a, i++);
        else if (order > 0)
            only_one(audit, back, b, j++);
        else
            compare_type(audit, forth, a, i++, b, j++);
    }
}

bool live_check_types(struct live_audit *audit, struct error *error) {
    PGresult *first = NULL;
    for (size_t i = 0; i < audit->database_count; i++) {
        PGresult *rows;
        struct database_client *client = &audit->databases[i].client;
        if (!database_client_query(client, types_sql, &rows, error)) {
            PQclear(first);
            return false;
        }
        if (first == NULL) {
            first = rows;
            continue;
        }
        compare_types(audit, database_client_name(&audit->databases[0].client), first,
                      database_client_name(client), rows);
        PQclear(rows);
    }
    PQclear(first);
    return true;
}
