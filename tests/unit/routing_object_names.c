/* What catalogs said of names, kept by the map, and what statements make of it. */
#include "routing/object_names.h"

#include "tests/unit/routing_session.h"

enum { MAIN = 1 << 0, CI = 1 << 1, BOTH = MAIN | CI };

struct scene {
    struct fixture f;
    struct object_names *map;
};

static void open_scene(struct scene *s, const char *rules, const char *entrypoint) {
    fixture_open(&s->f, rules, entrypoint);
    s->map = object_names_new(s->f.settings, 8);
    session_set_objects(s->f.session, s->map);
}

static void close_scene(struct scene *s) {
    object_names_free(s->map);
    fixture_close(&s->f);
}

static struct object_name relation(const char *name) {
    return (struct object_name){.kind = OBJECT_NAME_RELATION, .name = name};
}

static struct object_answer belongs(int database, const char *table) {
    return (struct object_answer){.database = database,
                                  .visible = true,
                                  .belongs = true,
                                  .schema = table != NULL ? "public" : NULL,
                                  .table = table};
}

static void put_at(struct scene *s, const char *text, const struct object_answer *answers,
                   size_t count, uint64_t now) {
    struct object_name name = relation(text);
    struct object_inquiry inquiry = {
        .asker = session_asker(s->f.session), .asked = BOTH, .answered = BOTH, .now = now};
    object_names_put(s->map, &name, answers, count, &inquiry);
}

static void put(struct scene *s, const char *text, int database, const char *table) {
    struct object_answer answer = belongs(database, table);
    put_at(s, text, &answer, 1, 0);
}

static bool knows(struct scene *s, const char *text, uint64_t now) {
    struct object_name name = relation(text);
    return object_names_knows(s->map, &name, session_asker(s->f.session), BOTH, now);
}

static const struct object_table *find(struct scene *s, const char *text) {
    struct object_name name = relation(text);
    return object_names_find(s->map, &name, session_asker(s->f.session));
}

/* -- the map -------------------------------------------------------------------------------------
 */

static void a_found_name_is_known_for_a_minute(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    assert_false(knows(&s, "an_index", 0));
    put(&s, "an_index", 1, "ci_builds");
    assert_true(knows(&s, "an_index", 59999));
    assert_false(knows(&s, "an_index", 60000));
    assert_non_null(find(&s, "an_index")); /* a statement that runs longer is still judged by it */
    close_scene(&s);
}

static void a_name_that_was_not_found_is_asked_for_again_soon(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    put_at(&s, "an_index", NULL, 0, 0);
    assert_true(knows(&s, "an_index", 999));
    assert_false(knows(&s, "an_index", 1000));
    close_scene(&s);
}

static void what_not_all_have_said_does_not_last(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    struct object_name name = relation("an_index");
    struct object_answer answer = belongs(1, "ci_builds");
    struct object_inquiry inquiry = {.asker = 1, .asked = BOTH, .answered = CI, .now = 0};
    object_names_put(s.map, &name, &answer, 1, &inquiry);
    assert_false(knows(&s, "an_index", 1000));
    close_scene(&s);
}

static void who_asks_more_databases_than_were_asked_does_not_know(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    struct object_name name = relation("an_index");
    struct object_inquiry inquiry = {.asker = 1, .asked = MAIN, .answered = MAIN, .now = 0};
    object_names_put(s.map, &name, NULL, 0, &inquiry);
    assert_true(object_names_knows(s.map, &name, 1, MAIN, 0));
    assert_false(object_names_knows(s.map, &name, 1, BOTH, 0));
    close_scene(&s);
}

static void kinds_and_schemas_have_names_of_their_own(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    put(&s, "x", 1, "ci_builds");
    struct object_name others[] = {{OBJECT_NAME_STATISTICS, NULL, "x"},
                                   {OBJECT_NAME_CONSTRAINT, NULL, "x"},
                                   {OBJECT_NAME_RELATION, "public", "x"},
                                   {OBJECT_NAME_RELATION, "", "x"}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_null(object_names_find(s.map, &others[i], 1));
    }
    close_scene(&s);
}

