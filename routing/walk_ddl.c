#include "routing/walk.h"

/* Expressions and queries in definitions: what they name is looked at, not executed now. */
static void push_definition(struct walk *walk, const void *node) {
    walk_push(walk, node, NULL);
    bool outer = walk->read_only;
    walk->read_only = true;
    walk_run(walk);
    walk->read_only = outer;
}

static void add_foreign_key(struct walk *walk, const Constraint *constraint, int from) {
    int to = walk_add_relation(walk, constraint->pktable, ACCESS_DDL, TABLE_REFERENCED);
    if (from >= 0)
        collector_add_foreign_key(walk->out, from, to);
}

static void visit_constraint(struct walk *walk, const Constraint *constraint, int from) {
    push_definition(walk, constraint->raw_expr);
    push_definition(walk, constraint->where_clause);
    for (int i = 0; i < list_length(constraint->exclusions); i++)
        push_definition(walk, linitial((const List *)list_nth(constraint->exclusions, i)));
    if (constraint->contype == CONSTR_FOREIGN && constraint->pktable)
        add_foreign_key(walk, constraint, from);
}

static void visit_column(struct walk *walk, const ColumnDef *column, const RangeVar *table,
                         int from) {
    walk_add_type(walk, column->typeName, column->location);
    push_definition(walk, column->raw_default);
    walk_ddl_list(walk, column->constraints, table, from);
}

static void visit_element(struct walk *walk, const Node *node, const RangeVar *table, int from);

static void visit_alter_command(struct walk *walk, const AlterTableCmd *command,
                                const RangeVar *table, int from) {
    const Node *definition = command->def;
    if (command->subtype == AT_DetachPartition && definition &&
        nodeTag(definition) == T_PartitionCmd && ((const PartitionCmd *)definition)->concurrent)
        walk->statement->flags |= STATEMENT_NO_BLOCK;
    if (!definition)
        return;
    if (command->subtype == AT_ColumnDefault) {
        push_definition(walk, definition);
        return;
    }
    switch (nodeTag(definition)) {
    case T_List: /* options */
    case T_Integer:
    case T_Float:
    case T_String:
    case T_RoleSpec:
    case T_DefElem:
    case T_ReplicaIdentityStmt:
        return;
    default:
        visit_element(walk, definition, table, from);
    }
}

static void visit_bound(struct walk *walk, const PartitionBoundSpec *bound) {
    if (!bound)
        return;
    push_definition(walk, bound->listdatums);
    for (int i = 0; i < 2; i++) {
        const List *limits = i ? bound->upperdatums : bound->lowerdatums;
        for (int j = 0; j < list_length(limits); j++) {
            const Node *value = list_nth(limits, j);
            if (nodeTag(value) == T_PartitionRangeDatum)
                value = ((const PartitionRangeDatum *)value)->value;
            push_definition(walk, value);
        }
    }
}

/* One element of a table's definition or one ALTER TABLE command; `from`: the table's index. */
static void visit_element(struct walk *walk, const Node *node, const RangeVar *table, int from) {
    switch (nodeTag(node)) {
    case T_ColumnDef:
        visit_column(walk, (const ColumnDef *)node, table, from);
        break;
    case T_Constraint:
        visit_constraint(walk, (const Constraint *)node, from);
        break;
    case T_TableLikeClause:
        (void)walk_add_relation(walk, ((const TableLikeClause *)node)->relation, ACCESS_READ, 0);
        break;
    case T_AlterTableCmd:
        visit_alter_command(walk, (const AlterTableCmd *)node, table, from);
        break;
    case T_PartitionCmd:
        (void)walk_add_relation(walk, ((const PartitionCmd *)node)->name, ACCESS_DDL, 0);
        visit_bound(walk, ((const PartitionCmd *)node)->bound);
        break;
    case T_RangeVar:
        (void)walk_add_relation(walk, (const RangeVar *)node, ACCESS_DDL, 0);
        break;
    case T_TypeName:
        walk_add_type(walk, (const TypeName *)node, -1);
        break;
    case T_CollateClause:
        break;
    default:
        walk_give_up(walk, "a definition that is not known here", (int)nodeTag(node));
    }
}

void walk_ddl_list(struct walk *walk, const List *nodes, const RangeVar *table, int from) {
    for (int i = 0; i < list_length(nodes); i++)
        visit_element(walk, list_nth(nodes, i), table, from);
}

static void note_temporary(struct walk *walk, const RangeVar *relation) {
    if (walk_is_temporary(relation))
        walk->statement->flags |= STATEMENT_TEMPORARY;
}

static void visit_create_table(struct walk *walk, const CreateStmt *create) {
    note_temporary(walk, create->relation);
    int table = walk_add_relation(walk, create->relation, ACCESS_DDL, TABLE_CREATED);
    for (int i = 0; i < list_length(create->inhRelations); i++)
        (void)walk_add_relation(walk, list_nth(create->inhRelations, i), ACCESS_DDL, 0);
    walk_add_type(walk, create->ofTypename, -1);
    walk_ddl_list(walk, create->tableElts, create->relation, table);
    walk_ddl_list(walk, create->constraints, create->relation, table);
    visit_bound(walk, create->partbound);
    if (create->partspec)
        for (int i = 0; i < list_length(create->partspec->partParams); i++)
            push_definition(
                walk, ((const PartitionElem *)list_nth(create->partspec->partParams, i))->expr);
}

