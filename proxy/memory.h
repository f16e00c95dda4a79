/* Memory that is always there: running out of it ends the process with a message, since no half-routed statement must
 * survive it. Zeroed. Free with free(). */
#ifndef PGINTERLOCK_MEMORY_H
#define PGINTERLOCK_MEMORY_H

#include <stddef.h>

void *memory_new(size_t size);
void *memory_grow(void *block, size_t size); /* as realloc(); new bytes are not zeroed */
char *memory_copy_string(const char *text);  /* NULL gives NULL */
char *memory_copy_bytes(const char *text, size_t length); /* NUL-terminated */

#endif
