/* Claims on connections' sequences. None is made before some client of the worker has asked for
 * currval() or lastval(); from then on each client makes one where it draws, since it may be the
 * next to ask. */
#include "proxy/session_sequences.h"

#include "proxy/session_internal.h"

enum { VAIN_KEEPS = 8 }; /* of a client that has asked, until it asks again */

/* Whether running it may draw from a sequence, or set one. */
static bool may_draw(const struct statement *statement) {
    static const unsigned acts =
        STATEMENT_CALLS_FUNCTIONS | STATEMENT_DYNAMIC | STATEMENT_SHARED_KEY | STATEMENT_SET_CONFIG;
    switch (statement->facts->kind) {
    case KIND_EMPTY:
    case KIND_BEGIN:
    case KIND_COMMIT_PREPARED:
    case KIND_ROLLBACK_PREPARED:
    case KIND_LOCK:
    case KIND_SET:
    case KIND_RESET_ALL:
    case KIND_SET_TRANSACTION:
    case KIND_SHOW:
    case KIND_PREPARE:
    case KIND_DEALLOCATE:
    case KIND_CLOSE:
    case KIND_LISTEN:
    case KIND_UNLISTEN:
    case KIND_NOTIFY:
    case KIND_DISCARD:
        return false;
    case KIND_SELECT:
        return statement->writes || (statement->facts->flags & acts) != 0;
    default:
        return true;
    }
}

/* Nothing may be sent in front of it: it can't run in a transaction block, or must come before the
 * transaction's first snapshot. */
static bool comes_first(const struct statement *statement) {
    enum statement_kind kind = statement->facts->kind;
    return (statement->facts->flags & STATEMENT_NO_BLOCK) != 0 || kind == KIND_SET_TRANSACTION ||
           kind == KIND_SET || kind == KIND_LOCK;
}

static bool is_own(const struct session *s, const struct link *link) {
    return link->sequences != 0 && link->sequences == s->pools[link->physical].sequences;
}

bool session_knows_sequences(struct session *s, const struct statement *statement,
                             const struct decision *decision) {
    unsigned flags = statement->facts->flags;
    if (decision->subject != NULL)
        flags |= decision->subject->facts->flags;
    if ((flags & STATEMENT_CURRVAL) == 0 || !statement->executes ||
        decision->destination == DESTINATION_NONE)
        return true;
    s->worker->asks_sequences = true;
    s->keeps_left = VAIN_KEEPS;
    if (may_draw(statement)) /* what it draws it may ask for, and its claim hides the rest */
        return true;
    int physical = session_physical(s, decision->database);
    if (s->links[physical] == NULL && !session_take_drawn(s, physical))
        return false;
    const struct link *link = s->links[physical];
    /* When a worker's first client asks, nothing has been claimed yet. */
    return is_own(s, link) || (link->sequences == 0 && link->drawn_by == s->pid);
}

bool session_claim_pends(const struct session *s, int database) {
    const struct link *link = s->links[session_physical(s, database)];
    return link != NULL && link->claims && link->answers.count > 0;
}

void session_claim_sequences(struct session *s, struct link *link,
                             const struct statement *statements, size_t count, bool before_query) {
    if (is_own(s, link))
        return;
    bool draws = false, first = false;
    for (size_t i = 0; i < count && !draws; i++) {
        draws = may_draw(&statements[i]);
        first = first || comes_first(&statements[i]);
    }
    if (!draws)
        return;
    if (first) {
        session_disown_sequences(s, link);
        return;
    }
    session_send_prelude(link, "DISCARD SEQUENCES", before_query);
    link->sequences = s->pools[link->physical].sequences = ++s->worker->last_sequences;
    link->claims = true;
}

void session_note_drawer(const struct session *s, struct link *link) {
    if (link->drawn_by != s->pid)
        link->drawn_by = link->drawn_by == 0 ? s->pid : LINK_DRAWN_BY_SEVERAL;
}

void session_claim_failed(const struct session *s, struct link *link) {
    session_note_drawer(s, link);
    if (link->claims)
        link->sequences = 0;
}

void session_disown_sequences(const struct session *s, struct link *link) {
    session_note_draws(s, link, true);
    if (link->pool != NULL && !is_own(s, link))
        link->sequences = 0;
}

void session_forget_sequences(struct session *s) {
    for (int i = 0; s->pools != NULL && i < s->link_count; i++)
        s->pools[i].sequences = 0;
}

bool session_keeps_sequences(const struct session *s, struct link *link) {
    return link->drew && s->keeps_left > 0 && is_own(s, link) &&
           pool_may_keep(link, session_yield_link);
}

void session_keep_nothing(struct session *s) {
    for (int i = 0; i < s->link_count; i++)
        if (s->links[i] != NULL && !s->links[i]->in_block)
            s->links[i]->drew = false;
}

void session_keep_ended(struct session *s, struct link *link) {
    link->kept_since = 0;
    if (link->drew && s->keeps_left > 0)
        s->keeps_left--;
}
