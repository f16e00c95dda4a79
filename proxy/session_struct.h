/* A session's state, and that of what it is doing. Only the session's files use it;
 * session_internal.h lists them. */
#ifndef PGINTERLOCK_SESSION_STRUCT_H
#define PGINTERLOCK_SESSION_STRUCT_H

#include "protocol/bind_check.h"
#include "protocol/message.h"
#include "protocol/startup.h"
#include "proxy/cancel_keys.h"
#include "proxy/console.h"
#include "proxy/link.h"
#include "proxy/login.h"
#include "proxy/parameters.h"
#include "proxy/pool.h"
#include "proxy/prepared.h"
#include "proxy/read_code.h"
#include "proxy/replay.h"
#include "proxy/session.h"
#include "proxy/setting_set.h"
#include "proxy/startup_options.h"
#include "proxy/stream.h"
#include "proxy/worker.h"
#include "routing/object_names.h"
#include "routing/session_state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* LOGIN → LINKING → READY → CLOSING; LOGIN → CONSOLE → CLOSING; any → CLOSING */
enum session_phase { PHASE_LOGIN, PHASE_LINKING, PHASE_READY, PHASE_CONSOLE, PHASE_CLOSING };

enum progress { PROGRESS_DONE, PROGRESS_WAIT };

enum use {
    USE_READY,
    USE_WAIT,
    USE_FAILED,   /* the client has got the error */
    USE_ANSWERED, /* the message has gone where its answer comes from */
};

/* What becomes of the rest of a client's message whose beginning has been handled. */
enum body_fate { BODY_NONE, BODY_FORWARD, BODY_DROP };

/* A command that goes to several links in turn, or to the only one. */
struct fan {
    bool active;
    bool sync;    /* it is Sync, not `sql` */
    bool several; /* not exactly one link: answers are gathered, and the proxy gives the tag itself
                   */
    bool commits; /* COMMIT, or the end of an implicit transaction: after a failure the rest is
                     rolled back */
    bool failed;  /* the client has got an error */
    const char *sql; /* borrowed from the script's query, or a constant */
    size_t sql_length;
    database_set left;     /* physical databases that it has still to go to */
    database_set modified; /* those of them that were modified */
    database_set acted;    /* those that were or, unseen, may have been: their failing is told */
    database_set asks;     /* those whose catalogs are asked behind it what reading may run */
    database_set succeeded;
    database_set ended; /* those that have answered with a tag: what comes then changes nothing */
    const struct statement
        *statement; /* whose effect it has when done; NULL: end of an implicit transaction */
};

/* A simple query that is run statement by statement, or one statement of the extended protocol that
 * the proxy runs, or the end of a pipeline over several links. */
struct script {
    bool active;
    bool extended; /* no ReadyForQuery at its end */
    bool failed;
    bool implicit; /* the statements run in an implicit transaction */
    bool begun;    /* BEGIN went to links that a pipeline had used before; they may refuse it */
    bool describe; /* SHOW: send a RowDescription */
    database_set alone; /* where its statement, behind a pipeline elsewhere, committed by itself */
    struct query *query;
    size_t next; /* statement */
    struct fan fan;
};

struct catalog_row {
    size_t name;                 /* index into `wanted` */
    struct object_answer answer; /* with strings of its own */
};

/* A question to the catalogs, and what outlives the question. */
struct catalog {
    bool active;
    bool failed; /* the client has got the error: the message that is being handled is done with */
    bool of_transaction;    /* the one that is wanted is a prepared transaction, by its gid… */
    uint64_t asked_gid;     /* …which was last asked for one message before this one's number */
    bool structure_changed; /* by the open transaction */
    bool defaults_changed;  /* by it, too: what connections begin with */
    database_set asked, left, answered; /* physical */
    struct object_name *wanted;         /* with strings of its own */
    size_t wanted_count;
    struct catalog_row *rows;
    size_t row_count;
};

