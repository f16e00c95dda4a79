/* Statements without their constants: what makes two of them one, and that no literal survives. */
#include "routing/fingerprint.h"
#include "routing/shape.h"
#include "tests/unit/routing_session.h"

static const struct lexing conforming = {.standard_conforming_strings = true};

static void expect_normalized(const char *sql, const char *expected) {
    char *normalized = statement_normalize(sql, strlen(sql), &conforming);
    assert_string_equal(normalized, expected);
    free(normalized);
}

static void constants_become_one_mark(void **unused) {
    (void)unused;
    expect_normalized("SELECT a FROM b WHERE c = 12 AND d='x''y'",
                      "select a from b where c = ? and d = ?");
    expect_normalized("SELECT E'\\'', $$a;b$$, $t$x$t$, 1.5e-3, B'01', x'ff', N'n', U&'d!0061'",
                      "select ?");
    expect_normalized("SELECT a FROM b WHERE c = $1 AND d = 'a'\n 'b'",
                      "select a from b where c = ? and d = ?");
    expect_normalized("SELECT 1from ci_builds", "select ? ci_builds");
}

static void lists_and_rows_become_one(void **unused) {
    (void)unused;
    expect_normalized("SELECT a FROM b WHERE c IN (1,2 , 'c',$4)",
                      "select a from b where c in (?)");
    expect_normalized("INSERT INTO a (b,c) VALUES (1,'x'), (2,'y'),(3,'z')",
                      "insert into a (b, c) values (?)");
    expect_normalized("VALUES (1::bigint, now()), (2::bigint, now()), (3, now())",
                      "values (?::bigint, now ()), (?, now ())");
    expect_normalized("VALUES ((1,2),(3,4)), ((5,6),(7,8))", "values ((?))");
}

static void what_is_no_repetition_stays(void **unused) {
    (void)unused;
    expect_normalized("SELECT (1,a),(2,b)", "select (?, a), (?, b)");
    expect_normalized("SELECT 1 + 2, (a) - (a)", "select ? + ?, (a) - (a)");
    expect_normalized(")(,(),)", ") (, (),)");
}

static void a_sign_belongs_to_its_number_where_no_operand_precedes_it(void **unused) {
    (void)unused;
    expect_normalized("SELECT -1, a - 1, a=-1, (-1), (a)-1, b WHERE b > - 1 LIMIT +1",
                      "select ?, a - ?, a = ?, (?), (a) - ?, b where b > ? limit ?");
    expect_normalized("SELECT a BETWEEN -1 AND -2, b @- 1, c=+-1",
                      "select a between ? and ?, b @- ?, c = ?");
    expect_normalized("VALUES (1, -2), (-1, 3)", "values (?)");
}

static void null_true_false_and_default_are_constants_where_a_value_stands(void **unused) {
    (void)unused;
    expect_normalized("INSERT INTO a VALUES (1, NULL), (DEFAULT, TRUE), (false, 'x')",
                      "insert into a values (?)");
    expect_normalized("UPDATE a SET b = NULL WHERE c IS NULL AND d IS NOT TRUE",
                      "update a set b = ? where c is null and d is not true");
    expect_normalized("INSERT INTO a DEFAULT VALUES", "insert into a default values");
}

static void white_space_comments_and_case_do_not_matter(void **unused) {
    (void)unused;
    expect_normalized("/* a */ select  A . B,count(*)from/**/c -- d\n where e::TEXT=f [ 1 ] ;",
                      "select a.b, count (*) from c where e::text = f[?]");
    expect_normalized("SELECT a.b, COUNT (*) FROM c WHERE e :: text = f[1]",
                      "select a.b, count (*) from c where e::text = f[?]");
    expect_normalized("SELECT \"A b\".C FROM \"A b\"", "select \"A b\".c from \"A b\"");
}

static void the_name_that_a_driver_makes_up_does_not_matter(void **unused) {
    (void)unused;
    expect_normalized("PREPARE a17 (int) AS SELECT $1", "prepare ? (int) as select ?");
    expect_normalized("DECLARE \"c_1f\" CURSOR FOR SELECT 1", "declare ? cursor for select ?");
    expect_normalized("PREPARE TRANSACTION 'x'", "prepare transaction ?");
}

static void what_is_cut_short_is_a_constant(void **unused) {
    (void)unused;
    expect_normalized("SELECT 'secret", "select ?");
    expect_normalized("SELECT a $$secret", "select a ?");
    expect_normalized("SELECT a \"b FROM c WHERE d = 'secret'", "select a ?");
    expect_normalized("SELECT 1 /* secret", "select ?");
    expect_normalized("", "");
    expect_normalized(" ; ;", "");
}

static void strings_end_where_the_server_says(void **unused) {
    (void)unused;
    static const struct lexing escaping = {.standard_conforming_strings = false};
    const char *sql = "SELECT 'a\\' secret', b";
    char *normalized = statement_normalize(sql, strlen(sql), &escaping);
    assert_string_equal(normalized, "select ?, b");
    free(normalized);
}

static struct query *look_up(struct router *router, const char *sql, bool as_shape) {
    struct query *query = NULL;
    struct error error = {{0}};
    if (as_shape) {
        assert_true(
            router_query_shape(router, sql, strlen(sql), &conforming, true, &query, &error));
    } else {
        assert_true(router_query(router, sql, strlen(sql), &conforming, true, &query, &error));
    }
    return query;
}

