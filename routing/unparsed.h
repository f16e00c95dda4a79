/* Text that the grammar can't read: the tables that it may name are found by its tokens alone.
 *
 * Pure, reentrant; needs a thread with a big stack where the text has strings that name something,
 * because the parser decodes them. */
#ifndef PGINTERLOCK_UNPARSED_H
#define PGINTERLOCK_UNPARSED_H

#include "routing/collect.h"
#include "routing/reading.h"

/* Every identifier counts as a table that is written. Where the text has a word that takes a
 * relation's name as a string (regclass, nextval, …) the identifiers in its strings count as such
 * names; where it has one that brings code (FUNCTION, DO, …) those in strings count as code. */
void unparsed_collect(const struct reading *reading, struct collector *out);

#endif
