#include "commands/live_audit.h"

#include "config/alloc.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *key, *title;
} checks[LIVE_CHECK_COUNT] = {
    [LIVE_UNCLASSIFIED] = {"unclassified", "tables and views without a classification"},
    [LIVE_ONE_SIDED] = {"one_sided", "tables and views that are not in every database"},
    [LIVE_FOREIGN_KEY] = {"foreign_key", "foreign keys across the split"},
    [LIVE_PARTITION] = {"partition", "partitions and children of another database"},
    [LIVE_VIEW] = {"view", "views across the split"},
    [LIVE_RULE] = {"rule", "rules across the split"},
    [LIVE_POLICY] = {"policy", "policies across the split"},
    [LIVE_TRIGGER] = {"trigger", "triggers across the split"},
    [LIVE_FUNCTION] = {"function", "functions"},
    [LIVE_SEQUENCE] = {"sequence", "sequences that two databases draw from"},
    [LIVE_LOCK] = {"lock", "locks against writes that are not as they should be"},
    [LIVE_TYPE] = {"type", "types that differ"},
    [LIVE_ROLE] = {"role", "roles that differ"},
    [LIVE_SETTING] = {"setting", "settings that differ"},
    [LIVE_MISSING] = {"missing", "classified names that no database has"},
};

void live_find(struct live_audit *audit, enum live_check check, bool problem, int database,
               char *object, char *message, const char *advice) {
    audit->findings = alloc_grow(audit->findings, audit->finding_count, sizeof *audit->findings);
    struct live_finding *finding = &audit->findings[audit->finding_count];
    *finding = (struct live_finding){.check = check,
                                     .problem = problem,
                                     .database = database,
                                     .object = object,
                                     .message = message,
                                     .advice = advice,
                                     .order = audit->finding_count++};
}

size_t live_problem_count(const struct live_audit *audit) {
    size_t count = 0;
    for (size_t i = 0; i < audit->finding_count; i++)
        count += audit->findings[i].problem;
    return count;
}

void live_findings_close(struct live_audit *audit) {
    for (size_t i = 0; i < audit->finding_count; i++) {
        free(audit->findings[i].object);
        free(audit->findings[i].message);
    }
    free(audit->findings);
    audit->findings = NULL;
    audit->finding_count = 0;
}

/* By what was looked at, problems first, then as found. */
static int compare(const void *left, const void *right) {
    const struct live_finding *a = left, *b = right;
    if (a->check != b->check)
        return a->check < b->check ? -1 : 1;
    if (a->problem != b->problem)
        return a->problem ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

static const char *database_name(const struct live_audit *audit,
                                 const struct live_finding *finding) {
    return finding->database >= 0 ? audit->settings->databases[finding->database].name : NULL;
}

static void print_json(const struct live_audit *audit, const struct live_finding *finding) {
    const char *database = database_name(audit, finding);
    json_t *line =
        json_pack("{s:s, s:s, s:s?, s:s, s:s, s:s}", "check", checks[finding->check].key,
                  "severity", finding->problem ? "problem" : "note", "database", database, "object",
                  finding->object, "message", finding->message, "advice", finding->advice);
    char *text = line != NULL ? json_dumps(line, JSON_COMPACT) : NULL;
    if (text != NULL)
        puts(text);
    free(text);
    json_decref(line);
}

static void print_text(const struct live_audit *audit, const struct live_finding *finding) {
    const char *database = database_name(audit, finding);
    char *object = database_client_plain(finding->object);
    char *message = database_client_plain(finding->message);
    printf("  %-8s %-10s ", finding->problem ? "problem" : "note",
           database != NULL ? database : "all");
    printf("%s: %s: %s\n", object, message, finding->advice);
    free(object);
    free(message);
}

void live_report(struct live_audit *audit, bool json) {
    if (audit->finding_count > 0)
        qsort(audit->findings, audit->finding_count, sizeof *audit->findings, compare);
    for (size_t i = 0; i < audit->finding_count; i++) {
        const struct live_finding *finding = &audit->findings[i];
        if (json) {
            print_json(audit, finding);
            continue;
        }
        if (i == 0 || audit->findings[i - 1].check != finding->check)
            printf("%s:\n", checks[finding->check].title);
        print_text(audit, finding);
    }
    if (json)
        return;
    size_t problems = live_problem_count(audit);
    printf("%zu problem%s, %zu note%s%s\n", problems, problems == 1 ? "" : "s",
           audit->finding_count - problems, audit->finding_count - problems == 1 ? "" : "s",
           problems == 0 && audit->complete ? ": fine" : "");
}
