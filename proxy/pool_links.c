/* Connections that no session uses: being made, made clean again, or idle. */
#include "proxy/pool_internal.h"

#include "config/alloc.h"
#include "protocol/frame.h"

#include <assert.h>
#include <string.h>

/* -- lists ------------------------------------------------------------------------------------- */

static void list_push(struct link **list, struct link *link) {
    link->pool_previous = NULL;
    link->pool_next = *list;
    if (*list != NULL)
        (*list)->pool_previous = link;
    *list = link;
}

static void list_remove(struct link **list, struct link *link) {
    *(link->pool_previous != NULL ? &link->pool_previous->pool_next : list) = link->pool_next;
    if (link->pool_next != NULL)
        link->pool_next->pool_previous = link->pool_previous;
    link->pool_next = link->pool_previous = NULL;
}

void pool_unlist_idle(struct pool *pool, struct link *link) {
    assert(link->pool_state == POOLED_IDLE);
    list_remove(&pool->idle, link);
    pool->idle_count--;
    link->pool_state = POOLED_USED;
}

void pool_list_used(struct pool *pool, struct link *link) {
    list_push(&pool->used, link);
    pool->used_count++;
}

void pool_unlist_used(struct pool *pool, struct link *link) {
    assert(pool->used_count > 0);
    list_remove(&pool->used, link);
    pool->used_count--;
    link->holder = NULL;
}

/* Out of the pool's own that are busy. */
static void unlist_busy(struct pool *pool, struct link *link) {
    list_remove(&pool->busy, link);
    *(link->pool_state == POOLED_OPENING ? &pool->opening_count : &pool->resetting_count) -= 1;
    link->pool_state = POOLED_USED;
}

void pool_close_link(struct pool *pool, struct link *link) {
    assert(link->pool_state != POOLED_IDLE);
    if (link->pool_state != POOLED_USED)
        unlist_busy(pool, link);
    if (link->opened_at > 0) /* not one that only tells of a failure */
        pool->budget->open--;
    table_code_answered(&pool->database->table_code, link, false, uv_now(pool->pools->loop));
    link->pool = NULL;
    link_close(link);
}

/* -- asking for itself ------------------------------------------------------------------------- */

static bool is_asking(const struct link *link) {
    return link->table_code->asker == link;
}

/* What code stands behind the tables: where somebody gave back a connection it is asked at once,
 * unseen by any client. */
static bool ask(struct pool *pool, struct link *link) {
    struct table_code *code = link->table_code;
    struct workers *workers = pool->pools->worker->workers;
    uint64_t structure = atomic_load_explicit(&workers->structure, memory_order_relaxed);
    if (!table_code_is_due(code, structure, uv_now(pool->pools->loop)))
        return false;
    const char *question = table_code_ask(code, link, structure, uv_now(pool->pools->loop));
    link->resets_left++;
    link_send_query(link, question, strlen(question));
    stream_flush(&link->stream);
    pools_await_asker(pool->pools);
    return true;
}

/* It may be that the last session's cancel request came late, or that the catalogs may not be read;
 * every table counts then. False: the connection ends with it. */
static bool take_refusal(struct link *link, const uint8_t *body, size_t length) {
    struct diagnostic diagnostic;
    struct error error = {{0}};
    bool read = message_read_diagnostic(body, length, &diagnostic, &error);
    log_event(link->pool->pools->worker->log, LOG_WARNING,
              "cannot learn which tables have code behind them",
              (struct log_field[]){{"database", link->pool->name, 0},
                                   {"error", read ? diagnostic.message : error.text, 0},
                                   {0}});
    table_code_answered(link->table_code, link, false, uv_now(link->pool->pools->loop));
    return !read || !diagnostic_is_fatal(&diagnostic);
}

static void keep_last_words(struct link *link, const uint8_t *body, size_t length) {
    struct diagnostic diagnostic;
    struct error error = {{0}};
    free(link->last_words);
    link->last_words = message_read_diagnostic(body, length, &diagnostic, &error)
                           ? alloc_text(diagnostic.message)
                           : NULL;
}

/* -- what an unused connection says ------------------------------------------------------------ */

/* `why`: what the log says where the server has said nothing. */
static void lose(struct link *link, const char *why) {
    struct pool *pool = link->pool;
    const char *error = link->last_words != NULL ? link->last_words : why;
    log_event(pool->pools->worker->log, LOG_INFO, "an unused connection to a database ended",
              (struct log_field[]){{"database", pool->name, 0}, {"error", error, 0}, {0}});
    if (link->pool_state == POOLED_IDLE)
        pool_unlist_idle(pool, link);
    pool_close_link(pool, link);
    pool_serve(pool);
}

static void become_idle(struct pool *pool, struct link *link) {
    pool_heed_defaults(pool, link);
    link->pool_state = POOLED_IDLE;
    link->idle_since = uv_now(pool->pools->loop);
    list_push(&pool->idle, link);
    pool->idle_count++;
    pool_serve(pool);
}

