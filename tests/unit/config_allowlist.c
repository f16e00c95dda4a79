/* The allowlist file: what its entries must say, which of them is found, and what is said at start.
 */
#include "config/allowlist.h"
#include "tests/unit/config_fixture.h"

#define BASE DATABASES TABLES TRUST "allowlist: list.yml\n"
#define PRINT "0123456789abcdef"

enum { TODAY = 20000 }; /* 2024-10-04 */

static const struct allowlist *load(struct fixture *f, const char *list) {
    fixture_write(f, "tables.yml",
                  "users: :gitlab_main\nprojects: :gitlab_main\nci_builds: :gitlab_ci\n"
                  "p_ci_stages: :gitlab_ci\nshared: :gitlab_shared\n");
    fixture_write(f, "list.yml", list);
    return fixture_load(f, BASE "rules: {}\n")->allowlist;
}

static const struct allowlist_entry *find_tables(const struct allowlist *list, enum rule rule,
                                                 const char *a, const char *b, int today) {
    const char *tables[] = {a, b};
    return allowlist_find(list, rule, NULL, tables, b != NULL ? 2 : a != NULL ? 1 : 0, today);
}

static void without_the_key_nothing_is_permitted(void **state) {
    const struct settings *settings = fixture_load(*state, DATABASES TABLES TRUST);
    assert_null(settings->allowlist);
    assert_false(allowlist_asks_fingerprint(settings->allowlist, RULE_CROSS_JOIN));
    assert_false(allowlist_asks_tables(settings->allowlist, RULE_CROSS_JOIN));
    assert_null(allowlist_find(settings->allowlist, RULE_CROSS_JOIN, PRINT, NULL, 0, 0));
}

