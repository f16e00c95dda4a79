/* Gathers what a walk over a statement finds: tables, each once, foreign keys, functions, literals.
 *
 * Everything kept is copied into the arena of the facts; growing arrays are left behind there,
 * which doubles at most what they take. One collector for each statement. */
#ifndef PGINTERLOCK_COLLECT_H
#define PGINTERLOCK_COLLECT_H

#include "routing/arena.h"
#include "routing/facts.h"

struct collector {
    struct arena *arena;
    struct table_facts *tables;
    size_t table_count, table_capacity;
    unsigned *slots; /* hash of tables, index plus one; NULL while there are few */
    size_t slot_count;
    struct foreign_key_facts *foreign_keys;
    size_t foreign_key_count, foreign_key_capacity;
    const char **functions;
    size_t function_count, function_capacity;
    const char **literals;
    size_t literal_count, literal_capacity;
};

void collector_init(struct collector *collector, struct arena *arena);

/* Index of the table, new or merged with what was known of it. `schema` may be NULL. */
int collector_add_table(struct collector *collector, const char *schema, const char *name,
                        enum access access, unsigned flags, int position);
void collector_add_foreign_key(struct collector *collector, int from, int to);
void collector_add_function(struct collector *collector, const char *name);
void collector_add_literal(struct collector *collector, const char *text, size_t length);

/* Gives tables without a position that of the first identifier of their name in the slice, puts
 * them in order of appearance, and hands everything over to `out`. */
void collector_finish(struct collector *collector, const char *text, struct statement_facts *out);

#endif
