#include "protocol/scram.h"

#include "protocol/crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* RFC 7677, section 3: user "user", password "pencil". */
static const char rfc_verifier[] = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
                                   "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
                                   "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
static const char rfc_client_first[] = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
static const char rfc_server_first[] =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
#define RFC_FINAL_BARE "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define RFC_PROOF "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="

static const uint8_t certificate_hash[32] = {0xde, 0xad, 0xbe, 0xef};

static bool rfc_random(void *out, size_t length) {
    static const char nonce[] = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    assert_int_equal(length, sizeof nonce - 1);
    memcpy(out, nonce, length);
    return true;
}

static bool failing_random(void *out, size_t length) {
    (void)out;
    (void)length;
    return false;
}

static bool extreme_random(void *out, size_t length) {
    for (size_t i = 0; i < length; i++)
        ((uint8_t *)out)[i] = (uint8_t)(i * 37 + ',');
    return true;
}

static struct scram *rfc_scram(void) {
    return scram_new("user", rfc_verifier, NULL, NULL, 0, rfc_random);
}

static enum scram_result first(struct scram *scram, const char *mechanism, const char *text,
                               char *reply, struct error *error) {
    return scram_first(scram, mechanism, (const uint8_t *)text, strlen(text), reply, error);
}

static enum scram_result final(struct scram *scram, const char *text, char *reply,
                               struct error *error) {
    return scram_final(scram, (const uint8_t *)text, strlen(text), reply, error);
}

static void test_the_exchange_of_rfc_7677_succeeds(void **state) {
    (void)state;
    struct scram *scram = rfc_scram();
    char reply[SCRAM_MESSAGE_MAX];
    struct error error;
    assert_int_equal(first(scram, "SCRAM-SHA-256", rfc_client_first, reply, &error),
                     SCRAM_CONTINUE);
    assert_string_equal(reply, rfc_server_first);
    assert_int_equal(final(scram, RFC_FINAL_BARE ",p=" RFC_PROOF, reply, &error), SCRAM_DONE);
    assert_string_equal(reply, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    scram_free(scram);
}

/* The result of `text` as client-first-message, on a connection with or without TLS. */
static enum scram_result result_of_first(const char *mechanism, bool tls, const char *text,
                                         struct error *error) {
    struct scram *scram = scram_new("user", rfc_verifier, NULL, tls ? certificate_hash : NULL,
                                    tls ? sizeof certificate_hash : 0, rfc_random);
    char reply[SCRAM_MESSAGE_MAX];
    enum scram_result result = first(scram, mechanism, text, reply, error);
    if (result == SCRAM_FAILED)
        assert_string_equal(scram_sqlstate(scram), "28000");
    scram_free(scram);
    return result;
}

static void test_a_malformed_first_message_is_told_in_the_servers_words(void **state) {
    (void)state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"", "malformed SCRAM message: The message is empty."},
        {"x,,n=,r=a", "malformed SCRAM message: Unexpected channel-binding flag \"'x'\"."},
        {"n", "malformed SCRAM message: Comma expected, but found character \"0x00\"."},
        {"n,a=x,n=,r=a", "client uses authorization identity, but it is not supported"},
        {"n,b,n=,r=a",
         "malformed SCRAM message: Unexpected attribute \"'b'\" in client-first-message."},
        {"n,,m=x,n=,r=a", "client requires an unsupported SCRAM extension"},
        {"n,,n=,r=a,m=x", "client requires an unsupported SCRAM extension"},
        {"n,,r=a", "malformed SCRAM message: Expected attribute \"n\" but found \"'r'\"."},
        {"n,,n", "malformed SCRAM message: Expected character \"=\" for attribute \"n\"."},
        {"n,,n=u", "malformed SCRAM message: Expected attribute \"r\" but found \"0x00\"."},
        {"n,,n=,r=a b", "non-printable characters in SCRAM nonce"},
        {"n,,n=,r=\xc3\xa9", "non-printable characters in SCRAM nonce"},
        {"n,,n=,r=a,=x", "malformed SCRAM message: Attribute expected, but found invalid "
                         "character \"'='\"."},
        {"p=tls-server-end-point,,n=,r=a",
         "malformed SCRAM message: The client selected SCRAM-SHA-256 without channel binding, but "
         "the SCRAM message includes channel binding data."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error error;
        assert_int_equal(result_of_first("SCRAM-SHA-256", false, cases[i].text, &error),
                         SCRAM_MALFORMED);
        assert_string_equal(error.text, cases[i].error);
    }
}

