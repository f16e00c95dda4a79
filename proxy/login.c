#include "proxy/login.h"

#include "config/alloc.h"
#include "protocol/scram.h"
#include "proxy/cancel_request.h"
#include "proxy/login_auth.h"
#include "proxy/tls.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PASSWORD_MESSAGE_MAX = 65535 }; /* the server's PG_MAX_AUTH_TOKEN_LENGTH */

enum login_event {
    EV_SSL_REQUEST,
    EV_GSSENC_REQUEST,
    EV_CANCEL_REQUEST,
    EV_STARTUP_MESSAGE,
    EV_TLS_READY,
    EV_PASSWORD_MESSAGE,
    LOGIN_EVENTS
};

/* What came with an event: the body of a 'p' message, or nothing (a startup packet stands in
 * login->startup). */
struct packet {
    const uint8_t *body;
    size_t length;
    size_t consume; /* bytes of the stream that the packet takes up, still in the buffer */
};

/* -- telling the client ------------------------------------------------------------------------ */

static const char *text_or(const char *text, const char *otherwise) {
    return text != NULL ? text : otherwise;
}

enum login_state login_refuse(struct login *login, const char *sqlstate, const char *message,
                              const char *hint, const char *reason) {
    struct wire_buffer buffer = {0};
    struct diagnostic fatal = {
        .severity = "FATAL", .sqlstate = sqlstate, .message = message, .hint = hint};
    message_put_diagnostic(&buffer, 'E', &fatal);
    if (!login->startup.unanswered)
        stream_send(login->client, buffer.data, buffer.length);
    stream_flush(login->client);
    wire_buffer_close(&buffer);
    log_event(login->worker->log, LOG_WARNING, "client refused",
              (struct log_field[]){{"client", login->peer, 0},
                                   {"user", text_or(login->startup.user, ""), 0},
                                   {"database", text_or(login->startup.database, ""), 0},
                                   {"sqlstate", sqlstate, 0},
                                   {"reason", text_or(reason, message), 0},
                                   {0}});
    return LOGIN_FAILED;
}

/* A client that went away, or whose TLS failed: nobody is there to be told. */
static enum login_state note_lost(struct login *login, enum log_level level, const char *reason) {
    log_event(login->worker->log, level, "client left before it was logged in",
              (struct log_field[]){{"client", login->peer, 0}, {"reason", reason, 0}, {0}});
    return LOGIN_FAILED;
}

/* -- who may come in --------------------------------------------------------------------------- */

static enum login_state refuse_database(struct login *login) {
    const struct settings *settings = login->config->settings;
    char message[256], hint[1024];
    snprintf(message, sizeof message, "database \"%s\" does not exist", login->startup.database);
    size_t length = (size_t)snprintf(hint, sizeof hint, "The entrypoints are:");
    for (size_t i = 0; i < settings->entrypoint_count && length < sizeof hint; i++)
        length += (size_t)snprintf(hint + length, sizeof hint - length, "%s %s", i > 0 ? "," : "",
                                   settings->entrypoints[i].name);
    return login_refuse(login, "3D000", message, hint, NULL);
}

static enum login_state refuse_console(struct login *login) {
    char message[256];
    snprintf(message, sizeof message, "permission denied for database \"%s\"",
             login->startup.database);
    return login_refuse(login, "42501", message, NULL, "the user is not in admin.users");
}

/* The names of databases are for those who are authenticated: only now is theirs looked up. */
enum login_state login_accept(struct login *login) {
    const struct settings *settings = login->config->settings;
    const char *database = login->startup.database;
    login->entrypoint = settings_find_entrypoint(settings, database);
    login->console =
        settings->admin.database != NULL && strcmp(database, settings->admin.database) == 0;
    if (login->console && !settings_is_admin(settings, login->startup.user))
        return refuse_console(login);
    if (login->entrypoint < 0 && !login->console)
        return refuse_database(login);
    struct wire_buffer buffer = {0};
    size_t mark = message_begin(&buffer, 'R');
    message_put_u32(&buffer, 0);
    message_end(&buffer, mark);
    stream_send(login->client, buffer.data, buffer.length);
    wire_buffer_close(&buffer);

