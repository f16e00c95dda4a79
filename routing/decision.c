/* (facts, classification, session) → where a statement goes, or the rule that it breaks. */
#include "routing/decision.h"

#include <string.h>

/* Where a statement without tables runs. */
static int default_database(const struct session_state *state, int pin) {
    if (pin >= 0) {
        return pin;
    }
    return state->now.last_wrote >= 0 ? state->now.last_wrote
           : state->last_ran >= 0     ? state->last_ran
                                      : 0;
}

int session_default_database(const struct session_state *state) {
    return default_database(state, session_pin(state));
}

/* Of the databases that hold all of the subject's tables: where the transaction wrote, else ran,
 * else the first. */
static int choose_bound(const struct deciding *d) {
    const struct session_state *state = d->state;
    database_set set = d->subject->databases;
    if (set == 0) { /* let pass over two databases in one store: where the first table is at home */
        set = decision_executable_on(d);
        for (size_t i = 0; i < d->subject->facts->table_count; i++) {
            database_set home = d->subject->tables[i].databases & set;
            if (d->subject->tables[i].role == ROLE_COUNTS && home != 0 && home != set) {
                set = home;
                break;
            }
        }
    }
    if (state->now.last_wrote >= 0 && (set & decision_bit(state->now.last_wrote)) != 0) {
        return state->now.last_wrote;
    }
    if (state->last_ran >= 0 && (set & decision_bit(state->last_ran)) != 0) {
        return state->last_ran;
    }
    return database_set_first(set);
}

/* Where the temporary table is whose name is one of the statement's strings, or -1. */
static int database_of_named_temporary(const struct deciding *d) {
    const struct statement_facts *facts = d->subject->facts;
    for (size_t i = 0; d->state->now.temporary_count > 0 && i < facts->literal_count; i++) {
        const struct temporary_table *temporary =
            session_find_temporary(d->state, facts->literals[i]);
        if (temporary != NULL) {
            return temporary->database;
        }
    }
    return -1;
}

/* A catalog statement is about the tables that it names; one that goes on with oids follows the one
 * before it. A temporary table's name comes second: it may be a mere `t`, as other strings are. */
static void choose_catalog(const struct deciding *d) {
    const struct statement *s = d->subject;
    if (s->names_tables && s->named != 0) {
        bool all = s->named == settings_all_databases(d->state->settings);
        int last = d->state->now.last_wrote;
        int database =
            last >= 0 && (s->named & decision_bit(last)) != 0 ? last : database_set_first(s->named);
        decision_settle(d->out, all ? DESTINATION_ANY : DESTINATION_ONE, database);
        return;
    }
    int temporary = s->names_tables ? -1 : database_of_named_temporary(d);
    if (temporary >= 0) {
        decision_settle(d->out, DESTINATION_ONE, temporary);
        return;
    }
    int last = d->state->last_catalog;
    decision_settle(d->out, DESTINATION_ANY,
                    last >= 0         ? last
                    : s->names_tables ? 0
                                      : default_database(d->state, -1));
}

/* The gitlab_schema of a temporary table in the making binds nothing, but is where its data will
 * come from. */
static int temporary_home(const struct deciding *d) {
    const struct statement *s = d->subject;
    const struct classification *c = d->state->settings->classification;
    for (size_t i = 0; (s->facts->flags & STATEMENT_TEMPORARY) != 0 && i < s->facts->table_count;
         i++) {
        const struct table_facts *table = s->tables[i].facts;
        int schema =
            (table->flags & TABLE_CREATED) != 0 ? classification_lookup(c, NULL, table->name) : -1;
        if (schema >= 0 && !classification_schema_is_neutral(c, schema)) {
            return database_set_first(classification_schema_databases(c, schema));
        }
    }
    return -1;
}

