/* The record of violations with a clock of the test's own: what is written when, and that memory
 * has its bounds. */
#include "routing_session.h"

#include "proxy/violations.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sys/resource.h>

struct world {
    struct fixture fixture;
    struct log log;
    struct violations *violations;
    struct tags tags;
    char file[128], log_file[128];
};

static int world_setup(void **state) {
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    fixture_open(&w->fixture, RULES_ENFORCED, "app");
    snprintf(w->file, sizeof w->file, "%s/violations", w->fixture.folder);
    snprintf(w->log_file, sizeof w->log_file, "%s/log", w->fixture.folder);
    int fd = open(w->log_file, O_CREAT | O_WRONLY | O_APPEND, 0600);
    log_init(&w->log, fd, LOG_INFO, LOG_TEXT);
    w->violations = violations_new(&w->log);
    violations_open(w->violations, w->file);
    *state = w;
    return 0;
}

static int world_teardown(void **state) {
    struct world *w = *state;
    violations_free(w->violations);
    close(w->log.fd);
    unlink(w->file);
    unlink(w->log_file);
    fixture_close(&w->fixture);
    free(w);
    return 0;
}

/* A violation by a text, at a time. */
static void violate(struct world *w, const char *text, uint64_t now) {
    struct query *query;
    struct error error;
    struct lexing lexing = {.standard_conforming_strings = true};
    assert_true(router_query(w->fixture.router, text, strlen(text), &lexing, true, &query, &error));
    struct occurrence occurrence = {.rule = RULE_CROSS_JOIN,
                                    .sqlstate = "XD001",
                                    .action = ACTION_REPORT,
                                    .executable = true,
                                    .message = "message",
                                    .settings = w->fixture.settings,
                                    .statement = &query->statements[0],
                                    .entrypoint = "app",
                                    .tags = &w->tags,
                                    .client = "client",
                                    .pid = 7};
    violations_note(w->violations, &occurrence, now);
    query_unref(query);
}

static size_t lines_of(const char *path) {
    FILE *file = fopen(path, "r");
    size_t lines = 0;
    for (int c; file != NULL && (c = getc(file)) != EOF;)
        lines += c == '\n';
    if (file != NULL)
        fclose(file);
    return lines;
}

/* The `count` of each line of the file, which must be as many. */
static void expect_counts(const struct world *w, size_t lines, const json_int_t *counts) {
    assert_int_equal(lines_of(w->file), lines);
    FILE *file = fopen(w->file, "r");
    for (size_t i = 0; i < lines; i++) {
        json_t *line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL);
        assert_non_null(line);
        assert_int_equal(json_integer_value(json_object_get(line, "count")), counts[i]);
        json_decref(line);
    }
    if (file != NULL)
        fclose(file);
}

#define EXPECT_COUNTS(world, ...)                                                                  \
    expect_counts(world, sizeof((json_int_t[]){__VA_ARGS__}) / sizeof(json_int_t),                 \
                  (json_int_t[]){__VA_ARGS__})

#define TEXT "SELECT * FROM projects, ci_builds"

static void a_line_is_due_ten_seconds_after_the_one_before(void **state) {
    struct world *w = *state;
    violate(w, TEXT, 1000);
    EXPECT_COUNTS(w, 1);
    assert_false(violations_pending(w->violations));
    violate(w, TEXT, 2000);
    violate(w, TEXT, 10999);
    assert_true(violations_pending(w->violations));
    violations_tick(w->violations, 10999);
    EXPECT_COUNTS(w, 1);
    violations_tick(w->violations, 11000);
    EXPECT_COUNTS(w, 1, 2);
    assert_int_equal(lines_of(w->log_file), 2);
    assert_false(violations_pending(w->violations));
}

static void an_occurrence_after_ten_seconds_is_written_at_once(void **state) {
    struct world *w = *state;
    violate(w, TEXT, 1000);
    violate(w, TEXT, 11000);
    EXPECT_COUNTS(w, 1, 1);
    assert_false(violations_pending(w->violations));
}

static void what_is_unwritten_is_written_before_another_file_is_opened(void **state) {
    struct world *w = *state;
    violate(w, TEXT, 1000);
    violate(w, TEXT, 1001);
    violate(w, "SELECT 1 FROM projects, ci_builds", 1002);
    violations_open(w->violations, NULL);
    EXPECT_COUNTS(w, 1, 1, 1);
    violate(w, TEXT, 1003); /* no file, but still counted for the log */
    assert_false(violations_pending(w->violations));
    EXPECT_COUNTS(w, 1, 1, 1);
}

