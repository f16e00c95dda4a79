/* UTF-8, as PostgreSQL and JSON define it: what is valid, how long a character is, where a text may
 * be cut. Nothing here allocates; any thread. */
#ifndef PGINTERLOCK_UTF8_H
#define PGINTERLOCK_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the byte goes on a character that another one began (10xxxxxx). */
static inline bool utf8_is_continuation(char byte) {
    return ((unsigned char)byte & 0xC0) == 0x80;
}

/* Bytes of the character at `text`, of which there are `left`, at least one; 0: it is none, by the
 * rules of PostgreSQL's pg_utf8_islegal(). */
size_t utf8_length(const char *text, size_t left);

/* How many bytes from the front are valid UTF-8 without a NUL: `length` where all are. */
size_t utf8_valid(const char *text, size_t length);

/* Replaces, in place and byte by byte, what is not valid by underscores, which are letters to SQL,
 * and NUL by a blank. */
void utf8_repair(char *text, size_t length);

/* Where to cut a text that has more than `most` bytes, so that no character is cut in two: at most
 * `most`. */
size_t utf8_cut(const char *text, size_t most);

/* Characters in so many bytes. */
size_t utf8_count(const char *text, size_t length);

#endif
