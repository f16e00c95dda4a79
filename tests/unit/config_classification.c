/* Which schema a name has, and what the files of a classification may say. */
#include "tests/unit/config_fixture.h"

#define BASE DATABASES TRUST
#define DATA_FLAT "classification: {tables: " TEST_DATA "/gitlab_schemas.yml}\n"
#define DATA_DICTIONARY                                                                            \
    "classification:\n  tables: " TEST_DATA "/dictionary/docs\n"                                   \
    "  schemas: " TEST_DATA "/dictionary/gitlab_schemas\n"                                         \
    "  connections: " TEST_DATA "/dictionary/database_connections\n"

static schema_set bit(const struct settings *s, const char *schema) {
    int index = classification_schema_by_name(s->classification, schema);
    assert_true(index >= 0);
    return (schema_set)1 << index;
}

static database_set databases_of(const struct settings *s, const char *schema) {
    return classification_schema_databases(
        s->classification, classification_schema_by_name(s->classification, schema));
}

static void the_flat_form_classifies(void **state) {
    const struct settings *s = fixture_load(*state, BASE DATA_FLAT);
    assert_int_equal(classification_table_count(s->classification), 618);
    assert_schema(s, "users", "gitlab_main");
    assert_schema(s, "ci_builds", "gitlab_ci");
    assert_schema(s, "schema_migrations", "gitlab_internal");
    assert_schema(s, "postgres_indexes", "gitlab_shared");
    assert_schema(s, "tags", "gitlab_ci");
    assert_schema(s, "pm_packages", "gitlab_pm");
    assert_int_equal(schema_of(s, "Projects"), -1);
    assert_int_equal(schema_of(s, "p_ci_builds"), -1);
    assert_int_equal(schema_of(s, ""), -1);
    assert_false(classification_has_permissions(s->classification));
}

static void the_dictionary_form_classifies(void **state) {
    const struct settings *s = fixture_load(*state, BASE DATA_DICTIONARY);
    assert_int_equal(classification_table_count(s->classification), 140);
    assert_schema(s, "p_ci_builds", "gitlab_ci");
    assert_schema(s, "project_routes_view", "gitlab_main_org");
    assert_schema(s, "application_settings", "gitlab_main_cell_setting");
    assert_schema(s, "audit_events_part_5fc467ac26", "gitlab_main");
    assert_true(classification_has_permissions(s->classification));
}

static void the_qualifier_is_dropped_but_for_information_schema(void **state) {
    const struct classification *c = fixture_load(*state, BASE DATA_FLAT)->classification;
    int internal = classification_schema_by_name(c, "gitlab_internal");
    assert_int_equal(classification_lookup(c, "public", "ci_builds"),
                     classification_schema_by_name(c, "gitlab_ci"));
    assert_int_equal(classification_lookup(c, "information_schema", "tables"), internal);
    assert_int_equal(classification_lookup(c, "pg_catalog", "pg_class"), internal);
    assert_int_equal(classification_lookup(c, "public", "tables"), -1);
}

static void a_trailing_number_is_dropped(void **state) {
    const struct settings *s = fixture_load(*state, BASE DATA_FLAT);
    assert_schema(s, "ci_builds_metadata_101", "gitlab_ci");
    assert_schema(s, "audit_events_202403", "gitlab_main");
    assert_schema(s, "loose_foreign_keys_deleted_records_84", "gitlab_shared");
    assert_int_equal(schema_of(s, "_123"), -1);
    assert_int_equal(schema_of(s, "ci_builds_1_2"), -1);
    assert_int_equal(schema_of(s, "ci_builds1"), -1);
    assert_int_equal(schema_of(s, "123"), -1);
}

static void a_name_with_a_number_of_its_own_is_found(void **state) {
    const struct settings *s = fixture_load(*state, BASE DATA_DICTIONARY);
    assert_schema(s, "ci_builds_views_100", "gitlab_ci");
    assert_schema(s, "merge_request_diff_commits_views_1", "gitlab_main_org");
}

