/* What may be said of a connection string. */
#include "config/conninfo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void passwords_are_left_out(void **state) {
    char text[200];
    (void)state;
    conninfo_redact("host=db password=hush sslpassword=hush dbname=app", text, sizeof text);
    assert_string_equal(text, "dbname=app host=db");
}

static void a_password_in_a_url_is_left_out(void **state) {
    char text[200];
    (void)state;
    conninfo_redact("postgresql://me:hush@db:5433/app", text, sizeof text);
    assert_string_equal(text, "user=me dbname=app host=db port=5433");
}

static void an_unreadable_string_is_not_repeated(void **state) {
    char text[200];
    (void)state;
    conninfo_redact("password", text, sizeof text);
    assert_string_equal(text, "(unreadable)");
}

static void a_long_string_is_cut_off(void **state) {
    char text[8];
    (void)state;
    conninfo_redact("host=a-long-name.example dbname=app port=5432", text, sizeof text);
    assert_int_equal(strlen(text), sizeof text - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passwords_are_left_out),
        cmocka_unit_test(a_password_in_a_url_is_left_out),
        cmocka_unit_test(an_unreadable_string_is_not_repeated),
        cmocka_unit_test(a_long_string_is_cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
