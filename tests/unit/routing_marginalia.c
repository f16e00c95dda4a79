#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "routing/marginalia.h"

#include <stdio.h>
#include <string.h>

static const struct lexing conforming = {.standard_conforming_strings = true};

static struct tags read_tags(const char *text) {
    struct tags tags;
    struct text_span span = {.text = text, .text_length = strlen(text), .length = strlen(text)};
    tags_read(&span, &conforming, &tags);
    return tags;
}

static void expect(const char *text, const char *key, const char *value) {
    struct tags tags = read_tags(text);
    const char *found = tags_find(&tags, key);
    if (value == NULL) {
        assert_null(found);
    } else {
        assert_non_null(found);
        assert_string_equal(found, value);
    }
}

static void marginalia_behind_the_statement_is_read(void **state) {
    (void)state;
    static const char text[] =
        "SELECT 1 /*application:web,controller:projects,action:show,correlation_id:01HX*/";
    expect(text, "application", "web");
    expect(text, "controller", "projects");
    expect(text, "action", "show");
    expect(text, "correlation_id", "01HX");
    assert_int_equal(read_tags(text).count, 4);
}

static void marginalia_before_the_statement_is_read(void **state) {
    (void)state;
    expect("/*controller:projects*/ SELECT 1", "controller", "projects");
}

static void a_value_keeps_its_colons_blanks_and_commas(void **state) {
    (void)state;
    static const char text[] =
        "SELECT 1 /*line:/app/a.rb:23:in `each, with', more,endpoint_id:GET /api/:version/x*/";
    expect(text, "line", "/app/a.rb:23:in `each, with', more");
    expect(text, "endpoint_id", "GET /api/:version/x");
}

static void sqlcommenter_is_read_and_decoded(void **state) {
    (void)state;
    static const char text[] = "SELECT 1 /*action='%2Fparam*d',controller='a%20b',route='it\\'s',"
                               "traceparent='00-5bd6-01'*/";
    expect(text, "action", "/param*d");
    expect(text, "controller", "a b");
    expect(text, "route", "it's");
    expect(text, "traceparent", "00-5bd6-01");
}

static void what_is_not_all_tags_is_none(void **state) {
    (void)state;
    static const char *const texts[] = {
        "SELECT 1 /* just words */",
        "SELECT 1 /* TODO: later */",
        "SELECT 1 /* password = 'hunter2' */",
        "SELECT 1 /*a='b' or c='d'*/",
        "SELECT 1 /*a='b',c*/",
        "SELECT 1 /*a='b*/",
        "SELECT 1 /**/",
        "SELECT 1 /*:x*/",
        "SELECT 1 /*='x'*/",
        "SELECT 1 -- controller:projects",
        "SELECT '/*controller:projects*/'",
        "SELECT \"/*controller:projects*/\"",
        "SELECT $x$/*controller:projects*/$x$",
        "SELECT 1 /*controller:projects",
        "/* allow_cross_joins_across_databases url='x' */ SELECT 1",
        "/*database:ci*/ SELECT 1",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(read_tags(texts[i]).count, 0);
}

static void of_a_key_that_comes_twice_the_first_counts(void **state) {
    (void)state;
    expect("/*action:a,action:b*/ SELECT 1 /*action:c*/", "action", "a");
    assert_int_equal(read_tags("/*action:a,action:b*/ SELECT 1 /*action:c*/").count, 1);
}

static void there_are_bounds(void **state) {
    (void)state;
    char text[8192] = "SELECT 1 /*";
    for (int i = 0; i < 100; i++)
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), "k%d:v,", i);
    strcat(text, "z:z*/");
    assert_int_equal(read_tags(text).count, TAGS_MAX);

    char longest[2048];
    (void)snprintf(longest, sizeof longest, "SELECT 1 /*a:%0*d,%0*d:x,b:y*/", 1000, 1, 65, 2);
    struct tags tags = read_tags(longest);
    assert_int_equal(tags.count, 2); /* the key of 65 bytes is left out */
    assert_int_equal(strlen(tags_find(&tags, "a")), TAG_VALUE_MAX);
    assert_string_equal(tags_find(&tags, "b"), "y");
}

