/* Texts for what is sent to a server once more, later or elsewhere: string constants mean the same
 * with and without standard_conforming_strings, and others can follow. Pure; threads: any. */
#ifndef PGINTERLOCK_ESCAPE_STRINGS_H
#define PGINTERLOCK_ESCAPE_STRINGS_H

#include "routing/facts.h"

/* The `length` bytes of `text`, as the server reads them under `lexing`, with each constant that
 * has a backslash in plain quotes written as E'…'. NUL-terminated, for free(). */
char *text_with_escape_strings(const char *text, size_t length, const struct lexing *lexing);

/* The same without comments: one at the end would take in what follows, and they would tell apart
 * what does the same. */
char *text_for_repeating(const char *text, size_t length, const struct lexing *lexing);

#endif
