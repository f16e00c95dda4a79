/* SET, RESET and set_config() take effect on one link; here they are noted, so that
 * session_use_link() repeats them on any other. Where the value is not in the text (set_config()
 * with an expression), the database is asked for it. */
#include "proxy/session_internal.h"

#include "config/alloc.h"
#include "routing/escape_strings.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool in_transaction(const struct session *s) {
    enum block_status status = session_block_status(s->routing);
    return status == BLOCK_OPEN || status == BLOCK_IMPLICIT;
}

/* After RESET ALL each server is back at its own defaults; on a connection of the client's own
 * those are what its startup packet said. */
void session_unalign_links(struct session *s) {
    session_forget_alignment(s);
    for (int i = 0; i < s->link_count; i++) {
        struct link *link = s->links[i];
        if (link == NULL)
            continue;
        link->aligned = link->home || link->pool != NULL;
    }
    session_restore_startup(s, NULL, false);
}

/* Whatever way they are set, they end with the transaction. */
static bool is_of_transaction(const char *name) {
    return strcasecmp(name, "transaction_isolation") == 0 ||
           strcasecmp(name, "transaction_read_only") == 0 ||
           strcasecmp(name, "transaction_deferrable") == 0;
}

/* `sql` means the same wherever and whenever it is repeated. */
static void note_plain(struct session *s, struct link *link, const char *name, const char *sql,
                       size_t length, bool local, bool reset_all) {
    bool of_transaction = is_of_transaction(name);
    local = local || of_transaction;
    if (in_transaction(s)) {
        bool current = link->log_applied == s->block.count;
        block_log_add(&s->block, ENTRY_SETTING, name, sql, length);
        struct block_entry *entry = &s->block.entries[s->block.count - 1];
        entry->outlives = !local;
        entry->reset_all = reset_all;
        entry->chains = of_transaction;
        if (current)
            link->log_applied = s->block.count;
        if (reset_all)
            session_restore_startup(s, NULL, false);
        return;
    }
    if (local)
        return; /* outside a transaction it has no effect beyond its own statement */
    bool current = link->settings_applied == s->settings.last;
    if (reset_all)
        setting_log_reset_all(&s->settings, sql, length);
    else
        setting_log_add(&s->settings, name, sql, length);
    if (current)
        link->settings_applied = s->settings.last;
    if (reset_all)
        session_unalign_links(s);
}

static void note(struct session *s, struct link *link, const char *name, const char *sql,
                 size_t length, const struct lexing *lexing, bool local, bool reset_all) {
    char *plain = text_for_repeating(sql, length, lexing);
    note_plain(s, link, name, plain, strlen(plain), local, reset_all);
    free(plain);
}

static void append(struct wire_buffer *sql, const char *text) {
    wire_append(sql, text, strlen(text));
}

void session_append_literal(struct wire_buffer *sql, const char *text) {
    append(sql, "E'");
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\')
            wire_append(sql, text, 1);
        wire_append(sql, text, 1);
    }
    append(sql, "'");
}

void session_write_set_config(struct wire_buffer *sql, const char *name, const char *value,
                              bool local) {
    append(sql, "SELECT pg_catalog.set_config(");
    session_append_literal(sql, name);
    append(sql, ",");
    session_append_literal(sql, value);
    append(sql, local ? ",true)" : ",false)");
}

