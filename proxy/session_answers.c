/* The databases' messages: to the client, or to the script that asked. Only the five header bytes
 * of a row or of copy data are looked at; their bodies are passed on as they come, whatever their
 * size. */
#include "proxy/session_fan.h"
#include "proxy/session_internal.h"

#include "config/alloc.h"
#include "config/rarely.h"

#include <stdlib.h>
#include <string.h>

enum {
    WHOLE_MESSAGE_MAX = 64 * 1024 * 1024, /* of the messages that must be seen in one piece */
    /* Shorter rows are passed on in one piece, so that a connection that is lost among them leaves
     * the client's stream between two messages, where the error can be told. */
    STREAMED_FROM = 8 * 1024,
};

enum answer { ANSWER_WRONG, ANSWER_MORE, ANSWER_LAST /* of its request, but for ReadyForQuery */ };

/* What may answer which request (PostgreSQL manual, "Message Flow"). ErrorResponse, ReadyForQuery
 * and what may come at any time (notices, notifications, parameters) are handled apart. */
static const uint8_t answers_table[REQUEST_KINDS][128] = {
    [REQUEST_PARSE] = {['1'] = ANSWER_LAST},
    [REQUEST_BIND] = {['2'] = ANSWER_LAST},
    [REQUEST_CLOSE] = {['3'] = ANSWER_LAST},
    [REQUEST_DESCRIBE] = {['t'] = ANSWER_MORE, ['T'] = ANSWER_LAST, ['n'] = ANSWER_LAST},
    [REQUEST_EXECUTE] = {['D'] = ANSWER_MORE,
                         ['G'] = ANSWER_MORE,
                         ['H'] = ANSWER_MORE,
                         ['d'] = ANSWER_MORE,
                         ['c'] = ANSWER_MORE,
                         ['C'] = ANSWER_LAST,
                         ['I'] = ANSWER_LAST,
                         ['s'] = ANSWER_LAST},
    [REQUEST_QUERY] = {['T'] = ANSWER_MORE,
                       ['D'] = ANSWER_MORE,
                       ['C'] = ANSWER_MORE,
                       ['I'] = ANSWER_MORE,
                       ['G'] = ANSWER_MORE,
                       ['H'] = ANSWER_MORE,
                       ['d'] = ANSWER_MORE,
                       ['c'] = ANSWER_MORE},
    [REQUEST_FUNCTION] = {['V'] = ANSWER_MORE},
};

static bool is_streamed(char type) {
    return type == 'D' || type == 'd' || type == 'V';
}

/* All before them is answered: those that the proxy answers itself have their turn now. */
static void answer_local(struct session *s, struct link *link) {
    struct request *request;
    while ((request = answers_front(&link->answers)) != NULL && request->local) {
        reply_empty(s, request->kind == REQUEST_PARSE ? '1' : '3');
        answers_pop(&link->answers);
    }
}

void session_reply_in_turn(struct session *s, enum request_kind kind, struct prepared *prepared) {
    struct link *link = s->active;
    if (link == NULL || link->answers.count == 0) {
        reply_empty(s, kind == REQUEST_PARSE ? '1' : '3');
        return;
    }
    struct request *request = answers_push(&link->answers, kind, AUDIENCE_CLIENT);
    request->local = true;
    request->prepared = prepared != NULL ? prepared_ref(prepared) : NULL;
}

/* What waits for an Execute of the active link's does not for what another is asked meanwhile, such
 * as to close a statement. */
static void lift_barrier(struct session *s, const struct link *link) {
    if (link->answers.count == 0 && link == s->active)
        s->barrier = false;
}

static void request_ended(struct session *s, struct link *link) {
    answers_pop(&link->answers);
    answer_local(s, link);
    lift_barrier(s, link);
}

/* -- ReadyForQuery ----------------------------------------------------------------------------- */

/* What the database says of its transaction counts where it differs from what was thought. */
static void reconcile(struct session *s, struct link *link, char status) {
    enum block_status believed = session_block_status(s->routing);
    link->failed = status == 'E';
    if (status == 'I') {
        bool was = link->in_block;
        link->in_block = false;
        /* Where the session ends it, session_block_finished() is yet to see which settings of it
         * the link has had. */
        if (believed != BLOCK_IMPLICIT && !s->script.fan.active)
            link->log_applied = 0;
        bool over = was && !s->script.fan.active && session_links_in_block(s) == 0;
        if (over && (believed == BLOCK_OPEN || believed == BLOCK_FAILED)) {
            session_rolled_back(s->routing);
            session_block_finished(s, false, false);
        }
        return;
    }
    if (!link->in_block) {
        if (s->block.count == 0)
            block_log_add(&s->block, ENTRY_BEGIN, NULL, "BEGIN", 5);
        link->in_block = true;
        link->deed = DEED_MAY_WRITE;
        link->log_applied = s->block.count;
        if (believed == BLOCK_IDLE) {
            const struct settings *settings = session_settings(s);
            int database = link->physical;
            for (size_t i = 0; i < settings->database_count; i++)
                if (settings->databases[i].physical == link->physical) {
                    database = (int)i;
                    break;
                }
            session_adopt_status(s->routing, status, database);
        }
    }
    if (status == 'E' && session_block_status(s->routing) == BLOCK_OPEN)
        session_failed(s->routing);
}

