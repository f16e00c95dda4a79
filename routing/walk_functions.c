#include "routing/walk.h"

#include "routing/lexer.h"

#include <stdlib.h>
#include <strings.h>

/* Functions that take the name of a relation as a string. */
struct name_function {
    const char *name;
    int argument; /* counted from the front; negative: from the back */
    unsigned
        flags; /* TABLE_SEQUENCE where the name is a sequence's, also _USED where its value is */
};

/* Sorted by strcmp. */
static const struct name_function name_functions[] = {
    {"brin_desummarize_range", 0, TABLE_OTHER_OBJECT},
    {"brin_summarize_new_values", 0, TABLE_OTHER_OBJECT},
    {"brin_summarize_range", 0, TABLE_OTHER_OBJECT},
    {"bt_index_check", 0, TABLE_OTHER_OBJECT},
    {"bt_index_parent_check", 0, TABLE_OTHER_OBJECT},
    {"bt_metap", 0, TABLE_OTHER_OBJECT},
    {"bt_multi_page_stats", 0, TABLE_OTHER_OBJECT},
    {"bt_page_items", 0, TABLE_OTHER_OBJECT},
    {"bt_page_stats", 0, TABLE_OTHER_OBJECT},
    {"connectby", 0, 0},
    {"currtid2", 0, 0},
    {"currval", 0, TABLE_SEQUENCE | TABLE_SEQUENCE_USED},
    {"get_raw_page", 0, 0},
    {"gin_clean_pending_list", 0, TABLE_OTHER_OBJECT},
    {"has_any_column_privilege", -2, 0},
    {"has_column_privilege", -3, 0},
    {"has_sequence_privilege", -2, TABLE_SEQUENCE},
    {"has_table_privilege", -2, 0},
    {"nextval", 0, TABLE_SEQUENCE | TABLE_SEQUENCE_USED},
    {"pg_check_frozen", 0, 0},
    {"pg_check_visible", 0, 0},
    {"pg_column_is_updatable", 0, 0},
    {"pg_extension_config_dump", 0, 0},
    {"pg_freespace", 0, 0},
    {"pg_get_replica_identity_index", 0, 0},
    {"pg_get_serial_sequence", 0, 0},
    {"pg_get_viewdef", 0, 0},
    {"pg_indexes_size", 0, 0},
    {"pg_partition_ancestors", 0, 0},
    {"pg_partition_root", 0, 0},
    {"pg_partition_tree", 0, 0},
    {"pg_prewarm", 0, 0},
    {"pg_relation_filenode", 0, 0},
    {"pg_relation_filepath", 0, 0},
    {"pg_relation_is_publishable", 0, 0},
    {"pg_relation_is_updatable", 0, 0},
    {"pg_relation_size", 0, 0},
    {"pg_relpages", 0, 0},
    {"pg_sequence_last_value", 0, TABLE_SEQUENCE | TABLE_SEQUENCE_USED},
    {"pg_sequence_parameters", 0, TABLE_SEQUENCE},
    {"pg_table_size", 0, 0},
    {"pg_total_relation_size", 0, 0},
    {"pg_truncate_visibility_map", 0, 0},
    {"pg_visibility", 0, 0},
    {"pg_visibility_map", 0, 0},
    {"pg_visibility_map_summary", 0, 0},
    {"pgrowlocks", 0, 0},
    {"pgstatginindex", 0, TABLE_OTHER_OBJECT},
    {"pgstathashindex", 0, TABLE_OTHER_OBJECT},
    {"pgstatindex", 0, TABLE_OTHER_OBJECT},
    {"pgstattuple", 0, 0},
    {"pgstattuple_approx", 0, 0},
    {"regclass", 0, 0},
    {"regclassin", 0, 0},
    {"row_security_active", 0, 0},
    {"setval", 0, TABLE_SEQUENCE | TABLE_SEQUENCE_USED},
    {"table_to_xml", 0, 0},
    {"table_to_xml_and_xmlschema", 0, 0},
    {"table_to_xmlschema", 0, 0},
    {"to_regclass", 0, 0},
    {"to_regtype", 0, TABLE_TYPE},
    {"verify_heapam", 0, 0},
    {"xpath_table", 2, 0},
};

static int compare_function(const void *key, const void *member) {
    return strcmp(key, ((const struct name_function *)member)->name);
}

bool walk_takes_names(const char *name) {
    return strcmp(name, "regtype") == 0 || strcmp(name, "regprocedure") == 0 ||
           bsearch(name, name_functions, sizeof name_functions / sizeof *name_functions,
                   sizeof *name_functions, compare_function);
}

