#include "config/settings_internal.h"

#include "config/alloc.h"
#include "config/allowlist.h"
#include "config/classification_internal.h"
#include "config/file.h"
#include "config/userlist.h"

#include <assert.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What users of a snapshot don't see. */
struct snapshot {
    struct settings settings; /* first, so that a pointer to it is one to the snapshot */
    atomic_uint references;
};

/* -- helpers ----------------------------------------------------------------------------------- */

void settings_notice(struct settings *settings, const char *format, ...) {
    struct error text; /* for its bound and its single line */
    char buffer[ERROR_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(buffer, sizeof buffer, format, arguments);
    va_end(arguments);
    error_set(&text, "%s", buffer);
    settings->notices =
        alloc_grow(settings->notices, settings->notice_count, sizeof *settings->notices);
    settings->notices[settings->notice_count++] = alloc_text(text.text);
}

bool settings_wrap_error(const struct tree_node *node, const char *what, const char *advice,
                         struct error *error) {
    struct error cause = *error;
    return tree_error(node, error, "%s: %s: %s", what, cause.text, advice);
}

bool settings_read_path(const struct tree_node *node, const char *what, char **out,
                        struct error *error) {
    const char *text;
    if (!tree_text(node, what, &text, error))
        return false;
    char *path = file_resolve(node->path, text);
    if (!file_check_readable(path, error)) {
        free(path);
        return settings_wrap_error(node, what, "correct the path or its permissions", error);
    }
    free(*out);
    *out = path;
    return true;
}

static bool unknown_key(const struct tree_node *key, const char *what,
                        const struct setting_key *keys, size_t count, struct error *error) {
    char list[512] = "";
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", keys[i].name);
    }
    return tree_error(key, error, "unknown key \"%s\" in %s: write one of %s", key->text, what,
                      list);
}

bool settings_read_map(struct loader *loader, const struct tree_node *node, const char *what,
                       const struct setting_key *keys, size_t count, struct error *error) {
    if (!tree_expect(node, what, TREE_MAP, error))
        return false;
    for (size_t i = 0; i < node->count; i++) {
        size_t at = 0;
        while (at < count && strcmp(keys[at].name, node->keys[i]->text) != 0)
            at++;
        if (at == count)
            return unknown_key(node->keys[i], what, keys, count, error);
    }
    for (size_t i = 0; i < count; i++) {
        const struct tree_node *value = tree_find(node, keys[i].name);
        if (value != NULL && keys[i].read != NULL && !keys[i].read(loader, value, error))
            return false;
    }
    return true;
}

/* -- keys with a value of their own ------------------------------------------------------------ */

static bool read_outer_transaction(struct loader *loader, const struct tree_node *node,
                                   struct error *error) {
    static const char *const words[] = {"count", "ignore"};
    unsigned word;
    if (!tree_choice(node, "rules.outer_transaction", words, 2, &word, error))
        return false;
    loader->settings->outer_transaction_ignored = word == 1;
    return true;
}

static bool read_rules(struct loader *loader, const struct tree_node *node, struct error *error) {
    static const char *const modes[] = {"enforce", "report", "off"};
    if (!tree_expect(node, "rules", TREE_MAP, error))
        return false;
    for (size_t i = 0; i < node->count; i++) {
        const char *name = node->keys[i]->text;
        unsigned rule = 0, mode;
        while (rule < RULE_UNROUTABLE && strcmp(rule_name(rule), name) != 0)
            rule++;
        if (strcmp(name, "outer_transaction") == 0) {
            if (!read_outer_transaction(loader, node->values[i], error))
                return false;
            continue;
        }
        if (rule == RULE_UNROUTABLE)
            return tree_error(
                node->keys[i], error,
                "unknown rule \"%s\": write one of cross_join, cross_transaction, "
                "cross_foreign_key, wrong_database, write_lock, unclassified, unparsed, "
                "outer_transaction",
                name);
        char what[64];
        snprintf(what, sizeof what, "rules.%s", name);
        if (!tree_choice(node->values[i], what, modes, 3, &mode, error))
            return false;
        loader->settings->rules[rule] = (enum rule_mode)mode;
    }
    return true;
}

static bool read_log_level(struct loader *loader, const struct tree_node *node,
                           struct error *error) {
    static const char *const levels[] = {"debug", "info", "warning", "error"};
    unsigned level;
    if (!tree_choice(node, "log.level", levels, 4, &level, error))
        return false;
    loader->settings->log.level = (enum log_level)level;
    return true;
}

