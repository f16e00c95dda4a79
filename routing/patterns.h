/* Texts that differ from a known one in whole numbers and short strings only: found without cutting
 * them into tokens again, which is most of what looking up a text's shape (shape.h) takes.
 *
 * A pattern is what of a text is not a number of digits alone or a string of plain ASCII without
 * quotes and backslashes. A text that has the same bytes in the same order, and a number or a
 * string wherever the known one has, is cut into the same tokens: up to each of those it is the
 * same text, and what follows begins with the same byte. So it has the same shape, the same hints
 * and the same faults. A text with other constants makes no pattern.
 *
 * Few patterns are kept, by how they begin; what was used longest ago goes first. One thread. */
#ifndef PGINTERLOCK_PATTERNS_H
#define PGINTERLOCK_PATTERNS_H

#include "routing/router.h"

struct patterns;

struct patterns *patterns_new(void);
void patterns_free(struct patterns *patterns); /* gives back its references */

/* The query of the pattern that the text fits, borrowed until the next patterns_offer(), or NULL.
 * text[length] is NUL. `flags`: how the text is read, as it was when the pattern was made. */
struct query *patterns_find(struct patterns *patterns, const char *text, size_t length,
                            unsigned flags);

/* `query` was found by the shape of `text`, which has no pattern. One in several is made, since a
 * text that comes once would only push others out; it keeps a reference of its own. */
void patterns_offer(struct patterns *patterns, const char *text, size_t length,
                    const struct lexing *lexing, unsigned flags, struct query *query);

#endif
