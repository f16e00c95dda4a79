/* What a session has done so far, as far as routing depends on it: its block with savepoint levels
 * and the tables that each modified, where it last ran and wrote, and the names that live on one
 * database (temporary tables, SQL-level prepared statements, cursors). No I/O: `explain` and the
 * proxy drive it alike, statement by statement:
 *
 *     session_decide(s, statement, &decision);      where to, or which violation; if it runs…
 *     session_executed(s, statement, &decision);    …and succeeds
 *     session_failed(s);                            …or fails; also after a violation
 *
 * Implicit transactions (several statements in a simple query, a pipeline up to Sync) are bracketed
 * by session_begin_implicit() and session_end_implicit().
 *
 *     IDLE ⇄ IMPLICIT;  IDLE, IMPLICIT → OPEN → FAILED;  OPEN, FAILED → IDLE
 *     ROLLBACK TO: FAILED → OPEN */
#ifndef PGINTERLOCK_SESSION_STATE_H
#define PGINTERLOCK_SESSION_STATE_H

#include "routing/router.h"

enum block_status { BLOCK_IDLE, BLOCK_IMPLICIT, BLOCK_OPEN, BLOCK_FAILED };

enum destination {
    DESTINATION_ONE,  /* `database` and no other */
    DESTINATION_ANY,  /* every one would do; it runs on `database` */
    DESTINATION_ALL,  /* each that is in use (SET, COMMIT, DISCARD …); its first answer comes from
                         `database` */
    DESTINATION_NONE, /* the proxy answers itself (SET pginterlock.…), or rejects */
};

struct violation {
    enum rule rule;
    const char *sqlstate;
    const char *message; /* one line */
    const char *detail;  /* several lines; NULL: none */
    const char *hint;    /* NULL: none */
    const char *table;   /* offending table, or NULL */
    int position;        /* byte offset of it in the query text; -1: unknown */
    bool impossible;     /* no single database can execute the statement: no permit would help */
};

enum { OBSERVATIONS_MAX = 8 };

/* A violation that was let pass: by `report`, or by a permit. */
struct observation {
    enum rule rule;
    enum observation_reason {
        OBSERVED_REPORT,
        OBSERVED_COMMENT,
        OBSERVED_SETTING,
        OBSERVED_ALLOWLIST
    } reason;
    const struct allowlist_entry *entry; /* of OBSERVED_ALLOWLIST, in the settings; else NULL */
    const char *message;
    const char *detail;
};

struct decision {
    enum destination destination;
    int database;                /* logical index where it runs, or -1 with DESTINATION_NONE */
    bool violated;               /* `violation` is set and destination is NONE */
    database_set modifies;       /* databases that running it modifies */
    schema_set modified_schemas; /* and their schemas */
    const struct statement
        *subject; /* whose tables count: of EXECUTE the prepared one, and with temporary tables in
                     place; borrowed until the next session_decide() */
    struct violation violation;
    struct observation observations[OBSERVATIONS_MAX];
    size_t observation_count;
    /* Texts of violation and observations live in the session's scratch arena until the next
     * session_decide(). */
};

struct session_state;

/* `settings` is borrowed until replaced by session_set_settings(); entrypoint is an index into it.
 */
struct session_state *session_state_new(const struct settings *settings, int entrypoint);
void session_state_free(struct session_state *state);

/* Today, in days since 1970-01-01, UTC, by which allowlist entries expire. Borrowed as long as the
 * session lives, and read anew each time. Without it no entry expires. */
void session_use_today(struct session_state *state, const int *today);

/* After a reload, only if settings_same_databases(). The previous settings must still exist. What
 * the session has done is kept, under the new classification. */
void session_set_settings(struct session_state *state, const struct settings *settings,
                          int entrypoint);

/* Where to find what the catalogs say of the names of indexes and the like; without it (NULL) such
 * names follow the last database used. Borrowed until replaced. */
struct object_names;
void session_set_objects(struct session_state *state, struct object_names *objects);
uint64_t session_asker(const struct session_state *state); /* by which that knows this session */

/* COMMIT PREPARED or ROLLBACK PREPARED that goes where its transaction is: which database that is,
 * all are to be asked before it is decided. Unasked, it follows the last database used. */
