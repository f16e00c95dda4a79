/* What the options of a startup packet set. */
#include "proxy/startup_options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void append(void *context, const char *name, const char *value) {
    char *text = context;
    sprintf(text + strlen(text), "<%s=%s>", name, value);
}

static void assert_settings(const char *options, const char *expected) {
    char text[500] = "";
    struct error error = {""};
    if (!startup_options_settings(options, append, text, &error))
        fail_msg("%s", error.text);
    assert_string_equal(text, expected);
}

static void assert_refused(const char *options, const char *expected) {
    char text[500] = "";
    struct error error = {""};
    assert_false(startup_options_settings(options, append, text, &error));
    assert_string_equal(error.text, expected);
}

static void each_way_to_write_a_setting_is_read(void **state) {
    (void)state;
    assert_settings("-c a=1 -cb=2 --c=3", "<a=1><b=2><c=3>");
    assert_settings("", "");
    assert_settings(" \t\n", "");
}

static void the_proxys_own_are_among_them(void **state) {
    (void)state;
    assert_settings("-c pginterlock.database=ci -c a=1", "<pginterlock.database=ci><a=1>");
}

static void names_are_spelled_as_the_server_does(void **state) {
    (void)state;
    assert_settings("--Work-Mem=5MB -c Search-Path=A-b", "<work_mem=5MB><search_path=A-b>");
}

static void a_value_is_what_follows_the_first_equals_sign(void **state) {
    (void)state;
    assert_settings("-c a=b=c -c d=", "<a=b=c><d=>");
}

static void backslashes_keep_a_word_together(void **state) {
    (void)state;
    assert_settings("-c search_path=a,\\ b -c c=\\\\", "<search_path=a, b><c=\\>");
    assert_settings("-c\\ a=1", "< a=1>");
    assert_settings("-c a=1\\", "<a=1\\>");
}

static void what_sets_nothing_is_refused_as_the_server_would(void **state) {
    (void)state;
    assert_refused("-c a=1 oops -c b=2", "invalid command-line argument for server process: oops");
    assert_refused("-c", "invalid command-line argument for server process: -c");
    assert_refused("-d 5", "invalid command-line argument for server process: -d");
    assert_refused("-c work_mem", "-c work_mem requires a value");
    assert_refused("--work_mem", "--work_mem requires a value");
}

static bool take_none(void *context, const char *name, const char *value) {
    append(context, name, value);
    return false;
}

static bool take(void *context, const char *name, const char *value) {
    append(context, name, value);
    return true;
}

static void only_the_proxys_own_are_taken_out(void **state) {
    char text[500] = "";
    struct wire_buffer rest = {0};
    (void)state;
    assert_true(
        startup_options_read("-c a=\\ 1 -c pginterlock.database=ci --pginterlock.database=x "
                             "-d 5",
                             take, text, &rest));
    assert_string_equal(text, "<pginterlock.database=ci><pginterlock.database=x>");
    static const char left[] = " -c a=\\ 1 -d 5";
    assert_int_equal(rest.length, strlen(left));
    assert_memory_equal(rest.data, left, strlen(left));
    wire_buffer_close(&rest);
}

static void the_first_own_that_is_wrong_ends_it(void **state) {
    char text[500] = "";
    (void)state;
    assert_false(startup_options_read("-c pginterlock.database=ci -c pginterlock.database=x",
                                      take_none, text, NULL));
    assert_string_equal(text, "<pginterlock.database=ci>");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_way_to_write_a_setting_is_read),
        cmocka_unit_test(the_proxys_own_are_among_them),
        cmocka_unit_test(names_are_spelled_as_the_server_does),
        cmocka_unit_test(a_value_is_what_follows_the_first_equals_sign),
        cmocka_unit_test(backslashes_keep_a_word_together),
        cmocka_unit_test(what_sets_nothing_is_refused_as_the_server_would),
        cmocka_unit_test(only_the_proxys_own_are_taken_out),
        cmocka_unit_test(the_first_own_that_is_wrong_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
