#include "proxy/table_code.h"

#include "config/alloc.h"
#include "protocol/message.h"

#include <stdlib.h>
#include <string.h>

enum {
    TABLES_MAX = 16 * 1024,
    KEEP_MILLISECONDS = 60 * 1000,
    PAUSE_MILLISECONDS = 1000, /* where structure changes all the time… */
    PAUSE_TIMES = 20,          /* …and this often as long as the catalogs took to answer */
};

/* -- the question ------------------------------------------------------------------------------ */

/* Regular expressions stand in dollar quotes, which all settings read alike. The first commands see
 * to it that no setting of the last session bends the rest. What follows them tells whether the
 * catalogs are what they were, in a fraction of the time: how many rows each has that matters here,
 * and the sum of who wrote them. */
#define SIGNATURE                                                                                  \
    "SET LOCAL search_path TO pg_catalog, pg_temp; SET LOCAL statement_timeout TO 0; "             \
    "SET LOCAL lock_timeout TO 100; SET LOCAL jit TO off; "                                        \
    "SELECT string_agg(concat(c, ' ', n, ' ', total), ' ' ORDER BY c), NULL "                      \
    "FROM (SELECT c, count(*), sum(writer::text::int8) FROM ("                                     \
    "SELECT 1, xmin FROM pg_proc WHERE oid >= 16384 "                                              \
    "UNION ALL SELECT 2, xmin FROM pg_class "                                                      \
    "WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND relpersistence <> 't' "                        \
    "UNION ALL SELECT 3, xmin FROM pg_trigger UNION ALL SELECT 4, xmin FROM pg_rewrite "           \
    "UNION ALL SELECT 5, xmin FROM pg_attrdef UNION ALL SELECT 6, xmin FROM pg_policy "            \
    "UNION ALL SELECT 7, xmin FROM pg_constraint WHERE contype IN ('c', 'f') "                     \
    "UNION ALL SELECT 8, xmin FROM pg_index WHERE indexprs IS NOT NULL OR indpred IS NOT NULL "    \
    "UNION ALL SELECT 9, xmin FROM pg_type WHERE typtype = 'd' "                                   \
    "UNION ALL SELECT 10, xmin FROM pg_inherits "                                                  \
    "UNION ALL SELECT 11, xmin FROM pg_partitioned_table "                                         \
    "UNION ALL SELECT 12, xmin FROM pg_event_trigger "                                             \
    "UNION ALL SELECT 13, xmin FROM pg_extension"                                                  \
    ") rows(c, writer) GROUP BY c) catalogs(c, n, total)"

