#include "proxy/session_figures.h"

#include "config/alloc.h"
#include "config/conninfo.h"
#include "proxy/server_statements.h"
#include "proxy/session_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(name)                                                                                 \
    { name, FIGURE_TEXT, MERGE_FIRST }
#define NUMBER(name)                                                                               \
    { name, FIGURE_NUMBER, MERGE_FIRST }

static const struct figure_column client_columns[] = {
    TEXT("type"),
    TEXT("user"),
    TEXT("database"),
    TEXT("state"),
    TEXT("addr"),
    NUMBER("port"),
    TEXT("connect_time"),
    TEXT("request_time"),
    NUMBER("wait"),
    NUMBER("wait_us"),
    TEXT("servers"),
    TEXT("kept_by"),
    TEXT("tls"),
    TEXT("application_name"),
    NUMBER("prepared_statements"),
    NUMBER("id"),
    NUMBER("worker"),
};
enum { CLIENT_COLUMNS = sizeof client_columns / sizeof client_columns[0] };
const struct figures_kind console_clients = {client_columns, CLIENT_COLUMNS, false};

static const struct figure_column server_columns[] = {
    TEXT("type"),         TEXT("user"),
    TEXT("database"),     TEXT("state"),
    TEXT("addr"),         NUMBER("port"),
    TEXT("connect_time"), NUMBER("remote_pid"),
    TEXT("tls"),          NUMBER("prepared_statements"),
    NUMBER("client"),     TEXT("kept_by"),
    NUMBER("worker"),
};
enum { SERVER_COLUMNS = sizeof server_columns / sizeof server_columns[0] };
const struct figures_kind console_servers = {server_columns, SERVER_COLUMNS, false};

/* -- one look ---------------------------------------------------------------------------------- */

void filling_begin(struct filling *filling, struct worker *worker, struct figures_table *table) {
    *filling = (struct filling){
        .worker = worker, .table = table, .now = uv_now(&worker->loop), .clock = time(NULL)};
}

void filling_end(struct filling *filling) {
    for (size_t i = 0; i < filling->user_count; i++)
        free(filling->users[i].user);
}

const char *filling_user(struct filling *filling, const char *conninfo, const char *otherwise) {
    size_t i = 0;
    while (i < filling->user_count && strcmp(filling->users[i].conninfo, conninfo) != 0)
        i++;
    if (i == filling->user_count) {
        if (i == DATABASES_MAX) { /* strings of before reloads: any place will do */
            i = 0;
            free(filling->users[i].user);
        } else {
            filling->user_count++;
        }
        filling->users[i] = (struct named_user){conninfo, conninfo_value(conninfo, "user")};
    }
    const char *user = filling->users[i].user;
    return user != NULL ? user : otherwise;
}

/* -- words ------------------------------------------------------------------------------------- */

/* A line under composition, cut off where it is too long. */
struct line {
    size_t length;
    char text[FIGURES_TEXT_MAX];
};

static void begin(struct line *line) {
    line->length = 0;
    line->text[0] = '\0';
}

static void add(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct line *line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length =
        vsnprintf(line->text + line->length, sizeof line->text - line->length, format, arguments);
    va_end(arguments);
    if (length > 0)
        line->length += (size_t)length;
    if (line->length >= sizeof line->text)
        line->length = sizeof line->text - 1;
}

/* "2026-11-23 11:30:00 UTC"; the last one is kept, as many clients came within one second. */
static const char *write_time(struct written_time *written, time_t at) {
    if (written->at != at || written->text[0] == '\0') {
        struct tm parts;
        gmtime_r(&at, &parts);
        strftime(written->text, sizeof written->text, "%Y-%m-%d %H:%M:%S UTC", &parts);
        written->at = at;
    }
    return written->text;
}

/* Of a uv_now(). */
static const char *write_moment(struct filling *f, uint64_t at) {
    uint64_t ago = at < f->now ? f->now - at : 0;
    return write_time(&f->asked, f->clock - (time_t)(ago / 1000));
}

