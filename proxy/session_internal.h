/* The calls between the files of a session, which share the struct of session_struct.h.
 *
 *     session.c           life: events of client and links, work, end
 *     session_start.c     login, the first link
 *     session_messages.c  the one switch on a client's messages
 *     session_query.c     simple queries
 *     session_prepare.c   Parse, Bind, Describe, Close
 *     session_sequences.c whose numbers currval() and lastval() tell
 *     session_statements.c  which link knows which statement, and under which name
 *     session_results.c   whether a statement is what its client was told
 *     session_extended.c  Execute, Flush, Sync, and what all of the extended protocol shares
 *     session_script.c    what takes several steps: statements one by one
 *     session_verbs.c     BEGIN, COMMIT, SAVEPOINT …, DISCARD: what the proxy runs itself
 *     session_fan.c       a command for several links in turn
 *     session_fan_answers.c  what they answer, and what the client is told of that
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
 * (session_fan.c), or a question behind it: these trail. Nobody waits for them but who uses that
 * link again (session_links.c).
 *
 * Handlers of a client's message can be called again: one that has to wait (for a connection, for
 * answers) leaves the message where it is and returns PROGRESS_WAIT; when something happened, it
 * runs again from its start. */
#ifndef PGINTERLOCK_SESSION_INTERNAL_H
#define PGINTERLOCK_SESSION_INTERNAL_H

#include "proxy/session_struct.h"

#include "config/rarely.h"

/* -- session.c --------------------------------------------------------------------------------- */
void session_process(struct session *s);
/* Closes all; frees later. */
void session_end(struct session *s, const char *reason) __attribute__((cold));
static inline const struct settings *session_settings(const struct session *s) {
    return s->config->settings;
}
/* Whether nothing is outstanding but the COMMIT of links that were only read, which keeps no client
 * waiting: it trails until its link is to be used again. */
bool session_drained(const struct session *s);

/* -- session_start.c --------------------------------------------------------------------------- */
void session_on_login_done(struct login *login, bool ok);
/* Goes on with the session's first link; called whenever something has happened to it. */
void session_link_home(struct session *s);

/* -- session_messages.c ------------------------------------------------------------------------ */
/* Handles the client's next message, or its beginning. PROGRESS_WAIT: nothing more can be done yet.
 */
enum progress session_handle_message(struct session *s);
/* Whether the next message has arrived whole; only while body_fate is BODY_NONE. */
bool session_has_whole_message(const struct session *s);
/* Whether another message of the client would only pile up here: the client does not take its
 * answers, or a database does not take, or answer, what came before. An event comes when that is
 * over. */
bool session_is_full(struct session *s);
/* Whether the client does not take its answers. */
bool session_client_is_full(const struct session *s);
/* Whether answers are on their way that need nothing more from the client. */
bool session_is_owed(const struct session *s);
/* Waits for session_drained(). Sends the active link a Flush where its server could hold answers
 * back. */
enum progress session_wait_drained(struct session *s);
/* …and for what trails on this link, before it is sent anything. */
enum progress session_wait_trail(struct session *s, struct link *link);
/* Passes on the message at the front of the client's stream, whole or as far as it has arrived. */
void session_forward_message(struct session *s, struct link *link, size_t length);

/* -- session_query.c --------------------------------------------------------------------------- */
enum progress session_on_query(struct session *s, const uint8_t *body, size_t body_length,
                               size_t length);
bool statement_is_scripted(const struct statement *statement); /* the proxy runs it itself */
/* Likewise for this session: where connections are shared, also DEALLOCATE of what Parse made. */
bool session_scripts(const struct session *s, const struct statement *statement);
bool statement_leaves_failed_block(
    const struct statement *statement); /* runs although the block failed */
/* Decides where a statement goes. EXECUTE and DEALLOCATE of what Parse prepared go where that is;
 * *effective is the statement whose tables count. */
void session_route(struct session *s, const struct statement *statement, struct decision *decision,
                   const struct statement **effective);
/* The same for a statement that is about to run. */
void session_route_now(struct session *s, const struct statement *statement,
                       struct decision *decision, const struct statement **effective);
/* Puts the query of a message's text into s->query, unless it is there already. False: the client
 * has got the error. `shape`: a query of the text's shape will do, since the message is passed on
 * as it is. */
bool session_take_query(struct session *s, const char *text, size_t length, bool shape);
struct query *session_give_query(struct session *s); /* the reference, and s->query is NULL */
bool encoding_is_unsafe(const char *name);
#define ENCODING_REFUSED                                                                           \
    "this client_encoding is not supported: its characters can hide a quote from the proxy"
