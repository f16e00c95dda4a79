/* pginterlock.allowed_gitlab_schemas: a session that is restricted to some data, or to structure.
 */
#include "tests/unit/routing_session.h"

#define REFUSED "allowed_gitlab_schemas"
#define DATA "SET pginterlock.allowed_gitlab_schemas = 'gitlab_main'"
#define STRUCTURE "SET pginterlock.allowed_gitlab_schemas = ''"

struct expectation {
    const char *sql, *data, *structure; /* under the one and the other restriction */
};

/* Statements of each kind, and whether they go on. */
static const struct expectation expectations[] = {
    {"SELECT 1", "any", "any"},
    {"SELECT now()", "any", "any"},
    {"SELECT 1 FROM pg_class WHERE relname = 'ci_builds'", "ci", "ci"},
    {"SELECT 1 FROM projects", "main", REFUSED},
    {"SELECT 1 FROM ci_builds", REFUSED, REFUSED},
    {"SELECT 1 WHERE EXISTS (SELECT 1 FROM ci_builds)", REFUSED, REFUSED},
    {"SELECT 1 FROM projects, ci_builds", REFUSED, REFUSED},
    {"SELECT 1 FROM projects FOR UPDATE", "main", REFUSED},
    {"SELECT 1 FROM detached_partitions", "any", "any"},
    {"INSERT INTO detached_partitions VALUES (1)", "main", "main"},
    {"INSERT INTO schema_migrations VALUES ('1')", "main", "main"},
    {"INSERT INTO projects VALUES (1)", "main", REFUSED},
    {"UPDATE ci_builds SET id = 1", REFUSED, REFUSED},
    {"DELETE FROM projects USING ci_builds", REFUSED, REFUSED},
    {"MERGE INTO projects USING users ON true WHEN MATCHED THEN DELETE", "main", REFUSED},
    {"TRUNCATE projects", "main", REFUSED},
    {"TRUNCATE ci_builds", REFUSED, REFUSED},
    {"COPY projects FROM STDIN", "main", REFUSED},
    {"COPY ci_builds TO STDOUT", REFUSED, REFUSED},
    {"COPY (SELECT 1 FROM ci_builds) TO STDOUT", REFUSED, REFUSED},
    {"WITH d AS (DELETE FROM ci_builds RETURNING 1) SELECT 1 FROM projects", REFUSED, REFUSED},
    {"EXPLAIN SELECT 1 FROM projects", "main", REFUSED},
    {"EXPLAIN ANALYZE DELETE FROM ci_builds", REFUSED, REFUSED},
    {"DECLARE c CURSOR FOR SELECT 1 FROM ci_builds", REFUSED, REFUSED},
    {"PREPARE p AS DELETE FROM ci_builds", REFUSED, REFUSED},
    {"CALL f()", "main", "main"},
    {"SELECT archive_build(1)", REFUSED, REFUSED},
    {"SELECT nextval('ci_builds_id_seq')", REFUSED, REFUSED},
    {"SELECT nextval('projects_id_seq')", "main", REFUSED},
    {"SELECT 'ci_builds'::regclass", "ci", "ci"},
    {"SELECT pg_relation_size('ci_builds')", "ci", "ci"},
    /* structure */
    {"CREATE TABLE projects (id int)", REFUSED, "main"},
    {"CREATE TEMP TABLE t (id int)", REFUSED, "main"},
    {"ALTER TABLE ci_builds ADD x int", REFUSED, "ci"},
    {"ALTER TABLE ci_builds VALIDATE CONSTRAINT c", REFUSED, "ci"},
    {"DROP TABLE projects", REFUSED, "main"},
    {"CREATE INDEX i ON projects (id)", REFUSED, "main"},
    {"DROP INDEX i", REFUSED, "main"},
    {"CREATE VIEW projects AS SELECT 1 FROM issues", REFUSED, "main"},
    {"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1 FROM ci_builds'", REFUSED, "ci"},
    {"CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN EXECUTE x; END'", REFUSED, "main"},
    {"CREATE TRIGGER t AFTER INSERT ON projects EXECUTE FUNCTION f()", REFUSED, "main"},
    {"CREATE SCHEMA s", REFUSED, "main"},
    {"CREATE ROLE r", REFUSED, "main"},
    {"COMMENT ON TABLE projects IS 'x'", REFUSED, "main"},
    {"GRANT SELECT ON projects TO r", REFUSED, "main"},
    {"REINDEX TABLE projects", REFUSED, "main"},
    {"REFRESH MATERIALIZED VIEW projects", REFUSED, "main"},
    {"ALTER SEQUENCE projects_id_seq RESTART", REFUSED, "main"},
    /* both */
    {"CREATE TABLE issues AS SELECT 1 FROM projects", REFUSED, REFUSED},
    {"CREATE TABLE issues AS SELECT 1 FROM projects WITH NO DATA", REFUSED, "main"},
    {"CREATE TABLE issues AS SELECT 1", REFUSED, "main"},
    {"CREATE MATERIALIZED VIEW issues AS SELECT 1 FROM projects", REFUSED, REFUSED},
    {"CREATE MATERIALIZED VIEW issues AS SELECT 1 FROM projects WITH NO DATA", REFUSED, "main"},
    {"CREATE TABLE issues AS SELECT archive_build(1)", REFUSED, REFUSED},
    {"SELECT 1 INTO issues FROM projects", REFUSED, REFUSED},
    {"EXPLAIN ANALYZE CREATE TABLE issues AS SELECT 1", REFUSED, "main"},
    {"EXPLAIN CREATE TABLE issues AS SELECT 1 FROM projects", "main", REFUSED},
    /* neither */
    {"LOCK TABLE projects", "main", "main"},
    {"LOCK TABLE ci_builds", REFUSED, "ci"},
    {"ANALYZE projects", "main", "main"},
    {"VACUUM ci_builds", REFUSED, "ci"},
    {"CLUSTER projects", "main", "main"},
    {"CHECKPOINT", "main", "main"},
    {"SHOW search_path", "any", "any"},
    {"SET search_path = public", "all", "all"},
    {"LISTEN x", "main", "main"},
    {"SAVEPOINT s", "all", "all"},
    /* DO: what its body says */
    {"DO $$ BEGIN DELETE FROM projects; END $$", "main", REFUSED},
    {"DO $$ BEGIN DELETE FROM ci_builds; END $$", REFUSED, REFUSED},
    {"DO $$ BEGIN ALTER TABLE projects ADD x int; END $$", REFUSED, "main"},
    {"DO $$ BEGIN ALTER TABLE projects ADD x int; PERFORM 1 FROM projects; END $$", REFUSED,
     REFUSED},
    {"DO $$ BEGIN ALTER TABLE projects ADD x int; DELETE FROM projects; END $$", REFUSED, REFUSED},
    {"DO $$ BEGIN CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'select 1'; END $$", REFUSED,
     "main"},
    {"DO $$ BEGIN NULL; END $$", "main", "main"},
    {"DO $$ BEGIN EXECUTE format('DELETE FROM %I', x); END $$", REFUSED, REFUSED},
    {"DO LANGUAGE plperl 'x'", REFUSED, REFUSED},
    /* not parsed */
    {"UPDATE projects SET WITHOUT", REFUSED, REFUSED},
    {"CREATE FANCY TABLE nothing", REFUSED, "main"},
};

