#include "routing/violation.h"

#include <string.h>

/* A statement may name thousands of tables; a DETAIL that long helps nobody. */
enum { TABLES_TOLD_MAX = 40 };

static const struct settings *case_settings(const struct violation_case *v) {
    return v->state->settings;
}

static const char *database_name(const struct violation_case *v, int database) {
    return case_settings(v)->databases[database].name;
}

static const char *schema_name(const struct violation_case *v, int schema) {
    return classification_schema_name(case_settings(v)->classification, schema);
}

static void append_databases(struct text *text, const struct violation_case *v, database_set set) {
    const char *between = "";
    for (; set != 0; set &= set - 1) {
        text_append(text, "%s%s", between, database_name(v, database_set_first(set)));
        between = " and ";
    }
}

static void append_schemas(struct text *text, const struct violation_case *v, schema_set set) {
    const char *between = "";
    for (; set != 0; set &= set - 1) {
        text_append(text, "%s%s", between, schema_name(v, __builtin_ctzll(set)));
        between = " and ";
    }
}

/* `projects (gitlab_main, database main)` */
static void append_table(struct text *text, const struct violation_case *v,
                         const struct routed_table *table) {
    const char *name = table->facts->name;
    if (table->role == ROLE_TEMPORARY) {
        text_append(text, "%s (temporary table, database ", name);
        append_databases(text, v, table->databases);
        text_append(text, ")");
    } else if (table->schema < 0) {
        text_append(text, "%s (no gitlab_schema)", name);
    } else if (classification_schema_is_neutral(case_settings(v)->classification, table->schema)) {
        text_append(text, "%s (%s, every database)", name, schema_name(v, table->schema));
    } else {
        text_append(text, "%s (%s, database ", name, schema_name(v, table->schema));
        append_databases(text, v, table->databases);
        text_append(text, ")");
    }
}

static const char *access_word(enum access access) {
    static const char *const words[] = {"read", "locked", "altered", "written"};
    return words[access];
}

static void append_tables(struct text *text, const struct violation_case *v) {
    const struct statement_facts *facts = v->statement->facts;
    size_t told = 0, left = 0;
    for (size_t i = 0; i < facts->table_count; i++) {
        const struct routed_table *table = &v->statement->tables[i];
        if (table->role == ROLE_IGNORED) {
            continue;
        }
        if (told == TABLES_TOLD_MAX) {
            left++;
            continue;
        }
        text_append(text, "%s", told++ == 0 ? "Tables of the statement: " : ", ");
        append_table(text, v, table);
        text_append(text, " %s", access_word(table->facts->access));
    }
    if (left > 0) {
        text_append(text, ", and %zu more", left);
    }
    const struct classification *c = case_settings(v)->classification;
    for (size_t i = 0; i < facts->function_count; i++) {
        int schema = classification_lookup_function(c, facts->functions[i]);
        if (schema >= 0) {
            text_append(text, "%sfunction %s (%s)", told++ == 0 ? "The statement calls " : ", ",
                        facts->functions[i], schema_name(v, schema));
        }
    }
    if (told > 0) {
        text_append(text, ".");
    }
}

/* Fills in what all have in common; takes the texts. */
static void finish(const struct violation_case *v, enum rule rule, struct text *message,
                   struct text *detail, struct text *hint, struct violation *out) {
    const struct table_facts *table = v->table >= 0 ? v->statement->tables[v->table].facts : NULL;
    struct scratch *scratch = &v->state->scratch;
    *out = (struct violation){
        .rule = rule,
        .sqlstate = rule_sqlstate(rule),
        .message = scratch_take(scratch, message),
        .detail = scratch_take(scratch, detail),
        .hint = scratch_take(scratch, hint),
        .table = table != NULL ? table->name : NULL,
        .position = table != NULL && v->in_text ? table->position : -1,
    };
}

void violation_unclassified(const struct violation_case *v, struct violation *out) {
    struct text message = {0}, detail = {0}, hint = {0};
    const char *name = v->statement->tables[v->table].facts->name;
    text_append(&message, "table \"%s\" has no gitlab_schema", name);
    append_tables(&detail, v);
    text_append(&hint,
                "Add \"%s\" to the classification first: a line in the flat file or a file in the "
                "dictionary that gives its gitlab_schema.",
                name);
    finish(v, RULE_UNCLASSIFIED, &message, &detail, &hint, out);
}

void violation_unparsed(const struct violation_case *v, struct violation *out) {
    struct text message = {0}, detail = {0}, hint = {0};
    text_append(
        &message,
        "statement can't be parsed, and its identifiers name tables of more than one database");
    if (v->statement->query->parse_error != NULL) {
        text_append(&detail, "Parser: %s. ", v->statement->query->parse_error);
    }
    append_tables(&detail, v);
    text_append(
        &hint,
        "Rewrite it so that it names the tables of one database only, or use syntax that "
        "PostgreSQL 15 reads; a comment /* database: NAME */ does not make it one database's.");
    finish(v, RULE_UNPARSED, &message, &detail, &hint, out);
}

