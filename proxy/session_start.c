/* How a session begins: login, the first link, and what the client is told then. Where connections
 * are shared, a client whose like was let in before needs none for it. */
#include "proxy/session_internal.h"

#include "config/alloc.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void report_parameters(struct session *s, struct parameters *reported) {
    struct parameter parameter;
    for (size_t cursor = 0; parameters_next(reported, &cursor, &parameter);) {
        message_put_parameter_status(&s->out, parameter.name, parameter.value);
        session_heed_parameter(s, parameter.name, parameter.value);
    }
    s->parameters = parameters_ref(reported);
}

static bool make_key(struct session *s) {
    uint32_t random;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return false;
    uint32_t count = (uint32_t)s->worker->workers->count;
    random &= 0x7fffffff; /* the worker is found by key % count; leave room for rounding */
    s->key = random - random % count + s->worker->index;
    return true;
}

/* An own setting of the startup packet. False: the client has got the error. */
static bool take_own_setting(void *context, const char *name, const char *value) {
    struct session *s = context;
    const char *sqlstate = "22023";
    struct error error = {{0}};
    if (!session_check_setting(s->routing, name, value, &sqlstate, &error)) {
        bool known = strcmp(sqlstate, "22023") == 0;
        reply_fatal(s, sqlstate, error.text, NULL,
                    known ? session_setting_hint(s->routing, name) : NULL);
        return false;
    }
    session_set_at_startup(s->routing, name, value);
    return true;
}

static bool take_own_settings(struct session *s) {
    for (size_t i = 0; i < s->startup.parameter_count; i++) {
        const struct startup_parameter *parameter = &s->startup.parameters[i];
        if (strcmp(parameter->name, "options") == 0) {
            if (!startup_options_read(parameter->value, take_own_setting, s, NULL))
                return false;
        } else if (session_is_own_setting(parameter->name) &&
                   !take_own_setting(s, parameter->name, parameter->value)) {
            return false;
        }
    }
    return true;
}

/* A process id that no server's connection has, since it changes; distinct within the process. */
static uint32_t made_up_pid(const struct session *s) {
    uint64_t number = ++s->worker->last_client * s->worker->workers->count + s->worker->index;
    return (uint32_t)(number % 0x3fffffff) + 1;
}

/* `link` is NULL where none is needed to know what it would report. */
static void become_ready(struct session *s, struct link *link, struct parameters *reported) {
    const char *encoding = parameters_find(reported, "client_encoding");
    if (encoding != NULL && encoding_is_unsafe(encoding)) {
        reply_fatal(s, "0A000", ENCODING_REFUSED, NULL, ENCODING_HINT);
        session_end(s, "unsafe client_encoding");
        return;
    }
    bool own = link != NULL && s->pool_mode != POOL_TRANSACTION;
    s->pid = own ? link->pid : made_up_pid(s);
    if (!make_key(s)) {
        reply_fatal(s, "XX000", "could not generate random cancel key", NULL, NULL);
        session_end(s, "no random bytes");
        return;
    }
    const struct settings *settings = session_settings(s);
    if (!take_own_settings(s)) {
        session_end(s, "a setting of the startup packet is wrong");
        return;
    }
    report_parameters(s, reported);
    message_put_backend_key(&s->out, s->pid, s->key);
    cancel_keys_enter(&s->worker->cancel_keys, &s->cancel, s->pid, s->key, s);
    s->phase = PHASE_READY;
    if (link != NULL) {
        link->home = s->pool_mode == POOL_OFF;
        link->aligned = true; /* what it reported is what the client is told */
    }
    reply_ready(s);
    log_event(s->worker->log, LOG_INFO, "session started",
              (struct log_field[]){{"client", s->peer, 0},
                                   {"pid", NULL, (int64_t)s->pid},
                                   {"user", s->startup.user, 0},
                                   {"entrypoint", settings->entrypoints[s->entrypoint].name, 0},
                                   {0}});
    session_process(s);
}

/* The next physical database to log in at, or -1. Only a routed session may begin without its
 * first. */
static int next_to_try(const struct session *s, int failed) {
    const struct settings *settings = session_settings(s);
    if (settings->entrypoints[s->entrypoint].database != ENTRYPOINT_ROUTED)
        return -1;
    for (int i = failed + 1; i < (int)settings->database_count; i++)
        if (settings->databases[i].physical == i)
            return i;
    return -1;
}

