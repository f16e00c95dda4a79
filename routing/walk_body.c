#include "routing/walk.h"

#include "routing/lexer.h"
#include "routing/prescan.h"

#include <limits.h>
#include <stdlib.h>

/* Where a string's contents stand in the text: exactly, where it is dollar-quoted. */
struct body {
    const char *text;
    int position;
    bool fixed;
};

/* Identifiers of code that could not be read: they count only if they are classified names. */
void walk_identifiers(struct walk *walk, const char *text, size_t length, enum access access,
                      unsigned flags) {
    struct lexer lexer;
    lexer_init(&lexer, text, length, walk->standard_conforming_strings);
    struct token token;
    char name[LEXER_NAME_MAX + 1];
    for (lexer_next(&lexer, &token); token.kind != TOKEN_END; lexer_next(&lexer, &token))
        if (lexer_name(text, &token, name) > 0)
            (void)collector_add_table(
                walk->out, NULL, name, access, flags | walk->table_flags,
                walk_position(walk, token.start < INT_MAX ? (int)token.start : -1));
}

/* What belongs to the place in the tree, set aside while a body is walked. */
struct aside {
    struct item *items;
    size_t item_count, item_capacity;
    unsigned table_flags;
    int position_base;
    bool position_fixed;
    enum statement_kind kind, inner_kind;
    const char *name, *value;
    unsigned flags;
};

static struct aside set_aside(struct walk *walk, int position, bool fixed) {
    const struct statement_facts *statement = walk->statement;
    struct aside aside = {
        .items = walk->items,
        .item_count = walk->item_count,
        .item_capacity = walk->item_capacity,
        .table_flags = walk->table_flags,
        .position_base = walk->position_base,
        .position_fixed = walk->position_fixed,
        .kind = statement->kind,
        .inner_kind = statement->inner_kind,
        .name = statement->name,
        .value = statement->value,
        .flags = statement->flags,
    };
    walk->items = NULL;
    walk->item_count = 0;
    walk->item_capacity = 0;
    walk->table_flags |= TABLE_IN_BODY;
    walk->position_base = position;
    walk->position_fixed = fixed;
    walk->body_depth++;
    return aside;
}

static void resume(struct walk *walk, const struct aside *aside) {
    static const unsigned from_bodies =
        STATEMENT_SHARED_KEY | STATEMENT_SET_CONFIG | STATEMENT_DYNAMIC | STATEMENT_CALLS_FUNCTIONS;
    struct statement_facts *statement = walk->statement;
    walk->items = aside->items;
    walk->item_count = aside->item_count;
    walk->item_capacity = aside->item_capacity;
    walk->table_flags = aside->table_flags;
    walk->position_base = aside->position_base;
    walk->position_fixed = aside->position_fixed;
    walk->body_depth--;
    statement->kind = aside->kind;
    statement->inner_kind = aside->inner_kind;
    statement->name = aside->name;
    statement->value = aside->value;
    statement->flags = aside->flags | (statement->flags & from_bodies);
}

/* Statements in a string. What cannot be read leaves its identifiers. */
void walk_sql_body(struct walk *walk, const char *text, int position, bool fixed) {
    struct aside aside = set_aside(walk, position, fixed);
    size_t length = strlen(text);
    struct prescan prescan;
    struct error error;
    struct lexing lexing = {.standard_conforming_strings = walk->standard_conforming_strings};
    const List *statements = NULL;
    char *message = NULL;
    bool read = walk->body_depth <= WALK_BODIES_MAX &&
                prescan_text(text, length, &lexing, false, walk->scratch, &prescan, &error) &&
                !prescan.refused &&
                parse_text(prescan.text, walk->standard_conforming_strings, &statements, &message);
    free(message);
    if (!read)
        walk_identifiers(walk, text, length, ACCESS_WRITE, TABLE_TYPE);
    for (int i = 0; read && i < list_length(statements); i++)
        walk_statement(walk, ((const RawStmt *)list_nth(statements, i))->stmt);
    resume(walk, &aside);
}

void walk_plpgsql(struct walk *walk, const char *text, int position, bool fixed) {
    struct aside aside = set_aside(walk, position, fixed);
    walk_identifiers(walk, text, strlen(text), ACCESS_WRITE, TABLE_TYPE);
    resume(walk, &aside);
}

static struct body body_of(const struct walk *walk, const String *string, int location) {
    (void)walk;
    return (struct body){.text = string->sval, .position = location, .fixed = true};
}

static void walk_language(struct walk *walk, const char *language, const struct body *body) {
    if (strcmp(language, "sql") == 0)
        walk_sql_body(walk, body->text, body->position, body->fixed);
    else if (strcmp(language, "plpgsql") == 0)
        walk_plpgsql(walk, body->text, body->position, body->fixed);
    else
        walk->statement->flags |= STATEMENT_DYNAMIC;
}

void walk_do(struct walk *walk, const DoStmt *statement) {
    const char *language = "plpgsql";
    struct body body = {NULL, -1, true};
    for (int i = 0; i < list_length(statement->args); i++) {
        const DefElem *option = list_nth(statement->args, i);
        if (strcmp(option->defname, "language") == 0)
            language = strVal(option->arg);
        else if (strcmp(option->defname, "as") == 0)
            body = body_of(walk, (const String *)option->arg, option->location);
    }
    if (body.text)
        walk_language(walk, language, &body);
}

static void walk_parameters(struct walk *walk, const CreateFunctionStmt *statement) {
    for (int i = 0; i < list_length(statement->parameters); i++) {
        const FunctionParameter *parameter = list_nth(statement->parameters, i);
        walk_add_type(walk, parameter->argType, -1);
        walk_push(walk, parameter->defexpr, NULL);
    }
    walk_add_type(walk, statement->returnType, -1);
    walk_run(walk);
}

/* BEGIN ATOMIC: a list of lists of statements; or one RETURN. */
static void walk_atomic_body(struct walk *walk, const Node *body) {
    if (nodeTag(body) != T_List) {
        walk_statement(walk, body);
        return;
    }
    for (int i = 0; i < list_length((const List *)body); i++) {
        const Node *part = list_nth((const List *)body, i);
        if (part)
            walk_atomic_body(walk, part);
    }
}

void walk_create_function(struct walk *walk, const CreateFunctionStmt *statement) {
    const char *language = statement->sql_body ? "sql" : "";
    struct body body = {NULL, -1, true};
    for (int i = 0; i < list_length(statement->options); i++) {
        const DefElem *option = list_nth(statement->options, i);
        if (strcmp(option->defname, "language") == 0)
            language = strVal(option->arg);
        else if (strcmp(option->defname, "as") == 0 && list_length((const List *)option->arg) == 1)
            body = body_of(walk, linitial((const List *)option->arg), option->location);
    }
    walk_parameters(walk, statement);
    if (body.text)
        walk_language(walk, language, &body);
    if (statement->sql_body) {
        struct aside aside = set_aside(walk, walk->position_base, walk->position_fixed);
        walk_atomic_body(walk, statement->sql_body);
        resume(walk, &aside);
    }
}
