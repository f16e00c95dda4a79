/* The sessions of a log, by process or session id: each with what it has done so far. At most
 * LINT_SESSIONS_MAX at once; the one that was silent longest is forgotten.
 *
 * Owned by the caller; one thread. */
#ifndef PGINTERLOCK_LINT_SESSIONS_H
#define PGINTERLOCK_LINT_SESSIONS_H

#include "routing/session_state.h"

enum { LINT_SESSIONS_MAX = 4096 };

struct lint_session {
    struct session_state *state;
    uint64_t lxid;    /* of the transaction that it is in, as the log numbers them; 0: none known */
    bool begin_waits; /* a BEGIN came within a block: what follows tells whether that had ended */
    bool within;      /* the server said that the BEGIN to come is within a block */
};

struct lint_sessions;

/* `settings` and `today` (session_use_today()) are borrowed. */
struct lint_sessions *lint_sessions_new(const struct settings *settings, int entrypoint,
                                        const int *today);
void lint_sessions_free(struct lint_sessions *sessions);

/* The session, new if it isn't there; borrowed until the next call. */
struct lint_session *lint_sessions_get(struct lint_sessions *sessions, uint64_t id);
void lint_sessions_end(struct lint_sessions *sessions, uint64_t id);
void lint_sessions_clear(struct lint_sessions *sessions);

#endif
