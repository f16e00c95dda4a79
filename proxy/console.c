/* The console's life, the switch on its client's messages, and simple queries. */
#include "proxy/console_internal.h"

#include "config/alloc.h"
#include "config/utf8.h"
#include "proxy/pool.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    MESSAGE_MAX = 64 * 1024,  /* of the client: nobody has so much to say */
    UNSENT_HIGH = 256 * 1024, /* the next answer waits until the client has taken this one */
    ANSWER_PART = 16 * 1024,  /* rows are moved to the stream in parts */
};

/* -- what is said ------------------------------------------------------------------------------ */

static void flush_out(struct console *c) {
    stream_send(c->client, c->out.data, c->out.length);
    wire_buffer_close(&c->out);
}

static const char list_of_commands[] =
    "There are SHOW CLIENTS, CONFIG, DATABASES, HELP, POOLS, SERVERS, STATS, VERSION and "
    "VIOLATIONS, and RELOAD.";

void console_error(struct console *c, const char *sqlstate, const char *message, const char *hint,
                   const char *text, size_t position) {
    char place[24];
    if (text != NULL) { /* in characters, from 1 */
        snprintf(place, sizeof place, "%zu", 1 + utf8_count(text, position));
    }
    struct diagnostic error = {.severity = "ERROR",
                               .sqlstate = sqlstate,
                               .message = message,
                               .hint = hint,
                               .position = text != NULL ? place : NULL,
                               .routine = "pginterlock_console"};
    message_put_diagnostic(&c->out, 'E', &error);
    if (c->block == CONSOLE_BLOCK_OPEN)
        c->block = CONSOLE_BLOCK_FAILED;
}

void console_refuse_text(struct console *c, enum console_reading reading, const char *text,
                         size_t at, const struct error *error) {
    switch (reading) {
    case CONSOLE_UNKNOWN_SETTING:
        console_error(c, "42704", error->text,
                      "Settings stand in the file that SHOW CONFIG names: change it, then RELOAD.",
                      text, at);
        break;
    case CONSOLE_FOREIGN_ENCODING:
        console_error(c, "0A000", error->text, NULL, text, at);
        break;
    default:
        console_error(c, "42601", error->text, list_of_commands, text, at);
    }
}

static void notice(struct console *c, const char *severity, const char *sqlstate,
                   const char *message) {
    struct diagnostic fields = {.severity = severity,
                                .sqlstate = sqlstate,
                                .message = message,
                                .routine = "pginterlock_console"};
    message_put_diagnostic(&c->out, 'N', &fields);
}

void console_fatal(struct console *c, const char *sqlstate, const char *message) {
    struct diagnostic error = {.severity = "FATAL",
                               .sqlstate = sqlstate,
                               .message = message,
                               .routine = "pginterlock_console"};
    message_put_diagnostic(&c->out, 'E', &error);
    error_set(&c->fatal, "%s", message);
    c->end_reason = c->fatal.text;
}

void console_ready(struct console *c) {
    static const char letters[] = {
        [CONSOLE_BLOCK_NONE] = 'I', [CONSOLE_BLOCK_OPEN] = 'T', [CONSOLE_BLOCK_FAILED] = 'E'};
    message_put_ready(&c->out, letters[c->block]);
    if (c->block == CONSOLE_BLOCK_NONE)
        console_forget_portals(c);
}

static void greet(struct console *c, uint32_t key) {
    /* What psql and drivers look at. The version's number says which grammar and messages are
     * spoken. */
    static const char *const parameters[][2] = {
        {"server_version", "15.0 (pginterlock " PGINTERLOCK_VERSION ")"},
        {"server_encoding", "UTF8"},
        {"client_encoding", "UTF8"},
        {"application_name", ""},
        {"is_superuser", "off"},
        {"DateStyle", "ISO, MDY"},
        {"IntervalStyle", "postgres"},
        {"TimeZone", "UTC"},
        {"integer_datetimes", "on"},
        {"standard_conforming_strings", "on"},
    };
    for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++)
        message_put_parameter_status(&c->out, parameters[i][0], parameters[i][1]);
    message_put_parameter_status(&c->out, "session_authorization", c->user);
    message_put_backend_key(&c->out, 0, key); /* nothing runs so long that it could be cancelled */
    console_ready(c);
    flush_out(c);
}

