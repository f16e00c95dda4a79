#include "commands/database_client.h"

#include "config/alloc.h"
#include "config/conninfo.h"
#include "config/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 700 };

static void ignore_notice(void *unused, const char *message) {
    (void)unused;
    (void)message;
}

/* libpq's message as one line. */
static void one_line(const char *message, char *out, size_t size) {
    size_t length = 0;
    for (const char *c = message; *c != '\0' && length + 1 < size; c++) {
        bool space = *c == ' ' || *c == '\n' || *c == '\t' || *c == '\r';
        if (!space)
            out[length++] = (char)((unsigned char)*c < ' ' || *c == '\x7f' ? '?' : *c);
        else if (length > 0 && out[length - 1] != ' ')
            out[length++] = ' ';
    }
    while (length > 0 && out[length - 1] == ' ')
        length--;
    out[length] = '\0';
}

const char *database_client_name(const struct database_client *client) {
    return client->settings->databases[client->database].name;
}

static bool connection_error(const struct database_client *client, struct error *error) {
    const struct settings *settings = client->settings;
    const struct database *database = &settings->databases[client->database];
    char message[LINE_MAX_BYTES], where[200], key[80];
    one_line(PQerrorMessage(client->conn), message, sizeof message);
    conninfo_redact(database->conninfo, where, sizeof where);
    snprintf(key, sizeof key, "%s:", database->name);
    return error_set(error,
                     "%s:%u: database %s (%s) can't be reached: %s: start it, or correct its "
                     "connection string",
                     settings->path, file_find_line(settings->path, key, "databases"),
                     database->name, where, message);
}

static bool query_error(const struct database_client *client, const char *message,
                        struct error *error) {
    char line[LINE_MAX_BYTES];
    one_line(message, line, sizeof line);
    return error_set(error, "database %s: %s", database_client_name(client), line);
}

bool database_client_query(struct database_client *client, const char *sql, PGresult **out,
                           struct error *error) {
    PGresult *result = PQexec(client->conn, sql);
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        *out = result;
        return true;
    }
    query_error(client, PQerrorMessage(client->conn), error);
    PQclear(result);
    *out = NULL;
    return false;
}

bool database_client_run(struct database_client *client, const char *sql,
                         char sqlstate[SQLSTATE_LENGTH + 1], struct error *error) {
    PGresult *result = PQexec(client->conn, sql);
    ExecStatusType status = PQresultStatus(result);
    bool done = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    if (!done) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        bool lost = PQstatus(client->conn) != CONNECTION_OK || state == NULL;
        snprintf(sqlstate, SQLSTATE_LENGTH + 1, "%s", lost ? "" : state);
        query_error(client, PQerrorMessage(client->conn), error);
    }
    PQclear(result);
    return done;
}

/* What names resolve to by default is remembered, then nothing is looked up by its bare name. */
static bool start_session(struct database_client *client, struct error *error) {
    PGresult *result;
    if (!database_client_query(client,
                               "SELECT coalesce(pg_catalog.current_schema(), 'public'),"
                               " pg_catalog.current_setting('search_path'),"
                               " pg_catalog.set_config('search_path', '', false)",
                               &result, error))
        return false;
    snprintf(client->schema, sizeof client->schema, "%s", PQgetvalue(result, 0, 0));
    snprintf(client->search_path, sizeof client->search_path, "%s", PQgetvalue(result, 0, 1));
    PQclear(result);
    return true;
}

bool database_client_open(struct database_client *client, const struct settings *settings,
                          int database, struct error *error) {
    char timeout[16];
    snprintf(timeout, sizeof timeout, "%u", settings->connect_timeout);
    /* The last one counts: the connection string may set another timeout. */
    const char *const keywords[] = {"connect_timeout", "fallback_application_name", "dbname",
                                    "client_encoding", NULL};
    const char *const values[] = {timeout, "pginterlock", settings->databases[database].conninfo,
                                  "UTF8", NULL};
    *client = (struct database_client){.settings = settings, .database = database};
    client->conn = PQconnectdbParams(keywords, values, 1);
    if (PQstatus(client->conn) != CONNECTION_OK) {
        connection_error(client, error);
        database_client_close(client);
        return false;
    }
    PQsetNoticeProcessor(client->conn, ignore_notice, NULL);
    if (!start_session(client, error)) {
        database_client_close(client);
        return false;
    }
    return true;
}

void database_client_close(struct database_client *client) {
    PQfinish(client->conn);
    client->conn = NULL;
}

char *database_client_quote(const char *name) {
    size_t length = strlen(name), at = 0;
    char *quoted = alloc_new(length * 2 + 3);
    quoted[at++] = '"';
    for (size_t i = 0; i < length; i++) {
        if (name[i] == '"')
            quoted[at++] = '"';
        quoted[at++] = name[i];
    }
    quoted[at++] = '"';
    quoted[at] = '\0';
    return quoted;
}

char *database_client_plain(const char *name) {
    char *plain = alloc_text(name);
    for (char *c = plain; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == '\x7f')
            *c = '?';
    return plain;
}
