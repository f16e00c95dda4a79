/* Connections that sessions take turns with: asking the pool for one, making it the session's by
 * the difference of settings, and giving it back - at the client's end, or after each transaction
 * unless something on it is the session's alone. */
#include "proxy/session_internal.h"

#include "config/alloc.h"
#include "config/rarely.h"
#include "proxy/server_statements.h"
#include "proxy/session_sequences.h"
#include "proxy/table_code.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- taking ------------------------------------------------------------------------------------ */

static void on_link_event(struct link *link) {
    session_read_link(link->owner, link);
}

/* From now on its events come here. */
static void join(struct session *s, struct link *link) {
    link->owner = s;
    link->on_event = on_link_event;
    link->on_cancelled = session_link_cancelled;
    assert(link->physical < s->link_count);
    s->links[link->physical] = link;
    s->joined = s->handled;
    if (link->state != LINK_READY)
        return;
    session_align_pooled(s, link);
    struct setting_set *wanted = session_setting_set(s);
    link->differs = link->set_unknown || !setting_set_equal(link->set, wanted);
    if (s->pool_mode == POOL_SESSION && link->statements != NULL)
        link->differs = true; /* statements of others bear names that are free for this client */
    link->aligned = true;
    link->home = false;
    link->settings_applied = s->settings.last;
    if (RARELY(!link->differs && link->set != wanted))
        setting_set_unite(&s->set, &link->set); /* next time they are seen to be equal at once */
}

static void on_granted(struct pool_waiter *waiter, struct link *link) {
    struct session *s =
        (struct session *)(void *)((char *)waiter - offsetof(struct session, waiter));
    if (waiter->recalled) {
        waiter->recalled = false;
        session_process(s);
        return;
    }
    if (waiter->deadlocked) {
        session_process(s); /* its statement is told when it asks once more */
        waiter->deadlocked = false;
        return;
    }
    if (link == NULL) {
        reply_fatal(s, "57014", "query_wait_timeout: no connection to the database became free",
                    NULL, "Raise pool.size, or make transactions shorter.");
        session_end(s, "query_wait_timeout");
        return;
    }
    join(s, link);
    if (link->state == LINK_READY &&
        (stream_available(&link->stream) > 0 || link->stream.state != STREAM_OPEN))
        session_read_link(s, link); /* it has spoken, or ended, on its way here */
    else
        session_process(s);
}

static struct pool *pool_of(struct session *s, int physical) {
    const struct settings *settings = session_settings(s);
    if (s->pools == NULL)
        s->pools = alloc_zeroed((size_t)s->link_count, sizeof s->pools[0]);
    struct session_pool *entry = &s->pools[physical];
    if (entry->pool == NULL)
        entry->pool =
            pool_get(s->worker->pools, settings, physical, s->startup.user, session_password(s));
    return entry->pool;
}

static bool holds_another(const struct session *s) {
    for (int i = 0; i < s->link_count; i++)
        if (s->links[i] != NULL)
            return true;
    return false;
}

static __attribute__((cold)) enum use refuse_deadlock(struct session *s) {
    pool_withdraw(&s->waiter);
    s->waiter.deadlocked = false;
    reply_error(s, "40P01", "deadlock detected",
                "Every connection to the database is held by transactions that wait for "
                "connections which this one and others like it hold.",
                "Run the transaction again; raise pool.size if this happens often.");
    return USE_FAILED;
}

static bool may_release(const struct session *s);
static bool release_outside(struct session *s);

bool session_take_drawn(struct session *s, int physical) {
    const struct session_pool *entry = s->pools != NULL ? &s->pools[physical] : NULL;
    if (entry == NULL || entry->sequences == 0 || entry->pool == NULL)
        return false;
    pool_withdraw(&s->waiter);
    struct link *link = pool_take_drawn(entry->pool, &s->waiter, entry->sequences);
    if (link != NULL)
        join(s, link);
    return link != NULL;
}

