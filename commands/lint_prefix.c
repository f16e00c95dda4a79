#include "commands/lint_prefix.h"

#include <string.h>

enum {
    STEPS_MAX = 4000, /* tries a line: fields of any text may end in many places */
    NAME_MAX_BYTES = 64,
    HOST_MAX = 300,
    TAG_MAX = 64,
    ZONE_MAX = 32,
};

static const char escapes[] = "audrhbpPtmnisecxvlqQ%";

/* The padding of %-10u: *at moves behind it. */
static bool skip_padding(const char *pattern, size_t *at) {
    size_t from = *at;
    *at += pattern[*at] == '-';
    while (pattern[*at] >= '0' && pattern[*at] <= '9') {
        (*at)++;
    }
    return *at > from;
}

static bool add_item(struct lint_prefix *prefix, struct lint_prefix_item item,
                     struct error *error) {
    if (prefix->count == LINT_PREFIX_ITEMS) {
        return error_set(error, "--log-line-prefix: it has more than %d parts: give a shorter one",
                         LINT_PREFIX_ITEMS);
    }
    prefix->items[prefix->count++] = item;
    prefix->has_session |= item.escape == 'p' || item.escape == 'c';
    return true;
}

bool lint_prefix_compile(struct lint_prefix *prefix, const char *pattern, struct error *error) {
    *prefix = (struct lint_prefix){0};
    for (size_t at = 0; pattern[at] != '\0';) {
        struct lint_prefix_item item = {.literal = pattern + at};
        if (pattern[at] != '%') {
            item.length = strcspn(pattern + at, "%");
            at += item.length;
        } else {
            at++;
            item.padded = skip_padding(pattern, &at);
            char letter = pattern[at];
            if (letter == '\0') {
                return error_set(error,
                                 "--log-line-prefix \"%s\": it ends within an escape: write "
                                 "%%%% for a percent sign",
                                 pattern);
            }
            if (strchr(escapes, letter) == NULL) {
                return error_set(
                    error,
                    "--log-line-prefix \"%s\": %%%c is no escape of PostgreSQL's: give "
                    "what SHOW log_line_prefix says",
                    pattern, letter);
            }
            item.escape = letter == '%' ? '\0' : letter;
            item.literal = pattern + at;
            item.length = 1;
            at++;
        }
        if (!add_item(prefix, item, error)) {
            return false;
        }
    }
    return true;
}

/* ---- fields ---- */

struct span {
    size_t start, length;
};

