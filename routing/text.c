#include "routing/text.h"

#include "config/utf8.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *array_grow(void *array, size_t count, size_t *room, size_t size) {
    if (count < *room) {
        return array;
    }
    assert(*room <= SIZE_MAX / 4 / size);
    size_t wanted = *room > 0 ? *room * 2 : 4;
    void *grown = realloc(array, wanted * size);
    assert(grown != NULL);
    *room = wanted;
    return grown;
}

static void text_reserve(struct text *text, size_t more) {
    assert(more < SIZE_MAX / 4 && text->length < SIZE_MAX / 4);
    size_t needed = text->length + more + 1;
    if (needed > text->room) {
        size_t room = needed < 128 ? 128 : needed * 2;
        char *data = realloc(text->data, room);
        assert(data != NULL);
        text->data = data;
        text->room = room;
    }
}

void text_append_bytes(struct text *text, const char *bytes, size_t length) {
    text_reserve(text, length);
    if (length > 0) {
        memcpy(text->data + text->length, bytes, length);
    }
    text->length += length;
    text->data[text->length] = '\0';
}

void text_append(struct text *text, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    text_reserve(text, 160);
    size_t room = text->room - text->length;
    int length = vsnprintf(text->data + text->length, room, format, arguments);
    va_end(arguments);
    assert(length >= 0);
    if ((size_t)length >= room) {
        text_reserve(text, (size_t)length);
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
    }
    va_end(again);
    text->length += (size_t)length;
}

static void scratch_keep(struct scratch *scratch, void *memory) {
    scratch->strings = alloc_grow(scratch->strings, scratch->count, sizeof *scratch->strings);
    scratch->strings[scratch->count++] = memory;
}

const char *scratch_take(struct scratch *scratch, struct text *text) {
    char *string = text->data;
    *text = (struct text){0};
    if (string != NULL) {
        scratch_keep(scratch, string);
    }
    return string;
}

void *scratch_new(struct scratch *scratch, size_t size) {
    void *memory = alloc_new(size);
    scratch_keep(scratch, memory);
    return memory;
}

void scratch_clear(struct scratch *scratch) {
    if (scratch->strings == NULL) { /* most decisions need none */
        return;
    }
    while (scratch->count > 0) {
        free(scratch->strings[--scratch->count]);
    }
    free(scratch->strings);
    scratch->strings = NULL;
}

int position_in_characters(const char *text, size_t length, int offset) {
    if (offset < 0 || (size_t)offset > length) {
        return 0;
    }
    return 1 + (int)utf8_count(text, (size_t)offset);
}
