/* The `options` of a startup packet: command-line options of a backend, of which those that set the
 * proxy's own settings (-c pginterlock.database=ci) are for the proxy. Source: PostgreSQL manual,
 * "Parameter Interaction via the Shell"; words are split as the server's pg_split_opts() does. */
#ifndef PGINTERLOCK_STARTUP_OPTIONS_H
#define PGINTERLOCK_STARTUP_OPTIONS_H

#include "protocol/message.h"

#include <stdbool.h>

/* Calls `own` for each own setting (not where it is NULL), in order, until it returns false, which
 * is passed on. What is left is appended to `rest` (unless NULL), each word escaped and behind a
 * space. */
bool startup_options_read(const char *options,
                          bool (*own)(void *context, const char *name, const char *value),
                          void *context, struct wire_buffer *rest);

/* Calls `setting` for each setting, the proxy's own too, in order. False: something else stands
 * there, and `error` is what a server would say to it. */
bool startup_options_settings(const char *options,
                              void (*setting)(void *context, const char *name, const char *value),
                              void *context, struct error *error)
    __attribute__((warn_unused_result));

/* Appends a word so that it is read as one. */
void startup_options_append(struct wire_buffer *options, const char *word);

#endif