static void ci_names_stand_for_their_partitioned_parent(void **state) {
    fixture_write(*state, "tables.yml", "p_ci_stages: :gitlab_ci\n");
    const struct settings *s = fixture_load(*state, BASE TABLES);
    assert_schema(s, "ci_stages", "gitlab_ci");
    assert_schema(s, "ci_stages_103", "gitlab_ci");
    assert_int_equal(schema_of(s, "stages"), -1);
}

static void a_table_comes_before_a_removed_one_and_that_before_a_parent(void **state) {
    fixture_write(*state, "docs/a.yml", "table_name: p_ci_x\ngitlab_schema: gitlab_ci\n");
    fixture_write(*state, "docs/deleted_tables/x.yml",
                  "table_name: ci_x\ngitlab_schema: gitlab_main\n");
    fixture_write(*state, "docs/b.yml", "table_name: both\ngitlab_schema: gitlab_ci\n");
    fixture_write(*state, "docs/deleted_tables/both.yml",
                  "table_name: both\ngitlab_schema: gitlab_main\n");
    fixture_write(*state, "docs/deleted_views/v.yml",
                  "view_name: gone\ngitlab_schema: gitlab_sec\n");
    const struct settings *s = fixture_load(*state, BASE "classification: {tables: docs}\n");
    assert_schema(s, "ci_x", "gitlab_main");
    assert_schema(s, "both", "gitlab_ci");
    assert_schema(s, "gone", "gitlab_sec");
    assert_int_equal(classification_table_count(s->classification), 2);
}

static void prefixes_classify_what_no_file_names(void **state) {
    const struct settings *s = fixture_load(*state, BASE DATA_FLAT);
    assert_schema(s, "_test_gitlab_ci_items_12", "gitlab_ci");
    assert_schema(s, "_test_gitlab_main_items", "gitlab_main");
    assert_schema(s, "_test_gitlab_main_org_items", "gitlab_main");
    assert_schema(s, "_test_gitlab_sec_things", "gitlab_sec");
    assert_schema(s, "_test_gitlab_pm_things", "gitlab_pm");
    assert_schema(s, "_test_anything", "gitlab_shared");
    assert_schema(s, "_test_gitlab_ci", "gitlab_shared");
    assert_schema(s, "pg_stat_activity", "gitlab_internal");
    assert_int_equal(schema_of(s, "_tests"), -1);
    assert_int_equal(schema_of(s, "pg"), -1);
    s = fixture_load(*state, BASE DATA_DICTIONARY);
    assert_schema(s, "_test_gitlab_main_org_items", "gitlab_main_org");
    assert_schema(s, "_test_gitlab_shared_cell_local_items", "gitlab_shared_cell_local");
}

static void without_connections_names_decide_the_database(void **state) {
    fixture_write(*state, "tables.yml",
                  "a: gitlab_ci\nb: gitlab_ci_cell_local\nc: gitlab_other\nd: gitlab_sec\n");
    const struct settings *s = fixture_load(*state, BASE TABLES);
    assert_int_equal(databases_of(s, "gitlab_ci"), 2);
    assert_int_equal(databases_of(s, "gitlab_ci_cell_local"), 2);
    assert_int_equal(databases_of(s, "gitlab_other"), 1);
    assert_int_equal(databases_of(s, "gitlab_sec"), 1);
    assert_int_equal(databases_of(s, "gitlab_shared"), 3);
    assert_int_equal(databases_of(s, "gitlab_internal"), 3);
    assert_true(classification_locked_schemas(s->classification, 0) ==
                (bit(s, "gitlab_ci") | bit(s, "gitlab_ci_cell_local")));
    assert_true(classification_locked_schemas(s->classification, 1) ==
                (bit(s, "gitlab_main") | bit(s, "gitlab_other") | bit(s, "gitlab_sec") |
                 bit(s, "gitlab_pm")));
}

