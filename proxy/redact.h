/* A connection string for the log and for people: what it says, without what opens a door. */
#ifndef PGINTERLOCK_REDACT_H
#define PGINTERLOCK_REDACT_H

#include <stddef.h>

/* Writes the string's settings as `host=… port=… dbname=…` without passwords into `out` (size
 * bytes, at least one), cut off where they are too long. A string that libpq can't read gives
 * "(unreadable)". */
void redact_conninfo(const char *conninfo, char *out, size_t size);

#endif
