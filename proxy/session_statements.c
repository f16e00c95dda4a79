/* The statements that a client made with Parse, on its links: each knows some of them, under the
 * client's names or, where clients share the link, under names of ours. */
#include "proxy/session_internal.h"
#include "proxy/session_sequences.h"

#include "config/alloc.h"
#include "proxy/server_statements.h"
#include "routing/escape_strings.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char reserved[] = "pginterlock_";

bool session_name_is_reserved(const struct session *s, const char *name) {
    return s->pool_mode != POOL_OFF && strncmp(name, reserved, strlen(reserved)) == 0;
}

/* -- what is the same statement ---------------------------------------------------------------- */

/* Settings by which a text is neither read nor planned, nor its constants made. */
static bool is_harmless(const char *name) {
    static const char *const names[] = {"application_name",
                                        "client_min_messages",
                                        "default_transaction_deferrable",
                                        "default_transaction_isolation",
                                        "default_transaction_read_only",
                                        "idle_in_transaction_session_timeout",
                                        "idle_session_timeout",
                                        "lock_timeout",
                                        "standard_conforming_strings", /* written as E'…' */
                                        "statement_timeout",
                                        "synchronous_commit"};
    if (strchr(name, '.') != NULL)
        return true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

static void append_command(struct wire_buffer *meaning, const char *sql) {
    wire_append(meaning, sql, strlen(sql));
    wire_append(meaning, ";", 1);
}

static bool has_temporary_tables(const struct session *s) {
    for (int i = 0; i < s->link_count; i++)
        if (s->links[i] != NULL &&
            (s->links[i]->makes_temporary || (s->links[i]->bindings & BOUND_TEMPORARY) != 0))
            return true;
    return false;
}

/* By what else than its text a server reads a statement now: its database, the user, the session's
 * settings and those of its open block. One that may mean a temporary table is nobody else's. */
static void write_meaning(struct session *s, int physical, struct wire_buffer *meaning) {
    message_put_u8(meaning, (uint8_t)(physical + 1));
    append_command(meaning, s->startup.user);
    for (size_t i = 0; i < s->settings.count; i++)
        if (!is_harmless(s->settings.changes[i].name))
            append_command(meaning, s->settings.changes[i].sql);
    for (size_t i = 0; i < s->block.count; i++) {
        const struct block_entry *entry = &s->block.entries[i];
        bool setting = entry->kind == ENTRY_SETTING && entry->name != NULL;
        if (setting && (entry->reset_all || entry->name[0] != '\0') && !is_harmless(entry->name))
            append_command(meaning, entry->sql);
    }
    if (has_temporary_tables(s)) {
        char number[32];
        snprintf(number, sizeof number, "%" PRIu64, ++s->worker->last_statement);
        append_command(meaning, number);
    }
    wire_append(meaning, "", 1);
}

void session_share_on(struct session *s, struct prepared *prepared, int physical) {
    struct wire_buffer meaning = {0};
    write_meaning(s, physical, &meaning);
    if (prepared->shared != NULL &&
        shared_statement_means(prepared->shared, (const char *)meaning.data)) {
        wire_buffer_close(&meaning);
        return;
    }
    shared_statement_unref(prepared->shared);
    prepared->shared_on = physical;
    /* One text read in two ways is two statements. */
    char *text = text_with_escape_strings(prepared->query->text, prepared->query->length,
                                          &prepared->query->lexing);
    prepared->shared =
        shared_statement_get(s->worker->statements, (const char *)meaning.data, text, strlen(text),
                             prepared->types, prepared->types_length, session_structure(s));
    free(text);
    wire_buffer_close(&meaning);
}

void session_share_anew(struct session *s, struct prepared *prepared) {
    shared_statement_unref(prepared->shared);
    prepared->shared = NULL;
    session_share_on(s, prepared, prepared->shared_on);
}

void session_share_statement(struct session *s, struct prepared *prepared) {
    if (s->pool_mode != POOL_TRANSACTION || prepared->local)
        return;
    prepared->serial = ++s->worker->last_statement;
    if (prepared->name[0] != '\0')
        session_share_on(s, prepared, session_physical(s, prepared->database));
}

/* -- which link knows it ----------------------------------------------------------------------- */

bool session_knows_statement(const struct link *link, const struct prepared *prepared) {
    if (prepared->shared != NULL)
        return server_statements_use(link->statements, prepared->shared);
    if (prepared->serial != 0)
        return link->unnamed == prepared->serial;
    return (prepared->prepared_on >> link->physical & 1) != 0;
}

static const char *name_there(const struct prepared *prepared) {
    return prepared->shared == NULL ? prepared->name : shared_statement_name(prepared->shared);
}

static void send_close(struct link *link, const char *name) {
    struct wire_buffer out = {0};
    message_put_close(&out, 'S', name);
    stream_send(&link->stream, out.data, out.length);
    wire_buffer_close(&out);
    answers_push(&link->answers, REQUEST_CLOSE, AUDIENCE_PROXY);
}

/* A Parse is about to be sent. */
static void note_known(struct link *link, struct prepared *prepared) {
    if (prepared->shared != NULL) {
        char evicted[SERVER_STATEMENT_NAME];
        uint64_t id = server_statements_add(&link->statements, prepared->shared,
                                            pool_statement_limit(link->pool), evicted);
        if (id != 0) {
            send_close(link, evicted);
            answers_last(&link->answers)->evicted = id;
        }
    } else if (prepared->serial != 0) {
        link->unnamed = prepared->serial;
    } else {
        prepared->prepared_on |= database_bit(link->physical);
    }
}

static void send_parse(struct link *link, struct prepared *prepared, const char *name) {
    struct wire_buffer out = {0};
    size_t mark = message_begin(&out, 'P');
    message_put_string(&out, name);
    char *text = text_with_escape_strings(prepared->query->text, prepared->query->length,
                                          &prepared->query->lexing);
    message_put_string(&out, text);
    free(text);
    message_put_u16(&out, (uint16_t)(prepared->types_length / 4));
    wire_append(&out, prepared->types, prepared->types_length);
    message_end(&out, mark);
    stream_send(&link->stream, out.data, out.length);
    wire_buffer_close(&out);
    answers_push(&link->answers, REQUEST_PARSE, AUDIENCE_PROXY)->prepared = prepared_ref(prepared);
    link->unsynced = true;
}

void session_prepare_there(struct link *link, struct prepared *prepared) {
    if (session_knows_statement(link, prepared))
        return;
    if (prepared->shared == NULL && prepared->name[0] != '\0') /* an earlier one of the name may
                                                                  have been left there */
        send_close(link, prepared->name);
    note_known(link, prepared);
    send_parse(link, prepared, name_there(prepared));
}

/* EXECUTE in SQL of a statement that came by Parse needs it under the client's own name, which then
 * keeps the link with the session. */
void session_prepare_executed(struct session *s, struct link *link,
                              const struct statement *statements, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const struct statement_facts *facts = statements[i].facts;
        bool runs = facts->kind == KIND_EXECUTE || facts->inner_kind == KIND_EXECUTE;
        struct prepared *prepared =
            runs && facts->name != NULL ? prepared_find(&s->prepared, facts->name) : NULL;
        if (prepared == NULL || prepared->shared == NULL ||
            (prepared->prepared_on >> link->physical & 1) != 0)
            continue;
        send_close(link, prepared->name);
        send_parse(link, prepared, prepared->name);
        prepared->prepared_on |= database_bit(link->physical);
        link->bindings |= BOUND_NAME;
    }
}

