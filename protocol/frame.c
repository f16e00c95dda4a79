#include "protocol/frame.h"

/* Indexed by type byte; what is absent is FRONTEND_UNKNOWN. The classes are those of the server's
 * SocketBackend(); 'p' stands for all answers to an authentication request. */
static const uint8_t frontend_classes[256] = {
    ['Q'] = FRONTEND_LARGE, ['P'] = FRONTEND_LARGE, ['B'] = FRONTEND_LARGE, ['F'] = FRONTEND_LARGE,
    ['d'] = FRONTEND_LARGE, ['C'] = FRONTEND_SMALL, ['D'] = FRONTEND_SMALL, ['E'] = FRONTEND_SMALL,
    ['H'] = FRONTEND_SMALL, ['S'] = FRONTEND_SMALL, ['X'] = FRONTEND_SMALL, ['c'] = FRONTEND_SMALL,
    ['f'] = FRONTEND_SMALL, ['p'] = FRONTEND_SMALL,
};

static const bool backend_types[256] = {
    ['R'] = true, ['S'] = true, ['K'] = true, ['Z'] = true, ['C'] = true, ['T'] = true,
    ['D'] = true, ['E'] = true, ['N'] = true, ['A'] = true, ['1'] = true, ['2'] = true,
    ['3'] = true, ['n'] = true, ['s'] = true, ['t'] = true, ['I'] = true, ['G'] = true,
    ['H'] = true, ['W'] = true, ['V'] = true, ['c'] = true, ['d'] = true, ['v'] = true,
};

enum frontend_class frame_frontend_class(char type) {
    return (enum frontend_class)frontend_classes[(uint8_t)type];
}

bool frame_frontend_fits(const struct frame *frame) {
    size_t length_field = frame->length - 1;
    switch (frame_frontend_class(frame->type)) {
    case FRONTEND_LARGE:
        return length_field <= FRAME_LARGE_MAX;
    case FRONTEND_SMALL:
        return length_field <=
               (frame->type == 'p' ? (size_t)FRAME_AUTHENTICATION_MAX : (size_t)FRAME_SMALL_MAX);
    case FRONTEND_UNKNOWN:
        break;
    }
    return false;
}

bool frame_backend_known(char type) {
    return backend_types[(uint8_t)type];
}
