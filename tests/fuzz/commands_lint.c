/* Whatever a file holds is read to its end, and what is found has a place and text that can be
 * printed. The first line, if it begins with %, is the log_line_prefix. */
#include "commands/lint_log.h"
#include "commands/lint_readers.h"
#include "commands/lint_report.h"
#include "commands/lint_sql.h"
#include "config/utf8.h"

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char config[] = "databases:\n  main: \"host=127.0.0.1 dbname=a\"\n  ci: "
                             "\"host=127.0.0.1 dbname=b\"\n"
                             "classification: {tables: tables.yml}\n"
                             "entrypoints: {app: routed}\nauth: {method: trust}\n";
static const char tables[] = "projects: :gitlab_main\nci_builds: :gitlab_ci\n"
                             "parts: :gitlab_shared\nversions: :gitlab_internal\n";

static void write_file(const char *folder, const char *name, const char *content) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert(file != NULL);
    fputs(content, file);
    fclose(file);
}

static struct settings *load(void) {
    char folder[] = "/tmp/pginterlock-fuzz-XXXXXX", path[256];
    struct settings *settings;
    struct error error;
    bool made = mkdtemp(folder) != NULL;
    assert(made);
    write_file(folder, "tables.yml", tables);
    write_file(folder, "pginterlock.yml", config);
    snprintf(path, sizeof path, "%s/pginterlock.yml", folder);
    bool loaded = settings_load(path, &settings, &error);
    assert(loaded);
    unlink(path);
    snprintf(path, sizeof path, "%s/tables.yml", folder);
    unlink(path);
    rmdir(folder);
    return settings;
}

static void read_statements(struct lint_input *input, struct lint_log *log) {
    struct lint_csv_record row;
    while (lint_csv_next(input, &row)) {
        struct lint_csv_field *field = &row.fields[row.count - 1];
        lint_log_alone(log, field->text, field->length, row.line, 1);
    }
}

static void read_input(struct lint_input *input, const struct lint_prefix *prefix,
                       struct lint_check *check) {
    struct lint_log log;
    struct error error;
    enum lint_kind kind;
    lint_log_init(&log, check);
    if (!lint_detect(input, prefix, &kind, &error)) {
        assert(error.text[0] != '\0');
    } else if (kind == LINT_SQL) {
        (void)!lint_sql_read(input, check, 0, &error);
    } else if (kind == LINT_STDERR_LOG) {
        lint_stderr_read(input, prefix, &log.sink);
    } else if (kind == LINT_STATEMENTS_CSV) {
        read_statements(input, &log);
    } else {
        (kind == LINT_CSV_LOG ? lint_csvlog_read : lint_jsonlog_read)(input, &log.sink);
    }
    lint_log_close(&log);
}

static void look_at_findings(const struct lint_findings *findings) {
    for (size_t i = 0; i < lint_findings_size(findings); i++) {
        const struct lint_finding *finding = lint_findings_at(findings, i);
        char *message = lint_report_clean(finding->message);
        json_t *named = json_loads(finding->tables, 0, NULL);
        assert(finding->line > 0 && finding->count > 0);
        assert(utf8_valid(message, strlen(message)) == strlen(message));
        assert(json_is_array(named));
        assert(finding->statement == NULL || finding->column == 0);
        json_decref(named);
        free(message);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct settings *settings; /* a fuzzer's process has one */
    struct lint_prefix prefix;
    struct lint_input input;
    struct lint_check check;
    struct error error;
    char pattern[64] = LINT_PREFIX_DEFAULT, name[64];
    const uint8_t *newline = size > 0 && data[0] == '%' ? memchr(data, '\n', size) : NULL;
    if (newline != NULL && (size_t)(newline - data) < sizeof pattern) {
        memcpy(pattern, data, (size_t)(newline - data));
        pattern[newline - data] = '\0';
        size -= (size_t)(newline - data) + 1;
        data = newline + 1;
    }
    settings = settings != NULL ? settings : load();
    if (!lint_prefix_compile(&prefix, pattern, &error)) {
        return 0;
    }
    int fd = memfd_create("lint", MFD_CLOEXEC);
    assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    lseek(fd, 0, SEEK_SET);
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    bool opened = lint_input_open(&input, name, NULL, &error);
    assert(opened);
    lint_check_init(&check, settings_ref(settings), 0);
    read_input(&input, &prefix, &check);
    look_at_findings(check.findings);
    lint_check_close(&check);
    lint_input_close(&input);
    close(fd);
    return 0;
}
