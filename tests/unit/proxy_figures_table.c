/* Tables of figures: rows in and out, tables of several workers made one, and the messages. */
#include "proxy/figures_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct figure_column columns[] = {
    {"name", FIGURE_TEXT, MERGE_KEY},           {"kind", FIGURE_TEXT, MERGE_KEY},
    {"count", FIGURE_NUMBER, MERGE_SUM},        {"wait", FIGURE_NUMBER, MERGE_MAX},
    {"wait_us", FIGURE_NUMBER, MERGE_WITH_MAX}, {"note", FIGURE_TEXT, MERGE_FIRST},
};
enum { COLUMNS = sizeof columns / sizeof columns[0] };
static const struct figures_kind merged = {columns, COLUMNS, true};
static const struct figures_kind listed = {columns, COLUMNS, false};

static void add(struct figures_table *table, const char *name, const char *kind, int64_t count,
                int64_t wait, int64_t wait_us) {
    const struct figure row[COLUMNS] = {figure_text(name),      figure_text(kind),
                                        figure_number(count),   figure_number(wait),
                                        figure_number(wait_us), figure_unknown()};
    figures_table_add(table, row);
}

static void expect(const struct figures_table *table, size_t *at, const char *name,
                   const char *kind, int64_t count, int64_t wait, int64_t wait_us) {
    struct figure row[FIGURES_COLUMNS_MAX];
    assert_true(figures_table_next(table, at, row));
    assert_string_equal(row[0].text, name);
    assert_string_equal(row[1].text, kind);
    assert_int_equal(row[2].number, count);
    assert_int_equal(row[3].number, wait);
    assert_int_equal(row[4].number, wait_us);
    assert_false(row[5].known);
}

static void expect_end(const struct figures_table *table, size_t *at) {
    struct figure row[FIGURES_COLUMNS_MAX];
    assert_false(figures_table_next(table, at, row));
}

static void rows_come_out_as_they_went_in(void **state) {
    (void)state;
    struct figures_table table = {.kind = &listed};
    size_t at = 0;
    expect_end(&table, &at);
    add(&table, "b", "", -1, INT64_MAX, INT64_MIN);
    add(&table, "a", "x", 2, 3, 4);
    expect(&table, &at, "b", "", -1, INT64_MAX, INT64_MIN);
    expect(&table, &at, "a", "x", 2, 3, 4);
    expect_end(&table, &at);
    figures_table_close(&table);
}

static void rows_of_several_tables_stand_behind_each_other(void **state) {
    (void)state;
    struct figures_table all = {.kind = &listed}, one = {.kind = &listed}, two = {.kind = &listed};
    struct figures_table none = {.kind = &listed};
    add(&one, "z", "1", 1, 0, 0);
    add(&two, "a", "2", 2, 0, 0);
    add(&two, "a", "2", 3, 0, 0);
    figures_table_take(&all, &none);
    figures_table_take(&all, &one);
    figures_table_take(&all, &two);
    figures_table_merge(&all); /* not for this kind */
    size_t at = 0;
    expect(&all, &at, "z", "1", 1, 0, 0);
    expect(&all, &at, "a", "2", 2, 0, 0);
    expect(&all, &at, "a", "2", 3, 0, 0);
    expect_end(&all, &at);
    assert_int_equal(all.row_count, 3);
    assert_int_equal(one.row_count + two.row_count, 0);
    figures_table_close(&all);
}

static void rows_with_equal_keys_become_one(void **state) {
    (void)state;
    struct figures_table table = {.kind = &merged};
    add(&table, "main", "b", 1, 0, 0);
    add(&table, "ci", "a", 10, 0, 0);
    add(&table, "main", "a", 2, 0, 0);
    add(&table, "main", "b", 3, 0, 0);
    add(&table, "main", "b", 4, 0, 0);
    figures_table_merge(&table);
    size_t at = 0;
    expect(&table, &at, "ci", "a", 10, 0, 0);
    expect(&table, &at, "main", "a", 2, 0, 0);
    expect(&table, &at, "main", "b", 8, 0, 0);
    expect_end(&table, &at);
    figures_table_close(&table);
}

static void the_longest_wait_is_seconds_and_the_rest_of_one_row(void **state) {
    (void)state;
    static const int64_t waits[][2] = {{1, 900}, {3, 100}, {2, 999}, {3, 200}, {0, 5}};
    struct figures_table table = {.kind = &merged};
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++)
        add(&table, "main", "a", 0, waits[i][0], waits[i][1]);
    figures_table_merge(&table);
    size_t at = 0;
    expect(&table, &at, "main", "a", 0, 3, 200);
    figures_table_close(&table);
}

static void texts_of_strangers_are_made_valid_and_cut_off(void **state) {
    (void)state;
    struct figures_table table = {.kind = &listed};
    char text[2 * FIGURES_TEXT_MAX + 2] = "x";
    for (size_t i = 1; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa4", 2); /* so that the limit is within a character */
    add(&table, text, "\xff\xc3(", 0, 0, 0);
    struct figure row[FIGURES_COLUMNS_MAX];
    size_t at = 0;
    assert_true(figures_table_next(&table, &at, row));
    assert_int_equal(strlen(row[0].text), FIGURES_TEXT_MAX - 1);
    assert_memory_equal(row[0].text, text, FIGURES_TEXT_MAX - 1);
    assert_string_equal(row[1].text, "__(");
    figures_table_close(&table);
}

static void a_row_is_sent_as_text_or_binary(void **state) {
    (void)state;
    static const struct figure_column two[] = {{"n", FIGURE_NUMBER, MERGE_FIRST},
                                               {"t", FIGURE_TEXT, MERGE_FIRST}};
    static const struct figures_kind kind = {two, 2, false};
    const bool binary[] = {true, false};
    const struct figure row[] = {figure_number(-2), figure_text("é")}, nothing[2] = {{0}};
    struct wire_buffer out = {0};
    figures_put_row(&out, &kind, row, NULL);
    assert_int_equal(out.length, 19);
    assert_memory_equal(out.data, "D\0\0\0\x12\0\2\0\0\0\2-2\0\0\0\2\xc3\xa9", 19);
    out.length = 0;
    figures_put_row(&out, &kind, row, binary);
    assert_memory_equal(
        out.data, "D\0\0\0\x18\0\2\0\0\0\10\xff\xff\xff\xff\xff\xff\xff\xfe\0\0\0\2\xc3\xa9", 25);
    out.length = 0;
    figures_put_row(&out, &kind, nothing, NULL);
    assert_memory_equal(out.data, "D\0\0\0\xe\0\2\xff\xff\xff\xff\xff\xff\xff\xff", 15);
    out.length = 0;
    figures_put_description(&out, &kind, binary);
    assert_memory_equal(out.data,
                        "T\0\0\0\x2e\0\2n\0\0\0\0\0\0\0\0\0\0\x14\0\x8\xff\xff\xff\xff\0\1"
                        "t\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0",
                        47);
    wire_buffer_close(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_out_as_they_went_in),
        cmocka_unit_test(rows_of_several_tables_stand_behind_each_other),
        cmocka_unit_test(rows_with_equal_keys_become_one),
        cmocka_unit_test(the_longest_wait_is_seconds_and_the_rest_of_one_row),
        cmocka_unit_test(texts_of_strangers_are_made_valid_and_cut_off),
        cmocka_unit_test(a_row_is_sent_as_text_or_binary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
