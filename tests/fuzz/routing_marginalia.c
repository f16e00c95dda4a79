/* Any bytes as a query text with tags in its comments: what comes out keeps its bounds, whichever
 * part of the text is read. The first byte says how strings are read, the second and third which
 * part. */
#include "routing/marginalia.h"

#include <stdlib.h>
#include <string.h>

static void require(bool condition) {
    if (!condition)
        abort();
}

static void check_tags(const struct tags *tags) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    require(tags->count <= TAGS_MAX);
    for (size_t i = 0; i < tags->count; i++) {
        const struct tag *tag = &tags->list[i];
        size_t length = strnlen(tag->key, sizeof tag->key);
        require(length > 0 && length <= TAG_KEY_MAX && strspn(tag->key, plain) == length);
        require(strnlen(tag->value, sizeof tag->value) <= TAG_VALUE_MAX);
        require(tags_find(tags, tag->key) == tag->value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3)
        return 0;
    struct lexing lexing = {.standard_conforming_strings = data[0] != '\\'};
    size_t length = size - 3;
    char *text = malloc(length + 1);
    if (!text)
        return 0;
    memcpy(text, data + 3, length);
    text[length] = '\0';
    struct text_span span = {.text = text, .text_length = length};
    span.start = length > 0 ? data[1] % (length + 1) : 0;
    span.length = data[2] < length - span.start ? data[2] : length - span.start;
    struct tags tags;
    tags_read(&span, &lexing, &tags);
    check_tags(&tags);
    char url[PERMIT_URL_MAX + 1];
    permit_comment_url(&span, &lexing, url);
    require(strnlen(url, sizeof url) <= PERMIT_URL_MAX);
    permit_setting_url(text, url);
    require(strnlen(url, sizeof url) <= PERMIT_URL_MAX);
    free(text);
    return 0;
}
