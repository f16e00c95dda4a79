/* Which statements are one, and which of them a connection keeps. */
#include "proxy/server_statements.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t int4[] = {0, 0, 0, 23}, text[] = {0, 0, 0, 25};

static struct shared_statement *get(struct shared_statements *all, const char *meaning,
                                    const char *sql, const uint8_t *types) {
    return shared_statement_get(all, meaning, sql, strlen(sql), types, types != NULL ? 4 : 0, 0);
}

static void text_types_and_meaning_make_a_statement(void **state) {
    (void)state;
    struct shared_statements *all = shared_statements_new();
    struct shared_statement *made[] = {
        get(all, "", "SELECT $1", int4), get(all, "", "SELECT $1", text),
        get(all, "", "SELECT $1", NULL), get(all, "SET x TO 1;", "SELECT $1", int4),
        get(all, "", "SELECT $2", int4)};
    enum { COUNT = sizeof made / sizeof made[0] };
    for (size_t i = 0; i < COUNT; i++)
        for (size_t j = 0; j < i; j++)
            assert_ptr_not_equal(made[i], made[j]);
    struct shared_statement *again = get(all, "", "SELECT $1", int4);
    assert_ptr_equal(again, made[0]);
    assert_true(shared_statement_means(made[3], "SET x TO 1;"));
    assert_false(shared_statement_means(made[3], ""));
    shared_statement_unref(again);
    for (size_t i = 0; i < COUNT; i++)
        shared_statement_unref(made[i]);
    shared_statements_free(all);
}

static void the_one_used_longest_ago_goes(void **state) {
    (void)state;
    struct shared_statements *all = shared_statements_new();
    struct server_statements *known = NULL;
    struct shared_statement *a = get(all, "", "a", NULL), *b = get(all, "", "b", NULL),
                            *c = get(all, "", "c", NULL);
    char evicted[SERVER_STATEMENT_NAME];
    assert_false(server_statements_use(known, a));
    assert_int_equal(server_statements_add(&known, a, 2, evicted), 0);
    assert_string_equal(evicted, "");
    server_statements_add(&known, b, 2, evicted);
    assert_string_equal(evicted, "");
    assert_true(server_statements_use(known, a));
    uint64_t closed = server_statements_add(&known, c, 2, evicted);
    assert_string_equal(evicted, shared_statement_name(b));
    assert_true(server_statements_use(known, a));
    assert_false(server_statements_use(known, b));
    server_statements_remove(known, c);
    server_statements_restore(known, closed);
    assert_true(server_statements_use(known, b));
    server_statements_remove(known, a);
    assert_false(server_statements_use(known, a));
    server_statements_free(&known);
    assert_null(known);
    shared_statement_unref(a);
    shared_statement_unref(b);
    shared_statement_unref(c);
    shared_statements_free(all);
}

/* Whoever gets the statement after it was retired, or after a change to tables, gets another. */
static void old_ones_are_left_to_who_has_them(void **state) {
    (void)state;
    struct shared_statements *all = shared_statements_new();
    struct shared_statement *retired = get(all, "", "a", NULL);
    shared_statement_retire(retired);
    assert_true(shared_statement_is_retired(retired));
    struct shared_statement *before = get(all, "", "a", NULL);
    assert_ptr_not_equal(retired, before);
    assert_string_not_equal(shared_statement_name(retired), shared_statement_name(before));
    struct shared_statement *after = shared_statement_get(all, "", "a", 1, NULL, 0, 1);
    assert_ptr_not_equal(before, after);
    assert_false(shared_statement_is_retired(before));
    struct shared_statement *again = shared_statement_get(all, "", "a", 1, NULL, 0, 1);
    assert_ptr_equal(after, again);
    shared_statement_unref(retired);
    shared_statement_unref(before);
    shared_statement_unref(after);
    shared_statement_unref(again);
    shared_statements_free(all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_types_and_meaning_make_a_statement),
        cmocka_unit_test(the_one_used_longest_ago_goes),
        cmocka_unit_test(old_ones_are_left_to_who_has_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
