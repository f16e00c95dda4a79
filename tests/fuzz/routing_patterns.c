/* Any text, and the same with bytes put in, taken out and changed: where the second fits the
 * first's pattern, it must have the same tokens, shape and hints. The first byte says how strings
 * are read, the next are the changes (how many; where, what, which byte), the rest is the text. */
#include "routing/arena.h"
#include "routing/patterns.h"
#include "routing/prescan.h"
#include "routing/shape.h"

#include <stdlib.h>
#include <string.h>

static void require(bool condition) {
    if (!condition)
        abort();
}

struct scanned {
    struct shape shape;
    struct prescan prescan;
    bool fine;
};

static struct scanned scan(const char *text, size_t length, const struct lexing *lexing,
                           struct arena *arena) {
    struct scanned out;
    struct error error;
    char *room = malloc(shape_bound(length));
    require(room != NULL);
    shape_begin(&out.shape, room);
    out.fine = prescan_text(text, length, lexing, true, arena, &out.shape, &out.prescan, &error);
    return out;
}

static void compare(const char *a, size_t a_length, const char *b, size_t b_length,
                    const struct lexing *lexing) {
    struct arena *arena = arena_new(4096);
    struct scanned x = scan(a, a_length, lexing, arena), y = scan(b, b_length, lexing, arena);
    require(x.fine && y.fine);
    require(x.prescan.empty == y.prescan.empty && x.prescan.refused == y.prescan.refused);
    require(x.prescan.hint_count == y.prescan.hint_count);
    for (size_t i = 0; i < x.prescan.hint_count; i++)
        require(x.prescan.hints[i].flags == y.prescan.hints[i].flags);
    require(shape_exists(&x.shape) == shape_exists(&y.shape));
    require(x.shape.length == y.shape.length &&
            memcmp(x.shape.out, y.shape.out, x.shape.length) == 0);
    struct lexer one, other;
    struct token s, t;
    lexer_init(&one, a, a_length, lexing->standard_conforming_strings);
    lexer_init(&other, b, b_length, lexing->standard_conforming_strings);
    do {
        lexer_next(&one, &s);
        lexer_next(&other, &t);
        require(s.kind == t.kind && s.unterminated == t.unterminated);
    } while (s.kind != TOKEN_END);
    free(x.shape.out);
    free(y.shape.out);
    arena_free(arena);
}

/* `text` has room for one more byte. */
static size_t change(char *text, size_t length, size_t at, unsigned how, char byte) {
    at %= length + 1;
    if (how % 3 == 0) { /* in */
        memmove(text + at + 1, text + at, length - at);
        text[at] = byte;
        return length + 1;
    }
    if (at == length)
        return length;
    if (how % 3 == 1) { /* other */
        text[at] = byte;
        return length;
    }
    memmove(text + at, text + at + 1, length - at - 1);
    return length - 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const size_t each = 3;
    if (size < 2 || size < 2 + each * (data[1] % 8))
        return 0;
    size_t changes = data[1] % 8, length = size - 2 - each * changes;
    const uint8_t *from = data + 2 + each * changes;
    struct lexing lexing = {.standard_conforming_strings = data[0] != '\\'};
    char *text = calloc(1, length + 1), *other = calloc(1, length + changes + 1);
    require(text != NULL && other != NULL);
    memcpy(text, from, length);
    memcpy(other, from, length);
    size_t other_length = length;
    for (size_t i = 0; i < changes; i++) {
        const uint8_t *which = data + 2 + each * i;
        other_length = change(other, other_length, which[0], which[1], (char)which[2]);
    }
    other[other_length] = '\0';
    struct error error;
    if (prescan_check_bytes(text, length, true, &error) &&
        memchr(other, '\0', other_length) == NULL) {
        struct query query = {.references = 1};
        struct patterns *patterns = patterns_new();
        patterns_offer(patterns, text, length, &lexing, 0, &query);
        if (patterns_find(patterns, other, other_length, 0) != NULL)
            compare(text, length, other, other_length, &lexing);
        patterns_free(patterns);
    }
    free(text);
    free(other);
    return 0;
}
