#include "commands/lint_readers.h"
#include "config/utf8.h"

#include <jansson.h>
#include <string.h>

/* A string member as a borrowed text, "" where there is none. */
static char *member(const json_t *object, const char *key, size_t *length) {
    const json_t *value = json_object_get(object, key);
    *length = json_string_length(value);
    /* The value is ours alone and goes after the sink has had it. */
    return json_is_string(value) ? (char *)(uintptr_t)json_string_value(value) : NULL;
}

/* False: it is no record. */
static bool take_object(const json_t *object, size_t line, struct lint_sink *sink) {
    struct lint_record record = {.line = line};
    size_t severity_length, session_length, vxid_length, ignored;
    const char *severity = member(object, "error_severity", &severity_length);
    const char *session = member(object, "session_id", &session_length);
    const char *vxid = member(object, "vxid", &vxid_length);
    const json_t *pid = json_object_get(object, "pid");
    record.message = member(object, "message", &record.length);
    record.detail = member(object, "detail", &record.detail_length);
    if (severity == NULL || record.message == NULL) {
        return false;
    }
    record.severity = lint_severity_of(severity, severity_length, false, &ignored);
    lint_record_identify(&record, session, session_length, "", 0);
    if (!record.has_session && json_is_integer(pid)) {
        record.has_session = true;
        record.session = (uint64_t)json_integer_value(pid);
    }
    lint_record_set_vxid(&record, vxid, vxid_length);
    if (record.severity == LINT_NONE) {
        return false;
    }
    sink->take(sink, &record);
    return true;
}

void lint_jsonlog_read(struct lint_input *input, struct lint_sink *sink) {
    char *line;
    size_t length;
    for (;;) {
        size_t number = input->line;
        if (!lint_input_line(input, &line, &length)) {
            return;
        }
        utf8_repair(line, length); /* a log has the bytes of whatever encoding a database has */
        json_t *object = json_loadb(line, length, JSON_ALLOW_NUL, NULL);
        if (!take_object(object, number, sink)) {
            sink->skipped++;
        }
        json_decref(object);
    }
}
