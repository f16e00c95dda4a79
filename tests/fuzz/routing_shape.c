/* Any bytes as a query text whose decision serves other texts of its shape: with every constant
 * replaced by another, lists of them made longer and comments changed, it must still have that
 * shape and say the same of tables, functions and all else. The first byte says how strings are
 * read, the second which constants take the place of others. Whatever has a shape has the same
 * normalized text as that, in which no constant is left. */
#include "routing/facts.h"
#include "routing/fingerprint.h"
#include "routing/query.h"
#include "routing/shape.h"

#include <stdlib.h>
#include <string.h>

static void require(bool condition) {
    if (!condition)
        abort();
}

struct text {
    char *bytes;
    size_t length, room;
};

static void append(struct text *text, const char *bytes, size_t length) {
    while (text->length + length + 1 > text->room) {
        text->room = text->room > 0 ? text->room * 2 : 256;
        text->bytes = realloc(text->bytes, text->room);
        require(text->bytes != NULL);
    }
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
}

static void append_one_of(struct text *text, const char *const *choices, size_t count,
                          unsigned choice) {
    const char *chosen = choices[choice % count];
    append(text, chosen, strlen(chosen));
}

#define ONE_OF(text, choice, ...)                                                                  \
    append_one_of(text, (const char *const[]){__VA_ARGS__},                                        \
                  sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), choice)

/* Where the grammar wants an integer it wants a small one. */
static bool is_integer(const char *token, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (token[i] < '0' || token[i] > '9')
            return false;
    return length < 10;
}

static void append_constant(struct text *out, const char *text, const struct token *token,
                            unsigned choice) {
    const char *from = text + token->start;
    char first = from[0];
    if (token->kind == TOKEN_NUMBER && is_integer(from, token->end - token->start))
        ONE_OF(out, choice, "1", "12", "007");
    else if (token->kind == TOKEN_NUMBER && first == '.') /* it may follow a name at once */
        ONE_OF(out, choice, ".5", ".001e-3");
    else if (token->kind == TOKEN_NUMBER)
        ONE_OF(out, choice, "0.5", "1e3", "99999999999999999999", "1.");
    else if (token->kind == TOKEN_DOLLAR_STRING)
        ONE_OF(out, choice, "$$ci_builds$$", "$$; $a$ '$$", "$a$ $$ $b$ -- $a$");
    else if (first == '\'')
        ONE_OF(out, choice, "'ci_builds'", "''", "'a''b'", "'a'\n'b'", "'/* '");
    else if (first == 'E' || first == 'e')
        ONE_OF(out, choice, "E'ci_builds'", "e'\\''", "E'a''b'", "E'\\\\'\n'b'");
    else
        ONE_OF((append(out, &first, 1), out), choice, "'01'", "''", "'1'\n'0'");
}

/* Another text of the same shape. */
static struct text vary(const char *text, size_t length, bool conforming, unsigned choice) {
    struct text out = {0};
    struct lexer lexer;
    struct token token;
    size_t from = 0;
    enum token_kind before = TOKEN_END;
    bool listed = false; /* behind a constant and a comma */
    lexer_init(&lexer, text, length, conforming);
    for (lexer_next(&lexer, &token); token.kind != TOKEN_END; lexer_next(&lexer, &token)) {
        bool constant = token.kind == TOKEN_NUMBER || token.kind == TOKEN_STRING ||
                        token.kind == TOKEN_DOLLAR_STRING;
        bool comment = token.kind == TOKEN_BLOCK_COMMENT || token.kind == TOKEN_LINE_COMMENT;
        append(&out, text + from, token.start - from);
        from = token.end;
        choice = choice * 31 + 7;
        if (constant) {
            append_constant(&out, text, &token, choice >> 3);
            if (listed && choice % 2 == 0) {
                append(&out, " , ", 3);
                append_constant(&out, text, &token, choice >> 5);
            }
        } else if (token.kind == TOKEN_LINE_COMMENT) {
            ONE_OF(&out, choice, "--", "-- /* database: x */");
        } else if (comment && !memmem(text + token.start, token.end - token.start, "database", 8) &&
                   !memmem(text + token.start, token.end - token.start, "allow_cross", 11)) {
            ONE_OF(&out, choice, "/**/", "/* a /* b */ */");
        } else {
            append(&out, text + token.start, token.end - token.start);
        }
        if (!comment) {
            bool after =
                before == TOKEN_NUMBER || before == TOKEN_STRING || before == TOKEN_DOLLAR_STRING;
            listed = after && token.kind == TOKEN_PUNCTUATION && text[token.start] == ',';
            before = token.kind;
        }
    }
    append(&out, text + from, length - from);
    return out;
}

