/* databases_from: a Rails database.yml by GitLab's rules. */
#include "tests/unit/config_fixture.h"

#define SETTINGS                                                                                   \
    "databases_from: {file: config/database.yml, environment: production}\n" TABLES TRUST

static const struct settings *load(void **state, const char *database_yml) {
    fixture_write(*state, "config/database.yml", database_yml);
    return fixture_load(*state, SETTINGS);
}

static void refuse(void **state, const char *database_yml, const char *expected) {
    fixture_write(*state, "config/database.yml", database_yml);
    fixture_refuse(*state, SETTINGS, expected);
}

static void databases_become_connection_strings(void **state) {
    const struct settings *s = load(state, "production:\n"
                                           "  main:\n"
                                           "    adapter: postgresql\n"
                                           "    encoding: unicode\n"
                                           "    database: gitlabhq_production\n"
                                           "    username: git\n"
                                           "    password: \"it's \\\\ 1\"\n"
                                           "    host: /run/postgresql\n"
                                           "    port: 5433\n"
                                           "    pool: 10\n"
                                           "    sslmode: disable\n"
                                           "    load_balancing: {hosts: [a, b]}\n"
                                           "  ci:\n"
                                           "    adapter: postgresql\n"
                                           "    database: gitlabhq_production_ci\n"
                                           "    password:\n"
                                           "    database_tasks: true\n"
                                           "    application_name: x\n");
    assert_int_equal(s->database_count, 2);
    assert_string_equal(s->databases[0].conninfo,
                        "client_encoding='unicode' dbname='gitlabhq_production' user='git' "
                        "password='it\\'s \\\\ 1' host='/run/postgresql' port='5433' "
                        "sslmode='disable'");
    assert_string_equal(s->databases[1].conninfo,
                        "dbname='gitlabhq_production_ci' application_name='x'");
    assert_int_equal(settings_find_entrypoint(s, "gitlabhq_production"), 0);
}

static void anchors_and_merges_are_resolved(void **state) {
    const struct settings *s = load(state, "base: &base\n  host: h\n  database: a\n  port: 1\n"
                                           "other: &other\n  port: 2\n  username: u\n"
                                           "production:\n"
                                           "  main:\n    <<: *base\n    port: 3\n"
                                           "  ci:\n    database: b\n    <<: [*other, *base]\n");
    assert_string_equal(s->databases[0].conninfo, "host='h' dbname='a' port='3'");
    assert_string_equal(s->databases[1].conninfo, "dbname='b' port='2' user='u' host='h'");
}

static void variables_become_options(void **state) {
    const struct settings *s = load(state, "production:\n  main:\n    database: a\n"
                                           "    options: -c geqo=off\n"
                                           "    variables:\n      statement_timeout: 120s\n"
                                           "      search_path: 'a, \"b\\c\"'\n"
                                           "      work_mem: default\n      jit:\n");
    assert_string_equal(s->databases[0].conninfo,
                        "dbname='a' options='-c geqo=off -c statement_timeout=120s -c "
                        "search_path=a,\\\\ \"b\\\\\\\\c\"'");
}

static void a_url_wins_over_the_keys(void **state) {
    const struct settings *s =
        load(state, "production:\n  main:\n    host: other\n    application_name: x\n"
                    "    url: postgresql://u:p%20w@h:5433/db?pool=5&sslmode=require\n");
    assert_string_equal(s->databases[0].conninfo,
                        "host='h' application_name='x' user='u' password='p w' dbname='db' "
                        "port='5433' sslmode='require'");
}

static void the_one_level_form_is_main_with_a_notice(void **state) {
    const struct settings *s =
        load(state, "production:\n  adapter: postgresql\n  database: a\n  host: h\n");
    assert_int_equal(s->database_count, 1);
    assert_string_equal(s->databases[0].name, "main");
    assert_int_equal(s->notice_count, 1);
    assert_non_null(strstr(s->notices[0], "config/database.yml:2: the one-level form is "
                                          "deprecated: put the keys of production under `main:`"));
}

