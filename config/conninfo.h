/* libpq connection strings: checked, compared and composed, never opened. Used while loading, on
 * one thread. */
#ifndef PGINTERLOCK_CONNINFO_H
#define PGINTERLOCK_CONNINFO_H

#include "config/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Whether libpq can read the string (key=value or URI), with values that it would only object to
 * when connecting. The error has no line, and nothing of the string that may be a password. */
bool conninfo_check(const char *conninfo, struct error *error) __attribute__((warn_unused_result));

/* Server and database as one text, equal for two strings that lead to the same database. The caller
 * frees. */
char *conninfo_identity(const char *conninfo);

/* The server alone as one text, equal for two strings that name the same host and port; localhost
 * and its addresses are one. The caller frees. */
char *conninfo_server(const char *conninfo);

/* Whether the string says as whom to connect (a service may). */
bool conninfo_has_user(const char *conninfo);

/* The database's name, as libpq would take it: dbname, or else the user's; NULL: neither is given,
 * or a service may name it. The caller frees. */
char *conninfo_dbname(const char *conninfo);

/* What the string itself says of a keyword, or NULL. The caller frees. */
char *conninfo_value(const char *conninfo, const char *keyword);

/* Writes the string's settings as `host=… port=… dbname=…`, without passwords, into `out` (size
 * bytes, at least one), for the log and for people; cut off where they are too long. A string that
 * libpq can't read gives "(unreadable)". */
void conninfo_redact(const char *conninfo, char *out, size_t size);

/* Whether libpq has a parameter of this name. */
bool conninfo_has_keyword(const char *keyword);

/* A connection string under composition: each keyword once, the last value counts. Zero-initialise.
 */
struct conninfo_parts {
    struct conninfo_part {
        char *keyword, *value;
    } * parts;
    size_t count;
};
void conninfo_set(struct conninfo_parts *parts, const char *keyword, const char *value);
const char *conninfo_get(const struct conninfo_parts *parts,
                         const char *keyword); /* NULL: not set */
/* Takes over what a URI sets. The error is conninfo_check()'s. */
bool conninfo_set_uri(struct conninfo_parts *parts, const char *uri, struct error *error)
    __attribute__((warn_unused_result));
char *conninfo_text(const struct conninfo_parts *parts); /* the caller frees */
void conninfo_parts_close(struct conninfo_parts *parts);

#endif
