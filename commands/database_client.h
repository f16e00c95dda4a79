/* A connection to one database for a command that works on it and waits: lock-writes, check --live.
 * Errors are one line that a person can act on, without passwords.
 *
 * Embedded by the caller, used on one thread. The session has an empty search_path, so that nothing
 * in the database can stand in for PostgreSQL's own functions and operators, and speaks UTF-8. */
#ifndef PGINTERLOCK_DATABASE_CLIENT_H
#define PGINTERLOCK_DATABASE_CLIENT_H

#include "config/settings.h"

#include <libpq-fe.h>

enum { SQLSTATE_LENGTH = 5 };

struct database_client {
    const struct settings *settings; /* borrowed until database_client_close() */
    int database;                    /* index into its databases */
    PGconn *conn;
    char schema[64];       /* the current schema before search_path was emptied; "public" if none */
    char search_path[512]; /* what search_path was, for comparison */
};

/* Connects with the database's connection string, within settings->connect_timeout seconds unless
 * the string says otherwise. The error reads `FILE:LINE: database NAME can't be reached: …`. */
bool database_client_open(struct database_client *client, const struct settings *settings,
                          int database, struct error *error) __attribute__((warn_unused_result));
void database_client_close(struct database_client *client); /* zeroed is fine */

const char *database_client_name(const struct database_client *client);

/* Runs one query; *out is for PQclear(). The error names the database. */
bool database_client_query(struct database_client *client, const char *sql, PGresult **out,
                           struct error *error) __attribute__((warn_unused_result));

/* Runs statements without a result as one transaction. On failure `sqlstate` is the server's, or ""
 * where the connection is lost. */
bool database_client_run(struct database_client *client, const char *sql,
                         char sqlstate[SQLSTATE_LENGTH + 1], struct error *error)
    __attribute__((warn_unused_result));

/* `name` as a quoted SQL identifier; the caller frees. */
char *database_client_quote(const char *name);

/* A copy of a name from a catalog that is safe to show: a line stays a line, a terminal what it is.
 * The caller frees. */
char *database_client_plain(const char *name);

#endif
