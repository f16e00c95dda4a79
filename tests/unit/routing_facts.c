#include "routing_facts_support.h"

static void tables_are_found_wherever_a_query_may_stand(void **state) {
    (void)state;
    expect_facts("SELECT (SELECT 1 FROM a), x FROM b JOIN c ON EXISTS (SELECT 1 FROM d)",
                 "select: a read, b read, c read, d read");
    expect_facts("SELECT 1 FROM a WHERE x IN (SELECT 1 FROM b) GROUP BY (SELECT 1 FROM c) HAVING "
                 "(SELECT true FROM d)",
                 "select: a read, b read, c read, d read");
    expect_facts("SELECT 1 FROM a GROUP BY GROUPING SETS ((x), (y, (SELECT 1 FROM b)))",
                 "select: a read, b read");
    expect_facts("SELECT sum(x) OVER w FROM a WINDOW w AS (PARTITION BY (SELECT 1 FROM b) ORDER BY "
                 "(SELECT 1 FROM c))",
                 "select: a read, b read, c read");
    expect_facts("SELECT 1 FROM a ORDER BY (SELECT 1 FROM b) LIMIT (SELECT 1 FROM c) OFFSET "
                 "(SELECT 1 FROM d)",
                 "select: a read, b read, c read, d read");
    expect_facts("SELECT DISTINCT ON ((SELECT 1 FROM b)) 1 FROM a", "select: b read, a read");
    expect_facts("VALUES (1, (SELECT 1 FROM a)), ((SELECT 1 FROM b), 2)", "select: a read, b read");
    expect_facts("SELECT 1 FROM a UNION (SELECT 1 FROM b EXCEPT SELECT 1 FROM c)",
                 "select: a read, b read, c read");
    expect_facts(
        "SELECT 1 FROM a, LATERAL (SELECT 1 FROM b) s, generate_series(1, (SELECT 1 FROM c)) g",
        "select: a read, b read, c read");
    expect_facts(
        "SELECT 1 FROM a TABLESAMPLE system ((SELECT 1 FROM b)) REPEATABLE ((SELECT 1 FROM c))",
        "select: a read, b read, c read");
    expect_facts("SELECT 1 FROM ROWS FROM (unnest(ARRAY(SELECT 1 FROM a)), json_to_record((SELECT "
                 "x FROM b)) AS (y int)) r",
                 "select: a read, b read");
    expect_facts("SELECT 1 FROM XMLTABLE('/a' PASSING (SELECT x FROM a) COLUMNS y int PATH 'y' "
                 "DEFAULT (SELECT 1 FROM b))",
                 "select: a read, b read");
    expect_facts("TABLE a", "select: a read");
}

static void tables_are_found_in_every_expression(void **state) {
    (void)state;
    expect_facts("SELECT CASE (SELECT 1 FROM a) WHEN (SELECT 2 FROM b) THEN (SELECT 3 FROM c) ELSE "
                 "(SELECT 4 FROM d) END",
                 "select: a read, b read, c read, d read");
    expect_facts("SELECT COALESCE((SELECT 1 FROM a), GREATEST((SELECT 1 FROM b), 1)), ROW((SELECT "
                 "1 FROM c)), "
                 "ARRAY[(SELECT 1 FROM d)], (SELECT x FROM e)[(SELECT 1 FROM f)]",
                 "select: a read, b read, c read, d read, e read, f read");
    expect_facts("SELECT count(*) FILTER (WHERE (SELECT true FROM a)), array_agg(x ORDER BY "
                 "(SELECT 1 FROM b)), "
                 "percentile_disc((SELECT 1 FROM c)) WITHIN GROUP (ORDER BY (SELECT 1 FROM d))",
                 "select: a read, b read, c read, d read");
    expect_facts("SELECT ((SELECT 1 FROM a) IS NULL) IS TRUE, NOT (SELECT true FROM b), (SELECT "
                 "'x' FROM c) COLLATE \"C\", "
                 "x = ANY (SELECT 1 FROM d), xmlelement(name n, (SELECT 1 FROM e)), make_date(year "
                 "=> (SELECT 1 FROM f))",
                 "select: a read, b read, c read, d read, e read, f read");
    expect_facts("SELECT x BETWEEN (SELECT 1 FROM a) AND (SELECT 1 FROM b), xmlserialize(CONTENT "
                 "(SELECT x FROM c) AS text)",
                 "select: a read, b read, c read");
}

