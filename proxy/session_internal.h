/* The calls between the files of a session, which share the struct of session_struct.h.
 *
 *     session.c           life: events of client and links, work, end
 *     session_start.c     login, the first link
 *     session_messages.c  the one switch on a client's messages
 *     session_query.c     simple queries
 *     session_prepare.c   Parse, Bind, Describe, Close
 *     session_statements.c  which link knows which statement, and under which name
 *     session_results.c   whether a statement is what its client was told
 *     session_extended.c  Execute, Flush, Sync, and what all of the extended protocol shares
 *     session_script.c    what takes several steps: statements one by one
 *     session_verbs.c     BEGIN, COMMIT, SAVEPOINT …, DISCARD: what the proxy runs itself
 *     session_fan.c       a command for several links in turn
 *     session_links.c     making a link ready for a statement
 *     session_loss.c      losing one
 *     session_cancel.c    cancel requests
 *     session_pool.c      links that sessions take turns with
 *     session_handover.c  the settings that such a link is to have
 *     session_told.c      what clients are told of its server's own
 *     session_effects.c   what a completed statement or transaction means
 *     session_catalog.c   asking the catalogs whose a statement's indexes and sequences are
 *     session_settings.c  SET and its kin, to be repeated on other links
 *     session_reading.c   ParameterStatus, and the settings by which a server reads a text
 *     session_answers.c   the databases' messages, to the client
 *     session_errors.c    the databases' errors
 *     session_reply.c     what the proxy says itself
 *     session_violations.c  what becomes of a violation in the log and the record
 *     session_figures.c   what the console tells of a session and its links
 *
 * One link at a time has requests outstanding (the active one); before another is used, all of them
 * are answered. So answers keep the order of requests, and what is known of the transaction is true
 * whenever it is asked for. Only the COMMIT of a link that was only read may be answered later
 * (session_fan.c): it trails. Nobody waits for it but who uses that link again (session_links.c).
 *
 * Handlers of a client's message can be called again: one that has to wait (for a connection, for
 * answers) leaves the message where it is and returns PROGRESS_WAIT; when something happened, it
 * runs again from its start. */
#ifndef PGINTERLOCK_SESSION_INTERNAL_H
#define PGINTERLOCK_SESSION_INTERNAL_H

#include "proxy/session_struct.h"

/* -- session.c --------------------------------------------------------------------------------- */
void session_process(struct session *s);
void session_end(struct session *s, const char *reason); /* closes all; frees later */
static inline const struct settings *session_settings(const struct session *s) {
    return s->config->settings;
}
/* `links` are used up to here; a reload of other databases is not for sessions that are there. */
static inline int session_link_count(const struct session *s) {
    return (int)session_settings(s)->database_count;
}
/* Nothing is outstanding but the COMMIT of links that were only read, which keeps no client
 * waiting: it trails, until its link is to be used again. */
bool session_drained(const struct session *s);

/* -- session_start.c --------------------------------------------------------------------------- */
void session_on_login_done(struct login *login, bool ok);
/* Goes on with the first link; called whenever something happened to it. */
void session_link_home(struct session *s);

/* -- session_messages.c ------------------------------------------------------------------------ */
/* Handles the next message of the client, whole or its beginning. PROGRESS_WAIT: nothing more can
 * be done now. */
enum progress session_handle_message(struct session *s);
/* Whether one is there to its end; where body_fate is BODY_NONE. */
bool session_has_whole_message(const struct session *s);
/* Whether another message of the client's would only pile up here: it does not take its answers, or
 * a database does not take, or answer, what came before. An event comes when that is over. */
bool session_is_full(struct session *s);
/* …the first of it. */
bool session_client_is_full(const struct session *s);
/* Whether answers are on their way, which need nothing more from the client. */
bool session_is_owed(const struct session *s);
/* Asks the active link for its answers (Flush) where they could be held back. */
enum progress session_wait_drained(struct session *s);
/* …and for what trails on this link, before it is sent anything. */
enum progress session_wait_trail(struct session *s, struct link *link);
/* Passes the message at the front of the client's stream on to a link, whole or as far as it is
 * there. */
void session_forward_message(struct session *s, struct link *link, size_t length);

/* -- session_query.c --------------------------------------------------------------------------- */
enum progress session_on_query(struct session *s, const uint8_t *body, size_t body_length,
                               size_t length);
