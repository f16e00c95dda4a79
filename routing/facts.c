#include "routing/facts.h"

#include "routing/lexer.h"
#include "routing/reading.h"
#include "routing/unparsed.h"
#include "routing/walk.h"

#include <limits.h>
#include <stdlib.h>

enum { FACTS_ARENA_FIRST = 1024, SCRATCH_ARENA_FIRST = 8192 };

const char *statement_kind_name(enum statement_kind kind) {
    static const char *const names[KIND_COUNT] = {
        [KIND_EMPTY] = "empty",
        [KIND_SELECT] = "select",
        [KIND_INSERT] = "insert",
        [KIND_UPDATE] = "update",
        [KIND_DELETE] = "delete",
        [KIND_MERGE] = "merge",
        [KIND_TRUNCATE] = "truncate",
        [KIND_COPY_FROM] = "copy from",
        [KIND_COPY_TO] = "copy to",
        [KIND_CALL] = "call",
        [KIND_DO] = "do",
        [KIND_EXPLAIN] = "explain",
        [KIND_LOCK] = "lock",
        [KIND_DDL] = "ddl",
        [KIND_UTILITY] = "utility",
        [KIND_BEGIN] = "begin",
        [KIND_COMMIT] = "commit",
        [KIND_ROLLBACK] = "rollback",
        [KIND_SAVEPOINT] = "savepoint",
        [KIND_RELEASE] = "release",
        [KIND_ROLLBACK_TO] = "rollback to",
        [KIND_PREPARE_TRANSACTION] = "prepare transaction",
        [KIND_COMMIT_PREPARED] = "commit prepared",
        [KIND_ROLLBACK_PREPARED] = "rollback prepared",
        [KIND_SET] = "set",
        [KIND_RESET_ALL] = "reset all",
        [KIND_SET_TRANSACTION] = "set transaction",
        [KIND_SET_CONSTRAINTS] = "set constraints",
        [KIND_SHOW] = "show",
        [KIND_PREPARE] = "prepare",
        [KIND_EXECUTE] = "execute",
        [KIND_DEALLOCATE] = "deallocate",
        [KIND_DECLARE] = "declare",
        [KIND_FETCH] = "fetch",
        [KIND_CLOSE] = "close",
        [KIND_LISTEN] = "listen",
        [KIND_UNLISTEN] = "unlisten",
        [KIND_NOTIFY] = "notify",
        [KIND_DISCARD] = "discard",
        [KIND_UNPARSED] = "unparsed",
    };
    return (unsigned)kind < KIND_COUNT ? names[kind] : "unknown";
}

/* The slice without surrounding white space. */
static void set_slice(const struct reading *reading, size_t start, size_t end,
                      struct statement_facts *out) {
    while (start < end && lexer_is_space(reading->text[start]))
        start++;
    while (end > start && lexer_is_space(reading->text[end - 1]))
        end--;
    out->start = start;
    out->length = end - start;
}

static void apply_hints(const struct reading *reading, struct statement_facts *out) {
    for (size_t i = 0; i < reading->prescan.hint_count; i++) {
        const struct prescan_hint *hint = &reading->prescan.hints[i];
        if (hint->position < out->start || hint->position >= out->start + out->length)
            continue;
        out->flags |= hint->flags;
        if (hint->database)
            out->hint_database = hint->database;
    }
}

static bool is_catalog_table(const struct table_facts *table) {
    if (table->schema && strcmp(table->schema, "information_schema") == 0)
        return true;
    if (table->schema && strcmp(table->schema, "pg_temp") == 0)
        return false;
    return strncmp(table->name, "pg_", 3) == 0;
}

/* Whether the statement reads catalogs and nothing else; names in strings are what it asks for. */
static bool is_catalog_query(const struct collector *collector,
                             const struct statement_facts *statement) {
    bool any = false;
    if (statement->kind != KIND_SELECT && statement->inner_kind != KIND_SELECT)
        return false;
    for (size_t i = 0; i < collector->table_count; i++) {
        const struct table_facts *table = &collector->tables[i];
        if (table->flags & (TABLE_NAMED_IN_STRING | TABLE_TYPE))
            continue;
        if (table->access != ACCESS_READ || !is_catalog_table(table))
            return false;
        any = true;
    }
    return any;
}

static void finish_ddl(const struct collector *collector, struct statement_facts *out) {
    if (!(out->flags & STATEMENT_MODIFIES_DDL) || collector->table_count == 0)
        return;
    for (size_t i = 0; i < collector->table_count; i++)
        if (collector->tables[i].access == ACCESS_DDL &&
            !(collector->tables[i].flags & TABLE_TEMPORARY))
            return;
    for (size_t i = 0; i < collector->table_count; i++)
        if (collector->tables[i].flags & TABLE_TEMPORARY) {
            out->flags &= ~(unsigned)STATEMENT_MODIFIES_DDL;
            return;
        }
}