static void an_empty_file_is_an_empty_list(void **state) {
    static const char *const texts[] = {"", "[]\n", "# nothing yet\n", "---\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(load(*state, texts[i])->count, 0);
}

static void an_entry_has_all_that_is_written(void **state) {
    const struct allowlist *list = load(*state, "- rule: cross_join\n"
                                                "  tables: [users, ci_builds]\n"
                                                "  url: https://example.com/1\n"
                                                "  until: 2024-02-29\n"
                                                "- {rule: unparsed, fingerprint: " PRINT "}\n");
    assert_int_equal(list->count, 2);
    const struct allowlist_entry *first = &list->entries[0], *second = &list->entries[1];
    assert_int_equal(first->rule, RULE_CROSS_JOIN);
    assert_int_equal(first->table_count, 2);
    assert_string_equal(first->tables[0], "ci_builds");
    assert_string_equal(first->url, "https://example.com/1");
    assert_int_equal(first->until, 19782);
    assert_int_equal(first->line, 1);
    assert_string_equal(second->fingerprint, PRINT);
    assert_null(second->url);
    assert_int_equal(second->line, 5);
}

static void dates_are_days_of_the_calendar(void **state) {
    static const struct {
        const char *text;
        int day;
    } dates[] = {{"1970-01-01", 0},     {"1969-12-31", -1},     {"2000-02-29", 11016},
                 {"2000-03-01", 11017}, {"2024-10-04", TODAY},  {"2100-02-28", 47540},
                 {"2100-03-01", 47541}, {"9999-12-31", 2932896}};
    for (size_t i = 0; i < sizeof dates / sizeof *dates; i++) {
        char text[128];
        snprintf(text, sizeof text, "- {rule: unparsed, fingerprint: " PRINT ", until: \"%s\"}\n",
                 dates[i].text);
        assert_int_equal(load(*state, text)->entries[0].until, dates[i].day);
    }
    assert_int_equal(allowlist_day(86400 * (time_t)TODAY + 86399), TODAY);
}

static void an_entry_holds_for_its_rule_and_fingerprint_until_its_last_day(void **state) {
    const struct allowlist *list =
        load(*state, "- {rule: unparsed, fingerprint: 0000000000000001}\n"
                     "- {rule: cross_join, fingerprint: " PRINT ", until: 2024-10-04}\n"
                     "- {rule: cross_join, fingerprint: ffffffffffffffff}\n");
    assert_true(allowlist_asks_fingerprint(list, RULE_CROSS_JOIN));
    assert_false(allowlist_asks_fingerprint(list, RULE_CROSS_TRANSACTION));
    assert_false(allowlist_asks_tables(list, RULE_CROSS_JOIN));
    assert_ptr_equal(allowlist_find(list, RULE_CROSS_JOIN, PRINT, NULL, 0, TODAY),
                     &list->entries[1]);
    assert_ptr_equal(allowlist_find(list, RULE_CROSS_JOIN, "ffffffffffffffff", NULL, 0, TODAY),
                     &list->entries[2]);
    assert_null(allowlist_find(list, RULE_CROSS_JOIN, PRINT, NULL, 0, TODAY + 1));
    assert_null(allowlist_find(list, RULE_CROSS_JOIN, "0000000000000001", NULL, 0, TODAY));
    assert_null(allowlist_find(list, RULE_CROSS_TRANSACTION, PRINT, NULL, 0, TODAY));
    assert_null(allowlist_find(list, RULE_CROSS_JOIN, "0123456789abcdee", NULL, 0, TODAY));
}

static void tables_must_all_be_listed(void **state) {
    const struct allowlist *list =
        load(*state, "- {rule: cross_join, tables: [users, ci_builds], until: 2024-10-04}\n"
                     "- {rule: cross_transaction, tables: [p_ci_stages, users]}\n");
    assert_true(allowlist_asks_tables(list, RULE_CROSS_JOIN));
    assert_false(allowlist_asks_fingerprint(list, RULE_CROSS_JOIN));
    assert_ptr_equal(find_tables(list, RULE_CROSS_JOIN, "users", "ci_builds", TODAY),
                     &list->entries[0]);
    assert_non_null(find_tables(list, RULE_CROSS_JOIN, "users", NULL, TODAY));
    assert_null(find_tables(list, RULE_CROSS_JOIN, "users", "projects", TODAY));
    assert_null(find_tables(list, RULE_CROSS_JOIN, "users", "p_ci_stages", TODAY));
    assert_null(find_tables(list, RULE_CROSS_JOIN, NULL, NULL, TODAY));
    assert_null(find_tables(list, RULE_CROSS_JOIN, "users", "ci_builds", TODAY + 1));
}

static void partitions_are_one_table(void **state) {
    const struct allowlist *list =
        load(*state, "- {rule: cross_join, tables: [p_ci_stages_7, users]}\n");
    assert_non_null(find_tables(list, RULE_CROSS_JOIN, "p_ci_stages_123", "users", TODAY));
    assert_non_null(find_tables(list, RULE_CROSS_JOIN, "p_ci_stages", "users", TODAY));
    assert_null(find_tables(list, RULE_CROSS_JOIN, "p_ci_stages_x", "users", TODAY));
    assert_true(allowlist_same_table("a_1", "a_22"));
    assert_false(allowlist_same_table("a_1", "b_1"));
    assert_false(allowlist_same_table("_1", "_2"));
}

static void long_lists_are_loaded_and_searched(void **state) {
    enum { ENTRIES = 5000 };
    char *text = malloc(ENTRIES * 64), *at = text;
    assert_non_null(text);
    for (int i = 0; i < ENTRIES; i++)
        at += snprintf(at, 64, "- {rule: cross_join, fingerprint: %016x}\n", i * 7919 % ENTRIES);
    const struct allowlist *list = load(*state, text);
    assert_int_equal(list->count, ENTRIES);
    for (int i = 0; i < ENTRIES; i++) {
        char fingerprint[17];
        snprintf(fingerprint, sizeof fingerprint, "%016x", i);
        const struct allowlist_entry *found =
            allowlist_find(list, RULE_CROSS_JOIN, fingerprint, NULL, 0, TODAY);
        assert_string_equal(found->fingerprint, fingerprint);
    }
    free(text);
}

static void what_is_wrong_is_said_with_its_line(void **state) {
    static const struct {
        const char *list, *expected;
    } cases[] = {
        {"a: b\n", "list.yml:1: the allowlist is a map: write a list, [a, b]"},
        {"\n- x\n", "list.yml:2: an entry is a single value: write a map, {key: value}"},
        {"- rule: cross_join\n  table: [users]\n",
         "list.yml:2: unknown key \"table\" in an entry: write rule, tables or fingerprint, url, "
         "until"},
        {"- tables: [users]\n",
         "list.yml:1: an entry has no rule: add `rule: cross_join` or another"},
        {"- {rule: cross_join, url: x}\n",
         "list.yml:1: an entry has neither tables nor a fingerprint: give one of them"},
        {"- {rule: cross_join, tables: [users], fingerprint: " PRINT "}\n",
         "list.yml:1: an entry has both tables and a fingerprint: give one of them"},
        {"- {rule: unroutable, fingerprint: " PRINT "}\n",
         "list.yml:1: rule unroutable can't be permitted: remove the entry"},
        {"- {rule: crossjoin, fingerprint: " PRINT "}\n",
         "list.yml:1: rule is \"crossjoin\": write unclassified, unparsed, cross_foreign_key, "
         "cross_join, write_lock, wrong_database or cross_transaction"},
        {"- {rule: [cross_join], fingerprint: " PRINT "}\n",
         "list.yml:1: rule is a list: write a single value"},
        {"- {rule: cross_join, fingerprint: 0123456789ABCDEF}\n",
         "list.yml:1: fingerprint is \"0123456789ABCDEF\": write the 16 hex digits (0-9, a-f) that "
         "a log line or a recorded violation gives"},
        {"- {rule: cross_join, fingerprint: 12}\n",
         "list.yml:1: fingerprint is \"12\": write the 16 hex digits (0-9, a-f) that a log line or "
         "a recorded violation gives"},
        {"- {rule: cross_join, tables: users}\n",
         "list.yml:1: tables is a single value: write a list, [a, b]"},
        {"- {rule: cross_join, tables: []}\n",
         "list.yml:1: tables is empty: name the tables, or a fingerprint"},
        {"- rule: cross_join\n  tables:\n  - users\n  - user\n",
         "list.yml:4: tables: \"user\" has no gitlab_schema: correct the name, which has no schema "
         "before it, or add it to the classification"},
        {"- rule: cross_join\n  tables: [users,\n    users]\n",
         "list.yml:3: tables has \"users\" twice: remove one"},
        {"- {rule: unclassified, tables: [users]}\n",
         "list.yml:1: tables: \"users\" has a gitlab_schema, so that it never breaks unclassified: "
         "remove it"},
        {"- {rule: cross_join, tables: [users], url: [a]}\n",
         "list.yml:1: url is a list: write a single value"},
        {"- {rule: cross_join, fingerprint: " PRINT "}\n- {rule: unparsed, fingerprint: " PRINT
         "}\n- {rule: cross_join, fingerprint: " PRINT ", until: 2030-01-01}\n",
         "list.yml:3: the entry says the same as that of line 1: remove one"},
        {"- {rule: cross_join, tables: [users, ci_builds]}\n"
         "- {rule: cross_join, tables: [ci_builds, users], url: x}\n",
         "list.yml:2: the entry says the same as that of line 1: remove one"},
    };
    struct fixture *f = *state;
    load(f, "");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_write(f, "list.yml", cases[i].list);
        fixture_refuse(f, BASE, cases[i].expected);
    }
}

