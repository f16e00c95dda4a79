/* Query text in, classified statements out, through a cache on the exact text.
 *
 * One router belongs to one worker thread and one settings snapshot; nothing here is shared or locked. */
#ifndef PGINTERLOCK_ROUTER_H
#define PGINTERLOCK_ROUTER_H

#include "config/settings.h"
#include "routing/facts.h"

/* A table with its classification. */
struct routed_table {
    const struct table_facts *facts;
    int schema;             /* -1: unclassified */
    database_set databases; /* that hold it; 0 when unclassified */
};

/* One statement of a query, classified. `facts` and all arrays belong to the query. */
struct statement {
    const struct statement_facts *facts;
    const struct query *query;
    const struct routed_table *tables; /* parallel to facts->tables */
    schema_set schemas;                /* S: without the neutral ones */
    schema_set neutral;                /* gitlab_internal and gitlab_shared* */
    database_set databases;            /* databases that hold every schema of S; all where S is empty */
    bool writes;                       /* some table is accessed with ACCESS_WRITE or ACCESS_LOCK, or modifying DDL */
    int hint_database;                 /* index, or -1 */
};

/* A query text, parsed and classified; immutable and reference counted, within one thread. */
struct query {
    const char *text; /* NUL-terminated copy */
    size_t length;
    struct query_facts facts;
    struct statement *statements;
    size_t count;
    struct error parse_error; /* empty text unless a statement is KIND_UNPARSED */
    uint64_t generation; /* of the settings it was classified with */
    unsigned references;
};

struct router;

/* `settings` is borrowed and must outlive the router. The cache holds at most `cache_bytes` of texts and facts. */
struct router *router_new(const struct settings *settings, size_t cache_bytes);
void router_free(struct router *router);
const struct settings *router_settings(const struct router *router);

/* The query for `text` (length bytes; text[length] must be readable and NUL). Returned with a reference for the
 * caller, who gives it back with query_unref(). False: the text must not reach a database (facts_parse());
 * `error` is the message for the client. */
bool router_query(struct router *router, const char *text, size_t length, const struct lexing *lexing,
                  bool check_utf8, struct query **out, struct error *error) __attribute__((warn_unused_result));
struct query *query_ref(struct query *query);
void query_unref(struct query *query);

#endif
