/* What happens when a link is lost: who is told, what of the session went with it. */
#include "proxy/session_fan.h"
#include "proxy/session_internal.h"

#include "config/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *session_lost_why(const struct session *s, int physical) {
    return s->lost != NULL ? s->lost[physical] : NULL;
}

static bool portal_was_there(const struct portal *portal, const struct session *s, int physical) {
    return portal->database >= 0 && session_physical(s, portal->database) == physical;
}

/* What SQL made there. While the client has yet to be told of the loss it is remembered, so that a
 * statement which names it is: without its temporary table, for one, a name could mean another
 * database's table. */
static void forget_names(struct session *s, int physical) {
    const struct settings *settings = session_settings(s);
    for (size_t i = 0; i < settings->database_count; i++)
        if (settings->databases[i].physical == physical)
            session_lost_database(s->routing, (int)i);
}

/* What the protocol made there. */
static void forget_portals(struct session *s, const struct link *link) {
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
        bool reads = statement_only_reads(statement) || kind == KIND_SHOW || kind == KIND_SET ||
                     kind == KIND_FETCH;
        if (statement->writes || !reads)
            return true;
    }
    return false;
}

/* Whether ReadyForQuery comes for it. */
static bool ends_transaction(const struct request *request) {
    return request->kind == REQUEST_SYNC || request->kind == REQUEST_QUERY ||
           request->kind == REQUEST_FUNCTION;
}

/* Whether what the link was asked, up to the next ReadyForQuery, may have been committed although
 * no answer came. */
static bool outcome_unknown(const struct session *s, struct link *link, bool in_block) {
    if (s->script.fan.active && s->script.fan.commits)
        return (s->script.fan.acted >> link->physical & 1) != 0 ||
               request_commits(answers_front(&link->answers));
    for (size_t i = 0; i < link->answers.count; i++) {
        const struct request *request = answers_at(&link->answers, i);
        if (request_commits(request))
            return true;
        if (!in_block &&
            (request_writes(request) || (request->kind == REQUEST_SYNC && link->wrote)))
            return true; /* a Sync commits what the pipeline did before it */
        if (ends_transaction(request))
            break;
    }
    return false;
}

static void tell_lost(struct session *s, struct link *link, bool unknown) {
    char message[1600];
    snprintf(message, sizeof message, "connection to database \"%s\" (%s) was lost%s%s", link->name,
             link->host, link->last_words != NULL ? ": " : "",
             link->last_words != NULL ? link->last_words : "");
    if (unknown) {
        char detail[1200];
        fan_describe_unknown(s, link->physical, detail, sizeof detail);
        reply_error(s, "08007", message, detail, "Look at the data before you repeat it.");
        return;
    }
    reply_error(s, "08006", message, NULL,
                "The session goes on; the next statement for this database connects anew.");
}

/* Requests that will never be answered: those that the client waits for get their end. It has been
 * told of the loss for the first pipeline, and is for each that it has sent behind it. */
static void end_requests(struct session *s, struct link *link, bool in_block) {
    bool skip = false, told = true;
    while (link->answers.count > 0) {
        struct request *request = answers_front(&link->answers);
        bool client = request->audience == AUDIENCE_CLIENT;
        bool ends = ends_transaction(request);
        if (client && !ends && !told) {
            tell_lost(s, link, outcome_unknown(s, link, in_block));
            told = true;
        }
        if (!client && s->script.active)
            s->script.failed = true;
        if (request->kind == REQUEST_PARSE && request->prepared != NULL)
            session_parse_failed(s, link, request);
        skip = client && !ends;
        answers_pop(&link->answers);
        if (client && ends) {
            reply_ready(s);
            told = false;
        }
    }
    if (skip)
        session_fail_pipeline(s);
}

/* Told when a statement needs the database next. */
static void keep_loss(struct session *s, const struct link *link) {
    if (s->lost == NULL)
        s->lost = alloc_zeroed((size_t)s->link_count, sizeof *s->lost);
    free(s->lost[link->physical]);
    s->lost[link->physical] = alloc_text(link->last_words != NULL ? link->last_words : "");
}

/* Whether something of the session's may have been there beyond the transaction. */
static bool may_have_kept(const struct session *s, const struct link *link) {
    return link->bindings != 0 || link->asks_binding ||
           (s->pool_mode != POOL_TRANSACTION && link->made_state);
}

/* Whether all that it was asked is the proxy's own: the client's settings, what binds it to the
 * client, … Nothing of the client's has been sent, or all of that has been answered. */
static bool only_proxy_asked(const struct session *s, struct link *link) {
    for (size_t i = 0; i < link->answers.count; i++) {
        const struct request *request = answers_at(&link->answers, i);
        if (request->audience != AUDIENCE_PROXY || request->asks_catalog || request->trails ||
            (s->script.active && !request->asks_binding))
            return false;
    }
    return link->answers.count > 0;
}