static void a_value_is_cut_off_between_characters(void **state) {
    (void)state;
    char text[1024];
    (void)snprintf(text, sizeof text, "SELECT 1 /*a:x%0*dé*/", TAG_VALUE_MAX - 2, 1);
    struct tags tags = read_tags(text);
    assert_int_equal(strlen(tags_find(&tags, "a")), TAG_VALUE_MAX - 1);
}

static void an_encoded_nul_is_left_out(void **state) {
    (void)state;
    expect("SELECT 1 /*a='x%00y'*/", "a", "xy");
}

static void only_the_comments_of_one_statement_are_read(void **state) {
    (void)state;
    static const char text[] = "SELECT 1 /*action:a*/; /*job:j*/ SELECT 2 /*action:b*/; SELECT 3";
    struct text_span span = {.text = text, .text_length = strlen(text)};
    struct tags tags;
    span.start = 0;
    span.length = 8;
    tags_read(&span, &conforming, &tags);
    assert_int_equal(tags.count, 1);
    assert_string_equal(tags_find(&tags, "action"), "a");
    span.start = (size_t)(strstr(text, "/*job") - text);
    span.length = 17;
    tags_read(&span, &conforming, &tags);
    assert_int_equal(tags.count, 2);
    assert_string_equal(tags_find(&tags, "action"), "b");
}

static void strings_are_read_as_the_server_reads_them(void **state) {
    (void)state;
    static const char text[] = "SELECT 'a\\'/*action:x*/ '";
    struct text_span span = {.text = text, .text_length = strlen(text), .length = strlen(text)};
    struct lexing old = {.standard_conforming_strings = false};
    struct tags tags;
    tags_read(&span, &old, &tags);
    assert_int_equal(tags.count, 0);
    tags_read(&span, &conforming, &tags);
    assert_int_equal(tags.count, 1);
}

static void tags_of_one_occurrence_are_known(void **state) {
    (void)state;
    assert_true(tag_is_of_occurrence("correlation_id"));
    assert_true(tag_is_of_occurrence("traceparent"));
    assert_true(tag_is_of_occurrence("jid"));
    assert_false(tag_is_of_occurrence("controller"));
    assert_false(tag_is_of_occurrence("job"));
}

static void a_permit_tells_its_url(void **state) {
    (void)state;
    static const struct {
        const char *text, *url;
    } cases[] = {
        {"/* allow_cross_joins_across_databases url=https://x.y/1 */ SELECT 1", "https://x.y/1"},
        {"SELECT 1 /* allow_cross_database_modification_within_transaction url=u*/", "u"},
        {"SELECT 1 /* allow_cross_joins_across_databases */", ""},
        {"SELECT 1 /* allow_cross_joins_across_databases url= */", ""},
        {"SELECT 1 /* allow_cross_joins_across_databases curl=a */", ""},
        {"SELECT 1 /* url=https://x.y/1 */", ""},
        {"SELECT '/* allow_cross_joins_across_databases url=x */'", ""},
    };
    char url[PERMIT_URL_MAX + 1];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t length = strlen(cases[i].text);
        struct text_span span = {.text = cases[i].text, .text_length = length, .length = length};
        permit_comment_url(&span, &conforming, url);
        assert_string_equal(url, cases[i].url);
    }
    permit_setting_url("cross_join, cross_transaction; url=https://x.y/2", url);
    assert_string_equal(url, "https://x.y/2");
    permit_setting_url("cross_join", url);
    assert_string_equal(url, "");
    permit_setting_url(NULL, url);
    assert_string_equal(url, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marginalia_behind_the_statement_is_read),
        cmocka_unit_test(marginalia_before_the_statement_is_read),
        cmocka_unit_test(a_value_keeps_its_colons_blanks_and_commas),
        cmocka_unit_test(sqlcommenter_is_read_and_decoded),
        cmocka_unit_test(what_is_not_all_tags_is_none),
        cmocka_unit_test(of_a_key_that_comes_twice_the_first_counts),
        cmocka_unit_test(there_are_bounds),
        cmocka_unit_test(a_value_is_cut_off_between_characters),
        cmocka_unit_test(an_encoded_nul_is_left_out),
        cmocka_unit_test(only_the_comments_of_one_statement_are_read),
        cmocka_unit_test(strings_are_read_as_the_server_reads_them),
        cmocka_unit_test(tags_of_one_occurrence_are_known),
        cmocka_unit_test(a_permit_tells_its_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
