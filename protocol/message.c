#include "protocol/message.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- reading ----------------------------------------------------------------------------------- */

/* What is left of a body. Readers move `at` forward and never past `end`. */
struct cursor {
    const uint8_t *at, *end;
};

/* The errors are in PostgreSQL's words (pqformat.c), which clients and their users know. */

static bool cursor_take_string(struct cursor *cursor, const char **out, struct error *error) {
    size_t left = (size_t)(cursor->end - cursor->at);
    const uint8_t *nul = left ? memchr(cursor->at, 0, left) : NULL;
    if (!nul) {
        error_set(error, "invalid string in message");
        return false; /* said here, for a compiler that checks initialisation */
    }
    *out = (const char *)cursor->at;
    cursor->at = nul + 1;
    return true;
}

static bool cursor_take(struct cursor *cursor, size_t length, const uint8_t **out,
                        struct error *error) {
    if ((size_t)(cursor->end - cursor->at) < length) {
        error_set(error, "insufficient data left in message");
        return false; /* said here, for a compiler that checks initialisation */
    }
    *out = cursor->at;
    cursor->at += length;
    return true;
}

static bool cursor_finish(const struct cursor *cursor, struct error *error) {
    if (cursor->at != cursor->end)
        return error_set(error, "invalid message format");
    return true;
}

static struct cursor cursor_over(const uint8_t *body, size_t length) {
    return (struct cursor){body, length ? body + length : body};
}

bool message_read_query(const uint8_t *body, size_t length, const char **text, size_t *text_length,
                        struct error *error) {
    struct cursor cursor = cursor_over(body, length);
    if (!cursor_take_string(&cursor, text, error) || !cursor_finish(&cursor, error))
        return false;
    *text_length = length - 1;
    return true;
}

bool message_read_parse(const uint8_t *body, size_t length, struct parse_message *out,
                        struct error *error) {
    struct cursor cursor = cursor_over(body, length);
    const uint8_t *count;
    if (!cursor_take_string(&cursor, &out->name, error) ||
        !cursor_take_string(&cursor, &out->text, error))
        return false;
    out->text_length = (size_t)((const char *)cursor.at - out->text) - 1;
    if (!cursor_take(&cursor, 2, &count, error))
        return false;
    out->type_count = wire_get_u16(count);
    return cursor_take(&cursor, (size_t)out->type_count * 4, &out->types, error) &&
           cursor_finish(&cursor, error);
}

bool message_read_bind_names(const uint8_t *body, size_t available, bool complete, bool *need_more,
                             struct bind_message *out, struct error *error) {
    struct cursor cursor = cursor_over(body, available);
    *need_more = false;
    if (cursor_take_string(&cursor, &out->portal, error) &&
        cursor_take_string(&cursor, &out->statement, error)) {
        out->counts = cursor.at;
        return true;
    }
    *need_more = !complete;
    return false;
}

bool message_read_named(const uint8_t *body, size_t length, struct named_message *out,
                        struct error *error) {
    struct cursor cursor = cursor_over(body, length);
    if (length == 0)
        return error_set(error, "no data left in message");
    out->kind = (char)*cursor.at++;
    if (!cursor_take_string(&cursor, &out->name, error) || !cursor_finish(&cursor, error))
        return false;
    if (out->kind != 'S' && out->kind != 'P')
        return error_set(error, "invalid DESCRIBE or CLOSE message subtype %d", out->kind);
    return true;
}

bool message_read_execute(const uint8_t *body, size_t length, struct execute_message *out,
                          struct error *error) {
    struct cursor cursor = cursor_over(body, length);
    const uint8_t *max_rows;
    if (!cursor_take_string(&cursor, &out->portal, error) ||
        !cursor_take(&cursor, 4, &max_rows, error) || !cursor_finish(&cursor, error))
        return false;
    out->max_rows = wire_get_u32(max_rows);
    return true;
}

