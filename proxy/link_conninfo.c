#include "proxy/link_conninfo.h"

#include "config/alloc.h"
#include "proxy/link.h"
#include "proxy/startup_options.h"
#include "routing/session_state.h"

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* -- keywords ---------------------------------------------------------------------------------- */

static char *get(const struct link_conninfo *info, const char *keyword) {
    for (size_t i = 0; i < info->count; i++)
        if (strcmp(info->keywords[i], keyword) == 0)
            return info->values[i];
    return NULL;
}

static void set(struct link_conninfo *info, const char *keyword, const char *value) {
    for (size_t i = 0; i < info->count; i++)
        if (strcmp(info->keywords[i], keyword) == 0) {
            free(info->values[i]);
            info->values[i] = alloc_text(value);
            return;
        }
    if (info->count == LINK_CONNINFO_KEYWORDS_MAX)
        return; /* libpq knows fewer keywords than that */
    info->keywords[info->count] = alloc_text(keyword);
    info->values[info->count] = alloc_text(value);
    info->count++;
}

/* -- startup parameters as command-line options of the backend --------------------------------- */

static void append_char(struct wire_buffer *text, char c) {
    wire_append(text, &c, 1);
}

static void append_setting(struct wire_buffer *options, const char *name, const char *value) {
    char *setting = alloc_format("%s=%s", name, value);
    startup_options_append(options, "-c");
    startup_options_append(options, setting);
    free(setting);
}

static void add_parameters(struct link_conninfo *info, const struct link_identity *identity) {
    struct wire_buffer options = {0};
    const char *given = get(info, "options");
    if (given != NULL)
        wire_append(&options, given, strlen(given));
    for (size_t i = 0; i < identity->parameter_count; i++) {
        const struct startup_parameter *parameter = &identity->parameters[i];
        if (strcmp(parameter->name, "options") == 0) {
            startup_options_read(parameter->value, NULL, NULL, &options);
        } else if (strcmp(parameter->name, "application_name") == 0 ||
                   strcmp(parameter->name, "client_encoding") == 0) {
            set(info, parameter->name, parameter->value);
        } else if (!session_is_own_setting(parameter->name)) {
            append_setting(&options, parameter->name, parameter->value);
        }
    }
    if (options.length > 0) {
        append_char(&options, '\0');
        set(info, "options", (const char *)options.data);
    }
    wire_buffer_close(&options);
}

/* -- hosts ------------------------------------------------------------------------------------- */

static bool is_address(const char *host) {
    unsigned char ignored[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, ignored) == 1 || inet_pton(AF_INET6, host, ignored) == 1;
}

/* Element `index` of a list separated by commas; the only one where there is just one. */
static char *list_element(const char *list, size_t index) {
    if (list == NULL)
        return alloc_text("");
    bool single = strchr(list, ',') == NULL;
    for (size_t i = 0; i < index && !single; i++) {
        list = strchr(list, ',');
        if (list == NULL)
            return alloc_text("");
        list++;
    }
    return alloc_copy(list, strcspn(list, ","));
}

static void read_hosts(struct link_conninfo *info) {
    const char *host = get(info, "host"), *hostaddr = get(info, "hostaddr");
    if (host == NULL || host[0] == '\0' || (hostaddr != NULL && hostaddr[0] != '\0'))
        return; /* libpq's default, or addresses were given: nothing to resolve */
    size_t count = 1;
    for (const char *c = host; *c != '\0'; c++)
        count += *c == ',';
    info->hosts = alloc_new(count * sizeof info->hosts[0]);
    info->host_count = count;
    for (size_t i = 0; i < count; i++) {
        struct link_host *entry = &info->hosts[i];
        entry->host = list_element(host, i);
        entry->port = list_element(get(info, "port"), i);
        bool is_socket = entry->host[0] == '/' || entry->host[0] == '@' || entry->host[0] == '\0';
        entry->is_name = !is_socket && !is_address(entry->host);
        if (!is_socket && !entry->is_name)
            entry->addresses = alloc_text(entry->host);
    }
}

size_t link_conninfo_host_count(const struct link_conninfo *info) {
    return info->host_count;
}

const char *link_conninfo_host(const struct link_conninfo *info, size_t index) {
    return info->hosts[index].host;
}

const char *link_conninfo_host_to_resolve(const struct link_conninfo *info, size_t index) {
    return info->hosts[index].is_name ? info->hosts[index].host : NULL;
}

void link_conninfo_add_address(struct link_conninfo *info, size_t index, const char *address) {
    struct link_host *host = &info->hosts[index];
    size_t old = host->addresses != NULL ? strlen(host->addresses) : 0;
    size_t length = strlen(address);
    char *joined = alloc_new(old + 1 + length + 1);
    if (old > 0) {
        memcpy(joined, host->addresses, old);
        joined[old++] = ',';
    }
    memcpy(joined + old, address, length);
    free(host->addresses);
    host->addresses = joined;
}

static void set_list(struct link_conninfo *info, const char *keyword, struct wire_buffer *list) {
    append_char(list, '\0');
    set(info, keyword, (const char *)list->data);
    wire_buffer_close(list);
}