static void choose_unbound(const struct deciding *d) {
    const struct session_state *state = d->state;
    const struct statement *s = d->subject;
    const struct statement_facts *facts = s->facts;
    int last_wrote = state->now.last_wrote;
    int home = temporary_home(d);
    bool particular =
        facts->kind == KIND_UNPARSED ||
        (facts->kind >= KIND_INSERT && facts->kind <= KIND_UTILITY && facts->kind != KIND_EXPLAIN);
    if ((facts->flags & STATEMENT_CATALOG) != 0) {
        choose_catalog(d);
    } else if (s->names_objects) {
        int last = last_wrote >= 0 ? last_wrote : state->last_used;
        decision_settle(d->out, DESTINATION_ONE, last >= 0 ? last : 0);
    } else if (home >= 0) {
        decision_settle(d->out, DESTINATION_ONE, home);
    } else if ((facts->flags & STATEMENT_LASTVAL) != 0 && state->last_drew >= 0) {
        decision_settle(d->out, DESTINATION_ONE, state->last_drew);
    } else if (s->modifies_neutral && d->executes) {
        decision_settle(d->out, DESTINATION_ONE, last_wrote >= 0 ? last_wrote : 0);
    } else if ((facts->flags & STATEMENT_SHARED_KEY) != 0 && facts->table_count == 0) {
        decision_settle(d->out, DESTINATION_ONE, 0); /* so that all sessions' locks meet */
    } else {
        decision_settle(d->out, particular ? DESTINATION_ONE : DESTINATION_ANY,
                        default_database(state, -1));
    }
}

static void choose_target(const struct deciding *d) {
    if (d->bound_to >= 0) {
        decision_settle(d->out, DESTINATION_ONE, d->bound_to);
    } else if (d->pin >= 0) {
        decision_settle(d->out, DESTINATION_ONE, d->pin);
    } else if (d->subject->bound) {
        decision_settle(d->out, DESTINATION_ONE, choose_bound(d));
    } else {
        choose_unbound(d);
    }
}

/* The subject with the session's temporary tables in place of what else bears their names, with the
 * tables of the objects that catalogs have told of and, on a pinned connection, without the names
 * that it only looks up. */
static void make_overlay(struct deciding *d) {
    const struct statement *s = d->subject;
    bool free_lookups = d->pin >= 0 && s->looks_up;
    bool objects = s->asks_catalogs && d->state->objects != NULL;
    size_t size = s->facts->table_count * sizeof(struct routed_table);
    struct routed_table *tables = scratch_new(&d->state->scratch, size);
    memcpy(tables, s->tables, size);
    bool changed = false, through_view = false;
    for (size_t i = 0; i < s->facts->table_count; i++) {
        const struct table_facts *facts = tables[i].facts;
        const struct temporary_table *temporary = session_meant_temporary(d->state, s, facts);
        int database = temporary != NULL ? temporary->database : -1;
        bool lookup = (facts->flags & TABLE_NAMED_IN_STRING) != 0 &&
                      (facts->flags & TABLE_SEQUENCE_USED) == 0;
        if (database >= 0) {
            tables[i].role = ROLE_TEMPORARY;
            tables[i].schema = -1;
            tables[i].databases = decision_bit(database);
            through_view |=
                temporary->view && (facts->access == ACCESS_WRITE || facts->access == ACCESS_LOCK);
            changed = true;
        } else if (free_lookups && lookup) {
            tables[i].role = ROLE_IGNORED;
            changed = true;
        }
    }
    const struct statement_facts *resolved = objects ? decision_resolve_objects(d, tables) : NULL;
    if (changed || resolved != NULL) {
        struct statement *overlay = scratch_new(&d->state->scratch, sizeof *overlay);
        *overlay = *s;
        overlay->facts = resolved != NULL ? resolved : s->facts;
        overlay->tables = tables;
        statement_summarize(overlay, d->state->settings);
        overlay->modifies_neutral |= through_view; /* some table of the database where it is */
        d->subject = d->out->subject = overlay;
    }
}

/* Hardly any statement needs one. */
static inline void apply_overlay(struct deciding *d) {
    const struct statement *s = d->subject;
    if (s->facts->table_count > 0 &&
        (d->state->now.temporary_count > 0 || (s->looks_up && d->pin >= 0) || s->asks_catalogs)) {
        make_overlay(d);
    }
}

/* A statement with tables, or that could have had some: every rule in its order, then where to. */
static void decide_by_tables(struct deciding *d) {
    apply_overlay(d);
    if (decision_check_unclassified(d) && decision_check_unparsed(d) &&
        (d->state->now.own_count == 0 || decision_check_allowed_schemas(d)) &&
        decision_check_foreign_key(d) && decision_check_join(d) && decision_check_pin(d)) {
        choose_target(d);
        (void)decision_check_transaction(d);
    }
}

