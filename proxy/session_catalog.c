/* Asks the databases' catalogs which tables the indexes, sequences and the like of a statement
 * belong to, or where a prepared transaction is, before the statement is decided: over the
 * session's own links, unseen by its client, each database in turn, and only for names that the
 * worker does not know (routing/object_names.h).
 *
 * A link that is in the open block, or in a pipeline, is asked within it; no other link enters the
 * block for it. What keeps a link outside from answering only means that its catalog is not heard.
 * Within, an error has failed the client's transaction, and so is told as the statement's; and a
 * cancelled or timed out question is a cancelled statement everywhere. */
#include "proxy/session_internal.h"

#include "config/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char portal[] = "pginterlock_catalog"; /* and statement */

static uint64_t now(const struct session *s) {
    return uv_now(&s->worker->loop);
}

/* -- the names -----------------------------------------------------------------------------------
 */

static void add_wanted(struct catalog *catalog, const struct object_name *name) {
    catalog->wanted = alloc_grow(catalog->wanted, catalog->wanted_count, sizeof *catalog->wanted);
    catalog->wanted[catalog->wanted_count++] = (struct object_name){
        .kind = name->kind, .schema = alloc_text(name->schema), .name = alloc_text(name->name)};
}

static void free_text(const char *text) {
    free((char *)(uintptr_t)text);
}

void catalog_close(struct catalog *catalog) {
    for (size_t i = 0; i < catalog->wanted_count; i++) {
        free_text(catalog->wanted[i].schema);
        free_text(catalog->wanted[i].name);
    }
    free(catalog->wanted);
    catalog->wanted = NULL;
    catalog->wanted_count = 0;
    for (size_t i = 0; i < catalog->row_count; i++) {
        free_text(catalog->rows[i].answer.schema);
        free_text(catalog->rows[i].answer.table);
    }
    free(catalog->rows);
    catalog->rows = NULL;
    catalog->row_count = 0;
    catalog->active = catalog->of_transaction = false;
}

/* The physical databases whose catalogs count: on a pinned entrypoint, its own. */
static database_set databases_to_ask(const struct session *s) {
    const struct settings *settings = session_settings(s);
    int pinned = settings->entrypoints[s->entrypoint].database;
    return pinned != ENTRYPOINT_ROUTED
               ? database_bit(session_physical(s, pinned))
               : settings_physical_databases(settings, settings_all_databases(settings));
}

/* For each message once, since others may make and end such transactions at any time. Not within a
 * transaction, where the statement is refused by whichever server: in a pipeline, the more so if
 * something ran there before it. So what is known for Parse holds for what comes up to Sync. */
static bool begin_transaction(struct session *s, const struct statement *statement) {
    struct catalog *catalog = &s->catalog;
    if (!session_seeks_transaction(s->routing, statement) || catalog->asked_gid == s->handled + 1 ||
        session_block_status(s->routing) != BLOCK_IDLE || session_links_unsynced(s) != 0)
        return false;
    add_wanted(catalog, &(struct object_name){.name = statement->facts->name});
    catalog->asked_gid = s->handled + 1;
    return catalog->of_transaction = true;
}

/* Collects what is not known. False: nothing is to be asked, or nothing can be. */
static bool begin(struct session *s, const struct statement *statement) {
    if (session_block_status(s->routing) == BLOCK_FAILED || s->block_lost >= 0)
        return false;
    struct catalog *catalog = &s->catalog;
    database_set databases = databases_to_ask(s);
    for (size_t i = 0; i < statement->facts->table_count; i++) {
        struct object_name name;
        if (statement_object_name(statement, i, &name) &&
            !object_names_knows(s->config->objects, &name, session_asker(s->routing), databases,
                                now(s)))
            add_wanted(catalog, &name);
    }
    catalog->active = begin_transaction(s, statement) || catalog->wanted_count > 0;
    catalog->asked = catalog->left = databases;
    catalog->answered = 0;
    return catalog->active;
}

/* -- the question --------------------------------------------------------------------------------
 */

static void append(struct wire_buffer *sql, const char *text) {
    wire_append(sql, text, strlen(text));
}

static void append_name(struct wire_buffer *sql, const char *text) {
    if (text == NULL) {
        append(sql, "NULL::pg_catalog.name");
        return;
    }
    session_append_literal(sql, text);
    append(sql, "::pg_catalog.name");
}

static void append_wanted(struct wire_buffer *sql, const struct catalog *catalog) {
    append(sql, "WITH w(i, k, s, r) AS (VALUES ");
    for (size_t i = 0; i < catalog->wanted_count; i++) {
        char number[40];
        snprintf(number, sizeof number, "%s(%zu,%d,", i > 0 ? "," : "", i,
                 (int)catalog->wanted[i].kind);
        append(sql, number);
        append_name(sql, catalog->wanted[i].schema);
        append(sql, ",");
        append_name(sql, catalog->wanted[i].name);
        append(sql, ")");
    }
    append(sql, ") ");
}