static void targets_of_writes_are_written_and_the_rest_is_read(void **state) {
    (void)state;
    expect_facts("INSERT INTO a (x) SELECT 1 FROM b ON CONFLICT (x) WHERE (SELECT true FROM c) DO "
                 "UPDATE SET x = "
                 "(SELECT 1 FROM d) WHERE (SELECT true FROM e) RETURNING (SELECT 1 FROM f)",
                 "insert: a write, b read, c read, d read, e read, f read");
    expect_facts("UPDATE a SET (x, y) = (SELECT 1, 2 FROM b), z[(SELECT 1 FROM c)] = 1 FROM d "
                 "WHERE (SELECT true FROM e) "
                 "RETURNING (SELECT 1 FROM f)",
                 "update: a write, b read, c read, d read, e read, f read");
    expect_facts("DELETE FROM a USING b WHERE (SELECT true FROM c)",
                 "delete: a write, b read, c read");
    expect_facts("MERGE INTO a USING (SELECT 1 FROM b) s ON (SELECT true FROM c) WHEN MATCHED AND "
                 "(SELECT true FROM d) THEN "
                 "UPDATE SET x = (SELECT 1 FROM e) WHEN NOT MATCHED THEN INSERT (x) VALUES "
                 "((SELECT 1 FROM f))",
                 "merge: a write, b read, c read, d read, e read, f read");
    expect_facts("TRUNCATE a, public.b", "truncate: a write, public.b write");
    expect_facts("COPY a FROM STDIN", "copy from: a write");
    expect_facts("COPY a TO STDOUT", "copy to: a read");
    expect_facts("COPY (DELETE FROM a RETURNING *) TO STDOUT", "copy to (delete): a write");
    expect_facts("WITH x AS (DELETE FROM a RETURNING *) SELECT * FROM x", "select: a write");
    expect_facts("LOCK TABLE a, b", "lock: a read, b read");
}

static void a_table_is_listed_once_with_its_strongest_access(void **state) {
    (void)state;
    expect_facts("INSERT INTO a SELECT * FROM a, b x, b y", "insert: a write, b read");
    expect_facts("SELECT 1 FROM a, public.a, a AS c", "select: a read, public.a read");
}

static void a_cte_hides_a_table_only_in_its_scope(void **state) {
    (void)state;
    expect_facts("WITH a AS (SELECT 1) SELECT * FROM a", "select");
    expect_facts("WITH a AS (SELECT 1 FROM a) SELECT * FROM a", "select: a read");
    expect_facts("WITH RECURSIVE a AS (SELECT 1 FROM a) SELECT * FROM a", "select");
    expect_facts("WITH a AS (SELECT 1 FROM b), b AS (SELECT 1 FROM a) SELECT * FROM a, b",
                 "select: b read");
    expect_facts("WITH RECURSIVE a AS (SELECT 1 FROM b), b AS (SELECT 1) SELECT * FROM a",
                 "select");
    expect_facts("SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) s, a", "select: a read");
    expect_facts("WITH a AS (SELECT 1) SELECT (SELECT 1 FROM a WHERE EXISTS (SELECT 1 FROM a)) "
                 "FROM (SELECT 1 FROM a) s",
                 "select");
    expect_facts("SELECT 1 FROM a UNION (WITH a AS (SELECT 1) SELECT 1 FROM a)", "select: a read");
}

static void a_qualified_name_or_a_target_is_never_a_cte(void **state) {
    (void)state;
    expect_facts("WITH a AS (SELECT 1) SELECT * FROM public.a", "select: public.a read");
    expect_facts("WITH a AS (SELECT 1) INSERT INTO a SELECT * FROM a", "insert: a write");
    expect_facts("WITH a AS (SELECT 1) UPDATE a SET x = 1", "update: a write");
    expect_facts("WITH a AS (SELECT 1) DELETE FROM a", "delete: a write");
    expect_facts("WITH a AS (SELECT 1) MERGE INTO a USING a s ON true WHEN MATCHED THEN DELETE",
                 "merge: a write");
}