/* A message while nothing of a session is under way. False: the connection is of no use any more.
 */
static bool take_message(struct link *link, char type, const uint8_t *body, size_t length) {
    bool resetting = link->pool_state == POOLED_RESETTING;
    switch (type) {
    case 'S':
        link_learn_parameter(link, body, length);
        if (link->pool_state == POOLED_IDLE)
            pool_heed_defaults(link->pool, link);
        return true;
    case 'N':
        return true;
    case 'C':
    case 'I':
        return resetting;
    case 'T':
        return is_asking(link);
    case 'D':
        if (!is_asking(link))
            return false;
        table_code_take_row(link->table_code, body, length);
        return true;
    case 'E':
        if (is_asking(link) && take_refusal(link, body, length))
            return true;
        keep_last_words(link, body, length);
        return false;
    case 'Z':
        if (!resetting || length != 1 || body[0] != 'I')
            return false;
        link->resets_left--;
        table_code_answered(link->table_code, link, true, uv_now(link->pool->pools->loop));
        return true;
    default:
        return false;
    }
}

static void on_event(struct link *link) {
    struct pool *pool = link->pool;
    struct stream *stream = &link->stream;
    struct frame frame;
    while (frame_read(stream_peek(stream), stream_available(stream), &frame) == FRAME_OK) {
        if (frame.length > stream_available(stream)) {
            stream_reserve(stream, frame.length);
            break;
        }
        bool fine = take_message(link, frame.type, stream_peek(stream) + FRAME_HEADER,
                                 frame.length - FRAME_HEADER);
        stream_consume(stream, frame.length);
        if (!fine) {
            lose(link, "it sent a message that does not belong there (08P01)");
            return;
        }
    }
    if (stream->state != STREAM_OPEN) {
        const char *why = stream_error(stream);
        lose(link, why[0] != '\0' ? why : "the server hung up");
        return;
    }
    if (link->pool_state == POOLED_RESETTING && link->resets_left == 0 &&
        !link_is_cancelling(link)) {
        unlist_busy(pool, link);
        become_idle(pool, link);
    }
}

/* A cancel request that was under way has been taken: nothing can hit the next session any more. Or
 * it may still do so, for all that is known. */
static void on_cancelled(struct link *link) {
    if (link_cancel_in_doubt(link))
        lose(link, "a cancel request may still hit what runs there");
    else
        on_event(link);
}

void pool_keep_link(struct pool *pool, struct link *link, bool reset) {
    link->owner = pool;
    link->on_event = on_event;
    link->on_cancelled = on_cancelled;
    stream_set_reading(&link->stream, true);
    bool asks = !reset && ask(pool, link);
    if (!reset && !asks && !link_is_cancelling(link)) {
        become_idle(pool, link);
        return;
    }
    link->pool_state = POOLED_RESETTING;
    list_push(&pool->busy, link);
    pool->resetting_count++;
    if (!reset)
        return;
    static const char discard[] = "DISCARD ALL";
    link->resets_left++;
    link_send_query(link, discard, strlen(discard));
    stream_flush(&link->stream);
    link_forget_state(link);
}

/* -- making ------------------------------------------------------------------------------------ */

static void on_connected(struct link *link) {
    struct pool *pool = link->pool;
    unlist_busy(pool, link);
    if (link->state == LINK_READY) {
        pool->failed_at = 0;
        pool_heed_baseline(pool, link->parameters);
        link->owner = pool;
        link->on_event = on_event;
        become_idle(pool, link);
        return;
    }
    pool->failed_at = uv_now(pool->pools->loop);
    struct link_failure failure = *link->failure;
    log_event(pool->pools->worker->log, LOG_WARNING, "cannot connect to a database",
              (struct log_field[]){{"database", pool->name, 0},
                                   {"sqlstate", failure.sqlstate, 0},
                                   {"error", failure.message, 0},
                                   {0}});
    pool_close_link(pool, link);
    /* Where there are connections that will come back, who waits still has hope. */
    if (pool->used_count + pool->resetting_count + pool->idle_count == 0)
        pool_fail(pool, &failure);
}

void pool_open_link(struct pool *pool) {
    struct link_identity identity = {.user = pool->user != NULL ? pool->user : "",
                                     .password = pool->password};
    struct pools *pools = pool->pools;
    struct link *link = link_open(pools->worker, pool->conninfo, pool->physical, pool->name,
                                  &identity, pool->connect_timeout, on_connected, on_event, pool);
    link->pool = pool;
    link->table_code = &pool->database->table_code;
    link->defaults = atomic_load_explicit(&pools->worker->workers->defaults, memory_order_relaxed);
    link->pool_state = POOLED_OPENING;
    list_push(&pool->busy, link);
    pool->opening_count++;
    pool->budget->open++;
}
