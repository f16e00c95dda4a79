#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "routing/lexer.h"
#include "routing/prescan.h"

#include <stdio.h>
#include <string.h>

static const struct lexing conforming = {.standard_conforming_strings = true};

static void expect_refused(const char *bytes, size_t length, const char *message) {
    struct error error;
    assert_false(prescan_check_bytes(bytes, length, true, &error));
    assert_string_equal(error.text, message);
}

static void a_nul_is_refused(void **state) {
    (void)state;
    struct error error;
    assert_false(prescan_check_bytes("a\0b", 3, false, &error));
    assert_string_equal(error.text, "invalid byte sequence for encoding \"UTF8\": 0x00");
}

static void invalid_utf8_is_refused_in_the_servers_words(void **state) {
    (void)state;
    static const char words[] = "invalid byte sequence for encoding \"UTF8\": ";
    static const struct {
        const char *bytes, *shown;
    } cases[] = {
        {"abc\xff", "0xff"},
        {"\xc3(", "0xc3 0x28"},
        {"\xe2\x82", "0xe2 0x82"},
        {"\xc0\x80", "0xc0 0x80"},
        {"\xed\xa0\x80", "0xed 0xa0 0x80"},
        {"\x80", "0x80"},
        {"\xf4\x90\x80\x80", "0xf4 0x90 0x80 0x80"},
        {"12345678\xe0\x80\x80", "0xe0 0x80 0x80"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char message[128];
        (void)snprintf(message, sizeof message, "%s%s", words, cases[i].shown);
        expect_refused(cases[i].bytes, strlen(cases[i].bytes), message);
    }
}

static void valid_utf8_passes(void **state) {
    (void)state;
    struct error error;
    static const char text[] = "SELECT 'é€😀\xf4\x8f\xbf\xbf\xed\x9f\xbf' FROM \"größe\"";
    assert_true(prescan_check_bytes(text, strlen(text), true, &error));
    assert_true(prescan_check_bytes("\xff\xfe", 2, false, &error));
}

static void comments_are_blanked_in_place(void **state) {
    (void)state;
    struct arena *arena = arena_new(256);
    struct prescan prescan;
    struct error error;
    static const char sql[] = "SELECT/* /* x */ */1 -- y\n, '--' \"/*\"";
    assert_true(prescan_text(sql, strlen(sql), &conforming, true, arena, NULL, &prescan, &error));
    assert_string_equal(prescan.text, "SELECT             1     \n, '--' \"/*\"");
    assert_false(prescan.empty);
    assert_false(prescan.refused);
    arena_free(arena);
}

static void a_text_without_comments_is_not_copied(void **state) {
    (void)state;
    struct arena *arena = arena_new(256);
    struct prescan prescan;
    struct error error;
    static const char sql[] = "SELECT 1";
    assert_true(prescan_text(sql, strlen(sql), &conforming, true, arena, NULL, &prescan, &error));
    assert_ptr_equal(prescan.text, sql);
    arena_free(arena);
}

/* The tokens of `sql` as "kind:text" separated by spaces: i identifier, q quoted, s string, d
 * dollar, n number, p parameter, o operator, . punctuation, ; semicolon, - and * comments; !
 * unterminated. */
static void expect_tokens(const char *sql, bool conforming_strings, const char *expected) {
    static const char marks[] = {[TOKEN_IDENTIFIER] = 'i',   [TOKEN_QUOTED_IDENTIFIER] = 'q',
                                 [TOKEN_STRING] = 's',       [TOKEN_DOLLAR_STRING] = 'd',
                                 [TOKEN_NUMBER] = 'n',       [TOKEN_PARAMETER] = 'p',
                                 [TOKEN_OPERATOR] = 'o',     [TOKEN_PUNCTUATION] = '.',
                                 [TOKEN_SEMICOLON] = ';',    [TOKEN_LINE_COMMENT] = '-',
                                 [TOKEN_BLOCK_COMMENT] = '*'};
    char found[1024] = "";
    size_t used = 0;
    struct lexer lexer;
    struct token token;
    lexer_init(&lexer, sql, strlen(sql), conforming_strings);
    for (lexer_next(&lexer, &token); token.kind != TOKEN_END; lexer_next(&lexer, &token)) {
        assert_true(token.end > token.start && token.end <= strlen(sql));
        used += (size_t)snprintf(found + used, sizeof found - used, "%s%c%s%.*s", used ? " " : "",
                                 marks[token.kind], token.unterminated ? "!" : ":",
                                 (int)(token.end - token.start), sql + token.start);
        assert_true(used < sizeof found);
    }
    assert_string_equal(found, expected);
}

static void words_and_numbers_are_tokens(void **state) {
    (void)state;
    expect_tokens("a_1$ \"b \"\"c\" é 1 1.5 .5 1e-3 $1", true,
                  "i:a_1$ q:\"b \"\"c\" i:é n:1 n:1.5 n:.5 n:1e-3 p:$1");
    expect_tokens("1..2 a.b", true, "n:1 .:. n:.2 i:a .:. i:b");
    expect_tokens("U&\"a\" u&x", true, "q:U&\"a\" i:u o:& i:x");
}

static void strings_end_as_their_prefix_says(void **state) {
    (void)state;
    expect_tokens("'a\\' 'b''c'", true, "s:'a\\' s:'b''c'");
    expect_tokens("'a\\' 'b''c'", false, "s:'a\\' ' s:b'' i:c s!'");
    expect_tokens("E'a\\'b' e'\\\\'", true, "s:E'a\\'b' s:e'\\\\'");
    expect_tokens("B'1' x'f' N'a' U&'b\\' c'", true, "s:B'1' s:x'f' s:N'a' s:U&'b\\' i:c s!'");
    expect_tokens("'a", true, "s!'a");
}

static void strings_go_on_behind_a_newline(void **state) {
    (void)state;
    expect_tokens("'a'\n'b'", true, "s:'a'\n'b'");
    expect_tokens("'a' 'b'", true, "s:'a' s:'b'");
    expect_tokens("E'a' -- c\n 'b\\'c'", true, "s:E'a' -- c\n 'b\\'c'");
}

static void dollar_quotes_need_their_own_tag(void **state) {
    (void)state;
    expect_tokens("$$a$b$ $$ $x$ $$ $x$", true, "d:$$a$b$ $$ d:$x$ $$ $x$");
    expect_tokens("a$$b$$ $1$ $x", true, "i:a$$b$$ p:$1 .:$ .:$ i:x");
    expect_tokens("$a$ x", true, "d!$a$ x");
}

static void comments_end_operators(void **state) {
    (void)state;
    expect_tokens("+/*a*/+--b\n@-", true, "o:+ *:/*a*/ o:+ -:--b o:@-");
    expect_tokens("/*/*a*/", true, "*!/*/*a*/");
}

static void names_are_folded_unquoted_and_cut(void **state) {
    (void)state;
    char name[LEXER_NAME_MAX + 1];
    struct lexer lexer;
    struct token token;
    static const char sql[] = "AbC \"D\"\"e\" \"\" "
                              "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaéz";
    lexer_init(&lexer, sql, strlen(sql), true);
    static const char *const expected[] = {
        "abc", "D\"e", "", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    for (size_t i = 0; i < 4; i++) {
        lexer_next(&lexer, &token);
        assert_int_equal(lexer_name(sql, &token, name), strlen(expected[i]));
        assert_string_equal(name, expected[i]);
    }
}

static void unicode_escapes_in_names_are_read(void **state) {
    (void)state;
    char name[LEXER_NAME_MAX + 1];
    static const struct {
        const char *sql, *name;
    } cases[] = {
        {"U&\"ci\\005fbuilds\"", "ci_builds"},
        {"u&\"\\+00005f\\\\\"", "_\\"},
        {"U&\"\\20ac\\+01F600\"", "€😀"},
        {"U&\"\\00\"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lexer lexer;
        struct token token;
        lexer_init(&lexer, cases[i].sql, strlen(cases[i].sql), true);
        lexer_next(&lexer, &token);
        assert_int_equal(token.end, strlen(cases[i].sql));
        assert_int_equal(lexer_name(cases[i].sql, &token, name), strlen(cases[i].name));
        if (cases[i].name[0])
            assert_string_equal(name, cases[i].name);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_nul_is_refused),
        cmocka_unit_test(invalid_utf8_is_refused_in_the_servers_words),
        cmocka_unit_test(valid_utf8_passes),
        cmocka_unit_test(comments_are_blanked_in_place),
        cmocka_unit_test(a_text_without_comments_is_not_copied),
        cmocka_unit_test(words_and_numbers_are_tokens),
        cmocka_unit_test(strings_end_as_their_prefix_says),
        cmocka_unit_test(strings_go_on_behind_a_newline),
        cmocka_unit_test(dollar_quotes_need_their_own_tag),
        cmocka_unit_test(comments_end_operators),
        cmocka_unit_test(names_are_folded_unquoted_and_cut),
        cmocka_unit_test(unicode_escapes_in_names_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
