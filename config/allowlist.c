#include "config/allowlist.h"

#include "config/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void allowlist_free(struct allowlist *list) {
    if (list == NULL)
        return;
    for (size_t i = 0; i < list->count; i++) {
        struct allowlist_entry *entry = &list->entries[i];
        for (size_t t = 0; t < entry->table_count; t++)
            free(entry->tables[t]);
        free(entry->tables);
        free(entry->fingerprint);
        free(entry->url);
    }
    free(list->entries);
    free(list->sorted);
    free(list->path);
    free(list);
}

int allowlist_day(time_t time) {
    return (int)(time / 86400);
}

bool allowlist_asks_fingerprint(const struct allowlist *list, enum rule rule) {
    return list != NULL && (list->by_fingerprint >> rule & 1) != 0;
}

bool allowlist_asks_tables(const struct allowlist *list, enum rule rule) {
    return list != NULL && (list->by_tables >> rule & 1) != 0;
}

/* Without the number that a partition carries, as the classification looks for it. */
static size_t base_length(const char *name) {
    size_t length = strlen(name), at = length;
    while (at > 0 && name[at - 1] >= '0' && name[at - 1] <= '9')
        at--;
    return at < length && at > 1 && name[at - 1] == '_' ? at - 1 : length;
}

bool allowlist_same_table(const char *a, const char *b) {
    size_t length = base_length(a);
    return base_length(b) == length && memcmp(a, b, length) == 0;
}

static bool lists_table(const struct allowlist_entry *entry, const char *table) {
    for (size_t i = 0; i < entry->table_count; i++) {
        if (allowlist_same_table(entry->tables[i], table))
            return true;
    }
    return false;
}

bool allowlist_entry_lists(const struct allowlist_entry *entry, const char *const *tables,
                           size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!lists_table(entry, tables[i]))
            return false;
    }
    return count > 0 && entry->table_count > 0;
}

/* Where the rule's entries begin in `sorted`: those with this fingerprint or one behind it; with
 * NULL those by tables. */
static size_t first_of(const struct allowlist *list, enum rule rule, const char *fingerprint) {
    size_t low = 0, high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct allowlist_entry *entry = list->sorted[middle];
        bool before = entry->rule < rule;
        if (entry->rule == rule && entry->fingerprint != NULL)
            before = fingerprint == NULL || strcmp(entry->fingerprint, fingerprint) < 0;
        if (before)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct allowlist_entry *allowlist_find(const struct allowlist *list, enum rule rule,
                                             const char *fingerprint, const char *const *tables,
                                             size_t count, int today) {
    if (list == NULL)
        return NULL;
    if (fingerprint != NULL) {
        size_t i = first_of(list, rule, fingerprint);
        const struct allowlist_entry *entry = i < list->count ? list->sorted[i] : NULL;
        if (entry != NULL && entry->rule == rule && entry->fingerprint != NULL &&
            strcmp(entry->fingerprint, fingerprint) == 0 && today <= entry->until)
            return entry;
    }
    for (size_t i = first_of(list, rule, NULL); i < list->count; i++) {
        const struct allowlist_entry *entry = list->sorted[i];
        if (entry->rule != rule)
            break;
        if (today <= entry->until && allowlist_entry_lists(entry, tables, count))
            return entry;
    }
    return NULL;
}

void allowlist_entry_name(const struct allowlist_entry *entry, char out[ALLOWLIST_NAME_MAX]) {
    const char *rule = rule_name(entry->rule);
    if (entry->fingerprint != NULL) {
        snprintf(out, ALLOWLIST_NAME_MAX, "%s %s", rule, entry->fingerprint);
        return;
    }
    size_t used = (size_t)snprintf(out, ALLOWLIST_NAME_MAX, "%s of ", rule);
    for (size_t i = 0; i < entry->table_count && used < ALLOWLIST_NAME_MAX; i++)
        used += (size_t)snprintf(out + used, ALLOWLIST_NAME_MAX - used, "%s%s", i > 0 ? ", " : "",
                                 entry->tables[i]);
    if (used >= ALLOWLIST_NAME_MAX) {
        static const char cut[] = "...";
        memcpy(out + ALLOWLIST_NAME_MAX - sizeof cut, cut, sizeof cut);
    }
}
