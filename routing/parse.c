#include "routing/walk.h"

#include <stdlib.h>

/* libpg_query exports these and has no header for them installed. */
struct parse_error {
    char *message;
    char *function;
    char *file;
    int line;
    int cursor;
    char *context;
};
struct parse_result {
    List *tree;
    char *stderr_text;
    struct parse_error *error;
};
extern struct parse_result pg_query_raw_parse(const char *input);
extern MemoryContext pg_query_enter_memory_context(void);
extern void pg_query_exit_memory_context(MemoryContext context);
extern __thread bool standard_conforming_strings;
extern __thread bool escape_string_warning;

void parse_enter(struct parse *parse) {
    parse->context = pg_query_enter_memory_context();
}

void parse_leave(struct parse *parse) {
    pg_query_exit_memory_context(parse->context);
}

bool parse_text(const char *text, bool conforming, const List **statements, char **message) {
    standard_conforming_strings = conforming;
    escape_string_warning = false;
    struct parse_result result = pg_query_raw_parse(text);
    free(result.stderr_text);
    *statements = result.tree;
    *message = NULL;
    if (!result.error)
        return true;
    *message = result.error->message;
    free(result.error->function);
    free(result.error->file);
    free(result.error->context);
    free(result.error);
    return false;
}