static void test_an_extension_after_the_nonce_is_ignored(void **state) {
    (void)state;
    struct error error;
    assert_int_equal(result_of_first("SCRAM-SHA-256", false, "n,,n=,r=a,z=1,y=2", &error),
                     SCRAM_CONTINUE);
}

static void test_first_messages_cut_at_any_byte_never_pass_for_another(void **state) {
    (void)state;
    for (size_t length = 0; length < strlen("n,,n=user,r="); length++) {
        char text[sizeof rfc_client_first];
        struct error error;
        snprintf(text, sizeof text, "%.*s", (int)length, rfc_client_first);
        assert_int_equal(result_of_first("SCRAM-SHA-256", false, text, &error), SCRAM_MALFORMED);
    }
}

static void test_an_embedded_nul_or_an_overlong_message_is_malformed(void **state) {
    (void)state;
    char reply[SCRAM_MESSAGE_MAX], text[1025];
    struct error error;
    struct scram *scram = rfc_scram();
    assert_int_equal(
        scram_first(scram, "SCRAM-SHA-256", (const uint8_t *)"n,,n=,r=\0a", 10, reply, &error),
        SCRAM_MALFORMED);
    scram_free(scram);
    memset(text, 'a', sizeof text);
    memcpy(text, "n,,n=,r=", 8);
    scram = rfc_scram();
    assert_int_equal(
        scram_first(scram, "SCRAM-SHA-256", (const uint8_t *)text, sizeof text, reply, &error),
        SCRAM_MALFORMED);
    scram_free(scram);
    scram = rfc_scram();
    assert_int_equal(
        scram_first(scram, "SCRAM-SHA-256", (const uint8_t *)text, sizeof text - 1, reply, &error),
        SCRAM_CONTINUE);
    assert_string_equal(reply + strlen(reply) - 7, ",i=4096");
    scram_free(scram);
}

static void test_mechanisms_that_were_not_offered_are_refused(void **state) {
    (void)state;
    struct error error;
    assert_int_equal(result_of_first("SCRAM-SHA-1", true, rfc_client_first, &error),
                     SCRAM_MALFORMED);
    assert_string_equal(error.text, "client selected an invalid SASL authentication mechanism");
    assert_int_equal(
        result_of_first("SCRAM-SHA-256-PLUS", false, "p=tls-server-end-point,,n=,r=a", &error),
        SCRAM_MALFORMED);
}

static void test_a_client_that_saw_no_plus_where_it_was_offered_is_refused(void **state) {
    (void)state;
    struct error error;
    assert_int_equal(result_of_first("SCRAM-SHA-256", true, "y,,n=,r=a", &error), SCRAM_FAILED);
    assert_int_equal(result_of_first("SCRAM-SHA-256", false, "y,,n=,r=a", &error), SCRAM_CONTINUE);
    assert_int_equal(result_of_first("SCRAM-SHA-256", true, "n,,n=,r=a", &error), SCRAM_CONTINUE);
}

