/* What a decision costs next to libpg_query's bare parse of the same text, as its users call it:
 * from a text that was not seen before (router_query(), what Parse uses), from one whose shape was
 * not either (router_query_shape(), what a simple query uses), from a new text of a known shape,
 * and from the cache. Each is the look-up, session_decide() and session_executed(). Prints one line
 * a query: medians of interleaved rounds, in microseconds of CPU time.
 *
 *     bench_decide [ROUNDS [QUERY]] */
#include "routing/session_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* libpg_query exports these and has no header for them installed. */
struct raw_parse {
    void *tree;
    char *stderr_text;
    void *error;
};
extern struct raw_parse pg_query_raw_parse(const char *input);
extern void *pg_query_enter_memory_context(void);
extern void pg_query_exit_memory_context(void *context);

enum {
    TEXTS = 4000,
    ROUNDS_MAX = 101,
    TEXT_MAX = 2048,
    CACHE_BYTES = 16 * 1024 * 1024,
    HITS = 200000
};

/* Each has one %s, for a number or for the name of a column: another one in every text, of the same
 * length. */
static const struct {
    const char *name, *text;
} queries[] = {
    {"primary key",
     "SELECT \"projects\".* FROM \"projects\" WHERE \"projects\".\"id\" = %s LIMIT 1"},
    {"300 bytes", "SELECT \"ci_builds\".* FROM \"ci_builds\" INNER JOIN \"ci_pipelines\" ON "
                  "\"ci_pipelines\".\"id\" = "
                  "\"ci_builds\".\"commit_id\" WHERE \"ci_builds\".\"type\" = 'Ci::Build' AND "
                  "\"ci_builds\".\"status\" IN "
                  "('pending', 'running') AND \"ci_pipelines\".\"project_id\" = %s ORDER BY "
                  "\"ci_builds\".\"id\" DESC LIMIT 20"},
    {"insert", "INSERT INTO \"issues\" (\"title\", \"author_id\", \"project_id\", \"created_at\", "
               "\"updated_at\", \"state\") VALUES "
               "('a title of an issue', 5, %s, '2024-05-01 10:00:00.000000', '2024-05-01 "
               "10:00:00.000000', 'opened') "
               "RETURNING \"id\""},
    {"845 bytes",
     "WITH RECURSIVE \"base_and_descendants\" AS ((SELECT \"namespaces\".* FROM \"namespaces\" "
     "WHERE "
     "\"namespaces\".\"type\" = 'Group' AND \"namespaces\".\"id\" = %s) UNION (SELECT "
     "\"namespaces\".* FROM "
     "\"namespaces\", \"base_and_descendants\" WHERE \"namespaces\".\"type\" = 'Group' AND "
     "\"namespaces\".\"parent_id\" = \"base_and_descendants\".\"id\")) SELECT \"issues\".* FROM "
     "\"issues\" INNER JOIN "
     "\"projects\" ON \"projects\".\"id\" = \"issues\".\"project_id\" LEFT JOIN project_features "
     "ON projects.id = "
     "project_features.project_id WHERE \"projects\".\"namespace_id\" IN (SELECT "
     "\"base_and_descendants\".\"id\" FROM "
     "\"base_and_descendants\") AND (\"project_features\".\"issues_access_level\" IS NULL OR "
     "\"project_features\".\"issues_access_level\" IN (20, 30)) AND \"projects\".\"archived\" = "
     "FALSE AND "
     "(\"issues\".\"state_id\" IN (1)) ORDER BY \"issues\".\"created_at\" DESC, \"issues\".\"id\" "
     "DESC LIMIT 20 OFFSET 0"},
};

struct bench {
    struct settings *settings;
    struct router *router;
    struct session_state *session;
    char (*texts)[TEXT_MAX];
    size_t length;
    int serial;
};

typedef bool look_up(struct router *, const char *, size_t, const struct lexing *, bool,
                     struct query **, struct error *);

/* What is measured; each ratio is to the parse of the same texts in the same round. */
enum figure {
    PARSE,
    UNSEEN,
    UNSEEN_RATIO,
    SHAPE,
    SHAPE_RATIO,
    KNOWN,
    KNOWN_RATIO,
    CACHED,
    FIGURES
};

static double cpu_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, compare_doubles);
    return values[count / 2];
}

static bool load_settings(struct settings **out) {
    char path[] = "/tmp/bench_decide_XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0)
        return false;
    FILE *file = fdopen(fd, "w");
    if (!file)
        return false;
    fprintf(file,
            "databases: {main: 'dbname=app', ci: 'dbname=app_ci'}\n"
            "classification: {tables: %s/gitlab_schemas.yml}\n"
            "auth: {method: trust}\n",
            TEST_DATA);
    fclose(file);
    struct error error;
    bool ok = settings_load(path, out, &error);
    if (!ok)
        fprintf(stderr, "%s\n", error.text);
    unlink(path);
    return ok;
}