static void the_least_recently_asked_for_make_room(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    char name[8];
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "i%d", i);
        put(&s, name, 1, "ci_builds");
    }
    assert_true(knows(&s, "i0", 1)); /* used again */
    object_names_make_room(s.map, 2);
    assert_int_equal(object_names_count(s.map), 6);
    assert_non_null(find(&s, "i0"));
    assert_null(find(&s, "i1"));
    assert_null(find(&s, "i2"));
    object_names_make_room(s.map, 1000);
    assert_int_equal(object_names_count(s.map), 0);
    close_scene(&s);
}

static void structure_that_changes_makes_all_unknown(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    put(&s, "an_index", 1, "ci_builds");
    object_names_forget(s.map);
    assert_null(find(&s, "an_index"));
    close_scene(&s);
}

static void what_is_uncommitted_is_for_its_session_only(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    struct object_name name = relation("an_index");
    struct object_answer answer = belongs(1, "ci_builds");
    struct object_inquiry inquiry = {
        .asker = 7, .asked = BOTH, .answered = BOTH, .uncommitted = true, .now = 0};
    object_names_put(s.map, &name, &answer, 1, &inquiry);
    assert_non_null(object_names_find(s.map, &name, 7));
    assert_null(object_names_find(s.map, &name, 8));
    assert_false(object_names_knows(s.map, &name, 8, BOTH, 0));
    close_scene(&s);
}

/* -- several answers ------------------------------------------------------------------------------
 */

static void assert_belongs_to(struct scene *s, const char *text, const char *table) {
    const struct object_table *found = find(s, text);
    assert_non_null(found);
    assert_int_equal(found->role, ROLE_COUNTS);
    assert_string_equal(found->table, table);
}

static void a_table_at_home_wins_over_its_likeness_elsewhere(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    struct object_answer answers[] = {belongs(0, "ci_pipelines"), belongs(1, "ci_builds")};
    put_at(&s, "an_index", answers, 2, 0);
    assert_belongs_to(&s, "an_index", "ci_builds");
    struct object_answer strange[] = {belongs(0, "unheard_of"), belongs(1, "ci_builds")};
    put_at(&s, "another", strange, 2, 0);
    assert_belongs_to(&s, "another", "ci_builds");
    close_scene(&s);
}

static void two_tables_at_home_leave_it_open(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    struct object_answer answers[] = {belongs(0, "projects"), belongs(1, "ci_builds")};
    put_at(&s, "an_index", answers, 2, 0);
    assert_int_equal(find(&s, "an_index")->role, ROLE_IGNORED);
    close_scene(&s);
}

static void search_path_decides_between_tables_at_home_for_its_session(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    struct object_answer answers[] = {belongs(0, "projects"), belongs(1, "ci_builds")};
    answers[0].visible = false;
    put_at(&s, "an_index", answers, 2, 0);
    assert_belongs_to(&s, "an_index", "ci_builds");
    struct object_name name = relation("an_index");
    assert_null(object_names_find(s.map, &name, session_asker(s.f.session) + 1));
    close_scene(&s);
}

static void an_index_wins_over_a_table_of_its_name(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    struct object_answer answers[] = {belongs(0, "projects"), belongs(1, "ci_builds")};
    answers[0].belongs = false; /* the table itself */
    put_at(&s, "projects", answers, 2, 0);
    assert_belongs_to(&s, "projects", "ci_builds");
    close_scene(&s);
}

/* -- statements -----------------------------------------------------------------------------------
 */

static void names_count_as_their_tables(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    put(&s, "of_ci", 1, "ci_builds");
    put(&s, "ci_numbers", 1, "ci_builds");
    put(&s, "main_numbers", 0, "projects");
    assert_goes(&s.f, "DROP INDEX of_ci", "ci");
    assert_goes(&s.f, "SELECT 1 FROM projects", "main");
    assert_goes(&s.f, "ALTER INDEX of_ci RENAME TO x", "ci");
    assert_goes(&s.f, "ALTER TABLE of_ci RENAME TO x", "ci");
    assert_goes(&s.f, "REINDEX INDEX of_ci", "ci");
    assert_goes(&s.f, "SELECT nextval('ci_numbers')", "ci");
    assert_goes(&s.f, "SELECT nextval('main_numbers')", "main");
    assert_goes(&s.f, "SELECT last_value FROM ci_numbers", "ci");
    assert_goes(&s.f, "GRANT SELECT ON SEQUENCE ci_numbers TO public", "ci");
    assert_goes(&s.f, "SELECT nextval('main_numbers'), nextval('ci_numbers')", "cross_join");
    assert_string_equal(s.f.decision.violation.table, "ci_builds");
    assert_goes(&s.f, "ALTER SEQUENCE ci_numbers OWNED BY projects.id", "cross_join");
    close_scene(&s);
}