enum use session_take_link(struct session *s, int physical) {
    if (RARELY(s->waiter.deadlocked) && s->waiter.pool == NULL)
        return refuse_deadlock(s);
    if (s->waiter.pool != NULL) {
        if (s->waiting_for == physical)
            return USE_WAIT;
        pool_withdraw(&s->waiter);
    }
    bool several = holds_another(s);
    if (several && session_wait_drained(s) == PROGRESS_WAIT) /* an error has its turn */
        return USE_WAIT;
    /* One that an earlier transaction has left must not be held while others wait for it. */
    if (several)
        session_keep_nothing(s);
    if (several && may_release(s) && !s->script.fan.active && !release_outside(s))
        return USE_WAIT;
    if (s->worker->asks_sequences && session_take_drawn(s, physical))
        return USE_READY;
    several = holds_another(s);
    s->waiter.done = on_granted;
    s->waiter.logs_in = s->phase == PHASE_LINKING;
    s->waiting_for = physical;
    unsigned timeout = session_pool_settings(s)->query_wait_timeout;
    struct link *link = pool_take(pool_of(s, physical), &s->waiter, timeout);
    if (link == NULL)
        return several && pool_is_deadlocked(&s->waiter) ? refuse_deadlock(s) : USE_WAIT;
    join(s, link);
    return USE_READY;
}

struct parameters *session_find_welcome(struct session *s) {
    return s->pool_mode != POOL_OFF ? pool_find_welcome(pool_of(s, s->home), session_setting_set(s))
                                    : NULL;
}

void session_keep_welcome(struct session *s, struct link *link) {
    if (s->pool_mode != POOL_OFF)
        pool_keep_welcome(link->pool, session_setting_set(s), link_parameters(link));
}

bool session_waits_for_pool(const struct session *s) {
    return s->waiter.pool != NULL;
}

const struct pool_settings *session_pool_settings(const struct session *s) {
    const struct settings *newest = s->worker->config->settings;
    int entrypoint = s->entrypoint;
    if (RARELY(s->config != s->worker->config))
        entrypoint = settings_find_entrypoint(newest, s->startup.database);
    return entrypoint >= 0 ? &newest->entrypoints[entrypoint].pool
                           : &session_settings(s)->entrypoints[s->entrypoint].pool;
}

void session_heed_limits(struct session *s) {
    if (session_waits_for_pool(s))
        s->waiter.timeout = session_pool_settings(s)->query_wait_timeout;
}

/* -- what keeps a link ------------------------------------------------------------------------- */

/* Asked of the server itself, since functions can do what no statement says. The columns are enum
 * binding's bits. */
static const char binding_query[] =
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) "
    "'advisory' AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()),"
    "EXISTS (SELECT FROM pg_catalog.pg_listening_channels()),"
    /* Types and functions, too: the server finds by this what to drop in the end. */
    "EXISTS (SELECT FROM pg_catalog.pg_depend WHERE refclassid OPERATOR(pg_catalog.=) "
    "'pg_catalog.pg_namespace'::pg_catalog.regclass AND refobjid OPERATOR(pg_catalog.=) "
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
    return kind == KIND_DO || kind == KIND_CALL || kind == KIND_UNPARSED || kind == KIND_EXECUTE ||
           statement->facts->function_count > 0 ||
           (statement->facts->flags & STATEMENT_DYNAMIC) != 0;
}

/* Itself, or in a body that runs now. */
static bool seeds(const struct statement_facts *facts) {
    bool defines = facts->kind == KIND_DDL && facts->inner_kind == KIND_EMPTY;
    return (facts->flags & STATEMENT_SEED) != 0 && !defines;
}

static bool code_seeds(const struct link *link, const struct statement_facts *facts) {
    return link->table_code->seeds && table_code_seeds(link->table_code, facts);
}

void session_note_binding(struct session *s, struct link *link, const struct statement *statement) {
    enum statement_kind kind = statement->facts->kind;
    if (link->pool != NULL && (statement->facts->flags & STATEMENT_LOAD) != 0)
        link->bindings |= BOUND_LOAD;
    if (link->pool != NULL && (seeds(statement->facts) || code_seeds(link, statement->facts)))
        link->bindings |= BOUND_SEED;
    bool makes = makes_state(statement);
    link->made_state |= makes || (statement->facts->flags & STATEMENT_LOAD) != 0;
    if (s->pool_mode != POOL_TRANSACTION || (link->bindings & BOUND_FOR_GOOD) != 0)
        return;
    bool code = table_code_may_run(link->table_code, session_structure(s), statement->facts);
    if (code || makes) {
        link->asks_binding = true;
        link->makes_temporary |= (statement->facts->flags & STATEMENT_TEMPORARY) != 0;
        link->unseen = link->unseen || code || may_set_unseen(statement);
    } else if (link->bindings != 0) { /* it may be over */
        bool ends_nothing = kind == KIND_SELECT || kind == KIND_INSERT || kind == KIND_UPDATE ||
                            kind == KIND_DELETE || kind == KIND_FETCH;
        link->asks_binding =
            link->asks_binding || !ends_nothing || (link->bindings & BOUND_UNKNOWN) != 0;
    }
}