/* Of a connection that nobody had asked anything. One that clients take turns with by transaction
 * is between two of them nobody's, unless something binds it. */
static bool lost_something(const struct session *s, const struct link *link,
                           bool was_in_transaction) {
    if (s->phase == PHASE_LINKING)
        return false;
    return was_in_transaction || s->pool_mode != POOL_TRANSACTION || may_have_kept(s, link);
}

/* The client is told with its next statement. */
static void lost_between(struct session *s, const struct link *link, bool was_in_transaction) {
    keep_loss(s, link);
    enum block_status status = session_block_status(s->routing);
    if (was_in_transaction && (status == BLOCK_OPEN || status == BLOCK_IMPLICIT))
        s->block_lost = link->physical;
}

static void lost_while_asked(struct session *s, struct link *link, bool in_block) {
    struct request *front = answers_front(&link->answers);
    bool tolerated = fan_tolerates_loss(s, link);
    bool commits = request_commits(front) && !s->script.fan.active;
    if (!front->failed && !tolerated)
        tell_lost(s, link, outcome_unknown(s, link, in_block));
    if (tolerated) {
        bool goes_on = in_block && s->script.fan.active && s->script.fan.sync;
        answers_clear(&link->answers);
        if (goes_on && !s->script.fan.commits) /* the block does, without what it did there */
            lost_between(s, link, true);
        else if (may_have_kept(s, link))
            keep_loss(s, link);
        return;
    }
    if (s->script.fan.active)
        s->script.fan.failed = true;
    if (commits) {
        session_rolled_back(s->routing);
        session_block_finished(s, false, false);
    }
    end_requests(s, link, in_block);
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
    bool in_block = link->in_block;
    const char *why = link->last_words != NULL ? link->last_words : stream_error(&link->stream);
    log_event(s->worker->log, LOG_WARNING, "connection to a database was lost",
              (struct log_field[]){{"client", s->peer, 0},
                                   {"pid", NULL, (int64_t)s->pid},
                                   {"database", link->name, 0},
                                   {"error", why, 0},
                                   {0}});
    /* A server that ends while it is given the startup packet's settings would do so again. */
    bool refused = s->phase == PHASE_LINKING && link->answers.count > 0;
    if (refused || session_ends_with(s, link)) {
        end_with_link(s, link);
        return;
    }
    bool is_told = link->answers.count > 0 && !link_trails(link);
    if (session_is_mid_message(s) && (link == s->active || is_told)) {
        /* The client waits for the rest of a message: whatever it were sent would be taken for
         * that. */
        session_end(s, "connection to a database was lost in the middle of a message");
        return;
    }
    forget_portals(s, link);
    enum block_status status = session_block_status(s->routing);
    s->block_torn = s->block_torn || (in_block && (status == BLOCK_OPEN || status == BLOCK_FAILED));
    link->in_block = false;
    link->unsynced = false;
    bool keeps = lost_something(s, link, was_in_transaction);
    if (link->answers.count > 0 && answers_front(&link->answers)->asks_catalog) {
        if (was_in_transaction)
            session_catalog_failed(s, false);
        else /* its catalog is not heard, no more */
            answers_clear(&link->answers);
    } else if (only_proxy_asked(s, link)) {
        answers_clear(&link->answers);
        keeps = !session_catalog_unheard(s, link) || keeps;
    }
    if (link->answers.count > 0)
        lost_while_asked(s, link, in_block);
    else if (keeps)
        lost_between(s, link, was_in_transaction);
    if (session_lost_why(s, link->physical) == NULL)
        forget_names(s, link->physical);
    session_drop_link(s, link);
    reply_flush(s);
}

void session_tell_gone(struct session *s, int physical, const char *detail) {
    const char *why = session_lost_why(s, physical);
    char message[1200];
    snprintf(message, sizeof message, "connection to database \"%s\" was lost%s%s",
             session_settings(s)->databases[physical].name,
             why != NULL && why[0] != '\0' ? ": " : "", why != NULL ? why : "");
    if (why != NULL) {
        free(s->lost[physical]);
        s->lost[physical] = NULL;
        forget_names(s, physical);
    }
    reply_error(s, "08006", message, detail, "The next statement for it connects anew.");
}

bool session_tell_lost(struct session *s, int physical) {
    if (session_lost_why(s, physical) == NULL)
        return false;
    session_tell_gone(
        s, physical,
        "Temporary tables, cursors, locks and statements of PREPARE that lived there are gone.");
    return true;
}

bool session_tell_block_lost(struct session *s) {
    if (s->block_lost < 0)
        return false;
    int physical = s->block_lost;
    s->block_lost = -1;
    if (session_block_status(s->routing) == BLOCK_IMPLICIT)
        s->implicit_failed = true;
    if (!session_tell_lost(s, physical))
        session_tell_gone(s, physical, NULL); /* its own statement was told already */
    return true;
}
