/* Reading the allowlist file: what an entry must have, and that no two say the same. */
#include "config/allowlist.h"

#include "config/alloc.h"
#include "config/yaml.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool read_rule(const struct tree_node *node, enum rule *out, struct error *error) {
    const char *names[RULE_UNROUTABLE];
    unsigned rule;
    for (int i = 0; i < RULE_UNROUTABLE; i++)
        names[i] = rule_name((enum rule)i);
    if (!tree_expect(node, "rule", TREE_SCALAR, error))
        return false;
    for (int i = RULE_UNROUTABLE; i < RULE_COUNT; i++) {
        if (strcmp(node->text, rule_name((enum rule)i)) == 0)
            return tree_error(node, error, "rule %s can't be permitted: remove the entry",
                              node->text);
    }
    if (!tree_choice(node, "rule", names, RULE_UNROUTABLE, &rule, error))
        return false;
    *out = (enum rule)rule;
    return true;
}

static bool read_fingerprint(const struct tree_node *node, char **out, struct error *error) {
    const char *text;
    if (!tree_text(node, "fingerprint", &text, error))
        return false;
    if (strlen(text) != ALLOWLIST_FINGERPRINT_LENGTH ||
        strspn(text, "0123456789abcdef") != ALLOWLIST_FINGERPRINT_LENGTH)
        return tree_error(node, error,
                          "fingerprint is \"%s\": write the %d hex digits (0-9, a-f) that a log "
                          "line or a recorded violation gives",
                          text, ALLOWLIST_FINGERPRINT_LENGTH);
    *out = alloc_text(text);
    return true;
}

/* Days from 1970-01-01 in the Gregorian calendar, counted in years that begin in March. */
static int days_of(int year, int month, int day) {
    year -= month <= 2;
    int century = year / 400, of_century = year % 400;
    int of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return century * 146097 + of_century * 365 + of_century / 4 - of_century / 100 + of_year -
           719468;
}

static int number_at(const char *text, size_t length) {
    int number = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        number = number * 10 + (text[i] - '0');
    }
    return number;
}