static void a_schema_belongs_to_the_longest_name(void **state) {
    fixture_write(*state, "tables.yml", "a: gitlab_ci_old\nb: gitlab_ci\n");
    const struct settings *s = fixture_load(
        *state, "databases: {main: dbname=a, ci: dbname=b, ci_old: dbname=c}\n" TABLES TRUST);
    assert_int_equal(databases_of(s, "gitlab_ci_old"), 4);
    assert_int_equal(databases_of(s, "gitlab_ci"), 2);
}

static void connections_decide_the_database(void **state) {
    const struct settings *s = fixture_load(*state, BASE DATA_DICTIONARY);
    assert_int_equal(databases_of(s, "gitlab_ci_cell_local"), 2);
    assert_int_equal(databases_of(s, "gitlab_pm"), 1);
    assert_int_equal(databases_of(s, "gitlab_shared_org"), 3);
    /* sec isn't configured: it falls back to main, and is then not locked there. */
    assert_int_equal(databases_of(s, "gitlab_sec"), 1);
    schema_set locked = classification_locked_schemas(s->classification, 0);
    assert_true(locked == (bit(s, "gitlab_ci") | bit(s, "gitlab_ci_cell_local")));
    locked = classification_locked_schemas(s->classification, 1);
    assert_true((locked & bit(s, "gitlab_sec")) != 0);
    assert_true((locked & bit(s, "gitlab_ci")) == 0);
}

static void a_virtual_database_holds_its_own_schemas(void **state) {
    const struct settings *s = fixture_load(
        *state,
        "databases: {main: dbname=a, ci: dbname=b, sec: {same_as: main}}\n" TRUST DATA_DICTIONARY);
    assert_int_equal(databases_of(s, "gitlab_sec"), 4);
    assert_true((classification_locked_schemas(s->classification, 0) & bit(s, "gitlab_sec")) != 0);
}

static void schemas_list_what_they_permit(void **state) {
    const struct settings *s = fixture_load(*state, BASE DATA_DICTIONARY);
    const struct classification *c = s->classification;
    int user = classification_schema_by_name(c, "gitlab_main_user");
    assert_true(classification_allowed_foreign_keys(c, user) ==
                (bit(s, "gitlab_main_user") | bit(s, "gitlab_main") | bit(s, "gitlab_main_org")));
    int ci = classification_schema_by_name(c, "gitlab_ci");
    assert_true(classification_allowed_joins(c, ci) ==
                (bit(s, "gitlab_ci") | bit(s, "gitlab_shared")));
    assert_true(classification_allowed_transactions(c, ci) ==
                (bit(s, "gitlab_ci") | bit(s, "gitlab_shared") | bit(s, "gitlab_internal")));
}

static void neutral_schemas_are_known(void **state) {
    const struct settings *s = fixture_load(*state, BASE DATA_DICTIONARY);
    const struct classification *c = s->classification;
    int internal = classification_schema_by_name(c, "gitlab_internal");
    int local = classification_schema_by_name(c, "gitlab_shared_cell_local");
    assert_true(classification_schema_is_neutral(c, internal));
    assert_true(classification_schema_is_internal(c, internal));
    assert_true(classification_schema_is_neutral(c, local));
    assert_false(classification_schema_is_internal(c, local));
    assert_false(
        classification_schema_is_neutral(c, classification_schema_by_name(c, "gitlab_ci")));
}

static void functions_have_a_schema(void **state) {
    const struct settings *s = fixture_load(
        *state, BASE "classification: {tables: tables.yml, functions: {archive_build: gitlab_ci, "
                     "public.other: ':gitlab_main'}}\n");
    const struct classification *c = s->classification;
    assert_int_equal(classification_lookup_function(c, "archive_build"),
                     classification_schema_by_name(c, "gitlab_ci"));
    assert_int_equal(classification_lookup_function(c, "other"),
                     classification_schema_by_name(c, "gitlab_main"));
    assert_int_equal(classification_lookup_function(c, "none"), -1);
}

static void retired_schemas_and_permissions_of_a_table_load(void **state) {
    fixture_write(*state, "docs/p.yml",
                  "table_name: packages\ngitlab_schema: gitlab_main\nallow_cross_joins:\n- x\n");
    const struct settings *s = fixture_load(*state, BASE "classification: {tables: docs}\n");
    assert_schema(s, "packages", "gitlab_main");
}

