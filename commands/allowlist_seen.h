/* What a record of violations (proxy/violations.h) adds up to: one entry for each fingerprint,
 * however many lines it has.
 *
 * Owned by who makes it; one thread. */
#ifndef PGINTERLOCK_ALLOWLIST_SEEN_H
#define PGINTERLOCK_ALLOWLIST_SEEN_H

#include "config/error.h"
#include "proxy/violations.h"

#include <stdio.h>

enum { SEEN_SOURCES_MAX = 5, SEEN_TIME_LENGTH = 20 };

struct seen_names {
    char **list;
    size_t count;
};

struct seen {
    char fingerprint[FINGERPRINT_LENGTH + 1];
    enum rule rule;
    char *statement;
    struct seen_names tables, earlier_tables;
    char *url; /* of a permit that let it pass, or NULL */
    bool executable;
    uint64_t count, counts[ACTION_COUNT];
    char first[SEEN_TIME_LENGTH + 1], last[SEEN_TIME_LENGTH + 1];
    struct seen_names sources; /* `ProjectsController#show`, … the first few, each once */
    size_t sources_left;       /* lines with others */
};

struct seen_record;

struct seen_record *seen_record_new(void);
void seen_record_free(struct seen_record *record);

/* Adds the lines of a file; `name` is for messages. The error reads `NAME:LINE: what is wrong: what
 * to do`. */
bool seen_record_read(struct seen_record *record, FILE *file, const char *name, struct error *error)
    __attribute__((warn_unused_result));

/* All entries, the most frequent first; the array is the caller's, what it points to the record's.
 */
const struct seen **seen_record_sorted(const struct seen_record *record, size_t *count);

#endif
