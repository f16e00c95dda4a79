#include "routing/marginalia.h"

#include "config/utf8.h"
#include "routing/lexer.h"

#include <string.h>

/* What stands between the signs of a comment, without white space around it. */
struct content {
    const char *at, *end;
};

static bool word_is(const struct content *word, const char *name) {
    size_t length = (size_t)(word->end - word->at);
    return length == strlen(name) && memcmp(word->at, name, length) == 0;
}

static struct content first_word(const struct content *content) {
    struct content word = {content->at, content->at};
    while (word.end < content->end && lexer_is_identifier(*word.end))
        word.end++;
    return word;
}

static bool is_permit(const struct content *content) {
    struct content word = first_word(content);
    return word_is(&word, "allow_cross_joins_across_databases") ||
           word_is(&word, "allow_cross_database_modification_within_transaction");
}

static bool is_hint(const struct content *content) {
    struct content word = first_word(content);
    return word_is(&word, "database");
}

/* The next block comment of the span, its content in *out. False: there is no more. */
static bool next_comment(struct lexer *lexer, size_t own, struct content *out) {
    struct token token;
    for (;;) {
        lexer_next(lexer, &token);
        bool over = token.kind == TOKEN_SEMICOLON && token.start >= own;
        if (token.kind == TOKEN_END || over)
            return false;
        if (token.kind == TOKEN_BLOCK_COMMENT && !token.unterminated)
            break;
    }
    out->at = lexer->text + token.start + 2;
    out->end = lexer->text + token.end - 2;
    while (out->at < out->end && lexer_is_space(*out->at))
        out->at++;
    while (out->end > out->at && lexer_is_space(out->end[-1]))
        out->end--;
    return true;
}

static void begin(struct lexer *lexer, const struct text_span *span, const struct lexing *lexing) {
    lexer_init(lexer, span->text + span->start, span->text_length - span->start,
               lexing->standard_conforming_strings);
}

/* -- one tag ----------------------------------------------------------------------------------- */

static bool is_key_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
}

/* A value under construction, cut off between characters. */
struct value {
    char *out;
    size_t length;
    bool full;
};

static void value_add(struct value *value, char c) {
    if (c == '\0' || value->full)
        return;
    if (value->length < TAG_VALUE_MAX) {
        value->out[value->length++] = c;
        return;
    }
    value->full = true;
    /* The byte that doesn't fit may go on a character that was begun. */
    if (utf8_is_continuation(c)) {
        while (value->length > 0 && utf8_is_continuation(value->out[value->length - 1]))
            value->length--;
        value->length -= value->length > 0;
    }
}

/* Room for one more of this key, or a place that nobody looks at: it has come before, is too long,
 * or there are enough. */
static struct tag *tag_begin(struct tags *tags, const char *key, size_t length,
                             struct tag *nowhere) {
    struct tag *tag = nowhere;
    if (length > 0 && length <= TAG_KEY_MAX) {
        memcpy(nowhere->key, key, length);
        nowhere->key[length] = '\0';
        if (tags->count < TAGS_MAX && tags_find(tags, nowhere->key) == NULL) {
            tag = &tags->list[tags->count++];
            memcpy(tag->key, nowhere->key, length + 1);
        }
    }
    return tag;
}

/* -- Marginalia -------------------------------------------------------------------------------- */

/* The colon behind a key at `at`, followed by something; NULL: no tag begins there. */
static const char *marginalia_colon(const char *at, const char *end) {
    const char *c = at;
    while (c < end && is_key_character(*c))
        c++;
    bool colon = c > at && c < end && *c == ':';
    return colon && (c + 1 == end || !lexer_is_space(c[1])) ? c : NULL;
}

/* A piece between commas that has no key belongs to the value before it. */
static bool read_marginalia(const struct content *content, struct tags *out) {
    const char *at = content->at, *end = content->end;
    if (marginalia_colon(at, end) == NULL)
        return false;
    struct tag nowhere;
    struct value value = {.out = nowhere.value};
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *piece_end = comma != NULL ? comma : end;
        const char *colon = marginalia_colon(at, piece_end);
        if (colon != NULL) {
            value.out[value.length] = '\0';
            struct tag *tag = tag_begin(out, at, (size_t)(colon - at), &nowhere);
            value = (struct value){.out = tag->value};
            at = colon + 1;
        } else {
            value_add(&value, ',');
        }
        for (; at < piece_end; at++)
            value_add(&value, *at);
        at = comma != NULL ? comma + 1 : end;
    }
    value.out[value.length] = '\0';
    return true;
}

