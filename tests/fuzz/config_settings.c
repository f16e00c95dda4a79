/* A settings file of any bytes gives settings or one line that names the file: no crash, no leak,
 * no endless loop. */
#include "config/settings_internal.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char path[] = "tests/data/fuzz.yml" /* run from the top of the repository */;
    struct settings *settings = NULL;
    struct error error = {""};
    if (settings_load_buffer(path, (const char *)data, size, &settings, &error)) {
        assert(settings->database_count > 0 && settings->entrypoint_count > 0);
        assert(strcmp(settings->databases[0].name, "main") == 0);
        settings_unref(settings);
    } else {
        assert(error.text[0] != '\0' && strchr(error.text, '\n') == NULL);
    }
    return 0;
}
