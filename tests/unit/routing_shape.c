/* Texts without their constants, and that one decision serves them only where no constant matters.
 */
#include "routing/shape.h"
#include "tests/unit/routing_session.h"

enum { SHAPE_MAX = 512 };

/* How many tokens it took, with lists token by token or passed over. */
static unsigned write_shape_by(const char *sql, bool skips, char out[SHAPE_MAX], bool *exists) {
    struct shape shape;
    struct lexer lexer;
    struct token token;
    unsigned count = 0;
    size_t length = strlen(sql);
    assert_true(shape_bound(length) <= SHAPE_MAX);
    shape_begin(&shape, out);
    lexer_init(&lexer, sql, length, true);
    do {
        lexer_next(&lexer, &token);
        shape_add(&shape, sql, &token);
        if (skips && shape_may_skip_list(&shape))
            lexer.position = shape_skip_list(&shape, sql, length, lexer.position);
        count++;
    } while (token.kind != TOKEN_END);
    assert_int_equal(shape.length, strlen(out));
    *exists = shape_exists(&shape);
    return count;
}

static bool write_shape(const char *sql, char out[SHAPE_MAX]) {
    char skipped[SHAPE_MAX];
    bool exists, exists_skipped;
    unsigned all = write_shape_by(sql, false, out, &exists);
    unsigned fewer = write_shape_by(sql, true, skipped, &exists_skipped);
    assert_true(fewer <= all);
    assert_int_equal(exists, exists_skipped);
    assert_string_equal(out, skipped);
    return exists;
}

/* Marks are given as \1. */
static void expect_shape(const char *sql, const char *expected) {
    char out[SHAPE_MAX];
    assert_true(write_shape(sql, out));
    assert_string_equal(out, expected);
}

static void expect_none(const char *sql) {
    char out[SHAPE_MAX];
    if (write_shape(sql, out))
        fail_msg("%s has the shape %s", sql, out);
}

static void numbers_and_strings_become_marks(void **unused) {
    (void)unused;
    expect_shape("SELECT a FROM b WHERE c = 12 AND d='x\'\'y'",
                 "SELECT a FROM b WHERE c = \1 AND d=\1");
    expect_shape("SELECT E'\\'' + $$a;b$$ + 1.5e-3 + B'01' + x'ff' + 'a'\n'b' + 1. + .5",
                 "SELECT \1 + \1 + \1 + \1 + \1 + \1 + \1 + \1");
    expect_shape("SELECT 'x'FROM a", "SELECT \1FROM a");
}

static void lists_and_rows_become_one(void **unused) {
    (void)unused;
    expect_shape("SELECT 1 FROM a WHERE b IN (1,2 , 'c',4)", "SELECT \1 FROM a WHERE b IN (\1)");
    expect_shape("SELECT 1 /* c */, /* d */ 2 FROM a", "SELECT \1 FROM a");
    expect_shape("INSERT INTO a VALUES (1,'x'), (2,'y') ,(3,'z') RETURNING 1",
                 "INSERT INTO a VALUES (\1) RETURNING \1");
}

static void plain_lists_and_rows_are_passed_over(void **unused) {
    (void)unused;
    static const struct {
        const char *sql;
        unsigned tokens; /* with what ends the text */
    } texts[] = {
        {"SELECT 1 IN (1, 22,'a' ,'\xc3\xa4',5 )", 7},
        {"VALUES (1,'x'), (2,'y') ,( 3 , 'z' ),(4)", 5},
        {"VALUES (1,'x'),(2,'y''z'),(3,'z')", 5 + 6},
        {"VALUES (1),(2),(-3)", 5 + 5},
        {"SELECT 1,2.5,3,4)", 2 + 2 + 2},
        {"SELECT 1,2 3", 6},
        {"SELECT 1, 'a'\n'b'", 5},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char out[SHAPE_MAX];
        bool exists;
        unsigned count = write_shape_by(texts[i].sql, true, out, &exists);
        if (count != texts[i].tokens)
            fail_msg("%s: %u tokens", texts[i].sql, count);
        (void)write_shape(texts[i].sql, out);
    }
}

static void what_is_no_list_of_constants_stays(void **unused) {
    (void)unused;
    expect_shape("SELECT (1,a),(2,b)", "SELECT (\1,a),(\1,b)");
    expect_shape("SELECT (1,2),(3,b)", "SELECT (\1),(\1,b)");
    expect_shape("SELECT (1),b,(2,)", "SELECT (\1),b,(\1,)");
    expect_shape("SELECT 1,-2", "SELECT \1,-\1");
    expect_shape("SELECT 1 /* database: ci */, 2", "SELECT \1 /* database: ci */, \1");
}

