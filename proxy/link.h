/* A link: one session's connection to one physical database. libpq makes it (addresses, TLS,
 * authentication, multi-host, target_session_attrs) and is then let go; raw protocol bytes flow
 * through `stream`. Owned by its session, or by a pool while no session has it; on the worker's
 * thread.
 *
 *     RESOLVING → CONNECTING → READY → CLOSED;  RESOLVING, CONNECTING → FAILED → CLOSED */
#ifndef PGINTERLOCK_LINK_H
#define PGINTERLOCK_LINK_H

#include "config/error.h"
#include "protocol/startup.h"
#include "proxy/answers.h"
#include "proxy/parameters.h"
#include "proxy/stream.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct database_figures;
struct pool;
struct setting_set;
struct server_statements;
struct table_code;

/* Where a link of a pool is. */
enum pooled { POOLED_USED, POOLED_OPENING, POOLED_IDLE, POOLED_RESETTING };

enum link_state { LINK_RESOLVING, LINK_CONNECTING, LINK_READY, LINK_FAILED, LINK_CLOSED };

/* Who connects, where the connection string leaves that open. Borrowed for the call only. */
struct link_identity {
    const char *user;                           /* the client's */
    const char *password;                       /* its plain password from the userlist, or NULL */
    const struct startup_parameter *parameters; /* of the client's startup packet */
    size_t parameter_count;
};

/* What there is to lose of what a transaction did on a link, as far as statements tell. */
enum deed {
    DEED_READS, /* nothing: plain SELECTs */
    DEED_SETS,  /* nothing in the database, but settings and the like */
    DEED_MAY_WRITE,
};

/* Why a connection could not be made. */
struct link_failure {
    char sqlstate[6];   /* the server's own, or 08001 */
    bool refused;       /* the server answered and refused (role, database, password, too many
                           connections) */
    char severity[16];  /* FATAL where the server said so */
    char message[1024]; /* the server's message, or libpq's, in one line */
    char detail[512], hint[512]; /* the server's; may be empty */
};

struct cancel_request;
struct link_cancel;
struct worker;

struct link {
    struct stream stream; /* in state READY */
    enum link_state state;
    int physical;                     /* index of the database */
    char *name;                       /* of the database, for messages */
    struct database_figures *figures; /* the worker's of this database */
    struct worker *worker;
    char *host;                    /* "127.0.0.1:5432", for messages; NULL: not connected */
    uint32_t pid;                  /* the server's process */
    struct link_cancel *cancel;    /* what a cancel request needs */
    struct parameters *parameters; /* what the server reported when the link was made; in a pool,
                                      what it reports when no session has set anything */
    struct link_failure *failure;  /* until it is READY */

    uint64_t opened_at; /* uv_now(); 0: made by link_failed() */

    /* Called once, when READY or FAILED. */
    void (*on_connected)(struct link *link);
    void (*on_event)(struct link *link); /* READY: bytes, room, end */
    void *owner;

    /* What the session keeps here of the database's side; see session_struct.h. */
    struct answers answers; /* outstanding, oldest first */
    bool in_block;          /* BEGIN was sent and succeeded as far as known */
    bool failed;            /* the server said that the block has failed */
    bool unsynced;          /* extended messages went out since the last Sync */
    bool wrote;             /* some of them may have changed something */
    enum deed deed;         /* the gravest that it has run in the open block */
    bool made_view;         /* the session has made a temporary view on it */
    bool made_state;        /* it may have something that a new link would lack, such as a lock */
    bool skipping;          /* after an error the server skips extended messages until Sync */
    bool prelude_left;      /* a command of ours failed: its statement's name is still taken */
    bool home;    /* the session's first: its server's parameters are what the client is told */
    bool aligned; /* its server's defaults were made to agree with what the client was told */
    uint64_t settings_applied; /* up to which change of the session's settings it is */
    size_t log_applied;        /* up to which entry of the block's log it is */
    uint64_t frame_left;  /* bytes of a message's body still to come that are streamed through */
    bool frame_forwarded; /* they go to the client; else they are dropped */
    /* After set_config() with a value that only the database knows: */
    bool asks_setting;     /* it is to be asked for the value, */
    bool asked_local;      /* of a setting that may hold for the block only, */
    bool asked_lasting;    /* or of what the committed block has left; */
    char *asked_setting;   /* the setting's name; NULL: not known either */
    bool asks_after;       /* and again after the block, with which it may end */
    char *asked_after;     /* its name then */
    char *last_words;      /* text of the FATAL message before it went away, or NULL */
    uint8_t *last_message; /* the whole ErrorResponse */
    size_t last_message_length;

    struct link_connect *connect;            /* while connecting; see link.c */
    void (*on_cancelled)(struct link *link); /* no cancel request is on its way; or NULL */

