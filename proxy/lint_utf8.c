#include "proxy/lint_utf8.h"

#include <stdbool.h>

/* The length of the UTF-8 sequence at the front; 0: it is none. */
static size_t utf8_length(const unsigned char *bytes, size_t length) {
    size_t wanted = bytes[0] < 0x80   ? 1
                    : bytes[0] < 0xC2 ? 0
                    : bytes[0] < 0xE0 ? 2
                    : bytes[0] < 0xF0 ? 3
                    : bytes[0] < 0xF5 ? 4
                                      : 0;
    if (wanted > length) {
        return 0;
    }
    for (size_t i = 1; i < wanted; i++) {
        if ((bytes[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    bool bad = (bytes[0] == 0xE0 && bytes[1] < 0xA0) || (bytes[0] == 0xED && bytes[1] > 0x9F) ||
               (bytes[0] == 0xF0 && bytes[1] < 0x90) || (bytes[0] == 0xF4 && bytes[1] > 0x8F);
    return bad ? 0 : wanted;
}

size_t lint_utf8_bad(const char *text, size_t length) {
    size_t at = 0;
    while (at < length) {
        size_t step = utf8_length((const unsigned char *)text + at, length - at);
        if (step == 0 || text[at] == '\0') {
            break;
        }
        at += step;
    }
    return at;
}

void lint_utf8_make(char *text, size_t length) {
    for (size_t at = 0; (at += lint_utf8_bad(text + at, length - at)) < length; at++) {
        text[at] = text[at] == '\0' ? ' ' : '_';
    }
}
