/* What a statement is called where its constants don't matter: its normalized text, which shows no
 * value, and the fingerprint by which an allowlist and a record of violations know it.
 *
 * Pure functions; the caller frees what they return. */
#ifndef PGINTERLOCK_FINGERPRINT_H
#define PGINTERLOCK_FINGERPRINT_H

#include "routing/router.h"

/* A statement's text without its constants, comments and superfluous white space, unquoted words
 * folded to lower case, on the heap:
 *
 *     SELECT * FROM a WHERE id IN (1, -2, $3) AND b='x'
 *     select * from a where id in (?) and b = ?
 *
 * Constants become `?`: numbers with their sign, strings of every sort, parameters, and in the
 * place of a value NULL, TRUE, FALSE and DEFAULT. A list of them becomes one, and so do rows that
 * are then the same. The name that PREPARE or DECLARE gives becomes `?` too, since drivers make
 * such names up. White space depends on the tokens around it alone. So all occurrences of one
 * statement in an application have one normalized text.
 *
 * Never fails: a text that isn't SQL is taken token by token, and an unterminated quote is a
 * constant. A NUL must follow somewhere after `text`. */
char *statement_normalize(const char *text, size_t length, const struct lexing *lexing);

/* The statement's normalized text, made from its query's text or, if that stands for a shape, from
 * the shape, with the same result. The classified tables that it names in strings and bodies follow
 * in a comment, so that a permit for one DO isn't one for every other. */
char *statement_normalized_text(const struct statement *statement);

enum { FINGERPRINT_LENGTH = 16 };

/* XXH3-64 over the rule's name, a NUL and the text, as lower-case hex with a NUL: the same in every
 * version and on every machine. */
void fingerprint_make(enum rule rule, const char *normalized, char out[FINGERPRINT_LENGTH + 1]);

#endif
