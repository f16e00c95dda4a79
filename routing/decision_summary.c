/* What a statement's tables and their schemas amount to, before any session comes into it. */
#include "routing/lexer.h"
#include "routing/object_names.h"
#include "routing/router.h"

#include <string.h>
#include <strings.h>

int database_set_first(database_set set) {
    return __builtin_ctz(set);
}

database_set settings_all_databases(const struct settings *settings) {
    return settings->database_count >= DATABASES_MAX
               ? ~(database_set)0
               : ((database_set)1 << settings->database_count) - 1;
}

database_set settings_physical_databases(const struct settings *settings, database_set set) {
    database_set physical = 0;
    for (size_t i = 0; i < settings->database_count; i++) {
        if ((set >> i & 1) != 0) {
            physical |= (database_set)1 << settings->databases[i].physical;
        }
    }
    return physical;
}

int routed_table_schema(const struct routed_table *table, const struct classification *c) {
    return table->role == ROLE_COUNTS    ? table->schema
           : table->role == ROLE_UNKNOWN ? classification_schema_by_name(c, "gitlab_main")
                                         : -1;
}

database_set routed_table_databases(const struct routed_table *table) {
    return table->role == ROLE_UNKNOWN ? 1 : table->databases;
}

static schema_set schema_bit(int schema) {
    return (schema_set)1 << schema;
}

/* Whether executing the statement modifies what it accesses so; structure only counts in a
 * structure change. */
static bool access_modifies(const struct statement_facts *facts, const struct table_facts *table) {
    switch (table->access) {
    case ACCESS_WRITE:
    case ACCESS_LOCK:
        return true;
    case ACCESS_DDL:
        return (facts->flags & STATEMENT_MODIFIES_DDL) != 0 &&
               (table->flags & TABLE_REFERENCED) == 0;
    case ACCESS_READ:
        return false;
    }
    return false;
}

bool statement_modifies_table(const struct statement *statement, size_t index) {
    const struct routed_table *table = &statement->tables[index];
    return (table->role == ROLE_COUNTS || table->role == ROLE_UNKNOWN) &&
           access_modifies(statement->facts, table->facts);
}

/* While summing up: what only matters for the conclusions. */
struct summing {
    const struct settings *settings;
    struct statement *statement;
    database_set joined; /* as statement->databases, without the far ends of foreign keys */
    bool temporary_ddl;  /* structure of a temporary table, … */
    bool permanent_ddl;  /* … of another */
    bool objects;
    bool counts; /* some table says where the statement goes */
};

static void sum_schema(struct summing *s, int schema, database_set databases, bool modifies,
                       bool referenced) {
    struct statement *statement = s->statement;
    const struct classification *c = s->settings->classification;
    if (classification_schema_is_neutral(c, schema)) {
        statement->neutral |= schema_bit(schema);
        /* An identifier of unreadable text that happens to begin with pg_ is no write to the
         * catalogs. */
        bool named_only =
            statement->facts->kind == KIND_UNPARSED && classification_schema_is_internal(c, schema);
        statement->modifies_neutral |= modifies && !named_only;
        return;
    }
    statement->bound = true;
    statement->databases &= databases;
    if (!referenced) {
        statement->schemas |= schema_bit(schema);
        s->joined &= databases;
    }
    if (modifies) {
        statement->modified |= schema_bit(schema);
    }
}

/* A table without a class counts as main's, for the modes in which that is let pass. */
static void sum_unknown(struct summing *s, int index, bool modifies) {
    struct statement *statement = s->statement;
    if (statement->unknown < 0) {
        statement->unknown = index;
    }
    const struct routed_table *table = &statement->tables[index];
    bool referenced = (table->facts->flags & TABLE_REFERENCED) != 0;
    int schema = routed_table_schema(table, s->settings->classification);
    if (schema >= 0) {
        sum_schema(s, schema, 1, modifies, referenced);
    } else {
        statement->bound = true;
        statement->databases &= 1;
        s->joined &= referenced ? s->joined : 1;
        statement->modifies_neutral |= modifies;
    }
}