static void wrong_tables_are_refused(void **state) {
    fixture_refuse(*state, BASE,
                   "settings.yml:1: no classification: add `classification: {tables: "
                   "gitlab_schemas.yml}`");
    fixture_refuse(*state, BASE "classification: {}\n",
                   "settings.yml:3: classification has no tables: add `tables: "
                   "gitlab_schemas.yml`");
    fixture_refuse(*state, BASE "classification: {table: a}\n",
                   "settings.yml:3: unknown key \"table\" in classification: write one of tables, "
                   "schemas, connections, functions");
    fixture_refuse(*state, BASE "classification:\n  tables: none.yml\n",
                   "settings.yml:4: classification.tables: can't read none.yml: No such file or "
                   "directory: correct the path or its permissions");
    fixture_write(*state, "tables.yml", "a: :gitlab_main\nb:\n");
    fixture_refuse(*state, BASE TABLES, "tables.yml:2: \"b\" has no gitlab_schema: give one");
    fixture_write(*state, "tables.yml", "a: :gitlab_main\na: :gitlab_ci\n");
    fixture_refuse(*state, BASE TABLES,
                   "tables.yml:2: \"a\" is given twice, first in line 1: remove one of them");
    fixture_write(*state, "tables.yml", "a: \"gitlab main\"\n");
    fixture_refuse(*state, BASE TABLES,
                   "tables.yml:1: a: \"gitlab main\" is no schema name: write "
                   "one such as gitlab_main");
    fixture_write(*state, "tables.yml", "- a\n");
    fixture_refuse(*state, BASE TABLES,
                   "tables.yml:1: no tables here: write a line `table: :gitlab_main` for each");
}

static void more_schemas_than_a_set_holds_are_refused(void **state) {
    char text[8192] = "";
    for (int i = 0; i < SCHEMAS_MAX; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "t%d: gitlab_x%d\n", i, i);
    fixture_write(*state, "tables.yml", text);
    fixture_refuse(*state, BASE TABLES,
                   "tables.yml:59: t58: \"gitlab_x58\" is one schema too many: at most 64");
}

static void wrong_dictionary_files_are_refused(void **state) {
    const char *settings = BASE "classification: {tables: docs}\n";
    fixture_write(*state, "docs/x.txt", "");
    fixture_refuse(
        *state, settings,
        "settings.yml:3: classification.tables: no *.yml files in docs: correct the path");
    fixture_write(*state, "docs/a.yml", "# one\ntable_name: a\n");
    fixture_refuse(*state, settings,
                   "docs/a.yml:2: \"a\" has no gitlab_schema: add `gitlab_schema: …`");
    fixture_write(*state, "docs/a.yml", "gitlab_schema: gitlab_ci\n");
    fixture_refuse(*state, settings, "docs/a.yml:1: neither table_name nor view_name: add one");
    fixture_write(*state, "docs/a.yml", "table_name: a\ngitlab_schema: gitlab_ci\n");
    fixture_write(*state, "docs/views/a.yml", "view_name: a\ngitlab_schema: gitlab_main\n");
    fixture_refuse(*state, settings,
                   "docs/views/a.yml:1: \"a\" is in gitlab_main here, but in gitlab_ci in an "
                   "earlier file: keep one");
    fixture_write(*state, "docs/views/a.yml", "view_name: a\ngitlab_schema: gitlab_ci\n");
    fixture_load(*state, settings);
}

