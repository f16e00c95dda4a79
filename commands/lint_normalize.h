/* A statement as a person may be shown who must not see what it carries: literals, which can hold
 * secrets, are `?`, lists of them one; comments go; white space is one blank.
 *
 *     SELECT * FROM a WHERE id IN (1, 2, 3) AND b = 'x'  -- me   →   SELECT * FROM a WHERE id IN
 * (?) AND b = ?
 *
 * Pure. */
#ifndef PGINTERLOCK_LINT_NORMALIZE_H
#define PGINTERLOCK_LINT_NORMALIZE_H

#include "routing/text.h"

/* Replaces what `out` holds. text[length] must be readable, and is looked at as the text's end. */
void lint_normalize(const char *text, size_t length, struct text *out);

#endif
