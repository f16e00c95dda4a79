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

void walk_identifiers(struct walk *walk, const char *text, size_t length, enum access access,
                      unsigned flags) {
    struct lexer lexer;
    lexer_init(&lexer, text, length, walk->standard_conforming_strings);
    struct token token;
    char name[LEXER_NAME_MAX + 1];
    for (lexer_next(&lexer, &token); token.kind != TOKEN_END; lexer_next(&lexer, &token))
        if (lexer_name_escaped(&lexer, &token, name) > 0)
            (void)collector_add_table(
                walk->out, NULL, name, access, flags | walk->table_flags,
                walk_position(walk, token.start < INT_MAX ? (int)token.start : -1));
}

/* What belongs to the place in the tree, set aside while a body is walked. */
struct aside {
    const char *text;
    size_t text_length;
    struct item *items;
    size_t item_count, item_capacity;
    unsigned table_flags;
    int position_base;
    bool position_fixed;
    enum statement_kind kind, inner_kind;
    const char *name, *value;
    unsigned flags;
};

static struct aside set_aside(struct walk *walk, const char *text, int position, bool fixed) {
    const struct statement_facts *statement = walk->statement;
    struct aside aside = {
        .text = walk->text,
        .text_length = walk->text_length,
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
    walk->text = text;
    walk->text_length = strlen(text);
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
    static const unsigned from_bodies = STATEMENT_SHARED_KEY | STATEMENT_LASTVAL |
                                        STATEMENT_SET_CONFIG | STATEMENT_DYNAMIC |
                                        STATEMENT_CALLS_FUNCTIONS | STATEMENT_SEED;
    struct statement_facts *statement = walk->statement;
    unsigned kept = aside->kind == KIND_DO ? from_bodies | STATEMENT_MODIFIES_DDL : from_bodies;
    walk->text = aside->text;
    walk->text_length = aside->text_length;
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
    statement->flags = aside->flags | (statement->flags & kept);
}

void walk_sql_body(struct walk *walk, const char *text, int position, bool fixed,
                   enum access otherwise) {
    struct aside aside = set_aside(walk, text, position, fixed);
    size_t length = walk->text_length;
    struct prescan prescan;
    struct error error;
    struct lexing lexing = {.standard_conforming_strings = walk->standard_conforming_strings};
    const List *statements = NULL;
    char *message = NULL;
    bool read = walk->body_depth <= WALK_BODIES_MAX &&
                prescan_text(text, length, &lexing, false, walk->scratch, NULL, &prescan, &error) &&
                !prescan.refused &&
                parse_text(prescan.text, walk->standard_conforming_strings, &statements, &message);
    free(message);
    if (!read)
        walk_identifiers(walk, text, length, otherwise, TABLE_TYPE);
    for (int i = 0; read && i < list_length(statements); i++)
        walk_statement(walk, ((const RawStmt *)list_nth(statements, i))->stmt);
    resume(walk, &aside);
}

static void walk_plpgsql(struct walk *walk, const struct body *body) {
    struct aside aside = set_aside(walk, body->text, body->position, body->fixed);
    if (walk->body_depth <= WALK_BODIES_MAX)
        walk_plpgsql_code(walk, body->text, walk->text_length);
    else
        walk_identifiers(walk, body->text, walk->text_length, ACCESS_WRITE, TABLE_TYPE);
    resume(walk, &aside);
}

/* The string that stands at `location`, or behind the word AS there. Only where it is written as it
 * is, without escapes, do its offsets count on in the text's. */
static struct body body_of(const struct walk *walk, const String *string, int location) {
    struct body body = {
        .text = string->sval, .position = walk_position(walk, location), .fixed = true};
    if (location < 0 || walk->position_fixed)
        return body;
    struct lexer lexer;
    struct token token;
    lexer_init(&lexer, walk->text, walk->text_length, walk->standard_conforming_strings);
    lexer.position = (size_t)location;
    do
        lexer_next(&lexer, &token);
    while (token.kind == TOKEN_IDENTIFIER || token.kind == TOKEN_BLOCK_COMMENT ||
           token.kind == TOKEN_LINE_COMMENT);
    size_t length = strlen(string->sval);
    size_t delimiters = token.end - token.start - length;
    if ((token.kind != TOKEN_STRING && token.kind != TOKEN_DOLLAR_STRING) ||
        token.end - token.start < length || delimiters % 2 != 0)
        return body;
    size_t start = token.start + delimiters / 2;
    if (memcmp(walk->text + start, string->sval, length) != 0)
        return body;
    body.position = walk_position(walk, (int)start);
    body.fixed = false;
    return body;
}

static void walk_language(struct walk *walk, const char *language, const struct body *body) {
    if (strcmp(language, "sql") == 0)
        walk_sql_body(walk, body->text, body->position, body->fixed, ACCESS_WRITE);
    else if (strcmp(language, "plpgsql") == 0)
        walk_plpgsql(walk, body);
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
    if (strcmp(language, "plpgsql") == 0)
        walk->statement->flags |= STATEMENT_LATER;
    if (body.text)
        walk_language(walk, language, &body);
    if (statement->sql_body) {
        struct aside aside = set_aside(walk, walk->text, walk->position_base, walk->position_fixed);
        walk_atomic_body(walk, statement->sql_body);
        resume(walk, &aside);
    }
}
