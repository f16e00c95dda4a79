/* Texts that are a known one but for whole numbers and plain strings. */
#include "routing/patterns.h"
#include "tests/unit/routing_session.h"

static struct query query = {.references = 1};

static void offer(struct patterns *patterns, const char *sql, bool conforming, unsigned flags) {
    struct lexing lexing = {.standard_conforming_strings = conforming};
    patterns_offer(patterns, sql, strlen(sql), &lexing, flags, &query);
}

static bool fits(const char *known, const char *sql) {
    struct patterns *patterns = patterns_new();
    offer(patterns, known, true, 0);
    bool found = patterns_find(patterns, sql, strlen(sql), 0) == &query;
    patterns_free(patterns);
    return found;
}

static void other_numbers_and_strings_fit(void **unused) {
    (void)unused;
    assert_true(fits("SELECT a FROM b WHERE c = 12", "SELECT a FROM b WHERE c = 7"));
    assert_true(fits("SELECT 1", "SELECT 123456789012345678901234567890"));
    assert_true(fits("SELECT a FROM b WHERE c = 'x' AND d IN (1,2)",
                     "SELECT a FROM b WHERE c = '' AND d IN (33,0)"));
    assert_true(fits("INSERT INTO a VALUES (1,'x'),(2,'y') RETURNING b /* 3 */",
                     "INSERT INTO a VALUES (9,'long -- and /* odd'),(8,'$$') RETURNING b /* 3 */"));
}

