/* Texts that are sent to a server once more, later or elsewhere: their string constants mean the
 * same with and without standard_conforming_strings, and other text can follow. Pure; any thread.
 */
#ifndef PGINTERLOCK_ESCAPE_STRINGS_H
#define PGINTERLOCK_ESCAPE_STRINGS_H

#include "routing/facts.h"

/* The `length` bytes of `text`, as the server reads them under `lexing`, with each constant that
 * has a backslash in plain quotes written as E'…'. NUL-terminated, for free(). */
char *text_with_escape_strings(const char *text, size_t length, const struct lexing *lexing);

/* The same without comments: one at the end would swallow what follows, and two texts that do the
 * same would differ. */
char *text_for_repeating(const char *text, size_t length, const struct lexing *lexing);

#endif
