#include "routing/walk.h"

/* Types by which statements name functions, casts, operators and the like: as a table's row type,
 * each may be a table. */
void walk_node_types(struct walk *walk, const Node *node) {
    if (!node) /* NONE, as an operator's argument */
        return;
    switch (nodeTag(node)) {
    case T_List:
        for (int i = 0; i < list_length((const List *)node); i++)
            walk_node_types(walk, list_nth((const List *)node, i));
        break;
    case T_TypeName:
        walk_add_type(walk, (const TypeName *)node, -1);
        break;
    case T_ObjectWithArgs:
        walk_node_types(walk, (const Node *)((const ObjectWithArgs *)node)->objargs);
        walk_node_types(walk, (const Node *)((const ObjectWithArgs *)node)->objfuncargs);
        break;
    case T_FunctionParameter:
        walk_add_type(walk, ((const FunctionParameter *)node)->argType, -1);
        break;
    case T_DefElem:
        walk_node_types(walk, ((const DefElem *)node)->arg);
        break;
    case T_CreateOpClassItem:
        walk_node_types(walk, (const Node *)((const CreateOpClassItem *)node)->name);
        walk_node_types(walk, (const Node *)((const CreateOpClassItem *)node)->class_args);
        walk_add_type(walk, ((const CreateOpClassItem *)node)->storedtype, -1);
        break;
    default:
        break;
    }
}

static void visit_cast(struct walk *walk, const CreateCastStmt *cast) {
    walk_add_type(walk, cast->sourcetype, -1);
    walk_add_type(walk, cast->targettype, -1);
    walk_node_types(walk, (const Node *)cast->func);
}

static void visit_transform(struct walk *walk, const CreateTransformStmt *transform) {
    walk_add_type(walk, transform->type_name, -1);
    walk_node_types(walk, (const Node *)transform->fromsql);
    walk_node_types(walk, (const Node *)transform->tosql);
}

void walk_plain_types(struct walk *walk, const Node *node) {
    switch (nodeTag(node)) {
    case T_AlterFunctionStmt:
        walk_node_types(walk, (const Node *)((const AlterFunctionStmt *)node)->func);
        break;
    case T_AlterOperatorStmt:
        walk_node_types(walk, (const Node *)((const AlterOperatorStmt *)node)->opername);
        walk_node_types(walk, (const Node *)((const AlterOperatorStmt *)node)->options);
        break;
    case T_AlterOpFamilyStmt:
        walk_node_types(walk, (const Node *)((const AlterOpFamilyStmt *)node)->items);
        break;
    case T_AlterTypeStmt:
        walk_node_types(walk, (const Node *)((const AlterTypeStmt *)node)->options);
        break;
    case T_CreateOpClassStmt:
        walk_add_type(walk, ((const CreateOpClassStmt *)node)->datatype, -1);
        walk_node_types(walk, (const Node *)((const CreateOpClassStmt *)node)->items);
        break;
    case T_CreateCastStmt:
        visit_cast(walk, (const CreateCastStmt *)node);
        break;
    case T_CreateTransformStmt:
        visit_transform(walk, (const CreateTransformStmt *)node);
        break;
    case T_CreateRangeStmt:
        walk_node_types(walk, (const Node *)((const CreateRangeStmt *)node)->params);
        break;
    case T_DefineStmt:
        walk_node_types(walk, (const Node *)((const DefineStmt *)node)->args);
        walk_node_types(walk, (const Node *)((const DefineStmt *)node)->definition);
        break;
    default:
        break;
    }
}
