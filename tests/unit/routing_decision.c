/* Where a statement goes, and which rule it breaks: the verdict table and its fine print. */
#include "tests/unit/routing_session.h"

static void a_statement_goes_where_its_tables_live(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT * FROM projects", "main");
    assert_goes(&f, "SELECT * FROM ci_builds", "ci");
    fixture_close(&f);
}

static void tables_of_two_databases_are_a_cross_join(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT 1 FROM projects, ci_builds", "cross_join");
    fixture_close(&f);
}

static void a_subquery_is_as_much_a_join(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT 1 FROM projects WHERE id IN (SELECT project_id FROM ci_builds)",
                "cross_join");
    fixture_close(&f);
}

static void shared_tables_go_with_every_database(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT 1 FROM ci_builds, detached_partitions, schema_migrations", "ci");
    fixture_close(&f);
}

static void a_read_of_shared_tables_may_run_anywhere(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT 1 FROM detached_partitions", "any");
    fixture_close(&f);
}

static void a_statement_without_tables_may_run_anywhere(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT 1", "any");
    fixture_close(&f);
}

static void an_unclassified_table_is_rejected(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT 1 FROM nobodys", "unclassified");
    fixture_close(&f);
}

static void creating_an_unclassified_table_is_rejected(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "CREATE TABLE nobodys (id int)", "unclassified");
    fixture_close(&f);
}

static void unclassified_comes_before_cross_join(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT 1 FROM projects, ci_builds, nobodys", "unclassified");
    fixture_close(&f);
}

static void a_foreign_key_across_databases_is_rejected(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f,
                "ALTER TABLE ci_builds ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES projects (id)",
                "cross_foreign_key");
    fixture_close(&f);
}

static void a_foreign_key_within_a_database_is_fine(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "ALTER TABLE issues ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES projects (id)",
                "main");
    fixture_close(&f);
}

static void a_foreign_key_to_a_shared_table_is_fine(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f,
                "ALTER TABLE ci_builds ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES "
                "detached_partitions (id)",
                "ci");
    fixture_close(&f);
}

static void ddl_over_two_databases_is_a_cross_join(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "DROP TABLE projects, ci_builds", "cross_join");
    fixture_close(&f);
}

static void ddl_goes_where_its_table_lives(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "ALTER TABLE ci_builds ADD COLUMN x int", "ci");
    fixture_close(&f);
}

static void ddl_on_a_shared_table_runs_on_main(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "ALTER TABLE detached_partitions ADD COLUMN x int", "main");
    fixture_close(&f);
}

static void a_string_that_is_no_classified_name_counts_for_nothing(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT to_regclass('nobodys')", "any");
    fixture_close(&f);
}

static void a_regclass_literal_counts_as_a_table(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT pg_relation_size('ci_builds')", "ci");
    fixture_close(&f);
}

static void a_row_type_counts_as_a_table(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT NULL::ci_builds", "ci");
    fixture_close(&f);
}

static void a_sequence_belongs_to_its_table(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT nextval('ci_builds_id_seq')", "ci");
    fixture_close(&f);
}

static void a_sequence_of_a_longer_column_belongs_to_its_table(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT nextval('ci_pipelines_external_id_seq')", "ci");
    fixture_close(&f);
}

static void nextval_does_not_modify(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "SELECT nextval('ci_builds_id_seq')", "ci");
    fixture_close(&f);
}

static void lock_table_does_not_modify(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "LOCK TABLE ci_builds", "ci");
    fixture_close(&f);
}

static void a_classified_function_brings_its_schema(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT archive_build(1)", "ci");
    assert_goes(&f, "SELECT archive_build(id) FROM projects", "cross_join");
    fixture_close(&f);
}

static void a_classified_function_modifies(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "SELECT archive_build(1)", "cross_transaction");
    fixture_close(&f);
}

static void text_that_cannot_be_parsed_goes_where_its_names_live(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "MERGE SOMEHOW ci_builds", "ci");
    fixture_close(&f);
}

static void text_that_cannot_be_parsed_with_names_of_two_databases_is_rejected(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "MERGE SOMEHOW ci_builds projects", "unparsed");
    fixture_close(&f);
}

static void text_that_cannot_be_parsed_without_names_runs_as_one_without_tables(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELEKT 1", "main");
    fixture_close(&f);
}

static void text_that_cannot_be_parsed_counts_as_a_write(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "MERGE SOMEHOW ci_builds", "cross_transaction");
    fixture_close(&f);
}

static void notifications_meet_on_main(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "LISTEN c", "main");
    assert_goes(&f, "NOTIFY c", "main");
    assert_goes(&f, "UNLISTEN *", "main");
    fixture_close(&f);
}

static void advisory_locks_meet_on_main(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    assert_goes(&f, "SELECT pg_advisory_xact_lock(1)", "main");
    fixture_close(&f);
}

static void a_catalog_statement_runs_where_the_table_that_it_names_lives(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT 1 FROM pg_class WHERE relname = 'ci_builds'", "ci");
    fixture_close(&f);
}