static void dates_that_are_none_are_refused(void **state) {
    static const char *const dates[] = {
        "2024-13-01", "2023-02-29", "2100-02-29", "2024-00-10", "2024-10-00", "2024-11-31",
        "24-10-01",   "2024/10/01", "2024-1-1",   "tomorrow",   "0000-01-01", "2024-10-01T00:00"};
    struct fixture *f = *state;
    load(f, "");
    for (size_t i = 0; i < sizeof dates / sizeof *dates; i++) {
        char list[128], expected[160];
        snprintf(list, sizeof list, "- {rule: cross_join, tables: [users], until: \"%s\"}\n",
                 dates[i]);
        snprintf(expected, sizeof expected,
                 "list.yml:1: until is \"%s\": write the last day on which it holds, YYYY-MM-DD",
                 dates[i]);
        fixture_write(f, "list.yml", list);
        fixture_refuse(f, BASE, expected);
    }
}

static void a_file_that_cannot_be_read_is_said_with_the_line_of_the_key(void **state) {
    struct fixture *f = *state;
    fixture_write(f, "list.yml", "- {rule: cross_join\n");
    char path[256];
    fixture_path(f, "settings.yml", path, sizeof path);
    fixture_write(f, "settings.yml", BASE);
    assert_false(settings_load(path, &f->settings, &f->error));
    assert_non_null(strstr(f->error.text, "list.yml:"));
    fixture_path(f, "list.yml", path, sizeof path);
    assert_int_equal(remove(path), 0);
    fixture_path(f, "settings.yml", path, sizeof path);
    assert_false(settings_load(path, &f->settings, &f->error));
    assert_non_null(strstr(f->error.text, "settings.yml:4: allowlist: "));
}