static void a_locking_clause_locks_its_own_from(void **state) {
    (void)state;
    expect_facts("SELECT * FROM a JOIN b ON true FOR UPDATE", "select: a lock, b lock");
    expect_facts("SELECT * FROM a x JOIN b y ON true FOR NO KEY UPDATE OF y",
                 "select: a read, b lock");
    expect_facts("SELECT * FROM a FOR SHARE", "select: a lock");
    expect_facts("SELECT * FROM a FOR KEY SHARE SKIP LOCKED", "select: a lock");
    expect_facts("SELECT * FROM a, (SELECT * FROM b JOIN (SELECT * FROM c) d ON true) s FOR UPDATE",
                 "select: a lock, b lock, c lock");
    expect_facts("SELECT * FROM a, (SELECT * FROM b) s, (SELECT * FROM c) t FOR UPDATE OF s",
                 "select: a read, b lock, c read");
    expect_facts("SELECT (SELECT 1 FROM b) FROM a WHERE x IN (SELECT 1 FROM c) FOR UPDATE",
                 "select: b read, a lock, c read");
    expect_facts("WITH c AS (SELECT * FROM a) SELECT * FROM c, b FOR UPDATE",
                 "select: a read, b lock");
    expect_facts("SELECT * FROM a WHERE id IN (SELECT id FROM b FOR UPDATE)",
                 "select: a read, b lock");
    expect_facts("SELECT * FROM a FOR UPDATE OF a, b", "select: a lock");
    expect_facts("SELECT * FROM a, b FOR UPDATE OF a FOR SHARE OF b", "select: a lock, b lock");
}

static void names_in_strings_count_as_reads(void **state) {
    (void)state;
    expect_facts("SELECT 'a'::regclass, CAST('public.b' AS regclass), regclass 'C', "
                 "'\"D\".\"E\"'::pg_catalog.regclass",
                 "select: a read', public.b read', c read', D.E read'");
    expect_facts("SELECT ARRAY['a','b']::regclass[], '{c,d}'::regclass[]",
                 "select: a read', b read', c read', d read'");
    expect_facts("SELECT nextval('x_id_seq'), currval('public.y_id_seq'::regclass), "
                 "setval('z_id_seq'::text, 1)",
                 "select: x_id_seq read'#, public.y_id_seq read'#, z_id_seq read'#; calls nextval; "
                 "calls setval");
    expect_facts(
        "SELECT pg_total_relation_size('a'), to_regclass('b'), pg_get_serial_sequence('c', 'id'), "
        "has_table_privilege('d', 'select'), has_table_privilege('me', 'e', 'select'), "
        "has_column_privilege('f', 'x', 'select'), has_sequence_privilege('g_seq', 'usage')",
        "select: a read', b read', c read', d read', e read', f read', g_seq read'#");
    expect_facts("SELECT '123'::regclass, 'a b'::regclass, ''::regclass, 'x'::text, NULL::regclass",
                 "select");
    expect_facts("SELECT 1 FROM a WHERE 'a'::regclass = 1", "select: a read");
    expect_facts("SELECT regclass('a'), 'b'::text::regclass, $1::regclass",
                 "select: a read', b read'");
    expect_facts("SELECT last_value FROM a_id_seq", "select: a_id_seq read#");
}

static void row_types_are_marked_as_types(void **state) {
    (void)state;
    expect_facts(
        "SELECT NULL::ci_builds, x::text, y::bigint, json_populate_record(NULL::public.b, z)",
        "select: ci_builds read(), public.b read()");
}

static void functions_that_are_not_read_only_builtins_are_called(void **state) {
    (void)state;
    expect_facts("SELECT count(*), lower(x), pg_catalog.now(), archive_build(1), s.f() FROM a",
                 "select: a read; calls archive_build; calls f");
    expect_facts("CALL p((SELECT 1 FROM a))", "call: a read; calls p");
    assert_true(flags_of("SELECT pg_advisory_xact_lock(1)") & STATEMENT_SHARED_KEY);
    assert_true(flags_of("SELECT pg_try_advisory_lock(1)") & STATEMENT_SHARED_KEY);
    assert_true(flags_of("SELECT pg_notify('a', 'b')") & STATEMENT_SHARED_KEY);
    assert_false(flags_of("SELECT max(1)") & STATEMENT_CALLS_FUNCTIONS);
    assert_true(flags_of("SELECT lo_create(0)") & STATEMENT_CALLS_FUNCTIONS);
}

static void set_config_names_its_setting(void **state) {
    (void)state;
    expect_facts("SELECT set_config('a.b', 'c', true)", "select a.b = c");
    assert_int_equal(flags_of("SELECT set_config('a.b', 'c', true)"),
                     STATEMENT_SET_CONFIG | STATEMENT_LOCAL | STATEMENT_CONSTANTS);
    assert_int_equal(flags_of("SELECT set_config($1, 'c', false)"), STATEMENT_SET_CONFIG | STATEMENT_CONSTANTS);
    assert_int_equal(flags_of("SELECT set_config('a.b', 'c', ' ON')"),
                     STATEMENT_SET_CONFIG | STATEMENT_LOCAL | STATEMENT_CONSTANTS);
    assert_int_equal(flags_of("SELECT set_config('a.b', 'c', $1)"),
                     STATEMENT_SET_CONFIG | STATEMENT_MAYBE_LOCAL | STATEMENT_CONSTANTS);
}

