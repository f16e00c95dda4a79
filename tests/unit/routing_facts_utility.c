#include "routing_facts_support.h"

static void transaction_statements_have_their_kinds(void **state) {
    (void)state;
    expect_facts(
        "BEGIN ISOLATION LEVEL SERIALIZABLE; START TRANSACTION; COMMIT; END; ROLLBACK; ABORT",
        "begin | begin | commit | commit | rollback | rollback");
    expect_facts("SAVEPOINT a; RELEASE b; ROLLBACK TO SAVEPOINT c",
                 "savepoint a | release b | rollback to c");
    expect_facts("PREPARE TRANSACTION 'a'; COMMIT PREPARED 'b'; ROLLBACK PREPARED 'c'",
                 "prepare transaction a | commit prepared b | rollback prepared c");
    assert_int_equal(flags_of("COMMIT AND CHAIN"), STATEMENT_CHAIN);
    assert_int_equal(flags_of("COMMIT"), 0);
}

static void settings_give_name_and_value(void **state) {
    (void)state;
    expect_facts(
        "SET search_path TO a, \"B\"; SET work_mem = 64; SET x.y = 1.5; SET LOCAL "
        "Statement_Timeout = '1s'",
        "set search_path = a, B | set work_mem = 64 | set x.y = 1.5 | set statement_timeout = 1s");
    expect_facts("SET TIME ZONE 'UTC'; SET NAMES 'utf8'; SET ROLE x; SET SESSION AUTHORIZATION y; "
                 "SET pginterlock.database = 'ci'",
                 "set timezone = UTC | set client_encoding = utf8 | set role = x | set "
                 "session_authorization = y | "
                 "set pginterlock.database = ci");
    expect_facts(
        "SET a TO DEFAULT; RESET b; RESET ALL; SHOW c; SHOW ALL; SHOW pginterlock.database",
        "set a | set b | reset all | show c | show all | show pginterlock.database");
    expect_facts("SET TRANSACTION READ ONLY; SET CONSTRAINTS ALL DEFERRED",
                 "set transaction transaction | set constraints");
    expect_facts("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL REPEATABLE "
                 "READ; SET SESSION CHARACTERISTICS AS TRANSACTION NOT DEFERRABLE",
                 "set session characteristics = transaction_read_only 1, transaction_isolation "
                 "repeatable read | set session characteristics = transaction_deferrable 0");
    assert_int_equal(flags_of("SET LOCAL a = 1"), STATEMENT_LOCAL);
    assert_int_equal(flags_of("RESET a"), STATEMENT_DEFAULT);
}

static void session_objects_are_named(void **state) {
    (void)state;
    expect_facts("PREPARE p (int) AS SELECT 1 FROM a; EXECUTE p((SELECT 1 FROM b)); DEALLOCATE p; "
                 "DEALLOCATE ALL",
                 "prepare (select) p: a read | execute p: b read | deallocate p | deallocate");
    expect_facts("PREPARE p AS INSERT INTO a VALUES (1)", "prepare (insert) p: a write");
    expect_facts("DECLARE c CURSOR FOR SELECT 1 FROM a FOR UPDATE; FETCH 1 FROM c; MOVE c; CLOSE "
                 "c; CLOSE ALL",
                 "declare (select) c: a lock | fetch c | fetch c | close c | close");
    assert_int_equal(flags_of("DECLARE c CURSOR WITH HOLD FOR SELECT 1"), STATEMENT_HOLD);
    expect_facts("LISTEN a; UNLISTEN a; UNLISTEN *; NOTIFY a, 'b'; DISCARD ALL; DISCARD TEMP",
                 "listen a | unlisten a | unlisten | notify a | discard all | discard temp");
}

static void explain_writes_only_with_analyze(void **state) {
    (void)state;
    expect_facts("EXPLAIN DELETE FROM a", "explain (delete): a read");
    expect_facts("EXPLAIN ANALYZE DELETE FROM a", "explain (delete): a write");
    expect_facts("EXPLAIN (ANALYZE false) SELECT 1 FROM a FOR UPDATE", "explain (select): a read");
    expect_facts("EXPLAIN (ANALYZE, BUFFERS) UPDATE a SET x = 1", "explain (update): a write");
    expect_facts("EXPLAIN CREATE TABLE a AS SELECT 1 FROM b", "explain (select): b read");
    expect_facts("EXPLAIN EXECUTE p(1)", "explain (execute) p");
    assert_int_equal(flags_of("EXPLAIN ANALYZE SELECT 1"), STATEMENT_ANALYZE);
}