void session_note_call(const struct session *s, struct link *link) {
    bool asks = s->pool_mode == POOL_TRANSACTION;
    link->asks_binding = link->asks_binding || asks;
    link->unseen = link->unseen || asks;
    session_disown_sequences(s, link);
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
    unsigned bindings = link->bindings & (BOUND_FOR_GOOD | BOUND_NAME);
    size_t at = 2;
    for (unsigned i = 0; i < BINDINGS_ASKED && length - at >= 5 && wire_get_u32(row + at) == 1;
         i++) {
        bindings |= row[at + 4] == 't' ? 1u << i : 0;
        at += 5;
    }
    link->bindings = bindings;
    link->makes_temporary = false;
    link->asked_binding = true;
}

/* It could not be asked (a timeout, a cancel): then it stays with its session. */
void session_binding_unknown(struct link *link) {
    if (!link->asked_binding)
        link->bindings |= BOUND_UNKNOWN;
}

/* -- giving back ------------------------------------------------------------------------------- */

static void leave(struct session *s, struct link *link, enum pool_giving how) {
    bool applied = link->settings_applied == s->settings.last && link->aligned;
    if (how == POOL_KEEP && !link->differs) {
        setting_set_unref(link->set);
        link->set = setting_set_ref(session_setting_set(s));
        link->set_unknown = !applied || link->unseen;
    }
    if (link->kept_since != 0)
        session_keep_ended(s, link);
    link->unseen = link->drew = link->made_state = link->made_view = false;
    if (s->active == link)
        s->active = NULL;
    if (s->awaited == link)
        s->awaited = NULL;
    s->links[link->physical] = NULL;
    if (s->cancel_kept) /* what its message may wait for is the pool's business now */
        s->again = true;
    pool_give(link, how);
}

/* What it is doing, as enum binding's second half. */
static unsigned occupations(const struct link *link) {
    bool busy = link->answers.count > 0 || link->asks_setting || link->frame_left > 0 ||
                stream_unsent(&link->stream) > 0 || stream_available(&link->stream) > 0;
    bool pipeline = link->unsynced || link->skipping;
    return (busy ? KEPT_BY_STATEMENT : 0) | (link->in_block ? KEPT_BY_TRANSACTION : 0) |
           (pipeline ? KEPT_BY_PIPELINE : 0);
}

/* Whether all that was asked of it is answered, outside a transaction. */
static bool is_at_rest(const struct link *link) {
    return link->state == LINK_READY && link->stream.state == STREAM_OPEN && occupations(link) == 0;
}

unsigned session_link_keeps(const struct session *s, const struct link *link) {
    if (s->phase != PHASE_READY)
        return KEPT_BY_STATEMENT;
    enum block_status status = session_block_status(s->routing);
    bool block = status == BLOCK_OPEN || status == BLOCK_FAILED;
    bool busy = s->script.active || !session_drained(s); /* on whichever of its links */
    bool sequence = is_at_rest(link) && link->kept_since != 0;
    return link->bindings | occupations(link) | (sequence ? KEPT_BY_SEQUENCE : 0) |
           (block ? KEPT_BY_TRANSACTION : 0) | (busy ? KEPT_BY_STATEMENT : 0) |
           (s->copy_in == link ? KEPT_BY_COPY : 0);
}

/* Those that are outside the transaction. False: one of them was asked about; the others when that
 * is answered. */
static bool release_outside(struct session *s) {
    for (int i = 0; i < s->link_count; i++) {
        struct link *link = s->links[i];
        if (link == NULL || !is_at_rest(link))
            continue;
        if (link->asks_binding) {
            ask_binding(s, link);
            return false;
        }
        if (link->bindings == 0 && session_keeps_sequences(s, link))
            continue;
        if (link->bindings == 0)
            leave(s, link, POOL_KEEP);
        else if (link->bindings == BOUND_NAME && !session_names_there(s, link))
            leave(s, link, POOL_RESET); /* the client has closed them, the server has not */
    }
    return true;
}

