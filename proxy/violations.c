#include "proxy/violations.h"

#include "config/alloc.h"
#include "proxy/violations_file.h"
#include "proxy/violations_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define uthash_fatal(message) abort()
#include <uthash.h>

struct entry {
    char *key;
    enum rule rule;
    enum violation_action action;
    char fingerprint[FINGERPRINT_LENGTH + 1];
    char sqlstate[6];
    char *begin;          /* of its lines */
    char *tags, *message; /* of the last occurrence */
    time_t last_seen;
    uint64_t unwritten;       /* occurrences since the last line in the file */
    uint64_t unlogged;        /* … in the log */
    uint64_t written, logged; /* when the last line was, or was tried */
    char client[64];          /* of the last occurrence */
    uint32_t pid;
    size_t bytes;
    UT_hash_handle hh; /* in the order in which they were last seen, the oldest first */
};

struct violations {
    struct log *log;
    struct violations_file file;
    struct entry *entries;
    size_t bytes;
    size_t pending;        /* entries with something unwritten or unlogged */
    struct text key, line; /* kept for the next one */
};

static const char *const action_names[ACTION_COUNT] = {[ACTION_REJECTED] = "rejected",
                                                       [ACTION_REPORT] = "report",
                                                       [ACTION_COMMENT] = "comment",
                                                       [ACTION_SETTING] = "setting",
                                                       [ACTION_ALLOWLIST] = "allowlist"};

const char *violation_action_name(enum violation_action action) {
    return action_names[action];
}

/* -- the log ----------------------------------------------------------------------------------- */

static void log_line(struct violations *v, struct entry *entry, const char *kind,
                     const char *detail) {
    static const char *const reasons[ACTION_COUNT] = {[ACTION_REPORT] = "report",
                                                      [ACTION_COMMENT] = "comment",
                                                      [ACTION_SETTING] = "pginterlock.allow",
                                                      [ACTION_ALLOWLIST] = "allowlist"};
    bool rejected = entry->action == ACTION_REJECTED;
    struct log_field fields[12] = {{"client", entry->client, 0},
                                   {"pid", NULL, (int64_t)entry->pid},
                                   {"rule", rule_name(entry->rule), 0}};
    size_t count = 3;
    fields[count++] = rejected ? (struct log_field){"sqlstate", entry->sqlstate, 0}
                               : (struct log_field){"reason", reasons[entry->action], 0};
    fields[count++] = (struct log_field){"fingerprint", entry->fingerprint, 0};
    if (kind != NULL)
        fields[count++] = (struct log_field){"kind", kind, 0};
    if (entry->unlogged > 1)
        fields[count++] = (struct log_field){"count", NULL, (int64_t)entry->unlogged};
    fields[count++] = (struct log_field){"error", entry->message, 0};
    if (detail != NULL)
        fields[count++] = (struct log_field){"detail", detail, 0};
    log_event(v->log, LOG_WARNING, rejected ? "statement rejected" : "violation let pass", fields);
    entry->unlogged = 0;
}

/* -- entries ----------------------------------------------------------------------------------- */

static bool is_pending(const struct entry *entry) {
    return entry->unwritten > 0 || entry->unlogged > 0;
}

static void write_line(struct violations *v, struct entry *entry, uint64_t now) {
    entry->written = now;
    if (v->file.path != NULL)
        violation_line(&v->line, entry->begin, entry->tags, entry->unwritten, entry->last_seen);
    if (violations_file_write(&v->file, v->line.data, v->line.length))
        entry->unwritten = 0;
}

/* Writes what is unwritten where its time has come. */
static void settle(struct violations *v, struct entry *entry, uint64_t now) {
    bool was_pending = is_pending(entry);
    if (entry->unwritten > 0 && now - entry->written >= VIOLATION_INTERVAL)
        write_line(v, entry, now);
    if (entry->unlogged > 0 && now - entry->logged >= VIOLATION_INTERVAL) {
        entry->logged = now;
        log_line(v, entry, NULL, NULL);
    }
    v->pending -= was_pending && !is_pending(entry);
}

static void entry_free(struct entry *entry) {
    free(entry->key);
    free(entry->begin);
    free(entry->tags);
    free(entry->message);
    free(entry);
}

/* Writes what is unwritten, now or never. */
static void forget(struct violations *v, struct entry *entry) {
    v->pending -= is_pending(entry);
    if (entry->unwritten > 0)
        write_line(v, entry, entry->written);
    v->file.lost += entry->unwritten;
    if (entry->unlogged > 0)
        log_line(v, entry, NULL, NULL);
    HASH_DEL(v->entries, entry);
    v->bytes -= entry->bytes;
    entry_free(entry);
}

