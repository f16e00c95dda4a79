#include "commands/explain.h"

#include "commands/explain_internal.h"
#include "commands/statements.h"
#include "config/allowlist.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXPLAIN_FINE = 0, EXPLAIN_FOUND = 1, EXPLAIN_BAD = 2 };

struct explaining {
    const struct settings *settings;
    struct router *router;
    struct session_state *session;
    bool json;
    int today;
    bool found; /* some statement violates a rule */
};

/* What is an error, but breaks no rule: the proxy's own settings are checked by itself, and a
 * savepoint that isn't there is told by the server. */
static bool check_statement(const struct explaining *x, const struct statement *statement,
                            struct explained *out, struct error *error) {
    const struct statement_facts *facts = statement->facts;
    bool own = (facts->kind == KIND_SET || facts->kind == KIND_SHOW) && facts->name != NULL &&
               session_is_own_setting(facts->name);
    const char *value = facts->kind == KIND_SET ? facts->value : NULL, *setting;
    bool fine = true;
    if (statements_lacks_savepoint(x->session, statement)) {
        out->sqlstate = "3B001";
        fine = error_set(error, "savepoint \"%s\" does not exist", facts->name);
    } else if (!session_check_words(x->session, statement, &setting, &out->sqlstate, error)) {
        fine = false;
    } else if (own) {
        fine = session_check_setting(x->session, facts->name, value, &out->sqlstate, error);
    }
    out->sqlstate = fine ? NULL : out->sqlstate;
    out->error = fine ? NULL : error->text;
    return fine;
}

static void explain_statement(struct explaining *x, const struct statement *statement) {
    struct decision decision = {
        .destination = DESTINATION_NONE, .database = -1, .subject = statement};
    struct explained e = {.settings = x->settings, .statement = statement, .decision = &decision};
    struct error error;
    bool fine = false;
    if (statements_refused_by_block(x->session, statement)) {
        e.sqlstate = "25P02";
        e.error = "current transaction is aborted, commands ignored until end of transaction block";
    } else if (check_statement(x, statement, &e, &error)) {
        session_decide(x->session, statement, &decision);
        fine = !decision.violated;
    }
    (x->json ? explain_print_json : explain_print_text)(&e);
    x->found |= decision.violated;
    if (fine) {
        session_executed(x->session, statement, &decision);
    } else {
        session_failed(x->session);
    }
}

static bool explain_text(struct explaining *x, const char *text, size_t length, bool in_pieces);

/* PostgreSQL reads a text as a whole or not at all; psql sends each statement for itself, and so
 * does this where one can't be parsed. False: there is only one. */
static bool explain_pieces(struct explaining *x, const char *text, size_t length, bool *fine) {
    size_t start, end, next = 0;
    size_t pieces = 0;
    *fine = true;
    while (statements_next_piece(text, length, &start, &end, &next)) {
        bool whole = pieces++ == 0 && !statements_next_piece(text, length, &(size_t){0},
                                                             &(size_t){0}, &(size_t){next});
        if (whole) {
            return false;
        }
        char *piece = strndup(text + start, end - start);
        if (piece == NULL) {
            abort();
        }
        *fine &= explain_text(x, piece, end - start, false);
        free(piece);
    }
    return true;
}

/* False: the text must not reach a database at all; said on stderr. */
static bool explain_text(struct explaining *x, const char *text, size_t length, bool in_pieces) {
    const struct lexing lexing = {.standard_conforming_strings = true};
    struct query *query;
    struct error error;
    if (!router_query(x->router, text, length, &lexing, true, &query, &error)) {
        fprintf(stderr, "explain: %s: give SQL in UTF-8\n", error.text);
        return false;
    }
    bool fine = true;
    bool whole =
        !in_pieces || query->count != 1 || query->statements[0].facts->kind != KIND_UNPARSED;
    if (whole || !explain_pieces(x, text, length, &fine)) {
        for (size_t i = 0; i < query->count; i++) {
            explain_statement(x, &query->statements[i]);
        }
    }
    query_unref(query);
    return fine;
}

/* The whole file as one string with a NUL behind it; NULL: said on stderr. */
static char *read_input(const char *path, size_t *length) {
    bool standard = path == NULL || strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "%s: %s: name a file that can be read\n", path, strerror(errno));
        return NULL;
    }
    char *text = NULL;
    size_t room = 0;
    *length = 0;
    for (;;) {
        if (room - *length < 2) {
            room = room > 0 ? room * 2 : 64 * 1024;
            char *grown = realloc(text, room);
            if (grown == NULL) {
                abort();
            }
            text = grown;
        }
        size_t got = fread(text + *length, 1, room - *length - 1, file);
        if (got == 0) {
            break;
        }
        *length += got;
    }
    bool failed = ferror(file) != 0;
    if (failed) {
        fprintf(stderr, "%s: %s: name a file that can be read\n",
                standard ? "standard input" : path, strerror(errno));
    }
    if (!standard) {
        fclose(file);
    }
    text[*length] = '\0';
    if (failed) {
        free(text);
        return NULL;
    }
    return text;
}

static int explain_with(struct explaining *x, int entrypoint, const char *text, size_t length) {
    x->router = router_new(x->settings, 1024 * 1024);
    x->session = session_state_new(x->settings, entrypoint);
    x->today = allowlist_day(time(NULL));
    session_use_today(x->session, &x->today);
    bool fine = explain_text(x, text, length, true);
    session_state_free(x->session);
    router_free(x->router);
    if (fflush(stdout) != 0) {
        fprintf(stderr, "explain: can't write the answer: %s: give it a place to go\n",
                strerror(errno));
        return EXPLAIN_BAD;
    }
    return !fine ? EXPLAIN_BAD : x->found ? EXPLAIN_FOUND : EXPLAIN_FINE;
}

int explain_command(const char *config_path, const char *entrypoint, bool json, const char *sql,
                    const char *file) {
    struct settings *settings;
    struct error error;
    if (!settings_load(config_path, &settings, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return EXPLAIN_BAD;
    }
    int status = EXPLAIN_BAD;
    int index = statements_find_entrypoint(settings, entrypoint);
    size_t length = sql != NULL ? strlen(sql) : 0;
    char *input = NULL;
    if (index < 0) {
        fprintf(stderr, "%s: there is no entrypoint \"%s\": name one of the file's\n", config_path,
                entrypoint);
    } else if (sql != NULL || (input = read_input(file, &length)) != NULL) {
        struct explaining x = {.settings = settings, .json = json};
        status = explain_with(&x, index, sql != NULL ? sql : input, length);
    }
    free(input);
    settings_unref(settings);
    return status;
}
