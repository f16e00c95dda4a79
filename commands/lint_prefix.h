/* PostgreSQL's log_line_prefix: a pattern that is compiled once and then held against lines of a
 * log, to find whose they are and where the message begins.
 *
 * Embedded; the pattern's text is borrowed. Matching is pure, allocates nothing and takes bounded
 * time a line, whatever the line. Source: PostgreSQL manual, "log_line_prefix". */
#ifndef PGINTERLOCK_LINT_PREFIX_H
#define PGINTERLOCK_LINT_PREFIX_H

#include "commands/lint_record.h"
#include "config/error.h"

#define LINT_PREFIX_DEFAULT "%m [%p] "

enum { LINT_PREFIX_ITEMS = 64 };

struct lint_prefix_item {
    char escape; /* the letter; '\0': literal text */
    bool padded; /* %10u, %-10u */
    const char *literal;
    size_t length;
};

struct lint_prefix {
    struct lint_prefix_item items[LINT_PREFIX_ITEMS];
    size_t count;
    bool has_session; /* %p or %c is in it: it tells sessions apart */
};

/* False: the error says what is wrong with the pattern and what to do. */
bool lint_prefix_compile(struct lint_prefix *prefix, const char *pattern, struct error *error)
    __attribute__((warn_unused_result));

/* Whether the line begins with the prefix and a severity. Sets the record's severity, session and
 * transaction; *message is where its text begins. */
bool lint_prefix_match(const struct lint_prefix *prefix, const char *line, size_t length,
                       struct lint_record *record, size_t *message);

#endif