void violation_allowed_schemas(const struct violation_case *v, enum allowed_breach breach,
                               struct violation *out) {
    static const char *const ways_out[] = {
        [ALLOWED_BREACH_STRUCTURE] = "Change structure in a session of its own",
        [ALLOWED_BREACH_ROWS] = "Touch data in a session of its own",
        [ALLOWED_BREACH_SCHEMA] = "Use a session that is restricted to this data",
        [ALLOWED_BREACH_UNKNOWN] = "Write it so that it can be parsed",
    };
    struct text message = {0}, detail = {0}, hint = {0};
    const char *allowed = session_show(v->state, "pginterlock.allowed_gitlab_schemas");
    bool structure = session_own_setting(v->state, OWN_ALLOWED_SCHEMAS)->structure_only;
    switch (breach) {
    case ALLOWED_BREACH_STRUCTURE:
        text_append(&message,
                    "this session may not change structure: it is restricted to data of %s",
                    allowed);
        break;
    case ALLOWED_BREACH_ROWS:
        text_append(&message,
                    "this session may not read or write data: it is restricted to changes "
                    "of structure");
        break;
    case ALLOWED_BREACH_SCHEMA:
        text_append(&message, "this session may not touch ");
        if (v->table >= 0) {
            append_table(&message, v, &v->statement->tables[v->table]);
        } else {
            text_append(&message, "what a function of the statement does");
        }
        text_append(&message, ": it is restricted to data of %s", allowed);
        break;
    case ALLOWED_BREACH_UNKNOWN:
        text_append(&message,
                    "statement can't be looked into, and this session is restricted to %s%s",
                    structure ? "changes of structure" : "data of ", allowed);
        break;
    }
    append_tables(&detail, v);
    if (v->statement->facts->kind == KIND_UNPARSED) { /* its complaint would quote literals */
        text_append(&detail, "%sThe parser can't read it.", detail.length > 0 ? " " : "");
    }
    text_append(&hint, "%s, or end the restriction with RESET pginterlock.allowed_gitlab_schemas.",
                ways_out[breach]);
    finish(v, RULE_ALLOWED_SCHEMAS, &message, &detail, &hint, out);
}

/* One foreign key breaks the rule; the offending table is its far end. */
void violation_cross_foreign_key(const struct violation_case *v, struct violation *out) {
    struct text message = {0}, detail = {0}, hint = {0};
    const struct statement *statement = v->statement;
    const struct foreign_key_facts *key =
        &statement->facts->foreign_keys[statement->bad_foreign_key];
    const struct routed_table *from = &statement->tables[key->from],
                              *to = &statement->tables[key->to];
    text_append(&message, "foreign key from ");
    append_table(&message, v, from);
    text_append(&message, " to ");
    append_table(&message, v, to);
    bool apart = (routed_table_databases(from) & routed_table_databases(to)) == 0;
    text_append(&message, apart ? " crosses databases" : " crosses gitlab_schemas");
    append_tables(&detail, v);
    if (apart) {
        text_append(
            &hint,
            "Use a loose foreign key instead of a constraint: records deleted from \"%s\" are "
            "queued, and their children in \"%s\" are cleaned up later.",
            to->facts->name, from->facts->name);
    } else {
        text_append(
            &hint,
            "Neither %s nor %s lists the other in allow_cross_foreign_keys: use a loose foreign "
            "key, or add it to the list.",
            schema_name(v, routed_table_schema(from, case_settings(v)->classification)),
            schema_name(v, routed_table_schema(to, case_settings(v)->classification)));
    }
    finish(v, RULE_CROSS_FOREIGN_KEY, &message, &detail, &hint, out);
}

void violation_cross_join(const struct violation_case *v, bool impossible, struct violation *out) {
    struct text message = {0}, detail = {0}, hint = {0};
    const struct statement *statement = v->statement;
    database_set databases = 0;
    for (schema_set rest = statement->schemas; rest != 0; rest &= rest - 1) { /* of functions too */
        databases |= classification_schema_databases(case_settings(v)->classification,
                                                     __builtin_ctzll(rest));
    }
    for (size_t i = 0; i < statement->facts->table_count; i++) {
        const struct routed_table *table = &statement->tables[i];
        bool neutral =
            table->role == ROLE_COUNTS &&
            classification_schema_is_neutral(case_settings(v)->classification, table->schema);
        databases |= neutral ? 0 : table->databases;
    }
    if (statement->databases == 0) {
        text_append(&message, "statement uses tables of more than one database: ");
        append_databases(&message, v, databases);
    } else {
        text_append(&message, "statement joins schemas that may not be joined: ");
        append_schemas(&message, v, statement->schemas);
    }
    append_tables(&detail, v);
    if (impossible) {
        text_append(
            &detail,
            "%sNo single database holds all of them, so that neither a permit nor a rule's mode "
            "lets it be executed.",
            detail.length > 0 ? " " : "");
    }
    if (impossible && statement->bad_foreign_key >= 0) {
        text_append(&detail, " A foreign key refers to a table of its own database.");
    }
    database_set stores = settings_physical_databases(case_settings(v), databases);
    if (statement->facts->kind == KIND_DDL) {
        text_append(&hint, "Change the structure of each database in a statement of its own.");
    } else if (statement->databases == 0) {
        text_append(
            &hint,
            "Split it into one query for each database, as has_many … disable_joins: true does: "
            "read the ids from one, then use them in the other.");
    } else {
        text_append(
            &hint,
            "Split it into one query for each schema, or add the schema to allow_cross_joins.");
    }
    if ((stores & (stores - 1)) == 0) {
        text_append(&hint, " Until then a comment /* allow_cross_joins_across_databases url=… */ "
                           "permits it, as one "
                           "database stores all of them.");
    }
    finish(v, RULE_CROSS_JOIN, &message, &detail, &hint, out);
}

