/* Query text in, classified statements out, through a cache by exact text or shape.
 *
 * One router belongs to one worker thread and one settings snapshot; nothing here is shared or
 * locked. */
#ifndef PGINTERLOCK_ROUTER_H
#define PGINTERLOCK_ROUTER_H

#include "config/settings.h"
#include "routing/facts.h"

/* What a table's name means for routing. */
enum table_role {
    ROLE_COUNTS,  /* its schema says where the statement goes */
    ROLE_UNKNOWN, /* it has no gitlab_schema and needs one; where that is let pass it counts as
                     main's */
    ROLE_IGNORED, /* says nothing: an index's name, a string that is no table, a temporary table in
                     the making */
    ROLE_TEMPORARY, /* the session's temporary table: `databases` says where it lives */
};

/* A table with its classification. */
struct routed_table {
    const struct table_facts *facts;
    enum table_role role;
    int schema;             /* -1: unclassified */
    database_set databases; /* that hold it; 0 when unclassified */
};

/* The same where a table without a class is let pass: it counts as main's. The schema is -1 where
 * the table counts for nothing or is temporary. */
int routed_table_schema(const struct routed_table *table, const struct classification *c);
database_set routed_table_databases(const struct routed_table *table);

/* One statement of a query, classified. `facts` and all arrays belong to the query. What depends on
 * nothing but text and classification is worked out here once, so that session_decide() only looks
 * at the session. */
struct statement {
    const struct statement_facts *facts;
    const struct query *query;
    const struct routed_table *tables; /* parallel to facts->tables */
    schema_set schemas;                /* S: without the neutral ones */
    schema_set neutral;                /* gitlab_internal and gitlab_shared* */
    database_set databases; /* databases that hold every schema of S; all where S is empty */
    bool writes; /* some table is accessed with ACCESS_WRITE or ACCESS_LOCK, or modifying DDL */
    int hint_database; /* index, or -1 */

    schema_set modified;   /* schemas of S that executing it modifies */
    bool modifies_neutral; /* it modifies a neutral table, or the database as such (CREATE FUNCTION)
                            */
    bool executes; /* running it does what its tables' access says: not PREPARE, DECLARE, plain
                      EXPLAIN */
    bool bound;    /* S or a temporary table binds it to `databases` */
    bool bad_join; /* breaks cross_join */
    int bad_foreign_key; /* index of the first one that breaks cross_foreign_key, or -1 */
    int unknown;         /* index of the first table with ROLE_UNKNOWN, or -1 */
    bool looks_up;       /* names tables in strings that are looked up in the catalogs */
    bool names_objects;  /* names an index, trigger, … and no table that counts */
    bool names_tables;   /* a catalog statement that names classified tables in strings */
    database_set named;  /* the databases that hold all of those */
    bool draws;          /* it may draw from a sequence: one that it names, or a column's default */
    bool asks_catalogs;  /* names what only a catalog can resolve: see object_names.h */
    bool drops_on_commit; /* CREATE TEMPORARY TABLE … ON COMMIT DROP */
    bool plain; /* SELECT, INSERT, UPDATE or DELETE that breaks no rule by itself: but for what the
                   session has set, made or modified, its tables alone say where it goes */
};

/* A query text, parsed and classified; immutable and reference counted, within one thread. One
 * allocation with everything that hangs off it. */
struct query {
    const char *text; /* NUL-terminated copy */
    size_t length;
    struct query_facts facts; /* without an arena */
    struct statement *statements;
    size_t count;
    const char
        *parse_error; /* what the parser objected to, where a statement is KIND_UNPARSED; else NULL
                       */
    uint64_t generation; /* of the settings it was classified with */
    unsigned references;
    bool is_shape;     /* it stands for every text of a shape: see router_query_shape() */
    const char *shape; /* that shape (routing/shape.h), NUL-terminated; else NULL */
    size_t shape_length;
    struct lexing lexing; /* how it was read */
    size_t bytes;         /* how many it occupies */
};

struct router;

/* `settings` is borrowed and must outlive the router. The cache holds at most `cache_bytes` of
 * texts and facts. */
struct router *router_new(const struct settings *settings, size_t cache_bytes);
void router_free(struct router *router);
const struct settings *router_settings(const struct router *router);

/* The query for `text` (length bytes; text[length] must be readable and NUL). Returned with a
 * reference for the caller, who gives it back with query_unref(). False: the text must not reach a
 * database (facts_parse()); `error` is the message for the client. */
bool router_query(struct router *router, const char *text, size_t length,
                  const struct lexing *lexing, bool check_utf8, struct query **out,
                  struct error *error) __attribute__((warn_unused_result));

/* The same for a text that is passed on as it is: the query may stand for every text of its shape
 * (is_shape). It then has no positions, and no text either, so that no session can see or send
 * another's. If there is a reason to reject the text, or to take it apart, look it up again with
 * router_query(). */
bool router_query_shape(struct router *router, const char *text, size_t length,
                        const struct lexing *lexing, bool check_utf8, struct query **out,
                        struct error *error) __attribute__((warn_unused_result));
struct query *query_ref(const struct query *query);
void query_unref(struct query *query);

/* The same facts classified with other settings; a reference for the caller. */
struct query *query_reclassify(const struct query *query, const struct settings *settings);

/* Whether it changes the structure of a table that it does not name, but an index or sequence of
 * it. */
static inline bool statement_alters_objects(const struct statement *statement) {
    return statement->asks_catalogs && statement->facts->kind == KIND_DDL;
}

/* Works out everything of `statement` that follows from its facts and `tables` (with role, schema
 * and databases set). */
void statement_summarize(struct statement *statement, const struct settings *settings);

/* Whether running it modifies its table with that index, as far as other sessions can see. */
bool statement_modifies_table(const struct statement *statement, size_t index);

/* The index of the lowest database in a set that isn't empty. */
int database_set_first(database_set set);

/* All of a set's databases, and the sets as they are stored: each database as the one it is
 * same_as. */
database_set settings_all_databases(const struct settings *settings);
database_set settings_physical_databases(const struct settings *settings, database_set set);

#endif
