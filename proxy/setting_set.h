/* All settings that a session has made, as one value: what a pooled connection was left with is
 * held against what its next session wants, and only the difference is sent.
 *
 * Immutable and reference counted, within one thread. NULL is the set of a session that changed
 * nothing. */
#ifndef PGINTERLOCK_SETTING_SET_H
#define PGINTERLOCK_SETTING_SET_H

#include "protocol/message.h"
#include "proxy/replay.h"

struct setting_set;

/* What the log says in the end; what it only resets is left out. One reference, the caller's. */
struct setting_set *setting_set_new(const struct setting_log *log);
struct setting_set *setting_set_ref(struct setting_set *set);
void setting_set_unref(struct setting_set *set);

bool setting_set_equal(const struct setting_set *a, const struct setting_set *b);
/* Whether it has a value for the parameter. */
bool setting_set_has(const struct setting_set *set, const char *name);
bool setting_set_has_identity(const struct setting_set *set); /* a role or another user */
/* Makes two references to equal sets ones to the same: to that which more have, so that in the end
 * all have one. */
void setting_set_unite(struct setting_set **a, struct setting_set **b);

/* Gives the commands, in order, that make `to` of a connection that has `from`. `unknown`: nobody
 * knows what it has. */
void setting_set_difference(const struct setting_set *from, bool unknown,
                            const struct setting_set *to,
                            void (*command)(void *context, const char *sql), void *context);

/* Whether its commands can be given within the transaction of the statement that needs them: none
 * is a query, which would take the transaction's snapshot, or about how transactions and statements
 * begin. */
bool setting_set_can_join(const struct setting_set *set);

#endif
