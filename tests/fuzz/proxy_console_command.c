/* A text of any bytes for the console is commands, or a mistake at a place within it; each call gets
 * further. */
#include "proxy/console_command.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = calloc(1, size + 1);
    if (text == NULL)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    size_t length = strlen(text), at = 0, before = 0;
    enum console_command command = CONSOLE_COMMANDS;
    enum console_reading reading;
    struct error error = {""};
    while ((reading = console_read_command(text, &at, &command, &error)) == CONSOLE_COMMAND) {
        assert(command < CONSOLE_COMMANDS && at > before && at <= length);
        before = at;
    }
    assert(at >= before && at <= length);
    assert(reading == CONSOLE_END ? at == length : error.text[0] != '\0');
    free(text);
    return 0;
}
