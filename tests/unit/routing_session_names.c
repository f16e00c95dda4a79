/* Names that live on one database: temporary tables, prepared statements, cursors. */
#include "tests/unit/routing_session.h"

static void a_prepared_statement_runs_where_it_was_prepared(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "PREPARE p AS SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "EXECUTE p", "ci");
    assert_goes(&f, "DEALLOCATE p", "ci");
    fixture_close(&f);
}

static void execute_of_an_unknown_name_goes_to_the_default_database(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "EXECUTE p", "main");
    fixture_close(&f);
}

static void prepare_does_not_modify_but_execute_does(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "PREPARE p AS DELETE FROM ci_builds", "ci");
    assert_goes(&f, "EXECUTE p", "cross_transaction");
    fixture_close(&f);
}

static void a_prepared_statement_outlives_a_rollback(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "PREPARE p AS SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "ROLLBACK", "all");
    assert_goes(&f, "EXECUTE p", "ci");
    fixture_close(&f);
}

static void deallocate_all_forgets_every_prepared_statement(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "PREPARE p AS SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "DEALLOCATE ALL", "all");
    assert_goes(&f, "EXECUTE p", "main");
    fixture_close(&f);
}

static void a_cursor_is_fetched_and_closed_where_it_was_declared(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DECLARE c CURSOR FOR SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "SELECT 1 FROM projects", "main");
    assert_goes(&f, "FETCH c", "ci");
    assert_goes(&f, "MOVE c", "ci");
    assert_goes(&f, "CLOSE c", "ci");
    fixture_close(&f);
}

static void fetch_modifies_as_its_statement_does(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "DECLARE c CURSOR FOR SELECT 1 FROM ci_builds FOR UPDATE", "ci");
    assert_goes(&f, "FETCH c", "cross_transaction");
    fixture_close(&f);
}

static void a_cursor_ends_with_its_transaction(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DECLARE c CURSOR FOR SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "COMMIT", "all");
    assert_goes(&f, "FETCH c", "main");
    fixture_close(&f);
}

static void a_cursor_with_hold_outlives_its_transaction(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DECLARE c CURSOR WITH HOLD FOR SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "COMMIT", "all");
    assert_goes(&f, "FETCH c", "ci");
    fixture_close(&f);
}

static void a_temporary_table_lives_where_its_data_came_from(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "CREATE TEMP TABLE t AS SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "SELECT 1 FROM t", "ci");
    fixture_close(&f);
}

static void a_temporary_table_hides_a_classified_one(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "CREATE TEMP TABLE projects AS SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "SELECT 1 FROM projects", "ci");
    assert_goes(&f, "SELECT 1 FROM public.projects", "main");
    fixture_close(&f);
}

static void a_temporary_table_with_another_databases_table_is_a_cross_join(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "CREATE TEMP TABLE t AS SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "SELECT 1 FROM t, projects", "cross_join");
    fixture_close(&f);
}

static void a_temporary_table_is_undone_with_its_transaction(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "CREATE TEMP TABLE t AS SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "ROLLBACK", "all");
    assert_goes(&f, "SELECT 1 FROM t", "unclassified");
    fixture_close(&f);
}

static void a_temporary_table_is_undone_by_rollback_to(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "SAVEPOINT a", "all");
    assert_goes(&f, "CREATE TEMP TABLE t AS SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "ROLLBACK TO a", "all");
    assert_goes(&f, "SELECT 1 FROM t", "unclassified");
    fixture_close(&f);
}

static void a_dropped_temporary_table_is_forgotten(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "CREATE TEMP TABLE projects AS SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "DROP TABLE projects", "ci");
    assert_goes(&f, "SELECT 1 FROM projects", "main");
    fixture_close(&f);
}

static void a_drop_that_is_rolled_back_brings_the_temporary_table_back(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "CREATE TEMP TABLE t AS SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DROP TABLE t", "ci");
    assert_goes(&f, "ROLLBACK", "all");
    assert_goes(&f, "SELECT 1 FROM t", "ci");
    fixture_close(&f);
}

static void on_commit_drop_forgets_the_temporary_table(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "SELECT 1 FROM t", "ci");
    assert_goes(&f, "COMMIT", "all");
    assert_goes(&f, "SELECT 1 FROM t", "unclassified");
    fixture_close(&f);
}

static void discard_temp_forgets_temporary_tables(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "CREATE TEMP TABLE t AS SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "DISCARD TEMP", "all");
    assert_goes(&f, "SELECT 1 FROM t", "unclassified");
    fixture_close(&f);
}

static void temporary_tables_do_not_modify(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "CREATE TEMP TABLE t AS SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "INSERT INTO t VALUES (1)", "ci");
    assert_goes(&f, "DELETE FROM projects", "main");
    fixture_close(&f);
}

