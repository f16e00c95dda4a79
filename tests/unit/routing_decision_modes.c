/* Permits and the rules' modes: what they let pass, and what they cannot. */
#include "tests/unit/routing_session.h"

static void the_comment_permits_a_cross_join_within_one_store(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open_single(&f, RULES_ENFORCED, "app");
    assert_goes(&f,
                "SELECT 1 FROM projects, ci_builds /* allow_cross_joins_across_databases url=x */",
                "main");
    fixture_close(&f);
}

static void no_permit_makes_two_databases_one(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT 1 FROM projects, ci_builds /* allow_cross_joins_across_databases */",
                "cross_join");
    fixture_close(&f);
}

static void same_as_databases_are_still_checked_as_two(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open_single(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT 1 FROM projects, ci_builds", "cross_join");
    fixture_close(&f);
}

static void report_lets_a_cross_join_pass_within_one_store(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open_single(&f, "rules: {cross_join: report}\n", "app");
    assert_goes(&f, "SELECT 1 FROM projects, ci_builds", "main");
    fixture_close(&f);
}

static void report_does_not_make_two_databases_one(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, "rules: {cross_join: report}\n", "app");
    assert_goes(&f, "SELECT 1 FROM projects, ci_builds", "cross_join");
    fixture_close(&f);
}

static void off_does_not_make_two_databases_one(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, "rules: {cross_join: 'off'}\n", "app");
    assert_goes(&f, "SELECT 1 FROM projects, ci_builds", "cross_join");
    fixture_close(&f);
}

static void an_unclassified_table_counts_as_mains_where_the_rule_is_off(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, "rules: {unclassified: 'off'}\n", "app");
    assert_goes(&f, "SELECT 1 FROM nobodys", "main");
    assert_goes(&f, "SELECT 1 FROM nobodys, ci_builds", "cross_join");
    fixture_close(&f);
}

static void a_reported_foreign_key_across_stores_is_still_rejected(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, "rules: {cross_foreign_key: report}\n", "app");
    assert_goes(&f,
                "ALTER TABLE ci_builds ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES projects (id)",
                "cross_join");
    fixture_close(&f);
}

static void a_reported_foreign_key_passes_within_one_store(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open_single(&f, "rules: {cross_foreign_key: report}\n", "app");
    assert_goes(&f,
                "ALTER TABLE ci_builds ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES projects (id)",
                "ci");
    fixture_close(&f);
}

static void a_statement_that_writes_both_is_a_cross_transaction_too(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open_single(&f, RULES_ENFORCED, "app");
    assert_goes(&f,
                "WITH d AS (DELETE FROM ci_builds) UPDATE projects SET id = 1 /* "
                "allow_cross_joins_across_databases */",
                "cross_transaction");
    fixture_close(&f);
}

static void a_permitted_join_writes_where_its_target_is_at_home(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open_single(&f, RULES_ENFORCED, "app");
    fixture_run(&f, "SET pginterlock.allow = 'cross_join'");
    fixture_run(&f, "BEGIN");
    fixture_run(&f, "WITH b AS (SELECT id FROM ci_builds) DELETE FROM projects USING b");
    assert_int_equal(session_modified(f.session), 1);
    assert_goes(&f, "DELETE FROM detached_partitions", "main");
    assert_goes(&f, "DELETE FROM ci_builds", "cross_transaction");
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_comment_permits_a_cross_join_within_one_store),
        cmocka_unit_test(no_permit_makes_two_databases_one),
        cmocka_unit_test(same_as_databases_are_still_checked_as_two),
        cmocka_unit_test(report_lets_a_cross_join_pass_within_one_store),
        cmocka_unit_test(report_does_not_make_two_databases_one),
        cmocka_unit_test(off_does_not_make_two_databases_one),
        cmocka_unit_test(an_unclassified_table_counts_as_mains_where_the_rule_is_off),
        cmocka_unit_test(a_reported_foreign_key_across_stores_is_still_rejected),
        cmocka_unit_test(a_reported_foreign_key_passes_within_one_store),
        cmocka_unit_test(a_statement_that_writes_both_is_a_cross_transaction_too),
        cmocka_unit_test(a_permitted_join_writes_where_its_target_is_at_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
