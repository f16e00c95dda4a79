#include "proxy/link.h"

#include "config/alloc.h"
#include "proxy/connection_take.h"
#include "proxy/link_cancel.h"
#include "proxy/link_conninfo.h"
#include "proxy/server_statements.h"
#include "proxy/setting_set.h"
#include "proxy/worker.h"

#include <assert.h>
#include <libpq-fe.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ADDRESSES_MAX = 8 }; /* of one host name that are tried */

/* What exists only while a connection is being made. The uv handles outlive a link that is closed
 * meanwhile. */
struct link_connect {
    struct link *link; /* NULL once the link was closed */
    uv_loop_t *loop;
    PGconn *conn;
    struct backend_key *key; /* listens to conn; NULL: it doesn't */
    struct link_conninfo info;
    size_t resolving; /* the host that is being resolved */
    uv_getaddrinfo_t request;
    bool request_active;
    uv_poll_t *poll; /* on libpq's socket, which may change from step to step */
    int poll_fd;
    uv_timer_t deadline;
    bool timer_closed;
};

/* -- ending ------------------------------------------------------------------------------------ */

static void free_handle(uv_handle_t *handle) {
    free(handle);
}

static void connect_free_if_done(struct link_connect *connect) {
    if (connect->request_active || !connect->timer_closed)
        return;
    link_conninfo_close(&connect->info);
    free(connect);
}

static void on_deadline_closed(uv_handle_t *handle) {
    struct link_connect *connect = handle->data;
    connect->timer_closed = true;
    connect_free_if_done(connect);
}

static void poll_end(struct link_connect *connect) {
    if (connect->poll == NULL)
        return;
    uv_poll_stop(connect->poll);
    uv_close((uv_handle_t *)connect->poll, free_handle);
    connect->poll = NULL;
}

/* Lets go of everything that was only there to connect. */
static void connect_end(struct link *link) {
    struct link_connect *connect = link->connect;
    if (connect == NULL)
        return;
    link->connect = NULL;
    connect->link = NULL;
    poll_end(connect);
    backend_key_end(connect->key, connect->conn);
    PQfinish(connect->conn);
    connect->conn = NULL;
    if (connect->request_active)
        uv_cancel((uv_req_t *)&connect->request);
    uv_close((uv_handle_t *)&connect->deadline, on_deadline_closed);
}

static void fail(struct link *link) {
    connect_end(link);
    link->state = LINK_FAILED;
    link->on_connected(link);
}

static void fail_with(struct link *link, const char *what) {
    memcpy(link->failure->sqlstate, "08001", 6);
    snprintf(link->failure->message, sizeof link->failure->message, "%s", what);
    fail(link);
}

/* -- connecting -------------------------------------------------------------------------------- */

static void step(struct link *link);

static void on_link_event(struct stream *stream) {
    struct link *link = stream->owner;
    link->on_event(link);
}

/* What a server reports at the start, in the order in which it does; libpq keeps the values. */
static const char *const reported[] = {"application_name",
                                       "client_encoding",
                                       "DateStyle",
                                       "default_transaction_read_only",
                                       "in_hot_standby",
                                       "integer_datetimes",
                                       "IntervalStyle",
                                       "is_superuser",
                                       "scram_iterations",
                                       "search_path",
                                       "server_encoding",
                                       "server_version",
                                       "session_authorization",
                                       "standard_conforming_strings",
                                       "TimeZone"};
enum { REPORTED_COUNT = sizeof reported / sizeof reported[0] };

/* Keeps what libpq learned, which ends with its connection. */
static void learn(struct link *link, PGconn *conn) {
    struct parameter list[REPORTED_COUNT];
    size_t count = 0;
    for (size_t i = 0; i < REPORTED_COUNT; i++) {
        const char *value = PQparameterStatus(conn, reported[i]);
        if (value != NULL)
            list[count++] = (struct parameter){reported[i], value};
    }
    link->parameters = parameters_new(link->worker->parameters, list, count);
    link->pid = (uint32_t)PQbackendPID(conn);
    link->cancel = link_cancel_new(link, conn, link->connect->key);
    backend_key_end(link->connect->key, conn);
    link->connect->key = NULL;
    const char *host = PQhost(conn), *port = PQport(conn);
    bool known = host != NULL && host[0] != '\0';
    link->host =
        known ? alloc_format("%s:%s", host, port != NULL ? port : "") : alloc_text("unknown host");
}

static void succeed(struct link *link) {
    PGconn *conn = link->connect->conn;
    link->connect->conn = NULL;
    poll_end(link->connect);
    learn(link, conn);
    struct error error = {{0}};
    int fd;
    SSL *ssl;
    if (!connection_take(conn, &fd, &ssl, &error)) {
        fail_with(link, error.text);
        return;
    }
    if (!stream_init(&link->stream, &link->worker->loop, link->worker->buffers, fd, on_link_event,
                     link, &error)) {
        SSL_free(ssl);
        close(fd);
        fail_with(link, error.text);
        return;
    }
    link->stream.bulk_reads = true;
    if (ssl != NULL)
        stream_take_tls(&link->stream, ssl);
    connect_end(link);
    free(link->failure);
    link->failure = NULL;
    link->state = LINK_READY;
    link->on_connected(link);
}