static void of_several_set_configs_the_first_is_told(void **state) {
    static const unsigned several =
        STATEMENT_SET_CONFIG | STATEMENT_SETS_SEVERAL | STATEMENT_CONSTANTS;
    (void)state;
    expect_facts("SELECT set_config('a', 'b', true), set_config('c', 'd', true)", "select a = b");
    assert_int_equal(flags_of("SELECT set_config('a', 'b', true), set_config('c', 'd', true)"),
                     several | STATEMENT_LOCAL);
    assert_int_equal(flags_of("SELECT set_config('a', 'b', true), set_config('c', 'd', false)"),
                     several | STATEMENT_LOCAL | STATEMENT_MAYBE_LOCAL);
    assert_int_equal(flags_of("SELECT set_config('a', 'b', false), set_config('c', 'd', $1)"),
                     several | STATEMENT_MAYBE_LOCAL);
    expect_facts("SELECT set_config('a', 'b', $1), set_config('c', 'd', true)", "select a");
}

static void catalog_queries_give_their_literals(void **state) {
    (void)state;
    expect_facts("SELECT 1 FROM pg_catalog.pg_class c WHERE c.relname OPERATOR(pg_catalog.~) "
                 "'^(ci_builds)$'",
                 "select: pg_catalog.pg_class read; literal ci_builds");
    expect_facts(
        "SELECT 1 FROM information_schema.tables WHERE table_name IN ('a', 'public.b') OR x = "
        "ANY('{c,d}')",
        "select: information_schema.tables read; literal b; literal a; literal c; literal d");
    expect_facts("SELECT 1 FROM pg_class WHERE oid = '\"a\"'::regclass",
                 "select: pg_class read, a read'");
    expect_facts("SELECT 1 FROM pg_class, a WHERE relname = 'b'", "select: pg_class read, a read");
    assert_true(flags_of("SELECT 1 FROM pg_class") & STATEMENT_CATALOG);
    assert_false(flags_of("SELECT 1") & STATEMENT_CATALOG);
}

static void positions_are_byte_offsets_of_the_first_place(void **state) {
    (void)state;
    expect_position("SELECT 'é' FROM a, b", "b", "b");
    expect_position("SELECT 1; SELECT * FROM b, c", "c", "c");
    expect_position("DROP TABLE IF EXISTS a, \"B\"", "B", "\"B\"");
    expect_position("COMMENT ON TABLE public.b IS 'b'", "b", "b IS");
    expect_position("SELECT 1 FROM x WHERE y = 'ci'::regclass", "ci", "'ci'");
    expect_position("SELECT (1 + (SELECT 1 FROM a)) + (SELECT 1 FROM b)", "b", "b)");
}

static void statements_are_slices_of_the_text(void **state) {
    (void)state;
    static const char sql[] = " /* x */ SELECT 1 ;; SELECT 2 -- y\n ; ";
    struct query_facts facts;
    struct error error;
    parse_or_fail(sql, &facts, &error);
    assert_int_equal(facts.count, 2);
    assert_memory_equal(sql + facts.statements[0].start, "/* x */ SELECT 1",
                        facts.statements[0].length);
    assert_int_equal(facts.statements[0].length, 16);
    assert_memory_equal(sql + facts.statements[1].start, "SELECT 2 -- y",
                        facts.statements[1].length);
    assert_int_equal(facts.statements[1].length, 13);
    facts_close(&facts);
    expect_facts("", "");
    expect_facts(" ; -- x\n /* y */ ;", "");
    expect_facts("SELECT 1 FROM a; INSERT INTO b VALUES (1)", "select: a read | insert: b write");
}

static void what_cannot_be_parsed_gives_its_identifiers(void **state) {
    (void)state;
    expect_facts("SELEC * FROM Ci_Builds, \"X\"; -- z\n 'q' /* w */",
                 "unparsed: selec write, from write, ci_builds write, X write");
    struct query_facts facts;
    struct error error;
    parse_or_fail("SELEC 1", &facts, &error);
    assert_non_null(strstr(error.text, "syntax error"));
    facts_close(&facts);
    parse_or_fail("SELECT 1", &facts, &error);
    assert_string_equal(error.text, "");
    facts_close(&facts);
}