/* A name with several addresses becomes as many hosts. */
bool link_conninfo_finish_hosts(struct link_conninfo *info) {
    if (info->host_count == 0)
        return true;
    struct wire_buffer hosts = {0}, addresses = {0}, ports = {0};
    size_t kept = 0;
    for (size_t i = 0; i < info->host_count; i++) {
        const struct link_host *host = &info->hosts[i];
        if (host->is_name && host->addresses == NULL)
            continue;
        const char *address = host->addresses != NULL ? host->addresses : "";
        do {
            size_t length = strcspn(address, ",");
            if (kept++ > 0) {
                append_char(&hosts, ',');
                append_char(&addresses, ',');
                append_char(&ports, ',');
            }
            wire_append(&hosts, host->host, strlen(host->host));
            wire_append(&addresses, address, length);
            wire_append(&ports, host->port, strlen(host->port));
            address += length + (address[length] == ',');
        } while (*address != '\0');
    }
    bool any = kept > 0;
    if (any) {
        set_list(info, "host", &hosts);
        set_list(info, "hostaddr", &addresses);
        set_list(info, "port", &ports);
    }
    return any;
}

/* -- the whole --------------------------------------------------------------------------------- */

void link_conninfo_init(struct link_conninfo *info, const char *text,
                        const struct link_identity *identity, unsigned timeout_seconds) {
    memset(info, 0, sizeof *info);
    info->timeout_seconds = timeout_seconds;
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(text, &message);
    if (options == NULL) {
        snprintf(info->error, sizeof info->error, "%s",
                 message != NULL ? message : "out of memory");
        info->error[strcspn(info->error, "\n")] = '\0';
        PQfreemem(message);
        return;
    }
    for (const PQconninfoOption *option = options; option->keyword != NULL; option++)
        if (option->val != NULL)
            set(info, option->keyword, option->val);
    PQconninfoFree(options);

    const char *timeout = get(info, "connect_timeout");
    if (timeout != NULL && atoi(timeout) > 0)
        info->timeout_seconds = (unsigned)atoi(timeout);
    if (get(info, "user") == NULL && get(info, "service") == NULL) {
        set(info, "user", identity->user);
        if (get(info, "password") == NULL && identity->password != NULL)
            set(info, "password", identity->password);
    }
    set(info, "gssencmode",
        "disable"); /* its negotiation would stand between us and the raw bytes */
    add_parameters(info, identity);
    read_hosts(info);
}

void link_conninfo_close(struct link_conninfo *info) {
    for (size_t i = 0; i < info->count; i++) {
        OPENSSL_cleanse(info->values[i], strlen(info->values[i]));
        free(info->keywords[i]);
        free(info->values[i]);
    }
    for (size_t i = 0; i < info->host_count; i++) {
        free(info->hosts[i].host);
        free(info->hosts[i].port);
        free(info->hosts[i].addresses);
    }
    free(info->hosts);
    memset(info, 0, sizeof *info);
}

const char *const *link_conninfo_keywords(const struct link_conninfo *info) {
    return (const char *const *)info->keywords;
}

const char *const *link_conninfo_values(const struct link_conninfo *info) {
    return (const char *const *)info->values;
}

/* -- failures ---------------------------------------------------------------------------------- */

static void copy_line(char *out, size_t size, const char *from) {
    snprintf(out, size, "%.*s", (int)strcspn(from, "\n"), from);
}

/* "…FATAL:  3D000: database "x" does not exist\nDETAIL:  …\nHINT:  …\nLOCATION:  …" */
static bool read_server_words(const char *text, const char *severity, struct link_failure *out) {
    char mark[24];
    snprintf(mark, sizeof mark, "%s:  ", severity);
    const char *at = NULL, *next = text;
    while ((next = strstr(next, mark)) != NULL) { /* the last host's answer counts */
        at = next + strlen(mark);
        next = at;
    }
    if (at == NULL || strlen(at) < 7 || at[5] != ':' ||
        strspn(at, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 5)
        return false;
    memcpy(out->sqlstate, at, 5);
    out->sqlstate[5] = '\0';
    snprintf(out->severity, sizeof out->severity, "%s", severity);
    copy_line(out->message, sizeof out->message, at + 7);
    const char *detail = strstr(at, "\nDETAIL:  "), *hint = strstr(at, "\nHINT:  ");
    if (detail != NULL)
        copy_line(out->detail, sizeof out->detail, detail + 10);
    if (hint != NULL)
        copy_line(out->hint, sizeof out->hint, hint + 8);
    return true;
}

void link_conninfo_read_failure(const char *text, struct link_failure *out) {
    memset(out, 0, sizeof *out);
    if (read_server_words(text, "FATAL", out) || read_server_words(text, "ERROR", out)) {
        /* 57P03: it is starting up or shutting down, which is a database that is down. */
        out->refused = strcmp(out->sqlstate, "57P03") != 0;
        return;
    }
    memcpy(out->sqlstate, "08001", 6);
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == '\n')
        length--;
    snprintf(out->message, sizeof out->message, "%.*s", (int)(length < 1000 ? length : 1000), text);
    for (char *c = out->message; *c != '\0'; c++)
        if (*c == '\n')
            *c = ' ';
}
