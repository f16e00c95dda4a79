/* The `check` command: loads the configuration with everything it refers to and says what it
 * amounts to. */
#ifndef PGINTERLOCK_CHECK_H
#define PGINTERLOCK_CHECK_H

/* Prints a summary to standard output and returns 0; or one line to standard error and 2. */
int check_command(const char *config_path);

#endif