static void a_shape_and_its_texts_have_the_same_normalized_text(void **unused) {
    (void)unused;
    static const char *const texts[] = {
        "SELECT 1 FROM ci_builds WHERE id = 1",
        "SELECT * FROM ci_builds WHERE id IN (1, 2, -3, NULL, 5)",
        "SELECT -1, +2, - - 3 FROM ci_builds WHERE id=-1 AND a=$1 AND b IN ($2, 3)",
        "INSERT INTO ci_builds (a, b) VALUES (1, NULL), (2, 'x'), (DEFAULT, TRUE), (-3, 'y')",
        "INSERT INTO ci_builds VALUES (1, now()), (2, now()), ('3'::int, now())",
        "/* database: ci */ SELECT 1 /* database: ci */, 2 /* x */ FROM ci_builds -- y",
        ";;SELECT 1 FROM projects ;; /* a */ ; UPDATE ci_builds SET a = 'x;y', b = 2;"
        "DELETE FROM issues WHERE id = 3; ",
        "SELECT 'x'FROM ci_builds WHERE a[1:2] = ARRAY[1,2]::int [ ] AND b?'c' AND d @- 1",
        "MERGE INTO ci_builds b USING (VALUES (1, 2), (3, 4)) v (x, y) ON b.id = v.x "
        "WHEN MATCHED THEN UPDATE SET a = v.y + 1 WHEN NOT MATCHED THEN INSERT VALUES (1, 2)",
        "SELECT (1, 2), (3, a), (4, a), ((1), (2)), coalesce(1), (2) FROM ci_builds",
        "SELECT 1 FROM \"ci_builds\" B WHERE B.\"Id\" BETWEEN - 1 AND 5.5 OFFSET 1 LIMIT 2",
        "SELECT interval '1 day', DATE '2020-01-01', 1.::int FROM ci_builds, issues",
    };
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    struct router *router = router_new(f.settings, 1 << 20);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct query *shape = look_up(router, texts[i], true);
        struct query *exact = look_up(router, texts[i], false);
        struct query *other = query_reclassify(shape, f.settings);
        assert_true(shape->is_shape);
        assert_int_equal(shape->count, exact->count);
        for (size_t j = 0; j < shape->count; j++) {
            char *of_shape = statement_normalized_text(&shape->statements[j]);
            char *of_text = statement_normalized_text(&exact->statements[j]);
            char *of_other = statement_normalized_text(&other->statements[j]);
            assert_string_equal(of_shape, of_text);
            assert_string_equal(of_other, of_text);
            assert_true(strlen(of_text) > 10);
            free(of_shape);
            free(of_text);
            free(of_other);
        }
        query_unref(shape);
        query_unref(exact);
        query_unref(other);
    }
    router_free(router);
    fixture_close(&f);
}

static void tables_named_by_constants_tell_statements_apart(void **unused) {
    (void)unused;
    static const struct {
        const char *sql, *expected;
    } cases[] = {
        {"DO $$ BEGIN DELETE FROM ci_builds; DELETE FROM issues; END $$",
         "do ? /* ci_builds, issues */"},
        {"DO $$ BEGIN PERFORM 'secret'; END $$", "do ?"},
        {"SELECT nextval('ci_builds_id_seq')", "select nextval (?) /* ci_builds_id_seq */"},
        {"SELECT nextval('secret')", "select nextval (?)"},
    };
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    struct router *router = router_new(f.settings, 1 << 20);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct query *query = look_up(router, cases[i].sql, false);
        char *normalized = statement_normalized_text(&query->statements[0]);
        assert_string_equal(normalized, cases[i].expected);
        free(normalized);
        query_unref(query);
    }
    router_free(router);
    fixture_close(&f);
}

/* Allowlists are kept for years: these never change. */
static void fingerprints_are_stable(void **unused) {
    (void)unused;
    char fingerprint[FINGERPRINT_LENGTH + 1];
    fingerprint_make(RULE_CROSS_JOIN, "select ?", fingerprint);
    assert_string_equal(fingerprint, "046a8026d1a91397");
    fingerprint_make(RULE_CROSS_TRANSACTION, "select ?", fingerprint);
    assert_string_equal(fingerprint, "319f732f067db484");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constants_become_one_mark),
        cmocka_unit_test(lists_and_rows_become_one),
        cmocka_unit_test(what_is_no_repetition_stays),
        cmocka_unit_test(a_sign_belongs_to_its_number_where_no_operand_precedes_it),
        cmocka_unit_test(null_true_false_and_default_are_constants_where_a_value_stands),
        cmocka_unit_test(white_space_comments_and_case_do_not_matter),
        cmocka_unit_test(the_name_that_a_driver_makes_up_does_not_matter),
        cmocka_unit_test(what_is_cut_short_is_a_constant),
        cmocka_unit_test(strings_end_where_the_server_says),
        cmocka_unit_test(a_shape_and_its_texts_have_the_same_normalized_text),
        cmocka_unit_test(tables_named_by_constants_tell_statements_apart),
        cmocka_unit_test(fingerprints_are_stable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
