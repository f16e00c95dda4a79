/* Memory that is always there: where it runs out the process ends with a message, since no statement must go on half
 * routed. What is returned is freed with free(). */
#ifndef PGINTERLOCK_ALLOC_H
#define PGINTERLOCK_ALLOC_H

#include <stdarg.h>
#include <stddef.h>

void *alloc_new(size_t size); /* zeroed */
void *alloc_zeroed(size_t count, size_t size);
void *alloc_resize(void *block, size_t size); /* as realloc(): what is new is not zeroed */
char *alloc_copy(const char *text, size_t length); /* NUL-terminated copy */
char *alloc_text(const char *text);                /* of a NUL-terminated text; NULL gives NULL */
char *alloc_format_list(const char *format, va_list arguments)
    __attribute__((format(printf, 1, 0)));
char *alloc_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Makes room for one more of `size` bytes in an array that holds `count`; returns the array, maybe
 * moved. The capacity is the next power of two, so that the count alone tells when to grow. */
void *alloc_grow(void *array, size_t count, size_t size);

#endif
