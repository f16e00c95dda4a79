/* The one switch on what a client sends once it is logged in. */
#include "proxy/session_internal.h"

#include "config/rarely.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
    NAMES_MAX = 16 * 1024
}; /* of a Bind's portal and statement, which are looked for in its beginning */

/* A link that has not answered all that is waited for. Besides the active one, it may be one that
 * was asked for something behind the client's back: a setting's value, or to close a statement. */
static struct link *undrained_link(const struct session *s) {
    if (s->active != NULL && s->active->answers.count > 0)
        return s->active;
    for (int i = 0; i < s->link_count; i++)
        if (s->links[i] != NULL && s->links[i]->answers.count > 0 && !link_trails(s->links[i]))
            return s->links[i];
    return NULL;
}

bool session_drained(const struct session *s) {
    return undrained_link(s) == NULL;
}

enum progress session_wait_trail(struct session *s, struct link *link) {
    if (!link_trails(link))
        return PROGRESS_DONE;
    s->awaited = link;
    return PROGRESS_WAIT;
}

/* …on whichever of the links. */
static __attribute__((cold)) enum progress wait_trails(struct session *s) {
    for (int i = 0; i < s->link_count; i++)
        if (s->links[i] != NULL && session_wait_trail(s, s->links[i]) == PROGRESS_WAIT)
            return PROGRESS_WAIT;
    return PROGRESS_DONE;
}

/* Its answer comes only with that to a Sync, or a Flush. */
static bool is_held_back(const struct request *request) {
    return request->kind != REQUEST_QUERY && request->kind != REQUEST_SYNC &&
           request->kind != REQUEST_FUNCTION;
}

enum progress session_wait_drained(struct session *s) {
    struct link *link = undrained_link(s);
    if (link == NULL)
        return PROGRESS_DONE;
    struct request *last = answers_last(&link->answers);
    if (is_held_back(last) && !last->flushed) {
        static const uint8_t flush[] = {'H', 0, 0, 0, 4};
        stream_send(&link->stream, flush, sizeof flush);
        last->flushed = true;
        if (link != s->active)
            session_flush_link(link);
    }
    return PROGRESS_WAIT;
}

bool session_client_is_full(const struct session *s) {
    return stream_unsent(&s->client) > CLIENT_UNSENT_HIGH;
}

bool session_is_owed(const struct session *s) {
    for (int i = 0; i < s->link_count; i++)
        for (size_t n = 0; s->links[i] != NULL && n < s->links[i]->answers.count; n++) {
            const struct request *request = answers_at(&s->links[i]->answers, n);
            if (!is_held_back(request) || request->flushed)
                return true;
        }
    return false;
}

bool session_is_full(struct session *s) {
    if (session_client_is_full(s))
        return true;
    struct link *link = s->active;
    if (link == NULL || s->body_fate != BODY_NONE)
        return false;
    return stream_unsent(&link->stream) > LINK_UNSENT_HIGH ||
           (link->answers.count > REQUESTS_HIGH && session_wait_drained(s) == PROGRESS_WAIT);
}

void session_forward_message(struct session *s, struct link *link, size_t length) {
    size_t available = stream_available(&s->client);
    size_t here = available < length ? available : length;
    stream_send(&link->stream, stream_peek(&s->client), here);
    stream_consume(&s->client, here);
    if (RARELY(here < length)) {
        s->body_fate = BODY_FORWARD;
        s->body_link = link;
        s->body_left = length - here;
    }
}

static __attribute__((cold)) enum progress protocol_violation(struct session *s,
                                                              const char *message) {
    reply_fatal(s, "08P01", message, NULL, NULL);
    session_end(s, message);
    return PROGRESS_WAIT;
}

static __attribute__((cold)) enum progress unknown_type(struct session *s, char type) {
    char message[64];
    snprintf(message, sizeof message, "invalid frontend message type %d", (unsigned char)type);
    return protocol_violation(s, message);
}

/* How far CopyData messages reach that begin there: they are passed on in one piece, and so without
 * being copied. The last one may be longer than what is there of it. */
static size_t copy_data_run(const uint8_t *data, size_t available) {
    size_t run = 0;
    struct frame frame;
    while (run < available && data[run] == 'd' &&
           frame_read(data + run, available - run, &frame) == FRAME_OK &&
           frame_frontend_fits(&frame))
        run += frame.length;
    return run;
}

