#include "routing/lexer.h"

#include "config/utf8.h"

#include <string.h>
#include <strings.h>

enum character_class {
    CLASS_OTHER = 0,
    CLASS_SPACE = 1,
    CLASS_START = 2, /* may start an identifier */
    CLASS_DIGIT = 4,
    CLASS_DOLLAR = 8,
    CLASS_OPERATOR = 16,
    CLASS_QUOTE = 32,
};

static const unsigned char classes[256] = {
    [' '] = CLASS_SPACE,         ['\t'] = CLASS_SPACE,   ['\n'] = CLASS_SPACE,
    ['\r'] = CLASS_SPACE,        ['\f'] = CLASS_SPACE,   ['A' ... 'Z'] = CLASS_START,
    ['a' ... 'z'] = CLASS_START, ['_'] = CLASS_START,    [128 ... 255] = CLASS_START,
    ['0' ... '9'] = CLASS_DIGIT, ['$'] = CLASS_DOLLAR,   ['\''] = CLASS_QUOTE,
    ['"'] = CLASS_QUOTE,         ['~'] = CLASS_OPERATOR, ['!'] = CLASS_OPERATOR,
    ['@'] = CLASS_OPERATOR,      ['#'] = CLASS_OPERATOR, ['^'] = CLASS_OPERATOR,
    ['&'] = CLASS_OPERATOR,      ['|'] = CLASS_OPERATOR, ['`'] = CLASS_OPERATOR,
    ['?'] = CLASS_OPERATOR,      ['+'] = CLASS_OPERATOR, ['-'] = CLASS_OPERATOR,
    ['*'] = CLASS_OPERATOR,      ['/'] = CLASS_OPERATOR, ['%'] = CLASS_OPERATOR,
    ['<'] = CLASS_OPERATOR,      ['>'] = CLASS_OPERATOR, ['='] = CLASS_OPERATOR,
};

static inline bool is(char c, int class) {
    return classes[(unsigned char)c] & class;
}

bool lexer_is_space(char c) {
    return is(c, CLASS_SPACE);
}

bool lexer_is_identifier(char c) {
    return is(c, CLASS_START | CLASS_DIGIT | CLASS_DOLLAR);
}

void lexer_init(struct lexer *lexer, const char *text, size_t length,
                bool standard_conforming_strings) {
    *lexer = (struct lexer){
        .text = text, .length = length, .standard_conforming_strings = standard_conforming_strings};
}

/* The loops below need no bounds: the text is followed by a NUL somewhere, which no class has and
 * which ends them all. Where the lexer works on the front part of a text, lexer_next() cuts what
 * runs beyond. */
static inline char at(const struct lexer *lexer, size_t i) {
    return lexer->text[i];
}

static size_t line_end(const struct lexer *lexer, size_t i) {
    while (at(lexer, i) && at(lexer, i) != '\n' && at(lexer, i) != '\r')
        i++;
    return i;
}

/* SQL joins strings that only white space with a newline (and -- comments) separates. */
static bool continues(const struct lexer *lexer, size_t i, size_t *next) {
    bool newline = false;
    for (;;) {
        char c = at(lexer, i);
        if (is(c, CLASS_SPACE)) {
            newline |= c == '\n' || c == '\r';
            i++;
        } else if (c == '-' && at(lexer, i + 1) == '-') {
            i = line_end(lexer, i);
        } else {
            *next = i;
            return newline && c == '\'';
        }
    }
}

/* The next quote, or escape where there are some; or where the text ends. */
static size_t string_stop(const struct lexer *lexer, size_t i, bool escapes) {
    if (escapes) {
        while (at(lexer, i) && at(lexer, i) != '\'' && at(lexer, i) != '\\')
            i++;
        return i;
    }
    const char *quote = i < lexer->length ? memchr(lexer->text + i, '\'', lexer->length - i) : NULL;
    return quote ? (size_t)(quote - lexer->text) : lexer->length;
}

/* From the opening quote at `i`; `doubling`: '' stands for a quote; `escapes`: \ takes the next
 * character. */