static void visit_alter_table(struct walk *walk, const AlterTableStmt *alter) {
    walk_relation_of_type(walk, alter->relation, alter->objtype, 0);
    int table = -1;
    if (alter->objtype == OBJECT_TABLE || alter->objtype == OBJECT_FOREIGN_TABLE)
        table = walk_add_relation(walk, alter->relation, ACCESS_DDL, 0);
    for (int i = 0; i < list_length(alter->cmds); i++) {
        const AlterTableCmd *command = list_nth(alter->cmds, i);
        if (alter->objtype == OBJECT_INDEX && command->def &&
            nodeTag(command->def) == T_PartitionCmd)
            walk_relation_of_type(walk, ((const PartitionCmd *)command->def)->name, OBJECT_INDEX,
                                  0);
        else
            visit_alter_command(walk, command, alter->relation, table);
    }
}

static void visit_index(struct walk *walk, const IndexStmt *index) {
    (void)walk_add_relation(walk, index->relation, ACCESS_DDL, 0);
    push_definition(walk, index->indexParams);
    push_definition(walk, index->whereClause);
    if (index->concurrent)
        walk->statement->flags |= STATEMENT_NO_BLOCK;
}

static void visit_view(struct walk *walk, const ViewStmt *view) {
    note_temporary(walk, view->view);
    (void)walk_add_relation(walk, view->view, ACCESS_DDL, TABLE_CREATED | TABLE_VIEW);
    push_definition(walk, view->query);
}

static void visit_rule(struct walk *walk, const RuleStmt *rule) {
    (void)walk_add_relation(walk, rule->relation, ACCESS_DDL, 0);
    push_definition(walk, rule->whereClause);
    bool outer = walk->read_only;
    walk->read_only = true;
    for (int i = 0; i < list_length(rule->actions); i++) {
        const Node *action = list_nth(rule->actions, i);
        if (action && walk_is_query(action))
            push_definition(walk, action);
        else if (action && nodeTag(action) != T_NotifyStmt)
            walk_give_up(walk, "a rule's action that is not known here", (int)nodeTag(action));
    }
    walk->read_only = outer;
}

static void visit_trigger(struct walk *walk, const CreateTrigStmt *trigger) {
    (void)walk_add_relation(walk, trigger->relation, ACCESS_DDL, 0);
    if (trigger->constrrel)
        (void)walk_add_relation(walk, trigger->constrrel, ACCESS_READ, 0);
    push_definition(walk, trigger->whenClause);
}

static void visit_statistics(struct walk *walk, const CreateStatsStmt *statistics) {
    for (int i = 0; i < list_length(statistics->relations); i++) {
        const Node *relation = list_nth(statistics->relations, i);
        if (nodeTag(relation) == T_RangeVar)
            (void)walk_add_relation(walk, (const RangeVar *)relation, ACCESS_DDL, 0);
        else
            push_definition(walk, relation);
    }
    for (int i = 0; i < list_length(statistics->exprs); i++)
        push_definition(walk, ((const StatsElem *)list_nth(statistics->exprs, i))->expr);
}

/* CREATE or ALTER SEQUENCE … OWNED BY table.column */
static void visit_sequence(struct walk *walk, const RangeVar *sequence, const List *options,
                           unsigned flags) {
    note_temporary(walk, sequence);
    (void)walk_add_relation(walk, sequence, ACCESS_DDL, flags | TABLE_SEQUENCE);
    for (int i = 0; i < list_length(options); i++) {
        const DefElem *option = list_nth(options, i);
        if (strcmp(option->defname, "owned_by") != 0 || !option->arg ||
            nodeTag(option->arg) != T_List)
            continue;
        const List *owner = (const List *)option->arg;
        if (list_length(owner) > 1) /* else NONE */
            (void)walk_add_name(walk, owner, list_length(owner) - 1, ACCESS_DDL, 0);
    }
}

static void visit_policy(struct walk *walk, const RangeVar *table, const Node *qual,
                         const Node *check) {
    (void)walk_add_relation(walk, table, ACCESS_DDL, 0);
    push_definition(walk, qual);
    push_definition(walk, check);
}

static void visit_publication(struct walk *walk, const List *objects) {
    for (int i = 0; i < list_length(objects); i++) {
        const PublicationObjSpec *object = list_nth(objects, i);
        if (!object->pubtable)
            continue;
        (void)walk_add_relation(walk, object->pubtable->relation, ACCESS_DDL, 0);
        push_definition(walk, object->pubtable->whereClause);
    }
}

static void visit_schema(struct walk *walk, const CreateSchemaStmt *schema) {
    for (int i = 0; i < list_length(schema->schemaElts); i++)
        walk_statement(walk, list_nth(schema->schemaElts, i));
    walk->statement->kind = KIND_DDL;
}

