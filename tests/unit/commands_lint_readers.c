/* Logs and tables as they are written, read record by record. */
#include "commands/lint_readers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "routing/text.h"

/* An input whose window is all there is. */
static struct lint_input input_of(const char *name, const char *content) {
    size_t length = strlen(content);
    return (struct lint_input){.name = name,
                               .fd = -1,
                               .data = alloc_copy(content, length),
                               .end = length,
                               .room = length + 1,
                               .line = 1,
                               .eof = true};
}

/* Writes down what it is given: LINE SESSION MESSAGE|DETAIL; */
struct recorder {
    struct lint_sink sink;
    struct text text;
};

static void write_down(struct lint_sink *sink, struct lint_record *record) {
    struct recorder *recorder = (struct recorder *)(void *)sink;
    text_append(&recorder->text, "%zu %llu %s|%s;", record->line,
                (unsigned long long)record->session, record->message,
                record->detail != NULL ? record->detail : "");
}

enum format { STDERR_LOG, CSV_LOG, JSON_LOG };

static void assert_read(enum format format, const char *content, const char *expected,
                        size_t skipped) {
    struct recorder recorder = {.sink = {.take = write_down}};
    struct lint_input input = input_of("x", content);
    struct lint_prefix prefix;
    struct error error;
    assert_true(lint_prefix_compile(&prefix, "[%p] ", &error));
    if (format == STDERR_LOG) {
        lint_stderr_read(&input, &prefix, &recorder.sink);
    } else {
        (format == CSV_LOG ? lint_csvlog_read : lint_jsonlog_read)(&input, &recorder.sink);
    }
    assert_string_equal(recorder.text.data != NULL ? recorder.text.data : "", expected);
    assert_int_equal(recorder.sink.skipped, skipped);
    free(recorder.text.data);
    free(input.data);
}

static void lines_behind_a_tab_belong_to_the_message(void **state) {
    (void)state;
    assert_read(STDERR_LOG, "[1] LOG:  a\n\tb\n\t\n\t\tc\n[1] LOG:  d\n",
                "1 1 a\nb\n\n\tc|;5 1 d|;", 0);
}

static void details_belong_to_the_record_before(void **state) {
    (void)state;
    assert_read(STDERR_LOG,
                "[1] LOG:  a\n[1] DETAIL:  b\n\tc\n[1] STATEMENT:  d\n\te\n[2] LOG:  f\n",
                "1 1 a|b\nc;6 2 f|;", 0);
}

static void what_is_cut_off_or_foreign_is_skipped(void **state) {
    (void)state;
    assert_read(STDERR_LOG, "\tx\n[1] DETAIL:  y\nsh: not found\n[1] LOG:  a", "4 1 a|;", 1);
}

static void lines_of_windows(void **state) {
    (void)state;
    assert_read(STDERR_LOG, "[1] LOG:  a\r\n\tb\r\n", "1 1 a\nb|;", 0);
}

#define CSV_HEAD "2026-11-23 06:45:00.1 UTC,\"u\",\"d\",7,\"[local]\",65.1c,1,\"SELECT\",x,3/4,0,"
#define CSV_TAIL ",,,,,,,,\"app\"\n"

static void rows_of_a_csvlog(void **state) {
    (void)state;
    assert_read(CSV_LOG,
                CSV_HEAD "LOG,00000,\"a \"\"b\"\",\nc\",\"parameters: $1 = 'x'\"" CSV_TAIL CSV_HEAD
                         "LOG,00000,d," CSV_TAIL,
                "1 433791696924 a \"b\",\nc|parameters: $1 = 'x';3 433791696924 d|;", 0);
}

static void a_row_that_is_no_record_is_skipped(void **state) {
    (void)state;
    assert_read(CSV_LOG, "rest\",1,2\n\n" CSV_HEAD "LOG,00000,d," CSV_TAIL, "", 1);
    assert_read(CSV_LOG, "rest,1,2\n" CSV_HEAD "LOG,00000,d," CSV_TAIL, "2 433791696924 d|;", 1);
}

static void lines_of_a_jsonlog(void **state) {
    (void)state;
    assert_read(JSON_LOG,
                "{\"pid\":7,\"error_severity\":\"LOG\",\"message\":\"a\\nb\",\"detail\":\"c\"}\n"
                "{\"pid\":7,\nnonsense\n{}\n[1]\n{\"error_severity\":1,\"message\":2}\n",
                "1 7 a\nb|c;", 5);
}

static void a_line_of_a_jsonlog_need_not_be_utf8(void **state) {
    (void)state;
    assert_read(JSON_LOG, "{\"pid\":7,\"error_severity\":\"LOG\",\"message\":\"caf\xe9\"}\n",
                "1 7 caf_|;", 0);
}

/* ---- CSV ---- */