static void tables_are_created_altered_and_dropped(void **state) {
    (void)state;
    expect_facts("CREATE TABLE a (x int DEFAULT nextval('a_id_seq'), LIKE b) INHERITS (c)",
                 "ddl: a ddl+, a_id_seq read'#, b read, c ddl; calls nextval");
    expect_facts("CREATE TABLE a PARTITION OF b FOR VALUES IN (1)", "ddl: a ddl+, b ddl");
    expect_facts("ALTER TABLE a ATTACH PARTITION b FOR VALUES FROM (1) TO (2)",
                 "ddl: a ddl, b ddl");
    expect_facts("ALTER TABLE a DETACH PARTITION b", "ddl: a ddl, b ddl");
    expect_facts(
        "ALTER TABLE a INHERIT b, ALTER x SET DEFAULT 1, DROP y, SET (fillfactor = 70), OWNER TO z",
        "ddl: a ddl, b ddl");
    expect_facts(
        "ALTER TABLE a ENABLE ROW LEVEL SECURITY, REPLICA IDENTITY FULL, ALTER x TYPE text USING "
        "y::text, "
        "ALTER z SET STATISTICS 100, VALIDATE CONSTRAINT c, CLUSTER ON i, DISABLE TRIGGER ALL",
        "ddl: a ddl");
    expect_facts("ALTER TABLE a RENAME TO b", "ddl: a ddl, b ddl+");
    expect_facts("ALTER TABLE a RENAME x TO y", "ddl: a ddl");
    expect_facts("ALTER TABLE a SET SCHEMA s", "ddl: a ddl");
    expect_facts("DROP TABLE IF EXISTS a, s.b CASCADE", "ddl: a ddl-, s.b ddl-");
    expect_facts("CREATE TABLE a AS SELECT 1 FROM b", "ddl (select): a ddl+, b read");
    expect_facts("SELECT 1 INTO a FROM b", "ddl (select): a ddl+, b read");
    expect_facts("CREATE FOREIGN TABLE a (x int) SERVER s", "ddl: a ddl+");
}

static void temporary_tables_do_not_modify(void **state) {
    (void)state;
    expect_facts("CREATE TEMP TABLE a AS SELECT 1 FROM b", "ddl (select): a ddl+~, b read");
    assert_int_equal(flags_of("CREATE TEMP TABLE a (x int)"), STATEMENT_TEMPORARY);
    assert_int_equal(flags_of("CREATE TABLE pg_temp.a (x int)"), STATEMENT_TEMPORARY);
    assert_int_equal(flags_of("SELECT 1 INTO TEMP a"), STATEMENT_TEMPORARY);
    assert_int_equal(flags_of("DROP TABLE pg_temp.a"), 0);
    assert_int_equal(flags_of("CREATE TABLE a (x int)"), STATEMENT_MODIFIES_DDL);
    expect_facts("SELECT 1 FROM pg_temp.a", "select: pg_temp.a read~");
}

static void what_connections_begin_with_is_told_apart(void **state) {
    (void)state;
    assert_true(flags_of("ALTER ROLE r IN DATABASE d SET work_mem = '1MB'") &
                STATEMENT_ALTERS_DEFAULTS);
    assert_true(flags_of("ALTER DATABASE d RESET ALL") & STATEMENT_ALTERS_DEFAULTS);
    assert_false(flags_of("ALTER ROLE r NOLOGIN") & STATEMENT_ALTERS_DEFAULTS);
    assert_false(flags_of("ALTER DATABASE d OWNER TO r") & STATEMENT_ALTERS_DEFAULTS);
}

