/* Roles and settings: a session goes on in another database as the same user, and expects the same
 * of it. */
#include "commands/live_audit.h"

#include "config/alloc.h"

#include <stdlib.h>
#include <string.h>

/* -- settings ---------------------------------------------------------------------------------- */

/* What changes what a statement means or gives stands in the way; the rest is good to know.
 * search_path is what it was when the connection was made. */
static const struct {
    const char *name, *sql;
    bool problem;
    const char *advice;
} settings_compared[] = {
    {"encoding", "pg_catalog.current_setting('server_encoding')", true,
     "create the databases with one encoding"},
    {"collation",
     "(SELECT d.datcollate || ', ' || d.datctype FROM pg_catalog.pg_database d"
     " WHERE d.datname = pg_catalog.current_database())",
     true, "create the databases with one collation: rows come in another order"},
    {"collation version",
     "pg_catalog.concat_ws(', ', pg_catalog.pg_collation_actual_version("
     "(SELECT min(c.oid) FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_database d"
     " ON c.collcollate = d.datcollate WHERE c.collprovider = 'c'"
     " AND d.datname = pg_catalog.current_database())),"
     " 'ICU ' || pg_catalog.pg_collation_actual_version("
     "(SELECT min(c.oid) FROM pg_catalog.pg_collation c WHERE c.collprovider = 'i')))",
     true,
     "run the servers on one version of the C library and of ICU: rows come in another order"},
    {"server version", "(pg_catalog.current_setting('server_version_num')::int / 10000)::text",
     true, "run one major version: what one server understands the other may not"},
    {"minor server version", "pg_catalog.current_setting('server_version')", false,
     "update the older one"},
    {"TimeZone", "pg_catalog.current_setting('TimeZone')", true,
     "set it alike in both: dates mean another time"},
    {"DateStyle", "pg_catalog.current_setting('DateStyle')", true,
     "set it alike in both: dates are read differently"},
    {"IntervalStyle", "pg_catalog.current_setting('IntervalStyle')", true, "set it alike in both"},
    {"standard_conforming_strings", "pg_catalog.current_setting('standard_conforming_strings')",
     true, "set it alike in both: strings are read differently"},
    {"bytea_output", "pg_catalog.current_setting('bytea_output')", true, "set it alike in both"},
    {"default_transaction_isolation", "pg_catalog.current_setting('default_transaction_isolation')",
     true, "set it alike in both"},
    {"default_transaction_read_only", "pg_catalog.current_setting('default_transaction_read_only')",
     true, "set it alike in both"},
    {"statement_timeout", "pg_catalog.current_setting('statement_timeout')", false,
     "set it alike in both"},
    {"lock_timeout", "pg_catalog.current_setting('lock_timeout')", false, "set it alike in both"},
    {"idle_in_transaction_session_timeout",
     "pg_catalog.current_setting('idle_in_transaction_session_timeout')", false,
     "set it alike in both"},
    {"max_connections", "pg_catalog.current_setting('max_connections')", false,
     "nothing to do if the smaller one is enough"},
};

enum { SETTING_COUNT = sizeof settings_compared / sizeof settings_compared[0] };

static char *settings_sql(void) {
    char *sql = alloc_text("SELECT ");
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        char *more = alloc_format("%s%s%s", sql, i > 0 ? ", " : "", settings_compared[i].sql);
        free(sql);
        sql = more;
    }
    return sql;
}

static void find_setting(struct live_audit *audit, size_t other, const char *name, bool problem,
                         const char *here, const char *there, const char *advice) {
    if (strcmp(here, there) != 0)
        live_find(audit, LIVE_SETTING, problem, -1, alloc_text(name),
                  alloc_format("\"%s\" in %s, \"%s\" in %s", here,
                               database_client_name(&audit->databases[0].client), there,
                               database_client_name(&audit->databases[other].client)),
                  advice);
}

static void compare_settings(struct live_audit *audit, size_t other, const PGresult *a,
                             const PGresult *b) {
    for (int i = 0; i < SETTING_COUNT; i++)
        find_setting(audit, other, settings_compared[i].name, settings_compared[i].problem,
                     PQgetvalue(a, 0, i), PQgetvalue(b, 0, i), settings_compared[i].advice);
    find_setting(audit, other, "search_path", true, audit->databases[0].client.search_path,
                 audit->databases[other].client.search_path,
                 "set it alike in both: names mean other tables");
}

/* -- roles ------------------------------------------------------------------------------------- */

/* With whether a role owns something or has been granted something in this database, and its
 * settings there. */
