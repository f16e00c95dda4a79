/* What a log's messages mean, and what may be shown of a statement. */
#include "commands/lint_normalize.h"
#include "commands/lint_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *statement_of(const char *message) {
    size_t start;
    bool succeeded;
    return lint_message_statement(message, strlen(message), &start, &succeeded) ? message + start
                                                                                : NULL;
}

static void executed_statements(void **state) {
    (void)state;
    assert_string_equal(statement_of("statement: SELECT 1"), "SELECT 1");
    assert_string_equal(statement_of("duration: 0.1 ms  statement: SELECT 1"), "SELECT 1");
    assert_string_equal(statement_of("execute <unnamed>: SELECT 1"), "SELECT 1");
    assert_string_equal(statement_of("duration: 12.345 ms  execute a1/p: SELECT 1"), "SELECT 1");
    assert_string_equal(statement_of("00000: statement: SELECT 1"), "SELECT 1");
}

static void other_messages(void **state) {
    (void)state;
    assert_null(statement_of(""));
    assert_null(statement_of("duration: 0.1 ms"));
    assert_null(statement_of("duration: 0.1 ms  parse <unnamed>: SELECT 1"));
    assert_null(statement_of("duration: 0.1 ms  bind <unnamed>: SELECT 1"));
    assert_null(statement_of("execute fetch from <unnamed>/p: SELECT 1"));
    assert_null(statement_of("execute x"));
    assert_null(statement_of("checkpoint starting: statement: x"));
}

static void only_a_duration_tells_that_it_succeeded(void **state) {
    size_t start;
    bool succeeded;
    (void)state;
    assert_true(lint_message_statement("duration: 1 ms  statement: x", 28, &start, &succeeded));
    assert_true(succeeded);
    assert_true(lint_message_statement("statement: x", 12, &start, &succeeded));
    assert_false(succeeded);
}

static void ends_of_sessions(void **state) {
    static const char ready[] = "database system is ready to accept connections";
    static const char left[] = "disconnection: session time: 0:00:01";
    (void)state;
    assert_int_equal(lint_message_event(ready, strlen(ready)), LINT_EVENT_SERVER_STARTED);
    assert_int_equal(lint_message_event(left, strlen(left)), LINT_EVENT_SESSION_ENDED);
    assert_int_equal(lint_message_event("statement: x", 12), LINT_EVENT_NONE);
}

static void assert_normal(const char *text, const char *expected) {
    struct text out = {0};
    lint_normalize(text, strlen(text), &out);
    assert_string_equal(out.data, expected);
    free(out.data);
}

static void literals_and_comments_are_not_shown(void **state) {
    (void)state;
    assert_normal("SELECT  a,\n\t'x' , 1.5e3 FROM b -- c\n", "SELECT a, ? FROM b");
    assert_normal("/* a */ SELECT $a$x$a$, E'\\'x', U&'x', $1", "SELECT ?, $1");
    assert_normal("SELECT a /* x /* y */ z */ FROM b", "SELECT a FROM b");
}

static void lists_of_literals_are_one(void **state) {
    (void)state;
    assert_normal("x IN (1, 2,3 , 4)", "x IN (?)");
    assert_normal("VALUES (1, 'a'), (2, 'b'),(3,'c')", "VALUES (?)");
}

static void what_has_no_end_is_not_shown(void **state) {
    (void)state;
    assert_normal("SELECT 'secret", "SELECT ?");
    assert_normal("SELECT \"secret", "SELECT ?");
    assert_normal("SELECT 1 /* secret", "SELECT ?");
}

/* A backslash before the quote may or may not end the string: the server's setting is not known. */
static void what_may_be_within_a_string_is_not_shown(void **state) {
    (void)state;
    assert_normal("SELECT 'a\\' secret FROM b", "SELECT ?");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(executed_statements),
        cmocka_unit_test(other_messages),
        cmocka_unit_test(only_a_duration_tells_that_it_succeeded),
        cmocka_unit_test(ends_of_sessions),
        cmocka_unit_test(literals_and_comments_are_not_shown),
        cmocka_unit_test(lists_of_literals_are_one),
        cmocka_unit_test(what_has_no_end_is_not_shown),
        cmocka_unit_test(what_may_be_within_a_string_is_not_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
