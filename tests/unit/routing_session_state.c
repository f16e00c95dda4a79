/* Transactions with their savepoints, and where statements without tables run. */
#include "tests/unit/routing_session.h"

#include "routing/text.h"

static void a_transaction_may_read_both_and_modify_one(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "SELECT 1 FROM projects", "main");
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    assert_goes(&f, "SELECT 1 FROM projects", "main");
    assert_goes(&f, "COMMIT", "all");
    fixture_close(&f);
}

static void a_transaction_may_not_modify_a_second_database(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "DELETE FROM ci_builds", "cross_transaction");
    fixture_close(&f);
}

static void row_locks_modify(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "SELECT 1 FROM projects FOR SHARE", "main");
    assert_goes(&f, "SELECT 1 FROM ci_builds FOR KEY SHARE", "cross_transaction");
    fixture_close(&f);
}

static void truncate_modifies(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "TRUNCATE projects", "main");
    assert_goes(&f, "TRUNCATE ci_builds", "cross_transaction");
    fixture_close(&f);
}

static void copy_from_modifies(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "COPY ci_builds FROM STDIN", "cross_transaction");
    fixture_close(&f);
}

static void structure_changes_modify(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "ALTER TABLE projects ADD COLUMN x int", "main");
    assert_goes(&f, "DELETE FROM ci_builds", "cross_transaction");
    fixture_close(&f);
}

static void outside_a_transaction_each_statement_stands_alone(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    fixture_close(&f);
}

static void commit_and_rollback_forget_what_was_modified(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "COMMIT", "all");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    assert_goes(&f, "ROLLBACK", "all");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    fixture_close(&f);
}

static void and_chain_begins_with_nothing_modified(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "COMMIT AND CHAIN", "all");
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    assert_goes(&f, "DELETE FROM projects", "cross_transaction");
    fixture_close(&f);
}

static void begin_in_a_block_changes_nothing(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM ci_builds", "cross_transaction");
    fixture_close(&f);
}

static void rollback_to_forgets_what_it_undid(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "SAVEPOINT a", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "ROLLBACK TO a", "all");
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    fixture_close(&f);
}

static void rollback_to_keeps_what_came_before(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "SAVEPOINT a", "all");
    assert_goes(&f, "ROLLBACK TO a", "all");
    assert_goes(&f, "DELETE FROM ci_builds", "cross_transaction");
    fixture_close(&f);
}

static void release_merges_into_the_level_below(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "SAVEPOINT a", "all");
    assert_goes(&f, "SAVEPOINT b", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "RELEASE b", "all");
    assert_goes(&f, "DELETE FROM ci_builds", "cross_transaction");
    assert_goes(&f, "ROLLBACK TO a", "all");
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    fixture_close(&f);
}

static void rollback_to_finds_the_latest_savepoint_of_a_name(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "SAVEPOINT a", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "SAVEPOINT a", "all");
    assert_goes(&f, "ROLLBACK TO a", "all");
    assert_goes(&f, "DELETE FROM ci_builds", "cross_transaction");
    fixture_close(&f);
}

static void a_shared_table_is_written_where_the_transaction_writes(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    assert_goes(&f, "DELETE FROM detached_partitions", "ci");
    fixture_close(&f);
}

static void a_shared_table_written_first_runs_on_main_and_counts_there(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "DELETE FROM detached_partitions", "main");
    assert_goes(&f, "DELETE FROM ci_builds", "cross_transaction");
    fixture_close(&f);
}

static void a_hinted_write_to_a_shared_table_counts_where_it_ran(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "/* database: ci */ DELETE FROM detached_partitions", "cross_transaction");
    fixture_close(&f);
}

static void prepare_transaction_over_two_databases_is_unroutable(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "SELECT 1 FROM projects", "main");
    assert_goes(&f, "SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "PREPARE TRANSACTION 'x'", "unroutable");
    fixture_close(&f);
}

static void prepare_transaction_on_one_database_goes_there(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    assert_goes(&f, "PREPARE TRANSACTION 'x'", "ci");
    fixture_close(&f);
}

static void a_prepared_transaction_ends_where_it_is(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    session_found_transaction(f.session, "x", 1 << 1);
    assert_goes(&f, "COMMIT PREPARED 'x'", "ci");
    assert_goes(&f, "ROLLBACK PREPARED 'x'", "ci");
    assert_goes(&f, "/* database: main */ COMMIT PREPARED 'x'", "main");
    fixture_close(&f);
}

