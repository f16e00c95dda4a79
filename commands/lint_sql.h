/* SQL files: one session each, cut into statements as psql does, with the files that pg_dump writes
 * in mind: data behind COPY … FROM STDIN and psql's own commands are skipped. One thread. */
#ifndef PGINTERLOCK_LINT_SQL_H
#define PGINTERLOCK_LINT_SQL_H

#include "commands/lint_check.h"
#include "commands/lint_input.h"

/* False: a statement couldn't be read (NUL, invalid UTF-8); the error says where. The rest is
 * checked all the same. */
bool lint_sql_read(struct lint_input *input, struct lint_check *check, size_t file,
                   struct error *error) __attribute__((warn_unused_result));

#endif
