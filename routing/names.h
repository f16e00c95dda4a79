/* A hash table from names to the index of what has the name. One thread. */
#ifndef PGINTERLOCK_NAMES_H
#define PGINTERLOCK_NAMES_H

#include <stddef.h>

struct name_entry;

/* Zeroed: empty. */
struct names {
    struct name_entry *entries;
};

/* The index, or -1. */
long names_get(const struct names *names, const char *name);

/* Enters the name or gives it another index; -1 removes it. */
void names_set(struct names *names, const char *name, long index);
void names_clear(struct names *names) __attribute__((noinline));

#endif
