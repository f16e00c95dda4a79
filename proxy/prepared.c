#define XXH_INLINE_ALL
#define HASH_FUNCTION(key, length, hash) (hash) = (unsigned)XXH3_64bits(key, length)
#include "proxy/prepared.h"

#include "config/alloc.h"
#include "proxy/server_statements.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct prepared *prepared_new(const char *name, struct query *query_take) {
    struct prepared *prepared = alloc_new(sizeof *prepared);
    prepared->references = 1;
    prepared->name = alloc_text(name);
    prepared->query = query_take;
    prepared->database = -1;
    return prepared;
}

struct prepared *prepared_ref(struct prepared *prepared) {
    prepared->references++;
    return prepared;
}

static __attribute__((noinline)) void prepared_free(struct prepared *prepared) {
    query_unref(prepared->query);
    shared_statement_unref(prepared->shared);
    free(prepared->types);
    free(prepared->name);
    free(prepared);
}

void prepared_unref(struct prepared *prepared) {
    if (prepared != NULL && --prepared->references == 0)
        prepared_free(prepared);
}

struct prepared *prepared_find_named(const struct prepared_table *table, const char *name) {
    struct prepared *found = NULL;
    HASH_FIND_STR(table->named, name, found);
    return found;
}

void prepared_remove(struct prepared_table *table, struct prepared *prepared) {
    if (prepared_find(table, prepared->name) != prepared)
        return;
    if (prepared == table->unnamed)
        table->unnamed = NULL;
    else
        HASH_DEL(table->named, prepared);
    prepared_unref(prepared);
}

void prepared_enter(struct prepared_table *table, struct prepared *prepared) {
    prepared_ref(prepared);
    struct prepared *old = prepared_find(table, prepared->name);
    if (old != NULL)
        prepared_remove(table, old);
    if (prepared->name[0] == '\0')
        table->unnamed = prepared;
    else
        HASH_ADD_KEYPTR(hh, table->named, prepared->name, strlen(prepared->name), prepared);
}

struct prepared *prepared_next(const struct prepared_table *table,
                               const struct prepared *previous) {
    if (previous == NULL && table->unnamed != NULL)
        return table->unnamed;
    return previous == NULL || previous == table->unnamed ? table->named : previous->hh.next;
}

void prepared_clear(struct prepared_table *table) {
    struct prepared *prepared;
    while ((prepared = prepared_next(table, NULL)) != NULL)
        prepared_remove(table, prepared);
}

struct portal *portal_find_named(struct portals *portals, const char *name) {
    struct portal *found = NULL;
    HASH_FIND_STR(portals->named, name, found);
    return found;
}

static __attribute__((noinline)) void portal_end_named(struct portals *portals,
                                                       struct portal *portal) {
    prepared_unref(portal->prepared);
    HASH_DEL(portals->named, portal);
    free(portal->name);
    free(portal);
}

static void portal_end(struct portals *portals, struct portal *portal) {
    if (portal != &portals->unnamed) {
        portal_end_named(portals, portal);
        return;
    }
    prepared_unref(portal->prepared);
    portal->prepared = NULL;
}

void portal_remove(struct portals *portals, const char *name) {
    struct portal *portal = portal_find(portals, name);
    if (portal != NULL)
        portal_end(portals, portal);
}

void portal_enter(struct portals *portals, const char *name, struct prepared *prepared,
                  int database) {
    prepared_ref(prepared);
    portal_remove(portals, name);
    struct portal *portal = &portals->unnamed;
    if (name[0] != '\0') {
        portal = alloc_new(sizeof *portal);
        portal->name = alloc_text(name);
        HASH_ADD_KEYPTR(hh, portals->named, portal->name, strlen(portal->name), portal);
    }
    portal->prepared = prepared;
    portal->database = database;
    portal->done = false;
}

void portal_clear(struct portals *portals) {
    portal_remove(portals, "");
    struct portal *portal, *next;
    HASH_ITER(hh, portals->named, portal, next) {
        portal_end_named(portals, portal);
    }
}
