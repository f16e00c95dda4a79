/* Strings that are built piece by piece, and a scratch store where a session keeps them until its
 * next decision. */
#ifndef PGINTERLOCK_TEXT_H
#define PGINTERLOCK_TEXT_H

#include "config/alloc.h"

#include <stdarg.h>
#include <stddef.h>

/* A growing string; `data` is NUL-terminated once something was appended. Out of memory ends the
 * process. */
struct text {
    char *data;
    size_t length, room;
};

void text_append(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_append_bytes(struct text *text, const char *bytes, size_t length);

/* PostgreSQL's 1-based position of byte `offset`: the number of characters before it in UTF-8 text,
 * plus one; 0 if it is not within the text. */
int position_in_characters(const char *text, size_t length, int offset) __attribute__((cold));

/* Owns finished strings. */
struct scratch {
    void **strings;
    size_t count;
};

/* Takes the text's string, which lives until scratch_clear(); NULL where nothing was appended. */
const char *scratch_take(struct scratch *scratch, struct text *text);
void scratch_clear(struct scratch *scratch);

/* Zeroed memory that lives as long. */
void *scratch_new(struct scratch *scratch, size_t size);

/* realloc() that doubles: makes room for one more of `size` bytes in an array. Out of memory ends
 * the process. */
void *array_grow(void *array, size_t count, size_t *room, size_t size);

#endif
