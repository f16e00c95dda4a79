/* Finds allowlist entries that nobody needed: those that match no line of the record of violations.
 * They are told at start and by `check`, so that a list gets shorter as the work gets done.
 *
 * Reads only the file as it is now, not what was rotated away. For the main thread. */
#ifndef PGINTERLOCK_ALLOWLIST_USE_H
#define PGINTERLOCK_ALLOWLIST_USE_H

#include "config/settings.h"

enum { ALLOWLIST_READ_AT_START = 64 * 1024 * 1024 }; /* a start must not wait long */

/* Calls `say` with one line of text for each such entry. Nothing can be told without an allowlist
 * or `violations`, or while that file is missing or has no violation in it. A file of more than
 * `most` bytes isn't read, and that is said. */
void allowlist_tell_unused(const struct settings *settings, size_t most,
                           void (*say)(void *context, const char *text), void *context);

#endif
