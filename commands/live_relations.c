/* Tables and views: are they classified, are they where they should be, are they locked where they
 * should be? */
#include "commands/live_audit.h"

#include "config/alloc.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char relations_sql[] =
    "SELECT n.nspname, c.relname, c.relkind, c.relispartition, root.relname"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " LEFT JOIN pg_catalog.pg_class root"
    "  ON c.relispartition AND root.oid = pg_catalog.pg_partition_root(c.oid)"
    " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't' "
    "AND" LIVE_USER_SCHEMA("n") "AND" LIVE_NO_EXTENSION("pg_class", "c.oid") "ORDER BY 1, 2";

static char *key_of(const char *schema, const char *name) {
    return alloc_format("%s.%s", schema, name);
}

bool live_relations_read(struct live_database *database, struct error *error) {
    if (!database_client_query(&database->client, relations_sql, &database->rows, error))
        return false;
    const struct classification *c = database->client.settings->classification;
    const PGresult *rows = database->rows;
    database->relation_count = (size_t)PQntuples(rows);
    database->relations = alloc_zeroed(database->relation_count + 1, sizeof *database->relations);
    for (int i = 0; i < PQntuples(rows); i++) {
        const char *schema = PQgetvalue(rows, i, 0), *name = PQgetvalue(rows, i, 1);
        char *key = key_of(schema, name);
        database->relations[i] = (struct live_relation){
            .schema = schema,
            .name = name,
            .kind = PQgetvalue(rows, i, 2)[0],
            .is_partition = PQgetvalue(rows, i, 3)[0] == 't',
            .gitlab_schema = lock_table_schema(c, schema, name, live_value(rows, i, 4))};
        names_set(&database->by_name, key, i);
        free(key);
    }
    return true;
}

void live_relations_close(struct live_database *database) {
    names_clear(&database->by_name);
    free(database->relations);
    PQclear(database->rows);
}

static const char *kind_word(char kind) {
    return kind == 'v'   ? "view"
           : kind == 'm' ? "materialized view"
           : kind == 'f' ? "foreign table"
                         : "table";
}

static void check_classified(struct live_audit *audit, const struct live_database *database) {
    for (size_t i = 0; i < database->relation_count; i++) {
        const struct live_relation *r = &database->relations[i];
        if (r->gitlab_schema < 0)
            live_find(audit, LIVE_UNCLASSIFIED, true, database->client.database,
                      key_of(r->schema, r->name),
                      alloc_format("this %s has no gitlab_schema", kind_word(r->kind)),
                      "add it to the classification");
    }
}

/* -- one side only ----------------------------------------------------------------------------- */

static bool has_relation(const struct live_database *database, const struct live_relation *r) {
    char *key = key_of(r->schema, r->name);
    bool found = names_get(&database->by_name, key) >= 0;
    free(key);
    return found;
}

static bool holds(const struct live_audit *audit, const struct live_database *database,
                  int gitlab_schema) {
    database_set stored = lock_stored_databases(audit->settings, database->client.database);
    return (classification_schema_databases(audit->settings->classification, gitlab_schema) &
            stored) != 0;
}

/* A name such as audit_events_202212: a part that came and went on its own. */
static bool has_number(const char *name) {
    size_t length = strlen(name), digits = 0;
    while (digits < length && isdigit((unsigned char)name[length - 1 - digits]))
        digits++;
    return digits > 0 && digits < length && name[length - 1 - digits] == '_';
}