static void fill_texts(struct bench *bench, const char *format, const char *serial_format) {
    for (int i = 0; i < TEXTS; i++) {
        char serial[16];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* one of `queries` */
        snprintf(serial, sizeof serial, serial_format, bench->serial++);
        bench->length = (size_t)snprintf(bench->texts[i], TEXT_MAX, format, serial);
#pragma GCC diagnostic pop
    }
}

static double parse_all(struct bench *bench) {
    double begun = cpu_now();
    for (int i = 0; i < TEXTS; i++) {
        void *context = pg_query_enter_memory_context();
        struct raw_parse parse = pg_query_raw_parse(bench->texts[i]);
        free(parse.stderr_text);
        pg_query_exit_memory_context(context);
    }
    return (cpu_now() - begun) / TEXTS;
}

static void decide(struct bench *bench, look_up *look_up_text, const char *text) {
    static const struct lexing lexing = {.standard_conforming_strings = true};
    struct query *query;
    struct error error;
    struct decision decision;
    if (!look_up_text(bench->router, text, bench->length, &lexing, true, &query, &error)) {
        fprintf(stderr, "%s\n", error.text);
        exit(1);
    }
    session_decide(bench->session, &query->statements[0], &decision);
    if (decision.violated) {
        fprintf(stderr, "%s\n", decision.violation.message);
        exit(1);
    }
    session_executed(bench->session, &query->statements[0], &decision);
    query_unref(query);
}

static double decide_all(struct bench *bench, look_up *look_up_text) {
    double begun = cpu_now();
    for (int i = 0; i < TEXTS; i++)
        decide(bench, look_up_text, bench->texts[i]);
    return (cpu_now() - begun) / TEXTS;
}

static double decide_again(struct bench *bench) {
    for (int i = 0; i < 3; i++)
        decide(bench, router_query, bench->texts[0]);
    double begun = cpu_now();
    for (int i = 0; i < HITS; i++)
        decide(bench, router_query, bench->texts[0]);
    return (cpu_now() - begun) / HITS;
}

static void measure_round(struct bench *bench, const char *format, int round,
                          double figures[FIGURES][ROUNDS_MAX]) {
    double parse;
    fill_texts(bench, format, "%09d");
    parse = figures[PARSE][round] = parse_all(bench);
    figures[UNSEEN][round] = decide_all(bench, router_query);
    figures[UNSEEN_RATIO][round] = figures[UNSEEN][round] / parse;
    figures[CACHED][round] = decide_again(bench);

    fill_texts(bench, format, "x%08d");
    parse = parse_all(bench);
    figures[SHAPE][round] = decide_all(bench, router_query_shape);
    figures[SHAPE_RATIO][round] = figures[SHAPE][round] / parse;

    fill_texts(bench, format, "%09d");
    parse = parse_all(bench);
    figures[KNOWN][round] = decide_all(bench, router_query_shape);
    figures[KNOWN_RATIO][round] = figures[KNOWN][round] / parse;
}

static void measure(struct bench *bench, const char *name, const char *format, int rounds) {
    double figures[FIGURES][ROUNDS_MAX];
    for (int round = 0; round < rounds; round++)
        measure_round(bench, format, round, figures);
    printf("%-12s %6zu", name, bench->length);
    for (int figure = 0; figure < FIGURES; figure++) {
        bool ratio = figure == UNSEEN_RATIO || figure == SHAPE_RATIO || figure == KNOWN_RATIO;
        printf(ratio              ? " %6.2f"
               : figure == CACHED ? " %8.3f"
                                  : " %8.2f",
               median(figures[figure], rounds));
    }
    putchar('\n');
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 15;
    struct bench bench = {0};
    if (rounds < 1 || rounds > ROUNDS_MAX || !load_settings(&bench.settings))
        return 2;
    bench.router = router_new(bench.settings, CACHE_BYTES);
    bench.session = session_state_new(bench.settings, 0);
    bench.texts = calloc(TEXTS, sizeof *bench.texts);
    if (!bench.texts)
        return 2;
    printf("%-12s %6s %8s %8s %6s %8s %6s %8s %6s %8s\n", "query", "bytes", "parse us", "new text",
           "ratio", "new shape", "ratio", "known", "ratio", "cached");
    for (size_t q = 0; q < sizeof queries / sizeof *queries; q++)
        if (argc < 3 || strcmp(argv[2], queries[q].name) == 0)
            measure(&bench, queries[q].name, queries[q].text, rounds);
    free(bench.texts);
    session_state_free(bench.session);
    router_free(bench.router);
    settings_unref(bench.settings);
    return 0;
}
