/* A file or the standard input as a stream with a window: what was read and not yet used stands in
 * one piece, followed by a NUL, and grows only as far as one statement or record needs.
 *
 * Owned by the caller; one thread. Pointers into the window hold until the next call. */
#ifndef PGINTERLOCK_LINT_INPUT_H
#define PGINTERLOCK_LINT_INPUT_H

#include "commands/lint_progress.h"
#include "config/error.h"

#include <stdbool.h>
#include <stddef.h>

enum { LINT_WINDOW_MAX = 64 * 1024 * 1024 }; /* bytes that one statement or record may have */

struct lint_input {
    const char *name; /* as given; "-" is the standard input */
    int fd;
    char *data; /* the window is data[start … end), data[end] is NUL */
    size_t start, end, room;
    size_t line; /* number of the line that `start` is in, from 1 */
    bool eof;
    int failure; /* errno of a read that failed, EMSGSIZE where the window is too small; 0: none */
    struct lint_progress *progress; /* borrowed */
};

/* False: it can't be opened; the error says `FILE: why: what to do`. */
bool lint_input_open(struct lint_input *input, const char *name, struct lint_progress *progress,
                     struct error *error) __attribute__((warn_unused_result));
void lint_input_close(struct lint_input *input);

/* Reads more behind the window's end, which may move as a whole. False: there is no more, or it
 * failed. */
bool lint_input_fill(struct lint_input *input);

/* Uses up `length` bytes of the window and counts their lines. */
void lint_input_skip(struct lint_input *input, size_t length);

/* Uses up one line: without its newline, NUL-terminated, and borrowed until the next call. False:
 * no more. */
bool lint_input_line(struct lint_input *input, char **line, size_t *length);

/* Whether everything was read; else the error says `FILE:LINE: why: what to do`. */
bool lint_input_check(const struct lint_input *input, struct error *error)
    __attribute__((warn_unused_result));

#endif
