#include "routing/walk.h"

#include <stdio.h>

static const char *keep(struct walk *walk, const char *text) {
    return text ? arena_copy_text(walk->out->arena, text, strlen(text)) : NULL;
}

static void visit_transaction(struct walk *walk, const TransactionStmt *statement) {
    static const enum statement_kind kinds[] = {
        [TRANS_STMT_BEGIN] = KIND_BEGIN,
        [TRANS_STMT_START] = KIND_BEGIN,
        [TRANS_STMT_COMMIT] = KIND_COMMIT,
        [TRANS_STMT_ROLLBACK] = KIND_ROLLBACK,
        [TRANS_STMT_SAVEPOINT] = KIND_SAVEPOINT,
        [TRANS_STMT_RELEASE] = KIND_RELEASE,
        [TRANS_STMT_ROLLBACK_TO] = KIND_ROLLBACK_TO,
        [TRANS_STMT_PREPARE] = KIND_PREPARE_TRANSACTION,
        [TRANS_STMT_COMMIT_PREPARED] = KIND_COMMIT_PREPARED,
        [TRANS_STMT_ROLLBACK_PREPARED] = KIND_ROLLBACK_PREPARED,
    };
    struct statement_facts *out = walk->statement;
    out->kind = kinds[statement->kind];
    out->name = keep(walk, statement->savepoint_name ? statement->savepoint_name : statement->gid);
    if (statement->chain)
        out->flags |= STATEMENT_CHAIN;
    if (out->kind == KIND_COMMIT_PREPARED || out->kind == KIND_ROLLBACK_PREPARED)
        out->flags |= STATEMENT_NO_BLOCK;
}

/* One argument of SET as text, as flatten_set_variable_args() gives it; empty where it is none. */
static const char *setting_text(const Node *node, char number[32]) {
    if (nodeTag(node) == T_TypeCast) /* SET TIME ZONE INTERVAL '…' */
        node = ((const TypeCast *)node)->arg;
    if (!node || nodeTag(node) != T_A_Const)
        return "";
    const A_Const *constant = (const A_Const *)node;
    switch (nodeTag(&constant->val)) {
    case T_Integer:
        (void)snprintf(number, 32, "%d", constant->val.ival.ival);
        return number;
    case T_Float:
        return constant->val.fval.fval;
    case T_String:
        return constant->val.sval.sval;
    default:
        return "";
    }
}

static const char *setting_value(struct walk *walk, const List *args) {
    char number[32];
    size_t length = 1;
    for (int i = 0; i < list_length(args); i++)
        length += strlen(setting_text(list_nth(args, i), number)) + 2;
    char *value = arena_alloc(walk->out->arena, length);
    size_t used = 0;
    for (int i = 0; i < list_length(args); i++) {
        const char *text = setting_text(list_nth(args, i), number);
        size_t size = strlen(text);
        if (i > 0) {
            value[used++] = ',';
            value[used++] = ' ';
        }
        memcpy(value + used, text, size);
        used += size;
    }
    value[used] = '\0';
    return value;
}

/* Each characteristic that is named, with its value. */
static const char *characteristics(struct walk *walk, const List *modes) {
    char number[32];
    size_t room = 1, used = 0;
    for (int i = 0; i < list_length(modes); i++) {
        const DefElem *mode = list_nth(modes, i);
        room += strlen(mode->defname) + strlen(setting_text(mode->arg, number)) + strlen(",  ");
    }
    char *text = arena_alloc(walk->out->arena, room);
    for (int i = 0; i < list_length(modes); i++) {
        const DefElem *mode = list_nth(modes, i);
        used += (size_t)snprintf(text + used, room - used, "%s%s %s", i > 0 ? ", " : "",
                                 mode->defname, setting_text(mode->arg, number));
    }
    return text;
}

static const char *setting_name(struct walk *walk, const char *name) {
    if (!name)
        return NULL;
    size_t length = strlen(name);
    char *copy = arena_copy_text(walk->out->arena, name, length);
    for (size_t i = 0; i < length; i++)
        if (copy[i] >= 'A' && copy[i] <= 'Z')
            copy[i] = (char)(copy[i] + ('a' - 'A'));
    return copy;
}

