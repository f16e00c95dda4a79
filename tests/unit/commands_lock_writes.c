/* What lock-writes would do, without a database. */
#include "commands/lock_writes_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { BEFORE_STATEMENT_ALL = 62 };

static struct settings *settings_of(const char *databases, const char *more) {
    char folder[] = "/tmp/pginterlock-unit-XXXXXX", path[64], tables[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/c.yml", folder);
    snprintf(tables, sizeof tables, "%s/tables.yml", folder);
    FILE *file = fopen(tables, "w");
    assert_non_null(file);
    fputs("projects: :gitlab_main\nci_builds: :gitlab_ci\nscans: :gitlab_sec\nshared: "
          ":gitlab_shared\n",
          file);
    fclose(file);
    file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "listen: ['127.0.0.1:6432']\ndatabases:\n%sclassification:\n  tables: tables.yml\n%s"
            "auth: {method: trust}\n",
            databases, more);
    fclose(file);
    struct settings *settings;
    struct error error;
    if (!settings_load(path, &settings, &error))
        fail_msg("%s", error.text);
    unlink(path);
    unlink(tables);
    rmdir(folder);
    return settings;
}

static enum lock_want want_of(const struct settings *settings, int database, const char *table) {
    return lock_want(settings, database,
                     lock_table_schema(settings->classification, "public", table, NULL));
}

static const char two[] = "  main: 'host=a dbname=x'\n  ci: 'host=b dbname=x'\n";

static void a_table_is_locked_where_it_does_not_belong(void **state) {
    (void)state;
    struct settings *settings = settings_of(two, "");
    assert_int_equal(want_of(settings, 0, "ci_builds"), LOCK_WANT_LOCKED);
    assert_int_equal(want_of(settings, 1, "ci_builds"), LOCK_WANT_UNLOCKED);
    assert_int_equal(want_of(settings, 1, "projects"), LOCK_WANT_LOCKED);
    settings_unref(settings);
}

static void a_shared_table_is_never_locked(void **state) {
    (void)state;
    struct settings *settings = settings_of(two, "");
    assert_int_equal(want_of(settings, 0, "shared"), LOCK_WANT_UNLOCKED);
    assert_int_equal(want_of(settings, 1, "shared"), LOCK_WANT_UNLOCKED);
    settings_unref(settings);
}

static void an_unclassified_table_is_left_alone(void **state) {
    (void)state;
    struct settings *settings = settings_of(two, "");
    assert_int_equal(want_of(settings, 0, "nobodys"), LOCK_WANT_EITHER);
    settings_unref(settings);
}

static void what_is_stored_together_is_not_locked(void **state) {
    (void)state;
    struct settings *settings = settings_of(
        "  main: 'host=a dbname=x'\n  ci: 'host=b dbname=x'\n  sec: {same_as: main}\n", "");
    assert_int_equal(want_of(settings, 0, "scans"), LOCK_WANT_UNLOCKED);
    assert_int_equal(want_of(settings, 0, "ci_builds"), LOCK_WANT_LOCKED);
    assert_int_equal(want_of(settings, 1, "scans"), LOCK_WANT_LOCKED);
    settings_unref(settings);
}

static void a_partition_of_any_name_belongs_with_its_root(void **state) {
    (void)state;
    struct settings *settings = settings_of(two, "");
    const struct classification *c = settings->classification;
    int ci = classification_schema_by_name(c, "gitlab_ci");
    assert_int_equal(lock_table_schema(c, "parts", "odd", "ci_builds"), ci);
    assert_int_equal(lock_table_schema(c, "parts", "ci_builds_202301", NULL), ci);
    assert_int_equal(lock_table_schema(c, "parts", "odd", NULL), -1);
    settings_unref(settings);
}

static void a_trigger_is_called_as_gitlab_calls_it(void **state) {
    char name[IDENTIFIER_BYTES + 1];
    (void)state;
    lock_trigger_name("ci_builds", name);
    assert_string_equal(name, "gitlab_schema_write_trigger_for_ci_builds");
}