/* "127.0.0.1:5432" or "[::1]:5432" as address and port; anything else is all address. */
static struct figure split_address(char *text) {
    char *colon = strrchr(text, ':');
    if (colon == NULL || strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return figure_unknown();
    *colon = '\0';
    size_t length = strlen(text);
    if (text[0] == '[' && text[length - 1] == ']') {
        text[length - 1] = '\0';
        memmove(text, text + 1, length - 1);
    }
    return figure_number(atoi(colon + 1));
}

static const char *write_tls(SSL *ssl, struct line *out) {
    if (ssl != NULL)
        add(out, "%s/%s", SSL_get_version(ssl), SSL_get_cipher_name(ssl));
    return out->text;
}

/* -- what keeps a link ------------------------------------------------------------------------- */

/* By the number of the bit in enum binding. */
static const char *const reasons[KEPT_REASONS] = {
    "advisory lock",
    "LISTEN",
    "temporary table",
    "PREPARE",
    "cursor WITH HOLD",
    "LOAD",
    "EXECUTE of a prepared statement",
    "not known",
    "random seed",
    "transaction",
    "COPY",
    "pipeline",
    "statement",
    "sequence",
};

static void add_reasons(struct line *line, const struct session *s, const struct link *link) {
    if (s->pool_mode != POOL_TRANSACTION) {
        add(line, "session");
        return;
    }
    unsigned kept = session_link_keeps(s, link);
    const char *between = "";
    for (unsigned i = 0; i < KEPT_REASONS; i++) {
        if ((kept >> i & 1) == 0)
            continue;
        add(line, "%s%s", between, reasons[i]);
        between = ", ";
    }
}

static void describe_links(const struct session *s, struct line *servers, struct line *kept) {
    for (int i = 0; i < s->link_count; i++) {
        const struct link *link = s->links[i];
        if (link == NULL || link->state != LINK_READY)
            continue;
        add(servers, "%s%s:%u", servers->length > 0 ? ", " : "", link->name, link->pid);
        add(kept, "%s%s: ", kept->length > 0 ? "; " : "", link->name);
        add_reasons(kept, s, link);
    }
}

/* -- clients ----------------------------------------------------------------------------------- */

static const char *client_state(const struct session *s) {
    if (s->phase == PHASE_CONSOLE)
        return "active";
    if (session_waits_for_pool(s))
        return "waiting";
    if (s->phase != PHASE_READY)
        return "login";
    if (s->awaited != NULL)
        return "waiting";
    bool busy = s->script.active || !session_drained(s) || s->body_fate != BODY_NONE ||
                s->copy_in != NULL || s->query != NULL || stream_available(&s->client) > 0;
    if (busy)
        return "active";
    enum block_status status = session_block_status(s->routing);
    return status == BLOCK_OPEN     ? "idle in transaction"
           : status == BLOCK_FAILED ? "idle in transaction (aborted)"
                                    : "idle";
}

/* Milliseconds. */
static uint64_t client_wait(const struct session *s, const struct filling *f) {
    if (session_waits_for_pool(s))
        return f->now - s->waiter.since;
    bool waits = s->phase == PHASE_READY && s->awaited != NULL;
    return waits ? f->now - s->last_active : 0;
}

/* While it logs in, what it has said so far. */
static const struct startup *client_startup(const struct session *s) {
    return s->login != NULL ? &s->login->startup : &s->startup;
}

static const char *application_name(const struct session *s) {
    const char *name = session_parameter(s, "application_name");
    const struct startup *startup = client_startup(s);
    for (size_t i = 0; name == NULL && i < startup->parameter_count; i++)
        if (strcmp(startup->parameters[i].name, "application_name") == 0)
            name = startup->parameters[i].value;
    return name != NULL ? name : "";
}

void session_put_client(const struct session *s, struct filling *f) {
    struct line servers, kept, tls;
    char address[128];
    begin(&servers);
    begin(&kept);
    begin(&tls);
    snprintf(address, sizeof address, "%s", s->peer);
    struct figure port = split_address(address);
    const struct startup *startup = client_startup(s);
    uint64_t wait = client_wait(s, f);
    describe_links(s, &servers, &kept);
    const struct figure row[CLIENT_COLUMNS] = {
        figure_text("C"),
        figure_text(startup->user),
        figure_text(startup->database),
        figure_text(client_state(s)),
        figure_text(address),
        port,
        figure_text(write_time(&f->connected, s->connected)),
        s->phase == PHASE_READY ? figure_text(write_moment(f, s->last_active)) : figure_unknown(),
        figure_number((int64_t)(wait / 1000)),
        figure_number((int64_t)(wait % 1000 * 1000)),
        figure_text(servers.text),
        figure_text(kept.text),
        figure_text(write_tls(s->client.ssl, &tls)),
        figure_text(application_name(s)),
        figure_number((int64_t)HASH_COUNT(s->prepared.named)),
        s->pid != 0 ? figure_number(s->pid) : figure_unknown(),
        figure_number(f->worker->index),
    };
    figures_table_add(f->table, row);
}

/* -- servers ----------------------------------------------------------------------------------- */

static const char *server_state(const struct link *link, const struct session *s) {
    if (link->state != LINK_READY)
        return "new";
    if (s != NULL)
        return "active";
    return link->pool_state == POOLED_RESETTING ? "tested" : "idle";
}

static const char *server_user(const struct link *link, const struct session *s,
                               struct filling *f) {
    if (link->pool != NULL) {
        const char *own = pool_user(link->pool);
        return own != NULL ? own : filling_user(f, pool_conninfo(link->pool), NULL);
    }
    const struct database *database = &session_settings(s)->databases[link->physical];
    return filling_user(f, database->conninfo, s->startup.user);
}

void link_put_server(const struct link *link, const struct session *s, struct filling *f) {
    struct line kept, tls;
    char address[300];
    begin(&kept);
    begin(&tls);
    bool ready = link->state == LINK_READY;
    snprintf(address, sizeof address, "%s", link->host != NULL ? link->host : "");
    struct figure port = split_address(address);
    if (s != NULL && ready)
        add_reasons(&kept, s, link);
    const struct figure row[SERVER_COLUMNS] = {
        figure_text("S"),
        figure_text(server_user(link, s, f)),
        figure_text(link->name),
        figure_text(server_state(link, s)),
        figure_text(link->host != NULL ? address : NULL),
        port,
        figure_text(write_moment(f, link->opened_at)),
        ready ? figure_number(link->pid) : figure_unknown(),
        figure_text(write_tls(ready ? link->stream.ssl : NULL, &tls)),
        figure_number((int64_t)server_statements_count(link->statements)),
        s != NULL && s->pid != 0 ? figure_number(s->pid) : figure_unknown(),
        figure_text(kept.text),
        figure_number(f->worker->index),
    };
    figures_table_add(f->table, row);
}

void session_visit_links(const struct session *s,
                         void (*visit)(const struct link *link, const struct session *session,
                                       struct filling *filling),
                         struct filling *filling) {
    for (int i = 0; i < s->link_count; i++)
        if (s->links[i] != NULL && s->links[i]->state != LINK_FAILED)
            visit(s->links[i], s, filling);
}
