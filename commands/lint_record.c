#include "commands/lint_record.h"

#include <string.h>

static const struct {
    const char *word;
    enum lint_severity severity;
} severities[] = {
    {"LOG", LINT_LOG},       {"ERROR", LINT_ERROR},    {"STATEMENT", LINT_MORE},
    {"DETAIL", LINT_DETAIL}, {"FATAL", LINT_FATAL},    {"PANIC", LINT_FATAL},
    {"WARNING", LINT_OTHER}, {"NOTICE", LINT_OTHER},   {"INFO", LINT_OTHER},
    {"DEBUG", LINT_OTHER},   {"DEBUG1", LINT_OTHER},   {"DEBUG2", LINT_OTHER},
    {"DEBUG3", LINT_OTHER},  {"DEBUG4", LINT_OTHER},   {"DEBUG5", LINT_OTHER},
    {"HINT", LINT_MORE},     {"CONTEXT", LINT_MORE},   {"QUERY", LINT_MORE},
    {"LOCATION", LINT_MORE}, {"BACKTRACE", LINT_MORE},
};

enum { SEVERITY_COUNT = sizeof severities / sizeof severities[0] };

static bool begins(const char *text, size_t available, const char *word) {
    size_t length = strlen(word);
    return available >= length && memcmp(text, word, length) == 0;
}

enum lint_severity lint_severity_of(const char *text, size_t available, bool with_colon,
                                    size_t *length) {
    for (size_t i = 0; i < SEVERITY_COUNT; i++) {
        size_t word = strlen(severities[i].word);
        if (available < word || text[0] != severities[i].word[0] ||
            memcmp(text, severities[i].word, word) != 0) {
            continue;
        }
        if (!with_colon && available == word) {
            *length = word;
            return severities[i].severity;
        }
        if (with_colon && begins(text + word, available - word, ":  ")) {
            *length = word + 3;
            return severities[i].severity;
        }
    }
    return LINT_NONE;
}

/* `duration: 0.123 ms  ` at the front: its length, else 0. */
static size_t skip_duration(const char *text, size_t length) {
    if (!begins(text, length, "duration: ")) {
        return 0;
    }
    size_t at = strlen("duration: ");
    while (at < length && ((text[at] >= '0' && text[at] <= '9') || text[at] == '.')) {
        at++;
    }
    return begins(text + at, length - at, " ms  ") ? at + strlen(" ms  ") : 0;
}

/* With log_error_verbosity = verbose a SQLSTATE stands before the message. */
static size_t skip_sqlstate(const char *text, size_t length) {
    if (length < 7 || text[5] != ':' || text[6] != ' ') {
        return 0;
    }
    for (size_t i = 0; i < 5; i++) {
        bool code = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'A' && text[i] <= 'Z');
        if (!code) {
            return 0;
        }
    }
    return 7;
}

bool lint_message_statement(const char *message, size_t length, size_t *start, bool *succeeded) {
    size_t at = skip_sqlstate(message, length);
    size_t duration = skip_duration(message + at, length - at);
    *succeeded = duration > 0;
    at += duration;
    if (begins(message + at, length - at, "statement: ")) {
        *start = at + strlen("statement: ");
        return true;
    }
    if (!begins(message + at, length - at, "execute ") ||
        begins(message + at, length - at, "execute fetch from ")) {
        return false;
    }
    /* The name is the client's own, of any bytes; what it can't have is told from SQL by nobody, so
     * the first colon and blank ends it, as a reader would think. */
    const char *colon = memmem(message + at, length - at, ": ", 2);
    if (colon == NULL) {
        return false;
    }
    *start = (size_t)(colon - message) + 2;
    return true;
}

enum lint_event lint_message_event(const char *message, size_t length) {
    size_t at = skip_sqlstate(message, length);
    const char *text = message + at;
    length -= at;
    if (begins(text, length, "disconnection: ") || begins(text, length, "connection received: ")) {
        return LINT_EVENT_SESSION_ENDED;
    }
    if (begins(text, length, "database system is ready to accept connections") ||
        begins(text, length, "starting PostgreSQL ")) {
        return LINT_EVENT_SERVER_STARTED;
    }
    return LINT_EVENT_NONE;
}

/* The number at the front in base 10 or 16, what doesn't fit cut off above; its digits' count. */
static size_t parse_number(const char *text, size_t length, unsigned base, uint64_t *value) {
    size_t at = 0;
    *value = 0;
    for (; at < length; at++) {
        char c = text[at];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                                : 99;
        if (digit >= base) {
            break;
        }
        *value = *value * base + digit;
    }
    return at;
}

void lint_record_identify(struct lint_record *record, const char *session_id, size_t session_length,
                          const char *pid, size_t pid_length) {
    uint64_t started, process;
    size_t digits = parse_number(session_id, session_length, 16, &started);
    record->has_session = false;
    if (digits > 0 && digits + 1 < session_length && session_id[digits] == '.' &&
        parse_number(session_id + digits + 1, session_length - digits - 1, 16, &process) > 0) {
        record->has_session = true;
        record->session = started << 32 ^ process;
    } else if (parse_number(pid, pid_length, 10, &process) > 0) {
        record->has_session = true;
        record->session = process;
    }
}

void lint_record_set_vxid(struct lint_record *record, const char *vxid, size_t length) {
    uint64_t backend;
    size_t digits = parse_number(vxid, length, 10, &backend);
    record->has_lxid = digits > 0 && digits + 1 < length && vxid[digits] == '/' &&
                       parse_number(vxid + digits + 1, length - digits - 1, 10, &record->lxid) > 0;
}
