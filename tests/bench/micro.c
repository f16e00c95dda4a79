/* What each part of a decision costs, counted in instructions, which do not depend on what else the
 * machine does. micro.py runs this under callgrind, which writes a count at each CALLGRIND_DUMP_…;
 * run alone it prints nanoseconds of CPU time.
 *
 *     bench_micro
 *
 * Every part does the same work in every run: the cache's secret is not random here (getrandom() is
 * wrapped when linking), and the texts are numbered. */
#include "protocol/bind_check.h"
#include "protocol/message.h"
#include "routing/query.h"
#include "routing/reading.h"
#include "routing/session_state.h"
#include "texts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#include <valgrind/callgrind.h>

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
    WARM_UP = 8, /* a text comes into the cache when it is seen a second time */
    ITERATIONS = 200,
    TEXTS = WARM_UP + ITERATIONS,
    CACHE_BYTES = 16 * 1024 * 1024,
    ARENA_BYTES = 64 * 1024,
    MESSAGES = 100, /* that a part of the wire's reads in one go */
};

struct bench {
    struct settings *settings;
    struct router *router;
    struct session_state *session;
    struct arena *facts, *scratch;
    char (*texts)[BENCH_TEXT_MAX]; /* all of one length */
    size_t length;
    char shape[2 * BENCH_TEXT_MAX];
    struct query *query;       /* of texts[0] */
    struct query_facts parsed; /* the same, as read; in an arena of its own */
    struct wire_buffer frontend, backend, bind, execute;
    int serial;
};

static const struct lexing lexing = {.standard_conforming_strings = true};

static void fail(const char *what) {
    fprintf(stderr, "bench_micro: %s\n", what);
    exit(1);
}

/* Instead of libc's, by the linker: the same secret in every run. */
ssize_t __wrap_getrandom(void *buffer, size_t length, unsigned flags);
ssize_t __wrap_getrandom(void *buffer, size_t length, unsigned flags) {
    (void)flags;
    for (size_t i = 0; i < length; i++)
        ((unsigned char *)buffer)[i] = (unsigned char)(i * 167 + 13);
    return (ssize_t)length;
}

/* -- parts: from text to facts ----------------------------------------------------------------- */

static struct reading begin_reading(struct bench *bench, unsigned i) {
    arena_reset(bench->facts);
    arena_reset(bench->scratch);
    return (struct reading){.text = bench->texts[i],
                            .length = bench->length,
                            .lexing = &lexing,
                            .arena = bench->facts,
                            .scratch = bench->scratch};
}

static void run_scan(struct bench *bench, unsigned i) {
    struct reading reading = begin_reading(bench, i);
    struct error error;
    if (!reading_scan(&reading, true, NULL, &error))
        fail(error.text);
}

static void run_scan_with_shape(struct bench *bench, unsigned i) {
    struct reading reading = begin_reading(bench, i);
    struct error error;
    struct shape shape;
    shape_begin(&shape, bench->shape);
    if (!reading_scan(&reading, true, &shape, &error))
        fail(error.text);
}

static void run_parse(struct bench *bench, unsigned i) {
    void *context = pg_query_enter_memory_context();
    struct raw_parse parse = pg_query_raw_parse(bench->texts[i]);
    free(parse.stderr_text);
    pg_query_exit_memory_context(context);
}

static void run_read(struct bench *bench, unsigned i) {
    struct reading reading = begin_reading(bench, i);
    struct error error;
    struct query_facts facts;
    if (!reading_scan(&reading, true, NULL, &error))
        fail(error.text);
    reading_parse(&reading, &facts, &error);
}

static void run_classify(struct bench *bench, unsigned i) {
    struct query_source source = {
        .text = bench->texts[i], .length = bench->length, .facts = &bench->parsed};
    query_unref(query_new(&source, bench->settings));
}

/* -- parts: from a text that was or was not seen before to a decision -------------------------- */

