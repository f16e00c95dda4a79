/* The statements and portals that a client made with Parse and Bind, by name, with the database
 * they live on. */
#ifndef PGINTERLOCK_PREPARED_H
#define PGINTERLOCK_PREPARED_H

#include "routing/router.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

struct shared_statement;

struct prepared {
    unsigned references;
    char *name;          /* "" is the unnamed statement */
    struct query *query; /* reference; what Parse was given */
    uint8_t *types;      /* parameter types as in Parse: count and OIDs */
    size_t types_length;
    bool local; /* the proxy runs it itself: transaction verbs, SET pginterlock.…, DISCARD … */
    int database;                    /* logical: where it was routed at Parse; -1 where local */
    database_set prepared_on;        /* physical databases whose connection knows it */
    struct shared_statement *shared; /* a reference: what it is on connections that clients share;
                                        NULL: it has its own name there */
    uint64_t serial; /* where connections are shared: unique on the worker; else 0 */
    int shared_on;   /* physical database that `shared` is for */
    /* What the client was told of its result, see session_results.c. */
    uint64_t told;       /* a checksum; 0: nothing */
    int told_on;         /* by this physical database */
    bool told_of_portal; /* by Describe of a portal, which some drivers send once, others each time
                          */
    UT_hash_handle hh;
};

struct prepared *prepared_new(const char *name, struct query *query_take);
struct prepared *prepared_ref(struct prepared *prepared);
void prepared_unref(struct prepared *prepared);

/* The only statement, or NULL for an empty query or one that the server will refuse (several
 * commands). */
static inline const struct statement *prepared_statement(const struct prepared *prepared) {
    return prepared->query->count == 1 ? &prepared->query->statements[0] : NULL;
}

/* A client's statements. The unnamed one, which drivers make anew for every query, stands beside
 * the table. */
struct prepared_table {
    struct prepared *named;
    struct prepared *unnamed; /* NULL: there is none */
};

struct prepared *prepared_find_named(const struct prepared_table *table, const char *name);
static inline struct prepared *prepared_find(const struct prepared_table *table, const char *name) {
    return name[0] == '\0' ? table->unnamed : prepared_find_named(table, name);
}
/* Replaces the statement of the same name; the table takes a reference of its own. */
void prepared_enter(struct prepared_table *table, struct prepared *prepared);
/* Does nothing if another has taken its name. */
void prepared_remove(struct prepared_table *table, struct prepared *prepared);
void prepared_clear(struct prepared_table *table);
static inline bool prepared_any(const struct prepared_table *table) {
    return table->unnamed != NULL || table->named != NULL;
}
/* Each of them: the next one after `previous` (NULL: the first), or NULL. */
struct prepared *prepared_next(const struct prepared_table *table, const struct prepared *previous);

struct portal {
    char *name;                /* NULL: the unnamed one */
    struct prepared *prepared; /* reference */
    int database;              /* logical; -1 where local */
    bool done;                 /* local: it ran, and can't again */
    UT_hash_handle hh;
};

/* The unnamed portal, which nearly every statement uses, stands beside the table: it costs no
 * memory of its own. */
struct portals {
    struct portal *named;
    struct portal unnamed; /* `prepared` NULL: there is none */
};

struct portal *portal_find_named(struct portals *portals, const char *name);
static inline struct portal *portal_find(struct portals *portals, const char *name) {
    if (name[0] != '\0')
        return portal_find_named(portals, name);
    return portals->unnamed.prepared != NULL ? &portals->unnamed : NULL;
}
void portal_enter(struct portals *portals, const char *name, struct prepared *prepared,
                  int database);
void portal_remove(struct portals *portals, const char *name);
void portal_clear(struct portals *portals);
static inline bool portal_any(const struct portals *portals) {
    return portals->named != NULL || portals->unnamed.prepared != NULL;
}

#endif
