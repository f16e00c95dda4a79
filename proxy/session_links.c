/* Making a link ready for a statement, and what happens when one is lost. */
#include "proxy/session_internal.h"

#include "config/alloc.h"
#include "config/rarely.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int session_physical(const struct session *s, int database) {
    return session_settings(s)->databases[database].physical;
}

void session_flush_link(struct link *link) {
    if (link->state == LINK_READY)
        stream_flush(&link->stream);
}

database_set session_links_in_block(const struct session *s) {
    database_set set = 0;
    for (int i = 0; i < s->link_count; i++)
        if (s->links[i] != NULL && s->links[i]->in_block)
            set |= (database_set)1 << i;
    return set;
}

struct link *session_failed_link(const struct session *s) {
    for (int i = 0; i < s->link_count; i++)
        if (s->links[i] != NULL && s->links[i]->in_block && s->links[i]->failed)
            return s->links[i];
    return NULL;
}

/* -- connecting -------------------------------------------------------------------------------- */

const char *session_password(const struct session *s) {
    const struct user *user = settings_find_user(s->config->settings, s->startup.user);
    if (user == NULL || user->secret == NULL)
        return s->password;
    bool hashed = strncmp(user->secret, "SCRAM-SHA-256$", 14) == 0 ||
                  (strncmp(user->secret, "md5", 3) == 0 && strlen(user->secret) == 35);
    return hashed ? s->password : user->secret;
}

static void on_link_event(struct link *link) {
    session_read_link(link->owner, link);
}

void session_connect(struct session *s, int physical) {
    assert(s->links[physical] == NULL);
    const struct settings *settings = s->config->settings;
    const struct database *database = &settings->databases[physical];
    struct link_identity identity = {.user = s->startup.user,
                                     .password = session_password(s),
                                     .parameters = s->startup.parameters,
                                     .parameter_count = s->startup.parameter_count};
    s->links[physical] =
        link_open(s->worker, database->conninfo, physical, database->name, &identity,
                  settings->connect_timeout, session_link_connected, on_link_event, s);
    s->links[physical]->on_cancelled = session_link_cancelled;
    s->awaited = s->links[physical];
}

void session_drop_link(struct session *s, struct link *link) {
    if (s->active == link)
        s->active = NULL;
    if (s->awaited == link)
        s->awaited = NULL;
    if (s->copy_in == link)
        s->copy_in = NULL;
    if (s->body_link == link) {
        s->body_link = NULL;
        s->body_fate = s->body_fate == BODY_FORWARD ? BODY_DROP : s->body_fate;
    }
    s->links[link->physical] = NULL;
    if (link->pool != NULL)
        pool_give(link, POOL_CLOSE);
    else
        link_close(link);
}

/* The error of a statement that needed a database which cannot be reached. */
static __attribute__((cold)) void reply_unreachable(struct session *s, const struct link *link) {
    const struct link_failure *failure = link->failure;
    char message[1400];
    snprintf(message, sizeof message, "cannot connect to database \"%s\": %s", link->name,
             failure->message);
    reply_error(s, failure->sqlstate, message, failure->detail[0] != '\0' ? failure->detail : NULL,
                failure->hint[0] != '\0'
                    ? failure->hint
                    : "The session goes on; statements for other databases still run.");
}

/* -- readiness --------------------------------------------------------------------------------- */

/* The session's link to the database, in whatever state; WAIT: it has none yet. */
static enum use find_link(struct session *s, int physical, struct link **out) {
    if (s->links[physical] == NULL && s->pool_mode == POOL_OFF) {
        session_connect(s, physical);
        return USE_WAIT;
    }
    enum use use = s->links[physical] != NULL ? USE_READY : session_take_link(s, physical);
    *out = s->links[physical];
    return use;
}

static enum use use_connection(struct session *s, int database, struct link **out) {
    int physical = session_physical(s, database);
    bool bad = session_lost_why(s, physical) != NULL ||
               (s->links[physical] != NULL && s->links[physical]->state == LINK_FAILED);
    if (RARELY(bad)) {
        if (session_wait_drained(s) == PROGRESS_WAIT) /* errors keep their place among answers */
            return USE_WAIT;
        if (session_tell_lost(s, physical))
            return USE_FAILED;
    }
    struct link *link;
    enum use use = find_link(s, physical, &link);
    if (use != USE_READY)
        return use;
    switch (link->state) {
    case LINK_READY:
        *out = link;
        return session_wait_trail(s, link) == PROGRESS_WAIT ? USE_WAIT : USE_READY;
    case LINK_FAILED:
        reply_unreachable(s, link);
        session_drop_link(s, link);
        return USE_FAILED;
    default:
        s->awaited = link;
        return USE_WAIT;
    }
}