/* Is `r`, which `here` has, missing `there`? Told once, by the first database that has it. */
static void check_other_side(struct live_audit *audit, const struct live_database *here,
                             const struct live_database *there, const struct live_relation *r) {
    const struct settings *settings = audit->settings;
    const char *there_name = settings->databases[there->client.database].name;
    if (has_relation(there, r))
        return;
    bool needed = holds(audit, there, r->gitlab_schema);
    char *object = key_of(r->schema, r->name);
    if (needed)
        live_find(
            audit, LIVE_ONE_SIDED, !has_number(r->name), here->client.database, object,
            alloc_format("this %s (%s) is not in %s, where its statements go", kind_word(r->kind),
                         classification_schema_name(settings->classification, r->gitlab_schema),
                         there_name),
            "create it there, or correct its classification");
    else
        live_find(audit, LIVE_ONE_SIDED, false, here->client.database, object,
                  alloc_format("this %s is not in %s", kind_word(r->kind), there_name),
                  "nothing to do, unless its migrations are to run in every database");
}

static bool told_before(const struct live_audit *audit, size_t database,
                        const struct live_relation *r) {
    for (size_t i = 0; i < database; i++)
        if (has_relation(&audit->databases[i], r))
            return true;
    return false;
}

static void check_sides(struct live_audit *audit, size_t at) {
    const struct live_database *here = &audit->databases[at];
    for (size_t i = 0; i < here->relation_count; i++) {
        const struct live_relation *r = &here->relations[i];
        if (r->gitlab_schema < 0 || r->is_partition || told_before(audit, at, r))
            continue;
        for (size_t other = 0; other < audit->database_count; other++)
            if (other != at)
                check_other_side(audit, here, &audit->databases[other], r);
    }
}

/* -- names without a table --------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void check_missing(struct live_audit *audit) {
    const struct classification *c = audit->settings->classification;
    struct names present = {0};
    const char **missing = NULL, *name;
    size_t count = 0, cursor = 0;
    int schema;
    for (size_t d = 0; d < audit->database_count; d++)
        for (size_t i = 0; i < audit->databases[d].relation_count; i++)
            names_set(&present, audit->databases[d].relations[i].name, 1);
    while ((name = classification_next_table(c, &cursor, &schema)) != NULL) {
        if (names_get(&present, name) >= 0)
            continue;
        missing = alloc_grow(missing, count, sizeof *missing);
        missing[count++] = name;
    }
    if (count > 0)
        qsort(missing, count, sizeof *missing, compare_names);
    for (size_t i = 0; i < count; i++)
        live_find(
            audit, LIVE_MISSING, false, -1, alloc_text(missing[i]),
            alloc_format("it is classified %s, but no database has it",
                         classification_schema_name(c, classification_lookup(c, NULL, missing[i]))),
            "move it to the deleted tables, or correct its name");
    free(missing);
    names_clear(&present);
}

/* -- locks ------------------------------------------------------------------------------------- */

static void check_locks(struct live_audit *audit, const struct live_database *database) {
    const struct lock_survey *locks = &database->locks;
    bool wanted = false;
    for (size_t i = 0; i < locks->count; i++) {
        const struct lock_table *table = &locks->tables[i];
        wanted = wanted || table->want == LOCK_WANT_LOCKED;
        if (!lock_table_drifts(table))
            continue;
        const char *message =
            table->want == LOCK_WANT_UNLOCKED ? "it is locked against writes where it belongs"
            : table->broken != NULL           ? table->broken
                                    : "it can be written to, though it belongs to another database";
        live_find(audit, LIVE_LOCK, true, database->client.database,
                  key_of(table->schema, table->name), alloc_text(message),
                  "run pginterlock lock-writes");
    }
    if (wanted && locks->function == LOCK_FUNCTION_FOREIGN)
        live_find(audit, LIVE_LOCK, true, database->client.database,
                  key_of(locks->function_schema, LOCK_FUNCTION "()"),
                  alloc_text("this function is not GitLab's and may let writes pass"),
                  "run pginterlock lock-writes");
}

void live_check_relations(struct live_audit *audit) {
    for (size_t i = 0; i < audit->database_count; i++) {
        check_classified(audit, &audit->databases[i]);
        check_sides(audit, i);
        check_locks(audit, &audit->databases[i]);
    }
    if (audit->complete)
        check_missing(audit);
}
