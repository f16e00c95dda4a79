/* What the console understands: SHOW with a word, and RELOAD; and what drivers send of their own
 * accord: transactions and settings. Pure. */
#ifndef PGINTERLOCK_CONSOLE_COMMAND_H
#define PGINTERLOCK_CONSOLE_COMMAND_H

#include "config/error.h"

#include <stdbool.h>
#include <stddef.h>

enum console_command {
    CONSOLE_SHOW_CLIENTS,
    CONSOLE_SHOW_CONFIG,
    CONSOLE_SHOW_DATABASES,
    CONSOLE_SHOW_HELP,
    CONSOLE_SHOW_POOLS,
    CONSOLE_SHOW_SERVERS,
    CONSOLE_SHOW_STATS,
    CONSOLE_SHOW_VERSION,
    CONSOLE_SHOW_VIOLATIONS,
    CONSOLE_RELOAD,
    CONSOLE_BEGIN,
    CONSOLE_COMMIT,
    CONSOLE_ROLLBACK,
    CONSOLE_SET,
    CONSOLE_RESET,
    CONSOLE_DISCARD,
    CONSOLE_COMMANDS
};

/* "SHOW CLIENTS" and so on, and what it is for. */
const char *console_command_name(enum console_command command);
const char *console_command_help(enum console_command command);
/* What CommandComplete says of it. */
const char *console_command_tag(enum console_command command);

enum console_reading {
    CONSOLE_COMMAND, /* *command is set */
    CONSOLE_END,     /* nothing but blanks, comments and semicolons is left */
    /* The error says why; *at is where the wrong word begins: */
    CONSOLE_WRONG,            /* a syntax error */
    CONSOLE_UNKNOWN_SETTING,  /* SET or RESET of what no driver sets for itself */
    CONSOLE_FOREIGN_ENCODING, /* SET client_encoding to another than UTF8 */
};

/* The next command of a text (NUL-terminated) from *at on, which is moved past it and its
 * semicolon. Upper and lower case are the same; comments are SQL's. */
enum console_reading console_read_command(const char *text, size_t *at,
                                          enum console_command *command, struct error *error);

#endif
