/* A Bind's body in one piece and cut into pieces of several sizes: always the same verdict, which is
 * that of a reader who has all of it; and that of the check in one go. */
#include "protocol/bind_check.h"

#include "protocol/frame.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool pass(const uint8_t **at, size_t *left, size_t length) {
    if (length > *left)
        return false;
    *at += length;
    *left -= length;
    return true;
}

static bool pass_name(const uint8_t **at, size_t *left) {
    const uint8_t *nul = *left > 0 ? memchr(*at, 0, *left) : NULL;
    return nul != NULL && pass(at, left, (size_t)(nul - *at) + 1);
}

static bool pass_u16(const uint8_t **at, size_t *left, size_t *out) {
    if (*left < 2)
        return false;
    *out = wire_get_u16(*at);
    return pass(at, left, 2);
}

static bool read_simply(const uint8_t *at, size_t left) {
    size_t count;
    if (!pass_name(&at, &left) || !pass_name(&at, &left) || !pass_u16(&at, &left, &count) ||
        !pass(&at, &left, 2 * count) || !pass_u16(&at, &left, &count))
        return false;
    for (; count > 0; count--) {
        if (left < 4)
            return false;
        uint32_t length = wire_get_u32(at);
        pass(&at, &left, 4);
        if (length != UINT32_MAX && !pass(&at, &left, length))
            return false;
    }
    return pass_u16(&at, &left, &count) && pass(&at, &left, 2 * count) && left == 0;
}

static bool check_in_pieces(const uint8_t *data, size_t size, size_t piece) {
    struct bind_check check;
    struct error error;
    bind_check_init(&check, size);
    size_t at = 0;
    enum bind_check_result result;
    do {
        size_t here = size - at < piece ? size - at : piece;
        result = bind_check_feed(&check, data + at, here, &error);
        at += here;
        assert(result != BIND_CHECK_MORE || at < size);
        assert(result != BIND_CHECK_DONE || at == size);
    } while (result == BIND_CHECK_MORE);
    return result == BIND_CHECK_DONE;
}

static bool check_in_one_go(const uint8_t *data, size_t size) {
    const uint8_t *at = data;
    size_t left = size;
    return pass_name(&at, &left) && pass_name(&at, &left) && bind_check_counts(at, left);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    bool expected = read_simply(data, size);
    assert(check_in_one_go(data, size) == expected);
    assert(check_in_pieces(data, size, size) == expected);
    for (size_t piece = 1; piece < 8; piece++)
        assert(check_in_pieces(data, size, piece) == expected);
    return 0;
}
