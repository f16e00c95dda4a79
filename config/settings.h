/* The settings file (contract.md, "Configuration") with everything it refers to, loaded once into an immutable
 * snapshot. A snapshot is shared by reference between threads: settings_ref() and settings_unref() are atomic, all
 * fields are read-only. */
#ifndef PGINTERLOCK_SETTINGS_H
#define PGINTERLOCK_SETTINGS_H

#include "config/classification.h"
#include "config/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The rules: the file's, in the order in which a violation is told where several break; then the others. */
enum rule {
    RULE_UNCLASSIFIED,
    RULE_UNPARSED,
    RULE_CROSS_FOREIGN_KEY,
    RULE_CROSS_JOIN,
    RULE_WRITE_LOCK,
    RULE_WRONG_DATABASE,
    RULE_CROSS_TRANSACTION,
    RULE_UNROUTABLE,      /* from here on always enforced; not a key of the file */
    RULE_ALLOWED_SCHEMAS, /* told after unparsed: what the session itself asked for */
    RULE_COUNT
};

enum rule_mode { RULE_ENFORCE, RULE_REPORT, RULE_OFF };

/* "cross_join" and so on, and the SQLSTATE of a violation, "XD001" and so on. */
const char *rule_name(enum rule rule);
const char *rule_sqlstate(enum rule rule);

struct listen_address {
    char *text;    /* as written, for messages */
    char *host;    /* numeric or a name, without brackets; NULL for a Unix socket */
    char *folder;  /* the folder of a Unix socket; NULL for TCP */
    uint16_t port; /* host byte order */
};

/* How connections to databases are shared: PgBouncer's names and meanings. Times are in seconds; 0:
 * no limit. */
enum pool_mode {
    POOL_OFF,     /* each client has connections of its own */
    POOL_SESSION, /* a client keeps those that it has used until it goes */
    POOL_TRANSACTION,
};

struct pool_settings {
    enum pool_mode mode;
    unsigned size, min_size, reserve_size; /* connections for one database and user */
    unsigned reserve_timeout;              /* that a client waits before the reserve is used */
    unsigned max_db_connections;           /* to one server, of all users; 0: no limit */
    unsigned max_prepared_statements;      /* kept on one connection */
    unsigned server_lifetime, server_idle_timeout;
    unsigned query_wait_timeout; /* that a client waits for a connection */
    unsigned idle_transaction_timeout, client_idle_timeout;
    unsigned max_client_conn; /* of the whole process; 0: no limit */
};

struct database {
    char *name;     /* logical name: "main" */
    char *conninfo; /* libpq connection string; for a database that is same_as another, that one's */
    int physical;   /* index of the database that stores it: its own unless it is same_as another */
    struct pool_settings pool; /* what of it is about connections to databases */
};

enum { ENTRYPOINT_ROUTED = -1 };

struct entrypoint {
    char *name;   /* database name that clients ask for */
    int database; /* index of the database that it is pinned to, or ENTRYPOINT_ROUTED */
    struct pool_settings pool; /* what of it is about clients */
};

enum auth_method { AUTH_TRUST, AUTH_PASSWORD, AUTH_MD5, AUTH_SCRAM_SHA_256, AUTH_CERT };

/* One line of userlist.txt. `secret` is as in the file: plain text, "md5" and 32 hex digits, or a SCRAM verifier. */
struct user {
    char *name;
    char *secret;
};

enum tls_mode { TLS_DISABLE, TLS_PREFER, TLS_REQUIRE, TLS_VERIFY_CA, TLS_VERIFY_FULL };
enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

/* As in the file. */
const char *rule_mode_name(enum rule_mode mode);
const char *auth_method_name(enum auth_method method);
const char *tls_mode_name(enum tls_mode mode);
const char *pool_mode_name(enum pool_mode mode);
const char *log_level_name(enum log_level level);
const char *log_format_name(enum log_format format);

struct settings {
    char *path; /* the file, for messages */

    struct listen_address *listen;
    size_t listen_count;

    struct database *databases; /* `main` first */
    size_t database_count;      /* 1 to DATABASES_MAX */

    struct classification *classification;

    struct entrypoint *entrypoints;
    size_t entrypoint_count;

    enum rule_mode rules[RULE_COUNT];
    struct allowlist *allowlist; /* config/allowlist.h; NULL: none */
    bool outer_transaction_ignored; /* rules.outer_transaction: ignore, for test suites */

    struct {
        enum auth_method method;
        struct user *users; /* sorted by name */
        size_t user_count;
        bool allow_insecure;
    } auth;

    /* The console, where operators see figures: a database name to connect to, and who may. */
    struct {
        char *database; /* NULL: there is none */
        char **users;
        size_t user_count;
    } admin;

    struct {
        enum tls_mode mode;
        char *cert, *key, *ca; /* absolute paths or NULL */
    } tls;

    struct {
        enum log_level level;
        enum log_format format;
    } log;

    char *violations;    /* absolute or relative to where we run: the file that violations are recorded in; NULL: none */
    int violations_line; /* where it is set, for messages */

    /* Of clients' sockets; 0: what the system does by itself. */
    struct {
        bool keepalive; /* default true */
        unsigned keepidle, keepintvl, keepcnt; /* seconds, seconds, probes */
        unsigned user_timeout; /* milliseconds that what was sent may stay unacknowledged */
    } tcp;

    unsigned max_client_conn;   /* 0: no limit */
    unsigned workers;           /* event loops; 0: one for two cores */
    unsigned shutdown_timeout;  /* seconds that SIGTERM lets running transactions finish; default 30 */
    unsigned login_timeout;     /* seconds for a client to log in; default 60 */
    unsigned connect_timeout;   /* seconds for a connection to a database; default 15 */

    char **notices; /* to be said at start: a same_as found out, the one-level form of database.yml, … */
    size_t notice_count;

    uint64_t generation; /* distinct for each load within the process, from 1 */
};

/* Reads the file at `path` and what it refers to. On success *out is a new snapshot with one reference. On failure
 * the error reads `FILE:LINE: what is wrong: what to do`. */
bool settings_load(const char *path, struct settings **out, struct error *error)
    __attribute__((warn_unused_result));

/* Whether the file of `violations`, where there is one, can be written by who runs this; else the error reads as
 * settings_load()'s. Apart from loading, because who only asks what would happen need not be able to. */
bool settings_check_violations(const struct settings *settings, struct error *error)
    __attribute__((warn_unused_result));

struct settings *settings_ref(const struct settings *settings);
void settings_unref(const struct settings *settings); /* frees it with the last reference; NULL is fine */

/* Index, or -1. */
int settings_find_database(const struct settings *settings, const char *name);
int settings_find_entrypoint(const struct settings *settings, const char *name);
const struct user *settings_find_user(const struct settings *settings, const char *name); /* NULL: none */

/* Whether this user may connect to the console. */
bool settings_is_admin(const struct settings *settings, const char *user);

/* Whether sessions opened under `a` can go on under `b`: same databases with the same connection strings. */
bool settings_same_databases(const struct settings *a, const struct settings *b);
/* …or with other ones. */
bool settings_same_layout(const struct settings *a, const struct settings *b);

#endif
