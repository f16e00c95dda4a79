/* Files that the settings name: reading them whole, their paths and folders. Used while loading, on
 * one thread. */
#ifndef PGINTERLOCK_FILE_H
#define PGINTERLOCK_FILE_H

#include "config/error.h"

#include <stdbool.h>
#include <stddef.h>

enum { FILE_SIZE_MAX = 8 << 20 };

/* The whole file, NUL-terminated at *length; the caller frees. The error says what is wrong with
 * which file, without a line: the caller knows who named it. */
bool file_read(const char *path, char **data, size_t *length, struct error *error)
    __attribute__((warn_unused_result));

/* Whether the file can be read; the same error. */
bool file_check_readable(const char *path, struct error *error) __attribute__((warn_unused_result));

/* Whether `path` is, or can become, a regular file: its folder is there; with `writable`, both can
 * be written. The same error. */
bool file_check_appendable(const char *path, bool writable, struct error *error)
    __attribute__((warn_unused_result));

/* Where in the settings file `path` something stands that turned out wrong only when it was used:
 * the number of the first line that has `text` (of a path: its last part, as files may be named
 * relative to the settings), else of the first that has `key`, else 1. */
unsigned file_find_line(const char *path, const char *text, const char *key);

/* `path` seen from the folder of the file `from`; the caller frees. */
char *file_resolve(const char *from, const char *path);

/* The *.yml and *.yaml files of a folder as full paths, sorted by name; free with file_list_free().
 * A folder that isn't there is an error, unless `optional`: then there are none. */
bool file_list_yaml(const char *folder, bool optional, char ***paths, size_t *count,
                    struct error *error) __attribute__((warn_unused_result));
void file_list_free(char **paths, size_t count);

#endif