static void assert_fields(const char *content, const char *expected) {
    struct lint_input input = input_of("x", content);
    struct lint_csv_record record;
    struct text text = {0};
    while (lint_csv_next(&input, &record)) {
        text_append(&text, "%zu", record.line);
        for (size_t i = 0; i < record.count; i++) {
            text_append(&text, "[%.*s]", (int)record.fields[i].length, record.fields[i].text);
        }
    }
    assert_string_equal(text.data, expected);
    free(text.data);
    free(input.data);
}

static void quotes_double_within_quotes(void **state) {
    (void)state;
    assert_fields("a,\"b\"\"c\",\"\",\"\"\"\"\n", "1[a][b\"c][][\"]");
}

static void newlines_within_quotes_are_counted(void **state) {
    (void)state;
    assert_fields("\"a\n\nb\",c\r\nd,\n", "1[a\n\nb][c]4[d][]");
}

static void a_quote_without_an_end(void **state) {
    (void)state;
    assert_fields("a,\"b\nc", "1[a][b\nc]");
    assert_fields("\"", "1[]");
}

static void more_fields_than_there_is_room_for(void **state) {
    char content[3 * LINT_CSV_FIELDS_MAX + 1] = "";
    struct lint_csv_record record;
    (void)state;
    memset(content, ',', 3 * LINT_CSV_FIELDS_MAX);
    struct lint_input input = input_of("x", content);
    assert_true(lint_csv_next(&input, &record));
    assert_int_equal(record.count, LINT_CSV_FIELDS_MAX);
    assert_false(lint_csv_next(&input, &record));
    free(input.data);
}

static void a_column_behind_a_byte_order_mark(void **state) {
    struct lint_input input = input_of("x", "\xEF\xBB\xBFQuery,calls\n");
    struct lint_csv_record record;
    (void)state;
    assert_true(lint_csv_next(&input, &record));
    assert_int_equal(lint_csv_column(&record, "query"), 0);
    assert_int_equal(lint_csv_column(&record, "calls"), 1);
    assert_int_equal(lint_csv_column(&record, "rows"), -1);
    free(input.data);
}

/* ---- what an input is ---- */

static void assert_detected(const char *name, const char *content, enum lint_kind expected) {
    struct lint_input input = input_of(name, content);
    struct lint_prefix prefix;
    enum lint_kind kind;
    struct error error;
    assert_true(lint_prefix_compile(&prefix, "[%p] ", &error));
    if (!lint_detect(&input, &prefix, &kind, &error)) {
        fail_msg("%s", error.text);
    }
    assert_int_equal(kind, expected);
    assert_string_equal(input.data, content);
    free(input.data);
}

static void inputs_are_told_apart_by_their_content(void **state) {
    (void)state;
    assert_detected("x", "SELECT 1;", LINT_SQL);
    assert_detected("x", "", LINT_SQL);
    assert_detected("x", "\trest\n[1] LOG:  a\n", LINT_STDERR_LOG);
    assert_detected("x.csv", CSV_HEAD "LOG,00000,d," CSV_TAIL, LINT_CSV_LOG);
    assert_detected("x", "rest\n{\"error_severity\":\"LOG\",\"message\":\"a\"}\n", LINT_JSON_LOG);
    assert_detected("x.csv", "\"userid\",\"query\"\n", LINT_STATEMENTS_CSV);
}

static void a_name_is_a_hint(void **state) {
    (void)state;
    assert_detected("x.sql", "[1] LOG:  a\n", LINT_SQL);
}

static void a_log_with_another_prefix_is_refused(void **state) {
    struct lint_input input = input_of("x", "<1> LOG:  a\n");
    struct lint_prefix prefix;
    enum lint_kind kind;
    struct error error;
    (void)state;
    assert_true(lint_prefix_compile(&prefix, "[%p] ", &error));
    assert_false(lint_detect(&input, &prefix, &kind, &error));
    assert_non_null(strstr(error.text, "--log-line-prefix"));
    free(input.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_behind_a_tab_belong_to_the_message),
        cmocka_unit_test(details_belong_to_the_record_before),
        cmocka_unit_test(what_is_cut_off_or_foreign_is_skipped),
        cmocka_unit_test(lines_of_windows),
        cmocka_unit_test(rows_of_a_csvlog),
        cmocka_unit_test(a_row_that_is_no_record_is_skipped),
        cmocka_unit_test(lines_of_a_jsonlog),
        cmocka_unit_test(a_line_of_a_jsonlog_need_not_be_utf8),
        cmocka_unit_test(quotes_double_within_quotes),
        cmocka_unit_test(newlines_within_quotes_are_counted),
        cmocka_unit_test(a_quote_without_an_end),
        cmocka_unit_test(more_fields_than_there_is_room_for),
        cmocka_unit_test(a_column_behind_a_byte_order_mark),
        cmocka_unit_test(inputs_are_told_apart_by_their_content),
        cmocka_unit_test(a_name_is_a_hint),
        cmocka_unit_test(a_log_with_another_prefix_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
