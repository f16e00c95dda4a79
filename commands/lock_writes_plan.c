#include "commands/lock_writes_plan.h"

#include "config/alloc.h"
#include "config/utf8.h"

#include <stdlib.h>
#include <string.h>

/* pg_trigger.tgtype: TRIGGER_TYPE_BEFORE | INSERT | DELETE | UPDATE | TRUNCATE, without ROW. */
enum { TRIGGER_TYPE_WRITES = 2 | 4 | 8 | 16 | 32 };

/* -- what should be ---------------------------------------------------------------------------- */

int lock_table_schema(const struct classification *c, const char *schema, const char *name,
                      const char *root) {
    int own = classification_lookup(c, schema, name);
    return own < 0 && root != NULL ? classification_lookup(c, schema, root) : own;
}

database_set lock_stored_databases(const struct settings *settings, int database) {
    database_set set = 0;
    for (size_t i = 0; i < settings->database_count; i++)
        if (settings->databases[i].physical == database)
            set |= (database_set)1 << i;
    return set;
}

enum lock_want lock_want(const struct settings *settings, int database, int gitlab_schema) {
    const struct classification *c = settings->classification;
    database_set stored = lock_stored_databases(settings, database);
    if (gitlab_schema < 0)
        return LOCK_WANT_EITHER;
    if ((classification_schema_databases(c, gitlab_schema) & stored) != 0)
        return LOCK_WANT_UNLOCKED;
    for (size_t i = 0; i < settings->database_count; i++)
        if ((stored >> i & 1) != 0 &&
            (classification_locked_schemas(c, (int)i) >> gitlab_schema & 1) != 0)
            return LOCK_WANT_LOCKED;
    return LOCK_WANT_EITHER;
}

bool lock_table_drifts(const struct lock_table *table) {
    return (table->want == LOCK_WANT_LOCKED && table->state != LOCK_GOOD) ||
           (table->want == LOCK_WANT_UNLOCKED && table->state != LOCK_NONE);
}

void lock_trigger_name(const char *table, char *out) {
    size_t prefix = sizeof LOCK_TRIGGER_PREFIX - 1, room = IDENTIFIER_BYTES - prefix;
    size_t length = strlen(table);
    if (length > room)
        length = utf8_cut(table, room);
    memcpy(out, LOCK_TRIGGER_PREFIX, prefix);
    memcpy(out + prefix, table, length);
    out[prefix + length] = '\0';
}

const char *lock_trigger_fault(int type, const char *enabled, bool conditional, bool right_function,
                               bool right_name) {
    if (!right_function)
        return "its trigger calls another function";
    if (enabled[0] != 'O' && enabled[0] != 'A')
        return "its trigger is disabled";
    if (type != TRIGGER_TYPE_WRITES)
        return "its trigger doesn't stop every INSERT, UPDATE, DELETE and TRUNCATE";
    if (conditional)
        return "its trigger has a condition";
    return right_name ? NULL : "its trigger has another table's name";
}

/* -- what there is ----------------------------------------------------------------------------- */

static const char tables_sql[] =
    "SELECT n.nspname, c.relname, root.relname, t.tgname, t.tgtype, t.tgenabled,"
    " t.tgqual IS NOT NULL OR t.tgattr::text <> '', pn.nspname"
    " FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " LEFT JOIN pg_catalog.pg_class root"
    "  ON c.relispartition AND root.oid = pg_catalog.pg_partition_root(c.oid)"
    " LEFT JOIN (pg_catalog.pg_trigger t"
    "  JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid"
    "  JOIN pg_catalog.pg_namespace pn ON pn.oid = p.pronamespace)"
    "  ON t.tgrelid = c.oid AND NOT t.tgisinternal"
    "  AND (p.proname = '" LOCK_FUNCTION "'"
    "   OR pg_catalog.starts_with(t.tgname::text, '" LOCK_TRIGGER_PREFIX "'))"
    " WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'"
    " AND n.nspname <> 'information_schema' AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_')"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.deptype = 'e'"
    "  AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid)"
    " ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\", t.tgname";

