/* Making a connection that others had the session's: its settings are put in place by the
 * difference to what the connection was left with, so that none leaks and none gets lost. */
#include "proxy/session_internal.h"

#include "config/alloc.h"
#include "proxy/server_statements.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* -- what they are ----------------------------------------------------------------------------- */

/* The session's settings as one value, made anew only when one has changed. */
struct setting_set *session_setting_set(struct session *s) {
    if (s->set_number != s->settings.last) {
        setting_set_unref(s->set);
        s->set = setting_set_new(&s->settings);
        s->set_number = s->settings.last;
    }
    return s->set;
}

void session_log_setting(struct session *s, const char *name, const char *value) {
    struct wire_buffer sql = {0};
    session_write_set(&sql, name, value, false);
    setting_log_add(&s->settings, name, (const char *)sql.data, sql.length);
    wire_buffer_close(&sql);
}

/* -- the startup packet's ---------------------------------------------------------------------- */

/* Parameters of the startup packet are settings of the session from its beginning. What RESET
 * brings back is theirs, too: the server, which knows nothing of them, is told again. */
struct startup_visit {
    struct session *session;
    const char *only; /* NULL: all */
    bool local, resets_all;
    bool found;
};

static bool concerns(const struct startup_visit *visit, const char *name) {
    if (visit->resets_all && setting_is_identity(name))
        return false;
    return !session_is_own_setting(name) &&
           (visit->only == NULL || strcasecmp(visit->only, name) == 0);
}

static void find_startup(void *context, const char *name, const char *value) {
    (void)value;
    struct startup_visit *visit = context;
    visit->found = visit->found || concerns(visit, name);
}

static void log_startup(void *context, const char *name, const char *value) {
    struct startup_visit *visit = context;
    struct session *s = visit->session;
    if (!concerns(visit, name))
        return;
    visit->found = true;
    enum block_status status = session_block_status(s->routing);
    if (status != BLOCK_OPEN && status != BLOCK_IMPLICIT) {
        session_log_setting(s, name, value);
        return;
    }
    struct wire_buffer sql = {0};
    session_write_set(&sql, name, value, visit->local);
    block_log_add(&s->block, ENTRY_SETTING, name, (const char *)sql.data, sql.length);
    s->block.entries[s->block.count - 1].outlives = !visit->local;
    wire_buffer_close(&sql);
}

/* As the server does: what `options` holds first, so that a parameter of its own name wins. */
static bool visit_startup(const struct startup *startup, struct startup_visit *visit,
                          void (*each)(void *context, const char *name, const char *value),
                          struct error *error) {
    const char *options = startup_find(startup, "options");
    if (options != NULL && !startup_options_settings(options, each, visit, error))
        return false;
    for (size_t i = 0; i < startup->parameter_count; i++)
        if (strcmp(startup->parameters[i].name, "options") != 0)
            each(visit, startup->parameters[i].name, startup->parameters[i].value);
    return true;
}

bool session_log_startup(struct session *s, struct error *error) {
    struct startup_visit visit = {.session = s};
    return visit_startup(&s->startup, &visit, log_startup, error);
}

void session_restore_startup(struct session *s, const char *only, bool local) {
    struct startup_visit visit = {
        .session = s, .only = only, .resets_all = only == NULL, .local = local};
    struct error error; /* there was none at the start */
    if (s->pool_mode == POOL_OFF || !visit_startup(&s->startup, &visit, log_startup, &error) ||
        !visit.found)
        return;
    if (session_block_status(s->routing) == BLOCK_IDLE)
        s->restored_settings = true;
    else
        s->restored_entries = s->block.count;
}

static bool is_startup_setting(struct session *s, const char *name) {
    struct startup_visit visit = {.session = s, .only = name};
    struct error error;
    return s->pool_mode != POOL_OFF && visit_startup(&s->startup, &visit, find_startup, &error) &&
           visit.found;
}

bool session_has_startup_settings(struct session *s) {
    return is_startup_setting(s, NULL);
}

bool session_lacks_startup(struct session *s, const struct link *link, const char *name) {
    const struct fan *fan = &s->script.fan;
    bool discards =
        fan->active && fan->statement != NULL && fan->statement->facts->kind == KIND_DISCARD;
    size_t entries = s->restored_entries < s->block.count ? s->restored_entries : s->block.count;
    bool lacks = discards || s->restored_settings || link->log_applied < entries;
    return lacks && is_startup_setting(s, name);
}

void session_tell_restored(struct session *s, struct link *link) {
    s->restored_settings = false;
    bool role = is_startup_setting(s, "role") || is_startup_setting(s, "session_authorization");
    struct parameters *now = parameters_ref(link_parameters(link));
    struct parameter parameter;
    for (size_t cursor = 0; s->phase == PHASE_READY && parameters_next(now, &cursor, &parameter);)
        if (is_startup_setting(s, parameter.name) ||
            (role && strcmp(parameter.name, "is_superuser") == 0))
            session_tell_parameter(s, link, parameter.name, parameter.value);
    parameters_unref(s->worker->parameters, now);
}