/* CREATE TABLE … AS EXECUTE: its own table and those of what it runs, as one statement. */
static void decide_create_as(struct deciding *d) {
    const struct named_statement *named = session_referred(d->state, d->statement);
    if (named == NULL) {
        decide_by_tables(d);
        return;
    }
    const struct statement *own = d->statement, *run = named->statement;
    size_t count = own->facts->table_count, more = run->facts->table_count;
    struct scratch *scratch = &d->state->scratch;
    struct statement *both = scratch_new(scratch, sizeof *both);
    struct statement_facts *facts = scratch_new(scratch, sizeof *facts);
    struct routed_table *tables = scratch_new(scratch, (count + more) * sizeof *tables);
    struct table_facts *names = scratch_new(scratch, (count + more) * sizeof *names);
    for (size_t i = 0; i < count + more; i++) {
        tables[i] = i < count ? own->tables[i] : run->tables[i - count];
        names[i] = *tables[i].facts;
        names[i].position = i < count ? names[i].position : -1;
        tables[i].facts = &names[i];
    }
    *facts = *own->facts;
    facts->tables = names;
    facts->table_count = count + more;
    facts->functions = run->facts->functions;
    facts->function_count = run->facts->function_count;
    *both = *own;
    both->facts = facts;
    both->tables = tables;
    statement_summarize(both, d->state->settings);
    d->subject = d->out->subject = both;
    if ((both->databases & decision_bit(named->database)) != 0) {
        d->bound_to = named->database;
    }
    decide_by_tables(d);
}

/* A reload may have moved the tables away from where the statement was prepared; there it is what
 * it would be on a connection pinned to that database. */
static void hold_against_home(struct deciding *d) {
    if (d->pin < 0 && d->subject->bound &&
        (decision_executable_on(d) & decision_bit(d->bound_to)) == 0) {
        d->pin = d->bound_to;
    }
}

static void decide_named(struct deciding *d) {
    const struct named_statement *named = session_referred(d->state, d->statement);
    if (named == NULL) { /* the server's own error comes back from there */
        decision_settle(d->out, DESTINATION_ONE, default_database(d->state, d->pin));
        return;
    }
    bool runs =
        d->statement->facts->kind != KIND_CLOSE && d->statement->facts->kind != KIND_DEALLOCATE;
    if (!runs) {
        decision_settle(d->out, DESTINATION_ONE, named->database);
        return;
    }
    d->subject = d->out->subject = named->statement;
    d->bound_to = named->database;
    if (d->statement->facts->kind != KIND_FETCH) {
        hold_against_home(d);
    }
    /* EXPLAIN EXECUTE without ANALYZE only plans. */
    d->executes = d->statement->facts->kind != KIND_EXPLAIN || d->statement->executes;
    decide_by_tables(d);
}

static void decide_prepare_transaction(struct deciding *d) {
    if (decision_check_routable(d)) {
        decision_settle(d->out, DESTINATION_ONE,
                        d->state->used != 0 ? database_set_first(d->state->used)
                                            : default_database(d->state, d->pin));
    }
}

static bool ends_prepared(const struct statement *statement) {
    enum statement_kind kind = statement->facts->kind;
    return kind == KIND_COMMIT_PREPARED || kind == KIND_ROLLBACK_PREPARED;
}

/* Of several databases that have a transaction of that name, the session's is rather the one that
 * it used last. */
static void decide_prepared(struct deciding *d) {
    const struct session_state *state = d->state;
    int database = state->last_used >= 0 ? state->last_used : 0;
    bool asked = state->transaction != NULL && d->statement->facts->name != NULL &&
                 strcmp(state->transaction, d->statement->facts->name) == 0;
    if (asked && (state->transaction_on & decision_bit(database)) == 0) {
        database = state->transaction_on != 0 ? database_set_first(state->transaction_on) : 0;
    }
    decision_settle(d->out, DESTINATION_ONE, d->pin >= 0 ? d->pin : database);
}

static void decide_setting(struct deciding *d) {
    bool own =
        d->statement->facts->name != NULL && session_is_own_setting(d->statement->facts->name);
    if (own) {
        decision_settle(d->out, DESTINATION_NONE, -1);
    } else if (d->statement->facts->kind == KIND_SHOW) {
        decide_by_tables(d);
    } else {
        decision_settle(d->out, DESTINATION_ALL, default_database(d->state, d->pin));
    }
}

