/* Any bytes as a query text: facts must come out whole, and the lexer must cut statements where the
 * parser does. The first byte says how strings are read. */
#include "routing/facts.h"
#include "routing/lexer.h"

#include <stdlib.h>
#include <string.h>

static void require(bool condition) {
    if (!condition)
        abort();
}

static void check_statement(const struct statement_facts *statement, size_t length) {
    require(statement->start <= length && statement->length <= length - statement->start);
    require((unsigned)statement->kind < KIND_COUNT);
    for (size_t i = 0; i < statement->table_count; i++) {
        const struct table_facts *table = &statement->tables[i];
        require(table->name && table->position >= -1 && table->position < (int)length);
        require(strlen(table->name) <= LEXER_NAME_MAX);
    }
    for (size_t i = 0; i < statement->foreign_key_count; i++) {
        const struct foreign_key_facts *key = &statement->foreign_keys[i];
        require(key->from >= 0 && (size_t)key->from < statement->table_count);
        require(key->to >= 0 && (size_t)key->to < statement->table_count);
    }
    for (size_t i = 0; i < statement->function_count; i++)
        require(statement->functions[i] && *statement->functions[i]);
    for (size_t i = 0; i < statement->literal_count; i++)
        require(statement->literals[i]);
}

/* Every statement but the first begins behind a semicolon that the lexer knows as one. */
static void check_cuts(const struct query_facts *facts, const char *text, size_t length,
                       bool conforming) {
    struct lexer lexer;
    struct token token;
    lexer_init(&lexer, text, length, conforming);
    size_t next = 1;
    for (lexer_next(&lexer, &token); token.kind != TOKEN_END && next < facts->count;
         lexer_next(&lexer, &token)) {
        if (token.kind != TOKEN_SEMICOLON)
            continue;
        size_t start = token.end;
        while (start < length && lexer_is_space(text[start]))
            start++;
        if (facts->statements[next].start == start)
            next++;
    }
    require(next >= facts->count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    struct lexing lexing = {.standard_conforming_strings = data[0] != '\\'};
    size_t length = size - 1;
    char *text = malloc(length + 1);
    if (!text)
        return 0;
    memcpy(text, data + 1, length);
    text[length] = '\0';
    struct query_facts facts;
    struct error error;
    if (facts_parse(text, length, &lexing, false, &facts, &error)) {
        for (size_t i = 0; i < facts.count; i++)
            check_statement(&facts.statements[i], length);
        if (facts.count > 0 && facts.statements[0].kind != KIND_UNPARSED)
            check_cuts(&facts, text, length, lexing.standard_conforming_strings);
        facts_close(&facts);
    } else {
        require(error.text[0] != '\0');
    }
    free(text);
    return 0;
}
