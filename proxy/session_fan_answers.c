/* What the parts of a command for several links answer: who has committed, whether it has failed,
 * and what the client is told of that. */
#include "proxy/session_fan.h"
#include "proxy/session_internal.h"

#include "config/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 'Committed on "main", "ci"' */
static void append_names(const struct session *s, const char *what, database_set set, char *out,
                         size_t size) {
    size_t at = strlen(out);
    const char *between = at > 0 ? "; " : "";
    for (; set != 0; set &= set - 1) {
        const char *name = session_settings(s)->databases[__builtin_ctz(set)].name;
        snprintf(out + at, size - at, "%s%s \"%s\"", between, what, name);
        at += strlen(out + at);
        between = ",";
        what = "";
    }
}

static void append_full_stop(char *out, size_t size) {
    size_t at = strlen(out);
    snprintf(out + at, size - at, ".");
}

static database_set committed_set(const struct fan *fan) {
    return fan->commits ? fan->succeeded & fan->acted : 0;
}

/* Its COMMIT has failed there, and the rest is rolled back. */
static void describe_failure(const struct session *s, int physical, char *out, size_t size) {
    const struct fan *fan = &s->script.fan;
    database_set committed = committed_set(fan) & ~database_bit(physical);
    out[0] = '\0';
    if (committed == 0) {
        snprintf(out, size, "The transaction was rolled back.");
        return;
    }
    append_names(s, "Committed on", committed, out, size);
    append_names(s, "not committed on", (fan->acted & ~committed) | database_bit(physical), out,
                 size);
    append_full_stop(out, size);
}

void fan_describe_unknown(const struct session *s, int physical, char *out, size_t size) {
    const struct fan *fan = &s->script.fan;
    database_set here = database_bit(physical);
    database_set committed = fan->active ? committed_set(fan) & ~here : 0;
    database_set others = fan->active && fan->commits ? fan->acted & ~committed & ~here : 0;
    out[0] = '\0';
    if ((committed | others) == 0) {
        snprintf(out, size, "Whether the transaction was committed there is not known.");
        return;
    }
    append_names(s, "Committed on", committed, out, size);
    append_names(s, committed != 0 ? "whether on" : "Whether the transaction was committed on",
                 here, out, size);
    size_t at = strlen(out);
    snprintf(out + at, size - at, " is not known");
    append_names(s, "not committed on", others, out, size);
    append_full_stop(out, size);
}

/* What becomes of its COMMIT changes nothing: others may have been modified, or have committed. */
static bool was_only_read(const struct fan *fan, const struct link *link) {
    return fan->commits && (fan->acted & database_bit(link->physical)) == 0 &&
           (fan->acted | fan->succeeded) != 0;
}

/* Of the session's settings, which were to be repeated there. */
static void take_settings_error(struct session *s, struct link *link,
                                const struct diagnostic *diagnostic) {
    const struct request *request = answers_front(&link->answers);
    if (request != NULL && request->asks_binding)
        return; /* its answer is missing, which says enough */
    const char *sqlstate = diagnostic->sqlstate != NULL ? diagnostic->sqlstate : "XX000";
    link->settings_applied = 0;
    link->aligned = link->pool != NULL;
    link->differs = link->set_unknown = link->pool != NULL;
    if (s->cancel_kept && strcmp(sqlstate, "57014") == 0)
        return; /* told when the statement that they were for is next looked at */
    free(s->settings_error);
    s->settings_error = alloc_text(diagnostic->message != NULL ? diagnostic->message : "");
    snprintf(s->settings_sqlstate, sizeof s->settings_sqlstate, "%s", sqlstate);
}

/* An error of one of several links: the first is told. */
void fan_take_error(struct session *s, struct link *link, const uint8_t *body, size_t length) {
    struct fan *fan = &s->script.fan;
    struct diagnostic diagnostic;
    struct error error = {{0}};
    if (!message_read_diagnostic(body + FRAME_HEADER, length - FRAME_HEADER, &diagnostic, &error))
        diagnostic =
            (struct diagnostic){.severity = "ERROR",
                                .sqlstate = "08P01",
                                .message = "the database sent an error that can't be read"};
    if (!fan->active) {
        take_settings_error(s, link, &diagnostic);
        return;
    }
    if (fan->failed || was_only_read(fan, link))
        return;
    char detail[1200];
    if (committed_set(fan) != 0) {
        describe_failure(s, link->physical, detail, sizeof detail);
        diagnostic.detail = detail;
    }
    message_put_diagnostic(&s->out, 'E', &diagnostic);
    reply_flush(s);
    fan->failed = true;
}

