/* What a client was told of its server's parameters (ParameterStatus). A server's own defaults
 * change while clients are there: by a reload of its configuration, or because another server has
 * taken its place. Who is connected directly is told with the next answer. Where connections are
 * shared the server tells only who uses a connection first afterwards; all others are told by the
 * proxy, as soon as they get one that has it.
 *
 * The values are those of the first database. Another one is made to agree with it in those by
 * which clients read values. Those by which the classifier reads texts stay as they were told: a
 * text must not be read in one way here and in another there. */
#include "proxy/session_internal.h"

#include <string.h>
#include <strings.h>

static const char *const told_parameters[] = {"client_encoding", "standard_conforming_strings",
                                              "DateStyle", "IntervalStyle", "TimeZone"};
enum {
    READING_PARAMETERS = 2,
    TOLD_PARAMETERS = sizeof told_parameters / sizeof told_parameters[0]
};

static bool session_sets(const struct session *s, const char *name) {
    for (size_t i = 0; i < s->settings.count; i++)
        if (strcasecmp(s->settings.changes[i].name, name) == 0)
            return true;
    return false;
}

static bool is_home(const struct session *s, const struct link *link) {
    return link->physical == s->home;
}

/* -- connections of the client's own ------------------------------------------------------------
 */

void session_follow_home(struct session *s) {
    for (int i = 0; i < s->link_count; i++)
        if (s->links[i] != NULL && s->links[i]->pool == NULL && !is_home(s, s->links[i]))
            s->links[i]->aligned = false;
}

/* -- before a statement ------------------------------------------------------------------------ */

/* From now on each session sets it: what RESET would bring back is not known any more. */
static __attribute__((cold)) void hold_strings(struct session *s, struct session_pool *entry) {
    static const char name[] = "standard_conforming_strings";
    const char *here = session_parameter_outside(s, name);
    entry->holds_strings = true;
    if (here != NULL && !session_sets(s, name))
        session_log_setting(s, name, here);
}

void session_doubt_strings(const struct session *s, const struct link *link) {
    if (link->pool != NULL && !session_sets(s, "standard_conforming_strings"))
        pool_doubt_strings(link->pool);
}

void session_align_pooled(struct session *s, const struct link *link) {
    struct session_pool *entry = &s->pools[link->physical];
    if (s->phase != PHASE_READY)
        return;
    if (pool_doubts_strings(link->pool) && !entry->holds_strings)
        hold_strings(s, entry);
    if (entry->aligned == link->parameters)
        return;
    parameters_unref(s->worker->parameters, entry->aligned);
    entry->aligned = parameters_ref(link->parameters);
    entry->untold = is_home(s, link);
    size_t count = is_home(s, link) ? READING_PARAMETERS : TOLD_PARAMETERS;
    for (size_t i = 0; i < count; i++) {
        const char *name = told_parameters[i];
        const char *there = parameters_find(link->parameters, name);
        const char *here = session_parameter_outside(s, name);
        if (there != NULL && here != NULL && strcmp(there, here) != 0 && !session_sets(s, name))
            session_log_setting(s, name, here);
    }
}

void session_forget_alignment(struct session *s) {
    for (int i = 0; s->pools != NULL && i < s->link_count; i++) {
        parameters_unref(s->worker->parameters, s->pools[i].aligned);
        s->pools[i].aligned = NULL;
        s->pools[i].holds_strings = false;
    }
}

/* Who the session is decides these. */
static bool is_of_identity(const char *name) {
    return strcmp(name, "is_superuser") == 0 || strcmp(name, "session_authorization") == 0;
}

void session_tell_defaults(struct session *s, struct link *link) {
    s->pools[link->physical].untold = false;
    if (!pool_has_newest_defaults(link) || session_block_status(s->routing) != BLOCK_IDLE)
        return; /* what is old there will change while the statement runs */
    struct parameters *now = parameters_ref(link->parameters);
    struct parameter parameter;
    for (size_t cursor = 0; s->phase == PHASE_READY && parameters_next(now, &cursor, &parameter);)
        if (!is_of_identity(parameter.name) && !session_sets(s, parameter.name))
            session_tell_parameter(s, link, parameter.name, parameter.value);
    parameters_unref(s->worker->parameters, now);
}

/* -- behind it --------------------------------------------------------------------------------- */

/* Whether what it reports is what holds for the session; what a RESET takes of the startup packet's
 * is set again, and told, apart. */
static bool is_settled(const struct session *s, const struct link *link) {
    return s->phase == PHASE_READY && link->state == LINK_READY && !link->differs &&
           !link->joined && (link->settings_applied == s->settings.last || s->restored_settings) &&
           link->log_applied == s->block.count;
}

/* Another database's default has changed, of which the client may have been told: it gets the first
 * one's back, and with its next statement that one as well. */
static bool keep_to_home(struct session *s, struct link *link, const struct parameters *reported) {
    const struct parameters *home = s->pools[s->home].heard;
    if (home == NULL || link->unseen || link->asks_setting || link->asks_after ||
        session_block_status(s->routing) != BLOCK_IDLE)
        return false;
    for (size_t i = 0; i < TOLD_PARAMETERS; i++) {
        const char *name = told_parameters[i];
        const char *here = parameters_find(home, name), *there = parameters_find(reported, name);
        if (here == NULL || there == NULL || strcmp(here, there) == 0 || session_sets(s, name))
            continue;
        session_log_setting(s, name, here);
        session_tell_parameter(s, link, name, here);
    }
    return true;
}

void session_tell_news(struct session *s, struct link *link) {
    struct session_pool *entry = &s->pools[link->physical];
    if (!is_settled(s, link))
        return;
    struct parameters *now = parameters_ref(link_parameters(link));
    struct parameter parameter;
    bool heard = is_home(s, link) || keep_to_home(s, link, now);
    for (size_t cursor = 0;
         is_home(s, link) && s->phase == PHASE_READY && parameters_next(now, &cursor, &parameter);)
        session_tell_parameter(s, link, parameter.name, parameter.value);
    parameters_unref(s->worker->parameters, heard ? entry->heard : now);
    if (!heard)
        return;
    entry->heard = now;
    parameters_unref(s->worker->parameters, entry->known);
    entry->known = parameters_ref(s->parameters);
}
