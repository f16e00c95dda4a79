#include "protocol/bind_check.h"

#include "protocol/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A string literal as a body: its own NUL is not part of it. */
#define BODY(text) (const uint8_t *)(text), sizeof(text) - 1

/* Feeds `length` bytes from a copy of exactly that size, so that a sanitizer sees a read past it.
 */
static enum bind_check_result feed_copy(struct bind_check *check, const uint8_t *data,
                                        size_t length, struct error *error) {
    uint8_t *copy = malloc(length > 0 ? length : 1);
    assert_non_null(copy);
    if (length > 0)
        memcpy(copy, data, length);
    enum bind_check_result result = bind_check_feed(check, copy, length, error);
    free(copy);
    return result;
}

/* Feeds the body in pieces of `piece` bytes, the first one of `first`. */
static enum bind_check_result feed_pieces(const uint8_t *body, size_t length, size_t first,
                                          size_t piece, struct error *error) {
    struct bind_check check;
    bind_check_init(&check, length);
    enum bind_check_result result = feed_copy(&check, body, first, error);
    for (size_t at = first; at < length && result == BIND_CHECK_MORE;) {
        size_t here = length - at < piece ? length - at : piece;
        result = feed_copy(&check, body + at, here, error);
        at += here;
    }
    return result;
}

/* What the names are followed by, in a copy of exactly that size; true where it is well formed. */
static bool counts_fit(const uint8_t *body, size_t length) {
    size_t at = 0;
    for (int names = 0; names < 2; names++) {
        const uint8_t *nul = at < length ? memchr(body + at, 0, length - at) : NULL;
        if (nul == NULL)
            return false;
        at = (size_t)(nul - body) + 1;
    }
    size_t left = length - at;
    uint8_t *copy = malloc(left > 0 ? left : 1);
    assert_non_null(copy);
    if (left > 0)
        memcpy(copy, body + at, left);
    bool fit = bind_check_counts(copy, left);
    free(copy);
    return fit;
}

/* However the body is cut, and in one go, the outcome is the same. */
static void expect(const uint8_t *body, size_t length, enum bind_check_result expected,
                   const char *message) {
    for (size_t first = 0; first <= length; first++)
        for (size_t piece = 1; piece <= length - first || piece == 1; piece++) {
            struct error error = {{0}};
            assert_int_equal(feed_pieces(body, length, first, piece, &error), expected);
            assert_string_equal(error.text, message);
        }
    assert_int_equal(counts_fit(body, length), expected == BIND_CHECK_DONE);
}

static void expect_malformed(const uint8_t *body, size_t length, const char *message) {
    expect(body, length, BIND_CHECK_MALFORMED, message);
}

#define TWO_VALUES                                                                                 \
    "p\0s\0\0\1\0\1\0\2\0\0\0\3abc\xff\xff\xff\xff\0\2\0\0\0\1" /* formats, "abc", NULL, formats   \
                                                                 */
#define NAMES "p\0s\0"
#define INSUFFICIENT "insufficient data left in message"

static void test_a_bind_without_values_is_well_formed(void **state) {
    (void)state;
    expect(BODY("\0\0\0\0\0\0\0\0"), BIND_CHECK_DONE, "");
}

static void test_values_null_and_formats_are_well_formed(void **state) {
    (void)state;
    expect(BODY(TWO_VALUES), BIND_CHECK_DONE, "");
}

static void test_an_empty_value_is_well_formed(void **state) {
    (void)state;
    expect(BODY(NAMES "\0\0\0\1\0\0\0\0\0\0"), BIND_CHECK_DONE, "");
}

static void test_a_value_may_hold_any_byte(void **state) {
    (void)state;
    expect(BODY(NAMES "\0\0\0\1\0\0\0\5\0\xff\0\x80\0\0\0"), BIND_CHECK_DONE, "");
}

static void test_more_format_codes_than_values_are_for_the_server_to_judge(void **state) {
    (void)state;
    expect(BODY(NAMES "\0\3\0\0\0\1\0\7\0\1\0\0\0\0\0\0"), BIND_CHECK_DONE, "");
}

