/* Allocation for loading a configuration: never fails, the process ends instead (there is nothing
 * to serve without its settings). What is returned is freed with free(). */
#ifndef PGINTERLOCK_ALLOC_H
#define PGINTERLOCK_ALLOC_H

#include <stdarg.h>
#include <stddef.h>

void *alloc_zeroed(size_t count, size_t size);
char *alloc_copy(const char *text, size_t length); /* NUL-terminated copy */
char *alloc_text(const char *text);                /* of a NUL-terminated text; NULL gives NULL */
char *alloc_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Makes room for one more of `size` bytes in an array that holds `count`; returns the array, maybe
 * moved. The capacity is the next power of two, so that the count alone tells when to grow. */
void *alloc_grow(void *array, size_t count, size_t size);

#endif
