#include "commands/lint_readers.h"

#include "routing/text.h"

#include <stdlib.h>
#include <string.h>

/* A record in the making: its lines are contiguous, as the server writes it at once. */
struct assembly {
    struct lint_record record;
    struct text message, detail;
    bool open;           /* there is one */
    struct text *target; /* where continuation lines go; NULL: nowhere */
};

static void hand_over(struct assembly *a, struct lint_sink *sink) {
    if (!a->open) {
        return;
    }
    a->open = false;
    a->record.message = a->message.data;
    a->record.length = a->message.length;
    a->record.detail = a->detail.length > 0 ? a->detail.data : NULL;
    a->record.detail_length = a->detail.length;
    sink->take(sink, &a->record);
}

static void restart(struct text *text, const char *bytes, size_t length) {
    text->length = 0;
    text_append_bytes(text, bytes, length);
}

static void begin_record(struct assembly *a, const struct lint_record *found, const char *text,
                         size_t length) {
    a->record = *found;
    restart(&a->message, text, length);
    a->detail.length = 0;
    a->open = true;
    a->target = &a->message;
}

/* DETAIL and its like: a part of the record before, if that is of the same process. */
static void add_part(struct assembly *a, const struct lint_record *found, const char *text,
                     size_t length) {
    bool ours = a->open && a->record.session == found->session;
    a->target = ours && found->severity == LINT_DETAIL ? &a->detail : NULL;
    if (a->target != NULL) {
        restart(a->target, text, length);
    }
}

/* A newline within a message is followed by a tab. */
static void continue_part(struct assembly *a, const char *line, size_t length) {
    if (a->open && a->target != NULL && a->target->length + length < LINT_WINDOW_MAX) {
        text_append_bytes(a->target, "\n", 1);
        text_append_bytes(a->target, line + 1, length - 1);
    }
}

static void take_line(struct assembly *a, const struct lint_prefix *prefix, char *line,
                      size_t length, size_t number, struct lint_sink *sink) {
    struct lint_record found = {.line = number};
    size_t message;
    if (length > 0 && line[0] == '\t') {
        continue_part(a, line, length);
    } else if (lint_prefix_match(prefix, line, length, &found, &message)) {
        if (found.severity == LINT_DETAIL || found.severity == LINT_MORE) {
            add_part(a, &found, line + message, length - message);
            return;
        }
        hand_over(a, sink);
        begin_record(a, &found, line + message, length - message);
    } else {
        sink->skipped++;
    }
}

void lint_stderr_read(struct lint_input *input, const struct lint_prefix *prefix,
                      struct lint_sink *sink) {
    struct assembly a = {0};
    char *line;
    size_t length;
    for (;;) {
        size_t number = input->line;
        if (!lint_input_line(input, &line, &length)) {
            break;
        }
        if (length > 0 && line[length - 1] == '\r') {
            line[--length] = '\0';
        }
        take_line(&a, prefix, line, length, number, sink);
    }
    hand_over(&a, sink);
    free(a.message.data);
    free(a.detail.data);
}