/* -- commands ---------------------------------------------------------------------------------- */

const struct figures_kind *console_kind(enum console_command command) {
    static const struct figures_kind *const kinds[CONSOLE_COMMANDS] = {
        [CONSOLE_SHOW_CLIENTS] = &console_clients,       [CONSOLE_SHOW_CONFIG] = &console_settings,
        [CONSOLE_SHOW_DATABASES] = &console_databases,   [CONSOLE_SHOW_HELP] = &console_help,
        [CONSOLE_SHOW_POOLS] = &console_pools,           [CONSOLE_SHOW_SERVERS] = &console_servers,
        [CONSOLE_SHOW_STATS] = &console_stats,           [CONSOLE_SHOW_VERSION] = &console_version,
        [CONSOLE_SHOW_VIOLATIONS] = &console_violations,
    };
    return kinds[command];
}

static void end_query(struct console *c) {
    free(c->query);
    c->query = NULL;
    console_ready(c);
}

/* Of what is executing. */
static void fail_command(struct console *c, const char *sqlstate, const char *message) {
    bool simple = c->executing == &c->simple;
    c->executing = NULL;
    console_error(c, sqlstate, message, NULL, NULL, 0);
    if (simple)
        end_query(c);
    else
        c->skip_until_sync = true;
}

/* What is executing has run. Takes the rows; NULL: it has none. */
static void take_answer(struct console *c, struct figures_table *table) {
    struct console_portal *portal = c->executing;
    portal->done = true;
    if (table == NULL)
        return;
    portal->result = (struct figures_table){.kind = table->kind};
    figures_table_take(&portal->result, table);
    if (portal == &c->simple)
        figures_put_description(&c->out, portal->result.kind, NULL);
}

static void end_answer(struct console *c) {
    struct console_portal *portal = c->executing;
    c->executing = NULL;
    if (portal->at < portal->result.rows.length)
        message_put_empty(&c->out, 's');
    else
        message_put_command_complete(&c->out, portal->tag);
    if (portal == &c->simple)
        figures_table_close(&portal->result);
}

static void run(struct console *c);

static void on_turn(void *owner, struct figures_table *table, const struct error *error) {
    struct console *c = owner;
    (void)table, (void)error;
    c->gathering = NULL;
    run(c);
}

/* Rows of what is executing; where there are many, others have their turn in between. */
static void go_on_with_answer(struct console *c) {
    struct console_portal *portal = c->executing;
    struct figure row[FIGURES_COLUMNS_MAX];
    const struct figures_table *result = &portal->result;
    while (result->kind != NULL && c->out.length < ANSWER_PART &&
           figures_table_next(result, &portal->at, row)) {
        figures_put_row(&c->out, result->kind, row, portal->binary);
        if (c->rows_wanted > 0 && --c->rows_wanted == 0) {
            end_answer(c);
            return;
        }
    }
    if (portal->at < result->rows.length)
        c->gathering = gather_turn(c->worker, on_turn, c);
    else
        end_answer(c);
}

/* An empty table would leave that to be guessed. */
static void tell_that_pools_are_off(struct console *c) {
    if (!pools_are_used(c->worker->config->settings))
        notice(c, "NOTICE", "00000", "no entrypoint shares connections: pool.mode is off");
}

static void on_gathered(void *owner, struct figures_table *table, const struct error *error) {
    struct console *c = owner;
    c->gathering = NULL;
    if (error != NULL) {
        fail_command(c, "F0000", error->text);
    } else {
        if (c->executing->command == CONSOLE_SHOW_POOLS && table->row_count == 0)
            tell_that_pools_are_off(c);
        take_answer(c, table);
    }
    run(c);
}

static void reload(struct console *c) {
    log_event(c->worker->log, LOG_INFO, "reload asked for on the console",
              (struct log_field[]){{"client", c->peer, 0}, {"user", c->user, 0}, {0}});
    c->gathering = gather_reload(c->worker, on_gathered, c);
}