#define ENCODING_HINT "Use UTF8; the server converts."
/* Tells the client, once, of a connection that was lost within the open transaction. True: it has
 * got the error, and the transaction has failed. */
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
enum progress session_on_flush(struct session *s, size_t length) __attribute__((noinline));
enum progress session_on_sync(struct session *s, size_t length);
void session_fail_pipeline(
    struct session *s); /* after an error told to the client: skip until Sync */
/* How handling a message ends. Done with a whole message: */
enum progress extended_consumed(struct session *s, size_t length);
/* Done with a message whose rest may not have arrived: */
enum progress extended_dropped(struct session *s, size_t length);
/* It was refused, and the client has got the error: */
enum progress extended_refused(struct session *s, size_t length) __attribute__((cold));
/* The link or the transaction is not ready for it, for this reason: */
enum progress extended_not_ready(struct session *s, enum use use, size_t length)
    __attribute__((cold));
/* It was malformed, which ends the session: */
enum progress extended_malformed(struct session *s, const struct error *error)
    __attribute__((cold));
/* Whether to wait for the answer to an earlier Execute, whose effects are known only then. */
bool extended_behind_barrier(struct session *s);
/* Where a portal that did not come by Bind may be: a cursor's database, or the default. */
int session_portal_database(struct session *s, const char *name) __attribute__((noinline));
struct request *extended_forward(struct session *s, struct link *link, enum request_kind kind,
                                 size_t length);
/* Refuses the message in a failed transaction (25P02), or after a link within the transaction was
 * lost. USE_FAILED: the client has got the error; USE_ANSWERED: the message went to a database that
 * will refuse it in its own words. `query`: what the message is about, NULL if it isn't known;
 * `known_on`: the physical databases that know it, so that one of them can refuse it. */
#define KNOWN_ANYWHERE (~(database_set)0)
static inline bool extended_transaction_in_doubt(const struct session *s) {
    return RARELY(s->block_lost >= 0 || session_block_status(s->routing) == BLOCK_FAILED);
}
enum use extended_check_transaction(struct session *s, const struct query *query,
                                    database_set known_on, enum request_kind kind, size_t length)
    __attribute__((cold));

/* -- session_script.c -------------------------------------------------------------------------- */
void script_start(struct session *s, struct query *query_take, bool extended);
void script_start_sync(struct session *s, database_set unsynced, bool commit);
enum progress script_run(struct session *s) __attribute__((noinline));
void script_fail(struct session *s, const char *sqlstate,
                 const char *message); /* error, and no statement after it */

/* -- session_verbs.c --------------------------------------------------------------------------- */
/* True: the statement is answered, or its fan was started. False: it isn't such a statement, and a
 * server runs it. */
bool script_run_verb(struct session *s, const struct statement *statement, enum progress *progress);
/* ROLLBACK TO where block_torn: the client gets the error. */
void script_refuse_torn(struct session *s) __attribute__((cold));
const char *begin_tag(const struct query *query, const struct statement *statement);
const char *statement_text(const struct query *query, const struct statement *statement,
                           size_t *length);

/* -- sets of physical databases ---------------------------------------------------------------- */
static inline database_set database_bit(int physical) {
    return (database_set)1 << physical;
}

/* -- session_links.c --------------------------------------------------------------------------- */
/* Makes the link to a database (logical index) ready for a statement: connected, in turn, with the
 * session's settings and within the open block. */
enum use session_use_link(struct session *s, int database, struct link **out);
/* The same for these statements, so that the settings can be sent in their own round trip. */
enum use session_use_link_for(struct session *s, int database, const struct query *query,
                              struct link **out);
/* Likewise for a physical database, to ask it something: the link does not enter the block, and the
 * client is not told if it fails (USE_FAILED). */
enum use session_use_link_aside(struct session *s, int physical, struct link **out);
void session_connect(struct session *s, int physical);
const char *session_password(const struct session *s); /* for the databases, or NULL */
/* Sends the settings that the link lacks, and waits for the answer unless they can be sent right in
 * front of `query` (or NULL). */
enum use session_use_settings(struct session *s, struct link *link, const struct query *query);
void session_link_connected(struct link *link);
database_set session_links_in_block(const struct session *s);
database_set session_links_unsynced(const struct session *s); /* on which a pipeline is open */
int session_physical(const struct session *s, int database);
/* A link whose server holds the failed block, and so refuses statements in its own words; or NULL.
 */
struct link *session_failed_link(const struct session *s);
void session_drop_link(struct session *s, struct link *link) __attribute__((cold));
/* Sends a command in front of the next statement (`before_query`: a simple query); if it fails, the
 * server skips that statement too. */