static void decide(struct bench *bench, const struct query *query) {
    struct decision decision;
    session_decide(bench->session, &query->statements[0], &decision);
    if (decision.violated)
        fail(decision.violation.message);
    session_executed(bench->session, &query->statements[0], &decision);
}

static void run_decide(struct bench *bench, unsigned i) {
    (void)i;
    decide(bench, bench->query);
}

static void look_up(struct bench *bench, const char *text, bool shape) {
    struct query *query;
    struct error error;
    if (!(shape ? router_query_shape : router_query)(bench->router, text, bench->length, &lexing,
                                                     true, &query, &error))
        fail(error.text);
    query_unref(query);
}

static void run_known_text(struct bench *bench, unsigned i) {
    (void)i;
    look_up(bench, bench->texts[0], false);
}

static void run_new_text(struct bench *bench, unsigned i) {
    look_up(bench, bench->texts[i], false);
}

static void run_simple_text(struct bench *bench, unsigned i) {
    look_up(bench, bench->texts[i], true);
}

/* -- parts: the wire --------------------------------------------------------------------------- */

static void run_frontend_frames(struct bench *bench, unsigned i) {
    (void)i;
    struct frame frame;
    for (size_t at = 0; at < bench->frontend.length; at += frame.length)
        if (frame_read(bench->frontend.data + at, bench->frontend.length - at, &frame) !=
                FRAME_OK ||
            frame_frontend_class(frame.type) == FRONTEND_UNKNOWN || !frame_frontend_fits(&frame))
            fail("a frontend's frame");
}

static void run_backend_frames(struct bench *bench, unsigned i) {
    (void)i;
    struct frame frame;
    for (size_t at = 0; at < bench->backend.length; at += frame.length)
        if (frame_read(bench->backend.data + at, bench->backend.length - at, &frame) != FRAME_OK ||
            !frame_backend_known(frame.type))
            fail("a backend's frame");
}

/* What Bind and Execute of a prepared statement must read and decide; there is no text to look up.
 */
static void run_bind(struct bench *bench, unsigned i) {
    (void)i;
    struct bind_message bind;
    struct bind_check check;
    struct execute_message execute;
    struct error error;
    bool need_more;
    const uint8_t *body = bench->bind.data + FRAME_HEADER;
    size_t length = bench->bind.length - FRAME_HEADER;
    if (!message_read_bind_names(body, length, true, &need_more, &bind, &error))
        fail(error.text);
    bind_check_init(&check, length);
    if (bind_check_feed(&check, body, length, &error) != BIND_CHECK_DONE)
        fail("a Bind that is not well formed");
    if (!message_read_execute(bench->execute.data + FRAME_HEADER,
                              bench->execute.length - FRAME_HEADER, &execute, &error))
        fail(error.text);
    decide(bench, bench->query);
}

/* -- running ----------------------------------------------------------------------------------- */

struct part {
    const char *name;
    void (*run)(struct bench *bench, unsigned i);
    const char *numbers;   /* of its texts; NULL: it needs no texts, and is measured once */
    unsigned an_iteration; /* operations in one run */
};

/* "read" is there for micro.py, which takes scan and parse off it: what is left is the walk. */
static const struct part parts[] = {
    {"scan", run_scan, "%09d", 1},
    {"scan with shape", run_scan_with_shape, "%09d", 1},
    {"parse", run_parse, "%09d", 1},
    {"read", run_read, "%09d", 1},
    {"classify", run_classify, "%09d", 1},
    {"decide", run_decide, "%09d", 1},
    {"known text", run_known_text, "%09d", 1},
    {"known pattern", run_simple_text, "%09d", 1},
    {"known shape", run_simple_text, "%07d.5", 1}, /* of which there is no pattern */
    {"new text", run_new_text, "%09d", 1},
    {"new shape", run_simple_text, "x%08d", 1},
    {"Bind and Execute", run_bind, NULL, 1},
    {"frontend frame", run_frontend_frames, NULL, MESSAGES},
    {"backend frame", run_backend_frames, NULL, MESSAGES},
};

