/* How a server reads a text: standard_conforming_strings and client_encoding. What is read here and
 * there must be the same, or a statement could hide in a string. A server tells its values with
 * ReadyForQuery; within a pipeline it is asked, where something ran that could have changed them
 * and the text has a backslash, without which they mean nothing. */
#include "proxy/session_internal.h"

#include <string.h>
#include <strings.h>

static bool in_transaction(const struct session *s) {
    return session_block_status(s->routing) != BLOCK_IDLE;
}

static void refuse_encoding(struct session *s) {
    reply_fatal(s, "0A000", ENCODING_REFUSED, NULL, ENCODING_HINT);
    session_end(s, "unsafe client_encoding");
}

/* -- ParameterStatus --------------------------------------------------------------------------- */

void session_heed_parameter(struct session *s, const char *name, const char *value) {
    if (strcmp(name, "standard_conforming_strings") == 0)
        s->lexing.standard_conforming_strings = strcmp(value, "off") != 0;
    else if (strcmp(name, "client_encoding") == 0)
        s->utf8 = strcmp(value, "UTF8") == 0;
}

static void learn(struct session *s, const char *name, const char *value) {
    if (in_transaction(s) && s->outside == NULL)
        s->outside = parameters_ref(s->parameters);
    session_heed_parameter(s, name, value);
    s->parameters = parameters_change_take(s->worker->parameters, s->parameters, name, value);
}

const char *session_parameter(const struct session *s, const char *name) {
    return parameters_find(s->parameters, name);
}

void session_settle_parameters(struct session *s) {
    if (s->outside == NULL || in_transaction(s))
        return;
    if (s->outside != s->parameters)
        session_follow_home(s);
    parameters_unref(s->worker->parameters, s->outside);
    s->outside = NULL;
}

const char *session_parameter_outside(const struct session *s, const char *name) {
    bool changed = s->outside != NULL && in_transaction(s);
    return parameters_find(changed ? s->outside : s->parameters, name);
}

void session_tell_parameter(struct session *s, struct link *link, const char *name,
                            const char *value) {
    const char *known = session_parameter(s, name);
    if ((known != NULL && strcmp(known, value) == 0) || session_lacks_startup(s, link, name))
        return;
    /* A function may have set it, which no other link would get to know. */
    if (strcmp(name, "standard_conforming_strings") == 0) {
        session_doubt_strings(s, link);
        session_note_value(s, link, name, value);
    }
    message_put_parameter_status(&s->out, name, value);
    learn(s, name, value); /* the text of both may go with this */
    reply_flush(s);
    const char *now = session_parameter(s, name);
    if (strcmp(name, "client_encoding") == 0 && now != NULL && encoding_is_unsafe(now))
        refuse_encoding(s); /* set past the classifier: the next text could deceive it */
}

void session_on_parameter(struct session *s, struct link *link, const uint8_t *message,
                          size_t length) {
    const char *name = (const char *)message + FRAME_HEADER;
    size_t body = length - FRAME_HEADER;
    size_t name_length = strnlen(name, body);
    if (name_length + 1 >= body || name[body - 1] != '\0')
        return;
    const char *value = name + name_length + 1, *known = session_parameter(s, name);
    bool news = known == NULL || strcmp(known, value) != 0;
    session_tell_parameter(s, link, name, value);
    if (news && link->home && !in_transaction(s)) /* else when that is over */
        session_follow_home(s);
}

/* -- within a pipeline ------------------------------------------------------------------------- */

static bool sets_reading(const struct statement_facts *facts) {
    return facts->name == NULL || strcasecmp(facts->name, "standard_conforming_strings") == 0 ||
           strcasecmp(facts->name, "client_encoding") == 0;
}

static bool may_change_reading(const struct statement *statement) {
    const struct statement_facts *facts = statement->facts;
    static const unsigned calls =
        STATEMENT_SET_CONFIG | STATEMENT_CALLS_FUNCTIONS | STATEMENT_DYNAMIC;
    switch (facts->kind) {
    case KIND_SET:
        return sets_reading(facts);
    case KIND_SELECT:
    case KIND_INSERT:
    case KIND_UPDATE:
    case KIND_DELETE:
    case KIND_MERGE:
    case KIND_COPY_FROM:
    case KIND_COPY_TO:
        return (facts->flags & calls) != 0 || statement->modifies_neutral; /* pg_settings */
    case KIND_EMPTY:
    case KIND_TRUNCATE:
    case KIND_LOCK:
    case KIND_DDL:
    case KIND_BEGIN:
    case KIND_SAVEPOINT:
    case KIND_RELEASE:
    case KIND_SHOW:
    case KIND_PREPARE:
    case KIND_DEALLOCATE:
    case KIND_DECLARE:
    case KIND_CLOSE:
    case KIND_LISTEN:
    case KIND_UNLISTEN:
    case KIND_NOTIFY:
        return (facts->flags & calls) != 0;
    default:
        return true;
    }
}

void session_note_reading(struct session *s, const struct statement *statement) {
    if (statement == NULL || may_change_reading(statement)) {
        s->reading_uncertain = true;
        s->reading_asked = false;
    }
}

enum progress session_wait_reading(struct session *s, const char *text, size_t length) {
    if (!s->reading_uncertain || memchr(text, '\\', length) == NULL)
        return PROGRESS_DONE;
    if (session_wait_drained(s) == PROGRESS_WAIT)
        return PROGRESS_WAIT;
    struct link *link = s->active;
    bool can_ask = link != NULL && link->state == LINK_READY && link->unsynced && !link->skipping &&
                   session_block_status(s->routing) != BLOCK_FAILED;
    if (!s->reading_uncertain || s->reading_asked || !can_ask) {
        s->reading_uncertain = s->reading_asked = false;
        return PROGRESS_DONE;
    }
    s->reading_asked = true;
    session_ask_reading(link);
    return session_wait_drained(s);
}

void session_learn_reading(struct session *s, struct link *link, const char *name,
                           const char *value) {
    bool conforming = strcmp(value, "off") != 0;
    if (strcmp(name, "client_encoding") == 0) {
        if (encoding_is_unsafe(value))
            refuse_encoding(s);
    } else if (conforming != s->lexing.standard_conforming_strings) {
        session_note_value(s, link, name, value);
        s->lexing.standard_conforming_strings = conforming;
    }
}

bool session_is_read_twice(const struct query *query, const char *text, size_t length) {
    if (memchr(text, '\\', length) == NULL)
        return false;
    bool changed = false;
    for (size_t i = 0; i < query->count; i++) {
        const struct statement_facts *facts = query->statements[i].facts;
        bool sets = facts->kind == KIND_SET || (facts->flags & STATEMENT_SET_CONFIG) != 0;
        if (changed && (facts->kind == KIND_DO || facts->kind == KIND_DDL))
            return true;
        changed |= facts->kind == KIND_RESET_ALL || facts->kind == KIND_DISCARD ||
                   (sets && sets_reading(facts));
    }
    return false;
}
