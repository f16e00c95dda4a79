/* The primitives under SCRAM and md5, over libcrypto. Everything returns false only where libcrypto
 * refuses (such as MD5 under FIPS). No state. */
#ifndef PGINTERLOCK_PROTOCOL_CRYPTO_H
#define PGINTERLOCK_PROTOCOL_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CRYPTO_KEY = 32,      /* SHA-256 */
    CRYPTO_MD5_TEXT = 33, /* in hexadecimal, with its NUL */
};

/* HMAC-SHA-256 over `data`. */
bool crypto_hmac(const uint8_t key[CRYPTO_KEY], const void *data, size_t length,
                 uint8_t out[CRYPTO_KEY]);
bool crypto_sha256(const void *data, size_t length, uint8_t out[CRYPTO_KEY]);
/* Hi() of RFC 5802. */
bool crypto_salted_password(const char *password, const uint8_t *salt, size_t salt_length,
                            unsigned iterations, uint8_t out[CRYPTO_KEY]);
/* Hexadecimal MD5 of `text` followed by `tail`, as PostgreSQL's pg_md5_encrypt(). */
bool crypto_md5(const char *text, const void *tail, size_t tail_length, char out[CRYPTO_MD5_TEXT]);

/* Base64 with padding (RFC 4648, section 4). Encoding writes a NUL and wants 4 * (length + 2) / 3 +
 * 1 bytes. Decoding is strict: no whitespace, no missing padding, no stray bits; false also where
 * `out` (size bytes) can't hold the result. */
bool crypto_base64_encode(const uint8_t *data, size_t length, char *out, size_t size);
bool crypto_base64_decode(const char *text, size_t text_length, uint8_t *out, size_t size,
                          size_t *length);

/* The key from which salts for plain passwords and unknown users are made: the same throughout the
 * life of the process, unknown outside of it. */
bool crypto_process_key(uint8_t out[CRYPTO_KEY]);

#endif
