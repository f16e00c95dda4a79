#include "proxy/log.h"

#include "config/utf8.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 8192 };

/* A line under construction; what doesn't fit is cut off, the line stays well-formed because
 * `limit` keeps room for its end. */
struct line {
    char text[LINE_MAX_BYTES];
    size_t length, limit;
};

static const char *const level_names[] = {
    [LOG_DEBUG] = "DEBUG", [LOG_INFO] = "INFO", [LOG_WARNING] = "WARNING", [LOG_ERROR] = "ERROR"};

void log_init(struct log *log, int fd, enum log_level level, enum log_format format) {
    log->fd = fd;
    log->level = (int)level;
    log->format = (int)format;
}

static bool put_bytes(struct line *line, const char *bytes, size_t length) {
    if (length > line->limit - line->length)
        return false;
    memcpy(line->text + line->length, bytes, length);
    line->length += length;
    return true;
}

static bool put(struct line *line, const char *text) {
    return put_bytes(line, text, strlen(text));
}

static void put_cut(struct line *line, const char *text) {
    if (!put(line, text))
        put_bytes(line, text, line->limit - line->length);
}

/* Control characters, DEL and C1 controls: a terminal that shows the log must not obey a client. */
static bool is_control(const char *at, size_t length) {
    const unsigned char *byte = (const unsigned char *)at;
    return byte[0] < 0x20 || byte[0] == 0x7f || (length == 2 && byte[0] == 0xc2 && byte[1] < 0xa0);
}

/* Text within quotes, by the rules that JSON and our text form share. Bytes that aren't UTF-8
 * become U+FFFD. */
static void put_escaped(struct line *line, const char *text) {
    while (*text != '\0') {
        size_t length = utf8_length(text, 4); /* its NUL ends a character that is cut off */
        char escape[8];
        bool fits;
        if (length == 0) {
            fits = put(line, "\xef\xbf\xbd");
            length = 1;
        } else if (*text == '"' || *text == '\\') {
            fits = put_bytes(line, (const char[]){'\\', *text}, 2);
        } else if (*text == '\n') {
            fits = put(line, "\\n");
        } else if (*text == '\t') {
            fits = put(line, "\\t");
        } else if (is_control(text, length)) {
            unsigned code = (unsigned char)text[length - 1]; /* also right for U+0080 to U+009F */
            snprintf(escape, sizeof escape, "\\u%04x", code);
            fits = put(line, escape);
        } else {
            fits = put_bytes(line, text, length);
        }
        if (!fits)
            return;
        text += length;
    }
}

static void put_quoted(struct line *line, const char *text) {
    line->limit -= 1; /* for the closing quote */
    if (put(line, "\"")) {
        put_escaped(line, text);
        line->limit += 1;
        put(line, "\"");
    } else {
        line->limit += 1;
    }
}

static bool needs_quotes(const char *text) {
    if (*text == '\0')
        return true;
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte <= ' ' || byte >= 0x7f || byte == '"' || byte == '\\' || byte == '=')
            return true;
    }
    return false;
}

/* The message of a text line stands without quotes; only what could be taken for another line is
 * escaped. */
static void put_message_text(struct line *line, const char *text) {
    bool plain = true;
    for (const char *at = text; *at != '\0'; at++)
        plain = plain && (unsigned char)*at >= ' ' && (unsigned char)*at < 0x7f;
    if (plain)
        put_cut(line, text);
    else
        put_escaped(line, text);
}

static void put_time(struct line *line, bool json) {
    struct timespec now;
    struct tm utc;
    char text[64];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t length =
        strftime(text, sizeof text, json ? "%Y-%m-%dT%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &utc);
    put_bytes(line, text, length);
    snprintf(text, sizeof text, json ? ".%03ldZ" : ".%03ld UTC", now.tv_nsec / 1000000);
    put(line, text);
}

static void put_number(struct line *line, int64_t number) {
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)number);
    put(line, text);
}

static void format_text(struct line *line, enum log_level level, const char *message,
                        const struct log_field *field) {
    put_time(line, false);
    put(line, " ");
    put(line, level_names[level]);
    put(line, " ");
    put_message_text(line, message);
    for (; field != NULL && field->key != NULL; field++) {
        size_t before = line->length;
        if (!put(line, " ") || !put(line, field->key) || !put(line, "=")) {
            line->length = before;
            return;
        }
        if (field->text == NULL)
            put_number(line, field->number);
        else if (needs_quotes(field->text))
            put_quoted(line, field->text);
        else
            put_cut(line, field->text);
    }
}

static void format_json(struct line *line, enum log_level level, const char *message,
                        const struct log_field *field) {
    put(line, "{\"time\": \"");
    put_time(line, true);
    put(line, "\", \"level\": \"");
    for (const char *at = level_names[level]; *at != '\0'; at++)
        put_bytes(line, (const char[]){(char)(*at | 0x20)}, 1);
    put(line, "\", \"message\": ");
    put_quoted(line, message);
    for (; field != NULL && field->key != NULL; field++) {
        size_t before = line->length;
        bool fits = put(line, ", \"") && put(line, field->key) && put(line, "\": ") &&
                    line->limit - line->length >= 24; /* a number, or some of the text */
        if (!fits) {
            line->length = before;
            break;
        }
        if (field->text == NULL)
            put_number(line, field->number);
        else
            put_quoted(line, field->text);
    }
    line->limit += 1;
    put(line, "}");
}

void log_event(struct log *log, enum log_level level, const char *message,
               const struct log_field *fields) {
    if (!log_wants(log, level))
        return;
    struct line line;
    line.length = 0;
    line.limit = sizeof line.text - 2; /* closing brace, newline */
    if (log->format == LOG_JSON)
        format_json(&line, level, message, fields);
    else
        format_text(&line, level, message, fields);
    line.text[line.length++] = '\n';
    /* A log that can't be written must not stop the service: there is nobody to tell. */
    ssize_t written = write(log->fd, line.text, line.length);
    (void)written;
}
