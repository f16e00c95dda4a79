#include "commands/lint_report.h"

#include "config/alloc.h"

#include "config/utf8.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool lint_format_parse(const char *name, enum lint_format *format) {
    static const char *const names[] = {"text", "json", "junit", "sarif"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            *format = (enum lint_format)i;
            return true;
        }
    }
    return false;
}

const char *lint_report_file(const struct lint_report *report, size_t file) {
    return strcmp(report->files[file], "-") == 0 ? "stdin" : report->files[file];
}

void lint_report_fingerprint(const struct lint_finding *finding, char hex[33]) {
    snprintf(hex, 33, "%016" PRIx64 "%016" PRIx64, finding->fingerprint.high,
             finding->fingerprint.low);
}

char *lint_report_clean(const char *text) {
    char *clean = alloc_text(text);
    utf8_repair(clean, strlen(clean));
    for (char *at = clean; *at != '\0'; at++) {
        bool control = ((unsigned char)*at < 0x20 && *at != '\n') || *at == 0x7F;
        *at = control ? ' ' : *at;
    }
    return clean;
}

/* ---- text ---- */

/* A part of a finding, its further lines indented likewise. */
static void print_part(const char *name, const char *text) {
    if (text == NULL) {
        return;
    }
    char *clean = lint_report_clean(text);
    printf("    %s: ", name);
    for (const char *at = clean; *at != '\0'; at++) {
        putchar(*at);
        if (*at == '\n') {
            fputs("    ", stdout);
        }
    }
    putchar('\n');
    free(clean);
}

static void print_text(const struct lint_report *report, const struct lint_finding *f) {
    char *file = lint_report_clean(lint_report_file(report, f->file));
    char *message = lint_report_clean(f->message);
    printf("%s:%zu: %s %s: %s", file, f->line, rule_name(f->rule), f->sqlstate, message);
    if (f->count > 1) {
        printf(" (%" PRIu64 " times)", f->count);
    }
    putchar('\n');
    free(file);
    free(message);
    if (f->column > 0) {
        printf("    POSITION: %zu:%zu\n", f->line, f->column);
    }
    print_part("STATEMENT", f->statement);
    print_part("DETAIL", f->detail);
    print_part("HINT", f->hint);
}

/* ---- JSON ---- */

static json_t *clean_json(const char *text) {
    if (text == NULL) {
        return json_null();
    }
    char *clean = lint_report_clean(text);
    json_t *string = json_string(clean);
    free(clean);
    return string;
}

static void print_json(const struct lint_report *report, const struct lint_finding *f) {
    char fingerprint[33];
    lint_report_fingerprint(f, fingerprint);
    json_t *object = json_object();
    json_object_set_new(object, "file", clean_json(lint_report_file(report, f->file)));
    json_object_set_new(object, "line", json_integer((json_int_t)f->line));
    json_object_set_new(object, "column",
                        f->column > 0 ? json_integer((json_int_t)f->column) : json_null());
    json_object_set_new(object, "rule", json_string(rule_name(f->rule)));
    json_object_set_new(object, "sqlstate", json_string(f->sqlstate));
    json_object_set_new(object, "message", clean_json(f->message));
    json_object_set_new(object, "detail", clean_json(f->detail));
    json_object_set_new(object, "hint", clean_json(f->hint));
    json_object_set_new(object, "table", clean_json(f->table));
    json_object_set_new(object, "kind", json_string(f->kind));
    json_object_set_new(object, "tables", json_loads(f->tables, 0, NULL));
    json_object_set_new(object, "statement", clean_json(f->statement));
    json_object_set_new(object, "count", json_integer((json_int_t)f->count));
    json_object_set_new(object, "fingerprint", json_string(fingerprint));
    json_object_set_new(object, "allowlist_fingerprint", json_string(f->permit));
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(object);
}

void lint_report_write(const struct lint_report *report, enum lint_format format) {
    if (format == LINT_JUNIT) {
        lint_report_junit(report);
        return;
    }
    if (format == LINT_SARIF) {
        lint_report_sarif(report);
        return;
    }
    for (size_t i = 0; i < lint_findings_size(report->findings); i++) {
        const struct lint_finding *finding = lint_findings_at(report->findings, i);
        (format == LINT_JSON ? print_json : print_text)(report, finding);
    }
}