static void visit_set(struct walk *walk, const VariableSetStmt *set) {
    struct statement_facts *out = walk->statement;
    out->kind = KIND_SET;
    out->name = setting_name(walk, set->name);
    if (set->is_local)
        out->flags |= STATEMENT_LOCAL;
    if (out->name && strcasecmp(out->name, "seed") == 0)
        out->flags |= STATEMENT_SEED;
    switch (set->kind) {
    case VAR_SET_VALUE:
        out->value = setting_value(walk, set->args);
        break;
    case VAR_SET_DEFAULT:
    case VAR_RESET:
        out->flags |= STATEMENT_DEFAULT;
        break;
    case VAR_RESET_ALL:
        out->kind = KIND_RESET_ALL;
        break;
    case VAR_SET_MULTI:
        if (out->name && strcmp(out->name, "session characteristics") != 0)
            out->kind = KIND_SET_TRANSACTION;
        else
            out->value = characteristics(walk, set->args);
        break;
    case VAR_SET_CURRENT:
        break;
    }
}

static bool option_is_on(const List *options, const char *name) {
    bool on = false;
    for (int i = 0; i < list_length(options); i++) {
        const DefElem *option = list_nth(options, i);
        if (strcmp(option->defname, name) != 0)
            continue;
        const Node *value = option->arg;
        if (!value)
            on = true;
        else if (nodeTag(value) == T_Integer)
            on = intVal(value) != 0;
        else if (nodeTag(value) == T_Boolean)
            on = boolVal(value);
        else if (nodeTag(value) == T_String)
            on = strcmp(strVal(value), "false") != 0 && strcmp(strVal(value), "off") != 0;
    }
    return on;
}

/* A statement inside another: leaves the outer kind, notes its own. */
static void visit_inner(struct walk *walk, const Node *node) {
    struct statement_facts *out = walk->statement;
    enum statement_kind outer = out->kind;
    const char *name = out->name;
    out->kind = KIND_EMPTY;
    walk_statement(walk, node);
    out->inner_kind = out->kind;
    out->kind = outer;
    if (name)
        out->name = name;
    out->flags &= ~(unsigned)(STATEMENT_MODIFIES_DDL | STATEMENT_NO_BLOCK);
}

static void visit_explain(struct walk *walk, const ExplainStmt *explain) {
    struct statement_facts *out = walk->statement;
    out->kind = KIND_EXPLAIN;
    bool executed = option_is_on(explain->options, "analyze");
    if (executed)
        out->flags |= STATEMENT_ANALYZE;
    walk->read_only |= !executed;
    const Node *query = explain->query;
    if (!executed && nodeTag(query) == T_CreateTableAsStmt)
        query = ((const CreateTableAsStmt *)query)->query; /* creates nothing */
    visit_inner(walk, query);
    if (!executed || nodeTag(query) != T_CreateTableAsStmt)
        return;
    if (!(out->flags & STATEMENT_TEMPORARY))
        out->flags |= STATEMENT_MODIFIES_DDL;
    if (nodeTag(((const CreateTableAsStmt *)query)->query) == T_ExecuteStmt)
        out->inner_kind = KIND_EXECUTE;
}

static void visit_create_as(struct walk *walk, const CreateTableAsStmt *create) {
    struct statement_facts *out = walk->statement;
    out->kind = KIND_DDL;
    visit_inner(walk, create->query);
    if (create->into->skipData && out->inner_kind != KIND_EXECUTE)
        out->inner_kind = KIND_EMPTY; /* WITH NO DATA: it reads no rows */
    if (walk_is_temporary(create->into->rel))
        out->flags |= STATEMENT_TEMPORARY;
    (void)walk_add_relation(walk, create->into->rel, ACCESS_DDL, TABLE_CREATED);
}

static void visit_copy(struct walk *walk, const CopyStmt *copy) {
    walk->statement->kind = copy->is_from ? KIND_COPY_FROM : KIND_COPY_TO;
    if (copy->relation)
        (void)walk_add_relation(walk, copy->relation, copy->is_from ? ACCESS_WRITE : ACCESS_READ,
                                0);
    if (copy->query)
        visit_inner(walk, copy->query);
    walk_push(walk, copy->whereClause, NULL);
}

