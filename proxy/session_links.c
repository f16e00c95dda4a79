/* Making a link ready for a statement, and what happens when one is lost. */
#include "proxy/session_internal.h"

#include "config/alloc.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int session_physical(const struct session *s, int database) {
    return session_settings(s)->databases[database].physical;
}

void session_flush_link(struct link *link) {
    if (link->state == LINK_READY)
        stream_flush(&link->stream);
}

database_set session_links_in_block(const struct session *s) {
    database_set set = 0;
    for (int i = 0; i < session_link_count(s); i++)
        if (s->links[i] != NULL && s->links[i]->in_block)
            set |= (database_set)1 << i;
    return set;
}

struct link *session_failed_link(const struct session *s) {
    for (int i = 0; i < session_link_count(s); i++)
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
    s->connecting = s->links[physical];
}

void session_drop_link(struct session *s, struct link *link) {
    if (s->active == link)
        s->active = NULL;
    if (s->connecting == link)
        s->connecting = NULL;
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
static void reply_unreachable(struct session *s, const struct link *link) {
    const struct link_failure *failure = link->failure;
    char message[1400];
    snprintf(message, sizeof message, "cannot connect to database \"%s\": %s", link->name,
             failure->message);
    reply_error(s, failure->sqlstate, message, failure->detail[0] != '\0' ? failure->detail : NULL,
                failure->hint[0] != '\0'
                    ? failure->hint
                    : "The session goes on; statements for other databases still run.");
}

static const char *lost_why(const struct session *s, int physical) {
    return s->lost != NULL ? s->lost[physical] : NULL;
}

static bool tell_lost_once(struct session *s, int physical);

/* -- readiness --------------------------------------------------------------------------------- */

static enum use use_connection(struct session *s, int database, struct link **out) {
    int physical = session_physical(s, database);
    bool bad = lost_why(s, physical) != NULL ||
               (s->links[physical] != NULL && s->links[physical]->state == LINK_FAILED);
    if (bad &&
        session_wait_drained(s) == PROGRESS_WAIT) /* errors keep their place among the answers */
        return USE_WAIT;
    if (tell_lost_once(s, physical))
        return USE_FAILED;
    struct link *link = s->links[physical];
    if (link == NULL && s->pool_mode == POOL_OFF) {
        session_connect(s, physical);
        return USE_WAIT;
    }
    if (link == NULL) {
        enum use use = session_take_link(s, physical);
        if (use != USE_READY)
            return use;
        link = s->links[physical];
    }
    switch (link->state) {
    case LINK_READY:
        *out = link;
        return USE_READY;
    case LINK_FAILED:
        reply_unreachable(s, link);
        session_drop_link(s, link);
        return USE_FAILED;
    default:
        s->connecting = link;
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
 * its server's own defaults are: the client reads dates by it, and the classifier strings. */
static void append_differences(struct session *s, struct link *link, struct wire_buffer *sql) {
    static const char *const names[] = {"client_encoding", "DateStyle", "IntervalStyle", "TimeZone",
                                        "standard_conforming_strings"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *there = parameters_find(link->parameters, names[i]);
        const char *told = session_parameter_outside(s, names[i]);
        if (there != NULL && told != NULL && strcmp(there, told) != 0)
            append_set(sql, names[i], told);
    }
    link->aligned = true;
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
        }
    }
    if (!link->aligned)
        append_differences(s, link, sql);
}

static void tell_settings_error(struct session *s, const struct link *link) {
    char message[1400];
    snprintf(message, sizeof message, "cannot repeat the session's settings on database \"%s\": %s",
             link->name, s->settings_error);
    reply_error(s, "55000", message, "A setting of this session could not be made there.",
                "Change the setting back, or make it possible on every database.");
    free(s->settings_error);
    s->settings_error = NULL;
}

enum use session_use_settings(struct session *s, struct link *link) {
    if (link->pool != NULL && (s->aligned >> link->physical & 1) == 0 && !link->in_block &&
        session_drained(s))
        session_align_pooled(s, link);
    if ((link->settings_applied == s->settings.last && link->aligned && !link->differs) ||
        link->in_block)
        return USE_READY;
    if (link->unsynced) { /* a pipeline is open on it: its own changes are already there */
        return USE_READY;
    }
    if (session_wait_drained(s) == PROGRESS_WAIT)
        return USE_WAIT;
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
        answers_push(&link->answers, REQUEST_QUERY, AUDIENCE_PROXY)->tells = s->restores;
        s->restores = false;
        s->active = link;
        session_flush_link(link);
    }
    wire_buffer_close(&sql);
    return link->answers.count > 0 ? USE_WAIT : USE_READY;
}