static void visit_import(struct walk *walk, const ImportForeignSchemaStmt *import) {
    if (import->list_type == FDW_IMPORT_SCHEMA_LIMIT_TO)
        for (int i = 0; i < list_length(import->table_list); i++)
            (void)walk_add_relation(walk, list_nth(import->table_list, i), ACCESS_DDL,
                                    TABLE_CREATED);
}

static void visit_domain(struct walk *walk, const CreateDomainStmt *domain) {
    walk_add_type(walk, domain->typeName, -1);
    walk_ddl_list(walk, domain->constraints, NULL, -1);
}

static void visit_reindex(struct walk *walk, const ReindexStmt *reindex) {
    if (reindex->relation)
        walk_relation_of_type(walk, reindex->relation,
                              reindex->kind == REINDEX_OBJECT_INDEX ? OBJECT_INDEX : OBJECT_TABLE,
                              0);
    else
        walk->statement->flags |= STATEMENT_NO_BLOCK;
    for (int i = 0; i < list_length(reindex->params); i++)
        if (strcmp(((const DefElem *)list_nth(reindex->params, i))->defname, "concurrently") == 0)
            walk->statement->flags |= STATEMENT_NO_BLOCK;
}

/* Statements about tables. */
static bool visit_table_ddl(struct walk *walk, const Node *node) {
    switch (nodeTag(node)) {
    case T_CreateStmt:
        visit_create_table(walk, (const CreateStmt *)node);
        return true;
    case T_CreateForeignTableStmt:
        visit_create_table(walk, &((const CreateForeignTableStmt *)node)->base);
        return true;
    case T_AlterTableStmt:
        visit_alter_table(walk, (const AlterTableStmt *)node);
        return true;
    case T_IndexStmt:
        visit_index(walk, (const IndexStmt *)node);
        return true;
    case T_ViewStmt:
        visit_view(walk, (const ViewStmt *)node);
        return true;
    case T_RefreshMatViewStmt:
        (void)walk_add_relation(walk, ((const RefreshMatViewStmt *)node)->relation, ACCESS_DDL, 0);
        return true;
    case T_RuleStmt:
        visit_rule(walk, (const RuleStmt *)node);
        return true;
    case T_CreateTrigStmt:
        visit_trigger(walk, (const CreateTrigStmt *)node);
        return true;
    case T_CreateStatsStmt:
        visit_statistics(walk, (const CreateStatsStmt *)node);
        return true;
    case T_CreateSeqStmt:
        visit_sequence(walk, ((const CreateSeqStmt *)node)->sequence,
                       ((const CreateSeqStmt *)node)->options, TABLE_CREATED);
        return true;
    case T_AlterSeqStmt:
        visit_sequence(walk, ((const AlterSeqStmt *)node)->sequence,
                       ((const AlterSeqStmt *)node)->options, 0);
        return true;
    case T_ReindexStmt:
        visit_reindex(walk, (const ReindexStmt *)node);
        return true;
    default:
        return false;
    }
}

/* Other objects whose definition may name tables. */
static bool visit_other_ddl(struct walk *walk, const Node *node) {
    switch (nodeTag(node)) {
    case T_CreatePolicyStmt:
        visit_policy(walk, ((const CreatePolicyStmt *)node)->table,
                     ((const CreatePolicyStmt *)node)->qual,
                     ((const CreatePolicyStmt *)node)->with_check);
        return true;
    case T_AlterPolicyStmt:
        visit_policy(walk, ((const AlterPolicyStmt *)node)->table,
                     ((const AlterPolicyStmt *)node)->qual,
                     ((const AlterPolicyStmt *)node)->with_check);
        return true;
    case T_CreatePublicationStmt:
        visit_publication(walk, ((const CreatePublicationStmt *)node)->pubobjects);
        return true;
    case T_AlterPublicationStmt:
        visit_publication(walk, ((const AlterPublicationStmt *)node)->pubobjects);
        return true;
    case T_CreateSchemaStmt:
        visit_schema(walk, (const CreateSchemaStmt *)node);
        return true;
    case T_ImportForeignSchemaStmt:
        visit_import(walk, (const ImportForeignSchemaStmt *)node);
        return true;
    case T_CreateDomainStmt:
        visit_domain(walk, (const CreateDomainStmt *)node);
        return true;
    case T_AlterDomainStmt: {
        const Node *definition = ((const AlterDomainStmt *)node)->def;
        if (definition && nodeTag(definition) == T_Constraint)
            visit_constraint(walk, (const Constraint *)definition, -1);
        else if (definition)
            push_definition(walk, definition);
        return true;
    }
    case T_CompositeTypeStmt:
        walk_ddl_list(walk, ((const CompositeTypeStmt *)node)->coldeflist, NULL, -1);
        return true;
    case T_CreateFunctionStmt:
        walk_create_function(walk, (const CreateFunctionStmt *)node);
        return true;
    default:
        return false;
    }
}

bool walk_ddl(struct walk *walk, const Node *node) {
    enum statement_kind outer = walk->statement->kind;
    walk->statement->kind = KIND_DDL;
    if (visit_table_ddl(walk, node) || visit_other_ddl(walk, node))
        return true;
    walk->statement->kind = outer;
    return false;
}
