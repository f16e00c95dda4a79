/* Sequences that exist in more than one database and are counted on in each: they give the same
 * numbers twice. */
#include "commands/live_audit.h"

#include "config/alloc.h"

#include <stdlib.h>
#include <string.h>

struct sequence {
    const char *schema, *name; /* borrowed from the rows */
    int gitlab_schema;         /* of the table that it belongs to; -1: unknown */
    bool writable;             /* nothing keeps its database from counting */
    long long start, increment, min, max;
};

struct sequences {
    PGresult *rows;
    struct sequence *list;
    size_t count;
};

static const char sequences_sql[] =
    "SELECT n.nspname, s.relname, tn.nspname, t.relname, (SELECT r.relname FROM "
    "pg_catalog.pg_class r"
    "  WHERE t.relispartition AND r.oid = pg_catalog.pg_partition_root(t.oid)),"
    " q.seqstart, q.seqincrement, q.seqmin, q.seqmax"
    " FROM pg_catalog.pg_sequence q JOIN pg_catalog.pg_class s ON s.oid = q.seqrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace"
    " LEFT JOIN (pg_catalog.pg_depend d JOIN pg_catalog.pg_class t ON t.oid = d.refobjid"
    "  JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace)"
    "  ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = s.oid"
    "  AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i')"
    " WHERE s.relpersistence <> 't' AND" LIVE_USER_SCHEMA("n") "AND" LIVE_NO_EXTENSION(
        "pg_class", "s.oid") "ORDER BY n.nspname COLLATE \"C\", s.relname COLLATE \"C\"";

int live_sequence_schema(const struct classification *c, const char *name) {
    char table[IDENTIFIER_BYTES + 1];
    size_t length = strlen(name);
    if (length < 5 || length > IDENTIFIER_BYTES || strcmp(name + length - 4, "_seq") != 0)
        return -1;
    memcpy(table, name, length + 1);
    for (length -= 4; length > 0; length--) {
        if (name[length] != '_')
            continue;
        table[length] = '\0';
        int schema = classification_lookup(c, NULL, table);
        if (schema >= 0)
            return schema;
    }
    return -1;
}

static void read_owner(struct sequence *sequence, const struct live_database *database, int row,
                       const PGresult *rows) {
    const struct classification *c = database->client.settings->classification;
    const char *schema = live_value(rows, row, 2), *name = live_value(rows, row, 3);
    sequence->writable = true;
    if (name == NULL) {
        sequence->gitlab_schema = live_sequence_schema(c, sequence->name);
        return;
    }
    const struct lock_table *table = lock_survey_find(&database->locks, schema, name);
    sequence->gitlab_schema = lock_table_schema(c, schema, name, live_value(rows, row, 4));
    sequence->writable = table == NULL || table->state != LOCK_GOOD;
}

static bool read_sequences(struct sequences *sequences, struct live_database *database,
                           struct error *error) {
    if (!database_client_query(&database->client, sequences_sql, &sequences->rows, error))
        return false;
    const PGresult *rows = sequences->rows;
    sequences->count = (size_t)PQntuples(rows);
    sequences->list = alloc_zeroed(sequences->count + 1, sizeof *sequences->list);
    for (int i = 0; i < PQntuples(rows); i++) {
        struct sequence *sequence = &sequences->list[i];
        sequence->schema = PQgetvalue(rows, i, 0);
        sequence->name = PQgetvalue(rows, i, 1);
        sequence->start = strtoll(PQgetvalue(rows, i, 5), NULL, 10);
        sequence->increment = strtoll(PQgetvalue(rows, i, 6), NULL, 10);
        sequence->min = strtoll(PQgetvalue(rows, i, 7), NULL, 10);
        sequence->max = strtoll(PQgetvalue(rows, i, 8), NULL, 10);
        read_owner(sequence, database, i, rows);
    }
    return true;
}

static const struct sequence *find_sequence(const struct sequences *sequences,
                                            const struct sequence *like) {
    size_t low = 0, high = sequences->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct sequence *s = &sequences->list[middle];
        int order = strcmp(s->schema, like->schema);
        order = order != 0 ? order : strcmp(s->name, like->name);
        if (order == 0)
            return s;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* The remainder of the numbers that a sequence gives, from 0 to step - 1. */
static unsigned long long phase(long long start, long long step) {
    long long rest = start % step;
    return (unsigned long long)(rest < 0 ? rest + step : rest);
}

/* Whether the two can give the same number: not where their ranges are apart, or where they take
 * turns. */
static bool sequences_collide(const struct sequence *a, const struct sequence *b) {
    if (a->max < b->min || b->max < a->min)
        return false;
    if (a->increment != b->increment || a->increment <= 1)
        return true;
    return phase(a->start, a->increment) == phase(b->start, b->increment);
}

static void find_collision(struct live_audit *audit, const struct live_database *here,
                           const struct live_database *there, const struct sequence *sequence) {
    const struct settings *settings = audit->settings;
    const struct classification *c = settings->classification;
    int schema = sequence->gitlab_schema;
    if (schema >= 0 && classification_schema_is_internal(c, schema))
        return;
    bool shared = schema >= 0 && classification_schema_is_neutral(c, schema);
    live_find(audit, LIVE_SEQUENCE, schema >= 0 && !shared, -1,
              alloc_format("%s.%s", sequence->schema, sequence->name),
              alloc_format("%s and %s both count with it%s and give the same numbers twice",
                           settings->databases[here->client.database].name,
                           settings->databases[there->client.database].name,
                           shared ? " for rows of their own" : ""),
              shared ? "give them ranges of their own if the rows are ever to be together"
                     : "run pginterlock lock-writes, or give them ranges of their own");
}

static void compare_sequences(struct live_audit *audit, const struct sequences *all, size_t a,
                              size_t b) {
    for (size_t i = 0; i < all[a].count; i++) {
        const struct sequence *here = &all[a].list[i], *there = find_sequence(&all[b], here);
        if (there != NULL && here->writable && there->writable && sequences_collide(here, there))
            find_collision(audit, &audit->databases[a], &audit->databases[b], here);
    }
}

bool live_check_sequences(struct live_audit *audit, struct error *error) {
    struct sequences *all = alloc_zeroed(audit->database_count + 1, sizeof *all);
    bool read = true;
    for (size_t i = 0; i < audit->database_count && read; i++)
        read = read_sequences(&all[i], &audit->databases[i], error);
    for (size_t a = 0; a < audit->database_count && read; a++)
        for (size_t b = a + 1; b < audit->database_count; b++)
            compare_sequences(audit, all, a, b);
    for (size_t i = 0; i < audit->database_count; i++) {
        free(all[i].list);
        PQclear(all[i].rows);
    }
    free(all);
    return read;
}
