/* Which violations occur, how often, and which code they come from: a bounded table of one worker.
 * It is told to the log, without flooding it, and with the setting `violations` to a file of JSON
 * lines, which `pginterlock allowlist` reads.
 *
 * An entry is what occurrences have in common: statement and rule (by fingerprint), what became of
 * it, entrypoint, application_name and the tags that tell which code it was. It is written when it
 * is first seen, and again when it has occurred since, ten seconds later at the earliest, with the
 * number of occurrences since the previous line, so that readers can add them up. When the table is
 * full, the entry that was seen least recently is written and forgotten.
 *
 * Owned by its worker, used on its thread only. */
#ifndef PGINTERLOCK_VIOLATIONS_H
#define PGINTERLOCK_VIOLATIONS_H

#include "proxy/log.h"
#include "routing/fingerprint.h"
#include "routing/marginalia.h"

enum {
    VIOLATION_ENTRIES_MAX = 4096,
    VIOLATION_BYTES_MAX = 8 * 1024 * 1024, /* of entries with their texts */
    VIOLATION_INTERVAL = 10 * 1000,        /* milliseconds between two lines of an entry */
    VIOLATION_STATEMENT_MAX = 4096,        /* bytes of a statement that are told */
};

enum violation_action {
    ACTION_REJECTED,
    ACTION_REPORT, /* let pass by the rule's mode; the others by a permit */
    ACTION_COMMENT,
    ACTION_SETTING,
    ACTION_ALLOWLIST,
    ACTION_COUNT
};

const char *violation_action_name(enum violation_action action); /* as in the file */

/* One occurrence; all of it borrowed. Texts may be anything that a client can send. */
struct occurrence {
    enum rule rule;
    const char *sqlstate;
    enum violation_action action;
    bool executable;     /* a permit lets it pass: some single database can execute it */
    const char *message; /* without values */
    const char *detail;  /* for the log, or NULL */
    const char *kind;    /* of the statement, for the log */
    const char *url;     /* of the permit; "" or NULL: none */
    const struct settings *settings;
    const struct statement *statement; /* whose tables count */
    const struct statement *earlier;   /* that the transaction modified first, or NULL */
    const char *entrypoint, *application_name;
    const struct tags *tags;
    const char *client;
    uint32_t pid;
};

struct violations;

struct violations *violations_new(struct log *log);  /* borrowed */
void violations_free(struct violations *violations); /* writes what is to be written */

/* Writes what is due, forgets all entries, and goes on in the file at that path (NULL: in none). */
void violations_open(struct violations *violations, const char *path);

/* `now`: milliseconds of a clock that never goes back. */
void violations_note(struct violations *violations, const struct occurrence *occurrence,
                     uint64_t now);

/* Whether violations_tick() has, or will have, something to write. */
bool violations_pending(const struct violations *violations);

/* Writes what is due; called about every second while something is pending. */
void violations_tick(struct violations *violations, uint64_t now);

#endif