    SSL *ssl = login->client->ssl;
    const char *application = "";
    for (size_t i = 0; i < login->startup.parameter_count; i++)
        if (strcmp(login->startup.parameters[i].name, "application_name") == 0)
            application = login->startup.parameters[i].value;
    log_event(login->worker->log, LOG_DEBUG, "client authenticated",
              (struct log_field[]){{"client", login->peer, 0},
                                   {"user", login->startup.user, 0},
                                   {"database", login->startup.database, 0},
                                   {"application", application, 0},
                                   {"tls", ssl != NULL ? SSL_get_version(ssl) : "off", 0},
                                   {0}});
    return LOGIN_DONE;
}

/* What tls.mode asks of the connection itself. NULL: fine, else the message of the refusal. */
static const char *check_encryption(const struct login *login) {
    enum tls_mode mode = login->config->settings->tls.mode;
    SSL *ssl = login->client->ssl;
    char name[256];
    if (mode < TLS_REQUIRE || login->is_unix)
        return NULL;
    if (ssl == NULL)
        return "connection requires TLS encryption";
    if (mode < TLS_VERIFY_CA)
        return NULL;
    bool named = tls_client_common_name(ssl, name, sizeof name);
    if (!named)
        return "connection requires a valid client certificate";
    if (mode == TLS_VERIFY_FULL && strcmp(name, login->startup.user) != 0)
        return "the client certificate's common name is not the user's name";
    return NULL;
}

/* Who looks after the proxy gets in when it is full, too; whether it is they is found out next. */
static bool asks_for_console(const struct login *login) {
    const struct settings *settings = login->config->settings;
    return settings->admin.database != NULL &&
           strcmp(login->startup.database, settings->admin.database) == 0 &&
           settings_is_admin(settings, login->startup.user);
}

static enum login_state on_startup_message(struct login *login, const struct packet *packet) {
    (void)packet;
    const struct startup *startup = &login->startup;
    if (startup->minor > 0 || startup->unknown_option_count > 0) {
        struct wire_buffer buffer = {0};
        startup_put_negotiation(&buffer, startup);
        stream_send(login->client, buffer.data, buffer.length);
        wire_buffer_close(&buffer);
    }
    bool console = asks_for_console(login);
    if (!console)
        login->admitted =
            workers_admit_client(login->worker->workers, login->config->settings->max_client_conn);
    if (!console && !login->admitted)
        return login_refuse(login, "53300", "sorry, too many clients already",
                            "Raise pool.max_client_conn.", "max_client_conn");
    if (startup->replication)
        return login_refuse(login, "0A000",
                            "replication connections are not supported by pginterlock",
                            "Connect to the database itself.", NULL);
    const char *refusal = check_encryption(login);
    if (refusal != NULL)
        return login_refuse(login, "28000", refusal,
                            login->client->ssl == NULL ? "Use sslmode=require or stricter." : NULL,
                            NULL);
    return login_auth_start(login);
}

/* -- encryption -------------------------------------------------------------------------------- */

/* What came in plain behind the request may be an attacker's, to be taken for the encrypted
 * client's words (CVE-2021-23214). */
static bool has_early_bytes(const struct login *login) {
    return stream_available(login->client) > 0;
}

static enum login_state refuse_early_bytes(struct login *login, const char *request) {
    char message[128];
    snprintf(message, sizeof message, "received unencrypted data after %s request", request);
    return login_refuse(login, "08P01", message, NULL, NULL);
}

static void send_answer(struct login *login, char answer) {
    stream_send(login->client, &answer, 1);
    stream_flush(login->client);
}

static enum login_state on_ssl_request(struct login *login, const struct packet *packet) {
    (void)packet;
    bool offered = login->config->tls != NULL && !login->is_unix;
    send_answer(login, offered ? 'S' : 'N');
    if (has_early_bytes(login))
        return refuse_early_bytes(login, "SSL");
    if (!offered)
        return login->state == LOGIN_STARTUP ? LOGIN_STARTUP_NO_TLS : LOGIN_STARTUP_LAST;
    struct error error;
    if (stream_unsent(login->client) > 0)
        return note_lost(login, LOG_WARNING, "the socket took not even one byte");
    if (!stream_start_tls(login->client, login->config->tls, &error))
        return note_lost(login, LOG_ERROR, error.text);
    return LOGIN_TLS;
}