static void the_same_database_twice_is_one(void **state) {
    const struct settings *s =
        load(state, "production:\n  main: {database: a, host: h}\n"
                    "  ci: {database: a, host: h, database_tasks: false, username: u}\n");
    assert_int_equal(s->databases[1].physical, 0);
    assert_int_equal(s->notice_count, 1);
}

static void erb_is_named_with_its_line(void **state) {
    refuse(state, "# <% fine %>\nproduction:\n  main:\n    password: <%= ENV['P'] %>\n",
           "config/database.yml:4: ERB (<% … %>) can't be evaluated here: render the file first, "
           "and name the rendered one");
}

static void main_comes_first(void **state) {
    refuse(state, "production:\n  ci: {database: b}\n  main: {database: a}\n",
           "config/database.yml:2: database \"ci\" is listed first: put main first");
}

static void only_known_names_are_accepted(void **state) {
    refuse(state, "production:\n  main: {database: a}\n  geo: {database: b}\n",
           "config/database.yml:3: the classification knows no database \"geo\": remove it, or add "
           "its file to classification.connections");
}

static void wrong_files_are_refused(void **state) {
    fixture_refuse(*state, SETTINGS,
                   "settings.yml:1: databases_from.file: can't read config/database.yml: No such "
                   "file or directory: correct the path or its permissions");
    refuse(state, "",
           "config/database.yml:1: no environments here: write `production:` and its "
           "databases");
    refuse(state, "test: {}\n",
           "config/database.yml:1: no environment \"production\" here: correct "
           "databases_from.environment in line 1 of settings.yml");
    refuse(state, "production: {}\n",
           "config/database.yml:1: production has no databases: add main");
    refuse(state, "production:\n  main:\n    adapter: mysql2\n    database: a\n",
           "config/database.yml:3: adapter is \"mysql2\": only postgresql can be used");
    refuse(state, "production:\n  main:\n    databse: a\n",
           "config/database.yml:3: unknown key \"databse\" of database \"main\": correct or remove "
           "it");
    refuse(state, "production:\n  main:\n    host: a\n",
           "config/database.yml:3: database \"main\" has no `database`: add the name of one on its "
           "server");
    refuse(state, "production:\n  main:\n    database: a\n    port: 0\n",
           "config/database.yml:3: database \"main\": port is \"0\": write a number from 1 to "
           "65535: correct it");
    refuse(state, "production:\n  main:\n    url: mysql://u:secret@h/db\n",
           "config/database.yml:3: url: not a PostgreSQL URI: begin it with postgresql://: correct "
           "the URL");
    refuse(state, "production:\n  main:\n    database: a\n    variables: {\"a b\": 1}\n",
           "config/database.yml:4: variables: \"a b\" is no setting of PostgreSQL: correct it");
    refuse(state, "a: &a {b: 1}\nproduction:\n  main:\n    <<: 5\n    database: a\n",
           "config/database.yml:4: \"<<\" takes a map or a list of maps: name an anchor of a map");
}

static void merges_are_bounded(void **state) {
    char text[65536] = "a0: &a0 {", line[128];
    for (int i = 0; i < 200; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "k%d: 1,", i);
    strcat(text, "}\n");
    for (int i = 1; i < 200; i++) {
        snprintf(line, sizeof line, "a%d: &a%d {<<: *a%d}\n", i, i, i - 1);
        strcat(text, line);
    }
    refuse(state, text,
           "config/database.yml:26: \"<<\" copies more than 5000 keys: write them out");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(databases_become_connection_strings),
        fixture_test(anchors_and_merges_are_resolved),
        fixture_test(variables_become_options),
        fixture_test(a_url_wins_over_the_keys),
        fixture_test(the_one_level_form_is_main_with_a_notice),
        fixture_test(the_same_database_twice_is_one),
        fixture_test(erb_is_named_with_its_line),
        fixture_test(main_comes_first),
        fixture_test(only_known_names_are_accepted),
        fixture_test(wrong_files_are_refused),
        fixture_test(merges_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
