/* What a decision costs next to libpg_query's bare parse of the same text, as its users call it:
 * from a text that was not seen before (router_query(), what Parse uses), from one whose shape was
 * not either (router_query_shape(), what a simple query uses), from a new text of a known shape,
 * and from the cache. Each is the look-up, session_decide() and session_executed(). Prints one line
 * a query: medians of interleaved rounds, in microseconds of CPU time.
 *
 *     bench_decide [ROUNDS [QUERY]] */
#include "routing/session_state.h"
#include "texts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* libpg_query exports these and has no header for them installed. */
struct raw_parse {
    void *tree;
    char *stderr_text;
    void *error;
};
extern struct raw_parse pg_query_raw_parse(const char *input);
extern void *pg_query_enter_memory_context(void);
extern void pg_query_exit_memory_context(void *context);

enum { TEXTS = 4000, ROUNDS_MAX = 101, CACHE_BYTES = 16 * 1024 * 1024, HITS = 200000 };

struct bench {
    struct settings *settings;
    struct router *router;
    struct session_state *session;
    char (*texts)[BENCH_TEXT_MAX];
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

static void fill_texts(struct bench *bench, const char *format, const char *number_format) {
    for (int i = 0; i < TEXTS; i++)
        bench->length = bench_text_write(format, number_format, bench->serial++, bench->texts[i]);
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
    if (rounds < 1 || rounds > ROUNDS_MAX || !bench_settings_load(&bench.settings))
        return 2;
    bench.router = router_new(bench.settings, CACHE_BYTES);
    bench.session = session_state_new(bench.settings, 0);
    bench.texts = calloc(TEXTS, sizeof *bench.texts);
    if (!bench.texts)
        return 2;
    printf("%-12s %6s %8s %8s %6s %8s %6s %8s %6s %8s\n", "query", "bytes", "parse us", "new text",
           "ratio", "new shape", "ratio", "known", "ratio", "cached");
    for (size_t q = 0; q < BENCH_TEXTS; q++)
        if (argc < 3 || strcmp(argv[2], bench_texts[q].name) == 0)
            measure(&bench, bench_texts[q].name, bench_texts[q].text, rounds);
    free(bench.texts);
    session_state_free(bench.session);
    router_free(bench.router);
    settings_unref(bench.settings);
    return 0;
}