/* Reads a possibly qualified name as regclassin() does: parts by dots, folded unless quoted. */
void walk_add_string_name(struct walk *walk, const char *text, unsigned flags, int location) {
    char parts[3][LEXER_NAME_MAX + 1];
    size_t length = strlen(text);
    size_t position = 0;
    int count = 0;
    for (;; position++) {
        if (count == 3 || !lexer_string_part(text, length, &position, parts[count]))
            return;
        count++;
        if (position == length)
            break;
        if (text[position] != '.')
            return;
    }
    const char *name = parts[count - 1];
    if (name[0] >= '0' && name[0] <= '9' && strspn(name, "0123456789") == strlen(name))
        return; /* an oid */
    if (walk_is_sequence_name(name))
        flags |= TABLE_SEQUENCE;
    (void)collector_add_table(walk->out, count > 1 ? parts[count - 2] : NULL, name, ACCESS_READ,
                              flags | TABLE_NAMED_IN_STRING | walk->table_flags,
                              walk_position(walk, location));
}

/* '{a,"b"}' as the names in it. */
static void add_array_names(struct walk *walk, const char *text, int location) {
    size_t length = strlen(text);
    char name[2 * LEXER_NAME_MAX + 8];
    size_t used = 0;
    for (size_t i = 1; i < length; i++) {
        char c = text[i];
        if (c == ',' || c == '}') {
            name[used] = '\0';
            walk_add_string_name(walk, name, 0, location);
            used = 0;
        } else if (c != '\\' && c != '"' && used < sizeof name - 1) {
            name[used++] = c;
        }
    }
}

/* A type as regtypein() reads it, of which modifiers and brackets are no names. */
static void add_type_names(struct walk *walk, const char *text, int location) {
    struct lexer lexer;
    lexer_init(&lexer, text, strlen(text), true);
    struct token token;
    char name[LEXER_NAME_MAX + 1], schema[LEXER_NAME_MAX + 1] = "";
    for (lexer_next(&lexer, &token); token.kind != TOKEN_END; lexer_next(&lexer, &token)) {
        if (lexer_name(text, &token, name) == 0)
            continue;
        if (text[token.end] == '.') {
            memcpy(schema, name, sizeof schema);
            continue;
        }
        for (const char *part = name; *part; part++) { /* the array type of x is called _x */
            (void)collector_add_table(walk->out, *schema ? schema : NULL, part, ACCESS_READ,
                                      TABLE_NAMED_IN_STRING | TABLE_TYPE | walk->table_flags,
                                      walk_position(walk, location));
            if (*part != '_')
                break;
        }
        schema[0] = '\0';
    }
}

/* What stands behind casts, a COLLATE and an argument's name. */
static const Node *without_wrapping(const Node *node) {
    for (;;) {
        if (node && nodeTag(node) == T_TypeCast)
            node = ((const TypeCast *)node)->arg;
        else if (node && nodeTag(node) == T_NamedArgExpr)
            node = (const Node *)((const NamedArgExpr *)node)->arg;
        else if (node && nodeTag(node) == T_CollateClause)
            node = ((const CollateClause *)node)->arg;
        else
            return node;
    }
}

/* The names in a constant, or in an array of constants. False: `node` is something else and to be
 * walked. */
static bool add_constant_names(struct walk *walk, const Node *node, unsigned flags) {
    walk->statement->flags |= STATEMENT_CONSTANTS;
    node = without_wrapping(node);
    if (!node || nodeTag(node) != T_A_Const)
        return false;
    const A_Const *constant = (const A_Const *)node;
    if (constant->isnull || nodeTag(&constant->val) != T_String)
        return true;
    const char *text = constant->val.sval.sval;
    if (flags & TABLE_TYPE)
        add_type_names(walk, text, constant->location);
    else if (text[0] == '{')
        add_array_names(walk, text, constant->location);
    else
        walk_add_string_name(walk, text, flags, constant->location);
    return true;
}

/* 'x'::regclass and 'x'::regtype, also of arrays. True where the argument needs no walk. */
bool walk_cast_names(struct walk *walk, const TypeCast *cast) {
    const List *names = cast->typeName->names;
    if (!names || !cast->arg)
        return false;
    const char *type = strVal(llast(names));
    if (strncmp(type, "reg", 3) != 0)
        return false;
    unsigned flags = 0;
    if (strcmp(type, "regtype") == 0)
        flags = TABLE_TYPE;
    else if (strcmp(type, "regclass") != 0)
        return false;
    if (nodeTag(cast->arg) != T_A_ArrayExpr)
        return add_constant_names(walk, cast->arg, flags);
    const List *elements = ((const A_ArrayExpr *)cast->arg)->elements;
    for (int i = 0; i < list_length(elements); i++)
        (void)add_constant_names(walk, list_nth(elements, i), flags);
    return false; /* elements that are no constants are walked */
}

