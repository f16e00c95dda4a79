#include "proxy/backend_key.h"

#include "config/alloc.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

enum {
    LINE_MAX_BYTES = 80, /* of the line that is looked for; others may be longer */
    STREAM_BYTES = 512,
};

struct backend_key {
    FILE *stream;
    bool known;
    int pid, key;
    char line[LINE_MAX_BYTES];
    size_t length;             /* … may be more than has room */
    char buffer[STREAM_BYTES]; /* the stream's own */
};

/* Direction, length, type, then the two numbers with their sign. The last server's counts, where
 * several hosts are tried. */
static void read_line(struct backend_key *watch) {
    int pid, key;
    if (watch->length < sizeof watch->line) {
        watch->line[watch->length] = '\0';
        if (sscanf(watch->line, "B\t12\tBackendKeyData\t %d %d", &pid, &key) == 2) {
            watch->known = true;
            watch->pid = pid;
            watch->key = key;
        }
    }
    watch->length = 0;
}

static ssize_t on_write(void *cookie, const char *text, size_t length) {
    struct backend_key *watch = cookie;
    for (size_t i = 0; i < length; i++)
        if (text[i] == '\n')
            read_line(watch);
        else if (watch->length < sizeof watch->line)
            watch->line[watch->length++] = text[i];
    return (ssize_t)length;
}

struct backend_key *backend_key_watch(PGconn *conn) {
    struct backend_key *watch = alloc_new(sizeof *watch);
    watch->stream = fopencookie(watch, "w", (cookie_io_functions_t){.write = on_write});
    if (watch->stream == NULL) {
        free(watch);
        return NULL;
    }
    setvbuf(watch->stream, watch->buffer, _IOLBF, sizeof watch->buffer);
    PQtrace(conn, watch->stream);
    PQsetTraceFlags(conn, PQTRACE_SUPPRESS_TIMESTAMPS);
    return watch;
}

bool backend_key_get(const struct backend_key *watch, uint32_t pid, uint32_t *key) {
    if (watch == NULL || !watch->known || (uint32_t)watch->pid != pid)
        return false;
    *key = (uint32_t)watch->key;
    return true;
}

void backend_key_end(struct backend_key *watch, PGconn *conn) {
    if (watch == NULL)
        return;
    PQuntrace(conn);
    fclose(watch->stream);
    OPENSSL_cleanse(watch, sizeof *watch); /* besides the key, libpq may have told a password */
    free(watch);
}
