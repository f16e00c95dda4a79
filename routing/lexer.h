/* PostgreSQL's tokens, as its scan.l (version 15) cuts them, without looking anything up.
 *
 * A NUL must follow somewhere after the text. Works on a borrowed text, allocates nothing, takes
 * time linear in the text. One lexer belongs to one
 * caller. Source: PostgreSQL manual, "Lexical Structure". */
#ifndef PGINTERLOCK_LEXER_H
#define PGINTERLOCK_LEXER_H

#include <stdbool.h>
#include <stddef.h>

enum token_kind {
    TOKEN_END,
    TOKEN_IDENTIFIER,        /* unquoted, keywords too */
    TOKEN_QUOTED_IDENTIFIER, /* "…" and U&"…" */
    TOKEN_STRING,            /* '…' of every prefix, continuation lines included */
    TOKEN_DOLLAR_STRING,     /* $tag$…$tag$ */
    TOKEN_NUMBER,
    TOKEN_PARAMETER,   /* $1 */
    TOKEN_OPERATOR,    /* a run of operator characters, one token or more to PostgreSQL */
    TOKEN_PUNCTUATION, /* one of , ( ) [ ] . : and what is no token at all */
    TOKEN_SEMICOLON,
    TOKEN_LINE_COMMENT, /* without its newline */
    TOKEN_BLOCK_COMMENT,
};

struct token {
    enum token_kind kind;
    bool unterminated; /* a string, quoted identifier or comment that runs into the end of the text
                        */
    size_t start, end; /* byte offsets; end exclusive */
};

struct lexer {
    const char *text;
    size_t length;
    size_t position;
    bool standard_conforming_strings;
};

void lexer_init(struct lexer *lexer, const char *text, size_t length,
                bool standard_conforming_strings);

/* The next token, comments included, white space skipped. At the end TOKEN_END, however often. */
void lexer_next(struct lexer *lexer, struct token *token);

/* Writes the name that an identifier token stands for, folded or unquoted and cut to 63 bytes, with
 * a NUL: its length; 0 where it has none. */
enum { LEXER_NAME_MAX = 63 };
size_t lexer_name(const char *text, const struct token *token, char name[LEXER_NAME_MAX + 1]);

/* The end of a UESCAPE 'x' that follows the lexer's position, and the character that it sets; 0:
 * there is none. */
size_t lexer_uescape(const struct lexer *lexer, char *escape);

/* The same with the UESCAPE that may follow; the lexer's position is right after the token. */
size_t lexer_name_escaped(const struct lexer *lexer, const struct token *token,
                          char name[LEXER_NAME_MAX + 1]);

/* Likewise reads one part of a name in a string such as '"public"."ci_builds"' and moves
 * `*position` past it. False: the string has no name there. */
bool lexer_string_part(const char *text, size_t length, size_t *position,
                       char name[LEXER_NAME_MAX + 1]);

bool lexer_is_space(char c);
bool lexer_is_identifier(char c);

#endif
