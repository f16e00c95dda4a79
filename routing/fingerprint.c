#include "routing/fingerprint.h"

#include "routing/lexer.h"
#include "routing/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { SHAPE_MARK = 1 }; /* routing/shape.h */

enum piece_kind {
    PIECE_WORD,
    PIECE_CONSTANT,
    PIECE_OPERATOR,
    PIECE_OPEN, /* ( */
    PIECE_CLOSE,
    PIECE_COMMA,
    PIECE_TIGHT, /* . [ and :: have no space on either side */
    PIECE_SHUT,  /* ] */
    PIECE_SEMICOLON,
    PIECE_OTHER,
};

struct piece {
    enum piece_kind kind;
    size_t start; /* in the output, behind the space before it */
    size_t open;  /* of PIECE_CLOSE: the index of its parenthesis + 1; 0: none */
};

struct normalizing {
    const char *text;
    struct text out;
    struct piece *pieces;
    size_t count, room;
    size_t *opens; /* indexes of the parentheses that are open */
    size_t open_count, open_room;
};

/* The piece that is `back` before the last one (0: the last). */
static const struct piece *piece_at(const struct normalizing *n, size_t back) {
    return back < n->count ? &n->pieces[n->count - 1 - back] : NULL;
}

static bool kind_at(const struct normalizing *n, size_t back, enum piece_kind kind) {
    const struct piece *piece = piece_at(n, back);
    return piece != NULL && piece->kind == kind;
}

/* Takes the last pieces away, so that `count` are left. */
static void cut_to(struct normalizing *n, size_t count) {
    size_t end = n->pieces[count].start;
    while (end > 0 && n->out.data[end - 1] == ' ') {
        end--;
    }
    n->out.length = end;
    n->count = count;
}

static bool wants_space(const struct normalizing *n, enum piece_kind kind) {
    const struct piece *last = piece_at(n, 0);
    if (last == NULL || last->kind == PIECE_OPEN || last->kind == PIECE_TIGHT) {
        return false;
    }
    return kind != PIECE_CLOSE && kind != PIECE_COMMA && kind != PIECE_TIGHT &&
           kind != PIECE_SHUT && kind != PIECE_SEMICOLON;
}

static void push(struct normalizing *n, enum piece_kind kind, const char *bytes, size_t length) {
    if (wants_space(n, kind)) {
        text_append_bytes(&n->out, " ", 1);
    }
    n->pieces = array_grow(n->pieces, n->count, &n->room, sizeof *n->pieces);
    n->pieces[n->count++] = (struct piece){.kind = kind, .start = n->out.length};
    text_append_bytes(&n->out, bytes, length);
}

static bool piece_is(const struct normalizing *n, size_t back, const char *word) {
    const struct piece *piece = piece_at(n, back);
    if (piece == NULL || piece->kind != PIECE_WORD) {
        return false;
    }
    size_t end = back == 0 ? n->out.length : piece[1].start, length = strlen(word);
    while (back > 0 && end > piece->start && n->out.data[end - 1] == ' ') {
        end--;
    }
    return end - piece->start == length && memcmp(n->out.data + piece->start, word, length) == 0;
}

/* Words behind which a sign belongs to the number. A sign elsewhere may be an operation on what
 * stands before it. */
static bool ends_in_keyword(const struct normalizing *n, size_t back) {
    static const char *const words[] = {"and",    "between", "by",     "case", "else", "having",
                                        "limit",  "not",     "offset", "on",   "or",   "returning",
                                        "select", "then",    "to",     "when", "where"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (piece_is(n, back, words[i])) {
            return true;
        }
    }
    return false;
}

/* Whether a value must follow the piece, so that what is there is one, whatever it looks like. */
static bool value_follows(const struct normalizing *n, size_t back) {
    const struct piece *piece = piece_at(n, back);
    if (piece == NULL) {
        return false;
    }
    bool tight_bracket = piece->kind == PIECE_TIGHT && n->out.data[piece->start] == '[';
    return piece->kind == PIECE_OPEN || piece->kind == PIECE_COMMA ||
           piece->kind == PIECE_OPERATOR || tight_bracket;
}

static bool is_sign(const struct normalizing *n, size_t back) {
    const struct piece *piece = piece_at(n, back);
    if (piece == NULL || piece->kind != PIECE_OPERATOR) {
        return false;
    }
    size_t length = (back == 0 ? n->out.length : piece[1].start) - piece->start;
    char c = n->out.data[piece->start];
    return length == 1 && (c == '-' || c == '+');
}

