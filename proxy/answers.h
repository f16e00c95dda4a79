/* The requests that a database has not answered yet, oldest first, and who gets the answer to each.
 * A growable ring, embedded in its link. */
#ifndef PGINTERLOCK_ANSWERS_H
#define PGINTERLOCK_ANSWERS_H

#include "routing/session_state.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum request_kind {
    REQUEST_NONE,
    REQUEST_PARSE,
    REQUEST_BIND,
    REQUEST_DESCRIBE,
    REQUEST_EXECUTE,
    REQUEST_CLOSE,
    REQUEST_SYNC,
    REQUEST_QUERY,
    REQUEST_FUNCTION,
    REQUEST_KINDS
};

enum audience {
    AUDIENCE_CLIENT, /* everything is passed on */
    AUDIENCE_PART,   /* everything but ReadyForQuery is passed on: part of something larger */
    AUDIENCE_PROXY,  /* nothing is passed on; errors are looked at */
};

struct prepared;

struct request {
    enum request_kind kind;
    enum audience audience;
    bool failed;           /* an ErrorResponse came for it */
    bool local;            /* PARSE, CLOSE: the proxy answers it when its turn comes */
    bool asks_binding;     /* QUERY: asks what keeps the link with its session */
    bool flushed;          /* Flush was sent after it, so that its answer is not held back */
    bool captures;         /* EXECUTE: its rows are values of settings, see session_settings.c; */
    bool captures_local;   /* these hold for the transaction only, */
    bool captures_lasting; /* or were left behind by a committed block, */
    bool captures_reading; /* or tell how the server reads texts, see session_reading.c */
    bool of_portal;        /* DESCRIBE of a portal: `prepared` is what that was bound from */
    bool asks_catalog;     /* part of a question to the catalogs, see session_catalog.c */
    bool trails;           /* QUERY: its answer keeps no client waiting, see session_fan.c */
    bool asks_code;        /* …and tells whether reading may run code, see read_code.h */
    struct query *query;   /* reference or NULL: what it runs, from statement `next` on */
    size_t next;           /* statement whose CommandComplete comes next */
    int database;          /* logical, that the statements were sent to */
    bool apply;            /* each CommandComplete is told to session_executed(), */
    bool decided; /* with the following, kept from the decision: deciding again could differ, as
                     what the catalogs said may be forgotten */
    enum destination destination;
    database_set modifies;
    schema_set modified_schemas;
    size_t part_offset; /* what was sent begins at this character of the client's text: added to
                           positions */
    uint64_t evicted;   /* CLOSE: number of the statement that was evicted, or 0 */
    struct prepared *prepared; /* PARSE, CLOSE, DESCRIBE, BIND: reference or NULL */
};

struct answers {
    struct request *ring;
    size_t head, count, capacity; /* capacity is 0 or a power of two */
};

/* The new youngest request, zeroed. */
struct request *answers_push(struct answers *answers, enum request_kind kind,
                             enum audience audience);
/* 0: the oldest. */
static inline struct request *answers_at(struct answers *answers, size_t index) {
    assert(index < answers->count);
    return &answers->ring[(answers->head + index) & (answers->capacity - 1)];
}
/* The oldest, or NULL. */
static inline struct request *answers_front(struct answers *answers) {
    return answers->count > 0 ? &answers->ring[answers->head] : NULL;
}
static inline struct request *answers_last(struct answers *answers) {
    return answers_at(answers, answers->count - 1);
}
void answers_pop(struct answers *answers);       /* the oldest; drops its references */
void answers_drop_last(struct answers *answers); /* the youngest, likewise */
void answers_clear(struct answers *answers);
void answers_close(struct answers *answers);

#endif