bool statement_is_scripted(const struct statement *statement); /* the proxy runs it itself */
/* …or for this session it does: DEALLOCATE of what came by Parse, where connections are shared. */
bool session_scripts(const struct session *s, const struct statement *statement);
bool statement_leaves_failed_block(
    const struct statement *statement); /* runs although the block failed */
/* Where a statement goes. EXECUTE and DEALLOCATE of what Parse prepared go where that is;
 * *effective is the statement whose tables count. */
void session_route(struct session *s, const struct statement *statement, struct decision *decision,
                   const struct statement **effective);
/* …one that is about to run. */
void session_route_now(struct session *s, const struct statement *statement,
                       struct decision *decision, const struct statement **effective);
/* Text of a message into s->query, once. False: the client has got the error. `shape`: a query of
 * the text's shape will do, since the message is passed on as it is. */
bool session_take_query(struct session *s, const char *text, size_t length, bool shape);
struct query *session_give_query(struct session *s); /* the reference, and s->query is NULL */
bool encoding_is_unsafe(const char *name);
#define ENCODING_REFUSED                                                                           \
    "this client_encoding is not supported: its characters can hide a quote from the proxy"
#define ENCODING_HINT "Use UTF8; the server converts."
/* Tells a loss within the open transaction, once. True: it was told as an error, the transaction
 * failed. */
bool session_tell_block_lost(struct session *s);

/* -- session_prepare.c, session_extended.c ----------------------------------------------------- */
enum progress session_on_parse(struct session *s, const uint8_t *body, size_t body_length,
                               size_t length);
enum progress session_on_bind(struct session *s, const struct bind_message *bind, size_t length);
enum progress session_on_describe(struct session *s, const uint8_t *body, size_t body_length,
                                  size_t length);
enum progress session_on_execute(struct session *s, const uint8_t *body, size_t body_length,
                                 size_t length);
enum progress session_on_close(struct session *s, const uint8_t *body, size_t body_length,
                               size_t length);
enum progress session_on_flush(struct session *s, size_t length);
enum progress session_on_sync(struct session *s, size_t length);
void session_fail_pipeline(
    struct session *s); /* after an error told to the client: skip until Sync */
/* Ends of a message's handling: done with a whole one; with one whose rest may not have arrived;
 * that it was refused (the client has got the error); that it was malformed, which ends the
 * session. */
enum progress extended_consumed(struct session *s, size_t length);
enum progress extended_dropped(struct session *s, size_t length);
enum progress extended_refused(struct session *s, size_t length);
enum progress extended_malformed(struct session *s, const struct error *error);
/* Effects of an Execute that are known only with its answer: what comes next has to wait for it. */
bool extended_behind_barrier(struct session *s);
/* Where a portal that did not come by Bind may be: a cursor's database, or the default. */
int session_portal_database(struct session *s, const char *name) __attribute__((noinline));
struct request *extended_forward(struct session *s, struct link *link, enum request_kind kind,
                                 size_t length);
/* 25P02, or the loss of a link within the transaction. USE_FAILED: the client has got the error;
 * USE_ANSWERED: the message went to a database that will refuse it in its own words. `query`: what
 * the message is about, NULL where nobody knows it; `known_on`: the physical databases that do, of
 * which one can refuse it. */
#define KNOWN_ANYWHERE (~(database_set)0)
static inline bool extended_transaction_in_doubt(const struct session *s) {
    return s->block_lost >= 0 || session_block_status(s->routing) == BLOCK_FAILED;
}
enum use extended_check_transaction(struct session *s, const struct query *query,
                                    database_set known_on, enum request_kind kind, size_t length);

/* -- session_script.c -------------------------------------------------------------------------- */
void script_start(struct session *s, struct query *query_take, bool extended);
void script_start_sync(struct session *s, database_set unsynced, bool commit);
enum progress script_run(struct session *s);
void script_fail(struct session *s, const char *sqlstate,
                 const char *message); /* error, and no statement after it */

/* -- session_verbs.c --------------------------------------------------------------------------- */
/* True: the statement is answered, or its fan was started. False: a server runs it, as any other.
 */
bool script_run_verb(struct session *s, const struct statement *statement, enum progress *progress);
const char *begin_tag(const struct query *query, const struct statement *statement);
const char *statement_text(const struct query *query, const struct statement *statement,
                           size_t *length);