/* The rest of a message whose beginning was handled. */
static __attribute__((noinline)) enum progress continue_body(struct session *s) {
    size_t available = stream_available(&s->client);
    if (available == 0)
        return PROGRESS_WAIT;
    if (s->body_fate == BODY_FORWARD && stream_unsent(&s->body_link->stream) > LINK_UNSENT_HIGH)
        return PROGRESS_WAIT;
    if (s->copy_in != NULL && s->body_fate == BODY_FORWARD && s->body_left < available)
        s->body_left +=
            copy_data_run(stream_peek(&s->client) + s->body_left, available - s->body_left);
    size_t here = available < s->body_left ? available : s->body_left;
    struct error error;
    if (s->body_is_bind && bind_check_feed(&s->bind_check, stream_peek(&s->client), here, &error) ==
                               BIND_CHECK_MALFORMED)
        return protocol_violation(s, error.text);
    if (s->body_fate == BODY_FORWARD)
        stream_send(&s->body_link->stream, stream_peek(&s->client), here);
    stream_consume(&s->client, here);
    s->body_left -= here;
    if (s->body_left == 0) {
        s->body_fate = BODY_NONE;
        s->body_link = NULL;
        s->body_is_bind = false;
    }
    return PROGRESS_DONE;
}

/* CopyData, CopyDone, CopyFail: to the link that takes them; ignored where none does, as the server
 * does. */
static __attribute__((noinline)) enum progress on_copy(struct session *s, char type,
                                                       size_t length) {
    if (s->copy_in == NULL && !session_drained(s) && !s->skip_until_sync)
        return session_wait_drained(s) == PROGRESS_WAIT ? PROGRESS_WAIT : PROGRESS_DONE;
    if (s->copy_in == NULL) {
        (void)extended_dropped(s, length);
        return PROGRESS_DONE;
    }
    struct link *link = s->copy_in;
    if (stream_unsent(&link->stream) > LINK_UNSENT_HIGH)
        return PROGRESS_WAIT;
    if (type == 'd')
        length = copy_data_run(stream_peek(&s->client), stream_available(&s->client));
    else
        s->copy_in = NULL;
    session_forward_message(s, link, length);
    return PROGRESS_DONE;
}

enum { FIRST_USER_OID = 16384 }; /* FirstNormalObjectId: functions below are PostgreSQL's own */

static __attribute__((cold)) enum progress on_function_call(struct session *s, const uint8_t *body,
                                                            size_t available, size_t length) {
    if (available < 4)
        return length - FRAME_HEADER < 4 ? protocol_violation(s, "invalid message format")
                                         : PROGRESS_WAIT;
    if (session_wait_drained(s) == PROGRESS_WAIT)
        return PROGRESS_WAIT;
    bool routed = session_settings(s)->entrypoints[s->entrypoint].database == ENTRYPOINT_ROUTED;
    if (session_block_status(s->routing) == BLOCK_FAILED) {
        reply_aborted(s);
        (void)extended_dropped(s, length);
        reply_ready(s);
        return PROGRESS_DONE;
    }
    if (routed && wire_get_u32(body) >= FIRST_USER_OID) {
        reply_error(
            s, rule_sqlstate(RULE_UNROUTABLE), "a function call by number cannot be routed",
            "The function may touch tables of any database.",
            "Call it in a SELECT, or connect to an entrypoint that is pinned to one database.");
        (void)extended_dropped(s, length);
        reply_ready(s);
        return PROGRESS_DONE;
    }
    struct link *link;
    switch (session_use_link(s, session_default_database(s->routing), &link)) {
    case USE_WAIT:
        return PROGRESS_WAIT;
    case USE_FAILED:
        (void)extended_dropped(s, length);
        reply_ready(s);
        return PROGRESS_DONE;
    case USE_READY:
    case USE_ANSWERED:
        break;
    }
    answers_push(&link->answers, REQUEST_FUNCTION, AUDIENCE_CLIENT);
    link->deed = DEED_MAY_WRITE;
    session_note_call(s, link);
    session_forward_message(s, link, length);
    return PROGRESS_DONE;
}

/* A Bind may carry a gigabyte: its names, which come first, are enough. What is there of it must be
 * well formed before any of it is passed on; the rest is checked as it comes. */
