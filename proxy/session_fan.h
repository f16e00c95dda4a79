/* A command for several links in turn, such as COMMIT, and what its parts tell. With COMMIT the
 * client must hear the truth whatever becomes of a part: which databases have committed, which have
 * not, and of which it is not known.
 *
 * Part of a session, on its worker's thread; the state is struct fan, in the session's script.
 * Source: PostgreSQL manual, "Message Flow". */
#ifndef PGINTERLOCK_SESSION_FAN_H
#define PGINTERLOCK_SESSION_FAN_H

#include "proxy/session_struct.h"

/* Starts a command for these links (physical); script_run() goes on with it. `commits`: if it fails
 * on one link, the rest are rolled back. */
void fan_start(struct session *s, database_set links, const char *sql, size_t length, bool commits,
               const struct statement *statement);
enum progress fan_run(struct session *s);

/* One of its requests was answered: by CommandComplete with this tag, */
void fan_take_tag(struct session *s, struct link *link, const struct request *request,
                  const uint8_t *message, size_t length);
/* by this ErrorResponse, */
void fan_take_error(struct session *s, struct link *link, const uint8_t *message, size_t length);
/* and by ReadyForQuery. False: that is not what ends such a command. */
bool fan_part_ended(struct session *s, struct link *link, const struct request *request,
                    char status);

/* Whether a notice of one of its requests is for the client. */
bool fan_passes_notice(const struct session *s, const struct request *request,
                       const uint8_t *message, size_t length);

/* The link was lost while the fan waited for it. True: this is no error for the client. */
bool fan_tolerates_loss(struct session *s, const struct link *link);

/* DETAIL where a COMMIT was lost on this database, and may have succeeded: what is known of the
 * others, if the fan is over several. */
void fan_describe_unknown(const struct session *s, int physical, char *out, size_t size)
    __attribute__((cold));

/* A database was lost before its COMMIT was sent, and what was written there with it. The client
 * gets the error. */
void fan_part_gone(struct session *s, int physical) __attribute__((cold));
/* A database is gone with what an implicit transaction did there; `committed` are those that have
 * committed their part. The client gets the error. */
void fan_tell_gone(struct session *s, int physical, database_set committed) __attribute__((cold));

#endif
