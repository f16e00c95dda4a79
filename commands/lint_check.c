#include "commands/lint_check.h"

#include "commands/explain_internal.h"
#include "commands/lint_normalize.h"
#include "commands/statements.h"
#include "config/allowlist.h"
#include "config/utf8.h"
#include "routing/lexer.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { CACHE_BYTES = 32 * 1024 * 1024 };

static const struct lexing lexing = {.standard_conforming_strings = true};

void lint_check_init(struct lint_check *check, struct settings *settings, int entrypoint) {
    *check = (struct lint_check){
        .settings = settings, .entrypoint = entrypoint, .today = allowlist_day(time(NULL))};
    for (int rule = 0; rule < RULE_COUNT; rule++) {
        check->off[rule] = settings->rules[rule] == RULE_OFF;
    }
    check->router = router_new(settings, CACHE_BYTES);
    check->findings = lint_findings_new();
}

void lint_check_close(struct lint_check *check) {
    lint_findings_free(check->findings);
    router_free(check->router);
    settings_unref(check->settings);
    free(check->scratch.data);
    free(check->shown.data);
}

static void set_modes(struct lint_check *check, enum rule_mode mode) {
    for (int rule = 0; rule < RULE_COUNT; rule++) {
        check->settings->rules[rule] = check->off[rule] ? RULE_OFF : mode;
    }
}

/* ---- reading ---- */

bool lint_check_read(struct lint_check *check, char *text, size_t length,
                     const struct lint_place *place, struct query **query, struct error *error) {
    bool log = place->column == 0;
    if (router_query_shape(check->router, text, length, &lexing, true, query, error)) {
        return true;
    }
    if (log) {
        utf8_repair(text, length);
        if (router_query_shape(check->router, text, length, &lexing, true, query, error)) {
            return true;
        }
    }
    check->unread++;
    return false;
}

/* ---- findings ---- */

/* A statement in its text, with what is needed to tell of it. */
struct checked {
    const struct statement *statement;
    const struct decision *decision;
    const char *text; /* of the statement alone */
    size_t length;
    size_t offset; /* of that in the query's text */
    const char *whole;
    const struct lint_place *place;
};

static char *copy_or_null(const char *text) {
    return text != NULL ? alloc_text(text) : NULL;
}

/* In a log the parser's words go: they may quote a literal. */
static const char *shown_detail(const struct checked *c, const struct violation *v) {
    const char *error = c->statement->query->parse_error;
    if (c->place->column > 0 || v->rule != RULE_UNPARSED || v->detail == NULL || error == NULL) {
        return v->detail;
    }
    const char *rest = strstr(v->detail, error);
    rest = rest != NULL ? rest + strlen(error) : v->detail;
    rest += strspn(rest, ". ");
    return *rest != '\0' ? rest : NULL;
}

/* Where the first token of a text is that is no comment. */
static size_t first_token(const char *text, size_t length) {
    struct lexer lexer;
    struct token token;
    lexer_init(&lexer, text, length, true);
    do {
        lexer_next(&lexer, &token);
    } while (token.kind == TOKEN_LINE_COMMENT || token.kind == TOKEN_BLOCK_COMMENT);
    return token.start;
}

static void set_position(struct lint_finding *finding, const struct checked *c, int position) {
    finding->line = c->place->line;
    if (c->place->column == 0) {
        return;
    }
    size_t until = position >= 0 ? (size_t)position : c->offset + first_token(c->text, c->length);
    finding->column = c->place->column;
    for (size_t i = 0; i < until; i++) {
        if (c->whole[i] == '\n') {
            finding->line++;
            finding->column = 1;
        } else {
            finding->column += !utf8_is_continuation(c->whole[i]);
        }
    }
}

static char *tables_text(const struct lint_check *check, const struct checked *c) {
    const struct explained e = {
        .settings = check->settings, .statement = c->statement, .decision = c->decision};
    json_t *tables = explained_tables_json(&e);
    char *text = json_dumps(tables, JSON_COMPACT);
    json_decref(tables);
    return text != NULL ? text : alloc_text("[]");
}

static char *shown_statement(const struct text *normalized) {
    size_t length = normalized->length;
    if (length <= LINT_STATEMENT_SHOWN) {
        return alloc_copy(normalized->data, length);
    }
    length = utf8_cut(normalized->data, LINT_STATEMENT_SHOWN);
    return alloc_format("%.*s …", (int)length, normalized->data);
}

