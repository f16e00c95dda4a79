/* userlist.txt in PgBouncer's format. */
#include "config/userlist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void parse(const char *text, struct user **users, size_t *count) {
    struct error error;
    if (!userlist_parse("u.txt", text, strlen(text), users, count, &error))
        fail_msg("%s", error.text);
}

static void refuse(const char *text, size_t length, const char *expected) {
    struct user *users;
    size_t count;
    struct error error;
    assert_false(userlist_parse("u.txt", text, length, &users, &count, &error));
    assert_string_equal(error.text, expected);
}

static void users_are_sorted_by_name(void **state) {
    (void)state;
    struct user *users;
    size_t count;
    parse("; a comment\n\n\"zoe\" \"plain\"\r\n  \"bob\"\t\"md5x\" ; one\n\"al\" \"\"", &users,
          &count);
    assert_int_equal(count, 3);
    assert_string_equal(users[0].name, "al");
    assert_string_equal(users[0].secret, "");
    assert_string_equal(users[1].secret, "md5x");
    assert_string_equal(users[2].secret, "plain");
    userlist_free(users, count);
}

static void a_doubled_quote_is_a_quote(void **state) {
    (void)state;
    struct user *users;
    size_t count;
    parse("\"a\"\"b\" \"\"\"\"\n", &users, &count);
    assert_string_equal(users[0].name, "a\"b");
    assert_string_equal(users[0].secret, "\"");
    userlist_free(users, count);
}

static void an_empty_file_has_no_users(void **state) {
    (void)state;
    struct user *users;
    size_t count;
    parse("", &users, &count);
    assert_int_equal(count, 0);
    userlist_free(users, count);
}

static void wrong_lines_are_refused_without_their_secret(void **state) {
    (void)state;
    refuse("bob secret\n", 11,
           "u.txt:1: no user here: write \"user\" \"secret\", both in double quotes");
    refuse("\n\"bob\n", 6,
           "u.txt:2: no user here: write \"user\" \"secret\", both in double quotes");
    refuse("\"bob\" secret\n", 13,
           "u.txt:1: no secret after the user: write \"user\" \"secret\", both in double quotes");
    refuse("\"\" \"s\"\n", 7, "u.txt:1: the user has no name: write one between the quotes");
    refuse(
        "\"bob\" \"sec\" ret\"\n", 17,
        "u.txt:1: something follows the secret: write `\"\"` for a quote inside, and `;` before a "
        "comment");
    refuse("\"b\" \"s\0\"", 9, "u.txt:1: a NUL in the text: remove it");
    refuse("\"b\" \"s\"\n\n\"b\" \"t\"\n", 17,
           "u.txt:3: \"b\" is given twice, first in line 1: remove one of them");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_are_sorted_by_name),
        cmocka_unit_test(a_doubled_quote_is_a_quote),
        cmocka_unit_test(an_empty_file_has_no_users),
        cmocka_unit_test(wrong_lines_are_refused_without_their_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
