/* Connections and statements that are pinned to a database. */
#include "tests/unit/routing_session.h"

static void a_foreign_key_across_is_rejected_on_a_pinned_connection(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app_main");
    assert_goes(&f,
                "ALTER TABLE ci_builds ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES projects (id)",
                "cross_foreign_key");
    fixture_close(&f);
}

static void a_pinned_connection_reads_its_own_tables(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app_ci");
    assert_goes(&f, "SELECT 1 FROM ci_builds", "ci");
    fixture_close(&f);
}

static void a_pinned_connection_may_not_read_another_database(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app_ci");
    assert_goes(&f, "SELECT 1 FROM projects", "wrong_database");
    fixture_close(&f);
}

static void a_pinned_connection_may_not_write_to_another_database(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app_ci");
    assert_goes(&f, "DELETE FROM projects", "write_lock");
    fixture_close(&f);
}

static void a_row_lock_reads_on_a_pinned_connection(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app_main");
    assert_goes(&f, "SELECT 1 FROM ci_builds FOR UPDATE", "wrong_database");
    fixture_close(&f);
}

static void a_pinned_connection_writes_shared_tables_to_its_database(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app_ci");
    assert_goes(&f, "DELETE FROM detached_partitions", "ci");
    fixture_close(&f);
}

static void a_pinned_connection_settles_statements_without_tables(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app_ci");
    assert_goes(&f, "SELECT 1", "ci");
    fixture_close(&f);
}

static void structure_changes_pass_on_a_pinned_connection(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app_ci");
    assert_goes(&f, "CREATE INDEX i ON projects (id)", "ci");
    fixture_close(&f);
}

static void create_table_as_reads_on_a_pinned_connection(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app_main");
    assert_goes(&f, "CREATE TABLE issues AS SELECT * FROM ci_builds", "cross_join");
    fixture_close(&f);
}

static void looking_a_name_up_is_free_on_a_pinned_connection(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app_main");
    assert_goes(&f, "SELECT 'ci_builds'::regclass", "main");
    fixture_close(&f);
}

static void cross_join_comes_before_wrong_database(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app_main");
    assert_goes(&f, "SELECT 1 FROM projects, ci_builds", "cross_join");
    fixture_close(&f);
}

static void a_reported_wrong_database_passes_to_the_pin(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, "rules: {wrong_database: report}\n", "app_main");
    assert_goes(&f, "SELECT 1 FROM ci_builds", "main");
    fixture_close(&f);
}

static void the_hint_pins_its_statement(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "/* database: ci */ SELECT 1", "ci");
    assert_goes(&f, "/* database: ci */ SELECT 1 FROM projects", "wrong_database");
    assert_goes(&f, "SELECT 1", "any");
    fixture_close(&f);
}

static void the_hint_says_where_a_shared_table_is_written(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "/* database: ci */ DELETE FROM detached_partitions", "ci");
    fixture_close(&f);
}

static void a_hint_has_no_say_on_a_pinned_entrypoint(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app_main");
    assert_goes(&f, "/* database: ci */ SELECT 1", "main");
    fixture_close(&f);
}

static void structure_passes_and_rows_do_not(void **unused) {
    (void)unused;
    static const char *const statements[][2] = {
        {"CREATE TABLE ci_pipelines AS SELECT 1 FROM ci_builds", "wrong_database"},
        {"CREATE TABLE ci_pipelines AS SELECT 1 FROM ci_builds WITH NO DATA", "main"},
        {"SELECT 1 INTO ci_pipelines FROM ci_builds", "wrong_database"},
        {"CREATE MATERIALIZED VIEW ci_pipelines AS SELECT 1 FROM ci_builds", "wrong_database"},
        {"CREATE MATERIALIZED VIEW ci_pipelines AS SELECT 1 FROM ci_builds WITH NO DATA", "main"},
        {"REFRESH MATERIALIZED VIEW ci_pipelines", "main"},
        {"CREATE VIEW ci_pipelines AS SELECT 1 FROM ci_builds", "main"},
        {"ALTER TABLE ci_builds ALTER id TYPE bigint USING id::bigint", "main"},
        {"ALTER TABLE ci_builds VALIDATE CONSTRAINT c", "main"},
        {"ALTER TABLE ci_builds ADD FOREIGN KEY (id) REFERENCES ci_pipelines", "main"},
        {"CREATE INDEX CONCURRENTLY i ON ci_builds (id) WHERE id > 1", "main"},
        {"DROP TABLE ci_builds", "main"},
        {"COMMENT ON TABLE ci_builds IS 'x'", "main"},
        {"GRANT SELECT ON ci_builds TO r", "main"},
        {"LOCK TABLE ci_builds IN ACCESS EXCLUSIVE MODE", "main"},
        {"VACUUM ci_builds", "main"},
        {"ANALYZE ci_builds", "main"},
        {"CLUSTER ci_builds", "main"},
        {"TRUNCATE ci_builds", "write_lock"},
        {"COPY ci_builds FROM STDIN", "write_lock"},
        {"COPY ci_builds TO STDOUT", "wrong_database"},
        {"DO $$ BEGIN ALTER TABLE ci_builds ADD x int; END $$", "main"},
        {"DO $$ BEGIN ALTER TABLE ci_builds ADD x int; PERFORM 1 FROM ci_builds; END $$",
         "wrong_database"},
        {"DO $$ BEGIN ALTER TABLE ci_builds ADD x int; DELETE FROM ci_builds; END $$",
         "write_lock"},
    };
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        struct fixture f;
        fixture_open(&f, RULES_ENFORCED, "app_main");
        assert_goes(&f, statements[i][0], statements[i][1]);
        fixture_close(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(structure_passes_and_rows_do_not),
        cmocka_unit_test(a_foreign_key_across_is_rejected_on_a_pinned_connection),
        cmocka_unit_test(a_pinned_connection_reads_its_own_tables),
        cmocka_unit_test(a_pinned_connection_may_not_read_another_database),
        cmocka_unit_test(a_pinned_connection_may_not_write_to_another_database),
        cmocka_unit_test(a_row_lock_reads_on_a_pinned_connection),
        cmocka_unit_test(a_pinned_connection_writes_shared_tables_to_its_database),
        cmocka_unit_test(a_pinned_connection_settles_statements_without_tables),
        cmocka_unit_test(structure_changes_pass_on_a_pinned_connection),
        cmocka_unit_test(create_table_as_reads_on_a_pinned_connection),
        cmocka_unit_test(looking_a_name_up_is_free_on_a_pinned_connection),
        cmocka_unit_test(cross_join_comes_before_wrong_database),
        cmocka_unit_test(a_reported_wrong_database_passes_to_the_pin),
        cmocka_unit_test(the_hint_pins_its_statement),
        cmocka_unit_test(the_hint_says_where_a_shared_table_is_written),
        cmocka_unit_test(a_hint_has_no_say_on_a_pinned_entrypoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
