/* The words of a violation: message, DETAIL with every table, HINT with the way out, table and
 * position.
 *
 * Built only where a rule breaks. All strings go to the session's scratch and live until its next
 * decision. */
#ifndef PGINTERLOCK_VIOLATION_H
#define PGINTERLOCK_VIOLATION_H

#include "routing/session_model.h"

struct violation_case {
    struct session_state *state;
    const struct statement *statement; /* whose tables are told */
    bool in_text; /* the tables stand in the text that the client sent now; else they have no
                     position */
    int pin;      /* -1: routed */
    int table;    /* index of the offending table, or -1 */
};

/* `impossible`: it is told because no single database can execute the statement, not because of the
 * rule's mode. */
void violation_cross_join(const struct violation_case *v, bool impossible, struct violation *out)
    __attribute__((cold));
void violation_unclassified(const struct violation_case *v, struct violation *out)
    __attribute__((cold));
void violation_unparsed(const struct violation_case *v, struct violation *out)
    __attribute__((cold));

/* What a session that asked for pginterlock.allowed_gitlab_schemas may not do. */
enum allowed_breach {
    ALLOWED_BREACH_STRUCTURE, /* changes structure where data is allowed */
    ALLOWED_BREACH_ROWS,      /* touches data where structure is */
    ALLOWED_BREACH_SCHEMA,    /* touches data of another schema */
    ALLOWED_BREACH_UNKNOWN,   /* can't be looked into */
};
void violation_allowed_schemas(const struct violation_case *v, enum allowed_breach breach,
                               struct violation *out) __attribute__((cold));
void violation_cross_foreign_key(const struct violation_case *v, struct violation *out)
    __attribute__((cold));
void violation_write_lock(const struct violation_case *v, struct violation *out)
    __attribute__((cold));
void violation_wrong_database(const struct violation_case *v, struct violation *out)
    __attribute__((cold));

/* `databases` and `schemas`: what the statement would modify now. */
void violation_cross_transaction(const struct violation_case *v, database_set databases,
                                 schema_set schemas, struct violation *out) __attribute__((cold));

/* PREPARE TRANSACTION in a transaction that is in two databases. */
void violation_unroutable(const struct violation_case *v, struct violation *out)
    __attribute__((cold));

#endif
