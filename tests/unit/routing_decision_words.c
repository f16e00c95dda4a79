/* The words of a violation: message, DETAIL, HINT, table and position; and what is observed where
 * one is let pass. */
#include "tests/unit/routing_session.h"

static void a_cross_join_points_at_the_first_table_of_another_database(void **unused) {
    (void)unused;
    struct fixture f;
    const char *sql = "SELECT 1 FROM projects, users, ci_builds";
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, sql, "cross_join");
    const struct violation *v = &f.decision.violation;
    assert_string_equal(v->sqlstate, "XD001");
    assert_string_equal(v->table, "ci_builds");
    assert_int_equal(v->position, strstr(sql, "ci_builds") - sql);
    assert_non_null(strstr(v->detail, "projects (gitlab_main, database main) read"));
    assert_non_null(strstr(v->detail, "ci_builds (gitlab_ci, database ci) read"));
    assert_non_null(v->hint);
    fixture_close(&f);
}

static void what_no_database_can_execute_is_said_in_the_detail(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, "rules: {cross_join: report}\n", "app");
    assert_goes(&f, "SELECT 1 FROM projects, ci_builds", "cross_join");
    assert_non_null(strstr(f.decision.violation.detail, "No single database holds all of them"));
    fixture_close(&f);
}

static void a_foreign_key_that_is_let_pass_still_needs_one_database(void **unused) {
    (void)unused;
    struct fixture f;
    const char *sql = "ALTER TABLE ci_builds ADD FOREIGN KEY (id) REFERENCES projects";
    fixture_open(&f, "rules: {cross_foreign_key: report}\n", "app");
    assert_goes(&f, sql, "cross_join");
    assert_string_equal(f.decision.violation.sqlstate, "XD001");
    assert_int_equal(f.decision.observations[0].rule, RULE_CROSS_FOREIGN_KEY);
    assert_non_null(strstr(f.decision.violation.detail, "No single database holds all of them"));
    assert_non_null(strstr(f.decision.violation.detail,
                           "A foreign key refers to a table of its own database."));
    fixture_close(&f);
    fixture_open_single(&f, "rules: {cross_foreign_key: report}\n", "app");
    assert_goes(&f, sql, "ci");
    fixture_close(&f);
}

static void a_cross_transaction_tells_what_modified_before_without_its_literals(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    fixture_run(&f, "BEGIN");
    fixture_run(&f, "UPDATE projects SET name = 'secret'");
    assert_goes(&f, "DELETE FROM ci_builds", "cross_transaction");
    const struct violation *v = &f.decision.violation;
    assert_string_equal(v->sqlstate, "XD002");
    assert_string_equal(v->table, "ci_builds");
    assert_non_null(strstr(
        v->detail, "Earlier in this transaction: UPDATE projects (gitlab_main, database main)"));
    assert_null(strstr(v->detail, "secret"));
    fixture_close(&f);
}

static void a_write_lock_speaks_as_gitlabs_trigger(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app_main");
    assert_goes(&f, "DELETE FROM ci_builds", "write_lock");
    const struct violation *v = &f.decision.violation;
    assert_string_equal(v->sqlstate, "2F002");
    assert_string_equal(v->message,
                        "Table: \"ci_builds\" is write protected within this Gitlab database.");
    assert_string_equal(v->hint, "Make sure you are using the right database connection");
    fixture_close(&f);
}

static void an_unclassified_table_is_named(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT 1 FROM projects, nobodys", "unclassified");
    assert_string_equal(f.decision.violation.sqlstate, "XD005");
    assert_string_equal(f.decision.violation.table, "nobodys");
    assert_int_equal(f.decision.violation.position, 24);
    fixture_close(&f);
}

static void a_foreign_key_violation_points_at_its_far_end(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "ALTER TABLE ci_builds ADD FOREIGN KEY (a) REFERENCES projects (id)",
                "cross_foreign_key");
    assert_string_equal(f.decision.violation.sqlstate, "XD003");
    assert_string_equal(f.decision.violation.table, "projects");
    assert_non_null(strstr(f.decision.violation.hint, "loose foreign key"));
    fixture_close(&f);
}

static void a_wrong_database_names_both(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app_main");
    assert_goes(&f, "SELECT 1 FROM ci_builds", "wrong_database");
    assert_string_equal(f.decision.violation.sqlstate, "XD004");
    assert_string_equal(
        f.decision.violation.message,
        "table \"ci_builds\" belongs to database ci, but this connection is pinned to main");
    fixture_close(&f);
}

static void executing_a_prepared_statement_has_no_position_in_the_text(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    fixture_run(&f, "PREPARE p AS DELETE FROM ci_builds");
    fixture_run(&f, "BEGIN");
    fixture_run(&f, "DELETE FROM projects");
    assert_goes(&f, "EXECUTE p", "cross_transaction");
    assert_int_equal(f.decision.violation.position, -1);
    assert_string_equal(f.decision.violation.table, "ci_builds");
    fixture_close(&f);
}

static void what_report_lets_pass_is_observed(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, "rules: {unclassified: report}\n", "app");
    assert_goes(&f, "SELECT 1 FROM nobodys", "main");
    assert_int_equal(f.decision.observation_count, 1);
    assert_int_equal(f.decision.observations[0].rule, RULE_UNCLASSIFIED);
    assert_int_equal(f.decision.observations[0].reason, OBSERVED_REPORT);
    fixture_close(&f);
}

static void what_a_comment_permits_is_observed(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open_single(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "/* allow_cross_joins_across_databases */ SELECT 1 FROM projects, ci_builds",
                "main");
    assert_int_equal(f.decision.observation_count, 1);
    assert_int_equal(f.decision.observations[0].reason, OBSERVED_COMMENT);
    fixture_close(&f);
}

static void what_a_setting_permits_is_observed(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open_single(&f, RULES_ENFORCED, "app");
    fixture_run(&f, "SET pginterlock.allow = 'cross_join'");
    assert_goes(&f, "SELECT 1 FROM projects, ci_builds", "main");
    assert_int_equal(f.decision.observations[0].reason, OBSERVED_SETTING);
    fixture_close(&f);
}

static void a_rule_that_is_off_is_not_observed(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open_single(&f, "rules: {cross_join: 'off'}\n", "app");
    assert_goes(&f, "SELECT 1 FROM projects, ci_builds", "main");
    assert_int_equal(f.decision.observation_count, 0);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cross_join_points_at_the_first_table_of_another_database),
        cmocka_unit_test(what_no_database_can_execute_is_said_in_the_detail),
        cmocka_unit_test(a_foreign_key_that_is_let_pass_still_needs_one_database),
        cmocka_unit_test(a_cross_transaction_tells_what_modified_before_without_its_literals),
        cmocka_unit_test(a_write_lock_speaks_as_gitlabs_trigger),
        cmocka_unit_test(an_unclassified_table_is_named),
        cmocka_unit_test(a_foreign_key_violation_points_at_its_far_end),
        cmocka_unit_test(a_wrong_database_names_both),
        cmocka_unit_test(executing_a_prepared_statement_has_no_position_in_the_text),
        cmocka_unit_test(what_report_lets_pass_is_observed),
        cmocka_unit_test(what_a_comment_permits_is_observed),
        cmocka_unit_test(what_a_setting_permits_is_observed),
        cmocka_unit_test(a_rule_that_is_off_is_not_observed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
