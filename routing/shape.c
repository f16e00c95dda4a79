#include "routing/shape.h"

#include <string.h>

enum { MARK = 1, LAST_CONTROL = 31, DELETE = 127 };

size_t shape_bound(size_t length) {
    return length + 1; /* nothing is written for what is not there */
}

void shape_begin(struct shape *shape, char *out) {
    *shape = (struct shape){.out = out};
}

bool shape_exists(const struct shape *shape) {
    return shape->constants && !shape->none;
}

/* Whether a comment may be a permit or a hint: they all have one of these words. */
static bool may_be_hint(const char *text, size_t length) {
    return memmem(text, length, "allow_cross", 11) != NULL ||
           memmem(text, length, "database", 8) != NULL;
}

static void copy_until(struct shape *shape, const char *text, size_t end) {
    size_t size = end - shape->from;
    memcpy(shape->out + shape->length, text + shape->from, size);
    shape->length += size;
    shape->from = end;
}

/* `text` up to a token, something in the token's place, and on behind it. */
static void replace(struct shape *shape, const char *text, const struct token *token, char with) {
    copy_until(shape, text, token->start);
    shape->out[shape->length++] = with;
    shape->from = token->end;
}

static size_t skip_digits(const char *text, size_t i, size_t end) {
    while (i < end && text[i] >= '0' && text[i] <= '9')
        i++;
    return i;
}

/* Digits with a point and an exponent and nothing else: every version of PostgreSQL reads it as one
 * number. */
static bool number_is_plain(const char *text, size_t i, size_t end) {
    i = skip_digits(text, i, end);
    if (i < end && text[i] == '.')
        i = skip_digits(text, i + 1, end);
    if (i < end && (text[i] == 'e' || text[i] == 'E')) {
        i++;
        if (i < end && (text[i] == '+' || text[i] == '-'))
            i++;
        if (i == end)
            return false;
        i = skip_digits(text, i, end);
    }
    return i == end;
}

static bool is_unicode_escaped(const char *text, const struct token *token) {
    return token->end - token->start > 2 && (text[token->start] | 0x20) == 'u' &&
           text[token->start + 1] == '&';
}

static void add_constant(struct shape *shape, const char *text, const struct token *token) {
    switch (shape->place) {
    case SHAPE_COMMA:
    case SHAPE_ROW_COMMA:
    case SHAPE_AGAIN_COMMA: /* one more of a list: it and its comma go */
        shape->place--;
        shape->length = shape->kept;
        shape->from = token->end;
        return;
    case SHAPE_OPEN:
        shape->place = SHAPE_ROW_CONSTANT;
        break;
    case SHAPE_AGAIN:
        shape->place = SHAPE_AGAIN_CONSTANT;
        break;
    default:
        shape->place = SHAPE_CONSTANT;
    }
    replace(shape, text, token, MARK);
    shape->kept = shape->length;
    shape->constants = true;
}

static void add_comma(struct shape *shape) {
    switch (shape->place) {
    case SHAPE_CONSTANT:
    case SHAPE_ROW_CONSTANT:
    case SHAPE_AGAIN_CONSTANT:
    case SHAPE_ROW:
        shape->place++;
        return;
    default:
        shape->place = SHAPE_OTHER;
    }
}

static void add_close(struct shape *shape, const char *text, const struct token *token) {
    if (shape->place == SHAPE_ROW_CONSTANT) {
        copy_until(shape, text, token->end);
        shape->row_end = shape->length;
        shape->place = SHAPE_ROW;
    } else if (shape->place == SHAPE_AGAIN_CONSTANT) { /* one more row: it and its comma go */
        shape->length = shape->row_end;
        shape->from = token->end;
        shape->place = SHAPE_ROW;
    } else {
        shape->place = SHAPE_OTHER;
    }
}

