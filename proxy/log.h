/* The log: one line an event, as text or JSON, to standard error. Safe to call from every thread; a
 * line is one write(2). Passwords never come here; literals of statements only at level debug. */
#ifndef PGINTERLOCK_LOG_H
#define PGINTERLOCK_LOG_H

#include "config/settings.h"

#include <stdbool.h>
#include <stdint.h>

/* Where lines go, and which lines; embedded in the process and passed to whoever logs. `level` and
 * `format` may change with a reload, so they are read atomically. */
struct log {
    int fd;
    _Atomic int level;  /* enum log_level */
    _Atomic int format; /* enum log_format */
};

void log_init(struct log *log, int fd, enum log_level level, enum log_format format);

/* A field of a line: text where `text` isn't NULL, else the number. */
struct log_field {
    const char *key;
    const char *text;
    int64_t number;
};

/* Writes a line. The fields end with {0}:
 *
 *     log_event(log, LOG_INFO, "client connected",
 *               (struct log_field[]){{"client", "127.0.0.1:5000", 0}, {"pid", NULL, 7}, {0}});
 *
 * Text: `2026-11-23 05:00:00.123 UTC INFO client connected client=127.0.0.1:5000 pid=7`, with
 * values quoted where they need it and control characters escaped. JSON: {"time": …, "level": …,
 * "message": …, "client": …}. */
void log_event(struct log *log, enum log_level level, const char *message,
               const struct log_field *fields);

static inline bool log_wants(const struct log *log, enum log_level level) {
    return (int)level >= log->level;
}

#endif
