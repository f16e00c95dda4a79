/* What the files of the console share.
 *
 *     console.c           life, the client's messages, simple queries
 *     console_extended.c  Parse, Bind, Describe, Execute, Close
 *     console_gather.c    asking workers, and the main thread, by message
 *     console_figures.c   a worker's rows of each table
 *     console_config.c    tables that need no worker: settings, version, help
 *     console_command.c   texts
 */
#ifndef PGINTERLOCK_CONSOLE_INTERNAL_H
#define PGINTERLOCK_CONSOLE_INTERNAL_H

#include "proxy/console.h"
#include "proxy/console_command.h"
#include "proxy/console_gather.h"
#include "proxy/figures_table.h"
#include "proxy/session_figures.h"

/* Of the extended protocol; a text without a command is one, too. */
struct console_statement {
    struct console_statement *next;
    char *name;
    bool empty;
    enum console_command command;
};

struct console_portal {
    struct console_portal *next;
    char *name;
    bool empty;
    enum console_command command;
    const char *tag; /* of CommandComplete, once it ran */
    bool binary[FIGURES_COLUMNS_MAX];
    bool done;                   /* it ran */
    struct figures_table result; /* its rows; `kind` NULL: it has none */
    size_t at;                   /* where in `result` those begin that are still to be sent */
};

/* The transaction block that the client has opened. It means nothing: nothing that the console does
 * can be undone. */
enum console_block { CONSOLE_BLOCK_NONE, CONSOLE_BLOCK_OPEN, CONSOLE_BLOCK_FAILED };

struct console {
    struct worker *worker;
    struct stream *client; /* borrowed */
    const char *peer, *user;
    void (*ended)(void *owner, const char *reason);
    void *owner;
    const char *end_reason;      /* why it is to end; NULL: it goes on */
    struct error fatal;          /* what the client was told of that */
    struct wire_buffer out;      /* messages on their way to the client's stream */
    struct gathering *gathering; /* its answer is awaited; NULL: none */
    bool running;                /* within its own work */

    char *query;     /* the simple query that is under way */
    size_t query_at; /* how far it has been run; it ends when no command is left */

    struct console_statement *statements;
    struct console_portal *portals;
    struct console_portal simple;     /* of the simple query's command */
    struct console_portal *executing; /* what runs, or (done) whose rows are being sent */
    uint32_t rows_wanted;             /* so many of them; 0: all */
    bool skip_until_sync;             /* after an error in the extended protocol */
    enum console_block block;
};

/* -- console.c --------------------------------------------------------------------------------- */
/* ERROR, with which an open block fails; `position`: in bytes from the text's beginning, where
 * `text` isn't NULL. */
void console_error(struct console *console, const char *sqlstate, const char *message,
                   const char *hint, const char *text, size_t position);
/* Says what is wrong with a text that was read; the hint lists the commands. */
void console_refuse_text(struct console *console, enum console_reading reading, const char *text,
                         size_t at, const struct error *error);
/* ReadyForQuery; outside a transaction portals end here. */
void console_ready(struct console *console);
/* FATAL, and the end. */
void console_fatal(struct console *console, const char *sqlstate, const char *message);
/* Runs a portal, or goes on with its rows; 0: all of them. Nothing else is done before they are
 * sent. */
void console_execute(struct console *console, struct console_portal *portal, uint32_t rows);
/* The columns of a command's answer, or NULL: it has none. */
const struct figures_kind *console_kind(enum console_command command);

/* -- console_extended.c ------------------------------------------------------------------------ */
/* A message of the extended protocol, whole. False: it is none. */
bool console_on_extended(struct console *console, char type, const uint8_t *body, size_t length);
/* Portals end with the transaction, statements with the session. */
void console_forget_portals(struct console *console);
void console_forget_statements(struct console *console);

/* -- console_figures.c ------------------------------------------------------------------------- */
/* Adds the worker's own rows to the table of a command, on the worker's thread. */
void console_fill(struct worker *worker, enum console_command command, struct figures_table *table);
/* Likewise the rows of SHOW CLIENTS, for the next `count` sessions of the walk. */
void console_fill_clients(struct worker *worker, struct session_walk *walk, size_t count,
                          struct figures_table *table);
extern const struct figures_kind console_pools, console_stats, console_violations;

/* -- console_config.c -------------------------------------------------------------------------- */
void console_fill_config(const struct settings *settings, struct figures_table *table);
void console_fill_version(struct figures_table *table);
void console_fill_help(struct figures_table *table);
/* `connections`: the worker's own. */
void console_put_database(const struct settings *settings, size_t index, size_t connections,
                          struct figures_table *table);
extern const struct figures_kind console_settings, console_version, console_help, console_databases;

#endif