static void test_plus_wants_the_binding_that_is_known(void **state) {
    (void)state;
    struct error error;
    const char *plus = "SCRAM-SHA-256-PLUS";
    assert_int_equal(result_of_first(plus, true, "n,,n=,r=a", &error), SCRAM_MALFORMED);
    assert_int_equal(result_of_first(plus, true, "y,,n=,r=a", &error), SCRAM_MALFORMED);
    assert_int_equal(result_of_first(plus, true, "p=tls-unique,,n=,r=a", &error), SCRAM_MALFORMED);
    assert_string_equal(error.text, "unsupported SCRAM channel-binding type \"tls-unique\"");
}

/* The result of `text` as client-final-message after RFC 7677's first one. */
static enum scram_result result_of_final(const char *text, struct error *error) {
    struct scram *scram = rfc_scram();
    char reply[SCRAM_MESSAGE_MAX];
    assert_int_equal(first(scram, "SCRAM-SHA-256", rfc_client_first, reply, error), SCRAM_CONTINUE);
    enum scram_result result = final(scram, text, reply, error);
    assert_string_equal(reply, "");
    assert_string_equal(scram_sqlstate(scram), result == SCRAM_FAILED ? "28P01"
                                               : strstr(text, ",m=")  ? "0A000"
                                                                      : "08P01");
    assert_int_equal(final(scram, RFC_FINAL_BARE ",p=" RFC_PROOF, reply, &(struct error){0}),
                     SCRAM_MALFORMED); /* one try only */
    scram_free(scram);
    return result;
}

static void test_a_malformed_final_message_is_told_in_the_servers_words(void **state) {
    (void)state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"", "malformed SCRAM message: The message is empty."},
        {"c=eSws,r=x,p=" RFC_PROOF,
         "unexpected SCRAM channel-binding attribute in client-final-message"},
        {RFC_FINAL_BARE, "malformed SCRAM message: Attribute expected, but found end of string."},
        {RFC_FINAL_BARE ",m=x,p=" RFC_PROOF, "client requires an unsupported SCRAM extension"},
        {RFC_FINAL_BARE ",p=" RFC_PROOF ",x=y",
         "malformed SCRAM message: Garbage found at the end of client-final-message."},
        {RFC_FINAL_BARE ",p=AAAA",
         "malformed SCRAM message: Malformed proof in client-final-message."},
        {RFC_FINAL_BARE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVR=",
         "malformed SCRAM message: Malformed proof in client-final-message."},
        {RFC_FINAL_BARE ",p= dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ",
         "malformed SCRAM message: Malformed proof in client-final-message."},
        {RFC_FINAL_BARE "x,p=" RFC_PROOF, "invalid SCRAM response: Nonce does not match."},
        {"c=biws,r=rOprNGfwEbeRWgbNEkqO,p=" RFC_PROOF,
         "invalid SCRAM response: Nonce does not match."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error error;
        assert_int_equal(result_of_final(cases[i].text, &error), SCRAM_MALFORMED);
        assert_string_equal(error.text, cases[i].error);
    }
}

static void test_a_wrong_proof_is_a_wrong_password(void **state) {
    (void)state;
    struct error error;
    assert_int_equal(result_of_final(RFC_FINAL_BARE ",z=ignored,p=" RFC_PROOF, &error),
                     SCRAM_FAILED); /* the proof covers the extension too */
    assert_string_equal(error.text, "password authentication failed for user \"user\"");
}

static void test_a_final_message_cannot_come_first(void **state) {
    (void)state;
    struct scram *scram = rfc_scram();
    char reply[SCRAM_MESSAGE_MAX];
    struct error error;
    assert_int_equal(final(scram, RFC_FINAL_BARE ",p=" RFC_PROOF, reply, &error), SCRAM_MALFORMED);
    scram_free(scram);
}

static void test_a_client_may_wait_to_be_asked_for_its_first_message(void **state) {
    (void)state;
    struct scram *scram = rfc_scram();
    char reply[SCRAM_MESSAGE_MAX];
    struct error error;
    assert_int_equal(scram_first(scram, "SCRAM-SHA-256", NULL, 0, reply, &error), SCRAM_CONTINUE);
    assert_string_equal(reply, "");
    assert_int_equal(first(scram, "SCRAM-SHA-256", rfc_client_first, reply, &error),
                     SCRAM_CONTINUE);
    assert_string_equal(reply, rfc_server_first);
    scram_free(scram);
}

