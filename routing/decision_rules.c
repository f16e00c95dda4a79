#include "routing/decision.h"

struct violation_case decision_case(const struct deciding *d, int table) {
    return (struct violation_case){
        .state = d->state,
        .statement = d->subject,
        .in_text = d->subject->query == d->statement->query,
        .pin = d->pin,
        .table = table,
    };
}

/* Whether no single database, or not the one that the statement is pinned to, can execute it. */
static bool is_impossible(const struct deciding *d) {
    if (d->subject->databases != 0) {
        return false;
    }
    database_set possible = decision_executable_on(d);
    return possible == 0 || (d->pin >= 0 && (possible & decision_bit(d->pin)) == 0);
}

static bool reject(struct deciding *d) {
    d->out->violated = true;
    d->out->violation.impossible = is_impossible(d);
    decision_settle(d->out, DESTINATION_NONE, -1);
    return false;
}

static bool let_pass(struct deciding *d, enum rule rule, const struct permit *permit) {
    struct decision *out = d->out;
    if (!permit->granted) {
        return reject(d);
    }
    if (out->observation_count < OBSERVATIONS_MAX) {
        struct observation *observation = &out->observations[out->observation_count++];
        observation->rule = rule;
        observation->reason = permit->reason;
        observation->entry = permit->entry;
        observation->message = out->violation.message;
        observation->detail = out->violation.detail;
    }
    return true;
}

bool decision_settle_violation(struct deciding *d, enum rule rule) {
    struct permit permit = decision_find_permit(d, rule);
    return let_pass(d, rule, &permit);
}

static bool looks_at(const struct deciding *d, enum rule rule) {
    return d->state->settings->rules[rule] != RULE_OFF;
}

/* The first table that isn't of the first one's database; where all are, the first of another
 * schema. */
static int first_apart(const struct statement *statement, const struct classification *c) {
    const struct routed_table *first = NULL;
    int other_schema = -1;
    for (size_t i = 0; i < statement->facts->table_count; i++) {
        const struct routed_table *table = &statement->tables[i];
        bool counts =
            table->role == ROLE_TEMPORARY || table->role == ROLE_UNKNOWN ||
            (table->role == ROLE_COUNTS && !classification_schema_is_neutral(c, table->schema));
        if (!counts) {
            continue;
        }
        if (first == NULL) {
            first = table;
        } else if ((routed_table_databases(first) & routed_table_databases(table)) == 0) {
            return (int)i;
        } else if (other_schema < 0 && table->schema != first->schema) {
            other_schema = (int)i;
        }
    }
    return other_schema;
}

database_set decision_executable_on(const struct deciding *d) {
    const struct settings *settings = d->state->settings;
    const struct statement *s = d->subject;
    database_set physical = ~(database_set)0, logical = 0;
    for (size_t i = 0; i < s->facts->table_count; i++) {
        bool placed = s->tables[i].role == ROLE_COUNTS || s->tables[i].role == ROLE_TEMPORARY;
        if (placed) {
            physical &= settings_physical_databases(settings, s->tables[i].databases);
        } else if (s->tables[i].role == ROLE_UNKNOWN) {
            physical &= settings_physical_databases(settings, 1);
        }
    }
    for (schema_set rest = s->schemas; rest != 0;
         rest &= rest - 1) { /* those of functions are here only */
        database_set own =
            classification_schema_databases(settings->classification, __builtin_ctzll(rest));
        physical &= settings_physical_databases(settings, own);
    }
    for (size_t i = 0; i < settings->database_count; i++) {
        logical |= (physical & decision_bit(settings->databases[i].physical)) != 0
                       ? decision_bit((int)i)
                       : 0;
    }
    return logical;
}

bool decision_check_unclassified(struct deciding *d) {
    if (d->subject->unknown < 0 || !looks_at(d, RULE_UNCLASSIFIED)) {
        return true;
    }
    struct violation_case v = decision_case(d, d->subject->unknown);
    violation_unclassified(&v, &d->out->violation);
    return decision_settle_violation(d, RULE_UNCLASSIFIED);
}

bool decision_check_unparsed(struct deciding *d) {
    if (d->subject->facts->kind != KIND_UNPARSED || d->subject->databases != 0 ||
        !looks_at(d, RULE_UNPARSED)) {
        return true;
    }
    struct violation_case v =
        decision_case(d, first_apart(d->subject, d->state->settings->classification));
    violation_unparsed(&v, &d->out->violation);
    return decision_settle_violation(d, RULE_UNPARSED);
}

bool decision_check_foreign_key(struct deciding *d) {
    if (d->subject->bad_foreign_key < 0 || !looks_at(d, RULE_CROSS_FOREIGN_KEY)) {
        return true;
    }
    struct violation_case v =
        decision_case(d, d->subject->facts->foreign_keys[d->subject->bad_foreign_key].to);
    violation_cross_foreign_key(&v, &d->out->violation);
    return decision_settle_violation(d, RULE_CROSS_FOREIGN_KEY);
}

bool decision_check_join(struct deciding *d) {
    const struct statement *s = d->subject;
    bool impossible = is_impossible(d);
    bool broken = s->bad_join && looks_at(d, RULE_CROSS_JOIN);
    if (!broken && !impossible) {
        return true;
    }
    struct permit permit = {.granted = true};
    if (broken) {
        permit = decision_find_permit(d, RULE_CROSS_JOIN);
    }
    struct violation_case v = decision_case(d, first_apart(s, d->state->settings->classification));
    violation_cross_join(&v, impossible && permit.granted, &d->out->violation);
    return impossible ? reject(d) : let_pass(d, RULE_CROSS_JOIN, &permit);
}

