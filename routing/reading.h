/* facts_parse() in two steps, for the caller that may find after the first that it doesn't need the
 * second, in memory that is used again for the next text. One reading belongs to one caller; the
 * parser's part needs a thread with a big stack. */
#ifndef PGINTERLOCK_READING_H
#define PGINTERLOCK_READING_H

#include "routing/prescan.h"

struct reading {
    const char *text; /* these five are set by the caller; text[length] is NUL */
    size_t length;
    const struct lexing *lexing;
    struct arena *arena;   /* the facts' */
    struct arena *scratch; /* needed until the facts are read */
    struct prescan prescan;
};

/* Everything but the parser. False: the text must not reach a database; `error` is for the client.
 * Fills in `shape` unless it is NULL. */
bool reading_scan(struct reading *reading, bool check_utf8, struct shape *shape,
                  struct error *error) __attribute__((warn_unused_result));

/* The rest: facts that live as long as reading->arena. `error` as reading_scan() left it, or what
 * the parser objected to. */
void reading_parse(const struct reading *reading, struct query_facts *out, struct error *error);

#endif
