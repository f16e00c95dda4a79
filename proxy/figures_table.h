/* A table of figures, as SHOW answers with it: rows of texts and numbers in one block of memory, so
 * that a worker fills it fast and hands it to another by a pointer. Tables of several workers
 * become one: their rows follow each other, or, if the kind says so, rows with equal keys become
 * one. Pure but for the allocator. */
#ifndef PGINTERLOCK_FIGURES_TABLE_H
#define PGINTERLOCK_FIGURES_TABLE_H

#include "protocol/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FIGURES_COLUMNS_MAX = 24, FIGURES_TEXT_MAX = 1024 /* bytes of a cell */ };

enum figure_type { FIGURE_TEXT, FIGURE_NUMBER };

/* What becomes of a column where rows with equal keys become one. */
enum figure_merging {
    MERGE_KEY,
    MERGE_FIRST,    /* any of them will do */
    MERGE_SUM,      /* numbers */
    MERGE_MAX,      /* numbers */
    MERGE_WITH_MAX, /* the smaller part of the number in the column before it, which is MERGE_MAX */
};

struct figure_column {
    const char *name;
    enum figure_type type;
    enum figure_merging merging;
};

struct figures_kind {
    const struct figure_column *columns;
    size_t column_count;
    bool merged; /* rows with equal keys become one, and stand in their order; keys come first */
};

struct figure {
    bool known; /* else it is NULL */
    const char *text;
    int64_t number;
};

static inline struct figure figure_text(const char *text) {
    return (struct figure){.known = text != NULL, .text = text};
}
static inline struct figure figure_number(int64_t number) {
    return (struct figure){.known = true, .number = number};
}
static inline struct figure figure_unknown(void) {
    return (struct figure){0};
}

/* Zero-initialise but for `kind`. */
struct figures_table {
    const struct figures_kind *kind;
    struct wire_buffer rows;
    size_t row_count;
};

void figures_table_close(struct figures_table *table);

/* Adds a row, one figure for each column. Texts are copied, cut off if they are too long, and made
 * valid UTF-8: clients choose some of them, and others read the table. */
void figures_table_add(struct figures_table *table, const struct figure *row);

/* Moves all rows of `from`, a table of the same kind, to the end of `into`. */
void figures_table_take(struct figures_table *into, struct figures_table *from);
/* After the last table was taken: makes rows with equal keys one, where the kind is merged. */
void figures_table_merge(struct figures_table *table);

/* Walks the rows: *at is 0 at the start. False: no more. Texts are borrowed from the table. */
bool figures_table_next(const struct figures_table *table, size_t *at, struct figure *row);

/* RowDescription and DataRow. `binary`: a flag for each column; NULL: all are text. */
void figures_put_description(struct wire_buffer *out, const struct figures_kind *kind,
                             const bool *binary);
void figures_put_row(struct wire_buffer *out, const struct figures_kind *kind,
                     const struct figure *row, const bool *binary);

#endif
