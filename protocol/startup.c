#include "protocol/startup.h"

#include "config/alloc.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    STARTUP_LENGTH_MIN = 8,     /* length field and code */
    STARTUP_LENGTH_MAX = 10004, /* MAX_STARTUP_PACKET_LENGTH and the length field */
};

/* Codes in place of a version, chosen never to be one (pqcomm.h). */
static const uint32_t code_cancel = 1234u << 16 | 5678u;
static const uint32_t code_ssl = 1234u << 16 | 5679u;
static const uint32_t code_gssenc = 1234u << 16 | 5680u;

static const uint32_t version_spoken = 3u << 16;
static const char option_prefix[] = "_pq_.";

static const char sqlstate_protocol_violation[] = "08P01";
static const char sqlstate_not_supported[] = "0A000";
static const char sqlstate_invalid_authorization[] = "28000";
static const char sqlstate_invalid_value[] = "22023";

void startup_close(struct startup *startup) {
    free(startup->parameters);
    free(startup->unknown_options);
    free(startup->text);
    *startup = (struct startup){0};
}

static void startup_reject(struct startup *startup, const char *sqlstate) {
    startup_close(startup);
    startup->kind = STARTUP_BAD;
    startup->sqlstate = sqlstate;
}

/* Bytes that are no packet of this protocol: a server closes the connection and says why only in
 * its log, since who sent them may not understand an answer. */
static void startup_reject_length(struct startup *startup) {
    startup_reject(startup, sqlstate_protocol_violation);
    startup->unanswered = true;
}

static void add_parameter(struct startup *startup, const char *name, const char *value) {
    startup->parameters =
        alloc_grow(startup->parameters, startup->parameter_count, sizeof *startup->parameters);
    startup->parameters[startup->parameter_count++] = (struct startup_parameter){name, value};
}

static void add_unknown_option(struct startup *startup, const char *name) {
    startup->unknown_options = alloc_grow(startup->unknown_options, startup->unknown_option_count,
                                          sizeof *startup->unknown_options);
    startup->unknown_options[startup->unknown_option_count++] = name;
}

/* What the server's parse_bool() takes: a word of the list or an unambiguous beginning of one, in
 * either case. */
static bool read_boolean(const char *text, bool *out) {
    static const struct {
        const char *word;
        size_t shortest;
        bool value;
    } words[] = {{"true", 1, true}, {"false", 1, false}, {"yes", 1, true}, {"no", 1, false},
                 {"on", 2, true},   {"off", 2, false},   {"1", 1, true},   {"0", 1, false}};
    size_t length = strlen(text);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (length >= words[i].shortest && length <= strlen(words[i].word) &&
            strncasecmp(text, words[i].word, length) == 0) {
            *out = words[i].value;
            return true;
        }
    }
    return false;
}

static bool accept_parameter(struct startup *startup, const char *name, const char *value,
                             struct error *error) {
    if (strcmp(name, "user") == 0)
        startup->user = value;
    else if (strcmp(name, "database") == 0)
        startup->database = value;
    else if (strncmp(name, option_prefix, sizeof option_prefix - 1) == 0)
        add_unknown_option(startup, name);
    else if (strcmp(name, "replication") != 0)
        add_parameter(startup, name, value);
    else if (strcmp(value, "database") == 0)
        startup->replication = true;
    else if (!read_boolean(value, &startup->replication))
        return error_set(error, "invalid value for parameter \"%s\": \"%s\"", name, value);
    return true;
}

/* `at` to `end`: pairs of strings, then a NUL that is the packet's last byte. On failure *sqlstate
 * is set. */
