/* What a statement is called where its constants don't matter: its normalized text, which tells no
 * value, and the fingerprint that an allowlist and a record of violations know it by.
 *
 * Pure functions of what they are given; what they return is the caller's. */
#ifndef PGINTERLOCK_FINGERPRINT_H
#define PGINTERLOCK_FINGERPRINT_H

#include "routing/router.h"

/* A statement's text without its constants, comments and superfluous white space, unquoted words
 * folded to lower case.
 *
 *     SELECT * FROM a WHERE id IN (1, -2, $3) AND b='x'   →   select * from a where id in (?) and b
 * = ?
 *
 * Constants become `?`: numbers with their sign, strings of every sort, parameters, and in the
 * place of a value NULL, TRUE, FALSE and DEFAULT. A list of them becomes one, and so do rows that
 * are then the same. What is between tokens depends on them alone. The name that PREPARE or DECLARE
 * gives becomes `?` too: drivers make them up. So all occurrences of one statement in an
 * application have one normalized text. Never fails: a text that is none is taken token by token,
 * and what is cut short in quotes is a constant. On the heap. `text` must be followed by a NUL, not
 * at once where only its front part is normalized. */
char *statement_normalize(const char *text, size_t length, const struct lexing *lexing);

/* Of the statement, from its query's text or, where that stands for a shape, from the shape: the
 * same for both. The classified tables that it names in strings and bodies stand behind it in a
 * comment, so that a permit for one DO is none for every other. */
char *statement_normalized_text(const struct statement *statement);

enum { FINGERPRINT_LENGTH = 16 };

/* XXH3-64 over the rule's name, a NUL and the text, as lower-case hex with a NUL: the same in every
 * version and on every machine. */
void fingerprint_make(enum rule rule, const char *normalized, char out[FINGERPRINT_LENGTH + 1]);

#endif