static void sum_table(struct summing *s, int index) {
    struct statement *statement = s->statement;
    const struct routed_table *table = &statement->tables[index];
    unsigned flags = table->facts->flags;
    bool modifies = access_modifies(statement->facts, table->facts);
    if (table->facts->access == ACCESS_DDL && (flags & TABLE_OTHER_OBJECT) == 0) {
        bool temporary = table->role == ROLE_TEMPORARY || (flags & TABLE_TEMPORARY) != 0;
        *(temporary ? &s->temporary_ddl : &s->permanent_ddl) = true;
    }
    s->counts |= table->role != ROLE_IGNORED;
    switch (table->role) {
    case ROLE_IGNORED:
        s->objects |= (flags & (TABLE_OTHER_OBJECT | TABLE_SEQUENCE)) != 0;
        return;
    case ROLE_TEMPORARY:
        statement->bound = true;
        statement->databases &= table->databases;
        s->joined &= table->databases;
        return;
    case ROLE_UNKNOWN:
        sum_unknown(s, index, modifies);
        return;
    case ROLE_COUNTS:
        break;
    }
    bool neutral = classification_schema_is_neutral(s->settings->classification, table->schema);
    if ((flags & TABLE_NAMED_IN_STRING) != 0 && (flags & TABLE_SEQUENCE_USED) == 0 && !neutral) {
        statement->looks_up = true;
        if ((statement->facts->flags & STATEMENT_CATALOG) != 0) {
            statement->names_tables = true;
            statement->named &= table->databases;
            return;
        }
    }
    sum_schema(s, table->schema, table->databases, modifies, (flags & TABLE_REFERENCED) != 0);
}

static void sum_functions(struct summing *s) {
    const struct statement_facts *facts = s->statement->facts;
    const struct classification *c = s->settings->classification;
    for (size_t i = 0; i < facts->function_count; i++) {
        int schema = classification_lookup_function(c, facts->functions[i]);
        if (schema >= 0) {
            /* What it does is not known, so it counts as a write. */
            sum_schema(s, schema, classification_schema_databases(c, schema), true, false);
            s->statement->writes = true;
            s->counts = true;
        }
    }
}

static void sum_literals(struct summing *s) {
    const struct statement_facts *facts = s->statement->facts;
    const struct classification *c = s->settings->classification;
    for (size_t i = 0; i < facts->literal_count; i++) {
        int schema = classification_lookup(c, NULL, facts->literals[i]);
        if (schema >= 0 && !classification_schema_is_neutral(c, schema)) {
            s->statement->names_tables = true;
            s->statement->named &= classification_schema_databases(c, schema);
        }
    }
}

/* Whether one of the schemas lists all the others. */
static bool joins_allowed(const struct classification *c, schema_set schemas) {
    for (schema_set rest = schemas; rest != 0; rest &= rest - 1) {
        if ((schemas & ~classification_allowed_joins(c, __builtin_ctzll(rest))) == 0) {
            return true;
        }
    }
    return schemas == 0;
}

static bool foreign_key_allowed(const struct settings *settings, const struct routed_table *from,
                                const struct routed_table *to) {
    const struct classification *c = settings->classification;
    int child = routed_table_schema(from, c), parent = routed_table_schema(to, c);
    if (child < 0 || parent < 0 || child == parent) {
        return true;
    }
    if ((routed_table_databases(from) & routed_table_databases(to)) == 0) {
        return false;
    }
    return !classification_has_permissions(c) ||
           (classification_allowed_foreign_keys(c, child) & schema_bit(parent)) != 0 ||
           (classification_allowed_foreign_keys(c, parent) & schema_bit(child)) != 0;
}

static int first_bad_foreign_key(const struct statement *statement,
                                 const struct settings *settings) {
    const struct statement_facts *facts = statement->facts;
    for (size_t i = 0; i < facts->foreign_key_count; i++) {
        const struct foreign_key_facts *key = &facts->foreign_keys[i];
        if (!foreign_key_allowed(settings, &statement->tables[key->from],
                                 &statement->tables[key->to])) {
            return (int)i;
        }
    }
    return -1;
}

static bool statement_executes(const struct statement_facts *facts) {
    switch (facts->kind) {
    case KIND_PREPARE:
    case KIND_DECLARE:
        return false;
    case KIND_EXPLAIN:
        return (facts->flags & STATEMENT_ANALYZE) != 0;
    default:
        return true;
    }
}

/* Whether the words stand in a row in the statement, outside its strings and comments (or are a
 * string). For what is rare and the facts don't tell. */
static bool says_words(const struct statement *statement, const char *const *words, size_t count) {
    const char *text = statement->query->text + statement->facts->start;
    struct lexer lexer;
    struct token token;
    size_t next = 0;
    lexer_init(&lexer, text, statement->facts->length, true);
    for (lexer_next(&lexer, &token); token.kind != TOKEN_END && next < count;
         lexer_next(&lexer, &token)) {
        size_t length = token.end - token.start;
        if (token.kind == TOKEN_LINE_COMMENT || token.kind == TOKEN_BLOCK_COMMENT) {
            continue;
        }
        bool matches = length == strlen(words[next]) &&
                       strncasecmp(text + token.start, words[next], length) == 0;
        next = matches ? next + 1 : 0;
    }
    return next == count;
}

