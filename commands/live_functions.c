/* What functions and triggers use, by their parsed bodies. */
#include "commands/live_audit.h"

#include "config/alloc.h"
#include "routing/facts.h"

#include <stdlib.h>
#include <string.h>

/* What a function's body uses. */
struct function {
    const char *oid, *schema, *name, *arguments; /* borrowed from the rows */
    bool is_trigger, dynamic, unread;
    struct live_crossing uses;
    char **calls; /* names of functions that aren't PostgreSQL's own */
    size_t call_count;
};

struct functions {
    PGresult *rows;
    struct function *list;
    size_t count;
};

static const char functions_sql[] =
    "SELECT p.oid, n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid),"
    " pg_catalog.pg_get_functiondef(p.oid), p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype"
    " FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
    " JOIN pg_catalog.pg_language l ON l.oid = p.prolang"
    " WHERE p.prokind IN ('f', 'p') AND l.lanname IN ('sql', 'plpgsql')"
    " AND p.proname <> '" LOCK_FUNCTION
    "' AND" LIVE_USER_SCHEMA("n") "AND" LIVE_NO_EXTENSION("pg_proc", "p.oid") "ORDER BY 2, 3, 4";

static const char triggers_sql[] =
    "SELECT n.nspname, c.relname, (SELECT r.relname FROM pg_catalog.pg_class r"
    "  WHERE c.relispartition AND r.oid = pg_catalog.pg_partition_root(c.oid)), t.tgname, t.tgfoid"
    " FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE NOT t.tgisinternal AND" LIVE_USER_SCHEMA("n")
    /* A partition's copy of its parent's trigger is told with the parent. */
    "AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i"
    "  JOIN pg_catalog.pg_trigger pt ON pt.tgrelid = i.inhparent"
    "  WHERE c.relispartition AND i.inhrelid = c.oid AND pt.tgname = t.tgname"
    "  AND pt.tgfoid = t.tgfoid) ORDER BY 1, 2, 4";

/* -- reading bodies ---------------------------------------------------------------------------- */

static void add_statement(struct function *function, const struct classification *c,
                          const struct statement_facts *facts) {
    function->unread |= facts->kind == KIND_UNPARSED;
    function->dynamic |= (facts->flags & STATEMENT_DYNAMIC) != 0;
    for (size_t i = 0; i < facts->table_count && facts->kind != KIND_UNPARSED; i++) {
        const struct table_facts *table = &facts->tables[i];
        if ((table->flags & (TABLE_CREATED | TABLE_TEMPORARY | TABLE_OTHER_OBJECT)) != 0)
            continue;
        int schema = (table->flags & TABLE_SEQUENCE) != 0
                         ? live_sequence_schema(c, table->name)
                         : classification_lookup(c, table->schema, table->name);
        live_crossing_add(&function->uses, c, schema, table->name);
    }
    for (size_t i = 0; i < facts->function_count; i++) {
        const char *name = facts->functions[i];
        live_crossing_add(&function->uses, c, classification_lookup_function(c, name), name);
        function->calls =
            alloc_grow(function->calls, function->call_count, sizeof *function->calls);
        function->calls[function->call_count++] = alloc_text(name);
    }
}

static void read_body(struct function *function, const struct classification *c,
                      const char *definition) {
    const struct lexing lexing = {.standard_conforming_strings = true};
    struct query_facts facts;
    struct error ignored;
    if (!facts_parse(definition, strlen(definition), &lexing, true, &facts, &ignored)) {
        function->unread = true;
        return;
    }
    for (size_t i = 0; i < facts.count; i++)
        add_statement(function, c, &facts.statements[i]);
    facts_close(&facts);
}

/* Adds what the called function uses, whichever of that name is meant; true: something was new. */
static bool add_callee(struct function *function, const struct functions *functions,
                       const char *name) {
    bool changed = false;
    for (size_t i = 0; i < functions->count; i++) {
        const struct function *callee = &functions->list[i];
        if (callee == function || strcmp(callee->name, name) != 0 ||
            (callee->uses.schemas & ~function->uses.schemas) == 0)
            continue;
        live_crossing_merge(&function->uses, &callee->uses, name);
        changed = true;
    }
    return changed;
}

/* What a function uses includes what those that it calls use. Ends, as each round adds a schema. */
static void follow_calls(struct functions *functions) {
    bool changed = true;
    while (changed) {
        changed = false;
        for (size_t i = 0; i < functions->count; i++) {
            struct function *function = &functions->list[i];
            for (size_t n = 0; n < function->call_count; n++)
                changed |= add_callee(function, functions, function->calls[n]);
        }
    }
}