/* -- SQLCommenter ------------------------------------------------------------------------------ */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One character of a value, with its %41 or \' undone; moves *at behind it. */
static char commenter_character(const char **at, const char *end) {
    const char *c = *at;
    if (*c == '%' && end - c >= 3 && hex_digit(c[1]) >= 0 && hex_digit(c[2]) >= 0) {
        *at = c + 3;
        return (char)(hex_digit(c[1]) * 16 + hex_digit(c[2]));
    }
    if (*c == '\\' && end - c >= 2) {
        *at = c + 2;
        return c[1];
    }
    *at = c + 1;
    return *c;
}

/* One `key='value'`; moves *at behind it. False: it is none. */
static bool read_pair(const char **at, const char *end, struct tags *out) {
    const char *key = *at, *c = key;
    while (c < end && is_key_character(*c))
        c++;
    size_t key_length = (size_t)(c - key);
    if (key_length == 0 || end - c < 2 || c[0] != '=' || c[1] != '\'')
        return false;
    struct tag nowhere;
    struct value value = {.out = tag_begin(out, key, key_length, &nowhere)->value};
    for (c += 2; c < end && *c != '\'';)
        value_add(&value, commenter_character(&c, end));
    value.out[value.length] = '\0';
    *at = c + 1;
    return c < end;
}

/* All of the comment, or nothing of it. */
static void read_commenter(const struct content *content, struct tags *out) {
    size_t before = out->count;
    const char *at = content->at;
    while (read_pair(&at, content->end, out)) {
        while (at < content->end && lexer_is_space(*at))
            at++;
        if (at == content->end)
            return;
        if (*at++ != ',')
            break;
        while (at < content->end && lexer_is_space(*at))
            at++;
    }
    out->count = before;
}

/* -- the calls --------------------------------------------------------------------------------- */

void tags_read(const struct text_span *span, const struct lexing *lexing, struct tags *out) {
    struct lexer lexer;
    struct content content;
    out->count = 0;
    begin(&lexer, span, lexing);
    while (next_comment(&lexer, span->length, &content))
        if (!is_permit(&content) && !is_hint(&content) && !read_marginalia(&content, out))
            read_commenter(&content, out);
}

const char *tags_find(const struct tags *tags, const char *key) {
    for (size_t i = 0; i < tags->count; i++)
        if (strcmp(tags->list[i].key, key) == 0)
            return tags->list[i].value;
    return NULL;
}

bool tag_is_of_occurrence(const char *key) {
    static const char *const keys[] = {
        "correlation_id", "request_id", "trace_id", "traceid",   "span_id", "spanid",
        "traceparent",    "tracestate", "jid",      "thread_id", "pid",     "client_id",
        "session_id"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

/* The value of the word `url=…`; false: there is none. */
static bool read_url(const char *at, const char *end, char url[PERMIT_URL_MAX + 1]) {
    bool word = true; /* one begins here */
    for (; end - at > 4; at++) {
        if (word && memcmp(at, "url=", 4) == 0) {
            size_t length = 0;
            for (at += 4; at < end && !lexer_is_space(*at) && length < PERMIT_URL_MAX; at++)
                url[length++] = *at;
            url[length] = '\0';
            return length > 0;
        }
        word = lexer_is_space(*at) || *at == ';' || *at == ',';
    }
    return false;
}

void permit_comment_url(const struct text_span *span, const struct lexing *lexing,
                        char url[PERMIT_URL_MAX + 1]) {
    struct lexer lexer;
    struct content content;
    url[0] = '\0';
    begin(&lexer, span, lexing);
    while (next_comment(&lexer, span->length, &content))
        if (is_permit(&content) && read_url(content.at, content.end, url))
            return;
    url[0] = '\0';
}

void permit_setting_url(const char *value, char url[PERMIT_URL_MAX + 1]) {
    url[0] = '\0';
    if (value != NULL)
        (void)read_url(value, value + strlen(value), url);
}
