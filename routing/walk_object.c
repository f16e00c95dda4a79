#include "routing/walk.h"

void walk_relation_of_type(struct walk *walk, const RangeVar *relation, ObjectType type,
                           unsigned flags) {
    if (type == OBJECT_INDEX)
        flags |= TABLE_OTHER_OBJECT | TABLE_INDEX;
    if (type == OBJECT_TYPE)
        flags |= TABLE_OTHER_OBJECT;
    if (type == OBJECT_SEQUENCE)
        flags |= TABLE_SEQUENCE;
    (void)walk_add_relation(walk, relation, ACCESS_DDL, flags);
}

static void add_names(struct walk *walk, const Node *object, int without, unsigned flags) {
    if (nodeTag(object) == T_List)
        (void)walk_add_name(walk, (const List *)object, list_length((const List *)object) - without,
                            ACCESS_DDL, flags);
}

/* An object as DROP and COMMENT name it. */
static void add_object(struct walk *walk, ObjectType type, const Node *object, unsigned flags) {
    if (!object)
        return;
    walk_node_types(walk, object);
    switch (type) {
    case OBJECT_TABLE:
    case OBJECT_VIEW:
    case OBJECT_MATVIEW:
    case OBJECT_FOREIGN_TABLE:
        add_names(walk, object, 0, flags);
        break;
    case OBJECT_SEQUENCE:
        add_names(walk, object, 0, flags | TABLE_SEQUENCE);
        break;
    case OBJECT_COLUMN: /* what stands on a table: its name comes last */
    case OBJECT_TABCONSTRAINT:
    case OBJECT_TRIGGER:
    case OBJECT_RULE:
    case OBJECT_POLICY:
        add_names(walk, object, 1, 0);
        break;
    case OBJECT_INDEX:
        add_names(walk, object, 0, TABLE_OTHER_OBJECT | TABLE_INDEX);
        break;
    case OBJECT_STATISTIC_EXT:
        add_names(walk, object, 0, TABLE_OTHER_OBJECT | TABLE_STATISTICS);
        break;
    case OBJECT_COLLATION:
    case OBJECT_CONVERSION:
    case OBJECT_TSCONFIGURATION:
    case OBJECT_TSDICTIONARY:
        add_names(walk, object, 0, TABLE_OTHER_OBJECT);
        break;
    case OBJECT_FUNCTION:
    case OBJECT_PROCEDURE:
    case OBJECT_ROUTINE:
    case OBJECT_AGGREGATE:
        if (nodeTag(object) == T_ObjectWithArgs)
            add_names(walk, (const Node *)((const ObjectWithArgs *)object)->objname, 0,
                      TABLE_OTHER_OBJECT);
        break;
    default: /* roles, schemas, extensions, casts, …: no relation, and none that a relation's name
                could tell; types, which are looked at above */
        break;
    }
}

static void visit_drop(struct walk *walk, const DropStmt *drop) {
    if (drop->concurrent)
        walk->statement->flags |= STATEMENT_NO_BLOCK;
    for (int i = 0; i < list_length(drop->objects); i++)
        add_object(walk, drop->removeType, list_nth(drop->objects, i), TABLE_DROPPED);
}

static bool has_table_name(ObjectType type) {
    return type == OBJECT_TABLE || type == OBJECT_VIEW || type == OBJECT_MATVIEW ||
           type == OBJECT_FOREIGN_TABLE || type == OBJECT_SEQUENCE;
}

static void visit_rename(struct walk *walk, const RenameStmt *rename) {
    if (!rename->relation) {
        add_object(walk, rename->renameType, rename->object, 0);
        return;
    }
    ObjectType type = rename->renameType;
    if (type == OBJECT_ATTRIBUTE)
        type = OBJECT_TYPE;
    walk_relation_of_type(walk, rename->relation, type, 0);
    if (!has_table_name(type) || !rename->newname)
        return;
    unsigned flags = TABLE_CREATED | TABLE_RENAMED | walk->table_flags;
    if (type == OBJECT_SEQUENCE || walk_is_sequence_name(rename->newname))
        flags |= TABLE_SEQUENCE;
    (void)collector_add_table(walk->out, rename->relation->schemaname, rename->newname, ACCESS_DDL,
                              flags, walk_position(walk, -1));
}

static void visit_grant(struct walk *walk, const GrantStmt *grant) {
    walk_node_types(walk, (const Node *)grant->objects);
    for (int i = 0; grant->objtype == OBJECT_TYPE && i < list_length(grant->objects); i++) {
        const List *names = list_nth(grant->objects, i);
        (void)walk_add_name(walk, names, list_length(names), ACCESS_READ, TABLE_TYPE);
    }
    if (grant->targtype != ACL_TARGET_OBJECT ||
        (grant->objtype != OBJECT_TABLE && grant->objtype != OBJECT_SEQUENCE))
        return;
    for (int i = 0; i < list_length(grant->objects); i++)
        walk_relation_of_type(walk, list_nth(grant->objects, i), grant->objtype, 0);
}

static void visit_relation_or_object(struct walk *walk, const RangeVar *relation, ObjectType type,
                                     const Node *object) {
    if (relation)
        walk_relation_of_type(walk, relation, type, 0);
    else
        add_object(walk, type, object, 0);
}

