/* Whether the body of a Bind message is well formed: names, format codes, parameters and result
 * formats that use the body up exactly (PostgreSQL manual, "Message Formats", Bind). Fed in pieces
 * cut anywhere, so that a gigabyte passes in constant memory; a number or length that the body
 * can't hold is found as soon as it is seen. What the codes and counts mean is for the server to
 * judge.
 *
 * Embedded by value, allocates nothing, no I/O. */
#ifndef PGINTERLOCK_BIND_CHECK_H
#define PGINTERLOCK_BIND_CHECK_H

#include "config/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* PORTAL → STATEMENT → FORMATS → VALUES → VALUE_LENGTH (for each value) → RESULTS → END */
enum bind_check_part {
    BIND_CHECK_PORTAL,
    BIND_CHECK_STATEMENT,
    BIND_CHECK_FORMATS, /* their count */
    BIND_CHECK_VALUES,  /* their count */
    BIND_CHECK_VALUE_LENGTH,
    BIND_CHECK_RESULTS, /* count of the result formats */
    BIND_CHECK_END,
};

struct bind_check {
    enum bind_check_part part; /* what comes after `skip` */
    uint8_t number_length;     /* bytes in `number` */
    uint8_t number[4];         /* the beginning of a number that was cut */
    uint16_t values;           /* values whose length has not come */
    size_t skip; /* bytes to pass over unseen: codes, a value; never more than `left` */
    size_t left; /* bytes of the body that have not been fed */
};

enum bind_check_result { BIND_CHECK_MORE, BIND_CHECK_DONE, BIND_CHECK_MALFORMED };

/* `length`: of the whole body, in bytes. */
void bind_check_init(struct bind_check *check, size_t length);

/* The next piece of the body, not more than is left of it. DONE: it was the last one and all is
 * well. MALFORMED: `error` says so in PostgreSQL's words (08P01); nothing may be fed after that.
 * A body of 0 bytes is malformed; feed it once all the same. */
enum bind_check_result bind_check_feed(struct bind_check *check, const uint8_t *data, size_t length,
                                       struct error *error) __attribute__((warn_unused_result));

/* The same of what follows the two names, where all of it is there, in one go: nearly every Bind is
 * short. False: it is malformed; bind_check_feed() says how. */
bool bind_check_counts(const uint8_t *data, size_t length);

#endif