/* -- session_fan.c ----------------------------------------------------------------------------- */
static inline database_set database_bit(int physical) {
    return (database_set)1 << physical;
}
/* Starts a command for these links (physical); script_run() goes on with it. `commits`: once one
 * fails the rest is rolled back. */
void fan_start(struct session *s, database_set links, const char *sql, size_t length, bool commits,
               const struct statement *statement);
enum progress fan_run(struct session *s);
/* One of its requests was answered (ReadyForQuery), or failed with this ErrorResponse. */
void fan_part_ended(struct session *s, struct link *link, const struct request *request);
void fan_take_error(struct session *s, struct link *link, const uint8_t *message, size_t length);
/* The link was lost while the fan waited for it. True: that is no error for the client. */
bool fan_tolerates_loss(struct session *s, const struct link *link);

/* -- session_links.c --------------------------------------------------------------------------- */
/* Makes the link to a database (logical index) ready for a statement: connected, in turn, with the
 * session's settings and within the open block. */
enum use session_use_link(struct session *s, int database, struct link **out);
/* …for these statements, which may then have its settings in their own round trip. */
enum use session_use_link_for(struct session *s, int database, const struct query *query,
                              struct link **out);
/* The same for a physical database, to ask it something: it does not enter the block, and its
 * failing is not told (USE_FAILED). */
enum use session_use_link_aside(struct session *s, int physical, struct link **out);
void session_connect(struct session *s, int physical);
const char *session_password(const struct session *s); /* that databases are told, or NULL */
/* Sends what the link lacks of the session's settings, and waits for it, unless it can be sent
 * right in front of the `query` (or NULL). */
enum use session_use_settings(struct session *s, struct link *link, const struct query *query);
void session_link_connected(struct link *link);
database_set session_links_in_block(const struct session *s);
database_set session_links_unsynced(const struct session *s); /* on which a pipeline is open */
int session_physical(const struct session *s, int database);
bool request_writes(const struct request *request); /* what it runs may change data */
/* A link whose server holds the failed block, and so refuses statements in its own words; or NULL.
 */
struct link *session_failed_link(const struct session *s);
void session_drop_link(struct session *s, struct link *link) __attribute__((cold));
/* One command in front of the next statement, which is a simple query or not; if it fails the
 * server skips that too. */
void session_send_prelude(struct link *link, const char *sql, bool before_query);
void session_flush_link(struct link *link);

/* -- session_cancel.c -------------------------------------------------------------------------- */
/* For a message for which a cancel request is kept. WAIT: something else may be hit by it yet;
 * FAILED: the client has got the error. */
enum use session_heed_cancel(struct session *s) __attribute__((cold));
void session_link_cancelled(struct link *link); /* no request for it is on its way any more */

/* -- session_loss.c ---------------------------------------------------------------------------- */
void session_link_lost(struct session *s, struct link *link);
/* Why the link that was there is gone, until it has been told once; NULL: it isn't. */
const char *session_lost_why(const struct session *s, int physical);
bool session_tell_lost(struct session *s, int physical); /* false: there is nothing to tell */

/* -- session_pool.c ---------------------------------------------------------------------------- */
/* READY: s->links[physical] is there, perhaps as a failure; WAIT: in the queue; FAILED: it would be
 * a deadlock, and the client has got the error. */
enum use session_take_link(struct session *s, int physical);
bool session_waits_for_pool(const struct session *s);
const struct pool_settings *session_pool_settings(const struct session *s);
/* What a client with the same settings was told when it was let in, so that no link is needed;
 * NULL: not known. Borrowed for the call. */
struct parameters *session_find_welcome(struct session *s);
void session_keep_welcome(struct session *s, struct link *link);
/* Gives back every link that the session doesn't need beyond its transactions. */
void session_release_links(struct session *s);
/* Between two messages that came together, where links are shared by transaction: somebody else may
 * have waited longer. */
void session_let_others(struct session *s) __attribute__((cold));
/* The next link comes from the pools of the settings of then. No link is left. */
void session_leave_pools(struct session *s);
/* What trailed on a link has come: the link may be given back, or is known to be kept. */
void session_trail_ended(struct session *s, struct link *link) __attribute__((cold));
/* Gives back all, at the session's end. */
void session_leave_links(struct session *s);
/* What a statement may have left on a link, or a function called by its number; the answer to what
 * the server was asked about it. */
