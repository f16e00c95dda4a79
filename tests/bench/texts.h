/* What the measuring programs of this folder have in common: the texts that they measure with, and
 * settings with GitLab's classification. Included once by each program; nothing is shared. */
#ifndef PGINTERLOCK_BENCH_TEXTS_H
#define PGINTERLOCK_BENCH_TEXTS_H

#include "config/settings.h"

#include <stdbool.h>
#include <stddef.h>

enum { BENCH_TEXT_MAX = 2048, BENCH_TEXTS = 4 };

/* Each has one %s, for a number or for the name of a column. */
struct bench_text {
    const char *name, *text;
};
extern const struct bench_text bench_texts[BENCH_TEXTS];

/* `format` with a number in the place of its %s: "%09d" for a constant, "x%08d" for a column's
 * name, so that all texts of one format are equally long. The text's length; `out` has room for
 * BENCH_TEXT_MAX bytes. */
size_t bench_text_write(const char *format, const char *number_format, int number, char *out);

/* Two databases, every rule enforced; the caller gives them back with settings_unref(). False:
 * said on stderr. */
bool bench_settings_load(struct settings **out);

#endif
