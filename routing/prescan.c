#include "routing/prescan.h"

#include "config/utf8.h"
#include "routing/lexer.h"

#include <string.h>

/* The server names as many bytes as the first one announces. */
static bool report_bytes(const unsigned char *s, size_t left, struct error *error) {
    size_t announced = s[0] >= 0xF0 && s[0] < 0xF8   ? 4
                       : s[0] >= 0xE0 && s[0] < 0xF0 ? 3
                       : s[0] >= 0xC0 && s[0] < 0xE0 ? 2
                                                     : 1;
    if (announced > left)
        announced = left;
    char bytes[4 * 5 + 1];
    size_t used = 0;
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < announced; i++) {
        if (i > 0)
            bytes[used++] = ' ';
        bytes[used++] = '0';
        bytes[used++] = 'x';
        bytes[used++] = digits[s[i] >> 4];
        bytes[used++] = digits[s[i] & 15];
    }
    bytes[used] = '\0';
    return error_set(error, "invalid byte sequence for encoding \"UTF8\": %s", bytes);
}

/* Eight bytes at once are fine where none is 0 (it borrows from its highest bit) or above 127. What
 * is fine may follow what is not, and is then looked at more closely. */
static bool eight_are_plain(const unsigned char *s) {
    uint64_t eight;
    memcpy(&eight, s, sizeof eight);
    return !(((eight - UINT64_C(0x0101010101010101)) | eight) & UINT64_C(0x8080808080808080));
}

bool prescan_check_bytes(const char *text, size_t length, bool check_utf8, struct error *error) {
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;
    while (i < length) {
        if (length - i >= sizeof(uint64_t) && eight_are_plain(s + i)) {
            i += sizeof(uint64_t);
            continue;
        }
        if (s[i] == '\0')
            return error_set(error, "invalid byte sequence for encoding \"UTF8\": 0x00");
        size_t character = check_utf8 ? utf8_length(text + i, length - i) : 1;
        if (character == 0)
            return report_bytes(s + i, length - i, error);
        i += character;
    }
    return true;
}

struct scan {
    const char *text;
    size_t length;
    struct arena *arena;
    char *blanked; /* NULL until the first comment */
    struct prescan_hint *hints;
    size_t hint_count, hint_capacity;
    struct shape *shape; /* or NULL */
};

static void add_hint(struct scan *scan, struct prescan_hint hint) {
    if (scan->hint_count == scan->hint_capacity) {
        size_t capacity = scan->hint_capacity ? scan->hint_capacity * 2 : 4;
        struct prescan_hint *hints = arena_alloc(scan->arena, capacity * sizeof *hints);
        if (scan->hint_count > 0)
            memcpy(hints, scan->hints, scan->hint_count * sizeof *hints);
        scan->hints = hints;
        scan->hint_capacity = capacity;
    }
    scan->hints[scan->hint_count++] = hint;
}

static bool word_is(const char *word, size_t length, const char *name) {
    return length == strlen(name) && memcmp(word, name, length) == 0;
}

/* `database: x`, from behind the word; NULL where it is none. */
static const char *hinted_database(struct scan *scan, size_t i, size_t end) {
    while (i < end && lexer_is_space(scan->text[i]))
        i++;
    if (i >= end || scan->text[i] != ':')
        return NULL;
    for (i++; i < end && lexer_is_space(scan->text[i]); i++)
        ;
    size_t start = i;
    while (i < end && (lexer_is_identifier(scan->text[i]) || scan->text[i] == '-'))
        i++;
    return i > start ? arena_copy_text(scan->arena, scan->text + start, i - start) : NULL;
}

