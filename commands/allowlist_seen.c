#include "commands/allowlist_seen.h"

#include "config/alloc.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define uthash_fatal(message) abort()
#include <uthash.h>

struct kept {
    struct seen seen;
    UT_hash_handle hh; /* by fingerprint */
};

struct seen_record {
    struct kept *kept;
};

/* The line that is being read, for messages. */
struct line {
    const char *name;
    size_t number;
    json_t *object;
    struct error *error;
};

/* -- names ------------------------------------------------------------------------------------- */

static void names_add(struct seen_names *names, const char *name) {
    names->list = alloc_grow(names->list, names->count, sizeof *names->list);
    names->list[names->count++] = alloc_text(name);
}

static bool names_have(const struct seen_names *names, const char *name) {
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->list[i], name) == 0)
            return true;
    return false;
}

static void names_close(struct seen_names *names) {
    for (size_t i = 0; i < names->count; i++)
        free(names->list[i]);
    free(names->list);
}

/* -- members of a line ------------------------------------------------------------------------- */

static bool wrong(const struct line *line, const char *key, const char *what) {
    return error_set(line->error,
                     "%s:%zu: `%s` %s: give a file that the key violations has named, whole lines "
                     "of it",
                     line->name, line->number, key, what);
}

static bool read_text(const struct line *line, const char *key, const char **out) {
    *out = json_string_value(json_object_get(line->object, key));
    return *out != NULL || wrong(line, key, "is missing or no text");
}

/* The place of a text among `count` names. */
static bool read_choice(const struct line *line, const char *key, const char *(*name)(unsigned),
                        unsigned count, unsigned *out) {
    const char *text;
    if (!read_text(line, key, &text))
        return false;
    for (*out = 0; *out < count; ++*out)
        if (strcmp(name(*out), text) == 0)
            return true;
    return wrong(line, key, "is none that this version knows");
}

static const char *name_of_rule(unsigned rule) {
    return rule_name((enum rule)rule);
}

static const char *name_of_action(unsigned action) {
    return violation_action_name((enum violation_action)action);
}

static bool read_fingerprint(const struct line *line, const char **out) {
    if (!read_text(line, "fingerprint", out))
        return false;
    bool good = strlen(*out) == FINGERPRINT_LENGTH &&
                strspn(*out, "0123456789abcdef") == FINGERPRINT_LENGTH;
    return good || wrong(line, "fingerprint", "is not 16 hexadecimal digits");
}

static bool read_time(const struct line *line, const char *key, const char **out) {
    if (!read_text(line, key, out))
        return false;
    static const char form[] = "0000-00-00T00:00:00Z";
    bool good = strlen(*out) == SEEN_TIME_LENGTH;
    for (size_t i = 0; good && i < SEEN_TIME_LENGTH; i++)
        good = form[i] == '0' ? (*out)[i] >= '0' && (*out)[i] <= '9' : (*out)[i] == form[i];
    return good || wrong(line, key, "is no time such as 2026-01-31T12:00:00Z");
}

static bool read_count(const struct line *line, uint64_t *out) {
    const json_t *count = json_object_get(line->object, "count");
    json_int_t number = json_integer_value(count);
    *out = (uint64_t)number;
    return number > 0 || wrong(line, "count", "is no number above 0");
}

static bool check_tables(const struct line *line, const char *key, const json_t *tables) {
    bool good = json_is_array(tables);
    for (size_t i = 0; good && i < json_array_size(tables); i++)
        good = json_is_string(json_array_get(tables, i));
    return good || wrong(line, key, "is no list of names");
}

static void copy_tables(const json_t *tables, struct seen_names *out) {
    for (size_t i = 0; i < json_array_size(tables); i++)
        names_add(out, json_string_value(json_array_get(tables, i)));
}

/* -- which code it was ------------------------------------------------------------------------- */

/* What the tags say of it, such as `ProjectsController#show`; NULL: nothing. On the heap. */
static char *source_of(const json_t *tags) {
    static const char *const jobs[] = {"job",         "job_class",       "job_name", "worker",
                                       "endpoint_id", "source_location", "line"};
    const char *controller = json_string_value(json_object_get(tags, "controller")),
               *action = json_string_value(json_object_get(tags, "action"));
    if (controller != NULL)
        return action != NULL ? alloc_format("%s#%s", controller, action) : alloc_text(controller);
    if (action != NULL)
        return alloc_text(action);
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        const char *text = json_string_value(json_object_get(tags, jobs[i]));
        if (text != NULL)
            return alloc_format("%s %s", jobs[i], text);
    }
    return NULL;
}

static void add_source(struct seen *seen, const json_t *tags) {
    char *source = source_of(tags);
    if (source != NULL && !names_have(&seen->sources, source)) {
        if (seen->sources.count < SEEN_SOURCES_MAX)
            names_add(&seen->sources, source);
        else
            seen->sources_left++;
    }
    free(source);
}

