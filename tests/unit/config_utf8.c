/* What is UTF-8, what becomes of what isn't, and where a text may be cut. */
#include "config/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static size_t length_of(const char *text) {
    return utf8_length(text, strlen(text));
}

static void characters_have_one_to_four_bytes(void **state) {
    (void)state;
    assert_int_equal(length_of("a"), 1);
    assert_int_equal(length_of("\u00e4"), 2);
    assert_int_equal(length_of("\u20ac"), 3);
    assert_int_equal(length_of("\U0001F600"), 4);
    assert_int_equal(length_of("\xF4\x8F\xBF\xBF"), 4); /* the last one */
}

static void a_character_that_is_cut_off_is_none(void **state) {
    (void)state;
    assert_int_equal(utf8_length("\u00e4", 1), 0);
    assert_int_equal(utf8_length("\u20ac", 2), 0);
    assert_int_equal(length_of("\xE2\x82z"), 0);
    assert_int_equal(length_of("\x82"), 0);
}

static void overlong_surrogate_and_too_high_ones_are_none(void **state) {
    (void)state;
    assert_int_equal(length_of("\xC0\xA7"), 0);
    assert_int_equal(length_of("\xE0\x80\xA7"), 0);
    assert_int_equal(length_of("\xF0\x80\x80\xA7"), 0);
    assert_int_equal(length_of("\xED\xA0\x80"), 0);
    assert_int_equal(length_of("\xF4\x90\x80\x80"), 0);
    assert_int_equal(length_of("\xF5\x80\x80\x80"), 0);
}

static void what_is_not_valid_becomes_letters(void **state) {
    char text[] = "a\xE4 \xC3\xA4 \xED\xA0\x80";
    (void)state;
    assert_int_equal(utf8_valid(text, strlen(text)), 1);
    utf8_repair(text, strlen(text));
    assert_string_equal(text, "a_ \xC3\xA4 ___");
    assert_int_equal(utf8_valid(text, strlen(text)), strlen(text));
}

static void a_nul_becomes_a_blank(void **state) {
    char text[] = "a\0b";
    (void)state;
    assert_int_equal(utf8_valid(text, 3), 1);
    utf8_repair(text, 3);
    assert_string_equal(text, "a b");
}

static void a_text_is_cut_between_characters(void **state) {
    (void)state;
    assert_int_equal(utf8_cut("a\u20acb", 1), 1);
    assert_int_equal(utf8_cut("a\u20acb", 2), 1);
    assert_int_equal(utf8_cut("a\u20acb", 3), 1);
    assert_int_equal(utf8_cut("a\u20acb", 4), 4);
    assert_int_equal(utf8_cut("\u20ac", 2), 0);
}

static void characters_are_counted_not_bytes(void **state) {
    (void)state;
    assert_int_equal(utf8_count("a\u20acb", strlen("a\u20acb")), 3);
    assert_int_equal(utf8_count("", 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(characters_have_one_to_four_bytes),
        cmocka_unit_test(a_character_that_is_cut_off_is_none),
        cmocka_unit_test(overlong_surrogate_and_too_high_ones_are_none),
        cmocka_unit_test(what_is_not_valid_becomes_letters),
        cmocka_unit_test(a_nul_becomes_a_blank),
        cmocka_unit_test(a_text_is_cut_between_characters),
        cmocka_unit_test(characters_are_counted_not_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
