#include "proxy/allowlist_use.h"

#include "config/alloc.h"
#include "config/allowlist.h"

#include <errno.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SAID_MAX = 1024 };

struct reading {
    const struct settings *settings;
    const struct allowlist *list;
    bool *used; /* parallel to the entries */
    size_t violations, unread;
};

/* How many of the tables the entry lists, and how many of them say in which database the statement
 * is and are not listed. */
static void compare_tables(const struct reading *r, const struct allowlist_entry *entry,
                           const json_t *tables, size_t *listed, size_t *missing) {
    const struct classification *c = r->settings->classification;
    size_t i;
    json_t *item;
    *listed = *missing = 0;
    json_array_foreach(tables, i, item) {
        const char *name = json_string_value(item);
        int schema = name != NULL ? classification_lookup(c, NULL, name) : -1;
        if (name != NULL && allowlist_entry_lists(entry, &name, 1))
            ++*listed;
        else if (schema >= 0 && !classification_schema_is_neutral(c, schema))
            ++*missing;
    }
}

/* Whether an entry by tables may have been about the violation. A line tells all tables of its
 * statement, not what each was used for, so that some rules can only be ruled out. */
static bool may_match(const struct reading *r, const struct allowlist_entry *entry,
                      const json_t *violation) {
    size_t listed, missing;
    compare_tables(r, entry, json_object_get(violation, "tables"), &listed, &missing);
    switch (entry->rule) {
    case RULE_CROSS_JOIN:
    case RULE_CROSS_FOREIGN_KEY:
    case RULE_UNPARSED:
        return listed > 0 && missing == 0;
    case RULE_CROSS_TRANSACTION: {
        const json_t *earlier = json_object_get(json_object_get(violation, "earlier"), "tables");
        size_t before;
        compare_tables(r, entry, earlier, &before, &missing);
        return listed > 0 && (before > 0 || json_array_size(earlier) == 0);
    }
    default:
        return listed > 0;
    }
}

/* Whatever was done about the violation: an entry that was needed while it was expired is of use.
 */
static void mark_used(struct reading *r, const char *rule, const json_t *violation) {
    const char *fingerprint = json_string_value(json_object_get(violation, "fingerprint"));
    for (size_t i = 0; i < r->list->count; i++) {
        const struct allowlist_entry *entry = &r->list->entries[i];
        if (r->used[i] || strcmp(rule_name(entry->rule), rule) != 0)
            continue;
        r->used[i] = entry->fingerprint == NULL ? may_match(r, entry, violation)
                     : fingerprint != NULL      ? strcmp(entry->fingerprint, fingerprint) == 0
                                                : false;
    }
}

static void read_line(struct reading *r, const char *line, size_t length) {
    json_error_t error;
    json_t *violation = json_loadb(line, length, 0, &error);
    const char *rule = json_string_value(json_object_get(violation, "rule"));
    if (rule == NULL) {
        r->unread++;
    } else {
        mark_used(r, rule, violation);
        r->violations++;
    }
    json_decref(violation);
}

static void read_file(struct reading *r, FILE *file) {
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    while ((length = getline(&line, &room, file)) >= 0)
        if (line[strspn(line, " \r\n")] != '\0')
            read_line(r, line, (size_t)length);
    free(line);
}

static void tell(const struct reading *r, const char *path, void (*say)(void *, const char *),
                 void *context) {
    char text[SAID_MAX];
    if (r->unread > 0) {
        snprintf(text, sizeof text, "%s: %zu lines are no recorded violations and were left out",
                 path, r->unread);
        say(context, text);
    }
    for (size_t i = 0; i < r->list->count && r->violations > 0; i++) {
        if (r->used[i])
            continue;
        char name[ALLOWLIST_NAME_MAX];
        allowlist_entry_name(&r->list->entries[i], name);
        snprintf(text, sizeof text,
                 "%s:%d: %s was used by no violation in %s: remove it if it is needed no more",
                 r->list->path, r->list->entries[i].line, name, path);
        say(context, text);
    }
}

void allowlist_tell_unused(const struct settings *settings, size_t most,
                           void (*say)(void *context, const char *text), void *context) {
    if (settings->allowlist == NULL || settings->violations == NULL)
        return;
    char text[SAID_MAX];
    struct stat status;
    FILE *file = fopen(settings->violations, "re");
    if (file == NULL || fstat(fileno(file), &status) != 0) {
        snprintf(text, sizeof text, "%s can't be read: %s: unused allowlist entries are not told",
                 settings->violations, strerror(errno));
        if (errno != ENOENT)
            say(context, text);
    } else if ((uintmax_t)status.st_size > most) {
        snprintf(text, sizeof text,
                 "%s is too long to be read at start: `check` tells unused allowlist entries",
                 settings->violations);
        say(context, text);
    } else {
        struct reading r = {.settings = settings,
                            .list = settings->allowlist,
                            .used = alloc_zeroed(settings->allowlist->count, sizeof *r.used)};
        read_file(&r, file);
        tell(&r, settings->violations, say, context);
        free(r.used);
    }
    if (file != NULL)
        fclose(file);
}
