/* What is made of the answers to the question which tables have code behind them, and when it is
 * asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/message.h"
#include "proxy/link.h"
#include "proxy/table_code.h"

static struct link me, another; /* who asks */

static void put_column(struct wire_buffer *row, const char *text) {
    uint32_t length = text != NULL ? (uint32_t)strlen(text) : UINT32_MAX;
    uint8_t bytes[4] = {(uint8_t)(length >> 24), (uint8_t)(length >> 16), (uint8_t)(length >> 8),
                        (uint8_t)length};
    wire_append(row, bytes, sizeof bytes);
    if (text != NULL)
        wire_append(row, text, length);
}

static void take(struct table_code *code, const char *name, const char *on_read) {
    struct wire_buffer row = {0};
    wire_append(&row, (uint8_t[]){0, 2}, 2);
    put_column(&row, name);
    put_column(&row, on_read);
    table_code_take_row(code, row.data, row.length);
    wire_buffer_close(&row);
}

/* What the catalogs said as of change 7: a view and a table. */
static struct table_code learned(void) {
    struct table_code code = {0};
    table_code_ask(&code, &me, 7, 1000);
    take(&code, "1 2 3", NULL); /* the catalogs' signature */
    take(&code, "the_view", "t");
    take(&code, "a_table", "f");
    table_code_answered(&code, &me, true, 1000);
    return code;
}

static bool runs(const struct table_code *code, enum statement_kind kind, const char *name,
                 enum access access) {
    struct table_facts table = {.name = name, .access = access};
    struct statement_facts facts = {
        .kind = kind, .tables = &table, .table_count = name != NULL ? 1 : 0};
    return table_code_may_run(code, 7, &facts);
}

static void before_anything_is_known_every_table_may_have_code(void **state) {
    (void)state;
    struct table_code code = {0};
    assert_true(runs(&code, KIND_SELECT, "x", ACCESS_READ));
    assert_false(runs(&code, KIND_SELECT, NULL, ACCESS_READ));
    assert_true(runs(&code, KIND_DDL, NULL, ACCESS_DDL));
}

static void afterwards_only_those_that_were_named(void **state) {
    (void)state;
    struct table_code code = learned();
    assert_false(runs(&code, KIND_INSERT, "x", ACCESS_WRITE));
    assert_true(runs(&code, KIND_INSERT, "a_table", ACCESS_WRITE));
    assert_false(runs(&code, KIND_SELECT, "a_table", ACCESS_READ));
    assert_true(runs(&code, KIND_SELECT, "the_view", ACCESS_READ));
    assert_false(runs(&code, KIND_DDL, "x", ACCESS_DDL));
    table_code_close(&code);
}

static bool seeds(const struct table_code *code, const char *function, const char *table,
                  enum access access) {
    struct table_facts tables = {.name = table, .access = access};
    struct statement_facts facts = {.kind = KIND_SELECT,
                                    .functions = &function,
                                    .function_count = function != NULL ? 1 : 0,
                                    .tables = &tables,
                                    .table_count = table != NULL ? 1 : 0};
    return table_code_seeds(code, &facts);
}

static void what_seeds_random_numbers_is_told_apart(void **state) {
    (void)state;
    struct table_code code = {0};
    table_code_ask(&code, &me, 7, 1000);
    take(&code, "a_table", "f");
    take(&code, "a_table()", "f");
    take(&code, "another", "t");
    take(&code, "seeder()", "t");
    table_code_answered(&code, &me, true, 1000);
    assert_true(seeds(&code, "seeder", NULL, ACCESS_READ));
    assert_false(seeds(&code, "another", "another", ACCESS_WRITE));
    assert_true(seeds(&code, NULL, "a_table", ACCESS_WRITE));
    assert_false(seeds(&code, NULL, "a_table", ACCESS_READ));
    table_code_close(&code);
    code = learned();
    assert_false(seeds(&code, "seeder", "a_table", ACCESS_WRITE));
    table_code_close(&code);
}

static void an_event_trigger_is_run_by_any_ddl(void **state) {
    (void)state;
    struct table_code code = {0};
    table_code_ask(&code, &me, 7, 1000);
    take(&code, "", "t");
    table_code_answered(&code, &me, true, 1000);
    assert_true(runs(&code, KIND_DDL, "x", ACCESS_DDL));
    assert_false(runs(&code, KIND_INSERT, "x", ACCESS_WRITE));
    table_code_close(&code);
}

static void a_name_that_cannot_be_compared_stands_for_all(void **state) {
    (void)state;
    struct table_code code = {0};
    table_code_ask(&code, &me, 7, 1000);
    take(&code, NULL, "f");
    take(&code, "a_table", "f");
    table_code_answered(&code, &me, true, 1000);
    assert_true(runs(&code, KIND_SELECT, "x", ACCESS_READ));
    table_code_close(&code);
}

