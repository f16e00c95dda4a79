/* A text without its constants: what texts have in common that differ only in literals, so that one
 * decision serves all of them.
 *
 *     SELECT * FROM a WHERE id IN (1, 2, 3) AND b = 'x'
 *     SELECT * FROM a WHERE id IN (•) AND b = •
 *
 * A number or a string becomes a mark, a list of them becomes one mark, and so do rows of nothing
 * else. Comments become a space, except those that could be a permit or a hint. Everything else
 * stays byte for byte. The mark is the byte 1, which no valid text has outside of quotes, so that
 * it is never taken for an operator such as `?`.
 *
 * Two texts of one shape are cut into the same tokens but for their constants. Where that could be
 * otherwise, or where a constant is more than a value, a text has no shape: numbers that run into a
 * word (PostgreSQL up to 14 takes `1from` for two tokens, 16 takes `1_0` and `0x1` for numbers),
 * everything with U& (what UESCAPE names changes the name), control characters.
 *
 * A shape is made token by token, so that prescan.c needs only one pass over the text. */
#ifndef PGINTERLOCK_SHAPE_H
#define PGINTERLOCK_SHAPE_H

#include "routing/lexer.h"

/* What the last token that counts was. A row is constants in parentheses. */
enum shape_place {
    SHAPE_OTHER,
    SHAPE_CONSTANT,
    SHAPE_COMMA, /* after a constant */
    SHAPE_OPEN,
    SHAPE_ROW_CONSTANT,
    SHAPE_ROW_COMMA,
    SHAPE_ROW,     /* closed */
    SHAPE_BETWEEN, /* a comma after a row */
    SHAPE_AGAIN,   /* the parenthesis of one more row */
    SHAPE_AGAIN_CONSTANT,
    SHAPE_AGAIN_COMMA,
};

struct shape {
    char *out;      /* borrowed; room for shape_bound() bytes */
    size_t length;  /* written so far */
    size_t from;    /* where in the text what is not yet written begins */
    size_t kept;    /* length of the output up to the last mark or row; the rest of its list adds
                       nothing */
    size_t row_end; /* likewise up to the last row */
    enum shape_place place;
    bool constants; /* there is at least one */
    bool none;      /* the text has no shape */
};

/* Bytes that the shape of a text takes at most, with its NUL. */
size_t shape_bound(size_t length);

void shape_begin(struct shape *shape, char *out);

/* The text's tokens one after another, TOKEN_END too. */
void shape_add(struct shape *shape, const char *text, const struct token *token);

/* Passes over what follows in a list, or of rows, as long as it is nothing but plain constants,
 * which add nothing. Returns where it ends, for the lexer to go on. The same as shape_add() of its
 * tokens for a fraction of the work: most long texts are inserts of many rows. text[length] is NUL.
 */
size_t shape_skip_list(struct shape *shape, const char *text, size_t length, size_t position);
static inline bool shape_may_skip_list(const struct shape *shape) {
    unsigned places = 1u << SHAPE_CONSTANT | 1u << SHAPE_ROW_CONSTANT | 1u << SHAPE_ROW |
                      1u << SHAPE_AGAIN_CONSTANT;
    return (places >> shape->place & 1) != 0;
}

/* After TOKEN_END: whether the text has a shape. It has none without constants, and is then best
 * looked up as it is. */
bool shape_exists(const struct shape *shape);

#endif