/* SET CONSTRAINTS with names goes where all their tables are; else, as any setting, to each
 * database that the transaction is in. */
static void decide_constraints(struct deciding *d) {
    apply_overlay(d);
    const struct statement *s = d->subject;
    bool placed = d->pin < 0 && s->bound && s->databases != 0;
    for (size_t i = 0; i < s->facts->table_count; i++) {
        bool folded = (s->tables[i].facts->flags & TABLE_CONSTRAINT) == 0;
        placed = placed && (s->tables[i].role != ROLE_IGNORED || folded);
    }
    if (placed) {
        decision_settle(d->out, DESTINATION_ONE, choose_bound(d));
    } else {
        decision_settle(d->out, DESTINATION_ALL, default_database(d->state, d->pin));
    }
}

/* The comment's database, unless the entrypoint is pinned: then everything goes to that one. */
static int effective_pin(const struct session_state *state, const struct statement *statement) {
    bool pinned = state->settings->entrypoints[state->entrypoint].database != ENTRYPOINT_ROUTED;
    return statement->hint_database >= 0 && !pinned ? statement->hint_database : session_pin(state);
}

bool session_seeks_transaction(const struct session_state *state,
                               const struct statement *statement) {
    return ends_prepared(statement) && statement->facts->name != NULL &&
           effective_pin(state, statement) < 0;
}

/* Most statements of most sessions: of the rules only the one about transactions is left. */
static bool is_plain_here(const struct deciding *d) {
    return d->statement->plain && d->pin < 0 && d->state->now.own_count == 0 &&
           d->state->now.temporary_count == 0;
}

/* Apart, since most statements are plain. */
static __attribute__((noinline)) void decide_by_kind(struct deciding *d) {
    switch (d->statement->facts->kind) {
    case KIND_BEGIN:
    case KIND_COMMIT:
    case KIND_ROLLBACK:
    case KIND_SAVEPOINT:
    case KIND_RELEASE:
    case KIND_ROLLBACK_TO:
    case KIND_RESET_ALL:
    case KIND_SET_TRANSACTION:
    case KIND_DISCARD:
        decision_settle(d->out, DESTINATION_ALL, default_database(d->state, d->pin));
        return;
    case KIND_SET_CONSTRAINTS:
        decide_constraints(d);
        return;
    case KIND_PREPARE_TRANSACTION:
        decide_prepare_transaction(d);
        return;
    case KIND_COMMIT_PREPARED:
    case KIND_ROLLBACK_PREPARED:
        decide_prepared(d);
        return;
    case KIND_LISTEN:
    case KIND_UNLISTEN:
    case KIND_NOTIFY:
        decision_settle(d->out, DESTINATION_ONE, d->pin >= 0 ? d->pin : 0);
        return;
    case KIND_SET:
    case KIND_SHOW:
        decide_setting(d);
        return;
    case KIND_DEALLOCATE:
    case KIND_CLOSE:
        if (d->statement->facts->name == NULL) {
            decision_settle(d->out, DESTINATION_ALL, default_database(d->state, d->pin));
            return;
        }
        decide_named(d);
        return;
    case KIND_EXECUTE:
    case KIND_FETCH:
        decide_named(d);
        return;
    default:
        if (d->statement->facts->inner_kind != KIND_EXECUTE || d->statement->facts->name == NULL) {
            decide_by_tables(d);
        } else if (session_creates_from_prepared(d->statement)) {
            decide_create_as(d);
        } else {
            decide_named(d);
        }
    }
}

void session_decide(struct session_state *state, const struct statement *statement,
                    struct decision *out) {
    scratch_clear(&state->scratch);
    out->violated = false;
    out->modifies = 0;
    out->modified_schemas = 0;
    out->observation_count = 0;
    out->subject = statement;
    struct deciding d;
    d.state = state;
    d.statement = d.subject = statement;
    d.out = out;
    d.pin = effective_pin(state, statement);
    d.bound_to = -1;
    d.executes = statement->executes;
    if (is_plain_here(&d)) {
        decision_settle(out, DESTINATION_ONE, choose_bound(&d));
        (void)decision_check_transaction(&d);
        return;
    }
    decide_by_kind(&d);
}
