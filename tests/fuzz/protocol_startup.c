/* The first packet of a connection, whole and in pieces. */
#include "protocol/startup.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Code and parameters alone, so that the fuzzer needn't find a length that fits. */
static void read_framed(const uint8_t *data, size_t size) {
    struct wire_buffer packet = {0};
    struct startup startup;
    struct error error;
    message_put_u32(&packet, (uint32_t)size + 4);
    wire_append(&packet, data, size);
    startup_read(packet.data, packet.length, &startup, &error);
    assert(startup.kind != STARTUP_INCOMPLETE);
    if (startup.kind == STARTUP_MESSAGE) {
        assert(startup.user[0] && startup.database[0] && startup.length == packet.length);
        struct wire_buffer answer = {0};
        startup_put_negotiation(&answer, &startup);
        wire_buffer_close(&answer);
        (void)startup_find(&startup, "client_encoding");
    }
    assert((startup.kind == STARTUP_BAD) == (startup.sqlstate != NULL));
    startup_close(&startup);
    wire_buffer_close(&packet);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct startup startup;
    struct error error;
    startup_read(data, size, &startup, &error);
    enum startup_kind whole = startup.kind;
    size_t length = startup.length;
    startup_close(&startup);
    if (whole != STARTUP_INCOMPLETE && whole != STARTUP_BAD) {
        startup_read(data, length - 1, &startup, &error);
        assert(startup.kind == STARTUP_INCOMPLETE && startup.length == length);
        startup_close(&startup);
    }
    if (size < 20000)
        read_framed(data, size);
    return 0;
}
