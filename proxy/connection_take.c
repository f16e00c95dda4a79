#include "proxy/connection_take.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <string.h>
#include <unistd.h>

/* libpq's end of the connection says goodbye to the server: with another file in the place of its
 * socket, nobody hears it. */
static bool deafen(int socket) {
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nowhere < 0)
        return false;
    bool done = dup3(nowhere, socket, O_CLOEXEC) >= 0;
    close(nowhere);
    return done;
}

/* Keeps PQfinish() from writing into a TLS connection that lives on. An SSL object that was shut
 * down refuses to write without taking up a record number; a quiet one doesn't send its end. */
static void hold_tls(SSL *ssl) {
    SSL_set_quiet_shutdown(ssl, 1);
    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}

static void release_tls(SSL *ssl) {
    SSL_set_shutdown(ssl, 0);
    SSL_set_quiet_shutdown(ssl, 0);
    SSL_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    ERR_clear_error();
}

static bool fail(PGconn *conn, int fd, const char *what, struct error *error) {
    error_set(error, "the connection can't be taken over: %s: %s", what, strerror(errno));
    PQfinish(conn);
    if (fd >= 0)
        close(fd);
    return false;
}

bool connection_take(PGconn *conn, int *fd, SSL **ssl, struct error *error) {
    int copy = fcntl(PQsocket(conn), F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return fail(conn, copy, "its socket", error);
    SSL *tls = PQsslStruct(conn, "OpenSSL");
    if (tls != NULL && SSL_set_fd(tls, copy) != 1) /* instead of libpq's, which ends with conn */
        return fail(conn, copy, "its TLS", error);
    if (!deafen(PQsocket(conn)))
        return fail(conn, copy, "/dev/null", error);
    if (tls != NULL) {
        SSL_up_ref(tls);
        hold_tls(tls);
    }
    PQfinish(conn);
    if (tls != NULL)
        release_tls(tls);
    *fd = copy;
    *ssl = tls;
    return true;
}
