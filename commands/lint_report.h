/* What `lint` found, written to standard output in one of four formats. One thread. */
#ifndef PGINTERLOCK_LINT_REPORT_H
#define PGINTERLOCK_LINT_REPORT_H

#include "commands/lint_findings.h"

enum lint_format { LINT_TEXT, LINT_JSON, LINT_JUNIT, LINT_SARIF };

struct lint_report {
    const struct lint_findings *findings;
    char *const *files; /* as given; "-" is the standard input */
    size_t file_count;
};

/* False: there is no format of that name. */
bool lint_format_parse(const char *name, enum lint_format *format);

void lint_report_write(const struct lint_report *report, enum lint_format format);

/* The parts of it. */
const char *lint_report_file(const struct lint_report *report, size_t file);
void lint_report_fingerprint(const struct lint_finding *finding, char hex[33]);
char *lint_report_clean(const char *text); /* valid UTF-8, without control characters but newlines;
                                              the caller frees */
void lint_report_junit(const struct lint_report *report);
void lint_report_sarif(const struct lint_report *report);

#endif