static void foreign_keys_are_pairs_of_tables(void **state) {
    (void)state;
    expect_facts("CREATE TABLE a (x int REFERENCES b, y int, FOREIGN KEY (y) REFERENCES s.c (id))",
                 "ddl: a ddl+, b ddl^, s.c ddl^; key a->b; key a->c");
    expect_facts("ALTER TABLE a ADD CONSTRAINT k FOREIGN KEY (x) REFERENCES b (id) NOT VALID",
                 "ddl: a ddl, b ddl^; key a->b");
    expect_facts("ALTER TABLE a ADD COLUMN x int REFERENCES a", "ddl: a ddl^; key a->a");
    expect_facts("CREATE SCHEMA s CREATE TABLE a (x int REFERENCES b)",
                 "ddl: a ddl+, b ddl^; key a->b");
}

static void what_stands_on_a_table_names_it(void **state) {
    (void)state;
    expect_facts("CREATE UNIQUE INDEX i ON a (lower(x)) WHERE y IS NULL", "ddl: a ddl");
    expect_facts(
        "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON a FROM b FOR EACH ROW EXECUTE FUNCTION f()",
        "ddl: a ddl, b read");
    expect_facts("CREATE POLICY p ON a USING (EXISTS (SELECT 1 FROM b))", "ddl: a ddl, b read");
    expect_facts("CREATE RULE r AS ON INSERT TO a DO ALSO DELETE FROM b", "ddl: a ddl, b read");
    expect_facts("CREATE STATISTICS s ON x, y FROM a", "ddl: a ddl");
    expect_facts("CREATE SEQUENCE s OWNED BY a.id", "ddl: s ddl+#, a ddl");
    expect_facts("ALTER SEQUENCE a_id_seq OWNED BY public.a.id",
                 "ddl: a_id_seq ddl#, public.a ddl");
    expect_facts("ALTER SEQUENCE s OWNED BY NONE", "ddl: s ddl#");
    expect_facts("DROP TRIGGER t ON s.a; DROP POLICY p ON b; DROP RULE r ON c",
                 "ddl: s.a ddl | ddl: b ddl | ddl: c ddl");
    expect_facts("ALTER TABLE a RENAME CONSTRAINT x TO y; ALTER TRIGGER t ON b RENAME TO u; ALTER "
                 "POLICY p ON c USING (true)",
                 "ddl: a ddl | ddl: b ddl | ddl: c ddl");
    expect_facts("COMMENT ON TABLE a IS 'x'; COMMENT ON COLUMN b.c IS 'x'; COMMENT ON CONSTRAINT c "
                 "ON s.d IS 'x'",
                 "ddl: a ddl | ddl: b ddl | ddl: s.d ddl");
    expect_facts(
        "GRANT SELECT ON a, b TO x; REVOKE ALL ON SEQUENCE s FROM y; GRANT USAGE ON SCHEMA z TO x",
        "ddl: a ddl, b ddl | ddl: s ddl# | ddl");
    expect_facts("CREATE PUBLICATION p FOR TABLE a, b WHERE (x > 1)", "ddl: a ddl, b ddl");
    expect_facts("CREATE MATERIALIZED VIEW a AS SELECT 1 FROM b; REFRESH MATERIALIZED VIEW a",
                 "ddl (select): a ddl+, b read | ddl: a ddl");
    expect_facts("CREATE VIEW a AS SELECT 1 FROM b FOR UPDATE", "ddl: a ddl+, b read");
    expect_facts("REINDEX TABLE a; CLUSTER b USING i; VACUUM c, d; ANALYZE e",
                 "ddl: a ddl | utility: b read | utility: c read, d read | utility: e read");
}

static void other_objects_are_marked(void **state) {
    (void)state;
    expect_facts(
        "DROP INDEX i; ALTER INDEX j RENAME TO k; REINDEX INDEX l; COMMENT ON INDEX m IS 'x'",
        "ddl: i ddl@ | ddl: j ddl@ | ddl: l ddl@ | ddl: m ddl@");
    expect_facts("DROP FUNCTION f(int); DROP TYPE t; DROP SEQUENCE s; DROP VIEW v; DROP SCHEMA x; "
                 "DROP EXTENSION e",
                 "ddl: f ddl@ | ddl: t read() | ddl: s ddl-# | ddl: v ddl- | ddl | ddl");
    expect_facts("ALTER INDEX i ATTACH PARTITION j", "ddl: i ddl@, j ddl@");
}