/* Whether a pipeline is open behind the Sync or Query that was just answered: the client may have
 * gone on meanwhile. */
static bool pipeline_follows(struct link *link) {
    if (link->answers.count < 2)
        return false;
    enum request_kind last = answers_last(&link->answers)->kind;
    return last != REQUEST_QUERY && last != REQUEST_SYNC && last != REQUEST_FUNCTION;
}

static bool on_ready(struct session *s, struct link *link, const uint8_t *message, size_t length) {
    struct request *request = answers_front(&link->answers);
    if (request == NULL || length != FRAME_HEADER + 1 ||
        (request->kind != REQUEST_QUERY && request->kind != REQUEST_SYNC &&
         request->kind != REQUEST_FUNCTION))
        return false;
    if (RARELY(request->trails)) { /* the session has gone on */
        if (request->asks_code)
            read_code_answered(session_read_code(s, link), link, uv_now(&s->worker->loop));
        else
            link->figures->transactions++;
        answers_pop(&link->answers);
        return true;
    }
    bool client = request->audience == AUDIENCE_CLIENT;
    if (!client && !fan_part_ended(s, link, request, (char)message[FRAME_HEADER]))
        return false;
    link->unsynced = pipeline_follows(link);
    link->wrote = link->wrote && link->unsynced;
    link->skipping = false;
    link->claims = link->claims && link->answers.count > 1;
    if (s->copy_in == link)
        s->copy_in = NULL;
    bool failed = request->failed;
    bool ends_transaction = request->audience != AUDIENCE_PROXY || link->in_block;
    link->figures->transactions += ends_transaction && message[FRAME_HEADER] == 'I';
    reconcile(s, link, (char)message[FRAME_HEADER]);
    if (!link->unsynced && link == s->active) /* another one knows nothing of what is in doubt */
        s->reading_uncertain = s->reading_asked = false;
    if (message[FRAME_HEADER] == 'I')
        session_settle_parameters(s);
    if (request->asks_binding)
        session_binding_unknown(link);
    if (link->joined)
        session_settle_difference(link, failed);
    if (!client) {
        request_ended(s, link);
        return true;
    }
    answers_pop(&link->answers);
    if (link->answers.count == 0) {
        s->barrier = false;
        s->noted_late = false;
        if (session_block_status(s->routing) == BLOCK_IMPLICIT) {
            session_end_implicit(s->routing, !failed && !s->implicit_failed);
            session_block_finished(s, !failed && !s->implicit_failed, false);
            s->implicit_failed = false;
        } else if (portal_any(&s->portals) && session_block_status(s->routing) == BLOCK_IDLE) {
            portal_clear(&s->portals);
        }
    }
    reply_ready(s);
    answer_local(s, link);
    return true;
}

/* -- the rest ---------------------------------------------------------------------------------- */

/* From now on the database takes copy data. A Sync that was sent behind the Execute is read as part
 * of it and ignored: the client sends another one when it is done. At any other message that was
 * sent the server gives up with an error. */
static __attribute__((cold)) void begin_copy_in(struct session *s, struct link *link,
                                                const struct request *request) {
    if (request->kind == REQUEST_EXECUTE && link->answers.count > 1 &&
        answers_at(&link->answers, 1)->kind != REQUEST_SYNC)
        return;
    s->copy_in = link;
    while (request->kind == REQUEST_EXECUTE && link->answers.count > 1 &&
           answers_last(&link->answers)->kind == REQUEST_SYNC)
        answers_drop_last(&link->answers);
}

static enum answer answer_to(const struct request *request, char type) {
    return (unsigned char)type < 128 ? answers_table[request->kind][(unsigned char)type]
                                     : ANSWER_WRONG;
}

/* CommandComplete; or PortalSuspended, and it has done what it does nonetheless. */
static bool ends_statement(char type) {
    return type == 'C' || type == 's';
}

static void statement_ended(struct session *s, struct link *link, struct request *request) {
    link->figures->queries += request->audience != AUDIENCE_PROXY;
    if (s->copy_in == link)
        s->copy_in = NULL;
    session_statement_done(s, link, request);
}

/* What is answered tells something about a statement. */
static bool describes_statement(const struct request *request) {
    return request->kind == REQUEST_DESCRIBE && request->prepared != NULL;
}