/* Nothing in them depends on search_path but what is asked of it; operators too are named in full.
 * Columns: of `wanted`, whether search_path finds it, whether it is temporary, whether it belongs
 * to the table that follows or is that table itself. Other sessions' temporary objects are left
 * out. */
#define EQUAL " OPERATOR(pg_catalog.=) "
#define OF_SCHEMA(object) " AND (w.s IS NULL OR n.nspname" EQUAL "w.s) AND w.k" EQUAL object
#define IS_TEMPORARY(schema) schema EQUAL "pg_catalog.pg_my_temp_schema()"
#define IN_REACH(schema, name)                                                                     \
    " (" IS_TEMPORARY(schema) " OR " name " OPERATOR(pg_catalog.!~) '^pg_temp_')"

static const char relations[] =
    "SELECT w.i, w.s IS NOT NULL OR pg_catalog.pg_table_is_visible(c.oid), " IS_TEMPORARY(
        "n.oid") ", c.relkind" EQUAL "ANY ('{i,I,S}'::pg_catalog.\"char\"[]), tn.nspname, t.relname"
                 " FROM w JOIN pg_catalog.pg_class c ON c.relname" EQUAL "w.r"
                 " JOIN pg_catalog.pg_namespace n ON n.oid" EQUAL "c.relnamespace" OF_SCHEMA(
                     "0") " LEFT JOIN pg_catalog.pg_index x ON x.indexrelid" EQUAL "c.oid"
                          " LEFT JOIN pg_catalog.pg_depend d ON c.relkind" EQUAL "'S'"
                          " AND d.classid" EQUAL
                          "'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid" EQUAL "c.oid"
                          " AND d.objsubid" EQUAL "0 AND d.refclassid" EQUAL
                          "'pg_catalog.pg_class'::pg_catalog.regclass"
                          " AND d.deptype" EQUAL "ANY ('{a,i}'::pg_catalog.\"char\"[])"
                          " LEFT JOIN pg_catalog.pg_class t ON t.oid" EQUAL
                          "CASE WHEN c.relkind" EQUAL
                          "ANY ('{i,I,S}'::pg_catalog.\"char\"[]) THEN COALESCE(x.indrelid, "
                          "d.refobjid) ELSE c.oid END"
                          " LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid" EQUAL "t.relnamespace"
                          " WHERE c.relkind" EQUAL
                          "ANY ('{i,I,S,r,p,v,m,f}'::pg_catalog.\"char\"[]) AND" IN_REACH(
                              "n.oid", "n.nspname");

static const char statistics[] =
    "SELECT w.i, w.s IS NOT NULL OR pg_catalog.pg_statistics_obj_is_visible(e.oid), " IS_TEMPORARY(
        "t.relnamespace") ", true, tn.nspname, t.relname"
                          " FROM w JOIN pg_catalog.pg_statistic_ext e ON e.stxname" EQUAL "w.r"
                          " JOIN pg_catalog.pg_namespace n ON n.oid" EQUAL
                          "e.stxnamespace" OF_SCHEMA(
                              "1") " JOIN pg_catalog.pg_class t ON t.oid" EQUAL "e.stxrelid"
                                   " JOIN pg_catalog.pg_namespace tn ON tn.oid" EQUAL
                                   "t.relnamespace"
                                   " WHERE" IN_REACH("t.relnamespace", "tn.nspname");

static const char constraints[] =
    "SELECT w.i, w.s IS NOT NULL OR n.nspname" EQUAL
    "ANY (pg_catalog.current_schemas(true)), " IS_TEMPORARY(
        "t.relnamespace") ", true, tn.nspname, t.relname"
                          " FROM w JOIN pg_catalog.pg_constraint o ON o.conname" EQUAL "w.r"
                          " JOIN pg_catalog.pg_namespace n ON n.oid" EQUAL
                          "o.connamespace" OF_SCHEMA(
                              "2") " JOIN pg_catalog.pg_class t ON t.oid" EQUAL "o.conrelid"
                                   " JOIN pg_catalog.pg_namespace tn ON tn.oid" EQUAL
                                   "t.relnamespace"
                                   " WHERE" IN_REACH("t.relnamespace", "tn.nspname");

/* The view shows those of the whole server, but each is ended where it was made. No name: a gid may
 * be longer than those. */
static void append_transaction(struct wire_buffer *sql, const struct catalog *catalog) {
    append(sql, "SELECT 0, true, false, false, NULL, NULL FROM pg_catalog.pg_prepared_xacts"
                " WHERE database" EQUAL "pg_catalog.current_database() AND gid" EQUAL);
    session_append_literal(sql, catalog->wanted[0].name);
    append(sql, "::pg_catalog.text");
    wire_append(sql, "", 1);
}

