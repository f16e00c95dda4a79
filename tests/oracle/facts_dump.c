/* What the classifier finds, beside what libpg_query's own JSON says, for tests to compare.
 *
 * Standard input: query texts, each ended by a NUL. Standard output: one JSON object a line for
 * each: {"tree": …, "facts": {"error": …, "statements": […]}}; a tree that cannot be made is null.
 * With the argument `plpgsql` the tree is pg_query_parse_plpgsql()'s. */
#include "routing/facts.h"

#include <jansson.h>
#include <pg_query.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const accesses[] = {
    [ACCESS_READ] = "read", [ACCESS_LOCK] = "lock", [ACCESS_DDL] = "ddl", [ACCESS_WRITE] = "write"};

static json_t *table_json(const struct table_facts *table) {
    return json_pack("{s:s?, s:s, s:s, s:i, s:i}", "schema", table->schema, "name", table->name,
                     "access", accesses[table->access], "flags", (int)table->flags, "position",
                     table->position);
}

static json_t *texts_json(const char *const *texts, size_t count) {
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_string(texts[i]));
    return array;
}

static json_t *statement_json(const struct statement_facts *statement) {
    json_t *tables = json_array(), *keys = json_array();
    for (size_t i = 0; i < statement->table_count; i++)
        json_array_append_new(tables, table_json(&statement->tables[i]));
    for (size_t i = 0; i < statement->foreign_key_count; i++)
        json_array_append_new(keys, json_pack("[i,i]", statement->foreign_keys[i].from,
                                              statement->foreign_keys[i].to));
    return json_pack("{s:s, s:s, s:i, s:s?, s:o, s:o, s:o, s:o}", "kind",
                     statement_kind_name(statement->kind), "inner",
                     statement_kind_name(statement->inner_kind), "flags", (int)statement->flags,
                     "object", statement->name, "tables", tables, "keys", keys, "functions",
                     texts_json(statement->functions, statement->function_count), "literals",
                     texts_json(statement->literals, statement->literal_count));
}

static json_t *facts_json(const char *text, size_t length) {
    struct lexing lexing = {.standard_conforming_strings = true};
    struct query_facts facts;
    struct error error = {0};
    if (!facts_parse(text, length, &lexing, true, &facts, &error))
        return json_pack("{s:s, s:[]}", "error", error.text, "statements");
    json_t *statements = json_array();
    for (size_t i = 0; i < facts.count; i++)
        json_array_append_new(statements, statement_json(&facts.statements[i]));
    facts_close(&facts);
    return json_pack("{s:s, s:o}", "error", error.text, "statements", statements);
}

static void print_tree(const char *text, bool plpgsql) {
    if (plpgsql) {
        PgQueryPlpgsqlParseResult parsed = pg_query_parse_plpgsql(text);
        for (char *c = parsed.error ? NULL : parsed.plpgsql_funcs; c && *c; c++)
            *c = *c == '\n' ? ' ' : *c; /* it stands between members, never in a string */
        fputs(parsed.error ? "null" : parsed.plpgsql_funcs, stdout);
        pg_query_free_plpgsql_parse_result(parsed);
        return;
    }
    PgQueryParseResult parsed = pg_query_parse(text);
    fputs(parsed.error ? "null" : parsed.parse_tree, stdout);
    pg_query_free_parse_result(parsed);
}

int main(int argc, char **argv) {
    bool plpgsql = argc > 1 && strcmp(argv[1], "plpgsql") == 0;
    char *text = NULL;
    size_t capacity = 0;
    ssize_t length;
    while ((length = getdelim(&text, &capacity, '\0', stdin)) > 0) {
        if (text[length - 1] == '\0')
            length--;
        fputs("{\"tree\": ", stdout);
        print_tree(text, plpgsql);
        fputs(", \"facts\": ", stdout);
        json_t *facts = facts_json(text, (size_t)length);
        json_dumpf(facts, stdout, JSON_COMPACT);
        json_decref(facts);
        fputs("}\n", stdout);
        (void)fflush(stdout); /* the other end waits for it */
    }
    free(text);
    return ferror(stdin) || fflush(stdout) != 0;
}