static bool read_log_format(struct loader *loader, const struct tree_node *node,
                            struct error *error) {
    static const char *const formats[] = {"text", "json"};
    unsigned format;
    if (!tree_choice(node, "log.format", formats, 2, &format, error))
        return false;
    loader->settings->log.format = (enum log_format)format;
    return true;
}

static bool read_log(struct loader *loader, const struct tree_node *node, struct error *error) {
    static const struct setting_key keys[] = {{"level", read_log_level},
                                              {"format", read_log_format}};
    return settings_read_map(loader, node, "log", keys, 2, error);
}

static bool read_workers(struct loader *loader, const struct tree_node *node, struct error *error) {
    return tree_unsigned(node, "workers", 0, 1024, &loader->settings->workers, error);
}

static bool read_shutdown_timeout(struct loader *loader, const struct tree_node *node,
                                  struct error *error) {
    return tree_unsigned(node, "shutdown_timeout", 1, 86400, &loader->settings->shutdown_timeout,
                         error);
}

static bool read_login_timeout(struct loader *loader, const struct tree_node *node,
                               struct error *error) {
    return tree_unsigned(node, "login_timeout", 1, 86400, &loader->settings->login_timeout, error);
}

static bool read_connect_timeout(struct loader *loader, const struct tree_node *node,
                                 struct error *error) {
    return tree_unsigned(node, "connect_timeout", 1, 86400, &loader->settings->connect_timeout,
                         error);
}

static bool read_violations(struct loader *loader, const struct tree_node *node,
                            struct error *error) {
    struct settings *settings = loader->settings;
    const char *text;
    if (!tree_text(node, "violations", &text, error))
        return false;
    settings->violations = file_resolve(node->path, text);
    settings->violations_line = node->line;
    if (!file_check_appendable(settings->violations, false, error))
        return settings_wrap_error(node, "violations", "name a file in a folder that is there",
                                   error);
    return true;
}

bool settings_check_violations(const struct settings *settings, struct error *error) {
    if (settings->violations == NULL || file_check_appendable(settings->violations, true, error))
        return true;
    struct error cause = *error;
    return error_set(error,
                     "%s:%d: violations: %s: let the user who runs this write the file and its "
                     "folder",
                     settings->path, settings->violations_line, cause.text);
}

/* -- loading ----------------------------------------------------------------------------------- */

static bool read_all(struct loader *loader, struct error *error) {
    /* Those without a reader depend on each other and are read below. */
    static const struct setting_key keys[] = {
        {"listen", settings_read_listen},
        {"databases", NULL},
        {"databases_from", NULL},
        {"classification", NULL},
        {"entrypoints", NULL},
        {"rules", read_rules},
        {"auth", settings_read_auth},
        {"tls", settings_read_tls},
        {"log", read_log},
        {"workers", read_workers},
        {"shutdown_timeout", read_shutdown_timeout},
        {"login_timeout", read_login_timeout},
        {"connect_timeout", read_connect_timeout},
        {"tcp_keepalive", settings_read_tcp_keepalive},
        {"tcp_keepidle", settings_read_tcp_keepidle},
        {"tcp_keepintvl", settings_read_tcp_keepintvl},
        {"tcp_keepcnt", settings_read_tcp_keepcnt},
        {"tcp_user_timeout", settings_read_tcp_user_timeout},
        {"allowlist", NULL},
        {"violations", read_violations},
        {"pool", NULL},
        {"admin", NULL},
    };
    return settings_read_map(loader, loader->root, "the settings file", keys,
                             sizeof keys / sizeof *keys, error) &&
           settings_read_databases(loader, error) && settings_read_classification(loader, error) &&
           settings_read_entrypoints(loader, error) && settings_read_allowlist(loader, error) &&
           settings_read_pool(loader, error) && settings_check_access(loader, error) &&
           settings_read_admin(loader, error);
}

/* Differs from load to load without any state that would have to be shared: the clock only goes up.
 */
static uint64_t next_generation(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec + 1;
}

static struct settings *settings_new(const char *path) {
    struct snapshot *snapshot = alloc_zeroed(1, sizeof *snapshot);
    atomic_init(&snapshot->references, 1);
    struct settings *settings = &snapshot->settings;
    settings->path = alloc_text(path);
    settings->auth.method = AUTH_SCRAM_SHA_256;
    settings->log.level = LOG_INFO;
    settings->shutdown_timeout = 30;
    settings->login_timeout = 60;
    settings->connect_timeout = 15;
    settings->tcp.keepalive = true;
    settings->generation = next_generation();
    return settings;
}