static bool read_parameters(const char *at, const char *end, struct startup *startup,
                            const char **sqlstate, struct error *error) {
    *sqlstate = sqlstate_protocol_violation;
    while (at < end && *at != 0) {
        const char *name_end = memchr(at, 0, (size_t)(end - at));
        const char *value = name_end ? name_end + 1 : end;
        const char *value_end = value < end ? memchr(value, 0, (size_t)(end - value)) : NULL;
        if (!value_end)
            break;
        if (!accept_parameter(startup, at, value, error)) {
            *sqlstate = sqlstate_invalid_value;
            return false;
        }
        at = value_end + 1;
    }
    if (at >= end || *at != 0 || at + 1 != end)
        return error_set(error, "invalid startup packet layout: expected terminator as last byte");
    *sqlstate = sqlstate_invalid_authorization;
    if (!startup->user || startup->user[0] == '\0')
        return error_set(error, "no PostgreSQL user name specified in startup packet");
    if (!startup->database || startup->database[0] == '\0')
        startup->database = startup->user;
    return true;
}

static void read_message(const uint8_t *data, size_t length, struct startup *out,
                         struct error *error) {
    uint32_t version = wire_get_u32(data + 4);
    const char *sqlstate;
    out->major = (uint16_t)(version >> 16);
    out->minor = (uint16_t)version;
    if (out->major != version_spoken >> 16) {
        error_set(error, "unsupported frontend protocol %u.%u: server supports 3.0 to 3.0",
                  out->major, out->minor);
        startup_reject(out, sqlstate_not_supported);
        return;
    }
    out->kind = STARTUP_MESSAGE;
    out->text = alloc_copy((const char *)data + 8, length - 8);
    if (!read_parameters(out->text, out->text + length - 8, out, &sqlstate, error))
        startup_reject(out, sqlstate);
}

static void read_code(const uint8_t *data, size_t length, struct startup *out,
                      struct error *error) {
    uint32_t code = wire_get_u32(data + 4);
    out->length = length;
    if (code == code_cancel && length == STARTUP_CANCEL_LENGTH) {
        out->kind = STARTUP_CANCEL;
        out->pid = wire_get_u32(data + 8);
        out->key = wire_get_u32(data + 12);
    } else if (code == code_cancel) {
        error_set(error, "invalid length of cancel request packet");
        startup_reject_length(out);
    } else if (code != code_ssl && code != code_gssenc) {
        read_message(data, length, out, error);
    } else if (length != STARTUP_LENGTH_MIN) {
        error_set(error, "invalid length of startup packet");
        startup_reject(out, sqlstate_protocol_violation);
    } else {
        out->kind = code == code_ssl ? STARTUP_SSL : STARTUP_GSSENC;
    }
}

void startup_read(const uint8_t *data, size_t size, struct startup *out, struct error *error) {
    *out = (struct startup){.kind = STARTUP_INCOMPLETE};
    if (size < 4)
        return;
    uint32_t length = wire_get_u32(data);
    if (length < STARTUP_LENGTH_MIN || length > STARTUP_LENGTH_MAX) {
        error_set(error, "invalid length of startup packet");
        startup_reject_length(out);
    } else if (size < length) {
        out->length = length;
    } else {
        read_code(data, length, out, error);
    }
}

const char *startup_find(const struct startup *startup, const char *name) {
    for (size_t i = startup->parameter_count; i > 0; i--) {
        if (strcasecmp(startup->parameters[i - 1].name, name) == 0)
            return startup->parameters[i - 1].value;
    }
    return NULL;
}

void startup_put_negotiation(struct wire_buffer *buffer, const struct startup *startup) {
    size_t mark = message_begin(buffer, 'v');
    /* The manual says "newest minor version"; the server sends the whole version, and so clients
     * read it. */
    message_put_u32(buffer, version_spoken);
    message_put_u32(buffer, (uint32_t)startup->unknown_option_count);
    for (size_t i = 0; i < startup->unknown_option_count; i++)
        message_put_string(buffer, startup->unknown_options[i]);
    message_end(buffer, mark);
}

void startup_write_cancel(uint8_t packet[STARTUP_CANCEL_LENGTH], uint32_t pid, uint32_t key) {
    wire_put_u32(packet, STARTUP_CANCEL_LENGTH);
    wire_put_u32(packet + 4, code_cancel);
    wire_put_u32(packet + 8, pid);
    wire_put_u32(packet + 12, key);
}