/* One command of the block's log by Parse, Bind, Execute without Sync, right in front of the
 * statement: if it fails, the server skips the statement too, and nothing runs outside the block
 * that should have run inside. */
void session_send_prelude(struct link *link, const char *sql) {
    static const char name[] =
        "pginterlock_prelude"; /* a name of its own: the unnamed statement is the client's */
    struct wire_buffer out = {0};
    if (link->prelude_left) {
        message_put_close(&out, 'S', name);
        answers_push(&link->answers, REQUEST_CLOSE, AUDIENCE_PROXY);
        link->prelude_left = false;
    }
    message_put_parse(&out, name, sql);
    message_put_bind(&out, name, name);
    message_put_execute(&out, name);
    message_put_close(&out, 'P', name);
    message_put_close(&out, 'S', name);
    stream_send(&link->stream, out.data, out.length);
    wire_buffer_close(&out);
    answers_push(&link->answers, REQUEST_PARSE, AUDIENCE_PROXY);
    answers_push(&link->answers, REQUEST_BIND, AUDIENCE_PROXY);
    answers_push(&link->answers, REQUEST_EXECUTE, AUDIENCE_PROXY);
    answers_push(&link->answers, REQUEST_CLOSE, AUDIENCE_PROXY);
    answers_push(&link->answers, REQUEST_CLOSE, AUDIENCE_PROXY);
}

static void use_block(struct session *s, struct link *link) {
    while (link->log_applied < s->block.count) {
        session_send_prelude(link, s->block.entries[link->log_applied].sql);
        link->log_applied++;
        link->in_block = s->block.entries[0].kind == ENTRY_BEGIN;
    }
}

enum use session_use_link(struct session *s, int database, struct link **out) {
    struct link *link = NULL;
    enum use use = use_connection(s, database, &link);
    if (use != USE_READY)
        return use;
    /* BEGIN must not go out ahead of an answer that would be taken for its transaction's end. */
    bool alone = s->active != link || link->log_applied < s->block.count;
    if (alone && session_wait_drained(s) == PROGRESS_WAIT)
        return USE_WAIT;
    use = session_use_settings(s, link);
    if (use != USE_READY)
        return use;
    s->active = link;
    use_block(s, link);
    *out = link;
    return USE_READY;
}

enum use session_use_link_aside(struct session *s, int physical, struct link **out) {
    struct link *link = s->links[physical];
    if (link != NULL && link->in_block) /* with the savepoints that it has yet to get */
        return session_use_link(s, physical, out);
    if (link == NULL && s->pool_mode == POOL_OFF) {
        session_connect(s, physical);
        return USE_WAIT;
    }
    if (link == NULL) {
        enum use use = session_take_link(s, physical);
        if (use != USE_READY)
            return use;
        link = s->links[physical];
    }
    if (link->state == LINK_FAILED) {
        session_drop_link(s, link);
        return USE_FAILED;
    }
    if (link->state != LINK_READY) {
        s->connecting = link;
        return USE_WAIT;
    }
    if (s->settings_error != NULL) { /* told when a statement needs them there */
        free(s->settings_error);
        s->settings_error = NULL;
        return USE_FAILED;
    }
    *out = link;
    return session_use_settings(s, link);
}

/* -- loss -------------------------------------------------------------------------------------- */

static bool portal_was_there(const struct portal *portal, const struct session *s, int physical) {
    return portal->database >= 0 && session_physical(s, portal->database) == physical;
}

