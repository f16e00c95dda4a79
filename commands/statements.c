#include "commands/statements.h"

#include "routing/lexer.h"

#include <string.h>
#include <strings.h>

/* In a failed block everything but its end is answered with an error by the proxy. */
bool statements_refused_by_block(const struct session_state *session,
                                 const struct statement *statement) {
    if (session_block_status(session) != BLOCK_FAILED) {
        return false;
    }
    switch (statement->facts->kind) {
    case KIND_COMMIT:
    case KIND_ROLLBACK:
    case KIND_ROLLBACK_TO:
    case KIND_PREPARE_TRANSACTION:
        return false;
    default:
        return true;
    }
}

bool statements_lacks_savepoint(const struct session_state *session,
                                const struct statement *statement) {
    const struct statement_facts *facts = statement->facts;
    enum block_status status = session_block_status(session);
    return (facts->kind == KIND_RELEASE || facts->kind == KIND_ROLLBACK_TO) &&
           (status == BLOCK_OPEN || status == BLOCK_FAILED) &&
           !session_has_savepoint(session, facts->name);
}

/* How deep a statement is in what may hold semicolons of its own: parentheses, and BEGIN ATOMIC …
 * END bodies. */
struct nesting {
    int parentheses, blocks;
    bool after_begin; /* the last word was BEGIN */
};

static bool token_is(const char *text, const struct token *token, const char *word) {
    size_t length = token->end - token->start;
    return token->kind == TOKEN_IDENTIFIER && length == strlen(word) &&
           strncasecmp(text + token->start, word, length) == 0;
}

static void nesting_follow(struct nesting *nesting, const char *text, const struct token *token) {
    if (token->kind == TOKEN_PUNCTUATION) {
        nesting->parentheses += text[token->start] == '(';
        nesting->parentheses -= text[token->start] == ')' && nesting->parentheses > 0;
    }
    if (token->kind != TOKEN_IDENTIFIER) {
        return;
    }
    if (nesting->blocks > 0) {
        nesting->blocks += token_is(text, token, "case")  ? 1
                           : token_is(text, token, "end") ? -1
                                                          : 0;
    } else if (nesting->after_begin && token_is(text, token, "atomic")) {
        nesting->blocks = 1;
    }
    nesting->after_begin = token_is(text, token, "begin");
}

bool statements_next_piece(const char *text, size_t length, size_t *start, size_t *end,
                           size_t *next) {
    struct lexer lexer;
    struct token token;
    struct nesting nesting = {0};
    bool empty = true;
    *start = *next;
    lexer_init(&lexer, text, length, true);
    lexer.position = *start;
    for (;;) {
        lexer_next(&lexer, &token);
        bool comment = token.kind == TOKEN_LINE_COMMENT || token.kind == TOKEN_BLOCK_COMMENT;
        nesting_follow(&nesting, text, &token);
        bool inside = nesting.parentheses > 0 || nesting.blocks > 0;
        if (token.kind == TOKEN_END || (token.kind == TOKEN_SEMICOLON && !inside)) {
            *end = token.start;
            *next = token.end;
            if (!empty || token.kind == TOKEN_END) {
                return !empty;
            }
            *start = *next;
        } else {
            empty &= comment;
        }
    }
}

int statements_find_entrypoint(const struct settings *settings, const char *name) {
    if (name != NULL) {
        return settings_find_entrypoint(settings, name);
    }
    for (size_t i = 0; i < settings->entrypoint_count; i++) {
        if (settings->entrypoints[i].database == ENTRYPOINT_ROUTED) {
            return (int)i;
        }
    }
    return 0;
}