static void add_relations(struct walk *walk, const List *relations, enum access access) {
    for (int i = 0; i < list_length(relations); i++)
        (void)walk_add_relation(walk, list_nth(relations, i), access, 0);
}

static void visit_vacuum(struct walk *walk, const VacuumStmt *vacuum) {
    walk->statement->kind = KIND_UTILITY;
    if (vacuum->is_vacuumcmd)
        walk->statement->flags |= STATEMENT_NO_BLOCK;
    for (int i = 0; i < list_length(vacuum->rels); i++) {
        const VacuumRelation *relation = list_nth(vacuum->rels, i);
        if (relation->relation)
            (void)walk_add_relation(walk, relation->relation, ACCESS_READ, 0);
    }
}

static void visit_cluster(struct walk *walk, const ClusterStmt *cluster) {
    walk->statement->kind = KIND_UTILITY;
    if (cluster->relation)
        (void)walk_add_relation(walk, cluster->relation, ACCESS_READ, 0);
    else
        walk->statement->flags |= STATEMENT_NO_BLOCK;
}

static void visit_declare(struct walk *walk, const DeclareCursorStmt *declare) {
    struct statement_facts *out = walk->statement;
    out->kind = KIND_DECLARE;
    out->name = keep(walk, declare->portalname);
    if (declare->options & CURSOR_OPT_HOLD)
        out->flags |= STATEMENT_HOLD;
    visit_inner(walk, declare->query);
}

static void visit_prepare(struct walk *walk, const PrepareStmt *prepare) {
    walk->statement->kind = KIND_PREPARE;
    walk->statement->name = keep(walk, prepare->name);
    for (int i = 0; i < list_length(prepare->argtypes); i++)
        walk_add_type(walk, list_nth(prepare->argtypes, i), -1);
    visit_inner(walk, prepare->query);
}

static void visit_discard(struct walk *walk, const DiscardStmt *discard) {
    static const char *const names[] = {[DISCARD_ALL] = "all",
                                        [DISCARD_PLANS] = "plans",
                                        [DISCARD_SEQUENCES] = "sequences",
                                        [DISCARD_TEMP] = "temp"};
    walk->statement->kind = KIND_DISCARD;
    walk->statement->name = names[discard->target];
    if (discard->target == DISCARD_ALL)
        walk->statement->flags |= STATEMENT_NO_BLOCK;
}

static void named(struct walk *walk, enum statement_kind kind, const char *name) {
    walk->statement->kind = kind;
    walk->statement->name = keep(walk, name);
}

/* SET CONSTRAINTS names them alone; without names: ALL. */
static void visit_constraints(struct walk *walk, const ConstraintsSetStmt *set) {
    named(walk, KIND_SET_CONSTRAINTS, NULL);
    for (int i = 0; i < list_length(set->constraints); i++)
        (void)walk_add_relation(walk, list_nth(set->constraints, i), ACCESS_READ,
                                TABLE_OTHER_OBJECT | TABLE_CONSTRAINT);
}

/* Statements about the session and its transaction. */
static bool visit_session(struct walk *walk, const Node *node) {
    switch (nodeTag(node)) {
    case T_TransactionStmt:
        visit_transaction(walk, (const TransactionStmt *)node);
        return true;
    case T_VariableSetStmt:
        visit_set(walk, (const VariableSetStmt *)node);
        return true;
    case T_VariableShowStmt:
        named(walk, KIND_SHOW, NULL);
        walk->statement->name = setting_name(walk, ((const VariableShowStmt *)node)->name);
        return true;
    case T_ConstraintsSetStmt:
        visit_constraints(walk, (const ConstraintsSetStmt *)node);
        return true;
    case T_PrepareStmt:
        visit_prepare(walk, (const PrepareStmt *)node);
        return true;
    case T_ExecuteStmt:
        named(walk, KIND_EXECUTE, ((const ExecuteStmt *)node)->name);
        walk_push(walk, ((const ExecuteStmt *)node)->params, NULL);
        return true;
    case T_DeallocateStmt:
        named(walk, KIND_DEALLOCATE, ((const DeallocateStmt *)node)->name);
        return true;
    case T_DeclareCursorStmt:
        visit_declare(walk, (const DeclareCursorStmt *)node);
        return true;
    case T_FetchStmt:
        named(walk, KIND_FETCH, ((const FetchStmt *)node)->portalname);
        return true;
    case T_ClosePortalStmt:
        named(walk, KIND_CLOSE, ((const ClosePortalStmt *)node)->portalname);
        return true;
    case T_ListenStmt:
        named(walk, KIND_LISTEN, ((const ListenStmt *)node)->conditionname);
        return true;
    case T_UnlistenStmt:
        named(walk, KIND_UNLISTEN, ((const UnlistenStmt *)node)->conditionname);
        return true;
    case T_NotifyStmt:
        named(walk, KIND_NOTIFY, ((const NotifyStmt *)node)->conditionname);
        return true;
    case T_DiscardStmt:
        visit_discard(walk, (const DiscardStmt *)node);
        return true;
    default:
        return false;
    }
}

