/* Making the sockets that listener.c watches; internal to it. */
#ifndef PGINTERLOCK_LISTENER_SOCKET_H
#define PGINTERLOCK_LISTENER_SOCKET_H

#include "config/settings.h"

#include <stdbool.h>
#include <sys/types.h>

enum { ADDRESS_SOCKETS_MAX = 16 }; /* that one name may resolve to */

/* The sockets of one address; for a Unix socket also its file. */
struct address_sockets {
    int fds[ADDRESS_SOCKETS_MAX];
    size_t count;
    char path[108]; /* "" for TCP */
    dev_t device;   /* of the file that we made: another process may have put its own there since */
    ino_t inode;
};

/* Binds and listens. `beside`: sockets of ours that address_share() was called on may have the
 * port, as when a reload goes from 127.0.0.1 to 0.0.0.0. The error says what is wrong and what to
 * do, without the address. */
bool address_open(const struct listen_address *address, bool beside, struct address_sockets *out,
                  struct error *error) __attribute__((warn_unused_result));

/* What of settings->tcp the clients' sockets inherit from a listening one; nothing for a Unix
 * socket. May be called again with other settings: they hold for clients that come later. */
bool address_tune(const struct address_sockets *sockets, const struct settings *settings,
                  struct error *error) __attribute__((warn_unused_result));

/* Whether another socket of this user may be bound to the same port. */
void address_share(const struct address_sockets *sockets, bool shared);

/* Removes a Unix socket's file if it is still ours. The descriptors are the caller's. */
void address_unlink(const struct address_sockets *sockets);

#endif
