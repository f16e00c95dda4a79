/* What the schemas' permission lists let be joined, modified together and referenced, within one
 * database. */
#include "tests/unit/routing_session.h"

/* user lists main everywhere; setting is listed by nobody and lists only main. */
static void open_with_lists(struct fixture *f, const char *entrypoint) {
    char path[256];
    fixture_open(f, RULES_ENFORCED, entrypoint);
    session_state_free(f->session);
    router_free(f->router);
    settings_unref(f->settings);
    snprintf(path, sizeof path, "%s/schemas", f->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    fixture_write(
        f, "tables.yml",
        "projects: :gitlab_main\nusers: :gitlab_main_user\nsettings: :gitlab_main_setting\n"
        "ci_builds: :gitlab_ci\ndetached_partitions: :gitlab_shared\n");
    fixture_write(f, "schemas/gitlab_main.yaml",
                  "name: gitlab_main\nallow_cross_joins: [gitlab_shared]\n");
    fixture_write(
        f, "schemas/gitlab_main_user.yaml",
        "name: gitlab_main_user\nallow_cross_joins: [gitlab_main]\n"
        "allow_cross_transactions: [gitlab_main]\nallow_cross_foreign_keys: [gitlab_main]\n");
    fixture_write(f, "schemas/gitlab_main_setting.yaml",
                  "name: gitlab_main_setting\nallow_cross_joins: [gitlab_main]\n"
                  "allow_cross_transactions: [gitlab_main]\n");
    fixture_write(f, "schemas/gitlab_ci.yaml",
                  "name: gitlab_ci\nallow_cross_joins: [gitlab_main]\n");
    fixture_write(f, "schemas/gitlab_shared.yaml", "name: gitlab_shared\n");
    fixture_write(f, "pginterlock.yml",
                  "databases:\n  main: \"host=127.0.0.1 port=5432 dbname=app\"\n"
                  "  ci: \"host=127.0.0.1 port=5433 dbname=app_ci\"\n"
                  "classification: {tables: tables.yml, schemas: schemas}\n"
                  "entrypoints: {app: routed, app_main: main, app_ci: ci}\n"
                  "auth: {method: trust}\nlisten: [\"127.0.0.1:6432\"]\n");
    fixture_load(f, entrypoint);
}

static void a_listed_schema_may_be_joined(void **unused) {
    (void)unused;
    struct fixture f;
    open_with_lists(&f, "app");
    assert_goes(&f, "SELECT 1 FROM projects, users", "main");
    fixture_close(&f);
}

static void one_schema_must_list_all_others(void **unused) {
    (void)unused;
    struct fixture f;
    open_with_lists(&f, "app");
    assert_goes(&f, "SELECT 1 FROM users, settings", "cross_join");
    assert_goes(&f, "SELECT 1 FROM users, settings, projects", "cross_join");
    fixture_close(&f);
}

static void no_list_lets_two_databases_be_joined(void **unused) {
    (void)unused;
    struct fixture f;
    open_with_lists(&f, "app");
    assert_goes(&f, "SELECT 1 FROM ci_builds, projects", "cross_join");
    fixture_close(&f);
}

static void shared_tables_need_not_be_listed_in_joins(void **unused) {
    (void)unused;
    struct fixture f;
    open_with_lists(&f, "app");
    assert_goes(&f, "SELECT 1 FROM settings, detached_partitions", "main");
    fixture_close(&f);
}

static void schemas_that_list_each_other_may_be_modified_together(void **unused) {
    (void)unused;
    struct fixture f;
    open_with_lists(&f, "app");
    fixture_run(&f, "BEGIN");
    assert_goes(&f, "DELETE FROM users", "main");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "DELETE FROM detached_partitions", "main");
    fixture_close(&f);
}

static void schemas_that_do_not_may_not_even_in_one_database(void **unused) {
    (void)unused;
    struct fixture f;
    open_with_lists(&f, "app");
    fixture_run(&f, "BEGIN");
    assert_goes(&f, "DELETE FROM users", "main");
    assert_goes(&f, "DELETE FROM settings", "cross_transaction");
    assert_non_null(strstr(f.decision.violation.message, "gitlab_main_user"));
    assert_non_null(strstr(f.decision.violation.message, "gitlab_main_setting"));
    fixture_close(&f);
}

static void structure_changes_are_not_held_against_the_lists(void **unused) {
    (void)unused;
    struct fixture f;
    open_with_lists(&f, "app_ci");
    fixture_run(&f, "BEGIN");
    assert_goes(&f, "CREATE INDEX i ON users (id)", "ci");
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    fixture_close(&f);
}

static void a_foreign_key_needs_one_side_to_list_the_other(void **unused) {
    (void)unused;
    struct fixture f;
    open_with_lists(&f, "app");
    assert_goes(&f, "ALTER TABLE users ADD FOREIGN KEY (a) REFERENCES projects (id)", "main");
    assert_goes(&f, "ALTER TABLE settings ADD FOREIGN KEY (a) REFERENCES projects (id)",
                "cross_foreign_key");
    fixture_close(&f);
}

static void a_foreign_key_to_a_shared_table_needs_a_list_too(void **unused) {
    (void)unused;
    struct fixture f;
    open_with_lists(&f, "app");
    assert_goes(&f, "ALTER TABLE users ADD FOREIGN KEY (a) REFERENCES detached_partitions (id)",
                "cross_foreign_key");
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_listed_schema_may_be_joined),
        cmocka_unit_test(one_schema_must_list_all_others),
        cmocka_unit_test(no_list_lets_two_databases_be_joined),
        cmocka_unit_test(shared_tables_need_not_be_listed_in_joins),
        cmocka_unit_test(schemas_that_list_each_other_may_be_modified_together),
        cmocka_unit_test(schemas_that_do_not_may_not_even_in_one_database),
        cmocka_unit_test(structure_changes_are_not_held_against_the_lists),
        cmocka_unit_test(a_foreign_key_needs_one_side_to_list_the_other),
        cmocka_unit_test(a_foreign_key_to_a_shared_table_needs_a_list_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
