/* Every reader of a message's body on the same bytes; what is read stays within them. */
#include "protocol/message.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(const char *text, const uint8_t *data, size_t size) {
    const uint8_t *at = (const uint8_t *)text;
    assert(at >= data && at < data + size && at + strlen(text) < data + size);
}

static void read_frames(const uint8_t *data, size_t size) {
    struct frame frame;
    for (size_t at = 0; frame_read(data + at, size - at, &frame) == FRAME_OK;) {
        assert(frame.length >= FRAME_HEADER);
        assert(!frame_frontend_fits(&frame) || frame_frontend_class(frame.type));
        (void)frame_backend_known(frame.type);
        if (frame.length > size - at)
            break;
        at += frame.length;
    }
}

static void read_frontend(const uint8_t *data, size_t size) {
    struct error error;
    struct parse_message parse;
    struct named_message named;
    struct execute_message execute;
    const char *text;
    size_t length;
    if (message_read_query(data, size, &text, &length, &error))
        assert(strlen(text) == length && length + 1 == size);
    if (message_read_parse(data, size, &parse, &error)) {
        check_inside(parse.name, data, size);
        check_inside(parse.text, data, size);
        assert(strlen(parse.text) == parse.text_length);
        assert(parse.types + 4 * (size_t)parse.type_count == data + size);
    }
    if (message_read_named(data, size, &named, &error))
        check_inside(named.name, data, size);
    if (message_read_execute(data, size, &execute, &error))
        check_inside(execute.portal, data, size);
}

/* What more bytes would settle must not be settled otherwise before they come. */
static void read_bind(const uint8_t *data, size_t size) {
    struct error error;
    struct bind_message bind;
    bool need_more;
    bool found = message_read_bind_names(data, size, true, &need_more, &bind, &error);
    assert(!need_more);
    for (size_t part = 0; part < size && part < 64; part++) {
        if (message_read_bind_names(data, part, false, &need_more, &bind, &error)) {
            assert(found);
            check_inside(bind.portal, data, part);
            check_inside(bind.statement, data, part);
        } else {
            assert(need_more);
        }
    }
}

/* What was read, written and read again is the same. */
static void read_diagnostic(const uint8_t *data, size_t size) {
    struct error error;
    struct diagnostic diagnostic, again;
    if (!message_read_diagnostic(data, size, &diagnostic, &error))
        return;
    struct wire_buffer buffer = {0};
    message_put_diagnostic(&buffer, 'E', &diagnostic);
    assert(message_read_diagnostic(buffer.data + FRAME_HEADER, buffer.length - FRAME_HEADER, &again,
                                   &error));
    assert(!diagnostic.message == !again.message);
    assert(!again.message || strcmp(diagnostic.message, again.message) == 0);
    assert(!diagnostic.routine == !again.routine);
    wire_buffer_close(&buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    read_frames(data, size);
    read_frontend(data, size);
    read_bind(data, size);
    read_diagnostic(data, size);
    return 0;
}