static void append_question(struct wire_buffer *sql, const struct catalog *catalog) {
    static const char *const parts[] = {[OBJECT_NAME_RELATION] = relations,
                                        [OBJECT_NAME_STATISTICS] = statistics,
                                        [OBJECT_NAME_CONSTRAINT] = constraints};
    bool needed[sizeof parts / sizeof parts[0]] = {false}, any = false;
    for (size_t i = 0; i < catalog->wanted_count; i++)
        needed[catalog->wanted[i].kind] = true;
    append_wanted(sql, catalog);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (!needed[i])
            continue;
        append(sql, any ? " UNION ALL " : "");
        append(sql, parts[i]);
        any = true;
    }
    wire_append(sql, "", 1);
}

static void push(struct link *link, enum request_kind kind) {
    answers_push(&link->answers, kind, AUDIENCE_PROXY)->asks_catalog = true;
}

/* With a Sync of its own, unless that would end the client's pipeline. */
static __attribute__((cold)) void ask(struct session *s, struct link *link) {
    struct wire_buffer sql = {0}, out = {0};
    if (s->catalog.of_transaction)
        append_transaction(&sql, &s->catalog);
    else
        append_question(&sql, &s->catalog);
    message_put_close(&out, 'S', portal); /* a cancelled one may have left its name */
    push(link, REQUEST_CLOSE);
    message_put_parse(&out, portal, (const char *)sql.data);
    push(link, REQUEST_PARSE);
    message_put_bind(&out, portal, portal);
    push(link, REQUEST_BIND);
    message_put_execute(&out, portal);
    push(link, REQUEST_EXECUTE);
    message_put_close(&out, 'P', portal);
    push(link, REQUEST_CLOSE);
    message_put_close(&out, 'S', portal);
    push(link, REQUEST_CLOSE);
    if (!link->unsynced) {
        message_put_sync(&out);
        push(link, REQUEST_SYNC);
    }
    stream_send(&link->stream, out.data, out.length);
    wire_buffer_close(&sql);
    wire_buffer_close(&out);
    s->active = link;
    session_flush_link(link);
}

/* -- the answers ---------------------------------------------------------------------------------
 */

enum { COLUMNS = 6 };

void session_take_catalog_row(struct session *s, const struct link *link, const uint8_t *row,
                              size_t length) {
    struct catalog *catalog = &s->catalog;
    char *columns[COLUMNS] = {NULL};
    size_t at = 2;
    bool whole = length >= 2 && wire_get_u16(row) == COLUMNS;
    for (int i = 0; whole && i < COLUMNS; i++) {
        whole = length - at >= 4;
        uint32_t size = whole ? wire_get_u32(row + at) : UINT32_MAX;
        at += whole ? 4 : 0;
        if (size == UINT32_MAX)
            continue; /* NULL */
        whole = size <= length - at;
        if (whole)
            columns[i] = alloc_copy((const char *)row + at, size);
        at += whole ? size : 0;
    }
    size_t name = columns[0] != NULL ? (size_t)strtoul(columns[0], NULL, 10) : SIZE_MAX;
    if (whole && name < catalog->wanted_count) {
        catalog->rows = alloc_grow(catalog->rows, catalog->row_count, sizeof *catalog->rows);
        catalog->rows[catalog->row_count++] =
            (struct catalog_row){.name = name,
                                 .answer = {.database = link->physical,
                                            .visible = columns[1] != NULL && columns[1][0] == 't',
                                            .temporary = columns[2] != NULL && columns[2][0] == 't',
                                            .belongs = columns[3] != NULL && columns[3][0] == 't',
                                            .schema = columns[4],
                                            .table = columns[5]}};
        columns[4] = columns[5] = NULL;
    }
    for (int i = 0; i < COLUMNS; i++)
        free(columns[i]);
}

void session_catalog_answered(struct session *s, const struct link *link) {
    s->catalog.answered |= database_bit(link->physical);
}

static int compare_rows(const void *one, const void *other) {
    const struct catalog_row *a = one, *b = other;
    return a->name != b->name                         ? (a->name < b->name ? -1 : 1)
           : a->answer.database != b->answer.database ? a->answer.database - b->answer.database
                                                      : 0;
}