void session_note_call(const struct session *s, struct link *link);
void session_note_binding(struct session *s, struct link *link, const struct statement *statement);
void session_take_bindings(struct link *link, const uint8_t *row, size_t length)
    __attribute__((cold));
void session_binding_unknown(struct link *link);
/* Why the session has the link now: bits of enum binding. */
unsigned session_link_keeps(const struct session *s, const struct link *link);

/* -- session_handover.c ------------------------------------------------------------------------ */
/* The session's settings as one value, made anew only when one has changed. Borrowed. */
struct setting_set *session_setting_set(struct session *s);
/* The commands that bring a link from a pool to the session's settings. */
void session_append_difference(struct session *s, struct link *link, struct wire_buffer *sql);
/* The same, right in front of the query that is sent next, in its transaction. False: that can't be
 * now. */
bool session_send_difference(struct session *s, struct link *link, const struct query *query);
void session_settle_difference(struct link *link, bool failed); /* that transaction is over */
/* Enters a setting that no statement of the client made. */
void session_log_setting(struct session *s, const char *name, const char *value);
/* Enters the startup packet's settings. False: an option stands there that no statement could set.
 */
bool session_log_startup(struct session *s, struct error *error);
/* Enters them again after RESET ALL, or that of one name after its RESET. */
void session_restore_startup(struct session *s, const char *only, bool local);
bool session_has_startup_settings(struct session *s); /* where links come from a pool */
/* Whether a parameter's value there is not the client's, who has yet to get its own again. */
bool session_lacks_startup(struct session *s, const struct link *link, const char *name);
void session_tell_restored(struct session *s, struct link *link); /* the link has them */

/* -- session_told.c ---------------------------------------------------------------------------- */
/* Enters what the link's server would do otherwise than the client was told, once. */
void session_align_pooled(struct session *s, const struct link *link);
void session_forget_alignment(struct session *s); /* after RESET ALL: it is to be done anew */
/* standard_conforming_strings has another value there than the session has set: a function may have
 * done that, or a reload. */
void session_doubt_strings(const struct session *s, const struct link *link);
/* Tells what is new of the server's defaults before its link is used. All else is answered. */
void session_tell_defaults(struct session *s, struct link *link);
/* Tells where what the link reports by now is not what the client knows. Between two messages. */
void session_tell_news(struct session *s, struct link *link);
static inline void session_heed_news(struct session *s) {
    struct link *link = s->active;
    if (link == NULL || link->pool == NULL)
        return;
    const struct session_pool *entry = &s->pools[link->physical];
    if (entry->heard != link_parameters(link) || entry->known != s->parameters)
        session_tell_news(s, link);
}

/* -- session_statements.c ---------------------------------------------------------------------- */
/* Which link knows a statement that came by Parse: under its own name, or, where clients share the
 * link, under one of ours. */
bool session_knows_statement(const struct link *link, const struct prepared *prepared);
/* The client's Parse made it: decides under which name links are to know it. */
void session_share_statement(struct session *s, struct prepared *prepared);
/* …and again: as long as it means the same on the database, it stays what it is. */
void session_share_on(struct session *s, struct prepared *prepared, int physical);
/* It has been retired. */
void session_share_anew(struct session *s, struct prepared *prepared) __attribute__((cold));
/* Parse again, on another link than at first; nothing where the link knows it. */
void session_prepare_there(struct link *link, struct prepared *prepared);
/* Before statements that run such a one by EXECUTE in SQL. */
void session_prepare_executed(struct session *s, struct link *link,
                              const struct statement *statements, size_t count);
static inline void session_prepare_named(struct session *s, struct link *link,
                                         const struct statement *statements, size_t count) {
    if (s->pool_mode == POOL_TRANSACTION && prepared_any(&s->prepared) &&
        (count != 1 || !statements->plain))
        session_prepare_executed(s, link, statements, count);
}
/* What a Bind names, which SQL's PREPARE may have made: a reference, or NULL. */
struct prepared *session_find_for_bind(struct session *s, const char *name);
/* Whether the link has any under the client's own names for it. */
bool session_names_there(const struct session *s, const struct link *link);
/* Pass the client's message on, with the statement's name on the link in it. */
void session_forward_parse(struct session *s, struct link *link, struct prepared *prepared,
                           const struct parse_message *parse, size_t length);