struct matching {
    const struct lint_prefix *prefix;
    const char *line;
    size_t length;
    unsigned steps;
    struct span pid, session, vxid;
    enum lint_severity severity;
    size_t message;
};

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_alpha(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_zone(char c) {
    return is_digit(c) || is_alpha(c) || (c != '\0' && strchr("+-<>_/:", c) != NULL);
}

static bool is_host(char c) {
    return is_digit(c) || is_alpha(c) || (c != '\0' && strchr(".:%-_()[]/@", c) != NULL);
}

static size_t run_of(const char *text, size_t length, bool (*in)(char), size_t most) {
    size_t n = 0;
    while (n < length && n < most && in(text[n])) {
        n++;
    }
    return n;
}

/* Two runs with a sign between them: 1234.567, 65f1.1c, 3/12. 0: it isn't that. */
static size_t pair_of(const char *text, size_t length, bool (*in)(char), char between) {
    size_t first = run_of(text, length, in, 20);
    if (first == 0 || first >= length || text[first] != between) {
        return 0;
    }
    size_t second = run_of(text + first + 1, length - first - 1, in, 20);
    return second > 0 ? first + 1 + second : 0;
}

/* 2026-11-23 06:45:00[.123] and the blank before its zone. 0: it isn't that. */
static size_t time_of(const char *text, size_t length, bool milliseconds) {
    static const char form[] = "0000-00-00 00:00:00.000";
    size_t want = milliseconds ? 23 : 19;
    if (length < want + 2 || text[want] != ' ') {
        return 0;
    }
    for (size_t i = 0; i < want; i++) {
        if (form[i] == '0' ? !is_digit(text[i]) : text[i] != form[i]) {
            return 0;
        }
    }
    return want + 1;
}

/* How long a field's value may be, from `least` to `most`; least > most: there is no such value
 * here. */
static void field_range(char escape, const char *text, size_t length, size_t *least, size_t *most) {
    size_t fixed;
    *least = 1;
    switch (escape) {
    case 'a':
    case 'u':
    case 'd':
    case 'i':
        *least = 0;
        *most = length < NAME_MAX_BYTES ? length : NAME_MAX_BYTES;
        return;
    case 'b':
        *most = length < TAG_MAX ? length : TAG_MAX;
        return;
    case 'r':
    case 'h':
        *least = 0;
        *most = run_of(text, length, is_host, HOST_MAX);
        return;
    case 't':
    case 'm':
    case 's':
        fixed = time_of(text, length, escape == 'm');
        *least = fixed + 1;
        *most = fixed > 0 ? fixed + run_of(text + fixed, length - fixed, is_zone, ZONE_MAX) : 0;
        return;
    case 'n':
        fixed = pair_of(text, length, is_digit, '.');
        break;
    case 'c':
        fixed = pair_of(text, length, is_hex, '.');
        break;
    case 'v':
        fixed = pair_of(text, length, is_digit, '/');
        *least = *most = fixed; /* a process without one has none */
        return;
    case 'P':
        *least = *most = run_of(text, length, is_digit, 20);
        return;
    case 'Q':
        fixed = length > 0 && text[0] == '-';
        fixed += run_of(text + fixed, length - fixed, is_digit, 20);
        break;
    case 'e':
        fixed = length >= 5 ? 5 : 0;
        break;
    default: /* p l x */
        fixed = run_of(text, length, is_digit, 20);
    }
    *most = fixed;
    *least = fixed > 0 ? fixed : 1;
}

static void keep_value(struct matching *m, char escape, size_t start, size_t length) {
    struct span *kept = escape == 'p'   ? &m->pid
                        : escape == 'c' ? &m->session
                        : escape == 'v' ? &m->vxid
                                        : NULL;
    if (kept != NULL) {
        *kept = (struct span){start, length};
    }
}

/* ---- matching ---- */

static bool match_from(struct matching *m, size_t item, size_t at);

static bool match_severity(struct matching *m, size_t at) {
    size_t length;
    m->severity = lint_severity_of(m->line + at, m->length - at, true, &length);
    m->message = at + (m->severity != LINT_NONE ? length : 0);
    return m->severity != LINT_NONE;
}

/* Behind a padded value stand blanks, of which some may be the pattern's own. */
static bool match_after(struct matching *m, size_t item, size_t at) {
    if (match_from(m, item + 1, at)) {
        return true;
    }
    while (m->prefix->items[item].padded && at < m->length && m->line[at] == ' ') {
        if (match_from(m, item + 1, ++at)) {
            return true;
        }
    }
    return false;
}

/* A padded field without a value is all blanks, of which some may be the pattern's own. */
static bool match_blank(struct matching *m, size_t item, size_t from, size_t to) {
    for (size_t at = to; at > from; at--) {
        if (match_from(m, item + 1, at - 1)) {
            return true;
        }
    }
    return false;
}

static bool match_field(struct matching *m, size_t item, size_t from) {
    const struct lint_prefix_item *field = &m->prefix->items[item];
    size_t least, most, at = from;
    while (field->padded && at < m->length && m->line[at] == ' ') {
        at++;
    }
    field_range(field->escape, m->line + at, m->length - at, &least, &most);
    bool may_be_empty = least == 0;
    for (size_t length = least; length <= most; length++) {
        if (match_after(m, item, at + length)) {
            keep_value(m, field->escape, at, length);
            return true;
        }
    }
    return may_be_empty && match_blank(m, item, from, at);
}

/* Fields of any text end at the first place where the rest fits. */
static bool match_from(struct matching *m, size_t item, size_t at) {
    if (m->steps == 0) {
        return false;
    }
    m->steps--;
    if (item == m->prefix->count) {
        return match_severity(m, at);
    }
    const struct lint_prefix_item *part = &m->prefix->items[item];
    if (part->escape == 'q') { /* processes without a session stop here */
        return match_from(m, item + 1, at) || match_severity(m, at);
    }
    if (part->escape != '\0') {
        return match_field(m, item, at);
    }
    return m->length - at >= part->length &&
           memcmp(m->line + at, part->literal, part->length) == 0 &&
           match_from(m, item + 1, at + part->length);
}

bool lint_prefix_match(const struct lint_prefix *prefix, const char *line, size_t length,
                       struct lint_record *record, size_t *message) {
    struct matching m = {.prefix = prefix, .line = line, .length = length, .steps = STEPS_MAX};
    if (!match_from(&m, 0, 0)) {
        return false;
    }
    record->severity = m.severity;
    lint_record_identify(record, line + m.session.start, m.session.length, line + m.pid.start,
                         m.pid.length);
    lint_record_set_vxid(record, line + m.vxid.start, m.vxid.length);
    *message = m.message;
    return true;
}
