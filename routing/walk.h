/* The walk over PostgreSQL's raw parse tree (grammar 15), internal to the files walk*.c, parse.c
 * and facts.c: it includes the server's headers, which define macros that no other file should see.
 *
 * There is no recursion over expressions or queries: nodes wait on a stack of their own in the
 * heap, each with its scope, so the depth of a statement costs memory only. A node that the walk
 * does not know sets `unknown`; then the statement counts as unparsed, never as one without tables.
 */
#ifndef PGINTERLOCK_WALK_H
#define PGINTERLOCK_WALK_H

#include "routing/arena.h"
#include "routing/collect.h"
#include "routing/facts.h"

#include "postgres.h"

#include "nodes/parsenodes.h"
#undef printf
#undef fprintf
#undef snprintf
#undef vsnprintf
#undef sprintf
#undef strerror

/* Names of common table expressions that a place sees, innermost first. */
struct scope {
    const char *name;
    const struct scope *outer;
    unsigned depth;
};

/* A node to visit. */
struct item {
    const void *node;
    const struct scope *scope;
    const List *locking; /* FROM items: locking clauses of their SELECT */
    bool lock_all;       /* FROM items and subqueries: locked from outside */
};

enum {
    WALK_CTES_MAX = 2000,   /* names visible at one place, as each name is looked for among them */
    WALK_BODIES_MAX = 6,    /* bodies within bodies */
    WALK_STRINGS_MAX = 512, /* string constants remembered for catalog queries */
};

struct walk {
    struct collector *out;
    struct statement_facts *statement;
    struct arena *scratch; /* lives as long as the walk */
    bool standard_conforming_strings;
    const char *text; /* that the tree was made of */
    size_t text_length;
    struct item *items;
    size_t item_count, item_capacity;
    const char **strings; /* constants seen, borrowed from the tree */
    size_t string_count;
    unsigned table_flags; /* for every table found: TABLE_IN_BODY */
    bool read_only;       /* nothing that is found is executed: EXPLAIN, a view's query */
    int position_base;    /* added to locations; in a body its place in the text */
    bool position_fixed;  /* all locations are position_base: a body that has escapes */
    int body_depth;
    const char *unknown; /* what the walk did not know, or NULL */
    int unknown_tag;
};

/* walk.c: the stack, names, expressions */
void walk_push(struct walk *walk, const void *node, const struct scope *scope);
void walk_push_from(struct walk *walk,
                    const struct item *item); /* with what holds for FROM items */
void walk_run(struct walk *walk);             /* until the stack is empty */
void walk_give_up(struct walk *walk, const char *what, int tag);
int walk_position(const struct walk *walk, int location);
int walk_add_relation(struct walk *walk, const RangeVar *relation, enum access access,
                      unsigned flags);
/* A possibly qualified name: the first `length` of a list of strings. */
int walk_add_name(struct walk *walk, const List *names, int length, enum access access,
                  unsigned flags);
void walk_add_type(struct walk *walk, const TypeName *type, int location);
bool walk_is_sequence_name(const char *name);
bool walk_is_temporary(const RangeVar *relation);

/* walk_query.c: SELECT, INSERT, UPDATE, DELETE, MERGE and what stands in FROM; false: not one of
 * them */
bool walk_query_node(struct walk *walk, const struct item *item);
bool walk_is_query(const Node *node);
enum statement_kind walk_query_kind(const Node *node);

/* walk_functions.c: calls, and names in strings */
void walk_function(struct walk *walk, const FuncCall *call, const struct scope *scope);
bool walk_takes_names(const char *name); /* of a function or type: it takes a relation's as text */
bool walk_cast_names(struct walk *walk, const TypeCast *cast);
void walk_add_string_name(struct walk *walk, const char *text, unsigned flags, int location);
void walk_collect_literals(struct walk *walk);

/* walk_builtins.c */
bool walk_is_builtin_function(const char *name);

/* walk_utility.c: everything else, and the statement as a whole */
void walk_statement(struct walk *walk, const Node *node);

/* walk_ddl.c: structure; false: not such a statement */
bool walk_ddl(struct walk *walk, const Node *node);
void walk_ddl_list(struct walk *walk, const List *nodes, const RangeVar *table, int from);

/* walk_object.c: objects by kind and name: DROP, COMMENT, RENAME, GRANT, … */
bool walk_object_statement(struct walk *walk, const Node *node);
void walk_relation_of_type(struct walk *walk, const RangeVar *relation, ObjectType type,
                           unsigned flags);

/* walk_types.c: the types by which statements name functions, casts, operators, … */
void walk_node_types(struct walk *walk, const Node *node);
void walk_plain_types(struct walk *walk, const Node *node); /* of a statement without relations */

/* walk_body.c: code in strings */
void walk_do(struct walk *walk, const DoStmt *statement);
void walk_create_function(struct walk *walk, const CreateFunctionStmt *statement);
/* SQL statements; `position`: where they stand in the text, for all of them if `fixed`. What cannot
 * be read leaves its identifiers with the access `otherwise`. */
void walk_sql_body(struct walk *walk, const char *text, int position, bool fixed,
                   enum access otherwise);
/* The identifiers of code: they count only where they are classified names. */
void walk_identifiers(struct walk *walk, const char *text, size_t length, enum access access,
                      unsigned flags);

/* walk_plpgsql.c */
void walk_plpgsql_code(struct walk *walk, const char *text, size_t length);

/* parse.c: the parser, between parse_enter() and parse_leave() */
struct parse {
    void *context;
};
void parse_enter(struct parse *parse);
void parse_leave(struct parse *parse);
/* List of RawStmt; false: `message` (for free(), may be NULL) says what the parser objected to. */
bool parse_text(const char *text, bool standard_conforming_strings, const List **statements,
                char **message);

#endif