static void test_without_randomness_nobody_gets_in(void **state) {
    (void)state;
    struct scram *scram = scram_new("user", rfc_verifier, NULL, NULL, 0, failing_random);
    char reply[SCRAM_MESSAGE_MAX];
    struct error error;
    assert_int_equal(first(scram, "SCRAM-SHA-256", rfc_client_first, reply, &error), SCRAM_FAILED);
    assert_string_equal(error.text, "could not generate random nonce");
    assert_string_equal(scram_sqlstate(scram), "XX000");
    scram_free(scram);
}

static void test_any_random_bytes_give_a_printable_nonce(void **state) {
    (void)state;
    struct scram *scram = scram_new("user", rfc_verifier, NULL, NULL, 0, extreme_random);
    char reply[SCRAM_MESSAGE_MAX];
    struct error error;
    assert_int_equal(first(scram, "SCRAM-SHA-256", "n,,n=,r=", reply, &error), SCRAM_CONTINUE);
    assert_int_equal(strcspn(reply, ","), 2 + 30);
    for (const char *c = reply; *c; c++)
        assert_in_range(*c, 0x21, 0x7e);
    scram_free(scram);
}

/* -- a client, for passwords that RFC 7677 has no vector for ----------------------------------- */

static void client_prove(const char *password, const char *server_first, const char *auth_message,
                         uint8_t proof[CRYPTO_KEY]) {
    uint8_t salt[64], salted[CRYPTO_KEY], key[CRYPTO_KEY], stored[CRYPTO_KEY];
    size_t salt_length;
    const char *text = strstr(server_first, ",s=") + 3;
    assert_true(crypto_base64_decode(text, strcspn(text, ","), salt, sizeof salt, &salt_length));
    assert_true(crypto_salted_password(password, salt, salt_length, 4096, salted));
    assert_true(crypto_hmac(salted, "Client Key", 10, key));
    assert_true(crypto_sha256(key, sizeof key, stored));
    assert_true(crypto_hmac(stored, auth_message, strlen(auth_message), proof));
    for (size_t i = 0; i < CRYPTO_KEY; i++)
        proof[i] ^= key[i];
}

struct attempt {
    const char *user, *secret, *password, *mechanism, *gs2_header;
    const uint8_t *server_hash; /* what the server has, and what the client sees; NULL: no TLS */
    const uint8_t *client_hash;
};

/* Goes through the exchange and leaves server-first-message. */
static enum scram_result attempt_run(const struct attempt *attempt, char *server_first) {
    struct scram *scram = scram_new(attempt->user, attempt->secret, NULL, attempt->server_hash,
                                    attempt->server_hash ? 32 : 0, NULL);
    char message[512], bare[768], auth_message[3000], binding[128], reply[SCRAM_MESSAGE_MAX];
    uint8_t data[128], proof[CRYPTO_KEY];
    struct error error;
    snprintf(message, sizeof message, "%sn=,r=abcdef", attempt->gs2_header);
    assert_int_equal(first(scram, attempt->mechanism, message, server_first, &error),
                     SCRAM_CONTINUE);
    size_t length = strlen(attempt->gs2_header);
    memcpy(data, attempt->gs2_header, length);
    if (attempt->client_hash) {
        memcpy(data + length, attempt->client_hash, 32);
        length += 32;
    }
    assert_true(crypto_base64_encode(data, length, binding, sizeof binding));
    snprintf(bare, sizeof bare, "c=%s,%.*s", binding, (int)strcspn(server_first, ","),
             server_first);
    snprintf(auth_message, sizeof auth_message, "n=,r=abcdef,%s,%s", server_first, bare);
    client_prove(attempt->password, server_first, auth_message, proof);
    assert_true(crypto_base64_encode(proof, sizeof proof, binding, sizeof binding));
    snprintf(auth_message, sizeof auth_message, "%s,p=%s", bare, binding);
    enum scram_result result = final(scram, auth_message, reply, &error);
    scram_free(scram);
    return result;
}

