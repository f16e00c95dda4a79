/* Which tables and views of a database have code behind them (triggers, defaults, rules, views,
 * policies, checks) that could leave something on a connection: a setting, a lock of the session, a
 * temporary table. No statement says so; the database's catalogs do, and are asked by the
 * connection that a session has just given back.
 *
 * Code is what somebody made, not PostgreSQL's own. It could where it says so (set_config, SET,
 * LISTEN, …), runs what it makes as text, is in a language that isn't read here, or uses by name
 * what could. Tables whose rows such a table's foreign key changes, its partitioned table, and
 * views of it count with it.
 *
 * One for each database on each worker; within one thread. `structure` is how often structure was
 * seen to change (struct workers): what the catalogs said counts until the next change. Then, and
 * every minute for changes that didn't pass the proxy, they are asked whether they are what they
 * were, which takes milliseconds, and only if not for all of it. */
#ifndef PGINTERLOCK_TABLE_CODE_H
#define PGINTERLOCK_TABLE_CODE_H

#include "routing/facts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link;

struct table_with_code {
    char *name;   /* without its schema */
    bool on_read; /* it is enough to read it */
};

struct table_code {
    struct table_with_code *tables; /* sorted by name */
    size_t count;
    bool seeds;         /* some of it seeds random numbers: names with "()" behind them, of tables
                           and of functions that do so when they are called */
    bool all;           /* they are too many, or can't be compared: any table may have some */
    bool known;         /* the catalogs have said all this… */
    uint64_t structure; /* …as of this change… */
    char *signature;    /* …when this was theirs */

    struct table_with_code *answer; /* of the question that is under way */
    size_t answer_count;
    char *answer_signature;
    bool asked_all;           /* not only for the signature */
    const struct link *asker; /* who asks; NULL: nobody */
    bool failed;              /* the last question could not be answered */
    uint64_t asked;           /* as of this change… */
    uint64_t asked_at;        /* …and this time, milliseconds; 0: never */
    uint64_t pause;           /* from then until the next time where structure changes */
};

void table_code_close(struct table_code *code);

/* Whether what the catalogs said is not all that there may be by now. */
static inline bool table_code_is_unknown(const struct table_code *code, uint64_t structure) {
    return !code->known || code->structure != structure;
}

/* Whether the statement may run such code. Nearly always no table has any: then that is all. */
bool table_code_finds(const struct table_code *code, uint64_t structure,
                      const struct statement_facts *facts);
static inline bool table_code_may_run(const struct table_code *code, uint64_t structure,
                                      const struct statement_facts *facts) {
    return (table_code_is_unknown(code, structure) || code->count > 0) &&
           table_code_finds(code, structure, facts);
}

/* Whether the statement may seed random numbers by it, or by a function that it calls. */
bool table_code_seeds(const struct table_code *code, const struct statement_facts *facts);

/* Whether it is time to ask. */
bool table_code_is_due(const struct table_code *code, uint64_t structure, uint64_t now);
/* The asker sends what this returns: a simple query, in a transaction of its own; what it sets goes
 * with that. The asker… */
const char *table_code_ask(struct table_code *code, const struct link *asker, uint64_t structure,
                           uint64_t now);
/* …gets the body of a DataRow… */
void table_code_take_row(struct table_code *code, const uint8_t *body, size_t length);
/* …and all has come; false: it could not be answered, or the asker is gone. Nobody asks: nothing.
 */
void table_code_answered(struct table_code *code, const struct link *asker, bool complete,
                         uint64_t now);

#endif
