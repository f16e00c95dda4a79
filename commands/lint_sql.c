#include "commands/lint_sql.h"

#include "commands/statements.h"
#include "config/utf8.h"
#include "routing/lexer.h"

#include <string.h>
#include <strings.h>

struct script {
    struct lint_input *input;
    struct lint_check *check;
    struct session_state *session;
    size_t file;
    size_t column; /* of the window's start in its line, from 1 */
    bool copied;   /* the last statement was COPY … FROM STDIN */
    bool fine;
    struct error *error;
};

/* Uses up `length` bytes and keeps count of lines and columns. */
static void script_skip(struct script *s, size_t length) {
    const char *text = s->input->data + s->input->start;
    for (size_t i = length; i > 0; i--) {
        if (text[i - 1] == '\n') {
            s->column = 1;
            text += i;
            length -= i;
            lint_input_skip(s->input, i);
            break;
        }
    }
    s->column += utf8_count(text, length);
    s->input->start += length;
}

/* The length of the line at `at` of the window with its newline; read further where need be. False:
 * there is no more of it, and *length is what there is. */
static bool line_length(struct lint_input *input, size_t at, size_t *length) {
    for (;;) {
        size_t have = input->end - input->start - at;
        const char *line = input->data + input->start + at;
        const char *newline = have > 0 ? memchr(line, '\n', have) : NULL;
        if (newline != NULL) {
            *length = (size_t)(newline - line) + 1;
            return true;
        }
        if (!lint_input_fill(input)) {
            *length = input->end - input->start - at;
            return false;
        }
    }
}

static bool is_end_of_data(const char *line, size_t length) {
    return length >= 2 && line[0] == '\\' && line[1] == '.' &&
           (length == 2 || line[2] == '\n' || line[2] == '\r');
}

/* Data of COPY … FROM STDIN from the next line to `\.`. Where no such line follows in all of the
 * window that there may be, there is no data, as in a script for a driver, unless it is longer:
 * then it must be data. */
static void skip_data(struct script *s) {
    struct lint_input *input = s->input;
    size_t at = 0, length;
    bool more = line_length(input, at, &length), first = true, huge = false;
    for (;;) {
        if (!first && is_end_of_data(input->data + input->start + at, length)) {
            script_skip(s, at + length);
            return;
        }
        at += length;
        first = false;
        if (!more) {
            break;
        }
        if (huge || at > LINT_WINDOW_MAX / 2) {
            huge = true;
            script_skip(s, at);
            at = 0;
        }
        more = line_length(input, at, &length);
    }
    if (huge) {
        script_skip(s, at);
    }
}

/* How much of the window's front is neither a statement nor a comment that could be a hint: white
 * space, line comments, psql's commands. Its end is where a statement begins. */
static size_t skip_between(struct script *s) {
    struct lexer lexer;
    struct token token;
    struct lint_input *input = s->input;
    size_t length;
    for (;;) {
        lexer_init(&lexer, input->data + input->start, input->end - input->start, true);
        do {
            lexer_next(&lexer, &token);
        } while (token.kind == TOKEN_BLOCK_COMMENT || token.kind == TOKEN_LINE_COMMENT ||
                 token.kind == TOKEN_SEMICOLON);
        bool at_end = token.kind == TOKEN_END || token.end >= input->end - input->start;
        if (at_end && lint_input_fill(input)) {
            continue;
        }
        const char *text = input->data + input->start;
        if (token.kind == TOKEN_END || text[token.start] != '\\') {
            return token.kind == TOKEN_END ? input->end - input->start : 0;
        }
        size_t start = token.start;
        line_length(input, start, &length);
        script_skip(s, start + length);
    }
}

static bool reads_standard_input(const char *text, size_t length) {
    struct lexer lexer;
    struct token token;
    lexer_init(&lexer, text, length, true);
    do {
        lexer_next(&lexer, &token);
        if (token.kind == TOKEN_IDENTIFIER && token.end - token.start == 5 &&
            strncasecmp(text + token.start, "stdin", 5) == 0) {
            return true;
        }
    } while (token.kind != TOKEN_END);
    return false;
}

static void check_text(struct script *s, char *text, size_t length) {
    const struct lint_place place = {
        .file = s->file, .line = s->input->line, .column = s->column, .count = 1};
    struct query *query;
    struct error error;
    char kept = text[length];
    text[length] = '\0';
    s->copied = false;
    if (lint_check_read(s->check, text, length, &place, &query, &error)) {
        s->copied = query->count == 1 && query->statements[0].facts->kind == KIND_COPY_FROM &&
                    reads_standard_input(text, length);
        lint_check_query(s->check, s->session, query, text, length, &place);
    } else if (s->fine) {
        size_t line = s->input->line, bad = utf8_valid(text, length);
        for (size_t i = 0; i < bad; i++) {
            line += text[i] == '\n';
        }
        s->fine =
            error_set(s->error, "%s:%zu: %s: give SQL in UTF-8", s->input->name, line, error.text);
    }
    text[length] = kept;
}

/* The next statement, as far as the window must grow for it. False: there are no more. */
static bool check_next(struct script *s) {
    struct lint_input *input = s->input;
    size_t start, end, next;
    script_skip(s, skip_between(s));
    for (;;) {
        next = 0;
        char *text = input->data + input->start;
        size_t length = input->end - input->start;
        bool found = statements_next_piece(text, length, &start, &end, &next);
        bool whole = found && next > end; /* its semicolon was seen */
        if (!whole && lint_input_fill(input)) {
            continue;
        }
        if (!found || input->failure != 0) {
            return false;
        }
        script_skip(s, start);
        check_text(s, input->data + input->start, end - start);
        script_skip(s, next - start);
        if (s->copied) {
            skip_data(s);
        }
        return true;
    }
}

bool lint_sql_read(struct lint_input *input, struct lint_check *check, size_t file,
                   struct error *error) {
    static const char mark[] = "\xEF\xBB\xBF"; /* a byte order mark */
    struct script s = {.input = input, .check = check, .file = file, .column = 1, .fine = true};
    s.error = error;
    s.session = session_state_new(check->settings, check->entrypoint);
    session_use_today(s.session, &check->today);
    if (input->end - input->start >= 3 && memcmp(input->data + input->start, mark, 3) == 0) {
        input->start += 3;
    }
    while (check_next(&s)) {
    }
    session_state_free(s.session);
    return s.fine;
}
