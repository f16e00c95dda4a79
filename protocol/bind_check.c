#include "protocol/bind_check.h"

#include "protocol/frame.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

void bind_check_init(struct bind_check *check, size_t length) {
    *check = (struct bind_check){.part = BIND_CHECK_PORTAL, .left = length};
}

static bool is_name(enum bind_check_part part) {
    return part == BIND_CHECK_PORTAL || part == BIND_CHECK_STATEMENT;
}

static size_t number_size(enum bind_check_part part) {
    return part == BIND_CHECK_VALUE_LENGTH ? 4 : 2;
}

/* `part` begins after `skip` bytes: is there as much? At most 2^31 and 4 are added here. */
static bool move_to(struct bind_check *check, enum bind_check_part part, size_t skip,
                    struct error *error) {
    bool ends = part == BIND_CHECK_END;
    size_t needed = skip + (ends ? 0 : number_size(part));
    if (needed > check->left)
        return error_set(error, "insufficient data left in message");
    if (ends && skip < check->left)
        return error_set(error, "invalid message format");
    check->part = part;
    check->skip = skip;
    return true;
}

static enum bind_check_part after_value(const struct bind_check *check) {
    return check->values > 0 ? BIND_CHECK_VALUE_LENGTH : BIND_CHECK_RESULTS;
}

static bool take_number(struct bind_check *check, const uint8_t *number, struct error *error) {
    uint32_t length;
    switch (check->part) {
    case BIND_CHECK_FORMATS:
        return move_to(check, BIND_CHECK_VALUES, 2 * (size_t)wire_get_u16(number), error);
    case BIND_CHECK_VALUES:
        check->values = wire_get_u16(number);
        return move_to(check, after_value(check), 0, error);
    case BIND_CHECK_VALUE_LENGTH:
        check->values--;
        length = wire_get_u32(number);
        if (length == UINT32_MAX) /* -1: NULL */
            return move_to(check, after_value(check), 0, error);
        if (length > INT32_MAX)
            return error_set(error, "insufficient data left in message");
        return move_to(check, after_value(check), length, error);
    case BIND_CHECK_RESULTS:
        return move_to(check, BIND_CHECK_END, 2 * (size_t)wire_get_u16(number), error);
    default:
        assert(!"a part without a number");
        return false;
    }
}

/* Takes what it can of a name; the number of bytes taken. */
static size_t feed_name(struct bind_check *check, const uint8_t *at, size_t length, bool *fine,
                        struct error *error) {
    const uint8_t *nul = memchr(at, 0, length);
    size_t taken = nul != NULL ? (size_t)(nul - at) + 1 : length;
    check->left -= taken;
    if (nul != NULL && check->part == BIND_CHECK_PORTAL)
        check->part = BIND_CHECK_STATEMENT;
    else if (nul != NULL)
        *fine = move_to(check, BIND_CHECK_FORMATS, 0, error);
    return taken;
}

static size_t feed_number(struct bind_check *check, const uint8_t *at, size_t length, bool *fine,
                          struct error *error) {
    size_t size = number_size(check->part), wanted = size - check->number_length;
    size_t taken = length < wanted ? length : wanted;
    check->left -= taken;
    if (taken == size) { /* in one piece, as nearly always */
        *fine = take_number(check, at, error);
        return taken;
    }
    memcpy(check->number + check->number_length, at, taken);
    check->number_length = (uint8_t)(check->number_length + taken);
    if (taken == wanted) {
        check->number_length = 0;
        *fine = take_number(check, check->number, error);
    }
    return taken;
}

static size_t feed_skipped(struct bind_check *check, size_t length) {
    size_t taken = length < check->skip ? length : check->skip;
    check->skip -= taken;
    check->left -= taken;
    return taken;
}

enum bind_check_result bind_check_feed(struct bind_check *check, const uint8_t *data, size_t length,
                                       struct error *error) {
    assert(length <= check->left);
    bool fine = true;
    for (size_t at = 0; at < length && fine;) {
        /* What is behind END was refused when END was reached. */
        assert(check->part != BIND_CHECK_END || check->skip > 0);
        if (check->skip > 0)
            at += feed_skipped(check, length - at);
        else if (is_name(check->part))
            at += feed_name(check, data + at, length - at, &fine, error);
        else
            at += feed_number(check, data + at, length - at, &fine, error);
    }
    if (fine && check->left == 0 && is_name(check->part))
        fine = error_set(error, "invalid string in message");
    if (!fine)
        return BIND_CHECK_MALFORMED;
    return check->left > 0 ? BIND_CHECK_MORE : BIND_CHECK_DONE;
}

/* A count of two-byte codes and the codes. */
static bool pass_codes(const uint8_t **at, const uint8_t *end) {
    if (end - *at < 2)
        return false;
    size_t length = 2 + 2 * (size_t)wire_get_u16(*at);
    if ((size_t)(end - *at) < length)
        return false;
    *at += length;
    return true;
}

bool bind_check_counts(const uint8_t *data, size_t length) {
    const uint8_t *at = data, *end = data + length;
    if (!pass_codes(&at, end) || end - at < 2)
        return false;
    unsigned values = wire_get_u16(at);
    at += 2;
    for (; values > 0; values--) {
        if (end - at < 4)
            return false;
        uint32_t size = wire_get_u32(at);
        at += 4;
        if (size == UINT32_MAX) /* -1: NULL */
            continue;
        if (size > (size_t)(end - at))
            return false;
        at += size;
    }
    return pass_codes(&at, end) && at == end;
}
