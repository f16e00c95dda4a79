/* Where in the settings file something stands that turned out wrong only when it was used, for
 * messages of the form `FILE:LINE: what is wrong: what to do`. */
#ifndef PGINTERLOCK_CONFIG_LINE_H
#define PGINTERLOCK_CONFIG_LINE_H

/* The number of the first line at `path` that has `text` (of a path: its last part, as files may be
 * named relative to the settings), else of the first that has `key`, else 1. */
unsigned config_line_find(const char *path, const char *text, const char *key);

#endif
