#include "commands/lint_readers.h"
#include "config/utf8.h"

#include "config/alloc.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_AT = 256 * 1024, RECORDS_TRIED = 50 };

/* The front of an input as one of its own, which may be read and spoiled. */
static void copy_front(struct lint_input *copy, const struct lint_input *input) {
    size_t length = input->end - input->start;
    *copy = (struct lint_input){.name = input->name, .fd = -1, .line = 1, .eof = true};
    copy->data = alloc_copy(input->data + input->start, length);
    copy->end = length;
    copy->room = length + 1;
}

static bool is_json_log(struct lint_input *front, const struct lint_prefix *prefix,
                        enum lint_kind *kind) {
    char *line;
    size_t length;
    bool found = false;
    for (int i = 0; i < RECORDS_TRIED && !found && lint_input_line(front, &line, &length); i++) {
        utf8_repair(line, length);
        json_t *object =
            length > 0 && line[0] == '{' ? json_loadb(line, length, JSON_ALLOW_NUL, NULL) : NULL;
        found = json_object_get(object, "error_severity") != NULL &&
                json_object_get(object, "message") != NULL;
        json_decref(object);
    }
    *kind = found ? LINT_JSON_LOG : *kind;
    (void)prefix;
    return found;
}

static bool is_csv(struct lint_input *front, const struct lint_prefix *prefix,
                   enum lint_kind *kind) {
    struct lint_csv_record record;
    (void)prefix;
    for (int i = 0; i < RECORDS_TRIED && lint_csv_next(front, &record); i++) {
        if (i == 0 && lint_csv_column(&record, "query") >= 0) {
            *kind = LINT_STATEMENTS_CSV;
            return true;
        }
        if (lint_csvlog_severity(&record) != LINT_NONE) {
            *kind = LINT_CSV_LOG;
            return true;
        }
    }
    return false;
}

static bool is_stderr_log(struct lint_input *front, const struct lint_prefix *prefix,
                          enum lint_kind *kind) {
    char *line;
    size_t length, message;
    struct lint_record record;
    while (lint_input_line(front, &line, &length)) {
        if (lint_prefix_match(prefix, line, length, &record, &message)) {
            *kind = LINT_STDERR_LOG;
            return true;
        }
    }
    return false;
}

/* Whether the first line has a severity of PostgreSQL's somewhere. */
static bool is_other_log(struct lint_input *front, const struct lint_prefix *prefix,
                         enum lint_kind *kind) {
    char *line;
    size_t length, ignored;
    (void)prefix;
    (void)kind;
    do {
        if (!lint_input_line(front, &line, &length)) {
            return false;
        }
    } while (length == 0 || line[0] == '\t');
    for (size_t at = 0; at < length; at++) {
        if (lint_severity_of(line + at, length - at, true, &ignored) != LINT_NONE) {
            return true;
        }
    }
    return false;
}

static bool ends_with(const char *name, const char *suffix) {
    size_t length = strlen(name), wanted = strlen(suffix);
    return length >= wanted && strcmp(name + length - wanted, suffix) == 0;
}

/* Runs a test on a fresh copy of the front, which tests may spoil. */
static bool
try_front(const struct lint_input *input, const struct lint_prefix *prefix, enum lint_kind *kind,
          bool (*test)(struct lint_input *, const struct lint_prefix *, enum lint_kind *)) {
    struct lint_input front;
    copy_front(&front, input);
    bool is = test(&front, prefix, kind);
    free(front.data);
    return is;
}

bool lint_detect(struct lint_input *input, const struct lint_prefix *prefix, enum lint_kind *kind,
                 struct error *error) {
    while (input->end - input->start < LOOK_AT && lint_input_fill(input)) {
    }
    *kind = LINT_SQL;
    if (input->end == input->start || ends_with(input->name, ".sql") ||
        try_front(input, prefix, kind, is_json_log) || try_front(input, prefix, kind, is_csv) ||
        try_front(input, prefix, kind, is_stderr_log)) {
        return true;
    }
    if (try_front(input, prefix, kind, is_other_log) || ends_with(input->name, ".log")) {
        return error_set(error,
                         "%s:1: it is a log, but no line begins with the log_line_prefix: give "
                         "what SHOW log_line_prefix says with --log-line-prefix",
                         input->name);
    }
    return true;
}