static void names_parameters_operators_and_hints_stay(void **unused) {
    (void)unused;
    expect_shape("SELECT \"A\".b1 FROM \"A\" WHERE c=$1 AND d=2",
                 "SELECT \"A\".b1 FROM \"A\" WHERE c=$1 AND d=\1");
    expect_shape("/* database: ci */ SELECT 1 /* id:5 */ -- 7", "/* database: ci */ SELECT \1    ");
    expect_shape("SELECT a ? 'b' FROM c", "SELECT a ? \1 FROM c");
    expect_shape("SELECT a/**/b, 1", "SELECT a b, \1");
}

static void a_text_without_constants_has_no_shape(void **unused) {
    (void)unused;
    expect_none("SELECT a FROM b");
    expect_none("SELECT $1");
}

static void a_text_that_is_cut_short_has_no_shape(void **unused) {
    (void)unused;
    expect_none("SELECT 'a");
    expect_none("SELECT 1 /*");
    expect_none("SELECT 1, \"a");
    expect_none("SELECT 1, $$a");
}

static void what_servers_read_in_several_ways_has_no_shape(void **unused) {
    (void)unused;
    static const char *const texts[] = {"SELECT 1from ci_builds",
                                        "SELECT 1.from ci_builds",
                                        "SELECT 1e",
                                        "SELECT 1e5a",
                                        "SELECT 1_000",
                                        "SELECT 0x10",
                                        "SELECT 0b1"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        expect_none(texts[i]);
}

static void a_name_that_a_constant_changes_has_no_shape(void **unused) {
    (void)unused;
    expect_none("SELECT 1 FROM U&\"ci!005fbuilds\" UESCAPE '!'");
    expect_none("SELECT u&'d!0061' UESCAPE '!'");
}

static void a_text_with_a_mark_of_its_own_has_no_shape(void **unused) {
    (void)unused;
    expect_none("SELECT \1 FROM a WHERE b = 1");
    expect_shape("SELECT \"\1\" FROM a WHERE b = 1", "SELECT \"\1\" FROM a WHERE b = \1");
}

static struct query *look_up(struct router *router, const char *sql) {
    struct lexing lexing = {.standard_conforming_strings = true};
    struct query *query = NULL;
    struct error error = {{0}};
    assert_true(router_query_shape(router, sql, strlen(sql), &lexing, true, &query, &error));
    return query;
}

static void one_decision_serves_texts_that_differ_in_constants(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    struct router *router = router_new(f.settings, 1 << 20);
    struct query *first = look_up(router, "SELECT 1 FROM ci_builds WHERE id = 1 -- a");
    struct query *second = look_up(router, "SELECT 1 FROM ci_builds WHERE id = 22 -- again");
    struct query *third = look_up(router, "SELECT 1 FROM ci_builds WHERE id = '3' /* 3 */");
    assert_true(first->is_shape);
    assert_true(second->is_shape);
    assert_ptr_equal(second, third); /* the second time it is kept */
    assert_string_equal(third->statements[0].facts->tables[0].name, "ci_builds");
    query_unref(first);
    query_unref(second);
    query_unref(third);
    router_free(router);
    fixture_close(&f);
}

/* The server is sent the text of a part, so who asks for the text itself must not get the shape's
 * query, which has none. */
static void
a_text_that_comes_again_and_again_is_served_by_its_shape_only_to_who_asks_for_that(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    struct router *router = router_new(f.settings, 1 << 20);
    static const char sql[] = "SELECT 1 FROM ci_builds WHERE id = 1";
    struct lexing lexing = {.standard_conforming_strings = true};
    struct error error = {{0}};
    query_unref(look_up(router, sql));
    struct query *kept = look_up(router, sql);
    for (int i = 0; i < 3; i++) {
        struct query *again = look_up(router, sql);
        assert_ptr_equal(again, kept);
        query_unref(again);
    }
    struct query *own = NULL;
    assert_true(router_query(router, sql, strlen(sql), &lexing, true, &own, &error));
    assert_string_equal(own->text, sql);
    query_unref(own);
    query_unref(kept);
    router_free(router);
    fixture_close(&f);
}

static void a_query_that_serves_many_texts_has_none_itself(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    struct router *router = router_new(f.settings, 1 << 20);
    struct query *query = look_up(router, "SELECT 1 FROM ci_builds WHERE token = 'secret'");
    assert_string_equal(query->text, "");
    assert_int_equal(query->length, 0);
    assert_int_equal(query->statements[0].facts->start, 0);
    assert_int_equal(query->statements[0].facts->length, 0);
    assert_int_equal(query->statements[0].facts->tables[0].position, -1);
    query_unref(query);
    router_free(router);
    fixture_close(&f);
}

static void bytes_that_are_no_text_are_refused_whatever_the_shape(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    struct router *router = router_new(f.settings, 1 << 20);
    for (int i = 0; i < 3; i++)
        query_unref(look_up(router, "SELECT 1 FROM ci_builds WHERE id = 'a'"));
    static const char sql[] = "SELECT 1 FROM ci_builds WHERE id = '\xff'";
    struct lexing lexing = {.standard_conforming_strings = true};
    struct query *query = NULL;
    struct error error = {{0}};
    assert_false(router_query_shape(router, sql, strlen(sql), &lexing, true, &query, &error));
    router_free(router);
    fixture_close(&f);
}

/* Statements that differ in constants only, of which the second names a table by one. */
static void constants_that_name_tables_are_never_served_by_another(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    static const char *const pairs[][2] = {
        {"SELECT nextval('projects_id_seq')", "SELECT nextval('ci_builds_id_seq')"},
        {"SELECT nextval('not a name')", "SELECT nextval('ci_builds_id_seq')"},
        {"SELECT 'projects'::regclass", "SELECT 'ci_builds'::regclass"},
        {"SELECT '1 2'::regclass", "SELECT 'ci_builds'::regclass"},
        {"SELECT CAST('' AS regclass)", "SELECT CAST('ci_builds' AS regclass)"},
        {"SELECT to_regclass('x y')", "SELECT to_regclass('ci_builds')"},
        {"SELECT pg_table_size('x y')", "SELECT pg_table_size('ci_builds')"},
        {"SELECT has_table_privilege('x y', 'select')",
         "SELECT has_table_privilege('ci_builds', 'select')"},
        {"SELECT query_to_xml('select 1', true, true, '')",
         "SELECT query_to_xml('select * from ci_builds', true, true, '')"},
        {"SELECT 1 FROM pg_class WHERE relname = 'x'",
         "SELECT 1 FROM pg_class WHERE relname = 'ci_builds'"},
        {"SELECT set_config('a.b', 'x', false)",
         "SELECT set_config('pginterlock.database', 'ci', false)"},
        {"INSERT INTO ci_builds VALUES (nextval(''))",
         "INSERT INTO ci_builds VALUES (nextval('projects_id_seq'))"},
        {"DO $$ BEGIN PERFORM 1; END $$", "DO $$ BEGIN DELETE FROM ci_builds; END $$"},
        {"SET a.b = 'x'", "SET a.b = 'y'"},
        {"EXPLAIN SELECT 1", "EXPLAIN SELECT 2"},
        {"SELECT table_to_xml('x y', true, true, '')",
         "SELECT table_to_xml('ci_builds', true, true, '')"},
        {"SELECT * FROM regclass('x y')", "SELECT * FROM regclass('ci_builds')"},
        {"SELECT ARRAY['', 'x']::regclass[]", "SELECT ARRAY['', 'ci_builds']::regclass[]"},
        {"SELECT regclass 'x y'", "SELECT regclass 'ci_builds'"},
        {"SELECT has_table_privilege('x')", "SELECT has_table_privilege('ci_builds', 'select')"},
        {"SELECT has_column_privilege('x y', 'select')",
         "SELECT has_column_privilege('ci_builds', 'id', 'select')"},
        {"SELECT 1 INTO TEMP x", "SELECT 2 INTO TEMP x"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct router *router = router_new(f.settings, 1 << 20);
        for (int again = 0; again < 3; again++) {
            struct query *query = look_up(router, pairs[i][0]);
            if (query->is_shape)
                fail_msg("%s has a shape, also that of %s", pairs[i][0], pairs[i][1]);
            query_unref(query);
        }
        struct query *second = look_up(router, pairs[i][1]);
        if (second->is_shape)
            fail_msg("%s serves %s", pairs[i][0], pairs[i][1]);
        query_unref(second);
        router_free(router);
    }
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_strings_become_marks),
        cmocka_unit_test(lists_and_rows_become_one),
        cmocka_unit_test(plain_lists_and_rows_are_passed_over),
        cmocka_unit_test(what_is_no_list_of_constants_stays),
        cmocka_unit_test(names_parameters_operators_and_hints_stay),
        cmocka_unit_test(a_text_without_constants_has_no_shape),
        cmocka_unit_test(a_text_that_is_cut_short_has_no_shape),
        cmocka_unit_test(what_servers_read_in_several_ways_has_no_shape),
        cmocka_unit_test(a_name_that_a_constant_changes_has_no_shape),
        cmocka_unit_test(a_text_with_a_mark_of_its_own_has_no_shape),
        cmocka_unit_test(one_decision_serves_texts_that_differ_in_constants),
        cmocka_unit_test(
            a_text_that_comes_again_and_again_is_served_by_its_shape_only_to_who_asks_for_that),
        cmocka_unit_test(a_query_that_serves_many_texts_has_none_itself),
        cmocka_unit_test(bytes_that_are_no_text_are_refused_whatever_the_shape),
        cmocka_unit_test(constants_that_name_tables_are_never_served_by_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
