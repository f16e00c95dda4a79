/* Connections that sessions take turns with: asking the pool for one, making it the session's by
 * the difference of settings, and giving it back - at the client's end, or after each transaction
 * unless something on it is the session's alone. */
#include "proxy/session_internal.h"

#include "config/alloc.h"
#include "proxy/server_statements.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- taking ------------------------------------------------------------------------------------ */

/* Parameters by which a client reads values, and the classifier texts: they must be on every
 * connection what the client was told. */
static const char *const told_parameters[] = {"client_encoding", "DateStyle", "IntervalStyle",
                                              "TimeZone", "standard_conforming_strings"};
enum { TOLD_PARAMETERS = sizeof told_parameters / sizeof told_parameters[0] };

static bool session_sets(const struct session *s, const char *name) {
    for (size_t i = 0; i < s->settings.count; i++)
        if (strcasecmp(s->settings.changes[i].name, name) == 0)
            return true;
    return false;
}

/* Where the server of a link starts with another value than the client was told, the session sets
 * it, as if the client had. */
void session_align_pooled(struct session *s, const struct link *link) {
    if (s->phase != PHASE_READY || (s->aligned >> link->physical & 1) != 0)
        return;
    s->aligned |= database_bit(link->physical);
    for (size_t i = 0; i < TOLD_PARAMETERS; i++) {
        const char *name = told_parameters[i];
        const char *there = parameters_find(link->parameters, name);
        const char *here = session_parameter_outside(s, name);
        if (there != NULL && here != NULL && strcmp(there, here) != 0 && !session_sets(s, name))
            session_log_setting(s, name, here);
    }
}

static void on_link_event(struct link *link) {
    session_read_link(link->owner, link);
}

/* The session's settings as one value, made anew only when one has changed. */
static struct setting_set *settings_of(struct session *s) {
    if (s->set_number != s->settings.last) {
        setting_set_unref(s->set);
        s->set = setting_set_new(&s->settings);
        s->set_number = s->settings.last;
    }
    return s->set;
}

/* From now on its events come here. */
static void join(struct session *s, struct link *link) {
    link->owner = s;
    link->on_event = on_link_event;
    link->on_cancelled = NULL;
    s->links[link->physical] = link;
    s->joined = s->handled;
    if (link->state != LINK_READY)
        return;
    session_align_pooled(s, link);
    struct setting_set *wanted = settings_of(s);
    link->differs = link->set_unknown || !setting_set_equal(link->set, wanted);
    if (s->pool_mode == POOL_SESSION && link->statements != NULL)
        link->differs = true; /* statements of others bear names that are free for this client */
    link->aligned = true;
    link->home = false;
    link->settings_applied = s->settings.last;
    if (!link->differs && link->set != wanted) { /* next time they are seen to be equal at once */
        setting_set_unref(s->set);
        s->set = setting_set_ref(link->set);
    }
}

static void on_granted(struct pool_waiter *waiter, struct link *link) {
    struct session *s =
        (struct session *)(void *)((char *)waiter - offsetof(struct session, waiter));
    if (link == NULL) {
        reply_fatal(s, "57014", "query_wait_timeout: no connection to the database became free",
                    NULL, "Raise pool.size, or make transactions shorter.");
        session_end(s, "query_wait_timeout");
        return;
    }
    join(s, link);
    session_process(s);
}

static struct pool *pool_of(struct session *s, int physical) {
    const struct settings *settings = session_settings(s);
    if (s->pools == NULL)
        s->pools = alloc_zeroed(settings->database_count, sizeof s->pools[0]);
    if (s->pools[physical] == NULL)
        s->pools[physical] =
            pool_get(s->worker->pools, settings, physical, s->startup.user, session_password(s));
    return s->pools[physical];
}

enum use session_take_link(struct session *s, int physical) {
    if (s->wait_cancelled) {
        s->wait_cancelled = false;
        reply_error(s, "57014", "canceling statement due to user request", NULL, NULL);
        return USE_FAILED;
    }
    if (s->waiter.pool != NULL) {
        if (s->waiting_for == physical)
            return USE_WAIT;
        pool_withdraw(&s->waiter);
    }
    s->waiter.done = on_granted;
    s->waiting_for = physical;
    unsigned timeout = session_pool_settings(s)->query_wait_timeout;
    struct link *link = pool_take(pool_of(s, physical), &s->waiter, timeout);
    if (link == NULL)
        return USE_WAIT;
    join(s, link);
    return USE_READY;
}

bool session_waits_for_pool(const struct session *s) {
    return s->waiter.pool != NULL;
}

/* A cancel request while the statement waits for a connection. */
bool session_cancel_wait(struct session *s) {
    if (s->waiter.pool == NULL || s->phase != PHASE_READY)
        return false;
    pool_withdraw(&s->waiter);
    s->wait_cancelled = true;
    session_process(s);
    return true;
}

