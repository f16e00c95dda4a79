/* What SCRAM checks passwords by (StoredKey, ServerKey) for every user whose password stands in the
 * list as plain text: derived once for the list, since each derivation is 4096 rounds of HMAC, a
 * hundred times what the rest of a login costs. Being derived before the first login, they also
 * cost a known user's login what an unknown one's costs.
 *
 * Immutable, shared between threads by reference; the counting is atomic. Wiped when freed. */
#ifndef PGINTERLOCK_SCRAM_KEYS_H
#define PGINTERLOCK_SCRAM_KEYS_H

#include "config/settings.h"
#include "protocol/secret.h"

#include <stddef.h>

struct scram_keys;

/* For these users, sorted by name. What `before` (NULL: nothing) has for the same name and password
 * is taken from there. */
struct scram_keys *scram_keys_new(const struct user *users, size_t count,
                                  const struct scram_keys *before);
struct scram_keys *scram_keys_ref(struct scram_keys *keys); /* NULL is fine */
void scram_keys_unref(struct scram_keys *keys);             /* NULL is fine */

/* Of the user, or NULL where the list has no plain password for it. */
const struct secret_verifier *scram_keys_find(const struct scram_keys *keys, const char *user);

#endif
