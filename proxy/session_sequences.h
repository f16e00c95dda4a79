/* Whose numbers currval() and lastval() tell, where clients share connections by transaction. A
 * server process remembers what was drawn from its sequences, whoever drew it. So a client's
 * question is answered only on a connection that it has claimed: where the server was made to
 * forget what others drew (DISCARD SEQUENCES), and nobody else has drawn since. Elsewhere it is
 * refused. For the common case, INSERT and then currval() outside a transaction, a client that asks
 * keeps its connection for one statement after what drew.
 *
 * Part of a session, on its worker's thread; the state is in struct link and struct session_pool.
 * Source: PostgreSQL manual, "Sequence Manipulation Functions"; SeqTable in its sequence.c. */
#ifndef PGINTERLOCK_SESSION_SEQUENCES_H
#define PGINTERLOCK_SESSION_SEQUENCES_H

#include "proxy/session_struct.h"

/* Before a statement is run: false if it asks for what was drawn and no link has the session's
 * claim. May take an idle link that has it. */
bool session_knows_sequences(struct session *s, const struct statement *statement,
                             const struct decision *decision);
/* Whether a claim was sent to a (logical) database that may still fail. */
bool session_claim_pends(const struct session *s, int database);

/* Right before statements are sent: claims the link if they may draw. */
void session_claim_sequences(struct session *s, struct link *link,
                             const struct statement *statements, size_t count, bool before_query);
static inline void session_own_sequences(struct session *s, struct link *link,
                                         const struct statement *statements, size_t count,
                                         bool before_query) {
    if (s->worker->asks_sequences && link->pool != NULL && s->pool_mode == POOL_TRANSACTION)
        session_claim_sequences(s, link, statements, count, before_query);
}
/* An error came: the server may have skipped the claim. */
void session_claim_failed(const struct session *s, struct link *link) __attribute__((cold));
/* Something may draw that no claim can be sent in front of: another session's claim is over. */
void session_disown_sequences(const struct session *s, struct link *link);

/* The session may have drawn there. */
void session_note_drawer(const struct session *s, struct link *link);
/* A statement was run. */
static inline void session_note_draws(const struct session *s, struct link *link, bool may_draw) {
    link->drew = may_draw || (link->drew && link->in_block);
    if (may_draw && link->drawn_by != s->pid)
        session_note_drawer(s, link);
}
/* The client's DISCARD SEQUENCES was run. */
void session_forget_sequences(struct session *s);

/* Whether to keep a link that is not in use, since the client may ask for what it has just drawn.
 */
bool session_keeps_sequences(const struct session *s, struct link *link);
/* Another link is needed: none is kept that is outside the transaction. */
void session_keep_nothing(struct session *s) __attribute__((cold));
/* A link that was kept is given back. */
void session_keep_ended(struct session *s, struct link *link) __attribute__((cold));

#endif
