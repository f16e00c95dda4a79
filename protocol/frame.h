/* Framing of protocol 3.x messages: bytes in, message boundaries out. Source: PostgreSQL manual,
 * "Frontend/Backend Protocol", chapters "Overview" and "Message Formats". No I/O, no allocation; a
 * scanner works on a borrowed buffer. */
#ifndef PGINTERLOCK_FRAME_H
#define PGINTERLOCK_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FRAME_HEADER = 5, /* type byte and int32 length */

    /* Limits of the length field. PostgreSQL takes PQ_LARGE_MESSAGE_LIMIT and
     * PQ_SMALL_MESSAGE_LIMIT from a client, PG_MAX_AUTH_TOKEN_LENGTH while it authenticates, and
     * can itself send a body as long as its StringInfo holds, which is a few bytes more. */
    FRAME_LENGTH_MAX = 0x40000002,
    FRAME_LARGE_MAX = 0x3ffffffe,
    FRAME_SMALL_MAX = 10000,
    FRAME_AUTHENTICATION_MAX = 65535,
};

/* One message at the start of a buffer. */
struct frame {
    char type;
    size_t length; /* of the whole message on the wire: type byte, length field and body */
};

enum frame_result {
    FRAME_OK,         /* header is complete and sane; the body may still be missing */
    FRAME_INCOMPLETE, /* fewer than FRAME_HEADER bytes */
    FRAME_BAD_LENGTH, /* length field below 4 or over the limit: 08P01 */
};

/* Big-endian integers, the only place where lengths and numbers are decoded. Inline, as are the
 * frames below: both stand on the way of every message. */
static inline uint16_t wire_get_u16(const uint8_t *at) {
    return (uint16_t)((at[0] << 8) | at[1]);
}

static inline uint32_t wire_get_u32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline void wire_put_u16(uint8_t *at, uint16_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void wire_put_u32(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

/* Reads the header at `data` (size bytes available). The limit is the widest, FRAME_LENGTH_MAX;
 * what a client sends is also held to frame_frontend_fits(). */
static inline enum frame_result frame_read(const uint8_t *data, size_t size, struct frame *out) {
    if (size < FRAME_HEADER)
        return FRAME_INCOMPLETE;
    uint32_t length = wire_get_u32(data + 1);
    if (length < 4 || length > FRAME_LENGTH_MAX)
        return FRAME_BAD_LENGTH;
    out->type = (char)data[0];
    out->length = (size_t)length + 1;
    return FRAME_OK;
}

/* Types that a client may send after startup, and whether its body may be large. */
enum frontend_class { FRONTEND_UNKNOWN, FRONTEND_SMALL, FRONTEND_LARGE };
enum frontend_class frame_frontend_class(char type);

/* Whether the type is known and PostgreSQL would take a message of this length from a client. */
bool frame_frontend_fits(const struct frame *frame);

/* Types that a database may send after startup. */
bool frame_backend_known(char type);

#endif