static bool read_functions(struct functions *functions, struct live_database *database,
                           struct error *error) {
    const struct classification *c = database->client.settings->classification;
    *functions = (struct functions){0};
    if (!database_client_query(&database->client, functions_sql, &functions->rows, error))
        return false;
    const PGresult *rows = functions->rows;
    functions->count = (size_t)PQntuples(rows);
    functions->list = alloc_zeroed(functions->count + 1, sizeof *functions->list);
    for (int i = 0; i < PQntuples(rows); i++) {
        struct function *function = &functions->list[i];
        *function = (struct function){.oid = PQgetvalue(rows, i, 0),
                                      .schema = PQgetvalue(rows, i, 1),
                                      .name = PQgetvalue(rows, i, 2),
                                      .arguments = PQgetvalue(rows, i, 3),
                                      .is_trigger = PQgetvalue(rows, i, 5)[0] == 't'};
        live_crossing_start(&function->uses);
        read_body(function, c, PQgetvalue(rows, i, 4));
    }
    follow_calls(functions);
    return true;
}

static void functions_close(struct functions *functions) {
    for (size_t i = 0; i < functions->count; i++) {
        struct function *function = &functions->list[i];
        for (size_t n = 0; n < function->call_count; n++)
            free(function->calls[n]);
        free(function->calls);
        live_crossing_close(&function->uses);
    }
    free(functions->list);
    PQclear(functions->rows);
}

/* -- judging ----------------------------------------------------------------------------------- */

static char *object_of(const struct function *function) {
    return alloc_format("%s.%s(%s)", function->schema, function->name, function->arguments);
}

/* A call by itself says nothing of tables: the proxy knows what the classification says of the
 * function. */
static void check_placement(struct live_audit *audit, int database,
                            const struct function *function) {
    const struct classification *c = audit->settings->classification;
    int declared = classification_lookup_function(c, function->name);
    const struct live_crossing *uses = &function->uses;
    if (uses->count == 0 || function->is_trigger)
        return;
    if (declared < 0 && (uses->databases & 1) == 0)
        live_find(audit, LIVE_FUNCTION, true, database, object_of(function),
                  alloc_format("it uses %s, but a statement that calls it would run on %s",
                               uses->tables, audit->settings->databases[0].name),
                  "name it under classification.functions");
    else if (declared >= 0 && (classification_schema_databases(c, declared) & uses->databases) == 0)
        live_find(audit, LIVE_FUNCTION, true, database, object_of(function),
                  alloc_format("it uses %s, but classification.functions says %s", uses->tables,
                               classification_schema_name(c, declared)),
                  "correct classification.functions");
}

static void check_function(struct live_audit *audit, int database,
                           const struct function *function) {
    if (function->unread)
        live_find(audit, LIVE_FUNCTION, false, database, object_of(function),
                  alloc_text("its body can't be parsed"), "look at it yourself");
    if (function->dynamic)
        live_find(audit, LIVE_FUNCTION, false, database, object_of(function),
                  alloc_text("it executes text that is made while it runs"), "look at it yourself");
    if (live_crossing_is_apart(&function->uses, audit->settings->classification))
        live_find(audit, LIVE_FUNCTION, true, database, object_of(function),
                  alloc_format("its body uses tables of more than one database: %s",
                               function->uses.tables),
                  "split it into one for each database");
    else
        check_placement(audit, database, function);
}

static const struct function *find_function(const struct functions *functions, const char *oid) {
    for (size_t i = 0; i < functions->count; i++)
        if (strcmp(functions->list[i].oid, oid) == 0)
            return &functions->list[i];
    return NULL;
}

/* The trigger's table together with what its function uses. */
static void check_trigger(struct live_audit *audit, int database, const struct function *function,
                          const PGresult *rows, int row) {
    const struct classification *c = audit->settings->classification;
    const char *schema = PQgetvalue(rows, row, 0), *name = PQgetvalue(rows, row, 1);
    int own = lock_table_schema(c, schema, name, live_value(rows, row, 2));
    struct live_crossing all = function->uses;
    all.tables = NULL;
    all.count = 0;
    live_crossing_add(&all, c, own, name);
    if (function->uses.count > 0 && live_crossing_is_apart(&all, c))
        live_find(audit, LIVE_TRIGGER, true, database, alloc_format("%s.%s", schema, name),
                  alloc_format("the trigger %s of this table (%s) calls %s.%s(), which uses %s",
                               PQgetvalue(rows, row, 3),
                               own >= 0 ? classification_schema_name(c, own) : "unclassified",
                               function->schema, function->name, function->uses.tables),
                  "drop it, and do its work in the application");
    live_crossing_close(&all);
}

static bool check_triggers(struct live_audit *audit, struct live_database *database,
                           const struct functions *functions, struct error *error) {
    PGresult *rows;
    if (!database_client_query(&database->client, triggers_sql, &rows, error))
        return false;
    for (int i = 0; i < PQntuples(rows); i++) {
        const struct function *function = find_function(functions, PQgetvalue(rows, i, 4));
        if (function != NULL)
            check_trigger(audit, database->client.database, function, rows, i);
    }
    PQclear(rows);
    return true;
}

bool live_check_functions(struct live_audit *audit, struct live_database *database,
                          struct error *error) {
    struct functions functions;
    if (!read_functions(&functions, database, error))
        return false;
    for (size_t i = 0; i < functions.count; i++)
        check_function(audit, database->client.database, &functions.list[i]);
    bool read = check_triggers(audit, database, &functions, error);
    functions_close(&functions);
    return read;
}