static void expect_notice(struct fixture *f, const char *list, const char *expected) {
    load(f, list);
    assert_int_equal(f->settings->notice_count, expected != NULL ? 1 : 0);
    if (expected != NULL) {
        fixture_strip(f, f->settings->notices[0]);
        assert_string_equal(f->settings->notices[0], expected);
    }
}

static void an_expired_entry_is_said(void **state) {
    expect_notice(*state, "\n- {rule: cross_join, fingerprint: " PRINT ", until: 2001-01-01}\n",
                  "list.yml:2: cross_join " PRINT " held until 2001-01-01 and is expired: remove "
                  "it, or give it more time");
    expect_notice(*state, "- {rule: cross_join, fingerprint: " PRINT ", until: 9999-12-31}\n",
                  NULL);
}

static void tables_that_can_not_cross_are_said(void **state) {
    expect_notice(*state, "- {rule: cross_join, tables: [users, projects, shared]}\n",
                  "list.yml:1: cross_join of projects, shared, users permits nothing, as one "
                  "database holds all of these tables: remove it, or add the other tables");
    expect_notice(*state, "- {rule: cross_transaction, tables: [users]}\n",
                  "list.yml:1: cross_transaction of users permits nothing, as one database holds "
                  "all of these tables: remove it, or add the other tables");
    /* It counts for the database that it was written in. */
    expect_notice(*state, "- {rule: cross_transaction, tables: [users, shared]}\n", NULL);
    expect_notice(*state, "- {rule: cross_join, tables: [users, ci_builds]}\n", NULL);
    expect_notice(*state, "- {rule: wrong_database, tables: [users]}\n", NULL);
    expect_notice(*state, "- {rule: unclassified, tables: [nobody_knows]}\n", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(without_the_key_nothing_is_permitted),
        fixture_test(an_empty_file_is_an_empty_list),
        fixture_test(an_entry_has_all_that_is_written),
        fixture_test(dates_are_days_of_the_calendar),
        fixture_test(an_entry_holds_for_its_rule_and_fingerprint_until_its_last_day),
        fixture_test(tables_must_all_be_listed),
        fixture_test(partitions_are_one_table),
        fixture_test(long_lists_are_loaded_and_searched),
        fixture_test(what_is_wrong_is_said_with_its_line),
        fixture_test(dates_that_are_none_are_refused),
        fixture_test(a_file_that_cannot_be_read_is_said_with_the_line_of_the_key),
        fixture_test(an_expired_entry_is_said),
        fixture_test(tables_that_can_not_cross_are_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
