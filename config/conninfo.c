#include "config/conninfo.h"

#include "config/alloc.h"
#include "config/file.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* libpq's messages quote what it objects to, which may be a piece of a password that has a blank in
 * it. */
static bool may_hold_password(const char *conninfo) {
    return strcasestr(conninfo, "pass") != NULL || strchr(conninfo, '@') != NULL;
}

static PQconninfoOption *parse(const char *conninfo, struct error *error) {
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &message);
    if (options == NULL) {
        if (message != NULL && !may_hold_password(conninfo))
            error_set(error, "%.*s", (int)strcspn(message, "\n"), message);
        else
            error_set(error, "libpq can't read it (its message could quote the password): write "
                             "key=value pairs, and values with blanks in single quotes");
    }
    PQfreemem(message);
    return options;
}

static const char *value_of(const PQconninfoOption *options, const char *keyword) {
    for (const PQconninfoOption *option = options; option->keyword != NULL; option++) {
        if (strcmp(option->keyword, keyword) == 0)
            return option->val != NULL && option->val[0] != '\0' ? option->val : NULL;
    }
    return NULL;
}

/* -- checking ---------------------------------------------------------------------------------- */

static bool check_ports(const char *ports, struct error *error) {
    for (const char *at = ports;; at++) {
        size_t length = strcspn(at, ",");
        size_t digits = strspn(at, "0123456789");
        long port = digits <= 5 ? strtol(at, NULL, 10) : 0;
        /* An empty one among several means the default. */
        if (length > 0 && (digits != length || port < 1 || port > 65535))
            return error_set(error, "port is \"%s\": write a number from 1 to 65535", ports);
        at += length;
        if (*at == '\0')
            return true;
    }
}

static bool check_word(const PQconninfoOption *options, const char *keyword,
                       const char *const *words, struct error *error) {
    const char *value = value_of(options, keyword);
    if (value == NULL)
        return true;
    char list[256] = "";
    for (size_t i = 0; words[i] != NULL; i++) {
        if (strcmp(value, words[i]) == 0)
            return true;
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", words[i]);
    }
    return error_set(error, "%s is \"%s\": write one of %s", keyword, value, list);
}

static bool check_file(const PQconninfoOption *options, const char *keyword, struct error *error) {
    const char *path = value_of(options, keyword);
    struct error cause;
    /* libpq takes a relative path from the working folder, which may be another one when it
     * connects. */
    if (path == NULL || path[0] != '/' || file_check_readable(path, &cause))
        return true;
    return error_set(error, "%s: %s: correct the path or its permissions", keyword, cause.text);
}

static bool check_options(const PQconninfoOption *options, struct error *error) {
    static const char *const sslmodes[] = {"disable",   "allow",       "prefer", "require",
                                           "verify-ca", "verify-full", NULL};
    static const char *const sessions[] = {"any",     "read-write",     "read-only", "primary",
                                           "standby", "prefer-standby", NULL};
    const char *ports = value_of(options, "port");
    const char *timeout = value_of(options, "connect_timeout");
    if (ports != NULL && !check_ports(ports, error))
        return false;
    if (timeout != NULL && (timeout[strspn(timeout, "0123456789")] != '\0' || strlen(timeout) > 9))
        return error_set(error, "connect_timeout is \"%s\": write a number of seconds", timeout);
    if (value_of(options, "replication") != NULL)
        return error_set(error, "replication connections are not for applications: remove "
                                "\"replication\"");
    return check_word(options, "sslmode", sslmodes, error) &&
           check_word(options, "target_session_attrs", sessions, error) &&
           check_file(options, "sslcert", error) && check_file(options, "sslkey", error) &&
           check_file(options, "sslrootcert", error);
}

bool conninfo_check(const char *conninfo, struct error *error) {
    PQconninfoOption *options = parse(conninfo, error);
    if (options == NULL)
        return false;
    bool ok = check_options(options, error);
    PQconninfoFree(options);
    return ok;
}

/* -- comparing --------------------------------------------------------------------------------- */

static const char *or_environment(const char *value, const char *variable, const char *other) {
    if (value == NULL)
        value = getenv(variable);
    return value != NULL && value[0] != '\0' ? value : other;
}

static bool is_loopback(const char *host) {
    return strcmp(host, "127.0.0.1") == 0 || strcmp(host, "::1") == 0;
}

/* `locally`: the loopback's addresses are "localhost". They nearly always lead to the same server,
 * which is good enough for counting, not for taking two databases for one. */
static char *server_of(const PQconninfoOption *options, bool locally) {
    const char *service = value_of(options, "service");
    const char *host = value_of(options, "host"), *address = value_of(options, "hostaddr");
    host = or_environment(host != NULL ? host : address, "PGHOST", "");
    if (locally && is_loopback(host))
        host = "localhost";
    return alloc_format("%s\n%s\n%s", service != NULL ? service : "", host,
                        or_environment(value_of(options, "port"), "PGPORT", "5432"));
}

char *conninfo_server(const char *conninfo) {
    struct error ignored;
    PQconninfoOption *options = parse(conninfo, &ignored);
    if (options == NULL)
        return alloc_text(conninfo);
    char *server = server_of(options, true);
    PQconninfoFree(options);
    return server;
}