void violation_write_lock(const struct violation_case *v, struct violation *out) {
    struct text message = {0}, detail = {0}, hint = {0};
    text_append(&message, "Table: \"%s\" is write protected within this Gitlab database.",
                v->statement->tables[v->table].facts->name);
    append_tables(&detail, v);
    text_append(&detail, " This connection belongs to database %s.", database_name(v, v->pin));
    text_append(&hint, "Make sure you are using the right database connection");
    finish(v, RULE_WRITE_LOCK, &message, &detail, &hint, out);
}

void violation_wrong_database(const struct violation_case *v, struct violation *out) {
    struct text message = {0}, detail = {0}, hint = {0};
    if (v->table >= 0) {
        const struct routed_table *table = &v->statement->tables[v->table];
        text_append(&message, "table \"%s\" belongs to database ", table->facts->name);
        append_databases(&message, v, table->databases);
    } else {
        text_append(&message, "statement belongs to database ");
        append_databases(&message, v, v->statement->databases);
    }
    text_append(&message, ", but this connection is pinned to %s", database_name(v, v->pin));
    append_tables(&detail, v);
    text_append(&hint,
                "Make sure you are using the right database connection, or one that is routed.");
    finish(v, RULE_WRONG_DATABASE, &message, &detail, &hint, out);
}

static void append_upper(struct text *text, const char *word) {
    for (; *word != '\0'; word++) {
        char upper = *word >= 'a' && *word <= 'z' ? (char)(*word - 'a' + 'A') : *word;
        text_append_bytes(text, &upper, 1);
    }
}

/* The earlier statement by its kind and what it modified: its own text would carry literals into
 * logs. */
static void append_modification(struct text *text, const struct violation_case *v,
                                const struct modification *modification) {
    const struct statement *statement = modification->statement;
    const struct statement_facts *facts = statement->facts;
    append_upper(text, statement_kind_name(facts->kind));
    const char *before = " ";
    for (size_t i = 0; i < facts->table_count; i++) {
        const struct routed_table *table = &statement->tables[i];
        if (table->role != ROLE_IGNORED && table->facts->access != ACCESS_READ) {
            text_append(text, "%s", before);
            append_table(text, v, table);
            before = ", ";
        }
    }
    text_append(text, " modified database ");
    append_databases(text, v, modification->databases);
}

void violation_cross_transaction(const struct violation_case *v, database_set databases,
                                 schema_set schemas, struct violation *out) {
    struct text message = {0}, detail = {0}, hint = {0};
    const struct mark *now = &v->state->now;
    bool first = now->counted == 0;
    bool apart = (databases & ~now->counted) != 0 || first;
    if (first && (databases & (databases - 1)) != 0) {
        text_append(&message, "statement would modify more than one database: ");
        append_databases(&message, v, databases);
    } else if (!first && apart) {
        text_append(&message, "transaction has modified database ");
        append_databases(&message, v, now->counted);
        text_append(&message, " and would now modify ");
        append_databases(&message, v, databases & ~now->counted);
    } else {
        text_append(&message,
                    "transaction would modify schemas that may not be modified together: ");
        append_schemas(&message, v, now->counted_schemas | schemas);
    }
    append_tables(&detail, v);
    for (size_t i = 0; i < now->modification_count; i++) {
        if (v->state->modifications[i].databases == 0) {
            continue; /* it brought no database or schema */
        }
        text_append(&detail, "%sEarlier in this transaction: ", detail.length > 0 ? "\n" : "");
        append_modification(&detail, v, &v->state->modifications[i]);
        text_append(&detail, ".");
    }
    text_append(&hint, "Move the modification of the second database out of the transaction, for "
                       "example after its "
                       "COMMIT; or permit it with the comment "
                       "/* allow_cross_database_modification_within_transaction url=… */.");
    finish(v, RULE_CROSS_TRANSACTION, &message, &detail, &hint, out);
}

void violation_unroutable(const struct violation_case *v, struct violation *out) {
    struct text message = {0}, detail = {0}, hint = {0};
    text_append(
        &message,
        "PREPARE TRANSACTION can't prepare a transaction that is in more than one database");
    text_append(&detail, "The transaction runs in databases ");
    append_databases(&detail, v, v->state->used);
    text_append(&detail, ".");
    text_append(&hint, "Use a transaction that stays in one database, or end it with COMMIT.");
    finish(v, RULE_UNROUTABLE, &message, &detail, &hint, out);
}