void session_forward_bind(struct session *s, struct link *link, struct prepared *prepared,
                          const struct bind_message *bind, size_t length);
void session_forward_describe(struct session *s, struct link *link, struct prepared *prepared,
                              const char *name, size_t length);
/* A name that is neither the client's own nor an open one. */
bool session_name_is_reserved(const struct session *s, const char *name);

/* -- session_results.c ------------------------------------------------------------------------- */
/* Before Bind or Describe: has the statement prepared on the link, as what the client was told, for
 * which the server may have to be asked. */
enum use session_hold_statement(struct session *s, struct link *link, struct prepared *prepared,
                                bool binds);
/* Describe of one of its portals was sent: the client may keep what it will be told of the
 * result. */
void session_heed_portal(struct link *link, struct prepared *prepared);
/* A part of the answer to Describe of a statement, or of such a portal. */
void session_take_description(struct session *s, struct link *link, const struct request *request,
                              char type, const uint8_t *body, size_t length)
    __attribute__((noinline));
/* Its result is not what it was. */
void session_statement_stale(struct session *s, struct prepared *prepared);
/* How often tables were seen to change; once more. */
uint64_t session_structure(const struct session *s);
void session_structure_changed(struct session *s);

/* -- session_answers.c ------------------------------------------------------------------------- */
/* Answers a Parse or Close that no server need see, behind all that was asked before. */
void session_reply_in_turn(struct session *s, enum request_kind kind, struct prepared *prepared);
void session_read_link(struct session *s, struct link *link);

/* -- session_errors.c -------------------------------------------------------------------------- */
/* An ErrorResponse: for the client, or for whom the proxy asked. */
void session_on_error(struct session *s, struct link *link, const uint8_t *message, size_t length)
    __attribute__((cold));
/* What a Parse that failed, or will not be run, was to make. */
void session_parse_failed(struct session *s, struct link *link, const struct request *request);

/* -- session_catalog.c ------------------------------------------------------------------------- */
/* What the statement names is known as far as catalogs can tell, before session_route(). Waits
 * while they are asked; session_take_catalog_failure() says afterwards whether that took the
 * statement with it. */
enum progress session_ask_catalogs(struct session *s, const struct statement *statement);
static inline enum progress session_resolve_names(struct session *s,
                                                  const struct statement *statement) {
    return statement->asks_catalogs ? session_ask_catalogs(s, statement) : PROGRESS_DONE;
}
bool session_take_catalog_failure(struct session *s); /* once; scripts are told directly */
/* Whether such an error of the question leaves the statement alone. */
bool session_catalog_may_fail(const struct link *link, const char *sqlstate);
void session_catalog_failed(struct session *s, bool in_pipeline);
/* The link was lost before it could be asked. False: it was not to be asked next. */
bool session_catalog_unheard(struct session *s, const struct link *link);
void session_take_catalog_row(struct session *s, const struct link *link, const uint8_t *row,
                              size_t length) __attribute__((cold));
void session_catalog_answered(struct session *s, const struct link *link);
void catalog_close(struct catalog *catalog);
/* A completed statement may have changed structure; what did may have been undone, or is over. */
void session_note_structure(struct session *s, const struct statement *statement);
void session_structure_settled(struct session *s, bool over) __attribute__((cold));

/* -- session_effects.c ------------------------------------------------------------------------- */
/* The transaction is over on all links: settings made in it stay (committed) or are forgotten; AND
 * CHAIN keeps BEGIN. */
void session_block_finished(struct session *s, bool committed, bool chain);
/* Keeps what the statement's effects will be, where deciding again could find others. */
void session_keep_effects(struct request *request, const struct statement *statement,
                          const struct decision *decision);
/* The next statement of a request was completed. */
void session_statement_done(struct session *s, struct link *link, struct request *request);
/* Its settings, where it made any, are to be repeated on other links. */
void session_note_settings(struct session *s, struct link *link, const struct query *query,
                           const struct statement *statement, unsigned ran);

/* -- session_settings.c ------------------------------------------------------------------------ */
/* Asks for a value that set_config() gave, once everything else on the link is answered. */
void session_unalign_links(
    struct session *s); /* their servers' defaults are in force again: see link->aligned */
