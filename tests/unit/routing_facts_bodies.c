#include "routing_facts_support.h"

static void a_do_block_gives_the_tables_of_its_statements(void **state) {
    (void)state;
    expect_facts("DO $$ BEGIN PERFORM 1 FROM a; INSERT INTO b VALUES (1); UPDATE c SET x = (SELECT "
                 "1 FROM d); END $$",
                 "do: a read{}, b write{}, c write{}, d read{}");
    expect_facts("DO 'BEGIN DELETE FROM a WHERE x = ''y''; END'", "do: a write{}");
}

static void control_structures_are_looked_into(void **state) {
    (void)state;
    expect_facts("DO $$ BEGIN IF EXISTS (SELECT 1 FROM a) THEN x := (SELECT 1 FROM b); ELSIF y "
                 "THEN NULL; ELSE "
                 "z = (SELECT 1 FROM c); END IF; END $$",
                 "do: a read{}, b read{}, c read{}");
    expect_facts(
        "DO $$ BEGIN <<l>> FOR r IN SELECT * FROM a LOOP UPDATE b SET x = r.x; END LOOP l; "
        "FOR i IN REVERSE 10..1 BY 2 LOOP DELETE FROM c; END LOOP; WHILE (SELECT true FROM d) LOOP "
        "EXIT l "
        "WHEN (SELECT true FROM e); END LOOP; FOREACH v IN ARRAY (SELECT w FROM f) LOOP NULL; END "
        "LOOP; END $$",
        "do: a read{}, b write{}, c write{}, d read{}, e read{}, f read{}");
    expect_facts("DO $$ BEGIN CASE (SELECT 1 FROM a) WHEN 1 THEN DELETE FROM b; ELSE DELETE FROM "
                 "c; END CASE; END $$",
                 "do: a read{}, b write{}, c write{}");
    expect_facts("DO $$ BEGIN IF CASE WHEN (SELECT true FROM a) THEN true END THEN DELETE FROM b; "
                 "END IF; END $$",
                 "do: a read{}, b write{}");
    expect_facts(
        "DO $$ BEGIN DELETE FROM a; EXCEPTION WHEN OTHERS THEN INSERT INTO b VALUES (1); END $$",
        "do: a write{}, b write{}");
    expect_facts("DO $$ BEGIN RAISE NOTICE 'x %', (SELECT 1 FROM a) USING HINT = (SELECT 'x' FROM "
                 "b); END $$",
                 "do: a read{}, b read{}");
}

static void variables_of_into_are_no_tables(void **state) {
    (void)state;
    expect_facts("DO $$ BEGIN SELECT x, y INTO STRICT v, w.z FROM a; INSERT INTO b VALUES (1) "
                 "RETURNING id INTO n; END $$",
                 "do: a read{}, b write{}");
}

static void declarations_give_types_and_cursors(void **state) {
    (void)state;
    expect_facts("DO $$ DECLARE c CURSOR (n int) FOR SELECT 1 FROM a; d int := (SELECT 1 FROM b); "
                 "BEGIN OPEN c(1); END $$",
                 "do: a read{}, int read{}(), b read{}");
    expect_facts("DO $$ DECLARE r ci_builds%ROWTYPE; BEGIN END $$",
                 "do: ci_builds read{}(), rowtype read{}()");
}

static void dynamic_statements_are_marked(void **state) {
    (void)state;
    assert_true(flags_of("DO $$ BEGIN EXECUTE 'DELETE FROM a'; END $$") & STATEMENT_DYNAMIC);
    assert_true(flags_of("DO $$ BEGIN FOR r IN EXECUTE x LOOP END LOOP; END $$") &
                STATEMENT_DYNAMIC);
    assert_true(flags_of("DO LANGUAGE plperl 'x'") & STATEMENT_DYNAMIC);
    assert_false(flags_of("DO $$ BEGIN PERFORM 1; END $$") & STATEMENT_DYNAMIC);
}

static void constants_of_dynamic_statements_are_read(void **state) {
    (void)state;
    expect_facts("DO $$ BEGIN EXECUTE 'DELETE FROM a USING b' INTO c USING 'd'; END $$",
                 "do: a write{}, b read{}");
    expect_facts("DO $$ BEGIN EXECUTE format('TABLE %I', 'a') USING (SELECT 1 FROM b); END $$",
                 "do: a write{}(), table write{}(), i write{}(), b read{}");
    expect_facts("DO $$ BEGIN FOR r IN EXECUTE E'TABLE \\x61' LOOP END LOOP; END $$",
                 "do: a read{}");
}