static void a_type_may_be_that_of_a_tables_rows(void **state) {
    (void)state;
    expect_facts("GRANT USAGE ON TYPE a, s.b TO x; COMMENT ON TYPE c IS 'x'",
                 "ddl: a read(), s.b read() | ddl: c read()");
}

static void some_statements_cannot_run_in_a_block(void **state) {
    (void)state;
    static const char *const statements[] = {
        "VACUUM",
        "CREATE DATABASE a",
        "CREATE INDEX CONCURRENTLY i ON a (x)",
        "DROP INDEX CONCURRENTLY i",
        "REINDEX SYSTEM a",
        "ALTER SYSTEM SET a = 1",
        "REINDEX TABLE CONCURRENTLY a",
        "CREATE TABLESPACE a LOCATION '/x'",
        "ALTER TABLE a DETACH PARTITION b CONCURRENTLY",
        "COMMIT PREPARED 'x'",
    };
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        assert_true(flags_of(statements[i]) & STATEMENT_NO_BLOCK);
    assert_false(flags_of("CREATE INDEX i ON a (x)") & STATEMENT_NO_BLOCK);
    assert_false(flags_of("ANALYZE a") & STATEMENT_NO_BLOCK);
}

/* One of each kind of statement that names no table: known to the walk, so not unparsed. */
static const char *const other_statements[] = {
    "ALTER COLLATION c REFRESH VERSION",
    "ALTER DATABASE d SET x = 1",
    "ALTER DATABASE d REFRESH COLLATION VERSION",
    "ALTER DATABASE d CONNECTION LIMIT 1",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO x",
    "ALTER TYPE t ADD VALUE 'x'",
    "ALTER EVENT TRIGGER t DISABLE",
    "ALTER EXTENSION e UPDATE",
    "ALTER EXTENSION e ADD FUNCTION f()",
    "ALTER FOREIGN DATA WRAPPER w OPTIONS (a 'b')",
    "ALTER SERVER s OPTIONS (a 'b')",
    "ALTER FUNCTION f() STABLE",
    "ALTER OPERATOR FAMILY f USING btree ADD FUNCTION 1 (int) g(int)",
    "ALTER OPERATOR + (int, int) SET (RESTRICT = f)",
    "ALTER ROLE r SET x = 1",
    "ALTER ROLE r NOLOGIN",
    "ALTER STATISTICS s SET STATISTICS 1",
    "ALTER TEXT SEARCH CONFIGURATION c ADD MAPPING FOR w WITH d",
    "ALTER TEXT SEARCH DICTIONARY d (a = b)",
    "ALTER TABLE ALL IN TABLESPACE a SET TABLESPACE b",
    "ALTER TABLESPACE a SET (seq_page_cost = 1)",
    "ALTER TYPE t SET (SEND = f)",
    "ALTER TYPE t ADD ATTRIBUTE x int",
    "ALTER USER MAPPING FOR u SERVER s OPTIONS (a 'b')",
    "ALTER DOMAIN d ADD CHECK (VALUE > 1)",
    "ALTER DOMAIN d SET DEFAULT 1",
    "ALTER FUNCTION f() OWNER TO x",
    "ALTER FUNCTION f() DEPENDS ON EXTENSION e",
    "ALTER FUNCTION f() RENAME TO g",
    "ALTER FUNCTION f() SET SCHEMA s",
    "ALTER PUBLICATION p SET (publish = 'insert')",
    "ALTER SUBSCRIPTION s DISABLE",
    "ALTER SCHEMA a RENAME TO b",
    "CREATE ACCESS METHOD m TYPE TABLE HANDLER h",
    "CREATE CAST (a AS b) WITHOUT FUNCTION",
    "CREATE CONVERSION c FOR 'a' TO 'b' FROM f",
    "CREATE TYPE t AS ENUM ('a')",
    "CREATE TYPE t AS (x int)",
    "CREATE TYPE t AS RANGE (subtype = int)",
    "CREATE TYPE t",
    "CREATE DOMAIN d AS int CHECK (VALUE > 1)",
    "CREATE EVENT TRIGGER t ON ddl_command_start EXECUTE FUNCTION f()",
    "CREATE EXTENSION e",
    "CREATE FOREIGN DATA WRAPPER w",
    "CREATE SERVER s FOREIGN DATA WRAPPER w",
    "CREATE GROUP g",
    "CREATE OPERATOR CLASS c FOR TYPE int USING btree AS OPERATOR 1 <",
    "CREATE OPERATOR FAMILY f USING btree",
    "CREATE LANGUAGE l",
    "CREATE ROLE r",
    "CREATE TRANSFORM FOR t LANGUAGE l (FROM SQL WITH FUNCTION f(internal))",
    "CREATE USER MAPPING FOR u SERVER s",
    "CREATE AGGREGATE a (int) (SFUNC = f, STYPE = int)",
    "CREATE OPERATOR + (LEFTARG = int, FUNCTION = f)",
    "CREATE COLLATION c (LOCALE = 'C')",
    "CREATE TEXT SEARCH PARSER p (START = f)",
    "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p",
    "CREATE PUBLICATION p FOR ALL TABLES",
    "DROP OWNED BY r",
    "DROP ROLE r",
    "DROP USER MAPPING FOR u SERVER s",
    "DROP SUBSCRIPTION s",
    "DROP DATABASE d",
    "DROP TABLESPACE t",
    "DROP CAST (a AS b)",
    "DROP OPERATOR + (int, int)",
    "DROP OPERATOR CLASS c USING btree",
    "DROP TRANSFORM FOR t LANGUAGE l",
    "DROP DOMAIN d",
    "DROP AGGREGATE a (int)",
    "DROP STATISTICS s",
    "DROP PUBLICATION p",
    "DROP EVENT TRIGGER t",
    "DROP LANGUAGE l",
    "DROP ACCESS METHOD m",
    "GRANT a TO b",
    "REVOKE a FROM b",
    "REASSIGN OWNED BY a TO b",
    "IMPORT FOREIGN SCHEMA a FROM SERVER s INTO b",
    "SECURITY LABEL ON ROLE r IS 'x'",
    "COMMENT ON DATABASE d IS 'x'",
    "COMMENT ON LARGE OBJECT 1 IS 'x'",
    "COMMENT ON CONSTRAINT c ON DOMAIN d IS 'x'",
    "COMMENT ON CAST (a AS b) IS 'x'",
    "COMMENT ON TYPE t IS 'x'",
};