static void wrong_schema_files_are_refused(void **state) {
    const char *settings = BASE "classification: {tables: tables.yml, schemas: s}\n";
    fixture_refuse(*state, settings,
                   "settings.yml:3: classification.schemas: can't read the folder s: No such file "
                   "or directory: correct the path or its permissions");
    fixture_write(*state, "s/main.yaml", "name: gitlab_main\n");
    fixture_refuse(*state, settings,
                   "tables.yml:2: ci_builds: unknown schema \"gitlab_ci\": correct it, or add its "
                   "file to classification.schemas");
    fixture_write(*state, "s/ci.yml",
                  "name: gitlab_ci\nallow_cross_joins:\n- gitlab_shared\n- gitlab_cii\n");
    fixture_refuse(*state, settings,
                   "s/ci.yml:4: allow_cross_joins: unknown schema \"gitlab_cii\": correct it, or "
                   "add its file to classification.schemas");
    fixture_write(*state, "s/ci.yml", "name: gitlab_ci\nallow_cross_join: []\n");
    fixture_refuse(*state, settings,
                   "s/ci.yml:2: unknown key \"allow_cross_join\": correct or remove it");
    fixture_write(*state, "s/ci.yml", "name: gitlab_main\n");
    fixture_refuse(*state, settings,
                   "s/main.yaml:1: a second file for schema \"gitlab_main\": remove one");
    fixture_write(*state, "s/ci.yml", "description: x\n");
    fixture_refuse(*state, settings, "s/ci.yml:1: a schema file without a name: add `name: …`");
}

static void wrong_connection_files_are_refused(void **state) {
    const char *settings = BASE "classification: {tables: tables.yml, connections: c}\n";
    fixture_write(*state, "c/main.yaml", "name: main\ngitlab_schemas: [gitlab_main]\n");
    fixture_refuse(*state, settings,
                   "settings.yml:1: database \"ci\" has no file in classification.connections: add "
                   "one, or remove the database");
    fixture_write(*state, "c/ci.yaml",
                  "name: ci\ngitlab_schemas: [gitlab_ci]\nfallback_database: man\n");
    fixture_refuse(*state, settings,
                   "c/ci.yaml:3: fallback_database: unknown database \"man\": correct it, or add "
                   "its file");
    fixture_write(*state, "c/ci.yaml", "name: ci\n");
    fixture_refuse(*state, settings,
                   "c/ci.yaml:1: connection \"ci\" without gitlab_schemas: list them");
    fixture_write(*state, "c/ci.yaml", "name: ci\ngitlab_schemas: gitlab_ci\n");
    fixture_refuse(*state, settings,
                   "c/ci.yaml:2: gitlab_schemas is a single value: write a list, [a, b]");
    fixture_write(*state, "c/ci.yaml", "name: main\ngitlab_schemas: [gitlab_ci]\n");
    fixture_refuse(*state, settings,
                   "c/main.yaml:1: a second file for connection \"main\": remove one");
}

static void functions_of_unknown_schemas_are_refused(void **state) {
    fixture_refuse(
        *state, BASE "classification:\n  tables: tables.yml\n  functions: {f: gitlab_x}\n",
        "settings.yml:5: classification.functions: unknown schema \"gitlab_x\": name one "
        "that the classification has");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(the_flat_form_classifies),
        fixture_test(the_dictionary_form_classifies),
        fixture_test(the_qualifier_is_dropped_but_for_information_schema),
        fixture_test(a_trailing_number_is_dropped),
        fixture_test(a_name_with_a_number_of_its_own_is_found),
        fixture_test(ci_names_stand_for_their_partitioned_parent),
        fixture_test(a_table_comes_before_a_removed_one_and_that_before_a_parent),
        fixture_test(prefixes_classify_what_no_file_names),
        fixture_test(without_connections_names_decide_the_database),
        fixture_test(a_schema_belongs_to_the_longest_name),
        fixture_test(connections_decide_the_database),
        fixture_test(a_virtual_database_holds_its_own_schemas),
        fixture_test(schemas_list_what_they_permit),
        fixture_test(neutral_schemas_are_known),
        fixture_test(functions_have_a_schema),
        fixture_test(retired_schemas_and_permissions_of_a_table_load),
        fixture_test(wrong_tables_are_refused),
        fixture_test(more_schemas_than_a_set_holds_are_refused),
        fixture_test(wrong_dictionary_files_are_refused),
        fixture_test(wrong_schema_files_are_refused),
        fixture_test(wrong_connection_files_are_refused),
        fixture_test(functions_of_unknown_schemas_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