static void settings_of_the_proxy_are_answered_by_it(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SET pginterlock.database = 'ci'", "none");
    assert_goes(&f, "SHOW pginterlock.database", "none");
    fixture_close(&f);
}

static void settings_go_to_every_database(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SET work_mem = '1MB'", "all");
    assert_goes(&f, "RESET ALL", "all");
    assert_goes(&f, "DISCARD PLANS", "all");
    fixture_close(&f);
}

static void explain_does_not_modify_but_explain_analyze_does(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "EXPLAIN DELETE FROM ci_builds", "ci");
    assert_goes(&f, "EXPLAIN ANALYZE DELETE FROM ci_builds", "cross_transaction");
    fixture_close(&f);
}

static void an_index_follows_the_last_database_used(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "DROP INDEX some_index", "ci");
    fixture_close(&f);
}

static void an_index_without_anything_before_is_on_main(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "DROP INDEX some_index", "main");
    fixture_close(&f);
}

static void an_sql_functions_body_counts(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT id FROM ci_builds'",
                "ci");
    assert_goes(
        &f, "CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 1 FROM ci_builds, projects'",
        "cross_join");
    fixture_close(&f);
}

static void a_plpgsql_functions_body_is_no_statement_of_the_session(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f,
                "CREATE FUNCTION g() RETURNS void LANGUAGE plpgsql AS "
                "$$ BEGIN DELETE FROM ci_builds; DELETE FROM projects; END $$",
                "main");
    fixture_close(&f);
}

static void a_do_block_goes_where_its_tables_live(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "DO $$ BEGIN DELETE FROM ci_builds; END $$", "ci");
    assert_goes(&f, "DO $$ BEGIN DELETE FROM ci_builds; PERFORM 1 FROM projects; END $$",
                "cross_join");
    fixture_close(&f);
}

static void create_table_as_execute_names_a_table_of_its_own(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "PREPARE p AS SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "CREATE TABLE nobodys AS EXECUTE p", "unclassified");
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_statement_goes_where_its_tables_live),
        cmocka_unit_test(tables_of_two_databases_are_a_cross_join),
        cmocka_unit_test(a_subquery_is_as_much_a_join),
        cmocka_unit_test(shared_tables_go_with_every_database),
        cmocka_unit_test(a_read_of_shared_tables_may_run_anywhere),
        cmocka_unit_test(a_statement_without_tables_may_run_anywhere),
        cmocka_unit_test(an_unclassified_table_is_rejected),
        cmocka_unit_test(creating_an_unclassified_table_is_rejected),
        cmocka_unit_test(unclassified_comes_before_cross_join),
        cmocka_unit_test(a_foreign_key_across_databases_is_rejected),
        cmocka_unit_test(a_foreign_key_within_a_database_is_fine),
        cmocka_unit_test(a_foreign_key_to_a_shared_table_is_fine),
        cmocka_unit_test(ddl_over_two_databases_is_a_cross_join),
        cmocka_unit_test(ddl_goes_where_its_table_lives),
        cmocka_unit_test(ddl_on_a_shared_table_runs_on_main),
        cmocka_unit_test(a_string_that_is_no_classified_name_counts_for_nothing),
        cmocka_unit_test(a_regclass_literal_counts_as_a_table),
        cmocka_unit_test(a_row_type_counts_as_a_table),
        cmocka_unit_test(a_sequence_belongs_to_its_table),
        cmocka_unit_test(a_sequence_of_a_longer_column_belongs_to_its_table),
        cmocka_unit_test(nextval_does_not_modify),
        cmocka_unit_test(lock_table_does_not_modify),
        cmocka_unit_test(a_classified_function_brings_its_schema),
        cmocka_unit_test(a_classified_function_modifies),
        cmocka_unit_test(text_that_cannot_be_parsed_goes_where_its_names_live),
        cmocka_unit_test(text_that_cannot_be_parsed_with_names_of_two_databases_is_rejected),
        cmocka_unit_test(text_that_cannot_be_parsed_without_names_runs_as_one_without_tables),
        cmocka_unit_test(text_that_cannot_be_parsed_counts_as_a_write),
        cmocka_unit_test(notifications_meet_on_main),
        cmocka_unit_test(advisory_locks_meet_on_main),
        cmocka_unit_test(a_catalog_statement_runs_where_the_table_that_it_names_lives),
        cmocka_unit_test(settings_of_the_proxy_are_answered_by_it),
        cmocka_unit_test(settings_go_to_every_database),
        cmocka_unit_test(explain_does_not_modify_but_explain_analyze_does),
        cmocka_unit_test(an_index_follows_the_last_database_used),
        cmocka_unit_test(an_index_without_anything_before_is_on_main),
        cmocka_unit_test(an_sql_functions_body_counts),
        cmocka_unit_test(a_plpgsql_functions_body_is_no_statement_of_the_session),
        cmocka_unit_test(a_do_block_goes_where_its_tables_live),
        cmocka_unit_test(create_table_as_execute_names_a_table_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
