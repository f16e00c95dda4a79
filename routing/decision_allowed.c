/* pginterlock.allowed_gitlab_schemas: what GitLab's restrict_gitlab_migration does to a migration.
 * With schemas, the session may touch their data and no structure; with none, structure and no
 * data.
 *
 *                                   schemas            none
 *     structure                     refused            passes
 *     data of the schemas           passes             refused
 *     data of others                refused            refused
 *     LOCK, VACUUM, ANALYZE, …      as data            passes
 *     what can't be looked into     refused            refused
 *
 * Shared and internal tables, temporary ones and looked-up names are free. What creates a table
 * from rows is both; so is what the parser can't read, as far as it names tables. */
#include "routing/decision.h"

/* The first table whose structure changes, or -1. */
static int first_changed(const struct statement_facts *facts) {
    for (size_t i = 0; i < facts->table_count; i++) {
        if (facts->tables[i].access == ACCESS_DDL) {
            return (int)i;
        }
    }
    return -1;
}

static bool changes_structure(const struct statement_facts *facts) {
    return facts->kind == KIND_DDL || (facts->flags & STATEMENT_MODIFIES_DDL) != 0 ||
           first_changed(facts) >= 0;
}

/* A body that executes what it puts together, or in a language that isn't read. A function's is
 * only stored. */
static bool is_opaque(const struct statement_facts *facts) {
    return (facts->flags & STATEMENT_DYNAMIC) != 0 && facts->kind != KIND_DDL;
}

static bool is_lookup(const struct table_facts *table) {
    return (table->flags & TABLE_NAMED_IN_STRING) != 0 && (table->flags & TABLE_SEQUENCE_USED) == 0;
}

/* Whether the schema is neither neutral nor one of those allowed. -1, of a table that no class is
 * known of, is none. */
static bool is_outside(const struct classification *c, schema_set allowed, int schema) {
    if (schema < 0) {
        return true;
    }
    return !classification_schema_is_neutral(c, schema) && (allowed >> schema & 1) == 0;
}

static bool table_is_outside(const struct deciding *d, const struct own_setting_entry *set,
                             const struct routed_table *table) {
    const struct statement_facts *facts = d->subject->facts;
    const struct classification *c = d->state->settings->classification;
    if ((table->role != ROLE_COUNTS && table->role != ROLE_UNKNOWN) || is_lookup(table->facts)) {
        return false;
    }
    bool maintained = facts->kind == KIND_LOCK || facts->kind == KIND_UTILITY;
    if (!decision_touches_rows(facts, table->facts) && !(maintained && !set->structure_only)) {
        return false;
    }
    return is_outside(c, set->schemas, routed_table_schema(table, c));
}

static bool function_is_outside(const struct deciding *d, schema_set allowed) {
    const struct statement_facts *facts = d->subject->facts;
    const struct classification *c = d->state->settings->classification;
    if (facts->kind == KIND_DDL && facts->inner_kind == KIND_EMPTY) {
        return false;
    }
    for (size_t i = 0; i < facts->function_count; i++) {
        int schema = classification_lookup_function(c, facts->functions[i]);
        if (schema >= 0 && is_outside(c, allowed, schema)) {
            return true;
        }
    }
    return false;
}

static bool refuse(struct deciding *d, enum allowed_breach breach, int table) {
    struct violation_case v = decision_case(d, table);
    violation_allowed_schemas(&v, breach, &d->out->violation);
    return decision_settle_violation(d, RULE_ALLOWED_SCHEMAS);
}

bool decision_check_allowed_schemas(struct deciding *d) {
    const struct own_setting_entry *set = session_own_setting(d->state, OWN_ALLOWED_SCHEMAS);
    const struct statement_facts *facts = d->subject->facts;
    if (set == NULL) {
        return true;
    }
    bool data = !set->structure_only;
    if (data && changes_structure(facts)) {
        return refuse(d, ALLOWED_BREACH_STRUCTURE, first_changed(facts));
    }
    if ((data && facts->kind == KIND_UNPARSED) || is_opaque(facts)) {
        return refuse(d, ALLOWED_BREACH_UNKNOWN, -1);
    }
    enum allowed_breach breach = data ? ALLOWED_BREACH_SCHEMA : ALLOWED_BREACH_ROWS;
    for (size_t i = 0; i < facts->table_count; i++) {
        if (table_is_outside(d, set, &d->subject->tables[i])) {
            return refuse(d, breach, (int)i);
        }
    }
    return !function_is_outside(d, set->schemas) || refuse(d, breach, -1);
}