static const char short_question[] = SIGNATURE;
static const char question[] = SIGNATURE
    "; "
    "WITH RECURSIVE "
    /* PostgreSQL's own functions that could, as they stand in the tree of an expression. */
    "calls AS (SELECT ':funcid (' || string_agg(oid::text, '|') || ') ' AS pattern FROM pg_proc "
    "WHERE oid < 16384 AND proname ~ $r$^(set_config|pg_(try_)?advisory_lock(_shared)?|"
    "(query|cursor)_to_xml.*|ts_stat|ts_rewrite|setseed)$$r$), "
    "seed AS (SELECT ':funcid ' || oid || ' ' AS pattern FROM pg_proc "
    "WHERE oid < 16384 AND proname = 'setseed'), "
    /* The others, in lower case and without comments and strings. */
    "functions AS (SELECT p.oid, lanname IN ('sql', 'plpgsql') AS readable, "
    "regexp_replace(lower(prosrc COLLATE \"C\"), $r$e'([^'\\\\]|\\\\.|'')*'|'[^']*'|--[^\\n]*|"
    "/\\*([^*]|\\*+[^*/])*\\*+/|(\"[^\"]*\")$r$, $r$ \\3$r$, 'g') AS source, "
    "CASE WHEN prosrc = '' THEN to_jsonb(p)->>'prosqlbody' END AS tree "
    "FROM pg_proc p JOIN pg_language l ON l.oid = prolang "
    "WHERE p.oid >= 16384 AND lanname <> 'internal'), "
    /* Where expressions stand: catalog, object, whether it runs when a table is only read. */
    "expressions(c, o, r, tree) AS ("
    "SELECT 'pg_proc'::regclass::oid, oid, true, tree FROM functions "
    "UNION ALL SELECT 'pg_attrdef'::regclass, oid, false, adbin::text FROM pg_attrdef "
    "UNION ALL SELECT 'pg_rewrite'::regclass, oid, ev_type = '1', concat(ev_qual, ev_action) "
    "FROM pg_rewrite "
    "UNION ALL SELECT 'pg_policy'::regclass, oid, true, concat(polqual, polwithcheck) "
    "FROM pg_policy "
    "UNION ALL SELECT 'pg_constraint'::regclass, oid, false, conbin::text FROM pg_constraint "
    "UNION ALL SELECT 'pg_trigger'::regclass, oid, false, tgqual::text FROM pg_trigger "
    "UNION ALL SELECT 'pg_class'::regclass, indexrelid, false, concat(indexprs, indpred) "
    "FROM pg_index "
    "UNION ALL SELECT 'pg_class'::regclass, partrelid, false, partexprs::text "
    "FROM pg_partitioned_table "
    "UNION ALL SELECT 'pg_type'::regclass, oid, true, typdefaultbin::text FROM pg_type), "
    /* With whether it seeds random numbers. */
    "base(c, o, r, s) AS ("
    "SELECT c, o, r, strpos(tree, seed.pattern) > 0 FROM expressions, calls, seed "
    "WHERE o >= 16384 AND tree ~ calls.pattern "
    "UNION SELECT 'pg_proc'::regclass, oid, true, readable AND "
    "source ~ $r$\\m(setseed|set\\s+(session\\s+)?seed)\\M$r$ "
    "FROM functions p WHERE CASE WHEN readable THEN "
    "source ~ $r$\\m(setseed|set_config|pg_(try_)?advisory_lock(_shared)?|execute|"
    "(query|cursor)_to_xml\\w*|ts_stat|ts_rewrite|(pg_)?temp(orary)?|with\\s+hold|"
    "do\\s*(\\$|language))\\M|(^|;|>>|\\m(begin|then|else|loop|atomic))\\s*(listen|unlisten|load|"
    "prepare|deallocate|discard|reset|set\\s+(?!\\s|(local|constraints|transaction)\\M))$r$ "
    /* Of what is in C, these are well known to leave nothing. */
    "ELSE NOT EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid "
    "WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid "
    "AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname IN ("
    "'amcheck', 'bloom', 'btree_gin', 'btree_gist', 'citext', 'cube', 'dict_int', 'dict_xsyn', "
    "'earthdistance', 'file_fdw', 'fuzzystrmatch', 'hstore', 'insert_username', 'intarray', "
    "'isn', 'lo', 'ltree', 'moddatetime', 'pageinspect', 'pg_buffercache', 'pg_freespacemap', "
    "'pg_prewarm', 'pg_stat_statements', 'pg_trgm', 'pg_visibility', 'pg_walinspect', 'pgcrypto', "
    "'pgrowlocks', 'pgstattuple', 'postgis', 'postgis_raster', 'postgis_topology', "
    "'postgres_fdw', 'seg', 'sslinfo', 'tcn', 'tsm_system_rows', 'tsm_system_time', 'unaccent', "
    "'uuid-ossp', 'vector')) END), "
    /* Their words, of which names are looked for; of a name with several, the first. */
    "words AS (SELECT DISTINCT oid, word FROM functions, unnest(string_to_array(regexp_replace("
    "source, $r$\\W+$r$, ' ', 'g'), ' ')) word WHERE readable AND EXISTS (SELECT FROM base)), "
    "names AS (SELECT c, o, split_part(ltrim(regexp_replace(lower(name::text COLLATE \"C\"), "
    "$r$\\W+$r$, ' ', 'g')), ' ', 1) AS word FROM ("
    "SELECT 'pg_proc'::regclass::oid, oid, proname FROM pg_proc WHERE oid >= 16384 "
    "UNION ALL SELECT 'pg_class'::regclass, oid, relname FROM pg_class "
    "WHERE oid >= 16384 AND relkind IN ('r', 'p', 'v', 'm', 'f')) n(c, o, name)), "
    /* What has code where something else (uc, uo) has: and only when it is written (false), also
     * when it is read (true), or as that one (NULL). */
    "ways(uc, uo, c, o, r) AS ("
    /* What uses it… */
    "SELECT refclassid, refobjid, classid, objid, CASE "
    "WHEN classid = 'pg_rewrite'::regclass THEN "
    "(SELECT nullif(ev_type = '1', true) FROM pg_rewrite WHERE oid = objid) "
    "WHEN classid IN ('pg_trigger'::regclass, 'pg_attrdef'::regclass, 'pg_constraint'::regclass, "
    "'pg_class'::regclass) THEN false END FROM pg_depend "
    "WHERE (deptype = 'n' OR classid = 'pg_type'::regclass AND refclassid = 'pg_type'::regclass) "
    "AND NOT (classid = 'pg_constraint'::regclass AND refclassid = 'pg_class'::regclass) "
    /* …what it is a part of: a trigger of its table, a partition of the whole… */
    "UNION ALL SELECT classid, objid, refclassid, refobjid, NULL FROM pg_depend "
    "WHERE deptype IN ('a', 'i', 'P', 'S') "
    "UNION ALL SELECT 'pg_class'::regclass, inhrelid, 'pg_class'::regclass, inhparent, NULL "
    "FROM pg_inherits "
    /* …by whose change its rows are changed… */
    "UNION ALL SELECT 'pg_class'::regclass, conrelid, 'pg_class'::regclass, confrelid, false "
    "FROM pg_constraint WHERE contype = 'f' "
    "AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd')) "
    /* …and which source names it. */
    "UNION ALL SELECT c, o, 'pg_proc'::regclass, oid, true FROM names JOIN words USING (word)), "
    "found(c, o, r, s) AS (SELECT * FROM base "
    "UNION SELECT w.c, w.o, coalesce(w.r, f.r), s FROM found f "
    "JOIN ways w ON w.uc = f.c AND w.uo = f.o WHERE w.o >= 16384) "
    /* A name that is not in ASCII depends on the encoding: NULL. An event trigger: ''. */
    "SELECT CASE WHEN octet_length(relname) = length(relname) THEN relname END, bool_or(r) "
    "FROM found JOIN pg_class ON oid = o "
    "WHERE c = 'pg_class'::regclass AND relkind IN ('r', 'p', 'v', 'm', 'f') GROUP BY 1 "
    "UNION ALL SELECT concat(relname, proname) || '()', bool_or(r) FROM found "
    "LEFT JOIN pg_class ON c = 'pg_class'::regclass AND pg_class.oid = o "
    "AND relkind IN ('r', 'p', 'v', 'm', 'f') "
    "LEFT JOIN pg_proc ON c = 'pg_proc'::regclass AND pg_proc.oid = o "
    "WHERE s AND concat(relname, proname) <> '' GROUP BY 1 "
    "UNION ALL SELECT '', true FROM found WHERE c = 'pg_event_trigger'::regclass GROUP BY c";

