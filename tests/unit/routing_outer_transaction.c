/* rules.outer_transaction: ignore, for test suites that run each test in a transaction of their
 * own. */
#include "tests/unit/routing_session.h"

#define IGNORED "rules: {outer_transaction: ignore}\n"

static void run_all(struct fixture *f, const char *const *statements, size_t count) {
    for (size_t i = 0; i < count; i++) {
        fixture_run(f, statements[i]);
    }
}

static void statements_directly_in_the_block_stand_alone(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, IGNORED, "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    assert_goes(&f, "SELECT 1 FROM projects FOR UPDATE", "main");
    fixture_close(&f);
}

static void the_block_counts_unless_it_is_ignored(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, "rules: {outer_transaction: count}\n", "app");
    assert_goes(&f, "BEGIN", "all");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "DELETE FROM ci_builds", "cross_transaction");
    fixture_close(&f);
}

static void the_outermost_savepoint_is_the_transaction(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, IGNORED, "app");
    fixture_run(&f, "BEGIN");
    fixture_run(&f, "DELETE FROM ci_builds");
    fixture_run(&f, "SAVEPOINT active_record_1");
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "DELETE FROM ci_builds", "cross_transaction");
    fixture_close(&f);
}

static void deeper_savepoints_nest_in_it(void **unused) {
    (void)unused;
    static const char *const before[] = {"BEGIN",       "SAVEPOINT a",          "SAVEPOINT b",
                                         "SAVEPOINT c", "DELETE FROM projects", "RELEASE c",
                                         "RELEASE b"};
    struct fixture f;
    fixture_open(&f, IGNORED, "app");
    run_all(&f, before, 7);
    assert_goes(&f, "DELETE FROM ci_builds", "cross_transaction");
    fixture_close(&f);
}

static void what_a_deeper_savepoint_undid_is_forgotten(void **unused) {
    (void)unused;
    static const char *const before[] = {"BEGIN", "SAVEPOINT a", "SAVEPOINT b",
                                         "DELETE FROM projects", "ROLLBACK TO b"};
    struct fixture f;
    fixture_open(&f, IGNORED, "app");
    run_all(&f, before, 5);
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    assert_goes(&f, "DELETE FROM projects", "cross_transaction");
    fixture_close(&f);
}

static void release_of_the_outermost_savepoint_ends_it(void **unused) {
    (void)unused;
    static const char *const before[] = {"BEGIN", "SAVEPOINT a", "DELETE FROM projects",
                                         "RELEASE a"};
    struct fixture f;
    fixture_open(&f, IGNORED, "app");
    run_all(&f, before, 4);
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    assert_goes(&f, "SAVEPOINT a", "all");
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    assert_goes(&f, "DELETE FROM projects", "cross_transaction");
    fixture_close(&f);
}

static void release_of_it_from_within_a_deeper_one_ends_it(void **unused) {
    (void)unused;
    static const char *const before[] = {"BEGIN", "SAVEPOINT a", "SAVEPOINT b",
                                         "DELETE FROM projects", "RELEASE a"};
    struct fixture f;
    fixture_open(&f, IGNORED, "app");
    run_all(&f, before, 5);
    assert_goes(&f, "SAVEPOINT c", "all");
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    fixture_close(&f);
}

static void rollback_to_the_outermost_savepoint_begins_an_empty_one(void **unused) {
    (void)unused;
    static const char *const before[] = {"BEGIN", "SAVEPOINT a", "DELETE FROM projects",
                                         "ROLLBACK TO a"};
    struct fixture f;
    fixture_open(&f, IGNORED, "app");
    run_all(&f, before, 4);
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    assert_goes(&f, "DELETE FROM projects", "cross_transaction");
    fixture_close(&f);
}

static void a_savepoint_after_and_chain_is_a_transaction(void **unused) {
    (void)unused;
    static const char *const before[] = {"BEGIN", "DELETE FROM projects", "COMMIT AND CHAIN",
                                         "DELETE FROM projects"};
    struct fixture f;
    fixture_open(&f, IGNORED, "app");
    run_all(&f, before, 4);
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    assert_goes(&f, "SAVEPOINT a", "all");
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    assert_goes(&f, "DELETE FROM projects", "cross_transaction");
    fixture_close(&f);
}

