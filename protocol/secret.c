#include "protocol/secret.h"

#include "protocol/scram.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <string.h>

enum { SECRET_DERIVED_SALT = 16 };

static const char scram_prefix[] = "SCRAM-SHA-256$";
static const char md5_prefix[] = "md5";

/* A key in base64 that ends at `end`. */
static bool read_key(const char *at, const char *end, uint8_t out[CRYPTO_KEY]) {
    size_t length;
    return crypto_base64_decode(at, (size_t)(end - at), out, CRYPTO_KEY, &length) &&
           length == CRYPTO_KEY;
}

/* Digits up to ':'; leaves *at behind it. */
static bool read_iterations(const char **at, unsigned *out) {
    unsigned value = 0;
    const char *digit = *at;
    for (; *digit >= '0' && *digit <= '9'; digit++) {
        unsigned next = (unsigned)(*digit - '0');
        if (value > (INT_MAX - next) / 10)
            return false;
        value = value * 10 + next;
    }
    if (value == 0 || *digit != ':')
        return false;
    *at = digit + 1;
    *out = value;
    return true;
}

bool secret_read_verifier(const char *secret, struct secret_verifier *out) {
    const char *at = secret + sizeof scram_prefix - 1;
    if (strncmp(secret, scram_prefix, sizeof scram_prefix - 1) != 0 ||
        !read_iterations(&at, &out->iterations))
        return false;
    const char *salt_end = strchr(at, '$');
    const char *stored_end = salt_end ? strchr(salt_end + 1, ':') : NULL;
    return stored_end &&
           crypto_base64_decode(at, (size_t)(salt_end - at), out->salt, sizeof out->salt,
                                &out->salt_length) &&
           read_key(salt_end + 1, stored_end, out->stored_key) &&
           read_key(stored_end + 1, stored_end + strlen(stored_end), out->server_key);
}

bool secret_derive_salt(const char *user, struct secret_verifier *verifier) {
    uint8_t key[CRYPTO_KEY], digest[CRYPTO_KEY];
    bool done = crypto_process_key(key) && crypto_hmac(key, user, strlen(user), digest);
    if (done) {
        memcpy(verifier->salt, digest, SECRET_DERIVED_SALT);
        verifier->salt_length = SECRET_DERIVED_SALT;
        verifier->iterations = SECRET_ITERATIONS;
    }
    OPENSSL_cleanse(key, sizeof key);
    OPENSSL_cleanse(digest, sizeof digest);
    return done;
}

bool secret_is_plain(const char *secret) {
    return secret && secret[0] != '\0' && !secret_is_md5(secret) && !secret_is_scram(secret);
}

bool secret_derive_keys(const char *password, struct secret_verifier *verifier) {
    static const char client_label[] = "Client Key", server_label[] = "Server Key";
    uint8_t salted[CRYPTO_KEY], client_key[CRYPTO_KEY];
    bool done = crypto_salted_password(password, verifier->salt, verifier->salt_length,
                                       verifier->iterations, salted) &&
                crypto_hmac(salted, client_label, sizeof client_label - 1, client_key) &&
                crypto_sha256(client_key, CRYPTO_KEY, verifier->stored_key) &&
                crypto_hmac(salted, server_label, sizeof server_label - 1, verifier->server_key);
    OPENSSL_cleanse(salted, sizeof salted);
    OPENSSL_cleanse(client_key, sizeof client_key);
    return done;
}

bool secret_is_scram(const char *secret) {
    struct secret_verifier verifier;
    bool is = secret && secret_read_verifier(secret, &verifier);
    OPENSSL_cleanse(&verifier, sizeof verifier);
    return is;
}

bool secret_is_md5(const char *secret) {
    return secret && strncmp(secret, md5_prefix, sizeof md5_prefix - 1) == 0 &&
           strlen(secret) == sizeof md5_prefix - 1 + CRYPTO_MD5_TEXT - 1 &&
           strspn(secret + sizeof md5_prefix - 1, "0123456789abcdef") == CRYPTO_MD5_TEXT - 1;
}

/* Equal or not, in a time that tells nothing of where, nor of the length of `secret`. */
static bool texts_equal(const char *secret, const char *given) {
    uint8_t secret_hash[CRYPTO_KEY], given_hash[CRYPTO_KEY];
    bool equal = crypto_sha256(secret, strlen(secret), secret_hash) &&
                 crypto_sha256(given, strlen(given), given_hash) &&
                 CRYPTO_memcmp(secret_hash, given_hash, CRYPTO_KEY) == 0;
    OPENSSL_cleanse(secret_hash, sizeof secret_hash);
    OPENSSL_cleanse(given_hash, sizeof given_hash);
    return equal;
}

bool password_matches_plain(const char *user, const char *secret, const char *password) {
    struct secret_verifier verifier, given;
    char hashed[CRYPTO_MD5_TEXT];
    bool matches = false;
    if (!secret || secret[0] == '\0' || password[0] == '\0')
        return false; /* PostgreSQL takes no empty password either */
    if (secret_is_md5(secret)) {
        matches = crypto_md5(password, user, strlen(user), hashed) &&
                  texts_equal(secret + sizeof md5_prefix - 1, hashed);
    } else if (secret_read_verifier(secret, &verifier)) {
        given = verifier;
        matches = secret_derive_keys(password, &given) &&
                  CRYPTO_memcmp(given.server_key, verifier.server_key, CRYPTO_KEY) == 0;
        OPENSSL_cleanse(&given, sizeof given);
    } else {
        matches = texts_equal(secret, password);
    }
    OPENSSL_cleanse(&verifier, sizeof verifier);
    OPENSSL_cleanse(hashed, sizeof hashed);
    return matches;
}

bool password_matches_md5(const char *user, const char *secret, const uint8_t salt[4],
                          const char *answer) {
    char inner[CRYPTO_MD5_TEXT], outer[CRYPTO_MD5_TEXT];
    bool matches = false;
    if (!secret || secret[0] == '\0' || secret_is_scram(secret) ||
        strncmp(answer, md5_prefix, sizeof md5_prefix - 1) != 0)
        return false;
    if (secret_is_md5(secret))
        memcpy(inner, secret + sizeof md5_prefix - 1, sizeof inner);
    else if (!crypto_md5(secret, user, strlen(user), inner))
        return false;
    matches =
        crypto_md5(inner, salt, 4, outer) && texts_equal(outer, answer + sizeof md5_prefix - 1);
    OPENSSL_cleanse(inner, sizeof inner);
    OPENSSL_cleanse(outer, sizeof outer);
    return matches;
}