/* -- asking ------------------------------------------------------------------------------------ */

static void free_tables(struct table_with_code *tables, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(tables[i].name);
    free(tables);
}

void table_code_close(struct table_code *code) {
    free_tables(code->tables, code->count);
    free_tables(code->answer, code->answer_count);
    free(code->signature);
    free(code->answer_signature);
    *code = (struct table_code){0};
}

bool table_code_is_due(const struct table_code *code, uint64_t structure, uint64_t now) {
    if (code->asker != NULL)
        return false;
    bool soon = table_code_is_unknown(code, structure) && !code->failed;
    return code->asked_at == 0 || now - code->asked_at >= (soon ? code->pause : KEEP_MILLISECONDS);
}

const char *table_code_ask(struct table_code *code, const struct link *asker, uint64_t structure,
                           uint64_t now) {
    code->asker = asker;
    code->asked = structure;
    code->asked_at = now > 0 ? now : 1;
    code->asked_all = !code->known;
    return code->asked_all ? question : short_question;
}

void table_code_take_row(struct table_code *code, const uint8_t *body, size_t length) {
    struct table_with_code table = {.name = NULL, .on_read = true};
    size_t at = 2;
    uint32_t size = length >= at + 4 ? wire_get_u32(body + at) : UINT32_MAX;
    at += 4;
    if (size != UINT32_MAX && size <= length - at) {
        table.name = alloc_copy((const char *)body + at, size);
        at += size;
        if (length - at == 4) { /* NULL: no table's name, but the signature */
            free(code->answer_signature);
            code->answer_signature = table.name;
            return;
        }
        table.on_read = length - at != 5 || body[at + 4] == 't';
    }
    if (code->answer_count > TABLES_MAX) {
        free(table.name);
        return;
    }
    code->answer = alloc_grow(code->answer, code->answer_count, sizeof *code->answer);
    code->answer[code->answer_count++] = table;
}

