/* A worker: one event loop on its own thread, with the clients that it was given for life, their
 * links and a router. Nothing on the way of a statement is shared between workers; what goes from
 * one to another (a new client, a reload, a cancel request, the order to stop) goes through the
 * worker's mailbox, which only these functions touch.
 *
 * Functions marked [any thread] may be called on every thread, the others only on the worker's. */
#ifndef PGINTERLOCK_WORKER_H
#define PGINTERLOCK_WORKER_H

#include "config/settings.h"
#include "proxy/cancel_keys.h"
#include "proxy/figures.h"
#include "proxy/log.h"
#include "proxy/mailbox.h"
#include "proxy/stream.h"
#include "proxy/violations.h"
#include "routing/object_names.h"
#include "routing/router.h"

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct cancel_attempt;
struct parameter_store;
struct pools;
struct scram_keys;
struct session;
struct shared_statements;

/* All workers of the process; fixed after start. */
struct workers {
    struct worker **list;
    size_t count;
    struct log *log;
    atomic_uint_fast64_t structure; /* how often tables were seen to change */
    atomic_uint_fast64_t defaults;  /* how often that happened to what connections begin with */
    atomic_size_t client_count;     /* admitted clients */
    struct mailbox *main;           /* the main thread's; its owner is the process */
    /* Has the process read its settings anew, on the main thread. False: the old ones stay. */
    bool (*reload)(void *process, struct error *error);
};

/* A settings snapshot with what is derived from it: a TLS context and, on each worker, a router and
 * the catalogs' answers. Reference counted within one thread; sessions keep the one they run under.
 */
struct worker_config {
    const struct settings *settings; /* one reference */
    SSL_CTX *tls;                    /* one reference; NULL: no TLS */
    struct scram_keys *scram_keys;   /* one reference; NULL: no user needs any */
    struct router *router;
    struct object_names *objects; /* of indexes, sequences and the like */
    struct read_code *read_code;  /* by physical database */
    unsigned references;
};

/* Statements that ran SQL which the classifier could not see. */
struct dynamic_count {
    uint64_t total, told; /* … of which the log was told */
    uint64_t told_at;     /* loop time, milliseconds */
};

/* A walk over the sessions of a worker that may pause. Sessions that come meanwhile are not
 * visited, nor are those that end. */
struct session_walk {
    struct session_walk *next;
    struct session *at; /* the next to be visited; NULL: the end */
};

struct worker {
    uv_loop_t loop;
    unsigned index;
    struct workers *workers;
    struct log *log;
    struct buffer_pool *buffers;
    struct parameter_store *parameters;   /* of its sessions and links */
    struct pools *pools;                  /* connections that sessions take turns with */
    struct shared_statements *statements; /* …and the statements prepared there */
    uint64_t last_statement, last_client; /* serial numbers */
    uint64_t last_sequences;      /* serial number of sessions' claims on sequences; made… */
    bool asks_sequences;          /* …since some client has asked for currval() or lastval() */
    uv_timer_t clock;             /* for limits of clients' idleness */
    struct worker_config *config; /* for new sessions, and for old ones where they can follow */
    struct session *sessions;     /* doubly linked */
    struct session_walk *walks;   /* over them */
    struct cancel_keys cancel_keys;
    struct cancel_attempt *cancels; /* requests on their way to servers, see link_cancel.h */
    struct violations *violations;
    struct figures figures;
    int today;     /* since 1970-01-01, UTC: for the sessions' allowlist */
    bool draining; /* SIGTERM was received: sessions end when they are idle */
    bool stopping;
    atomic_size_t client_count;
    struct dynamic_count dynamic;

    pthread_t thread;
    struct mailbox mailbox;
    uv_timer_t drain_timer, violations_timer, day_timer, end_timer;
    bool unfinished; /* its loop has ended while libuv's threads still worked for it */
};

/* Starts `count` workers on threads with 256 MiB stacks (parsing is recursive). [any thread] */
bool workers_start(struct workers *workers, size_t count, struct log *log,
                   const struct settings *settings, SSL_CTX *tls, struct scram_keys *keys,
                   struct error *error) __attribute__((warn_unused_result));

/* Gives an accepted, non-blocking socket to the worker. `peer` is for the log ("127.0.0.1:5000",
 * "unix"), and copied. `is_unix`: a Unix socket, where TLS is not offered. [any thread] */
void worker_adopt_client(struct worker *worker, int fd, bool is_unix, const char *peer);
size_t worker_client_count(const struct worker *worker); /* [any thread] */

/* Counts one more client that asks to be let in, unless all workers together have `most` (0: no
 * limit). An admitted client must be dismissed when it is gone. [any thread] */
bool workers_admit_client(struct workers *workers, size_t most) __attribute__((warn_unused_result));
void workers_dismiss_client(struct workers *workers);

/* A new snapshot for every worker; takes references of its own on all three. [any thread] */
void workers_set_settings(struct workers *workers, const struct settings *settings, SSL_CTX *tls,
                          struct scram_keys *keys);

/* Reopens files, which may have been renamed. [any thread] */
void workers_reopen(struct workers *workers);

/* Idle sessions end now, others when their transaction ends, all after `seconds`. [any thread] */
void workers_drain(struct workers *workers, unsigned seconds);
/* Waits until every worker has ended. False: threads of libuv are still busy, so that everything
 * they may use has to stay; the process can then only be left by _exit(). [any thread] */
bool workers_join(struct workers *workers);

/* The walk belongs to the caller, who must end it before freeing it; or the worker's end does. */
void worker_begin_walk(struct worker *worker, struct session_walk *walk);
void worker_end_walk(struct worker *worker, struct session_walk *walk);

/* Logs and records a violation. */
void worker_note_violation(struct worker *worker, const struct occurrence *occurrence);

struct worker_config *worker_config_ref(struct worker_config *config);
void worker_config_unref(struct worker_config *config);

#endif
