#include "proxy/prepared.h"

#include "config/alloc.h"

#include <stdlib.h>
#include <string.h>

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

void prepared_unref(struct prepared *prepared) {
    if (prepared == NULL || --prepared->references > 0)
        return;
    query_unref(prepared->query);
    free(prepared->types);
    free(prepared->name);
    free(prepared);
}

const struct statement *prepared_statement(const struct prepared *prepared) {
    return prepared->query->count == 1 ? &prepared->query->statements[0] : NULL;
}

struct prepared *prepared_find(struct prepared *table, const char *name) {
    struct prepared *found = NULL;
    HASH_FIND_STR(table, name, found);
    return found;
}

void prepared_remove(struct prepared **table, struct prepared *prepared) {
    if (prepared_find(*table, prepared->name) != prepared)
        return;
    HASH_DEL(*table, prepared);
    prepared_unref(prepared);
}

void prepared_enter(struct prepared **table, struct prepared *prepared) {
    struct prepared *old = prepared_find(*table, prepared->name);
    if (old != NULL)
        prepared_remove(table, old);
    prepared_ref(prepared);
    HASH_ADD_KEYPTR(hh, *table, prepared->name, strlen(prepared->name), prepared);
}

void prepared_clear(struct prepared **table) {
    struct prepared *prepared, *next;
    HASH_ITER(hh, *table, prepared, next) {
        prepared_remove(table, prepared);
    }
}

struct portal *portal_find(struct portal *table, const char *name) {
    struct portal *found = NULL;
    HASH_FIND_STR(table, name, found);
    return found;
}

static void portal_free(struct portal **table, struct portal *portal) {
    HASH_DEL(*table, portal);
    prepared_unref(portal->prepared);
    free(portal->name);
    free(portal);
}

void portal_remove(struct portal **table, const char *name) {
    struct portal *portal = portal_find(*table, name);
    if (portal != NULL)
        portal_free(table, portal);
}

void portal_enter(struct portal **table, const char *name, struct prepared *prepared,
                  int database) {
    struct portal *portal = portal_find(*table, name);
    if (portal == NULL) {
        portal = alloc_new(sizeof *portal);
        portal->name = alloc_text(name);
        HASH_ADD_KEYPTR(hh, *table, portal->name, strlen(portal->name), portal);
    } else {
        prepared_unref(portal->prepared);
    }
    portal->prepared = prepared_ref(prepared);
    portal->database = database;
    portal->done = false;
}

void portal_clear(struct portal **table) {
    struct portal *portal, *next;
    HASH_ITER(hh, *table, portal, next) {
        portal_free(table, portal);
    }
}