static enum login_state on_gssenc_request(struct login *login, const struct packet *packet) {
    (void)packet;
    send_answer(login, 'N');
    if (has_early_bytes(login))
        return refuse_early_bytes(login, "GSSAPI encryption");
    return login->state == LOGIN_STARTUP ? LOGIN_STARTUP_NO_GSS : LOGIN_STARTUP_LAST;
}

static enum login_state on_tls_ready(struct login *login, const struct packet *packet) {
    (void)login, (void)packet;
    return LOGIN_STARTUP_LAST;
}

static void on_cancel_over(void *asker);

static enum login_state on_cancel_request(struct login *login, const struct packet *packet) {
    (void)packet;
    log_event(
        login->worker->log, LOG_DEBUG, "cancel requested",
        (struct log_field[]){{"client", login->peer, 0}, {"pid", NULL, login->startup.pid}, {0}});
    login->cancel = cancel_request_send(login->worker, login->startup.pid, login->startup.key,
                                        on_cancel_over, login);
    return LOGIN_CANCELLING;
}

/* -- authentication ---------------------------------------------------------------------------- */

static enum login_state on_password(struct login *login, const struct packet *packet) {
    return login_auth_password(login, packet->body, packet->length);
}

static enum login_state on_md5(struct login *login, const struct packet *packet) {
    return login_auth_md5(login, packet->body, packet->length);
}

static enum login_state on_sasl_first(struct login *login, const struct packet *packet) {
    return login_auth_sasl_first(login, packet->body, packet->length);
}

static enum login_state on_sasl_final(struct login *login, const struct packet *packet) {
    return login_auth_sasl_final(login, packet->body, packet->length);
}

/* -- the machine ------------------------------------------------------------------------------- */

struct transition {
    enum login_state (*handle)(struct login *login, const struct packet *packet);
    unsigned next; /* states that may follow, besides FAILED */
};

#define TO(state) (1U << (LOGIN_##state))
#define TO_AUTH (TO(PASSWORD) | TO(MD5) | TO(SASL_FIRST) | TO(DONE))

static const struct transition table[LOGIN_STATES][LOGIN_EVENTS] = {
    [LOGIN_STARTUP] = {[EV_SSL_REQUEST] = {on_ssl_request, TO(TLS) | TO(STARTUP_NO_TLS)},
                       [EV_GSSENC_REQUEST] = {on_gssenc_request, TO(STARTUP_NO_GSS)},
                       [EV_CANCEL_REQUEST] = {on_cancel_request, TO(CANCELLING)},
                       [EV_STARTUP_MESSAGE] = {on_startup_message, TO_AUTH}},
    [LOGIN_STARTUP_NO_GSS] = {[EV_SSL_REQUEST] = {on_ssl_request, TO(TLS) | TO(STARTUP_LAST)},
                              [EV_CANCEL_REQUEST] = {on_cancel_request, TO(CANCELLING)},
                              [EV_STARTUP_MESSAGE] = {on_startup_message, TO_AUTH}},
    [LOGIN_STARTUP_NO_TLS] = {[EV_GSSENC_REQUEST] = {on_gssenc_request, TO(STARTUP_LAST)},
                              [EV_CANCEL_REQUEST] = {on_cancel_request, TO(CANCELLING)},
                              [EV_STARTUP_MESSAGE] = {on_startup_message, TO_AUTH}},
    [LOGIN_STARTUP_LAST] = {[EV_CANCEL_REQUEST] = {on_cancel_request, TO(CANCELLING)},
                            [EV_STARTUP_MESSAGE] = {on_startup_message, TO_AUTH}},
    [LOGIN_TLS] = {[EV_TLS_READY] = {on_tls_ready, TO(STARTUP_LAST)}},
    [LOGIN_PASSWORD] = {[EV_PASSWORD_MESSAGE] = {on_password, TO(DONE)}},
    [LOGIN_MD5] = {[EV_PASSWORD_MESSAGE] = {on_md5, TO(DONE)}},
    [LOGIN_SASL_FIRST] = {[EV_PASSWORD_MESSAGE] = {on_sasl_first, TO(SASL_FINAL)}},
    [LOGIN_SASL_FINAL] = {[EV_PASSWORD_MESSAGE] = {on_sasl_final, TO(DONE)}},
};