static void on_socket_ready(uv_poll_t *poll, int status, int events) {
    (void)status;
    (void)events;
    struct link_connect *connect = poll->data;
    step(connect->link);
}

/* Watches libpq's socket, which may be another one than at the last step. */
static bool watch(struct link *link, int events) {
    struct link_connect *connect = link->connect;
    int fd = PQsocket(link->connect->conn);
    if (connect->poll != NULL && connect->poll_fd != fd)
        poll_end(connect);
    if (connect->poll == NULL) {
        connect->poll = alloc_new(sizeof *connect->poll);
        connect->poll->data = connect;
        connect->poll_fd = fd;
        if (uv_poll_init(connect->loop, connect->poll, fd) != 0) {
            free(connect->poll);
            connect->poll = NULL;
            return false;
        }
    }
    return uv_poll_start(connect->poll, events, on_socket_ready) == 0;
}

/* One step of PQconnectPoll(). The socket is not watched meanwhile, since libpq may close it. */
static void step(struct link *link) {
    struct link_connect *connect = link->connect;
    if (connect->poll != NULL)
        uv_poll_stop(connect->poll);
    switch (PQconnectPoll(link->connect->conn)) {
    case PGRES_POLLING_READING:
        if (!watch(link, UV_READABLE))
            fail_with(link, "cannot watch the connection's socket");
        break;
    case PGRES_POLLING_WRITING:
        if (!watch(link, UV_WRITABLE))
            fail_with(link, "cannot watch the connection's socket");
        break;
    case PGRES_POLLING_OK:
        succeed(link);
        break;
    default:
        link_conninfo_read_failure(PQerrorMessage(link->connect->conn), link->failure);
        fail(link);
    }
}

static void start(struct link *link) {
    struct link_connect *connect = link->connect;
    link->state = LINK_CONNECTING;
    link->connect->conn = PQconnectStartParams(link_conninfo_keywords(&connect->info),
                                               link_conninfo_values(&connect->info), 0);
    if (link->connect->conn == NULL) {
        fail_with(link, "out of memory in libpq");
        return;
    }
    connect->key = backend_key_watch(connect->conn);
    PQsetErrorVerbosity(link->connect->conn,
                        PQERRORS_VERBOSE); /* the only way to a refusal's SQLSTATE */
    if (PQstatus(link->connect->conn) == CONNECTION_BAD) {
        link_conninfo_read_failure(PQerrorMessage(link->connect->conn), link->failure);
        fail(link);
        return;
    }
    if (!watch(link, UV_WRITABLE))
        fail_with(link, "cannot watch the connection's socket");
}

/* -- names to addresses, since libpq would block on them --------------------------------------- */

static void resolve_next(struct link *link);

static void take_addresses(struct link_conninfo *info, size_t host, const struct addrinfo *list) {
    size_t taken = 0;
    for (; list != NULL && taken < ADDRESSES_MAX; list = list->ai_next) {
        char text[NI_MAXHOST];
        if (getnameinfo(list->ai_addr, list->ai_addrlen, text, sizeof text, NULL, 0,
                        NI_NUMERICHOST) == 0) {
            link_conninfo_add_address(info, host, text);
            taken++;
        }
    }
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list) {
    struct link_connect *connect = request->data;
    connect->request_active = false;
    struct link *link = connect->link;
    if (link == NULL) {
        uv_freeaddrinfo(list);
        connect_free_if_done(connect);
        return;
    }
    if (status == 0)
        take_addresses(&connect->info, connect->resolving, list);
    else
        snprintf(link->failure->message, sizeof link->failure->message,
                 "could not translate host name \"%s\" to address: %s",
                 link_conninfo_host(&connect->info, connect->resolving), uv_strerror(status));
    uv_freeaddrinfo(list);
    connect->resolving++;
    resolve_next(link);
}

static void resolve_next(struct link *link) {
    struct link_connect *connect = link->connect;
    while (connect->resolving < link_conninfo_host_count(&connect->info)) {
        const char *name = link_conninfo_host_to_resolve(&connect->info, connect->resolving);
        if (name == NULL) {
            connect->resolving++;
            continue;
        }
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
        connect->request.data = connect;
        if (uv_getaddrinfo(connect->loop, &connect->request, on_resolved, name, NULL, &hints) ==
            0) {
            connect->request_active = true;
            return;
        }
        connect->resolving++;
    }
    if (!link_conninfo_finish_hosts(&connect->info)) {
        memcpy(link->failure->sqlstate, "08001", 6);
        fail(link);
        return;
    }
    start(link);
}

