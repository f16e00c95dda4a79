/* Places in PL/pgSQL and names in strings that are easily passed over. */
#include "routing_facts_support.h"

static void options_and_labels_of_a_block_hide_nothing(void **state) {
    (void)state;
    expect_facts(
        "DO $$ #variable_conflict use_column\nBEGIN PERFORM 1 FROM a; DELETE FROM b; END $$",
        "do: a read{}, b write{}");
    expect_facts("DO $$ #option dump\n<<x>> BEGIN PERFORM 1 FROM a; END $$", "do: a read{}");
    expect_facts("DO $$ <<x>>DECLARE y bool := (SELECT true FROM a);BEGIN <<z>>LOOP DELETE FROM b; "
                 "END LOOP; END $$",
                 "do: bool read{}(), a read{}, b write{}");
}

static void cursors_are_opened_and_moved_by_expressions(void **state) {
    (void)state;
    expect_facts(
        "DO $$ BEGIN OPEN c((SELECT 1 FROM a), 2); FETCH RELATIVE (SELECT 1 FROM b) FROM c "
        "INTO x; MOVE FORWARD (SELECT 1 FROM d) IN c; FETCH NEXT FROM c INTO x; MOVE c; END $$",
        "do: a read{}, b read{}, d read{}");
    expect_facts("DO $$ BEGIN OPEN c (n := (SELECT 1 FROM ci_builds)); END $$",
                 "do: select read{}(), n read{}(), from read{}(), ci_builds read{}()");
}

static void targets_of_assignments_have_subscripts(void **state) {
    (void)state;
    expect_facts(
        "DO $$ BEGIN x[(SELECT 1 FROM a)] := (SELECT 1 FROM b); y.z[(SELECT 1 FROM c)] = 1; "
        "w :=-(SELECT 1 FROM d); END $$",
        "do: a read{}, b read{}, c read{}, d read{}");
}

static void words_of_statements_may_name_variables(void **state) {
    (void)state;
    expect_facts(
        "DO $$ BEGIN fetch := (SELECT 1 FROM a); close = (SELECT 1 FROM b); exception := "
        "(SELECT 1 FROM c); get[1] := (SELECT 1 FROM d); return := (SELECT 1 FROM e); END $$",
        "do: a read{}, b read{}, c read{}, d read{}, e read{}");
}

static void clauses_of_a_query_are_no_separators(void **state) {
    (void)state;
    expect_facts("DO $$ BEGIN PERFORM 1 FROM s.a JOIN s.b USING (x) ORDER BY y; END $$",
                 "do: s.a read{}, s.b read{}");
    expect_facts(
        "DO $$ BEGIN FOR i IN (SELECT 1 FROM s.a)..(SELECT 2 FROM s.b) LOOP END LOOP; END $$",
        "do: s.a read{}, s.b read{}");
}

static void into_creates_a_table_in_an_sql_function(void **state) {
    (void)state;
    expect_facts("CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'SELECT 1 INTO a FROM b'",
                 "ddl: a ddl+{}, b read{}");
}

static void a_temporary_table_hides_nothing_that_it_is_made_from(void **state) {
    (void)state;
    expect_facts("CREATE TEMP TABLE a AS SELECT * FROM a JOIN b ON true",
                 "ddl (select): a ddl+~, a read, b read");
    expect_facts("SELECT * INTO TEMP a FROM a", "ddl (select): a ddl+~, a read");
    expect_facts("DO $$ BEGIN CREATE TEMP TABLE a AS SELECT * FROM a; DELETE FROM a; END $$",
                 "do: a write+~{}, a read{}");
}