/* What pass_on_run() has left. */
static __attribute__((noinline)) bool on_answer(struct session *s, struct link *link,
                                                const uint8_t *message, size_t length) {
    char type = (char)message[0];
    struct request *request = answers_front(&link->answers);
    enum answer answer = request != NULL ? answer_to(request, type) : ANSWER_WRONG;
    if (answer == ANSWER_WRONG)
        return false;
    if (request->audience != AUDIENCE_PROXY)
        stream_send(&s->client, message, length);
    if (request->captures && type == 'D') {
        session_capture_setting(s, link, request, message + FRAME_HEADER, length - FRAME_HEADER);
        if (s->phase == PHASE_CLOSING)
            return true;
    }
    if (request->asks_catalog && type == 'D')
        session_take_catalog_row(s, link, message + FRAME_HEADER, length - FRAME_HEADER);
    if (request->asks_catalog && type == 'C')
        session_catalog_answered(s, link);
    if (request->asks_code && type == 'D')
        read_code_take_row(session_read_code(s, link), link, message + FRAME_HEADER,
                           length - FRAME_HEADER);
    if (request->asks_binding && type == 'D')
        session_take_bindings(link, message + FRAME_HEADER, length - FRAME_HEADER);
    if (describes_statement(request))
        session_take_description(s, link, request, type, message + FRAME_HEADER,
                                 length - FRAME_HEADER);
    if (type == 'G' && request->audience != AUDIENCE_PROXY)
        begin_copy_in(s, link, request);
    if (type == 'C' && s->script.fan.active)
        fan_take_tag(s, link, request, message, length);
    if (ends_statement(type))
        statement_ended(s, link, request);
    if (answer == ANSWER_LAST)
        request_ended(s, link);
    return true;
}

/* Of settings that the proxy repeats, only the first server's values are for the client: the
 * others' own defaults may differ. What a transaction's end makes or brings back is for it,
 * wherever it was set. */
static bool parameter_is_for_client(const struct session *s, const struct link *link,
                                    const struct request *request) {
    if (s->phase != PHASE_READY)
        return false; /* it is told all of them when it is let in */
    if (request != NULL && request->asks_code)
        return false;
    if (request == NULL || request->audience != AUDIENCE_PROXY || link->home)
        return true;
    const struct fan *fan = &s->script.fan;
    if (fan->active && link->pool != NULL && link->physical == s->home)
        return true;
    return fan->active && (fan->statement == NULL || fan->statement->facts->kind != KIND_DISCARD);
}

/* One of its own making bears the process id that the client was told, so that clients can leave
 * out what they sent themselves. */
static __attribute__((cold)) void pass_on_notification(struct session *s, const struct link *link,
                                                       const uint8_t *message, size_t length) {
    uint8_t head[FRAME_HEADER + 4];
    size_t given = 0;
    if (length >= sizeof head && wire_get_u32(message + FRAME_HEADER) == link->pid) {
        memcpy(head, message, FRAME_HEADER);
        wire_put_u32(head + FRAME_HEADER, s->pid);
        stream_send(&s->client, head, sizeof head);
        given = sizeof head;
    }
    stream_send(&s->client, message + given, length - given);
}

static bool handle(struct session *s, struct link *link, const uint8_t *message, size_t length) {
    struct request *request = answers_front(&link->answers);
    switch (message[0]) {
    case 'Z':
        return on_ready(s, link, message, length);
    case 'E':
        session_on_error(s, link, message, length);
        return true;
    case 'N':
        if (request == NULL || request->audience != AUDIENCE_PROXY ||
            fan_passes_notice(s, request, message, length))
            stream_send(&s->client, message, length);
        return true;
    case 'A':
        pass_on_notification(s, link, message, length);
        return true;
    case 'S':
        if (link->pool != NULL)
            link_learn_parameter(link, message + FRAME_HEADER, length - FRAME_HEADER);
        if (parameter_is_for_client(s, link, request))
            session_on_parameter(s, link, message, length);
        return true;
    default:
        return on_answer(s, link, message, length);
    }
}

/* Begins to pass on a message whose body is not looked at. False: it answers nothing. */
static __attribute__((noinline)) bool begin_streaming(struct link *link,
                                                      const struct frame *frame) {
    struct request *request = answers_front(&link->answers);
    if (request == NULL || answer_to(request, frame->type) == ANSWER_WRONG)
        return false;
    link->frame_left = frame->length;
    link->frame_forwarded = request->audience != AUDIENCE_PROXY;
    return true;
}

static void stream_body(struct session *s, struct link *link) {
    size_t available = stream_available(&link->stream);
    size_t length = available < link->frame_left ? available : (size_t)link->frame_left;
    if (link->frame_forwarded)
        stream_send(&s->client, stream_peek(&link->stream), length);
    stream_consume(&link->stream, length);
    link->frame_left -= length;
}

