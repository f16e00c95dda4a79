#include "config/userlist.h"

#include "config/alloc.h"

#include <stdlib.h>
#include <string.h>

/* A user with the line that names it, so that the second of two can be told. */
struct entry {
    struct user user;
    int line;
};

static const char *skip_blanks(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r'))
        at++;
    return at;
}

/* A quoted text at `*at`; moves behind it. NULL: there is none, or it doesn't end in its line. */
static char *read_quoted(const char **at, const char *end) {
    const char *from = *at;
    if (from == end || *from != '"')
        return NULL;
    char *text = alloc_zeroed((size_t)(end - from) + 1, 1), *to = text;
    for (from++; from < end; from++) {
        if (*from == '"') {
            if (from + 1 == end || from[1] != '"') {
                *at = from + 1;
                return text;
            }
            from++;
        }
        *to++ = *from;
    }
    explicit_bzero(text, (size_t)(to - text));
    free(text);
    return NULL;
}

static void user_close(struct user *user) {
    free(user->name);
    if (user->secret != NULL)
        explicit_bzero(user->secret, strlen(user->secret));
    free(user->secret);
}

/* One line that isn't blank or a comment. */
static bool read_line(const char *at, const char *end, struct user *out, const char **wrong) {
    out->secret = NULL;
    out->name = read_quoted(&at, end);
    *wrong = "no user here: write \"user\" \"secret\", both in double quotes";
    if (out->name == NULL)
        return false;
    *wrong = "the user has no name: write one between the quotes";
    if (out->name[0] == '\0')
        return false;
    at = skip_blanks(at, end);
    out->secret = read_quoted(&at, end);
    *wrong = "no secret after the user: write \"user\" \"secret\", both in double quotes";
    if (out->secret == NULL)
        return false;
    at = skip_blanks(at, end);
    *wrong =
        "something follows the secret: write `\"\"` for a quote inside, and `;` before a comment";
    /* PgBouncer's older files have further quoted fields, which it skips. */
    return at == end || *at == ';' || *at == '"';
}

static int compare_entries(const void *a, const void *b) {
    const struct entry *left = a, *right = b;
    int order = strcmp(left->user.name, right->user.name);
    return order != 0 ? order : (left->line > right->line) - (left->line < right->line);
}

static bool read_lines(const char *path, const char *data, size_t length, struct entry **entries,
                       size_t *count, struct error *error) {
    const char *end = data + length;
    int line = 1;
    for (const char *at = data; at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop == NULL ? end : stop;
        const char *first = skip_blanks(at, stop), *wrong;
        if (memchr(at, '\0', (size_t)(stop - at)) != NULL)
            return error_set(error, "%s:%d: a NUL in the text: remove it", path, line);
        at = stop + 1;
        if (first == stop || *first == ';')
            continue;
        struct user user;
        if (!read_line(first, stop, &user, &wrong)) {
            user_close(&user);
            return error_set(error, "%s:%d: %s", path, line, wrong);
        }
        *entries = alloc_grow(*entries, *count, sizeof **entries);
        (*entries)[(*count)++] = (struct entry){.user = user, .line = line};
    }
    return true;
}

static bool check_duplicates(const char *path, struct entry *entries, size_t count,
                             struct error *error) {
    for (size_t i = 1; i < count; i++) {
        if (strcmp(entries[i - 1].user.name, entries[i].user.name) == 0)
            return error_set(error,
                             "%s:%d: \"%s\" is given twice, first in line %d: remove one of them",
                             path, entries[i].line, entries[i].user.name, entries[i - 1].line);
    }
    return true;
}

bool userlist_parse(const char *path, const char *data, size_t length, struct user **users,
                    size_t *count, struct error *error) {
    struct entry *entries = NULL;
    size_t found = 0;
    bool ok = read_lines(path, data, length, &entries, &found, error);
    if (found > 0)
        qsort(entries, found, sizeof *entries, compare_entries);
    ok = ok && check_duplicates(path, entries, found, error);
    struct user *list = ok ? alloc_zeroed(found, sizeof *list) : NULL;
    for (size_t i = 0; i < found; i++) {
        if (ok)
            list[i] = entries[i].user;
        else
            user_close(&entries[i].user);
    }
    free(entries);
    if (ok) {
        *users = list;
        *count = found;
    }
    return ok;
}

void userlist_free(struct user *users, size_t count) {
    for (size_t i = 0; i < count; i++)
        user_close(&users[i]);
    free(users);
}
