/* Reading the bodies of the messages that a proxy looks into, and writing those that it answers
 * itself.
 *
 * Readers borrow: strings point into the body that was given. Writers append to a growable `struct
 * wire_buffer`. */
#ifndef PGINTERLOCK_MESSAGE_H
#define PGINTERLOCK_MESSAGE_H

#include "config/error.h"
#include "protocol/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Growable bytes. Zero-initialise; free with wire_buffer_close(). Allocation failure ends the
 * process. */
struct wire_buffer {
    uint8_t *data;
    size_t length, capacity;
};
void wire_buffer_close(struct wire_buffer *buffer);
void wire_append(struct wire_buffer *buffer, const void *data, size_t length);

/* -- reading ------------------------------------------------------------------------------------
 * `body` is what follows the length field; false: malformed (08P01), with what is wrong. */

struct parse_message {
    const char *name, *text;
    size_t text_length;
    uint16_t type_count;
    const uint8_t *types;
};
/* Only the names: the start of the body suffices. */
struct bind_message {
    const char *portal, *statement;
    const uint8_t *counts; /* what follows them */
};
/* Describe, Close. */
struct named_message {
    char kind; /* 'S' or 'P' */
    const char *name;
};
struct execute_message {
    const char *portal;
    uint32_t max_rows;
};

bool message_read_query(const uint8_t *body, size_t length, const char **text, size_t *text_length,
                        struct error *);
bool message_read_parse(const uint8_t *body, size_t length, struct parse_message *out,
                        struct error *);
/* `complete`: the body is all there; otherwise names that are not yet NUL-terminated give false
 * with *need_more. */
bool message_read_bind_names(const uint8_t *body, size_t available, bool complete, bool *need_more,
                             struct bind_message *out, struct error *);
bool message_read_named(const uint8_t *body, size_t length, struct named_message *out,
                        struct error *);
bool message_read_execute(const uint8_t *body, size_t length, struct execute_message *out,
                          struct error *);

/* Fields of an ErrorResponse or NoticeResponse; absent ones are NULL. */
struct diagnostic {
    const char *severity, *severity_nonlocalized, *sqlstate, *message, *detail, *hint, *position,
        *context, *schema, *table, *column, *type, *constraint, *file, *line, *routine,
        *internal_position, *internal_query;
};
bool message_read_diagnostic(const uint8_t *body, size_t length, struct diagnostic *out,
                             struct error *);
/* FATAL or PANIC: whoever sent it has nothing more to say, and ends the connection. */
bool diagnostic_is_fatal(const struct diagnostic *diagnostic);

/* -- writing ----------------------------------------------------------------------------------- */

/* Any message: begin, append fields, end (fills the length in). */
size_t message_begin(struct wire_buffer *buffer, char type); /* returns a mark for message_end() */
void message_put_string(struct wire_buffer *buffer, const char *text); /* with its NUL */
void message_put_u8(struct wire_buffer *buffer, uint8_t value);
void message_put_u16(struct wire_buffer *buffer, uint16_t value);
void message_put_u32(struct wire_buffer *buffer, uint32_t value);
void message_end(struct wire_buffer *buffer, size_t mark);

/* type: 'E' or 'N'. Fields stand in the order in which the server sends them, NULL ones are left
 * out; severity_nonlocalized defaults to severity. */
void message_put_diagnostic(struct wire_buffer *buffer, char type,
                            const struct diagnostic *diagnostic);
void message_put_ready(struct wire_buffer *buffer, char status);
void message_put_command_complete(struct wire_buffer *buffer, const char *tag);
/* A message without a body: '1', '2', '3', 'n', 's', 'I'. */
void message_put_empty(struct wire_buffer *buffer, char type);
void message_put_parameter_status(struct wire_buffer *buffer, const char *name, const char *value);
void message_put_backend_key(struct wire_buffer *buffer, uint32_t pid, uint32_t key);
/* One text column, one row, as SHOW answers: RowDescription (if wanted) and DataRow. value NULL:
 * SQL NULL. */
void message_put_text_column(struct wire_buffer *buffer, const char *column);
void message_put_text_row(struct wire_buffer *buffer, const char *value);
/* Frontend messages for databases. */
void message_put_parse(struct wire_buffer *buffer, const char *name, const char *sql);
/* Without parameters. */
void message_put_bind(struct wire_buffer *buffer, const char *portal, const char *statement);
void message_put_execute(struct wire_buffer *buffer, const char *portal);
void message_put_close(struct wire_buffer *buffer, char kind, const char *name);
void message_put_describe(struct wire_buffer *buffer, char kind, const char *name);
void message_put_sync(struct wire_buffer *buffer);

#endif
