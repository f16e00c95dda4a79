/* What turns a connection's settings into another session's. */
#include "proxy/setting_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* The set of what was said last of each, in order: name, SQL, …, NULL. An empty name resets all. */
static struct setting_set *set_of(const char *name, ...) {
    struct setting_log log = {0};
    va_list rest;
    va_start(rest, name);
    for (; name != NULL; name = va_arg(rest, const char *)) {
        const char *sql = va_arg(rest, const char *);
        if (name[0] == '\0')
            setting_log_reset_all(&log, sql, strlen(sql));
        else
            setting_log_add(&log, name, sql, strlen(sql));
    }
    va_end(rest);
    struct setting_set *set = setting_set_new(&log);
    setting_log_close(&log);
    return set;
}

static void append(void *context, const char *sql) {
    char *text = context;
    strcat(strcat(text, sql), ";");
}

/* Frees both sets. */
static void assert_difference(struct setting_set *from, bool unknown, struct setting_set *to,
                              const char *expected) {
    char text[1000] = "";
    setting_set_difference(from, unknown, to, append, text);
    assert_string_equal(text, expected);
    setting_set_unref(from);
    setting_set_unref(to);
}

#define A "work_mem", "SET work_mem TO '5MB'"
#define OTHER_A "work_mem", "SET work_mem TO '6MB'"
#define B "my.own", "SET my.own TO 'x'"
#define ROLE "role", "SET ROLE ci"
#define ALL "SET SESSION AUTHORIZATION DEFAULT;RESET ALL;"

static void what_is_only_reset_is_as_nothing_changed(void **state) {
    (void)state;
    assert_null(set_of(NULL));
    assert_null(set_of(A, "", "RESET ALL", NULL));
    assert_null(set_of(A, "work_mem", "RESET work_mem", NULL));
    assert_null(setting_set_ref(NULL));
    setting_set_unref(NULL);
}

static void sets_are_equal_by_what_they_say_in_their_order(void **state) {
    (void)state;
    struct setting_set *one = set_of(A, B, NULL), *same = set_of(OTHER_A, A, B, NULL),
                       *turned = set_of(B, A, NULL), *other = set_of(OTHER_A, B, NULL),
                       *less = set_of(A, NULL);
    assert_true(setting_set_equal(one, same));
    assert_true(setting_set_equal(NULL, NULL));
    assert_false(setting_set_equal(one, turned));
    assert_false(setting_set_equal(one, other));
    assert_false(setting_set_equal(one, less));
    assert_false(setting_set_equal(one, NULL));
    struct setting_set *all[] = {one, same, turned, other, less};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        setting_set_unref(all[i]);
}

static void only_the_difference_is_sent(void **state) {
    (void)state;
    assert_difference(set_of(A, B, NULL), false, set_of(A, B, NULL), "");
    assert_difference(NULL, false, set_of(A, B, NULL), "SET work_mem TO '5MB';SET my.own TO 'x';");
    assert_difference(set_of(A, B, NULL), false, NULL, "RESET work_mem;RESET my.own;");
    assert_difference(set_of(A, B, NULL), false, set_of(B, NULL), "RESET work_mem;");
    assert_difference(set_of(A, B, NULL), false, set_of(OTHER_A, B, NULL),
                      "SET work_mem TO '6MB';");
}

static void resets_come_first(void **state) {
    (void)state;
    assert_difference(set_of(A, NULL), false, set_of(B, NULL), "RESET work_mem;SET my.own TO 'x';");
}

static void all_is_set_anew_where_nobody_knows_what_is_set(void **state) {
    (void)state;
    assert_difference(set_of(A, NULL), true, set_of(A, NULL), ALL "SET work_mem TO '5MB';");
    assert_difference(NULL, true, NULL, ALL);
}

static void all_is_set_anew_where_one_touches_others(void **state) {
    static const char *const names[] = {"role", "ROLE", "session_authorization", "Odd, name"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_difference(set_of(A, names[i], "SET x", NULL), false, set_of(A, NULL),
                          ALL "SET work_mem TO '5MB';");
        assert_difference(set_of(A, NULL), false, set_of(names[i], "SET x", A, NULL),
                          ALL "SET x;SET work_mem TO '5MB';");
    }
}

static void the_order_is_that_in_which_they_were_made(void **state) {
    (void)state;
    assert_difference(NULL, false, set_of(A, ROLE, B, NULL),
                      ALL "SET work_mem TO '5MB';SET ROLE ci;SET my.own TO 'x';");
    assert_difference(NULL, false, set_of(A, B, OTHER_A, NULL),
                      "SET my.own TO 'x';SET work_mem TO '6MB';");
    assert_difference(NULL, false, set_of(A, ROLE, "", "RESET ALL", B, NULL),
                      ALL "SET ROLE ci;SET my.own TO 'x';");
}

static void who_a_session_is_takes_the_role_with_it(void **state) {
    (void)state;
    assert_null(set_of(ROLE, "session_authorization", "RESET SESSION AUTHORIZATION", NULL));
    assert_difference(NULL, false, set_of("session_authorization", "SET x", ROLE, NULL),
                      ALL "SET x;SET ROLE ci;");
}

static void equal_sets_become_the_one_that_more_have(void **state) {
    (void)state;
    struct setting_set *common = set_of(A, B, NULL), *other = set_of(A, B, NULL);
    struct setting_set *more = setting_set_ref(common), *also = common;
    assert_ptr_not_equal(common, other);
    setting_set_unite(&other, &also);
    assert_ptr_equal(other, common);
    assert_ptr_equal(also, common);
    struct setting_set *last = set_of(A, B, NULL);
    setting_set_unite(&also, &last);
    assert_ptr_equal(last, common);
    setting_set_unref(more);
    setting_set_unref(other);
    setting_set_unref(last);
    setting_set_unref(common);
}

static bool can_join(const char *name, const char *sql) {
    struct setting_set *set = set_of(A, name, sql, B, NULL);
    bool can = setting_set_can_join(set);
    setting_set_unref(set);
    return can;
}

static void what_begins_no_snapshot_can_join_a_transaction(void **state) {
    (void)state;
    assert_true(setting_set_can_join(NULL));
    assert_true(can_join("search_path", "set search_path = public"));
    assert_true(can_join("role", "SET ROLE ci"));
    assert_false(can_join("work_mem", "SELECT set_config('work_mem', '5MB', false)"));
    assert_false(
        can_join("Default_Transaction_Isolation", "SET default_transaction_isolation = x"));
    assert_false(
        can_join("default_transaction_read_only", "SET default_transaction_read_only = on"));
    assert_false(
        can_join("default_transaction_deferrable", "SET default_transaction_deferrable = on"));
    assert_false(can_join("statement_timeout", "SET statement_timeout = 5"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_only_reset_is_as_nothing_changed),
        cmocka_unit_test(sets_are_equal_by_what_they_say_in_their_order),
        cmocka_unit_test(only_the_difference_is_sent),
        cmocka_unit_test(resets_come_first),
        cmocka_unit_test(all_is_set_anew_where_nobody_knows_what_is_set),
        cmocka_unit_test(all_is_set_anew_where_one_touches_others),
        cmocka_unit_test(the_order_is_that_in_which_they_were_made),
        cmocka_unit_test(who_a_session_is_takes_the_role_with_it),
        cmocka_unit_test(equal_sets_become_the_one_that_more_have),
        cmocka_unit_test(what_begins_no_snapshot_can_join_a_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
