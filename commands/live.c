#include "commands/live.h"

#include "commands/live_audit.h"
#include "config/alloc.h"

#include <stdio.h>
#include <stdlib.h>

static bool open_database(struct live_audit *audit, int index, struct error *error) {
    struct live_database *database = &audit->databases[audit->database_count];
    *database = (struct live_database){0};
    if (!database_client_open(&database->client, audit->settings, index, error))
        return false;
    if (!lock_survey_read(&database->locks, &database->client, error) ||
        !live_relations_read(database, error)) {
        lock_survey_close(&database->locks);
        database_client_close(&database->client);
        return false;
    }
    audit->database_count++;
    return true;
}

/* Says what went wrong with a database; the audit goes on without it. */
static void complain(struct live_audit *audit, const struct error *error) {
    fprintf(stderr, "%s\n", error->text);
    audit->complete = false;
}

static void open_databases(struct live_audit *audit) {
    const struct settings *settings = audit->settings;
    struct error error;
    audit->databases = alloc_zeroed(settings->database_count, sizeof *audit->databases);
    for (size_t i = 0; i < settings->database_count; i++)
        if (settings->databases[i].physical == (int)i && !open_database(audit, (int)i, &error))
            complain(audit, &error);
}

static void look_at_each(struct live_audit *audit) {
    struct error error;
    for (size_t i = 0; i < audit->database_count; i++) {
        struct live_database *database = &audit->databases[i];
        if (!live_check_crossings(audit, database, &error))
            complain(audit, &error);
        if (!live_check_functions(audit, database, &error))
            complain(audit, &error);
    }
}

static void look_at_all(struct live_audit *audit) {
    struct error error;
    live_check_relations(audit);
    if (!live_check_sequences(audit, &error))
        complain(audit, &error);
    if (!live_check_types(audit, &error))
        complain(audit, &error);
    if (!live_check_servers(audit, &error))
        complain(audit, &error);
}

int live_audit(const struct settings *settings, bool json) {
    struct live_audit audit = {.settings = settings, .complete = true};
    open_databases(&audit);
    look_at_each(&audit);
    look_at_all(&audit);
    live_report(&audit, json);
    int status = !audit.complete ? 2 : live_problem_count(&audit) > 0 ? 1 : 0;
    for (size_t i = 0; i < audit.database_count; i++) {
        live_relations_close(&audit.databases[i]);
        lock_survey_close(&audit.databases[i].locks);
        database_client_close(&audit.databases[i].client);
    }
    free(audit.databases);
    live_findings_close(&audit);
    return status;
}
