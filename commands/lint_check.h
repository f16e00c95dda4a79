/* Statements held against the rules as the proxy holds them, with what breaks one as findings.
 *
 * A violation doesn't end a transaction here: the statement was executed once, or would be, so that
 * the session goes on as with every rule on `report`. Embedded; one thread, with a big stack. */
#ifndef PGINTERLOCK_LINT_CHECK_H
#define PGINTERLOCK_LINT_CHECK_H

#include "commands/lint_findings.h"
#include "routing/text.h"

struct lint_check {
    struct settings *settings; /* owned, and ours alone: the rules' modes are switched to and fro */
    bool off[RULE_COUNT];      /* rules that aren't looked at */
    int entrypoint;
    int today; /* since 1970-01-01, UTC: for the allowlist */
    struct router *router;
    struct lint_findings *findings;
    uint64_t statements; /* checked so far */
    uint64_t unread;     /* texts that could not be */
    struct text scratch, shown;
};

/* Where a text stands. */
struct lint_place {
    size_t file, line;
    size_t column;  /* of the text's first byte, from 1; 0: in a log, whose literals aren't shown */
    uint64_t count; /* executions */
};

/* Takes the settings. */
void lint_check_init(struct lint_check *check, struct settings *settings, int entrypoint);
void lint_check_close(struct lint_check *check);

/* The statements of a text; a reference for the caller. text[length] must be NUL. What a database
 * in another encoding logged is read as far as names go: bytes that are no UTF-8 are changed in
 * place. False: the text can't be read. */
bool lint_check_read(struct lint_check *check, char *text, size_t length,
                     const struct lint_place *place, struct query **query, struct error *error)
    __attribute__((warn_unused_result));

/* Checks each of the query's statements in the session, and goes on as if it had been executed.
 * Gives back the caller's reference. */
void lint_check_query(struct lint_check *check, struct session_state *session, struct query *query,
                      const char *text, size_t length, const struct lint_place *place);

#endif