void session_ask_setting(struct session *s, struct link *link) __attribute__((cold));
/* The link has left its block: what set_config() made there, which may have been for the block
 * only, is asked for again. */
void session_block_left(struct session *s, struct link *link, bool committed);
/* SELECT set_config(…), as SQL that every setting of the string means the same to. */
/* …or SET name TO value, where that can be and needs no snapshot. */
void session_write_set(struct wire_buffer *sql, const char *name, const char *value, bool local);
void session_write_set_config(struct wire_buffer *sql, const char *name, const char *value,
                              bool local);
void session_capture_setting(struct session *s, struct link *link, const struct request *request,
                             const uint8_t *row, size_t length) __attribute__((cold));

/* Asks how the server reads texts by now; the answer comes to session_learn_reading(). */
void session_ask_reading(struct link *link);
/* `value` holds on the link, and is to hold on the others. */
void session_note_value(struct session *s, struct link *link, const char *name, const char *value);

/* -- session_reading.c ------------------------------------------------------------------------- */

/* What it means for the reading of the client's texts. */
void session_heed_parameter(struct session *s, const char *name, const char *value);
/* What the client was last told of a server's parameter, or NULL. */
const char *session_parameter(const struct session *s, const char *name);
/* Where the client does not know the value yet. */
void session_tell_parameter(struct session *s, struct link *link, const char *name,
                            const char *value);
void session_on_parameter(struct session *s, struct link *link, const uint8_t *message,
                          size_t length) __attribute__((cold));
/* No transaction is open: the values of now are those that stay. */
void session_settle_parameters(struct session *s);
/* What all links are to agree on, whether or not a block is open: NULL where it isn't known. */
const char *session_parameter_outside(const struct session *s, const char *name);
/* A statement was sent that may change how the next text is read. */
void session_note_reading(struct session *s, const struct statement *statement);
/* Before a text is taken: PROGRESS_WAIT until it is certain how the server will read it. */
enum progress session_wait_reading(struct session *s, const char *text, size_t length);
/* Whether the server will read some of the text once more when it runs it, and in another way. */
bool session_is_read_twice(const struct query *query, const char *text, size_t length);
/* A server's word on how it reads. */
void session_learn_reading(struct session *s, struct link *link, const char *name,
                           const char *value);
/* An SQL string constant that means the same with and without standard_conforming_strings. */
void session_append_literal(struct wire_buffer *sql, const char *text);

/* -- session_reply.c --------------------------------------------------------------------------- */
bool session_is_mid_message(const struct session *s); /* nothing of ours may go between */
void reply_flush(struct session *s);                  /* moves `out` to the client's stream */
void reply_ready(struct session *s);
void reply_command_complete(struct session *s, const char *tag);
void reply_empty(struct session *s, char type) __attribute__((noinline));
/* ERROR with these fields; the block fails with it. NULL fields are left out. */
void reply_error(struct session *s, const char *sqlstate, const char *message, const char *detail,
                 const char *hint);
void reply_notice(struct session *s, const char *severity, const char *sqlstate,
                  const char *message);
void reply_fatal(struct session *s, const char *sqlstate, const char *message, const char *detail,
                 const char *hint);
/* What the decision rejects, with its words; it is logged and recorded. */
void reply_violation(struct session *s, const struct query *query,
                     const struct statement *statement, const struct decision *decision);
/* As PostgreSQL says it, so that drivers know it. */
void reply_stale_plan(struct session *s) __attribute__((cold));
void reply_aborted(struct session *s) __attribute__((cold)); /* 25P02 */
/* The text of a refusal, until the next one is made. */
const char *session_message(struct session *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Own settings and transaction verbs that need no database. */
void reply_local_statement(struct session *s, const struct query *query,
                           const struct statement *statement, const struct decision *decision,
                           bool describe);

/* -- session_violations.c ---------------------------------------------------------------------- */
/* The text that the client sent a statement in: a query's own, or what a shape stands for. */
struct sent_text {
    const char *text;
    size_t length;
};
static inline struct sent_text query_sent_text(const struct query *query) {
    return (struct sent_text){query->text, query->length};
}
/* Logs and records what was rejected, or let pass (once it runs). */
void session_note_rejection(struct session *s, struct sent_text sent,
                            const struct statement *statement, const struct decision *decision);
void session_note_observations(struct session *s, struct sent_text sent,
                               const struct statement *statement, const struct decision *decision);

#endif
