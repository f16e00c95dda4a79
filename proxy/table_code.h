/* Which tables and views of a database have code behind them (triggers, defaults, rules, views,
 * policies, checks) that could leave something on a connection: a setting, a session lock, a
 * temporary table. Statements don't show it; the database's catalogs do, and a connection that a
 * session has just given back asks them.
 *
 * Only user-defined code counts, not PostgreSQL's own. It could leave something if it says so
 * (set_config, SET, LISTEN, …), runs text that it makes, is in a language that isn't read here, or
 * names a function that could. With such a table count the tables whose rows its foreign keys
 * change, its partitioned table, and its views.
 *
 * One for each database on each worker; within one thread. `structure` is how often structure was
 * seen to change (struct workers): an answer holds until the next change. Then, and every minute
 * for changes that didn't pass the proxy, the catalogs are asked whether they are what they were,
 * which takes milliseconds, and only if they aren't for everything. */
#ifndef PGINTERLOCK_TABLE_CODE_H
#define PGINTERLOCK_TABLE_CODE_H

#include "config/rarely.h"
#include "routing/facts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link;

struct table_with_code {
    char *name;   /* without its schema */
    bool on_read; /* reading it runs the code */
};

struct table_code {
    struct table_with_code *tables; /* sorted by name */
    size_t count;
    bool seeds;         /* some of it seeds random numbers: entries whose name ends in "()", for
                           tables and for functions that do so when they are called */
    bool all;           /* there are too many, or they can't be compared: any table may have some */
    bool known;         /* the catalogs have said all this, */
    uint64_t structure; /* as of this change, */
    char *signature;    /* when this was their signature */

    /* The question that is under way. */
    struct table_with_code *answer;
    size_t answer_count;
    char *answer_signature;
    bool asked_all;           /* not only for the signature */
    const struct link *asker; /* NULL: no question is under way */
    bool failed;              /* the last question could not be answered */
    uint64_t asked;           /* it was asked as of this change, */
    uint64_t asked_at;        /* at this time, in milliseconds; 0: never */
    uint64_t pause;           /* how long to wait from then while structure goes on changing */
};

void table_code_close(struct table_code *code);

/* Whether there may be more than the catalogs have said. */
static inline bool table_code_is_unknown(const struct table_code *code, uint64_t structure) {
    return !code->known || code->structure != structure;
}

/* Whether the statement may run such code. Nearly always no table has any, and the inline part is
 * all that runs. */
bool table_code_finds(const struct table_code *code, uint64_t structure,
                      const struct statement_facts *facts);
static inline bool table_code_may_run(const struct table_code *code, uint64_t structure,
                                      const struct statement_facts *facts) {
    return RARELY(table_code_is_unknown(code, structure) || code->count > 0) &&
           table_code_finds(code, structure, facts);
}

/* Whether the statement may seed random numbers, by such code or by a function that it calls. */
bool table_code_seeds(const struct table_code *code, const struct statement_facts *facts);

/* Whether it is time to ask. */
bool table_code_is_due(const struct table_code *code, uint64_t structure, uint64_t now);
/* Begins a question. The asker sends what this returns, a simple query in a transaction of its own,
 * with which its settings end. */
const char *table_code_ask(struct table_code *code, const struct link *asker, uint64_t structure,
                           uint64_t now);
/* Takes the body of a DataRow of the answer. */
void table_code_take_row(struct table_code *code, const uint8_t *body, size_t length);
/* Ends the question: `complete`, or it could not be answered or the asker is gone. Does nothing if
 * this is not the asker. */
void table_code_answered(struct table_code *code, const struct link *asker, bool complete,
                         uint64_t now);

#endif
