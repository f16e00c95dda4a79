#include "proxy/login_auth.h"

#include "config/alloc.h"
#include "protocol/scram.h"
#include "protocol/scram_keys.h"
#include "proxy/tls.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

/* Codes of the 'R' message. */
enum {
    REQUEST_CLEARTEXT = 3,
    REQUEST_MD5 = 5,
    REQUEST_SASL = 10,
    REQUEST_SASL_CONTINUE = 11,
    REQUEST_SASL_FINAL = 12,
};

static bool random_bytes(void *out, size_t length) {
    return RAND_bytes(out, (int)length) == 1;
}

static const struct user *find_user(const struct login *login) {
    return settings_find_user(login->config->settings, login->startup.user);
}

/* An 'R' message with what follows its code; `flush`: the client has to answer it. */
static void send_request(struct login *login, uint32_t code, const void *data, size_t length,
                         bool flush) {
    struct wire_buffer buffer = {0};
    size_t mark = message_begin(&buffer, 'R');
    message_put_u32(&buffer, code);
    wire_append(&buffer, data, length);
    message_end(&buffer, mark);
    stream_send(login->client, buffer.data, buffer.length);
    wire_buffer_close(&buffer);
    if (flush)
        stream_flush(login->client);
}

/* The same words for an unknown user as for a wrong password; the log knows which. */
static enum login_state refuse_password(struct login *login, const char *reason) {
    char message[256];
    snprintf(message, sizeof message, "password authentication failed for user \"%s\"",
             login->startup.user);
    return login_refuse(login, "28P01", message, NULL, reason);
}

static enum login_state refuse_protocol(struct login *login, const char *message) {
    return login_refuse(login, "08P01", message, NULL, NULL);
}

static enum login_state start_sasl(struct login *login) {
    static const char plus[] = "SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0";
    static const char plain[] = "SCRAM-SHA-256\0";
    uint8_t hash[EVP_MAX_MD_SIZE];
    SSL *ssl = login->client->ssl;
    size_t hash_length = ssl != NULL ? tls_server_end_point(ssl, hash) : 0;
    const struct user *user = find_user(login);
    login->scram = scram_new(login->startup.user, user != NULL ? user->secret : NULL,
                             scram_keys_find(login->config->scram_keys, login->startup.user),
                             hash_length > 0 ? hash : NULL, hash_length, random_bytes);
    if (hash_length > 0)
        send_request(login, REQUEST_SASL, plus, sizeof plus, true);
    else
        send_request(login, REQUEST_SASL, plain, sizeof plain, true);
    return LOGIN_SASL_FIRST;
}

static enum login_state start_md5(struct login *login) {
    const struct user *user = find_user(login);
    if (user != NULL && secret_is_scram(user->secret))
        return start_sasl(
            login); /* as PostgreSQL and PgBouncer do: nothing else can check a verifier */
    if (!random_bytes(login->salt, sizeof login->salt))
        return login_refuse(login, "XX000", "could not generate random MD5 salt", NULL, NULL);
    send_request(login, REQUEST_MD5, login->salt, sizeof login->salt, true);
    return LOGIN_MD5;
}

static enum login_state start_cert(struct login *login) {
    char name[256], message[256];
    if (login->client->ssl == NULL ||
        !tls_client_common_name(login->client->ssl, name, sizeof name))
        return login_refuse(login, "28000", "connection requires a valid client certificate", NULL,
                            NULL);
    if (strcmp(name, login->startup.user) == 0)
        return login_accept(login);
    snprintf(message, sizeof message, "certificate authentication failed for user \"%s\"",
             login->startup.user);
    return login_refuse(login, "28000", message, NULL,
                        "the certificate's common name isn't the user's name");
}

enum login_state login_auth_start(struct login *login) {
    switch (login->config->settings->auth.method) {
    case AUTH_TRUST:
        return login_accept(login);
    case AUTH_PASSWORD:
        send_request(login, REQUEST_CLEARTEXT, NULL, 0, true);
        return LOGIN_PASSWORD;
    case AUTH_MD5:
        return start_md5(login);
    case AUTH_SCRAM_SHA_256:
        return start_sasl(login);
    case AUTH_CERT:
        return start_cert(login);
    }
    return login_refuse(login, "XX000", "unknown method of authentication", NULL, NULL);
}

