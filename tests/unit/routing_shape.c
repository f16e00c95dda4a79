/* Texts without their constants, and that one decision serves them only where no constant matters. */
#include "routing/shape.h"
#include "tests/unit/routing_session.h"

static void expect_shape(const char *sql, const char *shape) {
    char out[512];
    size_t length = 0;
    assert_true(shape_bound(strlen(sql)) <= sizeof out);
    assert_true(shape_write(sql, strlen(sql), true, out, &length));
    assert_string_equal(out, shape);
    assert_int_equal(length, strlen(shape));
}

static void numbers_and_strings_become_marks(void **unused) {
    (void)unused;
    expect_shape("SELECT a FROM b WHERE c = 12 AND d='x''y'", "SELECT a FROM b WHERE c = ? AND d = ? ");
    expect_shape("SELECT E'\\'', $$a;b$$, 1.5e3, B'01', x'ff', U&'d'", "SELECT ? ");
}

static void lists_and_rows_become_one(void **unused) {
    (void)unused;
    expect_shape("SELECT 1 FROM a WHERE b IN (1,2,3,4)", "SELECT ? FROM a WHERE b IN ( ? ) ");
    expect_shape("INSERT INTO a VALUES (1,'x'),(2,'y'),(3,'z')", "INSERT INTO a VALUES ( ? ) ");
}

static void names_parameters_and_hints_stay(void **unused) {
    (void)unused;
    expect_shape("SELECT \"A\".b1 FROM \"A\" WHERE c=$1 AND d=2", "SELECT \"A\" . b1 FROM \"A\" WHERE c = $1 AND d = ? ");
    expect_shape("/* database: ci */ SELECT 1 /* id:5 */ -- 7", "/* database: ci */ SELECT ? ");
}

static void a_text_without_constants_has_no_shape(void **unused) {
    (void)unused;
    char out[64];
    size_t length;
    const char *const texts[] = {"SELECT a FROM b", "SELECT 'a", "SELECT 1 /*", "SELECT $1"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_false(shape_write(texts[i], strlen(texts[i]), true, out, &length));
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
    struct query *first = look_up(router, "SELECT 1 FROM ci_builds WHERE id = 1");
    struct query *second = look_up(router, "SELECT 1 FROM ci_builds WHERE id = 22 -- again");
    struct query *third = look_up(router, "SELECT 1 FROM ci_builds WHERE id = '3'");
    assert_false(first->is_shape);
    assert_true(second->is_shape);
    assert_ptr_equal(second, third);
    assert_string_equal(second->statements[0].facts->tables[0].name, "ci_builds");
    query_unref(first);
    query_unref(second);
    query_unref(third);
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
        {"SELECT has_table_privilege('x y', 'select')", "SELECT has_table_privilege('ci_builds', 'select')"},
        {"SELECT query_to_xml('select 1', true, true, '')",
         "SELECT query_to_xml('select * from ci_builds', true, true, '')"},
        {"SELECT 1 FROM pg_class WHERE relname = 'x'", "SELECT 1 FROM pg_class WHERE relname = 'ci_builds'"},
        {"SELECT set_config('a.b', 'x', false)", "SELECT set_config('pginterlock.database', 'ci', false)"},
        {"INSERT INTO ci_builds VALUES (nextval(''))", "INSERT INTO ci_builds VALUES (nextval('projects_id_seq'))"},
        {"DO $$ BEGIN PERFORM 1; END $$", "DO $$ BEGIN DELETE FROM ci_builds; END $$"},
        {"SET a.b = 'x'", "SET a.b = 'y'"},
        {"EXPLAIN SELECT 1", "EXPLAIN SELECT 2"},
        {"SELECT table_to_xml('x y', true, true, '')", "SELECT table_to_xml('ci_builds', true, true, '')"},
        {"SELECT * FROM regclass('x y')", "SELECT * FROM regclass('ci_builds')"},
        {"SELECT ARRAY['', 'x']::regclass[]", "SELECT ARRAY['', 'ci_builds']::regclass[]"},
        {"SELECT regclass 'x y'", "SELECT regclass 'ci_builds'"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct router *router = router_new(f.settings, 1 << 20);
        struct query *first = look_up(router, pairs[i][0]);
        struct query *second = look_up(router, pairs[i][1]);
        if (second->is_shape)
            fail_msg("%s serves %s", pairs[i][0], pairs[i][1]);
        query_unref(first);
        query_unref(second);
        router_free(router);
    }
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_strings_become_marks),
        cmocka_unit_test(lists_and_rows_become_one),
        cmocka_unit_test(names_parameters_and_hints_stay),
        cmocka_unit_test(a_text_without_constants_has_no_shape),
        cmocka_unit_test(one_decision_serves_texts_that_differ_in_constants),
        cmocka_unit_test(constants_that_name_tables_are_never_served_by_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