static void add_finding(struct lint_check *check, const struct checked *c,
                        const struct violation *v) {
    bool log = c->place->column == 0;
    lint_normalize(c->text, c->length, &check->shown);
    struct lint_fingerprint fingerprint =
        lint_fingerprint_of(v->rule, check->shown.data, check->shown.length, c->decision->subject);
    if (log && lint_findings_count(check->findings, &fingerprint, c->place->count)) {
        return;
    }
    struct lint_finding finding = {
        .fingerprint = fingerprint,
        .file = c->place->file,
        .count = c->place->count,
        .rule = v->rule,
        .sqlstate = alloc_text(v->sqlstate),
        .kind = alloc_text(statement_kind_name(c->statement->facts->kind)),
        .message = alloc_text(v->message),
        .detail = copy_or_null(shown_detail(c, v)),
        .hint = copy_or_null(v->hint),
        .table = copy_or_null(v->table),
        .statement = log ? shown_statement(&check->shown) : NULL,
        .tables = tables_text(check, c),
    };
    char *normalized = statement_normalized_text(c->decision->subject);
    fingerprint_make(v->rule, normalized, finding.permit);
    free(normalized);
    set_position(&finding, c, v->position);
    lint_findings_take(check->findings, &finding, log);
}

/* What no database of the split can execute was executed on the one before it: what it modified
 * counts in the transaction. */
static void assume_executed(const struct lint_check *check, struct decision *decision) {
    const struct statement *subject = decision->subject;
    if (!subject->executes || subject->modified == 0) {
        return;
    }
    decision->modifies = 0;
    for (schema_set rest = subject->modified; rest != 0; rest &= rest - 1) {
        database_set own =
            classification_schema_databases(check->settings->classification, __builtin_ctzll(rest));
        decision->modifies |= (database_set)1 << database_set_first(own);
    }
    decision->modified_schemas = subject->facts->kind == KIND_DDL ? 0 : subject->modified;
    decision->database = database_set_first(decision->modifies);
    decision->destination = DESTINATION_ONE;
}

/* ---- checking ---- */

static void check_statement(struct lint_check *check, struct session_state *session,
                            struct checked *c) {
    struct decision decision = {.destination = DESTINATION_NONE, .database = -1};
    decision.subject = c->statement;
    c->decision = &decision;
    check->statements++;
    session_decide(session, c->statement, &decision);
    if (decision.violated) {
        add_finding(check, c, &decision.violation);
        set_modes(check, RULE_REPORT);
        session_decide(session, c->statement, &decision);
        set_modes(check, RULE_ENFORCE);
        if (decision.violated) {
            assume_executed(check, &decision);
        }
    }
    session_executed(session, c->statement, &decision);
}

/* A query that stands for many texts has no positions. */
static void make_exact(struct lint_check *check, struct query **query, const char *text,
                       size_t length) {
    struct query *exact;
    struct error error;
    if (router_query(check->router, text, length, &lexing, true, &exact, &error)) {
        query_unref(*query);
        *query = exact;
    }
}

/* Whether a statement would be rejected, without its words. */
static bool is_violation(struct session_state *session, const struct statement *statement) {
    struct decision decision = {.destination = DESTINATION_NONE, .database = -1};
    session_decide(session, statement, &decision);
    return decision.violated;
}

void lint_check_query(struct lint_check *check, struct session_state *session, struct query *query,
                      const char *text, size_t length, const struct lint_place *place) {
    bool positions = place->column > 0 || query->count > 1; /* are needed to tell of a finding */
    set_modes(check, RULE_ENFORCE);
    for (size_t i = 0; i < query->count; i++) {
        if (statements_refused_by_block(session, &query->statements[i])) {
            continue;
        }
        if (statements_lacks_savepoint(session, &query->statements[i])) {
            session_failed(session);
            continue;
        }
        if (query->is_shape && positions && is_violation(session, &query->statements[i])) {
            make_exact(check, &query, text, length);
        }
        const struct statement *statement = &query->statements[i];
        struct checked c = {
            .statement = statement, .text = text, .length = length, .whole = text, .place = place};
        if (!query->is_shape) {
            c.offset = statement->facts->start;
            c.text += c.offset;
            c.length = statement->facts->length;
        }
        check_statement(check, session, &c);
    }
    query_unref(query);
}