static void of_two_prepared_transactions_the_last_database_s_ends(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    session_found_transaction(f.session, "x", 3);
    assert_goes(&f, "COMMIT PREPARED 'x'", "main");
    assert_goes(&f, "SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "COMMIT PREPARED 'x'", "ci");
    fixture_close(&f);
}

static void a_prepared_transaction_that_is_nowhere_is_main_s_to_refuse(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT 1 FROM ci_builds", "ci");
    session_found_transaction(f.session, "x", 0);
    assert_goes(&f, "COMMIT PREPARED 'x'", "main");
    fixture_close(&f);
}

static void an_unknown_prepared_transaction_follows_the_last_database(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "COMMIT PREPARED 'x'", "main");
    assert_goes(&f, "SELECT 1 FROM ci_builds", "ci");
    session_found_transaction(f.session, "other", 1);
    assert_goes(&f, "COMMIT PREPARED 'x'", "ci");
    fixture_close(&f);
}

static void prepare_transaction_within_one_store_is_fine(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open_single(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "SELECT 1 FROM projects", "main");
    assert_goes(&f, "SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "PREPARE TRANSACTION 'x'", "main");
    fixture_close(&f);
}

static void statements_without_tables_follow_the_transaction(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_string_equal(fixture_runs_on(&f, "SELECT 1"), "main");
    assert_goes(&f, "SELECT 1 FROM ci_builds", "ci");
    assert_string_equal(fixture_runs_on(&f, "SELECT 1"), "ci");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "SELECT 1 FROM ci_builds", "ci");
    assert_string_equal(fixture_runs_on(&f, "SELECT 1"), "main");
    assert_goes(&f, "COMMIT", "all");
    fixture_close(&f);
}

static void outside_a_transaction_statements_without_tables_run_on_main(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    assert_string_equal(fixture_runs_on(&f, "SELECT 1"), "main");
    fixture_close(&f);
}

static void catalog_statements_that_name_nothing_follow_the_last_one(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT oid FROM pg_class WHERE relname ~ '^(ci_builds)$'", "ci");
    assert_string_equal(fixture_runs_on(&f, "SELECT attname FROM pg_attribute WHERE attrelid = 1"),
                        "ci");
    assert_string_equal(
        fixture_runs_on(&f, "SELECT 1 FROM pg_class WHERE relname IN ('projects', 'ci_builds')"),
        "ci");
    fixture_close(&f);
}

static void a_failed_block_stays_failed_until_it_is_rolled_back(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "SELECT 1 FROM projects, ci_builds", "cross_join");
    assert_int_equal(session_block_status(f.session), BLOCK_FAILED);
    assert_goes(&f, "COMMIT", "all");
    assert_int_equal(session_block_status(f.session), BLOCK_IDLE);
    fixture_close(&f);
}

static void commit_of_a_failed_block_rolls_back(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "SET pginterlock.database = 'ci'", "none");
    session_failed(f.session);
    assert_goes(&f, "COMMIT", "all");
    assert_goes(&f, "SELECT 1", "any");
    fixture_close(&f);
}

static void statements_in_one_message_are_one_transaction(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    session_begin_implicit(f.session);
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "DELETE FROM ci_builds", "cross_transaction");
    session_end_implicit(f.session, false);
    assert_int_equal(session_block_status(f.session), BLOCK_IDLE);
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    fixture_close(&f);
}

static void begin_in_an_implicit_transaction_keeps_what_it_modified(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    session_begin_implicit(f.session);
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "BEGIN", "all");
    session_end_implicit(f.session, true);
    assert_int_equal(session_block_status(f.session), BLOCK_OPEN);
    assert_goes(&f, "DELETE FROM ci_builds", "cross_transaction");
    fixture_close(&f);
}

static void commit_in_a_message_starts_the_next_implicit_transaction(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    session_begin_implicit(f.session);
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "COMMIT", "all");
    assert_int_equal(session_block_status(f.session), BLOCK_IMPLICIT);
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    assert_goes(&f, "DELETE FROM projects", "cross_transaction");
    session_end_implicit(f.session, false);
    fixture_close(&f);
}

static void savepoints_are_told_outermost_first(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    fixture_run(&f, "BEGIN");
    fixture_run(&f, "SAVEPOINT a");
    fixture_run(&f, "SAVEPOINT b");
    fixture_run(&f, "SAVEPOINT c");
    fixture_run(&f, "ROLLBACK TO b");
    assert_int_equal(session_savepoint_count(f.session), 2);
    assert_string_equal(session_savepoint_name(f.session, 0), "a");
    assert_string_equal(session_savepoint_name(f.session, 1), "b");
    assert_false(session_has_savepoint(f.session, "c"));
    fixture_close(&f);
}

static void a_status_that_differs_is_adopted(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    session_adopt_status(f.session, 'T', 1);
    assert_int_equal(session_block_status(f.session), BLOCK_OPEN);
    session_adopt_status(f.session, 'E', 1);
    assert_int_equal(session_block_status(f.session), BLOCK_FAILED);
    session_adopt_status(f.session, 'I', 1);
    assert_int_equal(session_block_status(f.session), BLOCK_IDLE);
    fixture_close(&f);
}

