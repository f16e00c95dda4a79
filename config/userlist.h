/* userlist.txt in PgBouncer's format: `"user" "secret"` a line, `""` inside for a quote, `;` begins
 * a comment. Used while loading, on one thread. */
#ifndef PGINTERLOCK_USERLIST_H
#define PGINTERLOCK_USERLIST_H

#include "config/settings.h"

/* Reads the text into an array sorted by name. The error reads `PATH:LINE: …` and never holds a
 * secret. */
bool userlist_parse(const char *path, const char *data, size_t length, struct user **users,
                    size_t *count, struct error *error) __attribute__((warn_unused_result));

void userlist_free(struct user *users, size_t count); /* wipes the secrets */

#endif
