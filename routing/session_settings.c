/* pginterlock.database, pginterlock.allow and pginterlock.allowed_gitlab_schemas: settings of the
 * proxy's own, as transactional as any. */
#include "routing/session_model.h"

#include "config/utf8.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { VALUE_MAX = 4096 };

static const char *const setting_names[OWN_COUNT] = {
    [OWN_DATABASE] = "pginterlock.database",
    [OWN_ALLOW] = "pginterlock.allow",
    [OWN_ALLOWED_SCHEMAS] = "pginterlock.allowed_gitlab_schemas",
    [OWN_SEARCH_PATH] = "search_path",
};

bool session_is_own_setting(const char *name) {
    return strncasecmp(name, "pginterlock.", 12) == 0;
}

static int find_setting(const char *name) {
    for (int i = 0; i < OWN_SEARCH_PATH; i++) {
        if (strcasecmp(name, setting_names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

/* Reads `cross_join, cross_transaction; url=…`. False: a word is no rule that can be permitted; it
 * is *word. */
static bool parse_permits(const char *value, unsigned *permits, const char **word, size_t *length) {
    *permits = 0;
    const char *at = value;
    while (*at != '\0' && *at != ';') {
        at += strspn(at, " \t\r\n,");
        *length = strcspn(at, " \t\r\n,;");
        *word = at;
        if (*length == strlen("cross_join") && strncmp(at, "cross_join", *length) == 0) {
            *permits |= PERMIT_CROSS_JOIN;
        } else if (*length == strlen("cross_transaction") &&
                   strncmp(at, "cross_transaction", *length) == 0) {
            *permits |= PERMIT_CROSS_TRANSACTION;
        } else if (*length > 0) {
            return false;
        }
        at += *length;
    }
    return true;
}

/* ---- allowed schemas ---- */

/* gitlab_main_cell belongs to gitlab_main, as for GitLab: the shortest schema's name that it begins
 * with. */
static int schema_family(const struct classification *c, int schema) {
    const char *name = classification_schema_name(c, schema);
    int family = schema;
    size_t shortest = strlen(name);
    for (int i = 0; i < classification_schema_count(c); i++) {
        const char *other = classification_schema_name(c, i);
        size_t length = strlen(other);
        if (length < shortest && strncmp(name, other, length) == 0 && name[length] == '_') {
            family = i;
            shortest = length;
        }
    }
    return family;
}

static schema_set whole_family(const struct classification *c, int schema) {
    schema_set set = 0;
    int family = schema_family(c, schema);
    for (int i = 0; i < classification_schema_count(c); i++) {
        set |= schema_family(c, i) == family ? (schema_set)1 << i : 0;
    }
    return set;
}

static int find_schema(const struct classification *c, const char *name, size_t length) {
    for (int i = 0; i < classification_schema_count(c); i++) {
        const char *other = classification_schema_name(c, i);
        if (strlen(other) == length && strncmp(other, name, length) == 0) {
            return i;
        }
    }
    return -1;
}

/* Reads `gitlab_main, gitlab_ci`; nothing at all is an empty list. False: *word is no schema. */
static bool parse_schemas(const struct classification *c, const char *value, schema_set *schemas,
                          const char **word, size_t *length) {
    const char *at = value + strspn(value, " \t\r\n");
    bool fine = true;
    *schemas = 0;
    while (*at != '\0') {
        *word = at;
        *length = strcspn(at, ",");
        at += *length;
        while (*length > 0 && strchr(" \t\r\n", (*word)[*length - 1]) != NULL) {
            (*length)--;
        }
        int schema = find_schema(c, *word, *length);
        if (schema < 0) {
            return false;
        }
        *schemas |= whole_family(c, schema);
        if (*at == ',') {
            at += 1 + strspn(at + 1, " \t\r\n");
            fine = *at != '\0';
        }
    }
    *word = at;
    *length = 0;
    return fine;
}

void session_renumber_settings(struct session_state *state) {
    for (size_t i = 0; i < state->now.own_count; i++) {
        struct own_setting_entry *entry = &state->own[i];
        const char *word;
        size_t length;
        if (entry->setting == OWN_ALLOWED_SCHEMAS && entry->value != NULL &&
            !parse_schemas(state->settings->classification, entry->value, &entry->schemas, &word,
                           &length)) {
            entry->schemas = 0; /* one is gone: rather no data than too much */
        }
    }
}

/* ---- checks ---- */

/* Of a value in a message: a hundred bytes, and no half character. */
static int shown_length(const char *text, size_t length) {
    return (int)(length <= 100 ? length : utf8_cut(text, 100));
}

static bool check_database(const struct session_state *state, const char *value,
                           struct error *error) {
    const struct settings *settings = state->settings;
    int database = settings_find_database(settings, value);
    if (database < 0) {
        return error_set(
            error, "invalid value for parameter \"pginterlock.database\": \"%s\" is no database",
            value);
    }
    int own = settings->entrypoints[state->entrypoint].database;
    if (own != ENTRYPOINT_ROUTED && own != database) {
        return error_set(
            error,
            "invalid value for parameter \"pginterlock.database\": \"%s\": this connection is "
            "pinned to \"%s\"; use a routed one",
            value, settings->databases[own].name);
    }
    return true;
}

bool session_check_setting(const struct session_state *state, const char *name, const char *value,
                           const char **sqlstate, struct error *error) {
    int setting = find_setting(name);
    *sqlstate = "22023";
    if (setting < 0) {
        *sqlstate = "42704";
        return error_set(error, "unrecognized configuration parameter \"%s\"", name);
    }
    if (value == NULL) {
        return true;
    }
    if (strlen(value) > VALUE_MAX) {
        return error_set(error, "invalid value for parameter \"%s\": longer than %d bytes", name,
                         VALUE_MAX);
    }
    if (setting == OWN_DATABASE) {
        return check_database(state, value, error);
    }
    unsigned permits;
    schema_set schemas;
    const char *word;
    size_t length;
    if (setting == OWN_ALLOWED_SCHEMAS) {
        return parse_schemas(state->settings->classification, value, &schemas, &word, &length) ||
               error_set(error, "invalid value for parameter \"%s\": \"%.*s\" is no gitlab_schema",
                         name, shown_length(word, length), word);
    }
    if (!parse_permits(value, &permits, &word, &length)) {
        return error_set(
            error,
            "invalid value for parameter \"%s\": \"%.*s\" can't be permitted: use cross_join or "
            "cross_transaction, and ; before a url",
            name, shown_length(word, length), word);
    }
    return true;
}

const char *session_setting_hint(struct session_state *state, const char *name) {
    const struct settings *settings = state->settings;
    struct text hint = {0};
    switch (find_setting(name)) {
    case OWN_DATABASE:
        for (size_t i = 0; i < settings->database_count; i++) {
            text_append(&hint, "%s%s", i == 0 ? "Databases: " : ", ", settings->databases[i].name);
        }
        break;
    case OWN_ALLOWED_SCHEMAS:
        for (int i = 0; i < classification_schema_count(settings->classification); i++) {
            text_append(&hint, "%s%s", i == 0 ? "Schemas: " : ", ",
                        classification_schema_name(settings->classification, i));
        }
        break;
    default:
        return NULL;
    }
    text_append(&hint, ".");
    return scratch_take(&state->scratch, &hint);
}

/* Transaction verbs go through whatever their comments say: nothing may keep a block from ending.
 */
static bool heeds_hint(const struct statement_facts *facts) {
    return facts->hint_database != NULL &&
           !(facts->kind >= KIND_BEGIN && facts->kind <= KIND_ROLLBACK_PREPARED);
}

bool session_check_words(const struct session_state *state, const struct statement *statement,
                         const char **setting, const char **sqlstate, struct error *error) {
    const struct statement_facts *facts = statement->facts;
    *sqlstate = "22023";
    if (heeds_hint(facts) && statement->hint_database < 0) {
        *setting = setting_names[OWN_DATABASE];
        return error_set(error, "invalid comment \"database: …\": \"%.*s\" is no database",
                         shown_length(facts->hint_database, strlen(facts->hint_database)),
                         facts->hint_database);
    }
    bool own = (facts->flags & STATEMENT_SET_CONFIG) != 0 && facts->name != NULL &&
               session_is_own_setting(facts->name);
    if (!own || facts->kind == KIND_SET) {
        return true;
    }
    *setting = facts->name;
    if (facts->value == NULL) {
        *sqlstate = "0A000";
        return error_set(
            error,
            "set_config() of \"%s\" needs a constant value and a statement of its own: "
            "use SET",
            facts->name);
    }
    return session_check_setting(state, facts->name, facts->value, sqlstate, error);
}

/* What the innermost savepoint, or else the transaction's begin, could return to. */
static size_t own_returnable(const struct session_state *state) {
    return state->savepoint_count > 0 ? state->savepoints[state->savepoint_count - 1].mark.own_count
                                      : state->begin.own_count;
}

static void own_add(struct session_state *state, struct own_setting_entry entry) {
    size_t last = state->now.own_last[entry.setting];
    if (last > own_returnable(state) && state->own[last - 1].local == entry.local) {
        free(state->own[last - 1].value); /* nothing can come back to it: no need to keep both */
        state->own[last - 1] = entry;
        return;
    }
    state->own = array_grow(state->own, state->now.own_count, &state->own_room, sizeof *state->own);
    state->own[state->now.own_count++] = entry;
    state->now.own_last[entry.setting] = state->now.own_count;
}

void session_apply_setting(struct session_state *state, const char *name, const char *value,
                           bool local) {
    const char *sqlstate;
    struct error error;
    if (!session_check_setting(state, name, value, &sqlstate, &error)) {
        return;
    }
    struct own_setting_entry entry = {
        .setting = (enum own_setting)find_setting(name), .local = local, .database = -1};
    if (value != NULL) {
        const char *word;
        size_t length;
        entry.value = alloc_text(value);
        if (entry.setting == OWN_DATABASE) {
            entry.database = settings_find_database(state->settings, value);
        } else if (entry.setting == OWN_ALLOWED_SCHEMAS) {
            bool valid = parse_schemas(state->settings->classification, value, &entry.schemas,
                                       &word, &length);
            assert(valid);
            entry.structure_only = entry.schemas == 0;
        } else {
            bool valid = parse_permits(value, &entry.permits, &word, &length);
            assert(valid);
        }
    }
    own_add(state, entry);
}

void session_note_search_path(struct session_state *state, const char *value, bool local) {
    bool named = value != NULL && strstr(value, "pg_temp") != NULL;
    if (!named && session_own_setting(state, OWN_SEARCH_PATH) == NULL) {
        return; /* as most do: nothing to remember */
    }
    own_add(state, (struct own_setting_entry){.setting = OWN_SEARCH_PATH,
                                              .local = local,
                                              .database = -1,
                                              .value = named ? alloc_text(value) : NULL});
}

bool session_temporary_comes_last(const struct session_state *state) {
    const struct own_setting_entry *path = session_own_setting(state, OWN_SEARCH_PATH);
    return path != NULL && strncmp(path->value + strspn(path->value, " \""), "pg_temp", 7) != 0;
}

void session_set_at_startup(struct session_state *state, const char *name, const char *value) {
    session_apply_setting(state, name, value, false);
    state->begin = state->now;
}

void session_reset_settings(struct session_state *state) {
    for (int i = 0; i < OWN_COUNT; i++) {
        if (session_own_setting(state, (enum own_setting)i) != NULL) {
            own_add(state,
                    (struct own_setting_entry){.setting = (enum own_setting)i, .database = -1});
        }
    }
}

const struct own_setting_entry *session_own_setting(const struct session_state *state,
                                                    enum own_setting setting) {
    size_t last = state->now.own_last[setting];
    return last > 0 && state->own[last - 1].value != NULL ? &state->own[last - 1] : NULL;
}

int session_pin(const struct session_state *state) {
    const struct own_setting_entry *set = session_own_setting(state, OWN_DATABASE);
    return set != NULL ? set->database : state->settings->entrypoints[state->entrypoint].database;
}

const char *session_show(const struct session_state *state, const char *name) {
    int setting = find_setting(name);
    if (setting < 0) {
        return NULL;
    }
    const struct own_setting_entry *entry = session_own_setting(state, (enum own_setting)setting);
    if (entry != NULL) {
        return entry->value;
    }
    int pin = session_pin(state);
    return setting == OWN_DATABASE && pin >= 0 ? state->settings->databases[pin].name : "";
}

/* Keeps the last value of each setting that SET, not SET LOCAL, gave it. */
void session_compact_settings(struct session_state *state) {
    struct own_setting_entry last[OWN_COUNT] = {{0}};
    bool set[OWN_COUNT] = {false};
    for (size_t i = state->now.own_count; i-- > 0;) {
        struct own_setting_entry *entry = &state->own[i];
        if (!entry->local && !set[entry->setting]) {
            set[entry->setting] = true;
            last[entry->setting] = *entry;
        } else {
            free(entry->value);
        }
    }
    state->now.own_count = 0;
    for (int i = 0; i < OWN_COUNT; i++) {
        state->now.own_last[i] = 0;
        if (set[i] && last[i].value != NULL) {
            state->own[state->now.own_count++] = last[i];
            state->now.own_last[i] = state->now.own_count;
        }
    }
}
