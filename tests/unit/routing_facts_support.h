/* Facts as one line of text, so that a test reads as the statement and what is found in it:
 *
 *     insert: x write, y read; key x->y; calls f; literal z
 *
 * Marks behind a table's access: ' named in a string, + created, - dropped, ~ temporary, ^ far end
 * of a foreign key, # sequence, @ other object, {} in a body, () a type. Statements are separated
 * by " | ". */
#ifndef PGINTERLOCK_ROUTING_FACTS_SUPPORT_H
#define PGINTERLOCK_ROUTING_FACTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "routing/facts.h"

#include <stdio.h>
#include <string.h>

struct line {
    char text[8192];
    size_t used;
};

__attribute__((format(printf, 2, 3))) static inline void line_add(struct line *line,
                                                                  const char *format, ...) {
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line->text + line->used, sizeof line->text - line->used, format, args);
    va_end(args);
    assert_true(length >= 0 && (size_t)length < sizeof line->text - line->used);
    line->used += (size_t)length;
}

static inline void line_add_table(struct line *line, const struct table_facts *table) {
    static const char *const accesses[] = {[ACCESS_READ] = "read",
                                           [ACCESS_LOCK] = "lock",
                                           [ACCESS_DDL] = "ddl",
                                           [ACCESS_WRITE] = "write"};
    static const struct {
        unsigned flag;
        const char *mark;
    } marks[] = {{TABLE_NAMED_IN_STRING, "'"}, {TABLE_CREATED, "+"},    {TABLE_DROPPED, "-"},
                 {TABLE_TEMPORARY, "~"},       {TABLE_REFERENCED, "^"}, {TABLE_SEQUENCE, "#"},
                 {TABLE_OTHER_OBJECT, "@"},    {TABLE_IN_BODY, "{}"},   {TABLE_TYPE, "()"}};
    if (table->schema)
        line_add(line, "%s.", table->schema);
    line_add(line, "%s %s", table->name, accesses[table->access]);
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (table->flags & marks[i].flag)
            line_add(line, "%s", marks[i].mark);
}

static inline void line_add_statement(struct line *line, const struct statement_facts *statement) {
    line_add(line, "%s", statement_kind_name(statement->kind));
    if (statement->inner_kind != KIND_EMPTY)
        line_add(line, " (%s)", statement_kind_name(statement->inner_kind));
    if (statement->name)
        line_add(line, " %s", statement->name);
    if (statement->value)
        line_add(line, " = %s", statement->value);
    for (size_t i = 0; i < statement->table_count; i++) {
        line_add(line, "%s", i ? ", " : ": ");
        line_add_table(line, &statement->tables[i]);
    }
    for (size_t i = 0; i < statement->foreign_key_count; i++)
        line_add(line, "; key %s->%s", statement->tables[statement->foreign_keys[i].from].name,
                 statement->tables[statement->foreign_keys[i].to].name);
    for (size_t i = 0; i < statement->function_count; i++)
        line_add(line, "; calls %s", statement->functions[i]);
    for (size_t i = 0; i < statement->literal_count; i++)
        line_add(line, "; literal %s", statement->literals[i]);
    if (statement->hint_database)
        line_add(line, "; hint %s", statement->hint_database);
}

static inline void parse_or_fail(const char *sql, struct query_facts *facts, struct error *error) {
    struct lexing lexing = {.standard_conforming_strings = true};
    assert_true(facts_parse(sql, strlen(sql), &lexing, true, facts, error));
}

/* `expected` as above. */
static inline void expect_facts(const char *sql, const char *expected) {
    struct query_facts facts;
    struct error error;
    parse_or_fail(sql, &facts, &error);
    struct line line = {.used = 0};
    line.text[0] = '\0';
    for (size_t i = 0; i < facts.count; i++) {
        if (i > 0)
            line_add(&line, " | ");
        line_add_statement(&line, &facts.statements[i]);
    }
    if (strcmp(line.text, expected) != 0)
        print_error("%s\n", sql);
    assert_string_equal(line.text, expected);
    facts_close(&facts);
}

/* Flags of the only statement. */
static inline unsigned flags_of(const char *sql) {
    struct query_facts facts;
    struct error error;
    parse_or_fail(sql, &facts, &error);
    assert_int_equal(facts.count, 1);
    unsigned flags = facts.statements[0].flags;
    facts_close(&facts);
    return flags;
}

/* Where the statement's table of that name is first named. */
static inline void expect_position(const char *sql, const char *table, const char *at) {
    struct query_facts facts;
    struct error error;
    parse_or_fail(sql, &facts, &error);
    int position = -2;
    for (size_t i = 0; i < facts.count; i++)
        for (size_t j = 0; j < facts.statements[i].table_count && position == -2; j++)
            if (strcmp(facts.statements[i].tables[j].name, table) == 0)
                position = facts.statements[i].tables[j].position;
    const char *found = strstr(sql, at);
    assert_non_null(found);
    assert_int_equal(position, found - sql);
    facts_close(&facts);
}

#endif
