#include "config/utf8.h"

size_t utf8_length(const char *text, size_t left) {
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80)
        return 1;
    size_t length = s[0] >= 0xC2 && s[0] < 0xE0   ? 2
                    : s[0] >= 0xE0 && s[0] < 0xF0 ? 3
                    : s[0] >= 0xF0 && s[0] < 0xF5 ? 4
                                                  : 0;
    if (length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if (!utf8_is_continuation(text[i]))
            return 0;
    bool overlong = (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xF0 && s[1] < 0x90);
    bool surrogate = s[0] == 0xED && s[1] > 0x9F;
    bool beyond = s[0] == 0xF4 && s[1] > 0x8F; /* U+10FFFF */
    return overlong || surrogate || beyond ? 0 : length;
}

size_t utf8_valid(const char *text, size_t length) {
    size_t at = 0;
    while (at < length && text[at] != '\0') {
        size_t step = utf8_length(text + at, length - at);
        if (step == 0)
            break;
        at += step;
    }
    return at;
}

void utf8_repair(char *text, size_t length) {
    for (size_t at = 0; (at += utf8_valid(text + at, length - at)) < length; at++)
        text[at] = text[at] == '\0' ? ' ' : '_';
}

size_t utf8_cut(const char *text, size_t most) {
    while (most > 0 && utf8_is_continuation(text[most]))
        most--;
    return most;
}

size_t utf8_count(const char *text, size_t length) {
    size_t characters = 0;
    for (size_t i = 0; i < length; i++)
        characters += !utf8_is_continuation(text[i]);
    return characters;
}
