/* Framing of protocol 3.x messages: bytes in, message boundaries out. Source: PostgreSQL manual, "Frontend/Backend
 * Protocol", chapters "Overview" and "Message Formats". No I/O, no allocation; a scanner works on a borrowed buffer. */
#ifndef PGINTERLOCK_FRAME_H
#define PGINTERLOCK_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FRAME_HEADER = 5,                       /* type byte and int32 length */
    FRAME_LENGTH_MAX = 0x3fffffff,          /* what PostgreSQL accepts for a large message (1 GiB - 1), length field */
    FRAME_SMALL_MAX = 30000,                /* PG's limit for message types that are never large */
};

/* One message at the start of a buffer. */
struct frame {
    char type;
    size_t length; /* of the whole message on the wire: type byte, length field and body */
};

enum frame_result {
    FRAME_OK,        /* header is complete and sane; the body may still be missing */
    FRAME_INCOMPLETE, /* fewer than FRAME_HEADER bytes */
    FRAME_BAD_LENGTH, /* length field below 4 or over the limit: 08P01 */
};

/* Reads the header at `data` (size bytes available). */
enum frame_result frame_read(const uint8_t *data, size_t size, struct frame *out);

/* Types that a client may send after startup, and whether its body may be large. 0: unknown type. */
enum frontend_class { FRONTEND_UNKNOWN, FRONTEND_SMALL, FRONTEND_LARGE };
enum frontend_class frame_frontend_class(char type);

/* Types that a database may send after startup. */
bool frame_backend_known(char type);

/* Big-endian integers, the only place where lengths and numbers are decoded. */
uint16_t wire_get_u16(const uint8_t *at);
uint32_t wire_get_u32(const uint8_t *at);
void wire_put_u16(uint8_t *at, uint16_t value);
void wire_put_u32(uint8_t *at, uint32_t value);

#endif