/* NULL: a code that this version doesn't know, to be skipped as the manual asks. */
static const char **diagnostic_field(struct diagnostic *diagnostic, uint8_t code) {
    switch (code) {
    case 'S':
        return &diagnostic->severity;
    case 'V':
        return &diagnostic->severity_nonlocalized;
    case 'C':
        return &diagnostic->sqlstate;
    case 'M':
        return &diagnostic->message;
    case 'D':
        return &diagnostic->detail;
    case 'H':
        return &diagnostic->hint;
    case 'P':
        return &diagnostic->position;
    case 'p':
        return &diagnostic->internal_position;
    case 'q':
        return &diagnostic->internal_query;
    case 'W':
        return &diagnostic->context;
    case 's':
        return &diagnostic->schema;
    case 't':
        return &diagnostic->table;
    case 'c':
        return &diagnostic->column;
    case 'd':
        return &diagnostic->type;
    case 'n':
        return &diagnostic->constraint;
    case 'F':
        return &diagnostic->file;
    case 'L':
        return &diagnostic->line;
    case 'R':
        return &diagnostic->routine;
    default:
        return NULL;
    }
}

bool message_read_diagnostic(const uint8_t *body, size_t length, struct diagnostic *out,
                             struct error *error) {
    struct cursor cursor = cursor_over(body, length);
    *out = (struct diagnostic){0};
    while (cursor.at < cursor.end && *cursor.at != 0) {
        const char **field = diagnostic_field(out, *cursor.at++);
        const char *value;
        if (!cursor_take_string(&cursor, &value, error))
            return false;
        if (field)
            *field = value;
    }
    if (cursor.at == cursor.end)
        return error_set(error, "error message without its terminator");
    cursor.at++;
    return cursor_finish(&cursor, error);
}