static void types_of_arguments_are_marked_as_types(void **state) {
    (void)state;
    expect_facts(
        "DROP FUNCTION f(ci_builds); ALTER FUNCTION f(ci_builds[]) STABLE; GRANT EXECUTE ON "
        "FUNCTION f(public.ci_builds) TO r",
        "ddl: f ddl@, ci_builds read() | ddl: ci_builds read() | ddl: public.ci_builds read()");
    expect_facts(
        "CREATE CAST (ci_builds AS text) WITH FUNCTION f(ci_builds); DROP CAST (ci_builds AS "
        "text); CREATE AGGREGATE g (a) (SFUNC = f, STYPE = b)",
        "ddl: ci_builds read() | ddl: ci_builds read() | ddl: a read(), f read(), b read()");
    expect_facts("CREATE OPERATOR CLASS o FOR TYPE a USING btree AS FUNCTION 1 f(b), STORAGE c; "
                 "COMMENT ON OPERATOR + (NONE, a) IS 'x'",
                 "ddl: a read(), b read(), c read() | ddl: a read()");
}

static void array_types_name_the_table_of_their_elements(void **state) {
    (void)state;
    expect_facts("SELECT NULL::_ci_builds, '{}'::public._a",
                 "select: _ci_builds read(), ci_builds read(), public._a read(), public.a read()");
    expect_facts("SELECT NULL::line, NULL::public.line", "select: public.line read()");
}

static void types_are_named_in_strings_too(void **state) {
    (void)state;
    expect_facts("SELECT 'a'::regtype, 'public.b[]'::regtype, to_regtype('_c')",
                 "select: a read'(), public.b read'(), _c read'(), c read'()");
}

static void a_name_in_a_string_may_be_wrapped(void **state) {
    (void)state;
    expect_facts("SELECT ('a' COLLATE \"C\")::regclass, nextval(('b_id_seq')::text::regclass), "
                 "pg_table_size(relation => 'c'), brin_summarize_new_values('i')",
                 "select: a read', b_id_seq read'#, c read', i read'@; calls nextval; calls "
                 "brin_summarize_new_values");
}

static void functions_of_extensions_are_known_in_any_schema(void **state) {
    (void)state;
    expect_facts("SELECT public.pgstattuple('a'), pg_freespace('b')",
                 "select: a read', b read'; calls pgstattuple; calls pg_freespace");
    expect_facts("SELECT * FROM x.crosstab('SELECT 1 FROM a', 'SELECT 2 FROM b') AS c (y int)",
                 "select: a read{}, b read{}; calls crosstab");
    expect_facts("SELECT ts_rewrite('x', 'SELECT t, s FROM a'), ts_stat('SELECT v FROM b', 'ab')",
                 "select: a read{}, b read{}; calls ts_rewrite; calls ts_stat");
}

static void no_place_is_before_the_text(void **state) {
    (void)state;
    struct query_facts facts;
    struct error error;
    parse_or_fail("do'D=x y z'", &facts, &error);
    assert_int_equal(facts.statements[0].table_count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_in_range(facts.statements[0].tables[i].position + 1, 0, 11);
    facts_close(&facts);
}

static void a_name_that_is_doubtful_everywhere_stays_so(void **state) {
    (void)state;
    expect_facts("SELECT 'a'::regclass, NULL::a", "select: a read()");
    expect_facts("SELECT 'a'::regclass, NULL::a FROM a", "select: a read");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_and_labels_of_a_block_hide_nothing),
        cmocka_unit_test(cursors_are_opened_and_moved_by_expressions),
        cmocka_unit_test(targets_of_assignments_have_subscripts),
        cmocka_unit_test(words_of_statements_may_name_variables),
        cmocka_unit_test(clauses_of_a_query_are_no_separators),
        cmocka_unit_test(into_creates_a_table_in_an_sql_function),
        cmocka_unit_test(a_temporary_table_hides_nothing_that_it_is_made_from),
        cmocka_unit_test(types_of_arguments_are_marked_as_types),
        cmocka_unit_test(array_types_name_the_table_of_their_elements),
        cmocka_unit_test(types_are_named_in_strings_too),
        cmocka_unit_test(a_name_in_a_string_may_be_wrapped),
        cmocka_unit_test(functions_of_extensions_are_known_in_any_schema),
        cmocka_unit_test(no_place_is_before_the_text),
        cmocka_unit_test(a_name_that_is_doubtful_everywhere_stays_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