static bool read_until(const struct tree_node *node, struct allowlist_entry *entry,
                       struct error *error) {
    static const int lengths[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const char *text;
    if (!tree_text(node, "until", &text, error))
        return false;
    bool form = strlen(text) == 10 && text[4] == '-' && text[7] == '-';
    int year = form ? number_at(text, 4) : -1, month = form ? number_at(text + 5, 2) : -1,
        day = form ? number_at(text + 8, 2) : -1;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    bool valid = year > 0 && month >= 1 && month <= 12 && day >= 1 && day <= lengths[month - 1] &&
                 (month != 2 || day < 29 || leap);
    if (!valid)
        return tree_error(
            node, error, "until is \"%s\": write the last day on which it holds, YYYY-MM-DD", text);
    entry->until = days_of(year, month, day);
    snprintf(entry->until_text, sizeof entry->until_text, "%s", text);
    return true;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool check_table(const struct tree_node *node, const struct allowlist_entry *entry,
                        const struct classification *c, struct error *error) {
    bool known = classification_lookup(c, NULL, node->text) >= 0 ||
                 classification_lookup_function(c, node->text) >= 0;
    if (entry->rule == RULE_UNCLASSIFIED && known)
        return tree_error(node, error,
                          "tables: \"%s\" has a gitlab_schema, so that it never breaks "
                          "unclassified: remove it",
                          node->text);
    if (entry->rule != RULE_UNCLASSIFIED && !known)
        return tree_error(node, error,
                          "tables: \"%s\" has no gitlab_schema: correct the name, which has no "
                          "schema before it, or add it to the classification",
                          node->text);
    return true;
}

static bool read_tables(const struct tree_node *node, struct allowlist_entry *entry,
                        const struct classification *c, struct error *error) {
    if (!tree_expect(node, "tables", TREE_LIST, error))
        return false;
    if (node->count == 0)
        return tree_error(node, error, "tables is empty: name the tables, or a fingerprint");
    entry->tables = alloc_zeroed(node->count, sizeof *entry->tables);
    for (size_t i = 0; i < node->count; i++) {
        const char *name;
        if (!tree_text(node->values[i], "tables", &name, error) ||
            !check_table(node->values[i], entry, c, error))
            return false;
        for (size_t n = 0; n < i; n++) {
            if (strcmp(entry->tables[n], name) == 0)
                return tree_error(node->values[i], error, "tables has \"%s\" twice: remove one",
                                  name);
        }
        entry->tables[entry->table_count++] = alloc_text(name);
    }
    qsort(entry->tables, entry->table_count, sizeof *entry->tables, compare_names);
    return true;
}

static bool check_keys(const struct tree_node *node, struct error *error) {
    static const char *const keys[] = {"rule", "tables", "fingerprint", "url", "until"};
    for (size_t i = 0; i < node->count; i++) {
        size_t at = 0;
        while (at < sizeof keys / sizeof *keys && strcmp(keys[at], node->keys[i]->text) != 0)
            at++;
        if (at == sizeof keys / sizeof *keys)
            return tree_error(node->keys[i], error,
                              "unknown key \"%s\" in an entry: write rule, tables or fingerprint, "
                              "url, until",
                              node->keys[i]->text);
    }
    if (tree_find(node, "rule") == NULL)
        return tree_error(node, error, "an entry has no rule: add `rule: cross_join` or another");
    bool tables = tree_find(node, "tables") != NULL;
    if (tables == (tree_find(node, "fingerprint") != NULL))
        return tree_error(node, error, "an entry has %s: give one of them",
                          tables ? "both tables and a fingerprint"
                                 : "neither tables nor a fingerprint");
    return true;
}

static bool read_entry(const struct tree_node *node, const struct classification *c,
                       struct allowlist_entry *entry, struct error *error) {
    entry->until = INT_MAX;
    entry->line = node->line;
    if (!tree_expect(node, "an entry", TREE_MAP, error) || !check_keys(node, error))
        return false;
    const struct tree_node *tables = tree_find(node, "tables"), *url = tree_find(node, "url"),
                           *fingerprint = tree_find(node, "fingerprint"),
                           *until = tree_find(node, "until");
    const char *text = NULL;
    if (!read_rule(tree_find(node, "rule"), &entry->rule, error) ||
        (tables != NULL && !read_tables(tables, entry, c, error)) ||
        (fingerprint != NULL && !read_fingerprint(fingerprint, &entry->fingerprint, error)) ||
        (url != NULL && !tree_text(url, "url", &text, error)) ||
        (until != NULL && !read_until(until, entry, error)))
        return false;
    entry->url = alloc_text(text);
    return true;
}

static int compare_tables(const struct allowlist_entry *a, const struct allowlist_entry *b) {
    for (size_t i = 0; i < a->table_count && i < b->table_count; i++) {
        int order = strcmp(a->tables[i], b->tables[i]);
        if (order != 0)
            return order;
    }
    return (a->table_count > b->table_count) - (a->table_count < b->table_count);
}

/* Whether two entries are about the same. */
static int compare_subjects(const struct allowlist_entry *a, const struct allowlist_entry *b) {
    if (a->rule != b->rule)
        return a->rule < b->rule ? -1 : 1;
    if ((a->fingerprint == NULL) != (b->fingerprint == NULL))
        return a->fingerprint != NULL ? -1 : 1;
    return a->fingerprint != NULL ? strcmp(a->fingerprint, b->fingerprint) : compare_tables(a, b);
}

static int compare_entries(const void *left, const void *right) {
    const struct allowlist_entry *a = *(const struct allowlist_entry *const *)left,
                                 *b = *(const struct allowlist_entry *const *)right;
    int order = compare_subjects(a, b);
    return order != 0 ? order : (a > b) - (a < b); /* in the file's order */
}

static bool sort_entries(struct allowlist *list, struct error *error) {
    list->sorted = alloc_zeroed(list->count, sizeof(struct allowlist_entry *));
    for (size_t i = 0; i < list->count; i++) {
        const struct allowlist_entry *entry = &list->entries[i];
        list->sorted[i] = entry;
        *(entry->fingerprint != NULL ? &list->by_fingerprint : &list->by_tables) |= 1U
                                                                                    << entry->rule;
    }
    qsort(list->sorted, list->count, sizeof(struct allowlist_entry *), compare_entries);
    for (size_t i = 1; i < list->count; i++) {
        if (compare_subjects(list->sorted[i - 1], list->sorted[i]) == 0)
            return error_set(error, "%s:%d: the entry says the same as that of line %d: remove one",
                             list->path, list->sorted[i]->line, list->sorted[i - 1]->line);
    }
    return true;
}

static bool read_list(const struct tree_node *root, const struct classification *c,
                      struct allowlist *list, struct error *error) {
    if (root->kind == TREE_NULL)
        return true;
    if (!tree_expect(root, "the allowlist", TREE_LIST, error))
        return false;
    list->entries = alloc_zeroed(root->count, sizeof *list->entries);
    for (size_t i = 0; i < root->count; i++) {
        list->count++;
        if (!read_entry(root->values[i], c, &list->entries[i], error))
            return false;
    }
    return sort_entries(list, error);
}

bool allowlist_load(const char *path, const struct classification *c, struct allowlist **out,
                    struct error *error) {
    struct tree *tree;
    if (!tree_load_file(path, 0, &tree, error))
        return false;
    struct allowlist *list = alloc_new(sizeof *list);
    list->path = alloc_text(path);
    bool ok = read_list(tree_root(tree), c, list, error);
    tree_free(tree);
    if (ok)
        *out = list;
    else
        allowlist_free(list);
    return ok;
}
