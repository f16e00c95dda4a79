/* A userlist of any bytes gives users or one line: no crash, no leak; what is read has a name and
 * is sorted. */
#include "config/userlist.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct user *users = NULL;
    size_t count = 0;
    struct error error = {""};
    if (!userlist_parse("userlist.txt", (const char *)data, size, &users, &count, &error)) {
        assert(strncmp(error.text, "userlist.txt:", 13) == 0 && strchr(error.text, '\n') == NULL);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        assert(users[i].name[0] != '\0' && users[i].secret != NULL);
        assert(i == 0 || strcmp(users[i - 1].name, users[i].name) < 0);
    }
    userlist_free(users, count);
    return 0;
}
