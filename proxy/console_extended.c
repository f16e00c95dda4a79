/* The extended protocol on the console, which many drivers use for everything: statements without
 * parameters. Source: PostgreSQL manual, "Extended Query". */
#include "proxy/console_internal.h"

#include "config/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_MAX = 1000 }; /* statements of one client, and portals */

/* -- statements and portals -------------------------------------------------------------------- */

static struct console_statement **find_statement(struct console *c, const char *name) {
    struct console_statement **at = &c->statements;
    while (*at != NULL && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    return at;
}

static struct console_portal **find_portal(struct console *c, const char *name) {
    struct console_portal **at = &c->portals;
    while (*at != NULL && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    return at;
}

static void remove_statement(struct console_statement **at) {
    struct console_statement *statement = *at;
    if (statement == NULL)
        return;
    *at = statement->next;
    free(statement->name);
    free(statement);
}

static void remove_portal(struct console_portal **at) {
    struct console_portal *portal = *at;
    if (portal == NULL)
        return;
    *at = portal->next;
    figures_table_close(&portal->result);
    free(portal->name);
    free(portal);
}

void console_forget_portals(struct console *c) {
    while (c->portals != NULL)
        remove_portal(&c->portals);
}

void console_forget_statements(struct console *c) {
    while (c->statements != NULL)
        remove_statement(&c->statements);
}

static size_t count_statements(const struct console *c) {
    size_t count = 0;
    for (const struct console_statement *s = c->statements; s != NULL; s = s->next)
        count++;
    return count;
}

static size_t count_portals(const struct console *c) {
    size_t count = 0;
    for (const struct console_portal *p = c->portals; p != NULL; p = p->next)
        count++;
    return count;
}

/* -- errors ------------------------------------------------------------------------------------ */

static void refuse(struct console *c, const char *sqlstate, const char *format, const char *name) {
    char message[256];
    snprintf(message, sizeof message, format, name);
    console_error(c, sqlstate, message, NULL, NULL, 0);
    c->skip_until_sync = true;
}

/* -- Parse ------------------------------------------------------------------------------------- */

/* At most one command. False: the client has got the error. */
static bool read_text(struct console *c, const char *text, struct console_statement *out) {
    struct error error;
    enum console_command second;
    size_t at = 0;
    enum console_reading reading = console_read_command(text, &at, &out->command, &error);
    out->empty = reading == CONSOLE_END;
    if (reading == CONSOLE_COMMAND) {
        reading = console_read_command(text, &at, &second, &error);
        if (reading == CONSOLE_COMMAND) {
            refuse(c, "42601", "cannot insert multiple commands into a prepared statement%s", "");
            return false;
        }
    }
    if (reading == CONSOLE_COMMAND || reading == CONSOLE_END)
        return true;
    console_refuse_text(c, reading, text, at, &error);
    c->skip_until_sync = true;
    return false;
}

static bool on_parse(struct console *c, const uint8_t *body, size_t length, struct error *error) {
    struct parse_message parse;
    if (!message_read_parse(body, length, &parse, error))
        return false;
    struct console_statement read = {0};
    struct console_statement **at = find_statement(c, parse.name);
    if (*at != NULL && parse.name[0] != '\0') {
        refuse(c, "42P05", "prepared statement \"%s\" already exists", parse.name);
    } else if (count_statements(c) >= NAMES_MAX) {
        refuse(c, "54000", "too many prepared statements%s", "");
    } else if (read_text(c, parse.text, &read)) {
        remove_statement(at);
        struct console_statement *made = alloc_new(sizeof *made);
        *made = read;
        made->name = alloc_text(parse.name);
        made->next = c->statements;
        c->statements = made;
        message_put_empty(&c->out, '1');
    }
    return true;
}

/* -- Bind -------------------------------------------------------------------------------------- */

/* What follows the names in Bind: formats of parameters, parameters, formats of the columns. */
struct bind_rest {
    size_t parameters, format_count;
    const uint8_t *formats;
};

static bool read_bind_rest(const uint8_t *at, size_t length, struct bind_rest *out) {
    size_t skipped = 0;
    if (length < 2)
        return false;
    skipped = 2 + 2 * (size_t)wire_get_u16(at);
    if (length < skipped + 2)
        return false;
    out->parameters = wire_get_u16(at + skipped);
    if (out->parameters > 0)
        return true; /* refused for that alone */
    at += skipped + 2;
    length -= skipped + 2;
    if (length < 2 || length != 2 + 2 * (size_t)wire_get_u16(at))
        return false;
    out->format_count = wire_get_u16(at);
    out->formats = at + 2;
    return true;
}

/* One format is for all columns, none is text for all. False: the client has got the error. */
static bool take_formats(struct console *c, const struct bind_rest *rest,
                         struct console_portal *portal) {
    const struct figures_kind *kind = portal->empty ? NULL : console_kind(portal->command);
    size_t columns = kind != NULL ? kind->column_count : 0;
    if (rest->format_count > 1 && rest->format_count != columns) {
        refuse(c, "08P01",
               "bind message has another number of result formats than the query has columns%s",
               "");
        return false;
    }
    for (size_t i = 0; i < columns && rest->format_count > 0; i++) {
        uint16_t format = wire_get_u16(rest->formats + (rest->format_count > 1 ? 2 * i : 0));
        if (format > 1) {
            refuse(c, "22023", "unsupported format code%s", "");
            return false;
        }
        portal->binary[i] = format == 1;
    }
    return true;
}

static void make_portal(struct console *c, const struct bind_message *bind,
                        const struct console_statement *statement, const struct bind_rest *rest) {
    struct console_portal **at = find_portal(c, bind->portal);
    struct console_portal *portal = alloc_new(sizeof *portal);
    portal->empty = statement->empty;
    portal->command = statement->command;
    portal->name = alloc_text(bind->portal);
    if (!take_formats(c, rest, portal)) {
        remove_portal(&portal);
        return;
    }
    remove_portal(at);
    portal->next = c->portals;
    c->portals = portal;
    message_put_empty(&c->out, '2');
}

static bool on_bind(struct console *c, const uint8_t *body, size_t length, struct error *error) {
    struct bind_message bind;
    struct bind_rest rest = {0};
    bool need_more;
    if (!message_read_bind_names(body, length, true, &need_more, &bind, error))
        return false;
    const uint8_t *behind = (const uint8_t *)bind.statement + strlen(bind.statement) + 1;
    if (!read_bind_rest(behind, length - (size_t)(behind - body), &rest))
        return error_set(error, "insufficient data left in message");
    const struct console_statement *statement = *find_statement(c, bind.statement);
    if (statement == NULL)
        refuse(c, "26000", "prepared statement \"%s\" does not exist", bind.statement);
    else if (rest.parameters > 0)
        refuse(c, "08P01", "the console's statements have no parameters%s", "");
    else if (bind.portal[0] != '\0' && *find_portal(c, bind.portal) != NULL)
        refuse(c, "42P03", "cursor \"%s\" already exists", bind.portal);
    else if (count_portals(c) >= NAMES_MAX)
        refuse(c, "54000", "too many portals%s", "");
    else
        make_portal(c, &bind, statement, &rest);
    return true;
}

/* -- Describe, Close --------------------------------------------------------------------------- */

static void describe(struct console *c, bool empty, enum console_command command,
                     const bool *binary) {
    const struct figures_kind *kind = empty ? NULL : console_kind(command);
    if (kind != NULL)
        figures_put_description(&c->out, kind, binary);
    else
        message_put_empty(&c->out, 'n');
}

static void describe_statement(struct console *c, const char *name) {
    const struct console_statement *statement = *find_statement(c, name);
    if (statement == NULL) {
        refuse(c, "26000", "prepared statement \"%s\" does not exist", name);
        return;
    }
    size_t mark = message_begin(&c->out, 't');
    message_put_u16(&c->out, 0); /* no parameters */
    message_end(&c->out, mark);
    describe(c, statement->empty, statement->command, NULL);
}

static void describe_portal(struct console *c, const char *name) {
    const struct console_portal *portal = *find_portal(c, name);
    if (portal == NULL)
        refuse(c, "34000", "portal \"%s\" does not exist", name);
    else
        describe(c, portal->empty, portal->command, portal->binary);
}

static bool on_named(struct console *c, char type, const uint8_t *body, size_t length,
                     struct error *error) {
    struct named_message named;
    if (!message_read_named(body, length, &named, error))
        return false;
    bool portal = named.kind == 'P';
    if (type == 'D') {
        (portal ? describe_portal : describe_statement)(c, named.name);
        return true;
    }
    if (portal)
        remove_portal(find_portal(c, named.name));
    else
        remove_statement(find_statement(c, named.name));
    message_put_empty(&c->out, '3');
    return true;
}

/* -- Execute ----------------------------------------------------------------------------------- */

static bool on_execute(struct console *c, const uint8_t *body, size_t length, struct error *error) {
    struct execute_message execute;
    if (!message_read_execute(body, length, &execute, error))
        return false;
    struct console_portal *portal = *find_portal(c, execute.portal);
    if (portal == NULL) {
        refuse(c, "34000", "portal \"%s\" does not exist", execute.portal);
    } else if (portal->empty) {
        message_put_empty(&c->out, 'I');
    } else if (portal->done && portal->result.kind == NULL) {
        refuse(c, "55000", "portal \"%s\" cannot be run", execute.portal);
    } else { /* a negative number is all, too */
        console_execute(c, portal, execute.max_rows > INT32_MAX ? 0 : execute.max_rows);
    }
    return true;
}

/* -- the switch -------------------------------------------------------------------------------- */

bool console_on_extended(struct console *c, char type, const uint8_t *body, size_t length) {
    struct error error;
    bool well = true;
    if (memchr("PBDEC", type, 5) == NULL)
        return false;
    if (c->skip_until_sync)
        return true;
    switch (type) {
    case 'P':
        well = on_parse(c, body, length, &error);
        break;
    case 'B':
        well = on_bind(c, body, length, &error);
        break;
    case 'E':
        well = on_execute(c, body, length, &error);
        break;
    default:
        well = on_named(c, type, body, length, &error);
    }
    if (!well)
        console_fatal(c, "08P01", error.text);
    return true;
}
