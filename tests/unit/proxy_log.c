/* The log writes into a pipe; each test reads one line back. */
#include "proxy/log.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    int pipe[2];
    struct log log;
    char line[16384];
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(pipe(f->pipe), 0);
    log_init(&f->log, f->pipe[1], LOG_INFO, LOG_TEXT);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    close(f->pipe[0]);
    close(f->pipe[1]);
    free(f);
    return 0;
}

static const char *read_line(struct fixture *f) {
    ssize_t length = read(f->pipe[0], f->line, sizeof f->line - 1);
    assert_true(length > 0);
    assert_int_equal(f->line[length - 1], '\n');
    f->line[length - 1] = '\0';
    assert_null(strchr(f->line, '\n'));
    return f->line;
}

static json_t *read_json(struct fixture *f) {
    json_error_t error;
    json_t *object = json_loads(read_line(f), JSON_REJECT_DUPLICATES, &error);
    assert_non_null(object);
    return object;
}

static void a_text_line_has_time_level_message_and_fields(void **state) {
    struct fixture *f = *state;
    log_event(&f->log, LOG_INFO, "client connected",
              (struct log_field[]){{"client", "127.0.0.1:5000", 0}, {"pid", NULL, 7}, {0}});
    const char *line = read_line(f);
    int year = 0, milliseconds = 0;
    assert_int_equal(sscanf(line, "%d-%*d-%*d %*d:%*d:%*d.%3d UTC ", &year, &milliseconds), 2);
    assert_true(year >= 2024);
    assert_string_equal(strstr(line, "UTC ") + 4,
                        "INFO client connected client=127.0.0.1:5000 pid=7");
}

static void values_are_quoted_where_they_need_it(void **state) {
    struct fixture *f = *state;
    log_event(&f->log, LOG_ERROR, "x",
              (struct log_field[]){{"a", "two words", 0}, {"b", "", 0}, {"c", "q\"=\\", 0}, {0}});
    assert_non_null(strstr(read_line(f), "ERROR x a=\"two words\" b=\"\" c=\"q\\\"=\\\\\""));
}

static void control_characters_are_escaped(void **state) {
    struct fixture *f = *state;
    log_event(&f->log, LOG_ERROR, "one\ntwo",
              (struct log_field[]){{"a", "\033[31m\r\n", 0}, {"b", "\xc2\x9b", 0}, {0}});
    assert_non_null(strstr(read_line(f), "one\\ntwo a=\"\\u001b[31m\\u000d\\n\" b=\"\\u009b\""));
}

static void lines_below_the_level_are_not_written(void **state) {
    struct fixture *f = *state;
    log_event(&f->log, LOG_DEBUG, "quiet", NULL);
    log_event(&f->log, LOG_INFO, "loud", NULL);
    assert_null(strstr(read_line(f), "quiet"));
}

static void json_lines_are_objects(void **state) {
    struct fixture *f = *state;
    f->log.format = LOG_JSON;
    log_event(&f->log, LOG_WARNING, "say \"hi\"",
              (struct log_field[]){{"user", "a\001\xff\xc3\xa9", 0}, {"n", NULL, -5}, {0}});
    json_t *object = read_json(f);
    assert_string_equal(json_string_value(json_object_get(object, "level")), "warning");
    assert_string_equal(json_string_value(json_object_get(object, "message")), "say \"hi\"");
    assert_string_equal(json_string_value(json_object_get(object, "user")),
                        "a\001\xef\xbf\xbd\xc3\xa9");
    assert_int_equal(json_integer_value(json_object_get(object, "n")), -5);
    json_decref(object);
}

static void a_line_too_long_is_cut_off_and_stays_whole(void **state) {
    struct fixture *f = *state;
    char huge[20000];
    memset(huge, '"', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    f->log.format = LOG_JSON;
    for (size_t cut = 0; cut < 60; cut++) {
        log_event(
            &f->log, LOG_INFO, "m",
            (struct log_field[]){
                {"a", huge + sizeof huge - 4000 + cut, 0}, {"b", huge, 0}, {"c", "after", 0}, {0}});
        json_decref(read_json(f));
    }
    log_event(&f->log, LOG_INFO, huge, NULL);
    json_decref(read_json(f));
    f->log.format = LOG_TEXT;
    log_event(&f->log, LOG_INFO, huge, (struct log_field[]){{"a", huge, 0}, {0}});
    read_line(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_text_line_has_time_level_message_and_fields),
        TEST(values_are_quoted_where_they_need_it),
        TEST(control_characters_are_escaped),
        TEST(lines_below_the_level_are_not_written),
        TEST(json_lines_are_objects),
        TEST(a_line_too_long_is_cut_off_and_stays_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
