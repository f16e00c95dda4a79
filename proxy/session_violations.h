/* What becomes of a session's violations in the log and the record. On the session's thread. */
#ifndef PGINTERLOCK_SESSION_VIOLATIONS_H
#define PGINTERLOCK_SESSION_VIOLATIONS_H

#include "proxy/session_internal.h"

/* The text that the client sent a statement in: a query's own, or what a shape stands for. */
struct sent_text {
    const char *text;
    size_t length;
};
static inline struct sent_text query_sent_text(const struct query *query) {
    return (struct sent_text){query->text, query->length};
}
/* Logs and records what was rejected; or what was let pass, once it runs. */
void session_note_rejection(struct session *s, struct sent_text sent,
                            const struct statement *statement, const struct decision *decision);
void session_record_observations(struct session *s, struct sent_text sent,
                                 const struct statement *statement, const struct decision *decision)
    __attribute__((cold));
static inline void session_note_observations(struct session *s, struct sent_text sent,
                                             const struct statement *statement,
                                             const struct decision *decision) {
    if (decision->observation_count > 0)
        session_record_observations(s, sent, statement, decision);
}

#endif
