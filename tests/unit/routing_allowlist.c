/* What the allowlist lets pass, in which order of reasons, and what no permit can. */
#include "config/allowlist.h"
#include "routing/fingerprint.h"
#include "tests/unit/routing_session.h"

/* main and ci in one store, so that a permitted join can be executed. */
static void open_with(struct fixture *f, bool single, const char *rules, const char *list,
                      const char *entrypoint) {
    char more[1024];
    snprintf(more, sizeof more, "%s", rules);
    (single ? fixture_open_single : fixture_open)(f, more, entrypoint);
    fixture_write(f, "list.yml", list);
    snprintf(more, sizeof more,
             "databases:\n  main: \"host=127.0.0.1 port=5432 dbname=app\"\n  ci: %s\n"
             "classification:\n  tables: tables.yml\n  functions: {archive_build: gitlab_ci}\n"
             "entrypoints: {app: routed, app_main: main, app_ci: ci}\n"
             "auth: {method: trust}\nlisten: [\"127.0.0.1:6432\"]\nallowlist: list.yml\n%s",
             single ? "{same_as: main}" : "\"host=127.0.0.1 port=5433 dbname=app_ci\"", rules);
    fixture_write(f, "pginterlock.yml", more);
    session_state_free(f->session);
    router_free(f->router);
    settings_unref(f->settings);
    fixture_load(f, entrypoint);
}

static const char *fingerprint_of(enum rule rule, const char *normalized) {
    static char out[FINGERPRINT_LENGTH + 1];
    fingerprint_make(rule, normalized, out);
    return out;
}

static void open_with_statement(struct fixture *f, bool single, const char *rules, enum rule rule,
                                const char *normalized, const char *entrypoint) {
    char list[256];
    snprintf(list, sizeof list, "- {rule: %s, fingerprint: %s, url: u, until: 2024-10-04}\n",
             rule_name(rule), fingerprint_of(rule, normalized));
    open_with(f, single, rules, list, entrypoint);
}

#define JOIN_NORMALIZED "select ? from ci_builds b, projects where b.id = ?"

static void a_statement_is_let_pass_by_its_fingerprint_whatever_its_constants(void **unused) {
    (void)unused;
    struct fixture f;
    open_with_statement(&f, true, "", RULE_CROSS_JOIN, JOIN_NORMALIZED, "app");
    assert_goes(&f, "SELECT 1 FROM ci_builds b, projects WHERE b.id = 2", "ci");
    assert_int_equal(f.decision.observation_count, 1);
    assert_int_equal(f.decision.observations[0].reason, OBSERVED_ALLOWLIST);
    assert_int_equal(f.decision.observations[0].rule, RULE_CROSS_JOIN);
    assert_string_equal(f.decision.observations[0].entry->url, "u");
    assert_goes(&f, "SELECT  'x' from ci_builds B ,projects where b.id=$1 -- again", "ci");
    assert_goes(&f, "SELECT 1 FROM ci_builds b, projects WHERE b.name = 2", "cross_join");
    assert_int_equal(f.decision.observation_count, 0);
    fixture_close(&f);
}

static void a_fingerprint_is_of_one_rule(void **unused) {
    (void)unused;
    struct fixture f;
    open_with_statement(&f, true, "", RULE_CROSS_TRANSACTION, JOIN_NORMALIZED, "app");
    assert_goes(&f, "SELECT 1 FROM ci_builds b, projects WHERE b.id = 2", "cross_join");
    fixture_close(&f);
}

static void an_entry_does_not_hold_after_its_last_day(void **unused) {
    (void)unused;
    struct fixture f;
    int today = 20000;
    open_with_statement(&f, true, "", RULE_CROSS_JOIN, JOIN_NORMALIZED, "app");
    session_use_today(f.session, &today);
    assert_goes(&f, "SELECT 1 FROM ci_builds b, projects WHERE b.id = 2", "ci");
    today++;
    assert_goes(&f, "SELECT 1 FROM ci_builds b, projects WHERE b.id = 2", "cross_join");
    fixture_close(&f);
}