static bool load_tree(const char *path, struct tree *tree, struct settings **out,
                      struct error *error) {
    struct loader loader = {.settings = settings_new(path), .root = tree_root(tree)};
    bool ok = read_all(&loader, error);
    tree_free(loader.rails);
    if (ok)
        *out = loader.settings;
    else
        settings_unref(loader.settings);
    return ok;
}

bool settings_load_buffer(const char *path, const char *data, size_t length, struct settings **out,
                          struct error *error) {
    struct tree *tree;
    if (!tree_load_buffer(path, data, length, TREE_ENVIRONMENT, &tree, error))
        return false;
    bool ok = load_tree(path, tree, out, error);
    tree_free(tree);
    return ok;
}

bool settings_load(const char *path, struct settings **out, struct error *error) {
    char *data;
    size_t length;
    if (!file_read(path, &data, &length, error)) {
        struct error cause = *error;
        return error_set(error, "%s:1: %s: name a settings file with --config", path, cause.text);
    }
    bool ok = settings_load_buffer(path, data, length, out, error);
    explicit_bzero(data, length); /* connection strings have passwords */
    free(data);
    return ok;
}

/* -- snapshots --------------------------------------------------------------------------------- */

struct settings *settings_ref(const struct settings *settings) {
    struct snapshot *snapshot = (struct snapshot *)settings;
    unsigned before = atomic_fetch_add_explicit(&snapshot->references, 1, memory_order_relaxed);
    assert(before > 0);
    return &snapshot->settings;
}

static void settings_free(struct settings *s) {
    for (size_t i = 0; i < s->listen_count; i++) {
        free(s->listen[i].text);
        free(s->listen[i].host);
        free(s->listen[i].folder);
    }
    for (size_t i = 0; i < s->database_count; i++) {
        free(s->databases[i].name);
        if (s->databases[i].conninfo != NULL)
            explicit_bzero(s->databases[i].conninfo, strlen(s->databases[i].conninfo));
        free(s->databases[i].conninfo);
    }
    for (size_t i = 0; i < s->entrypoint_count; i++)
        free(s->entrypoints[i].name);
    for (size_t i = 0; i < s->notice_count; i++)
        free(s->notices[i]);
    userlist_free(s->auth.users, s->auth.user_count);
    for (size_t i = 0; i < s->admin.user_count; i++)
        free(s->admin.users[i]);
    free(s->admin.users);
    free(s->admin.database);
    classification_free(s->classification);
    allowlist_free(s->allowlist);
    free(s->listen);
    free(s->databases);
    free(s->entrypoints);
    free(s->notices);
    free(s->tls.cert);
    free(s->tls.key);
    free(s->tls.ca);
    free(s->violations);
    free(s->path);
    free(s);
}

void settings_unref(const struct settings *settings) {
    if (settings == NULL)
        return;
    struct snapshot *snapshot = (struct snapshot *)settings;
    if (atomic_fetch_sub_explicit(&snapshot->references, 1, memory_order_acq_rel) == 1)
        settings_free(&snapshot->settings);
}

int settings_find_database(const struct settings *settings, const char *name) {
    for (size_t i = 0; i < settings->database_count; i++) {
        if (strcmp(settings->databases[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

int settings_find_entrypoint(const struct settings *settings, const char *name) {
    for (size_t i = 0; i < settings->entrypoint_count; i++) {
        if (strcmp(settings->entrypoints[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

static int compare_user(const void *name, const void *user) {
    return strcmp(name, ((const struct user *)user)->name);
}

const struct user *settings_find_user(const struct settings *settings, const char *name) {
    if (settings->auth.user_count == 0)
        return NULL;
    return bsearch(name, settings->auth.users, settings->auth.user_count,
                   sizeof *settings->auth.users, compare_user);
}

bool settings_same_layout(const struct settings *a, const struct settings *b) {
    if (a->database_count != b->database_count)
        return false;
    for (size_t i = 0; i < a->database_count; i++)
        if (strcmp(a->databases[i].name, b->databases[i].name) != 0 ||
            a->databases[i].physical != b->databases[i].physical)
            return false;
    return true;
}

bool settings_same_databases(const struct settings *a, const struct settings *b) {
    if (!settings_same_layout(a, b))
        return false;
    for (size_t i = 0; i < a->database_count; i++)
        if (strcmp(a->databases[i].conninfo, b->databases[i].conninfo) != 0)
            return false;
    return true;
}