static void write_shape_by(const char *text, size_t length, bool conforming, bool skips,
                           struct shape *shape) {
    struct lexer lexer;
    struct token token;
    char *out = malloc(shape_bound(length));
    require(out != NULL);
    shape_begin(shape, out);
    lexer_init(&lexer, text, length, conforming);
    do {
        lexer_next(&lexer, &token);
        shape_add(shape, text, &token);
        if (skips && shape_may_skip_list(shape))
            lexer.position = shape_skip_list(shape, text, length, lexer.position);
        require(shape->length < shape_bound(length));
    } while (token.kind != TOKEN_END);
}

/* The same token by token as with lists passed over. */
static bool write_shape(const char *text, size_t length, bool conforming, struct shape *shape) {
    struct shape skipped;
    write_shape_by(text, length, conforming, false, shape);
    write_shape_by(text, length, conforming, true, &skipped);
    require(skipped.length == shape->length && shape_exists(&skipped) == shape_exists(shape));
    require(memcmp(skipped.out, shape->out, shape->length + 1) == 0);
    free(skipped.out);
    return shape_exists(shape);
}

static bool same(const char *a, const char *b) {
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void require_same_statement(const struct statement_facts *a,
                                   const struct statement_facts *b) {
    require(a->kind == b->kind && a->inner_kind == b->inner_kind && a->flags == b->flags);
    require(same(a->name, b->name) && same(a->value, b->value) &&
            same(a->hint_database, b->hint_database));
    require(a->table_count == b->table_count && a->function_count == b->function_count);
    require(a->foreign_key_count == b->foreign_key_count && a->literal_count == b->literal_count);
    for (size_t i = 0; i < a->table_count; i++) {
        const struct table_facts *x = &a->tables[i], *y = &b->tables[i];
        require(same(x->schema, y->schema) && same(x->name, y->name));
        require(x->access == y->access && x->flags == y->flags);
    }
    for (size_t i = 0; i < a->function_count; i++)
        require(same(a->functions[i], b->functions[i]));
}

static void check_normalized(const char *text, size_t length, const struct lexing *lexing,
                             const struct shape *shape) {
    char *of_text = statement_normalize(text, length, lexing);
    char *of_shape = statement_normalize(shape->out, shape->length, lexing);
    require(strcmp(of_text, of_shape) == 0);
    struct lexer lexer;
    struct token token;
    lexer_init(&lexer, of_text, strlen(of_text), lexing->standard_conforming_strings);
    do {
        lexer_next(&lexer, &token);
        require(token.kind != TOKEN_STRING && token.kind != TOKEN_DOLLAR_STRING);
        require(token.kind != TOKEN_NUMBER && token.kind != TOKEN_PARAMETER);
        require(token.kind != TOKEN_LINE_COMMENT && token.kind != TOKEN_BLOCK_COMMENT);
    } while (token.kind != TOKEN_END);
    free(of_text);
    free(of_shape);
}

static void check_variant(const char *text, size_t length, const struct lexing *lexing,
                          const struct query_facts *facts, const struct shape *shape,
                          unsigned choice) {
    bool conforming = lexing->standard_conforming_strings;
    struct text other = vary(text, length, conforming, choice);
    struct shape other_shape;
    require(write_shape(other.bytes, other.length, conforming, &other_shape));
    require(shape->length == other_shape.length &&
            memcmp(shape->out, other_shape.out, shape->length) == 0);
    check_normalized(other.bytes, other.length, lexing, shape);
    struct query_facts other_facts;
    struct error error;
    require(facts_parse(other.bytes, other.length, lexing, false, &other_facts, &error));
    require(facts->count == other_facts.count && query_has_shape(&other_facts));
    for (size_t i = 0; i < facts->count; i++)
        require_same_statement(&facts->statements[i], &other_facts.statements[i]);
    facts_close(&other_facts);
    free(other_shape.out);
    free(other.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    struct lexing lexing = {.standard_conforming_strings = data[0] != '\\'};
    size_t length = size - 2;
    char *text = malloc(length + 1);
    require(text != NULL);
    memcpy(text, data + 2, length);
    text[length] = '\0';
    struct shape shape = {0};
    struct query_facts facts;
    struct error error;
    if (memchr(text, '\0', length) == NULL &&
        write_shape(text, length, lexing.standard_conforming_strings, &shape)) {
        check_normalized(text, length, &lexing, &shape);
        if (facts_parse(text, length, &lexing, false, &facts, &error)) {
            if (query_has_shape(&facts))
                check_variant(text, length, &lexing, &facts, &shape, data[1]);
            facts_close(&facts);
        }
    }
    free(shape.out);
    free(text);
    return 0;
}
