/* Takes a connection out of libpq's hands once it is made: its socket and its TLS, without the
 * PGconn, whose buffers take 32 KiB. The server doesn't notice. One thread at a time. */
#ifndef PGINTERLOCK_CONNECTION_TAKE_H
#define PGINTERLOCK_CONNECTION_TAKE_H

#include "config/error.h"

#include <libpq-fe.h>
#include <openssl/ssl.h>
#include <stdbool.h>

/* `conn`: connected and idle; it is finished in any case. On success the caller owns the socket
 * *fd and the TLS connection *ssl on it (NULL: none). On failure the server's session has ended. */
bool connection_take(PGconn *conn, int *fd, SSL **ssl, struct error *error)
    __attribute__((warn_unused_result));

#endif
