#include "commands/lint_input.h"

#include "config/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_SIZE = 256 * 1024 };

static bool is_standard(const char *name) {
    return strcmp(name, "-") == 0;
}

bool lint_input_open(struct lint_input *input, const char *name, struct lint_progress *progress,
                     struct error *error) {
    *input = (struct lint_input){.name = name, .line = 1, .progress = progress};
    input->fd = is_standard(name) ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    if (input->fd < 0) {
        return error_set(error, "%s: %s: name a file that can be read", name, strerror(errno));
    }
    input->room = READ_SIZE + 1;
    input->data = alloc_new(input->room);
    return true;
}

void lint_input_close(struct lint_input *input) {
    if (!is_standard(input->name) && input->fd >= 0) {
        close(input->fd);
    }
    free(input->data);
}

/* Makes room for a read behind the window. */
static bool make_room(struct lint_input *input) {
    if (input->start > 0 && input->room - input->end <= READ_SIZE) {
        memmove(input->data, input->data + input->start, input->end - input->start);
        input->end -= input->start;
        input->start = 0;
    }
    if (input->room - input->end > READ_SIZE) {
        return true;
    }
    if (input->end >= LINT_WINDOW_MAX) {
        input->failure = EMSGSIZE;
        return false;
    }
    input->room = input->room * 2 + READ_SIZE;
    input->data = alloc_resize(input->data, input->room);
    return true;
}

bool lint_input_fill(struct lint_input *input) {
    if (input->eof || input->failure != 0 || !make_room(input)) {
        return false;
    }
    ssize_t got;
    do {
        got = read(input->fd, input->data + input->end, READ_SIZE);
    } while (got < 0 && errno == EINTR);
    if (got <= 0) {
        input->failure = got < 0 ? errno : 0;
        input->eof = true;
    } else {
        input->end += (size_t)got;
        lint_progress_add(input->progress, (size_t)got);
    }
    input->data[input->end] = '\0';
    return got > 0;
}

void lint_input_skip(struct lint_input *input, size_t length) {
    const char *at = input->data + input->start, *end = at + length;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        input->line++;
        at++;
    }
    input->start += length;
}

bool lint_input_line(struct lint_input *input, char **line, size_t *length) {
    size_t looked = 0;
    char *newline;
    for (;;) {
        size_t have = input->end - input->start;
        newline =
            have > looked ? memchr(input->data + input->start + looked, '\n', have - looked) : NULL;
        looked = have;
        if (newline != NULL || !lint_input_fill(input)) {
            break;
        }
    }
    *line = input->data + input->start;
    if (newline != NULL) {
        *newline = '\0';
        *length = (size_t)(newline - *line);
        input->start += *length + 1;
        input->line++;
        return true;
    }
    *length = input->end - input->start;
    input->start = input->end;
    return *length > 0 && input->failure == 0;
}

bool lint_input_check(const struct lint_input *input, struct error *error) {
    const char *name = is_standard(input->name) ? "standard input" : input->name;
    if (input->failure == EMSGSIZE) {
        return error_set(error,
                         "%s:%zu: a statement or record has more than %d MiB: is a quote missing? "
                         "Cut it out, or give the right --log-line-prefix",
                         name, input->line, LINT_WINDOW_MAX >> 20);
    }
    if (input->failure != 0) {
        return error_set(error, "%s:%zu: %s: name a file that can be read", name, input->line,
                         strerror(input->failure));
    }
    return true;
}
