/* Which entries of the allowlist nobody needed: those that match no line of the file that
 * violations are recorded in. Said at start and by `check`, so that a list gets shorter as the work
 * gets done.
 *
 * Reads only the file as it is now, not what was rotated away. For the main thread. */
#ifndef PGINTERLOCK_ALLOWLIST_USE_H
#define PGINTERLOCK_ALLOWLIST_USE_H

#include "config/settings.h"

enum { ALLOWLIST_READ_AT_START = 64 * 1024 * 1024 }; /* a start must not wait long */

/* Calls `say` with one line of text for each such entry; it is none where nothing can be told:
 * without an allowlist, without `violations`, or while that file is not there or has no violation.
 */
void allowlist_tell_unused(const struct settings *settings, size_t most,
                           void (*say)(void *context, const char *text), void *context);

#endif