static void without_catalogs_names_follow(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    put(&s, "of_ci", 1, "ci_builds");
    session_set_objects(s.f.session, NULL);
    assert_goes(&s.f, "SELECT 1 FROM projects", "main");
    assert_goes(&s.f, "DROP INDEX of_ci", "main");
    assert_goes(&s.f, "SELECT last_value FROM of_ci", "unclassified");
    close_scene(&s);
}

static void what_no_table_has_follows(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    put(&s, "alone", 1, NULL);
    assert_goes(&s.f, "SELECT 1 FROM ci_builds", "ci");
    assert_goes(&s.f, "ALTER SEQUENCE alone RESTART", "ci");
    assert_goes(&s.f, "SELECT 1 FROM projects", "main");
    assert_goes(&s.f, "ALTER SEQUENCE alone RESTART", "main");
    close_scene(&s);
}

static void a_table_without_a_class_breaks_its_rule_through_its_index(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    put(&s, "of_strangers", 1, "strangers");
    assert_goes(&s.f, "DROP INDEX of_strangers", "unclassified");
    assert_string_equal(s.f.decision.violation.table, "strangers");
    assert_goes(&s.f, "SELECT 'of_strangers'::regclass", "any"); /* as with the table's own name */
    close_scene(&s);
}

static void dropping_an_index_modifies(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    put(&s, "of_ci", 1, "ci_builds");
    fixture_run(&s.f, "BEGIN");
    assert_goes(&s.f, "DROP INDEX of_ci", "ci");
    assert_goes(&s.f, "SELECT nextval('of_ci')", "ci");
    assert_goes(&s.f, "INSERT INTO projects VALUES (1)", "cross_transaction");
    close_scene(&s);
}

static void a_table_named_twice_is_told_once(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    put(&s, "one", 1, "ci_builds");
    put(&s, "two", 1, "ci_builds");
    put(&s, "three", 0, "projects");
    assert_goes(&s.f, "DROP INDEX one, two, three", "cross_join");
    const char *first = strstr(s.f.decision.violation.detail, "ci_builds");
    assert_non_null(first);
    assert_null(strstr(first + 1, "ci_builds"));
    close_scene(&s);
}

static void constraints_are_set_where_their_tables_are(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    struct object_inquiry inquiry = {.asker = 1, .asked = BOTH, .answered = BOTH};
    struct object_answer ci = belongs(1, "ci_builds"), main = belongs(0, "projects");
    struct object_name of_ci = {OBJECT_NAME_CONSTRAINT, NULL, "of_ci"},
                       of_main = {OBJECT_NAME_CONSTRAINT, NULL, "of_main"};
    object_names_put(s.map, &of_ci, &ci, 1, &inquiry);
    object_names_put(s.map, &of_main, &main, 1, &inquiry);
    assert_goes(&s.f, "SET CONSTRAINTS of_ci DEFERRED", "ci");
    assert_goes(&s.f, "SET CONSTRAINTS of_main DEFERRED", "main");
    assert_goes(&s.f, "SET CONSTRAINTS of_ci, of_main DEFERRED", "all");
    assert_goes(&s.f, "SET CONSTRAINTS of_ci, unknown DEFERRED", "all");
    assert_goes(&s.f, "SET CONSTRAINTS ALL DEFERRED", "all");
    close_scene(&s);
}

static void a_pinned_session_may_look_names_up_but_not_draw_numbers(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app_main");
    put(&s, "ci_numbers", 0, "ci_builds");
    assert_goes(&s.f, "SELECT 'ci_numbers'::regclass", "main");
    assert_goes(&s.f, "DROP INDEX ci_numbers", "main");
    assert_goes(&s.f, "SELECT nextval('ci_numbers')", "wrong_database");
    close_scene(&s);
}

static void a_temporary_object_lives_where_it_is(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    struct object_answer answers[] = {belongs(0, "projects"), belongs(1, "mine")};
    answers[1].temporary = true;
    put_at(&s, "an_index", answers, 2, 0);
    assert_goes(&s.f, "DROP INDEX an_index", "ci");
    assert_int_equal(s.f.decision.modifies, 0);
    close_scene(&s);
}