struct session {
    struct stream client;
    struct worker *worker;
    struct worker_config *config;
    struct session *next, **previous_next;
    enum session_phase phase;
    bool is_unix;
    bool draining;
    bool
        probed; /* the client had sent its end, and was sent something to see whether it is there */
    bool admitted; /* counted as a client of the process */
    char *peer;
    time_t connected;
    struct login *login;     /* in phase LOGIN, then NULL */
    struct console *console; /* in phase CONSOLE, else NULL */
    struct startup startup;  /* what the login learned: user, database, parameters */
    char *password;          /* the plain password if the client gave one, else NULL */
    int entrypoint;
    uint32_t pid, key;
    struct cancel_entry cancel; /* in the worker's table while READY */
    struct session_state *routing;
    char **lost;     /* by physical database: why a link was lost while nothing was asked of it,
                        until the client has been told; NULL: none was */
    int block_lost;  /* physical database of one that was in the open transaction, or -1 */
    bool block_torn; /* one was in the open block: no ROLLBACK TO brings back what it did there */
    char *settings_error; /* why a setting could not be repeated on a link; NULL: none failed */
    char settings_sqlstate[6];
    struct link *active;  /* the link that was last sent something */
    struct link *awaited; /* the client's message needs it: to be connected, or to answer */
    int home;             /* physical database that the session begins with */
    int link_count;       /* how many databases there are; a reload that changes that is not for
                             sessions that are there */

    /* Where links come from pools. */
    enum pool_mode pool_mode;
    struct session_pool {
        struct pool *pool;          /* a reference; NULL until it is asked */
        struct parameters *aligned; /* a reference: its servers' defaults that are accounted for, */
        bool untold;                /* but that the client may still have to be told of */
        bool holds_strings;         /* what pool_doubts_strings() asks for is done */
        uint64_t sequences;         /* number of the session's last claim there; 0: none */
        struct parameters *heard, *known; /* references: what it reported, and what the client had
                                             been told, when the two were last compared */
    } * pools;                            /* by physical database; NULL until the first is asked */
    struct pool_waiter waiter;            /* for a link to the database… */
    int waiting_for;                      /* …of this physical index */
    unsigned keeps_left; /* how often it may still keep a link for a currval() in vain */
    bool result_asked;   /* a server was asked what a statement's result is */
    /* The client's RESET took settings of the startup packet: */
    bool restored_settings;  /* they are logged again as the session's, */
    size_t restored_entries; /* or in the block's log up to here */
    struct setting_set *set; /* a reference: the settings as of change `set_number` */
    uint64_t set_number;
    uint64_t last_active; /* uv_now() */
    uint64_t handled;     /* how many messages of the client were handled, */
    uint64_t joined;      /* and how many when it got its last link from a pool */

    struct prepared_table prepared;
    struct portals portals;
    struct setting_log settings;
    struct block_log block;

    struct query *query; /* of the message that is being handled, across waits */
    struct script script;
    struct catalog catalog;
    bool cancel_kept;     /* a cancel request came for `query`'s message: it will not be sent */
    bool skip_until_sync; /* after an error in the extended protocol */
    bool implicit_failed; /* a pipeline's implicit transaction has failed: undo it at Sync */
    bool barrier;    /* the effect of the last Execute is known only from its answer: what follows
                        has to wait */
    bool noted_late; /* this pipeline has or had such an Execute */
    bool paused;     /* a link is not read: the client has much to take first */
    struct link *copy_in; /* the one that takes CopyData; NULL: none */
    enum body_fate body_fate;
    bool body_is_bind; /* the rest is a Bind's, and checked by bind_check */
    struct link *body_link;
    size_t body_left;
    struct bind_check bind_check;

    struct wire_buffer out; /* messages of our own, on their way to the client's stream */
    char *message;          /* text of the last refusal */
    struct lexing lexing;   /* how the server reads the client's text */
    bool utf8;
    bool reading_uncertain; /* something that may have changed `lexing` or `utf8` was sent, and no
                               ReadyForQuery has come since */
    bool reading_asked;     /* the server was asked about that */
    bool processing, again;
    struct parameters *parameters; /* what the client was told */
    struct parameters *outside;    /* without what the open block changed; NULL: the same */
    struct link *links[];          /* by physical database; NULL: none */
};

enum {
    CLIENT_UNSENT_HIGH = 256 * 1024,
    LINK_UNSENT_HIGH = 256 * 1024,
    CLIENT_WAITING_HIGH = 1024 * 1024,
    REQUESTS_HIGH = 16 * 1024 /* of a link, unanswered */
};

/* What is known of the code that reading the link's database may run. */
static inline struct read_code *session_read_code(const struct session *s,
                                                  const struct link *link) {
    return &s->config->read_code[link->physical];
}

#endif
