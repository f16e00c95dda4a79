#include "routing/walk.h"

#include <stdlib.h>

void walk_give_up(struct walk *walk, const char *what, int tag) {
    if (!walk->unknown) {
        walk->unknown = what;
        walk->unknown_tag = tag;
    }
}

/* Nodes that lead nowhere need no place on the stack. */
static bool is_leaf(struct walk *walk, const Node *node) {
    switch (nodeTag(node)) {
    case T_ColumnRef:
    case T_ParamRef:
    case T_A_Star:
    case T_SetToDefault:
    case T_SQLValueFunction:
    case T_CurrentOfExpr:
    case T_String:
    case T_Integer:
    case T_Float:
    case T_Boolean:
    case T_BitString:
        return true;
    case T_A_Const: {
        const A_Const *constant = (const A_Const *)node;
        if (!constant->isnull && nodeTag(&constant->val) == T_String &&
            walk->string_count < WALK_STRINGS_MAX) {
            if (!walk->strings)
                walk->strings =
                    arena_alloc(walk->scratch, WALK_STRINGS_MAX * sizeof *walk->strings);
            walk->strings[walk->string_count++] = constant->val.sval.sval;
        }
        return true;
    }
    default:
        return false;
    }
}

static void push_item(struct walk *walk, const struct item *item) {
    if (walk->item_count == walk->item_capacity) {
        size_t capacity = walk->item_capacity ? walk->item_capacity * 2 : 64;
        struct item *items = arena_alloc(walk->scratch, capacity * sizeof *items);
        if (walk->item_count > 0)
            memcpy(items, walk->items, walk->item_count * sizeof *items);
        walk->items = items;
        walk->item_capacity = capacity;
    }
    walk->items[walk->item_count++] = *item;
}

void walk_push_from(struct walk *walk, const struct item *item) {
    const Node *node = item->node;
    if (!node)
        return;
    if (nodeTag(node) == T_ResTarget && !((const ResTarget *)node)->indirection)
        node = ((const ResTarget *)node)->val; /* every column of every target list */
    if (!node || is_leaf(walk, node))
        return;
    struct item pushed = *item;
    pushed.node = node;
    push_item(walk, &pushed);
}

void walk_push(struct walk *walk, const void *node, const struct scope *scope) {
    if (node)
        walk_push_from(walk, &(struct item){.node = node, .scope = scope});
}

int walk_position(const struct walk *walk, int location) {
    if (walk->position_fixed)
        return walk->position_base;
    if (location < 0 || location + walk->position_base < 0)
        return -1; /* the latter: a word that was put before an expression, to read it */
    return location + walk->position_base;
}

/* As one that is created. */
bool walk_is_temporary(const RangeVar *relation) {
    return relation->relpersistence == 't' ||
           (relation->schemaname && strcmp(relation->schemaname, "pg_temp") == 0);
}

bool walk_is_sequence_name(const char *name) {
    size_t length = strlen(name);
    return length > 4 && memcmp(name + length - 4, "_seq", 4) == 0;
}

static enum access clamp(const struct walk *walk, enum access access) {
    if (walk->read_only && (access == ACCESS_WRITE || access == ACCESS_LOCK))
        return ACCESS_READ;
    return access;
}

int walk_add_relation(struct walk *walk, const RangeVar *relation, enum access access,
                      unsigned flags) {
    if (relation->relpersistence == 't' && (flags & TABLE_CREATED))
        flags |= TABLE_TEMPORARY;
    if (!(flags & (TABLE_OTHER_OBJECT | TABLE_CREATED)) && access != ACCESS_WRITE &&
        walk_is_sequence_name(relation->relname)) /* FROM x_id_seq, ALTER TABLE x_id_seq */
        flags |= TABLE_SEQUENCE;
    return collector_add_table(walk->out, relation->schemaname, relation->relname,
                               clamp(walk, access), flags | walk->table_flags,
                               walk_position(walk, relation->location));
}

