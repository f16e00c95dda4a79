/* The first packet of a connection: SSLRequest, GSSENCRequest, CancelRequest or StartupMessage.
 * Source: PostgreSQL manual, "Message Formats"; limits as in the server's ProcessStartupPacket
 * (10,000 bytes after the length field). A struct startup owns its strings; close it whatever its
 * kind. */
#ifndef PGINTERLOCK_STARTUP_H
#define PGINTERLOCK_STARTUP_H

#include "config/error.h"
#include "protocol/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum startup_kind {
    STARTUP_INCOMPLETE,
    STARTUP_SSL,
    STARTUP_GSSENC,
    STARTUP_CANCEL,
    STARTUP_MESSAGE,
    STARTUP_BAD
};

struct startup_parameter {
    const char *name, *value;
};

struct startup {
    enum startup_kind kind;
    size_t length;         /* bytes of the packet */
    const char *sqlstate;  /* STARTUP_BAD: the code that PostgreSQL gives; static text */
    bool unanswered;       /* STARTUP_BAD: no packet of the protocol; a server says nothing to it */
    uint32_t pid, key;     /* STARTUP_CANCEL */
    uint16_t major, minor; /* STARTUP_MESSAGE; major is 3 */
    char *text;            /* the packet's own strings, in one block; the others point into it */
    const char *user, *database; /* database defaults to user */
    /* The others, in order, without user, database, replication and _pq_.*; of a name that is given
     * twice the last counts. */
    struct startup_parameter *parameters;
    size_t parameter_count;
    const char **unknown_options; /* names that begin with _pq_. */
    size_t unknown_option_count;
    bool replication; /* replication parameter given and not false */
};

/* Reads the packet at `data`. STARTUP_INCOMPLETE: more bytes needed (out->length 0 or what is
 * needed in all); STARTUP_BAD: `error` says why, in PostgreSQL's words (08P01; wrong version:
 * 0A000; no user: 28000; a replication value that is none: 22023). */
void startup_read(const uint8_t *data, size_t size, struct startup *out, struct error *error);
void startup_close(struct startup *startup);

/* The value that counts for a parameter (names of settings are case-insensitive), or NULL; borrowed
 * from `startup`. */
const char *startup_find(const struct startup *startup, const char *name);

/* NegotiateProtocolVersion, where minor > 0 or unknown options are present: newest minor we speak
 * is 0. */
void startup_put_negotiation(struct wire_buffer *buffer, const struct startup *startup);

/* A CancelRequest, as who would be obeyed sends it. */
enum { STARTUP_CANCEL_LENGTH = 16 };
void startup_write_cancel(uint8_t packet[STARTUP_CANCEL_LENGTH], uint32_t pid, uint32_t key);

#endif
