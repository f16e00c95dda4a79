#include "proxy/tls.h"

#include "config/file.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

enum { TICKET_SECONDS = 3600 };

static const char *first_reason(void) {
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    return reason != NULL ? reason : "unknown error";
}

/* `FILE:LINE: tls.KEY: PATH WHAT`: what is wrong and what to do. */
static bool fail(const struct settings *settings, const char *key, const char *path,
                 const char *what, struct error *error) {
    char setting[16];
    snprintf(setting, sizeof setting, "%s:", key);
    return error_set(error, "%s:%u: tls.%s: %s %s", settings->path,
                     file_find_line(settings->path, path, setting), key, path, what);
}

/* The same with OpenSSL's reason in the middle. */
static bool fail_format(const struct settings *settings, const char *key, const char *path,
                        const char *what, struct error *error) {
    char text[256];
    snprintf(text, sizeof text, "%s: %s: give it in PEM form", what, first_reason());
    return fail(settings, key, path, text, error);
}

static bool check_readable(const struct settings *settings, const char *key, const char *path,
                           struct error *error) {
    char text[256];
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        snprintf(text, sizeof text,
                 "can't be read: %s: give a file that pginterlock's user may read",
                 strerror(errno));
        return fail(settings, key, path, text, error);
    }
    fclose(file);
    return true;
}

/* OpenSSL would ask for it on the terminal, where nobody sits. */
static int refuse_passphrase(char *buffer, int size, int writing, void *argument) {
    (void)buffer, (void)size, (void)writing;
    *(bool *)argument = true;
    return 0;
}

static bool load_key(SSL_CTX *context, const struct settings *settings, struct error *error) {
    const char *path = settings->tls.key;
    bool encrypted = false;
    SSL_CTX_set_default_passwd_cb(context, refuse_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(context, &encrypted);
    int loaded = SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM);
    SSL_CTX_set_default_passwd_cb_userdata(context, NULL);
    SSL_CTX_set_default_passwd_cb(context, NULL);
    if (loaded == 1 && SSL_CTX_check_private_key(context) == 1)
        return true;
    if (encrypted)
        return fail(settings, "key", path, "is encrypted: give a key without a passphrase", error);
    if (loaded == 1 || ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH)
        return fail(settings, "key", path, "isn't the key of tls.cert: give the certificate's own",
                    error);
    return fail_format(settings, "key", path, "isn't a private key", error);
}

static bool load_identity(SSL_CTX *context, const struct settings *settings, struct error *error) {
    const char *cert = settings->tls.cert;
    if (!check_readable(settings, "cert", cert, error) ||
        !check_readable(settings, "key", settings->tls.key, error))
        return false;
    if (SSL_CTX_use_certificate_chain_file(context, cert) != 1)
        return fail_format(settings, "cert", cert, "isn't a certificate", error);
    return load_key(context, settings, error);
}

/* A client without a certificate is let through the handshake, so that login can refuse it in
 * words. */
static bool load_authorities(SSL_CTX *context, const struct settings *settings,
                             struct error *error) {
    const char *ca = settings->tls.ca;
    if (!check_readable(settings, "ca", ca, error))
        return false;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(ca);
    if (names == NULL || SSL_CTX_load_verify_locations(context, ca, NULL) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return fail_format(settings, "ca", ca, "isn't a file of certificates", error);
    }
    SSL_CTX_set_client_CA_list(context, names);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    return true;
}

/* A client that offers protocols without PostgreSQL's wants to speak something else: it is refused,
 * as in PostgreSQL 17. */
static int select_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_length,
                           const unsigned char *in, unsigned in_length, void *argument) {
    static const unsigned char ours[] = "\x0apostgresql";
    unsigned char *selected;
    (void)ssl, (void)argument;
    if (SSL_select_next_proto(&selected, out_length, ours, sizeof ours - 1, in, in_length) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = selected;
    return SSL_TLSEXT_ERR_OK;
}

/* Called once the version is agreed on. TLS 1.2 resumes without a fresh key exchange: whoever gets
 * hold of the tickets' key could read what was recorded. */
static int refuse_old_tickets(SSL *ssl, void *argument) {
    (void)argument;
    if (SSL_version(ssl) < TLS1_3_VERSION)
        SSL_set_options(ssl, SSL_OP_NO_TICKET);
    return 1;
}

/* A client that comes again may leave out the certificates. Not where it has to show one of its
 * own, which is to be looked at each time. The tickets' key lives as long as the context: a reload
 * ends them. */
static void set_resumption(SSL_CTX *context, bool asks_certificate) {
    static const unsigned char name[] = "pginterlock";
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, asks_certificate ? 0 : 1);
    if (asks_certificate) {
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
        return;
    }
    SSL_CTX_set_timeout(context, TICKET_SECONDS);
    SSL_CTX_set_cert_cb(context, refuse_old_tickets, NULL);
    int taken = SSL_CTX_set_session_id_context(context, name, sizeof name - 1);
    assert(taken == 1); /* only a longer one is refused */
}

