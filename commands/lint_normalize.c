#include "commands/lint_normalize.h"

#include "routing/lexer.h"

#include <string.h>

static bool ends_with(const struct text *text, const char *suffix) {
    size_t length = strlen(suffix);
    return text->length >= length &&
           memcmp(text->data + text->length - length, suffix, length) == 0;
}

/* One more of a list of constants, or one more row of them, adds nothing. */
static void fold_lists(struct text *out) {
    static const char *const folded[][2] = {
        {"?, ?", "?"}, {"?,?", "?"}, {"? , ?", "?"}, {"(?), (?)", "(?)"}, {"(?),(?)", "(?)"},
    };
    for (size_t i = 0; i < sizeof folded / sizeof folded[0]; i++) {
        if (ends_with(out, folded[i][0])) {
            out->length -= strlen(folded[i][0]) - strlen(folded[i][1]);
        }
    }
}

/* With standard_conforming_strings = off this string would go on behind its quote. Who knows: what
 * follows is not shown. */
static bool may_go_on(const char *text, const struct token *token) {
    size_t length = token->end - token->start;
    return token->kind == TOKEN_STRING && length > 2 && text[token->end - 2] == '\\' &&
           text[token->start] == '\'';
}

static bool is_constant(enum token_kind kind) {
    return kind == TOKEN_STRING || kind == TOKEN_DOLLAR_STRING || kind == TOKEN_NUMBER;
}

void lint_normalize(const char *text, size_t length, struct text *out) {
    struct lexer lexer;
    struct token token;
    size_t behind = 0; /* end of the last token */
    lexer_init(&lexer, text, length, true);
    out->length = 0;
    text_append_bytes(out, "", 0);
    for (;;) {
        lexer_next(&lexer, &token);
        if (token.kind == TOKEN_END) {
            break;
        }
        bool comment = token.kind == TOKEN_LINE_COMMENT || token.kind == TOKEN_BLOCK_COMMENT;
        bool apart = token.start > behind || comment;
        if (apart && out->length > 0 && !ends_with(out, " ")) {
            text_append_bytes(out, " ", 1);
        }
        behind = token.end;
        if (comment) {
            continue;
        }
        if (is_constant(token.kind) || token.unterminated) {
            text_append_bytes(out, "?", 1);
        } else {
            text_append_bytes(out, text + token.start, token.end - token.start);
        }
        fold_lists(out);
        if (may_go_on(text, &token)) {
            break;
        }
    }
    while (ends_with(out, " ")) {
        out->length--;
    }
    out->data[out->length] = '\0';
}
