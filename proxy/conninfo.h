/* A database's connection string made complete for one client: user, password, startup parameters,
 * and host names turned into addresses; and libpq's account of a failure, taken apart again. */
#ifndef PGINTERLOCK_CONNINFO_H
#define PGINTERLOCK_CONNINFO_H

#include "protocol/startup.h"

#include <stdbool.h>
#include <stddef.h>

struct link_identity;
struct link_failure;

enum { CONNINFO_KEYWORDS_MAX = 64 };

struct conninfo_host {
    char *host, *port;
    char *addresses; /* found so far, separated by commas */
    bool is_name;    /* needs resolving */
};

struct conninfo {
    char *keywords[CONNINFO_KEYWORDS_MAX + 1], *values[CONNINFO_KEYWORDS_MAX + 1];
    size_t count;
    struct conninfo_host *hosts;
    size_t host_count;
    unsigned timeout_seconds; /* the string's connect_timeout, or the default given */
    char error[512];          /* the string could not be read; empty: fine */
};

void conninfo_init(struct conninfo *info, const char *text, const struct link_identity *identity,
                   unsigned timeout_seconds);
void conninfo_close(struct conninfo *info); /* wipes the password */

/* Hosts of the string, in order; conninfo_host_to_resolve() is NULL where it is an address or a
 * socket already. */
size_t conninfo_host_count(const struct conninfo *info);
const char *conninfo_host(const struct conninfo *info, size_t index);
const char *conninfo_host_to_resolve(const struct conninfo *info, size_t index);
void conninfo_add_address(struct conninfo *info, size_t index, const char *address);
/* Writes host, hostaddr and port from what was resolved; false where no host has an address. */
bool conninfo_finish_hosts(struct conninfo *info);

const char *const *
conninfo_keywords(const struct conninfo *info); /* NULL-terminated, for PQconnectStartParams() */
const char *const *conninfo_values(const struct conninfo *info);

/* libpq's error message (verbosity VERBOSE): the server's own words and SQLSTATE where it answered.
 */
void conninfo_read_failure(const char *text, struct link_failure *out);

#endif
