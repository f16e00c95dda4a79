/* The key `admin`: the console's name and who may use it. */
#include "tests/unit/config_fixture.h"

#define BASE DATABASES TABLES

static void without_the_key_there_is_no_console(void **state) {
    const struct settings *s = fixture_load(*state, BASE TRUST);
    assert_null(s->admin.database);
    assert_false(settings_is_admin(s, "app"));
}

static void the_console_has_a_name_by_default(void **state) {
    const struct settings *s = fixture_load(*state, BASE TRUST "admin: {users: [ops]}\n");
    assert_string_equal(s->admin.database, "pginterlock");
}

static void only_who_is_named_is_an_admin(void **state) {
    const struct settings *s =
        fixture_load(*state, BASE TRUST "admin: {database: console, users: [ops, \"the boss\"]}\n");
    assert_string_equal(s->admin.database, "console");
    assert_true(settings_is_admin(s, "ops"));
    assert_true(settings_is_admin(s, "the boss"));
    assert_false(settings_is_admin(s, "app"));
    assert_false(settings_is_admin(s, "OPS"));
    assert_false(settings_is_admin(s, ""));
}

static void what_is_wrong_is_told_with_its_line(void **state) {
    struct fixture *f = *state;
    fixture_refuse(f, BASE TRUST "admin: yes\n",
                   "settings.yml:4: admin is a single value: write a map, {key: value}");
    fixture_refuse(f, BASE TRUST "admin: {user: ops}\n",
                   "settings.yml:4: unknown key \"user\" in admin: write one of database, users");
    fixture_refuse(f, BASE TRUST "admin: {database: console}\n",
                   "settings.yml:4: admin names nobody who may use it: write users: [NAME, …]");
    fixture_refuse(f, BASE TRUST "admin:\n  users: []\n",
                   "settings.yml:5: admin names nobody who may use it: write users: [NAME, …]");
    fixture_refuse(f, BASE TRUST "admin:\n  users: ops\n",
                   "settings.yml:5: admin.users is a single value: write a list, [a, b]");
    fixture_refuse(f, BASE TRUST "admin: {users: [ops, ops]}\n",
                   "settings.yml:4: admin.users: \"ops\" is given twice: remove one of them");
    fixture_refuse(f, BASE TRUST "admin:\n  users: [ops]\n  database: main\n",
                   "settings.yml:6: admin.database \"main\" is an entrypoint: choose another name");
    fixture_refuse(
        f, BASE TRUST "entrypoints: {pginterlock: routed}\nadmin: {users: [ops]}\n",
        "settings.yml:5: admin.database \"pginterlock\" is an entrypoint: choose another name");
}

static void who_can_not_log_in_is_no_admin(void **state) {
    struct fixture *f = *state;
    fixture_write(f, "userlist.txt", "\"app\" \"secret\"\n");
    fixture_refuse(f, BASE "auth: {users: userlist.txt}\nadmin: {users: [app, ops]}\n",
                   "settings.yml:4: admin.users: \"ops\" is not in the list of auth.users: add the "
                   "user there");
    const struct settings *s =
        fixture_load(f, BASE "auth: {users: userlist.txt}\nadmin: {users: [app]}\n");
    assert_true(settings_is_admin(s, "app"));
}

int main(void) {
#define CASE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(without_the_key_there_is_no_console), CASE(the_console_has_a_name_by_default),
        CASE(only_who_is_named_is_an_admin),       CASE(what_is_wrong_is_told_with_its_line),
        CASE(who_can_not_log_in_is_no_admin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
