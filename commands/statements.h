/* What the commands that read SQL without a server, `explain` and `lint`, have in common: cutting a
 * script into statements as psql does, and what a session without a server behind it must be told.
 *
 * Plain functions on borrowed text; they may be called from every thread. */
#ifndef PGINTERLOCK_STATEMENTS_H
#define PGINTERLOCK_STATEMENTS_H

#include "routing/session_state.h"

/* The next statement of the text from *next on: from *start to *end without its semicolon; *next is
 * moved to where to go on, behind the semicolon, or to the text's end where there was none. False:
 * there is none but white space and comments. text[length] must be NUL. */
bool statements_next_piece(const char *text, size_t length, size_t *start, size_t *end,
                           size_t *next);

/* Whether the statement would only be answered with 25P02, as the session's block has failed. */
bool statements_refused_by_block(const struct session_state *session,
                                 const struct statement *statement);

/* The index of the named entrypoint, or without a name of the first routed one, else the first. -1:
 * there is none of that name. */
int statements_find_entrypoint(const struct settings *settings, const char *name);

/* RELEASE or ROLLBACK TO of a savepoint that the open block doesn't have: a server says 3B001, and
 * fails the block. */
bool statements_lacks_savepoint(const struct session_state *session,
                                const struct statement *statement);

#endif
