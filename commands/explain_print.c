#include "commands/explain_internal.h"

#include "config/allowlist.h"
#include "config/utf8.h"
#include "routing/fingerprint.h"
#include "routing/text.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `any`, `all`, `none`, or the database that stores it. */
static const char *explained_database(const struct explained *e) {
    const struct settings *settings = e->settings;
    switch (e->decision->destination) {
    case DESTINATION_ANY:
        return "any";
    case DESTINATION_ALL:
        return "all";
    case DESTINATION_NONE:
        return "none";
    case DESTINATION_ONE:
        break;
    }
    return settings->databases[settings->databases[e->decision->database].physical].name;
}

/* Where in the statement, in characters from 1; 0: unknown. */
static int explained_position(const struct explained *e, int offset) {
    const struct statement_facts *facts = e->statement->facts;
    if (offset < 0 || (size_t)offset < facts->start ||
        (size_t)offset > facts->start + facts->length) {
        return 0;
    }
    return position_in_characters(e->statement->query->text + facts->start, facts->length,
                                  offset - (int)facts->start);
}

static const char *const access_names[] = {"read", "lock", "ddl", "write"};
static const char *const reason_names[] = {"report", "comment", "setting", "allowlist"};

static const char *table_schema(const struct explained *e, const struct routed_table *table) {
    return table->schema >= 0
               ? classification_schema_name(e->settings->classification, table->schema)
               : NULL;
}

static const char *table_database(const struct explained *e, const struct routed_table *table) {
    if (table->databases == 0) {
        return NULL;
    }
    if (table->databases == settings_all_databases(e->settings) &&
        e->settings->database_count > 1) {
        return "any";
    }
    return e->settings->databases[database_set_first(table->databases)].name;
}

/* Names of indexes and strings that are no tables are not worth a line; a temporary table in the
 * making is. */
static bool table_is_told(const struct routed_table *table) {
    return table->role != ROLE_IGNORED || (table->facts->flags & TABLE_TEMPORARY) != 0;
}

/* It runs SQL that only the server will see. */
static bool is_dynamic(const struct explained *e) {
    return ((e->statement->facts->flags | e->decision->subject->facts->flags) &
            STATEMENT_DYNAMIC) != 0;
}

static json_t *text_or_null(const char *text) {
    return text != NULL ? json_string(text) : json_null();
}

json_t *explained_tables_json(const struct explained *e) {
    const struct statement *subject = e->decision->subject;
    json_t *tables = json_array();
    for (size_t i = 0; i < subject->facts->table_count; i++) {
        const struct routed_table *table = &subject->tables[i];
        if (table_is_told(table)) {
            json_array_append_new(tables,
                                  json_pack("{s:s, s:o, s:o, s:s}", "name", table->facts->name,
                                            "gitlab_schema", text_or_null(table_schema(e, table)),
                                            "database", text_or_null(table_database(e, table)),
                                            "access", access_names[table->facts->access]));
        }
    }
    return tables;
}

/* By which an allowlist and the record of violations know it. */
static void violation_fingerprint(const struct explained *e, char out[FINGERPRINT_LENGTH + 1]) {
    char *normalized = statement_normalized_text(e->decision->subject);
    fingerprint_make(e->decision->violation.rule, normalized, out);
    free(normalized);
}

static json_t *violation_json(const struct explained *e) {
    const struct violation *v = &e->decision->violation;
    if (!e->decision->violated) {
        return json_null();
    }
    int position = explained_position(e, v->position);
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "rule", rule_name(v->rule), "sqlstate",
                     v->sqlstate, "message", v->message, "detail", text_or_null(v->detail), "hint",
                     text_or_null(v->hint), "position",
                     position > 0 ? json_integer(position) : json_null());
}

static json_t *observations_json(const struct explained *e) {
    json_t *observed = json_array();
    for (size_t i = 0; i < e->decision->observation_count; i++) {
        const struct observation *o = &e->decision->observations[i];
        json_array_append_new(observed,
                              json_pack("{s:s, s:s, s:s, s:s*}", "rule", rule_name(o->rule),
                                        "reason", reason_names[o->reason], "message", o->message,
                                        "url", o->entry != NULL ? o->entry->url : NULL));
    }
    return observed;
}

