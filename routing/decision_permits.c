/* Why a broken rule is let pass: a comment, the session's setting, the allowlist, or the rule's
 * mode. Only asked where a rule broke, so that permits cost nothing else. */
#include "routing/decision.h"

#include "config/allowlist.h"
#include "routing/fingerprint.h"

#include <stdlib.h>
#include <string.h>

/* The tables and functions that a violation names, borrowed. */
struct named {
    const char **names;
    size_t count, room;
    bool nameless; /* it is also about something that bears no table's name */
};

static void add_name(struct named *named, const char *name) {
    named->names = array_grow(named->names, named->count, &named->room, sizeof *named->names);
    named->names[named->count++] = name;
}

static bool counts(const struct deciding *d, const struct routed_table *table) {
    const struct classification *c = d->state->settings->classification;
    return table->role == ROLE_TEMPORARY || table->role == ROLE_UNKNOWN ||
           (table->role == ROLE_COUNTS && !classification_schema_is_neutral(c, table->schema));
}

static bool is_meant(const struct deciding *d, enum rule rule, size_t index) {
    const struct routed_table *table = &d->subject->tables[index];
    switch (rule) {
    case RULE_UNCLASSIFIED:
        return table->role == ROLE_UNKNOWN;
    case RULE_WRITE_LOCK:
    case RULE_WRONG_DATABASE:
        return decision_breaks_pin(d, table, rule == RULE_WRITE_LOCK);
    case RULE_CROSS_TRANSACTION:
        return statement_modifies_table(d->subject, index);
    default:
        return counts(d, table);
    }
}

static void name_functions(struct named *named, const struct deciding *d) {
    const struct statement_facts *facts = d->subject->facts;
    for (size_t i = 0; i < facts->function_count; i++) {
        if (classification_lookup_function(d->state->settings->classification,
                                           facts->functions[i]) >= 0) {
            add_name(named, facts->functions[i]);
        }
    }
}

static void name_earlier(struct named *named, const struct session_state *state) {
    named->nameless |= state->tables_unknown;
    for (size_t i = 0; i < state->now.modification_count; i++) {
        const struct statement *statement = state->modifications[i].statement;
        size_t before = named->count;
        for (size_t t = 0; t < statement->facts->table_count; t++) {
            if (statement_modifies_table(statement, t)) {
                add_name(named, statement->tables[t].facts->name);
            }
        }
        named->nameless |= named->count == before || statement_alters_objects(statement);
    }
}

static void name_all(struct named *named, const struct deciding *d, enum rule rule) {
    for (size_t i = 0; i < d->subject->facts->table_count; i++) {
        if (is_meant(d, rule, i)) {
            add_name(named, d->subject->tables[i].facts->name);
        }
    }
    if (rule == RULE_CROSS_TRANSACTION) {
        named->nameless = named->count == 0; /* a structure change without a table's name */
        name_earlier(named, d->state);
    } else if (rule != RULE_UNCLASSIFIED && rule != RULE_WRITE_LOCK) {
        name_functions(named, d);
    }
}

static const struct allowlist_entry *find_entry(const struct deciding *d, enum rule rule) {
    const struct allowlist *list = d->state->settings->allowlist;
    struct named named = {0};
    char fingerprint[FINGERPRINT_LENGTH + 1];
    bool by_fingerprint = allowlist_asks_fingerprint(list, rule);
    bool by_tables = allowlist_asks_tables(list, rule);
    if (!by_fingerprint && !by_tables) {
        return NULL;
    }
    if (by_fingerprint) {
        char *normalized = statement_normalized_text(d->subject);
        fingerprint_make(rule, normalized, fingerprint);
        free(normalized);
    }
    if (by_tables) {
        name_all(&named, d, rule);
    }
    const struct allowlist_entry *entry =
        allowlist_find(list, rule, by_fingerprint ? fingerprint : NULL, named.names,
                       named.nameless ? 0 : named.count, *d->state->today);
    free(named.names);
    return entry;
}

struct permit decision_find_permit(const struct deciding *d, enum rule rule) {
    unsigned comment = rule == RULE_CROSS_JOIN          ? STATEMENT_PERMIT_CROSS_JOIN
                       : rule == RULE_CROSS_TRANSACTION ? STATEMENT_PERMIT_CROSS_TRANSACTION
                                                        : 0;
    unsigned setting = rule == RULE_CROSS_JOIN          ? PERMIT_CROSS_JOIN
                       : rule == RULE_CROSS_TRANSACTION ? PERMIT_CROSS_TRANSACTION
                                                        : 0;
    if (((d->statement->facts->flags | d->subject->facts->flags) & comment) != 0) {
        return (struct permit){true, OBSERVED_COMMENT, NULL};
    }
    const struct own_setting_entry *allow = session_own_setting(d->state, OWN_ALLOW);
    if (allow != NULL && (allow->permits & setting) != 0) {
        return (struct permit){true, OBSERVED_SETTING, NULL};
    }
    const struct allowlist_entry *entry = find_entry(d, rule);
    if (entry != NULL) {
        return (struct permit){true, OBSERVED_ALLOWLIST, entry};
    }
    bool report = d->state->settings->rules[rule] == RULE_REPORT;
    return (struct permit){report, OBSERVED_REPORT, NULL};
}
