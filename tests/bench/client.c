/* A client that does what pgbench can't, as fast as libpq does it.
 *
 * blocks SECONDS CONNINFO: blocks that read ci's table and write main's, one after another.
 * blocks SECONDS MAIN CI: the same on a connection to each, where main's has the block.
 * blocks SECONDS MAIN CI both: …where each has it.
 * connect SECONDS PROCESSES CONNINFO: connections that are opened and closed.
 *
 * Prints `name value` lines: count, seconds, and for blocks microseconds at p50, p99 and p999. */
#include <libpq-fe.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    SAMPLES_MAX = 10 * 1000 * 1000,
    IDS = 10000,             /* rows of both tables */
    CONNECTIONS_MAX = 20000, /* of one process: local ports that may still wait to be used again */
};

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static PGconn *open_connection(const char *conninfo) {
    PGconn *connection = PQconnectdb(conninfo);
    if (PQstatus(connection) != CONNECTION_OK) {
        fprintf(stderr, "bench_client: %s", PQerrorMessage(connection));
        exit(1);
    }
    return connection;
}

static void execute(PGconn *connection, const char *sql) {
    PGresult *result = PQexec(connection, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        fprintf(stderr, "bench_client: %s: %s", sql, PQerrorMessage(connection));
        exit(1);
    }
    PQclear(result);
}

/* -- blocks ------------------------------------------------------------------------------------ */

static void run_block(PGconn *main_connection, PGconn *ci_connection, bool both, int id) {
    char sql[128];
    execute(main_connection, "BEGIN");
    if (both)
        execute(ci_connection, "BEGIN");
    snprintf(sql, sizeof sql, "SELECT status FROM ci_builds WHERE id = %d", id);
    execute(ci_connection, sql);
    snprintf(sql, sizeof sql, "UPDATE projects SET star_count = star_count + 1 WHERE id = %d", id);
    execute(main_connection, sql);
    execute(main_connection, "COMMIT");
    if (both)
        execute(ci_connection, "COMMIT");
}

static int compare_floats(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static int blocks(double seconds, const char *main_conninfo, const char *ci_conninfo, bool both) {
    float *samples = malloc(SAMPLES_MAX * sizeof *samples);
    if (!samples)
        return 1;
    PGconn *main_connection = open_connection(main_conninfo);
    PGconn *ci_connection = ci_conninfo ? open_connection(ci_conninfo) : main_connection;
    unsigned random = 1;
    for (int i = 0; i < 100; i++) /* whatever is made at first */
        run_block(main_connection, ci_connection, both, 1);
    size_t count = 0;
    double begun = now(), last = begun;
    while (last - begun < seconds && count < SAMPLES_MAX) {
        random = random * 1103515245U + 12345U;
        run_block(main_connection, ci_connection, both, (int)(random >> 8) % IDS + 1);
        double at = now();
        samples[count++] = (float)((at - last) * 1e6);
        last = at;
    }
    qsort(samples, count, sizeof *samples, compare_floats);
    printf("count %zu\nseconds %.6f\np50 %.1f\np99 %.1f\np999 %.1f\n", count, last - begun,
           (double)samples[count / 2], (double)samples[count * 99 / 100],
           (double)samples[count * 999 / 1000]);
    if (ci_connection != main_connection)
        PQfinish(ci_connection);
    PQfinish(main_connection);
    free(samples);
    return 0;
}

/* -- connect ----------------------------------------------------------------------------------- */

static unsigned connect_until(double deadline, const char *conninfo) {
    unsigned count = 0;
    for (; now() < deadline && count < CONNECTIONS_MAX; count++)
        PQfinish(open_connection(conninfo));
    return count;
}

static int connect_processes(double seconds, int processes, const char *conninfo) {
    int pipes[2];
    if (pipe(pipes) != 0)
        return 1;
    double begun = now();
    for (int i = 0; i < processes; i++) {
        pid_t pid = fork();
        if (pid < 0)
            return 1;
        if (pid == 0) {
            unsigned count = connect_until(begun + seconds, conninfo);
            _exit(write(pipes[1], &count, sizeof count) == sizeof count ? 0 : 1);
        }
    }
    unsigned total = 0, count;
    bool failed = false;
    for (int i = 0; i < processes; i++) {
        int status;
        if (wait(&status) < 0 || status != 0)
            failed = true;
        else if (read(pipes[0], &count, sizeof count) == sizeof count)
            total += count;
    }
    printf("count %u\nseconds %.6f\n", total, now() - begun);
    return failed ? 1 : 0;
}

int main(int argc, char **argv) {
    double seconds = argc > 2 ? atof(argv[2]) : 0;
    bool both = argc == 6 && strcmp(argv[5], "both") == 0;
    if (seconds > 0 && strcmp(argv[1], "blocks") == 0 && (argc == 4 || argc == 5 || both))
        return blocks(seconds, argv[3], argc > 4 ? argv[4] : NULL, both);
    if (seconds > 0 && strcmp(argv[1], "connect") == 0 && argc == 5 && atoi(argv[3]) > 0)
        return connect_processes(seconds, atoi(argv[3]), argv[4]);
    fprintf(stderr, "usage: bench_client blocks SECONDS CONNINFO [CI_CONNINFO [both]]\n"
                    "       bench_client connect SECONDS PROCESSES CONNINFO\n");
    return 2;
}
