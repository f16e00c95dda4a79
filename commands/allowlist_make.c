#include "commands/allowlist_make.h"

#include "commands/allowlist_seen.h"
#include "config/alloc.h"
#include "config/allowlist.h"
#include "routing/text.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ALLOWLIST_FINE = 0, ALLOWLIST_BAD = 2, STATEMENT_SHOWN_MAX = 500 };

/* One run: what is known of the settings' list, and how it fits the record. */
struct making {
    const struct allowlist_options *options;
    const struct settings *settings;
    int today;
    bool *used; /* parallel to the list's entries */
    struct text line;
};

/* -- YAML -------------------------------------------------------------------------------------- */

static bool is_character(const unsigned char *c) {
    bool control = c[0] < 0x20 || c[0] == 0x7F || (c[0] == 0xC2 && c[1] < 0xA0);
    bool breaks = c[0] == 0xE2 && c[1] == 0x80 && (c[2] == 0xA8 || c[2] == 0xA9);
    bool none = c[0] == 0xEF && ((c[1] == 0xBB && c[2] == 0xBF) || (c[1] == 0xBF && c[2] >= 0xBE));
    return !control && !breaks && !none;
}

static size_t character_length(unsigned char first) {
    return first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

/* A text for a comment or between quotes: what would end the line, or is none of YAML's characters,
 * becomes a blank. At most `most` bytes of it, valid UTF-8 as JSON's texts are. */
static void append_safe(struct text *out, const char *text, size_t most, bool quoted) {
    size_t length = strlen(text), at = 0;
    while (at < length) {
        size_t step = character_length((unsigned char)text[at]);
        if (at + step > most) {
            text_append(out, "…");
            return;
        }
        bool good = at + step <= length && is_character((const unsigned char *)text + at);
        if (good && quoted && (text[at] == '"' || text[at] == '\\'))
            text_append_bytes(out, "\\", 1);
        text_append_bytes(out, good ? text + at : " ", good ? step : 1);
        at += step;
    }
}

static void append_names(struct text *out, const struct seen_names *names, const char *between) {
    for (size_t i = 0; i < names->count; i++) {
        if (i > 0)
            text_append(out, "%s", between);
        append_safe(out, names->list[i], STATEMENT_SHOWN_MAX, false);
    }
}

static void print_comment(struct making *m, const char *before) {
    printf("# %s%s\n", before, m->line.length > 0 ? m->line.data : "");
    m->line.length = 0;
}

static void print_quoted(struct making *m, const char *key, const char *text) {
    append_safe(&m->line, text, SIZE_MAX, true);
    printf("  %s: \"%s\"\n", key, m->line.data);
    m->line.length = 0;
}

/* -- entries ----------------------------------------------------------------------------------- */

/* The tables that an entry by tables must list. */
static const char **counting_tables(const struct making *m, const struct seen *seen,
                                    size_t *count) {
    const struct classification *c = m->settings->classification;
    const struct seen_names *lists[] = {&seen->tables, &seen->earlier_tables};
    const char **tables =
        alloc_zeroed(seen->tables.count + seen->earlier_tables.count + 1, sizeof *tables);
    *count = 0;
    for (size_t list = 0; list < 2; list++)
        for (size_t i = 0; i < lists[list]->count; i++) {
            const char *name = lists[list]->list[i];
            int schema = classification_lookup(c, NULL, name);
            if (schema < 0 || !classification_schema_is_neutral(c, schema))
                tables[(*count)++] = name;
        }
    return tables;
}

/* The configured entry for it, expired or not, or NULL. */
static const struct allowlist_entry *configured_entry(const struct making *m,
                                                      const struct seen *seen) {
    if (m->settings->allowlist == NULL)
        return NULL;
    size_t count;
    const char **tables = counting_tables(m, seen, &count);
    const struct allowlist_entry *entry = allowlist_find(m->settings->allowlist, seen->rule,
                                                         seen->fingerprint, tables, count, INT_MIN);
    free(tables);
    if (entry != NULL)
        m->used[entry - m->settings->allowlist->entries] = true;
    return entry;
}

/* Its date: the configured entry's, unless that is over and there is a new one. */
static const char *until_of(const struct making *m, const struct allowlist_entry *entry) {
    if (entry == NULL)
        return m->options->until;
    bool over = entry->until < m->today;
    if (over && m->options->until != NULL)
        return m->options->until;
    if (over)
        fprintf(stderr,
                "%s:%d: this entry has expired on %s and its violation still occurs: give a new "
                "date with --until\n",
                m->settings->allowlist->path, entry->line, entry->until_text);
    return entry->until_text[0] != '\0' ? entry->until_text : NULL;
}

static void print_entry(struct making *m, const struct seen *seen) {
    const struct allowlist_entry *entry = configured_entry(m, seen);
    const char *until = until_of(m, entry);
    const char *url = entry != NULL && entry->url != NULL ? entry->url
                      : seen->url != NULL                 ? seen->url
                                                          : m->options->url;
    printf("\n");
    append_safe(&m->line, seen->statement, STATEMENT_SHOWN_MAX, false);
    print_comment(m, "");
    append_names(&m->line, &seen->tables, ", ");
    print_comment(m, "tables: ");
    if (seen->earlier_tables.count > 0) {
        append_names(&m->line, &seen->earlier_tables, ", ");
        print_comment(m, "modified before: ");
    }
    text_append(&m->line, "%" PRIu64 ", first %s, last %s", seen->count, seen->first, seen->last);
    print_comment(m, "count: ");
    if (seen->sources.count > 0) {
        append_names(&m->line, &seen->sources, ", ");
        if (seen->sources_left > 0)
            text_append(&m->line, ", …");
        print_comment(m, "from: ");
    }
    printf("- rule: %s\n  fingerprint: \"%s\"\n", rule_name(seen->rule), seen->fingerprint);
    if (url != NULL)
        print_quoted(m, "url", url);
    if (until != NULL)
        printf("  until: %s\n", until);
}

/* Whether an entry is needed and would help. */
static bool is_wanted(struct making *m, const struct seen *seen) {
    if (seen->count == seen->counts[ACTION_COMMENT])
        return false;
    if (seen->executable && seen->rule < RULE_UNROUTABLE)
        return true;
    append_safe(&m->line, seen->statement, STATEMENT_SHOWN_MAX, false);
    fprintf(stderr, "pginterlock: %s %s can't be permitted: rewrite it: %s\n",
            rule_name(seen->rule), seen->fingerprint, m->line.data != NULL ? m->line.data : "");
    m->line.length = 0;
    return false;
}

static void print_list(struct making *m, const struct seen_record *record) {
    size_t count, wanted = 0;
    const struct seen **list = seen_record_sorted(record, &count);
    append_safe(&m->line, m->options->from, STATEMENT_SHOWN_MAX, false);
    print_comment(m, "Made by pginterlock allowlist, the most frequent first, from ");
    for (size_t i = 0; i < count; i++) {
        if (!is_wanted(m, list[i]))
            continue;
        print_entry(m, list[i]);
        wanted++;
    }
    if (wanted == 0)
        printf("[]\n");
    free(list);
}

static void tell_unused(const struct making *m) {
    const struct allowlist *list = m->settings->allowlist;
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        char name[ALLOWLIST_NAME_MAX];
        if (m->used[i])
            continue;
        allowlist_entry_name(&list->entries[i], name);
        fprintf(stderr, "%s:%d: %s was not seen: left out\n", list->path, list->entries[i].line,
                name);
    }
}