static void what_was_modified_stays_known(void **unused) {
    (void)unused;
    static const char *const before[] = {"BEGIN", "SAVEPOINT a", "DELETE FROM projects",
                                         "RELEASE a", "DELETE FROM ci_builds"};
    struct fixture f;
    fixture_open(&f, IGNORED, "app");
    run_all(&f, before, 5);
    assert_int_equal(session_modified(f.session), 3);
    fixture_run(&f, "SAVEPOINT b");
    assert_int_equal(session_modified(f.session), 3);
    fixture_run(&f, "ROLLBACK");
    assert_int_equal(session_modified(f.session), 0);
    fixture_close(&f);
}

static void what_a_rollback_to_undid_is_no_longer_modified(void **unused) {
    (void)unused;
    static const char *const before[] = {"BEGIN", "DELETE FROM ci_builds", "SAVEPOINT a",
                                         "DELETE FROM projects", "ROLLBACK TO a"};
    struct fixture f;
    fixture_open(&f, IGNORED, "app");
    run_all(&f, before, 5);
    assert_int_equal(session_modified(f.session), 2);
    fixture_close(&f);
}

static void implicit_transactions_count_as_ever(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, IGNORED, "app");
    session_begin_implicit(f.session);
    assert_goes(&f, "DELETE FROM projects", "main");
    assert_goes(&f, "DELETE FROM ci_builds", "cross_transaction");
    fixture_close(&f);
}

static void a_statement_that_modifies_two_is_rejected_anywhere(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open_single(&f, "rules: {outer_transaction: ignore, cross_join: report}\n", "app");
    fixture_run(&f, "BEGIN");
    assert_goes(&f, "WITH d AS (DELETE FROM ci_builds RETURNING 1) DELETE FROM projects",
                "cross_transaction");
    fixture_close(&f);
}

static void the_detail_tells_of_this_savepoint_only(void **unused) {
    (void)unused;
    static const char *const before[] = {"BEGIN", "DELETE FROM users", "SAVEPOINT a",
                                         "DELETE FROM issues"};
    struct fixture f;
    fixture_open(&f, IGNORED, "app");
    run_all(&f, before, 4);
    assert_goes(&f, "DELETE FROM ci_builds", "cross_transaction");
    assert_non_null(strstr(f.decision.violation.detail, "DELETE issues"));
    assert_null(strstr(f.decision.violation.detail, "users"));
    fixture_close(&f);
}

static void a_shared_write_first_in_the_savepoint_runs_on_main(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, IGNORED, "app");
    fixture_run(&f, "BEGIN");
    fixture_run(&f, "DELETE FROM ci_builds");
    fixture_run(&f, "SAVEPOINT a");
    assert_goes(&f, "DELETE FROM detached_partitions", "main");
    assert_goes(&f, "DELETE FROM projects", "main");
    fixture_close(&f);
}

static void a_block_keeps_the_mode_that_it_began_with(void **unused) {
    (void)unused;
    struct fixture f;
    char path[256];
    struct settings *counting;
    struct error error;
    fixture_open(&f, "rules: {outer_transaction: count}\n", "app");
    snprintf(path, sizeof path, "%s/pginterlock.yml", f.folder);
    assert_true(settings_load(path, &counting, &error));
    fixture_close(&f);
    fixture_open(&f, IGNORED, "app");
    fixture_run(&f, "BEGIN");
    fixture_run(&f, "DELETE FROM projects");
    session_set_settings(f.session, counting, settings_find_entrypoint(counting, "app"));
    assert_goes(&f, "DELETE FROM ci_builds", "ci");
    fixture_run(&f, "COMMIT");
    fixture_run(&f, "BEGIN");
    fixture_run(&f, "DELETE FROM projects");
    assert_goes(&f, "DELETE FROM ci_builds", "cross_transaction");
    fixture_close(&f);
    settings_unref(counting);
}

/* ---- random sessions ---- */

/* Within an ignored block, with savepoints s1, s2, …, everything goes as in a session without that
 * block in which the outermost savepoint is BEGIN. */
struct pair {
    struct fixture test, production;
    int depth;
    bool failed;
    unsigned seed, rejected;
};

static unsigned draw(struct pair *p, unsigned below) {
    p->seed = p->seed * 1103515245u + 12345u;
    return (p->seed >> 16) % below;
}

static void both(struct pair *p, const char *test, const char *production) {
    fixture_run(&p->test, test);
    fixture_run(&p->production, production);
}

