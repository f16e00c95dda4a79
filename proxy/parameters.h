/* What servers report about themselves (ParameterStatus): server_version, TimeZone and so on. Most
 * connections of a worker were told the same, so equal sets are one set in memory. A set never
 * changes; a connection that learns something new takes another set. Sets are reference counted;
 * one worker, one thread. */
#ifndef PGINTERLOCK_PARAMETERS_H
#define PGINTERLOCK_PARAMETERS_H

#include <stdbool.h>
#include <stddef.h>

struct parameters; /* NULL: the empty set */
struct parameter_store;

struct parameter {
    const char *name, *value; /* live as long as the set */
};

struct parameter_store *parameter_store_new(void);
/* Frees all sets, even those with references left, which must not be used again. */
void parameter_store_free(struct parameter_store *store);

/* The set `from`, with `name` set to `value`: in the place where the name stood, or at the end.
 * Takes the reference on `from`; the caller gets one on the result. */
struct parameters *parameters_change_take(struct parameter_store *store, struct parameters *from,
                                          const char *name, const char *value);
/* A set of these, in which no name may stand twice. */
struct parameters *parameters_new(struct parameter_store *store, const struct parameter *list,
                                  size_t count);
struct parameters *parameters_ref(struct parameters *set);
void parameters_unref(struct parameter_store *store, struct parameters *set);

/* The value, or NULL. */
const char *parameters_find(const struct parameters *set, const char *name);

/* Walks the set in its order: *cursor is 0 at the start. False: no more. */
bool parameters_next(const struct parameters *set, size_t *cursor, struct parameter *out);

#endif