static void read_comment(struct scan *scan, const struct token *token) {
    size_t end = token->end - 2;
    size_t i = token->start + 2;
    while (i < end && lexer_is_space(scan->text[i]))
        i++;
    size_t start = i;
    while (i < end && lexer_is_identifier(scan->text[i]))
        i++;
    const char *word = scan->text + start;
    size_t length = i - start;
    struct prescan_hint hint = {.position = token->start};
    if (word_is(word, length, "allow_cross_joins_across_databases"))
        hint.flags = STATEMENT_PERMIT_CROSS_JOIN;
    else if (word_is(word, length, "allow_cross_database_modification_within_transaction"))
        hint.flags = STATEMENT_PERMIT_CROSS_TRANSACTION;
    else if (word_is(word, length, "database"))
        hint.database = hinted_database(scan, i, end);
    if (hint.flags || hint.database)
        add_hint(scan, hint);
}

/* libpg_query's lexer gives comments as tokens, which breaks the parser's look-ahead (NULLS,
 * comment, FIRST) and takes it quadratic time where they nest. So it never sees one. */
static void blank_comment(struct scan *scan, const struct token *token) {
    if (!scan->blanked)
        scan->blanked = arena_copy_text(scan->arena, scan->text, scan->length);
    memset(scan->blanked + token->start, ' ', token->end - token->start);
}

static bool refuse(struct prescan *out, struct error *error, const char *what, size_t position) {
    if (!out->refused)
        (void)error_set(error, "%s at byte %zu", what, position);
    out->refused = true;
    return false;
}

/* Brackets deeper than the limit are not for the parser. */
static void count_nesting(const char *text, const struct token *token, size_t *depth,
                          struct prescan *out, struct error *error) {
    char c = text[token->start];
    if (c == '(' || c == '[') {
        if (++*depth > PRESCAN_NESTING_MAX)
            (void)refuse(out, error, "brackets nested too deep to be parsed", token->start);
    } else if ((c == ')' || c == ']') && *depth > 0) {
        --*depth;
    }
}

static void scan_tokens(struct scan *scan, struct lexer *lexer, struct prescan *out,
                        struct error *error) {
    struct token token;
    size_t depth = 0;
    do {
        lexer_next(lexer, &token);
        if (scan->shape)
            shape_add(scan->shape, scan->text, &token);
        if (scan->shape && shape_may_skip_list(scan->shape))
            lexer->position =
                shape_skip_list(scan->shape, scan->text, scan->length, lexer->position);
        switch (token.kind) {
        case TOKEN_END:
            break;
        case TOKEN_BLOCK_COMMENT:
            if (token.unterminated) {
                out->empty = false;
                (void)refuse(out, error, "unterminated /* comment", token.start);
                break;
            }
            read_comment(scan, &token);
            blank_comment(scan, &token);
            break;
        case TOKEN_LINE_COMMENT:
            blank_comment(scan, &token);
            break;
        case TOKEN_SEMICOLON:
            break;
        case TOKEN_OPERATOR:
            out->empty = false;
            if (token.end - token.start > PRESCAN_OPERATOR_MAX)
                (void)refuse(out, error, "operator too long to be parsed", token.start);
            break;
        case TOKEN_PUNCTUATION:
            out->empty = false;
            count_nesting(scan->text, &token, &depth, out, error);
            break;
        default:
            out->empty = false;
        }
    } while (token.kind != TOKEN_END);
}

bool prescan_text(const char *text, size_t length, const struct lexing *lexing, bool check_utf8,
                  struct arena *arena, struct shape *shape, struct prescan *out,
                  struct error *error) {
    error->text[0] = '\0';
    *out = (struct prescan){.empty = true};
    if (!prescan_check_bytes(text, length, check_utf8, error))
        return false;
    struct scan scan = {.text = text, .length = length, .arena = arena, .shape = shape};
    struct lexer lexer;
    lexer_init(&lexer, text, length, lexing->standard_conforming_strings);
    scan_tokens(&scan, &lexer, out, error);
    out->text = scan.blanked ? scan.blanked : text;
    out->hints = scan.hints;
    out->hint_count = scan.hint_count;
    return true;
}