/* Whether nothing is under way on any link. */
static bool may_release(const struct session *s) {
    return s->pool_mode == POOL_TRANSACTION && s->phase == PHASE_READY &&
           s->body_fate == BODY_NONE && s->copy_in == NULL && s->block_lost < 0 &&
           session_drained(s);
}

void session_release_links(struct session *s) {
    if (may_release(s) && !s->script.active && session_block_status(s->routing) == BLOCK_IDLE)
        (void)release_outside(s);
}

void session_yield_link(struct link *link) {
    struct session *s = link->owner;
    bool unused = may_release(s) && !s->script.active && is_at_rest(link);
    if (unused && !link->asks_binding && link->bindings == 0)
        leave(s, link, POOL_KEEP);
}

void session_let_others(struct session *s) {
    if (s->handled == s->joined || !pools_have_waiter(s->worker->pools))
        return; /* what it got a link for is still to be handled; or nobody is there */
    bool wanted = false;
    for (int i = 0; i < s->link_count && !wanted; i++)
        wanted =
            s->links[i] != NULL && s->links[i]->pool != NULL && pool_has_waiter(s->links[i]->pool);
    if (wanted)
        session_release_links(s);
}

/* Who waits for another pool meanwhile and can't give the link back asks for its place in the queue
 * anew: so it is seen then whether it holds what others there wait for. */
void session_trail_ended(struct session *s, struct link *link) {
    bool asked = s->awaited == link; /* by a message of the client's */
    if (link->pool == NULL || asked)
        return;
    if (s->pool_mode == POOL_TRANSACTION && is_at_rest(link) && !link->asks_binding &&
        link->bindings == 0)
        leave(s, link, POOL_KEEP);
    else
        pool_withdraw(&s->waiter);
}

void session_leave_pools(struct session *s) {
    session_forget_alignment(s);
    for (int i = 0; s->pools != NULL && i < s->link_count; i++) {
        parameters_unref(s->worker->parameters, s->pools[i].heard);
        parameters_unref(s->worker->parameters, s->pools[i].known);
        pool_unref(s->pools[i].pool);
    }
    free(s->pools);
    s->pools = NULL;
}

void session_leave_links(struct session *s) {
    pool_withdraw(&s->waiter);
    for (int i = 0; i < s->link_count; i++) {
        struct link *link = s->links[i];
        if (link == NULL)
            continue;
        bool clean = s->pool_mode == POOL_TRANSACTION && link->bindings == 0 && !link->asks_binding;
        bool unclean = (link->bindings & (BOUND_FOR_GOOD | BOUND_UNKNOWN)) != 0;
        leave(s, link, !is_at_rest(link) || unclean ? POOL_CLOSE : clean ? POOL_KEEP : POOL_RESET);
    }
    session_leave_pools(s);
    setting_set_unref(s->set);
    s->set = NULL;
}

/* -- time -------------------------------------------------------------------------------------- */

enum { PAUSE_MILLISECONDS = 200 }; /* after which a pipeline is thought to go on later, if ever */

static bool is_over(uint64_t since, unsigned seconds, uint64_t now) {
    return seconds > 0 && now - since >= (uint64_t)seconds * 1000;
}

void session_check_time(struct session *s, uint64_t now) {
    if (s->phase != PHASE_READY || s->script.active || s->waiter.pool != NULL ||
        s->awaited != NULL || s->body_fate != BODY_NONE || s->copy_in != NULL)
        return;
    const struct pool_settings *limits = session_pool_settings(s);
    bool idle = session_block_status(s->routing) == BLOCK_IDLE && session_links_unsynced(s) == 0;
    if (!session_drained(s)) {
        /* Of a pipeline that its client does not end the server holds the answers back. The client
         * idles from when they have come, which is to be soon. */
        if (s->active != NULL && limits->idle_transaction_timeout > 0 &&
            now - s->last_active >= PAUSE_MILLISECONDS) {
            (void)session_wait_drained(s);
            session_flush_link(s->active);
        }
        return;
    }
    if (idle && is_over(s->last_active, limits->client_idle_timeout, now)) {
        reply_fatal(s, "57P05", "terminating connection due to idle-session timeout", NULL, NULL);
        session_end(s, "client_idle_timeout");
    } else if (!idle && is_over(s->last_active, limits->idle_transaction_timeout, now)) {
        reply_fatal(s, "25P03", "terminating connection due to idle-in-transaction timeout", NULL,
                    NULL);
        session_end(s, "idle_transaction_timeout");
    }
}