int walk_add_name(struct walk *walk, const List *names, int length, enum access access,
                  unsigned flags) {
    if (length <= 0 || nodeTag(list_nth(names, length - 1)) != T_String)
        return -1;
    const char *name = strVal(list_nth(names, length - 1));
    const char *schema = NULL;
    if (length > 1 && nodeTag(list_nth(names, length - 2)) == T_String)
        schema = strVal(list_nth(names, length - 2));
    if (!(flags & TABLE_OTHER_OBJECT) && walk_is_sequence_name(name))
        flags |= TABLE_SEQUENCE;
    return collector_add_table(walk->out, schema, name, clamp(walk, access),
                               flags | walk->table_flags, walk_position(walk, -1));
}

static int compare_name(const void *key, const void *member) {
    return strcmp(key, *(const char *const *)member);
}

/* Types that a table can hardly be named after; sparing their entry is all that this list is for.
 */
static bool is_common_type(const char *name) {
    static const char *const types[] = {
        "anyarray",     "anyelement", "bool",      "box",          "bytea",    "char",
        "cid",          "cidr",       "circle",    "citext",       "cstring",  "date",
        "float4",       "float8",     "hstore",    "inet",         "int2",     "int4",
        "int4range",    "int8",       "int8range", "internal",     "interval", "json",
        "jsonb",        "jsonpath",   "line",      "lseg",         "ltree",    "macaddr",
        "money",        "name",       "numeric",   "numrange",     "oid",      "path",
        "point",        "polygon",    "record",    "refcursor",    "regclass", "regconfig",
        "regnamespace", "regoper",    "regproc",   "regprocedure", "regrole",  "regtype",
        "text",         "tid",        "timestamp", "timestamptz",  "trigger",  "tsquery",
        "tsrange",      "tstzrange",  "tsvector",  "unknown",      "uuid",     "varchar",
        "void",         "xid",        "xml",
    };
    return bsearch(name, types, sizeof types / sizeof *types, sizeof *types, compare_name);
}

/* Every table has a row type of its name; `table.column%TYPE` names the table before the last dot.
 */
void walk_add_type(struct walk *walk, const TypeName *type, int location) {
    if (!type || !type->names)
        return;
    int length = list_length(type->names);
    int last = type->pct_type ? length - 2 : length - 1;
    if (last < 0)
        return;
    const char *name = strVal(list_nth(type->names, last));
    const char *schema = last > 0 ? strVal(list_nth(type->names, last - 1)) : NULL;
    if (schema && strcmp(schema, "pg_catalog") == 0)
        return;
    if (!schema && is_common_type(name))
        return;
    int position = walk_position(walk, type->location >= 0 ? type->location : location);
    collector_add_table(walk->out, schema, name, ACCESS_READ, TABLE_TYPE | walk->table_flags,
                        position);
    while (*name == '_' && *++name) /* the array type of x is called _x, or __x, … */
        collector_add_table(walk->out, schema, name, ACCESS_READ, TABLE_TYPE | walk->table_flags,
                            position);
}

static void push_list(struct walk *walk, const List *list, const struct item *origin) {
    struct item item = *origin;
    for (int i = list_length(list) - 1; i >= 0; i--) { /* first one on top */
        item.node = list_nth(list, i);
        walk_push_from(walk, &item);
    }
}

static void visit_window(struct walk *walk, const WindowDef *window, const struct scope *scope) {
    walk_push(walk, window->endOffset, scope);
    walk_push(walk, window->startOffset, scope);
    walk_push(walk, window->orderClause, scope);
    walk_push(walk, window->partitionClause, scope);
}

static void visit_case(struct walk *walk, const CaseExpr *expression, const struct scope *scope) {
    walk_push(walk, expression->defresult, scope);
    walk_push(walk, expression->args, scope);
    walk_push(walk, expression->arg, scope);
}

static void visit_cast(struct walk *walk, const TypeCast *cast, const struct scope *scope) {
    if (!walk_cast_names(walk, cast))
        walk_push(walk, cast->arg, scope);
    walk_add_type(walk, cast->typeName, cast->location);
    walk_push(walk, cast->typeName->typmods, scope);
}

