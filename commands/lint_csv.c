#include "commands/lint_readers.h"

#include <string.h>
#include <strings.h>

/* Columns of a csvlog, from 0. Source: PostgreSQL manual, "Using CSV-Format Log Output". */
enum {
    COLUMN_PID = 3,
    COLUMN_SESSION = 5,
    COLUMN_VXID = 9,
    COLUMN_SEVERITY = 11,
    COLUMN_MESSAGE = 13,
    COLUMN_DETAIL = 14,
    CSVLOG_COLUMNS_MIN = 22,
};

/* The length of the record at the window's start with its newline, if it has one; 0: none. */
static size_t record_length(struct lint_input *input) {
    size_t at = 0;
    bool quoted = false;
    for (;;) {
        const char *data = input->data + input->start;
        size_t have = input->end - input->start;
        const char *newline = quoted || at >= have ? NULL : memchr(data + at, '\n', have - at);
        size_t until = newline != NULL ? (size_t)(newline - data) : have;
        const char *quote = at >= until ? NULL : memchr(data + at, '"', until - at);
        if (quote != NULL) {
            quoted = !quoted;
            at = (size_t)(quote - data) + 1;
        } else if (newline != NULL) {
            return until + 1;
        } else {
            at = have;
            if (!lint_input_fill(input)) {
                return input->failure == 0 ? have : 0;
            }
        }
    }
}

/* Unquotes the field at text[*at] in place and moves *at behind its comma. */
static struct lint_csv_field take_field(char *text, size_t length, size_t *at) {
    struct lint_csv_field field = {.text = text + *at};
    if (*at < length && text[*at] == '"') {
        char *out = field.text;
        (*at)++;
        while (*at < length) {
            char *quote = memchr(text + *at, '"', length - *at);
            size_t until = quote != NULL ? (size_t)(quote - text) : length;
            memmove(out, text + *at, until - *at);
            out += until - *at;
            *at = until + 1;
            if (*at >= length || text[*at] != '"') {
                break;
            }
            *out++ = '"';
            (*at)++;
        }
        field.length = (size_t)(out - field.text);
        while (*at < length && text[*at] != ',') {
            (*at)++;
        }
    } else {
        char *comma = *at < length ? memchr(field.text, ',', length - *at) : NULL;
        field.length = comma != NULL ? (size_t)(comma - field.text) : length - *at;
        *at += field.length;
    }
    (*at)++;
    return field;
}

bool lint_csv_next(struct lint_input *input, struct lint_csv_record *record) {
    size_t taken = record_length(input);
    if (taken == 0) {
        return false;
    }
    record->line = input->line;
    record->count = 0;
    size_t start = input->start;
    lint_input_skip(input, taken);
    char *text = input->data + start;
    size_t length = taken;
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r')) {
        length--;
    }
    text[length] = '\0';
    for (size_t at = 0; at <= length && record->count < LINT_CSV_FIELDS_MAX;) {
        record->fields[record->count++] = take_field(text, length, &at);
    }
    for (size_t i = 0; i < record->count; i++) {
        record->fields[i].text[record->fields[i].length] = '\0';
    }
    return true;
}

int lint_csv_column(const struct lint_csv_record *header, const char *name) {
    for (size_t i = 0; i < header->count; i++) {
        const char *text = header->fields[i].text;
        text += i == 0 && strncmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0; /* a byte order mark */
        if (strcasecmp(text, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

enum lint_severity lint_csvlog_severity(const struct lint_csv_record *record) {
    size_t length;
    if (record->count < CSVLOG_COLUMNS_MIN) {
        return LINT_NONE;
    }
    const struct lint_csv_field *field = &record->fields[COLUMN_SEVERITY];
    return lint_severity_of(field->text, field->length, false, &length);
}

void lint_csvlog_read(struct lint_input *input, struct lint_sink *sink) {
    struct lint_csv_record row;
    while (lint_csv_next(input, &row)) {
        struct lint_record record = {.line = row.line, .severity = lint_csvlog_severity(&row)};
        if (record.severity == LINT_NONE) {
            sink->skipped++;
            continue;
        }
        const struct lint_csv_field *fields = row.fields;
        lint_record_identify(&record, fields[COLUMN_SESSION].text, fields[COLUMN_SESSION].length,
                             fields[COLUMN_PID].text, fields[COLUMN_PID].length);
        lint_record_set_vxid(&record, fields[COLUMN_VXID].text, fields[COLUMN_VXID].length);
        record.message = fields[COLUMN_MESSAGE].text;
        record.length = fields[COLUMN_MESSAGE].length;
        if (fields[COLUMN_DETAIL].length > 0) {
            record.detail = fields[COLUMN_DETAIL].text;
            record.detail_length = fields[COLUMN_DETAIL].length;
        }
        sink->take(sink, &record);
    }
}