/* -- the command ------------------------------------------------------------------------------- */

static bool check_until(const char *until, int today, struct error *error) {
    struct tm day = {0};
    char back[16] = "";
    const char *end = until != NULL ? strptime(until, "%Y-%m-%d", &day) : NULL;
    time_t time = timegm(&day);
    if (end != NULL && *end == '\0')
        strftime(back, sizeof back, "%Y-%m-%d", &day);
    if (until != NULL && strcmp(back, until) != 0)
        return error_set(error, "pginterlock: --until %s is no date: write YYYY-MM-DD", until);
    if (until != NULL && allowlist_day(time) < today)
        return error_set(error, "pginterlock: --until %s is over: give a day to come", until);
    return true;
}

static bool read_record(const char *from, struct seen_record *record, struct error *error) {
    if (strcmp(from, "-") == 0)
        return seen_record_read(record, stdin, "-", error);
    FILE *file = fopen(from, "re");
    if (file == NULL)
        return error_set(error, "%s:1: it can't be read: %s: name a file of violations", from,
                         strerror(errno));
    bool ok = seen_record_read(record, file, from, error);
    fclose(file);
    return ok;
}

static bool make_list(const struct allowlist_options *options, struct error *error) {
    struct settings *settings = NULL;
    struct seen_record *record = seen_record_new();
    int today = allowlist_day(time(NULL));
    bool ok = check_until(options->until, today, error) &&
              settings_load(options->config, &settings, error) &&
              read_record(options->from, record, error);
    if (ok) {
        size_t count = settings->allowlist != NULL ? settings->allowlist->count : 0;
        struct making making = {.options = options,
                                .settings = settings,
                                .today = today,
                                .used = alloc_zeroed(count + 1, sizeof(bool))};
        print_list(&making, record);
        tell_unused(&making);
        free(making.used);
        free(making.line.data);
    }
    seen_record_free(record);
    settings_unref(settings);
    return ok;
}

int allowlist_command(const struct allowlist_options *options) {
    struct error error;
    if (make_list(options, &error)) {
        if (fflush(stdout) == 0 && !ferror(stdout))
            return ALLOWLIST_FINE;
        error_set(&error, "pginterlock: the list can't be written: %s", strerror(errno));
    }
    fprintf(stderr, "%s\n", error.text);
    return ALLOWLIST_BAD;
}