bool session_names_there(const struct session *s, const struct link *link) {
    struct prepared *prepared = NULL;
    while ((prepared = prepared_next(&s->prepared, prepared)) != NULL)
        if ((prepared->prepared_on >> link->physical & 1) != 0)
            return true;
    return false;
}

/* What SQL's PREPARE made counts as EXECUTE of it does. */
struct prepared *session_find_for_bind(struct session *s, const char *name) {
    struct prepared *found = prepared_find(&s->prepared, name);
    if (found != NULL)
        return prepared_ref(found);
    int database = name[0] != '\0' ? session_prepared_database(s->routing, name) : -1;
    if (database < 0)
        return NULL;
    struct wire_buffer sql = {0};
    wire_append(&sql, "EXECUTE \"", 9);
    for (const char *c = name; *c != '\0'; c++) {
        if (*c == '"')
            wire_append(&sql, c, 1);
        wire_append(&sql, c, 1);
    }
    wire_append(&sql, "\"", 2);
    struct error error = {{0}};
    struct query *query = NULL;
    if (router_query(s->config->router, (const char *)sql.data, sql.length - 1, &s->lexing, s->utf8,
                     &query, &error)) {
        found = prepared_new(name, query);
        found->database = database;
        found->prepared_on = database_bit(session_physical(s, database));
    }
    wire_buffer_close(&sql);
    return found;
}