bool decision_touches_rows(const struct statement_facts *facts, const struct table_facts *table) {
    switch (facts->kind) {
    case KIND_LOCK:
    case KIND_UTILITY: /* VACUUM, ANALYZE, CLUSTER */
        return false;
    case KIND_DDL:
        if (facts->inner_kind == KIND_EMPTY) { /* what a view reads is read later */
            return false;
        }
        break;
    default:
        break;
    }
    return table->access != ACCESS_DDL || (table->flags & TABLE_READ_TOO) != 0;
}

bool decision_breaks_pin(const struct deciding *d, const struct routed_table *table, bool written) {
    const struct classification *c = d->state->settings->classification;
    if (table->role == ROLE_IGNORED ||
        (routed_table_databases(table) & decision_bit(d->pin)) != 0 ||
        !decision_touches_rows(d->subject->facts, table->facts)) { /* structure is everywhere */
        return false;
    }
    int schema = routed_table_schema(table, c);
    bool locked = table->facts->access == ACCESS_WRITE && schema >= 0 &&
                  (classification_locked_schemas(c, d->pin) >> schema & 1) != 0;
    return locked == written;
}

static bool check_pin_tables(struct deciding *d, enum rule rule, int *found) {
    for (size_t i = 0; i < d->subject->facts->table_count; i++) {
        if (decision_breaks_pin(d, &d->subject->tables[i], rule == RULE_WRITE_LOCK)) {
            *found = (int)i;
            return true;
        }
    }
    *found = -1;
    /* A function's schema stands with no table. */
    return rule == RULE_WRONG_DATABASE && d->subject->facts->function_count > 0 &&
           d->subject->facts->kind != KIND_DDL && d->subject->bound &&
           (d->subject->databases & decision_bit(d->pin)) == 0;
}

bool decision_check_pin(struct deciding *d) {
    if (d->pin < 0 || !d->subject->bound || (d->subject->databases & decision_bit(d->pin)) != 0) {
        return true;
    }
    int table;
    if (looks_at(d, RULE_WRITE_LOCK) && check_pin_tables(d, RULE_WRITE_LOCK, &table)) {
        struct violation_case v = decision_case(d, table);
        violation_write_lock(&v, &d->out->violation);
        if (!decision_settle_violation(d, RULE_WRITE_LOCK)) {
            return false;
        }
    }
    if (looks_at(d, RULE_WRONG_DATABASE) && check_pin_tables(d, RULE_WRONG_DATABASE, &table)) {
        struct violation_case v = decision_case(d, table);
        violation_wrong_database(&v, &d->out->violation);
        return decision_settle_violation(d, RULE_WRONG_DATABASE);
    }
    return true;
}

/* Whether all these schemas may be modified in one transaction: one of them lists all the others.
 */
static bool transactions_allowed(const struct classification *c, schema_set schemas) {
    if (!classification_has_permissions(c)) {
        return true;
    }
    for (schema_set rest = schemas; rest != 0; rest &= rest - 1) {
        if ((schemas & ~classification_allowed_transactions(c, __builtin_ctzll(rest))) == 0) {
            return true;
        }
    }
    return schemas == 0;
}

/* What running the subject on `target` modifies. */
static database_set modified_databases(const struct deciding *d, int target) {
    const struct statement *s = d->subject;
    if (d->pin >= 0 || s->databases != 0) {
        return s->modified != 0 || s->modifies_neutral ? decision_bit(target) : 0;
    }
    database_set databases = s->modifies_neutral ? decision_bit(target) : 0;
    for (schema_set rest = s->modified; rest != 0; rest &= rest - 1) {
        database_set own = classification_schema_databases(d->state->settings->classification,
                                                           __builtin_ctzll(rest));
        databases |= (own & decision_bit(target)) != 0 ? decision_bit(target)
                                                       : decision_bit(database_set_first(own));
    }
    return databases;
}

static int first_modified(const struct statement *statement) {
    int found = -1;
    for (size_t i = 0; i < statement->facts->table_count && found < 0; i++) {
        const struct routed_table *table = &statement->tables[i];
        bool modified = table->role != ROLE_IGNORED && table->role != ROLE_TEMPORARY &&
                        table->facts->access != ACCESS_READ &&
                        (table->facts->flags & TABLE_REFERENCED) == 0;
        found = modified ? (int)i : -1;
    }
    return found;
}

bool decision_check_transaction(struct deciding *d) {
    int target = d->out->database;
    if (!d->executes || (d->subject->modified == 0 && !d->subject->modifies_neutral)) {
        return true;
    }
    const struct mark *now = &d->state->now;
    database_set databases = modified_databases(d, target);
    /* A structure change modifies its database; the lists are about rows. */
    schema_set schemas = d->subject->facts->kind == KIND_DDL ? 0 : d->subject->modified;
    d->out->modifies = databases;
    d->out->modified_schemas = schemas;
    database_set all = now->counted | databases;
    bool second = (all & (all - 1)) != 0 && (databases & ~now->counted) != 0;
    bool forbidden =
        (schemas & ~now->counted_schemas) != 0 &&
        !transactions_allowed(d->state->settings->classification, now->counted_schemas | schemas);
    if ((!second && !forbidden) || !looks_at(d, RULE_CROSS_TRANSACTION)) {
        return true;
    }
    struct violation_case v = decision_case(d, first_modified(d->subject));
    violation_cross_transaction(&v, databases, schemas, &d->out->violation);
    return decision_settle_violation(d, RULE_CROSS_TRANSACTION);
}

bool decision_check_routable(struct deciding *d) {
    database_set physical = settings_physical_databases(d->state->settings, d->state->used);
    if ((physical & (physical - 1)) == 0 || d->state->status == BLOCK_FAILED) {
        return true;
    }
    struct violation_case v = decision_case(d, -1);
    violation_unroutable(&v, &d->out->violation);
    return reject(d);
}
