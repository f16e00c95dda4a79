/* The server's side of password authentication: SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC
 * 7677, channel binding tls-server-end-point of RFC 5929), md5 and plain. No I/O; the random source
 * can be passed in. Errors are in PostgreSQL's words (auth-scram.c). A struct scram owns copies of
 * all it needs; one thread at a time. */
#ifndef PGINTERLOCK_SCRAM_H
#define PGINTERLOCK_SCRAM_H

#include "config/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SCRAM_MESSAGE_MAX = 2048 };

struct scram;

struct secret_verifier;

/* `secret`: plain password or SCRAM-SHA-256$… verifier; NULL or md5 secret: a mock exchange that
 * always fails, which does not tell a client that the user is unknown. `derived`: a plain
 * password's keys (scram_keys.h), copied; NULL: they are derived now. `certificate_hash`:
 * tls-server-end-point data where the connection has TLS, else NULL. random_bytes NULL:
 * libcrypto's. hash_length is at most 64 (SHA-512). Passwords are used byte for byte: ASCII, which
 * SASLprep leaves alone, and the rest as the server does where SASLprep can't be applied. */
struct scram *scram_new(const char *user, const char *secret, const struct secret_verifier *derived,
                        const uint8_t *certificate_hash, size_t hash_length,
                        bool (*random_bytes)(void *out, size_t length));
void scram_free(struct scram *scram); /* wipes its secrets */

enum scram_result { SCRAM_CONTINUE, SCRAM_DONE, SCRAM_FAILED, SCRAM_MALFORMED };

/* First: mechanism name and client-first-message of SASLInitialResponse. Writes
 * server-first-message into `reply`. data NULL (no initial response, length -1 on the wire):
 * `reply` is empty, call again with what the client then sends. */
enum scram_result scram_first(struct scram *scram, const char *mechanism, const uint8_t *data,
                              size_t length, char reply[SCRAM_MESSAGE_MAX], struct error *error);
/* Then client-final-message. DONE: `reply` is server-final-message.
 * Of both: FAILED: not let in; MALFORMED: no SCRAM, or one that isn't spoken here. `error` says
 * what, in PostgreSQL's words. After either the exchange is over. */
enum scram_result scram_final(struct scram *scram, const uint8_t *data, size_t length,
                              char reply[SCRAM_MESSAGE_MAX], struct error *error);
/* After FAILED: 28P01 (wrong password), 28000 (channel binding negotiated down, or to another
 * certificate) or XX000 (no randomness); after MALFORMED: 08P01 or 0A000. */
const char *scram_sqlstate(const struct scram *scram);

/* Whether the clear-text password matches the secret (any of the three forms). Constant time. */
bool password_matches_plain(const char *user, const char *secret, const char *password);
/* md5: the client's "md5…" answer for this salt; the secret is plain or md5 (not a verifier). */
bool password_matches_md5(const char *user, const char *secret, const uint8_t salt[4],
                          const char *answer);

/* Whether `secret` is of the form. */
bool secret_is_scram(const char *secret);
bool secret_is_md5(const char *secret);

#endif
