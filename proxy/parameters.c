#include "proxy/parameters.h"

#include "config/alloc.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* Name, NUL, value, NUL, one pair after the other: what two sets are compared by. */
struct parameters {
    unsigned references;
    UT_hash_handle hh;
    size_t length;
    char text[];
};

struct parameter_store {
    struct parameters *sets; /* by text */
};

struct parameter_store *parameter_store_new(void) {
    return alloc_new(sizeof(struct parameter_store));
}

void parameter_store_free(struct parameter_store *store) {
    struct parameters *set, *next;
    if (store == NULL)
        return;
    HASH_ITER(hh, store->sets, set, next) {
        HASH_DEL(store->sets, set);
        free(set);
    }
    free(store);
}

struct parameters *parameters_ref(struct parameters *set) {
    if (set != NULL)
        set->references++;
    return set;
}

void parameters_unref(struct parameter_store *store, struct parameters *set) {
    if (set == NULL || --set->references > 0)
        return;
    HASH_DEL(store->sets, set);
    free(set);
}

bool parameters_next(const struct parameters *set, size_t *cursor, struct parameter *out) {
    if (set == NULL || *cursor == set->length)
        return false;
    out->name = set->text + *cursor;
    out->value = out->name + strlen(out->name) + 1;
    *cursor += (size_t)(out->value - out->name) + strlen(out->value) + 1;
    return true;
}

const char *parameters_find(const struct parameters *set, const char *name) {
    struct parameter parameter;
    for (size_t cursor = 0; parameters_next(set, &cursor, &parameter);)
        if (strcmp(parameter.name, name) == 0)
            return parameter.value;
    return NULL;
}

static void append(struct parameters *set, const char *name, const char *value) {
    const char *const texts[] = {name, value};
    for (size_t i = 0; i < 2; i++) {
        size_t length = strlen(texts[i]) + 1;
        memcpy(set->text + set->length, texts[i], length);
        set->length += length;
    }
}

/* The set of that text which is there already, or this one. */
static struct parameters *enter_take(struct parameter_store *store, struct parameters *set) {
    struct parameters *same;
    HASH_FIND(hh, store->sets, set->text, set->length, same);
    if (same != NULL) {
        free(set);
        return parameters_ref(same);
    }
    set->references = 1;
    HASH_ADD_KEYPTR(hh, store->sets, set->text, set->length, set);
    return set;
}

struct parameters *parameters_new(struct parameter_store *store, const struct parameter *list,
                                  size_t count) {
    size_t length = 0;
    for (size_t i = 0; i < count; i++)
        length += strlen(list[i].name) + strlen(list[i].value) + 2;
    if (length == 0)
        return NULL;
    struct parameters *set = alloc_new(sizeof *set + length);
    for (size_t i = 0; i < count; i++)
        append(set, list[i].name, list[i].value);
    return enter_take(store, set);
}

struct parameters *parameters_change_take(struct parameter_store *store, struct parameters *from,
                                          const char *name, const char *value) {
    size_t before = from != NULL ? from->length : 0;
    struct parameters *set = alloc_new(sizeof *set + before + strlen(name) + strlen(value) + 2);
    struct parameter parameter;
    bool found = false;
    for (size_t cursor = 0; parameters_next(from, &cursor, &parameter);) {
        bool same = strcmp(parameter.name, name) == 0;
        append(set, parameter.name, same ? value : parameter.value);
        found |= same;
    }
    if (!found)
        append(set, name, value);
    set = enter_take(store, set);
    parameters_unref(store, from);
    return set;
}
