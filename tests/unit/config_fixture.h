/* A temporary folder with the files of a configuration, for the tests of config/. Files are written
 * into it by name, "settings.yml" is loaded, and errors are compared without the folder's path,
 * which differs from run to run. */
#ifndef PGINTERLOCK_TEST_CONFIG_FIXTURE_H
#define PGINTERLOCK_TEST_CONFIG_FIXTURE_H

#include "config/settings.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char folder[64];
    struct error error;
    struct settings *settings;
};

/* What a test needs least: the rest is appended. */
#define DATABASES "databases: {main: host=m dbname=app, ci: host=c dbname=app_ci}\n"
#define TABLES "classification: {tables: tables.yml}\n"
#define TRUST "auth: {method: trust}\n"

static inline void fixture_path(const struct fixture *f, const char *name, char *out, size_t size) {
    snprintf(out, size, "%s/%s", f->folder, name);
}

static inline void fixture_write(const struct fixture *f, const char *name, const char *text) {
    char path[256];
    fixture_path(f, name, path, sizeof path);
    for (char *at = strchr(path + strlen(f->folder) + 1, '/'); at != NULL;
         at = strchr(at + 1, '/')) {
        *at = '\0';
        assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
        *at = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, 0600), 0);
}

static inline int fixture_setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    if (f == NULL)
        return -1;
    snprintf(f->folder, sizeof f->folder, "/tmp/pginterlock-config-XXXXXX");
    if (mkdtemp(f->folder) == NULL)
        return -1;
    fixture_write(f, "tables.yml", "users: :gitlab_main\nci_builds: :gitlab_ci\n");
    *state = f;
    return 0;
}

static inline int fixture_remove(const char *path, const struct stat *status, int type,
                                 struct FTW *walk) {
    (void)status, (void)type, (void)walk;
    return remove(path);
}

static inline int fixture_teardown(void **state) {
    struct fixture *f = *state;
    settings_unref(f->settings);
    nftw(f->folder, fixture_remove, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

/* Replaces the folder by nothing, so that "/tmp/…/settings.yml:1: …" becomes "settings.yml:1: …".
 */
static inline void fixture_strip(const struct fixture *f, char *text) {
    size_t length = strlen(f->folder) + 1;
    char prefix[80];
    snprintf(prefix, sizeof prefix, "%s/", f->folder);
    for (char *at; (at = strstr(text, prefix)) != NULL;)
        memmove(at, at + length, strlen(at + length) + 1);
}

static inline const struct settings *fixture_load(struct fixture *f, const char *text) {
    char path[256];
    fixture_write(f, "settings.yml", text);
    fixture_path(f, "settings.yml", path, sizeof path);
    settings_unref(f->settings);
    f->settings = NULL;
    if (!settings_load(path, &f->settings, &f->error))
        fail_msg("%s", f->error.text);
    return f->settings;
}

/* The settings are refused with just these words. */
static inline void fixture_refuse(struct fixture *f, const char *text, const char *expected) {
    char path[256];
    struct settings *settings = NULL;
    fixture_write(f, "settings.yml", text);
    fixture_path(f, "settings.yml", path, sizeof path);
    if (settings_load(path, &settings, &f->error)) {
        settings_unref(settings);
        fail_msg("accepted, instead of: %s", expected);
    }
    fixture_strip(f, f->error.text);
    assert_string_equal(f->error.text, expected);
    assert_null(strchr(f->error.text, '\n'));
}

static inline int schema_of(const struct settings *s, const char *name) {
    return classification_lookup(s->classification, NULL, name);
}

#define assert_schema(settings, name, expected)                                                    \
    do {                                                                                           \
        int found_ = schema_of(settings, name);                                                    \
        assert_true(found_ >= 0);                                                                  \
        assert_string_equal(classification_schema_name((settings)->classification, found_),        \
                            expected);                                                             \
    } while (0)

#define fixture_test(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

#endif