static void a_change_of_structure_makes_it_unknown(void **state) {
    (void)state;
    struct table_code code = learned();
    struct table_facts table = {.name = "x", .access = ACCESS_READ};
    struct statement_facts facts = {.kind = KIND_SELECT, .tables = &table, .table_count = 1};
    assert_false(table_code_may_run(&code, 7, &facts));
    assert_true(table_code_may_run(&code, 8, &facts));
    table_code_ask(&code, &me, 7, 3000); /* asked before the change, answered after it */
    take(&code, "1 2 3", NULL);
    table_code_answered(&code, &me, true, 3000);
    assert_true(table_code_may_run(&code, 8, &facts));
    table_code_close(&code);
}

static void it_is_asked_for_at_once_then_every_minute_and_after_changes(void **state) {
    (void)state;
    struct table_code code = {0};
    assert_true(table_code_is_due(&code, 7, 0));
    table_code_ask(&code, &me, 7, 1000);
    assert_false(table_code_is_due(&code, 7, 100000)); /* somebody asks already */
    table_code_answered(&code, &another, false, 1000); /* somebody else's end means nothing */
    assert_false(table_code_is_due(&code, 7, 100000));
    table_code_answered(&code, &me, true, 1000);
    assert_false(table_code_is_due(&code, 7, 60999));
    assert_true(table_code_is_due(&code, 7, 61000));
    assert_false(table_code_is_due(&code, 8, 1999)); /* a pause where there are many changes */
    assert_true(table_code_is_due(&code, 8, 2000));
    table_code_close(&code);
}

static void catalogs_that_are_what_they_were_are_not_asked_for_all(void **state) {
    (void)state;
    struct table_code code = {0};
    const char *all = table_code_ask(&code, &me, 7, 1000);
    table_code_answered(&code, &me, false, 1000);
    table_code_close(&code);
    code = learned();
    const char *signature = table_code_ask(&code, &me, 8, 3000);
    assert_true(strlen(signature) < strlen(all) / 2);
    assert_memory_equal(signature, all, strlen(signature));
    take(&code, "1 2 3", NULL);
    table_code_answered(&code, &me, true, 3000);
    struct table_facts table = {.name = "a_table", .access = ACCESS_WRITE};
    struct statement_facts facts = {.kind = KIND_INSERT, .tables = &table, .table_count = 1};
    assert_true(table_code_may_run(&code, 8, &facts));
    table.name = "x";
    assert_false(table_code_may_run(&code, 8, &facts));
    table_code_close(&code);
}

static void catalogs_that_changed_are_asked_for_all(void **state) {
    (void)state;
    struct table_code code = learned();
    table_code_ask(&code, &me, 7, 61000);
    take(&code, "1 2 4", NULL);
    table_code_answered(&code, &me, true, 61005);
    assert_true(runs(&code, KIND_SELECT, "x", ACCESS_READ)); /* every table counts again */
    assert_false(table_code_is_due(&code, 7, 61999));
    assert_true(table_code_is_due(&code, 7, 62000));
    const char *all = table_code_ask(&code, &me, 7, 62000);
    assert_non_null(strstr(all, "WITH RECURSIVE"));
    take(&code, "1 2 4", NULL);
    take(&code, "x", "t");
    table_code_answered(&code, &me, true, 62300); /* 0.3 s, so that it isn't asked for 6 s */
    assert_true(runs(&code, KIND_SELECT, "x", ACCESS_READ));
    assert_false(runs(&code, KIND_INSERT, "a_table", ACCESS_WRITE));
    assert_false(table_code_is_due(&code, 8, 67999));
    assert_true(table_code_is_due(&code, 8, 68000));
    table_code_close(&code);
}

static void what_could_not_be_answered_leaves_what_is_known(void **state) {
    (void)state;
    struct table_code code = learned();
    table_code_ask(&code, &me, 7, 70000);
    take(&code, "x", "t");
    table_code_answered(&code, &me, false, 70000);
    assert_true(runs(&code, KIND_SELECT, "the_view", ACCESS_READ));
    assert_false(runs(&code, KIND_SELECT, "x", ACCESS_READ));
    assert_false(table_code_is_due(&code, 8, 129999)); /* it may not be for long */
    assert_true(table_code_is_due(&code, 8, 130000));
    table_code_close(&code);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(before_anything_is_known_every_table_may_have_code),
        cmocka_unit_test(afterwards_only_those_that_were_named),
        cmocka_unit_test(what_seeds_random_numbers_is_told_apart),
        cmocka_unit_test(an_event_trigger_is_run_by_any_ddl),
        cmocka_unit_test(a_name_that_cannot_be_compared_stands_for_all),
        cmocka_unit_test(a_change_of_structure_makes_it_unknown),
        cmocka_unit_test(it_is_asked_for_at_once_then_every_minute_and_after_changes),
        cmocka_unit_test(catalogs_that_are_what_they_were_are_not_asked_for_all),
        cmocka_unit_test(catalogs_that_changed_are_asked_for_all),
        cmocka_unit_test(what_could_not_be_answered_leaves_what_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
