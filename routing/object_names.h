/* Names of indexes, sequences, statistics and constraints, with the table that each belongs to.
 * Only a database's catalog knows that. The map keeps what the catalogs said, so that a decision
 * needn't ask:
 *
 *     statement_object_name(statement, i, &name)   whether table i is such a name
 *     object_names_knows(map, …)                   false: each catalog is to be asked for it
 *     object_names_put(map, …, answers, …)         what they said, classified
 *     object_names_find(map, …)                    when the statement is decided
 *
 * One map belongs to one worker thread and one settings snapshot, as the router does. Time is in
 * milliseconds from any start and is passed in. A name whose time is up is no longer known, so that
 * the proxy asks again, but it is still found: a statement that runs long is not judged by less
 * than was known when it began. */
#ifndef PGINTERLOCK_OBJECT_NAMES_H
#define PGINTERLOCK_OBJECT_NAMES_H

#include "routing/router.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each kind has a namespace of its own. */
enum object_kind { OBJECT_NAME_RELATION, OBJECT_NAME_STATISTICS, OBJECT_NAME_CONSTRAINT };

/* A name as it stands in a statement. Borrowed strings. */
struct object_name {
    enum object_kind kind;
    const char *schema; /* as written, or NULL */
    const char *name;
};

/* One object of that name in one catalog. Borrowed strings. */
struct object_answer {
    int database;       /* the physical one whose catalog it is in */
    bool visible;       /* without its schema, by the asking session's search_path */
    bool temporary;     /* the asking session's own */
    bool belongs;       /* it belongs to a table; else it is itself a table, view, … */
    const char *schema; /* of that table */
    const char *table;  /* NULL: it belongs to none, as a sequence may */
};

/* Which session asked which physical databases. */
struct object_inquiry {
    uint64_t asker; /* object_names_new_asker() */
    database_set asked;
    database_set answered; /* if not all that were asked, the answer does not last */
    bool uncommitted;      /* the asker's transaction has changed structure: the answer is only for
                              the asker */
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

/* A number for a session, never 0: answers that depend on its search_path, or are about objects of
 * its own, are for it alone. */
uint64_t object_names_new_asker(struct object_names *map);

/* Whether the asker knows at this time what all of `databases` (physical) say of the name. */
bool object_names_knows(struct object_names *map, const struct object_name *name, uint64_t asker,
                        database_set databases, uint64_t now);

/* Stores what the catalogs said. Frees what was known of this name before, but of no other: all
 * names of a statement can be put before it is decided. */
void object_names_put(struct object_names *map, const struct object_name *name,
                      const struct object_answer *answers, size_t count,
                      const struct object_inquiry *inquiry);

/* Makes room within the limit for `count` names; call it before putting them. */
void object_names_make_room(struct object_names *map, size_t count);

/* What the name counts as, or NULL. Borrowed until the map is changed. */
const struct object_table *object_names_find(const struct object_names *map,
                                             const struct object_name *name, uint64_t asker);

/* Structure has changed: forgets everything. */
void object_names_forget(struct object_names *map);
size_t object_names_count(const struct object_names *map);

/* Whether the statement's table `index` is a name that only a catalog can resolve, and which. */
bool statement_object_name(const struct statement *statement, size_t index,
                           struct object_name *out);

#endif