/* Statements about data that are no queries, and maintenance. */
static bool visit_data(struct walk *walk, const Node *node) {
    struct statement_facts *out = walk->statement;
    switch (nodeTag(node)) {
    case T_TruncateStmt:
        out->kind = KIND_TRUNCATE;
        add_relations(walk, ((const TruncateStmt *)node)->relations, ACCESS_WRITE);
        return true;
    case T_CopyStmt:
        visit_copy(walk, (const CopyStmt *)node);
        return true;
    case T_ExplainStmt:
        visit_explain(walk, (const ExplainStmt *)node);
        return true;
    case T_LockStmt:
        out->kind = KIND_LOCK;
        add_relations(walk, ((const LockStmt *)node)->relations, ACCESS_READ);
        return true;
    case T_CallStmt:
        out->kind = KIND_CALL;
        walk_push(walk, ((const CallStmt *)node)->funccall, NULL);
        return true;
    case T_DoStmt:
        out->kind = KIND_DO;
        walk_do(walk, (const DoStmt *)node);
        return true;
    case T_VacuumStmt:
        visit_vacuum(walk, (const VacuumStmt *)node);
        return true;
    case T_ClusterStmt:
        visit_cluster(walk, (const ClusterStmt *)node);
        return true;
    case T_LoadStmt:
        out->flags |= STATEMENT_LOAD;
        out->kind = KIND_UTILITY;
        return true;
    case T_CheckPointStmt:
        out->kind = KIND_UTILITY;
        return true;
    case T_CreateTableAsStmt:
        visit_create_as(walk, (const CreateTableAsStmt *)node);
        return true;
    case T_ReturnStmt: /* in an SQL function's body */
        out->kind = KIND_SELECT;
        walk_push(walk, ((const ReturnStmt *)node)->returnval, NULL);
        return true;
    default:
        return false;
    }
}

static const IntoClause *into_of(const Node *node) {
    const SelectStmt *select = (const SelectStmt *)node;
    while (select->op != SETOP_NONE)
        select = select->larg;
    return select->intoClause;
}

static void visit_query(struct walk *walk, const Node *node) {
    struct statement_facts *out = walk->statement;
    out->kind = walk_query_kind(node);
    if (out->kind == KIND_SELECT && !(walk->table_flags & TABLE_IN_BODY)) {
        const IntoClause *into = into_of(node);
        if (into) {
            out->kind = KIND_DDL;
            out->inner_kind = KIND_SELECT;
            if (walk_is_temporary(into->rel))
                out->flags |= STATEMENT_TEMPORARY;
        }
    }
    walk_push(walk, node, NULL);
}

void walk_statement(struct walk *walk, const Node *node) {
    if (!node)
        return;
    if (walk->body_depth > 0) /* of the statement before this one in the body */
        walk->statement->flags &= ~(unsigned)STATEMENT_TEMPORARY;
    if (walk_is_query(node))
        visit_query(walk, node);
    else if (!visit_session(walk, node) && !visit_data(walk, node) && !walk_ddl(walk, node) &&
             !walk_object_statement(walk, node))
        walk_give_up(walk, "a statement that is not known here", (int)nodeTag(node));
    walk_run(walk);
    struct statement_facts *out = walk->statement;
    if (out->kind == KIND_DDL && !(out->flags & STATEMENT_TEMPORARY))
        out->flags |= STATEMENT_MODIFIES_DDL;
}