/* Parameters whose lists of names SET would take for one name (GUC_LIST_QUOTE). */
static bool is_list_of_names(const char *name) {
    static const char *const lists[] = {"search_path",
                                        "temp_tablespaces",
                                        "local_preload_libraries",
                                        "session_preload_libraries",
                                        "shared_preload_libraries",
                                        "unix_socket_directories"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (strcasecmp(name, lists[i]) == 0)
            return true;
    return false;
}

static bool is_plain_name(const char *name) {
    return (isalpha((unsigned char)name[0]) || name[0] == '_') &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.")] ==
               '\0';
}

void session_write_set(struct wire_buffer *sql, const char *name, const char *value, bool local) {
    if (is_list_of_names(name) || !is_plain_name(name)) {
        session_write_set_config(sql, name, value, local);
        return;
    }
    append(sql, local ? "SET LOCAL " : "SET ");
    append(sql, name);
    append(sql, " TO ");
    session_append_literal(sql, value);
}

static void note_set_config(struct session *s, struct link *link, const char *name,
                            const char *value, bool local) {
    struct wire_buffer sql = {0};
    session_write_set_config(&sql, name, value, local);
    note_plain(s, link, name, (const char *)sql.data, sql.length, local, false);
    wire_buffer_close(&sql);
}

/* What a committed block has left, though AND CHAIN may have begun another. */
static void note_lasting(struct session *s, struct link *link, const char *name,
                         const char *value) {
    bool current = link->settings_applied == s->settings.last;
    struct wire_buffer sql = {0};
    session_write_set_config(&sql, name, value, false);
    setting_log_add(&s->settings, name, (const char *)sql.data, sql.length);
    if (current)
        link->settings_applied = s->settings.last;
    wire_buffer_close(&sql);
}

void session_note_value(struct session *s, struct link *link, const char *name, const char *value) {
    note_set_config(s, link, name, value, false);
}

/* Asks the link; the rows of name and value come to session_capture_setting(). */
static struct request *ask_sql(struct link *link, const char *sql) {
    struct wire_buffer out = {0};
    static const char prelude[] = "pginterlock_setting";
    message_put_parse(&out, prelude, sql);
    message_put_bind(&out, prelude, prelude);
    message_put_execute(&out, prelude);
    message_put_close(&out, 'P', prelude);
    message_put_close(&out, 'S', prelude);
    answers_push(&link->answers, REQUEST_PARSE, AUDIENCE_PROXY);
    answers_push(&link->answers, REQUEST_BIND, AUDIENCE_PROXY);
    answers_push(&link->answers, REQUEST_EXECUTE, AUDIENCE_PROXY);
    answers_push(&link->answers, REQUEST_CLOSE, AUDIENCE_PROXY);
    answers_push(&link->answers, REQUEST_CLOSE, AUDIENCE_PROXY);
    struct request *request = answers_at(&link->answers, link->answers.count - 3);
    request->captures = true;
    if (!link->unsynced) {
        message_put_sync(&out);
        answers_push(&link->answers, REQUEST_SYNC, AUDIENCE_PROXY);
        request = answers_at(&link->answers, link->answers.count - 4);
    }
    stream_send(&link->stream, out.data, out.length);
    session_flush_link(link);
    wire_buffer_close(&out);
    return request;
}

/* For the value that a set_config() gave. */
static void ask(struct link *link, const char *name, bool local, bool lasting) {
    struct wire_buffer sql = {0};
    append(&sql, "SELECT n, pg_catalog.current_setting(n, true) FROM ");
    if (name != NULL) {
        append(&sql, "(VALUES (");
        session_append_literal(&sql, name);
        append(&sql, "::text)) v(n)");
    } else {
        append(&sql, "(SELECT name FROM pg_catalog.pg_settings WHERE source = 'session' AND name "
                     "NOT IN ('transaction_isolation', 'transaction_read_only', "
                     "'transaction_deferrable')) v(n)");
    }
    wire_append(&sql, "", 1);
    struct request *request = ask_sql(link, (const char *)sql.data);
    request->captures_local = local;
    request->captures_lasting = lasting;
    wire_buffer_close(&sql);
}

void session_ask_reading(struct link *link) {
    ask_sql(link, "SELECT name, setting FROM pg_catalog.pg_show_all_settings() WHERE name IN"
                  " ('standard_conforming_strings', 'client_encoding')")
        ->captures_reading = true;
}

static void ask_behind_block(struct link *link, const char *name) {
    bool another = link->asks_after && (link->asked_after == NULL || name == NULL ||
                                        strcmp(link->asked_after, name) != 0);
    free(link->asked_after);
    link->asked_after = another || name == NULL ? NULL : alloc_text(name);
    link->asks_after = true;
}

/* When the statement has been answered in full; for all where several are not known, of which some
 * may end with the block. */
static void ask_later(struct link *link, const char *name, bool local) {
    bool another = link->asks_setting &&
                   (link->asked_setting == NULL || name == NULL ||
                    strcmp(link->asked_setting, name) != 0 || link->asked_local != local);
    free(link->asked_setting);
    link->asked_setting = another ? NULL : alloc_text(name);
    link->asked_local =
        (another && link->in_block) || (local && (!link->asks_setting || link->asked_local));
    link->asked_lasting = false;
    link->asks_setting = true;
}

/* A value gives it the style, the order or both. */
static bool is_set_by_parts(const struct statement_facts *facts) {
    return facts->name != NULL && facts->value != NULL && strcasecmp(facts->name, "datestyle") == 0;
}

/* What set_config() set: one constant, or what the server is to be asked for. Where it may have set
 * something for the transaction only, it counts within the block, and behind that the server is
 * asked what has stayed. */
static __attribute__((cold)) void note_set_configs(struct session *s, struct link *link,
                                                   const struct statement_facts *facts) {
    bool several = (facts->flags & STATEMENT_SETS_SEVERAL) != 0;
    const char *name = several ? NULL : facts->name;
    bool maybe = (facts->flags & STATEMENT_MAYBE_LOCAL) != 0;
    bool local = (facts->flags & STATEMENT_LOCAL) != 0 && !maybe;
    bool parts = name != NULL && is_set_by_parts(facts);
    /* A pipeline's transaction may yet become a block. */
    bool ends_later = link->in_block || (link->unsynced && in_transaction(s));
    if (ends_later && (maybe || ((name == NULL || parts) && !local))) {
        ask_behind_block(link, name);
        local = maybe || !parts;
    }
    if (name != NULL && facts->value != NULL && !parts) {
        note_set_config(s, link, name, facts->value, local);
        return;
    }
    /* An extension's parameter is none that the server tells of. */
    if (several && facts->name != NULL && facts->value != NULL)
        note_set_config(s, link, facts->name, facts->value, (facts->flags & STATEMENT_LOCAL) != 0);
    ask_later(link, name, local);
}

/* What code did that the classifier looks through, but not at which time. */
static void note_unknown(struct session *s, struct link *link) {
    bool ends_later = link->in_block || (link->unsynced && in_transaction(s));
    if (ends_later)
        ask_behind_block(link, NULL);
    ask_later(link, NULL, ends_later);
}

/* A rule of that view makes it a set_config() of whatever name. */
static bool updates_settings(const struct statement *statement) {
    const struct statement_facts *facts = statement->facts;
    for (size_t i = 0; statement->modifies_neutral && i < facts->table_count; i++)
        if (facts->tables[i].access == ACCESS_WRITE &&
            strcmp(facts->tables[i].name, "pg_settings") == 0)
            return true;
    return false;
}

/* Each default of its own: the others stay, and any of them can be reset alone. */
static void note_characteristics(struct session *s, struct link *link,
                                 const char *characteristics) {
    char *copy = alloc_text(characteristics), *left = copy;
    for (char *each; (each = strsep(&left, ",")) != NULL;) {
        each += strspn(each, " ");
        char *value = each + strcspn(each, " ");
        *value++ = '\0';
        char *name = alloc_format("default_%s", each);
        struct wire_buffer sql = {0};
        session_write_set(&sql, name, value, false);
        note_plain(s, link, name, (const char *)sql.data, sql.length, false, false);
        wire_buffer_close(&sql);
        free(name);
    }
    free(copy);
}

static __attribute__((noinline)) void note_set(struct session *s, struct link *link,
                                               const struct query *query,
                                               const struct statement_facts *facts) {
    bool local = (facts->flags & STATEMENT_LOCAL) != 0;
    if (is_set_by_parts(facts)) {
        if (link->in_block && !local)
            ask_behind_block(link, facts->name);
        ask_later(link, facts->name, local);
    } else if (strcmp(facts->name, "session characteristics") == 0) {
        note_characteristics(s, link, facts->value);
    } else {
        note(s, link, facts->name, query->text + facts->start, facts->length, &query->lexing, local,
             false);
    }
    if ((facts->flags & STATEMENT_DEFAULT) == 0 || (local && !in_transaction(s)))
        return;
    if (in_transaction(s))
        s->block.entries[s->block.count - 1].to_default = !local;
    else
        session_follow_home(s);
    session_restore_startup(s, facts->name, local);
    if (!local && strcasecmp(facts->name, "session_authorization") == 0)
        session_restore_startup(s, "role", false);
}

void session_note_settings(struct session *s, struct link *link, const struct query *query,
                           const struct statement *statement, unsigned ran) {
    const struct statement_facts *facts = statement->facts;
    const char *sql = query->text + facts->start;
    switch (facts->kind) {
    case KIND_SET:
        note_set(s, link, query, facts);
        return;
    case KIND_RESET_ALL:
        note(s, link, "", sql, facts->length, &query->lexing, false, true);
        return;
    case KIND_SET_TRANSACTION:
    case KIND_SET_CONSTRAINTS:
        note(s, link, "", sql, facts->length, &query->lexing, true, false);
        if (in_transaction(s))
            s->block.entries[s->block.count - 1].chains = facts->kind == KIND_SET_TRANSACTION;
        return;
    default:
        break;
    }
    bool calls = (ran & STATEMENT_SET_CONFIG) != 0;
    if ((!calls && !updates_settings(statement)) ||
        (session_settings(s)->database_count < 2 && s->pool_mode == POOL_OFF))
        return;
    if ((facts->flags & STATEMENT_SET_CONFIG) == 0)
        note_unknown(s, link); /* FETCH, EXECUTE, UPDATE pg_settings */
    else if (statement->executes || (facts->flags & STATEMENT_HOLD) != 0)
        note_set_configs(s, link, facts);
}

void session_ask_setting(struct session *s, struct link *link) {
    if (!link->asks_setting || link->answers.count > 0 || link->skipping)
        return;
    link->asks_setting = false;
    if (session_block_status(s->routing) == BLOCK_FAILED)
        return;
    ask(link, link->asked_setting, link->asked_local, link->asked_lasting);
    s->barrier = true; /* what a Parse means depends on the answer */
}

void session_block_left(struct session *s, struct link *link, bool committed) {
    if (!link->asks_after)
        return;
    link->asks_after = false;
    if (committed) {
        free(link->asked_setting);
        link->asked_setting = link->asked_after;
        link->asked_after = NULL;
        link->asked_local = false;
        link->asked_lasting = true;
        link->asks_setting = true;
        if (link->answers.count == 0) {
            s->active = link;
            session_ask_setting(s, link);
        }
    }
}

/* A DataRow of two text columns. */
void session_capture_setting(struct session *s, struct link *link, const struct request *request,
                             const uint8_t *row, size_t length) {
    if (length < 6 || wire_get_u16(row) != 2)
        return;
    char *columns[2] = {NULL, NULL};
    size_t at = 2;
    for (int i = 0; i < 2; i++) {
        if (length - at < 4)
            break;
        uint32_t size = wire_get_u32(row + at);
        at += 4;
        if (size == UINT32_MAX || size > length - at)
            break;
        columns[i] = alloc_copy((const char *)row + at, size);
        at += size;
    }
    if (columns[0] != NULL && columns[1] != NULL && request->captures_reading)
        session_learn_reading(s, link, columns[0], columns[1]);
    else if (columns[0] != NULL && columns[1] != NULL && request->captures_lasting)
        note_lasting(s, link, columns[0], columns[1]);
    else if (columns[0] != NULL && columns[1] != NULL)
        note_set_config(s, link, columns[0], columns[1], request->captures_local);
    free(columns[0]);
    free(columns[1]);
}
