#include "config/alloc.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *memory) {
    if (memory == NULL) {
        fputs("pginterlock: out of memory\n", stderr);
        abort();
    }
    return memory;
}

void *alloc_zeroed(size_t count, size_t size) {
    return checked(calloc(count > 0 ? count : 1, size));
}

void *alloc_new(size_t size) {
    return alloc_zeroed(1, size > 0 ? size : 1);
}

void *alloc_resize(void *block, size_t size) {
    return checked(realloc(block, size > 0 ? size : 1));
}

char *alloc_copy(const char *text, size_t length) {
    char *copy = checked(malloc(length + 1));
    if (length > 0)
        memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *alloc_text(const char *text) {
    return text == NULL ? NULL : checked(strdup(text));
}

char *alloc_format_list(const char *format, va_list arguments) {
    char *text = NULL;
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    return checked(text);
}

char *alloc_format(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = alloc_format_list(format, arguments);
    va_end(arguments);
    return text;
}

void *alloc_grow(void *array, size_t count, size_t size) {
    if (count == 0)
        return checked(realloc(array, size));
    if ((count & (count - 1)) != 0)
        return array;
    if (count > SIZE_MAX / 2 / size)
        return checked(NULL);
    return checked(realloc(array, count * 2 * size));
}
