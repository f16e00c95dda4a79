/* Prepared statements of clients that share connections: one text with its parameter types is one
 * statement for all clients of a worker, and is prepared at most once on a connection, under a name
 * of ours. A connection keeps the most recently used ones; the one to evict is found in constant
 * time.
 *
 * Within one thread. */
#ifndef PGINTERLOCK_SERVER_STATEMENTS_H
#define PGINTERLOCK_SERVER_STATEMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room for a name on a server, with its NUL. */
enum { SERVER_STATEMENT_NAME = 40 };

/* -- what clients share ------------------------------------------------------------------------ */

struct shared_statements; /* of one worker */
struct shared_statement;

struct shared_statements *shared_statements_new(void);
void shared_statements_free(struct shared_statements *all); /* all references are gone */

/* The statement with this text and these types (as Parse has them: OIDs of four bytes each);
 * `meaning` is everything else that decides how a server reads it. A reference for the caller.
 * `structure`: the number of changes to tables so far. A statement made before the latest change
 * stays with those who have it; others get a new one. */
struct shared_statement *shared_statement_get(struct shared_statements *all, const char *meaning,
                                              const char *text, size_t text_length,
                                              const uint8_t *types, size_t types_length,
                                              uint64_t structure);
/* Whether it was made for this `meaning`. */
bool shared_statement_means(const struct shared_statement *statement, const char *meaning);
struct shared_statement *shared_statement_ref(struct shared_statement *statement);
void shared_statement_unref(struct shared_statement *statement); /* NULL is fine */

/* The name that it has on every connection that knows it; valid until it is unreferenced. */
const char *shared_statement_name(const struct shared_statement *statement);

/* The types of its result are no longer what its clients were told ("cached plan must not change
 * result type"): shared_statement_get() doesn't return it again, and clients that have it must be
 * told. */
void shared_statement_retire(struct shared_statement *statement);
bool shared_statement_is_retired(const struct shared_statement *statement);

/* A checksum of what its result consists of; 0: not known. Set once. */
uint64_t shared_statement_result(const struct shared_statement *statement);
void shared_statement_set_result(struct shared_statement *statement, uint64_t sum);

/* -- what one connection knows ----------------------------------------------------------------- */

struct server_statements;

/* Whether the connection knows it (NULL: it knows none). If so, that counts as a use. */
bool server_statements_use(struct server_statements *known,
                           const struct shared_statement *statement);
/* Enters a statement that is being prepared there, and makes *known if it is NULL. If the
 * connection had `limit` of them, the one used longest ago is forgotten: its name is put into
 * `evicted`, to be closed, and its number returned. Otherwise `evicted` is empty, and the result is
 * 0. */
uint64_t server_statements_add(struct server_statements **known,
                               const struct shared_statement *statement, size_t limit,
                               char evicted[SERVER_STATEMENT_NAME]) __attribute__((noinline));
/* The evicted one was not closed after all. */
void server_statements_restore(struct server_statements *known, uint64_t evicted);
size_t server_statements_count(const struct server_statements *known);
/* Preparing it failed. */
void server_statements_remove(struct server_statements *known,
                              const struct shared_statement *statement);
/* The connection has forgotten all (DEALLOCATE ALL), or is closed. */
void server_statements_free(struct server_statements **known);

#endif
