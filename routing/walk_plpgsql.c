/* PL/pgSQL code, cut into the SQL that stands in it. Not a parser of the language: it knows where
 * statements begin and which words end an expression, gives each query and each expression (as
 * SELECT …) to the SQL parser, and takes what that cannot read by its identifiers. Source:
 * PostgreSQL manual, "PL/pgSQL". */
#include "routing/lexer.h"
#include "routing/walk.h"

#include <strings.h>

struct code {
    struct walk *walk;
    const char *text;
    const struct token *tokens; /* without comments; ended by a TOKEN_END */
    size_t count;
    size_t at; /* next token */
    bool declaring;
};

static bool is_word(const struct code *code, size_t index, const char *word) {
    const struct token *token = &code->tokens[index];
    size_t length = token->end - token->start;
    return token->kind == TOKEN_IDENTIFIER && length == strlen(word) &&
           strncasecmp(code->text + token->start, word, length) == 0;
}

static bool is_one_of(const struct code *code, size_t index, const char *const *words) {
    for (; *words; words++)
        if (is_word(code, index, *words))
            return true;
    return false;
}

static bool is_character(const struct code *code, size_t index, char c) {
    const struct token *token = &code->tokens[index];
    return token->end - token->start == 1 && code->text[token->start] == c;
}

static bool is_operator(const struct code *code, size_t index, const char *operator) {
    const struct token *token = &code->tokens[index];
    size_t length = token->end - token->start;
    return token->kind == TOKEN_OPERATOR && length == strlen(operator) &&
           memcmp(code->text + token->start, operator, length) == 0;
}

/* = or the second half of := with a sign behind it perhaps, which the lexer leaves on it. */
static bool is_equals(const struct code *code, size_t index) {
    const struct token *token = &code->tokens[index];
    if (token->kind != TOKEN_OPERATOR || code->text[token->start] != '=')
        return false;
    if (token->end - token->start == 1 || (index > 0 && is_character(code, index - 1, ':')))
        return true;
    return code->text[token->start + 1] == '-' || code->text[token->start + 1] == '+';
}

static bool is_end(const struct code *code, size_t index) {
    return code->tokens[index].kind == TOKEN_END || code->tokens[index].kind == TOKEN_SEMICOLON;
}

/* First token from `from` that is one of the words outside brackets and CASE … END, or the end of
 * the statement. */
static size_t find_word(const struct code *code, size_t from, const char *const *words) {
    size_t depth = 0, cases = 0;
    size_t i = from;
    for (; !is_end(code, i); i++) {
        if (is_character(code, i, '(') || is_character(code, i, '['))
            depth++;
        else if ((is_character(code, i, ')') || is_character(code, i, ']')) && depth > 0)
            depth--;
        else if (depth == 0 && cases == 0 && is_one_of(code, i, words))
            return i;
        else if (is_word(code, i, "case"))
            cases++;
        else if (is_word(code, i, "end") && cases > 0)
            cases--;
    }
    return i;
}

static bool is_label(const struct code *code, size_t index) {
    return is_operator(code, index, "<<") && !is_end(code, index + 1) &&
           is_operator(code, index + 2, ">>");
}

static size_t find_end(const struct code *code, size_t from) {
    while (!is_end(code, from))
        from++;
    return from;
}

/* Behind the variables of INTO, which stands at `i`. */
static size_t into_end(const struct code *code, size_t i, size_t end) {
    i++;
    if (i < end && is_word(code, i, "strict"))
        i++;
    while (i < end && code->tokens[i].kind != TOKEN_END) {
        i++;
        while (i + 1 < end && is_character(code, i, '.'))
            i += 2;
        while (i < end && is_character(code, i, '[')) {
            while (i < end && !is_character(code, i, ']'))
                i++;
            i += i < end;
        }
        if (i >= end || !is_character(code, i, ','))
            break;
        i++;
    }
    return i;
}

/* INTO x, y of SELECT and RETURNING names variables. */
static void blank_into(const struct code *code, size_t from, size_t to, char *copy, size_t offset) {
    size_t depth = 0;
    for (size_t i = from; i < to; i++) {
        if (is_character(code, i, '('))
            depth++;
        else if (is_character(code, i, ')') && depth > 0)
            depth--;
        if (depth > 0 || i == from || !is_word(code, i, "into") || is_word(code, i - 1, "insert") ||
            is_word(code, i - 1, "merge"))
            continue;
        size_t end = into_end(code, i, to);
        size_t start = code->tokens[i].start;
        memset(copy + (start - offset), ' ', code->tokens[end - 1].end - start);
        i = end - 1;
    }
}

