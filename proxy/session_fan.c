/* Commands that go to several links in turn: COMMIT and its like, the modified one first, and the
 * Sync of a pipeline that used several. With one link its answers are passed on; with several the
 * proxy gathers them and answers itself. */
#include "proxy/session_fan.h"
#include "proxy/session_internal.h"

#include "config/alloc.h"
#include "proxy/server_statements.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static database_set modified_links(const struct session *s) {
    database_set set = 0, logical = session_modified(s->routing);
    for (int i = 0; i < s->link_count; i++)
        if (logical >> i & 1)
            set |= database_bit(session_physical(s, i));
    return set;
}

static uint64_t now(const struct session *s) {
    return uv_now(&s->worker->loop);
}

/* Links that may have written although no statement says so. Where this isn't known of a database,
 * it is asked behind the COMMIT. */
static void note_unseen_writers(const struct session *s, struct fan *fan) {
    uint64_t structure = session_structure(s);
    for (database_set left = fan->left & ~fan->modified; left != 0; left &= left - 1) {
        int physical = __builtin_ctz(left);
        const struct link *link = s->links[physical];
        const struct read_code *code = session_read_code(s, link);
        bool surely_reads = link->deed != DEED_MAY_WRITE && !link->made_view &&
                            !s->catalog.structure_changed && read_code_is_absent(code, structure);
        if (!surely_reads)
            fan->acted |= database_bit(physical);
        if (link->deed != DEED_MAY_WRITE && read_code_is_due(code, structure, now(s)))
            fan->asks |= database_bit(physical);
    }
}

void fan_start(struct session *s, database_set links, const char *sql, size_t length, bool commits,
               const struct statement *statement) {
    struct fan *fan = &s->script.fan;
    *fan = (struct fan){.active = true,
                        .several = links == 0 || (links & (links - 1)) != 0,
                        .commits = commits,
                        .sql = sql,
                        .sql_length = length,
                        .left = links,
                        .modified = modified_links(s) & links,
                        .statement = statement};
    fan->acted = fan->modified;
    if (commits && (links & (links - 1)) != 0)
        note_unseen_writers(s, fan);
    else if (commits)
        fan->acted = links;
}

static int fan_next(const struct fan *fan) {
    database_set modified = fan->left & fan->modified, acted = fan->left & fan->acted;
    return __builtin_ctz(modified ? modified : acted ? acted : fan->left);
}

static bool sets_something(const struct block_log *block) {
    for (size_t i = 0; i < block->count; i++)
        if (block->entries[i].kind == ENTRY_SETTING)
            return true;
    return false;
}

/* Whether the client need not wait for it either: others may have been modified, nothing keeps it
 * or is to be asked of it, and it has no settings to bring back, which would be told behind what
 * the client sets next. */
static bool may_trail(const struct session *s, const struct link *link) {
    const struct fan *fan = &s->script.fan;
    return fan->acted != 0 && (fan->asks & database_bit(link->physical)) == 0 &&
           link->bindings == 0 && !link->unsynced && !sets_something(&s->block);
}

static void fan_send(struct session *s, struct link *link, bool along) {
    struct fan *fan = &s->script.fan;
    enum audience audience =
        fan->several || fan->statement == NULL ? AUDIENCE_PROXY : AUDIENCE_PART;
    enum request_kind kind = REQUEST_QUERY;
    if (fan->sync && (link->skipping || !fan->failed)) {
        static const uint8_t sync[] = {'S', 0, 0, 0, 4};
        stream_send(&link->stream, sync, sizeof sync);
        kind = REQUEST_SYNC;
    } else if (fan->failed && (fan->commits || fan->sync)) {
        link_send_query(link, "ROLLBACK", 8);
    } else {
        link_send_query(link, fan->sql, fan->sql_length);
    }
    struct request *request = answers_push(&link->answers, kind, audience);
    request->trails = along && may_trail(s, link);
    if (fan->statement != NULL && !request->trails) {
        request->query = query_ref(s->script.query);
        request->next = s->script.next;
    }
    session_flush_link(link);
}

