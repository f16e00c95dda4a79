/* JUnit XML as CI servers read it: a suite for each file, a failed case for each finding, and a
 * passed one where there is none. */
#include "commands/lint_report.h"

#include "config/alloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void print_escaped(const char *text) {
    char *clean = lint_report_clean(text);
    for (const char *at = clean; *at != '\0'; at++) {
        switch (*at) {
        case '&':
            fputs("&amp;", stdout);
            break;
        case '<':
            fputs("&lt;", stdout);
            break;
        case '>':
            fputs("&gt;", stdout);
            break;
        case '"':
            fputs("&quot;", stdout);
            break;
        case '\n':
            fputs("&#10;", stdout);
            break;
        default:
            putchar(*at);
        }
    }
    free(clean);
}

static void print_part(const char *name, const char *text) {
    if (text != NULL) {
        printf("%s: ", name);
        print_escaped(text);
        putchar('\n');
    }
}

static void print_case(const struct lint_report *report, const struct lint_finding *f) {
    const char *file = lint_report_file(report, f->file);
    fputs("    <testcase classname=\"", stdout);
    print_escaped(file);
    printf("\" name=\"%s at line %zu", rule_name(f->rule), f->line);
    if (f->column > 0) {
        printf(", column %zu", f->column);
    }
    fputs("\" file=\"", stdout);
    print_escaped(file);
    printf("\" line=\"%zu\" time=\"0\">\n      <failure type=\"%s\" message=\"", f->line,
           f->sqlstate);
    print_escaped(f->message);
    fputs("\">", stdout);
    if (f->count > 1) {
        printf("%" PRIu64 " times\n", f->count);
    }
    print_part("STATEMENT", f->statement);
    print_part("DETAIL", f->detail);
    print_part("HINT", f->hint);
    fputs("</failure>\n    </testcase>\n", stdout);
}

static size_t count_of(const struct lint_report *report, size_t file) {
    size_t count = 0;
    for (size_t i = 0; i < lint_findings_size(report->findings); i++) {
        count += lint_findings_at(report->findings, i)->file == file;
    }
    return count;
}

static void print_suite(const struct lint_report *report, size_t file) {
    size_t failures = count_of(report, file);
    const char *name = lint_report_file(report, file);
    fputs("  <testsuite name=\"", stdout);
    print_escaped(name);
    printf("\" tests=\"%zu\" failures=\"%zu\" errors=\"0\" skipped=\"0\" time=\"0\">\n",
           failures > 0 ? failures : 1, failures);
    for (size_t i = 0; failures > 0 && i < lint_findings_size(report->findings); i++) {
        const struct lint_finding *finding = lint_findings_at(report->findings, i);
        if (finding->file == file) {
            print_case(report, finding);
        }
    }
    if (failures == 0) {
        fputs("    <testcase classname=\"", stdout);
        print_escaped(name);
        fputs("\" name=\"no violations\" time=\"0\"/>\n", stdout);
    }
    fputs("  </testsuite>\n", stdout);
}

void lint_report_junit(const struct lint_report *report) {
    size_t tests = 0, failures = lint_findings_size(report->findings);
    for (size_t i = 0; i < report->file_count; i++) {
        size_t count = count_of(report, i);
        tests += count > 0 ? count : 1;
    }
    printf("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
           "<testsuites name=\"pginterlock lint\" tests=\"%zu\" failures=\"%zu\" errors=\"0\" "
           "time=\"0\">\n",
           tests, failures);
    for (size_t i = 0; i < report->file_count; i++) {
        print_suite(report, i);
    }
    fputs("</testsuites>\n", stdout);
}