static void blank_words(const struct code *code, size_t from, size_t to, const char *const *words,
                        char *copy, size_t offset) {
    for (size_t i = find_word(code, from, words); i < to; i = find_word(code, i + 1, words)) {
        const struct token *token = &code->tokens[i];
        memset(copy + (token->start - offset), ' ', token->end - token->start);
        copy[token->start - offset] = ',';
    }
}

/* The range of an integer loop: its dots become a comma. */
static void blank_range(const struct code *code, size_t from, size_t to, char *copy,
                        size_t offset) {
    for (size_t i = from; i < to; i++) {
        size_t start = code->tokens[i].start;
        if (is_character(code, i, '.') && code->text[start + 1] == '.') {
            copy[start - offset] = ',';
            copy[start + 1 - offset] = ' ';
        }
    }
}

static const char *const separators[] = {"using", "by", NULL};
static const char *const writing[] = {"insert", "update", "delete", "merge", "truncate", NULL};

/* What a piece of code is to the SQL parser; it reads all but a statement behind a SELECT. */
enum piece {
    PIECE_STATEMENT,
    PIECE_EXPRESSION,  /* PERFORM's is the rest of a query, too */
    PIECE_EXPRESSIONS, /* separated by USING, BY or the dots of a range */
};

/* Gives tokens [from, to) to the SQL parser. */
static void read_piece(const struct code *code, size_t from, size_t to, enum piece kind) {
    static const char select[] = "SELECT ";
    if (from >= to)
        return;
    size_t start = code->tokens[from].start;
    size_t length = code->tokens[to - 1].end - start;
    size_t prefix = kind == PIECE_STATEMENT ? 0 : sizeof select - 1;
    char *piece = arena_alloc(code->walk->scratch, prefix + length + 1);
    memcpy(piece, select, prefix);
    memcpy(piece + prefix, code->text + start, length);
    piece[prefix + length] = '\0';
    blank_into(code, from, to, piece + prefix, start);
    if (kind == PIECE_EXPRESSIONS) {
        blank_words(code, from, to, separators, piece + prefix, start);
        blank_range(code, from, to, piece + prefix, start);
    }
    int position = code->walk->position_base;
    if (!code->walk->position_fixed)
        position += (int)start - (int)prefix;
    walk_sql_body(code->walk, piece, position, code->walk->position_fixed,
                  is_one_of(code, from, writing) ? ACCESS_WRITE : ACCESS_READ);
}

/* An expression up to one of the words, which is left behind. */
static void read_condition(struct code *code, const char *const *words) {
    size_t end = find_word(code, code->at, words);
    read_piece(code, code->at, end, PIECE_EXPRESSION);
    code->at = end + !is_end(code, end);
}

/* The constants of a text that EXECUTE puts together. Alone it is SQL; a part of it is known by the
 * classified names in it, such as those that format() is given. */
static void read_constants(const struct code *code, size_t from, size_t to, size_t before) {
    struct walk *walk = code->walk;
    bool alone = to - from == 1 && walk->string_count - before == 1;
    int base = walk->position_base;
    bool fixed = walk->position_fixed;
    if (!fixed)
        walk->position_base += (int)code->tokens[from].start;
    walk->position_fixed = true;
    for (size_t i = before, end = walk->string_count; i < end; i++) {
        const char *text = walk->strings[i];
        if (alone)
            walk_sql_body(walk, text, walk->position_base, true, ACCESS_WRITE);
        else
            walk_identifiers(walk, text, strlen(text), ACCESS_WRITE, TABLE_TYPE);
    }
    walk->position_base = base;
    walk->position_fixed = fixed;
}

/* EXECUTE text [INTO …] [USING expression, …] */
static void read_dynamic(const struct code *code, size_t from, size_t to) {
    static const char *const behind[] = {"into", "using", NULL};
    static const char *const values[] = {"using", NULL};
    code->walk->statement->flags |= STATEMENT_DYNAMIC;
    size_t end = find_word(code, from, behind);
    end = end < to ? end : to;
    if (from < end) {
        size_t before = code->walk->string_count;
        read_piece(code, from, end, PIECE_EXPRESSION);
        read_constants(code, from, end, before);
    }
    size_t given = find_word(code, end, values);
    if (given < to)
        read_piece(code, given + 1, to, PIECE_EXPRESSION);
}

/* A query, or EXECUTE of one. */
static void read_query(struct code *code, size_t from, size_t to) {
    static const char *const queries[] = {"select", "with",   "values", "table", "insert",
                                          "update", "delete", "merge",  NULL};
    if (from < to && is_word(code, from, "execute"))
        read_dynamic(code, from + 1, to);
    else
        read_piece(code, from, to,
                   is_one_of(code, from, queries) || is_character(code, from, '(')
                       ? PIECE_STATEMENT
                       : PIECE_EXPRESSION);
}

