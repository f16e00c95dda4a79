#include "config_fixture.h"

#define BASE DATABASES TABLES TRUST

static void violations_are_recorded_beside_the_settings(void **state) {
    const struct settings *settings = fixture_load(*state, BASE "violations: v.jsonl\n");
    struct fixture *f = *state;
    char path[256];
    fixture_path(f, "v.jsonl", path, sizeof path);
    assert_string_equal(settings->violations, path);
    assert_true(settings_check_violations(settings, &f->error));
    assert_null(fixture_load(*state, BASE)->violations);
}

static void violations_need_a_regular_file_in_a_folder_that_is_there(void **state) {
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {BASE "violations: {}\n", "settings.yml:4: violations is a map: write a single value"},
        {BASE "violations: none/v.jsonl\n",
         "settings.yml:4: violations: can't find the folder none: No such file or directory: name "
         "a file in a folder that is there"},
        {BASE "violations: settings.yml/v.jsonl\n",
         "settings.yml:4: violations: settings.yml is no folder: name a file in a folder that is "
         "there"},
        {BASE "violations: /dev/null\n", "settings.yml:4: violations: /dev/null is not a regular "
                                         "file: name a file in a folder that is there"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        fixture_refuse(*state, cases[i].text, cases[i].expected);
}

static void a_file_of_violations_that_cannot_be_written_is_said(void **state) {
    struct fixture *f = *state;
    char folder[300];
    const struct settings *settings = fixture_load(f, BASE "violations: v.jsonl\n");
    fixture_path(f, "v.jsonl", folder, sizeof folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_false(settings_check_violations(settings, &f->error));
    fixture_strip(f, f->error.text);
    assert_string_equal(f->error.text,
                        "settings.yml:4: violations: v.jsonl is not a regular file: let the user "
                        "who runs this write the file and its folder");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(violations_are_recorded_beside_the_settings),
        fixture_test(violations_need_a_regular_file_in_a_folder_that_is_there),
        fixture_test(a_file_of_violations_that_cannot_be_written_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