static void a_long_trigger_name_is_cut_to_63_bytes(void **state) {
    char name[IDENTIFIER_BYTES + 1];
    (void)state;
    lock_trigger_name("a_table_whose_name_is_longer_than_the_room_there_is", name);
    assert_int_equal(strlen(name), 63);
    assert_string_equal(name, "gitlab_schema_write_trigger_for_a_table_whose_name_is_longer_th");
}

static void a_cut_is_never_within_a_character(void **state) {
    char name[IDENTIFIER_BYTES + 1];
    (void)state;
    lock_trigger_name("äääääääääääääääääää", name); /* two bytes each, 31 are left */
    assert_int_equal(strlen(name), 62);
}

static void a_trigger_that_stops_every_write_has_no_fault(void **state) {
    (void)state;
    assert_null(lock_trigger_fault(BEFORE_STATEMENT_ALL, "O", false, true, true));
    assert_null(lock_trigger_fault(BEFORE_STATEMENT_ALL, "A", false, true, true));
}

static void a_trigger_that_lets_a_write_pass_has_a_fault(void **state) {
    (void)state;
    assert_non_null(lock_trigger_fault(BEFORE_STATEMENT_ALL, "D", false, true, true));
    assert_non_null(lock_trigger_fault(BEFORE_STATEMENT_ALL, "R", false, true, true));
    assert_non_null(lock_trigger_fault(BEFORE_STATEMENT_ALL & ~32, "O", false, true, true));
    assert_non_null(lock_trigger_fault(BEFORE_STATEMENT_ALL | 1, "O", false, true, true));
    assert_non_null(lock_trigger_fault(BEFORE_STATEMENT_ALL, "O", true, true, true));
    assert_non_null(lock_trigger_fault(BEFORE_STATEMENT_ALL, "O", false, false, true));
    assert_non_null(lock_trigger_fault(BEFORE_STATEMENT_ALL, "O", false, true, false));
}

static void names_are_quoted_in_the_sql(void **state) {
    (void)state;
    char schema[] = "a\"b", name[] = "x; DROP TABLE y", old[] = "old", function[] = "public";
    char *triggers[] = {old};
    const struct lock_survey survey = {.function_schema = function};
    const struct lock_table table = {
        .schema = schema, .name = name, .triggers = triggers, .trigger_count = 1};
    char *sql = lock_table_sql(&survey, &table, false);
    assert_string_equal(
        sql, "DROP TRIGGER IF EXISTS \"old\" ON \"a\"\"b\".\"x; DROP TABLE y\";\n"
             "CREATE TRIGGER \"gitlab_schema_write_trigger_for_x; DROP TABLE y\" BEFORE INSERT OR "
             "UPDATE OR DELETE OR TRUNCATE ON \"a\"\"b\".\"x; DROP TABLE y\" FOR EACH STATEMENT "
             "EXECUTE FUNCTION \"public\".gitlab_schema_prevent_write();");
    free(sql);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_is_locked_where_it_does_not_belong),
        cmocka_unit_test(a_shared_table_is_never_locked),
        cmocka_unit_test(an_unclassified_table_is_left_alone),
        cmocka_unit_test(what_is_stored_together_is_not_locked),
        cmocka_unit_test(a_partition_of_any_name_belongs_with_its_root),
        cmocka_unit_test(a_trigger_is_called_as_gitlab_calls_it),
        cmocka_unit_test(a_long_trigger_name_is_cut_to_63_bytes),
        cmocka_unit_test(a_cut_is_never_within_a_character),
        cmocka_unit_test(a_trigger_that_stops_every_write_has_no_fault),
        cmocka_unit_test(a_trigger_that_lets_a_write_pass_has_a_fault),
        cmocka_unit_test(names_are_quoted_in_the_sql),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
