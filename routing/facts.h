/* What a query text says: for each of its statements the kind, the tables with how they are accessed, and the names
 * that matter to a session. Plain data, found by the parser alone, before any classification.
 *
 * A `struct query_facts` owns an arena; everything that hangs off it lives and dies with it. Positions are byte offsets
 * into the whole text. Names are as PostgreSQL stores identifiers: folded, unquoted, truncated. */
#ifndef PGINTERLOCK_FACTS_H
#define PGINTERLOCK_FACTS_H

#include "config/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How a statement touches a table; the strongest last. */
enum access { ACCESS_READ, ACCESS_LOCK, ACCESS_DDL, ACCESS_WRITE };

enum statement_kind {
    KIND_EMPTY, /* nothing but white space and comments */
    KIND_SELECT, /* also VALUES, TABLE */
    KIND_INSERT,
    KIND_UPDATE,
    KIND_DELETE,
    KIND_MERGE,
    KIND_TRUNCATE,
    KIND_COPY_FROM,
    KIND_COPY_TO,
    KIND_CALL,
    KIND_DO,
    KIND_EXPLAIN,
    KIND_LOCK,
    KIND_DDL,     /* structure: CREATE, ALTER, DROP, COMMENT, GRANT, REINDEX, … */
    KIND_UTILITY, /* the rest that reads or maintains: VACUUM, ANALYZE, CLUSTER, CHECKPOINT, LOAD, … */
    KIND_BEGIN,
    KIND_COMMIT,
    KIND_ROLLBACK,
    KIND_SAVEPOINT,
    KIND_RELEASE,
    KIND_ROLLBACK_TO,
    KIND_PREPARE_TRANSACTION,
    KIND_COMMIT_PREPARED,
    KIND_ROLLBACK_PREPARED,
    KIND_SET,             /* SET, SET LOCAL, SET … TO DEFAULT, RESET x */
    KIND_RESET_ALL,
    KIND_SET_TRANSACTION, /* SET TRANSACTION …: this block only (SESSION CHARACTERISTICS is KIND_SET) */
    KIND_SET_CONSTRAINTS,
    KIND_SHOW,
    KIND_PREPARE,
    KIND_EXECUTE,
    KIND_DEALLOCATE, /* name NULL: ALL */
    KIND_DECLARE,
    KIND_FETCH, /* also MOVE */
    KIND_CLOSE, /* name NULL: ALL */
    KIND_LISTEN,
    KIND_UNLISTEN, /* name NULL: * */
    KIND_NOTIFY,
    KIND_DISCARD, /* name: "all", "plans", "sequences" or "temp" */
    KIND_UNPARSED,
    KIND_COUNT
};

const char *statement_kind_name(enum statement_kind kind); /* "select", "rollback to", … lower case */

enum table_flag {
    TABLE_NAMED_IN_STRING = 1 << 0, /* regclass literal, size or privilege function: counts as read */
    TABLE_SEQUENCE = 1 << 1,        /* `name` is a sequence's; it belongs to the table of its `TABLE_…_seq` name */
    TABLE_CREATED = 1 << 2,         /* the statement creates it */
    TABLE_DROPPED = 1 << 3,         /* the statement drops it */
    TABLE_TEMPORARY = 1 << 4,       /* created TEMPORARY, or written as pg_temp.x */
    TABLE_REFERENCED = 1 << 5,      /* the far end of a foreign key */
    TABLE_OTHER_OBJECT = 1 << 6,    /* the name of an index, trigger, constraint, …: not a table, resolved elsewhere */
    TABLE_IN_BODY = 1 << 7,         /* found in the body of a DO block or an SQL function */
    TABLE_TYPE = 1 << 8,            /* row type of a table (NULL::ci_builds); counts only if it is a classified name */
    TABLE_SEQUENCE_USED = 1 << 9,   /* nextval() and the like: more than a look-up of the name in the catalogs */
    TABLE_RENAMED = 1 << 10,        /* created by renaming the statement's other table */
    TABLE_READ_TOO = 1 << 11,       /* its structure changes in one place, its rows are read or locked in another */
    TABLE_INDEX = 1 << 12, /* with OTHER_OBJECT: an index's name, whose table only a catalog knows */
    TABLE_STATISTICS = 1 << 13,     /* … or that of extended statistics */
    TABLE_CONSTRAINT = 1 << 14,     /* … or a constraint's (SET CONSTRAINTS) */
    TABLE_VIEW = 1 << 15,           /* with CREATED: a view, through which its tables can be written */
};

struct table_facts {
    const char *schema; /* as written, or NULL */
    const char *name;
    enum access access; /* strongest over all its places in the statement */
    unsigned flags;     /* enum table_flag; TABLE_NAMED_IN_STRING and TABLE_IN_BODY only if so in all its places */
    int position;       /* byte offset of its first place in the text; -1: unknown */
};

struct foreign_key_facts {
    int from, to; /* indexes into tables */
};