static void what_no_single_database_can_execute_stays_rejected(void **unused) {
    (void)unused;
    struct fixture f;
    open_with_statement(&f, false, "", RULE_CROSS_JOIN, JOIN_NORMALIZED, "app");
    assert_goes(&f, "SELECT 1 FROM ci_builds b, projects WHERE b.id = 2", "cross_join");
    assert_non_null(strstr(f.decision.violation.detail, "neither a permit"));
    fixture_close(&f);
}

static void
comment_and_setting_are_told_before_the_allowlist_and_that_before_report(void **unused) {
    (void)unused;
    struct fixture f;
    open_with_statement(&f, true, "rules: {cross_join: report}\n", RULE_CROSS_JOIN,
                        "select ? from ci_builds, projects", "app");
    assert_goes(&f, "SELECT 1 FROM ci_builds, projects", "ci");
    assert_int_equal(f.decision.observations[0].reason, OBSERVED_ALLOWLIST);
    assert_goes(&f, "SELECT 1 FROM ci_builds, users", "ci");
    assert_int_equal(f.decision.observations[0].reason, OBSERVED_REPORT);
    assert_null(f.decision.observations[0].entry);
    assert_goes(&f, "/* allow_cross_joins_across_databases */ SELECT 1 FROM ci_builds, projects",
                "ci");
    assert_int_equal(f.decision.observations[0].reason, OBSERVED_COMMENT);
    assert_goes(&f, "SET pginterlock.allow = 'cross_join'", "none");
    assert_goes(&f, "SELECT 1 FROM ci_builds, projects", "ci");
    assert_int_equal(f.decision.observations[0].reason, OBSERVED_SETTING);
    fixture_close(&f);
}

static void a_rule_that_is_off_needs_no_permit(void **unused) {
    (void)unused;
    struct fixture f;
    open_with_statement(&f, true, "rules: {cross_join: 'off'}\n", RULE_CROSS_JOIN,
                        "select ? from ci_builds, projects", "app");
    assert_goes(&f, "SELECT 1 FROM ci_builds, projects", "ci");
    assert_int_equal(f.decision.observation_count, 0);
    fixture_close(&f);
}

static void a_join_passes_by_tables_where_all_that_count_are_listed(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, true, "",
              "- {rule: cross_join, tables: [ci_builds, projects]}\n"
              "- {rule: cross_join, tables: [archive_build, users]}\n",
              "app");
    assert_goes(&f, "SELECT 1 FROM ci_builds, projects", "ci");
    assert_goes(&f, "SELECT 1 FROM ci_builds_101, projects", "ci");
    assert_goes(&f, "SELECT 1 FROM ci_builds, projects, detached_partitions, pg_class", "ci");
    assert_goes(&f, "SELECT 1 FROM ci_builds, projects, issues", "cross_join");
    assert_goes(&f, "SELECT 1 FROM ci_pipelines, projects", "cross_join");
    assert_goes(&f, "SELECT archive_build(id) FROM users", "main");
    assert_goes(&f, "SELECT archive_build(id) FROM projects", "cross_join");
    fixture_close(&f);
}

static void a_temporary_table_is_none_that_is_listed(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, true, "", "- {rule: cross_join, tables: [ci_builds, projects]}\n", "app");
    assert_goes(&f, "CREATE TEMP TABLE t (id int)", "main");
    assert_goes(&f, "SELECT 1 FROM ci_builds, projects, t", "cross_join");
    fixture_close(&f);
}

static const char *const transaction_list =
    "- {rule: cross_transaction, tables: [ci_builds, projects, users]}\n";

