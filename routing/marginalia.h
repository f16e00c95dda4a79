/* Which code sent a statement: the tags that query loggers leave in its comments.
 *
 *     Marginalia, Rails' query log tags:  controller:projects,action:show,correlation_id:01HX
 *     SQLCommenter:                       action='show',controller='projects%2Fci'
 *
 * Only block comments that consist of tags and nothing else are read; permits and hints are not
 * tags. What a client puts there is bounded here but not otherwise checked: it may be invalid UTF-8
 * and have control characters, though never NUL. Pure, and nothing is allocated.
 *
 * Sources: Rails API, ActiveRecord::QueryLogs; SQLCommenter specification, "Exhibit". */
#ifndef PGINTERLOCK_MARGINALIA_H
#define PGINTERLOCK_MARGINALIA_H

#include "routing/facts.h"

enum { TAGS_MAX = 16, TAG_KEY_MAX = 64, TAG_VALUE_MAX = 256, PERMIT_URL_MAX = 512 };

struct tag {
    char key[TAG_KEY_MAX + 1];     /* letters, digits, `_`, `-` and `.` */
    char value[TAG_VALUE_MAX + 1]; /* cut off between characters where it is longer */
};

struct tags {
    struct tag list[TAGS_MAX]; /* in order; the first of those with the same key */
    size_t count;
};

/* A piece of a query text: from byte `start` on, to the semicolon that follows `length` bytes
 * later, or to the end. */
struct text_span {
    const char *text;
    size_t text_length, start, length;
};

void tags_read(const struct text_span *span, const struct lexing *lexing, struct tags *out);

const char *tags_find(const struct tags *tags, const char *key); /* NULL: no such tag */

/* Whether the tag identifies a request, job or process rather than the code that ran. */
bool tag_is_of_occurrence(const char *key);

/* The `url=…` of the first permit comment that has one; "" where there is none. */
void permit_comment_url(const struct text_span *span, const struct lexing *lexing,
                        char url[PERMIT_URL_MAX + 1]);

/* The same of what was given to SET pginterlock.allow. */
void permit_setting_url(const char *value, char url[PERMIT_URL_MAX + 1]);

#endif