static void add_punctuation(struct shape *shape, const char *text, const struct token *token) {
    unsigned char c = (unsigned char)text[token->start];
    switch (c) {
    case '(':
        shape->place = shape->place == SHAPE_BETWEEN ? SHAPE_AGAIN : SHAPE_OPEN;
        return;
    case ',':
        add_comma(shape);
        return;
    case ')':
        add_close(shape, text, token);
        return;
    default:
        shape->place = SHAPE_OTHER;
        shape->none |= c <= LAST_CONTROL || c == DELETE;
    }
}

static void add_comment(struct shape *shape, const char *text, const struct token *token) {
    if (token->kind == TOKEN_BLOCK_COMMENT &&
        may_be_hint(text + token->start, token->end - token->start))
        shape->place = SHAPE_OTHER; /* stays, as any token */
    else
        replace(shape, text, token, ' ');
}

/* -- lists ------------------------------------------------------------------------------------- */

static size_t skip_spaces(const char *text, size_t i) {
    while (text[i] == ' ')
        i++;
    return i;
}

/* Behind digits, or a string without quotes and backslashes, that a comma or parenthesis follows:
 * any setting and version reads it as one token. 0: none is there. */
static size_t plain_constant_end(const char *text, size_t i, size_t length) {
    size_t end = i;
    if (text[i] == '\'') {
        end = i + 1 + strcspn(text + i + 1, "'\\");
        if (text[end] != '\'')
            return 0;
        end++;
    } else {
        end = skip_digits(text, i, length);
    }
    size_t next = skip_spaces(text, end);
    return end > i && next < length && (text[next] == ',' || text[next] == ')') ? end : 0;
}

/* Behind the last constant of a list that goes on at `i`. */
static size_t list_end(const char *text, size_t i, size_t length) {
    for (;;) {
        size_t comma = skip_spaces(text, i);
        size_t end =
            text[comma] != ',' ? 0 : plain_constant_end(text, skip_spaces(text, comma + 1), length);
        if (end == 0)
            return i;
        i = end;
    }
}

/* Behind the last of the rows that go on at `i`. */
static size_t rows_end(const char *text, size_t i, size_t length) {
    for (;;) {
        size_t at = skip_spaces(text, i);
        if (text[at] != ',')
            return i;
        at = skip_spaces(text, at + 1);
        size_t end =
            text[at] != '(' ? 0 : plain_constant_end(text, skip_spaces(text, at + 1), length);
        if (end == 0)
            return i;
        end = skip_spaces(text, list_end(text, end, length));
        if (text[end] != ')')
            return i;
        i = end + 1;
    }
}

size_t shape_skip_list(struct shape *shape, const char *text, size_t length, size_t position) {
    bool rows = shape->place == SHAPE_ROW;
    size_t end = rows ? rows_end(text, position, length) : list_end(text, position, length);
    if (end > position) {
        shape->length = rows ? shape->row_end : shape->kept;
        shape->from = end;
    }
    return end;
}

void shape_add(struct shape *shape, const char *text, const struct token *token) {
    shape->none |= token->unterminated;
    switch (token->kind) {
    case TOKEN_IDENTIFIER:
    case TOKEN_OPERATOR:
    case TOKEN_PARAMETER:
    case TOKEN_SEMICOLON:
        shape->place = SHAPE_OTHER;
        return;
    case TOKEN_QUOTED_IDENTIFIER:
        shape->none |= text[token->start] != '"';
        shape->place = SHAPE_OTHER;
        return;
    case TOKEN_PUNCTUATION:
        add_punctuation(shape, text, token);
        return;
    case TOKEN_NUMBER:
        shape->none |= !number_is_plain(text, token->start, token->end);
        add_constant(shape, text, token);
        return;
    case TOKEN_STRING:
        shape->none |= is_unicode_escaped(text, token);
        add_constant(shape, text, token);
        return;
    case TOKEN_DOLLAR_STRING:
        add_constant(shape, text, token);
        return;
    case TOKEN_LINE_COMMENT:
    case TOKEN_BLOCK_COMMENT:
        add_comment(shape, text, token);
        return;
    case TOKEN_END:
        copy_until(shape, text, token->start);
        shape->out[shape->length] = '\0';
    }
}