/* -- lines ------------------------------------------------------------------------------------- */

static struct seen *find_or_add(struct seen_record *record, const char *fingerprint, bool *added) {
    struct kept *kept;
    HASH_FIND(hh, record->kept, fingerprint, FINGERPRINT_LENGTH, kept);
    *added = kept == NULL;
    if (kept == NULL) {
        kept = alloc_new(sizeof *kept);
        memcpy(kept->seen.fingerprint, fingerprint, FINGERPRINT_LENGTH + 1);
        HASH_ADD(hh, record->kept, seen.fingerprint, FINGERPRINT_LENGTH, kept);
    }
    return &kept->seen;
}

static void widen(struct seen *seen, const char *first, const char *last) {
    if (seen->first[0] == '\0' || strcmp(first, seen->first) < 0)
        memcpy(seen->first, first, sizeof seen->first);
    if (strcmp(last, seen->last) > 0)
        memcpy(seen->last, last, sizeof seen->last);
}

static bool take_object(struct seen_record *record, const struct line *line) {
    const char *fingerprint, *statement, *first, *last;
    unsigned rule, action;
    uint64_t count;
    const json_t *tables = json_object_get(line->object, "tables"),
                 *executable = json_object_get(line->object, "executable"),
                 *earlier = json_object_get(json_object_get(line->object, "earlier"), "tables"),
                 *url = json_object_get(line->object, "url");
    if (!json_is_object(line->object))
        return error_set(line->error,
                         "%s:%zu: this is no JSON object: give a file that the key violations has "
                         "named, whole lines of it",
                         line->name, line->number);
    if (!read_fingerprint(line, &fingerprint) ||
        !read_choice(line, "rule", name_of_rule, RULE_COUNT, &rule) ||
        !read_choice(line, "action", name_of_action, ACTION_COUNT, &action) ||
        !read_text(line, "statement", &statement) || !check_tables(line, "tables", tables) ||
        (earlier != NULL && !check_tables(line, "earlier", earlier)) ||
        !read_time(line, "first_seen", &first) || !read_time(line, "last_seen", &last) ||
        !read_count(line, &count))
        return false;
    bool added;
    struct seen *seen = find_or_add(record, fingerprint, &added);
    if (added) {
        seen->rule = (enum rule)rule;
        seen->statement = alloc_text(statement);
        copy_tables(tables, &seen->tables);
        copy_tables(earlier, &seen->earlier_tables);
    }
    if (seen->url == NULL)
        seen->url = alloc_text(json_string_value(url));
    seen->executable |= !json_is_false(executable);
    seen->count += count;
    seen->counts[action] += count;
    widen(seen, first, last);
    add_source(seen, json_object_get(line->object, "tags"));
    return true;
}

static bool is_blank(const char *text, size_t length) {
    return strspn(text, " \t\r\n") >= length;
}

bool seen_record_read(struct seen_record *record, FILE *file, const char *name,
                      struct error *error) {
    char *text = NULL;
    size_t room = 0;
    ssize_t length;
    bool ok = true;
    struct line line = {.name = name, .error = error};
    while (ok && (length = getline(&text, &room, file)) >= 0) {
        line.number++;
        if (is_blank(text, (size_t)length))
            continue;
        line.object = json_loadb(text, (size_t)length, 0, NULL);
        ok = take_object(record, &line);
        json_decref(line.object);
    }
    if (ok && ferror(file))
        ok = error_set(error, "%s:%zu: it can't be read: %s: name a file of violations", name,
                       line.number + 1, strerror(errno));
    free(text);
    return ok;
}

/* -- all of them ------------------------------------------------------------------------------- */

struct seen_record *seen_record_new(void) {
    return alloc_new(sizeof(struct seen_record));
}

void seen_record_free(struct seen_record *record) {
    if (record == NULL)
        return;
    struct kept *kept, *next;
    HASH_ITER(hh, record->kept, kept, next) {
        HASH_DEL(record->kept, kept);
        free(kept->seen.statement);
        free(kept->seen.url);
        names_close(&kept->seen.tables);
        names_close(&kept->seen.earlier_tables);
        names_close(&kept->seen.sources);
        free(kept);
    }
    free(record);
}

static int compare(const void *left, const void *right) {
    const struct seen *a = *(const struct seen *const *)left,
                      *b = *(const struct seen *const *)right;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return strcmp(a->fingerprint, b->fingerprint);
}

const struct seen **seen_record_sorted(const struct seen_record *record, size_t *count) {
    const struct seen **list = alloc_zeroed(HASH_COUNT(record->kept) + 1, sizeof *list);
    *count = 0;
    for (const struct kept *kept = record->kept; kept != NULL; kept = kept->hh.next)
        list[(*count)++] = &kept->seen;
    qsort(list, *count, sizeof *list, compare);
    return list;
}
