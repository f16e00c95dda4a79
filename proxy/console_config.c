/* Tables of what is configured: the databases, the settings, the version; and what the console
 * knows. Nothing here is a secret:
 * of connection strings only where they lead and as whom. */
#include "proxy/console_internal.h"

#include "config/alloc.h"
#include "config/allowlist.h"
#include "config/conninfo.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY(name)                                                                                  \
    { name, FIGURE_TEXT, MERGE_KEY }
#define TEXT(name)                                                                                 \
    { name, FIGURE_TEXT, MERGE_FIRST }
#define NUMBER(name)                                                                               \
    { name, FIGURE_NUMBER, MERGE_FIRST }

static const struct figure_column database_columns[] = {
    KEY("name"),
    TEXT("host"),
    TEXT("port"),
    TEXT("database"),
    TEXT("force_user"),
    NUMBER("pool_size"),
    NUMBER("min_pool_size"),
    NUMBER("reserve_pool_size"),
    NUMBER("max_connections"),
    {"current_connections", FIGURE_NUMBER, MERGE_SUM},
    TEXT("same_as"),
    TEXT("entrypoints"),
};
enum { DATABASE_COLUMNS = sizeof database_columns / sizeof database_columns[0] };
const struct figures_kind console_databases = {database_columns, DATABASE_COLUMNS, true};

static const struct figure_column settings_columns[] = {TEXT("key"), TEXT("value"),
                                                        TEXT("changeable")};
const struct figures_kind console_settings = {settings_columns, 3, false};

static const struct figure_column version_columns[] = {TEXT("version")};
const struct figures_kind console_version = {version_columns, 1, false};

static const struct figure_column help_columns[] = {TEXT("command"), TEXT("description")};
const struct figures_kind console_help = {help_columns, 2, false};

/* -- databases --------------------------------------------------------------------------------- */

/* The entrypoints that are pinned to it, and for each database those that are routed. */
static char *entrypoints_of(const struct settings *settings, size_t index) {
    struct wire_buffer list = {0};
    for (size_t i = 0; i < settings->entrypoint_count; i++) {
        const struct entrypoint *e = &settings->entrypoints[i];
        if (e->database != ENTRYPOINT_ROUTED && e->database != (int)index)
            continue;
        if (list.length > 0)
            wire_append(&list, ", ", 2);
        wire_append(&list, e->name, strlen(e->name));
    }
    message_put_u8(&list, 0);
    return (char *)list.data;
}

void console_put_database(const struct settings *settings, size_t index, size_t connections,
                          struct figures_table *table) {
    const struct database *database = &settings->databases[index];
    const struct database *physical = &settings->databases[database->physical];
    char *host = conninfo_value(database->conninfo, "host");
    char *port = conninfo_value(database->conninfo, "port");
    char *user = conninfo_value(database->conninfo, "user");
    char *dbname = conninfo_dbname(database->conninfo);
    char *entrypoints = entrypoints_of(settings, index);
    bool own = physical == database;
    const struct figure row[DATABASE_COLUMNS] = {
        figure_text(database->name),
        figure_text(host),
        figure_text(port != NULL ? port : "5432"),
        figure_text(dbname),
        figure_text(user),
        figure_number(physical->pool.size),
        figure_number(physical->pool.min_size),
        figure_number(physical->pool.reserve_size),
        figure_number(physical->pool.max_db_connections),
        figure_number((int64_t)connections),
        figure_text(own ? NULL : physical->name),
        figure_text(entrypoints),
    };
    figures_table_add(table, row);
    free(host);
    free(port);
    free(user);
    free(dbname);
    free(entrypoints);
}

/* -- settings ---------------------------------------------------------------------------------- */

static void put(struct figures_table *table, const char *key, const char *value) {
    /* All but this one are taken from the file anew. */
    const char *changeable = strcmp(key, "workers") == 0 ? "no" : "yes";
    const struct figure row[] = {figure_text(key), figure_text(value), figure_text(changeable)};
    figures_table_add(table, row);
}