/* Whether the next whole message only has to be passed on. */
static bool is_passed_on(const struct request *request, const uint8_t *data, size_t available,
                         struct frame *frame) {
    return request != NULL && request->audience != AUDIENCE_PROXY && !request->captures &&
           !describes_statement(request) && frame_read(data, available, frame) == FRAME_OK &&
           frame->length <= available && frame->type != 'G' &&
           answer_to(request, frame->type) != ANSWER_WRONG;
}

/* Whole answers at the front go in one piece, up to the first that ends a statement or makes the
 * proxy speak. False: there is none. */
static bool pass_on_run(struct session *s, struct link *link) {
    const uint8_t *data = stream_peek(&link->stream);
    size_t available = stream_available(&link->stream), run = 0;
    struct request *request = answers_front(&link->answers);
    bool ended = false; /* a statement */
    struct frame frame;
    while (!ended && is_passed_on(request, data + run, available - run, &frame)) {
        run += frame.length;
        ended = ends_statement(frame.type);
        if (!ended && answer_to(request, frame.type) == ANSWER_LAST) {
            answers_pop(&link->answers);
            request = answers_front(&link->answers);
            if (request != NULL && request->local)
                break;
        }
    }
    if (run == 0)
        return false;
    stream_send(&s->client, data, run);
    if (ended && s->script.fan.active)
        fan_take_tag(s, link, request, data + run - frame.length, frame.length);
    stream_consume(&link->stream, run);
    if (ended) {
        statement_ended(s, link, request);
        if (answer_to(request, frame.type) == ANSWER_LAST)
            answers_pop(&link->answers);
    }
    answer_local(s, link);
    lift_barrier(s, link);
    return true;
}

/* One message, or what is there of one. PROGRESS_WAIT: more bytes are needed. False: the database
 * breaks the protocol. */
static bool read_message(struct session *s, struct link *link, enum progress *progress) {
    if (link->frame_left > 0) {
        stream_body(s, link);
        return true;
    }
    if (pass_on_run(s, link))
        return true;
    struct frame frame;
    switch (frame_read(stream_peek(&link->stream), stream_available(&link->stream), &frame)) {
    case FRAME_INCOMPLETE:
        *progress = PROGRESS_WAIT;
        return true;
    case FRAME_BAD_LENGTH:
        return false;
    case FRAME_OK:
        break;
    }
    struct request *front = answers_front(&link->answers);
    bool captured = front != NULL && (front->captures || front->asks_catalog) && frame.type == 'D';
    if (is_streamed(frame.type) && !captured && frame.length > STREAMED_FROM)
        return begin_streaming(link, &frame);
    if (frame.length > WHOLE_MESSAGE_MAX)
        return false;
    if (RARELY(frame.length > stream_available(&link->stream))) {
        stream_reserve(&link->stream, frame.length);
        *progress = PROGRESS_WAIT;
        return true;
    }
    bool known = handle(s, link, stream_peek(&link->stream), frame.length);
    if (s->phase == PHASE_CLOSING)
        return true;
    stream_consume(&link->stream, frame.length);
    return known;
}

/* Between two messages for the client, a link that nobody waits for may speak; within one it has to
 * wait. */
static bool client_is_mid_message(const struct session *s, const struct link *link) {
    return s->active != NULL && s->active != link && s->active->frame_left > 0;
}

static __attribute__((cold)) void break_link(struct session *s, struct link *link) {
    free(link->last_words);
    link->last_words = alloc_text("the database sent a message that does not belong there (08P01)");
    session_link_lost(s, link);
}

void session_read_link(struct session *s, struct link *link) {
    int physical = link->physical;
    bool trailed = link != s->active && link_trails(link);
    enum progress progress = PROGRESS_DONE;
    while (progress == PROGRESS_DONE && stream_available(&link->stream) > 0) {
        if (RARELY(stream_unsent(&s->client) > CLIENT_UNSENT_HIGH ||
                   client_is_mid_message(s, link))) {
            stream_set_reading(&link->stream, false);
            s->paused = true;
            break;
        }
        if (!read_message(s, link, &progress)) {
            break_link(s, link);
            break;
        }
        if (s->phase == PHASE_CLOSING || s->links[physical] != link)
            return;
        if (link->last_message != NULL) { /* its server may take long to end, and says no more */
            session_link_lost(s, link);
            break;
        }
    }
    if (s->links[physical] == link) {
        bool ended = link->stream.state == STREAM_EOF || link->stream.state == STREAM_BROKEN;
        if (ended && (stream_available(&link->stream) == 0 || progress == PROGRESS_WAIT))
            session_link_lost(s, link);
        else if (link->asks_setting)
            session_ask_setting(s, link);
        else if (trailed && !link_trails(link))
            session_trail_ended(s, link);
    }
    session_process(s);
}