static const char *constant_text(struct walk *walk, const Node *node) {
    walk->statement->flags |= STATEMENT_CONSTANTS;
    while (node && nodeTag(node) == T_TypeCast)
        node = ((const TypeCast *)node)->arg;
    if (!node || nodeTag(node) != T_A_Const || ((const A_Const *)node)->isnull)
        return NULL;
    const A_Const *constant = (const A_Const *)node;
    if (nodeTag(&constant->val) == T_String)
        return constant->val.sval.sval;
    if (nodeTag(&constant->val) == T_Boolean)
        return constant->val.boolval.boolval ? "true" : "false";
    return NULL;
}

/* A setting of the proxy's own (session_is_own_setting()). */
static bool is_ours(const char *name) {
    return strncasecmp(name, "pginterlock.", 12) == 0;
}

/* As boolin() reads it. */
static bool is_true(const char *text) {
    text += strspn(text, " \t\n\v\f\r");
    return *text == '1' || strncasecmp(text, "t", 1) == 0 || strncasecmp(text, "y", 1) == 0 ||
           strncasecmp(text, "on", 2) == 0;
}

/* set_config(name, value, is_local) */
static void note_set_config(struct walk *walk, const List *args) {
    struct statement_facts *statement = walk->statement;
    bool second = statement->flags & STATEMENT_SET_CONFIG;
    statement->flags |= STATEMENT_SET_CONFIG;
    if (list_length(args) != 3)
        return;
    const char *name = constant_text(walk, linitial(args));
    const char *local = constant_text(walk, list_nth(args, 2));
    if (name && strcasecmp(name, "seed") == 0)
        statement->flags |= STATEMENT_SEED;
    if (second) { /* of several one is known, which must be none of ours */
        bool first_ours = statement->name && is_ours(statement->name);
        bool ours = name && is_ours(name);
        if (ours)
            statement->name = arena_copy_text(walk->out->arena, name, strlen(name));
        bool unsure = (statement->flags & STATEMENT_MAYBE_LOCAL) &&
                      !(statement->flags & STATEMENT_SETS_SEVERAL);
        if (ours || first_ours || unsure)
            statement->value = NULL;
        statement->flags |= STATEMENT_SETS_SEVERAL;
        if (!local || !is_true(local))
            statement->flags |= STATEMENT_MAYBE_LOCAL;
        return;
    }
    const char *value = constant_text(walk, list_nth(args, 1));
    if (local && is_true(local))
        statement->flags |= STATEMENT_LOCAL;
    else if (!local && nodeTag(list_nth(args, 2)) != T_A_Const)
        statement->flags |= STATEMENT_MAYBE_LOCAL;
    if (name && !statement->name)
        statement->name = arena_copy_text(walk->out->arena, name, strlen(name));
    if (name && value && !statement->value)
        statement->value = arena_copy_text(walk->out->arena, value, strlen(value));
}

