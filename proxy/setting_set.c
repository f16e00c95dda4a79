#include "proxy/setting_set.h"

#include "config/alloc.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct setting {
    char *name; /* lower case */
    char *sql;
};

struct setting_set {
    unsigned references;
    size_t count;
    struct setting settings[]; /* in the order in which they were made */
};

/* RESET ALL has emptied the log before it; RESET of one is what a fresh connection has. */
static bool only_resets(const struct setting_change *change) {
    return change->name[0] == '\0' || strncasecmp(change->sql, "RESET", 5) == 0;
}

struct setting_set *setting_set_new(const struct setting_log *log) {
    size_t count = 0;
    for (size_t i = 0; i < log->count; i++)
        count += only_resets(&log->changes[i]) ? 0 : 1;
    if (count == 0)
        return NULL;
    struct setting_set *set = alloc_new(sizeof *set + count * sizeof set->settings[0]);
    set->references = 1;
    for (size_t i = 0; i < log->count; i++) {
        const struct setting_change *change = &log->changes[i];
        if (only_resets(change))
            continue;
        set->settings[set->count++] =
            (struct setting){.name = alloc_text(change->name), .sql = alloc_text(change->sql)};
    }
    return set;
}

struct setting_set *setting_set_ref(struct setting_set *set) {
    if (set != NULL)
        set->references++;
    return set;
}

static __attribute__((noinline)) void set_free(struct setting_set *set) {
    for (size_t i = 0; i < set->count; i++) {
        free(set->settings[i].name);
        free(set->settings[i].sql);
    }
    free(set);
}

void setting_set_unref(struct setting_set *set) {
    if (set != NULL && --set->references == 0)
        set_free(set);
}

static size_t set_count(const struct setting_set *set) {
    return set != NULL ? set->count : 0;
}

bool setting_set_equal(const struct setting_set *a, const struct setting_set *b) {
    if (a == b)
        return true;
    if (set_count(a) != set_count(b))
        return false;
    for (size_t i = 0; i < set_count(a); i++)
        if (strcasecmp(a->settings[i].name, b->settings[i].name) != 0 ||
            strcmp(a->settings[i].sql, b->settings[i].sql) != 0)
            return false;
    return true;
}

void setting_set_unite(struct setting_set **a, struct setting_set **b) {
    if (*a == NULL || *b == NULL)
        return; /* both have nothing */
    struct setting_set **kept = (*a)->references >= (*b)->references ? a : b;
    struct setting_set **other = kept == a ? b : a;
    setting_set_unref(*other);
    *other = setting_set_ref(*kept);
}

static const struct setting *find(const struct setting_set *set, const char *name) {
    for (size_t i = 0; i < set_count(set); i++)
        if (strcasecmp(set->settings[i].name, name) == 0)
            return &set->settings[i];
    return NULL;
}

bool setting_set_has(const struct setting_set *set, const char *name) {
    return find(set, name) != NULL;
}

bool setting_set_has_identity(const struct setting_set *set) {
    for (size_t i = 0; i < set_count(set); i++)
        if (setting_is_identity(set->settings[i].name))
            return true;
    return false;
}

/* A parameter that RESET name brings back, alone and without any effect on others. */
static bool is_plain(const char *name) {
    if (setting_is_identity(name))
        return false;
    return name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.")] ==
           '\0';
}

static bool all_plain(const struct setting_set *set) {
    for (size_t i = 0; i < set_count(set); i++)
        if (!is_plain(set->settings[i].name))
            return false;
    return true;
}

bool setting_set_can_join(const struct setting_set *set) {
    static const char *const beginnings[] = {"default_transaction_isolation",
                                             "default_transaction_read_only",
                                             "default_transaction_deferrable", "statement_timeout"};
    for (size_t i = 0; i < set_count(set); i++) {
        if (strncasecmp(set->settings[i].sql, "SET", 3) != 0)
            return false;
        for (size_t b = 0; b < sizeof beginnings / sizeof beginnings[0]; b++)
            if (strcasecmp(set->settings[i].name, beginnings[b]) == 0)
                return false;
    }
    return true;
}

void setting_set_difference(const struct setting_set *from, bool unknown,
                            const struct setting_set *to,
                            void (*command)(void *context, const char *sql), void *context) {
    bool by_name = !unknown && all_plain(from) && all_plain(to);
    if (!by_name) {
        command(context, "SET SESSION AUTHORIZATION DEFAULT");
        command(context, "RESET ALL");
    }
    for (size_t i = 0; by_name && i < set_count(from); i++) {
        if (find(to, from->settings[i].name) != NULL)
            continue;
        char *sql = alloc_format("RESET %s", from->settings[i].name);
        command(context, sql);
        free(sql);
    }
    for (size_t i = 0; i < set_count(to); i++) {
        const struct setting *had = by_name ? find(from, to->settings[i].name) : NULL;
        if (had == NULL || strcmp(had->sql, to->settings[i].sql) != 0)
            command(context, to->settings[i].sql);
    }
}
