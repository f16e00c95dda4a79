/* Hostile sizes and depths: each text gets an answer, in time that grows with its length only. The
 * tests run on an ordinary thread's stack; workers have far bigger ones. */
#include "routing_facts_support.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* `head`, `count` times `part`, `tail`; `count` times `close` before the tail. */
static char *repeat(const char *head, const char *part, size_t count, const char *middle,
                    const char *close) {
    size_t size = strlen(head) + (strlen(part) + strlen(close)) * count + strlen(middle) + 1;
    char *text = malloc(size);
    assert_non_null(text);
    char *at = stpcpy(text, head);
    for (size_t i = 0; i < count; i++)
        at = stpcpy(at, part);
    at = stpcpy(at, middle);
    for (size_t i = 0; i < count; i++)
        at = stpcpy(at, close);
    return text;
}

static double cpu_seconds(void) {
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const double slow = 10; /* sanitizers */
#else
static const double slow = 1;
#endif

/* 100 ms of CPU for every 100 KB begun; takes the text. */
static enum statement_kind kind_in_time_take(char *sql) {
    size_t length = strlen(sql);
    struct lexing lexing = {.standard_conforming_strings = true};
    struct query_facts facts;
    struct error error;
    double start = cpu_seconds();
    assert_true(facts_parse(sql, length, &lexing, true, &facts, &error));
    double taken = cpu_seconds() - start;
    double allowed = 0.1 * (double)(length / 100000 + 1) * slow;
    if (taken > allowed)
        fail_msg("%.60s…: %.0f ms for %zu bytes", sql, taken * 1e3, length);
    assert_true(facts.count > 0);
    enum statement_kind kind = facts.statements[0].kind;
    facts_close(&facts);
    free(sql);
    return kind;
}

static void long_chains_are_walked(void **state) {
    (void)state;
    static const char *const parts[] = {"+1",
                                        " AND a",
                                        " AND a OR b",
                                        "::int",
                                        " IS NULL",
                                        " COLLATE \"C\"",
                                        ", x",
                                        " UNION SELECT 1 FROM a",
                                        " AT TIME ZONE 'x'",
                                        " IN (SELECT 1)",
                                        "--\n"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_int_equal(kind_in_time_take(repeat("SELECT a", parts[i], 100000, "", "")),
                         KIND_SELECT);
    assert_int_equal(kind_in_time_take(repeat("SELECT 1 FROM a", " JOIN b ON (SELECT true FROM c)",
                                              20000, "", "")),
                     KIND_SELECT);
    assert_int_equal(kind_in_time_take(repeat("SELECT 1;", "SELECT 1 FROM a;", 20000, "", "")),
                     KIND_SELECT);
    assert_int_equal(
        kind_in_time_take(repeat("INSERT INTO a VALUES (1)", ",(1,'x')", 100000, "", "")),
        KIND_INSERT);
}

static void nested_queries_are_walked(void **state) {
    (void)state;
    assert_int_equal(kind_in_time_take(repeat("", "SELECT (", 2000, "SELECT 1", ")")), KIND_SELECT);
    assert_int_equal(
        kind_in_time_take(repeat("SELECT 1 FROM ", "(SELECT 1 FROM ", 1000, "a", ") x")),
        KIND_SELECT);
    assert_int_equal(
        kind_in_time_take(repeat("", "WITH x AS (", 1000, "SELECT 1", ") SELECT 1 FROM x")),
        KIND_SELECT);
}

static void what_is_too_deep_is_unparsed(void **state) {
    (void)state;
    assert_int_equal(kind_in_time_take(repeat("SELECT ", "(", 10000, "1", ")")), KIND_UNPARSED);
    assert_int_equal(kind_in_time_take(repeat("SELECT ARRAY", "[", 10000, "1", "]")),
                     KIND_UNPARSED);
    assert_int_equal(kind_in_time_take(repeat("SELECT ", "NOT ", 20000, "a", "")), KIND_UNPARSED);
    assert_int_equal(kind_in_time_take(repeat("SELECT ", "CASE WHEN a THEN ", 10000, "1", " END")),
                     KIND_UNPARSED);
}

static void a_deep_statement_keeps_its_tables_as_identifiers(void **state) {
    (void)state;
    char *sql = repeat("SELECT ", "(", 10000, "SELECT 1 FROM ci_builds", ")");
    struct query_facts facts;
    struct error error;
    parse_or_fail(sql, &facts, &error);
    assert_int_equal(facts.statements[0].kind, KIND_UNPARSED);
    const struct statement_facts *statement = &facts.statements[0];
    assert_string_equal(statement->tables[statement->table_count - 1].name, "ci_builds");
    facts_close(&facts);
    free(sql);
}

static void comments_of_any_depth_take_linear_time(void **state) {
    (void)state;
    assert_int_equal(kind_in_time_take(repeat("", "/*", 32768, "", "")), KIND_UNPARSED);
    assert_int_equal(kind_in_time_take(repeat("SELECT 1 ", "/*", 32768, "", "*/")), KIND_SELECT);
    assert_int_equal(
        kind_in_time_take(repeat("SELECT 1 ", "/*/*/*/*/*/**/*/*/*/*/*/", 10000, "", "")),
        KIND_SELECT);
    assert_int_equal(kind_in_time_take(repeat("SELECT 1 ", "/* database: x */", 20000, "", "")),
                     KIND_SELECT);
}

static void runs_of_operators_take_linear_time(void **state) {
    (void)state;
    assert_int_equal(kind_in_time_take(repeat("SELECT 1 ", "+", 100000, "1", "")), KIND_UNPARSED);
    assert_int_equal(
        kind_in_time_take(
            repeat("SELECT 1", " @@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@+ 1", 20000, "", "")),
        KIND_SELECT);
    char part[80] = " ";
    memset(part + 1, '+', 64);
    (void)strcpy(part + 65, " 1");
    assert_int_equal(kind_in_time_take(repeat("SELECT 1", part, 1500, "", "")), KIND_SELECT);
}

static void long_tokens_take_linear_time(void **state) {
    (void)state;
    assert_int_equal(kind_in_time_take(repeat("SELECT '", "a", 20000000, "'", "")), KIND_SELECT);
    assert_int_equal(kind_in_time_take(repeat("SELECT \"", "a", 1000000, "\"", "")), KIND_SELECT);
    assert_int_equal(kind_in_time_take(repeat("SELECT '", "a", 1000000, "", "")), KIND_UNPARSED);
    assert_int_equal(kind_in_time_take(repeat("SELECT ", "$a", 100000, "", "")), KIND_SELECT);
    assert_int_equal(kind_in_time_take(repeat("SELECT 'a'", "\n 'a'", 100000, "", "")),
                     KIND_SELECT);
}

static void many_names_take_linear_time(void **state) {
    (void)state;
    static const char *const heads[] = {"SELECT 1 FROM t", "SELEC 1 FROM t", "DROP TABLE t",
                                        "SELECT f()", "WITH t AS (SELECT 1)"};
    static const char *const parts[] = {", t%zu", ", t%zu", ", t%zu", ", t%zu()",
                                        ", t%zu AS (SELECT 1 FROM t)"};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        size_t size = 2000000, used = strlen(heads[i]);
        char *sql = malloc(size);
        assert_non_null(sql);
        memcpy(sql, heads[i], used + 1);
        for (size_t j = 0; j < 30000; j++) {
            char part[64] = "";
            const char *mark = strstr(parts[i], "%zu");
            (void)snprintf(part, sizeof part, "%.*s%zu%s", (int)(mark - parts[i]), parts[i], j,
                           mark + 3);
            size_t length = strlen(part);
            assert_true(used + length < size);
            memcpy(sql + used, part, length + 1);
            used += length;
        }
        (void)kind_in_time_take(sql);
    }
}

static void long_bodies_take_linear_time(void **state) {
    (void)state;
    static const char *const parts[] = {
        "begin x; ", "if x then y := 1; end if; ", "perform f(); ", "case when ",
        "for x in ", "declare x int := ",          "<<x>> "};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_int_equal(kind_in_time_take(repeat("DO $$ ", parts[i], 10000, "$$", "")), KIND_DO);
}

static void *on_a_small_stack(void *tests) {
    int *failed = tests;
    const struct CMUnitTest all[] = {
        cmocka_unit_test(long_chains_are_walked),
        cmocka_unit_test(nested_queries_are_walked),
        cmocka_unit_test(what_is_too_deep_is_unparsed),
        cmocka_unit_test(a_deep_statement_keeps_its_tables_as_identifiers),
        cmocka_unit_test(comments_of_any_depth_take_linear_time),
        cmocka_unit_test(runs_of_operators_take_linear_time),
        cmocka_unit_test(long_tokens_take_linear_time),
        cmocka_unit_test(many_names_take_linear_time),
        cmocka_unit_test(long_bodies_take_linear_time),
    };
    *failed = cmocka_run_group_tests(all, NULL, NULL);
    return NULL;
}

int main(void) {
    int failed = 1;
    pthread_attr_t attributes;
    pthread_t thread;
    if (pthread_attr_init(&attributes) != 0 ||
        pthread_attr_setstacksize(&attributes, 2 << 20) != 0 ||
        pthread_create(&thread, &attributes, on_a_small_stack, &failed) != 0)
        return 2;
    (void)pthread_join(thread, NULL);
    return failed;
}
