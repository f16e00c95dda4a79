/* Looks at a query text before the parser does: whether a database may see it at all, whether the
 * parser would choke on it, and what its comments ask for.
 *
 * One pass over the tokens, linear in the text; results live in the caller's arena. */
#ifndef PGINTERLOCK_PRESCAN_H
#define PGINTERLOCK_PRESCAN_H

#include "config/error.h"
#include "routing/arena.h"
#include "routing/facts.h"
#include "routing/shape.h"

enum {
    PRESCAN_OPERATOR_MAX = 64,  /* the parser's lexer is cubic in runs of + and - */
    PRESCAN_NESTING_MAX = 5000, /* brackets of all sorts; the parser gives up below 10,000 */
};

/* A block comment that asks for something. */
struct prescan_hint {
    size_t position;      /* byte offset of its slash */
    unsigned flags;       /* STATEMENT_PERMIT_… */
    const char *database; /* or NULL */
};

struct prescan {
    /* The text with every comment blanked: same length, same offsets, NUL-terminated. */
    const char *text;
    const struct prescan_hint *hints; /* in order */
    size_t hint_count;
    bool empty;   /* nothing but white space, comments and semicolons */
    bool refused; /* not for the parser; `error` says why */
};

/* False: not for a database at all (NUL, invalid UTF-8 with check_utf8). `error` is the empty
 * string unless the text was refused or must not be sent. The tokens are added to `shape` unless
 * that is NULL. */
bool prescan_text(const char *text, size_t length, const struct lexing *lexing, bool check_utf8,
                  struct arena *arena, struct shape *shape, struct prescan *out,
                  struct error *error) __attribute__((warn_unused_result));

/* Only the check of the encoding. */
bool prescan_check_bytes(const char *text, size_t length, bool check_utf8, struct error *error)
    __attribute__((warn_unused_result));

#endif
