/* What clients were told of the results of statements that they have in common with others. Drivers
 * keep it and read values by it: where a statement is prepared once more, on another connection,
 * and comes out otherwise since its tables were changed in between, its client gets PostgreSQL's
 * own error, upon which it prepares anew, as on a direct connection. Who prepares after a change
 * gets a statement that is prepared after it, too.
 *
 * Source: PostgreSQL manual, "Message Formats" (RowDescription); RevalidateCachedQuery() of its
 * plancache.c, which holds results to what they were. */
#include "proxy/session_internal.h"

#include "proxy/server_statements.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* -- changes ----------------------------------------------------------------------------------- */

uint64_t session_structure(const struct session *s) {
    return atomic_load_explicit(&s->worker->workers->structure, memory_order_relaxed);
}

void session_structure_changed(struct session *s) {
    atomic_fetch_add_explicit(&s->worker->workers->structure, 1, memory_order_relaxed);
}

void session_statement_stale(struct session *s, struct prepared *prepared) {
    shared_statement_retire(prepared->shared);
    session_structure_changed(s);
}

/* -- what the client was told ------------------------------------------------------------------ */

/* FirstNormalObjectId: types below are PostgreSQL's own, and the same in all databases. */
enum { FIRST_USER_OID = 16384 };

/* Every field of a RowDescription: its name, then these. Table and column are left out of the sum:
 * a table that was made anew may be the same to a client; and the format, which a portal has. */
enum { FIELD_SOURCE = 6, FIELD_TYPE = 4, FIELD_FORMAT = 2, FIELD_BYTES = 18 };

static bool sum_columns(const uint8_t *body, size_t length, uint64_t *sum) {
    bool user_types = false;
    size_t at = 2;
    while (at < length) {
        const uint8_t *end = memchr(body + at, '\0', length - at);
        if (end == NULL || (size_t)(body + length - end) < 1 + FIELD_BYTES)
            break;
        const uint8_t *type = end + 1 + FIELD_SOURCE;
        *sum = XXH3_64bits_withSeed(body + at, (size_t)(end - body) - at + 1, *sum);
        *sum = XXH3_64bits_withSeed(type, FIELD_BYTES - FIELD_SOURCE - FIELD_FORMAT, *sum);
        user_types |= wire_get_u32(type) >= FIRST_USER_OID;
        at = (size_t)(end - body) + 1 + FIELD_BYTES;
    }
    return user_types;
}

static bool has_user_types(const uint8_t *body, size_t length) {
    for (size_t at = 2; length >= FIELD_TYPE && at <= length - FIELD_TYPE; at += FIELD_TYPE)
        if (wire_get_u32(body + at) >= FIRST_USER_OID)
            return true;
    return false;
}

void session_take_description(struct session *s, struct link *link, const struct request *request,
                              char type, const uint8_t *body, size_t length) {
    struct prepared *prepared = request->prepared;
    bool for_client = request->audience == AUDIENCE_CLIENT;
    uint64_t sum = 1;
    bool user_types = type == 't'   ? has_user_types(body, length)
                      : type == 'T' ? sum_columns(body, length, &sum)
                                    : false;
    /* The next the client asks about is what these types are. */
    if (user_types && for_client)
        session_follow_types(s->routing, prepared->database);
    if (type == 't' || prepared->shared == NULL || prepared->shared_on != link->physical)
        return;
    uint64_t before = shared_statement_result(prepared->shared);
    if (before != 0 && before != sum &&
        !request->of_portal) { /* who was told of the other one must hear of it */
        session_statement_stale(s, prepared);
        if (for_client)
            session_share_anew(s, prepared);
    }
    if (shared_statement_result(prepared->shared) == 0)
        shared_statement_set_result(prepared->shared, sum);
    if (for_client) {
        prepared->told = sum;
        prepared->told_on = link->physical;
        prepared->told_of_portal = request->of_portal;
    }
}

static bool was_told(const struct prepared *prepared, const struct link *link) {
    return prepared->told != 0 && prepared->told_on == link->physical;
}

void session_heed_portal(struct link *link, struct prepared *prepared) {
    if (prepared->shared == NULL || prepared->shared_on != link->physical ||
        (was_told(prepared, link) && prepared->told == shared_statement_result(prepared->shared)))
        return;
    struct request *request = answers_last(&link->answers);
    request->prepared = prepared_ref(prepared);
    request->of_portal = true;
}

/* Whether the client asks for the result again, right behind the Bind that is at the front. */
static bool is_described_anew(const struct session *s) {
    const uint8_t *at = stream_peek(&s->client);
    size_t left = stream_available(&s->client);
    struct frame frame;
    return frame_read(at, left, &frame) == FRAME_OK && frame.length < left &&
           at[frame.length] == 'D';
}

static bool is_stale(const struct prepared *prepared, bool told) {
    if (shared_statement_is_retired(prepared->shared))
        return true;
    uint64_t result = told ? shared_statement_result(prepared->shared) : 0;
    return result != 0 && result != prepared->told;
}

static __attribute__((cold)) void ask(struct session *s, struct link *link,
                                      struct prepared *prepared) {
    struct wire_buffer out = {0};
    message_put_describe(&out, 'S', shared_statement_name(prepared->shared));
    stream_send(&link->stream, out.data, out.length);
    wire_buffer_close(&out);
    answers_push(&link->answers, REQUEST_DESCRIBE, AUDIENCE_PROXY)->prepared =
        prepared_ref(prepared);
    link->unsynced = true;
    s->active = link;
    s->result_asked = true;
    (void)session_wait_drained(s); /* sends Flush */
}

enum use session_hold_statement(struct session *s, struct link *link, struct prepared *prepared,
                                bool binds) {
    if (prepared->shared == NULL) {
        session_prepare_there(link, prepared);
        return USE_READY;
    }
    if (s->result_asked && session_wait_drained(s) == PROGRESS_WAIT)
        return USE_WAIT;
    s->result_asked = false;
    bool told =
        was_told(prepared, link) && !(binds && prepared->told_of_portal && is_described_anew(s));
    if (!told && shared_statement_is_retired(prepared->shared))
        session_share_anew(s, prepared); /* it asks with each portal, or reads none: it heals */
    bool known = prepared->shared_on == link->physical && session_knows_statement(link, prepared);
    if (!known) { /* under the settings of now, which it would be parsed by */
        session_share_on(s, prepared, link->physical);
        known = session_knows_statement(link, prepared);
    }
    if (is_stale(prepared, told)) {
        if (session_wait_drained(s) == PROGRESS_WAIT)
            return USE_WAIT;
        reply_stale_plan(s);
        return USE_FAILED;
    }
    if (!known)
        session_prepare_there(link, prepared);
    if (!told || !binds || (known && shared_statement_result(prepared->shared) != 0))
        return USE_READY;
    ask(s, link, prepared);
    return USE_WAIT;
}
