/* How a violation is written down: the texts of its line in the file. For violations.c alone. */
#ifndef PGINTERLOCK_VIOLATIONS_LINE_H
#define PGINTERLOCK_VIOLATIONS_LINE_H

#include "proxy/violations.h"
#include "routing/text.h"

#include <time.h>

/* What is the same in all lines of an entry, as the beginning of a JSON object; on the heap. */
char *violation_line_begin(const struct occurrence *occurrence, const char *fingerprint,
                           const char *normalized, time_t first_seen);

/* The tags as a JSON object; on the heap. */
char *violation_line_tags(const struct tags *tags);

/* A whole line. Replaces what `out` holds. */
void violation_line(struct text *out, const char *begin, const char *tags, uint64_t count,
                    time_t last_seen);

#endif