static size_t string_end(const struct lexer *lexer, size_t i, bool doubling, bool escapes,
                         bool *unterminated) {
    for (i = string_stop(lexer, i + 1, escapes); i < lexer->length && at(lexer, i);
         i = string_stop(lexer, i + 1, escapes)) {
        if (at(lexer, i) == '\\') {
            if (!at(lexer, ++i))
                break;
        } else if (doubling && at(lexer, i + 1) == '\'') {
            i++;
        } else {
            size_t next;
            if (!continues(lexer, i + 1, &next))
                return i + 1;
            i = next;
        }
    }
    *unterminated = true;
    return i;
}

static size_t quoted_end(const struct lexer *lexer, size_t i, bool *unterminated) {
    for (i++; at(lexer, i); i++)
        if (at(lexer, i) == '"') {
            if (at(lexer, i + 1) != '"')
                return i + 1;
            i++;
        }
    *unterminated = true;
    return i;
}

static size_t block_comment_end(const struct lexer *lexer, size_t i, bool *unterminated) {
    size_t depth = 1;
    for (i += 2;; i++) {
        char c = at(lexer, i);
        while (c != '*' && c != '/' && c != '\0')
            c = at(lexer, ++i);
        if (c == '\0')
            break;
        char following = at(lexer, i + 1);
        if (c == '*' && following == '/') {
            i++;
            if (--depth == 0)
                return i + 1;
        } else if (c == '/' && following == '*') {
            i++;
            depth++;
        }
    }
    *unterminated = true;
    return i;
}

static void next_dollar(const struct lexer *lexer, struct token *token) {
    size_t i = token->start + 1;
    if (is(at(lexer, i), CLASS_DIGIT)) {
        while (is(at(lexer, i), CLASS_DIGIT))
            i++;
        token->kind = TOKEN_PARAMETER;
        token->end = i;
        return;
    }
    if (is(at(lexer, i), CLASS_START))
        while (is(at(lexer, i), CLASS_START | CLASS_DIGIT))
            i++;
    if (at(lexer, i) != '$') {
        token->kind = TOKEN_PUNCTUATION;
        token->end = token->start + 1;
        return;
    }
    size_t tag = i + 1 - token->start;
    const char *close = NULL;
    if (i + 1 < lexer->length)
        close = memmem(lexer->text + i + 1, lexer->length - i - 1, lexer->text + token->start, tag);
    token->kind = TOKEN_DOLLAR_STRING;
    token->unterminated = !close;
    token->end = close ? (size_t)(close - lexer->text) + tag : lexer->length;
}

static void next_number(const struct lexer *lexer, struct token *token) {
    size_t i = token->start;
    while (is(at(lexer, i), CLASS_DIGIT))
        i++;
    if (at(lexer, i) == '.' && at(lexer, i + 1) != '.') {
        i++;
        while (is(at(lexer, i), CLASS_DIGIT))
            i++;
    }
    bool exponent = at(lexer, i) == 'e' || at(lexer, i) == 'E';
    if (exponent && (at(lexer, i + 1) == '+' || at(lexer, i + 1) == '-') &&
        is(at(lexer, i + 2), CLASS_DIGIT))
        i += 2;
    while (is(at(lexer, i),
              CLASS_START | CLASS_DIGIT)) /* exponent, or junk that no version takes for a name */
        i++;
    token->kind = TOKEN_NUMBER;
    token->end = i;
}

static void next_operator(const struct lexer *lexer, struct token *token) {
    size_t i = token->start;
    char c = lexer->text[i];
    if (c == '-' && at(lexer, i + 1) == '-') {
        token->kind = TOKEN_LINE_COMMENT;
        token->end = line_end(lexer, i);
        return;
    }
    if (c == '/' && at(lexer, i + 1) == '*') {
        token->kind = TOKEN_BLOCK_COMMENT;
        token->end = block_comment_end(lexer, i, &token->unterminated);
        return;
    }
    for (i++; is(at(lexer, i), CLASS_OPERATOR); i++) {
        c = lexer->text[i];
        if ((c == '-' && at(lexer, i + 1) == '-') || (c == '/' && at(lexer, i + 1) == '*'))
            break; /* a comment ends an operator */
    }
    token->kind = TOKEN_OPERATOR;
    token->end = i;
}

