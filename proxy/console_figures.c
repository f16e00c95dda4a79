/* A worker's rows of each table, made on its own thread. */
#include "proxy/console_internal.h"

#include "proxy/link.h"
#include "proxy/pool.h"
#include "proxy/session.h"

#include <stdio.h>
#include <string.h>

#define KEY(name)                                                                                  \
    { name, FIGURE_TEXT, MERGE_KEY }
#define SUM(name)                                                                                  \
    { name, FIGURE_NUMBER, MERGE_SUM }

static const struct figure_column pool_columns[] = {
    KEY("database"),
    KEY("user"),
    SUM("cl_active"),
    SUM("cl_waiting"),
    SUM("sv_active"),
    SUM("sv_idle"),
    SUM("sv_tested"),
    SUM("sv_login"),
    {"maxwait", FIGURE_NUMBER, MERGE_MAX},
    {"maxwait_us", FIGURE_NUMBER, MERGE_WITH_MAX},
    {"pool_mode", FIGURE_TEXT, MERGE_FIRST},
};
enum { POOL_COLUMNS = sizeof pool_columns / sizeof pool_columns[0] };
const struct figures_kind console_pools = {pool_columns, POOL_COLUMNS, true};

static const struct figure_column stats_columns[] = {
    KEY("database"),         SUM("total_server_assignment_count"),
    SUM("total_xact_count"), SUM("total_query_count"),
    SUM("total_received"),   SUM("total_sent"),
    SUM("total_wait_count"), SUM("total_wait_time"),
};
enum { STATS_COLUMNS = sizeof stats_columns / sizeof stats_columns[0] };
const struct figures_kind console_stats = {stats_columns, STATS_COLUMNS, true};

static const struct figure_column violations_columns[] = {KEY("rule"), KEY("action"), SUM("count")};
enum { VIOLATIONS_COLUMNS = sizeof violations_columns / sizeof violations_columns[0] };
const struct figures_kind console_violations = {violations_columns, VIOLATIONS_COLUMNS, true};

/* -- links ------------------------------------------------------------------------------------- */

typedef void link_visitor(const struct link *link, const struct session *session,
                          struct filling *filling);

struct link_walk {
    link_visitor *visit;
    struct filling *filling;
};

static void visit_unused(void *context, const struct link *link) {
    struct link_walk *walk = context;
    walk->visit(link, NULL, walk->filling);
}

/* The sessions' and those of the pools that no session has. */
static void each_link(struct filling *f, link_visitor *visit) {
    for (struct session *s = f->worker->sessions; s != NULL; s = session_next(s))
        session_visit_links(s, visit, f);
    struct link_walk walk = {visit, f};
    pools_visit_links(f->worker->pools, visit_unused, &walk);
}

/* -- clients, servers -------------------------------------------------------------------------- */

void console_fill_clients(struct worker *worker, struct session_walk *walk, size_t count,
                          struct figures_table *table) {
    struct filling f;
    filling_begin(&f, worker, table);
    for (; walk->at != NULL && count > 0; count--) {
        session_put_client(walk->at, &f);
        walk->at = session_next(walk->at);
    }
    filling_end(&f);
}

static void fill_servers(struct filling *f) {
    each_link(f, link_put_server);
}

/* -- pools ------------------------------------------------------------------------------------- */

/* How the entrypoints that lead to a database share its connections. */
static void write_modes(const struct settings *settings, const char *database, char *out,
                        size_t size) {
    int index = settings_find_database(settings, database);
    bool modes[POOL_TRANSACTION + 1] = {false};
    for (size_t i = 0; index >= 0 && i < settings->entrypoint_count; i++) {
        const struct entrypoint *e = &settings->entrypoints[i];
        if (e->database == ENTRYPOINT_ROUTED ||
            settings->databases[e->database].physical == settings->databases[index].physical)
            modes[e->pool.mode] = true;
    }
    snprintf(out, size, "%s%s%s", modes[POOL_SESSION] ? pool_mode_name(POOL_SESSION) : "",
             modes[POOL_SESSION] && modes[POOL_TRANSACTION] ? ", " : "",
             modes[POOL_TRANSACTION] ? pool_mode_name(POOL_TRANSACTION) : "");
}

