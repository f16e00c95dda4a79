/* What it means for the session that a statement was completed, or that a transaction is over. */
#include "proxy/session_internal.h"
#include "proxy/session_sequences.h"

#include "config/alloc.h"

#include <stdlib.h>
#include <string.h>

static void commit_settings(struct session *s) {
    bool reset_all = false, to_default = false;
    for (size_t i = 0; i < s->block.count; i++) {
        reset_all = reset_all || s->block.entries[i].reset_all;
        to_default = to_default || s->block.entries[i].to_default;
    }
    block_log_commit(&s->block, &s->settings);
    s->restored_settings = s->restored_settings || s->restored_entries > 0;
    if (reset_all)
        session_unalign_links(s);
    else if (to_default)
        session_follow_home(s);
}

void session_block_finished(struct session *s, bool committed, bool chain) {
    struct block_log next = {0};
    if (chain)
        block_log_chain(&s->block, &next);
    next.chained = chain;
    for (int i = 0; i < s->link_count; i++) {
        struct link *link = s->links[i];
        if (link == NULL)
            continue;
        bool current =
            link->log_applied == s->block.count && link->settings_applied == s->settings.last;
        link->in_block = false;
        link->log_applied = 0;
        if (!current || !committed)
            continue;
        /* Counted below: what the block's settings add, this link has had already. */
        link->settings_applied = UINT64_MAX;
    }
    if (committed)
        commit_settings(s);
    else
        block_log_clear(&s->block);
    s->restored_entries = 0;
    for (int i = 0; i < s->link_count; i++)
        if (s->links[i] != NULL && s->links[i]->settings_applied == UINT64_MAX)
            s->links[i]->settings_applied = s->settings.last;
    for (int i = 0; i < s->link_count; i++)
        if (s->links[i] != NULL)
            session_block_left(s, s->links[i], committed);
    if (chain) {
        block_log_close(&s->block);
        s->block = next;
    }
    if (portal_any(&s->portals))
        portal_clear(&s->portals);
    s->block_lost = -1;
    s->block_torn = false;
    session_structure_settled(s, true);
}

static void forget_all_statements(struct session *s, struct link *link,
                                  const struct statement_facts *facts) {
    bool all =
        facts->kind == KIND_DISCARD && facts->name != NULL && strcmp(facts->name, "all") == 0;
    if (facts->kind == KIND_DISCARD &&
        (all || facts->name == NULL || strcmp(facts->name, "sequences") == 0))
        session_forget_sequences(s);
    if (all || (facts->kind == KIND_DEALLOCATE && facts->name == NULL)) {
        prepared_clear(&s->prepared);
        return;
    }
    (void)link;
    if (facts->kind == KIND_DEALLOCATE) {
        struct prepared *prepared = prepared_find(&s->prepared, facts->name);
        if (prepared != NULL)
            prepared_remove(&s->prepared, prepared);
    }
}

/* What could not be seen is said, at most once in ten seconds: how often, and by whom last. */
static __attribute__((cold)) void report_dynamic(struct session *s, const struct link *link,
                                                 const struct statement *statement) {
    enum { PAUSE_MS = 10000 };
    struct dynamic_count *dynamic = &s->worker->dynamic;
    uint64_t now = uv_now(&s->worker->loop);
    dynamic->total++;
    if (dynamic->told > 0 && now - dynamic->told_at < PAUSE_MS)
        return;
    log_event(s->worker->log, LOG_WARNING, "dynamic SQL ran that the classifier can't see",
              (struct log_field[]){{"client", s->peer, 0},
                                   {"pid", NULL, (int64_t)s->pid},
                                   {"database", link->name, 0},
                                   {"kind", statement_kind_name(statement->facts->kind), 0},
                                   {"count", NULL, (int64_t)(dynamic->total - dynamic->told)},
                                   {"total", NULL, (int64_t)dynamic->total},
                                   {0}});
    dynamic->told = dynamic->total;
    dynamic->told_at = now;
}