    /* Of a link that sessions take turns with; see pool.h. Zero otherwise. */
    struct pool *pool;
    struct table_code *table_code; /* of its database */
    uint64_t defaults;             /* workers->defaults when it was made */
    enum pooled pool_state;
    struct link *pool_previous, *pool_next;
    const struct pool_waiter *holder; /* of the session that uses it */
    uint64_t idle_since;              /* uv_now() */
    unsigned resets_left;    /* answers to DISCARD ALL, or to the pool's question, still to come */
    struct setting_set *set; /* a reference: the settings that it was left with; NULL: none */
    bool set_unknown;        /* what it was left with isn't known */
    struct server_statements *statements;
    uint64_t unnamed; /* serial number of its unnamed statement; 0: none */
    bool differs;     /* `set` is still to be changed into the session's settings */
    bool joined;      /* that was done in the transaction of the statement that is being answered */
    /* What was drawn from sequences on it, which currval() tells: see session_sequences.h. */
    uint64_t sequences; /* number of the claim since which nobody but the claimer drew; 0: none */
    bool claims;        /* an error that comes may mean that the claim has failed */
    bool drew;          /* the session's last statement, or its transaction, may have drawn */
    uint32_t drawn_by;  /* pid of the only session that may ever have drawn; 0: none; or: */
#define LINK_DRAWN_BY_SEVERAL UINT32_MAX
    uint64_t kept_since; /* uv_now() when pool_may_keep() was first asked; 0: it was not */
    void (*on_wanted)(struct link *link); /* called when it may be kept no longer */
    bool unseen;          /* code that the classifier didn't see may have changed settings */
    bool asks_binding;    /* something may bind it to its session: the server is to be asked */
    bool asked_binding;   /* the server has been asked */
    unsigned bindings;    /* enum binding: what keeps it with its session */
    bool makes_temporary; /* there may be a temporary table that the server wasn't asked about */
    struct parameters *reported; /* what the server reported last; NULL: `parameters` */
    struct parameters *heeded;   /* what that was when new defaults were last looked for */
};

/* What keeps a link with its session. */
enum binding {
    /* Beyond the transaction: */
    BOUND_ADVISORY_LOCK = 1 << 0,
    BOUND_LISTEN = 1 << 1,
    BOUND_TEMPORARY = 1 << 2,
    BOUND_PREPARED = 1 << 3, /* by SQL's PREPARE */
    BOUND_CURSOR = 1 << 4,   /* WITH HOLD */
    BOUND_LOAD = 1 << 5,     /* LOAD, which nothing undoes */
    BOUND_NAME = 1 << 6,     /* EXECUTE in SQL of what came by Parse */
    BOUND_UNKNOWN = 1 << 7,  /* the server could not be asked */
    BOUND_SEED = 1 << 8,     /* setseed(), which nothing undoes either */
    /* What passes by itself; not in `bindings`, but worked out by session_link_keeps(): */
    KEPT_BY_TRANSACTION = 1 << 9,
    KEPT_BY_COPY = 1 << 10,
    KEPT_BY_PIPELINE = 1 << 11,  /* messages went out without a Sync after them */
    KEPT_BY_STATEMENT = 1 << 12, /* one is running, or its answer is on the way */
    KEPT_BY_SEQUENCE = 1 << 13,  /* currval() may follow what has just drawn */
    KEPT_REASONS = 14,
};

/* These last until the connection is closed, which it is when its client goes. */
enum { BOUND_FOR_GOOD = BOUND_LOAD | BOUND_SEED };

/* Starts connecting to `conninfo`; the result comes by on_connected, never from within this call.
 * Never NULL. */
struct link *link_open(struct worker *worker, const char *conninfo, int physical, const char *name,
                       const struct link_identity *identity, unsigned timeout_seconds,
                       void (*on_connected)(struct link *), void (*on_event)(struct link *),
                       void *owner);

/* A link that could not be made, for another session that wanted one too. */
struct link *link_failed(struct worker *worker, int physical, const char *name,
                         const struct link_failure *failure);

/* Closes and frees it, at any time and in any state; no callback comes after this. */
void link_close(struct link *link);

/* Has the server cancel what it runs, see link_cancel.h. The client's request is over when ours to
 * the server has ended; that, and on_cancelled(), may happen within this call. Failure is not told,
 * as in the protocol. */
void link_cancel(struct link *link, struct cancel_request *request_take);

bool link_is_cancelling(const struct link *link);
/* Whether a request was given up that may still hit what runs there later. */
bool link_cancel_in_doubt(const struct link *link);

/* Whether an answer that keeps no client waiting is outstanding, and behind it nothing but what the
 * proxy asked unseen. */
static inline bool link_trails(const struct link *link) {
    return link->answers.count > 0 && link->answers.ring[link->answers.head].trails;
}

/* Queues a simple query. The caller says who gets its answer, by answers_push(). */
void link_send_query(struct link *link, const char *sql, size_t length);

/* What the server reported last. */
static inline struct parameters *link_parameters(const struct link *link) {
    return link->reported != NULL ? link->reported : link->parameters;
}
/* Takes the body of a ParameterStatus. */
void link_learn_parameter(struct link *link, const uint8_t *body, size_t length)
    __attribute__((cold));

/* After DISCARD ALL: settings, statements and bindings are gone. */
void link_forget_state(struct link *link);

#endif