static const char roles_sql[] =
    "SELECT r.rolname, r.rolcanlogin, pg_catalog.concat_ws(', ', CASE WHEN r.rolcanlogin THEN "
    "'login' END,"
    " CASE WHEN r.rolsuper THEN 'superuser' END, CASE WHEN r.rolbypassrls THEN 'bypassrls' END,"
    " CASE WHEN NOT r.rolinherit THEN 'noinherit' END, CASE WHEN r.rolconnlimit >= 0 THEN"
    " 'connection limit ' || r.rolconnlimit END),"
    " EXISTS (SELECT FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_database b ON b.oid = d.dbid"
    "  WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.refobjid = r.oid"
    "  AND b.datname = pg_catalog.current_database()) OR r.rolname = CURRENT_USER"
    "  OR EXISTS (SELECT FROM pg_catalog.pg_database b WHERE b.datdba = r.oid"
    "   AND b.datname = pg_catalog.current_database()),"
    " (SELECT pg_catalog.string_agg(x, ', ' ORDER BY x) FROM pg_catalog.pg_db_role_setting s,"
    "  pg_catalog.unnest(s.setconfig) x WHERE s.setrole = r.oid AND (s.setdatabase = 0"
    "  OR s.setdatabase = (SELECT b.oid FROM pg_catalog.pg_database b"
    "   WHERE b.datname = pg_catalog.current_database()))),"
    " (SELECT pg_catalog.string_agg(g.rolname, ', ' ORDER BY g.rolname) FROM "
    "pg_catalog.pg_auth_members m"
    "  JOIN pg_catalog.pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid)"
    " FROM pg_catalog.pg_roles r WHERE NOT pg_catalog.starts_with(r.rolname::text, 'pg_')"
    " ORDER BY r.rolname COLLATE \"C\"";

enum role_column {
    ROLE_NAME,
    ROLE_LOGIN,
    ROLE_ATTRIBUTES,
    ROLE_IN_USE,
    ROLE_SETTINGS,
    ROLE_GROUPS
};

/* A role that clients log in by, or that has to do with the tables here, is missed there. */
static void find_missing_role(struct live_audit *audit, const struct live_database *here,
                              const struct live_database *there, const PGresult *rows, int row) {
    const char *name = PQgetvalue(rows, row, ROLE_NAME);
    bool needed = PQgetvalue(rows, row, ROLE_IN_USE)[0] == 't' ||
                  settings_find_user(audit->settings, name) != NULL;
    live_find(audit, LIVE_ROLE, needed, here->client.database, alloc_text(name),
              alloc_format("this role is not in %s", database_client_name(&there->client)),
              needed ? "create it there, with the same grants"
                     : "nothing to do unless clients use it");
}

static void compare_role_column(struct live_audit *audit, size_t other, const PGresult *a, int i,
                                const PGresult *b, int j, enum role_column column,
                                const char *what) {
    const char *here = PQgetvalue(a, i, column), *there = PQgetvalue(b, j, column);
    if (strcmp(here, there) == 0)
        return;
    live_find(audit, LIVE_ROLE, false, -1, alloc_text(PQgetvalue(a, i, ROLE_NAME)),
              alloc_format("its %s: \"%s\" in %s, \"%s\" in %s", what, here,
                           database_client_name(&audit->databases[0].client), there,
                           database_client_name(&audit->databases[other].client)),
              "make them alike");
}

static void compare_roles(struct live_audit *audit, size_t other, const PGresult *a,
                          const PGresult *b) {
    const struct live_database *here = &audit->databases[0], *there = &audit->databases[other];
    int i = 0, j = 0;
    while (i < PQntuples(a) || j < PQntuples(b)) {
        int order = i == PQntuples(a) ? 1 : j == PQntuples(b) ? -1 : 0;
        if (order == 0)
            order = strcmp(PQgetvalue(a, i, ROLE_NAME), PQgetvalue(b, j, ROLE_NAME));
        if (order < 0) {
            find_missing_role(audit, here, there, a, i++);
        } else if (order > 0) {
            find_missing_role(audit, there, here, b, j++);
        } else {
            compare_role_column(audit, other, a, i, b, j, ROLE_ATTRIBUTES, "attributes");
            compare_role_column(audit, other, a, i, b, j, ROLE_SETTINGS, "settings");
            compare_role_column(audit, other, a, i, b, j, ROLE_GROUPS, "memberships");
            i++;
            j++;
        }
    }
}

/* -- both -------------------------------------------------------------------------------------- */

/* Holds what a query gives in the first database against what it gives in each other. */
static bool compare_all(struct live_audit *audit, const char *sql,
                        void (*compare)(struct live_audit *, size_t, const PGresult *,
                                        const PGresult *),
                        struct error *error) {
    PGresult *first = NULL, *rows;
    for (size_t i = 0; i < audit->database_count; i++) {
        if (!database_client_query(&audit->databases[i].client, sql, &rows, error)) {
            PQclear(first);
            return false;
        }
        if (i == 0) {
            first = rows;
            continue;
        }
        compare(audit, i, first, rows);
        PQclear(rows);
    }
    PQclear(first);
    return true;
}

bool live_check_servers(struct live_audit *audit, struct error *error) {
    char *sql = settings_sql();
    bool read = compare_all(audit, sql, compare_settings, error) &&
                compare_all(audit, roles_sql, compare_roles, error);
    free(sql);
    return read;
}
