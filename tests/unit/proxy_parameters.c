/* Sets of what servers report: kept once, in order, changed by copy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/parameters.h"

static const struct parameter some[] = {
    {"server_version", "15.1"}, {"TimeZone", "UTC"}, {"application_name", ""}};

static int make_store(void **state) {
    *state = parameter_store_new();
    return 0;
}

static int free_store(void **state) {
    parameter_store_free(*state);
    return 0;
}

static void equal_sets_are_one(void **state) {
    struct parameters *a = parameters_new(*state, some, 3), *b = parameters_new(*state, some, 3);
    assert_ptr_equal(a, b);
    parameters_unref(*state, a);
    assert_string_equal(parameters_find(b, "TimeZone"), "UTC");
    parameters_unref(*state, b);
}

static void a_set_without_anything_is_null(void **state) {
    assert_null(parameters_new(*state, NULL, 0));
    assert_null(parameters_find(NULL, "TimeZone"));
    parameters_unref(*state, NULL);
}

static void a_value_may_be_empty(void **state) {
    struct parameters *set = parameters_new(*state, some, 3);
    assert_string_equal(parameters_find(set, "application_name"), "");
    assert_null(parameters_find(set, "application"));
    parameters_unref(*state, set);
}

static void a_change_leaves_the_other_users_alone(void **state) {
    struct parameters *mine = parameters_new(*state, some, 3), *theirs = parameters_ref(mine);
    mine = parameters_change_take(*state, mine, "TimeZone", "Europe/Paris");
    assert_string_equal(parameters_find(mine, "TimeZone"), "Europe/Paris");
    assert_string_equal(parameters_find(theirs, "TimeZone"), "UTC");
    mine = parameters_change_take(*state, mine, "TimeZone", "UTC");
    assert_ptr_equal(mine, theirs);
    parameters_unref(*state, mine);
    parameters_unref(*state, theirs);
}

static void the_order_is_kept_and_what_is_new_comes_last(void **state) {
    struct parameters *set = parameters_new(*state, some, 3);
    set = parameters_change_take(*state, set, "server_version", "16");
    set = parameters_change_take(*state, set, "in_hot_standby", "off");
    static const char *const names[] = {"server_version", "TimeZone", "application_name",
                                        "in_hot_standby"};
    struct parameter parameter;
    size_t cursor = 0;
    for (size_t i = 0; i < 4; i++) {
        assert_true(parameters_next(set, &cursor, &parameter));
        assert_string_equal(parameter.name, names[i]);
    }
    assert_false(parameters_next(set, &cursor, &parameter));
    parameters_unref(*state, set);
}

static void a_first_value_makes_a_set(void **state) {
    struct parameters *set = parameters_change_take(*state, NULL, "TimeZone", "UTC");
    assert_string_equal(parameters_find(set, "TimeZone"), "UTC");
    parameters_unref(*state, set);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_store, free_store)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(equal_sets_are_one),
        TEST(a_set_without_anything_is_null),
        TEST(a_value_may_be_empty),
        TEST(a_change_leaves_the_other_users_alone),
        TEST(the_order_is_kept_and_what_is_new_comes_last),
        TEST(a_first_value_makes_a_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