static void local_tag(struct session *s, const struct statement *statement, bool was_failed) {
    const struct statement_facts *facts = statement->facts;
    switch (facts->kind) {
    case KIND_BEGIN:
        reply_command_complete(s, begin_tag(s->script.query, statement));
        break;
    case KIND_COMMIT:
    case KIND_PREPARE_TRANSACTION: /* only of a failed block: else it is no fan */
        reply_command_complete(s, was_failed ? "ROLLBACK" : "COMMIT");
        break;
    case KIND_ROLLBACK:
    case KIND_ROLLBACK_TO:
        reply_command_complete(s, "ROLLBACK");
        break;
    case KIND_RELEASE:
        reply_command_complete(s, "RELEASE");
        break;
    case KIND_DEALLOCATE:
        reply_command_complete(s, "DEALLOCATE ALL");
        break;
    case KIND_CLOSE:
        reply_command_complete(s, "CLOSE CURSOR ALL");
        break;
    case KIND_DISCARD: {
        bool all = facts->name != NULL && strcmp(facts->name, "all") == 0;
        char tag[32];
        snprintf(tag, sizeof tag, "DISCARD %s", facts->name != NULL ? facts->name : "all");
        for (char *c = tag; *c != '\0'; c++)
            *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
        reply_command_complete(s, all ? "DISCARD ALL" : tag);
        break;
    }
    default:
        assert(!"a statement that does not fan out");
    }
}

static void savepoint_done(struct session *s, const struct statement_facts *facts) {
    long index = block_log_find_savepoint(&s->block, facts->name);
    if (index < 0)
        return;
    size_t *applied[DATABASES_MAX];
    size_t count = 0;
    for (int i = 0; i < s->link_count; i++)
        if (s->links[i] != NULL)
            applied[count++] = &s->links[i]->log_applied;
    if (facts->kind == KIND_RELEASE) {
        block_log_release(&s->block, (size_t)index, applied, count);
        return;
    }
    session_structure_settled(s, false);
    block_log_truncate(&s->block, (size_t)index);
    for (size_t i = 0; i < count; i++)
        if (*applied[i] > s->block.count)
            *applied[i] = s->block.count;
}

static __attribute__((cold)) void discard_done(struct session *s,
                                               const struct statement_facts *facts) {
    bool all =
        facts->kind == KIND_DISCARD && facts->name != NULL && strcmp(facts->name, "all") == 0;
    if (all || facts->kind == KIND_DEALLOCATE)
        prepared_clear(&s->prepared);
    if (all || facts->kind == KIND_CLOSE)
        portal_clear(&s->portals);
    if (all) {
        setting_log_forget(&s->settings);
        for (int i = 0; i < s->link_count; i++)
            if (s->links[i] != NULL)
                s->links[i]->settings_applied = s->settings.last;
        session_unalign_links(s);
        session_restore_startup(s, "session_authorization", false);
        session_restore_startup(s, "role", false);
    }
    bool statements = all || (facts->kind == KIND_DEALLOCATE && facts->name == NULL);
    for (int i = 0; i < s->link_count; i++)
        if (s->links[i] != NULL && s->links[i]->pool != NULL) {
            if (statements) {
                server_statements_free(&s->links[i]->statements);
                s->links[i]->bindings &= ~(unsigned)BOUND_NAME;
            }
            s->links[i]->asks_binding = s->links[i]->bindings != 0;
        }
}

/* BEGIN within the block changed its characteristics: links that join later get it too. */
static __attribute__((cold)) void begin_again_done(struct session *s, const struct fan *fan) {
    session_end_implicit(s->routing, true); /* where it was one, it has become the block */
    if (!fan->several)
        return;
    block_log_add(&s->block, ENTRY_SETTING, "", fan->sql, fan->sql_length);
    s->block.entries[s->block.count - 1].chains = true;
    for (int i = 0; i < s->link_count; i++)
        if ((fan->succeeded & database_bit(i)) && s->links[i] != NULL &&
            s->links[i]->log_applied == s->block.count - 1) /* else it has savepoints to come */
            s->links[i]->log_applied = s->block.count;
}

/* Their answers keep nobody waiting but who needs the link next. */
static __attribute__((cold)) void ask_read_code(struct session *s, database_set links) {
    for (; links != 0; links &= links - 1) {
        struct link *link = s->links[__builtin_ctz(links)];
        if (link == NULL || link->state != LINK_READY || link->in_block || link->answers.count > 0)
            continue;
        const char *question =
            read_code_ask(session_read_code(s, link), link, session_structure(s), now(s));
        link_send_query(link, question, strlen(question));
        struct request *request = answers_push(&link->answers, REQUEST_QUERY, AUDIENCE_PROXY);
        request->trails = request->asks_code = true;
        session_flush_link(link);
    }
}

