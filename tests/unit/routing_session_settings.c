/* The proxy's own settings: what they do, and that they are as transactional as any. */
#include "tests/unit/routing_session.h"

static void after_a_permitted_write_both_count_as_modified(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f,
                "DELETE FROM ci_builds /* allow_cross_database_modification_within_transaction */",
                "ci");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    fixture_close(&f);
}

static void set_allow_permits_a_cross_transaction(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SET pginterlock.allow = 'cross_transaction; url=x'", "none");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    fixture_close(&f);
}

static void set_local_allow_ends_with_its_transaction(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "SET LOCAL pginterlock.allow = 'cross_transaction'", "none");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    assert_goes(&f, "COMMIT", "all");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "DELETE FROM ci_builds", "cross_transaction");
    fixture_close(&f);
}

static void reset_ends_a_permit(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SET pginterlock.allow = 'cross_transaction'", "none");
    assert_goes(&f, "RESET pginterlock.allow", "none");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "DELETE FROM ci_builds", "cross_transaction");
    fixture_close(&f);
}

static void a_permit_is_undone_with_its_transaction(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "SET pginterlock.allow = 'cross_transaction'", "none");
    assert_goes(&f, "ROLLBACK", "all");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "DELETE FROM ci_builds", "cross_transaction");
    fixture_close(&f);
}

static void set_database_pins_the_session(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SET pginterlock.database = 'ci'", "none");
    assert_goes(&f, "SELECT 1", "ci");
    assert_goes(&f, "SELECT 1 FROM projects", "wrong_database");
    assert_goes(&f, "DELETE FROM projects", "write_lock");
    assert_goes(&f, "RESET pginterlock.database", "none");
    assert_goes(&f, "SELECT 1 FROM projects", "main");
    fixture_close(&f);
}

static void set_local_database_pins_one_transaction(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "SET LOCAL pginterlock.database = 'ci'", "none");
    assert_goes(&f, "SELECT 1", "ci");
    assert_goes(&f, "COMMIT", "all");
    assert_goes(&f, "SELECT 1", "any");
    fixture_close(&f);
}

static void reset_all_and_discard_all_end_a_pin(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SET pginterlock.database = 'ci'", "none");
    assert_goes(&f, "RESET ALL", "all");
    assert_goes(&f, "SELECT 1", "any");
    assert_goes(&f, "SET pginterlock.database = 'ci'", "none");
    assert_goes(&f, "DISCARD ALL", "all");
    assert_goes(&f, "SELECT 1", "any");
    fixture_close(&f);
}

static void set_config_sets_as_set_does(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SELECT set_config('pginterlock.database', 'ci', false)", "any");
    assert_goes(&f, "SELECT 1", "ci");
    fixture_close(&f);
}

static void show_tells_the_proxys_own_settings(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_string_equal(session_show(f.session, "pginterlock.database"), "");
    fixture_run(&f, "SET pginterlock.database = 'ci'");
    fixture_run(&f, "SET pginterlock.allow = 'cross_join; url=https://example.org'");
    assert_string_equal(session_show(f.session, "pginterlock.database"), "ci");
    assert_string_equal(session_show(f.session, "pginterlock.allow"),
                        "cross_join; url=https://example.org");
    assert_null(session_show(f.session, "pginterlock.nothing"));
    fixture_close(&f);
}

static void a_setting_with_a_wrong_value_is_22023(void **unused) {
    (void)unused;
    struct fixture f;
    const char *sqlstate;
    struct error error;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_false(
        session_check_setting(f.session, "pginterlock.database", "nowhere", &sqlstate, &error));
    assert_string_equal(sqlstate, "22023");
    assert_false(session_check_setting(f.session, "pginterlock.allow", "cross_everything",
                                       &sqlstate, &error));
    assert_string_equal(sqlstate, "22023");
    assert_true(session_check_setting(f.session, "pginterlock.allow",
                                      "cross_join, cross_transaction; url=x", &sqlstate, &error));
    fixture_close(&f);
}

static void an_unknown_setting_of_ours_is_42704(void **unused) {
    (void)unused;
    struct fixture f;
    const char *sqlstate;
    struct error error;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_false(session_check_setting(f.session, "pginterlock.nothing", "x", &sqlstate, &error));
    assert_string_equal(sqlstate, "42704");
    fixture_close(&f);
}

static void a_setting_returns_to_its_value_at_the_savepoint(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    fixture_run(&f, "BEGIN");
    fixture_run(&f, "SET pginterlock.database = 'main'");
    fixture_run(&f, "SAVEPOINT a");
    fixture_run(&f, "SET pginterlock.database = 'ci'");
    fixture_run(&f, "SET pginterlock.database = 'ci'");
    assert_goes(&f, "SELECT 1", "ci");
    fixture_run(&f, "ROLLBACK TO a");
    assert_goes(&f, "SELECT 1", "main");
    fixture_run(&f, "COMMIT");
    assert_goes(&f, "SELECT 1", "main");
    fixture_close(&f);
}

static void set_after_set_local_outlives_the_transaction(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    fixture_run(&f, "BEGIN");
    fixture_run(&f, "SET LOCAL pginterlock.database = 'main'");
    fixture_run(&f, "SET pginterlock.database = 'ci'");
    fixture_run(&f, "SET LOCAL pginterlock.database = 'main'");
    assert_goes(&f, "SELECT 1", "main");
    fixture_run(&f, "COMMIT");
    assert_goes(&f, "SELECT 1", "ci");
    fixture_close(&f);
}

static void set_config_of_what_is_not_constant_changes_nothing(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    fixture_run(&f, "SET pginterlock.database = 'ci'");
    fixture_run(&f, "SELECT set_config('pginterlock.database', lower('MAIN'), false)");
    assert_goes(&f, "SELECT 1", "ci");
    fixture_close(&f);
}

static void a_startup_setting_is_the_sessions_own(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    session_set_at_startup(f.session, "pginterlock.database", "ci");
    fixture_run(&f, "BEGIN");
    fixture_run(&f, "ROLLBACK");
    assert_goes(&f, "SELECT 1", "ci");
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_permitted_write_both_count_as_modified),
        cmocka_unit_test(set_allow_permits_a_cross_transaction),
        cmocka_unit_test(set_local_allow_ends_with_its_transaction),
        cmocka_unit_test(reset_ends_a_permit),
        cmocka_unit_test(a_permit_is_undone_with_its_transaction),
        cmocka_unit_test(set_database_pins_the_session),
        cmocka_unit_test(set_local_database_pins_one_transaction),
        cmocka_unit_test(reset_all_and_discard_all_end_a_pin),
        cmocka_unit_test(set_config_sets_as_set_does),
        cmocka_unit_test(show_tells_the_proxys_own_settings),
        cmocka_unit_test(a_setting_with_a_wrong_value_is_22023),
        cmocka_unit_test(an_unknown_setting_of_ours_is_42704),
        cmocka_unit_test(a_setting_returns_to_its_value_at_the_savepoint),
        cmocka_unit_test(set_after_set_local_outlives_the_transaction),
        cmocka_unit_test(set_config_of_what_is_not_constant_changes_nothing),
        cmocka_unit_test(a_startup_setting_is_the_sessions_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
