#include "routing/walk.h"

bool walk_is_query(const Node *node) {
    switch (nodeTag(node)) {
    case T_SelectStmt:
    case T_InsertStmt:
    case T_UpdateStmt:
    case T_DeleteStmt:
    case T_MergeStmt:
        return true;
    default:
        return false;
    }
}

enum statement_kind walk_query_kind(const Node *node) {
    switch (nodeTag(node)) {
    case T_SelectStmt:
        return KIND_SELECT;
    case T_InsertStmt:
        return KIND_INSERT;
    case T_UpdateStmt:
        return KIND_UPDATE;
    case T_DeleteStmt:
        return KIND_DELETE;
    case T_MergeStmt:
        return KIND_MERGE;
    default:
        return KIND_EMPTY;
    }
}

/* Enters the names of a WITH clause: each sees the names before it, all see all with RECURSIVE.
 * Returns what the main query sees. */
static const struct scope *enter_with(struct walk *walk, const WithClause *with,
                                      const struct scope *scope) {
    if (!with)
        return scope;
    int count = list_length(with->ctes);
    struct scope *names = arena_alloc(walk->scratch, (size_t)count * sizeof *names + 1);
    const struct scope *inner = scope;
    for (int i = 0; i < count; i++) {
        const CommonTableExpr *cte = list_nth(with->ctes, i);
        names[i] = (struct scope){cte->ctename, inner, inner ? inner->depth + 1 : 1};
        inner = &names[i];
    }
    if (inner && inner->depth > WALK_CTES_MAX)
        walk_give_up(walk, "too many WITH queries", T_WithClause);
    for (int i = count - 1; i >= 0; i--) {
        const CommonTableExpr *cte = list_nth(with->ctes, i);
        const struct scope *seen = with->recursive ? inner : names[i].outer;
        if (cte->cycle_clause) {
            walk_push(walk, cte->cycle_clause->cycle_mark_value, seen);
            walk_push(walk, cte->cycle_clause->cycle_mark_default, seen);
        }
        walk_push(walk, cte->ctequery, seen);
    }
    return inner;
}

static bool is_cte(const RangeVar *relation, const struct scope *scope) {
    if (relation->schemaname)
        return false;
    for (; scope; scope = scope->outer)
        if (strcmp(scope->name, relation->relname) == 0)
            return true;
    return false;
}

/* Whether the locking clauses of a SELECT reach its FROM item of that name. */
static bool is_locked(const struct item *item, const char *name) {
    if (item->lock_all)
        return true;
    for (int i = 0; i < list_length(item->locking); i++) {
        const LockingClause *clause = list_nth(item->locking, i);
        if (!clause->lockedRels || list_length(clause->lockedRels) > 256)
            return true; /* a list that long is taken for all, so as not to compare all with all */
        for (int j = 0; name && j < list_length(clause->lockedRels); j++) {
            const RangeVar *locked = list_nth(clause->lockedRels, j);
            if (strcmp(locked->relname, name) == 0)
                return true;
        }
    }
    return false;
}

static void visit_relation(struct walk *walk, const RangeVar *relation, const struct item *item) {
    if (is_cte(relation, item->scope))
        return;
    const char *name = relation->alias ? relation->alias->aliasname : relation->relname;
    walk_add_relation(walk, relation, is_locked(item, name) ? ACCESS_LOCK : ACCESS_READ, 0);
}

static void push_with(struct walk *walk, const void *node, const struct item *item) {
    struct item other = *item;
    other.node = node;
    walk_push_from(walk, &other);
}

static void push_all_with(struct walk *walk, const List *nodes, const struct item *item) {
    for (int i = list_length(nodes) - 1; i >= 0; i--)
        push_with(walk, list_nth(nodes, i), item);
}

static void visit_subselect(struct walk *walk, const RangeSubselect *range,
                            const struct item *item) {
    bool locked = is_locked(item, range->alias ? range->alias->aliasname : NULL);
    walk_push_from(
        walk, &(struct item){.node = range->subquery, .scope = item->scope, .lock_all = locked});
}

static void visit_table_function(struct walk *walk, const RangeTableFunc *range,
                                 const struct scope *scope) {
    walk_push(walk, range->columns, scope);
    walk_push(walk, range->namespaces, scope);
    walk_push(walk, range->docexpr, scope);
    walk_push(walk, range->rowexpr, scope);
}

/* The list holds pairs of a function and its column definitions. */
static void visit_range_function(struct walk *walk, const RangeFunction *range,
                                 const struct scope *scope) {
    walk_push(walk, range->coldeflist, scope);
    walk_push(walk, range->functions, scope);
}

static void visit_select(struct walk *walk, const SelectStmt *select, const struct item *item) {
    const struct scope *scope = enter_with(walk, select->withClause, item->scope);
    if (select->intoClause) /* PL/pgSQL's, which names variables, is gone by now */
        walk_add_relation(walk, select->intoClause->rel, ACCESS_DDL, TABLE_CREATED);
    walk_push(walk, select->limitCount, scope);
    walk_push(walk, select->limitOffset, scope);
    walk_push(walk, select->sortClause, scope);
    if (select->op != SETOP_NONE) {
        bool locked = item->lock_all || select->lockingClause;
        struct item arm = {.node = select->rarg, .scope = scope, .lock_all = locked};
        walk_push_from(walk, &arm);
        arm.node = select->larg;
        walk_push_from(walk, &arm);
        return;
    }
    walk_push(walk, select->valuesLists, scope);
    walk_push(walk, select->windowClause, scope);
    walk_push(walk, select->havingClause, scope);
    walk_push(walk, select->groupClause, scope);
    walk_push(walk, select->whereClause, scope);
    struct item from = {
        .scope = scope, .locking = select->lockingClause, .lock_all = item->lock_all};
    push_all_with(walk, select->fromClause, &from);
    walk_push(walk, select->targetList, scope);
    if (select->distinctClause && linitial(select->distinctClause))
        walk_push(walk, select->distinctClause, scope);
}

