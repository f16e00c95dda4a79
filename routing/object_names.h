/* Names of indexes, sequences, statistics and constraints, with the table that each belongs to.
 * Only a database's catalog knows that; here is kept what the catalogs said, so that deciding asks
 * nobody.
 *
 *     statement_object_name(statement, i, &name)       table i is such a name
 *     object_names_knows(map, …) is false              …which is to be asked for: in each catalog
 *     object_names_put(map, …answers…)                 what they said, held against the
 * classification object_names_find(map, …)                        when the statement is decided
 *
 * One map belongs to one worker thread and one settings snapshot, as the router does. Time is in
 * milliseconds from any start and is passed in. A name whose time is up is still found, but no
 * longer known: who can ask asks again, and a statement that runs long is not judged by less than
 * was known when it began. */
#ifndef PGINTERLOCK_OBJECT_NAMES_H
#define PGINTERLOCK_OBJECT_NAMES_H

#include "routing/router.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each has names of its own. */
enum object_kind { OBJECT_NAME_RELATION, OBJECT_NAME_STATISTICS, OBJECT_NAME_CONSTRAINT };

/* As it stands in a statement. Borrowed strings. */
struct object_name {
    enum object_kind kind;
    const char *schema; /* as written, or NULL */
    const char *name;
};

/* One thing of that name in one catalog. Borrowed strings. */
struct object_answer {
    int database;       /* the physical one whose catalog it is in */
    bool visible;       /* without its schema, by the asking session's search_path */
    bool temporary;     /* it is the asking session's own */
    bool belongs;       /* to a table; else it is itself a table, view, … */
    const char *schema; /* of that table */
    const char *table;  /* NULL: it belongs to none, as a sequence may */
};

/* Who asked whom, in physical databases. */
struct object_inquiry {
    uint64_t asker;        /* object_names_new_asker() */
    database_set asked;    /* … */
    database_set answered; /* the others could not be reached: the answer does not last */
    bool uncommitted;      /* the asker's transaction has changed structure: for nobody else */
    uint64_t now;
};

/* What a name counts as. */
struct object_table {
    enum table_role role; /* IGNORED: nothing was found, it belongs to no table, or which of several
                             is meant cannot be told */
    int schema;
    database_set databases;
    bool belongs;             /* as in object_answer */
    const char *table_schema; /* of its table, as the catalog has it */
    const char *table;
};

struct object_names;

/* Holds about `limit` names; the least recently asked for go first. `settings` is borrowed. */
struct object_names *object_names_new(const struct settings *settings, size_t limit);
void object_names_free(struct object_names *map);

/* A number for a session: what depends on its search_path or is its own is for it alone. Never 0.
 */
uint64_t object_names_new_asker(struct object_names *map);

/* Whether what all of `databases` (physical) say of the name is known to the asker at this time. */
bool object_names_knows(struct object_names *map, const struct object_name *name, uint64_t asker,
                        database_set databases, uint64_t now);

/* What the catalogs said. Frees what was known of the name before, but of no other name: all names
 * of a statement can be put before it is decided. */
void object_names_put(struct object_names *map, const struct object_name *name,
                      const struct object_answer *answers, size_t count,
                      const struct object_inquiry *inquiry);

/* Makes room within the limit for as many; call before putting them. */
void object_names_make_room(struct object_names *map, size_t count);

/* What the name counts as, or NULL. Borrowed until the map is changed. */
const struct object_table *object_names_find(const struct object_names *map,
                                             const struct object_name *name, uint64_t asker);

/* Structure has changed: nothing is known any more. */
void object_names_forget(struct object_names *map);
size_t object_names_count(const struct object_names *map);

/* Whether the statement's table `index` is a name that only a catalog can resolve, and which. */
bool statement_object_name(const struct statement *statement, size_t index,
                           struct object_name *out);

#endif
