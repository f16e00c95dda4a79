/* One record of a PostgreSQL log, whatever format it was written in, and what its words mean.
 *
 * Readers make records from files and hand each to a sink; a record and its texts are the reader's
 * and hold for the call. One thread.
 * Source: PostgreSQL manual, "Error Reporting and Logging"; elog.c and postgres.c for the words. */
#ifndef PGINTERLOCK_LINT_RECORD_H
#define PGINTERLOCK_LINT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lint_severity {
    LINT_NONE,   /* no severity of PostgreSQL's */
    LINT_LOG,    /* where executed statements are told */
    LINT_ERROR,  /* a statement failed */
    LINT_FATAL,  /* FATAL, PANIC: the session ended */
    LINT_OTHER,  /* WARNING, NOTICE, INFO, DEBUG */
    LINT_DETAIL, /* belongs to the record before */
    LINT_MORE,   /* HINT, CONTEXT, STATEMENT, …: likewise, and not looked at */
};

struct lint_record {
    size_t line; /* where it begins, from 1 */
    enum lint_severity severity;
    bool has_session; /* else nobody knows whose it is */
    uint64_t session; /* the process id, or what the session id (time and process) amounts to */
    bool has_lxid;
    uint64_t lxid; /* number of the session's transaction (of %v); 0: in none */
    char *message; /* NUL-terminated; the sink may change it */
    size_t length;
    char *detail; /* the same; NULL: none */
    size_t detail_length;
};

struct lint_sink {
    void (*take)(struct lint_sink *sink, struct lint_record *record);
    size_t skipped; /* lines or rows that are no record of a log */
};

/* The severity that a text begins with, "LOG:  " or, with_colon false, that it is as a whole.
 * *length is that of word and colon and blanks. */
enum lint_severity lint_severity_of(const char *text, size_t available, bool with_colon,
                                    size_t *length);

/* Whether the message tells of a statement that was executed, where its text begins, and whether it
 * tells so after the fact: with a duration only what succeeded is told. Parse and bind steps,
 * fetches from a portal and messages of other things are none, so that each execution counts once.
 */
bool lint_message_statement(const char *message, size_t length, size_t *start, bool *succeeded);

/* What else a message tells of sessions. */
enum lint_event {
    LINT_EVENT_NONE,
    LINT_EVENT_SESSION_ENDED, /* or a new one begins in its process */
    LINT_EVENT_SERVER_STARTED,
};
enum lint_event lint_message_event(const char *message, size_t length);

/* Fills in the session from a session id (65f1a2b3.1c4) or, where that is empty, a process id; and
 * the transaction from a virtual transaction id (3/12). */
void lint_record_identify(struct lint_record *record, const char *session_id, size_t session_length,
                          const char *pid, size_t pid_length);
void lint_record_set_vxid(struct lint_record *record, const char *vxid, size_t length);

#endif