void session_keep_effects(struct request *request, const struct statement *statement,
                          const struct decision *decision) {
    if (!statement->asks_catalogs)
        return;
    request->decided = true;
    request->destination = decision->destination;
    request->modifies = decision->modifies;
    request->modified_schemas = decision->modified_schemas;
}

/* Decided again rather than kept: nothing has changed since, and a decision is large. The flags of
 * what was run. */
static unsigned apply_effects(struct session *s, const struct request *request,
                              const struct statement *statement) {
    struct decision decision;
    const struct statement *effective = statement;
    if (request->decided) {
        memset(&decision, 0, sizeof decision);
        decision.destination = request->destination;
        decision.modifies = request->modifies;
        decision.modified_schemas = request->modified_schemas;
    } else {
        session_route(s, statement, &decision, &effective);
    }
    decision.database = request->database;
    unsigned flags = decision.subject != NULL ? decision.subject->facts->flags : 0;
    session_executed(s->routing, effective, &decision);
    return flags;
}

/* Of statements that are not plain SELECTs. */
static __attribute__((cold)) enum deed graver_deed(const struct statement *statement) {
    switch (statement->facts->kind) {
    case KIND_SAVEPOINT:
    case KIND_RELEASE:
    case KIND_ROLLBACK_TO:
    case KIND_SET:
    case KIND_RESET_ALL:
    case KIND_SET_TRANSACTION:
    case KIND_SHOW:
    case KIND_DEALLOCATE:
    case KIND_CLOSE:
    case KIND_LOCK:
        return DEED_SETS;
    default:
        return DEED_MAY_WRITE;
    }
}

bool statement_only_reads(const struct statement *statement) {
    static const unsigned acts =
        STATEMENT_CALLS_FUNCTIONS | STATEMENT_DYNAMIC | STATEMENT_SHARED_KEY | STATEMENT_SET_CONFIG;
    return statement->facts->kind == KIND_SELECT && !statement->writes &&
           (statement->facts->flags & acts) == 0;
}

static __attribute__((cold)) void note_deed(struct link *link, const struct statement *statement) {
    const struct statement_facts *facts = statement->facts;
    enum deed deed = graver_deed(statement);
    link->deed = deed > link->deed ? deed : link->deed;
    for (size_t i = 0; (facts->flags & STATEMENT_TEMPORARY) != 0 && i < facts->table_count; i++)
        link->made_view = link->made_view || (facts->tables[i].flags & TABLE_VIEW) != 0;
}

void session_statement_done(struct session *s, struct link *link, struct request *request) {
    if (request->query == NULL || request->next >= request->query->count) {
        link->deed = request->audience == AUDIENCE_PROXY ? link->deed : DEED_MAY_WRITE;
        return;
    }
    const struct statement *statement = &request->query->statements[request->next++];
    unsigned flags = statement->facts->flags;
    bool reads = statement_only_reads(statement);
    if (!reads)
        note_deed(link, statement);
    session_note_draws(s, link, !reads);
    if (request->apply)
        flags |= apply_effects(s, request, statement);
    session_note_structure(s, statement);
    const struct statement_facts *facts = statement->facts;
    bool defines = facts->kind == KIND_DDL && facts->inner_kind == KIND_EMPTY;
    if ((flags & STATEMENT_DYNAMIC) != 0 && statement->executes && !defines)
        report_dynamic(s, link, statement);
    session_note_binding(s, link, statement);
    switch (facts->kind) {
    case KIND_DISCARD:
    case KIND_DEALLOCATE:
        forget_all_statements(s, link, facts);
        break;
    case KIND_PREPARE_TRANSACTION:
        session_block_finished(s, true, false);
        break;
    case KIND_SET_CONSTRAINTS:
        if (request->decided && request->destination == DESTINATION_ONE)
            break; /* they are there and nowhere else */
        session_note_settings(s, link, request->query, statement, flags);
        break;
    default:
        session_note_settings(s, link, request->query, statement, flags);
    }
}