enum statement_flag {
    STATEMENT_PERMIT_CROSS_JOIN = 1 << 0,        /* comment allow_cross_joins_across_databases */
    STATEMENT_PERMIT_CROSS_TRANSACTION = 1 << 1, /* comment allow_cross_database_modification_within_transaction */
    STATEMENT_LOCAL = 1 << 2,          /* SET LOCAL, or set_config(…, true) */
    STATEMENT_CHAIN = 1 << 3,          /* COMMIT or ROLLBACK AND CHAIN */
    STATEMENT_SHARED_KEY = 1 << 4,     /* calls a function whose effect is per database and must meet others: advisory
                                          locks, pg_notify. Without tables it runs on `main`, so that all meet there */
    STATEMENT_CATALOG = 1 << 5,        /* reads nothing but system catalogs (at least one) */
    STATEMENT_TEMPORARY = 1 << 6,      /* CREATE TEMPORARY TABLE/VIEW/SEQUENCE, SELECT INTO TEMP */
    STATEMENT_HOLD = 1 << 7,           /* DECLARE … WITH HOLD */
    STATEMENT_SET_CONFIG = 1 << 8,     /* calls set_config(); name and value set where they are constants */
    STATEMENT_ANALYZE = 1 << 9,        /* EXPLAIN ANALYZE: what it explains is executed */
    STATEMENT_DYNAMIC = 1 << 10,       /* DO or function body with dynamic EXECUTE, or a language not looked into; a query
                                          or sequence that is given to a function and no constant; what reads every
                                          table there is (schema_to_xml()) */
    STATEMENT_CALLS_FUNCTIONS = 1 << 11, /* calls a function that is not PostgreSQL's own read-only sort */
    STATEMENT_DEFAULT = 1 << 12,       /* SET x TO DEFAULT or RESET x */
    STATEMENT_NO_BLOCK = 1 << 13,      /* cannot run inside a transaction block: VACUUM, CREATE DATABASE, … CONCURRENTLY */
    STATEMENT_LOAD = 1 << 17,          /* LOAD: what it brings stays in the server process */
    STATEMENT_CONSTANTS = 1 << 15,       /* what was found depends on the value of a constant: a name in a string */
    STATEMENT_LASTVAL = 1 << 16,       /* calls lastval(): of the sequence drawn from last */
    STATEMENT_MAYBE_LOCAL = 1 << 19,   /* set_config() whose last argument is no constant: only the server knows whether
                                          it ends with the transaction */
    STATEMENT_LATER = 1 << 18,         /* makes a function in PL/pgSQL: its body is not looked at before it runs, and then
                                          each of its statements stands for itself */
    STATEMENT_CURRVAL = 1 << 21,       /* calls currval() or lastval(): what this connection drew… */
    STATEMENT_NEXTVAL = 1 << 20,       /* …and nextval(), by which it may just have drawn it */
    STATEMENT_SETS_SEVERAL = 1 << 22,      /* set_config() more than once: name, value and STATEMENT_LOCAL are the first's;
                                          STATEMENT_MAYBE_LOCAL: not all end with the transaction */
    STATEMENT_ALTERS_DEFAULTS = 1 << 23, /* ALTER ROLE or DATABASE … SET: what connections begin with from now on */
    STATEMENT_SEED = 1 << 24, /* setseed() or SET seed: random() is the connection's from then on */
    STATEMENT_MODIFIES_DDL = 1 << 14,  /* structure change that counts as a modification of its database */
};

struct statement_facts {
    enum statement_kind kind;
    unsigned flags;        /* enum statement_flag */
    size_t start, length;  /* its slice of the text, without the semicolon and surrounding white space; comments that
                              stand before it belong to it */

    const struct table_facts *tables; /* each relation once, in order of first appearance */
    size_t table_count;
    const struct foreign_key_facts *foreign_keys;
    size_t foreign_key_count;

    const char *name;  /* savepoint, prepared statement, cursor, channel, setting, gid; NULL: none or ALL */
    const char *value; /* of a setting, where constant (a list is joined with ", "); NULL: DEFAULT or not constant.
                          SESSION CHARACTERISTICS: `transaction_isolation serializable, transaction_read_only 1` */

    const char *hint_database;  /* from a comment `database: x`, or NULL */

    /* Functions that the statement calls, by unqualified name, without PostgreSQL's own. */
    const char *const *functions;
    size_t function_count;

    /* String constants of a STATEMENT_CATALOG statement that could be relation names ('^(x)$' is given as x). */
    const char *const *literals;
    size_t literal_count;

    /* PREPARE, DECLARE, EXPLAIN, COPY (query), CREATE TABLE AS: what the inner statement is. Tables are merged above
     * with the access that executing the inner statement has; inner_kind says what EXECUTE or FETCH does. */
    enum statement_kind inner_kind; /* KIND_EMPTY: none */
};

struct query_facts {
    struct statement_facts *statements;
    size_t count; /* 0: nothing but white space and comments */
    struct arena *arena;
};

/* How the server would read the text. */
struct lexing {
    bool standard_conforming_strings;
};

/* Parses `text` (length bytes, NUL-terminated at text[length], valid UTF-8 or not). Always gives facts: what cannot be parsed is one
 * KIND_UNPARSED statement over the whole text whose tables are the identifiers found (access write), in which
 * case `error` says what the parser or the pre-scan objected to (else it is the empty string). Returns false only where the text must not
 * reach a database at all (an embedded NUL, invalid UTF-8 while client_encoding is UTF8: the caller passes
 * check_utf8); `error` then is the message for the client.
 * Call on a thread with a big stack (see proxy/worker.h): the parser is recursive. */
bool facts_parse(const char *text, size_t length, const struct lexing *lexing, bool check_utf8,
                 struct query_facts *out, struct error *error) __attribute__((warn_unused_result));
void facts_close(struct query_facts *facts);

#endif
