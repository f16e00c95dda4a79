#include "protocol/scram.h"

#include "config/alloc.h"
#include "protocol/secret.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SCRAM_INPUT_MAX = 1024, /* PG_MAX_SASL_MESSAGE_LENGTH */
    SCRAM_NONCE = 30,    /* characters of 93: 190 bits and more, RFC 7677's example has as many */
    SCRAM_HASH_MAX = 64, /* tls-server-end-point: SHA-512 at most */
};

static const char sqlstate_protocol_violation[] = "08P01"; /* unless said otherwise */
static const char sqlstate_not_supported[] = "0A000";
static const char sqlstate_invalid_authorization[] = "28000";
static const char sqlstate_invalid_password[] = "28P01";
static const char sqlstate_internal_error[] = "XX000";

/* FIRST → FINAL → OVER; any failure → OVER. */
enum scram_state { SCRAM_AWAITS_FIRST, SCRAM_AWAITS_FINAL, SCRAM_OVER };

struct scram {
    enum scram_state state;
    char *user;
    struct secret_verifier verifier;
    bool doomed;          /* a mock: goes through all the motions and fails at the end */
    const char *sqlstate; /* of the error, once there is one */
    bool has_tls;
    uint8_t certificate_hash[SCRAM_HASH_MAX];
    size_t hash_length;
    bool (*random_bytes)(void *out, size_t length);
    bool plus;     /* the client chose SCRAM-SHA-256-PLUS */
    char gs2_flag; /* n, y or p */
    char first_bare[SCRAM_INPUT_MAX + 1];
    char server_first[SCRAM_MESSAGE_MAX];
    char nonce[SCRAM_INPUT_MAX + SCRAM_NONCE + 1]; /* the client's and ours */
};

static bool random_from_libcrypto(void *out, size_t length) {
    return RAND_bytes(out, (int)length) == 1;
}

/* A verifier is used as it is, whether from the list or derived before. Nothing is derived for a
 * mock: it costs what the other two cost. */
static void prepare_verifier(struct scram *scram, const char *secret,
                             const struct secret_verifier *derived) {
    struct secret_verifier *verifier = &scram->verifier;
    if (secret && secret_read_verifier(secret, verifier))
        return;
    bool plain = secret_is_plain(secret);
    scram->doomed = !secret_derive_salt(scram->user, verifier) || !plain;
    if (plain && derived)
        *verifier = *derived;
    else if (plain && !secret_derive_keys(secret, verifier))
        scram->doomed = true;
}

struct scram *scram_new(const char *user, const char *secret, const struct secret_verifier *derived,
                        const uint8_t *certificate_hash, size_t hash_length,
                        bool (*random_bytes)(void *out, size_t length)) {
    struct scram *scram = alloc_zeroed(1, sizeof *scram);
    scram->user = alloc_text(user);
    scram->sqlstate = sqlstate_protocol_violation;
    scram->random_bytes = random_bytes ? random_bytes : random_from_libcrypto;
    assert(hash_length <= SCRAM_HASH_MAX);
    if (certificate_hash) {
        scram->has_tls = true;
        memcpy(scram->certificate_hash, certificate_hash, hash_length);
        scram->hash_length = hash_length;
    }
    prepare_verifier(scram, secret, derived);
    return scram;
}

void scram_free(struct scram *scram) {
    if (!scram)
        return;
    free(scram->user);
    OPENSSL_cleanse(scram, sizeof *scram);
    free(scram);
}

const char *scram_sqlstate(const struct scram *scram) {
    return scram->sqlstate;
}

/* FAILED where the client is well-formed and yet not let in. */
static enum scram_result scram_end(struct scram *scram) {
    scram->state = SCRAM_OVER;
    return strcmp(scram->sqlstate, sqlstate_protocol_violation) == 0 ||
                   strcmp(scram->sqlstate, sqlstate_not_supported) == 0
               ? SCRAM_MALFORMED
               : SCRAM_FAILED;
}

/* -- attributes: `at` is the cursor, and the text is cut into strings at its commas ------------ */

/* A printable form of the character at `at`, for messages. */
struct shown {
    char text[8];
};
static struct shown show_character(const char *at) {
    struct shown shown;
    if (*at >= 0x21 && *at <= 0x7e)
        snprintf(shown.text, sizeof shown.text, "'%c'", *at);
    else
        snprintf(shown.text, sizeof shown.text, "0x%02x", (unsigned char)*at);
    return shown;
}