static bool has_prefix(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Functions that run the query in their argument. */
static bool runs_query(const char *name) {
    return has_prefix(name, "query_to_xml") || has_prefix(name, "crosstab") ||
           strcmp(name, "ts_stat") == 0 || strcmp(name, "ts_rewrite") == 0;
}

/* Of the arguments those that are more than a word, as weights and name spaces are. */
static void read_queries(struct walk *walk, const List *args) {
    bool any = false;
    for (int i = 0; i < list_length(args); i++) {
        const char *query = constant_text(walk, list_nth(args, i));
        if (!query || !strpbrk(query, " \t\r\n\f/-(\""))
            continue;
        walk_sql_body(walk, query, -1, true, ACCESS_READ);
        any = true;
    }
    if (!any)
        walk->statement->flags |= STATEMENT_DYNAMIC;
}

/* Functions that read whatever tables there are. */
static bool reads_everything(const char *name) {
    return has_prefix(name, "schema_to_xml") || has_prefix(name, "database_to_xml");
}

static void note_effects(struct walk *walk, const char *name, const List *args) {
    struct statement_facts *statement = walk->statement;
    statement->flags |= STATEMENT_CALLS_FUNCTIONS;
    collector_add_function(walk->out, name);
    if (has_prefix(name, "pg_advisory_") || has_prefix(name, "pg_try_advisory_") ||
        strcmp(name, "pg_notify") == 0)
        statement->flags |= STATEMENT_SHARED_KEY;
    if (reads_everything(name))
        statement->flags |= STATEMENT_DYNAMIC;
    if (runs_query(name))
        read_queries(walk, args);
}

/* pg_get_serial_sequence('x', …) is x's sequence, and its own argument is read. */
static bool is_serial_sequence(const Node *node) {
    while (node && nodeTag(node) == T_TypeCast)
        node = ((const TypeCast *)node)->arg;
    return node && nodeTag(node) == T_FuncCall &&
           strcmp(strVal(llast(((const FuncCall *)node)->funcname)), "pg_get_serial_sequence") == 0;
}

/* The argument that is a name, -1 where there is none. */
static int name_argument(const struct name_function *function, const List *args) {
    if (!function)
        return -1;
    int index =
        function->argument < 0 ? list_length(args) + function->argument : function->argument;
    return index < list_length(args) ? index : -1;
}

void walk_function(struct walk *walk, const FuncCall *call, const struct scope *scope) {
    const char *name = strVal(llast(call->funcname));
    int parts = list_length(call->funcname);
    bool qualified = parts > 1;
    bool own = !qualified || strcmp(strVal(list_nth(call->funcname, parts - 2)), "pg_catalog") == 0;
    /* In whatever schema: an extension's may be in any. */
    const struct name_function *names =
        bsearch(name, name_functions, sizeof name_functions / sizeof *name_functions,
                sizeof *name_functions, compare_function);
    if (names) /* also where too few arguments are there: a list of constants may be longer next
                  time */
        walk->statement->flags |= STATEMENT_CONSTANTS;
    if (own && strcmp(name, "set_config") == 0)
        note_set_config(walk, call->args);
    if (own && strcmp(name, "setseed") == 0)
        walk->statement->flags |= STATEMENT_SEED;
    if (own && strcmp(name, "lastval") == 0)
        walk->statement->flags |= STATEMENT_LASTVAL | STATEMENT_CURRVAL;
    if (own && strcmp(name, "currval") == 0)
        walk->statement->flags |= STATEMENT_CURRVAL;
    if (own && strcmp(name, "nextval") == 0)
        walk->statement->flags |= STATEMENT_NEXTVAL;
    if (!own || !walk_is_builtin_function(name))
        note_effects(walk, name, call->args);
    if (call->over)
        walk_push(walk, call->over, scope);
    walk_push(walk, call->agg_filter, scope);
    walk_push(walk, call->agg_order, scope);
    int named = name_argument(names, call->args);
    for (int i = list_length(call->args) - 1; i >= 0; i--) {
        const Node *argument = list_nth(call->args, i);
        if (i == named && add_constant_names(walk, argument, names->flags))
            continue;
        if (i == named && (names->flags & TABLE_SEQUENCE_USED) != 0 &&
            !is_serial_sequence(argument))
            walk->statement->flags |=
                STATEMENT_DYNAMIC; /* whose it is, only the server will know */
        walk_push(walk, argument, scope);
    }
}

static bool is_name_character(char c) {
    return lexer_is_identifier(c) || c == '.' || c == '"';
}

/* A literal that could name relations: x, s.x, '^(x)$', '^(x|y)$', '{x,y}'. The schema goes, as
 * does the rest. */
static void collect_literal(struct walk *walk, const char *text) {
    size_t length = strlen(text);
    if (length >= 4 && memcmp(text, "^(", 2) == 0 && memcmp(text + length - 2, ")$", 2) == 0) {
        text += 2;
        length -= 4;
    } else if (length >= 2 && text[0] == '{' && text[length - 1] == '}') {
        text += 1;
        length -= 2;
    }
    size_t start = 0;
    for (size_t i = 0; i <= length; i++) {
        if (i == length || text[i] == '|' || text[i] == ',') {
            if (i > start && i - start <= LEXER_NAME_MAX)
                collector_add_literal(walk->out, text + start, i - start);
            start = i + 1;
        } else if (text[i] == '.') {
            start = i + 1;
        } else if (!is_name_character(text[i])) {
            return;
        }
    }
}

void walk_collect_literals(struct walk *walk) {
    for (size_t i = 0; i < walk->string_count; i++)
        collect_literal(walk, walk->strings[i]);
}
