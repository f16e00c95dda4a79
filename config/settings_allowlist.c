/* The key `allowlist`: the file, and what is to be said of its entries at start. */
#include "config/settings_internal.h"

#include "config/alloc.h"
#include "config/allowlist.h"

#include <stdlib.h>

static bool crosses(enum rule rule) {
    return rule == RULE_CROSS_JOIN || rule == RULE_CROSS_TRANSACTION ||
           rule == RULE_CROSS_FOREIGN_KEY;
}

static int schema_of(const struct classification *c, const char *name) {
    int schema = classification_lookup(c, NULL, name);
    return schema >= 0 ? schema : classification_lookup_function(c, name);
}

/* Whether statements and transactions of these tables can't break the rule: all are in one database
 * and, where schemas permit each other or not, in one schema. Those that are in every database
 * count for the one that they are used in. */
static bool never_cross(const struct classification *c, const struct allowlist_entry *entry) {
    database_set common = ~(database_set)0;
    schema_set schemas = 0;
    for (size_t i = 0; i < entry->table_count; i++) {
        int schema = schema_of(c, entry->tables[i]);
        if (classification_schema_is_neutral(c, schema)) {
            if (entry->rule == RULE_CROSS_TRANSACTION)
                return false;
            continue;
        }
        common &= classification_schema_databases(c, schema);
        schemas |= (schema_set)1 << schema;
    }
    return common != 0 && (!classification_has_permissions(c) || (schemas & (schemas - 1)) == 0);
}

static void notice_entry(struct settings *settings, const struct allowlist_entry *entry,
                         int today) {
    const char *path = settings->allowlist->path;
    char name[ALLOWLIST_NAME_MAX];
    allowlist_entry_name(entry, name);
    if (entry->until < today)
        settings_notice(settings,
                        "%s:%d: %s held until %s and is expired: remove it, or give it more time",
                        path, entry->line, name, entry->until_text);
    else if (entry->table_count > 0 && crosses(entry->rule) &&
             never_cross(settings->classification, entry))
        settings_notice(settings,
                        "%s:%d: %s permits nothing, as one database holds all of these tables: "
                        "remove it, or add the other tables",
                        path, entry->line, name);
}

bool settings_read_allowlist(struct loader *loader, struct error *error) {
    struct settings *settings = loader->settings;
    const struct tree_node *node = tree_find(loader->root, "allowlist");
    if (node == NULL)
        return true;
    char *path = NULL;
    bool ok = settings_read_path(node, "allowlist", &path, error) &&
              allowlist_load(path, settings->classification, &settings->allowlist, error);
    free(path);
    if (!ok)
        return false;
    int today = allowlist_day(time(NULL));
    for (size_t i = 0; i < settings->allowlist->count; i++)
        notice_entry(settings, &settings->allowlist->entries[i], today);
    return true;
}
