/* Text of unknown encoding as UTF-8. */
#ifndef PGINTERLOCK_LINT_UTF8_H
#define PGINTERLOCK_LINT_UTF8_H

#include <stddef.h>

/* Where the first byte is that belongs to no valid UTF-8, or is NUL; `length`: nowhere. */
size_t lint_utf8_bad(const char *text, size_t length);

/* Replaces, in place and byte by byte, what is no valid UTF-8 by underscores, which are letters to
 * SQL, and NUL by a blank. */
void lint_utf8_make(char *text, size_t length);

#endif
