/* Text that grammar 15 can't read, for it is of a later server or none at all: it goes by its
 * identifiers. The constructs one by one: tests/data/own_cases/newer.jsonl. */
#include "routing_facts_support.h"

static void one_part_that_cannot_be_parsed_makes_all_so(void **state) {
    (void)state;
    expect_facts("SELECT 1 FROM a; SELECT 1_0 FROM b; COMMIT",
                 "unparsed: select write, from write, a write, b write, commit write");
}

static void quoted_identifiers_are_decoded(void **state) {
    (void)state;
    expect_facts("1_0 \"A\"\"b\" U&\"\\0063i\" U&\"!0063j\" -- x\n UESCAPE /* y */ '!' u&\"c!!k\" "
                 "uescape '!'",
                 "unparsed: A\"b write, ci write, cj write, uescape write, c!k write");
}

static void strings_name_relations_where_a_word_takes_names(void **state) {
    (void)state;
    expect_facts("1_0 'a' $$b$$", "unparsed");
    expect_facts("1_0 'a.b'::regclass", "unparsed: a read', b read', regclass write");
    expect_facts("1_0 nextval(E'\\x61') U&'!0062' UESCAPE '!' $x$c$x$",
                 "unparsed: nextval write, a read', b read', uescape write, c read'");
    expect_facts("1_0 regclass 'a\\' 'b'", "unparsed: regclass write, a read', b read'");
}

static void strings_are_code_where_a_word_brings_it(void **state) {
    (void)state;
    expect_facts("1_0 DO $$ DELETE FROM a $$",
                 "unparsed: do write, delete write{}, from write{}, a write{}");
    expect_facts("1_0 FUNCTION 'x' regclass",
                 "unparsed: function write, x write{}, regclass write");
}

static void what_may_be_written_is_written(void **state) {
    (void)state;
    expect_facts("1_0 a 'a'::regclass", "unparsed: a write, regclass write");
}

static void keys_behind_unique_is_no_name(void **state) {
    (void)state;
    expect_facts("1_0 UNIQUE KEYS keys", "unparsed: unique write, keys write");
    expect_facts("1_0 UNIQUE /* x */ KEYS", "unparsed: unique write");
    expect_facts("1_0 UNIQUE, keys", "unparsed: unique write, keys write");
    expect_facts("1_0 UNIQUE \"keys\"", "unparsed: unique write, keys write");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_part_that_cannot_be_parsed_makes_all_so),
        cmocka_unit_test(quoted_identifiers_are_decoded),
        cmocka_unit_test(strings_name_relations_where_a_word_takes_names),
        cmocka_unit_test(strings_are_code_where_a_word_brings_it),
        cmocka_unit_test(what_may_be_written_is_written),
        cmocka_unit_test(keys_behind_unique_is_no_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
