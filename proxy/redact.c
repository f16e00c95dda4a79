#include "proxy/redact.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

void redact_conninfo(const char *conninfo, char *out, size_t size) {
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
    if (options == NULL) {
        snprintf(out, size, "(unreadable)");
        return;
    }
    size_t length = 0;
    out[0] = '\0';
    for (const PQconninfoOption *o = options; o->keyword != NULL && length < size; o++) {
        if (o->val == NULL || o->dispchar[0] == '*' || strstr(o->keyword, "password") != NULL)
            continue;
        const char *quote = o->val[0] == '\0' || strpbrk(o->val, " '\\") != NULL ? "'" : "";
        int written = snprintf(out + length, size - length, "%s%s=%s%s%s", length > 0 ? " " : "",
                               o->keyword, quote, o->val, quote);
        if (written < 0)
            break;
        length += (size_t)written;
    }
    PQconninfoFree(options);
}
