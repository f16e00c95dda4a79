/* The three forms of a password in a user list: plain, "md5…" and "SCRAM-SHA-256$…". */
#ifndef PGINTERLOCK_PROTOCOL_SECRET_H
#define PGINTERLOCK_PROTOCOL_SECRET_H

#include "protocol/crypto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SECRET_SALT_MAX = 256, SECRET_ITERATIONS = 4096 };

/* What a server keeps of a password for SCRAM (RFC 5802, section 3). */
struct secret_verifier {
    unsigned iterations;
    size_t salt_length;
    uint8_t salt[SECRET_SALT_MAX];
    uint8_t stored_key[CRYPTO_KEY], server_key[CRYPTO_KEY];
};

/* Parses "SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY"; false: it isn't one. */
bool secret_read_verifier(const char *secret, struct secret_verifier *out);

/* The salt that a user without a verifier is told, known or not: the same throughout the life of
 * the process, so that a second try doesn't tell them apart. */
bool secret_derive_salt(const char *user, struct secret_verifier *verifier);

/* Whether it is a password as it is: neither empty (which PostgreSQL takes from nobody) nor of one
 * of the other forms. NULL: no. */
bool secret_is_plain(const char *secret);

/* Makes the keys for `password` from the salt and iterations that are in `verifier` already. */
bool secret_derive_keys(const char *password, struct secret_verifier *verifier);

#endif