static void answer_here(struct console *c, enum console_command command) {
    struct figures_table table = {.kind = console_kind(command)};
    if (command == CONSOLE_SHOW_CONFIG)
        console_fill_config(c->worker->config->settings, &table);
    else if (command == CONSOLE_SHOW_HELP)
        console_fill_help(&table);
    else
        console_fill_version(&table);
    take_answer(c, &table);
}

/* Nothing can be undone; drivers want to see that there is a transaction, or none. */
static void change_block(struct console *c, struct console_portal *portal) {
    bool begins = portal->command == CONSOLE_BEGIN, open = c->block != CONSOLE_BLOCK_NONE;
    if (begins && open)
        notice(c, "WARNING", "25001", "there is already a transaction in progress");
    else if (!begins && !open)
        notice(c, "WARNING", "25P01", "there is no transaction in progress");
    if (c->block == CONSOLE_BLOCK_FAILED)
        portal->tag = console_command_tag(CONSOLE_ROLLBACK);
    c->block = begins ? CONSOLE_BLOCK_OPEN : CONSOLE_BLOCK_NONE;
}

void console_execute(struct console *c, struct console_portal *portal, uint32_t rows) {
    c->executing = portal;
    c->rows_wanted = rows;
    if (portal->done)
        return;
    if (c->block == CONSOLE_BLOCK_FAILED && portal->command != CONSOLE_COMMIT &&
        portal->command != CONSOLE_ROLLBACK) {
        fail_command(c, "25P02",
                     "current transaction is aborted, commands ignored until end of transaction "
                     "block");
        return;
    }
    portal->tag = console_command_tag(portal->command);
    switch (portal->command) {
    case CONSOLE_BEGIN:
    case CONSOLE_COMMIT:
    case CONSOLE_ROLLBACK:
        change_block(c, portal);
        take_answer(c, NULL);
        break;
    case CONSOLE_DISCARD:
        console_forget_statements(c);
        take_answer(c, NULL);
        break;
    case CONSOLE_SET:
    case CONSOLE_RESET:
        take_answer(c, NULL);
        break;
    case CONSOLE_SHOW_HELP:
    case CONSOLE_SHOW_CONFIG:
    case CONSOLE_SHOW_VERSION:
        answer_here(c, portal->command);
        break;
    case CONSOLE_RELOAD:
        reload(c);
        break;
    default:
        c->gathering = gather_figures(c->worker, portal->command, console_kind(portal->command),
                                      on_gathered, c);
    }
}

/* -- simple queries ---------------------------------------------------------------------------- */

/* The next command of the query, or its end. What is wrong anywhere was said at its beginning. */
static void go_on_with_query(struct console *c) {
    enum console_command command;
    struct error error;
    if (console_read_command(c->query, &c->query_at, &command, &error) != CONSOLE_COMMAND) {
        end_query(c);
        return;
    }
    c->simple = (struct console_portal){.command = command};
    console_execute(c, &c->simple, 0);
}

/* The whole text is read before anything of it runs, as a server does. */
static void begin_query(struct console *c, const char *text) {
    enum console_reading reading;
    enum console_command command;
    struct error error;
    size_t at = 0, count = 0;
    while ((reading = console_read_command(text, &at, &command, &error)) == CONSOLE_COMMAND)
        count++;
    if (reading != CONSOLE_END) {
        console_refuse_text(c, reading, text, at, &error);
    } else if (count > 0) {
        c->query = alloc_text(text);
        c->query_at = 0;
        return;
    } else {
        message_put_empty(&c->out, 'I');
    }
    console_ready(c);
}

/* -- messages ---------------------------------------------------------------------------------- */

static void malformed(struct console *c, const struct error *error) {
    console_fatal(c, "08P01", error->text);
}

static void on_query(struct console *c, const uint8_t *body, size_t length) {
    const char *text;
    size_t text_length;
    struct error error;
    c->skip_until_sync = false;
    if (!message_read_query(body, length, &text, &text_length, &error))
        malformed(c, &error);
    else
        begin_query(c, text);
}