static void put_pool(void *context, const struct pool_figures *pool) {
    struct filling *f = context;
    char modes[32];
    write_modes(f->worker->config->settings, pool->database, modes, sizeof modes);
    const char *user = pool->user != NULL ? pool->user : filling_user(f, pool->conninfo, "");
    const struct figure row[POOL_COLUMNS] = {
        figure_text(pool->database),
        figure_text(user),
        figure_number((int64_t)(pool->clients - pool->waiting)),
        figure_number((int64_t)pool->waiting),
        figure_number((int64_t)pool->used),
        figure_number((int64_t)pool->idle),
        figure_number((int64_t)pool->resetting),
        figure_number((int64_t)pool->opening),
        figure_number((int64_t)(pool->longest_wait / 1000)),
        figure_number((int64_t)(pool->longest_wait % 1000 * 1000)),
        figure_text(modes),
    };
    figures_table_add(f->table, row);
}

/* -- databases, statistics, violations --------------------------------------------------------- */

static void count_link(const struct link *link, const struct session *session, struct filling *f) {
    (void)session;
    if (link->figures != f->of)
        return;
    f->links++;
    f->received += link->state == LINK_READY ? link->stream.sent : 0;
    f->sent += link->state == LINK_READY ? link->stream.received : 0;
}

static void count_links(struct filling *f, const struct database_figures *of) {
    f->of = of;
    f->links = 0;
    f->received = f->sent = 0;
    each_link(f, count_link);
}

/* Bytes are counted in the figures when a link is closed; those of the others are with them. */
static void put_stats(struct filling *f, const struct database_figures *d) {
    count_links(f, d);
    const struct figure row[STATS_COLUMNS] = {
        figure_text(d->name),
        figure_number((int64_t)d->assignments),
        figure_number((int64_t)d->transactions),
        figure_number((int64_t)d->queries),
        figure_number((int64_t)(d->received + f->received)),
        figure_number((int64_t)(d->sent + f->sent)),
        figure_number((int64_t)d->waits),
        figure_number((int64_t)d->waited * 1000),
    };
    figures_table_add(f->table, row);
}

/* Those of databases that are no longer configured are told, too. */
static void fill_stats(struct filling *f) {
    const struct settings *settings = f->worker->config->settings;
    for (size_t i = 0; i < settings->database_count; i++)
        if (settings->databases[i].physical == (int)i)
            (void)figures_of_database(&f->worker->figures, settings->databases[i].name);
    for (const struct database_figures *d = f->worker->figures.databases; d != NULL; d = d->next)
        put_stats(f, d);
}

static void fill_violations(struct filling *f) {
    for (int rule = 0; rule < RULE_COUNT; rule++)
        for (int action = 0; action < ACTION_COUNT; action++) {
            uint64_t count = f->worker->figures.violations[rule][action];
            const struct figure row[VIOLATIONS_COLUMNS] = {
                figure_text(rule_name((enum rule)rule)),
                figure_text(violation_action_name((enum violation_action)action)),
                figure_number((int64_t)count)};
            if (count > 0)
                figures_table_add(f->table, row);
        }
}

static void fill_databases(struct filling *f) {
    const struct settings *settings = f->worker->config->settings;
    for (size_t i = 0; i < settings->database_count; i++) {
        const char *name = settings->databases[settings->databases[i].physical].name;
        count_links(f, figures_of_database(&f->worker->figures, name));
        console_put_database(settings, i, f->links, f->table);
    }
}

/* -- the table --------------------------------------------------------------------------------- */

void console_fill(struct worker *worker, enum console_command command,
                  struct figures_table *table) {
    struct filling f;
    filling_begin(&f, worker, table);
    switch (command) {
    case CONSOLE_SHOW_SERVERS:
        fill_servers(&f);
        break;
    case CONSOLE_SHOW_POOLS:
        pools_visit(worker->pools, put_pool, &f);
        break;
    case CONSOLE_SHOW_STATS:
        fill_stats(&f);
        break;
    case CONSOLE_SHOW_VIOLATIONS:
        fill_violations(&f);
        break;
    case CONSOLE_SHOW_DATABASES:
        fill_databases(&f);
        break;
    default:
        break; /* the others are no worker's */
    }
    filling_end(&f);
}