static void forget_names(struct session *s, const struct link *link) {
    const struct settings *settings = session_settings(s);
    for (size_t i = 0; i < settings->database_count; i++)
        if (settings->databases[i].physical == link->physical)
            session_lost_database(s->routing, (int)i);
    /* Statements that came by Parse are prepared anew when they are next bound. */
    struct prepared *prepared = NULL;
    while ((prepared = prepared_next(&s->prepared, prepared)) != NULL)
        prepared->prepared_on &= ~((database_set)1 << link->physical);
    struct portal *portal = portal_find(&s->portals, ""), *next_portal;
    if (portal != NULL && portal_was_there(portal, s, link->physical))
        portal_remove(&s->portals, "");
    HASH_ITER(hh, s->portals.named, portal, next_portal) {
        if (portal_was_there(portal, s, link->physical))
            portal_remove(&s->portals, portal->name);
    }
}

static const struct statement *request_statement(const struct request *request) {
    if (request->query == NULL || request->next >= request->query->count)
        return NULL;
    return &request->query->statements[request->next];
}

static bool request_commits(const struct request *request) {
    const struct statement *statement = request_statement(request);
    if (statement == NULL)
        return false;
    enum statement_kind kind = statement->facts->kind;
    return kind == KIND_COMMIT || kind == KIND_PREPARE_TRANSACTION || kind == KIND_COMMIT_PREPARED;
}

bool request_writes(const struct request *request) {
    if (request->kind == REQUEST_FUNCTION)
        return true;
    for (size_t i = request->next; request->query != NULL && i < request->query->count; i++) {
        const struct statement *statement = &request->query->statements[i];
        enum statement_kind kind = statement->facts->kind;
        bool reads =
            kind == KIND_SELECT || kind == KIND_SHOW || kind == KIND_SET || kind == KIND_FETCH;
        if (statement->writes || !reads)
            return true;
    }
    return false;
}

/* Whether what was asked of the link may have been committed although no answer came. */
static bool outcome_unknown(const struct session *s, struct link *link, bool block_open) {
    if (s->script.fan.active && s->script.fan.commits)
        return (s->script.fan.modified >> link->physical & 1) != 0 ||
               request_commits(answers_front(&link->answers));
    for (size_t i = 0; i < link->answers.count; i++) {
        const struct request *request = answers_at(&link->answers, i);
        if (request_commits(request))
            return true;
        if (!block_open &&
            (request_writes(request) || (request->kind == REQUEST_SYNC && link->wrote)))
            return true; /* a Sync commits what the pipeline did before it */
    }
    return false;
}

static void tell_lost(struct session *s, struct link *link, bool unknown) {
    char message[1600];
    snprintf(message, sizeof message, "connection to database \"%s\" (%s) was lost%s%s", link->name,
             link->host, link->last_words != NULL ? ": " : "",
             link->last_words != NULL ? link->last_words : "");
    if (unknown)
        reply_error(s, "08007", message,
                    "Whether the transaction was committed there is not known.",
                    "Look at the data before you repeat it.");
    else
        reply_error(s, "08006", message, NULL,
                    "The session goes on; the next statement for this database connects anew.");
}

/* Requests that will never be answered: those that the client waits for get their end. */
static void end_requests(struct session *s, struct link *link) {
    bool skip = false;
    while (link->answers.count > 0) {
        struct request *request = answers_front(&link->answers);
        bool client = request->audience == AUDIENCE_CLIENT;
        bool ends = request->kind == REQUEST_SYNC || request->kind == REQUEST_QUERY ||
                    request->kind == REQUEST_FUNCTION;
        if (!client && s->script.active)
            s->script.failed = true;
        if (request->kind == REQUEST_PARSE && request->prepared != NULL)
            session_parse_failed(s, link, request);
        skip = client && !ends;
        answers_pop(&link->answers);
        if (client && ends)
            reply_ready(s);
    }
    if (skip)
        session_fail_pipeline(s);
}