static double cpu_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void read_first_text(struct bench *bench, struct arena *arena) {
    struct reading reading = begin_reading(bench, 0);
    struct error error;
    reading.arena = arena;
    if (!reading_scan(&reading, true, NULL, &error))
        fail(error.text);
    reading_parse(&reading, &bench->parsed, &error);
    if (!router_query(bench->router, bench->texts[0], bench->length, &lexing, true, &bench->query,
                      &error))
        fail(error.text);
}

/* Each part begins with an empty cache, so that none depends on those before it. */
static void measure(struct bench *bench, const struct part *part, const struct bench_text *text) {
    bench->router = router_new(bench->settings, CACHE_BYTES);
    for (int i = 0; i < TEXTS; i++)
        bench->length = bench_text_write(text->text, part->numbers ? part->numbers : "%09d",
                                         bench->serial++, bench->texts[i]);
    struct arena *arena = arena_new(ARENA_BYTES);
    read_first_text(bench, arena);
    unsigned i = 0;
    while (i < WARM_UP)
        part->run(bench, i++);
    char name[128];
    snprintf(name, sizeof name, "%s|%s|%u", part->name, part->numbers ? text->name : "",
             ITERATIONS * part->an_iteration);
    double begun = cpu_nanoseconds();
    CALLGRIND_ZERO_STATS;
    while (i < TEXTS)
        part->run(bench, i++);
    CALLGRIND_DUMP_STATS_AT(name);
    if (!RUNNING_ON_VALGRIND)
        printf("%-18s %-12s %9.1f ns\n", part->name, part->numbers ? text->name : "",
               (cpu_nanoseconds() - begun) / (ITERATIONS * part->an_iteration));
    query_unref(bench->query);
    arena_free(arena);
    router_free(bench->router);
}

static void put_bind(struct wire_buffer *buffer) {
    size_t mark = message_begin(buffer, 'B');
    message_put_string(buffer, "");
    message_put_string(buffer, "P_0");
    message_put_u16(buffer, 0); /* formats */
    message_put_u16(buffer, 1); /* values */
    message_put_u32(buffer, 6);
    wire_append(buffer, "123456", 6);
    message_put_u16(buffer, 0); /* result formats */
    message_end(buffer, mark);
}

static void fill_wire(struct bench *bench) {
    put_bind(&bench->bind);
    message_put_execute(&bench->execute, "");
    for (int i = 0; i < MESSAGES / 4; i++) {
        put_bind(&bench->frontend);
        size_t mark = message_begin(&bench->frontend, 'D');
        wire_append(&bench->frontend, "P", 2);
        message_end(&bench->frontend, mark);
        message_put_execute(&bench->frontend, "");
        message_put_sync(&bench->frontend);
    }
    for (int i = 0; i < MESSAGES; i++)
        message_put_text_row(&bench->backend, "some value");
}

int main(void) {
    struct bench bench = {.facts = arena_new(ARENA_BYTES), .scratch = arena_new(ARENA_BYTES)};
    if (!bench_settings_load(&bench.settings))
        return 2;
    bench.session = session_state_new(bench.settings, 0);
    bench.texts = calloc(TEXTS, sizeof *bench.texts);
    if (!bench.texts)
        return 2;
    fill_wire(&bench);
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++)
        for (size_t t = 0; t < BENCH_TEXTS; t++)
            if (parts[p].numbers || t == 0)
                measure(&bench, &parts[p], &bench_texts[t]);
    for (size_t i = 0; i < 4; i++)
        wire_buffer_close((struct wire_buffer *[]){&bench.frontend, &bench.backend, &bench.bind,
                                                   &bench.execute}[i]);
    free(bench.texts);
    session_state_free(bench.session);
    arena_free(bench.facts);
    arena_free(bench.scratch);
    settings_unref(bench.settings);
    return 0;
}
