/* routing/escape_strings: constants are written so that both settings read the same. */
#include "routing/escape_strings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect(const char *text, bool conforming, const char *wanted) {
    const struct lexing lexing = {.standard_conforming_strings = conforming};
    char *got = text_with_escape_strings(text, strlen(text), &lexing);
    assert_string_equal(got, wanted);
    free(got);
}

static void what_has_no_backslash_stays(void **state) {
    (void)state;
    expect("SET a = 'b''c', $$d$$", true, "SET a = 'b''c', $$d$$");
    expect("", true, "");
}

static void a_plain_backslash_is_doubled(void **state) {
    (void)state;
    expect("SET a='b\\', 'c'", true, "SET a= E'b\\\\', 'c'");
    expect("SET a TO'\\'", true, "SET a TO E'\\\\'");
    expect("SELECT N'\\'", true, "SELECT  E'\\\\'");
}

static void an_escape_keeps_its_meaning(void **state) {
    (void)state;
    expect("SET a = 'b\\', '; DELETE FROM t; --'", false, "SET a =  E'b\\', '; DELETE FROM t; --'");
    expect("SET a = 'b\\''c'", false, "SET a =  E'b\\''c'");
}

static void other_strings_and_comments_stay(void **state) {
    (void)state;
    const char *text = "SET a = E'\\n', U&'\\0041', $$\\$$, \"\\\" /* '\\' */ -- '\\'";
    expect(text, true, text);
}

static void lines_of_one_constant_are_one(void **state) {
    (void)state;
    expect("SELECT 'a\\'\n'b'", true, "SELECT  E'a\\\\'\n'b'");
}

static void expect_repeated(const char *text, const char *wanted) {
    const struct lexing lexing = {.standard_conforming_strings = true};
    char *got = text_for_repeating(text, strlen(text), &lexing);
    assert_string_equal(got, wanted);
    free(got);
}

static void comments_are_not_repeated(void **state) {
    (void)state;
    expect_repeated("SET a = 1 -- b", "SET a = 1");
    expect_repeated("/* b */ SET/* c /* d */ */a = 1 --\n ", "SET a = 1");
    expect_repeated("--\n--\n", "");
    expect_repeated("SET a = '-- b', $$/* c */$$, \"/*\"", "SET a = '-- b', $$/* c */$$, \"/*\"");
    expect_repeated("SET a = 'b\\' -- c", "SET a =  E'b\\\\'");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_no_backslash_stays),
        cmocka_unit_test(a_plain_backslash_is_doubled),
        cmocka_unit_test(an_escape_keeps_its_meaning),
        cmocka_unit_test(other_strings_and_comments_stay),
        cmocka_unit_test(lines_of_one_constant_are_one),
        cmocka_unit_test(comments_are_not_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
