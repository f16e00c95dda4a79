#include "commands/lock_writes.h"

#include "commands/lock_writes_plan.h"
#include "config/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tally {
    size_t drifting;
    bool headed;
};

static const char *const want_words[] = {[LOCK_WANT_EITHER] = "either",
                                         [LOCK_WANT_LOCKED] = "locked",
                                         [LOCK_WANT_UNLOCKED] = "unlocked"};
static const char *const state_words[] = {
    [LOCK_NONE] = "unlocked", [LOCK_BROKEN] = "half locked", [LOCK_GOOD] = "locked"};

static void print_table(const struct database_client *client, const struct lock_table *table) {
    const struct classification *c = client->settings->classification;
    const char *schema =
        table->gitlab_schema < 0 ? "-" : classification_schema_name(c, table->gitlab_schema);
    char *name = alloc_format("%s.%s", table->schema, table->name);
    char *plain = database_client_plain(name);
    printf("%-12s %-48s %-28s %-10s %s", database_client_name(client), plain, schema,
           want_words[table->want], state_words[table->state]);
    free(plain);
    free(name);
    if (lock_table_drifts(table))
        printf("  drift%s%s", table->broken != NULL ? ": " : "",
               table->broken != NULL ? table->broken : "");
    puts("");
}

/* The function matters where a table relies on it. */
static bool function_drifts(const struct lock_survey *survey) {
    if (survey->function != LOCK_FUNCTION_FOREIGN)
        return false;
    for (size_t i = 0; i < survey->count; i++)
        if (survey->tables[i].want == LOCK_WANT_LOCKED)
            return true;
    return false;
}

static int visit(struct database_client *client, const struct lock_options *options,
                 void *context) {
    struct tally *tally = context;
    struct lock_survey survey;
    struct error error;
    (void)options;
    if (!lock_survey_read(&survey, client, &error)) {
        fprintf(stderr, "pginterlock: %s: connect as a user who may read its catalogs\n",
                error.text);
        return 2;
    }
    if (!tally->headed)
        printf("%-12s %-48s %-28s %-10s %s\n", "database", "table", "gitlab_schema", "should be",
               "is");
    tally->headed = true;
    size_t drifting = 0;
    for (size_t i = 0; i < survey.count; i++) {
        const struct lock_table *table = &survey.tables[i];
        drifting += lock_table_drifts(table);
        if (table->want == LOCK_WANT_LOCKED || table->state != LOCK_NONE)
            print_table(client, table);
    }
    if (function_drifts(&survey)) {
        drifting++;
        printf("%-12s %-100s drift: it is not GitLab's and may let writes pass\n",
               database_client_name(client), LOCK_FUNCTION "()");
    }
    lock_survey_close(&survey);
    tally->drifting += drifting;
    return drifting > 0 ? 1 : 0;
}

int lock_status_command(const struct lock_options *options) {
    struct tally tally = {0};
    int status = lock_visit_databases(options, visit, &tally);
    if (tally.drifting > 0)
        printf("%zu not as they should be: run pginterlock lock-writes\n", tally.drifting);
    else if (status == 0)
        puts("fine");
    return status;
}
