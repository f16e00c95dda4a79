/* What went wrong, as one line of text for a person.
 *
 * Everything that can fail returns bool and takes a `struct error *` last. A message says what is wrong, with which
 * object, and what to do. The struct is embedded by the caller; nothing in it is allocated. */
#ifndef PGINTERLOCK_ERROR_H
#define PGINTERLOCK_ERROR_H

#include <stdbool.h>

enum { ERROR_TEXT_MAX = 1024 };

struct error {
    char text[ERROR_TEXT_MAX]; /* NUL-terminated, no newline; cut off where it is too long */
};

/* Formats the message and returns false, so that a caller can write `return error_set(...)`. */
bool error_set(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3))) __attribute__((cold));

#endif