static void other_bytes_elsewhere_do_not_fit(void **unused) {
    (void)unused;
    static const char known[] = "SELECT a FROM b WHERE c = 12 AND d = 'x' ORDER BY e";
    static const char *const texts[] = {
        "SELECT A FROM b WHERE c = 12 AND d = 'x' ORDER BY e",
        "SELECT a FROM b WHERE c = 12 AND d = 'x' ORDER BY f",
        "SELECT a FROM b WHERE c = 12 AND d = 'x' ORDER BY e ",
        "SELECT a FROM b WHERE c = 12 AND d = 'x' ORDER BY",
        "SELECT a FROM b WHERE c = 12  AND d = 'x' ORDER BY e",
        "SELECT a FROM b WHERE c = -12 AND d = 'x' ORDER BY e",
        "SELECT a FROM b WHERE c = 12 OR d = 'x' ORDER BY e",
        "SELECT a FROM b WHERE c = 12",
        "SELECT a",
        "",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (fits(known, texts[i]))
            fail_msg("%s", texts[i]);
}

static void constants_of_another_kind_do_not_fit(void **unused) {
    (void)unused;
    assert_false(fits("SELECT 1 FROM a", "SELECT '1' FROM a"));
    assert_false(fits("SELECT '1' FROM a", "SELECT 1 FROM a"));
    assert_false(fits("SELECT 1 FROM a", "SELECT  FROM a"));
    assert_false(fits("SELECT 1 FROM a", "SELECT 1.5 FROM a"));
    assert_false(fits("SELECT 1 FROM a", "SELECT 1e5 FROM a"));
    assert_false(fits("SELECT 1 FROM a", "SELECT 0x1 FROM a"));
}

/* What a string may hide: its end, an escape, bytes that are no text. */
static void strings_that_need_a_closer_look_do_not_fit(void **unused) {
    (void)unused;
    static const char known[] = "SELECT a FROM b WHERE c = 'x' AND d = 'y'";
    assert_false(fits(known, "SELECT a FROM b WHERE c = 'x''' AND d = 'y'"));
    assert_false(fits(known, "SELECT a FROM b WHERE c = 'x\\' AND d = 'y'"));
    assert_false(fits(known, "SELECT a FROM b WHERE c = 'x\xff' AND d = 'y'"));
    assert_false(fits(known, "SELECT a FROM b WHERE c = '\x01' AND d = 'y'"));
    assert_false(fits(known, "SELECT a FROM b WHERE c = 'x' AND d = 'y"));
    assert_false(fits(known, "SELECT a FROM b WHERE c = 'x' AND d = 'y''"));
    assert_false(fits("SELECT 'a'", "SELECT 'a'\n'b'"));
}

static void what_only_looks_like_a_constant_stays(void **unused) {
    (void)unused;
    static const char *const texts[][2] = {
        {"SELECT 1, $1", "SELECT 1, $2"},
        {"SELECT 1, a1", "SELECT 1, a2"},
        {"SELECT 1, \"1\"", "SELECT 1, \"2\""},
        {"SELECT 1 /* 1 */", "SELECT 1 /* 2 */"},
        {"SELECT 1 -- 1", "SELECT 1 -- 2"},
        {"SELECT 1, \"'a'\"", "SELECT 1, \"'b'\""},
        {"SELECT 1 /* 'a' */", "SELECT 1 /* 'b' */"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_true(fits(texts[i][0], texts[i][0]));
        if (fits(texts[i][0], texts[i][1]))
            fail_msg("%s", texts[i][1]);
    }
}

/* They would hardly come again. */
static void texts_with_other_constants_make_none(void **unused) {
    (void)unused;
    static const char *const texts[] = {
        "SELECT 1, 1.5",   "SELECT 1, .5",     "SELECT 1, 1e5",        "SELECT 1, $$a$$",
        "SELECT 1, E'a'",  "SELECT 1, B'1'",   "SELECT 1, 'a''b'",     "SELECT 1, 'a'\n'b'",
        "SELECT 1, N'a'",  "SELECT 1, 'a\\b'", "SELECT 1, '\xc3\xa4'", "SELECT 1, 'a",
        "SELECT 1, u&'a'", "SELECT 1, 1from",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (fits(texts[i], texts[i]))
            fail_msg("%s", texts[i]);
}

static void a_text_that_is_read_otherwise_does_not_fit(void **unused) {
    (void)unused;
    struct patterns *patterns = patterns_new();
    offer(patterns, "SELECT 1", true, 1);
    assert_null(patterns_find(patterns, "SELECT 1", 8, 0));
    assert_non_null(patterns_find(patterns, "SELECT 1", 8, 1));
    patterns_free(patterns);
}

static void a_text_without_constants_makes_none(void **unused) {
    (void)unused;
    assert_false(fits("SELECT a FROM b", "SELECT a FROM b"));
    assert_false(fits("", ""));
}

static void texts_with_too_much_make_none(void **unused) {
    (void)unused;
    char many[256] = "SELECT 1", lengthy[2000];
    for (int i = 0; i < 16; i++)
        strcat(many, ",1");
    assert_false(fits(many, many));
    memset(lengthy, ' ', sizeof lengthy);
    lengthy[sizeof lengthy - 1] = '\0';
    memcpy(lengthy, "SELECT 1", 8);
    assert_false(fits(lengthy, lengthy));
}

/* Several begin alike; the one that was used longest ago makes room. */
static void few_that_begin_alike_are_kept(void **unused) {
    (void)unused;
    struct patterns *patterns = patterns_new();
    static const char *const texts[] = {"SELECT 1, a", "SELECT 1, b", "SELECT 1, c", "SELECT 1, d",
                                        "SELECT 1, e"};
    for (int i = 0; i < 4; i++)
        for (int taken = 0; taken < 8; taken++) /* one in eight is made */
            offer(patterns, texts[i], true, 0);
    for (int i = 0; i < 4; i++)
        assert_non_null(patterns_find(patterns, texts[i], strlen(texts[i]), 0));
    assert_non_null(patterns_find(patterns, texts[0], strlen(texts[0]), 0));
    offer(patterns, texts[4], true, 0);
    assert_null(patterns_find(patterns, texts[1], strlen(texts[1]), 0));
    assert_non_null(patterns_find(patterns, texts[0], strlen(texts[0]), 0));
    assert_non_null(patterns_find(patterns, texts[4], strlen(texts[4]), 0));
    patterns_free(patterns);
}

static void queries_are_given_back(void **unused) {
    (void)unused;
    assert_int_equal(query.references, 1);
}

/* Through the router, where the facts are those of the text's shape. */
static void the_router_gives_one_query_to_all_that_fit(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    struct lexing lexing = {.standard_conforming_strings = true};
    struct error error = {{0}};
    const struct query *shape = NULL;
    for (int i = 0; i < 20; i++) {
        char sql[64];
        struct query *found = NULL;
        snprintf(sql, sizeof sql, "SELECT 1 FROM ci_builds WHERE id = %d", i * i);
        assert_true(router_query_shape(f.router, sql, strlen(sql), &lexing, true, &found, &error));
        assert_true(found->is_shape);
        assert_string_equal(found->statements[0].facts->tables[0].name, "ci_builds");
        if (i > 1)
            assert_ptr_equal(found, shape);
        shape = found;
        query_unref(found);
    }
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_numbers_and_strings_fit),
        cmocka_unit_test(other_bytes_elsewhere_do_not_fit),
        cmocka_unit_test(constants_of_another_kind_do_not_fit),
        cmocka_unit_test(strings_that_need_a_closer_look_do_not_fit),
        cmocka_unit_test(what_only_looks_like_a_constant_stays),
        cmocka_unit_test(texts_with_other_constants_make_none),
        cmocka_unit_test(a_text_that_is_read_otherwise_does_not_fit),
        cmocka_unit_test(a_text_without_constants_makes_none),
        cmocka_unit_test(texts_with_too_much_make_none),
        cmocka_unit_test(few_that_begin_alike_are_kept),
        cmocka_unit_test(queries_are_given_back),
        cmocka_unit_test(the_router_gives_one_query_to_all_that_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