static bool malformed(struct error *error, const char *detail) {
    return error_set(error, "malformed SCRAM message: %s", detail);
}

static bool read_value(char **at, char name, char **value, struct error *error) {
    char *end = strchr(*at, ',');
    if (**at != name)
        return error_set(error,
                         "malformed SCRAM message: Expected attribute \"%c\" but found \"%s\".",
                         name, show_character(*at).text);
    if ((*at)[1] != '=')
        return error_set(
            error, "malformed SCRAM message: Expected character \"=\" for attribute \"%c\".", name);
    *value = *at + 2;
    *at = end ? end + 1 : *at + strlen(*at);
    if (end)
        *end = '\0';
    return true;
}

static bool refuse_extension(struct scram *scram, struct error *error) {
    scram->sqlstate = sqlstate_not_supported;
    return error_set(error, "client requires an unsupported SCRAM extension");
}

/* Any attribute: an extension, or the one that the caller looks for. */
static bool read_any(struct scram *scram, char **at, char *name, char **value,
                     struct error *error) {
    *name = **at;
    if (*name == '\0')
        return malformed(error, "Attribute expected, but found end of string.");
    if (!((*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z')))
        return error_set(error,
                         "malformed SCRAM message: Attribute expected, but found invalid "
                         "character \"%s\".",
                         show_character(*at).text);
    if (*name == 'm')
        return refuse_extension(scram, error);
    return read_value(at, *name, value, error);
}

/* Copies what the client sent, as text. */
static bool take_input(const uint8_t *data, size_t length, char out[SCRAM_INPUT_MAX + 1],
                       struct error *error) {
    if (length == 0)
        return malformed(error, "The message is empty.");
    if (length > SCRAM_INPUT_MAX)
        return malformed(error, "The message is too long.");
    if (memchr(data, 0, length))
        return malformed(error, "Message length does not match input length.");
    memcpy(out, data, length);
    out[length] = '\0';
    return true;
}

/* -- client-first-message ---------------------------------------------------------------------- */

static bool select_mechanism(struct scram *scram, const char *mechanism, struct error *error) {
    scram->plus = scram->has_tls && strcmp(mechanism, "SCRAM-SHA-256-PLUS") == 0;
    if (!scram->plus && strcmp(mechanism, "SCRAM-SHA-256") != 0)
        return error_set(error, "client selected an invalid SASL authentication mechanism");
    return true;
}

/* 'n' or 'y', without channel binding. */
static bool read_flag_unbound(struct scram *scram, char **at, struct error *error) {
    if (scram->plus)
        return malformed(error, "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message "
                                "does not include channel binding data.");
    if (**at == 'y' && scram->has_tls) {
        /* Somebody between us may have cut -PLUS out of the list of mechanisms. */
        scram->sqlstate = sqlstate_invalid_authorization;
        return error_set(error, "SCRAM channel binding negotiation error: The client supports "
                                "SCRAM channel binding but thinks the server does not.  However, "
                                "this server does support channel binding.");
    }
    (*at)++;
    if (**at != ',')
        return error_set(error,
                         "malformed SCRAM message: Comma expected, but found character \"%s\".",
                         show_character(*at).text);
    (*at)++;
    return true;
}

static bool read_flag_bound(struct scram *scram, char **at, struct error *error) {
    char *type;
    if (!scram->plus)
        return malformed(error, "The client selected SCRAM-SHA-256 without channel binding, but "
                                "the SCRAM message includes channel binding data.");
    if (!read_value(at, 'p', &type, error))
        return false;
    if (strcmp(type, "tls-server-end-point") != 0)
        return error_set(error, "unsupported SCRAM channel-binding type \"%s\"", type);
    return true;
}

/* gs2-header: flag, then an empty authorization identity. */
static bool read_gs2_header(struct scram *scram, char **at, struct error *error) {
    scram->gs2_flag = **at;
    if (scram->gs2_flag == 'p') {
        if (!read_flag_bound(scram, at, error))
            return false;
    } else if (scram->gs2_flag == 'n' || scram->gs2_flag == 'y') {
        if (!read_flag_unbound(scram, at, error))
            return false;
    } else {
        return error_set(error, "malformed SCRAM message: Unexpected channel-binding flag \"%s\".",
                         show_character(*at).text);
    }
    if (**at == 'a') {
        scram->sqlstate = sqlstate_not_supported;
        return error_set(error, "client uses authorization identity, but it is not supported");
    }
    if (**at != ',')
        return error_set(error,
                         "malformed SCRAM message: Unexpected attribute \"%s\" in "
                         "client-first-message.",
                         show_character(*at).text);
    (*at)++;
    return true;
}

/* The user name in it is ignored, as by the server: the startup packet's counts. */
static bool read_first(struct scram *scram, char *at, char **nonce, struct error *error) {
    char *value, name;
    if (!read_gs2_header(scram, &at, error))
        return false;
    snprintf(scram->first_bare, sizeof scram->first_bare, "%s", at);
    if (*at == 'm')
        return refuse_extension(scram, error);
    if (!read_value(&at, 'n', &value, error) || !read_value(&at, 'r', nonce, error))
        return false;
    for (const char *c = *nonce; *c; c++) {
        if (*c < 0x21 || *c > 0x7e)
            return error_set(error, "non-printable characters in SCRAM nonce");
    }
    while (*at) {
        if (!read_any(scram, &at, &name, &value, error))
            return false;
    }
    return true;
}

/* Random bytes as printable characters without a comma; one that is such a character stays. */
static bool make_nonce(const struct scram *scram, char out[SCRAM_NONCE + 1]) {
    uint8_t bytes[SCRAM_NONCE];
    if (!scram->random_bytes(bytes, sizeof bytes))
        return false;
    for (size_t i = 0; i < SCRAM_NONCE; i++) {
        uint8_t c = bytes[i];
        if (c < 0x21 || c > 0x7e || c == ',')
            c = (uint8_t)('-' + c % ('~' - '-' + 1));
        out[i] = (char)c;
    }
    out[SCRAM_NONCE] = '\0';
    return true;
}

static bool write_server_first(struct scram *scram, const char *client_nonce, struct error *error) {
    char ours[SCRAM_NONCE + 1], salt[SECRET_SALT_MAX * 2];
    scram->sqlstate = sqlstate_internal_error;
    if (!make_nonce(scram, ours))
        return error_set(error, "could not generate random nonce");
    snprintf(scram->nonce, sizeof scram->nonce, "%s%s", client_nonce, ours);
    if (!crypto_base64_encode(scram->verifier.salt, scram->verifier.salt_length, salt, sizeof salt))
        return error_set(error, "could not encode salt");
    snprintf(scram->server_first, sizeof scram->server_first, "r=%s,s=%s,i=%u", scram->nonce, salt,
             scram->verifier.iterations);
    scram->sqlstate = sqlstate_protocol_violation;
    return true;
}

enum scram_result scram_first(struct scram *scram, const char *mechanism, const uint8_t *data,
                              size_t length, char reply[SCRAM_MESSAGE_MAX], struct error *error) {
    char input[SCRAM_INPUT_MAX + 1], *nonce;
    reply[0] = '\0';
    if (scram->state != SCRAM_AWAITS_FIRST) {
        scram->sqlstate = sqlstate_protocol_violation;
        error_set(error, "unexpected SASL message: the exchange has begun already");
        return scram_end(scram);
    }
    if (!select_mechanism(scram, mechanism, error))
        return scram_end(scram);
    if (!data)
        return SCRAM_CONTINUE;
    if (!take_input(data, length, input, error) || !read_first(scram, input, &nonce, error))
        return scram_end(scram);
    if (!write_server_first(scram, nonce, error))
        return scram_end(scram);
    snprintf(reply, SCRAM_MESSAGE_MAX, "%s", scram->server_first);
    scram->state = SCRAM_AWAITS_FINAL;
    return SCRAM_CONTINUE;
}

/* -- client-final-message ---------------------------------------------------------------------- */

/* c=: base64 of the gs2-header again, followed by the certificate's hash where it is bound. */
static bool check_binding(struct scram *scram, const char *value, struct error *error) {
    static const char bound_header[] = "p=tls-server-end-point,,";
    if (!scram->plus) {
        if (strcmp(value, scram->gs2_flag == 'n' ? "biws" : "eSws") == 0)
            return true;
        return error_set(error,
                         "unexpected SCRAM channel-binding attribute in client-final-message");
    }
    uint8_t expected[sizeof bound_header - 1 + SCRAM_HASH_MAX];
    char encoded[sizeof expected * 2];
    memcpy(expected, bound_header, sizeof bound_header - 1);
    memcpy(expected + sizeof bound_header - 1, scram->certificate_hash, scram->hash_length);
    if (crypto_base64_encode(expected, sizeof bound_header - 1 + scram->hash_length, encoded,
                             sizeof encoded) &&
        strcmp(encoded, value) == 0)
        return true;
    scram->sqlstate = sqlstate_invalid_authorization;
    return error_set(error, "SCRAM channel binding check failed");
}

/* without_proof: the length of the part of the message that stands before ",p=". */
static bool read_final(struct scram *scram, char *input, uint8_t proof[CRYPTO_KEY],
                       size_t *without_proof, struct error *error) {
    char *at = input, *value, *nonce, name;
    size_t length;
    if (!read_value(&at, 'c', &value, error) || !check_binding(scram, value, error) ||
        !read_value(&at, 'r', &nonce, error))
        return false;
    do {
        *without_proof = (size_t)(at - input) - 1;
        if (!read_any(scram, &at, &name, &value, error))
            return false;
    } while (name != 'p');
    if (!crypto_base64_decode(value, strlen(value), proof, CRYPTO_KEY, &length) ||
        length != CRYPTO_KEY)
        return malformed(error, "Malformed proof in client-final-message.");
    if (*at)
        return malformed(error, "Garbage found at the end of client-final-message.");
    if (strcmp(nonce, scram->nonce) != 0)
        return error_set(error, "invalid SCRAM response: Nonce does not match.");
    return true;
}

/* ClientProof XOR HMAC(StoredKey, AuthMessage) must hash to StoredKey. Leaves ServerSignature. */
static bool verify_proof(const struct scram *scram, const char *auth_message,
                         const uint8_t proof[CRYPTO_KEY], uint8_t signature[CRYPTO_KEY]) {
    uint8_t key[CRYPTO_KEY], hashed[CRYPTO_KEY];
    size_t length = strlen(auth_message);
    bool done = crypto_hmac(scram->verifier.stored_key, auth_message, length, key);
    for (size_t i = 0; done && i < CRYPTO_KEY; i++)
        key[i] ^= proof[i];
    bool matches = done && crypto_sha256(key, CRYPTO_KEY, hashed) &&
                   CRYPTO_memcmp(hashed, scram->verifier.stored_key, CRYPTO_KEY) == 0 &&
                   crypto_hmac(scram->verifier.server_key, auth_message, length, signature);
    OPENSSL_cleanse(key, sizeof key);
    OPENSSL_cleanse(hashed, sizeof hashed);
    return matches && !scram->doomed;
}

enum scram_result scram_final(struct scram *scram, const uint8_t *data, size_t length,
                              char reply[SCRAM_MESSAGE_MAX], struct error *error) {
    /* AuthMessage of RFC 5802: the three messages, the last without its proof. */
    char auth_message[SCRAM_INPUT_MAX + SCRAM_MESSAGE_MAX + SCRAM_INPUT_MAX];
    char input[SCRAM_INPUT_MAX + 1], encoded[CRYPTO_KEY * 2];
    uint8_t proof[CRYPTO_KEY], signature[CRYPTO_KEY];
    size_t without_proof;
    reply[0] = '\0';
    if (scram->state != SCRAM_AWAITS_FINAL) {
        scram->sqlstate = sqlstate_protocol_violation;
        error_set(error, "unexpected SASL message: no exchange has begun");
        return scram_end(scram);
    }
    scram->state = SCRAM_OVER;
    if (!take_input(data, length, input, error) ||
        !read_final(scram, input, proof, &without_proof, error))
        return scram_end(scram);
    snprintf(auth_message, sizeof auth_message, "%s,%s,%.*s", scram->first_bare,
             scram->server_first, (int)without_proof, (const char *)data);
    if (!verify_proof(scram, auth_message, proof, signature) ||
        !crypto_base64_encode(signature, sizeof signature, encoded, sizeof encoded)) {
        error_set(error, "password authentication failed for user \"%s\"", scram->user);
        scram->sqlstate = sqlstate_invalid_password;
        return scram_end(scram);
    }
    snprintf(reply, SCRAM_MESSAGE_MAX, "v=%s", encoded);
    return SCRAM_DONE;
}