void session_send_prelude(struct link *link, const char *sql, bool before_query);
void session_flush_link(struct link *link);

/* -- session_cancel.c -------------------------------------------------------------------------- */
/* Called for a message for which a cancel request is kept. WAIT: the request may still hit
 * something else; FAILED: the client has got the error. */
enum use session_heed_cancel(struct session *s) __attribute__((cold));
void session_link_cancelled(struct link *link); /* no cancel request for it is on its way */

/* -- session_loss.c ---------------------------------------------------------------------------- */
void session_link_lost(struct session *s, struct link *link) __attribute__((cold));
bool request_writes(const struct request *request); /* what it runs may change data */
/* Why the link to that database was lost, until the client has been told; NULL: it wasn't. */
const char *session_lost_why(const struct session *s, int physical);
bool session_tell_lost(struct session *s, int physical); /* false: there is nothing to tell */
/* The client gets the error that the database is gone, which its next statement isn't told again.
 */
void session_tell_gone(struct session *s, int physical, const char *detail);

/* -- session_pool.c ---------------------------------------------------------------------------- */
/* READY: s->links[physical] is set, perhaps to a failed link; WAIT: in the queue; FAILED: to wait
 * would be a deadlock, and the client has got the error. */
enum use session_take_link(struct session *s, int physical);
/* Takes the idle link with the session's claim on sequences. False: there is none. */
bool session_take_drawn(struct session *s, int physical) __attribute__((cold));
bool session_waits_for_pool(const struct session *s);
/* Its entrypoint's limits as configured by now, which hold for who began under others, too. */
const struct pool_settings *session_pool_settings(const struct session *s);
/* What a client with the same settings was told at login, so that no link is needed; NULL: not
 * known. Borrowed for the call. */
struct parameters *session_find_welcome(struct session *s);
void session_keep_welcome(struct session *s, struct link *link);
/* Gives back every link that the session doesn't need beyond its transactions. */
void session_release_links(struct session *s);
/* Between two messages that came together, where links are shared by transaction: gives links back
 * to sessions that have waited longer. */
void session_let_others(struct session *s) __attribute__((cold));
/* A link's on_wanted(): gives it back if it isn't in use. */
void session_yield_link(struct link *link) __attribute__((cold));
/* Leaves the pools; the next link comes from those of the settings of that time. The session has no
 * link left. */
void session_leave_pools(struct session *s);
/* What trailed on a link has come: the link may be given back, or is known to be kept. */
void session_trail_ended(struct session *s, struct link *link) __attribute__((cold));
/* Gives back all, at the session's end. */
void session_leave_links(struct session *s);
/* Notes what a function called by its OID, or a statement, may have left on a link; and takes the
 * server's answer to the question about that. */
void session_note_call(const struct session *s, struct link *link);
void session_note_binding(struct session *s, struct link *link, const struct statement *statement);
void session_take_bindings(struct link *link, const uint8_t *row, size_t length)
    __attribute__((cold));
void session_binding_unknown(struct link *link) __attribute__((cold));
/* Why the session keeps the link: bits of enum binding. */
unsigned session_link_keeps(const struct session *s, const struct link *link);

/* -- session_handover.c ------------------------------------------------------------------------ */
/* The session's settings as one value, remade only when one has changed. Borrowed. */
struct setting_set *session_setting_set(struct session *s);
/* The commands that bring a link from a pool to the session's settings. */
void session_append_difference(struct session *s, struct link *link, struct wire_buffer *sql);
/* Sends them right in front of the query that is sent next, in its transaction. False: this isn't
 * possible now. */
bool session_send_difference(struct session *s, struct link *link, const struct query *query);
void session_settle_difference(struct link *link, bool failed); /* that transaction is over */
/* Logs a setting that no statement of the client made. */
void session_log_setting(struct session *s, const char *name, const char *value);
/* Logs the startup packet's settings. False: it has an option that no statement could set. */
bool session_log_startup(struct session *s, struct error *error);
/* Logs them again after RESET ALL; after RESET of one setting (`only`), that one. */
void session_restore_startup(struct session *s, const char *only, bool local);
bool session_has_startup_settings(struct session *s); /* where links come from a pool */
/* Whether a parameter's value there is not the client's, which has yet to be set again. */
bool session_lacks_startup(struct session *s, const struct link *link, const char *name);
/* The link has them. */
void session_tell_restored(struct session *s, struct link *link) __attribute__((cold));

/* -- session_told.c ---------------------------------------------------------------------------- */
/* Has what the client was told of its first server set anew on the links to others, where they are
 * the session's own: it has changed there, or was reset. */