/* -- the link ---------------------------------------------------------------------------------- */

static void on_deadline(uv_timer_t *timer) {
    struct link_connect *connect = timer->data;
    struct link *link = connect->link;
    fail_with(link, "timeout expired while connecting");
}

/* The first step is taken from the loop, so that no callback comes from within link_open(). */
static void on_begin(uv_timer_t *timer) {
    struct link_connect *connect = timer->data;
    struct link *link = connect->link;
    uv_timer_start(&connect->deadline, on_deadline, (uint64_t)connect->info.timeout_seconds * 1000,
                   0);
    if (connect->info.error[0] != '\0')
        fail_with(link, connect->info.error);
    else
        resolve_next(link);
}

struct link *link_open(struct worker *worker, const char *conninfo, int physical, const char *name,
                       const struct link_identity *identity, unsigned timeout_seconds,
                       void (*on_connected)(struct link *), void (*on_event)(struct link *),
                       void *owner) {
    struct link *link = alloc_new(sizeof *link);
    link->state = LINK_RESOLVING;
    link->worker = worker;
    link->physical = physical;
    link->name = alloc_text(name);
    link->figures = figures_of_database(&worker->figures, name);
    link->opened_at = uv_now(&worker->loop) + 1;
    link->failure = alloc_new(sizeof *link->failure);
    link->on_connected = on_connected;
    link->on_event = on_event;
    link->owner = owner;
    struct link_connect *connect = alloc_new(sizeof *connect);
    link->connect = connect;
    connect->link = link;
    connect->loop = &worker->loop;
    link_conninfo_init(&connect->info, conninfo, identity, timeout_seconds);
    uv_timer_init(connect->loop, &connect->deadline);
    connect->deadline.data = connect;
    uv_timer_start(&connect->deadline, on_begin, 0, 0);
    return link;
}

struct link *link_failed(struct worker *worker, int physical, const char *name,
                         const struct link_failure *failure) {
    struct link *link = alloc_new(sizeof *link);
    link->state = LINK_FAILED;
    link->worker = worker;
    link->physical = physical;
    link->name = alloc_text(name);
    link->failure = alloc_new(sizeof *link->failure);
    *link->failure = *failure;
    return link;
}

static void link_free(struct link *link) {
    parameters_unref(link->worker->parameters, link->parameters);
    parameters_unref(link->worker->parameters, link->reported);
    parameters_unref(link->worker->parameters, link->heeded);
    link_forget_state(link);
    answers_close(&link->answers);
    free(link->asked_setting);
    free(link->asked_after);
    free(link->last_words);
    free(link->last_message);
    free(link->failure);
    free(link->host);
    free(link->name);
    free(link);
}

static void on_stream_closed(struct stream *stream) {
    link_free((struct link *)stream->owner);
}

/* Terminate, where it doesn't end up within another message. */
static void say_goodbye(struct stream *stream) {
    static const uint8_t terminate[] = {'X', 0, 0, 0, 4};
    if (stream->state != STREAM_OPEN || stream_unsent(stream) > 0)
        return;
    stream_send(stream, terminate, sizeof terminate);
    stream_flush(stream);
}

void link_close(struct link *link) {
    assert(link->state != LINK_CLOSED);
    bool had_stream = link->state == LINK_READY;
    link->state = LINK_CLOSED;
    link_cancel_leave(link);
    connect_end(link);
    if (!had_stream) {
        link_free(link);
        return;
    }
    say_goodbye(&link->stream);
    link->figures->received += link->stream.sent;
    link->figures->sent += link->stream.received;
    stream_close(&link->stream, on_stream_closed);
}

/* -- for who uses it --------------------------------------------------------------------------- */

void link_send_query(struct link *link, const char *sql, size_t length) {
    uint8_t header[FRAME_HEADER];
    header[0] = 'Q';
    wire_put_u32(header + 1, (uint32_t)(length + 5));
    stream_send(&link->stream, header, sizeof header);
    stream_send(&link->stream, sql, length);
    stream_send(&link->stream, "", 1);
    link->unnamed = 0; /* a simple query ends it */
}

void link_learn_parameter(struct link *link, const uint8_t *body, size_t length) {
    const char *name = (const char *)body;
    size_t name_length = strnlen(name, length);
    if (name_length + 1 >= length || body[length - 1] != '\0')
        return;
    if (link->reported == NULL)
        link->reported = parameters_ref(link->parameters);
    link->reported = parameters_change_take(link->worker->parameters, link->reported, name,
                                            name + name_length + 1);
}

void link_forget_state(struct link *link) {
    setting_set_unref(link->set);
    link->set = NULL;
    link->set_unknown = false;
    server_statements_free(&link->statements);
    link->unnamed = 0;
    link->sequences = 0;
    link->drawn_by = 0;
    link->asks_binding = link->asked_binding = false;
    link->makes_temporary = false;
    link->bindings = 0;
}
