/* log_line_prefix: which lines it fits, and whose they are. */
#include "commands/lint_prefix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/alloc.h"

/* The message behind the prefix, or NULL where the line has it not. */
static const char *match(const char *pattern, const char *line, struct lint_record *record) {
    struct lint_prefix prefix;
    struct error error;
    size_t message;
    *record = (struct lint_record){0};
    if (!lint_prefix_compile(&prefix, pattern, &error)) {
        fail_msg("%s", error.text);
    }
    return lint_prefix_match(&prefix, line, strlen(line), record, &message) ? line + message : NULL;
}

static void assert_session(const char *pattern, const char *line, uint64_t session) {
    struct lint_record record;
    const char *message = match(pattern, line, &record);
    assert_non_null(message);
    assert_string_equal(message, "statement: x");
    assert_int_equal(record.severity, LINT_LOG);
    assert_true(record.has_session);
    assert_int_equal(record.session, session);
}

static void the_default_prefix(void **state) {
    (void)state;
    assert_session(LINT_PREFIX_DEFAULT, "2026-11-23 06:45:00.123 UTC [77] LOG:  statement: x", 77);
    assert_session(LINT_PREFIX_DEFAULT, "2026-11-23 06:45:00.123 +03 [77] LOG:  statement: x", 77);
}

static void amazons_prefix_with_colons_in_addresses(void **state) {
    (void)state;
    const char *pattern = "%t:%r:%u@%d:[%p]:";
    assert_session(pattern, "2026-11-23 06:45:00 UTC:10.0.0.1(543):a@b:[9]:LOG:  statement: x", 9);
    assert_session(pattern, "2026-11-23 06:45:00 UTC:fe80::1%eth0(543):a@b:[9]:LOG:  statement: x",
                   9);
    assert_session(pattern, "2026-11-23 06:45:00 UTC::@:[9]:LOG:  statement: x", 9);
}

static void azures_prefix_with_a_session_id(void **state) {
    (void)state;
    assert_session("%t-%c-", "2026-11-23 06:45:00 UTC-65f1a2b3.1c4-LOG:  statement: x",
                   (uint64_t)0x65f1a2b3 << 32 ^ 0x1c4);
}

static void padded_fields(void **state) {
    (void)state;
    assert_session("[%10p] %-8u|", "[        12] bob     |LOG:  statement: x", 12);
    assert_session("%-8p ", "12       LOG:  statement: x", 12);
    assert_session("%8u %p ", "         12 LOG:  statement: x", 12);
}

static void names_with_blanks_and_signs(void **state) {
    (void)state;
    assert_session("%a %u@%d %p ", "my app: a [1] b bob@shop 5 LOG:  statement: x", 5);
    assert_session("%i %b [%p] ", "CREATE TABLE AS client backend [5] LOG:  statement: x", 5);
}

static void processes_without_a_session_stop_at_q(void **state) {
    (void)state;
    assert_session("%p %q%u@%d ", "5 bob@shop LOG:  statement: x", 5);
    assert_session("%p %q%u@%d ", "5 LOG:  statement: x", 5);
}

static void a_transaction_number(void **state) {
    struct lint_record record;
    (void)state;
    assert_non_null(match("%p %v %x ", "5 3/42 0 LOG:  statement: x", &record));
    assert_true(record.has_lxid);
    assert_int_equal(record.lxid, 42);
    assert_non_null(match("%p %v %x ", "5  0 LOG:  statement: x", &record));
    assert_false(record.has_lxid);
}

static void a_percent_sign(void **state) {
    (void)state;
    assert_session("100%% %p ", "100% 5 LOG:  statement: x", 5);
}

static void an_empty_prefix_tells_no_session(void **state) {
    struct lint_record record;
    (void)state;
    assert_string_equal(match("", "LOG:  statement: x", &record), "statement: x");
    assert_false(record.has_session);
}

static void other_lines_do_not_match(void **state) {
    struct lint_record record;
    (void)state;
    assert_null(match(LINT_PREFIX_DEFAULT, "", &record));
    assert_null(match(LINT_PREFIX_DEFAULT, "2026-11-23 06:45:00.123 UTC [77]", &record));
    assert_null(match(LINT_PREFIX_DEFAULT, "2026-11-23 06:45:00.123 UTC [77] LOG: one", &record));
    assert_null(match(LINT_PREFIX_DEFAULT, "2026-11-23 06:45:00 UTC [77] LOG:  x", &record));
    assert_null(match(LINT_PREFIX_DEFAULT, "x LOG:  statement: x", &record));
}

static void unknown_escapes_are_refused(void **state) {
    struct lint_prefix prefix;
    struct error error;
    (void)state;
    assert_false(lint_prefix_compile(&prefix, "%m %z", &error));
    assert_non_null(strstr(error.text, "%z"));
    assert_false(lint_prefix_compile(&prefix, "%m %", &error));
    assert_false(lint_prefix_compile(&prefix, "%m %-", &error));
}

static void a_pattern_of_too_many_parts_is_refused(void **state) {
    struct lint_prefix prefix;
    struct error error;
    char pattern[4 * LINT_PREFIX_ITEMS + 1] = "";
    (void)state;
    for (size_t i = 0; i < LINT_PREFIX_ITEMS; i++) {
        memcpy(pattern + i * 3, "%u ", 4);
    }
    assert_false(lint_prefix_compile(&prefix, pattern, &error));
}

/* Each field of any text could end anywhere: the search must not multiply. */
static void a_hostile_line_takes_bounded_time(void **state) {
    struct lint_record record;
    char *line = alloc_new(1000001);
    (void)state;
    memset(line, ' ', 1000000);
    assert_null(match("%a %u %d %a %u %d %a %u %d %p ", line, &record));
    free(line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_prefix),
        cmocka_unit_test(amazons_prefix_with_colons_in_addresses),
        cmocka_unit_test(azures_prefix_with_a_session_id),
        cmocka_unit_test(padded_fields),
        cmocka_unit_test(names_with_blanks_and_signs),
        cmocka_unit_test(processes_without_a_session_stop_at_q),
        cmocka_unit_test(a_transaction_number),
        cmocka_unit_test(a_percent_sign),
        cmocka_unit_test(an_empty_prefix_tells_no_session),
        cmocka_unit_test(other_lines_do_not_match),
        cmocka_unit_test(unknown_escapes_are_refused),
        cmocka_unit_test(a_pattern_of_too_many_parts_is_refused),
        cmocka_unit_test(a_hostile_line_takes_bounded_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