static void on_message(struct console *c, char type, const uint8_t *body, size_t length) {
    char message[80];
    switch (type) {
    case 'Q':
        on_query(c, body, length);
        break;
    case 'X':
        c->end_reason = "client disconnected";
        break;
    case 'S':
        c->skip_until_sync = false;
        console_ready(c);
        break;
    case 'H':
        break; /* nothing is held back */
    case 'd':
    case 'c':
    case 'f':
        break; /* of a COPY that is over, for all that a server knows: ignored */
    case 'F':
        console_error(c, "0A000", "the console has no functions", list_of_commands, NULL, 0);
        console_ready(c);
        break;
    default:
        if (console_on_extended(c, type, body, length))
            break;
        snprintf(message, sizeof message, "invalid frontend message type %d", (uint8_t)type);
        console_fatal(c, "08P01", message);
    }
}

/* Whether the user may still be here: settings can be reloaded. */
static bool is_welcome(struct console *c) {
    const struct settings *settings = c->worker->config->settings;
    if (settings->admin.database != NULL && settings_is_admin(settings, c->user))
        return true;
    console_fatal(c, "42501", "the console is no longer for this user");
    return false;
}

/* The next message, where it is whole. False: it isn't, or none is to come. */
static bool next_message(struct console *c) {
    struct frame frame;
    size_t available = stream_available(c->client);
    enum frame_result result = frame_read(stream_peek(c->client), available, &frame);
    if (result == FRAME_INCOMPLETE)
        return false;
    if (result == FRAME_BAD_LENGTH || frame.length > MESSAGE_MAX) {
        console_fatal(c, "08P01", "invalid message length");
        return false;
    }
    if (available < frame.length) {
        stream_reserve(c->client, frame.length);
        return false;
    }
    if (!is_welcome(c))
        return false;
    on_message(c, frame.type, stream_peek(c->client) + FRAME_HEADER, frame.length - FRAME_HEADER);
    stream_consume(c->client, frame.length);
    return true;
}

static bool can_go_on(const struct console *c) {
    return c->end_reason == NULL && c->gathering == NULL &&
           stream_unsent(c->client) + c->out.length < UNSENT_HIGH;
}

static void work(struct console *c) {
    bool more = true;
    while (more && can_go_on(c)) {
        if (c->executing != NULL)
            go_on_with_answer(c);
        else if (c->query != NULL)
            go_on_with_query(c);
        else
            more = next_message(c);
        if (c->out.length >= ANSWER_PART)
            flush_out(c);
    }
}

/* Its last act may be the end of the console. */
static void run(struct console *c) {
    if (c->running)
        return;
    c->running = true;
    work(c);
    flush_out(c);
    stream_flush(c->client);
    if (c->end_reason == NULL && c->client->state != STREAM_OPEN && can_go_on(c))
        c->end_reason = "client disconnected";
    if (c->end_reason == NULL && c->client->state == STREAM_BROKEN)
        c->end_reason = stream_error(c->client);
    c->running = false;
    if (c->end_reason != NULL)
        c->ended(c->owner, c->end_reason);
}

void console_on_event(struct console *c) {
    run(c);
}

/* -- life -------------------------------------------------------------------------------------- */

struct console *console_open(struct worker *worker, struct stream *client, const char *peer,
                             const char *user, void (*ended)(void *owner, const char *reason),
                             void *owner) {
    struct console *c = alloc_new(sizeof *c);
    c->worker = worker;
    c->client = client;
    c->peer = peer;
    c->user = user;
    c->ended = ended;
    c->owner = owner;
    uint32_t key = 0; /* of no use, so that it matters little where there is no random */
    if (getrandom(&key, sizeof key, 0) != sizeof key)
        key = 0;
    greet(c, key);
    log_event(worker->log, LOG_INFO, "console opened",
              (struct log_field[]){{"client", peer, 0}, {"user", user, 0}, {0}});
    stream_flush(client);
    return c;
}

void console_free(struct console *c) {
    if (c == NULL)
        return;
    if (c->gathering != NULL)
        gathering_abandon(c->gathering);
    console_forget_portals(c);
    console_forget_statements(c);
    figures_table_close(&c->simple.result);
    wire_buffer_close(&c->out);
    free(c->query);
    free(c);
}
