#include "routing/unparsed.h"

#include "routing/lexer.h"
#include "routing/walk.h"

#include <limits.h>
#include <stdlib.h>

enum { IDENTIFIERS_MAX = 100000, STRINGS_MAX = 10000 };

static int place_of(const struct token *token) {
    return token->start < INT_MAX ? (int)token->start : -1;
}

static bool brings_code(const char *name) {
    static const char *const words[] = {"do", "function", "language", "procedure"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(name, words[i]) == 0)
            return true;
    return false;
}

/* What the strings of the text may be: 0 or a table's flags. */
static unsigned collect_identifiers(const struct reading *reading, struct collector *out) {
    unsigned strings = 0;
    struct lexer lexer;
    lexer_init(&lexer, reading->text, reading->length,
               reading->lexing->standard_conforming_strings);
    struct token token;
    char name[LEXER_NAME_MAX + 1];
    bool unique = false; /* that reserved word stands before: KEYS behind it is one, too */
    for (lexer_next(&lexer, &token); token.kind != TOKEN_END; lexer_next(&lexer, &token)) {
        if (token.kind == TOKEN_LINE_COMMENT || token.kind == TOKEN_BLOCK_COMMENT)
            continue;
        bool named = lexer_name_escaped(&lexer, &token, name) > 0;
        bool word = token.kind == TOKEN_IDENTIFIER;
        bool keys = unique && word && strcmp(name, "keys") == 0;
        unique = word && strcmp(name, "unique") == 0;
        if (keys || !named)
            continue;
        (void)collector_add_table(out, NULL, name, ACCESS_WRITE, 0, place_of(&token));
        if (brings_code(name))
            strings |= TABLE_IN_BODY;
        else if (walk_takes_names(name))
            strings |= TABLE_NAMED_IN_STRING;
        if (out->table_count >= IDENTIFIERS_MAX)
            break;
    }
    return strings;
}

/* The string's value, by the parser, which knows every way of writing it; NULL: it has none. */
static const char *string_value(const struct reading *reading, const struct lexer *behind,
                                const struct token *token) {
    static const char select[] = "SELECT ";
    char escape;
    size_t end = lexer_uescape(behind, &escape);
    if (end == 0 || (reading->text[token->start] | 0x20) != 'u')
        end = token->end;
    size_t prefix = sizeof select - 1, length = end - token->start;
    char *text = arena_alloc(reading->scratch, prefix + length + 1);
    memcpy(text, select, prefix);
    memcpy(text + prefix, reading->text + token->start, length);
    text[prefix + length] = '\0';
    const List *statements;
    char *message;
    bool read =
        parse_text(text, reading->lexing->standard_conforming_strings, &statements, &message);
    free(message);
    if (!read || list_length(statements) != 1)
        return NULL;
    const Node *query = ((const RawStmt *)linitial(statements))->stmt;
    const ResTarget *target = linitial(((const SelectStmt *)query)->targetList);
    if (nodeTag(target->val) != T_A_Const)
        return NULL;
    const A_Const *constant = (const A_Const *)target->val;
    return nodeTag(&constant->val) == T_String ? constant->val.sval.sval : NULL;
}

static void collect_string(const struct reading *reading, const char *text, unsigned flags,
                           int place, struct collector *out) {
    struct lexer lexer;
    lexer_init(&lexer, text, strlen(text), reading->lexing->standard_conforming_strings);
    struct token token;
    char name[LEXER_NAME_MAX + 1];
    for (lexer_next(&lexer, &token); token.kind != TOKEN_END; lexer_next(&lexer, &token))
        if (lexer_name_escaped(&lexer, &token, name) > 0 && out->table_count < IDENTIFIERS_MAX)
            (void)collector_add_table(
                out, NULL, name, flags & TABLE_IN_BODY ? ACCESS_WRITE : ACCESS_READ, flags, place);
}

static void collect_strings(const struct reading *reading, unsigned flags, struct collector *out) {
    struct lexer lexer;
    lexer_init(&lexer, reading->text, reading->length,
               reading->lexing->standard_conforming_strings);
    struct token token;
    size_t count = 0;
    for (lexer_next(&lexer, &token); token.kind != TOKEN_END; lexer_next(&lexer, &token)) {
        if ((token.kind != TOKEN_STRING && token.kind != TOKEN_DOLLAR_STRING) ||
            token.unterminated || count++ >= STRINGS_MAX)
            continue;
        const char *text = string_value(reading, &lexer, &token);
        if (text)
            collect_string(reading, text, flags, place_of(&token), out);
    }
}

void unparsed_collect(const struct reading *reading, struct collector *out) {
    unsigned strings = collect_identifiers(reading, out);
    if (strings == 0 || reading->prescan.refused || reading->length >= INT_MAX)
        return;
    struct parse parse;
    parse_enter(&parse);
    collect_strings(reading, strings & TABLE_IN_BODY ? TABLE_IN_BODY : TABLE_NAMED_IN_STRING, out);
    parse_leave(&parse);
}