void session_follow_home(struct session *s);
/* Logs as settings, once, what the link's server would do differently from what clients were told.
 */
void session_align_pooled(struct session *s, const struct link *link);
void session_forget_alignment(struct session *s); /* after RESET ALL: it is to be done anew */
/* standard_conforming_strings has another value there than the session has set: by a function, or
 * by a reload. */
void session_doubt_strings(const struct session *s, const struct link *link);
/* Tells the client of new defaults of the server before its link is used. Everything else has been
 * answered. */
void session_tell_defaults(struct session *s, struct link *link) __attribute__((cold));
/* Tells the client what the link reports and the client doesn't know. Between two messages. */
void session_tell_news(struct session *s, struct link *link) __attribute__((cold));
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
/* After the client's Parse: decides under which name links are to know the statement. */
void session_share_statement(struct session *s, struct prepared *prepared);
/* Decides again, for a database: the statement stays what it is as long as it means the same there.
 */
void session_share_on(struct session *s, struct prepared *prepared, int physical);
/* Decides again after the shared statement was retired. */
void session_share_anew(struct session *s, struct prepared *prepared) __attribute__((cold));
/* Sends Parse again, on another link than at first, unless the link knows the statement. */
void session_prepare_there(struct link *link, struct prepared *prepared);
/* The same before statements that may run what came by Parse with EXECUTE. */
void session_prepare_executed(struct session *s, struct link *link,
                              const struct statement *statements, size_t count);
static inline void session_prepare_named(struct session *s, struct link *link,
                                         const struct statement *statements, size_t count) {
    if (s->pool_mode == POOL_TRANSACTION && prepared_any(&s->prepared) &&
        (count != 1 || !statements->plain))
        session_prepare_executed(s, link, statements, count);
}
/* The statement that a Bind names, which SQL's PREPARE may have made: a reference, or NULL. */
struct prepared *session_find_for_bind(struct session *s, const char *name);
/* Whether the link has statements under the client's own names. */
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
/* Before Bind or Describe: makes sure that the statement is prepared on the link and has the result
 * that the client was told of, for which the server may have to be asked. */
enum use session_hold_statement(struct session *s, struct link *link, struct prepared *prepared,
                                bool binds);
/* Describe of one of its portals was sent: the client may remember what it is told of the result.
 */
void session_heed_portal(struct link *link, struct prepared *prepared);
/* Takes a part of the answer to Describe of a statement, or of such a portal. */
void session_take_description(struct session *s, struct link *link, const struct request *request,
                              char type, const uint8_t *body, size_t length)
    __attribute__((noinline));
/* The statement's result has changed. */
void session_statement_stale(struct session *s, struct prepared *prepared);
/* How often tables were seen to change; and that they were once more. */
uint64_t session_structure(const struct session *s);
void session_structure_changed(struct session *s);

/* -- session_answers.c ------------------------------------------------------------------------- */
/* Answers a Parse or Close that no server need see, after everything that was asked before. */
void session_reply_in_turn(struct session *s, enum request_kind kind, struct prepared *prepared);
void session_read_link(struct session *s, struct link *link);

/* -- session_errors.c -------------------------------------------------------------------------- */
/* Handles an ErrorResponse: for the client, or to a question of the proxy's own. */
void session_on_error(struct session *s, struct link *link, const uint8_t *message, size_t length)
    __attribute__((cold));
/* Forgets the statement of a Parse that failed, or that will not be run. */
void session_parse_failed(struct session *s, struct link *link, const struct request *request);

/* -- session_catalog.c ------------------------------------------------------------------------- */
/* Before session_route(): makes sure that the names in the statement are known as far as catalogs
 * can tell. Waits while they are asked; session_take_catalog_failure() says afterwards whether the
 * question's failure was the statement's. */
enum progress session_ask_catalogs(struct session *s, const struct statement *statement);
static inline enum progress session_resolve_names(struct session *s,
                                                  const struct statement *statement) {
    return statement->asks_catalogs ? session_ask_catalogs(s, statement) : PROGRESS_DONE;
}
bool session_take_catalog_failure(struct session *s); /* once; scripts are told directly */
/* Whether an error of the question leaves the statement unharmed. */
bool session_catalog_may_fail(const struct link *link, const char *sqlstate);
void session_catalog_failed(struct session *s, bool in_pipeline);
/* The link was lost before it could be asked. False: it was not to be asked next. */
bool session_catalog_unheard(struct session *s, const struct link *link);
void session_take_catalog_row(struct session *s, const struct link *link, const uint8_t *row,
                              size_t length) __attribute__((cold));
