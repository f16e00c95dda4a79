/* What `explain` found out about one statement, between explain.c, which finds it out, and
 * explain_print.c; `lint` tells tables likewise. */
#ifndef PGINTERLOCK_EXPLAIN_INTERNAL_H
#define PGINTERLOCK_EXPLAIN_INTERNAL_H

#include "routing/session_state.h"

#include <jansson.h>

struct explained {
    const struct settings *settings;
    const struct statement *statement;
    const struct decision *decision;
    const char *sqlstate; /* of an error that is no rule's, such as SET pginterlock.database to
                             none; or NULL */
    const char *error;    /* its message */
};

/* The tables that count, as `--json` tells them; the caller's reference. */
json_t *explained_tables_json(const struct explained *e);

void explain_print_json(const struct explained *e);
void explain_print_text(const struct explained *e);

#endif
