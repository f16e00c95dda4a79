#include "commands/lock_writes.h"

#include "commands/lock_writes_plan.h"
#include "config/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    STATUS_BUSY = 1,
    STATUS_FAILED = 2,
    LOCK_TIMEOUT_FIRST_MS = 100, /* others wait behind our request for a lock that long at most */
    LOCK_TIMEOUT_LAST_MS = 500,
    PAUSE_FIRST_MS = 200,
    PAUSE_LAST_MS = 10000,
};

/* One table's change, kept until it is made. */
struct change {
    const struct lock_table *table;
    bool locks;
    bool done;
    bool overtaken; /* somebody else has made the trigger meanwhile, so it is replaced */
};

/* One database's changes. */
struct work {
    struct database_client *client;
    struct lock_survey survey;
    struct change *changes;
    size_t count, done;
    size_t locked, unlocked, gone;
    bool progress; /* standard error is a terminal */
};

/* -- each database ----------------------------------------------------------------------------- */

static int worse(int a, int b) {
    return a > b ? a : b;
}

static int visit_one(const struct settings *settings, int database,
                     const struct lock_options *options, lock_visit *visit, void *context) {
    struct database_client client;
    struct error error;
    if (!database_client_open(&client, settings, database, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return STATUS_FAILED;
    }
    int status = visit(&client, options, context);
    database_client_close(&client);
    return status;
}

int lock_visit_databases(const struct lock_options *options, lock_visit *visit, void *context) {
    struct settings *settings;
    struct error error;
    int status = 0;
    if (!settings_load(options->config, &settings, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return STATUS_FAILED;
    }
    int only = options->database != NULL ? settings_find_database(settings, options->database) : -1;
    if (options->database != NULL && only < 0) {
        fprintf(stderr,
                "pginterlock: --database %s: there is no such database in %s: name one of its "
                "databases\n",
                options->database, options->config);
        status = STATUS_FAILED;
    }
    for (size_t i = 0; i < settings->database_count; i++) {
        const struct database *database = &settings->databases[i];
        if (options->database != NULL && only != (int)i)
            continue;
        if (database->physical != (int)i)
            printf("%s%s: same as %s: nothing to do\n", options->dry_run ? "-- " : "",
                   database->name, settings->databases[database->physical].name);
        else
            status = worse(status, visit_one(settings, (int)i, options, visit, context));
    }
    settings_unref(settings);
    return status;
}

/* -- what is to be done ------------------------------------------------------------------------ */

static void add_change(struct work *work, const struct lock_table *table, bool locks) {
    work->changes = alloc_grow(work->changes, work->count, sizeof *work->changes);
    work->changes[work->count++] = (struct change){.table = table, .locks = locks};
}

static void plan_locking(struct work *work) {
    for (size_t i = 0; i < work->survey.count; i++) {
        const struct lock_table *table = &work->survey.tables[i];
        if (lock_table_drifts(table))
            add_change(work, table, table->want == LOCK_WANT_LOCKED);
    }
}

static void plan_unlocking(struct work *work) {
    for (size_t i = 0; i < work->survey.count; i++)
        if (work->survey.tables[i].trigger_count > 0)
            add_change(work, &work->survey.tables[i], false);
}

static char *change_sql(const struct work *work, const struct change *change) {
    return change->locks ? lock_table_sql(&work->survey, change->table, change->overtaken)
                         : lock_table_unlock_sql(change->table);
}

/* The function is made before the first trigger needs it, and mended where triggers are in use. */
static bool needs_function(const struct work *work) {
    if (work->survey.function == LOCK_FUNCTION_GOOD)
        return false;
    for (size_t i = 0; i < work->survey.count; i++)
        if (work->survey.tables[i].want == LOCK_WANT_LOCKED)
            return true;
    return false;
}

static void print_sql(const struct work *work, bool with_function) {
    printf("-- %s: %zu tables to change\n", database_client_name(work->client), work->count);
    if (with_function) {
        char *sql = lock_function_sql(&work->survey);
        printf("%s\n", sql);
        free(sql);
    }
    for (size_t i = 0; i < work->count; i++) {
        char *sql = change_sql(work, &work->changes[i]);
        printf("%s\n", sql);
        free(sql);
    }
}

/* -- doing it ---------------------------------------------------------------------------------- */

static void show_progress(const struct work *work, const char *more) {
    if (work->progress)
        fprintf(stderr, "\r\033[K%s: %zu of %zu tables%s", database_client_name(work->client),
                work->done, work->count, more);
}

static void end_progress(const struct work *work) {
    if (work->progress)
        fputs("\r\033[K", stderr);
}

static int complain(const struct work *work, const struct error *error, const char *advice) {
    end_progress(work);
    fprintf(stderr, "pginterlock: %s: %s\n", error->text, advice);
    return STATUS_FAILED;
}

static void count_change(struct work *work, struct change *change, bool gone) {
    change->done = true;
    work->done++;
    if (gone)
        work->gone++;
    else if (change->locks)
        work->locked++;
    else
        work->unlocked++;
}

/* 55P03 lock_not_available, 40P01 deadlock_detected, 40001: again later. 42710 duplicate_object:
 * made meanwhile, by another run or GitLab's task. 42P01, 3F000: dropped meanwhile. */
static int try_change(struct work *work, struct change *change) {
    char *sql = change_sql(work, change), sqlstate[SQLSTATE_LENGTH + 1];
    struct error error;
    int status = 0;
    if (database_client_run(work->client, sql, sqlstate, &error))
        count_change(work, change, false);
    else if (strcmp(sqlstate, "42P01") == 0 || strcmp(sqlstate, "3F000") == 0)
        count_change(work, change, true);
    else if (strcmp(sqlstate, "42710") == 0)
        change->overtaken = true;
    else if (strcmp(sqlstate, "55P03") != 0 && strcmp(sqlstate, "40P01") != 0 &&
             strcmp(sqlstate, "40001") != 0)
        status = complain(work, &error,
                          "connect as the owner of the tables, to a server that can be written to");
    free(sql);
    return status;
}

/* One try at each table that is still to be changed. */
static int run_pass(struct work *work, unsigned pass) {
    char sql[80], sqlstate[SQLSTATE_LENGTH + 1];
    struct error error;
    unsigned timeout = LOCK_TIMEOUT_FIRST_MS * (pass + 1);
    snprintf(sql, sizeof sql, "SET lock_timeout = %u; SET statement_timeout = 0",
             timeout < LOCK_TIMEOUT_LAST_MS ? timeout : LOCK_TIMEOUT_LAST_MS);
    if (!database_client_run(work->client, sql, sqlstate, &error))
        return complain(work, &error, "try again");
    int status = 0;
    for (size_t i = 0; i < work->count && status == 0; i++) {
        if (work->changes[i].done)
            continue;
        status = try_change(work, &work->changes[i]);
        show_progress(work, "");
    }
    return status;
}

/* Between passes no lock is asked for, so that whoever waits behind the busy tables can go on. */
static void pause_before(struct work *work, unsigned pass) {
    unsigned shift = pass < 16 ? pass : 16;
    unsigned long ms = (unsigned long)PAUSE_FIRST_MS << shift;
    char more[80];
    ms = ms < PAUSE_LAST_MS ? ms : PAUSE_LAST_MS;
    snprintf(more, sizeof more, "; the others are busy: next try in %lu.%lu s", ms / 1000,
             ms % 1000 / 100);
    show_progress(work, more);
    struct timespec pause = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&pause, NULL);
}

static int make_changes(struct work *work, unsigned retries) {
    int status = run_pass(work, 0);
    for (unsigned pass = 0; status == 0 && work->done < work->count && pass < retries; pass++) {
        pause_before(work, pass);
        status = run_pass(work, pass + 1);
    }
    end_progress(work);
    for (size_t i = 0; i < work->count && status != STATUS_FAILED; i++) {
        const struct change *change = &work->changes[i];
        if (change->done)
            continue;
        status = STATUS_BUSY;
        char *name = alloc_format("%s.%s", change->table->schema, change->table->name);
        char *plain = database_client_plain(name);
        fprintf(
            stderr,
            "pginterlock: database %s: %s is busy: try again when the transaction that holds it "
            "has ended\n",
            database_client_name(work->client), plain);
        free(plain);
        free(name);
    }
    return status;
}

static int make_function(struct work *work) {
    char *sql = lock_function_sql(&work->survey), sqlstate[SQLSTATE_LENGTH + 1];
    struct error error;
    bool made = database_client_run(work->client, sql, sqlstate, &error);
    /* Another run that makes it at the same moment: "tuple concurrently updated", or a second row
     * of its name. */
    for (int i = 0;
         !made && i < 3 && (strcmp(sqlstate, "XX000") == 0 || strcmp(sqlstate, "23505") == 0); i++)
        made = database_client_run(work->client, sql, sqlstate, &error);
    free(sql);
    return made ? 0
                : complain(work, &error,
                           "connect as a user who may create functions there, to a server that can "
                           "be written to");
}

static void print_result(const struct work *work, bool locking) {
    size_t already = 0;
    for (size_t i = 0; i < work->survey.count; i++) {
        const struct lock_table *table = &work->survey.tables[i];
        already += table->want == LOCK_WANT_LOCKED && table->state == LOCK_GOOD;
    }
    printf("%s: ", database_client_name(work->client));
    if (locking)
        printf("%zu tables locked, %zu were locked already, ", work->locked, already);
    printf("%zu unlocked\n", work->unlocked);
}

static int visit(struct database_client *client, const struct lock_options *options,
                 void *context) {
    const bool *locking = context;
    struct work work = {.client = client, .progress = isatty(STDERR_FILENO) == 1};
    struct error error;
    int status = 0;
    if (!lock_survey_read(&work.survey, client, &error))
        return complain(&work, &error, "connect as a user who may read its catalogs");
    if (*locking)
        plan_locking(&work);
    else
        plan_unlocking(&work);
    bool with_function = *locking && needs_function(&work);
    if (options->dry_run) {
        print_sql(&work, with_function);
    } else {
        status = with_function ? make_function(&work) : 0;
        status = status == 0 ? make_changes(&work, options->retries) : status;
        print_result(&work, *locking);
    }
    lock_survey_close(&work.survey);
    free(work.changes);
    return status;
}

int lock_writes_command(const struct lock_options *options) {
    bool locking = true;
    return lock_visit_databases(options, visit, &locking);
}

int unlock_writes_command(const struct lock_options *options) {
    bool locking = false;
    return lock_visit_databases(options, visit, &locking);
}