/* The one in the schema where ours would be made comes first. */
static const char functions_sql[] =
    "SELECT n.nspname, l.lanname = 'plpgsql'"
    " AND pg_catalog.strpos(p.prosrc, 'lock_writes.') > 0"
    " AND pg_catalog.strpos(p.prosrc, 'is write protected within this Gitlab database.') > 0"
    " FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
    " JOIN pg_catalog.pg_language l ON l.oid = p.prolang"
    " WHERE p.proname = '" LOCK_FUNCTION "' AND p.pronargs = 0 ORDER BY p.oid";

static bool read_function(struct lock_survey *survey, struct database_client *client,
                          struct error *error) {
    PGresult *rows;
    if (!database_client_query(client, functions_sql, &rows, error))
        return false;
    int chosen = PQntuples(rows) > 0 ? 0 : -1;
    for (int i = 0; i < PQntuples(rows); i++)
        if (strcmp(PQgetvalue(rows, i, 0), client->schema) == 0)
            chosen = i;
    survey->function_schema =
        alloc_text(chosen >= 0 ? PQgetvalue(rows, chosen, 0) : client->schema);
    survey->function = LOCK_FUNCTION_NONE;
    if (chosen >= 0)
        survey->function =
            PQgetvalue(rows, chosen, 1)[0] == 't' ? LOCK_FUNCTION_GOOD : LOCK_FUNCTION_FOREIGN;
    PQclear(rows);
    return true;
}

static struct lock_table *add_table(struct lock_survey *survey, const struct settings *settings,
                                    int database, const PGresult *rows, int row) {
    const char *schema = PQgetvalue(rows, row, 0), *name = PQgetvalue(rows, row, 1);
    const char *root = PQgetisnull(rows, row, 2) ? NULL : PQgetvalue(rows, row, 2);
    survey->tables = alloc_grow(survey->tables, survey->count, sizeof *survey->tables);
    struct lock_table *table = &survey->tables[survey->count++];
    *table = (struct lock_table){.schema = alloc_text(schema), .name = alloc_text(name)};
    table->gitlab_schema = lock_table_schema(settings->classification, schema, name, root);
    table->want = lock_want(settings, database, table->gitlab_schema);
    return table;
}

static void add_trigger(struct lock_table *table, const struct lock_survey *survey,
                        const PGresult *rows, int row) {
    const char *name = PQgetvalue(rows, row, 3);
    char right_name[IDENTIFIER_BYTES + 1];
    lock_trigger_name(table->name, right_name);
    table->triggers = alloc_grow(table->triggers, table->trigger_count, sizeof *table->triggers);
    table->triggers[table->trigger_count++] = alloc_text(name);
    bool right_function = survey->function != LOCK_FUNCTION_NONE &&
                          strcmp(PQgetvalue(rows, row, 7), survey->function_schema) == 0;
    const char *fault = lock_trigger_fault(atoi(PQgetvalue(rows, row, 4)), PQgetvalue(rows, row, 5),
                                           PQgetvalue(rows, row, 6)[0] == 't', right_function,
                                           strcmp(name, right_name) == 0);
    if (fault == NULL)
        table->state = LOCK_GOOD;
    else if (table->state == LOCK_NONE) {
        table->state = LOCK_BROKEN;
        table->broken = fault;
    }
}

bool lock_survey_read(struct lock_survey *survey, struct database_client *client,
                      struct error *error) {
    PGresult *rows;
    *survey = (struct lock_survey){0};
    if (!read_function(survey, client, error))
        return false;
    if (!database_client_query(client, tables_sql, &rows, error)) {
        lock_survey_close(survey);
        return false;
    }
    struct lock_table *table = NULL;
    for (int i = 0; i < PQntuples(rows); i++) {
        if (table == NULL || strcmp(table->name, PQgetvalue(rows, i, 1)) != 0 ||
            strcmp(table->schema, PQgetvalue(rows, i, 0)) != 0)
            table = add_table(survey, client->settings, client->database, rows, i);
        if (!PQgetisnull(rows, i, 3))
            add_trigger(table, survey, rows, i);
    }
    PQclear(rows);
    return true;
}