const struct pool_settings *session_pool_settings(const struct session *s) {
    return &session_settings(s)->entrypoints[s->entrypoint].pool;
}

/* -- settings ---------------------------------------------------------------------------------- */

void session_append_difference(struct session *s, struct link *link, struct wire_buffer *sql) {
    struct setting_set *wanted = settings_of(s);
    if (s->pool_mode == POOL_SESSION && link->statements != NULL) {
        static const char forget[] = "DEALLOCATE ALL;";
        wire_append(sql, forget, strlen(forget));
        server_statements_free(&link->statements);
    }
    if (link->set_unknown || !setting_set_equal(link->set, wanted))
        setting_set_difference(link->set, link->set_unknown, wanted, sql);
    setting_set_unref(link->set);
    link->set = setting_set_ref(wanted);
    link->set_unknown = false;
    link->differs = false;
}

/* Parameters of the startup packet are settings of the session from its beginning. What RESET
 * brings back is theirs, too. */
void session_log_setting(struct session *s, const char *name, const char *value) {
    struct wire_buffer sql = {0};
    session_write_set_config(&sql, name, value, false);
    setting_log_add(&s->settings, name, (const char *)sql.data, sql.length);
    wire_buffer_close(&sql);
}

struct startup_log {
    struct session *session;
    const char *only; /* NULL: all */
};

static void log_startup(void *context, const char *name, const char *value) {
    const struct startup_log *log = context;
    if (!session_is_own_setting(name) && (log->only == NULL || strcasecmp(log->only, name) == 0))
        session_log_setting(log->session, name, value);
}

bool session_log_startup(struct session *s, const char *only, struct error *error) {
    struct startup_log log = {.session = s, .only = only};
    const struct startup *startup = &s->startup;
    uint64_t before = s->settings.last;
    for (size_t i = 0; i < startup->parameter_count; i++) {
        const struct startup_parameter *parameter = &startup->parameters[i];
        if (strcmp(parameter->name, "options") == 0) {
            if (!startup_options_settings(parameter->value, log_startup, &log, error))
                return false;
        } else {
            log_startup(&log, parameter->name, parameter->value);
        }
    }
    s->restores = s->phase == PHASE_READY && s->settings.last != before;
    return true;
}

/* -- what keeps a link ------------------------------------------------------------------------- */

/* Asked of the server itself, since functions can do what no statement says. The columns are enum
 * binding's bits. */
static const char binding_query[] =
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) "
    "'advisory' AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()),"
    "EXISTS (SELECT FROM pg_catalog.pg_listening_channels()),"
    "EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace OPERATOR(pg_catalog.=) "
    "pg_catalog.pg_my_temp_schema()),"
    "EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql),"
    "EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)";
enum { BINDINGS_ASKED = 5 };

static bool makes_state(const struct statement *statement) {
    const struct statement_facts *facts = statement->facts;
    unsigned flags =
        STATEMENT_SHARED_KEY | STATEMENT_TEMPORARY | STATEMENT_HOLD | STATEMENT_DYNAMIC;
    if ((facts->flags & flags) != 0 || facts->function_count > 0)
        return true;
    switch (facts->kind) {
    case KIND_LISTEN:
    case KIND_UNLISTEN:
    case KIND_PREPARE:
    case KIND_DO:
    case KIND_CALL:
    case KIND_UNPARSED:
        return true;
    default:
        return false;
    }
}

/* Code that the classifier doesn't see may change settings. */
static bool may_set_unseen(const struct statement *statement) {
    enum statement_kind kind = statement->facts->kind;
    return kind == KIND_DO || kind == KIND_CALL || kind == KIND_UNPARSED ||
           statement->facts->function_count > 0 ||
           (statement->facts->flags & STATEMENT_DYNAMIC) != 0;
}

void session_note_binding(struct session *s, struct link *link, const struct statement *statement) {
    if (s->pool_mode != POOL_TRANSACTION)
        return;
    enum statement_kind kind = statement->facts->kind;
    if ((statement->facts->flags & STATEMENT_LOAD) != 0) {
        link->bindings |= BOUND_LOAD;
    } else if (makes_state(statement)) {
        link->asks_binding = true;
        link->unseen = link->unseen || may_set_unseen(statement);
    } else if (link->bindings != 0) { /* it may be over */
        link->asks_binding = kind != KIND_SELECT && kind != KIND_INSERT && kind != KIND_UPDATE &&
                             kind != KIND_DELETE && kind != KIND_FETCH;
    }
}

static void ask_binding(struct session *s, struct link *link) {
    link->asks_binding = false;
    link->asked_binding = false;
    link_send_query(link, binding_query, strlen(binding_query));
    answers_push(&link->answers, REQUEST_QUERY, AUDIENCE_PROXY)->asks_binding = true;
    s->active = link;
    session_flush_link(link);
}