/* -- by difference ----------------------------------------------------------------------------- */

static void append_command(void *context, const char *sql) {
    wire_append(context, sql, strlen(sql));
    wire_append(context, ";", 1);
}

/* The link has had it. */
static void had(struct link *link, struct setting_set *wanted) {
    setting_set_unref(link->set);
    link->set = setting_set_ref(wanted);
    if (setting_set_has(wanted, "seed"))
        link->bindings |= BOUND_SEED;
    link->set_unknown = false;
    link->differs = false;
}

void session_append_difference(struct session *s, struct link *link, struct wire_buffer *sql) {
    struct setting_set *wanted = session_setting_set(s);
    if (s->pool_mode == POOL_SESSION && link->statements != NULL) {
        static const char forget[] = "DEALLOCATE ALL;";
        wire_append(sql, forget, strlen(forget));
        server_statements_free(&link->statements);
    }
    if (link->set_unknown || !setting_set_equal(link->set, wanted))
        setting_set_difference(link->set, link->set_unknown, wanted, append_command, sql);
    had(link, wanted);
}

/* -- in the same round trip -------------------------------------------------------------------- */

/* Whether it can share its transaction with commands that set something, none of its own does, and
 * nothing that could depends on what the server reports of it. */
static bool is_plain(const struct query *query) {
    static const unsigned calls =
        STATEMENT_SET_CONFIG | STATEMENT_CALLS_FUNCTIONS | STATEMENT_DYNAMIC;
    for (size_t i = 0; i < query->count; i++) {
        const struct statement *statement = &query->statements[i];
        enum statement_kind kind = statement->facts->kind;
        bool changes_rows = kind == KIND_INSERT || kind == KIND_UPDATE || kind == KIND_DELETE;
        if ((!changes_rows && kind != KIND_SELECT) || (statement->facts->flags & calls) != 0 ||
            statement->modifies_neutral) /* pg_settings */
            return false;
    }
    return query->count > 0;
}

/* The string behind the one at `at`, or NULL. */
static const char *next_string(const char *at, const char *end) {
    const char *stop = memchr(at, '\0', (size_t)(end - at));
    return stop != NULL && memchr(stop + 1, '\0', (size_t)(end - stop - 1)) != NULL ? stop + 1
                                                                                    : NULL;
}

static bool is_same(const char *a, const char *b) {
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

/* Whether the client asks for nothing else before its transaction ends: a Query, or the messages of
 * one statement up to Sync, which are here. Anything else could begin a block or end it, and a
 * rollback would take along what was set. */
static bool is_asked_alone(const struct session *s) {
    const uint8_t *at = stream_peek(&s->client);
    size_t left = stream_available(&s->client);
    const char *allowed = "PBDES", *prepared = NULL, *portal = NULL;
    struct frame frame;
    if (left > 0 && at[0] == 'Q')
        return true;
    for (; frame_read(at, left, &frame) == FRAME_OK && frame.length <= left;
         at += frame.length, left -= frame.length) {
        if (frame.type == 'S')
            return true;
        allowed = strchr(allowed, frame.type);
        if (allowed == NULL)
            return false;
        allowed++;
        const char *name = (const char *)at + FRAME_HEADER;
        const char *end = (const char *)at + frame.length;
        bool ends = memchr(name, '\0', (size_t)(end - name)) != NULL;
        if (frame.type == 'P')
            prepared = ends ? name : NULL;
        bool other =
            (frame.type == 'B' && prepared != NULL && !is_same(next_string(name, end), prepared)) ||
            (frame.type == 'E' && !is_same(ends ? name : NULL, portal));
        if (frame.type == 'B')
            portal = ends ? name : NULL;
        if (other)
            return false;
    }
    return false;
}

static void send_command(void *context, const char *sql) {
    session_send_prelude(context, sql, false);
}

bool session_send_difference(struct session *s, struct link *link, const struct query *query) {
    bool alone = session_block_status(s->routing) == BLOCK_IDLE && session_links_unsynced(s) == 0;
    if (query == NULL || s->pool_mode != POOL_TRANSACTION || !alone || s->script.active ||
        s->restored_settings || link->answers.count > 0 || link->set_unknown)
        return false;
    struct setting_set *wanted = session_setting_set(s);
    if (!setting_set_can_join(link->set) || !setting_set_can_join(wanted) || !is_plain(query) ||
        !is_asked_alone(s))
        return false;
    setting_set_difference(link->set, false, wanted, send_command, link);
    had(link, wanted);
    link->joined = true;
    link->unsynced = true; /* its transaction is open, even if the client's messages stay here */
    link->settings_applied = s->settings.last;
    return true;
}

void session_settle_difference(struct link *link, bool failed) {
    link->joined = false;
    link->set_unknown = link->differs = failed; /* what was set has been undone */
}