static void forget_all(struct violations *v) {
    struct entry *entry, *next;
    HASH_ITER(hh, v->entries, entry, next) {
        forget(v, entry);
    }
}

static void make_room(struct violations *v) {
    while (v->entries != NULL &&
           (HASH_COUNT(v->entries) > VIOLATION_ENTRIES_MAX || v->bytes > VIOLATION_BYTES_MAX))
        forget(v, v->entries);
}

static size_t entry_bytes(const struct entry *entry, size_t key_length) {
    return sizeof *entry + key_length + strlen(entry->begin) + strlen(entry->tags) +
           strlen(entry->message) + 4;
}

/* -- what occurrences have in common ----------------------------------------------------------- */

static void add_to_key(struct text *key, const char *text) {
    if (text != NULL)
        text_append_bytes(key, text, strlen(text));
    text_append_bytes(key, "", 1);
}

static void make_key(struct text *key, const struct occurrence *o, const char *fingerprint) {
    key->length = 0;
    add_to_key(key, fingerprint);
    add_to_key(key, violation_action_name(o->action));
    add_to_key(key, o->entrypoint);
    add_to_key(key, o->application_name);
    for (size_t i = 0; i < o->tags->count; i++) {
        const struct tag *tag = &o->tags->list[i];
        if (!tag_is_of_occurrence(tag->key)) {
            add_to_key(key, tag->key);
            add_to_key(key, tag->value);
        }
    }
}

static struct entry *entry_new(struct violations *v, const struct occurrence *o,
                               const char *fingerprint, const char *normalized, time_t seen) {
    struct entry *entry = alloc_new(sizeof *entry);
    entry->key = alloc_resize(NULL, v->key.length);
    memcpy(entry->key, v->key.data, v->key.length);
    entry->rule = o->rule;
    entry->action = o->action;
    memcpy(entry->fingerprint, fingerprint, sizeof entry->fingerprint);
    snprintf(entry->sqlstate, sizeof entry->sqlstate, "%s", o->sqlstate);
    entry->begin = violation_line_begin(o, fingerprint, normalized, seen);
    entry->message = alloc_text(o->message);
    return entry;
}

/* What is told of the last occurrence; the entry becomes the one that was seen last. */
static void entry_see(struct violations *v, struct entry *entry, const struct occurrence *o,
                      time_t seen) {
    free(entry->tags);
    entry->tags = violation_line_tags(o->tags);
    entry->last_seen = seen;
    snprintf(entry->client, sizeof entry->client, "%s", o->client);
    entry->pid = o->pid;
    v->pending += !is_pending(entry);
    entry->unwritten++;
    entry->unlogged++;
    entry->bytes = entry_bytes(entry, v->key.length);
    v->bytes += entry->bytes;
    HASH_ADD_KEYPTR(hh, v->entries, entry->key, v->key.length, entry);
}

void violations_note(struct violations *v, const struct occurrence *o, uint64_t now) {
    char fingerprint[FINGERPRINT_LENGTH + 1];
    char *normalized = statement_normalized_text(o->statement);
    fingerprint_make(o->rule, normalized, fingerprint);
    make_key(&v->key, o, fingerprint);
    struct entry *entry;
    HASH_FIND(hh, v->entries, v->key.data, v->key.length, entry);
    time_t seen = time(NULL);
    if (entry != NULL) {
        HASH_DEL(v->entries, entry);
        v->bytes -= entry->bytes;
        entry_see(v, entry, o, seen);
        settle(v, entry, now);
    } else {
        entry = entry_new(v, o, fingerprint, normalized, seen);
        entry_see(v, entry, o, seen);
        entry->logged = now;
        log_line(v, entry, o->kind, o->detail);
        write_line(v, entry, now);
        v->pending -= !is_pending(entry);
    }
    make_room(v);
    free(normalized);
}

/* -- life -------------------------------------------------------------------------------------- */

struct violations *violations_new(struct log *log) {
    struct violations *v = alloc_new(sizeof *v);
    v->log = log;
    violations_file_init(&v->file, log);
    return v;
}

void violations_free(struct violations *v) {
    if (v == NULL)
        return;
    forget_all(v);
    violations_file_close(&v->file);
    free(v->key.data);
    free(v->line.data);
    free(v);
}

void violations_open(struct violations *v, const char *path) {
    forget_all(v);
    violations_file_open(&v->file, path);
}

bool violations_pending(const struct violations *v) {
    return v->pending > 0;
}

void violations_tick(struct violations *v, uint64_t now) {
    struct entry *entry, *next;
    HASH_ITER(hh, v->entries, entry, next) {
        settle(v, entry, now);
    }
}
