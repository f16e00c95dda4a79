/* What the process takes from the shell that started it, put in order before anything connects. */
#ifndef PGINTERLOCK_ENVIRONMENT_H
#define PGINTERLOCK_ENVIRONMENT_H

#include <stddef.h>
#include <stdint.h>

/* Clears the variables by which libpq would put the operator's own settings (PGUSER, PGOPTIONS, …)
 * into every link. Those that the settings file at `config_path` names as ${…} stay, since a reload
 * must find them again. Call it after the first load and before any thread runs. */
void environment_clear_libpq(const char *config_path);

/* Raises the limit of open files as far as allowed; returns the new limit, 0 if it is unknown. */
uint64_t environment_raise_files(void);

#endif