static void lost_while_asked(struct session *s, struct link *link, bool block_open) {
    struct request *front = answers_front(&link->answers);
    bool tolerated = fan_tolerates_loss(s, link);
    bool commits = request_commits(front) && !s->script.fan.active;
    if (!front->failed && !tolerated)
        tell_lost(s, link, outcome_unknown(s, link, block_open));
    if (tolerated) {
        answers_clear(&link->answers);
        return;
    }
    if (s->script.fan.active)
        s->script.fan.failed = true;
    if (commits) {
        session_rolled_back(s->routing);
        session_block_finished(s, false, false);
    }
    end_requests(s, link);
    if (session_block_status(s->routing) != BLOCK_IMPLICIT)
        return;
    if (s->script.active || s->skip_until_sync) {
        s->implicit_failed = true; /* the end of the script, or Sync, undoes the rest */
    } else {
        session_end_implicit(s->routing, false);
        session_block_finished(s, false, false);
    }
}

/* On an entrypoint that is pinned to one database the session ends with its connection, as it would
 * on a direct one. */
static bool session_ends_with(const struct session *s, const struct link *link) {
    int pinned = session_settings(s)->entrypoints[s->entrypoint].database;
    return pinned != ENTRYPOINT_ROUTED && session_physical(s, pinned) == link->physical;
}

static void end_with_link(struct session *s, struct link *link) {
    bool mid_message = session_is_mid_message(s);
    if (!mid_message && link->last_message != NULL)
        stream_send(&s->client, link->last_message, link->last_message_length);
    else if (!mid_message && link->answers.count > 0)
        tell_lost(s, link, outcome_unknown(s, link, link->in_block));
    session_end(s, "connection to the database was lost");
}

void session_link_lost(struct session *s, struct link *link) {
    bool was_in_transaction = link->in_block || link->unsynced;
    bool block_open = session_block_status(s->routing) == BLOCK_OPEN && link->in_block;
    const char *why = link->last_words != NULL ? link->last_words : stream_error(&link->stream);
    log_event(s->worker->log, LOG_WARNING, "connection to a database was lost",
              (struct log_field[]){{"client", s->peer, 0},
                                   {"pid", NULL, (int64_t)s->pid},
                                   {"database", link->name, 0},
                                   {"error", why, 0},
                                   {0}});
    if (session_ends_with(s, link)) {
        end_with_link(s, link);
        return;
    }
    if (session_is_mid_message(s)) {
        /* The client waits for the rest of a message: whatever it were sent would be taken for
         * that. */
        session_end(s, "connection to a database was lost in the middle of a message");
        return;
    }
    forget_names(s, link);
    link->in_block = false;
    link->unsynced = false;
    bool aside = link->answers.count > 0 && answers_front(&link->answers)->asks_catalog;
    if (aside && !was_in_transaction) /* its catalog is not heard, no more */
        answers_clear(&link->answers);
    else if (aside)
        session_catalog_failed(s, false);
    if (link->answers.count > 0) {
        lost_while_asked(s, link, block_open);
    } else {
        if (s->lost == NULL)
            s->lost = alloc_zeroed(DATABASES_MAX, sizeof *s->lost);
        free(s->lost[link->physical]);
        s->lost[link->physical] = alloc_text(link->last_words != NULL ? link->last_words : "");
        enum block_status status = session_block_status(s->routing);
        if (was_in_transaction && (status == BLOCK_OPEN || status == BLOCK_IMPLICIT))
            s->block_lost = link->physical;
    }
    session_drop_link(s, link);
    reply_flush(s);
}

static bool tell_lost_once(struct session *s, int physical) {
    const char *why = lost_why(s, physical);
    if (why == NULL)
        return false;
    char message[1200];
    snprintf(message, sizeof message, "connection to database \"%s\" was lost%s%s",
             session_settings(s)->databases[physical].name, why[0] != '\0' ? ": " : "", why);
    free(s->lost[physical]);
    s->lost[physical] = NULL;
    reply_error(
        s, "08006", message,
        "Temporary tables, cursors, locks and statements of PREPARE that lived there are gone.",
        "The next statement for it connects anew.");
    return true;
}

bool session_tell_block_lost(struct session *s) {
    if (s->block_lost < 0)
        return false;
    int physical = s->block_lost;
    s->block_lost = -1;
    if (session_block_status(s->routing) == BLOCK_IMPLICIT)
        s->implicit_failed = true;
    return tell_lost_once(s, physical);
}
