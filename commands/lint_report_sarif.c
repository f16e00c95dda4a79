/* SARIF 2.1.0 (OASIS), as code scanners exchange their results. */
#include "commands/lint_report.h"

#include "config/alloc.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const descriptions[RULE_COUNT] = {
    [RULE_UNCLASSIFIED] = "A statement names a table that has no gitlab_schema.",
    [RULE_UNPARSED] = "A statement can't be parsed and names tables of two databases.",
    [RULE_CROSS_FOREIGN_KEY] = "A foreign key is added between two databases.",
    [RULE_CROSS_JOIN] = "One statement uses tables of two databases.",
    [RULE_WRITE_LOCK] = "A pinned connection writes to a table of another database.",
    [RULE_WRONG_DATABASE] = "A pinned connection reads a table of another database.",
    [RULE_CROSS_TRANSACTION] = "A transaction modifies a second database.",
    [RULE_UNROUTABLE] = "No database can run the statement whole.",
    [RULE_ALLOWED_SCHEMAS] =
        "A statement does what the session's allowed_gitlab_schemas don't allow.",
};

static json_t *rules_json(void) {
    json_t *rules = json_array();
    for (int rule = 0; rule < RULE_COUNT; rule++) {
        json_array_append_new(rules, json_pack("{s:s, s:s, s:{s:s}, s:{s:s}, s:{s:s}}", "id",
                                               rule_name((enum rule)rule), "name",
                                               rule_name((enum rule)rule), "shortDescription",
                                               "text", descriptions[rule], "defaultConfiguration",
                                               "level", "error", "properties", "sqlstate",
                                               rule_sqlstate((enum rule)rule)));
    }
    return rules;
}

/* A path as a URI reference: RFC 3986, section 2.3, and the slash. */
static char *uri_of(const char *path) {
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
    size_t length = strlen(path), at = 0, room = length * 3 + 8;
    char *uri = alloc_new(room);
    if (path[0] == '/') { /* else an absolute path that begins with // would name a host */
        at = (size_t)snprintf(uri, room, "file://");
    }
    for (size_t i = 0; i < length; i++) {
        if (strchr(plain, path[i]) != NULL) {
            uri[at++] = path[i];
        } else {
            at += (size_t)snprintf(uri + at, room - at, "%%%02X", (unsigned char)path[i]);
        }
    }
    return uri;
}

static json_t *message_json(const struct lint_finding *f) {
    char *message = lint_report_clean(f->message);
    char *detail = f->detail != NULL ? lint_report_clean(f->detail) : NULL;
    char *hint = f->hint != NULL ? lint_report_clean(f->hint) : NULL;
    char *text = alloc_format("%s%s%s%s%s", message, detail != NULL ? "\n" : "",
                              detail != NULL ? detail : "", hint != NULL ? "\n" : "",
                              hint != NULL ? hint : "");
    json_t *json = json_pack("{s:s}", "text", text);
    free(message);
    free(detail);
    free(hint);
    free(text);
    return json;
}

static json_t *location_json(const struct lint_report *report, const struct lint_finding *f) {
    char *uri = uri_of(lint_report_file(report, f->file));
    json_t *region = json_pack("{s:I}", "startLine", (json_int_t)f->line);
    if (f->column > 0) {
        json_object_set_new(region, "startColumn", json_integer((json_int_t)f->column));
    }
    json_t *location = json_pack("{s:{s:{s:s}, s:o}}", "physicalLocation", "artifactLocation",
                                 "uri", uri, "region", region);
    free(uri);
    return location;
}

static json_t *result_json(const struct lint_report *report, const struct lint_finding *f) {
    char fingerprint[33];
    lint_report_fingerprint(f, fingerprint);
    json_t *result = json_pack(
        "{s:s, s:i, s:s, s:o, s:[o], s:I, s:{s:s}, s:{s:s, s:s, s:o}}", "ruleId",
        rule_name(f->rule), "ruleIndex", (int)f->rule, "level", "error", "message", message_json(f),
        "locations", location_json(report, f), "occurrenceCount", (json_int_t)f->count,
        "partialFingerprints", "statement/v1", fingerprint, "properties", "sqlstate", f->sqlstate,
        "kind", f->kind, "tables", json_loads(f->tables, 0, NULL));
    if (f->statement != NULL) {
        char *statement = lint_report_clean(f->statement);
        json_object_set_new(json_object_get(result, "properties"), "statement",
                            json_string(statement));
        free(statement);
    }
    return result;
}

void lint_report_sarif(const struct lint_report *report) {
    json_t *results = json_array();
    for (size_t i = 0; i < lint_findings_size(report->findings); i++) {
        json_array_append_new(results, result_json(report, lint_findings_at(report->findings, i)));
    }
    json_t *document =
        json_pack("{s:s, s:s, s:[{s:{s:{s:s, s:s, s:o}}, s:s, s:o}]}", "$schema",
                  "https://json.schemastore.org/sarif-2.1.0.json", "version", "2.1.0", "runs",
                  "tool", "driver", "name", "pginterlock", "version", PGINTERLOCK_VERSION, "rules",
                  rules_json(), "columnKind", "unicodeCodePoints", "results", results);
    json_dumpf(document, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(document);
}