static void push_constant(struct normalizing *n) {
    while (is_sign(n, 0) && (value_follows(n, 1) || ends_in_keyword(n, 1))) {
        cut_to(n, n->count - 1);
    }
    if (kind_at(n, 0, PIECE_COMMA) && kind_at(n, 1, PIECE_CONSTANT)) {
        cut_to(n, n->count - 1); /* one more of a list */
    } else {
        push(n, PIECE_CONSTANT, "?", 1);
    }
}

static void push_open(struct normalizing *n) {
    push(n, PIECE_OPEN, "(", 1);
    n->opens = array_grow(n->opens, n->open_count, &n->open_room, sizeof *n->opens);
    n->opens[n->open_count++] = n->count - 1;
}

/* A row that is the same as the one before it goes, with its comma. */
static void drop_repeated_row(struct normalizing *n, size_t open) {
    if (open < 2 || n->pieces[open - 1].kind != PIECE_COMMA ||
        n->pieces[open - 2].kind != PIECE_CLOSE || n->pieces[open - 2].open == 0) {
        return;
    }
    size_t before = n->pieces[n->pieces[open - 2].open - 1].start;
    size_t before_length = n->pieces[open - 1].start - before;
    size_t row = n->pieces[open].start;
    if (n->out.length - row == before_length &&
        memcmp(n->out.data + row, n->out.data + before, before_length) == 0) {
        cut_to(n, open - 1);
    }
}

static void push_close(struct normalizing *n) {
    push(n, PIECE_CLOSE, ")", 1);
    if (n->open_count > 0) {
        size_t open = n->opens[--n->open_count];
        n->pieces[n->count - 1].open = open + 1;
        drop_repeated_row(n, open);
    }
}

/* A run of operator characters is cut as PostgreSQL's scan.l does: a sign at the end is one of its
 * own unless the operator has a character that SQL's have not. */
static void push_operators(struct normalizing *n, size_t start, size_t end) {
    while (start < end) {
        size_t stop = end;
        bool strange = false;
        for (size_t i = start; i < end; i++) {
            strange |= strchr("~!@#^&|`?%", n->text[i]) != NULL;
        }
        while (!strange && stop - start > 1 &&
               (n->text[stop - 1] == '-' || n->text[stop - 1] == '+')) {
            stop--;
        }
        push(n, PIECE_OPERATOR, n->text + start, stop - start);
        start = stop;
    }
}

/* Behind PREPARE or DECLARE, which name what follows. */
static bool is_name_given(const struct normalizing *n) {
    return n->count == 1 && (piece_is(n, 0, "prepare") || piece_is(n, 0, "declare"));
}

static void push_word(struct normalizing *n, size_t start, size_t end) {
    static const char *const values[] = {"null", "true", "false", "default"};
    bool value = false, may_be_value = value_follows(n, 0), named = is_name_given(n);
    push(n, PIECE_WORD, n->text + start, end - start);
    char *word = n->out.data + n->pieces[n->count - 1].start;
    for (size_t i = 0; i < end - start; i++) {
        word[i] = word[i] >= 'A' && word[i] <= 'Z' ? (char)(word[i] + ('a' - 'A')) : word[i];
    }
    for (size_t i = 0; may_be_value && i < sizeof values / sizeof values[0]; i++) {
        value |= piece_is(n, 0, values[i]);
    }
    if (value || (named && !piece_is(n, 0, "transaction"))) {
        cut_to(n, n->count - 1);
        push_constant(n);
    }
}

static void push_punctuation(struct normalizing *n, const struct token *token) {
    char c = n->text[token->start];
    switch (c) {
    case '\0':
        return;
    case SHAPE_MARK:
        push_constant(n);
        return;
    case '(':
        push_open(n);
        return;
    case ')':
        push_close(n);
        return;
    case ',':
        push(n, PIECE_COMMA, ",", 1);
        return;
    case '.':
    case '[':
        push(n, PIECE_TIGHT, &c, 1);
        return;
    case ']':
        push(n, PIECE_SHUT, "]", 1);
        return;
    case ':': /* a cast is two of them without anything between */
        if (token->start > 0 && n->text[token->start - 1] == ':' && kind_at(n, 0, PIECE_OTHER) &&
            n->out.data[n->out.length - 1] == ':') {
            cut_to(n, n->count - 1);
            push(n, PIECE_TIGHT, "::", 2);
            return;
        }
        break;
    default:
        break;
    }
    push(n, PIECE_OTHER, &c, 1);
}

