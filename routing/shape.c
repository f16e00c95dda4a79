#include "routing/shape.h"

#include "routing/lexer.h"

#include <string.h>

size_t shape_bound(size_t length) {
    return 2 * length + 8; /* a space behind every token */
}

/* Whether a comment may be a permit or a hint: they all have one of these words. */
static bool may_be_hint(const char *text, size_t length) {
    return memmem(text, length, "allow_cross", 11) != NULL || memmem(text, length, "database", 8) != NULL;
}

static bool ends_with(const char *out, size_t length, const char *suffix, size_t suffix_length) {
    return length >= suffix_length && memcmp(out + length - suffix_length, suffix, suffix_length) == 0;
}

static size_t write_constant(char *out, size_t at) {
    if (ends_with(out, at, "? , ", 4))
        return at - 2; /* one more of a list */
    memcpy(out + at, "? ", 2);
    return at + 2;
}

static size_t write_token(char *out, size_t at, const char *text, size_t length) {
    memcpy(out + at, text, length);
    at += length;
    out[at++] = ' ';
    if (text[0] == ')' && ends_with(out, at, "( ? ) , ( ? ) ", 14))
        at -= 8; /* one more row of constants */
    return at;
}

bool shape_write(const char *text, size_t length, bool standard_conforming_strings, char *out, size_t *out_length) {
    struct lexer lexer;
    struct token token;
    bool constants = false;
    size_t at = 0;
    lexer_init(&lexer, text, length, standard_conforming_strings);
    for (;;) {
        lexer_next(&lexer, &token);
        if (token.unterminated)
            return false;
        switch (token.kind) {
        case TOKEN_END:
            out[at] = '\0';
            *out_length = at;
            return constants;
        case TOKEN_STRING:
        case TOKEN_DOLLAR_STRING:
        case TOKEN_NUMBER:
            at = write_constant(out, at);
            constants = true;
            break;
        case TOKEN_LINE_COMMENT:
            break;
        case TOKEN_BLOCK_COMMENT:
            if (may_be_hint(text + token.start, token.end - token.start))
                at = write_token(out, at, text + token.start, token.end - token.start);
            break;
        default:
            at = write_token(out, at, text + token.start, token.end - token.start);
        }
    }
}