static void lastval_follows_what_drew(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    assert_goes(&s.f, "SELECT lastval()", "any");
    assert_goes(&s.f, "INSERT INTO ci_builds DEFAULT VALUES", "ci");
    assert_goes(&s.f, "UPDATE projects SET id = id", "main");
    assert_goes(&s.f, "SELECT lastval()", "ci");
    assert_goes(&s.f, "SELECT nextval('projects_id_seq')", "main");
    assert_goes(&s.f, "SELECT 1 FROM ci_builds", "ci");
    assert_goes(&s.f, "SELECT lastval()", "main");
    close_scene(&s);
}

static void loading_a_library_is_no_lastval(void **unused) {
    (void)unused;
    struct scene s;
    open_scene(&s, RULES_ENFORCED, "app");
    assert_goes(&s.f, "INSERT INTO ci_builds DEFAULT VALUES", "ci");
    assert_goes(&s.f, "SELECT 1 FROM projects", "main");
    assert_goes(&s.f, "LOAD 'auto_explain'", "main");
    close_scene(&s);
}

/* -- which names are asked for
 * --------------------------------------------------------------------- */

static void assert_asks(const char *sql, bool expected) {
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    if (fixture_statement(&f, sql)->asks_catalogs != expected) {
        fail_msg("%s: expected %d", sql, expected);
    }
    fixture_close(&f);
}

static void only_names_that_say_nothing_themselves_are_asked_for(void **unused) {
    (void)unused;
    assert_asks("DROP INDEX a", true);
    assert_asks("ALTER STATISTICS a SET STATISTICS 3", true);
    assert_asks("SET CONSTRAINTS a IMMEDIATE", true);
    assert_asks("SELECT nextval('a')", true);
    assert_asks("DO $$ BEGIN PERFORM nextval('a'); END $$", true);
    assert_asks("SELECT 1 FROM unheard_of", true);
    assert_asks("SELECT nextval('projects_id_seq')", false);
    assert_asks("INSERT INTO unheard_of VALUES (1)", false);
    assert_asks("CREATE INDEX a ON projects (id)", false);
    assert_asks("CREATE SEQUENCE a", false);
    assert_asks("CREATE TABLE unheard_of (id int)", false);
    assert_asks("DROP INDEX pg_class_oid_index", false);
    assert_asks("DROP TYPE a", false);
    assert_asks("DROP FUNCTION a(int)", false);
    assert_asks("SET CONSTRAINTS ALL IMMEDIATE", false);
    assert_asks("SELECT 1 FROM projects", false);
    assert_asks("CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS $$ SELECT nextval('a') $$",
                false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_found_name_is_known_for_a_minute),
        cmocka_unit_test(a_name_that_was_not_found_is_asked_for_again_soon),
        cmocka_unit_test(what_not_all_have_said_does_not_last),
        cmocka_unit_test(who_asks_more_databases_than_were_asked_does_not_know),
        cmocka_unit_test(kinds_and_schemas_have_names_of_their_own),
        cmocka_unit_test(the_least_recently_asked_for_make_room),
        cmocka_unit_test(structure_that_changes_makes_all_unknown),
        cmocka_unit_test(what_is_uncommitted_is_for_its_session_only),
        cmocka_unit_test(a_table_at_home_wins_over_its_likeness_elsewhere),
        cmocka_unit_test(two_tables_at_home_leave_it_open),
        cmocka_unit_test(search_path_decides_between_tables_at_home_for_its_session),
        cmocka_unit_test(an_index_wins_over_a_table_of_its_name),
        cmocka_unit_test(names_count_as_their_tables),
        cmocka_unit_test(without_catalogs_names_follow),
        cmocka_unit_test(what_no_table_has_follows),
        cmocka_unit_test(a_table_without_a_class_breaks_its_rule_through_its_index),
        cmocka_unit_test(dropping_an_index_modifies),
        cmocka_unit_test(a_table_named_twice_is_told_once),
        cmocka_unit_test(constraints_are_set_where_their_tables_are),
        cmocka_unit_test(a_pinned_session_may_look_names_up_but_not_draw_numbers),
        cmocka_unit_test(a_temporary_object_lives_where_it_is),
        cmocka_unit_test(lastval_follows_what_drew),
        cmocka_unit_test(loading_a_library_is_no_lastval),
        cmocka_unit_test(only_names_that_say_nothing_themselves_are_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