/* The command went to all of its links: what that means. */
static void fan_finish(struct session *s) {
    struct fan fan = s->script.fan;
    s->script.fan.active = false;
    const struct statement *statement = fan.statement;
    if (statement == NULL) {
        s->script.failed = s->script.failed || fan.failed;
        if (session_block_status(s->routing) != BLOCK_IMPLICIT)
            return; /* a Sync within a block ends nothing */
        bool committed = fan.commits && !fan.failed;
        session_end_implicit(s->routing, committed);
        session_block_finished(s, committed, false);
        return;
    }
    const struct statement_facts *facts = statement->facts;
    enum statement_kind kind = facts->kind;
    bool ends = kind == KIND_COMMIT || kind == KIND_ROLLBACK || kind == KIND_PREPARE_TRANSACTION;
    if (kind == KIND_ROLLBACK_TO && s->block_torn && !fan.failed) {
        script_refuse_torn(s);
        fan.failed = true;
    }
    if (fan.failed) {
        s->script.failed = true;
        if (ends) {
            session_rolled_back(s->routing);
            session_block_finished(s, false, false);
        } else {
            session_failed(s->routing);
        }
        return;
    }
    bool was_failed = session_block_status(s->routing) == BLOCK_FAILED;
    bool chain = (facts->flags & STATEMENT_CHAIN) != 0;
    struct decision decision = {.destination = DESTINATION_ALL,
                                .database = session_default_database(s->routing)};
    if (ends && session_block_status(s->routing) == BLOCK_IMPLICIT)
        session_end_implicit(s->routing, kind == KIND_COMMIT);
    else
        session_executed(s->routing, statement, &decision);
    if (ends) {
        /* A failure takes what BEGIN said with it, but not what AND CHAIN handed on, nor if a
         * savepoint's part fails. */
        if (was_failed && chain && !s->block.chained && !block_log_has_savepoint(&s->block)) {
            block_log_clear(&s->block);
            block_log_begin(&s->block, "BEGIN", 5);
        }
        session_block_finished(s, kind == KIND_COMMIT && !was_failed, chain);
        for (int i = 0; chain && !was_failed && !fan.several && i < s->link_count; i++)
            if ((fan.succeeded & database_bit(i)) && s->links[i] != NULL) {
                s->links[i]->in_block = true;
                s->links[i]->log_applied = s->block.count;
            }
        if (fan.asks != 0 && !was_failed)
            ask_read_code(s, fan.asks & fan.succeeded);
    } else if (kind == KIND_RELEASE || kind == KIND_ROLLBACK_TO) {
        savepoint_done(s, facts);
    } else if (kind == KIND_BEGIN) {
        begin_again_done(s, &fan);
    } else {
        discard_done(s, facts);
    }
    if (fan.several)
        local_tag(s, statement, was_failed);
}

/* Whether its COMMIT need not wait for how the others' end: its transaction did nothing that there
 * would be to undo. */
static bool goes_along(const struct fan *fan, const struct link *link) {
    return fan->commits && !fan->failed && !fan->sync && link->deed == DEED_READS &&
           ((fan->left | database_bit(link->physical)) & fan->acted) == 0;
}

enum progress fan_run(struct session *s) {
    struct fan *fan = &s->script.fan;
    if (session_wait_drained(s) == PROGRESS_WAIT)
        return PROGRESS_WAIT;
    for (int i = 0; i < s->link_count; i++) /* DISCARD and the like go to those, too */
        if ((fan->left & database_bit(i)) != 0 && s->links[i] != NULL &&
            session_wait_trail(s, s->links[i]) == PROGRESS_WAIT)
            return PROGRESS_WAIT;
    bool sent = false;
    while (fan->left != 0) {
        int physical = fan_next(fan);
        struct link *link = s->links[physical];
        bool gone = link == NULL || link->state != LINK_READY;
        bool along = sent && !gone && goes_along(fan, link);
        if (sent && !gone && !along)
            break;
        fan->left &= ~database_bit(physical);
        if (gone && fan->commits && !fan->failed && (fan->acted & database_bit(physical)) != 0)
            fan_part_gone(s, physical);
        if (gone)
            continue;
        fan_send(s, link, along);
        s->active = sent ? s->active : link;
        sent = true;
    }
    if (sent)
        return PROGRESS_WAIT;
    fan_finish(s);
    return PROGRESS_DONE;
}
