#include "proxy/violations_line.h"

#include "config/utf8.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bounds of a line, which somebody could want to make long. */
enum { NAME_BYTES_MAX = 256, MESSAGE_BYTES_MAX = 1024, TABLES_MAX = 64 };

/* What JSON lets stand although terminals obey it or readers take it for the end of a line: its
 * bytes at `at`, or 0. */
static size_t control_length(const char *at, size_t left) {
    if (at[0] == '\x7F')
        return 1;
    if (at[0] == '\xC2' && left > 1 && (unsigned char)at[1] < 0xA0) /* U+0080 to U+009F */
        return 2;
    return left > 2 && (memcmp(at, "\u2028", 3) == 0 || memcmp(at, "\u2029", 3) == 0) ? 3 : 0;
}

static void blank_controls(char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        size_t control = control_length(text + i, length - i);
        if (control > 0) {
            memset(text + i, '_', control);
            i += control - 1;
        }
    }
}

/* A client's text as JSON can hold it: cut off between characters, valid UTF-8. */
static json_t *json_bounded(const char *text, size_t most) {
    size_t length = strnlen(text, most);
    if (text[length] != '\0')
        length = utf8_cut(text, length);
    char *copy = alloc_copy(text, length);
    utf8_repair(copy, length);
    blank_controls(copy, length);
    json_t *json = json_stringn(copy, length);
    free(copy);
    return json;
}

static json_t *json_optional(const char *text, size_t most) {
    return text != NULL && text[0] != '\0' ? json_bounded(text, most) : json_null();
}

static json_t *json_time(time_t seconds) {
    char text[32];
    struct tm utc;
    gmtime_r(&seconds, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return json_string(text);
}

static json_t *json_tables(const struct statement *statement) {
    json_t *list = json_array();
    for (size_t i = 0; i < statement->facts->table_count; i++)
        if (statement->tables[i].role != ROLE_IGNORED && json_array_size(list) < TABLES_MAX)
            json_array_append_new(list,
                                  json_bounded(statement->tables[i].facts->name, NAME_BYTES_MAX));
    return list;
}

static json_t *json_schemas(const struct occurrence *o) {
    json_t *list = json_array();
    for (schema_set rest = o->statement->schemas | o->statement->neutral; rest != 0;
         rest &= rest - 1) {
        const char *name =
            classification_schema_name(o->settings->classification, __builtin_ctzll(rest));
        json_array_append_new(list, json_bounded(name, NAME_BYTES_MAX));
    }
    return list;
}

/* Those that hold its tables; what is in all of them says nothing. */
static database_set databases_of(const struct occurrence *o) {
    const struct classification *c = o->settings->classification;
    database_set set = 0;
    for (schema_set rest = o->statement->schemas; rest != 0; rest &= rest - 1)
        set |= classification_schema_databases(c, __builtin_ctzll(rest));
    for (size_t i = 0; i < o->statement->facts->table_count; i++) {
        const struct routed_table *table = &o->statement->tables[i];
        set |= table->role == ROLE_TEMPORARY ? table->databases : 0;
        set |= table->role == ROLE_UNKNOWN ? 1 : 0;
    }
    return set;
}

static json_t *json_databases(const struct occurrence *o) {
    json_t *list = json_array();
    for (database_set rest = databases_of(o); rest != 0; rest &= rest - 1) {
        const char *name = o->settings->databases[database_set_first(rest)].name;
        json_array_append_new(list, json_bounded(name, NAME_BYTES_MAX));
    }
    return list;
}

static json_t *json_earlier(const struct statement *earlier) {
    if (earlier == NULL)
        return json_null();
    char *normalized = statement_normalized_text(earlier);
    json_t *json = json_object();
    json_object_set_new(json, "statement", json_bounded(normalized, VIOLATION_STATEMENT_MAX));
    json_object_set_new(json, "tables", json_tables(earlier));
    free(normalized);
    return json;
}

static char *dump(json_t *json) {
    char *text = json_dumps(json, JSON_PRESERVE_ORDER);
    json_decref(json);
    return text;
}

char *violation_line_begin(const struct occurrence *o, const char *fingerprint,
                           const char *normalized, time_t first_seen) {
    json_t *json = json_object();
    json_object_set_new(json, "fingerprint", json_string(fingerprint));
    json_object_set_new(json, "rule", json_string(rule_name(o->rule)));
    json_object_set_new(json, "sqlstate", json_string(o->sqlstate));
    json_object_set_new(json, "action", json_string(violation_action_name(o->action)));
    json_object_set_new(json, "executable", json_boolean(o->executable));
    json_object_set_new(json, "statement", json_bounded(normalized, VIOLATION_STATEMENT_MAX));
    json_object_set_new(json, "tables", json_tables(o->statement));
    json_object_set_new(json, "gitlab_schemas", json_schemas(o));
    json_object_set_new(json, "databases", json_databases(o));
    json_object_set_new(json, "earlier", json_earlier(o->earlier));
    json_object_set_new(json, "message", json_bounded(o->message, MESSAGE_BYTES_MAX));
    json_object_set_new(json, "url", json_optional(o->url, PERMIT_URL_MAX));
    json_object_set_new(json, "entrypoint", json_bounded(o->entrypoint, NAME_BYTES_MAX));
    json_object_set_new(json, "application_name",
                        json_optional(o->application_name, NAME_BYTES_MAX));
    json_object_set_new(json, "first_seen", json_time(first_seen));
    char *text = dump(json);
    text[strlen(text) - 1] = '\0'; /* the closing brace: more follows */
    return text;
}

char *violation_line_tags(const struct tags *tags) {
    json_t *json = json_object();
    for (size_t i = 0; i < tags->count; i++)
        json_object_set_new(json, tags->list[i].key,
                            json_bounded(tags->list[i].value, TAG_VALUE_MAX));
    return dump(json);
}

void violation_line(struct text *out, const char *begin, const char *tags, uint64_t count,
                    time_t last_seen) {
    char stamp[32];
    struct tm utc;
    gmtime_r(&last_seen, &utc);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc);
    out->length = 0;
    text_append(out, "%s, \"last_seen\": \"%s\", \"count\": %" PRIu64 ", \"tags\": ", begin, stamp,
                count);
    text_append_bytes(out, tags, strlen(tags));
    text_append(out, "}\n");
}