/* The depth of brackets after a token, given the depth before it. */
static size_t depth_after(const struct code *code, size_t token, size_t depth) {
    if (is_character(code, token, '(') || is_character(code, token, '['))
        return depth + 1;
    bool closes = is_character(code, token, ')') || is_character(code, token, ']');
    return closes && depth > 0 ? depth - 1 : depth;
}

/* Two dots outside brackets: an integer loop's. */
static bool has_range(const struct code *code, size_t from, size_t to) {
    size_t depth = 0;
    for (size_t i = from; i < to; i++) {
        depth = depth_after(code, i, depth);
        if (depth == 0 && is_character(code, i, '.') &&
            code->text[code->tokens[i].start + 1] == '.')
            return true;
    }
    return false;
}

/* FOR x IN … LOOP, FOREACH x IN ARRAY … LOOP */
static void read_for(struct code *code) {
    static const char *const in[] = {"in", NULL};
    static const char *const loop[] = {"loop", NULL};
    size_t end = find_word(code, code->at, loop);
    size_t from = find_word(code, code->at, in);
    if (from < end) {
        from++;
        if (is_word(code, from, "reverse") || is_word(code, from, "array"))
            from++;
        if (has_range(code, from, end))
            read_piece(code, from, end, PIECE_EXPRESSIONS);
        else
            read_query(code, from, end);
    }
    code->at = end + !is_end(code, end);
}

static void read_return(struct code *code, size_t from, size_t to) {
    if (from < to && is_word(code, from, "query"))
        read_query(code, from + 1, to);
    else if (from < to && is_word(code, from, "next"))
        read_piece(code, from + 1, to, PIECE_EXPRESSION);
    else
        read_piece(code, from, to, PIECE_EXPRESSION);
}

/* RAISE [level] ['format' [, expression …]] [USING option = expression …] */
static void read_raise(const struct code *code, size_t from, size_t to) {
    while (from < to && code->tokens[from].kind != TOKEN_STRING && !is_word(code, from, "using"))
        from++;
    if (from < to && is_word(code, from, "using"))
        from++;
    read_piece(code, from, to, PIECE_EXPRESSIONS);
}

/* OPEN cursor FOR query; or OPEN cursor [(arguments)] */
static void read_open(struct code *code, size_t from, size_t to) {
    static const char *const words[] = {"for", NULL};
    size_t i = find_word(code, from, words);
    if (i < to)
        read_query(code, i + 1, to);
    else
        read_piece(code, from + 1, to, PIECE_EXPRESSION);
}

/* FETCH or MOVE [direction [count]] {FROM | IN} cursor */
static void read_fetch(struct code *code, size_t from, size_t to) {
    static const char *const cursor[] = {"from", "in", NULL};
    static const char *const directions[] = {"absolute", "relative", "forward", "backward", NULL};
    size_t end = find_word(code, from, cursor);
    if (end < to && is_one_of(code, from, directions))
        read_piece(code, from + 1, end, PIECE_EXPRESSION);
    else if (end < to)
        read_piece(code, from, end, PIECE_EXPRESSION);
}

/* Position of := or = outside brackets, or `to`. */
static size_t find_assignment(const struct code *code, size_t from, size_t to) {
    size_t depth = 0;
    for (size_t i = from; i < to; i++) {
        depth = depth_after(code, i, depth);
        if (depth == 0 && is_equals(code, i))
            return i;
    }
    return to;
}

/* Whether a variable stands first: most words that begin a statement may be its name, too. */
static bool is_assignment(const struct code *code, size_t from) {
    if (is_character(code, from + 1, ':'))
        return is_equals(code, from + 2);
    return is_equals(code, from + 1) || is_character(code, from + 1, '[') ||
           is_character(code, from + 1, '.');
}

/* target := expression; the target may have subscripts. */
static void read_assignment(const struct code *code, size_t from, size_t to) {
    size_t value = find_assignment(code, from, to);
    if (value >= to) {
        read_piece(code, from, to, PIECE_STATEMENT);
        return;
    }
    for (size_t i = from; i < value; i++)
        if (is_character(code, i, '[')) {
            read_piece(code, from, value - is_character(code, value - 1, ':'), PIECE_EXPRESSION);
            break;
        }
    read_piece(code, value + 1, to, PIECE_EXPRESSION);
}

/* name type [:= expression]; or name CURSOR FOR query; */
static void read_declaration(struct code *code, size_t from, size_t to) {
    static const char *const queries[] = {"for", "is", NULL};
    static const char *const defaults[] = {"default", NULL};
    size_t query = find_word(code, from, queries);
    if (query < to && !is_word(code, from + 1, "alias")) {
        read_query(code, query + 1, to);
        return;
    }
    size_t value = find_word(code, from, defaults);
    if (value >= to)
        value = find_assignment(code, from, to);
    if (value < to)
        read_piece(code, value + 1, to, PIECE_EXPRESSION);
    if (from + 1 < value) {
        struct walk *walk = code->walk;
        size_t start = code->tokens[from + 1].start;
        int base = walk->position_base;
        if (!walk->position_fixed)
            walk->position_base += (int)start;
        walk_identifiers(walk, code->text + start, code->tokens[value - 1].end - start, ACCESS_READ,
                         TABLE_TYPE);
        walk->position_base = base;
    }
}