static enum progress on_bind(struct session *s, const uint8_t *body, size_t available,
                             size_t length) {
    size_t whole = length - FRAME_HEADER;
    size_t seen = available < whole ? available : whole;
    bool need_more = false;
    struct bind_message bind;
    struct error error;
    if (message_read_bind_names(body, seen, seen == whole, &need_more, &bind, &error)) {
        if (seen == whole && bind_check_counts(bind.counts, (size_t)(body + whole - bind.counts)))
            return session_on_bind(s, &bind, length);
        struct bind_check check;
        bind_check_init(&check, whole);
        if (bind_check_feed(&check, body, seen, &error) == BIND_CHECK_MALFORMED)
            return protocol_violation(s, error.text);
        enum progress progress = session_on_bind(s, &bind, length);
        s->body_is_bind = s->body_fate != BODY_NONE;
        s->bind_check = check;
        return progress;
    }
    if (need_more && seen < NAMES_MAX) {
        stream_reserve(&s->client, length < NAMES_MAX ? length : NAMES_MAX);
        return PROGRESS_WAIT;
    }
    return protocol_violation(s, need_more ? "invalid message format" : error.text);
}

static enum progress on_whole_message(struct session *s, char type, const uint8_t *body,
                                      size_t body_length, size_t length) {
    switch (type) {
    case 'Q':
        if (RARELY(s->skip_until_sync))
            return extended_consumed(s, length);
        return session_on_query(s, body, body_length, length);
    case 'P':
        return session_on_parse(s, body, body_length, length);
    case 'D':
        return session_on_describe(s, body, body_length, length);
    case 'C':
        return session_on_close(s, body, body_length, length);
    case 'E':
        return session_on_execute(s, body, body_length, length);
    case 'H':
        return body_length > 0 ? protocol_violation(s, "invalid message format")
                               : session_on_flush(s, length);
    case 'S':
        return body_length > 0 ? protocol_violation(s, "invalid message format")
                               : session_on_sync(s, length);
    case 'X':
        if (session_wait_drained(s) == PROGRESS_WAIT || wait_trails(s) == PROGRESS_WAIT)
            return PROGRESS_WAIT; /* what was asked before is still done */
        session_end(s, "client disconnected");
        return PROGRESS_WAIT;
    default:
        return unknown_type(s, type);
    }
}

bool session_has_whole_message(const struct session *s) {
    size_t available = stream_available(&s->client);
    struct frame frame;
    return frame_read(stream_peek(&s->client), available, &frame) == FRAME_OK &&
           frame.length <= available;
}

enum progress session_handle_message(struct session *s) {
    if (RARELY(s->body_fate != BODY_NONE))
        return continue_body(s);
    struct frame frame;
    switch (frame_read(stream_peek(&s->client), stream_available(&s->client), &frame)) {
    case FRAME_INCOMPLETE:
        return PROGRESS_WAIT;
    case FRAME_BAD_LENGTH:
        return protocol_violation(s, "invalid message length");
    case FRAME_OK:
        break;
    }
    if (frame_frontend_class(frame.type) == FRONTEND_UNKNOWN)
        return unknown_type(s, frame.type);
    if (!frame_frontend_fits(&frame))
        return protocol_violation(s, "invalid message length");
    size_t available = stream_available(&s->client);
    const uint8_t *body = stream_peek(&s->client) + FRAME_HEADER;
    /* Between CopyInResponse and its end the server ignores Flush and Sync, and objects to anything
     * else, Terminate too: its COPY would wait for ever for more. */
    if (RARELY(s->copy_in != NULL) && strchr("dcfHS", frame.type) == NULL)
        return protocol_violation(s, "unexpected message during COPY from stdin");
    switch (frame.type) {
    case 'd':
    case 'c':
    case 'f':
        return on_copy(s, frame.type, frame.length);
    case 'B':
        return on_bind(s, body, available - FRAME_HEADER, frame.length);
    case 'F':
        if (RARELY(s->skip_until_sync)) {
            (void)extended_dropped(s, frame.length);
            return PROGRESS_DONE;
        }
        return on_function_call(s, body, available - FRAME_HEADER, frame.length);
    default:
        break;
    }
    if (RARELY(frame.length > available)) {
        stream_reserve(&s->client, frame.length);
        return PROGRESS_WAIT;
    }
    if (RARELY(s->copy_in != NULL)) {
        session_forward_message(s, s->copy_in, frame.length);
        return PROGRESS_DONE;
    }
    return on_whole_message(s, frame.type, body, frame.length - FRAME_HEADER, frame.length);
}