static void the_modified_databases_are_told(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    fixture_run(&f, "BEGIN");
    fixture_run(&f, "SELECT 1 FROM projects");
    assert_int_equal(session_modified(f.session), 0);
    fixture_run(&f, "DELETE FROM ci_builds");
    assert_int_equal(session_modified(f.session), 1 << 1);
    fixture_close(&f);
}

static void positions_count_characters_from_one(void **unused) {
    (void)unused;
    assert_int_equal(position_in_characters("abc", 3, 0), 1);
    assert_int_equal(position_in_characters("\xc3\xa4\xc3\xb6x", 5, 4), 3);
    assert_int_equal(position_in_characters("abc", 3, -1), 0);
}

static void a_reload_keeps_what_the_session_has_done(void **unused) {
    (void)unused;
    struct fixture f;
    struct fixture old;
    fixture_open(&f, RULES_ENFORCED, "app");
    fixture_run(&f, "PREPARE p AS DELETE FROM ci_builds");
    fixture_run(&f, "BEGIN");
    fixture_run(&f, "DELETE FROM projects");
    old = f;
    fixture_write(
        &f, "tables.yml",
        "aaa: :gitlab_aaa\nci_builds: :gitlab_ci\nprojects: :gitlab_main\nusers: :gitlab_main\n");
    struct session_state *session = f.session;
    fixture_load(&f, "app");
    session_state_free(f.session);
    f.session = session;
    session_set_settings(f.session, f.settings, settings_find_entrypoint(f.settings, "app"));
    router_free(old.router);
    query_unref(old.query);
    settings_unref(old.settings);
    assert_goes(&f, "EXECUTE p", "cross_transaction");
    assert_non_null(
        strstr(f.decision.violation.detail, "DELETE projects (gitlab_main, database main)"));
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_transaction_may_read_both_and_modify_one),
        cmocka_unit_test(a_transaction_may_not_modify_a_second_database),
        cmocka_unit_test(row_locks_modify),
        cmocka_unit_test(truncate_modifies),
        cmocka_unit_test(copy_from_modifies),
        cmocka_unit_test(structure_changes_modify),
        cmocka_unit_test(outside_a_transaction_each_statement_stands_alone),
        cmocka_unit_test(commit_and_rollback_forget_what_was_modified),
        cmocka_unit_test(and_chain_begins_with_nothing_modified),
        cmocka_unit_test(begin_in_a_block_changes_nothing),
        cmocka_unit_test(rollback_to_forgets_what_it_undid),
        cmocka_unit_test(rollback_to_keeps_what_came_before),
        cmocka_unit_test(release_merges_into_the_level_below),
        cmocka_unit_test(rollback_to_finds_the_latest_savepoint_of_a_name),
        cmocka_unit_test(a_shared_table_is_written_where_the_transaction_writes),
        cmocka_unit_test(a_shared_table_written_first_runs_on_main_and_counts_there),
        cmocka_unit_test(a_hinted_write_to_a_shared_table_counts_where_it_ran),
        cmocka_unit_test(prepare_transaction_over_two_databases_is_unroutable),
        cmocka_unit_test(prepare_transaction_on_one_database_goes_there),
        cmocka_unit_test(a_prepared_transaction_ends_where_it_is),
        cmocka_unit_test(of_two_prepared_transactions_the_last_database_s_ends),
        cmocka_unit_test(a_prepared_transaction_that_is_nowhere_is_main_s_to_refuse),
        cmocka_unit_test(an_unknown_prepared_transaction_follows_the_last_database),
        cmocka_unit_test(prepare_transaction_within_one_store_is_fine),
        cmocka_unit_test(statements_without_tables_follow_the_transaction),
        cmocka_unit_test(outside_a_transaction_statements_without_tables_run_on_main),
        cmocka_unit_test(catalog_statements_that_name_nothing_follow_the_last_one),
        cmocka_unit_test(a_failed_block_stays_failed_until_it_is_rolled_back),
        cmocka_unit_test(commit_of_a_failed_block_rolls_back),
        cmocka_unit_test(statements_in_one_message_are_one_transaction),
        cmocka_unit_test(begin_in_an_implicit_transaction_keeps_what_it_modified),
        cmocka_unit_test(commit_in_a_message_starts_the_next_implicit_transaction),
        cmocka_unit_test(savepoints_are_told_outermost_first),
        cmocka_unit_test(a_status_that_differs_is_adopted),
        cmocka_unit_test(the_modified_databases_are_told),
        cmocka_unit_test(positions_count_characters_from_one),
        cmocka_unit_test(a_reload_keeps_what_the_session_has_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