/* What all have said, into the worker's map. */
static void keep(struct session *s) {
    struct catalog *catalog = &s->catalog;
    struct object_names *map = s->config->objects;
    struct object_inquiry inquiry = {.asker = session_asker(s->routing),
                                     .asked = catalog->asked,
                                     .answered = catalog->answered,
                                     .uncommitted = catalog->structure_changed,
                                     .now = now(s)};
    if (catalog->row_count > 1)
        qsort(catalog->rows, catalog->row_count, sizeof *catalog->rows, compare_rows);
    struct object_answer *answers =
        alloc_new((catalog->row_count + 1) * sizeof *answers); /* in the order of the names */
    for (size_t i = 0; i < catalog->row_count; i++)
        answers[i] = catalog->rows[i].answer;
    object_names_make_room(map, catalog->wanted_count);
    for (size_t i = 0, first = 0, last = 0; i < catalog->wanted_count; i++, first = last) {
        while (last < catalog->row_count && catalog->rows[last].name == i)
            last++;
        object_names_put(map, &catalog->wanted[i], answers + first, last - first, &inquiry);
    }
    free(answers);
}

/* In none of them: where one did not answer it may be, and its absence must not be said by another.
 */
static void keep_transaction(struct session *s) {
    struct catalog *catalog = &s->catalog;
    database_set found = 0;
    for (size_t i = 0; i < catalog->row_count; i++)
        found |= database_bit(catalog->rows[i].answer.database);
    session_found_transaction(s->routing, catalog->wanted[0].name,
                              found != 0 ? found : catalog->asked & ~catalog->answered);
}

static enum progress run(struct session *s) {
    struct catalog *catalog = &s->catalog;
    if (session_wait_drained(s) == PROGRESS_WAIT)
        return PROGRESS_WAIT;
    while (catalog->left != 0) {
        int physical = database_set_first(catalog->left);
        struct link *link = NULL;
        enum use use = session_use_link_aside(s, physical, &link);
        if (use == USE_WAIT)
            return PROGRESS_WAIT;
        catalog->left &= ~database_bit(physical);
        if (use == USE_READY) {
            ask(s, link);
            return session_wait_drained(s);
        }
    }
    if (catalog->of_transaction)
        keep_transaction(s);
    else
        keep(s);
    catalog_close(catalog);
    return PROGRESS_DONE;
}

enum progress session_ask_catalogs(struct session *s, const struct statement *statement) {
    if (s->cancel_kept) { /* the statement will be refused, whatever they would say */
        if (session_wait_drained(s) == PROGRESS_WAIT)
            return PROGRESS_WAIT;
        catalog_close(&s->catalog);
        return PROGRESS_DONE;
    }
    /* One that a message began which was given up meanwhile is brought to its end first. */
    while (s->catalog.active || begin(s, statement))
        if (run(s) == PROGRESS_WAIT)
            return PROGRESS_WAIT;
    return PROGRESS_DONE;
}

/* -- failure -------------------------------------------------------------------------------------
 */

bool session_catalog_may_fail(const struct link *link, const char *sqlstate) {
    bool cancelled = sqlstate != NULL && strcmp(sqlstate, "57014") == 0;
    return !cancelled && !link->in_block && !link->unsynced;
}

void session_catalog_failed(struct session *s, bool in_pipeline) {
    catalog_close(&s->catalog);
    if (s->script.active)
        s->script.failed = true;
    else if (!in_pipeline) /* else all of it is skipped up to Sync */
        s->catalog.failed = true;
}

bool session_catalog_unheard(struct session *s, const struct link *link) {
    struct catalog *catalog = &s->catalog;
    bool was_next = catalog->active && (catalog->left & database_bit(link->physical)) != 0;
    if (was_next)
        catalog->left &= ~database_bit(link->physical);
    return was_next;
}

bool session_take_catalog_failure(struct session *s) {
    bool failed = s->catalog.failed;
    s->catalog.failed = false;
    return failed;
}

/* -- structure -----------------------------------------------------------------------------------
 */

static void changed(struct session *s, bool defaults) {
    object_names_forget(s->config->objects);
    session_structure_changed(s);
    if (defaults)
        atomic_fetch_add_explicit(&s->worker->workers->defaults, 1, memory_order_relaxed);
}

void session_note_structure(struct session *s, const struct statement *statement) {
    const struct statement_facts *facts = statement->facts;
    if (facts->kind != KIND_DDL || (facts->flags & STATEMENT_TEMPORARY) != 0)
        return;
    bool defaults = (facts->flags & STATEMENT_ALTERS_DEFAULTS) != 0;
    changed(s, defaults);
    enum block_status status = session_block_status(s->routing);
    s->catalog.structure_changed = status == BLOCK_OPEN || status == BLOCK_IMPLICIT;
    s->catalog.defaults_changed =
        s->catalog.structure_changed && (s->catalog.defaults_changed || defaults);
}

void session_structure_settled(struct session *s, bool over) {
    if (!s->catalog.structure_changed)
        return;
    changed(s, s->catalog.defaults_changed);
    s->catalog.structure_changed = !over;
    s->catalog.defaults_changed = s->catalog.defaults_changed && !over;
}
