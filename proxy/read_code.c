#include "proxy/read_code.h"

enum {
    KEEP_MILLISECONDS = 60 * 1000,
    PAUSE_MILLISECONDS = 1000, /* where structure changes all the time… */
    PAUSE_TIMES = 20,          /* …and this often as long as the catalogs took to answer */
};

/* The first commands see to it that no setting of the client's bends the rest, and that nobody
 * waits for long. Names that a server doesn't have yet, but the classifier takes for PostgreSQL's
 * own, are those of newer ones. */
static const char question[] =
    "SET LOCAL search_path TO pg_catalog, pg_temp; SET LOCAL statement_timeout TO '5s'; "
    "SET LOCAL lock_timeout TO 100; SET LOCAL jit TO off; "
    "WITH made AS (SELECT oid, proname, pronargs, pronargdefaults, proargtypes[0] AS first "
    "FROM pg_proc WHERE oid >= 16384 AND oid NOT IN ("
    "SELECT objid FROM pg_depend JOIN pg_extension e ON e.oid = refobjid "
    "WHERE classid = 'pg_proc'::regclass AND refclassid = 'pg_extension'::regclass "
    "AND deptype = 'e' AND extname IN ("
    "'amcheck', 'bloom', 'btree_gin', 'btree_gist', 'citext', 'cube', 'dict_int', 'dict_xsyn', "
    "'earthdistance', 'fuzzystrmatch', 'hstore', 'intarray', 'isn', 'ltree', 'pageinspect', "
    "'pg_buffercache', 'pg_freespacemap', 'pg_stat_statements', 'pg_trgm', 'pg_visibility', "
    "'pg_walinspect', 'pgcrypto', 'pgrowlocks', 'pgstattuple', 'plpgsql', 'postgis', "
    "'postgis_raster', 'seg', 'sslinfo', 'tsm_system_rows', 'tsm_system_time', 'unaccent', "
    "'uuid-ossp', 'vector'))), "
    /* PostgreSQL's own that may write, or run what may. */
    "acts AS (SELECT oid FROM pg_proc WHERE oid < 16384 AND provolatile = 'v' "
    "AND proname !~ $r$^(random.*|clock_timestamp|timeofday|gen_random_uuid|uuidv.*|currval|"
    "lastval|current_query|pg_sleep.*|pg_blocking_pids|pg_stat_.*|pg_.*_size|pg_partition_.*|"
    "pg_is_.*|pg_current_.*|pg_last_.*|pg_lock_status)$$r$), "
    /* Where functions stand that reading calls… */
    "called(f) AS (SELECT oprcode::oid FROM pg_operator WHERE oid >= 16384 "
    "UNION ALL SELECT castfunc FROM pg_cast WHERE oid >= 16384 "
    "UNION ALL SELECT amproc FROM pg_amproc WHERE oid >= 16384 "
    "UNION ALL SELECT typinput FROM pg_type WHERE oid >= 16384 "
    "UNION ALL SELECT typoutput FROM pg_type WHERE oid >= 16384), "
    /* …and expressions that it evaluates. */
    "expressions(c, o, tree) AS ("
    "SELECT 'pg_rewrite'::regclass::oid, r.oid, concat(ev_qual, ev_action) FROM pg_rewrite r "
    "JOIN pg_class v ON v.oid = ev_class AND relkind = 'v' WHERE r.oid >= 16384 "
    "UNION ALL SELECT 'pg_policy'::regclass, oid, polqual::text FROM pg_policy "
    "UNION ALL SELECT 'pg_constraint'::regclass, oid, conbin::text FROM pg_constraint "
    "WHERE contypid <> 0 AND contype = 'c') "
    "SELECT EXISTS (SELECT FROM pg_class WHERE relkind = 'f') "
    "OR EXISTS (SELECT FROM called WHERE f IN (SELECT oid FROM made) "
    "OR f IN (SELECT oid FROM acts)) "
    "OR EXISTS (SELECT FROM expressions JOIN pg_depend ON classid = c AND objid = o "
    "JOIN made ON refclassid = 'pg_proc'::regclass AND refobjid = made.oid) "
    "OR EXISTS (SELECT FROM expressions, "
    "(SELECT ':funcid (' || string_agg(oid::text, '|') || ') ' FROM acts) a(pattern) "
    "WHERE tree ~ pattern) "
    "OR EXISTS (SELECT FROM made WHERE proname IN ('any_value', 'array_sample', 'array_shuffle', "
    "'random_normal') OR proname IN (SELECT proname FROM pg_proc WHERE oid < 16384)) "
    "OR EXISTS (SELECT FROM made JOIN pg_type t ON t.oid = first LEFT JOIN pg_type b "
    "ON b.oid = t.typbasetype WHERE pronargs >= 1 AND pronargs - pronargdefaults <= 1 "
    "AND (t.typtype IN ('c', 'p') OR b.typtype = 'c'))";

bool read_code_is_due(const struct read_code *code, uint64_t structure, uint64_t now) {
    bool soon = (!code->known || code->structure != structure) && code->asker == NULL;
    return code->asked_at == 0 || now - code->asked_at >= (soon ? code->pause : KEEP_MILLISECONDS);
}

const char *read_code_ask(struct read_code *code, const struct link *asker, uint64_t structure,
                          uint64_t now) {
    code->asker = asker;
    code->asked = structure;
    code->asked_at = now > 0 ? now : 1;
    code->pause = PAUSE_MILLISECONDS;
    return question;
}

void read_code_take_row(struct read_code *code, const struct link *asker, const uint8_t *body,
                        size_t length) {
    if (code->asker != asker)
        return; /* another has asked since, after a change maybe */
    static const uint8_t no[] = {0, 1, 0, 0, 0, 1, 'f'};
    bool absent = length == sizeof no;
    for (size_t i = 0; i < sizeof no && absent; i++)
        absent = body[i] == no[i];
    code->known = true;
    code->exists = !absent;
    code->structure = code->asked;
}

void read_code_answered(struct read_code *code, const struct link *asker, uint64_t now) {
    if (code->asker != asker)
        return;
    code->asker = NULL;
    uint64_t pause = (now - code->asked_at) * PAUSE_TIMES;
    code->pause = pause > PAUSE_MILLISECONDS ? pause : PAUSE_MILLISECONDS;
}