static void visit_on_conflict(struct walk *walk, const OnConflictClause *clause,
                              const struct scope *scope) {
    walk_push(walk, clause->whereClause, scope);
    walk_push(walk, clause->targetList, scope);
    if (clause->infer) {
        walk_push(walk, clause->infer->whereClause, scope);
        walk_push(walk, clause->infer->indexElems, scope);
    }
}

static void visit_insert(struct walk *walk, const InsertStmt *insert, const struct scope *outer) {
    const struct scope *scope = enter_with(walk, insert->withClause, outer);
    walk_add_relation(walk, insert->relation, ACCESS_WRITE, 0);
    walk_push(walk, insert->returningList, scope);
    if (insert->onConflictClause)
        visit_on_conflict(walk, insert->onConflictClause, scope);
    walk_push(walk, insert->selectStmt, scope);
    walk_push(walk, insert->cols, scope);
}

static void visit_update(struct walk *walk, const UpdateStmt *update, const struct scope *outer) {
    const struct scope *scope = enter_with(walk, update->withClause, outer);
    walk_add_relation(walk, update->relation, ACCESS_WRITE, 0);
    walk_push(walk, update->returningList, scope);
    walk_push(walk, update->whereClause, scope);
    walk_push(walk, update->fromClause, scope);
    walk_push(walk, update->targetList, scope);
}

static void visit_delete(struct walk *walk, const DeleteStmt *delete, const struct scope *outer) {
    const struct scope *scope = enter_with(walk, delete->withClause, outer);
    walk_add_relation(walk, delete->relation, ACCESS_WRITE, 0);
    walk_push(walk, delete->returningList, scope);
    walk_push(walk, delete->whereClause, scope);
    walk_push(walk, delete->usingClause, scope);
}

static void visit_merge(struct walk *walk, const MergeStmt *merge, const struct scope *outer) {
    const struct scope *scope = enter_with(walk, merge->withClause, outer);
    walk_add_relation(walk, merge->relation, ACCESS_WRITE, 0);
    walk_push(walk, merge->mergeWhenClauses, scope);
    walk_push(walk, merge->joinCondition, scope);
    walk_push(walk, merge->sourceRelation, scope);
}

static void visit_merge_when(struct walk *walk, const MergeWhenClause *when,
                             const struct scope *scope) {
    walk_push(walk, when->values, scope);
    walk_push(walk, when->targetList, scope);
    walk_push(walk, when->condition, scope);
}

static void visit_join(struct walk *walk, const JoinExpr *join, const struct item *item) {
    walk_push(walk, join->quals, item->scope);
    push_with(walk, join->rarg, item);
    push_with(walk, join->larg, item);
}

static bool visit_from(struct walk *walk, const struct item *item) {
    const Node *node = item->node;
    const struct scope *scope = item->scope;
    switch (nodeTag(node)) {
    case T_RangeVar:
        visit_relation(walk, (const RangeVar *)node, item);
        return true;
    case T_JoinExpr:
        visit_join(walk, (const JoinExpr *)node, item);
        return true;
    case T_RangeSubselect:
        visit_subselect(walk, (const RangeSubselect *)node, item);
        return true;
    case T_RangeFunction:
        visit_range_function(walk, (const RangeFunction *)node, scope);
        return true;
    case T_RangeTableSample:
        walk_push(walk, ((const RangeTableSample *)node)->repeatable, scope);
        walk_push(walk, ((const RangeTableSample *)node)->args, scope);
        push_with(walk, ((const RangeTableSample *)node)->relation, item);
        return true;
    case T_RangeTableFunc:
        visit_table_function(walk, (const RangeTableFunc *)node, scope);
        return true;
    case T_RangeTableFuncCol:
        walk_push(walk, ((const RangeTableFuncCol *)node)->coldefexpr, scope);
        walk_push(walk, ((const RangeTableFuncCol *)node)->colexpr, scope);
        walk_add_type(walk, ((const RangeTableFuncCol *)node)->typeName, -1);
        return true;
    case T_ColumnDef: /* of a function in FROM */
        walk_add_type(walk, ((const ColumnDef *)node)->typeName, -1);
        return true;
    default:
        return false;
    }
}

bool walk_query_node(struct walk *walk, const struct item *item) {
    const Node *node = item->node;
    switch (nodeTag(node)) {
    case T_SelectStmt:
        visit_select(walk, (const SelectStmt *)node, item);
        return true;
    case T_InsertStmt:
        visit_insert(walk, (const InsertStmt *)node, item->scope);
        return true;
    case T_UpdateStmt:
        visit_update(walk, (const UpdateStmt *)node, item->scope);
        return true;
    case T_DeleteStmt:
        visit_delete(walk, (const DeleteStmt *)node, item->scope);
        return true;
    case T_MergeStmt:
        visit_merge(walk, (const MergeStmt *)node, item->scope);
        return true;
    case T_MergeWhenClause:
        visit_merge_when(walk, (const MergeWhenClause *)node, item->scope);
        return true;
    default:
        return visit_from(walk, item);
    }
}