static int compare_tables(const void *one, const void *other) {
    const struct table_with_code *a = one, *b = other;
    return strcmp(a->name, b->name);
}

static bool is_seed(const char *name) {
    size_t length = strlen(name);
    return length > 2 && strcmp(name + length - 2, "()") == 0;
}

/* All that the catalogs say, as of answer_signature. */
static void take_answer(struct table_code *code) {
    free_tables(code->tables, code->count);
    code->all = code->answer_count > TABLES_MAX;
    for (size_t i = 0; i < code->answer_count; i++)
        code->all = code->all || code->answer[i].name == NULL;
    code->seeds = false;
    for (size_t i = 0; i < code->answer_count && !code->all; i++)
        code->seeds = code->seeds || is_seed(code->answer[i].name);
    code->tables = code->answer;
    code->count = code->answer_count;
    if (!code->all && code->count > 1)
        qsort(code->tables, code->count, sizeof *code->tables, compare_tables);
    free(code->signature);
    code->signature = code->answer_signature;
    code->known = true;
    code->structure = code->asked;
    code->answer = NULL;
    code->answer_count = 0;
    code->answer_signature = NULL;
}

void table_code_answered(struct table_code *code, const struct link *asker, bool complete,
                         uint64_t now) {
    if (code->asker != asker)
        return;
    code->asker = NULL;
    code->failed = !complete;
    uint64_t pause = code->asked_all ? (now - code->asked_at) * PAUSE_TIMES : code->pause;
    code->pause = pause > PAUSE_MILLISECONDS ? pause : PAUSE_MILLISECONDS;
    if (complete && code->asked_all) {
        take_answer(code);
    } else if (complete && code->signature != NULL && code->answer_signature != NULL &&
               strcmp(code->signature, code->answer_signature) == 0) {
        code->structure = code->asked;
    } else if (complete) {
        code->known = false; /* the rest is asked for when it is time again */
    }
    free_tables(code->answer, code->answer_count);
    free(code->answer_signature);
    code->answer = NULL;
    code->answer_count = 0;
    code->answer_signature = NULL;
}

/* -- the statements ---------------------------------------------------------------------------- */

static const struct table_with_code *find(const struct table_code *code, const char *name) {
    struct table_with_code key = {.name = (char *)(uintptr_t)name};
    return code->count == 0 ? NULL
                            : bsearch(&key, code->tables, code->count, sizeof key, compare_tables);
}

bool table_code_finds(const struct table_code *code, uint64_t structure,
                      const struct statement_facts *facts) {
    bool unknown = table_code_is_unknown(code, structure) || code->all;
    if (facts->kind == KIND_DDL && (unknown || find(code, "") != NULL))
        return true;
    for (size_t i = 0; i < facts->table_count; i++) {
        if (unknown)
            return true;
        const struct table_with_code *table = find(code, facts->tables[i].name);
        if (table != NULL && (table->on_read || facts->tables[i].access != ACCESS_READ))
            return true;
    }
    return false;
}

static const struct table_with_code *find_seed(const struct table_code *code, const char *name) {
    char *key = alloc_format("%s()", name);
    const struct table_with_code *found = find(code, key);
    free(key);
    return found;
}

bool table_code_seeds(const struct table_code *code, const struct statement_facts *facts) {
    if (!code->seeds || code->all)
        return false;
    for (size_t i = 0; i < facts->function_count; i++)
        if (find_seed(code, facts->functions[i]) != NULL)
            return true;
    for (size_t i = 0; i < facts->table_count; i++) {
        const struct table_with_code *table = find_seed(code, facts->tables[i].name);
        if (table != NULL && (table->on_read || facts->tables[i].access != ACCESS_READ))
            return true;
    }
    return false;
}
