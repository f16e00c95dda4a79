/* The `run` command: settings, workers, listeners and signals. The main thread accepts clients and
 * obeys signals; everything else happens on the workers. */
#ifndef PGINTERLOCK_PROCESS_H
#define PGINTERLOCK_PROCESS_H

/* Serves until SIGTERM or SIGINT; 0. What keeps it from starting is said in one line on standard
 * error; 2. */
int run_command(const char *config_path);

#endif
