/* TLS towards clients: the context from certificate, key and CA, and what authentication needs from
 * a connection. */
#ifndef PGINTERLOCK_TLS_H
#define PGINTERLOCK_TLS_H

#include "config/settings.h"

#include <openssl/ssl.h>

/* The context for settings->tls; *out is NULL where TLS is disabled. The error is `FILE:LINE: what
 * is wrong: what to do`. TLS 1.2 at least; client certificates are asked for where `ca` is given,
 * required by verify-ca, verify-full and auth cert. ALPN "postgresql" is accepted. TLS 1.3 sessions
 * may be resumed within an hour and until the next reload, unless client certificates are asked
 * for. */
bool tls_context_new(const struct settings *settings, SSL_CTX **out, struct error *error)
    __attribute__((warn_unused_result));

/* tls-server-end-point (RFC 5929) of the server's certificate: hash of it by its signature's
 * algorithm (MD5 and SHA-1: SHA-256). out has room for EVP_MAX_MD_SIZE; 0: none. */
size_t tls_server_end_point(SSL *ssl, uint8_t *out);

/* Whether the client presented a verified certificate; its common name into `out` (size bytes),
 * false where it has none, has an embedded NUL, or is too long. */
bool tls_client_common_name(SSL *ssl, char *out, size_t size);

#endif