static void append_set(struct wire_buffer *sql, const char *name, const char *value) {
    wire_append(sql, "SET ", 4);
    wire_append(sql, name, strlen(name));
    wire_append(sql, " TO E'", 6);
    for (; *value != '\0'; value++) {
        if (*value == '\'' || *value == '\\')
            wire_append(sql, value, 1);
        wire_append(sql, value, 1);
    }
    wire_append(sql, "';", 2);
}

/* What the client was told of how values and texts are written must hold on every link, whatever
 * its server's own defaults are: the client reads dates by it, and the classifier strings. On other
 * databases than the first it is set even where it is their default, which a reload may change. */
static void append_differences(struct session *s, struct link *link, struct wire_buffer *sql) {
    static const char *const names[] = {"client_encoding", "DateStyle", "IntervalStyle", "TimeZone",
                                        "standard_conforming_strings"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *there = parameters_find(link->parameters, names[i]);
        const char *told = session_parameter_outside(s, names[i]);
        if (there != NULL && told != NULL &&
            (strcmp(there, told) != 0 || link->physical != s->home))
            append_set(sql, names[i], told);
    }
    link->aligned = true;
}

/* It is about to be set. */
static __attribute__((noinline)) void note_seed(struct link *link, const char *name) {
    if (link->pool != NULL && name != NULL && strcasecmp(name, "seed") == 0)
        link->bindings |= BOUND_SEED;
}

/* Sends the session's settings that the link has not had; waits for their success, since a
 * statement must not run without them. */
static void append_settings(struct session *s, struct link *link, struct wire_buffer *sql) {
    if (link->differs) {
        session_append_difference(s, link, sql);
    } else {
        for (size_t i = 0; i < s->settings.count; i++) {
            const struct setting_change *change = &s->settings.changes[i];
            if (change->number <= link->settings_applied)
                continue;
            wire_append(sql, change->sql, strlen(change->sql));
            wire_append(sql, ";", 1);
            note_seed(link, change->name);
        }
    }
    if (!link->aligned)
        append_differences(s, link, sql);
}

static void tell_settings_error(struct session *s, const struct link *link) {
    char message[1400];
    snprintf(message, sizeof message, "cannot repeat the session's settings on database \"%s\": %s",
             link->name, s->settings_error);
    if (strcmp(s->settings_sqlstate, "57014") == 0) /* a cancel or timeout is the statement's */
        reply_error(s, "57014", s->settings_error, NULL, NULL);
    else
        reply_error(s, "55000", message, "A setting of this session could not be made there.",
                    "Change the setting back, or make it possible on every database.");
    free(s->settings_error);
    s->settings_error = NULL;
}

enum use session_use_settings(struct session *s, struct link *link, const struct query *query) {
    if (link->pool != NULL && !link->in_block && session_drained(s))
        session_align_pooled(s, link);
    if (link->pool != NULL && s->pools[link->physical].untold && session_drained(s))
        session_tell_defaults(s, link);
    bool settled = link->settings_applied == s->settings.last && link->aligned && !link->differs;
    bool chained = link->in_block && link->log_applied == s->block.count;
    if (settled && s->restored_settings && (!link->in_block || chained))
        session_tell_restored(s, link);
    if (settled || link->in_block)
        return USE_READY;
    if (link->unsynced) { /* a pipeline is open on it: its own changes are already there */
        return USE_READY;
    }
    if (session_wait_drained(s) == PROGRESS_WAIT)
        return USE_WAIT;
    if (link->differs && s->settings_error == NULL && session_send_difference(s, link, query))
        return USE_READY;
    if (s->settings_error != NULL) {
        if (s->phase == PHASE_READY)
            tell_settings_error(s, link);
        return USE_FAILED;
    }
    struct wire_buffer sql = {0};
    append_settings(s, link, &sql);
    link->settings_applied = s->settings.last;
    if (sql.length > 0) {
        link_send_query(link, (const char *)sql.data, sql.length);
        answers_push(&link->answers, REQUEST_QUERY, AUDIENCE_PROXY);
        s->active = link;
        session_flush_link(link);
    }
    wire_buffer_close(&sql);
    return link->answers.count > 0 ? USE_WAIT : USE_READY;
}

/* One command (of the block's log, or a setting) by Parse, Bind, Execute without Sync, right in
 * front of the statement: if it fails, the server skips the statement too, and nothing runs outside
 * the block that should have run inside. */
