/* A session that runs whatever it is given, a statement a line; what it decides must be whole, and
 * nothing may leak or crash. A line that begins with ! is an event from outside: a failure, a lost
 * database, a message's brackets. */
#include "config/allowlist.h"
#include "routing/session_state.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char config[] = "databases:\n  main: \"host=127.0.0.1 dbname=a\"\n  ci: "
                             "\"host=127.0.0.1 dbname=b\"\n  sec: {same_as: main}\n"
                             "classification: {tables: tables.yml}\n"
                             "entrypoints: {app: routed, app_main: main, app_ci: ci}\n"
                             "auth: {method: trust}\nrules: {cross_foreign_key: report}\n"
                             "allowlist: list.yml\n";
static const char list[] = "- {rule: cross_join, tables: [projects, findings]}\n"
                           "- {rule: cross_join, fingerprint: 0123456789abcdef}\n"
                           "- {rule: cross_transaction, tables: [projects, ci_builds, findings]}\n"
                           "- {rule: unclassified, tables: [nobody]}\n"
                           "- {rule: unparsed, tables: [users, findings]}\n"
                           "- {rule: write_lock, tables: [ci_builds]}\n"
                           "- {rule: wrong_database, tables: [ci_builds, projects]}\n";
static const char tables[] =
    "projects: :gitlab_main\nusers: :gitlab_main\nci_builds: :gitlab_ci\n"
    "findings: :gitlab_sec\nparts: :gitlab_shared\nversions: :gitlab_internal\n";

static void write_file(const char *folder, const char *name, const char *content) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert(file != NULL);
    fputs(content, file);
    fclose(file);
}

static struct settings *load(void) {
    char folder[] = "/tmp/pginterlock-fuzz-XXXXXX", path[256];
    struct settings *settings;
    struct error error;
    bool made = mkdtemp(folder) != NULL;
    assert(made);
    write_file(folder, "tables.yml", tables);
    write_file(folder, "list.yml", list);
    write_file(folder, "pginterlock.yml", config);
    snprintf(path, sizeof path, "%s/pginterlock.yml", folder);
    bool loaded = settings_load(path, &settings, &error);
    assert(loaded);
    unlink(path);
    snprintf(path, sizeof path, "%s/tables.yml", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/list.yml", folder);
    unlink(path);
    rmdir(folder);
    return settings;
}

static void event(struct session_state *session, const struct settings *settings,
                  const char *line) {
    switch (line[1]) {
    case 'b':
        session_begin_implicit(session);
        break;
    case 'e':
        session_end_implicit(session, line[2] == '1');
        break;
    case 'f':
        session_failed(session);
        break;
    case 'l':
        session_lost_database(session, line[2] == '1');
        break;
    case 'r':
        session_rolled_back(session);
        break;
    case 's':
        session_adopt_status(session, line[2] == 'T' || line[2] == 'E' ? line[2] : 'I', 0);
        break;
    case 'p':
        session_set_settings(session, settings, line[2] == '1');
        break;
    default:
        break;
    }
}

/* Who let a violation pass is told. */
static void check_observations(const struct decision *decision) {
    for (size_t i = 0; i < decision->observation_count; i++) {
        const struct observation *observation = &decision->observations[i];
        assert((observation->reason == OBSERVED_ALLOWLIST) == (observation->entry != NULL));
        assert(observation->entry == NULL || observation->entry->rule == observation->rule);
    }
}

static void run(struct session_state *session, struct router *router, const char *line) {
    const struct lexing lexing = {.standard_conforming_strings = true};
    struct query *query;
    struct error error;
    if (!router_query(router, line, strlen(line), &lexing, true, &query, &error)) {
        return;
    }
    for (size_t i = 0; i < query->count; i++) {
        struct decision decision;
        session_decide(session, &query->statements[i], &decision);
        check_observations(&decision);
        if (decision.violated) {
            assert(decision.destination == DESTINATION_NONE && decision.violation.message != NULL);
            assert(decision.violation.position < (int)query->length);
            session_failed(session);
        } else {
            assert(decision.destination == DESTINATION_NONE ||
                   (decision.database >= 0 &&
                    (size_t)decision.database < router_settings(router)->database_count));
            session_executed(session, &query->statements[i], &decision);
        }
    }
    query_unref(query);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct settings *settings = load();
    struct router *router = router_new(settings, 64 * 1024);
    struct session_state *session = session_state_new(settings, 0);
    char *text = strndup((const char *)data, size), *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (line[0] == '!') {
            event(session, settings, line);
        } else {
            run(session, router, line);
        }
    }
    free(text);
    session_state_free(session);
    router_free(router);
    settings_unref(settings);
    return 0;
}
