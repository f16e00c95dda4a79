/* The `check` command: loads the configuration with everything it refers to and says what it
 * amounts to; with `live`, holds it against the databases (proxy/live.h). */
#ifndef PGINTERLOCK_CHECK_H
#define PGINTERLOCK_CHECK_H

#include <stdbool.h>

struct check_options {
    const char *config;
    bool live;
    bool json; /* with `live`: one JSON object a line for what is found, and nothing else */
};

/* Prints to standard output. 0: fine; 1: something in the databases stands in the split's way; 2:
 * one line on standard error says what is wrong with the configuration, or which database could not
 * be read. With `live`, call it on a thread with a big stack. */
int check_command(const struct check_options *options);

#endif
