/* A session on a small classification, for tests that speak SQL and look at where it goes.
 *
 *     struct fixture f;
 *     fixture_open(&f, RULES_ENFORCED, "app");
 *     assert_goes(&f, "SELECT * FROM ci_builds", "ci");
 *     fixture_close(&f);
 *
 * Included once by each test program; nothing here outlives a fixture. */
#ifndef PGINTERLOCK_TEST_ROUTING_SESSION_H
#define PGINTERLOCK_TEST_ROUTING_SESSION_H

#include "routing/session_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define RULES_ENFORCED ""

static const char *const fixture_tables =
    "projects: :gitlab_main\nusers: :gitlab_main\nissues: :gitlab_main\n"
    "ci_builds: :gitlab_ci\nci_pipelines: :gitlab_ci\n"
    "detached_partitions: :gitlab_shared\nschema_migrations: :gitlab_internal\n";

struct fixture {
    char folder[64];
    struct settings *settings;
    struct router *router;
    struct session_state *session;
    struct query *query; /* of the last statement, which the decision's words refer to */
    struct decision decision;
};

static inline void fixture_write(const struct fixture *f, const char *name, const char *content) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", f->folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
}

static inline void fixture_load(struct fixture *f, const char *entrypoint) {
    char path[256];
    struct error error;
    snprintf(path, sizeof path, "%s/pginterlock.yml", f->folder);
    if (!settings_load(path, &f->settings, &error)) {
        fail_msg("%s", error.text);
    }
    f->router = router_new(f->settings, 1024 * 1024);
    f->session = session_state_new(f->settings, settings_find_entrypoint(f->settings, entrypoint));
    f->query = NULL;
}

/* `ci`: the line of the second database; `more`: further top-level keys of the file, such as rules.
 */
static inline void fixture_open_with(struct fixture *f, const char *ci, const char *more,
                                     const char *entrypoint) {
    char config[2048];
    snprintf(f->folder, sizeof f->folder, "/tmp/pginterlock-test-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    fixture_write(f, "tables.yml", fixture_tables);
    snprintf(config, sizeof config,
             "databases:\n  main: \"host=127.0.0.1 port=5432 dbname=app\"\n  ci: %s\n"
             "classification:\n  tables: tables.yml\n  functions: {archive_build: gitlab_ci}\n"
             "entrypoints: {app: routed, app_main: main, app_ci: ci}\n"
             "auth: {method: trust}\nlisten: [\"127.0.0.1:6432\"]\n%s",
             ci, more);
    fixture_write(f, "pginterlock.yml", config);
    fixture_load(f, entrypoint);
}

static inline void fixture_open(struct fixture *f, const char *rules, const char *entrypoint) {
    fixture_open_with(f, "\"host=127.0.0.1 port=5433 dbname=app_ci\"", rules, entrypoint);
}

/* main and ci are one physical database, still checked as two. */
static inline void fixture_open_single(struct fixture *f, const char *rules,
                                       const char *entrypoint) {
    fixture_open_with(f, "{same_as: main}", rules, entrypoint);
}

static inline void fixture_close(struct fixture *f) {
    char command[256];
    query_unref(f->query);
    session_state_free(f->session);
    router_free(f->router);
    settings_unref(f->settings);
    snprintf(command, sizeof command, "rm -r %s", f->folder);
    assert_int_equal(system(command), 0);
}

static inline const struct statement *fixture_statement(struct fixture *f, const char *sql) {
    const struct lexing lexing = {.standard_conforming_strings = true};
    struct error error;
    query_unref(f->query);
    if (!router_query(f->router, sql, strlen(sql), &lexing, true, &f->query, &error)) {
        fail_msg("%s", error.text);
    }
    assert_int_equal(f->query->count, 1);
    return &f->query->statements[0];
}

/* "main", "ci", "any", "all", "none", or the name of the rule that is violated. */
static inline const char *fixture_outcome(const struct fixture *f) {
    switch (f->decision.destination) {
    case DESTINATION_ONE:
        return f->settings->databases[f->decision.database].name;
    case DESTINATION_ANY:
        return "any";
    case DESTINATION_ALL:
        return "all";
    case DESTINATION_NONE:
        break;
    }
    return f->decision.violated ? rule_name(f->decision.violation.rule) : "none";
}

/* Runs one statement in the session: executed where it goes, failed where it is rejected. */
static inline const char *fixture_run(struct fixture *f, const char *sql) {
    const struct statement *statement = fixture_statement(f, sql);
    session_decide(f->session, statement, &f->decision);
    if (f->decision.violated) {
        session_failed(f->session);
    } else {
        session_executed(f->session, statement, &f->decision);
    }
    return fixture_outcome(f);
}

#define assert_goes(f, sql, expected)                                                              \
    do {                                                                                           \
        const char *sql_ = (sql), *outcome_ = fixture_run((f), sql_);                              \
        if (strcmp(outcome_, (expected)) != 0) {                                                   \
            fail_msg("%s: %s instead of %s", sql_, outcome_, (expected));                          \
        }                                                                                          \
    } while (0)

/* Where an `any` would run, too. */
static inline const char *fixture_runs_on(struct fixture *f, const char *sql) {
    fixture_run(f, sql);
    return f->decision.database >= 0 ? f->settings->databases[f->decision.database].name : "none";
}

#endif
