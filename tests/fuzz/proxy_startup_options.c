/* Options of any bytes are settings, or a mistake; taking the proxy's own out leaves all others as
 * they were. */
#include "proxy/startup_options.h"
#include "routing/session_state.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    struct wire_buffer server, own; /* names and values, with their NULs */
};

static void put(struct wire_buffer *out, const char *name, const char *value) {
    wire_append(out, name, strlen(name) + 1);
    wire_append(out, value, strlen(value) + 1);
}

static void each(void *context, const char *name, const char *value) {
    struct seen *seen = context;
    assert(strchr(name, '=') == NULL && strchr(name, '-') == NULL);
    put(session_is_own_setting(name) ? &seen->own : &seen->server, name, value);
}

static bool own(void *context, const char *name, const char *value) {
    assert(session_is_own_setting(name));
    put(context, name, value);
    return true;
}

static bool same(const struct wire_buffer *a, const struct wire_buffer *b) {
    return a->length == b->length && (a->length == 0 || memcmp(a->data, b->data, a->length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = calloc(1, size + 1);
    if (text == NULL)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    struct seen first = {0}, second = {0};
    struct wire_buffer taken = {0}, rest = {0};
    struct error error = {""};
    bool ok = startup_options_settings(text, each, &first, &error);
    assert(ok == (error.text[0] == '\0'));
    assert(startup_options_read(text, own, &taken, &rest));
    wire_append(&rest, "", 1);
    bool left = startup_options_settings((const char *)rest.data, each, &second, &error);
    assert(second.own.length == 0);
    if (ok)
        assert(left && same(&first.server, &second.server) && same(&first.own, &taken));
    struct wire_buffer *all[] = {&first.server, &first.own, &second.server,
                                 &second.own,   &taken,     &rest};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        wire_buffer_close(all[i]);
    free(text);
    return 0;
}
