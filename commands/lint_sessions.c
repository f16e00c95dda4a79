#include "commands/lint_sessions.h"

#include "config/alloc.h"

#include <stdlib.h>

#define uthash_fatal(message) abort()
#include <uthash.h>

struct entry {
    uint64_t id;
    struct lint_session session;
    UT_hash_handle hh; /* in order of use, the latest last */
};

struct lint_sessions {
    const struct settings *settings;
    int entrypoint;
    const int *today;
    struct entry *entries, *last;
};

struct lint_sessions *lint_sessions_new(const struct settings *settings, int entrypoint,
                                        const int *today) {
    struct lint_sessions *sessions = alloc_new(sizeof *sessions);
    sessions->settings = settings;
    sessions->entrypoint = entrypoint;
    sessions->today = today;
    return sessions;
}

static void remove_entry(struct lint_sessions *sessions, struct entry *entry) {
    HASH_DEL(sessions->entries, entry);
    sessions->last = sessions->last == entry ? NULL : sessions->last;
    session_state_free(entry->session.state);
    free(entry);
}

void lint_sessions_clear(struct lint_sessions *sessions) {
    while (sessions->entries != NULL) {
        remove_entry(sessions, sessions->entries);
    }
}

void lint_sessions_free(struct lint_sessions *sessions) {
    if (sessions != NULL) {
        lint_sessions_clear(sessions);
        free(sessions);
    }
}

static struct entry *find(struct lint_sessions *sessions, uint64_t id) {
    struct entry *entry = NULL;
    HASH_FIND(hh, sessions->entries, &id, sizeof id, entry);
    return entry;
}

struct lint_session *lint_sessions_get(struct lint_sessions *sessions, uint64_t id) {
    struct entry *entry = sessions->last;
    if (entry != NULL && entry->id == id) {
        return &entry->session;
    }
    entry = find(sessions, id);
    if (entry != NULL) {
        HASH_DEL(sessions->entries, entry); /* goes to the end again */
    } else {
        if (HASH_COUNT(sessions->entries) >= LINT_SESSIONS_MAX) {
            remove_entry(sessions, sessions->entries);
        }
        entry = alloc_new(sizeof *entry);
        entry->id = id;
        entry->session.state = session_state_new(sessions->settings, sessions->entrypoint);
        session_use_today(entry->session.state, sessions->today);
    }
    HASH_ADD(hh, sessions->entries, id, sizeof entry->id, entry);
    sessions->last = entry;
    return &entry->session;
}

void lint_sessions_end(struct lint_sessions *sessions, uint64_t id) {
    struct entry *entry = find(sessions, id);
    if (entry != NULL) {
        remove_entry(sessions, entry);
    }
}