/* Statements about databases, roles, types, languages and the like: no relation is named in them.
 */
static bool is_plain(const Node *node) {
    switch (nodeTag(node)) {
    case T_AlterCollationStmt:
    case T_AlterDatabaseSetStmt:
    case T_AlterDatabaseRefreshCollStmt:
    case T_AlterDefaultPrivilegesStmt:
    case T_AlterEnumStmt:
    case T_AlterEventTrigStmt:
    case T_AlterExtensionStmt:
    case T_AlterFdwStmt:
    case T_AlterForeignServerStmt:
    case T_AlterFunctionStmt:
    case T_AlterOpFamilyStmt:
    case T_AlterOperatorStmt:
    case T_AlterRoleSetStmt:
    case T_AlterRoleStmt:
    case T_AlterTSConfigurationStmt:
    case T_AlterTSDictionaryStmt:
    case T_AlterTableMoveAllStmt:
    case T_AlterTableSpaceOptionsStmt:
    case T_AlterTypeStmt:
    case T_AlterUserMappingStmt:
    case T_CreateAmStmt:
    case T_CreateCastStmt:
    case T_CreateConversionStmt:
    case T_CreateEnumStmt:
    case T_CreateEventTrigStmt:
    case T_CreateExtensionStmt:
    case T_CreateFdwStmt:
    case T_CreateForeignServerStmt:
    case T_CreateOpClassStmt:
    case T_CreateOpFamilyStmt:
    case T_CreatePLangStmt:
    case T_CreateRangeStmt:
    case T_CreateRoleStmt:
    case T_CreateTransformStmt:
    case T_CreateUserMappingStmt:
    case T_DefineStmt:
    case T_DropOwnedStmt:
    case T_DropRoleStmt:
    case T_DropUserMappingStmt:
    case T_GrantRoleStmt:
    case T_ReassignOwnedStmt:
        return true;
    default:
        return false;
    }
}

/* The same, but not inside a transaction block. */
static bool is_plain_outside_block(const Node *node) {
    switch (nodeTag(node)) {
    case T_AlterDatabaseStmt:
    case T_AlterSubscriptionStmt:
    case T_AlterSystemStmt:
    case T_CreateSubscriptionStmt:
    case T_CreateTableSpaceStmt:
    case T_CreatedbStmt:
    case T_DropSubscriptionStmt:
    case T_DropTableSpaceStmt:
    case T_DropdbStmt:
        return true;
    default:
        return false;
    }
}

static bool visit_object_statement(struct walk *walk, const Node *node) {
    switch (nodeTag(node)) {
    case T_DropStmt:
        visit_drop(walk, (const DropStmt *)node);
        return true;
    case T_CommentStmt:
        add_object(walk, ((const CommentStmt *)node)->objtype, ((const CommentStmt *)node)->object,
                   0);
        return true;
    case T_SecLabelStmt:
        add_object(walk, ((const SecLabelStmt *)node)->objtype,
                   ((const SecLabelStmt *)node)->object, 0);
        return true;
    case T_RenameStmt:
        visit_rename(walk, (const RenameStmt *)node);
        return true;
    case T_AlterObjectSchemaStmt:
        visit_relation_or_object(walk, ((const AlterObjectSchemaStmt *)node)->relation,
                                 ((const AlterObjectSchemaStmt *)node)->objectType,
                                 ((const AlterObjectSchemaStmt *)node)->object);
        return true;
    case T_AlterObjectDependsStmt:
        visit_relation_or_object(walk, ((const AlterObjectDependsStmt *)node)->relation,
                                 ((const AlterObjectDependsStmt *)node)->objectType,
                                 ((const AlterObjectDependsStmt *)node)->object);
        return true;
    case T_AlterOwnerStmt:
        visit_relation_or_object(walk, ((const AlterOwnerStmt *)node)->relation,
                                 ((const AlterOwnerStmt *)node)->objectType,
                                 ((const AlterOwnerStmt *)node)->object);
        return true;
    case T_AlterExtensionContentsStmt:
        add_object(walk, ((const AlterExtensionContentsStmt *)node)->objtype,
                   ((const AlterExtensionContentsStmt *)node)->object, 0);
        return true;
    case T_AlterStatsStmt:
        add_object(walk, OBJECT_STATISTIC_EXT,
                   (const Node *)((const AlterStatsStmt *)node)->defnames, 0);
        return true;
    case T_GrantStmt:
        visit_grant(walk, (const GrantStmt *)node);
        return true;
    default:
        return false;
    }
}

bool walk_object_statement(struct walk *walk, const Node *node) {
    bool outside = is_plain_outside_block(node);
    if (!outside && !is_plain(node) && !visit_object_statement(walk, node))
        return false;
    walk_plain_types(walk, node);
    walk->statement->kind = KIND_DDL;
    if (outside)
        walk->statement->flags |= STATEMENT_NO_BLOCK;
    if (nodeTag(node) == T_AlterRoleSetStmt || nodeTag(node) == T_AlterDatabaseSetStmt)
        walk->statement->flags |= STATEMENT_ALTERS_DEFAULTS;
    return true;
}
