/* What must be done again on a connection that comes later: the settings that a session changed,
 * and the log of its open block (BEGIN, savepoints, settings made inside). A connection remembers
 * how far it is; the rest is sent to it before its next statement. */
#ifndef PGINTERLOCK_REPLAY_H
#define PGINTERLOCK_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* -- settings of the session: the last change of each, in order -------------------------------- */

struct setting_change {
    char *name; /* lower case; "" for one that stands for all (RESET ALL) */
    char *sql;
    uint64_t number; /* changes are numbered from 1 */
};

struct setting_log {
    struct setting_change *changes;
    size_t count, capacity;
    uint64_t last; /* number of the newest change */
};

/* Who the session is, which RESET ALL leaves alone. */
bool setting_is_identity(const char *name);
/* Another session_authorization takes the role with it. */
void setting_log_add(struct setting_log *log, const char *name, const char *sql, size_t sql_length);
void setting_log_reset_all(struct setting_log *log, const char *sql,
                           size_t sql_length);    /* forgets the others */
void setting_log_forget(struct setting_log *log); /* after DISCARD ALL on every connection */
void setting_log_close(struct setting_log *log);

/* -- the open block ---------------------------------------------------------------------------- */

enum block_entry_kind { ENTRY_BEGIN, ENTRY_SAVEPOINT, ENTRY_SETTING };

struct block_entry {
    enum block_entry_kind kind;
    char *sql;
    char *name;    /* savepoint or setting; NULL: none */
    bool outlives; /* a setting that COMMIT makes the session's (not SET LOCAL) */
    bool reset_all;
    bool to_default; /* …or one of them, of each server's own */
    bool chains;     /* a characteristic of the transaction, which AND CHAIN keeps */
};

struct block_log {
    struct block_entry *entries;
    size_t count, capacity;
    bool chained; /* the block was opened by AND CHAIN: its characteristics outlive a failure */
};

void block_log_add(struct block_log *log, enum block_entry_kind kind, const char *name,
                   const char *sql, size_t sql_length);
/* BEGIN, at the front: a pipeline may have made settings before it. */
void block_log_begin(struct block_log *log, const char *sql, size_t sql_length);
bool block_log_has_savepoint(const struct block_log *log);
/* Index of the innermost savepoint of that name, or -1. */
long block_log_find_savepoint(const struct block_log *log, const char *name);
/* ROLLBACK TO: forgets what came after entry `index`. */
void block_log_truncate(struct block_log *log, size_t index);
/* RELEASE: takes the savepoint at `index` and those inside it out, keeping settings. `applied`:
 * positions of connections in the log, corrected. */
void block_log_release(struct block_log *log, size_t index, size_t *applied[],
                       size_t applied_count);
/* COMMIT: settings that outlive the block become the session's. */
void block_log_commit(struct block_log *log, struct setting_log *settings);
/* What the next transaction begins with after AND CHAIN: BEGIN and the characteristics. */
void block_log_chain(const struct block_log *log, struct block_log *next);
void block_log_clear(struct block_log *log);
void block_log_close(struct block_log *log);

#endif