static void a_transaction_passes_by_the_tables_that_it_modifies(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, false, "", transaction_list, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "SELECT 1 FROM issues", "main");
    assert_goes(&f, "UPDATE users SET a = 1", "main");
    assert_goes(&f, "DELETE FROM projects WHERE id IN (SELECT id FROM issues)", "main");
    assert_goes(&f, "INSERT INTO ci_builds VALUES (1)", "ci");
    assert_int_equal(f.decision.observations[0].reason, OBSERVED_ALLOWLIST);
    assert_goes(&f, "UPDATE ci_pipelines SET a = 1", "ci"); /* nothing new */
    assert_goes(&f, "ROLLBACK", "all");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "UPDATE issues SET a = 1", "main");
    assert_goes(&f, "INSERT INTO ci_builds VALUES (1)", "cross_transaction");
    fixture_close(&f);
}

static void every_table_modified_before_must_be_listed(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, false, "", transaction_list, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "UPDATE users SET a = 1", "main");
    assert_goes(&f, "UPDATE issues SET a = 1", "main");
    assert_goes(&f, "INSERT INTO ci_builds VALUES (1)", "cross_transaction");
    /* … though only what brought a database is told. */
    assert_null(strstr(f.decision.violation.detail, "issues"));
    fixture_close(&f);
}

static void what_was_rolled_back_need_not_be_listed(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, false, "", transaction_list, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "UPDATE users SET a = 1", "main");
    assert_goes(&f, "SAVEPOINT a", "all");
    assert_goes(&f, "UPDATE issues SET a = 1", "main");
    assert_goes(&f, "ROLLBACK TO a", "all");
    assert_goes(&f, "INSERT INTO ci_builds VALUES (1)", "ci");
    fixture_close(&f);
}

static void structure_without_a_table_is_listed_by_nobody(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, false, "", transaction_list, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "UPDATE users SET a = 1", "main");
    assert_goes(&f, "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "main");
    assert_goes(&f, "INSERT INTO ci_builds VALUES (1)", "cross_transaction");
    fixture_close(&f);
}

static void one_statement_over_two_databases_passes_by_its_tables(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, true, "rules: {cross_join: 'off'}\n", transaction_list, "app");
    assert_goes(&f, "WITH a AS (DELETE FROM ci_builds) UPDATE projects SET a = 1", "ci");
    assert_int_equal(f.decision.observations[0].rule, RULE_CROSS_TRANSACTION);
    assert_goes(&f, "WITH a AS (DELETE FROM ci_builds) UPDATE issues SET a = 1",
                "cross_transaction");
    fixture_close(&f);
}

static void a_list_that_comes_during_a_transaction_does_not_know_what_was_before(void **unused) {
    (void)unused;
    struct fixture f, without;
    fixture_open(&without, "", "app");
    open_with(&f, false, "", transaction_list, "app");
    assert_goes(&without, "BEGIN", "all");
    assert_goes(&without, "UPDATE users SET a = 1", "main");
    assert_goes(&without, "UPDATE issues SET a = 1", "main");
    session_set_settings(without.session, f.settings, 0);
    assert_goes(&without, "INSERT INTO ci_builds VALUES (1)", "cross_transaction");
    assert_goes(&without, "ROLLBACK", "all");
    assert_goes(&without, "BEGIN", "all");
    assert_goes(&without, "UPDATE users SET a = 1", "main");
    assert_goes(&without, "INSERT INTO ci_builds VALUES (1)", "ci");
    session_state_free(without.session); /* it holds queries classified by f's settings */
    without.session = NULL;
    fixture_close(&without);
    fixture_close(&f);
}

static void execute_and_fetch_count_as_what_was_prepared(void **unused) {
    (void)unused;
    struct fixture f;
    open_with_statement(&f, false, "", RULE_CROSS_TRANSACTION,
                        "prepare ? as insert into ci_builds values (?)", "app");
    assert_goes(&f, "PREPARE a AS INSERT INTO ci_builds VALUES (1)", "ci");
    assert_goes(&f, "PREPARE b AS UPDATE ci_builds SET id = 1", "ci");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "UPDATE users SET a = 1", "main");
    assert_goes(&f, "EXECUTE b", "cross_transaction");
    assert_goes(&f, "ROLLBACK", "all");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "UPDATE users SET a = 1", "main");
    assert_goes(&f, "EXECUTE a", "ci");
    assert_int_equal(f.decision.observations[0].reason, OBSERVED_ALLOWLIST);
    fixture_close(&f);
}

