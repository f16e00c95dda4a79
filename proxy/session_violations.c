/* What becomes of a violation, rejected or let pass, in the log and the record. */
#include "proxy/session_violations.h"
#include "proxy/session_internal.h"

#include "config/allowlist.h"

#include <stdio.h>
#include <string.h>

/* The comments of a statement in the text that it was sent in. Behind the last statement of several
 * stands what is meant for all of them. */
static struct text_span span_of(struct sent_text sent, const struct statement *statement) {
    bool one = statement->query->count == 1 || statement->query->is_shape ||
               statement->facts->start + statement->facts->length > sent.length;
    return (struct text_span){.text = sent.text,
                              .text_length = sent.length,
                              .start = one ? 0 : statement->facts->start,
                              .length = one ? sent.length : statement->facts->length};
}

static void read_tags(const struct session *s, struct sent_text sent, const struct text_span *span,
                      struct tags *tags) {
    tags_read(span, &s->lexing, tags);
    if (tags->count == 0 && span->length < sent.length) {
        struct text_span all = {
            .text = sent.text, .text_length = sent.length, .length = sent.length};
        tags_read(&all, &s->lexing, tags);
    }
}

static void read_url(const struct session *s, const struct text_span *span,
                     const struct observation *observation, char url[PERMIT_URL_MAX + 1]) {
    url[0] = '\0';
    if (observation->reason == OBSERVED_COMMENT)
        permit_comment_url(span, &s->lexing, url);
    else if (observation->reason == OBSERVED_SETTING)
        permit_setting_url(session_show(s->routing, "pginterlock.allow"), url);
    else if (observation->entry != NULL && observation->entry->url != NULL)
        snprintf(url, PERMIT_URL_MAX + 1, "%s", observation->entry->url);
}

/* What all violations of a decision have in common. */
static __attribute__((cold)) struct occurrence occurrence_of(const struct session *s,
                                                             const struct statement *statement,
                                                             const struct decision *decision,
                                                             const struct tags *tags) {
    const struct settings *settings = session_settings(s);
    return (struct occurrence){
        .executable = true,
        .kind = statement_kind_name(statement->facts->kind),
        .settings = settings,
        .statement = decision->subject != NULL ? decision->subject : statement,
        .entrypoint = settings->entrypoints[s->entrypoint].name,
        .application_name = session_parameter(s, "application_name"),
        .tags = tags,
        .client = s->peer,
        .pid = s->pid,
    };
}

static void note(struct session *s, struct occurrence *occurrence, enum rule rule,
                 const char *message, const char *detail) {
    occurrence->rule = rule;
    occurrence->sqlstate = rule_sqlstate(rule);
    occurrence->message = message;
    /* The parser's complaint quotes the text, values and all. */
    occurrence->detail = rule == RULE_UNPARSED ? NULL : detail;
    occurrence->earlier =
        rule == RULE_CROSS_TRANSACTION ? session_first_modification(s->routing) : NULL;
    worker_note_violation(s->worker, occurrence);
}

/* What is refused without any rule, such as a name that is taken on another database. */
static void log_refusal(struct session *s, const struct violation *violation) {
    log_event(s->worker->log, LOG_WARNING, "statement refused",
              (struct log_field[]){{"client", s->peer, 0},
                                   {"pid", NULL, (int64_t)s->pid},
                                   {"sqlstate", violation->sqlstate, 0},
                                   {"error", violation->message, 0},
                                   {0}});
}

void session_note_rejection(struct session *s, struct sent_text sent,
                            const struct statement *statement, const struct decision *decision) {
    const struct violation *violation = &decision->violation;
    if (strcmp(violation->sqlstate, rule_sqlstate(violation->rule)) != 0) {
        log_refusal(s, violation);
        return;
    }
    struct text_span span = span_of(sent, statement);
    struct tags tags;
    read_tags(s, sent, &span, &tags);
    struct occurrence occurrence = occurrence_of(s, statement, decision, &tags);
    occurrence.action = ACTION_REJECTED;
    occurrence.executable = !violation->impossible && violation->rule < RULE_UNROUTABLE;
    note(s, &occurrence, violation->rule, violation->message, violation->detail);
}

void session_record_observations(struct session *s, struct sent_text sent,
                                 const struct statement *statement,
                                 const struct decision *decision) {
    static const enum violation_action actions[] = {[OBSERVED_REPORT] = ACTION_REPORT,
                                                    [OBSERVED_COMMENT] = ACTION_COMMENT,
                                                    [OBSERVED_SETTING] = ACTION_SETTING,
                                                    [OBSERVED_ALLOWLIST] = ACTION_ALLOWLIST};
    struct text_span span = span_of(sent, statement);
    struct tags tags;
    read_tags(s, sent, &span, &tags);
    for (size_t i = 0; i < decision->observation_count; i++) {
        const struct observation *observation = &decision->observations[i];
        struct occurrence occurrence = occurrence_of(s, statement, decision, &tags);
        char url[PERMIT_URL_MAX + 1];
        read_url(s, &span, observation, url);
        occurrence.action = actions[observation->reason];
        occurrence.url = url;
        note(s, &occurrence, observation->rule, observation->message, observation->detail);
    }
}
