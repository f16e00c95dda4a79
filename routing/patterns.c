#include "routing/patterns.h"

#include "config/alloc.h"
#include "routing/lexer.h"

#include <stdlib.h>
#include <string.h>

enum {
    SETS = 64, /* a power of two */
    WAYS = 4,  /* patterns that begin alike */
    LENGTH_MAX = 1024,
    CONSTANTS_MAX = 16,
    OFFERS = 8, /* of which one is taken */
    WORDS = 6,  /* of eight bytes, by which patterns are told apart at first */
};

/* What comes before a constant, and which kind that is. */
struct part {
    unsigned short length;
    bool is_string;
};

struct pattern {
    struct query *query; /* a reference */
    uint64_t beginning;  /* begins_with() of its texts */
    unsigned flags;
    unsigned short count; /* of constants */
    unsigned short last;  /* length of what follows them */
    struct part parts[CONSTANTS_MAX];
    char text[LENGTH_MAX]; /* without the constants: a client's are not kept for others */
};

struct patterns {
    struct pattern *sets[SETS][WAYS]; /* the last used first */
    unsigned offers;
};

struct patterns *patterns_new(void) {
    return alloc_new(sizeof(struct patterns));
}

static void pattern_free(struct pattern *pattern) {
    if (pattern != NULL)
        query_unref(pattern->query);
    free(pattern);
}

void patterns_free(struct patterns *patterns) {
    if (patterns == NULL)
        return;
    for (size_t i = 0; i < SETS; i++)
        for (size_t k = 0; k < WAYS; k++)
            pattern_free(patterns->sets[i][k]);
    free(patterns);
}

/* -- constants --------------------------------------------------------------------------------- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* May stand in a string whatever the settings are, and ends none. */
static bool is_plain(char c) {
    return c >= ' ' && c <= '~' && c != '\'' && c != '\\';
}

/* Where a constant of the kind ends that begins at `at`; `at`: there is none. */
static size_t constant_end(const char *text, size_t at, bool is_string) {
    size_t end = at;
    if (!is_string) {
        while (is_digit(text[end]))
            end++;
        return end;
    }
    if (text[at] != '\'')
        return at;
    for (end++; is_plain(text[end]); end++)
        ;
    return text[end] == '\'' ? end + 1 : at;
}

static bool is_constant(const struct token *token) {
    return token->kind == TOKEN_NUMBER || token->kind == TOKEN_STRING ||
           token->kind == TOKEN_DOLLAR_STRING;
}

/* -- beginnings -------------------------------------------------------------------------------- */

static bool has_zero_byte(uint64_t word) {
    return ((word - UINT64_C(0x0101010101010101)) & ~word & UINT64_C(0x8080808080808080)) != 0;
}

/* Whether a constant may begin in it: it has a quote, or a byte from '0' to '?'. */
static bool may_have_constant(uint64_t word) {
    return has_zero_byte(word ^ UINT64_C(0x2727272727272727)) ||
           has_zero_byte((word & UINT64_C(0xF0F0F0F0F0F0F0F0)) ^ UINT64_C(0x3030303030303030));
}

/* A hash of the first words, up to the one in which a constant may begin: the same for all texts of
 * a pattern. */
static uint64_t begins_with(const char *text, size_t length) {
    uint64_t hash = 0, word;
    for (size_t i = 0; i < WORDS && (i + 1) * sizeof word <= length; i++) {
        memcpy(&word, text + i * sizeof word, sizeof word);
        if (may_have_constant(word))
            break;
        hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 32;
    }
    return hash;
}

static struct pattern **set_of(struct patterns *patterns, uint64_t beginning) {
    return patterns->sets[beginning % SETS];
}

/* -- finding ----------------------------------------------------------------------------------- */

static bool fits(const struct pattern *pattern, const char *text, size_t length) {
    const char *known = pattern->text;
    size_t at = 0;
    for (size_t i = 0; i < pattern->count; i++) {
        const struct part *part = &pattern->parts[i];
        if (length - at <= part->length || memcmp(text + at, known, part->length) != 0)
            return false;
        known += part->length;
        size_t begin = at + part->length;
        at = constant_end(text, begin, part->is_string);
        if (at == begin)
            return false;
    }
    return length - at == pattern->last && memcmp(text + at, known, pattern->last) == 0;
}

static void use_first(struct pattern **set, size_t way) {
    struct pattern *used = set[way];
    memmove(&set[1], &set[0], way * sizeof set[0]);
    set[0] = used;
}

struct query *patterns_find(struct patterns *patterns, const char *text, size_t length,
                            unsigned flags) {
    if (length > LENGTH_MAX)
        return NULL;
    uint64_t beginning = begins_with(text, length);
    struct pattern **set = set_of(patterns, beginning);
    for (size_t way = 0; way < WAYS && set[way] != NULL; way++) {
        const struct pattern *pattern = set[way];
        if (pattern->beginning != beginning || pattern->flags != flags ||
            !fits(pattern, text, length))
            continue;
        if (way > 0)
            use_first(set, way);
        return set[0]->query;
    }
    return NULL;
}

/* -- making ------------------------------------------------------------------------------------ */

/* False: it has no constants, too many, or another one, which would hardly come again. */
static bool write_parts(struct pattern *pattern, const char *text, size_t length,
                        const struct lexing *lexing) {
    struct lexer lexer;
    struct token token;
    char *out = pattern->text;
    size_t from = 0; /* what follows the constant before */
    lexer_init(&lexer, text, length, lexing->standard_conforming_strings);
    for (lexer_next(&lexer, &token); token.kind != TOKEN_END; lexer_next(&lexer, &token)) {
        if (!is_constant(&token))
            continue;
        bool is_string = token.kind == TOKEN_STRING;
        if (pattern->count == CONSTANTS_MAX || token.unterminated ||
            constant_end(text, token.start, is_string) != token.end)
            return false;
        size_t size = token.start - from;
        out = (char *)memcpy(out, text + from, size) + size;
        pattern->parts[pattern->count++] = (struct part){(unsigned short)size, is_string};
        from = token.end;
    }
    pattern->last = (unsigned short)(length - from);
    memcpy(out, text + from, length - from);
    return pattern->count > 0;
}

void patterns_offer(struct patterns *patterns, const char *text, size_t length,
                    const struct lexing *lexing, unsigned flags, struct query *query) {
    if (length > LENGTH_MAX || patterns->offers++ % OFFERS != 0)
        return;
    struct pattern *pattern = alloc_new(sizeof *pattern);
    if (!write_parts(pattern, text, length, lexing)) {
        free(pattern);
        return;
    }
    pattern->query = query_ref(query);
    pattern->beginning = begins_with(text, length);
    pattern->flags = flags;
    struct pattern **set = set_of(patterns, pattern->beginning);
    pattern_free(set[WAYS - 1]);
    set[WAYS - 1] = pattern;
    use_first(set, WAYS - 1);
}