bool diagnostic_is_fatal(const struct diagnostic *diagnostic) {
    const char *severity = diagnostic->severity_nonlocalized != NULL
                               ? diagnostic->severity_nonlocalized
                               : diagnostic->severity;
    return severity != NULL && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

/* -- writing ----------------------------------------------------------------------------------- */

enum { BUFFER_FIRST = 256 };

void wire_buffer_close(struct wire_buffer *buffer) {
    free(buffer->data);
    *buffer = (struct wire_buffer){0};
}

static void buffer_grow(struct wire_buffer *buffer, size_t length) {
    assert(length <= SIZE_MAX / 4 - buffer->length);
    size_t capacity = buffer->capacity ? buffer->capacity : BUFFER_FIRST;
    while (capacity < buffer->length + length)
        capacity *= 2;
    uint8_t *grown = realloc(buffer->data, capacity);
    if (!grown) {
        fputs("pginterlock: out of memory\n", stderr);
        abort();
    }
    buffer->data = grown;
    buffer->capacity = capacity;
}

void wire_append(struct wire_buffer *buffer, const void *data, size_t length) {
    if (length == 0)
        return;
    if (length > buffer->capacity - buffer->length)
        buffer_grow(buffer, length);
    memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
}

size_t message_begin(struct wire_buffer *buffer, char type) {
    const uint8_t header[FRAME_HEADER] = {(uint8_t)type};
    wire_append(buffer, header, sizeof header);
    return buffer->length - 4;
}

void message_end(struct wire_buffer *buffer, size_t mark) {
    size_t length = buffer->length - mark;
    assert(length >= 4 && length <= FRAME_LENGTH_MAX);
    wire_put_u32(buffer->data + mark, (uint32_t)length);
}

void message_put_string(struct wire_buffer *buffer, const char *text) {
    wire_append(buffer, text, strlen(text) + 1);
}

void message_put_u8(struct wire_buffer *buffer, uint8_t value) {
    wire_append(buffer, &value, 1);
}

void message_put_u16(struct wire_buffer *buffer, uint16_t value) {
    uint8_t bytes[2];
    wire_put_u16(bytes, value);
    wire_append(buffer, bytes, sizeof bytes);
}

void message_put_u32(struct wire_buffer *buffer, uint32_t value) {
    uint8_t bytes[4];
    wire_put_u32(bytes, value);
    wire_append(buffer, bytes, sizeof bytes);
}

static void put_field(struct wire_buffer *buffer, char code, const char *value) {
    if (!value)
        return;
    message_put_u8(buffer, (uint8_t)code);
    message_put_string(buffer, value);
}

void message_put_diagnostic(struct wire_buffer *buffer, char type, const struct diagnostic *d) {
    size_t mark = message_begin(buffer, type);
    put_field(buffer, 'S', d->severity);
    put_field(buffer, 'V', d->severity_nonlocalized ? d->severity_nonlocalized : d->severity);
    put_field(buffer, 'C', d->sqlstate);
    put_field(buffer, 'M', d->message);
    put_field(buffer, 'D', d->detail);
    put_field(buffer, 'H', d->hint);
    put_field(buffer, 'W', d->context);
    put_field(buffer, 's', d->schema);
    put_field(buffer, 't', d->table);
    put_field(buffer, 'c', d->column);
    put_field(buffer, 'd', d->type);
    put_field(buffer, 'n', d->constraint);
    put_field(buffer, 'P', d->position);
    put_field(buffer, 'p', d->internal_position);
    put_field(buffer, 'q', d->internal_query);
    put_field(buffer, 'F', d->file);
    put_field(buffer, 'L', d->line);
    put_field(buffer, 'R', d->routine);
    message_put_u8(buffer, 0);
    message_end(buffer, mark);
}

void message_put_ready(struct wire_buffer *buffer, char status) {
    size_t mark = message_begin(buffer, 'Z');
    message_put_u8(buffer, (uint8_t)status);
    message_end(buffer, mark);
}

void message_put_command_complete(struct wire_buffer *buffer, const char *tag) {
    size_t mark = message_begin(buffer, 'C');
    message_put_string(buffer, tag);
    message_end(buffer, mark);
}

void message_put_empty(struct wire_buffer *buffer, char type) {
    message_end(buffer, message_begin(buffer, type));
}

void message_put_parameter_status(struct wire_buffer *buffer, const char *name, const char *value) {
    size_t mark = message_begin(buffer, 'S');
    message_put_string(buffer, name);
    message_put_string(buffer, value);
    message_end(buffer, mark);
}

void message_put_backend_key(struct wire_buffer *buffer, uint32_t pid, uint32_t key) {
    size_t mark = message_begin(buffer, 'K');
    message_put_u32(buffer, pid);
    message_put_u32(buffer, key);
    message_end(buffer, mark);
}

void message_put_text_column(struct wire_buffer *buffer, const char *column) {
    const uint32_t text_oid = 25;
    size_t mark = message_begin(buffer, 'T');
    message_put_u16(buffer, 1);
    message_put_string(buffer, column);
    message_put_u32(buffer, 0); /* no table, */
    message_put_u16(buffer, 0); /* hence no column of one */
    message_put_u32(buffer, text_oid);
    message_put_u16(buffer, UINT16_MAX); /* typlen -1: varies */
    message_put_u32(buffer, UINT32_MAX); /* typmod -1: none */
    message_put_u16(buffer, 0);          /* text format */
    message_end(buffer, mark);
}

void message_put_text_row(struct wire_buffer *buffer, const char *value) {
    size_t mark = message_begin(buffer, 'D');
    message_put_u16(buffer, 1);
    if (value) {
        size_t length = strlen(value);
        assert(length <= FRAME_LARGE_MAX);
        message_put_u32(buffer, (uint32_t)length);
        wire_append(buffer, value, length);
    } else {
        message_put_u32(buffer, UINT32_MAX);
    }
    message_end(buffer, mark);
}

void message_put_parse(struct wire_buffer *buffer, const char *name, const char *sql) {
    size_t mark = message_begin(buffer, 'P');
    message_put_string(buffer, name);
    message_put_string(buffer, sql);
    message_put_u16(buffer, 0); /* no parameter types */
    message_end(buffer, mark);
}

void message_put_bind(struct wire_buffer *buffer, const char *portal, const char *statement) {
    size_t mark = message_begin(buffer, 'B');
    message_put_string(buffer, portal);
    message_put_string(buffer, statement);
    message_put_u16(buffer, 0); /* parameter formats, */
    message_put_u16(buffer, 0); /* parameters, */
    message_put_u16(buffer, 0); /* result formats: all text */
    message_end(buffer, mark);
}

void message_put_execute(struct wire_buffer *buffer, const char *portal) {
    size_t mark = message_begin(buffer, 'E');
    message_put_string(buffer, portal);
    message_put_u32(buffer, 0); /* all rows */
    message_end(buffer, mark);
}

static void put_named(struct wire_buffer *buffer, char type, char kind, const char *name) {
    size_t mark = message_begin(buffer, type);
    message_put_u8(buffer, (uint8_t)kind);
    message_put_string(buffer, name);
    message_end(buffer, mark);
}

void message_put_close(struct wire_buffer *buffer, char kind, const char *name) {
    put_named(buffer, 'C', kind, name);
}

void message_put_describe(struct wire_buffer *buffer, char kind, const char *name) {
    put_named(buffer, 'D', kind, name);
}

void message_put_sync(struct wire_buffer *buffer) {
    message_put_empty(buffer, 'S');
}
