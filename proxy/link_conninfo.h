/* A database's connection string made complete for one client: user, password, startup parameters,
 * and host names turned into addresses; and libpq's account of a failure, taken apart again. */
#ifndef PGINTERLOCK_LINK_CONNINFO_H
#define PGINTERLOCK_LINK_CONNINFO_H

#include "protocol/startup.h"

#include <stdbool.h>
#include <stddef.h>

struct link_identity;
struct link_failure;

enum { LINK_CONNINFO_KEYWORDS_MAX = 64 };

struct link_host {
    char *host, *port;
    char *addresses; /* found so far, separated by commas */
    bool is_name;    /* needs resolving */
};

struct link_conninfo {
    char *keywords[LINK_CONNINFO_KEYWORDS_MAX + 1], *values[LINK_CONNINFO_KEYWORDS_MAX + 1];
    size_t count;
    struct link_host *hosts;
    size_t host_count;
    unsigned timeout_seconds; /* the string's connect_timeout, or the default given */
    char error[512];          /* the string could not be read; empty: fine */
};

void link_conninfo_init(struct link_conninfo *info, const char *text,
                        const struct link_identity *identity, unsigned timeout_seconds);
void link_conninfo_close(struct link_conninfo *info); /* wipes the password */

/* Hosts of the string, in order; link_conninfo_host_to_resolve() is NULL where it is an address or
 * a socket already. */
size_t link_conninfo_host_count(const struct link_conninfo *info);
const char *link_conninfo_host(const struct link_conninfo *info, size_t index);
const char *link_conninfo_host_to_resolve(const struct link_conninfo *info, size_t index);
void link_conninfo_add_address(struct link_conninfo *info, size_t index, const char *address);
/* Writes host, hostaddr and port from what was resolved; false where no host has an address. */
bool link_conninfo_finish_hosts(struct link_conninfo *info);

const char *const *link_conninfo_keywords(
    const struct link_conninfo *info); /* NULL-terminated, for PQconnectStartParams() */
const char *const *link_conninfo_values(const struct link_conninfo *info);

/* libpq's error message (verbosity VERBOSE): the server's own words and SQLSTATE where it answered.
 */
void link_conninfo_read_failure(const char *text, struct link_failure *out);

#endif