void session_catalog_answered(struct session *s, const struct link *link);
void catalog_close(struct catalog *catalog);
/* A completed statement may have changed structure; and the transaction of such statements is over,
 * or (`over` false) some of them were undone. */
void session_note_structure(struct session *s, const struct statement *statement);
void session_structure_settled(struct session *s, bool over) __attribute__((cold));

/* -- session_effects.c ------------------------------------------------------------------------- */
/* The transaction is over on all links: settings made in it stay (committed) or are forgotten; AND
 * CHAIN keeps BEGIN. */
void session_block_finished(struct session *s, bool committed, bool chain);
/* Stores in the request what the statement's effects will be, if deciding again could find others.
 */
void session_keep_effects(struct request *request, const struct statement *statement,
                          const struct decision *decision);
/* Whether it surely does by what it says; code behind operators, views and the like is not seen. */
bool statement_only_reads(const struct statement *statement);
/* The next statement of a request was completed. */
void session_statement_done(struct session *s, struct link *link, struct request *request);
/* Notes the settings that it made, if any, to be repeated on other links. */
void session_note_settings(struct session *s, struct link *link, const struct query *query,
                           const struct statement *statement, unsigned ran);

/* -- session_settings.c ------------------------------------------------------------------------ */
/* The servers' defaults are in force again: see link->aligned. */
void session_unalign_links(struct session *s);
/* Asks for a value that set_config() gave, once everything else on the link is answered. */
void session_ask_setting(struct session *s, struct link *link) __attribute__((cold));
/* The link has left its block: asks again for what set_config() set there, which may have held for
 * the block only. */
void session_block_left(struct session *s, struct link *link, bool committed);
/* Writes SET name TO value where that is possible, since it needs no snapshot; else SELECT
 * set_config(…). Both mean the same however the server reads strings. */
void session_write_set(struct wire_buffer *sql, const char *name, const char *value, bool local);
void session_write_set_config(struct wire_buffer *sql, const char *name, const char *value,
                              bool local);
void session_capture_setting(struct session *s, struct link *link, const struct request *request,
                             const uint8_t *row, size_t length) __attribute__((cold));

/* Asks how the server reads texts at present; the answer goes to session_learn_reading(). */
void session_ask_reading(struct link *link);
/* The setting has this value on the link, and is to have it on the others. */
void session_note_value(struct session *s, struct link *link, const char *name, const char *value);

/* -- session_reading.c ------------------------------------------------------------------------- */

/* The client was told of this value: heeds what it means for how texts are read. */
void session_heed_parameter(struct session *s, const char *name, const char *value);
/* What the client was last told of a server's parameter, or NULL. */
const char *session_parameter(const struct session *s, const char *name);
/* Tells the client of the value, unless it knows it. */
void session_tell_parameter(struct session *s, struct link *link, const char *name,
                            const char *value);
void session_on_parameter(struct session *s, struct link *link, const uint8_t *message,
                          size_t length) __attribute__((cold));
/* No transaction is open: the present values will stay. */
void session_settle_parameters(struct session *s);
/* The value that all links are to agree on, whether or not a block is open; NULL: not known. */
const char *session_parameter_outside(const struct session *s, const char *name);
/* A statement was sent that may change how the next text is read. */
void session_note_reading(struct session *s, const struct statement *statement);
/* Before a text is taken: PROGRESS_WAIT until it is certain how the server will read it. */
enum progress session_wait_reading(struct session *s, const char *text, size_t length);
/* Whether the server will read part of the text again when it runs it, and in another way: of
 * several statements. */
bool session_is_read_twice(const struct query *query, const char *text, size_t length);
/* Takes a server's answer on how it reads texts. */
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
                 const char *hint) __attribute__((cold));
void reply_notice(struct session *s, const char *severity, const char *sqlstate,
                  const char *message);
void reply_fatal(struct session *s, const char *sqlstate, const char *message, const char *detail,
                 const char *hint) __attribute__((cold));
/* Rejects the statement in the decision's words; logs and records that. */
void reply_violation(struct session *s, const struct query *query,
                     const struct statement *statement, const struct decision *decision)
    __attribute__((cold));
/* "cached plan must not change result type", in PostgreSQL's words, which drivers know. */
void reply_stale_plan(struct session *s) __attribute__((cold));
void reply_aborted(struct session *s) __attribute__((cold)); /* 25P02 */
/* The text of a refusal, until the next one is made. */
const char *session_message(struct session *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Answers a statement that needs no database: settings of ours, transaction verbs. */
void reply_local_statement(struct session *s, const struct query *query,
                           const struct statement *statement, const struct decision *decision,
                           bool describe);

#endif