/* The one place where the state changes. */
static void move(struct login *login, enum login_state next) {
    login->state = next;
}

static void dispatch(struct login *login, enum login_event event, const struct packet *packet) {
    const struct transition *transition = &table[login->state][event];
    if (transition->handle == NULL) {
        /* A second request for encryption: its code is no version that we speak (the server's
         * words). */
        unsigned minor = event == EV_SSL_REQUEST ? 5679 : 5680;
        char message[128];
        snprintf(message, sizeof message,
                 "unsupported frontend protocol 1234.%u: server supports 3.0 to 3.0", minor);
        move(login, login_refuse(login, "08P01", message, NULL, NULL));
        return;
    }
    enum login_state next = transition->handle(login, packet);
    assert(next == LOGIN_FAILED || transition->next & 1U << next);
    move(login, next);
}

/* -- events from bytes ------------------------------------------------------------------------- */

/* True: an event is there. False: wait, or the state is FAILED now. */
static bool next_startup_event(struct login *login, enum login_event *event) {
    static const enum login_event events[] = {[STARTUP_SSL] = EV_SSL_REQUEST,
                                              [STARTUP_GSSENC] = EV_GSSENC_REQUEST,
                                              [STARTUP_CANCEL] = EV_CANCEL_REQUEST,
                                              [STARTUP_MESSAGE] = EV_STARTUP_MESSAGE};
    struct stream *client = login->client;
    struct error error = {{0}};
    startup_close(&login->startup);
    startup_read(stream_peek(client), stream_available(client), &login->startup, &error);
    if (login->startup.kind == STARTUP_INCOMPLETE)
        return false;
    if (login->startup.kind == STARTUP_BAD) {
        move(login, login_refuse(login, text_or(login->startup.sqlstate, "08P01"), error.text, NULL,
                                 NULL));
        return false;
    }
    stream_consume(client, login->startup.length);
    *event = events[login->startup.kind];
    return true;
}

static bool next_password_event(struct login *login, enum login_event *event,
                                struct packet *packet) {
    struct stream *client = login->client;
    struct frame frame;
    bool sasl = login->state == LOGIN_SASL_FIRST || login->state == LOGIN_SASL_FINAL;
    const uint8_t *data = stream_peek(client);
    size_t available = stream_available(client);
    char message[128];
    if (available == 0)
        return false;
    if (data[0] != 'p') {
        snprintf(message, sizeof message, "expected %s response, got message type %d",
                 sasl ? "SASL" : "password", data[0]);
        move(login, login_refuse(login, "08P01", message, NULL, NULL));
        return false;
    }
    enum frame_result result = frame_read(data, available, &frame);
    if (result == FRAME_INCOMPLETE)
        return false;
    if (result == FRAME_BAD_LENGTH || frame.length > PASSWORD_MESSAGE_MAX) {
        move(login, login_refuse(login, "08P01", "invalid message length", NULL, NULL));
        return false;
    }
    if (available < frame.length) {
        stream_reserve(client, frame.length);
        return false;
    }
    *event = EV_PASSWORD_MESSAGE;
    *packet = (struct packet){.body = data + FRAME_HEADER,
                              .length = frame.length - FRAME_HEADER,
                              .consume = frame.length};
    return true;
}

static bool next_event(struct login *login, enum login_event *event, struct packet *packet) {
    switch (login->state) {
    case LOGIN_STARTUP:
    case LOGIN_STARTUP_NO_GSS:
    case LOGIN_STARTUP_NO_TLS:
    case LOGIN_STARTUP_LAST:
        return next_startup_event(login, event);
    case LOGIN_TLS:
        *event = EV_TLS_READY;
        return login->client->state == STREAM_OPEN;
    case LOGIN_PASSWORD:
    case LOGIN_MD5:
    case LOGIN_SASL_FIRST:
    case LOGIN_SASL_FINAL:
        return next_password_event(login, event, packet);
    case LOGIN_CANCELLING:
    case LOGIN_DONE:
    case LOGIN_FAILED:
    case LOGIN_STATES:
        break;
    }
    return false;
}

