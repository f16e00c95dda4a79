/* The part of a login that proves who the client is; internal to login.c. Each function returns the
 * state that follows. */
#ifndef PGINTERLOCK_LOGIN_AUTH_H
#define PGINTERLOCK_LOGIN_AUTH_H

#include "proxy/login.h"

/* Starts the method of the settings for the user of the startup message. */
enum login_state login_auth_start(struct login *login);

/* The body of a 'p' message (length bytes, borrowed) in each of the states that wait for one. */
enum login_state login_auth_password(struct login *login, const uint8_t *body, size_t length);
enum login_state login_auth_md5(struct login *login, const uint8_t *body, size_t length);
enum login_state login_auth_sasl_first(struct login *login, const uint8_t *body, size_t length);
enum login_state login_auth_sasl_final(struct login *login, const uint8_t *body, size_t length);

/* From login.c: tells the client FATAL and logs `reason` (NULL: the message itself); LOGIN_FAILED.
 */
enum login_state login_refuse(struct login *login, const char *sqlstate, const char *message,
                              const char *hint, const char *reason);
/* From login.c: the client is who it claims to be. */
enum login_state login_accept(struct login *login);

#endif
