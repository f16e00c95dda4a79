/* Whether reading a database's tables, without calling a function by a name that is not
 * PostgreSQL's, may run code that somebody made: behind an operator, a cast, an index's order, a
 * view, a policy, a domain's check, t.f for f(t), a name that PostgreSQL's functions have too, or
 * on another server (foreign tables). What such code writes no statement tells; so COMMIT waits for
 * a database where there is any, though it was only read, and tells whether that failed
 * (session_fan.c).
 *
 * Any such code counts, whatever it does: to wait costs little, and sources don't tell all. Of
 * extensions that are well known to write nothing by this, none does.
 *
 * One for each database on each worker; within one thread. A session asks the catalogs over its own
 * link, behind a COMMIT for which it wanted to know. The answer counts until structure changes
 * (struct workers); for changes that didn't pass the proxy they are asked again every minute. */
#ifndef PGINTERLOCK_READ_CODE_H
#define PGINTERLOCK_READ_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link;

struct read_code {
    bool known;         /* the catalogs have said… */
    bool exists;        /* …whether there is any… */
    uint64_t structure; /* …as of this change */

    const struct link *asker; /* who asks; NULL: nobody */
    uint64_t asked;           /* as of this change… */
    uint64_t asked_at;        /* …and this time, milliseconds; 0: never */
    uint64_t pause;           /* from then until the next time where structure changes */
};

/* Whether there surely is none. */
static inline bool read_code_is_absent(const struct read_code *code, uint64_t structure) {
    return code->known && !code->exists && code->structure == structure;
}

/* Whether it is time to ask. `now`: milliseconds. */
bool read_code_is_due(const struct read_code *code, uint64_t structure, uint64_t now);
/* The asker sends what this returns: a simple query, outside a transaction… */
const char *read_code_ask(struct read_code *code, const struct link *asker, uint64_t structure,
                          uint64_t now);
/* …gets the body of a DataRow… */
void read_code_take_row(struct read_code *code, const struct link *asker, const uint8_t *body,
                        size_t length);
/* …and ReadyForQuery; without a row it could not be answered. */
void read_code_answered(struct read_code *code, const struct link *asker, uint64_t now);

#endif