/* A word, or a string or identifier whose prefix looks like one. */
static void next_word(const struct lexer *lexer, struct token *token) {
    size_t i = token->start;
    char c = (char)(lexer->text[i] | 0x20);
    char following = at(lexer, i + 1);
    if (following == '\'' && (c == 'e' || c == 'b' || c == 'x' || c == 'n')) {
        bool plain = c == 'n' && lexer->standard_conforming_strings;
        token->kind = TOKEN_STRING;
        token->end = string_end(lexer, i + 1, c == 'e' || c == 'n',
                                c == 'e' || (c == 'n' && !plain), &token->unterminated);
        return;
    }
    if (c == 'u' && following == '&') {
        char quote = at(lexer, i + 2);
        if (quote == '\'') {
            token->kind = TOKEN_STRING;
            token->end = string_end(lexer, i + 2, true, false, &token->unterminated);
            return;
        }
        if (quote == '"') {
            token->kind = TOKEN_QUOTED_IDENTIFIER;
            token->end = quoted_end(lexer, i + 2, &token->unterminated);
            return;
        }
    }
    for (i++; is(at(lexer, i), CLASS_START | CLASS_DIGIT | CLASS_DOLLAR); i++)
        ;
    token->kind = TOKEN_IDENTIFIER;
    token->end = i;
}

static void next_other(const struct lexer *lexer, struct token *token) {
    size_t i = token->start;
    char c = at(lexer, i);
    if (c == '\'') {
        token->kind = TOKEN_STRING;
        token->end =
            string_end(lexer, i, true, !lexer->standard_conforming_strings, &token->unterminated);
    } else if (c == '"') {
        token->kind = TOKEN_QUOTED_IDENTIFIER;
        token->end = quoted_end(lexer, i, &token->unterminated);
    } else if (c == '$') {
        next_dollar(lexer, token);
    } else if (c == '.' && is(at(lexer, i + 1), CLASS_DIGIT)) {
        next_number(lexer, token);
    } else {
        token->kind = c == ';' ? TOKEN_SEMICOLON : TOKEN_PUNCTUATION;
        token->end = i + 1;
    }
}

void lexer_next(struct lexer *lexer, struct token *token) {
    size_t i = lexer->position;
    while (is(at(lexer, i), CLASS_SPACE))
        i++;
    if (i >= lexer->length) {
        *token = (struct token){.kind = TOKEN_END, .start = lexer->length, .end = lexer->length};
        lexer->position = lexer->length;
        return;
    }
    token->start = i;
    token->unterminated = false;
    int class = classes[(unsigned char)at(lexer, i)];
    if (class & CLASS_START)
        next_word(lexer, token);
    else if (class & CLASS_DIGIT)
        next_number(lexer, token);
    else if (class & CLASS_OPERATOR)
        next_operator(lexer, token);
    else
        next_other(lexer, token);
    if (token->end > lexer->length) {
        token->end = lexer->length;
        token->unterminated = true;
    }
    lexer->position = token->end;
}

/* Cuts to 63 bytes, not in the middle of a UTF-8 character. */
static size_t cut_name(char *name, size_t length, bool cut) {
    if (cut && length > 0) {
        size_t i = length - 1;
        while (i > 0 && utf8_is_continuation(name[i]))
            i--;
        unsigned char lead = (unsigned char)name[i];
        size_t needed = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
        if (i + needed > length)
            length = i;
    }
    name[length] = '\0';
    return length;
}

static size_t fold_name(const char *from, size_t length, char name[LEXER_NAME_MAX + 1]) {
    bool cut = length > LEXER_NAME_MAX;
    if (cut)
        length = LEXER_NAME_MAX;
    for (size_t i = 0; i < length; i++)
        name[i] = from[i] >= 'A' && from[i] <= 'Z' ? (char)(from[i] + ('a' - 'A')) : from[i];
    return cut_name(name, length, cut);
}

/* `from` stands behind the opening quote; ends at the closing one. */
static size_t unquote_name(const char *from, size_t length, char name[LEXER_NAME_MAX + 1]) {
    size_t used = 0;
    size_t i = 0;
    for (; i < length && used < LEXER_NAME_MAX; i++) {
        name[used++] = from[i];
        if (from[i] == '"')
            i++;
    }
    return cut_name(name, used, i < length);
}

