/* The inside of struct session_state, shared by the files that decide (decision*.c) and the one
 * that remembers (session_state.c). Nobody else includes it.
 *
 * What a transaction can undo is kept in logs that only grow while it is open; a savepoint is a
 * mark of their lengths, so that ROLLBACK TO cuts them, RELEASE forgets the mark, and the
 * transaction's end compacts them. */
#ifndef PGINTERLOCK_SESSION_MODEL_H
#define PGINTERLOCK_SESSION_MODEL_H

#include "routing/names.h"
#include "routing/object_names.h"
#include "routing/session_state.h"
#include "routing/text.h"

struct temporary_table {
    char *name;
    int database;
    bool dropped;         /* an entry that hides earlier ones of its name */
    bool drops_on_commit; /* ON COMMIT DROP */
    bool view;            /* what is written to it is written to tables */
    long before;          /* index of the entry of this name before it, or -1 */
};

/* A SQL-level prepared statement or a cursor. */
struct named_statement {
    char *name;
    int database;
    bool hold;           /* cursor WITH HOLD */
    bool closed;         /* PostgreSQL does not undo CLOSE, so neither do we */
    long before;         /* index of a cursor of this name before it, or -1 */
    struct query *query; /* a reference of ours */
    const struct statement *statement;
};

/* The last is the server's; what counts of it is whether temporary tables come behind others. */
enum own_setting { OWN_DATABASE, OWN_ALLOW, OWN_ALLOWED_SCHEMAS, OWN_SEARCH_PATH, OWN_COUNT };

enum { PERMIT_CROSS_JOIN = 1 << 0, PERMIT_CROSS_TRANSACTION = 1 << 1 };

struct own_setting_entry {
    enum own_setting setting;
    bool local;
    char *value;      /* NULL: reset */
    int database;     /* of OWN_DATABASE, or -1 */
    unsigned permits; /* of OWN_ALLOW */
    /* Of OWN_ALLOWED_SCHEMAS: those whose data may be touched, or no list at all. */
    schema_set schemas;
    bool structure_only;
};

/* The first statement that brought a schema or database into the transaction's counted ones; where
 * the allowlist asks for tables also one that brought a table, whose sets are then empty. */
struct modification {
    struct query *query; /* a reference of ours */
    const struct statement *statement;
    database_set databases;
    schema_set schemas;
};

struct mark {
    database_set modified;
    /* What the next modification is held against, that of `modifications`: all that was modified,
     * but for an outermost block that rules.outer_transaction ignores. */
    database_set counted;
    schema_set counted_schemas;
    int last_wrote; /* -1: nowhere yet */
    size_t temporary_count, cursor_count, own_count, modification_count;
    size_t own_last[OWN_COUNT]; /* the last entry of each setting, by index + 1; 0: none */
};

struct savepoint {
    char *name;
    struct mark mark;
};

struct session_state {
    const struct settings *settings;
    int entrypoint;
    enum block_status status;
    const int *today;    /* what allowlist entries are held against */
    bool tables_unknown; /* the transaction modified more tables than `modifications` tell */
    bool bracketed;      /* between session_begin_implicit() and session_end_implicit() */
    bool outer_ignored;  /* for the block that is open: as it was when it began */

    struct mark now;   /* counts are the lengths of the logs below */
    struct mark begin; /* as of the transaction's begin */
    int last_ran;      /* in this transaction; -1: nowhere yet */
    database_set used; /* in this transaction */

    int last_used;    /* database of the session's last statement; -1: none yet */
    int last_catalog; /* … of its last catalog statement */
    int last_drew; /* … of the last that may have drawn from a sequence: what lastval() is about */

    struct temporary_table *temporaries;
    struct named_statement *cursors;
    struct own_setting_entry *own;
    struct modification *modifications;
    size_t temporary_room, cursor_room, own_room, modification_room;

    /* By name, the last entry of it. */
    struct names temporary_names, cursor_names, prepared_names;

    struct named_statement *prepared;
    size_t prepared_count, prepared_room;
    struct savepoint *savepoints;
    size_t savepoint_count, savepoint_room;

    struct object_names *objects; /* borrowed; NULL: there are no catalogs to ask */
    uint64_t asker;               /* by which `objects` knows this session */
    char *transaction; /* gid of the prepared transaction that was asked for last; NULL: none… */
    database_set transaction_on; /* …and the databases that have it */

    struct scratch scratch;
};

/* Effective value of one of our settings, or NULL where it was never set or was reset. */
const struct own_setting_entry *session_own_setting(const struct session_state *state,
                                                    enum own_setting setting);

/* A search_path that was set, NULL: reset. */
void session_note_search_path(struct session_state *state, const char *value, bool local);
/* Whether it names pg_temp behind another schema, so that a table hides the temporary one of its
 * name. */
bool session_temporary_comes_last(const struct session_state *state);

/* Enters a value, or with NULL the default. One that session_check_setting() refuses is left out.
 */
void session_apply_setting(struct session_state *state, const char *name, const char *value,
                           bool local);
void session_reset_settings(struct session_state *state);
void session_renumber_settings(struct session_state *state); /* under the new state->settings */

/* The database that the session is pinned to (by entrypoint or SET), or -1. */
int session_pin(const struct session_state *state);

/* The session's temporary table of that name, or NULL. */
const struct temporary_table *session_find_temporary(const struct session_state *state,
                                                     const char *name);

/* The session's temporary table that a table of the statement is (a new name is that of the one
 * renamed), or NULL. */
const struct temporary_table *session_meant_temporary(const struct session_state *state,
                                                      const struct statement *statement,
                                                      const struct table_facts *table);

const struct named_statement *session_find_prepared(const struct session_state *state,
                                                    const char *name);
const struct named_statement *session_find_cursor(const struct session_state *state,
                                                  const char *name);

/* The prepared statement or cursor that `statement` runs or refers to, or NULL. */
const struct named_statement *session_referred(const struct session_state *state,
                                               const struct statement *statement);

/* Of a block that is ignored each statement stands alone, until a savepoint begins what counts as a
 * transaction: whether one has. (session_modified.c) */
bool session_counts(const struct session_state *state);

/* A statement that ran as decided and modified something. */
void session_note_modification(struct session_state *state, const struct statement *statement,
                               const struct decision *decision);

/* CREATE TABLE … AS EXECUTE, also in EXPLAIN ANALYZE: its own table counts beside those of what it
 * runs. */
bool session_creates_from_prepared(const struct statement *statement);

/* What session_executed() and a transaction's end do to the names (session_names.c) and settings.
 */
void session_pop_temporary(struct session_state *state);
void session_pop_cursor(struct session_state *state);
void session_remember_prepared(struct session_state *state, const struct statement *statement,
                               int database) __attribute__((cold));
void session_remember_cursor(struct session_state *state, const struct statement *statement,
                             int database) __attribute__((cold));
void session_forget_prepared(struct session_state *state) __attribute__((cold));
void session_close_cursor(struct session_state *state, const char *name) __attribute__((cold));
void session_close_cursors(struct session_state *state);
void session_note_temporaries(struct session_state *state, const struct statement *statement,
                              int database);
void session_drop_temporaries(struct session_state *state);
void session_compact_temporaries(struct session_state *state) __attribute__((cold));
void session_compact_cursors(struct session_state *state);
void session_compact_settings(struct session_state *state) __attribute__((cold));

#endif