void session_take_bindings(struct link *link, const uint8_t *row, size_t length) {
    unsigned bindings = link->bindings & (BOUND_LOAD | BOUND_NAME);
    size_t at = 2;
    for (unsigned i = 0; i < BINDINGS_ASKED && length - at >= 5 && wire_get_u32(row + at) == 1;
         i++) {
        bindings |= row[at + 4] == 't' ? 1u << i : 0;
        at += 5;
    }
    link->bindings = bindings;
    link->asked_binding = true;
}

/* It could not be asked (a timeout, a cancel): then it stays with its session. */
void session_binding_unknown(struct link *link) {
    if (!link->asked_binding)
        link->bindings |= BOUND_LOAD;
}

/* -- giving back ------------------------------------------------------------------------------- */

static void leave(struct session *s, struct link *link, enum pool_giving how) {
    bool applied = link->settings_applied == s->settings.last && link->aligned;
    if (how == POOL_KEEP && !link->differs) {
        setting_set_unref(link->set);
        link->set = setting_set_ref(settings_of(s));
        link->set_unknown = !applied || link->unseen;
    }
    link->unseen = false;
    if (s->active == link)
        s->active = NULL;
    if (s->connecting == link)
        s->connecting = NULL;
    s->links[link->physical] = NULL;
    pool_give(link, how);
}

/* Whether all that was asked of it is answered, outside a transaction. */
static bool is_at_rest(const struct link *link) {
    return link->state == LINK_READY && link->stream.state == STREAM_OPEN &&
           link->answers.count == 0 && !link->in_block && !link->unsynced && !link->skipping &&
           !link->asks_setting && link->frame_left == 0 && stream_unsent(&link->stream) == 0 &&
           stream_available(&link->stream) == 0;
}

void session_release_links(struct session *s) {
    if (s->pool_mode != POOL_TRANSACTION || s->phase != PHASE_READY || s->script.active ||
        s->body_fate != BODY_NONE || s->copy_in != NULL || s->block_lost >= 0 ||
        session_block_status(s->routing) != BLOCK_IDLE || !session_drained(s))
        return;
    for (size_t i = 0; i < session_settings(s)->database_count; i++) {
        struct link *link = s->links[i];
        if (link == NULL || !is_at_rest(link))
            continue;
        if (link->asks_binding) {
            ask_binding(s, link);
            return; /* the others when it is answered */
        }
        if (link->bindings == 0)
            leave(s, link, POOL_KEEP);
    }
}

void session_let_others(struct session *s) {
    if (s->pool_mode != POOL_TRANSACTION || s->handled == s->joined)
        return; /* what it got a link for is still to be handled */
    bool wanted = false;
    for (size_t i = 0; i < session_settings(s)->database_count && !wanted; i++)
        wanted =
            s->links[i] != NULL && s->links[i]->pool != NULL && pool_has_waiter(s->links[i]->pool);
    if (wanted)
        session_release_links(s);
}

void session_leave_links(struct session *s) {
    pool_withdraw(&s->waiter);
    for (int i = 0; i < session_link_count(s); i++) {
        struct link *link = s->links[i];
        if (link == NULL)
            continue;
        bool clean = s->pool_mode == POOL_TRANSACTION && link->bindings == 0 && !link->asks_binding;
        bool loaded = (link->bindings & BOUND_LOAD) != 0; /* which nothing undoes */
        leave(s, link, !is_at_rest(link) || loaded ? POOL_CLOSE : clean ? POOL_KEEP : POOL_RESET);
    }
    for (size_t i = 0; s->pools != NULL && i < session_settings(s)->database_count; i++)
        pool_unref(s->pools[i]);
    free(s->pools);
    s->pools = NULL;
    setting_set_unref(s->set);
    s->set = NULL;
}

/* -- time -------------------------------------------------------------------------------------- */

static bool is_over(uint64_t since, unsigned seconds, uint64_t now) {
    return seconds > 0 && now - since >= (uint64_t)seconds * 1000;
}

void session_check_time(struct session *s, uint64_t now) {
    if (s->phase != PHASE_READY || s->script.active || s->waiter.pool != NULL ||
        s->connecting != NULL || !session_drained(s) || s->body_fate != BODY_NONE ||
        s->copy_in != NULL)
        return;
    const struct pool_settings *limits = session_pool_settings(s);
    bool idle = session_block_status(s->routing) == BLOCK_IDLE;
    if (idle && is_over(s->last_active, limits->client_idle_timeout, now)) {
        reply_fatal(s, "57P05", "terminating connection due to idle-session timeout", NULL, NULL);
        session_end(s, "client_idle_timeout");
    } else if (!idle && is_over(s->last_active, limits->idle_transaction_timeout, now)) {
        reply_fatal(s, "25P03", "terminating connection due to idle-in-transaction timeout", NULL,
                    NULL);
        session_end(s, "idle_transaction_timeout");
    }
}