static void put_format(struct figures_table *table, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void put_format(struct figures_table *table, const char *key, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *value = alloc_format_list(format, arguments);
    va_end(arguments);
    put(table, key, value);
    free(value);
}

static void put_access(const struct settings *s, struct figures_table *table) {
    for (size_t i = 0; i < s->listen_count; i++)
        put(table, "listen", s->listen[i].text);
    put(table, "auth.method", auth_method_name(s->auth.method));
    put_format(table, "auth.users", "%zu users", s->auth.user_count);
    put(table, "auth.allow_insecure", s->auth.allow_insecure ? "true" : "false");
    put(table, "tls.mode", tls_mode_name(s->tls.mode));
    put(table, "tls.cert", s->tls.cert);
    put(table, "tls.key", s->tls.key);
    put(table, "tls.ca", s->tls.ca);
    put(table, "admin.database", s->admin.database);
    for (size_t i = 0; i < s->admin.user_count; i++)
        put(table, "admin.users", s->admin.users[i]);
}

static void put_entrypoints(const struct settings *s, struct figures_table *table) {
    for (size_t i = 0; i < s->entrypoint_count; i++) {
        const struct entrypoint *e = &s->entrypoints[i];
        char key[160];
        snprintf(key, sizeof key, "entrypoints.%s", e->name);
        put(table, key,
            e->database == ENTRYPOINT_ROUTED ? "routed" : s->databases[e->database].name);
        snprintf(key, sizeof key, "pool.entrypoints.%s", e->name);
        put_format(table, key,
                   "mode: %s, query_wait_timeout: %u, idle_transaction_timeout: %u, "
                   "client_idle_timeout: %u",
                   pool_mode_name(e->pool.mode), e->pool.query_wait_timeout,
                   e->pool.idle_transaction_timeout, e->pool.client_idle_timeout);
    }
}

static void put_databases(const struct settings *s, struct figures_table *table) {
    for (size_t i = 0; i < s->database_count; i++) {
        const struct pool_settings *p = &s->databases[i].pool;
        char key[160];
        if (s->databases[i].physical != (int)i)
            continue;
        snprintf(key, sizeof key, "pool.databases.%s", s->databases[i].name);
        put_format(table, key,
                   "size: %u, min_size: %u, reserve_size: %u, reserve_timeout: %u, "
                   "max_db_connections: %u, max_prepared_statements: %u, server_lifetime: %u, "
                   "server_idle_timeout: %u",
                   p->size, p->min_size, p->reserve_size, p->reserve_timeout, p->max_db_connections,
                   p->max_prepared_statements, p->server_lifetime, p->server_idle_timeout);
    }
}

static void put_rules(const struct settings *s, struct figures_table *table) {
    for (int rule = 0; rule < RULE_UNROUTABLE; rule++) {
        char key[64];
        snprintf(key, sizeof key, "rules.%s", rule_name((enum rule)rule));
        put(table, key, rule_mode_name(s->rules[rule]));
    }
    put(table, "rules.outer_transaction", s->outer_transaction_ignored ? "ignore" : "count");
    put(table, "allowlist", s->allowlist != NULL ? s->allowlist->path : NULL);
    put(table, "violations", s->violations);
}

static void put_numbers(const struct settings *s, struct figures_table *table) {
    put_format(table, "workers", "%u", s->workers);
    put_format(table, "pool.max_client_conn", "%u", s->max_client_conn);
    put_format(table, "shutdown_timeout", "%u", s->shutdown_timeout);
    put_format(table, "login_timeout", "%u", s->login_timeout);
    put_format(table, "connect_timeout", "%u", s->connect_timeout);
    put(table, "tcp_keepalive", s->tcp.keepalive ? "true" : "false");
    put_format(table, "tcp_keepidle", "%u", s->tcp.keepidle);
    put_format(table, "tcp_keepintvl", "%u", s->tcp.keepintvl);
    put_format(table, "tcp_keepcnt", "%u", s->tcp.keepcnt);
    put_format(table, "tcp_user_timeout", "%u", s->tcp.user_timeout);
    put(table, "log.level", log_level_name(s->log.level));
    put(table, "log.format", log_format_name(s->log.format));
}

void console_fill_config(const struct settings *settings, struct figures_table *table) {
    put(table, "config_file", settings->path);
    put_access(settings, table);
    put_entrypoints(settings, table);
    put_databases(settings, table);
    put_rules(settings, table);
    put_numbers(settings, table);
}

void console_fill_version(struct figures_table *table) {
    const struct figure row[] = {figure_text("pginterlock " PGINTERLOCK_VERSION)};
    figures_table_add(table, row);
}

void console_fill_help(struct figures_table *table) {
    for (int i = 0; i < CONSOLE_COMMANDS; i++) {
        const struct figure row[] = {figure_text(console_command_name((enum console_command)i)),
                                     figure_text(console_command_help((enum console_command)i))};
        figures_table_add(table, row);
    }
}