static void hold_against(bool structure) {
    struct fixture f;
    for (size_t i = 0; i < sizeof expectations / sizeof expectations[0]; i++) {
        const struct expectation *e = &expectations[i];
        fixture_open(&f, RULES_ENFORCED, "app");
        assert_goes(&f, structure ? STRUCTURE : DATA, "none");
        assert_goes(&f, e->sql, structure ? e->structure : e->data);
        fixture_close(&f);
    }
}

static void a_session_with_schemas_may_touch_their_data_only(void **unused) {
    (void)unused;
    hold_against(false);
}

static void a_session_with_an_empty_list_may_change_structure_only(void **unused) {
    (void)unused;
    hold_against(true);
}

static void several_schemas_are_allowed_together(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_goes(&f, "SET pginterlock.allowed_gitlab_schemas = ' gitlab_main ,gitlab_ci'", "none");
    assert_goes(&f, "SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "SELECT 1 FROM projects", "main");
    assert_goes(&f, "SELECT 1 FROM projects, ci_builds", "cross_join");
    assert_goes(&f, "SET pginterlock.allowed_gitlab_schemas = gitlab_shared, gitlab_ci", "none");
    assert_goes(&f, "SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "SELECT 1 FROM projects", REFUSED);
    fixture_close(&f);
}

static void a_schemas_family_goes_with_it(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    fixture_write(&f, "tables.yml",
                  "projects: :gitlab_main\norganizations: :gitlab_main_org\n"
                  "maintenance: :gitlab_maintenance\nci_builds: :gitlab_ci\n");
    session_state_free(f.session);
    router_free(f.router);
    settings_unref(f.settings);
    char path[100];
    snprintf(path, sizeof path, "%s/pginterlock.yml", f.folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("databases: {main: dbname=app}\nclassification: {tables: tables.yml}\n"
          "entrypoints: {app: routed}\nauth: {method: trust}\n",
          file);
    fclose(file);
    fixture_load(&f, "app");
    assert_goes(&f, DATA, "none");
    assert_goes(&f, "SELECT 1 FROM organizations", "main");
    assert_goes(&f, "SELECT 1 FROM maintenance", REFUSED);
    assert_goes(&f, "SET pginterlock.allowed_gitlab_schemas = 'gitlab_main_org'", "none");
    assert_goes(&f, "SELECT 1 FROM projects", "main");
    fixture_close(&f);
}

static bool accepted(struct fixture *f, const char *value, struct error *error) {
    const char *sqlstate;
    bool fine = session_check_setting(f->session, "pginterlock.allowed_gitlab_schemas", value,
                                      &sqlstate, error);
    if (!fine) {
        assert_string_equal(sqlstate, "22023");
    }
    return fine;
}

static void an_unknown_schema_is_refused_and_the_known_are_told(void **unused) {
    (void)unused;
    struct fixture f;
    struct error error;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_false(accepted(&f, "gitlab_mian", &error));
    assert_string_equal(error.text, "invalid value for parameter "
                                    "\"pginterlock.allowed_gitlab_schemas\": \"gitlab_mian\" is no "
                                    "gitlab_schema");
    assert_false(accepted(&f, "gitlab_main,", &error));
    assert_false(accepted(&f, ",", &error));
    assert_false(accepted(&f, "gitlab_main gitlab_ci", &error));
    assert_false(accepted(&f, "GITLAB_MAIN", &error));
    assert_true(accepted(&f, "", &error));
    assert_true(accepted(&f, "  ", &error));
    const char *hint = session_setting_hint(f.session, "pginterlock.allowed_gitlab_schemas");
    assert_non_null(strstr(hint, "gitlab_main"));
    assert_non_null(strstr(hint, "gitlab_shared"));
    fixture_close(&f);
}

static void set_local_ends_with_its_transaction(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    fixture_run(&f, "BEGIN");
    assert_goes(&f, "SET LOCAL pginterlock.allowed_gitlab_schemas = 'gitlab_ci'", "none");
    assert_goes(&f, "SELECT 1 FROM ci_builds", "ci");
    fixture_run(&f, "SAVEPOINT s");
    assert_goes(&f, "SELECT 1 FROM projects", REFUSED);
    fixture_run(&f, "ROLLBACK TO s");
    fixture_run(&f, "COMMIT");
    assert_goes(&f, "SELECT 1 FROM projects", "main");
    fixture_close(&f);
}

static void a_restriction_is_undone_with_its_savepoint(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    fixture_run(&f, "BEGIN");
    fixture_run(&f, "SAVEPOINT s");
    fixture_run(&f, DATA);
    assert_goes(&f, "SELECT 1 FROM ci_builds", REFUSED);
    fixture_run(&f, "ROLLBACK TO s");
    assert_goes(&f, "SELECT 1 FROM ci_builds", "ci");
    fixture_close(&f);
}

static void reset_ends_it(void **unused) {
    (void)unused;
    static const char *const ends[] = {
        "RESET pginterlock.allowed_gitlab_schemas",
        "SET pginterlock.allowed_gitlab_schemas TO DEFAULT",
        "RESET ALL",
        "DISCARD ALL",
    };
    for (size_t i = 0; i < 4; i++) {
        struct fixture f;
        fixture_open(&f, RULES_ENFORCED, "app");
        fixture_run(&f, STRUCTURE);
        assert_goes(&f, "SELECT 1 FROM ci_builds", REFUSED);
        fixture_run(&f, ends[i]);
        assert_goes(&f, "SELECT 1 FROM ci_builds", "ci");
        fixture_close(&f);
    }
}

static void set_config_and_the_startup_packet_set_it(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    session_set_at_startup(f.session, "pginterlock.allowed_gitlab_schemas", "gitlab_ci");
    assert_goes(&f, "SELECT 1 FROM projects", REFUSED);
    assert_string_equal(session_show(f.session, "pginterlock.allowed_gitlab_schemas"), "gitlab_ci");
    fixture_run(&f,
                "SELECT set_config('pginterlock.allowed_gitlab_schemas', 'gitlab_main', false)");
    assert_goes(&f, "SELECT 1 FROM projects", "main");
    assert_goes(&f, "SELECT 1 FROM ci_builds", REFUSED);
    fixture_close(&f);
}

static bool words_are_fine(struct fixture *f, const char *sql, const char **sqlstate) {
    const char *setting;
    struct error error;
    return session_check_words(f->session, fixture_statement(f, sql), &setting, sqlstate, &error);
}

#define assert_words_refused(f, sql, expected)                                                     \
    do {                                                                                           \
        const char *sqlstate_;                                                                     \
        assert_false(words_are_fine((f), (sql), &sqlstate_));                                      \
        assert_string_equal(sqlstate_, (expected));                                                \
    } while (0)

static void set_config_that_would_go_unnoticed_is_refused(void **unused) {
    (void)unused;
    const char *sqlstate;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_true(words_are_fine(&f, "SELECT set_config('pginterlock.allow', '', false)", &sqlstate));
    assert_true(words_are_fine(&f, "SELECT set_config('a.b', $1, false)", &sqlstate));
    assert_words_refused(&f, "SELECT set_config('pginterlock.allow', $1, false)", "0A000");
    assert_words_refused(&f, "SELECT set_config('PGInterlock.allow', 'x', false)", "22023");
    assert_words_refused(&f, "SELECT set_config('pginterlock.none', 'x', false)", "42704");
    assert_words_refused(
        &f, "SELECT set_config('a.b', 'c', false), set_config('pginterlock.allow', '', false)",
        "0A000");
    assert_words_refused(
        &f, "SELECT set_config('pginterlock.allow', '', false), set_config('a.b', 'c', false)",
        "0A000");
    fixture_close(&f);
}

static void a_comment_that_names_no_database_is_refused(void **unused) {
    (void)unused;
    const char *sqlstate;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    assert_true(words_are_fine(&f, "/* database: ci */ SELECT 1", &sqlstate));
    assert_words_refused(&f, "/* database: nosuch */ SELECT 1", "22023");
    assert_words_refused(&f, "SELECT 1 FROM projects /* database: nosuch */", "22023");
    assert_true(words_are_fine(&f, "SELECT '/* database: nosuch */'", &sqlstate));
    assert_true(words_are_fine(&f, "SELECT 1 -- /* database: nosuch */", &sqlstate));
    assert_true(words_are_fine(&f, "ROLLBACK /* database: nosuch */", &sqlstate));
    fixture_close(&f);
}

static void what_was_prepared_before_is_held_against_it(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    fixture_run(&f, "PREPARE w AS DELETE FROM ci_builds");
    fixture_run(&f, "PREPARE r AS SELECT 1 FROM projects");
    fixture_run(&f, "BEGIN");
    fixture_run(&f, "DECLARE c CURSOR FOR SELECT 1 FROM ci_builds");
    fixture_run(&f, DATA);
    fixture_run(&f, "SAVEPOINT s");
    assert_goes(&f, "EXECUTE r", "main");
    assert_goes(&f, "EXECUTE w", REFUSED);
    fixture_run(&f, "ROLLBACK TO s");
    assert_goes(&f, "EXPLAIN ANALYZE EXECUTE w", REFUSED);
    fixture_run(&f, "ROLLBACK TO s");
    assert_goes(&f, "FETCH c", REFUSED);
    fixture_run(&f, "ROLLBACK TO s");
    assert_goes(&f, "CLOSE c", "ci");
    assert_goes(&f, "DEALLOCATE w", "ci");
    assert_goes(&f, "CREATE TABLE issues AS EXECUTE r", REFUSED);
    fixture_run(&f, "ROLLBACK TO s");
    fixture_run(&f, STRUCTURE);
    assert_goes(&f, "CREATE TABLE issues AS EXECUTE r", REFUSED);
    fixture_close(&f);
}

static void a_temporary_table_is_free(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    fixture_run(&f, "CREATE TEMP TABLE t (id int)");
    fixture_run(&f, STRUCTURE);
    assert_goes(&f, "INSERT INTO t VALUES (1)", "main");
    fixture_run(&f, "SET pginterlock.allowed_gitlab_schemas = 'gitlab_ci'");
    assert_goes(&f, "SELECT 1 FROM t", "main");
    fixture_close(&f);
}

static void unclassified_and_unparsed_come_first(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    fixture_run(&f, DATA);
    assert_goes(&f, "SELECT 1 FROM nowhere, ci_builds", "unclassified");
    assert_goes(&f, "UPDATE projects, ci_builds", "unparsed");
    fixture_close(&f);
}

static void no_permit_and_no_mode_lets_it_pass(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, "rules: {cross_join: off, wrong_database: off, write_lock: off}\n", "app");
    fixture_run(&f, DATA);
    fixture_run(&f, "SET pginterlock.allow = 'cross_join, cross_transaction'");
    assert_goes(&f, "/* allow_cross_joins_across_databases */ SELECT 1 FROM ci_builds", REFUSED);
    fixture_close(&f);
}

static void it_holds_on_a_pinned_connection(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app_ci");
    fixture_run(&f, DATA);
    assert_goes(&f, "SELECT 1 FROM ci_builds", REFUSED);
    assert_goes(&f, "SELECT 1 FROM projects", "wrong_database");
    fixture_run(&f, STRUCTURE);
    assert_goes(&f, "ALTER TABLE projects ADD x int", "ci");
    fixture_close(&f);
}

static void a_violation_tells_what_and_why(void **unused) {
    (void)unused;
    struct fixture f;
    const char *sql = "SELECT 1 FROM users, ci_builds";
    fixture_open(&f, RULES_ENFORCED, "app");
    fixture_run(&f, DATA);
    assert_goes(&f, sql, REFUSED);
    const struct violation *v = &f.decision.violation;
    assert_string_equal(v->sqlstate, "XD008");
    assert_string_equal(v->message,
                        "this session may not touch ci_builds (gitlab_ci, database ci): "
                        "it is restricted to data of gitlab_main");
    assert_string_equal(v->table, "ci_builds");
    assert_int_equal(v->position, strstr(sql, "ci_builds") - sql);
    assert_non_null(strstr(v->detail, "users (gitlab_main, database main) read"));
    assert_non_null(strstr(v->hint, "RESET pginterlock.allowed_gitlab_schemas"));
    assert_goes(&f, "SELECT 'secret' FORM 1", REFUSED);
    assert_string_equal(f.decision.violation.detail, "The parser can't read it.");
    fixture_close(&f);
}

static void a_reload_holds_it_against_the_new_classification(void **unused) {
    (void)unused;
    struct fixture f;
    char path[256];
    struct settings *changed;
    struct error error;
    fixture_open(&f, RULES_ENFORCED, "app");
    fixture_run(&f, "SET pginterlock.allowed_gitlab_schemas = 'gitlab_ci'");
    fixture_write(&f, "tables.yml",
                  "a_first: :gitlab_aaa\nprojects: :gitlab_main\n"
                  "ci_builds: :gitlab_ci\n");
    snprintf(path, sizeof path, "%s/pginterlock.yml", f.folder);
    assert_true(settings_load(path, &changed, &error));
    struct router *old = f.router;
    struct settings *before = f.settings;
    session_set_settings(f.session, changed, settings_find_entrypoint(changed, "app"));
    f.router = router_new(changed, 1024 * 1024);
    f.settings = changed;
    assert_goes(&f, "SELECT 1 FROM ci_builds", "ci");
    assert_goes(&f, "SELECT 1 FROM projects", REFUSED);
    assert_goes(&f, "SELECT 1 FROM a_first", REFUSED);
    router_free(old);
    settings_unref(before);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_with_schemas_may_touch_their_data_only),
        cmocka_unit_test(a_session_with_an_empty_list_may_change_structure_only),
        cmocka_unit_test(several_schemas_are_allowed_together),
        cmocka_unit_test(a_schemas_family_goes_with_it),
        cmocka_unit_test(an_unknown_schema_is_refused_and_the_known_are_told),
        cmocka_unit_test(set_local_ends_with_its_transaction),
        cmocka_unit_test(a_restriction_is_undone_with_its_savepoint),
        cmocka_unit_test(reset_ends_it),
        cmocka_unit_test(set_config_and_the_startup_packet_set_it),
        cmocka_unit_test(set_config_that_would_go_unnoticed_is_refused),
        cmocka_unit_test(a_comment_that_names_no_database_is_refused),
        cmocka_unit_test(what_was_prepared_before_is_held_against_it),
        cmocka_unit_test(a_temporary_table_is_free),
        cmocka_unit_test(unclassified_and_unparsed_come_first),
        cmocka_unit_test(no_permit_and_no_mode_lets_it_pass),
        cmocka_unit_test(it_holds_on_a_pinned_connection),
        cmocka_unit_test(a_violation_tells_what_and_why),
        cmocka_unit_test(a_reload_holds_it_against_the_new_classification),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