static enum scram_result log_in(const char *secret, const char *password) {
    char server_first[SCRAM_MESSAGE_MAX];
    return attempt_run(&(struct attempt){.user = "user",
                                         .secret = secret,
                                         .password = password,
                                         .mechanism = "SCRAM-SHA-256",
                                         .gs2_header = "n,,"},
                       server_first);
}

static void test_a_plain_secret_lets_in_who_knows_it(void **state) {
    (void)state;
    assert_int_equal(log_in("secret", "secret"), SCRAM_DONE);
    assert_int_equal(log_in("secret", "Secret"), SCRAM_FAILED);
    assert_int_equal(log_in("p\xc3\xa4ss", "p\xc3\xa4ss"), SCRAM_DONE);
}

static void test_unknown_users_md5_and_empty_secrets_always_fail(void **state) {
    (void)state;
    assert_int_equal(log_in(NULL, "mock"), SCRAM_FAILED);
    assert_int_equal(log_in("", ""), SCRAM_FAILED);
    assert_int_equal(log_in("", "mock"), SCRAM_FAILED);
    assert_int_equal(log_in("md520c46e3762c864548e296b33c3406aa9", "pencil"), SCRAM_FAILED);
    assert_int_equal(log_in(rfc_verifier, "pencil"), SCRAM_DONE);
    assert_int_equal(log_in(rfc_verifier, rfc_verifier), SCRAM_FAILED);
}

static void salt_of(const char *user, const char *secret, char *out, size_t size) {
    char server_first[SCRAM_MESSAGE_MAX];
    attempt_run(&(struct attempt){.user = user,
                                  .secret = secret,
                                  .password = "x",
                                  .mechanism = "SCRAM-SHA-256",
                                  .gs2_header = "n,,"},
                server_first);
    snprintf(out, size, "%s", strstr(server_first, ",s="));
}

static void test_salts_do_not_tell_unknown_users_from_known_ones(void **state) {
    (void)state;
    char known[128], again[128], unknown[128], other[128];
    salt_of("user", "secret", known, sizeof known);
    salt_of("user", "secret", again, sizeof again);
    salt_of("user", NULL, unknown, sizeof unknown);
    salt_of("other", NULL, other, sizeof other);
    assert_string_equal(known, again);
    assert_string_equal(known, unknown);
    assert_string_not_equal(unknown, other);
    assert_int_equal(strlen(known), strlen(",s=") + 24 + strlen(",i=4096"));
}

static void test_plus_binds_to_the_servers_certificate(void **state) {
    (void)state;
    static const uint8_t other_hash[32] = {1};
    char server_first[SCRAM_MESSAGE_MAX];
    struct attempt attempt = {.user = "user",
                              .secret = "secret",
                              .password = "secret",
                              .mechanism = "SCRAM-SHA-256-PLUS",
                              .gs2_header = "p=tls-server-end-point,,",
                              .server_hash = certificate_hash,
                              .client_hash = certificate_hash};
    assert_int_equal(attempt_run(&attempt, server_first), SCRAM_DONE);
    attempt.client_hash = other_hash;
    assert_int_equal(attempt_run(&attempt, server_first), SCRAM_FAILED);
}

/* -- the other methods ------------------------------------------------------------------------- */

static const char md5_secret[] = "md520c46e3762c864548e296b33c3406aa9";

