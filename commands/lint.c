#include "commands/lint.h"

#include "commands/lint_log.h"
#include "commands/lint_readers.h"
#include "commands/lint_report.h"
#include "commands/lint_sql.h"
#include "commands/statements.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINT_FINE = 0, LINT_FOUND = 1, LINT_BAD = 2 };

struct linting {
    const struct lint_options *options;
    struct lint_prefix prefix;
    struct lint_check check;
    struct lint_log log;
    struct lint_progress progress;
    enum lint_kind log_kind; /* of the last log */
    size_t files_read;
    bool bad; /* some input was; said on stderr */
};

static void complain(struct linting *l, const struct error *error) {
    lint_progress_clear(&l->progress);
    fprintf(stderr, "%s\n", error->text);
    l->bad = true;
}

/* Rows stand by themselves: nobody knows their order or transactions. */
static void read_statements(struct linting *l, struct lint_input *input) {
    struct lint_csv_record row;
    if (!lint_csv_next(input, &row)) {
        return;
    }
    int query = lint_csv_column(&row, "query"), calls = lint_csv_column(&row, "calls");
    while (lint_csv_next(input, &row)) {
        if ((size_t)query >= row.count || row.fields[query].length == 0 ||
            strcmp(row.fields[query].text, "<insufficient privilege>") == 0) {
            l->log.sink.skipped += row.count > 1;
            continue;
        }
        uint64_t count = 1;
        if (calls >= 0 && (size_t)calls < row.count) {
            count = strtoull(row.fields[calls].text, NULL, 10);
            count = count > 0 && count < INT64_MAX ? count : 1;
        }
        lint_log_alone(&l->log, row.fields[query].text, row.fields[query].length, row.line, count);
    }
}

/* Sessions go on from one log to the next of its kind, as a rotated one's do. */
static void begin_log(struct linting *l, enum lint_kind kind, size_t file) {
    if (l->log_kind != kind) {
        lint_sessions_clear(l->log.sessions);
    }
    l->log_kind = kind;
    l->log.file = file;
}

static void note_without_sessions(struct linting *l, const struct lint_input *input) {
    if (!l->prefix.has_session) {
        lint_progress_clear(&l->progress);
        fprintf(stderr,
                "%s: note: the log_line_prefix has neither %%p nor %%c: each statement is checked "
                "by itself, transactions are not\n",
                input->name);
    }
}

static void read_input(struct linting *l, struct lint_input *input, size_t file) {
    enum lint_kind kind;
    struct error error;
    if (!lint_detect(input, &l->prefix, &kind, &error)) {
        complain(l, &error);
        return;
    }
    begin_log(l, kind, file);
    switch (kind) {
    case LINT_SQL:
        if (!lint_sql_read(input, &l->check, file, &error)) {
            complain(l, &error);
        }
        break;
    case LINT_STDERR_LOG:
        note_without_sessions(l, input);
        lint_stderr_read(input, &l->prefix, &l->log.sink);
        break;
    case LINT_CSV_LOG:
        lint_csvlog_read(input, &l->log.sink);
        break;
    case LINT_JSON_LOG:
        lint_jsonlog_read(input, &l->log.sink);
        break;
    case LINT_STATEMENTS_CSV:
        read_statements(l, input);
    }
    if (!lint_input_check(input, &error)) {
        complain(l, &error);
        return;
    }
    l->files_read++;
}

static void read_file(struct linting *l, size_t file) {
    struct lint_input input;
    struct error error;
    if (!lint_input_open(&input, l->options->files[file], &l->progress, &error)) {
        complain(l, &error);
        return;
    }
    read_input(l, &input, file);
    lint_input_close(&input);
}

static void summarize(const struct linting *l) {
    const struct lint_findings *findings = l->check.findings;
    uint64_t total = lint_findings_total(findings), dropped = lint_findings_dropped(findings);
    size_t kinds = lint_findings_size(findings);
    fprintf(stderr, "lint: %zu file%s, %" PRIu64 " statement%s, %" PRIu64 " violation%s",
            l->files_read, l->files_read == 1 ? "" : "s", l->check.statements,
            l->check.statements == 1 ? "" : "s", total, total == 1 ? "" : "s");
    if (total > kinds) {
        fprintf(stderr, " of %zu kind%s", kinds, kinds == 1 ? "" : "s");
    }
    if (dropped > 0) {
        fprintf(stderr, " (%" PRIu64 " more are not listed)", dropped);
    }
    if (l->check.unread > 0) {
        fprintf(stderr, "; %" PRIu64 " text%s could not be read", l->check.unread,
                l->check.unread == 1 ? "" : "s");
    }
    if (l->log.sink.skipped > 0) {
        fprintf(stderr, "; %zu line%s skipped that are no part of a record", l->log.sink.skipped,
                l->log.sink.skipped == 1 ? "" : "s");
    }
    fputc('\n', stderr);
}

static int lint_files(struct linting *l, enum lint_format format) {
    lint_log_init(&l->log, &l->check);
    lint_progress_init(&l->progress, l->options->files, l->options->file_count);
    for (size_t i = 0; i < l->options->file_count; i++) {
        read_file(l, i);
    }
    lint_progress_clear(&l->progress);
    const struct lint_report report = {.findings = l->check.findings,
                                       .files = l->options->files,
                                       .file_count = l->options->file_count};
    lint_report_write(&report, format);
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        fprintf(stderr, "lint: can't write what it found: %s: give it a place to go\n",
                strerror(errno));
        l->bad = true;
    }
    summarize(l);
    lint_log_close(&l->log);
    return l->bad ? LINT_BAD : lint_findings_total(l->check.findings) > 0 ? LINT_FOUND : LINT_FINE;
}

int lint_command(const struct lint_options *options) {
    struct linting l = {.options = options, .log_kind = LINT_SQL};
    enum lint_format format = LINT_TEXT;
    struct settings *settings;
    struct error error;
    if (options->format != NULL && !lint_format_parse(options->format, &format)) {
        fprintf(stderr, "--format: there is no format \"%s\": use text, json, junit or sarif\n",
                options->format);
        return LINT_BAD;
    }
    const char *prefix = options->prefix != NULL ? options->prefix : LINT_PREFIX_DEFAULT;
    if (!lint_prefix_compile(&l.prefix, prefix, &error) ||
        !settings_load(options->config, &settings, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return LINT_BAD;
    }
    int entrypoint = statements_find_entrypoint(settings, options->entrypoint);
    if (entrypoint < 0) {
        fprintf(stderr, "%s: there is no entrypoint \"%s\": name one of the file's\n",
                options->config, options->entrypoint);
        settings_unref(settings);
        return LINT_BAD;
    }
    lint_check_init(&l.check, settings, entrypoint);
    int status = lint_files(&l, format);
    lint_check_close(&l.check);
    return status;
}
