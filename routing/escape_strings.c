#include "routing/escape_strings.h"

#include "config/alloc.h"
#include "routing/lexer.h"

#include <string.h>

/* '…' and N'…' with a backslash; the other prefixes say themselves what it means. */
static bool depends_on_setting(const char *text, const struct token *token) {
    char first = text[token->start];
    return token->kind == TOKEN_STRING && (first == '\'' || first == 'n' || first == 'N') &&
           memchr(text + token->start, '\\', token->end - token->start) != NULL;
}

char *text_with_escape_strings(const char *text, size_t length, const struct lexing *lexing) {
    if (memchr(text, '\\', length) == NULL)
        return alloc_copy(text, length);
    bool doubled = lexing->standard_conforming_strings;
    char *out = alloc_new(4 * length + 1); /* at worst '\', which becomes " E'\\'" */
    size_t used = 0, done = 0;
    struct lexer lexer;
    struct token token;
    lexer_init(&lexer, text, length, lexing->standard_conforming_strings);
    for (lexer_next(&lexer, &token); token.kind != TOKEN_END; lexer_next(&lexer, &token)) {
        if (!depends_on_setting(text, &token))
            continue;
        size_t quote = token.start + (text[token.start] != '\'');
        memcpy(out + used, text + done, token.start - done);
        used += token.start - done;
        out[used++] = ' '; /* what stands before it may be a word */
        out[used++] = 'E';
        for (size_t i = quote; i < token.end; i++) {
            if (text[i] == '\\' && doubled)
                out[used++] = '\\';
            out[used++] = text[i];
        }
        done = token.end;
    }
    memcpy(out + used, text + done, length - done);
    used += length - done;
    out[used] = '\0';
    return out;
}

char *text_for_repeating(const char *text, size_t length, const struct lexing *lexing) {
    char *out = text_with_escape_strings(text, length, lexing);
    size_t used = 0, done = 0;
    struct lexer lexer;
    struct token token;
    lexer_init(&lexer, out, strlen(out), lexing->standard_conforming_strings);
    do {
        lexer_next(&lexer, &token);
        bool comment = token.kind == TOKEN_LINE_COMMENT || token.kind == TOKEN_BLOCK_COMMENT;
        if (!comment && token.kind != TOKEN_END)
            continue;
        while (used == 0 && done < token.start && lexer_is_space(out[done]))
            done++;
        memmove(out + used, out + done, token.start - done);
        used += token.start - done;
        done = token.end;
        if (comment && used > 0)
            out[used++] = ' '; /* what it stands between may be words */
    } while (token.kind != TOKEN_END);
    while (used > 0 && lexer_is_space(out[used - 1]))
        used--;
    out[used] = '\0';
    return out;
}
