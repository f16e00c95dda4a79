#include "proxy/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *block) {
    if (block == NULL) {
        fputs("pginterlock: out of memory\n", stderr);
        abort();
    }
    return block;
}

void *memory_new(size_t size) {
    return checked(calloc(1, size > 0 ? size : 1));
}

void *memory_grow(void *block, size_t size) {
    return checked(realloc(block, size > 0 ? size : 1));
}

char *memory_copy_bytes(const char *text, size_t length) {
    char *copy = checked(malloc(length + 1));
    if (length > 0)
        memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *memory_copy_string(const char *text) {
    return text == NULL ? NULL : memory_copy_bytes(text, strlen(text));
}