/* The password or md5 answer: one string that fills the body. NULL: refused, *state is what
 * follows. */
static const char *read_password(struct login *login, const uint8_t *body, size_t length,
                                 enum login_state *state) {
    if (length == 0 || memchr(body, 0, length) != body + length - 1) {
        *state = refuse_protocol(login, "invalid password packet size");
        return NULL;
    }
    if (length == 1) {
        *state = login_refuse(login, "28P01", "empty password returned by client", NULL, NULL);
        return NULL;
    }
    return (const char *)body;
}

enum login_state login_auth_password(struct login *login, const uint8_t *body, size_t length) {
    enum login_state state = LOGIN_FAILED;
    const char *password = read_password(login, body, length, &state);
    if (password == NULL)
        return state;
    const struct user *user = find_user(login);
    if (user == NULL)
        return refuse_password(login, "the user isn't in auth.users");
    if (!password_matches_plain(user->name, user->secret, password))
        return refuse_password(login, "the password doesn't match");
    login->password = alloc_text(password);
    return login_accept(login);
}

enum login_state login_auth_md5(struct login *login, const uint8_t *body, size_t length) {
    enum login_state state = LOGIN_FAILED;
    const char *answer = read_password(login, body, length, &state);
    if (answer == NULL)
        return state;
    const struct user *user = find_user(login);
    if (user == NULL)
        return refuse_password(login, "the user isn't in auth.users");
    if (!password_matches_md5(user->name, user->secret, login->salt, answer))
        return refuse_password(login, "the password doesn't match");
    return login_accept(login);
}

/* Why a SCRAM exchange could not succeed, for the log; the client learns none of it. */
static const char *sasl_failure(const struct login *login) {
    const struct user *user = find_user(login);
    if (user == NULL)
        return "the user isn't in auth.users";
    if (secret_is_md5(user->secret))
        return "the user's secret in auth.users is an md5 one, which SCRAM can't check";
    return "the password doesn't match";
}

/* What a step of the exchange leads to; CONTINUE to `next`. What is wrong with the exchange itself,
 * such as a channel binding that somebody has cut out, is told in PostgreSQL's words. */
static enum login_state sasl_result(struct login *login, enum scram_result result,
                                    const char *reply, enum login_state next,
                                    const struct error *error) {
    switch (result) {
    case SCRAM_CONTINUE:
        send_request(login, REQUEST_SASL_CONTINUE, reply, strlen(reply), true);
        return next;
    case SCRAM_DONE:
        send_request(login, REQUEST_SASL_FINAL, reply, strlen(reply), false);
        return login_accept(login);
    case SCRAM_FAILED:
    case SCRAM_MALFORMED:
        break;
    }
    const char *sqlstate = scram_sqlstate(login->scram);
    if (strcmp(sqlstate, "28P01") == 0)
        return refuse_password(login, sasl_failure(login));
    return login_refuse(login, sqlstate, error->text, NULL, NULL);
}

enum login_state login_auth_sasl_first(struct login *login, const uint8_t *body, size_t length) {
    const uint8_t *end = length > 0 ? memchr(body, 0, length) : NULL;
    if (end == NULL || (size_t)(body + length - end) < 1 + 4)
        return refuse_protocol(login, "invalid SASLInitialResponse message");
    const uint8_t *data = end + 1 + 4;
    size_t data_length = (size_t)(body + length - data);
    if (wire_get_u32(end + 1) != data_length)
        return refuse_protocol(login,
                               "invalid SASLInitialResponse message: its length field is wrong");
    char reply[SCRAM_MESSAGE_MAX];
    struct error error = {{0}};
    enum scram_result result =
        scram_first(login->scram, (const char *)body, data, data_length, reply, &error);
    return sasl_result(login, result, reply, LOGIN_SASL_FINAL, &error);
}

enum login_state login_auth_sasl_final(struct login *login, const uint8_t *body, size_t length) {
    char reply[SCRAM_MESSAGE_MAX];
    struct error error = {{0}};
    enum scram_result result = scram_final(login->scram, body, length, reply, &error);
    if (result == SCRAM_CONTINUE)
        return refuse_protocol(login, "SASL exchange goes on after its end");
    return sasl_result(login, result, reply, LOGIN_FAILED, &error);
}