static void set_options(SSL_CTX *context) {
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE);
    /* Messages are framed: an end without close_notify is no more than an end. As an error it would
     * keep a client that still reads from its answers. */
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS); /* an idle connection holds no 32 KiB */
    SSL_CTX_set_alpn_select_cb(context, select_protocol, NULL);
}

/* What the mode and the method of authentication ask for beyond what is given. NULL: nothing is
 * missing. */
static const char *find_missing(const struct settings *settings) {
    bool has_cert = settings->tls.cert != NULL, has_key = settings->tls.key != NULL;
    bool by_cert = settings->auth.method == AUTH_CERT;
    if (has_cert != has_key)
        return has_cert ? "cert is given without key: give both"
                        : "key is given without cert: give both";
    if (by_cert && settings->tls.mode == TLS_DISABLE)
        return "auth.method cert needs TLS but mode is disable: set it to require";
    if (!has_cert && (by_cert || settings->tls.mode >= TLS_REQUIRE))
        return "TLS is required but cert and key are missing: give both";
    if (settings->tls.ca == NULL && (by_cert || settings->tls.mode >= TLS_VERIFY_CA))
        return "client certificates are required but ca is missing: give it";
    return NULL;
}

bool tls_context_new(const struct settings *settings, SSL_CTX **out, struct error *error) {
    *out = NULL;
    ERR_clear_error();
    const char *missing = find_missing(settings);
    if (missing != NULL)
        return error_set(error, "%s:%u: tls: %s", settings->path,
                         file_find_line(settings->path, "tls:", "auth:"), missing);
    if (settings->tls.mode == TLS_DISABLE || settings->tls.cert == NULL)
        return true;
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL)
        return error_set(error, "%s: TLS can't be set up: %s", settings->path, first_reason());
    set_options(context);
    set_resumption(context, settings->tls.ca != NULL);
    if (!load_identity(context, settings, error) ||
        (settings->tls.ca != NULL && !load_authorities(context, settings, error))) {
        SSL_CTX_free(context);
        ERR_clear_error();
        return false;
    }
    *out = context;
    return true;
}

size_t tls_server_end_point(SSL *ssl, uint8_t *out) {
    X509 *certificate = SSL_get_certificate(ssl);
    int digest_nid = NID_undef;
    unsigned length = 0;
    if (certificate == NULL ||
        X509_get_signature_info(certificate, &digest_nid, NULL, NULL, NULL) != 1)
        return 0;
    if (digest_nid == NID_md5 || digest_nid == NID_sha1)
        digest_nid = NID_sha256;
    const EVP_MD *digest = EVP_get_digestbynid(digest_nid);
    if (digest == NULL || X509_digest(certificate, digest, out, &length) != 1)
        return 0;
    return length;
}

static bool read_common_name(X509 *certificate, char *out, size_t size) {
    X509_NAME *subject = X509_get_subject_name(certificate);
    int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (index < 0)
        return false;
    unsigned char *text = NULL;
    int length =
        ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
    bool usable = length > 0 && (size_t)length < size && memchr(text, 0, (size_t)length) == NULL;
    if (usable) {
        memcpy(out, text, (size_t)length);
        out[length] = '\0';
    }
    OPENSSL_free(text);
    return usable;
}

bool tls_client_common_name(SSL *ssl, char *out, size_t size) {
    X509 *certificate = SSL_get1_peer_certificate(ssl);
    if (certificate == NULL)
        return false;
    bool usable =
        SSL_get_verify_result(ssl) == X509_V_OK && read_common_name(certificate, out, size);
    X509_free(certificate);
    return usable;
}