static void structure_changes_in_a_do_block_modify(void **state) {
    (void)state;
    expect_facts("DO $$ BEGIN CREATE TABLE a (x int REFERENCES b); END $$",
                 "do: a ddl+{}, b ddl^{}; key a->b");
    assert_true(flags_of("DO $$ BEGIN CREATE TABLE a (x int); END $$") & STATEMENT_MODIFIES_DDL);
    assert_false(flags_of("DO $$ BEGIN CREATE TEMP TABLE a (x int); END $$") &
                 STATEMENT_MODIFIES_DDL);
}

static void bodies_of_functions_are_looked_into(void **state) {
    (void)state;
    expect_facts("CREATE FUNCTION f() RETURNS SETOF ci_builds LANGUAGE sql AS 'SELECT * FROM a; "
                 "DELETE FROM b'",
                 "ddl: ci_builds read(), a read{}, b write{}");
    expect_facts("CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1 FROM a; "
                 "SELECT 2 FROM b; END",
                 "ddl: a read{}, b read{}");
    expect_facts("CREATE FUNCTION f(x a.b%TYPE DEFAULT (SELECT 1 FROM c)) RETURNS int RETURN "
                 "(SELECT 1 FROM d)",
                 "ddl: a read(), c read, d read{}");
    expect_facts("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN UPDATE a SET x = "
                 "NEW.x; RETURN NEW; END$$",
                 "ddl: a write{}");
    expect_facts("CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'lib', 'f'", "ddl");
    expect_facts("SELECT query_to_xml('SELECT * FROM a', true, true, '')",
                 "select: a read{}; calls query_to_xml");
}

static void a_table_outside_of_the_body_too_is_not_only_in_it(void **state) {
    (void)state;
    expect_facts("CREATE FUNCTION f(x int DEFAULT (SELECT 1 FROM a)) RETURNS int LANGUAGE sql AS "
                 "'SELECT 1 FROM a'",
                 "ddl: a read");
}

static void code_that_cannot_be_read_gives_its_identifiers(void **state) {
    (void)state;
    expect_facts("DO $$ BEGIN garbage ci_builds here; END $$",
                 "do: garbage read{}(), ci_builds read{}(), here read{}()");
    expect_facts("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'DELETE FRO a'",
                 "ddl: delete write{}(), fro write{}(), a write{}()");
}

static void positions_count_on_in_a_dollar_quoted_body(void **state) {
    (void)state;
    expect_position("DO $x$ BEGIN PERFORM 1 FROM a; x := (SELECT 1 FROM b); END $x$", "b", "b);");
    expect_position(
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS /* $$ */ $$ SELECT 1 FROM ab $$", "ab",
        "ab $$");
    expect_position("DO 'BEGIN DELETE FROM a WHERE x = ''y''; END'", "a", "'BEGIN");
}

static void bodies_within_bodies_come_to_an_end(void **state) {
    (void)state;
    expect_facts("DO $a$ BEGIN DO $b$ BEGIN DO $c$ BEGIN DELETE FROM x; END $c$; END $b$; END $a$",
                 "do: x write{}");
    char sql[4096] = "";
    for (int i = 0; i < 20; i++)
        (void)snprintf(sql + strlen(sql), 64, "DO $a%d$ BEGIN ", i);
    (void)strcat(sql, "DELETE FROM x; ");
    for (int i = 19; i >= 0; i--)
        (void)snprintf(sql + strlen(sql), 64, "END $a%d$; ", i);
    struct query_facts facts;
    struct error error;
    parse_or_fail(sql, &facts, &error);
    assert_int_equal(facts.statements[0].kind, KIND_DO);
    assert_true(facts.statements[0].table_count > 0);
    facts_close(&facts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_do_block_gives_the_tables_of_its_statements),
        cmocka_unit_test(control_structures_are_looked_into),
        cmocka_unit_test(variables_of_into_are_no_tables),
        cmocka_unit_test(declarations_give_types_and_cursors),
        cmocka_unit_test(dynamic_statements_are_marked),
        cmocka_unit_test(constants_of_dynamic_statements_are_read),
        cmocka_unit_test(structure_changes_in_a_do_block_modify),
        cmocka_unit_test(bodies_of_functions_are_looked_into),
        cmocka_unit_test(a_table_outside_of_the_body_too_is_not_only_in_it),
        cmocka_unit_test(code_that_cannot_be_read_gives_its_identifiers),
        cmocka_unit_test(positions_count_on_in_a_dollar_quoted_body),
        cmocka_unit_test(bodies_within_bodies_come_to_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
