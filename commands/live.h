/* check --live: holds the catalogs of the databases against the classification and against each
 * other, and tells what stands in the way of the split. Reads only. Synchronous; call on a thread
 * with a big stack, as it parses the bodies of functions. */
#ifndef PGINTERLOCK_LIVE_H
#define PGINTERLOCK_LIVE_H

#include "config/settings.h"

#include <stdbool.h>

/* Prints what it finds to standard output, as text or as one JSON object a line. 0: nothing stands
 * in the way; 1: something does; 2: a database could not be read, which standard error tells (the
 * others are looked at). */
int live_audit(const struct settings *settings, bool json);

#endif