static void step_savepoint(struct pair *p) {
    char sql[40];
    p->depth++;
    snprintf(sql, sizeof sql, "SAVEPOINT s%d", p->depth);
    both(p, sql, p->depth == 1 ? "BEGIN" : sql);
}

static void step_release(struct pair *p) {
    char sql[40];
    int level = 1 + (int)draw(p, (unsigned)p->depth);
    snprintf(sql, sizeof sql, "RELEASE s%d", level);
    both(p, sql, level == 1 ? "COMMIT" : sql);
    p->depth = level - 1;
}

static void step_rollback_to(struct pair *p) {
    char sql[40];
    int level = 1 + (int)draw(p, (unsigned)p->depth);
    snprintf(sql, sizeof sql, "ROLLBACK TO s%d", level);
    both(p, sql, level == 1 ? "ROLLBACK" : sql);
    if (level == 1) {
        fixture_run(&p->production, "BEGIN");
    }
    p->depth = level;
    p->failed = false;
}

static void step_statement(struct pair *p) {
    static const char *const statements[] = {
        "DELETE FROM projects",       "UPDATE ci_builds SET id = 1",
        "SELECT 1 FROM projects",     "SELECT 1 FROM ci_builds FOR UPDATE",
        "SELECT 1 FROM ci_pipelines", "INSERT INTO detached_partitions VALUES (1)",
        "TRUNCATE users, projects",   "SELECT 1",
        "DELETE FROM ci_pipelines"};
    /* Where there is a savepoint what is neutral goes where it would; without one it follows the
     * block. */
    unsigned which = draw(p, 9);
    if (p->depth == 0 && (which == 5 || which == 7)) {
        return;
    }
    const char *sql = statements[which];
    char test[40], production[40];
    snprintf(test, sizeof test, "%s", fixture_runs_on(&p->test, sql));
    bool violated = p->test.decision.violated;
    snprintf(production, sizeof production, "%s", fixture_runs_on(&p->production, sql));
    assert_int_equal(violated, p->production.decision.violated);
    assert_string_equal(test, production);
    p->failed = violated;
    p->rejected += violated;
}

static void random_tests_go_as_production_does(void **unused) {
    (void)unused;
    struct pair p = {.seed = 15};
    fixture_open(&p.test, IGNORED, "app");
    fixture_open(&p.production, RULES_ENFORCED, "app");
    fixture_run(&p.test, "BEGIN");
    for (int i = 0; i < 20000; i++) {
        unsigned what = draw(&p, 10);
        if (p.failed) {
            step_rollback_to(&p);
        } else if (what < 2 && p.depth < 6) {
            step_savepoint(&p);
        } else if (what == 2 && p.depth > 0) {
            step_release(&p);
        } else if (what == 3 && p.depth > 0) {
            step_rollback_to(&p);
        } else {
            step_statement(&p);
        }
    }
    assert_true(p.rejected > 1000);
    fixture_close(&p.test);
    fixture_close(&p.production);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements_directly_in_the_block_stand_alone),
        cmocka_unit_test(the_block_counts_unless_it_is_ignored),
        cmocka_unit_test(the_outermost_savepoint_is_the_transaction),
        cmocka_unit_test(deeper_savepoints_nest_in_it),
        cmocka_unit_test(what_a_deeper_savepoint_undid_is_forgotten),
        cmocka_unit_test(release_of_the_outermost_savepoint_ends_it),
        cmocka_unit_test(release_of_it_from_within_a_deeper_one_ends_it),
        cmocka_unit_test(rollback_to_the_outermost_savepoint_begins_an_empty_one),
        cmocka_unit_test(a_savepoint_after_and_chain_is_a_transaction),
        cmocka_unit_test(what_was_modified_stays_known),
        cmocka_unit_test(what_a_rollback_to_undid_is_no_longer_modified),
        cmocka_unit_test(implicit_transactions_count_as_ever),
        cmocka_unit_test(a_statement_that_modifies_two_is_rejected_anywhere),
        cmocka_unit_test(the_detail_tells_of_this_savepoint_only),
        cmocka_unit_test(a_shared_write_first_in_the_savepoint_runs_on_main),
        cmocka_unit_test(a_block_keeps_the_mode_that_it_began_with),
        cmocka_unit_test(random_tests_go_as_production_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