void explain_print_json(const struct explained *e) {
    const struct statement_facts *facts = e->statement->facts;
    json_t *object = json_object();
    json_object_set_new(object, "statement",
                        json_stringn(e->statement->query->text + facts->start, facts->length));
    json_object_set_new(object, "kind", json_string(statement_kind_name(facts->kind)));
    json_object_set_new(object, "tables", explained_tables_json(e));
    json_object_set_new(object, "database", json_string(explained_database(e)));
    json_object_set_new(object, "parsed", json_boolean(facts->kind != KIND_UNPARSED));
    json_object_set_new(object, "violation", violation_json(e));
    if (is_dynamic(e)) {
        json_object_set_new(object, "dynamic", json_true());
    }
    if (e->decision->violated) {
        char fingerprint[FINGERPRINT_LENGTH + 1];
        violation_fingerprint(e, fingerprint);
        json_object_set_new(object, "fingerprint", json_string(fingerprint));
    }
    if (e->decision->observation_count > 0) {
        json_object_set_new(object, "observed", observations_json(e));
    }
    if (e->error != NULL) {
        json_object_set_new(object, "error",
                            json_pack("{s:s, s:s}", "sqlstate", e->sqlstate, "message", e->error));
    }
    char *line = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    if (line == NULL) {
        abort(); /* out of memory: the text was found to be valid before */
    }
    puts(line);
    free(line);
}

/* The line of the statement that the position is in, and a caret under it, as psql shows it. */
static void print_caret(const struct explained *e, int position) {
    const struct statement_facts *facts = e->statement->facts;
    const char *text = e->statement->query->text + facts->start;
    const char *line = text, *at = text;
    int column = 1, number = 1;
    for (int left = position; at < text + facts->length; at++) {
        left -= !utf8_is_continuation(*at);
        if (left == 0) {
            break;
        }
        column += !utf8_is_continuation(*at);
        if (*at == '\n') {
            line = at + 1;
            column = 1;
            number++;
        }
    }
    int length = (int)strcspn(line, "\n");
    int rest = (int)(text + facts->length - line);
    int prefix = printf("  LINE %d: ", number);
    printf("%.*s\n%*s^\n", length < rest ? length : rest, line, prefix + column - 1, "");
}

static void print_violation(const struct explained *e) {
    const struct violation *v = &e->decision->violation;
    printf("  ERROR %s %s: %s\n", v->sqlstate, rule_name(v->rule), v->message);
    int position = explained_position(e, v->position);
    if (position > 0) {
        print_caret(e, position);
    }
    if (v->detail != NULL) {
        printf("  DETAIL: %s\n", v->detail);
    }
    if (v->hint != NULL) {
        printf("  HINT: %s\n", v->hint);
    }
    char fingerprint[FINGERPRINT_LENGTH + 1];
    violation_fingerprint(e, fingerprint);
    printf("  FINGERPRINT: %s\n", fingerprint);
}

void explain_print_text(const struct explained *e) {
    const struct statement_facts *facts = e->statement->facts;
    printf("%-8s %-10s %.*s\n", explained_database(e), statement_kind_name(facts->kind),
           (int)facts->length, e->statement->query->text + facts->start);
    const struct statement *subject = e->decision->subject;
    for (size_t i = 0; i < subject->facts->table_count; i++) {
        const struct routed_table *table = &subject->tables[i];
        if (table_is_told(table)) {
            const char *schema = table_schema(e, table), *database = table_database(e, table);
            printf("         %-10s %-32s %-20s %s\n", access_names[table->facts->access],
                   table->facts->name, schema != NULL ? schema : "-",
                   database != NULL ? database : "-");
        }
    }
    if (facts->kind == KIND_UNPARSED && e->statement->query->parse_error != NULL) {
        printf("  NOTE: not parsed: %s\n", e->statement->query->parse_error);
    }
    if (is_dynamic(e)) {
        printf("  NOTE: it runs SQL that is made while it runs, whose tables can't be seen\n");
    }
    for (size_t i = 0; i < e->decision->observation_count; i++) {
        const struct observation *o = &e->decision->observations[i];
        const char *url = o->entry != NULL ? o->entry->url : NULL;
        printf("  LET PASS (%s%s%s) %s: %s\n", reason_names[o->reason], url != NULL ? " " : "",
               url != NULL ? url : "", rule_name(o->rule), o->message);
    }
    if (e->decision->violated) {
        print_violation(e);
    }
    if (e->error != NULL) {
        printf("  ERROR %s %s\n", e->sqlstate, e->error);
    }
}
