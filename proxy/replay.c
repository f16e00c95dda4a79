#include "proxy/replay.h"

#include "config/alloc.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* -- settings ---------------------------------------------------------------------------------- */

static void change_free(struct setting_change *change) {
    free(change->name);
    free(change->sql);
}

static void change_remove(struct setting_log *log, size_t index) {
    change_free(&log->changes[index]);
    memmove(&log->changes[index], &log->changes[index + 1],
            (log->count - index - 1) * sizeof log->changes[0]);
    log->count--;
}

static void forget(struct setting_log *log, const char *name) {
    for (size_t i = 0; i < log->count; i++)
        if (strcasecmp(log->changes[i].name, name) == 0) {
            change_remove(log, i);
            break;
        }
}

void setting_log_add(struct setting_log *log, const char *name, const char *sql,
                     size_t sql_length) {
    forget(log, name);
    if (strcasecmp(name, "session_authorization") == 0)
        forget(log, "role"); /* as the server does */
    if (log->count == log->capacity) {
        log->capacity = log->capacity > 0 ? log->capacity * 2 : 4;
        log->changes = alloc_resize(log->changes, log->capacity * sizeof log->changes[0]);
    }
    log->changes[log->count++] = (struct setting_change){
        .name = alloc_text(name), .sql = alloc_copy(sql, sql_length), .number = ++log->last};
}

static void clear_changes(struct setting_log *log) {
    for (size_t i = 0; i < log->count; i++)
        change_free(&log->changes[i]);
    log->count = 0;
}

bool setting_is_identity(const char *name) {
    return strcasecmp(name, "role") == 0 || strcasecmp(name, "session_authorization") == 0;
}

void setting_log_reset_all(struct setting_log *log, const char *sql, size_t sql_length) {
    for (size_t i = log->count; i-- > 0;)
        if (!setting_is_identity(log->changes[i].name))
            change_remove(log, i);
    setting_log_add(log, "", sql, sql_length);
}

void setting_log_forget(struct setting_log *log) {
    clear_changes(log);
    log->last++; /* that, too, is a change */
}

void setting_log_close(struct setting_log *log) {
    clear_changes(log);
    free(log->changes);
    memset(log, 0, sizeof *log);
}

/* -- block ------------------------------------------------------------------------------------- */

void block_log_add(struct block_log *log, enum block_entry_kind kind, const char *name,
                   const char *sql, size_t sql_length) {
    if (log->count == log->capacity) {
        log->capacity = log->capacity > 0 ? log->capacity * 2 : 4;
        log->entries = alloc_resize(log->entries, log->capacity * sizeof log->entries[0]);
    }
    log->entries[log->count++] = (struct block_entry){
        .kind = kind, .sql = alloc_copy(sql, sql_length), .name = alloc_text(name)};
}

void block_log_begin(struct block_log *log, const char *sql, size_t sql_length) {
    block_log_add(log, ENTRY_BEGIN, NULL, sql, sql_length);
    struct block_entry begin = log->entries[log->count - 1];
    memmove(&log->entries[1], &log->entries[0], (log->count - 1) * sizeof log->entries[0]);
    log->entries[0] = begin;
}

static void entry_free(struct block_entry *entry) {
    free(entry->sql);
    free(entry->name);
}

bool block_log_has_savepoint(const struct block_log *log) {
    for (size_t i = 0; i < log->count; i++)
        if (log->entries[i].kind == ENTRY_SAVEPOINT)
            return true;
    return false;
}

long block_log_find_savepoint(const struct block_log *log, const char *name) {
    for (size_t i = log->count; i-- > 0;)
        if (log->entries[i].kind == ENTRY_SAVEPOINT && strcmp(log->entries[i].name, name) == 0)
            return (long)i;
    return -1;
}

void block_log_truncate(struct block_log *log, size_t index) {
    while (log->count > index + 1)
        entry_free(&log->entries[--log->count]);
}

void block_log_release(struct block_log *log, size_t index, size_t *applied[],
                       size_t applied_count) {
    for (size_t c = 0; c < applied_count; c++) {
        size_t position = *applied[c];
        for (size_t i = index; i < position; i++)
            if (log->entries[i].kind == ENTRY_SAVEPOINT)
                (*applied[c])--;
    }
    size_t kept = index;
    for (size_t i = index; i < log->count; i++) {
        if (log->entries[i].kind == ENTRY_SAVEPOINT)
            entry_free(&log->entries[i]);
        else
            log->entries[kept++] = log->entries[i];
    }
    log->count = kept;
}

void block_log_commit(struct block_log *log, struct setting_log *settings) {
    for (size_t i = 0; i < log->count; i++) {
        const struct block_entry *entry = &log->entries[i];
        if (entry->kind != ENTRY_SETTING || !entry->outlives)
            continue;
        if (entry->reset_all)
            setting_log_reset_all(settings, entry->sql, strlen(entry->sql));
        else
            setting_log_add(settings, entry->name, entry->sql, strlen(entry->sql));
    }
    block_log_clear(log);
}

void block_log_chain(const struct block_log *log, struct block_log *next) {
    for (size_t i = 0; i < log->count; i++) {
        const struct block_entry *entry = &log->entries[i];
        if (entry->kind != ENTRY_BEGIN && !entry->chains)
            continue;
        block_log_add(next, entry->kind, entry->name, entry->sql, strlen(entry->sql));
        next->entries[next->count - 1].chains = entry->chains;
    }
}

void block_log_clear(struct block_log *log) {
    for (size_t i = 0; i < log->count; i++)
        entry_free(&log->entries[i]);
    log->count = 0;
    log->chained = false;
}

void block_log_close(struct block_log *log) {
    block_log_clear(log);
    free(log->entries);
    memset(log, 0, sizeof *log);
}