void fan_part_gone(struct session *s, int physical) {
    char detail[1200];
    describe_failure(s, physical, detail, sizeof detail);
    session_tell_gone(s, physical, detail);
    s->script.fan.failed = true;
}

void fan_tell_gone(struct session *s, int physical, database_set committed) {
    s->script.fan = (struct fan){.commits = true, .acted = committed, .succeeded = committed};
    fan_part_gone(s, physical);
}

/* COMMIT was answered with ROLLBACK: the block there had failed unnoticed. Where nothing else has
 * been committed that is the client's answer, too. */
static __attribute__((cold)) void part_rolled_back(struct session *s, const struct link *link) {
    struct fan *fan = &s->script.fan;
    if (was_only_read(fan, link))
        return;
    if (fan->statement != NULL && committed_set(fan) == 0) {
        fan->commits = false;
        fan->sql = "ROLLBACK";
        fan->sql_length = strlen(fan->sql);
        session_failed(s->routing);
        return;
    }
    char detail[1200], message[200];
    describe_failure(s, link->physical, detail, sizeof detail);
    snprintf(message, sizeof message, "the transaction was rolled back by database \"%s\"",
             link->name);
    reply_error(s, "40000", message, detail, NULL);
    fan->failed = true;
}

void fan_take_tag(struct session *s, struct link *link, const struct request *request,
                  const uint8_t *message, size_t length) {
    struct fan *fan = &s->script.fan;
    if (!fan->active || request->trails || request->audience == AUDIENCE_CLIENT)
        return;
    static const char undone[] = "ROLLBACK";
    fan->ended |= database_bit(link->physical);
    bool rolled_back = length == FRAME_HEADER + sizeof undone &&
                       memcmp(message + FRAME_HEADER, undone, sizeof undone) == 0;
    if (fan->failed)
        return;
    if (fan->commits && rolled_back)
        part_rolled_back(s, link);
    else
        fan->succeeded |= database_bit(link->physical);
}

/* Whether a block, explicit or not, is over with it. */
static bool fan_ends(const struct fan *fan) {
    if (fan->statement == NULL)
        return fan->commits || !fan->sync;
    enum statement_kind kind = fan->statement->facts->kind;
    return kind == KIND_COMMIT || kind == KIND_ROLLBACK || kind == KIND_PREPARE_TRANSACTION;
}

static bool fan_rolls_back(const struct fan *fan) {
    return fan_ends(fan) && !fan->commits;
}

bool fan_tolerates_loss(struct session *s, const struct link *link) {
    struct fan *fan = &s->script.fan;
    if (link_trails(link))
        return true;
    if (!fan->active)
        return false;
    bool ended = fan_ends(fan) && (fan->ended & database_bit(link->physical)) != 0;
    bool undone = fan_rolls_back(fan) || fan->failed || (fan->statement == NULL && !fan->commits);
    if (!ended && !undone && !was_only_read(fan, link))
        return false;
    fan->several = fan->several || !ended; /* the tag is ours to give */
    return true;
}

bool fan_part_ended(struct session *s, struct link *link, const struct request *request,
                    char status) {
    struct fan *fan = &s->script.fan;
    if (!fan->active)
        return true;
    database_set here = database_bit(link->physical);
    if (request->failed) {
        fan->failed = fan->failed || request->audience == AUDIENCE_PART;
        return true;
    }
    bool chain = fan->statement != NULL && (fan->statement->facts->flags & STATEMENT_CHAIN) != 0;
    if ((request->kind == REQUEST_QUERY && (fan->ended & here) == 0) ||
        (fan_ends(fan) && !chain && status != 'I'))
        return false;
    if (request->kind == REQUEST_SYNC)
        fan->succeeded |= here;
    return true;
}

/* Of a COMMIT over several: what triggers say at its end, and the server of its replicas. That no
 * transaction is in progress it says of a pipeline's, which the client has been told. */
bool fan_passes_notice(const struct session *s, const struct request *request,
                       const uint8_t *message, size_t length) {
    struct diagnostic diagnostic;
    struct error error;
    if (!s->script.fan.active || !s->script.fan.commits || request->trails)
        return false;
    return message_read_diagnostic(message + FRAME_HEADER, length - FRAME_HEADER, &diagnostic,
                                   &error) &&
           diagnostic.sqlstate != NULL && strcmp(diagnostic.sqlstate, "25P01") != 0;
}
