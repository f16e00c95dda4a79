#include "proxy/environment.h"

#include "config/alloc.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { CONFIG_READ_MAX = 1 << 20 };

/* PGSERVICEFILE, PGPASSFILE and PGSSL* stay: they say where things lie, not what a session is. */
static const char *const cleared[] = {
    "PGOPTIONS",  "PGAPPNAME",  "PGCLIENTENCODING", "PGDATESTYLE",          "PGTZ",
    "PGGEQO",     "PGDATABASE", "PGUSER",           "PGPASSWORD",           "PGHOST",
    "PGHOSTADDR", "PGPORT",     "PGSERVICE",        "PGTARGETSESSIONATTRS",
};

/* The file's text, NUL-terminated; "" where it can't be read (it was read a moment ago). */
static char *read_text(const char *path) {
    char *text = alloc_new(CONFIG_READ_MAX + 1);
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        size_t length = fread(text, 1, CONFIG_READ_MAX, file);
        text[length] = '\0';
        fclose(file);
    }
    return text;
}

static bool is_named(const char *text, const char *variable) {
    size_t length = strlen(variable);
    for (const char *at = text; (at = strstr(at, "${")) != NULL; at += 2)
        if (strncmp(at + 2, variable, length) == 0 &&
            (at[2 + length] == '}' || at[2 + length] == ':'))
            return true;
    return false;
}

void environment_clear_libpq(const char *config_path) {
    char *text = read_text(config_path);
    for (size_t i = 0; i < sizeof cleared / sizeof cleared[0]; i++)
        if (!is_named(text, cleared[i]))
            unsetenv(cleared[i]);
    free(text);
}

uint64_t environment_raise_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before;
}