void session_send_prelude(struct link *link, const char *sql, bool before_query) {
    /* The unnamed statement is the client's; a simple query ends it, and so needs no Close. */
    static const char kept_name[] = "pginterlock_prelude";
    const char *name = before_query ? "" : kept_name;
    struct wire_buffer out = {0};
    if (link->prelude_left) {
        message_put_close(&out, 'S', kept_name);
        answers_push(&link->answers, REQUEST_CLOSE, AUDIENCE_PROXY);
        link->prelude_left = false;
    }
    message_put_parse(&out, name, sql);
    message_put_bind(&out, name, name);
    message_put_execute(&out, name);
    answers_push(&link->answers, REQUEST_PARSE, AUDIENCE_PROXY);
    answers_push(&link->answers, REQUEST_BIND, AUDIENCE_PROXY);
    answers_push(&link->answers, REQUEST_EXECUTE, AUDIENCE_PROXY);
    if (before_query) {
        link->unnamed = 0;
    } else {
        message_put_close(&out, 'P', name);
        message_put_close(&out, 'S', name);
        answers_push(&link->answers, REQUEST_CLOSE, AUDIENCE_PROXY);
        answers_push(&link->answers, REQUEST_CLOSE, AUDIENCE_PROXY);
    }
    stream_send(&link->stream, out.data, out.length);
    wire_buffer_close(&out);
}

/* Whether the link is made ready for a simple query, or for a part of one. */
static bool query_follows(const struct session *s) {
    return s->script.active ? !s->script.extended
                            : stream_available(&s->client) > 0 && *stream_peek(&s->client) == 'Q';
}

static void use_block(struct session *s, struct link *link) {
    if (link->log_applied == 0 && !link->unsynced)
        link->deed = DEED_READS;
    while (link->log_applied < s->block.count) {
        const struct block_entry *entry = &s->block.entries[link->log_applied];
        session_send_prelude(link, entry->sql, query_follows(s));
        if (entry->kind == ENTRY_SETTING)
            note_seed(link, entry->name);
        link->log_applied++;
        link->in_block = s->block.entries[0].kind == ENTRY_BEGIN;
    }
}

/* Whether it was used last and nothing has come since that it would have to get first. */
static bool is_in_use(const struct session *s, const struct link *link) {
    return link != NULL && link == s->active && link->state == LINK_READY && s->lost == NULL &&
           !s->cancel_kept && link->log_applied == s->block.count &&
           link->settings_applied == s->settings.last && link->aligned && !link->differs &&
           !s->restored_settings &&
           (link->pool == NULL || s->pools[link->physical].aligned == link->parameters);
}

/* Apart, as all that is seldom done with a message: so the usual way needs no stack frame. */
static __attribute__((noinline)) enum use make_ready(struct session *s, int database,
                                                     const struct query *query, struct link **out) {
    struct link *link = NULL;
    if (s->cancel_kept)
        return session_heed_cancel(s);
    enum use use = use_connection(s, database, &link);
    if (use != USE_READY)
        return use;
    /* BEGIN must not go out ahead of an answer that would be taken for its transaction's end. */
    bool alone = s->active != link || link->log_applied < s->block.count;
    if (alone && session_wait_drained(s) == PROGRESS_WAIT)
        return USE_WAIT;
    use = session_use_settings(s, link, query);
    if (use != USE_READY)
        return use;
    s->active = link;
    use_block(s, link);
    *out = link;
    return USE_READY;
}

enum use session_use_link(struct session *s, int database, struct link **out) {
    return session_use_link_for(s, database, NULL, out);
}

enum use session_use_link_for(struct session *s, int database, const struct query *query,
                              struct link **out) {
    struct link *link = s->links[session_physical(s, database)];
    if (!is_in_use(s, link))
        return make_ready(s, database, query, out);
    *out = link;
    return USE_READY;
}

enum use session_use_link_aside(struct session *s, int physical, struct link **out) {
    struct link *link = s->links[physical];
    if (link != NULL && link->in_block) /* with the savepoints that it has yet to get */
        return session_use_link(s, physical, out);
    enum use use = find_link(s, physical, &link);
    if (use != USE_READY)
        return use;
    if (link->state == LINK_FAILED) {
        session_drop_link(s, link);
        return USE_FAILED;
    }
    if (link->state != LINK_READY) {
        s->awaited = link;
        return USE_WAIT;
    }
    if (session_wait_trail(s, link) == PROGRESS_WAIT)
        return USE_WAIT;
    if (s->settings_error != NULL) { /* told when a statement needs them there */
        free(s->settings_error);
        s->settings_error = NULL;
        return USE_FAILED;
    }
    *out = link;
    return session_use_settings(s, link, NULL);
}