static void a_write_through_a_temporary_view_modifies_its_database(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "CREATE TEMP VIEW v AS SELECT * FROM ci_builds", "ci");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "SELECT 1 FROM v", "ci");
    assert_goes(&f, "UPDATE v SET name = 'x'", "cross_transaction");
    assert_goes(&f, "ROLLBACK", "all");
    assert_goes(&f, "ALTER VIEW v RENAME TO w", "ci");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "SELECT 1 FROM w FOR UPDATE", "ci");
    assert_goes(&f, "DELETE FROM projects", "cross_transaction");
    fixture_close(&f);
}

static void a_lost_database_takes_its_names_along(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "CREATE TEMP TABLE t AS SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "PREPARE p AS SELECT 1 FROM ci_builds", "ci");
    session_lost_database(f.session, 1);
    assert_goes(&f, "SELECT 1 FROM t", "unclassified");
    assert_goes(&f, "EXECUTE p", "main");
    fixture_close(&f);
}

static void many_temporary_tables_are_all_remembered(void **unused) {
    (void)unused;
    struct fixture f;
    char sql[100];
    fixture_open(&f, RULES_ENFORCED, "app");
    fixture_run(&f, "BEGIN");
    for (int i = 0; i < 1000; i++) {
        snprintf(sql, sizeof sql, "CREATE TEMP TABLE t%dx AS SELECT 1 FROM ci_builds", i);
        fixture_run(&f, sql);
        snprintf(sql, sizeof sql, "DROP TABLE t%dx", i);
        if (i % 2 == 0) {
            assert_goes(&f, sql, "ci");
        }
    }
    fixture_run(&f, "COMMIT");
    assert_goes(&f, "SELECT 1 FROM t501x", "ci");
    assert_goes(&f, "SELECT 1 FROM t500x", "unclassified");
    fixture_close(&f);
}

static void a_catalog_statement_finds_the_temporary_table_that_it_names(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "CREATE TEMP TABLE t AS SELECT id FROM ci_builds", "ci");
    assert_goes(&f, "SELECT oid FROM pg_class WHERE relname ~ '^(projects)$'", "main");
    assert_goes(&f, "SELECT oid FROM pg_class WHERE relname ~ '^(t)$'", "ci");
    assert_string_equal(fixture_runs_on(&f, "SELECT attname FROM pg_attribute WHERE attrelid = 1"),
                        "ci");
    assert_goes(&f, "SELECT oid FROM pg_class WHERE relname = 'projects' AND relkind <> 't'",
                "main");
    assert_goes(&f, "DROP TABLE t", "ci");
    assert_string_equal(fixture_runs_on(&f, "SELECT oid FROM pg_class WHERE relname = 't'"),
                        "main");
    fixture_close(&f);
}

static void catalog_statements_that_name_nothing_follow_a_look_up_of_a_name(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT oid FROM pg_class WHERE relname ~ '^(projects)$'", "main");
    assert_goes(&f, "SELECT 'ci_builds'::regclass::oid", "ci");
    assert_string_equal(fixture_runs_on(&f, "SELECT 1 FROM pg_class WHERE oid = 1"), "ci");
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prepared_statement_runs_where_it_was_prepared),
        cmocka_unit_test(execute_of_an_unknown_name_goes_to_the_default_database),
        cmocka_unit_test(prepare_does_not_modify_but_execute_does),
        cmocka_unit_test(a_prepared_statement_outlives_a_rollback),
        cmocka_unit_test(deallocate_all_forgets_every_prepared_statement),
        cmocka_unit_test(a_cursor_is_fetched_and_closed_where_it_was_declared),
        cmocka_unit_test(fetch_modifies_as_its_statement_does),
        cmocka_unit_test(a_cursor_ends_with_its_transaction),
        cmocka_unit_test(a_cursor_with_hold_outlives_its_transaction),
        cmocka_unit_test(a_temporary_table_lives_where_its_data_came_from),
        cmocka_unit_test(a_temporary_table_hides_a_classified_one),
        cmocka_unit_test(a_temporary_table_with_another_databases_table_is_a_cross_join),
        cmocka_unit_test(a_temporary_table_is_undone_with_its_transaction),
        cmocka_unit_test(a_temporary_table_is_undone_by_rollback_to),
        cmocka_unit_test(a_dropped_temporary_table_is_forgotten),
        cmocka_unit_test(a_drop_that_is_rolled_back_brings_the_temporary_table_back),
        cmocka_unit_test(on_commit_drop_forgets_the_temporary_table),
        cmocka_unit_test(discard_temp_forgets_temporary_tables),
        cmocka_unit_test(temporary_tables_do_not_modify),
        cmocka_unit_test(a_write_through_a_temporary_view_modifies_its_database),
        cmocka_unit_test(a_lost_database_takes_its_names_along),
        cmocka_unit_test(many_temporary_tables_are_all_remembered),
        cmocka_unit_test(a_catalog_statement_finds_the_temporary_table_that_it_names),
        cmocka_unit_test(catalog_statements_that_name_nothing_follow_a_look_up_of_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