/* Expressions of one or two operands, the frequent ones. False: something else. */
static bool visit_operation(struct walk *walk, const Node *node, const struct scope *scope) {
    switch (nodeTag(node)) {
    case T_A_Expr:
        walk_push(walk, ((const A_Expr *)node)->rexpr, scope);
        walk_push(walk, ((const A_Expr *)node)->lexpr, scope);
        return true;
    case T_BoolExpr:
        walk_push(walk, ((const BoolExpr *)node)->args, scope);
        return true;
    case T_ResTarget:
        walk_push(walk, ((const ResTarget *)node)->val, scope);
        walk_push(walk, ((const ResTarget *)node)->indirection, scope);
        return true;
    case T_FuncCall:
        walk_function(walk, (const FuncCall *)node, scope);
        return true;
    case T_TypeCast:
        visit_cast(walk, (const TypeCast *)node, scope);
        return true;
    case T_SubLink:
        walk_push(walk, ((const SubLink *)node)->subselect, scope);
        walk_push(walk, ((const SubLink *)node)->testexpr, scope);
        return true;
    case T_NullTest:
        walk_push(walk, ((const NullTest *)node)->arg, scope);
        return true;
    case T_SortBy:
        walk_push(walk, ((const SortBy *)node)->node, scope);
        return true;
    case T_CaseExpr:
        visit_case(walk, (const CaseExpr *)node, scope);
        return true;
    case T_CaseWhen:
        walk_push(walk, ((const CaseWhen *)node)->result, scope);
        walk_push(walk, ((const CaseWhen *)node)->expr, scope);
        return true;
    default:
        return false;
    }
}

static bool visit_expression(struct walk *walk, const Node *node, const struct scope *scope) {
    switch (nodeTag(node)) {
    case T_CollateClause:
        walk_push(walk, ((const CollateClause *)node)->arg, scope);
        return true;
    case T_A_Indices:
        walk_push(walk, ((const A_Indices *)node)->uidx, scope);
        walk_push(walk, ((const A_Indices *)node)->lidx, scope);
        return true;
    case T_A_Indirection:
        walk_push(walk, ((const A_Indirection *)node)->indirection, scope);
        walk_push(walk, ((const A_Indirection *)node)->arg, scope);
        return true;
    case T_A_ArrayExpr:
        walk_push(walk, ((const A_ArrayExpr *)node)->elements, scope);
        return true;
    case T_MultiAssignRef: /* one for each column, all with the same source: the first stands for
                              them */
        if (((const MultiAssignRef *)node)->colno == 1)
            walk_push(walk, ((const MultiAssignRef *)node)->source, scope);
        return true;
    case T_RowExpr:
        walk_push(walk, ((const RowExpr *)node)->args, scope);
        return true;
    case T_CoalesceExpr:
        walk_push(walk, ((const CoalesceExpr *)node)->args, scope);
        return true;
    case T_MinMaxExpr:
        walk_push(walk, ((const MinMaxExpr *)node)->args, scope);
        return true;
    case T_GroupingFunc:
        walk_push(walk, ((const GroupingFunc *)node)->args, scope);
        return true;
    case T_GroupingSet:
        walk_push(walk, ((const GroupingSet *)node)->content, scope);
        return true;
    case T_NamedArgExpr:
        walk_push(walk, ((const NamedArgExpr *)node)->arg, scope);
        return true;
    case T_BooleanTest:
        walk_push(walk, ((const BooleanTest *)node)->arg, scope);
        return true;
    case T_XmlExpr:
        walk_push(walk, ((const XmlExpr *)node)->args, scope);
        walk_push(walk, ((const XmlExpr *)node)->named_args, scope);
        return true;
    case T_XmlSerialize:
        walk_push(walk, ((const XmlSerialize *)node)->expr, scope);
        walk_add_type(walk, ((const XmlSerialize *)node)->typeName, -1);
        return true;
    case T_WindowDef:
        visit_window(walk, (const WindowDef *)node, scope);
        return true;
    case T_IndexElem:
        walk_push(walk, ((const IndexElem *)node)->expr, scope);
        return true;
    default:
        return false;
    }
}

void walk_run(struct walk *walk) {
    while (walk->item_count > 0 && !walk->unknown) {
        struct item item = walk->items[--walk->item_count];
        const Node *node = item.node;
        if (nodeTag(node) == T_List)
            push_list(walk, (const List *)node, &item);
        else if (!visit_operation(walk, node, item.scope) && !walk_query_node(walk, &item) &&
                 !visit_expression(walk, node, item.scope))
            walk_give_up(walk, "a construct that is not known here", (int)nodeTag(node));
    }
}