static bool says_on_commit_drop(const struct statement *statement) {
    static const char *const words[] = {"on", "commit", "drop"};
    return says_words(statement, words, 3);
}

static void sum_statement(struct statement *statement, const struct settings *settings,
                          bool skip_bodies) {
    const struct statement_facts *facts = statement->facts;
    database_set all = settings_all_databases(settings);
    statement->schemas = statement->neutral = statement->modified = 0;
    statement->databases = statement->named = all;
    statement->bound = statement->looks_up = statement->names_tables = statement->modifies_neutral =
        false;
    statement->writes = (facts->flags & STATEMENT_MODIFIES_DDL) != 0;
    statement->unknown = -1;

    struct summing s = {.settings = settings, .statement = statement, .joined = all};
    for (size_t i = 0; i < facts->table_count; i++) {
        if (!skip_bodies || (facts->tables[i].flags & TABLE_IN_BODY) == 0) {
            sum_table(&s, (int)i);
            statement->writes |=
                facts->tables[i].access == ACCESS_WRITE || facts->tables[i].access == ACCESS_LOCK;
        }
    }
    sum_functions(&s);
    sum_literals(&s);

    if ((facts->flags & STATEMENT_MODIFIES_DDL) != 0 && statement->modified == 0 &&
        !(s.temporary_ddl && !s.permanent_ddl)) {
        statement->modifies_neutral = true;
    }
    statement->names_objects = s.objects && !s.counts;
    bool two = (statement->schemas & (statement->schemas - 1)) != 0;
    statement->bad_join =
        facts->kind != KIND_UNPARSED &&
        (s.joined == 0 || (two && classification_has_permissions(settings->classification) &&
                           !joins_allowed(settings->classification, statement->schemas)));
}

/* What it names that says no table itself, and whether it may draw numbers. */
static void note_names(struct statement *statement) {
    const struct statement_facts *facts = statement->facts;
    bool adds =
        facts->kind != KIND_UPDATE && facts->kind != KIND_DELETE && facts->kind != KIND_TRUNCATE;
    statement->asks_catalogs =
        facts->kind == KIND_COMMIT_PREPARED || facts->kind == KIND_ROLLBACK_PREPARED;
    statement->draws = false;
    for (size_t i = 0; i < facts->table_count; i++) {
        const struct routed_table *table = &statement->tables[i];
        struct object_name name;
        if (table->role == ROLE_IGNORED || table->role == ROLE_UNKNOWN) {
            statement->asks_catalogs |= statement_object_name(statement, i, &name);
        }
        statement->draws |= (table->facts->flags & TABLE_SEQUENCE_USED) != 0 ||
                            (adds && table->facts->access == ACCESS_WRITE);
    }
}

/* Whether there is nothing to ask of it that session_decide() would have to find out each time. */
static bool is_plain(const struct statement *statement) {
    const struct statement_facts *facts = statement->facts;
    bool common = facts->kind == KIND_SELECT || facts->kind == KIND_INSERT ||
                  facts->kind == KIND_UPDATE || facts->kind == KIND_DELETE;
    return common && facts->inner_kind != KIND_EXECUTE && facts->hint_database == NULL &&
           (facts->flags & (STATEMENT_SET_CONFIG | STATEMENT_CURRVAL)) == 0 && statement->bound &&
           statement->databases != 0 && statement->unknown < 0 && !statement->bad_join &&
           statement->bad_foreign_key < 0 && !statement->asks_catalogs;
}

void statement_summarize(struct statement *statement, const struct settings *settings) {
    const struct statement_facts *facts = statement->facts;
    statement->hint_database =
        facts->hint_database != NULL ? settings_find_database(settings, facts->hint_database) : -1;
    statement->executes = statement_executes(facts);
    statement->drops_on_commit =
        (facts->flags & STATEMENT_TEMPORARY) != 0 && says_on_commit_drop(statement);
    note_names(statement);
    statement->bad_foreign_key = first_bad_foreign_key(statement, settings);
    sum_statement(statement, settings, false);
    if (statement->bad_join && (facts->flags & STATEMENT_LATER) != 0) {
        sum_statement(statement, settings, true);
    }
    statement->plain = is_plain(statement);
}
