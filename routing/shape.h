/* A text without its constants: what texts have in common that differ only in literals, so that one decision serves
 * all of them.
 *
 *     SELECT * FROM a WHERE id IN (1, 2, 3) AND b = 'x'   →   SELECT * FROM a WHERE id IN ( ? ) AND b = ?
 *
 * Numbers and strings of every kind become `?`, lists of them and repeated rows of them one; comments go, except
 * those that could be a permit or a hint; tokens are separated by one space. Two texts of one shape have the same
 * parse tree but for constants, or both have none. */
#ifndef PGINTERLOCK_SHAPE_H
#define PGINTERLOCK_SHAPE_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes that shape_write() needs at most for a text. */
size_t shape_bound(size_t length);

/* Writes the shape of `text` (length bytes and a NUL) into `out`; *out_length without the NUL that follows. False:
 * the text has no constant, or is cut short within a string or comment, and is best looked up as it is. */
bool shape_write(const char *text, size_t length, bool standard_conforming_strings, char *out, size_t *out_length);

#endif