static void test_every_shorter_body_is_malformed(void **state) {
    (void)state;
    const uint8_t *body = (const uint8_t *)TWO_VALUES;
    for (size_t length = 0; length < sizeof TWO_VALUES - 1; length++) {
        struct error error = {{0}};
        assert_int_equal(feed_pieces(body, length, length, 1, &error), BIND_CHECK_MALFORMED);
        assert_false(counts_fit(body, length));
        assert_string_equal(error.text, length < 4 ? "invalid string in message" : INSUFFICIENT);
    }
}

static void test_bytes_behind_the_end_are_malformed(void **state) {
    (void)state;
    expect_malformed(BODY(TWO_VALUES "x"), "invalid message format");
    expect_malformed(BODY("\0\0\0\0\0\0\0\0\0\0"), "invalid message format");
}

static void test_a_negative_length_other_than_null_is_malformed(void **state) {
    (void)state;
    expect_malformed(BODY(NAMES "\0\0\0\1\xff\xff\xff\xf9\0\0"), INSUFFICIENT);
    expect_malformed(BODY(NAMES "\0\0\0\1\x80\0\0\0\0\0"), INSUFFICIENT);
}

static void test_a_length_beyond_the_body_is_malformed(void **state) {
    (void)state;
    expect_malformed(BODY(NAMES "\0\0\0\1\0\0\0\2x\0\0"), INSUFFICIENT);
    expect_malformed(BODY(NAMES "\0\0\0\1\x7f\xff\xff\xffx\0\0"), INSUFFICIENT);
}

static void test_more_codes_or_values_than_fit_are_malformed(void **state) {
    (void)state;
    expect_malformed(BODY(NAMES "\xff\xff\0\0\0\0"), INSUFFICIENT);
    expect_malformed(BODY(NAMES "\0\0\xff\xff\0\0"), INSUFFICIENT);
    expect_malformed(BODY(NAMES "\0\0\0\0\0\1"), INSUFFICIENT);
}

static void test_a_name_without_end_is_malformed(void **state) {
    (void)state;
    expect_malformed(BODY(""), "invalid string in message");
    expect_malformed(BODY("portal"), "invalid string in message");
    expect_malformed(BODY("portal\0statement"), "invalid string in message");
}

static void test_a_bad_length_is_found_before_the_body_ends(void **state) {
    (void)state;
    struct bind_check check;
    struct error error = {{0}};
    bind_check_init(&check, 1000000000);
    assert_int_equal(bind_check_feed(&check, BODY(NAMES "\0\0\0\1"), &error), BIND_CHECK_MORE);
    assert_int_equal(bind_check_feed(&check, BODY("\xff\xff\xff\xfe"), &error),
                     BIND_CHECK_MALFORMED);
}

static void test_a_gigabyte_passes_in_pieces(void **state) {
    (void)state;
    static const uint8_t piece[1 << 20];
    const size_t value = (size_t)1023 << 20;
    uint8_t head[] = {0, 0, 0, 0, 0, 1, 0, 0, 0, 0};
    wire_put_u32(head + 6, (uint32_t)value);
    struct bind_check check;
    struct error error;
    bind_check_init(&check, sizeof head + value + 2);
    assert_int_equal(bind_check_feed(&check, head, sizeof head, &error), BIND_CHECK_MORE);
    for (size_t at = 0; at < value; at += sizeof piece)
        assert_int_equal(bind_check_feed(&check, piece, sizeof piece, &error), BIND_CHECK_MORE);
    assert_int_equal(bind_check_feed(&check, piece, 2, &error), BIND_CHECK_DONE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_bind_without_values_is_well_formed),
        cmocka_unit_test(test_values_null_and_formats_are_well_formed),
        cmocka_unit_test(test_an_empty_value_is_well_formed),
        cmocka_unit_test(test_a_value_may_hold_any_byte),
        cmocka_unit_test(test_more_format_codes_than_values_are_for_the_server_to_judge),
        cmocka_unit_test(test_every_shorter_body_is_malformed),
        cmocka_unit_test(test_bytes_behind_the_end_are_malformed),
        cmocka_unit_test(test_a_negative_length_other_than_null_is_malformed),
        cmocka_unit_test(test_a_length_beyond_the_body_is_malformed),
        cmocka_unit_test(test_more_codes_or_values_than_fit_are_malformed),
        cmocka_unit_test(test_a_name_without_end_is_malformed),
        cmocka_unit_test(test_a_bad_length_is_found_before_the_body_ends),
        cmocka_unit_test(test_a_gigabyte_passes_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