static void first_link_failed(struct session *s, struct link *link) {
    const struct link_failure *failure = link->failure;
    log_event(s->worker->log, LOG_WARNING, "cannot connect to a database",
              (struct log_field[]){{"client", s->peer, 0},
                                   {"database", link->name, 0},
                                   {"sqlstate", failure->sqlstate, 0},
                                   {"error", failure->message, 0},
                                   {0}});
    int next = failure->refused ? -1 : next_to_try(s, link->physical);
    if (next >= 0) {
        session_drop_link(s, link);
        s->home = next;
        session_link_home(s);
        return;
    }
    if (failure->refused) { /* the server's own words, as on a direct connection */
        reply_fatal(s, failure->sqlstate, failure->message,
                    failure->detail[0] != '\0' ? failure->detail : NULL,
                    failure->hint[0] != '\0' ? failure->hint : NULL);
    } else {
        char message[1400];
        snprintf(message, sizeof message, "cannot connect to database \"%s\": %s", link->name,
                 failure->message);
        reply_fatal(s, failure->sqlstate, message, NULL, NULL);
    }
    session_end(s, "no database");
}

/* The startup packet's settings could not be made: what the server would have said to it. */
static void refuse_startup(struct session *s) {
    reply_fatal(s, s->settings_sqlstate, s->settings_error, NULL, NULL);
    session_end(s, "a setting of the startup packet is wrong");
}

/* True: it goes on without a link, or waits for one. By session a client gets its link now, whose
 * process id it is told; but where others have all that there may be it is let in as well: its
 * statement can wait better than its login, behind which a program may have other clients. */
static bool begin_without_link(struct session *s) {
    if (s->pool_mode == POOL_OFF) {
        session_connect(s, s->home);
        return true;
    }
    struct parameters *known = session_find_welcome(s);
    if (known == NULL || s->pool_mode == POOL_SESSION) {
        if (session_take_link(s, s->home) == USE_READY)
            return false;
        if (known == NULL || !pool_is_exhausted(&s->waiter))
            return true;
        pool_withdraw(&s->waiter);
    }
    become_ready(s, NULL, known);
    return true;
}

/* The link to begin with; called again whenever something happened. */
void session_link_home(struct session *s) {
    if (s->links[s->home] == NULL && begin_without_link(s))
        return;
    struct link *link = s->links[s->home];
    if (link->state == LINK_FAILED) {
        first_link_failed(s, link);
        return;
    }
    if (link->state != LINK_READY)
        return;
    enum use use = s->pool_mode != POOL_OFF ? session_use_settings(s, link, NULL) : USE_READY;
    if (use == USE_FAILED) {
        refuse_startup(s);
    } else if (use == USE_READY) {
        session_keep_welcome(s, link);
        become_ready(s, link, link_parameters(link));
    }
}

void session_link_connected(struct link *link) {
    session_process(link->owner);
}

/* -- login ------------------------------------------------------------------------------------- */

static void on_console_ended(void *owner, const char *reason) {
    session_end(owner, reason);
}

static void open_console(struct session *s) {
    s->phase = PHASE_CONSOLE;
    s->console = console_open(s->worker, &s->client, s->peer, s->startup.user, on_console_ended, s);
    console_on_event(s->console); /* the client may have said something already */
}

void session_on_login_done(struct login *login, bool ok) {
    struct session *s = login->owner;
    if (!ok) {
        session_end(s, "login failed");
        return;
    }
    assert(login->config == s->config); /* so `links` has room for its databases */
    s->entrypoint = login->entrypoint;
    s->startup = login->startup;
    login->startup = (struct startup){0};
    s->password = login->password;
    login->password = NULL;
    s->admitted = login->admitted;
    login->admitted = false;
    bool console = login->console;
    login_free(login); /* the session may be idle for days */
    s->login = NULL;
    if (console) {
        open_console(s);
        return;
    }
    s->phase = PHASE_LINKING;
    stream_serve_half_open(&s->client);
    const struct settings *settings = session_settings(s);
    int home = settings->entrypoints[s->entrypoint].database;
    s->home = settings->databases[home >= 0 ? home : 0].physical;
    s->pool_mode = settings->entrypoints[s->entrypoint].pool.mode;
    s->routing = session_state_new(settings, s->entrypoint);
    session_use_today(s->routing, &s->worker->today);
    session_set_objects(s->routing, s->config->objects);
    struct error error;
    if (s->pool_mode != POOL_OFF && !session_log_startup(s, &error)) {
        reply_fatal(s, "42601", error.text, NULL, NULL);
        session_end(s, "an option of the startup packet is wrong");
        return;
    }
    session_link_home(s);
}