static void push_token(struct normalizing *n, const struct token *token) {
    switch (token->kind) {
    case TOKEN_IDENTIFIER:
        push_word(n, token->start, token->end);
        return;
    case TOKEN_QUOTED_IDENTIFIER:
        if (token->unterminated || is_name_given(n)) {
            push_constant(n); /* cut short: who knows what is in it */
        } else {
            push(n, PIECE_WORD, n->text + token->start, token->end - token->start);
        }
        return;
    case TOKEN_STRING:
    case TOKEN_DOLLAR_STRING:
    case TOKEN_NUMBER:
    case TOKEN_PARAMETER:
        push_constant(n);
        return;
    case TOKEN_OPERATOR:
        push_operators(n, token->start, token->end);
        return;
    case TOKEN_PUNCTUATION:
        push_punctuation(n, token);
        return;
    case TOKEN_SEMICOLON:
        if (n->count > 0 && !kind_at(n, 0, PIECE_SEMICOLON)) {
            push(n, PIECE_SEMICOLON, ";", 1);
        }
        return;
    case TOKEN_LINE_COMMENT:
    case TOKEN_BLOCK_COMMENT:
    case TOKEN_END:
        return;
    }
}

char *statement_normalize(const char *text, size_t length, const struct lexing *lexing) {
    struct normalizing n = {.text = text};
    struct lexer lexer;
    struct token token;
    text_append_bytes(&n.out, "", 0);
    lexer_init(&lexer, text, length, lexing->standard_conforming_strings);
    for (lexer_next(&lexer, &token); token.kind != TOKEN_END; lexer_next(&lexer, &token)) {
        push_token(&n, &token);
    }
    if (kind_at(&n, 0, PIECE_SEMICOLON)) {
        cut_to(&n, n.count - 1);
    }
    n.out.data[n.out.length] = '\0';
    free(n.pieces);
    free(n.opens);
    return n.out.data;
}

/* The statement's part of a shape: those have no bodies, so that every semicolon separates
 * statements. */
static void find_in_shape(const struct query *query, size_t index, size_t *start, size_t *length) {
    struct lexer lexer;
    struct token token;
    bool empty = true;
    *start = 0;
    lexer_init(&lexer, query->shape, query->shape_length,
               query->lexing.standard_conforming_strings);
    for (lexer_next(&lexer, &token); token.kind != TOKEN_END; lexer_next(&lexer, &token)) {
        if (token.kind == TOKEN_SEMICOLON) {
            if (!empty && index-- == 0) {
                break;
            }
            empty = true;
            *start = token.end;
        } else if (token.kind != TOKEN_BLOCK_COMMENT && token.kind != TOKEN_LINE_COMMENT) {
            empty = false;
        }
    }
    *length = token.start - *start;
}

static bool is_told_by_constant(const struct routed_table *table) {
    return table->role == ROLE_COUNTS &&
           (table->facts->flags & (TABLE_NAMED_IN_STRING | TABLE_IN_BODY)) != 0;
}

char *statement_normalized_text(const struct statement *statement) {
    const struct query *query = statement->query;
    if (query->is_shape) {
        size_t start, length;
        find_in_shape(query, (size_t)(statement->facts - query->facts.statements), &start, &length);
        return statement_normalize(query->shape + start, length, &query->lexing);
    }
    char *normalized = statement_normalize(query->text + statement->facts->start,
                                           statement->facts->length, &query->lexing);
    struct text named = {0};
    for (size_t i = 0; i < statement->facts->table_count; i++) {
        if (is_told_by_constant(&statement->tables[i])) {
            text_append(&named, "%s%s", named.length == 0 ? " /* " : ", ",
                        statement->facts->tables[i].name);
        }
    }
    if (named.length == 0) {
        return normalized;
    }
    char *both = alloc_format("%s%s */", normalized, named.data);
    free(normalized);
    free(named.data);
    return both;
}

void fingerprint_make(enum rule rule, const char *normalized, char out[FINGERPRINT_LENGTH + 1]) {
    struct text hashed = {0};
    text_append_bytes(&hashed, rule_name(rule), strlen(rule_name(rule)) + 1);
    text_append_bytes(&hashed, normalized, strlen(normalized));
    XXH64_hash_t hash = XXH3_64bits(hashed.data, hashed.length);
    free(hashed.data);
    (void)snprintf(out, FINGERPRINT_LENGTH + 1, "%016" PRIx64, (uint64_t)hash);
}