static int hexadecimal(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static size_t encode_utf8(unsigned code, char out[4]) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t size = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3F));
    out[0] = (char)((0xF00 >> size) | code);
    return size;
}

/* U&"d\0061t\+000061" */
static size_t unescape_name(const char *from, size_t length, char escape,
                            char name[LEXER_NAME_MAX + 1]) {
    size_t used = 0;
    size_t i = 0;
    while (i < length && used + 4 <= LEXER_NAME_MAX) {
        if (from[i] != escape || (i + 1 < length && from[i + 1] == escape)) {
            name[used++] = from[i];
            i += from[i] == escape || from[i] == '"' ? 2 : 1;
            continue;
        }
        bool longer = i + 1 < length && from[i + 1] == '+';
        size_t digits = longer ? 6 : 4;
        i += longer ? 2 : 1;
        unsigned code = 0;
        for (size_t end = i + digits; i < end; i++) {
            int digit = i < length ? hexadecimal(from[i]) : -1;
            if (digit < 0)
                return 0;
            code = code * 16 + (unsigned)digit;
        }
        if (code == 0 || code > 0x10FFFF)
            return 0;
        used += encode_utf8(code, name + used);
    }
    return cut_name(name, used, i < length);
}

static size_t token_name(const char *text, const struct token *token, char escape,
                         char name[LEXER_NAME_MAX + 1]) {
    name[0] = '\0';
    size_t length = token->end - token->start;
    if (token->kind == TOKEN_IDENTIFIER)
        return fold_name(text + token->start, length, name);
    if (token->kind != TOKEN_QUOTED_IDENTIFIER || token->unterminated)
        return 0;
    size_t prefix = text[token->start] == '"' ? 1 : 3;
    if (length < prefix + 1)
        return 0;
    const char *from = text + token->start + prefix;
    length -= prefix + 1;
    if (prefix == 3 && memchr(from, escape, length))
        return unescape_name(from, length, escape, name);
    return unquote_name(from, length, name);
}

size_t lexer_name(const char *text, const struct token *token, char name[LEXER_NAME_MAX + 1]) {
    return token_name(text, token, '\\', name);
}

static void next_but_comments(struct lexer *lexer, struct token *token) {
    do
        lexer_next(lexer, token);
    while (token->kind == TOKEN_LINE_COMMENT || token->kind == TOKEN_BLOCK_COMMENT);
}

size_t lexer_uescape(const struct lexer *lexer, char *escape) {
    struct lexer ahead = *lexer;
    struct token token;
    next_but_comments(&ahead, &token);
    if (token.kind != TOKEN_IDENTIFIER || token.end - token.start != 7 ||
        strncasecmp(lexer->text + token.start, "uescape", 7) != 0)
        return 0;
    next_but_comments(&ahead, &token);
    if (token.kind != TOKEN_STRING || token.end - token.start != 3 || token.unterminated)
        return 0;
    *escape = lexer->text[token.start + 1];
    return token.end;
}

size_t lexer_name_escaped(const struct lexer *lexer, const struct token *token,
                          char name[LEXER_NAME_MAX + 1]) {
    char escape = '\\';
    if (token->kind == TOKEN_QUOTED_IDENTIFIER && lexer->text[token->start] != '"')
        (void)lexer_uescape(lexer, &escape);
    return token_name(lexer->text, token, escape, name);
}

bool lexer_string_part(const char *text, size_t length, size_t *position,
                       char name[LEXER_NAME_MAX + 1]) {
    size_t i = *position;
    while (i < length && is(text[i], CLASS_SPACE))
        i++;
    size_t start = i;
    size_t used;
    if (i < length && text[i] == '"') {
        struct lexer lexer = {.text = text, .length = length};
        bool unterminated = false;
        i = quoted_end(&lexer, i, &unterminated);
        if (unterminated)
            return false;
        used = unquote_name(text + start + 1, i - start - 2, name);
    } else {
        while (i < length && text[i] != '.' && text[i] != '"' && !is(text[i], CLASS_SPACE))
            i++;
        used = fold_name(text + start, i - start, name);
    }
    while (i < length && is(text[i], CLASS_SPACE))
        i++;
    *position = i;
    return used > 0;
}