static void every_other_statement_of_the_grammar_is_known(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof other_statements / sizeof *other_statements; i++) {
        struct query_facts facts;
        struct error error;
        parse_or_fail(other_statements[i], &facts, &error);
        if (facts.statements[0].kind != KIND_DDL)
            print_error("%s: %s\n", other_statements[i], error.text);
        assert_int_equal(facts.statements[0].kind, KIND_DDL);
        facts_close(&facts);
    }
    expect_facts("CHECKPOINT; LOAD 'x'", "utility | utility");
}

static void every_kind_has_a_name(void **state) {
    (void)state;
    for (int i = 0; i < KIND_COUNT; i++)
        assert_non_null(statement_kind_name((enum statement_kind)i));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transaction_statements_have_their_kinds),
        cmocka_unit_test(settings_give_name_and_value),
        cmocka_unit_test(session_objects_are_named),
        cmocka_unit_test(explain_writes_only_with_analyze),
        cmocka_unit_test(tables_are_created_altered_and_dropped),
        cmocka_unit_test(temporary_tables_do_not_modify),
        cmocka_unit_test(what_connections_begin_with_is_told_apart),
        cmocka_unit_test(foreign_keys_are_pairs_of_tables),
        cmocka_unit_test(what_stands_on_a_table_names_it),
        cmocka_unit_test(other_objects_are_marked),
        cmocka_unit_test(a_type_may_be_that_of_a_tables_rows),
        cmocka_unit_test(some_statements_cannot_run_in_a_block),
        cmocka_unit_test(every_other_statement_of_the_grammar_is_known),
        cmocka_unit_test(every_kind_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