static void strings_end_where_the_server_ends_them(void **state) {
    (void)state;
    expect_facts("SELECT 'it''s \\' FROM a", "select: a read");
    expect_facts("SELECT E'it\\'s' FROM a, b", "select: a read, b read");
    expect_facts("SELECT $x$ FROM b $y$ $x$ FROM a", "select: a read");
    expect_facts("SELECT 'x'\n' FROM b' FROM a", "select: a read");
    struct query_facts facts;
    struct error error;
    struct lexing lexing = {.standard_conforming_strings = false};
    static const char sql[] = "SELECT 'x\\' FROM b, ' FROM a";
    assert_true(facts_parse(sql, strlen(sql), &lexing, true, &facts, &error));
    assert_int_equal(facts.statements[0].table_count, 1);
    assert_string_equal(facts.statements[0].tables[0].name, "a");
    facts_close(&facts);
}

static void comments_do_not_disturb_the_parser(void **state) {
    (void)state;
    expect_facts("SELECT 1 FROM a ORDER BY 1 NULLS /* x */ FIRST", "select: a read");
    expect_facts("SELECT 1 FROM a WHERE x NOT /* /* y */ */ IN (1)", "select: a read");
    expect_facts("SELECT 1 FROM a -- comment\nWHERE x NOT -- y\n LIKE 'z'", "select: a read");
    expect_facts("SELECT 1 FROM a/**/AS/**/b", "select: a read");
}

static void hints_belong_to_the_statement_they_stand_in(void **state) {
    (void)state;
    expect_facts("/* database: ci */ SELECT 1; SELECT 2 /*database:main x*/; SELECT 3",
                 "select; hint ci | select; hint main | select");
    assert_int_equal(flags_of("SELECT 1 /* allow_cross_joins_across_databases url=x */"),
                     STATEMENT_PERMIT_CROSS_JOIN);
    assert_int_equal(flags_of("/*allow_cross_database_modification_within_transaction*/ BEGIN"),
                     STATEMENT_PERMIT_CROSS_TRANSACTION);
}

static void hints_are_real_comments_that_begin_with_the_name(void **state) {
    (void)state;
    assert_int_equal(flags_of("SELECT 1 -- allow_cross_joins_across_databases"), 0);
    assert_int_equal(flags_of("SELECT '/* allow_cross_joins_across_databases */'"), 0);
    assert_int_equal(flags_of("SELECT 1 /* x /* allow_cross_joins_across_databases */ */"), 0);
    assert_int_equal(flags_of("SELECT 1 /* no allow_cross_joins_across_databases */"), 0);
    assert_int_equal(flags_of("SELECT 1 /* allow_cross_joins_across_databases_x */"), 0);
    expect_facts("SELECT 1 /* database ci */", "select");
    expect_facts("SELECT 1 /* database: */", "select");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_found_wherever_a_query_may_stand),
        cmocka_unit_test(tables_are_found_in_every_expression),
        cmocka_unit_test(targets_of_writes_are_written_and_the_rest_is_read),
        cmocka_unit_test(a_table_is_listed_once_with_its_strongest_access),
        cmocka_unit_test(a_cte_hides_a_table_only_in_its_scope),
        cmocka_unit_test(a_qualified_name_or_a_target_is_never_a_cte),
        cmocka_unit_test(a_locking_clause_locks_its_own_from),
        cmocka_unit_test(names_in_strings_count_as_reads),
        cmocka_unit_test(row_types_are_marked_as_types),
        cmocka_unit_test(functions_that_are_not_read_only_builtins_are_called),
        cmocka_unit_test(set_config_names_its_setting),
        cmocka_unit_test(of_several_set_configs_the_first_is_told),
        cmocka_unit_test(catalog_queries_give_their_literals),
        cmocka_unit_test(positions_are_byte_offsets_of_the_first_place),
        cmocka_unit_test(statements_are_slices_of_the_text),
        cmocka_unit_test(what_cannot_be_parsed_gives_its_identifiers),
        cmocka_unit_test(strings_end_where_the_server_ends_them),
        cmocka_unit_test(comments_do_not_disturb_the_parser),
        cmocka_unit_test(hints_belong_to_the_statement_they_stand_in),
        cmocka_unit_test(hints_are_real_comments_that_begin_with_the_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