bool session_seeks_transaction(const struct session_state *state,
                               const struct statement *statement);
/* …what they said; one transaction is kept. Empty: `main` has the error. */
void session_found_transaction(struct session_state *state, const char *gid, database_set on);

/* Pure but for the scratch arena: does not change what the session has done. */
void session_decide(struct session_state *state, const struct statement *statement,
                    struct decision *out);

/* The statement ran where `decision` said. Transaction verbs move the block; modifications are
 * noted; names are entered or removed; SET pginterlock.… takes effect. */
void session_executed(struct session_state *state, const struct statement *statement,
                      const struct decision *decision);

/* The client was told of types that only this database has: its next questions to the catalogs, by
 * their OIDs, are meant for this one. */
void session_follow_types(struct session_state *state, int database);

/* A statement failed: BLOCK_OPEN becomes BLOCK_FAILED; in an implicit transaction its effects will
 * be undone. */
void session_failed(struct session_state *state);

/* An implicit transaction: several statements in one message, or a pipeline. */
void session_begin_implicit(struct session_state *state);
void session_end_implicit(struct session_state *state, bool committed);

/* The whole block is gone (rolled back, or its databases lost): the same as ROLLBACK. */
void session_rolled_back(struct session_state *state);

/* Adopts what a database reported in ReadyForQuery ('I', 'T', 'E'), where it differs from what was
 * believed. */
void session_adopt_status(struct session_state *state, char status, int database)
    __attribute__((cold));

enum block_status session_block_status(const struct session_state *state);

/* Open savepoints, outermost first. */
size_t session_savepoint_count(const struct session_state *state);
const char *session_savepoint_name(const struct session_state *state, size_t index);
bool session_has_savepoint(const struct session_state *state, const char *name);

/* Databases (logical) in which the open transaction has modified something. */
database_set session_modified(const struct session_state *state);

/* The statement that modified first in the open transaction, or NULL; borrowed until the next
 * session_executed() or other end of the transaction. */
const struct statement *session_first_modification(const struct session_state *state);

/* SHOW pginterlock.x: the value, or NULL where `name` is no setting of ours
 * ("pginterlock.database", "…allow", "…allowed_gitlab_schemas"). */
const char *session_show(const struct session_state *state, const char *name);

/* Checks SET pginterlock.x = value: false and message with SQLSTATE (22023, or 42704 for an unknown
 * setting). */
bool session_check_setting(const struct session_state *state, const char *name, const char *value,
                           const char **sqlstate, struct error *error)
    __attribute__((warn_unused_result));
bool session_is_own_setting(const char *name); /* begins with "pginterlock." */

/* What a HINT says about the values of one of our settings, or NULL; until the next
 * session_decide(). */
const char *session_setting_hint(struct session_state *state, const char *name);

/* Checks what a statement's text says to the proxy: a comment `database: x`, or set_config() of one
 * of our settings. False: it is wrong, and *setting is the setting concerned. */
bool session_check_words(const struct session_state *state, const struct statement *statement,
                         const char **setting, const char **sqlstate, struct error *error)
    __attribute__((warn_unused_result));

/* A setting of ours among the startup parameters, after session_check_setting(); before any
 * statement. */
void session_set_at_startup(struct session_state *state, const char *name, const char *value);

/* Where the SQL-level prepared statement or the cursor of that name lives, or -1. */
int session_prepared_database(const struct session_state *state, const char *name);
int session_cursor_database(const struct session_state *state, const char *name);
/* The prepared statement of that name was closed by the protocol, or no longer exists. */
void session_forget_named(struct session_state *state, const char *name);

/* Bind has made a portal in a transaction: to SQL's FETCH, MOVE and CLOSE it is a cursor, which
 * ends with the transaction. */
void session_note_portal(struct session_state *state, const char *name,
                         const struct statement *statement, int database);

/* Where a statement without tables would run now (protocol-level function calls and the like). */
int session_default_database(const struct session_state *state);

/* The connection to the database is lost, and with it the temporary tables, prepared statements and
 * cursors there. */
void session_lost_database(struct session_state *state, int database);

#endif
