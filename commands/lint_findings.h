/* The violations that `lint` found: in SQL files each for itself, in logs each distinct one (rule,
 * text without its literals, tables) once with how often it occurred.
 *
 * Owned by the caller; one thread. Bounded: beyond LINT_FINDINGS_MAX distinct ones are only
 * counted. */
#ifndef PGINTERLOCK_LINT_FINDINGS_H
#define PGINTERLOCK_LINT_FINDINGS_H

#include "routing/fingerprint.h"
#include "routing/session_state.h"

enum { LINT_FINDINGS_MAX = 50000, LINT_STATEMENT_SHOWN = 4000 };

struct lint_fingerprint {
    uint64_t high, low; /* of rule, text without literals and tables */
};

struct lint_finding {
    struct lint_fingerprint fingerprint;
    char permit[FINGERPRINT_LENGTH + 1]; /* the fingerprint by which an allowlist knows it */
    size_t file;                         /* index of the input */
    size_t line, column; /* of the offending table, or of the statement; column 0: a log has none */
    uint64_t count;      /* executions */
    enum rule rule;
    char *sqlstate, *kind, *message;
    char *detail, *hint, *table; /* NULL: none */
    char *statement; /* without its literals, in at most LINT_STATEMENT_SHOWN bytes; NULL: it is in
                        an SQL file */
    char *tables;    /* a JSON array */
};

struct lint_findings;

struct lint_findings *lint_findings_new(void);
void lint_findings_free(struct lint_findings *findings);

/* One more of this kind, if there is one already in the same sort of input. */
bool lint_findings_count(struct lint_findings *findings, const struct lint_fingerprint *fingerprint,
                         uint64_t count);

/* Takes what the finding points to. `distinct`: lint_findings_count() shall find it. */
void lint_findings_take(struct lint_findings *findings, struct lint_finding *finding,
                        bool distinct);

size_t lint_findings_size(const struct lint_findings *findings);
const struct lint_finding *lint_findings_at(const struct lint_findings *findings, size_t index);
uint64_t lint_findings_total(const struct lint_findings *findings);   /* occurrences */
uint64_t lint_findings_dropped(const struct lint_findings *findings); /* those not kept */

/* Of a rule, a text without literals and the tables that count. */
struct lint_fingerprint lint_fingerprint_of(enum rule rule, const char *normalized, size_t length,
                                            const struct statement *subject);

#endif