static void what_cannot_be_written_is_kept_and_said_once(void **state) {
    struct world *w = *state;
    char folder[160];
    snprintf(folder, sizeof folder, "%s/gone", w->fixture.folder);
    snprintf(w->file, sizeof w->file, "%s/gone/violations", w->fixture.folder);
    violations_open(w->violations, w->file);
    size_t before = lines_of(w->log_file);
    assert_int_equal(before, 1); /* the complaint */
    violate(w, TEXT, 1000);
    violate(w, TEXT, 2000);
    violations_tick(w->violations, 12000);
    assert_true(violations_pending(w->violations));
    assert_int_equal(lines_of(w->log_file), before + 2);
    assert_int_equal(mkdir(folder, 0700), 0);
    violations_tick(w->violations, 22000);
    assert_false(violations_pending(w->violations));
    EXPECT_COUNTS(w, 2);
    assert_int_equal(lines_of(w->log_file), before + 3); /* recorded again */
    unlink(w->file);
    rmdir(folder);
}

static void a_torn_line_is_ended_before_the_next_one(void **state) {
    struct world *w = *state;
    struct rlimit before;
    struct stat status;
    signal(SIGXFSZ, SIG_IGN);
    violate(w, TEXT, 1000);
    assert_int_equal(stat(w->file, &status), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit tight = {(rlim_t)status.st_size + 10, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    violate(w, "SELECT 2 FROM projects, ci_builds AS b", 1000);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(violations_pending(w->violations));
    violations_tick(w->violations, 11000);
    assert_false(violations_pending(w->violations));
    assert_int_equal(lines_of(w->file), 3);
    FILE *file = fopen(w->file, "r");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)status.st_size + 11, SEEK_SET), 0);
    json_t *line = json_loadf(file, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(line, "count")), 1);
    json_decref(line);
    fclose(file);
}

static void the_least_recently_seen_is_written_and_forgotten(void **state) {
    struct world *w = *state;
    violate(w, "SELECT first FROM projects, ci_builds", 1000);
    violate(w, "SELECT second FROM projects, ci_builds", 1000);
    violate(w, "SELECT second FROM projects, ci_builds", 1001);
    violate(w, "SELECT first FROM projects, ci_builds", 1002);
    violate(w, "SELECT first FROM projects, ci_builds", 1003);
    char text[128];
    /* Two entries are there already: with one more than fit, the second goes. */
    for (int i = 0; i < VIOLATION_ENTRIES_MAX - 1; i++) {
        snprintf(text, sizeof text, "SELECT c%d FROM projects, ci_builds", i);
        violate(w, text, 1004);
    }
    size_t lines = lines_of(w->file);
    assert_int_equal(lines, 2 + VIOLATION_ENTRIES_MAX - 1 + 1);
    violate(w, "SELECT first FROM projects, ci_builds", 1005); /* still known */
    assert_int_equal(lines_of(w->file), lines);
    violate(w, "SELECT second FROM projects, ci_builds", 1006); /* anew; something else goes */
    assert_int_equal(lines_of(w->file), lines + 1);
}

static void tags_of_one_occurrence_make_no_entry_of_their_own(void **state) {
    struct world *w = *state;
    w->tags.count = 2;
    strcpy(w->tags.list[0].key, "action");
    strcpy(w->tags.list[0].value, "show");
    strcpy(w->tags.list[1].key, "correlation_id");
    strcpy(w->tags.list[1].value, "a");
    violate(w, TEXT, 1000);
    strcpy(w->tags.list[1].value, "b");
    violate(w, TEXT, 1001);
    EXPECT_COUNTS(w, 1);
    strcpy(w->tags.list[0].value, "index");
    violate(w, TEXT, 1002);
    EXPECT_COUNTS(w, 1, 1);
}

#define world_test(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        world_test(a_line_is_due_ten_seconds_after_the_one_before),
        world_test(an_occurrence_after_ten_seconds_is_written_at_once),
        world_test(what_is_unwritten_is_written_before_another_file_is_opened),
        world_test(what_cannot_be_written_is_kept_and_said_once),
        world_test(a_torn_line_is_ended_before_the_next_one),
        world_test(the_least_recently_seen_is_written_and_forgotten),
        world_test(tags_of_one_occurrence_make_no_entry_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
