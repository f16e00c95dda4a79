/* The key that a server gives for cancel requests (BackendKeyData). libpq keeps it to itself, and
 * its PQcancel() blocks without a limit; but PQtrace() tells what servers send, line by line
 * (PostgreSQL manual, "libpq: Control Functions"). One thread. */
#ifndef PGINTERLOCK_BACKEND_KEY_H
#define PGINTERLOCK_BACKEND_KEY_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

struct backend_key;

/* Listens to a connection that is being made. NULL: libc could not make a stream for it. */
struct backend_key *backend_key_watch(PGconn *conn);

/* The key of this process; false: none was heard. NULL is fine. */
bool backend_key_get(const struct backend_key *watch, uint32_t pid, uint32_t *key);

/* Before `conn` is finished. NULL is fine. */
void backend_key_end(struct backend_key *watch, PGconn *conn);

#endif