static bool read_statement(const struct reading *reading, const RawStmt *raw,
                           struct statement_facts *out, struct error *error) {
    size_t start = (size_t)raw->stmt_location;
    size_t end = raw->stmt_len > 0 ? start + (size_t)raw->stmt_len : reading->length;
    set_slice(reading, start, end, out);
    if (reading->prescan.hint_count > 0)
        apply_hints(reading, out);
    struct collector collector;
    collector_init(&collector, reading->arena);
    struct walk walk = {
        .out = &collector,
        .statement = out,
        .scratch = reading->scratch,
        .text = reading->text,
        .text_length = reading->length,
        .standard_conforming_strings = reading->lexing->standard_conforming_strings,
    };
    walk_statement(&walk, raw->stmt);
    if (walk.unknown)
        return error_set(error, "%s: node %d", walk.unknown, walk.unknown_tag);
    if (is_catalog_query(&collector, out)) {
        out->flags |= STATEMENT_CATALOG;
        walk_collect_literals(&walk);
    }
    finish_ddl(&collector, out);
    collector_finish(&collector, reading->text, out);
    return true;
}

static bool read_statements(const struct reading *reading, struct query_facts *out,
                            struct error *error) {
    const List *list;
    char *message;
    if (!parse_text(reading->prescan.text, reading->lexing->standard_conforming_strings, &list,
                    &message)) {
        (void)error_set(error, "%s", message ? message : "out of memory");
        free(message);
        return false;
    }
    size_t count = (size_t)list_length(list);
    out->statements = arena_alloc(reading->arena, count * sizeof *out->statements + 1);
    memset(out->statements, 0, count * sizeof *out->statements);
    out->count = count;
    for (size_t i = 0; i < count; i++)
        if (!read_statement(reading, list_nth(list, (int)i), &out->statements[i], error))
            return false;
    return true;
}

/* One statement over the whole text, whose tables are all its identifiers. */
static void read_unparsed(const struct reading *reading, struct query_facts *out) {
    struct statement_facts *statement = arena_alloc(reading->arena, sizeof *statement);
    *statement = (struct statement_facts){.kind = KIND_UNPARSED};
    set_slice(reading, 0, reading->length, statement);
    apply_hints(reading, statement);
    struct collector collector;
    collector_init(&collector, reading->arena);
    unparsed_collect(reading, &collector);
    collector_finish(&collector, reading->text, statement);
    out->statements = statement;
    out->count = 1;
}

static void read_text(const struct reading *reading, struct query_facts *out, struct error *error) {
    bool read = false;
    if (!reading->prescan.refused && reading->length < INT_MAX) {
        struct parse parse;
        parse_enter(&parse);
        read = read_statements(reading, out, error);
        parse_leave(&parse);
    }
    if (!read)
        read_unparsed(reading, out);
}

bool reading_scan(struct reading *reading, bool check_utf8, struct shape *shape, struct error *error) {
    if (!prescan_text(reading->text, reading->length, reading->lexing, check_utf8, reading->scratch, shape,
                      &reading->prescan, error))
        return false;
    for (size_t i = 0; i < reading->prescan.hint_count; i++) { /* they outlive the scratch arena */
        struct prescan_hint *hint = (struct prescan_hint *)&reading->prescan.hints[i];
        if (hint->database)
            hint->database = arena_copy_text(reading->arena, hint->database, strlen(hint->database));
    }
    return true;
}

void reading_parse(const struct reading *reading, struct query_facts *out, struct error *error) {
    *out = (struct query_facts){.arena = reading->arena};
    if (!reading->prescan.empty)
        read_text(reading, out, error);
}

bool facts_parse(const char *text, size_t length, const struct lexing *lexing, bool check_utf8,
                 struct query_facts *out, struct error *error) {
    struct reading reading = {.text = text, .length = length, .lexing = lexing};
    reading.arena = arena_new(FACTS_ARENA_FIRST);
    reading.scratch = arena_new(SCRATCH_ARENA_FIRST);
    bool fit = reading_scan(&reading, check_utf8, NULL, error);
    *out = (struct query_facts){0};
    if (fit)
        reading_parse(&reading, out, error);
    else
        arena_free(reading.arena);
    arena_free(reading.scratch);
    return fit;
}

void facts_close(struct query_facts *facts) {
    arena_free(facts->arena);
    *facts = (struct query_facts){0};
}