/* The message at the front of the client's stream (`length` bytes, not all of which need be there),
 * with other bytes in place of those from `from` to `to`, and so many `more` behind it. */
static __attribute__((noinline)) void forward_renamed(struct session *s, struct link *link,
                                                      size_t length, size_t more, size_t from,
                                                      size_t to, const char *name) {
    const uint8_t *message = stream_peek(&s->client);
    uint8_t header[FRAME_HEADER] = {message[0]};
    assert(from >= FRAME_HEADER && to <= stream_available(&s->client));
    wire_put_u32(header + 1, (uint32_t)(length - 1 - (to - from) + strlen(name)));
    stream_send(&link->stream, header, sizeof header);
    stream_send(&link->stream, message + FRAME_HEADER, from - FRAME_HEADER);
    stream_send(&link->stream, name, strlen(name));
    stream_consume(&s->client, to);
    session_forward_message(s, link, length + more - to);
}

static void forward(struct session *s, struct link *link, const struct prepared *prepared,
                    size_t length, size_t more, const char *name_here) {
    if (prepared == NULL || prepared->shared == NULL) {
        session_forward_message(s, link, length + more);
        return;
    }
    size_t from = (size_t)((const uint8_t *)name_here - stream_peek(&s->client));
    forward_renamed(s, link, length, more, from, from + strlen(name_here), name_there(prepared));
}

static struct request *push(struct link *link, enum request_kind kind) {
    link->unsynced = true;
    return answers_push(&link->answers, kind, AUDIENCE_CLIENT);
}

void session_forward_parse(struct session *s, struct link *link, struct prepared *prepared,
                           const struct parse_message *parse, size_t length) {
    if (prepared != NULL && prepared->shared != NULL && session_knows_statement(link, prepared)) {
        stream_consume(&s->client, length);
        session_reply_in_turn(s, REQUEST_PARSE, prepared);
        prepared_unref(prepared);
        return;
    }
    if (prepared != NULL)
        note_known(link, prepared);
    push(link, REQUEST_PARSE)->prepared = prepared;
    forward(s, link, prepared, length, 0, parse->name);
}

/* Most drivers send Describe of the unnamed portal right behind its Bind. All that could keep it
 * back has just been looked at for the Bind: they go together. Its length, or 0. */
static size_t description_behind(const struct session *s, const struct bind_message *bind,
                                 size_t length) {
    static const uint8_t describe[] = {'D', 0, 0, 0, 6, 'P', 0};
    bool follows = bind->portal[0] == '\0' &&
                   stream_available(&s->client) >= length + sizeof describe &&
                   memcmp(stream_peek(&s->client) + length, describe, sizeof describe) == 0;
    return follows ? sizeof describe : 0;
}

void session_forward_bind(struct session *s, struct link *link, struct prepared *prepared,
                          const struct bind_message *bind, size_t length) {
    const struct statement *statement = prepared_statement(prepared);
    if (statement != NULL && statement->facts->function_count > 0) {
        session_note_binding(s, link, statement); /* planning runs those that say IMMUTABLE */
        session_disown_sequences(s, link);
    }
    size_t more = description_behind(s, bind, length);
    struct request *request = push(link, REQUEST_BIND);
    if (prepared->shared != NULL)
        request->prepared = prepared_ref(prepared);
    if (more > 0) {
        push(link, REQUEST_DESCRIBE);
        session_heed_portal(link, prepared);
    }
    forward(s, link, prepared, length, more, bind->statement);
}

void session_forward_describe(struct session *s, struct link *link, struct prepared *prepared,
                              const char *name, size_t length) {
    struct request *request = push(link, REQUEST_DESCRIBE);
    if (prepared != NULL)
        request->prepared = prepared_ref(prepared);
    forward(s, link, prepared, length, 0, name);
}