/* A statement that ends with a semicolon. */
static void read_simple(struct code *code) {
    static const char *const expressions[] = {"perform", "assert", NULL};
    static const char *const silent[] = {"end", "null", "get", "close", "rollback", "commit", NULL};
    static const char *const fetches[] = {"fetch", "move", NULL};
    static const char *const jumps[] = {"exit", "continue", NULL};
    static const char *const when[] = {"when", NULL};
    size_t from = code->at;
    size_t to = find_end(code, from);
    code->at = to + (code->tokens[to].kind == TOKEN_SEMICOLON);
    if (code->declaring)
        read_declaration(code, from, to);
    else if (is_assignment(code, from))
        read_assignment(code, from, to);
    else if (is_one_of(code, from, expressions))
        read_piece(code, from + 1, to, PIECE_EXPRESSION);
    else if (is_word(code, from, "return"))
        read_return(code, from + 1, to);
    else if (is_word(code, from, "execute"))
        read_dynamic(code, from + 1, to);
    else if (is_word(code, from, "raise"))
        read_raise(code, from + 1, to);
    else if (is_word(code, from, "open"))
        read_open(code, from + 1, to);
    else if (is_one_of(code, from, jumps))
        read_piece(code, find_word(code, from + 1, when) + 1, to, PIECE_EXPRESSION);
    else if (is_one_of(code, from, fetches))
        read_fetch(code, from + 1, to);
    else if (!is_one_of(code, from, silent))
        read_piece(code, from, to, PIECE_STATEMENT);
}

/* One statement, or the head of a compound one. */
static void read_statement(struct code *code) {
    static const char *const then[] = {"then", NULL};
    static const char *const loop[] = {"loop", NULL};
    static const char *const when[] = {"when", NULL};
    static const char *const conditions[] = {"if", "elsif", "elseif", "when", NULL};
    static const char *const heads[] = {"else", "loop", "exception", NULL};
    static const char *const loops[] = {"for", "foreach", NULL};
    size_t at = code->at;
    if (is_character(code, at, '#') || is_label(code, at)) { /* #variable_conflict use_column */
        for (int i = 0; i < 3 && !is_end(code, code->at); i++)
            code->at++;
    } else if (!code->declaring && is_assignment(code, at)) {
        read_simple(code);
    } else if (is_word(code, at, "declare")) {
        code->declaring = true;
        code->at++;
    } else if (is_word(code, at, "begin")) {
        code->declaring = false;
        code->at++;
    } else if (code->declaring) {
        read_simple(code);
    } else if (is_one_of(code, at, heads)) {
        code->at++;
    } else if (is_one_of(code, at, conditions)) {
        code->at++;
        read_condition(code, then);
    } else if (is_word(code, at, "while")) {
        code->at++;
        read_condition(code, loop);
    } else if (is_word(code, at, "case")) {
        size_t end = find_word(code, at + 1, when);
        read_piece(code, at + 1, end, PIECE_EXPRESSION);
        code->at = end;
    } else if (is_one_of(code, at, loops)) {
        code->at++;
        read_for(code);
    } else {
        read_simple(code);
    }
}

void walk_plpgsql_code(struct walk *walk, const char *text, size_t length) {
    struct lexer lexer;
    lexer_init(&lexer, text, length, walk->standard_conforming_strings);
    size_t capacity = 64, count = 0;
    struct token *tokens = arena_alloc(walk->scratch, capacity * sizeof *tokens);
    do {
        if (count == capacity) {
            struct token *larger = arena_alloc(walk->scratch, 2 * capacity * sizeof *larger);
            memcpy(larger, tokens, count * sizeof *larger);
            tokens = larger;
            capacity *= 2;
        }
        lexer_next(&lexer, &tokens[count]);
        if (tokens[count].kind != TOKEN_LINE_COMMENT && tokens[count].kind != TOKEN_BLOCK_COMMENT)
            count++;
    } while (count == 0 || tokens[count - 1].kind != TOKEN_END);
    struct code code = {.walk = walk, .text = text, .tokens = tokens, .count = count};
    while (code.tokens[code.at].kind != TOKEN_END && !walk->unknown) {
        if (code.tokens[code.at].kind == TOKEN_SEMICOLON)
            code.at++;
        else
            read_statement(&code);
    }
}
