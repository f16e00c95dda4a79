/* The client's side of a connection until the client is authenticated: encryption requests, the
 * startup message, authentication. Source: PostgreSQL manual, "Message Flow", "Start-up" and "SASL
 * Authentication".
 *
 *   STARTUP → (TLS →) STARTUP … → PASSWORD | MD5 | SASL_FIRST → SASL_FINAL → DONE; any → FAILED
 *                               → CANCELLING → FAILED
 *
 * Lives on the heap for the time of the login; belongs to the session, on the worker's thread. The
 * session hands the client's stream events on by login_on_event() until `done` was called. */
#ifndef PGINTERLOCK_LOGIN_H
#define PGINTERLOCK_LOGIN_H

#include "protocol/startup.h"
#include "proxy/stream.h"
#include "proxy/worker.h"

#include <stdbool.h>
#include <uv.h>

enum login_state {
    LOGIN_STARTUP,        /* waits for the first packet; every kind may come */
    LOGIN_STARTUP_NO_GSS, /* GSSENCRequest was answered 'N' */
    LOGIN_STARTUP_NO_TLS, /* SSLRequest was answered 'N' */
    LOGIN_STARTUP_LAST,   /* no more requests for encryption */
    LOGIN_TLS,            /* handshake under way */
    LOGIN_CANCELLING,     /* it was a cancel request, which is under way; nothing more is due */
    LOGIN_PASSWORD,       /* the password is due */
    LOGIN_MD5,            /* its md5 answer is due */
    LOGIN_SASL_FIRST,     /* SASLInitialResponse is due */
    LOGIN_SASL_FINAL,     /* the last SASLResponse is due */
    LOGIN_DONE,
    LOGIN_FAILED,
    LOGIN_STATES
};

struct cancel_request;
struct scram;

struct login {
    uv_timer_t timer; /* first; login_timeout */
    enum login_state state;
    struct worker *worker;
    struct worker_config *config; /* a reference: the snapshot that the login runs under */
    struct stream *client;        /* borrowed */
    bool is_unix;
    const char *peer; /* borrowed, for the log */
    bool admitted;    /* counted as a client; a successful login's is its owner's to dismiss */
    void (*done)(struct login *login, bool ok);
    void *owner;

    /* What a successful login gives. */
    struct startup startup; /* user, database, parameters; the owner may take it: copy the struct
                               and zero it here */
    int entrypoint;         /* index into config->settings->entrypoints; -1 where `console` */
    bool console;           /* it asked for the console, and may have it */
    char *password;         /* as the client gave it in plain (method password), else NULL; wiped by
                               login_free() */

    struct cancel_request *cancel; /* CANCELLING */
    uint8_t salt[4];               /* MD5: what the answer must be made with */
    struct scram *scram;
};

/* Starts on an open stream whose events the owner hands on. `done` is called once, from
 * login_on_event() or by the loop:
 *
 *     true   AuthenticationOk is queued, not flushed, with nothing after it
 *     false  the owner is to close the stream. The client was told why by a FATAL, which is flushed
 *            (unless it only wanted to cancel, or went away), and the reason is logged.
 *
 * `peer` must live as long as the login. False: the loop gave no timer. */
bool login_start(struct login **out, struct worker *worker, struct stream *client, bool is_unix,
                 const char *peer, void (*done)(struct login *login, bool ok), void *owner,
                 struct error *error) __attribute__((warn_unused_result));

/* Bytes arrived, the TLS handshake ended, or the stream is over. */
void login_on_event(struct login *login) __attribute__((noinline));

/* At any time, also within `done`; the memory lives until the loop has closed the timer. NULL is
 * fine. */
void login_free(struct login *login);

#endif
