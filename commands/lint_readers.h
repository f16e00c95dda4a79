/* Readers of the inputs that `lint` takes, told apart by their content. Each streams an input
 * record by record. One thread. */
#ifndef PGINTERLOCK_LINT_READERS_H
#define PGINTERLOCK_LINT_READERS_H

#include "commands/lint_input.h"
#include "commands/lint_prefix.h"
#include "commands/lint_record.h"

enum lint_kind { LINT_SQL, LINT_STDERR_LOG, LINT_CSV_LOG, LINT_JSON_LOG, LINT_STATEMENTS_CSV };

/* What the input is, by its first bytes and, where they leave it open, its name. False: it is a
 * log, but its lines don't begin with the prefix; the error says so. */
bool lint_detect(struct lint_input *input, const struct lint_prefix *prefix, enum lint_kind *kind,
                 struct error *error) __attribute__((warn_unused_result));

/* Logs: each record goes to the sink. What is no record, such as the end of one that was cut off by
 * a rotation, or another program's words, is skipped. */
void lint_stderr_read(struct lint_input *input, const struct lint_prefix *prefix,
                      struct lint_sink *sink);
void lint_csvlog_read(struct lint_input *input, struct lint_sink *sink);
void lint_jsonlog_read(struct lint_input *input, struct lint_sink *sink);

enum { LINT_CSV_FIELDS_MAX = 128 };

struct lint_csv_record {
    size_t line;
    size_t count;
    struct lint_csv_field {
        char *text; /* unquoted, NUL-terminated, in the input's window */
        size_t length;
    } fields[LINT_CSV_FIELDS_MAX]; /* those beyond are left out */
};

/* The next record of comma separated values (RFC 4180), until the next call. False: no more. */
bool lint_csv_next(struct lint_input *input, struct lint_csv_record *record);

/* Which of a pg_stat_statements header's columns is called so; -1: none. */
int lint_csv_column(const struct lint_csv_record *header, const char *name);

/* A row's severity, where it is one of a csvlog; else LINT_NONE. */
enum lint_severity lint_csvlog_severity(const struct lint_csv_record *record);

#endif