static void what_execute_modified_before_must_be_listed_too(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, false, "", transaction_list, "app");
    assert_goes(&f, "PREPARE a AS UPDATE issues SET a = 1", "main");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "UPDATE users SET a = 1", "main");
    assert_goes(&f, "EXECUTE a", "main");
    assert_goes(&f, "INSERT INTO ci_builds VALUES (1)", "cross_transaction");
    fixture_close(&f);
}

static void the_other_rules_are_permitted_as_well(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, true, "rules: {cross_transaction: 'off'}\n",
              "- {rule: unclassified, tables: [nobody_knows]}\n"
              "- {rule: unparsed, tables: [ci_builds, users]}\n"
              "- {rule: cross_foreign_key, tables: [ci_builds, users]}\n",
              "app");
    assert_goes(&f, "SELECT 1 FROM nobody_knows", "main");
    assert_goes(&f, "SELECT 1 FROM nobody_knows, nobody_else", "unclassified");
    assert_goes(&f, "SELECT FROM WHERE ci_builds users", "ci");
    assert_goes(&f, "SELECT FROM WHERE ci_builds projects", "unparsed");
    assert_goes(&f, "ALTER TABLE ci_builds ADD FOREIGN KEY (a) REFERENCES users", "ci");
    assert_goes(&f, "ALTER TABLE ci_builds ADD FOREIGN KEY (a) REFERENCES projects",
                "cross_foreign_key");
    fixture_close(&f);
}

static void a_pinned_connection_passes_by_the_tables_that_are_out_of_bounds(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, false, "",
              "- {rule: wrong_database, tables: [ci_builds]}\n"
              "- {rule: write_lock, tables: [ci_pipelines]}\n",
              "app_main");
    assert_goes(&f, "SELECT 1 FROM ci_builds", "main");
    assert_goes(&f, "SELECT 1 FROM ci_pipelines", "wrong_database");
    assert_goes(&f, "DELETE FROM ci_pipelines", "main");
    assert_int_equal(f.decision.observations[0].rule, RULE_WRITE_LOCK);
    assert_goes(&f, "DELETE FROM ci_pipelines USING ci_builds", "main");
    assert_int_equal(f.decision.observation_count, 2);
    assert_goes(&f, "DELETE FROM ci_builds", "write_lock");
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_statement_is_let_pass_by_its_fingerprint_whatever_its_constants),
        cmocka_unit_test(a_fingerprint_is_of_one_rule),
        cmocka_unit_test(an_entry_does_not_hold_after_its_last_day),
        cmocka_unit_test(what_no_single_database_can_execute_stays_rejected),
        cmocka_unit_test(comment_and_setting_are_told_before_the_allowlist_and_that_before_report),
        cmocka_unit_test(a_rule_that_is_off_needs_no_permit),
        cmocka_unit_test(a_join_passes_by_tables_where_all_that_count_are_listed),
        cmocka_unit_test(a_temporary_table_is_none_that_is_listed),
        cmocka_unit_test(a_transaction_passes_by_the_tables_that_it_modifies),
        cmocka_unit_test(every_table_modified_before_must_be_listed),
        cmocka_unit_test(what_was_rolled_back_need_not_be_listed),
        cmocka_unit_test(structure_without_a_table_is_listed_by_nobody),
        cmocka_unit_test(one_statement_over_two_databases_passes_by_its_tables),
        cmocka_unit_test(a_list_that_comes_during_a_transaction_does_not_know_what_was_before),
        cmocka_unit_test(execute_and_fetch_count_as_what_was_prepared),
        cmocka_unit_test(what_execute_modified_before_must_be_listed_too),
        cmocka_unit_test(the_other_rules_are_permitted_as_well),
        cmocka_unit_test(a_pinned_connection_passes_by_the_tables_that_are_out_of_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