static void test_a_clear_text_password_matches_each_form_of_secret(void **state) {
    (void)state;
    const char *secrets[] = {"pencil", md5_secret, rfc_verifier};
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        assert_true(password_matches_plain("user", secrets[i], "pencil"));
        assert_false(password_matches_plain("user", secrets[i], "pencils"));
        assert_false(password_matches_plain("user", secrets[i], ""));
    }
    assert_false(password_matches_plain("user", md5_secret, md5_secret));
    assert_false(password_matches_plain("user", rfc_verifier, rfc_verifier));
    assert_false(password_matches_plain("other", md5_secret, "pencil"));
    assert_false(password_matches_plain("user", NULL, "pencil"));
    assert_false(password_matches_plain("user", "", ""));
}

static void test_an_md5_answer_matches_plain_and_md5_secrets(void **state) {
    (void)state;
    const uint8_t salt[4] = {1, 2, 3, 0};
    const char *answer = "md52c299df2ac3860b43b40db7b74bda720";
    assert_true(password_matches_md5("user", "pencil", salt, answer));
    assert_true(password_matches_md5("user", md5_secret, salt, answer));
    assert_false(password_matches_md5("user", "pencils", salt, answer));
    assert_false(password_matches_md5("other", "pencil", salt, answer));
    assert_false(password_matches_md5("user", rfc_verifier, salt, answer));
    assert_false(password_matches_md5("user", NULL, salt, answer));
    assert_false(password_matches_md5("user", "pencil", salt, ""));
    assert_false(password_matches_md5("user", "pencil", salt, answer + 3));
    assert_false(password_matches_md5("user", "pencil", (const uint8_t *)"\1\2\3\4", answer));
}

static void test_the_forms_of_a_secret_are_told_apart(void **state) {
    (void)state;
    assert_true(secret_is_md5(md5_secret));
    assert_false(secret_is_md5("md5"));
    assert_false(secret_is_md5("md520C46e3762c864548e296b33c3406aa9"));
    assert_false(secret_is_md5(NULL));
    assert_true(secret_is_scram(rfc_verifier));
    assert_false(secret_is_scram(NULL));
    const char *almost[] = {
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$0:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "SCRAM-SHA-256$99999999999:W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d:wfPL",
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=",
    };
    for (size_t i = 0; i < sizeof almost / sizeof *almost; i++)
        assert_false(secret_is_scram(almost[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_exchange_of_rfc_7677_succeeds),
        cmocka_unit_test(test_a_malformed_first_message_is_told_in_the_servers_words),
        cmocka_unit_test(test_an_extension_after_the_nonce_is_ignored),
        cmocka_unit_test(test_first_messages_cut_at_any_byte_never_pass_for_another),
        cmocka_unit_test(test_an_embedded_nul_or_an_overlong_message_is_malformed),
        cmocka_unit_test(test_mechanisms_that_were_not_offered_are_refused),
        cmocka_unit_test(test_a_client_that_saw_no_plus_where_it_was_offered_is_refused),
        cmocka_unit_test(test_plus_wants_the_binding_that_is_known),
        cmocka_unit_test(test_a_malformed_final_message_is_told_in_the_servers_words),
        cmocka_unit_test(test_a_wrong_proof_is_a_wrong_password),
        cmocka_unit_test(test_a_final_message_cannot_come_first),
        cmocka_unit_test(test_a_client_may_wait_to_be_asked_for_its_first_message),
        cmocka_unit_test(test_without_randomness_nobody_gets_in),
        cmocka_unit_test(test_any_random_bytes_give_a_printable_nonce),
        cmocka_unit_test(test_a_plain_secret_lets_in_who_knows_it),
        cmocka_unit_test(test_unknown_users_md5_and_empty_secrets_always_fail),
        cmocka_unit_test(test_salts_do_not_tell_unknown_users_from_known_ones),
        cmocka_unit_test(test_plus_binds_to_the_servers_certificate),
        cmocka_unit_test(test_a_clear_text_password_matches_each_form_of_secret),
        cmocka_unit_test(test_an_md5_answer_matches_plain_and_md5_secrets),
        cmocka_unit_test(test_the_forms_of_a_secret_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