void lock_survey_close(struct lock_survey *survey) {
    for (size_t i = 0; i < survey->count; i++) {
        struct lock_table *table = &survey->tables[i];
        for (size_t n = 0; n < table->trigger_count; n++)
            free(table->triggers[n]);
        free(table->triggers);
        free(table->schema);
        free(table->name);
    }
    free(survey->tables);
    free(survey->function_schema);
    *survey = (struct lock_survey){0};
}

const struct lock_table *lock_survey_find(const struct lock_survey *survey, const char *schema,
                                          const char *name) {
    size_t low = 0, high = survey->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct lock_table *table = &survey->tables[middle];
        int order = strcmp(table->schema, schema);
        order = order != 0 ? order : strcmp(table->name, name);
        if (order == 0)
            return table;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* -- the SQL ----------------------------------------------------------------------------------- */

char *lock_function_sql(const struct lock_survey *survey) {
    char *schema = database_client_quote(survey->function_schema);
    char *sql = alloc_format(
        "CREATE OR REPLACE FUNCTION %s." LOCK_FUNCTION
        "() RETURNS trigger LANGUAGE plpgsql AS $lock$\n"
        "DECLARE\n"
        "    setting text := pg_catalog.current_setting('lock_writes.' || TG_TABLE_NAME, true);\n"
        "BEGIN\n"
        "    IF setting IS NULL OR setting = '' OR setting::boolean THEN\n"
        "        RAISE EXCEPTION 'Table: \"%%\" is write protected within this Gitlab database.', "
        "TG_TABLE_NAME\n"
        "            USING ERRCODE = '2F002', HINT = 'Make sure you are using the right database "
        "connection';\n"
        "    END IF;\n"
        "    RETURN NULL;\n"
        "END\n"
        "$lock$;",
        schema);
    free(schema);
    return sql;
}

char *lock_table_unlock_sql(const struct lock_table *table) {
    char *schema = database_client_quote(table->schema), *name = database_client_quote(table->name);
    char *sql = alloc_text("");
    for (size_t i = 0; i < table->trigger_count; i++) {
        char *trigger = database_client_quote(table->triggers[i]);
        char *more = alloc_format("%s%sDROP TRIGGER IF EXISTS %s ON %s.%s;", sql, i > 0 ? "\n" : "",
                                  trigger, schema, name);
        free(trigger);
        free(sql);
        sql = more;
    }
    free(schema);
    free(name);
    return sql;
}

char *lock_table_sql(const struct lock_survey *survey, const struct lock_table *table,
                     bool replace) {
    char cut[IDENTIFIER_BYTES + 1];
    lock_trigger_name(table->name, cut);
    char *trigger = database_client_quote(cut), *drop = lock_table_unlock_sql(table);
    char *schema = database_client_quote(table->schema), *name = database_client_quote(table->name);
    char *function_schema = database_client_quote(survey->function_schema);
    char *own = replace
                    ? alloc_format("DROP TRIGGER IF EXISTS %s ON %s.%s;\n", trigger, schema, name)
                    : alloc_text("");
    char *sql = alloc_format(
        "%s%s%sCREATE TRIGGER %s BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON "
        "%s.%s FOR EACH STATEMENT EXECUTE FUNCTION %s." LOCK_FUNCTION "();",
        drop, drop[0] != '\0' ? "\n" : "", own, trigger, schema, name, function_schema);
    free(own);
    free(trigger);
    free(drop);
    free(schema);
    free(name);
    free(function_schema);
    return sql;
}
