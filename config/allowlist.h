/* The allowlist file (contract.md, "Permits"): violations that are let pass for a while, each by
 * the fingerprint of its statement or by the tables that it names.
 *
 * A list belongs to a settings snapshot and is immutable once loaded: it may be read from every
 * thread. Days are counted since 1970-01-01, UTC. */
#ifndef PGINTERLOCK_ALLOWLIST_H
#define PGINTERLOCK_ALLOWLIST_H

#include "config/settings.h"

#include <time.h>

enum { ALLOWLIST_FINGERPRINT_LENGTH = 16 }; /* hex digits */

struct allowlist_entry {
    enum rule rule;
    char *fingerprint; /* NULL: by tables */
    char **tables;     /* sorted */
    size_t table_count;
    char *url;           /* where it is worked on; NULL: not given */
    int until;           /* the last day on which it holds; INT_MAX: for good */
    char until_text[11]; /* that as it was written, or "" */
    int line;            /* in the file */
};

struct allowlist {
    char *path;                      /* of the file, for messages */
    struct allowlist_entry *entries; /* in the file's order */
    size_t count;
    const struct allowlist_entry **sorted; /* by rule, those with a fingerprint first, then by it */
    unsigned by_fingerprint, by_tables;    /* bit r: there are such entries for rule r */
};

/* On failure the error reads `FILE:LINE: what is wrong: what to do`. An empty file is an empty
 * list. Tables must have a gitlab_schema, but for the rule `unclassified`; functions may stand
 * among them where `classification.functions` has them. */
bool allowlist_load(const char *path, const struct classification *c, struct allowlist **out,
                    struct error *error) __attribute__((warn_unused_result));
void allowlist_free(struct allowlist *list); /* NULL is fine */

/* The entry that lets a violation pass today, or NULL. `fingerprint` may be NULL, and then only
 * `tables` (count of them) are looked at; there the violation must name one at least, and none that
 * the entry does not list. Partitions are one table, whatever their number. */
const struct allowlist_entry *allowlist_find(const struct allowlist *list, enum rule rule,
                                             const char *fingerprint, const char *const *tables,
                                             size_t count, int today);

/* Whether the list has entries for the rule by fingerprint, or by tables: else nobody need work
 * these out. NULL: it has none. */
bool allowlist_asks_fingerprint(const struct allowlist *list, enum rule rule);
bool allowlist_asks_tables(const struct allowlist *list, enum rule rule);

/* Whether two names are one table's, or of partitions of it. */
bool allowlist_same_table(const char *a, const char *b);

/* Whether an entry by tables lists all of these, which are one at least. */
bool allowlist_entry_lists(const struct allowlist_entry *entry, const char *const *tables,
                           size_t count);

/* What an entry is called in messages: `cross_join 046a8026d1a91397`, `cross_join of ci_builds,
 * projects`; cut off where it is too long. */
enum { ALLOWLIST_NAME_MAX = 256 };
void allowlist_entry_name(const struct allowlist_entry *entry, char out[ALLOWLIST_NAME_MAX]);

int allowlist_day(time_t time);

#endif
