/* All settings that a session has made, as one value. What a pooled connection was left with is
 * compared with what its next session wants, and only the difference is sent.
 *
 * Immutable and reference counted, within one thread. NULL is the set of a session that changed
 * nothing. */
#ifndef PGINTERLOCK_SETTING_SET_H
#define PGINTERLOCK_SETTING_SET_H

#include "protocol/message.h"
#include "proxy/replay.h"

struct setting_set;

/* The settings that the log amounts to, without those that it only resets. The caller has the one
 * reference. */
struct setting_set *setting_set_new(const struct setting_log *log);
struct setting_set *setting_set_ref(struct setting_set *set);
void setting_set_unref(struct setting_set *set);

bool setting_set_equal(const struct setting_set *a, const struct setting_set *b);
/* Whether it has a value for the parameter. */
bool setting_set_has(const struct setting_set *set, const char *name);
bool setting_set_has_identity(const struct setting_set *set); /* a role or another user */
/* Makes two references to equal sets refer to the same one: the one with more references, so that
 * all equal sets become one in time. */
void setting_set_unite(struct setting_set **a, struct setting_set **b);

/* Calls `command` with each command, in order, that brings a connection from `from` to `to`.
 * `unknown`: what it has isn't known, and `from` doesn't count. */
void setting_set_difference(const struct setting_set *from, bool unknown,
                            const struct setting_set *to,
                            void (*command)(void *context, const char *sql), void *context);

/* Whether its commands can run within the transaction of the statement that needs them: none is a
 * query, which would take the transaction's snapshot, or concerns how transactions and statements
 * begin. */
bool setting_set_can_join(const struct setting_set *set);

#endif