/* Nothing more can come: why not? */
static void judge_end(struct login *login) {
    const struct stream *client = login->client;
    if (client->state == STREAM_EOF)
        move(login, note_lost(login, LOG_DEBUG, "it closed the connection"));
    else if (client->state == STREAM_BROKEN)
        move(login, note_lost(login, login->state == LOGIN_TLS ? LOG_WARNING : LOG_DEBUG,
                              stream_error(client)));
}

static void finish(struct login *login) {
    uv_timer_stop(&login->timer);
    login->done(login, login->state == LOGIN_DONE);
}

/* No answer, whatever came of it: the manual's "Canceling Requests in Progress". */
static void on_cancel_over(void *asker) {
    struct login *login = asker;
    login->cancel = NULL;
    move(login, LOGIN_FAILED);
    finish(login);
}

void login_on_event(struct login *login) {
    enum login_event event;
    struct packet packet = {0};
    if (login->state >= LOGIN_DONE)
        return;
    while (login->state < LOGIN_DONE && next_event(login, &event, &packet)) {
        dispatch(login, event, &packet);
        if (packet.consume > 0) {
            struct stream_buffer *in = &login->client->in;
            OPENSSL_cleanse(in->data + in->start, packet.consume);
            stream_consume(login->client, packet.consume);
            packet.consume = 0;
        }
    }
    if (login->state < LOGIN_DONE)
        judge_end(login);
    if (login->state >= LOGIN_DONE)
        finish(login);
}

/* -- life -------------------------------------------------------------------------------------- */

/* Before the startup message the server says nothing either: who is there may not speak its
 * language. */
static void on_timeout(uv_timer_t *timer) {
    struct login *login = (struct login *)timer;
    if (login->state >= LOGIN_PASSWORD)
        move(login,
             login_refuse(login, "57014", "canceling authentication due to timeout", NULL, NULL));
    else
        move(login, note_lost(login, LOG_WARNING,
                              login->state == LOGIN_CANCELLING
                                  ? "login_timeout passed before the cancel request was taken"
                                  : "login_timeout passed without a startup message"));
    finish(login);
}

bool login_start(struct login **out, struct worker *worker, struct stream *client, bool is_unix,
                 const char *peer, void (*done)(struct login *login, bool ok), void *owner,
                 struct error *error) {
    struct login *login = alloc_new(sizeof *login);
    int result = uv_timer_init(&worker->loop, &login->timer);
    if (result != 0) {
        free(login);
        return error_set(error, "a timer can't be made: %s", uv_strerror(result));
    }
    login->worker = worker;
    login->config = worker_config_ref(worker->config);
    login->client = client;
    login->is_unix = is_unix;
    login->peer = peer;
    login->done = done;
    login->owner = owner;
    login->entrypoint = -1;
    uint64_t timeout = (uint64_t)login->config->settings->login_timeout * 1000;
    if (timeout > 0)
        uv_timer_start(&login->timer, on_timeout, timeout, 0);
    log_event(worker->log, LOG_DEBUG, "connection received",
              (struct log_field[]){{"client", peer, 0}, {0}});
    *out = login;
    return true;
}

static void on_timer_closed(uv_handle_t *handle) {
    free(handle);
}

void login_free(struct login *login) {
    if (login == NULL)
        return;
    if (login->admitted)
        workers_dismiss_client(login->worker->workers);
    login->admitted = false;
    cancel_request_forget(login->cancel);
    login->cancel = NULL;
    startup_close(&login->startup);
    scram_free(login->scram);
    login->scram = NULL;
    if (login->password != NULL)
        OPENSSL_cleanse(login->password, strlen(login->password));
    free(login->password);
    login->password = NULL;
    worker_config_unref(login->config);
    login->config = NULL;
    uv_close((uv_handle_t *)&login->timer, on_timer_closed);
}
