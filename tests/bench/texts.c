#include "texts.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct bench_text bench_texts[BENCH_TEXTS] = {
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

size_t bench_text_write(const char *format, const char *number_format, int number, char *out) {
    char digits[16];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* one of bench_texts */
    snprintf(digits, sizeof digits, number_format, number);
    return (size_t)snprintf(out, BENCH_TEXT_MAX, format, digits);
#pragma GCC diagnostic pop
}

bool bench_settings_load(struct settings **out) {
    char path[] = "/tmp/pginterlock_bench_XXXXXX";
    int fd = mkstemp(path);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (file == NULL) {
        perror(path);
        return false;
    }
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
