/* One decision while it is made: shared by decision.c, which finds out what to decide on and where
 * the statement goes, and the decision_*.c with the rules. Nobody else includes it. */
#ifndef PGINTERLOCK_DECISION_H
#define PGINTERLOCK_DECISION_H

#include "routing/violation.h"

struct deciding {
    struct session_state *state;
    const struct statement *statement; /* what the client sent */
    const struct statement *subject;   /* whose tables count: of EXECUTE, the prepared one's */
    struct decision *out;
    int pin;       /* by comment, SET or entrypoint; -1: routed */
    int bound_to;  /* where the prepared statement or cursor lives; -1 */
    bool executes; /* the subject's modifications happen */
};

static inline database_set decision_bit(int database) {
    return (database_set)1 << database;
}

static inline void decision_settle(struct decision *out, enum destination destination,
                                   int database) {
    out->destination = destination;
    out->database = database;
}

/* Each returns whether the statement goes on: the rule holds, or breaking it is let pass as an
 * observation. Else the decision is a rejection. In the order in which a violation is told. */
bool decision_check_unclassified(struct deciding *d);
bool decision_check_unparsed(struct deciding *d);
bool decision_check_allowed_schemas(struct deciding *d); /* in decision_allowed.c */
bool decision_check_foreign_key(struct deciding *d);
bool decision_check_join(struct deciding *d);
bool decision_check_pin(struct deciding *d);

/* Whether a pinned connection may not do to this table what the subject does: writing what is
 * locked (`written`), or anything else to a table of another database. */
bool decision_breaks_pin(const struct deciding *d, const struct routed_table *table, bool written);

/* Why a rule that the subject breaks is let pass, if it is. (decision_permits.c) */
struct permit {
    bool granted;
    enum observation_reason reason;
    const struct allowlist_entry *entry; /* of OBSERVED_ALLOWLIST */
};
struct permit decision_find_permit(const struct deciding *d, enum rule rule);

/* After the target is chosen; also says in the decision what is modified. */
bool decision_check_transaction(struct deciding *d);

/* Whether the table's rows are read or written, not only its structure or name. */
bool decision_touches_rows(const struct statement_facts *facts, const struct table_facts *table);

/* A rule broke and its words are in out->violation: is it let pass (then it is an observation), or
 * rejected? */
bool decision_settle_violation(struct deciding *d, enum rule rule);
struct violation_case decision_case(const struct deciding *d, int table);

/* PREPARE TRANSACTION. */
bool decision_check_routable(struct deciding *d);

/* Puts tables in place of names that catalogs have resolved to them (`tables`: the subject's, a
 * copy; session->objects is there). The subject's facts with those tables' names; NULL: nothing was
 * replaced. Both live in the scratch arena, names in the map. */
const struct statement_facts *decision_resolve_objects(const struct deciding *d,
                                                       struct routed_table *tables);

/* The logical databases in whose stores every table of the subject is. Permits and modes let a
 * statement over two databases run only where one store holds both. */
database_set decision_executable_on(const struct deciding *d);

#endif