char *conninfo_identity(const char *conninfo) {
    struct error ignored;
    PQconninfoOption *options = parse(conninfo, &ignored);
    if (options == NULL)
        return alloc_text(conninfo);
    const char *name = value_of(options, "dbname");
    name = or_environment(name != NULL ? name : value_of(options, "user"), "PGDATABASE", "");
    char *server = server_of(options, false);
    char *identity = alloc_format("%s\n%s", server, name);
    free(server);
    PQconninfoFree(options);
    return identity;
}

bool conninfo_has_user(const char *conninfo) {
    struct error ignored;
    PQconninfoOption *options = parse(conninfo, &ignored);
    if (options == NULL)
        return false;
    bool has = value_of(options, "user") != NULL || value_of(options, "service") != NULL;
    PQconninfoFree(options);
    return has;
}

char *conninfo_dbname(const char *conninfo) {
    struct error ignored;
    PQconninfoOption *options = parse(conninfo, &ignored);
    if (options == NULL)
        return NULL;
    const char *name = or_environment(value_of(options, "dbname"), "PGDATABASE", NULL);
    /* A service's file may name the database, which is only read when connecting. */
    if (name == NULL && value_of(options, "service") == NULL)
        name = value_of(options, "user");
    char *copy = alloc_text(name);
    PQconninfoFree(options);
    return copy;
}

char *conninfo_value(const char *conninfo, const char *keyword) {
    struct error ignored;
    PQconninfoOption *options = parse(conninfo, &ignored);
    if (options == NULL)
        return NULL;
    char *value = alloc_text(value_of(options, keyword));
    PQconninfoFree(options);
    return value;
}

/* -- composing --------------------------------------------------------------------------------- */

bool conninfo_has_keyword(const char *keyword) {
    bool found = false;
    struct error ignored;
    PQconninfoOption *options = parse("", &ignored);
    for (PQconninfoOption *option = options; option != NULL && option->keyword != NULL; option++)
        found = found || strcmp(option->keyword, keyword) == 0;
    PQconninfoFree(options);
    return found;
}

void conninfo_set(struct conninfo_parts *parts, const char *keyword, const char *value) {
    for (size_t i = 0; i < parts->count; i++) {
        if (strcmp(parts->parts[i].keyword, keyword) == 0) {
            free(parts->parts[i].value);
            parts->parts[i].value = alloc_text(value);
            return;
        }
    }
    parts->parts = alloc_grow(parts->parts, parts->count, sizeof *parts->parts);
    parts->parts[parts->count++] =
        (struct conninfo_part){.keyword = alloc_text(keyword), .value = alloc_text(value)};
}

const char *conninfo_get(const struct conninfo_parts *parts, const char *keyword) {
    for (size_t i = 0; i < parts->count; i++) {
        if (strcmp(parts->parts[i].keyword, keyword) == 0)
            return parts->parts[i].value;
    }
    return NULL;
}

bool conninfo_set_uri(struct conninfo_parts *parts, const char *uri, struct error *error) {
    if (strncmp(uri, "postgresql://", 13) != 0 && strncmp(uri, "postgres://", 11) != 0)
        return error_set(error, "not a PostgreSQL URI: begin it with postgresql://");
    PQconninfoOption *options = parse(uri, error);
    if (options == NULL)
        return false;
    for (const PQconninfoOption *option = options; option->keyword != NULL; option++) {
        if (option->val != NULL)
            conninfo_set(parts, option->keyword, option->val);
    }
    PQconninfoFree(options);
    return true;
}

char *conninfo_text(const struct conninfo_parts *parts) {
    size_t size = 1;
    for (size_t i = 0; i < parts->count; i++)
        size += strlen(parts->parts[i].keyword) + 2 * strlen(parts->parts[i].value) + 4;
    char *text = alloc_zeroed(size, 1), *at = text;
    for (size_t i = 0; i < parts->count; i++) {
        at += snprintf(at, size - (size_t)(at - text), "%s%s='", i > 0 ? " " : "",
                       parts->parts[i].keyword);
        for (const char *from = parts->parts[i].value; *from != '\0'; from++) {
            if (*from == '\'' || *from == '\\')
                *at++ = '\\';
            *at++ = *from;
        }
        *at++ = '\'';
    }
    return text;
}

void conninfo_parts_close(struct conninfo_parts *parts) {
    for (size_t i = 0; i < parts->count; i++) {
        free(parts->parts[i].keyword);
        free(parts->parts[i].value);
    }
    free(parts->parts);
    *parts = (struct conninfo_parts){0};
}

void conninfo_redact(const char *conninfo, char *out, size_t size) {
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
    if (options == NULL) {
        snprintf(out, size, "(unreadable)");
        return;
    }
    size_t length = 0;
    out[0] = '\0';
    for (const PQconninfoOption *o = options; o->keyword != NULL && length < size; o++) {
        if (o->val == NULL || o->dispchar[0] == '*' || strstr(o->keyword, "password") != NULL)
            continue;
        const char *quote = o->val[0] == '\0' || strpbrk(o->val, " '\\") != NULL ? "'" : "";
        int written = snprintf(out + length, size - length, "%s%s=%s%s%s", length > 0 ? " " : "",
                               o->keyword, quote, o->val, quote);
        if (written < 0)
            break;
        length += (size_t)written;
    }
    PQconninfoFree(options);
}
