/* The tables that the walk finds against those in the JSON of pg_query_parse(), which another walk
 * made. */
#include "routing_facts_support.h"

#include <pg_query.h>
#include <stdlib.h>

/* Every value of `key` in the JSON, as "\nx\ny\n", each once. */
static void collect(const char *json, const char *key, struct line *out) {
    line_add(out, "\n");
    for (const char *at = strstr(json, key); at; at = strstr(at, key)) {
        at += strlen(key);
        const char *end = strchr(at, '"');
        assert_non_null(end);
        char name[80];
        assert_true(snprintf(name, sizeof name, "\n%.*s\n", (int)(end - at), at) <
                    (int)sizeof name);
        if (!strstr(out->text, name))
            line_add(out, "%s\n", name + 1);
    }
}

static bool listed(const struct line *line, const char *name) {
    char wanted[80];
    assert_true(snprintf(wanted, sizeof wanted, "\n%s\n", name) < (int)sizeof wanted);
    return strstr(line->text, wanted);
}

static bool found(const struct query_facts *facts, const char *name, size_t length) {
    for (size_t i = 0; i < facts->count; i++)
        for (size_t j = 0; j < facts->statements[i].table_count; j++) {
            const char *table = facts->statements[i].tables[j].name;
            if (strlen(table) == length && memcmp(table, name, length) == 0)
                return true;
        }
    return false;
}

static void compare(const char *sql) {
    PgQueryParseResult parsed = pg_query_parse(sql);
    assert_null(parsed.error);
    struct line tables = {.text = ""}, ctes = {.text = ""};
    collect(parsed.parse_tree, "\"relname\":\"", &tables);
    collect(parsed.parse_tree, "\"ctename\":\"", &ctes);
    pg_query_free_parse_result(parsed);
    struct query_facts facts;
    struct error error;
    parse_or_fail(sql, &facts, &error);
    static const unsigned elsewhere =
        TABLE_NAMED_IN_STRING | TABLE_TYPE | TABLE_IN_BODY | TABLE_CREATED;
    for (size_t i = 0; i < facts.count; i++) {
        assert_int_not_equal(facts.statements[i].kind, KIND_UNPARSED);
        for (size_t j = 0; j < facts.statements[i].table_count; j++) {
            const struct table_facts *table = &facts.statements[i].tables[j];
            if (!(table->flags & elsewhere) && table->access != ACCESS_DDL &&
                !listed(&tables, table->name))
                fail_msg("%s is not named in %s", table->name, sql);
        }
    }
    for (const char *name = strtok(tables.text, "\n"); name; name = strtok(NULL, "\n"))
        if (!listed(&ctes, name) && !found(&facts, name, strlen(name)))
            fail_msg("%s was not found in %s", name, sql);
    facts_close(&facts);
}

static const char *const statements[] = {
    "SELECT id FROM zoekt_nodes ORDER BY id LIMIT 3",
    "COPY ci_refs (project_id, ref_path) FROM STDIN",
    "SELECT 1 FROM projects; SELECT 1 FROM ci_builds",
    "SELECT u.id FROM users u, application_settings a",
    "SELECT id FROM ci_builds WHERE id = 1 FOR UPDATE",
    "PREPARE p1 AS SELECT * FROM projects WHERE id = $1",
    "UPDATE projects SET updated_at = now() WHERE id = 1",
    "INSERT INTO _test_gitlab_main_items (id) VALUES (1)",
    "LOCK TABLE ci_pipelines IN SHARE ROW EXCLUSIVE MODE",
    "UPDATE emails SET email = 'a@b.c' WHERE user_id = 1",
    "INSERT INTO namespaces (name, path) VALUES ('a', 'a')",
    "select/**/id from\"ci_triggers\"where\"project_id\"=3",
    "ALTER TABLE \"projects\" ADD \"__test_column\" integer",
    "SELECT id FROM ci_trigger_requests WHERE trigger_id = 3",
    "SELECT count(*) FROM ci_builds WHERE status = 'pending'",
    "SELECT name, path FROM project_routes_view WHERE id = 3",
    "DELETE FROM taggings WHERE taggable_type = 'Ci::Runner'",
    "PREPARE upd AS UPDATE users SET name = $1 WHERE id = $2",
    "SELECT id INTO TEMP _test_gitlab_ci_copy FROM ci_builds",
    "SELECT id FROM ci_builds WHERE id = 1 FOR UPDATE NOWAIT",
    "SELECT id, namespace_id FROM projects WHERE id IN (1, 2)",
    "ALTER TABLE emails VALIDATE CONSTRAINT fk_emails_user_id",
    "SELECT \"id\" FROM \"merge_requests\" WHERE \"iid\" = 12",
    "SELECT 1 FROM namespaces, projects, unknown, p_ci_builds",
    "SELECT * FROM ci_resource_groups WHERE id = 1 FOR UPDATE",
    "UPDATE p_ci_pipelines SET user_id = NULL WHERE user_id = 1",
    "CREATE INDEX index_projects_on_hidden ON projects (hidden)",
    "DECLARE c1 CURSOR FOR SELECT id FROM ci_builds ORDER BY id",
    "INSERT INTO ci_stages (name, project_id) VALUES ('test', 1)",
    "INSERT INTO \"software_licenses\" (\"name\") VALUES ('aaa')",
    "SELECT * FROM batched_background_migrations WHERE status = 1",
    "SELECT ci_builds.id FROM unnest(ARRAY[1,2]) AS ci_builds(id)",
    "INSERT INTO ci_stages (pipeline_id, name) VALUES (1, 'build')",
    "DELETE FROM emails WHERE user_id NOT IN (SELECT id FROM users)",
    "SELECT pid, query FROM pg_stat_activity WHERE state = 'active'",
    "SELECT id FROM labels WHERE title ILIKE E'%\\'ci\\_builds\\'%'",
    "WITH unused AS (SELECT id FROM users) SELECT id FROM ci_runners",
    "SELECT id /* FROM ci_builds */ FROM issues -- JOIN ci_pipelines",
    "SELECT u.id FROM users u JOIN ci_pipelines p ON p.user_id = u.id",
    "SELECT \"name\" FROM \"public\".\"users\" WHERE \"admin\" = true",
    "SELECT u.id FROM users u, detached_partitions d, merge_requests m",
    "INSERT INTO schema_migrations (version) VALUES ('20240101000000')",
    "UPDATE issues AS ci_builds SET title = 'x' WHERE ci_builds.id = 4",
    "INSERT INTO _test_table (id, value) VALUES (1, 1), (2, 2), (3, 3)",
    "SELECT id FROM ci_runners ORDER BY (SELECT count(*) FROM members)",
    "SELECT count(*) FROM gitlab_partitions_dynamic.audit_events_202403",
    "PREPARE find_build (bigint) AS SELECT * FROM ci_builds WHERE id = $1",
    "DELETE FROM gitlab_partitions_dynamic._test_gitlab_main_part_20220101",
    "SELECT id FROM projects WHERE description = 'select * from ci_builds'",
    "EXPLAIN (ANALYZE, BUFFERS) SELECT id FROM ci_builds WHERE commit_id = 1",
    "UPDATE ar_internal_metadata SET value = 'test' WHERE key = 'environment'",
    "SELECT ci_pipelines.id FROM (SELECT id FROM merge_requests) ci_pipelines",
    "SELECT id, project_id FROM projects_sync_events ORDER BY id ASC LIMIT 1000",
    "SELECT id FROM p_ci_job_artifacts WHERE job_id = 10 AND partition_id = 102",
    "UPDATE gitlab_partitions_dynamic.ci_builds_metadata_102 SET timeout = 3600",
    "SELECT issues.id AS ci_builds, issues.title AS \"ci_pipelines\" FROM issues",
    "SELECT id FROM ci_runners WHERE description = $q$ JOIN projects ON true $q$",
    "UPDATE \"projects\" SET \"updated_at\" = now() WHERE \"projects\".\"id\" = 1",
    "ALTER TABLE ci_secure_files ADD COLUMN owner_id bigint REFERENCES users (id)",
    "DELETE FROM gitlab_partitions_static.issue_search_data_03 WHERE issue_id = 3",
    "INSERT INTO ci_pipelines (project_id, ref) VALUES (1, 'master') RETURNING id",
    "SELECT 1 FROM projects LEFT JOIN ci_builds ON ci_builds.project_id=projects.id",
    "SELECT id FROM gitlab_partitions_dynamic.ci_builds_101 WHERE status = 'running'",
    "PREPARE bad AS SELECT 1 FROM projects p JOIN ci_builds b ON b.project_id = p.id",
    "SELECT projects.id FROM ci_builds AS projects WHERE projects.status = 'success'",
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM licenses) THEN 1 ELSE 0 END FROM ci_builds",
    "SELECT ARRAY(SELECT id FROM ci_stages WHERE pipeline_id = 1) FROM projects LIMIT 1",
    "COPY (SELECT id FROM ci_builds WHERE status = 'failed') TO STDOUT WITH (FORMAT csv)",
    "INSERT INTO \"ci_instance_variables\" (\"variable_type\", \"key\") VALUES (1, 'aaa')",
    "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()",
    "EXPLAIN UPDATE p_ci_pipelines SET updated_at = current_timestamp WHERE id = 1606117348",
    "CREATE VIEW _test_gitlab_ci_failed AS SELECT id FROM ci_builds WHERE status = 'failed'",
    "select count(*) from ci_runner_projects where ci_runner_projects.runner_id IN (1, 2, 3)",
    "SELECT issue_id FROM gitlab_partitions_static.issue_search_data_07 WHERE project_id = 9",
    "SELECT \"ci_pipelines\".* FROM \"ci_pipelines\" WHERE \"ci_pipelines\".\"id\" = 1 LIMIT 1",
    "SELECT \"features\".* FROM \"features\" WHERE \"features\".\"key\" = 'redis_hll_tracking'",
    "CREATE TEMP TABLE _test_gitlab_ci_ids AS SELECT id FROM ci_builds WHERE status = 'failed'",
    "select * from ci_builds where project_id in (11, 12, 13) order by created_at desc limit 10",
    "WITH moved AS (DELETE FROM todos WHERE user_id = 4 RETURNING id) SELECT count(*) FROM moved",
    "UPDATE projects SET archived = TRUE WHERE id = 1 RETURNING (SELECT count(*) FROM ci_builds)",
    "DELETE FROM loose_foreign_keys_deleted_records WHERE fully_qualified_table_name='ci_builds'",
    "EXPLAIN SELECT * FROM members m JOIN ci_runner_namespaces r ON r.namespace_id = m.source_id",
    "SELECT u.id FROM users u WHERE EXISTS (SELECT 1 FROM ci_triggers t WHERE t.owner_id = u.id)",
    "ALTER TABLE projects ADD CONSTRAINT creator_fk FOREIGN KEY (creator_id) REFERENCES users(id)",
    "SELECT \"application_settings\".* FROM \"application_settings\" ORDER BY \"id\" DESC LIMIT 1",
    "WITH projects AS (SELECT DISTINCT project_id AS id FROM ci_pipelines) SELECT id FROM projects",
    "SELECT id FROM ci_builds LIMIT (SELECT ci_max_artifact_size_archive FROM plan_limits LIMIT 1)",
    "COPY (SELECT p.path, b.name FROM projects p JOIN ci_builds b ON b.project_id = p.id) TO "
    "STDOUT",
    "WITH projects AS (SELECT id FROM projects WHERE archived = FALSE) SELECT count(*) FROM "
    "projects",
    "CREATE INDEX CONCURRENTLY index_ci_builds_on_tmp ON ci_builds (status) WHERE status = "
    "'pending'",
    "INSERT INTO p_ci_stages (pipeline_id, project_id, partition_id, name) VALUES (1, 2, 100, "
    "'test')",
    "INSERT INTO \"detached_partitions\" (\"drop_after\", \"table_name\") VALUES (now(), "
    "'_test_table')",
    "SELECT 1 FROM merge_requests, ci_pipelines WHERE ci_pipelines.merge_request_id = "
    "merge_requests.id",
    "SELECT \"users\".* FROM \"users\" WHERE \"users\".\"id\" = 1 "
    "/*application:web,db_config_name:ci*/",
    "SELECT u.id FROM users u JOIN members m ON m.user_id = u.id JOIN namespaces n ON n.id = "
    "m.source_id",
    "DECLARE c2 NO SCROLL CURSOR FOR SELECT p.id FROM projects p JOIN ci_builds b ON b.project_id "
    "= p.id",
    "SELECT p.id, (SELECT count(*) FROM ci_builds b WHERE b.project_id = p.id) AS builds FROM "
    "projects p",
    "UPDATE \"ci_pipelines\" SET \"updated_at\" = '2024-05-01 10:00:00' WHERE "
    "\"ci_pipelines\".\"id\" = 1",
    "SELECT \"ci_pipelines\".* FROM \"ci_pipelines\" WHERE \"ci_pipelines\".\"id\" = 1 LIMIT 1 FOR "
    "UPDATE",
    "select projects.* from security_scans inner join projects on security_scans.project_id = "
    "projects.id",
    "WITH projects AS (SELECT id FROM ci_builds) SELECT * FROM public.projects JOIN projects p ON "
    "p.id = 1",
    "SELECT count(*) FROM ci_job_artifacts a WHERE a.project_id IN (SELECT id FROM projects WHERE "
    "archived)",
    "SELECT project_id FROM ci_builds GROUP BY project_id HAVING count(*) > (SELECT count(*) FROM "
    "projects)",
    "CREATE TABLE _test_gitlab_main_links (id bigint PRIMARY KEY, project_id bigint REFERENCES "
    "projects (id))",
    "SELECT n.id FROM namespaces n LEFT JOIN ci_namespace_mirrors m ON m.namespace_id = n.id WHERE "
    "m.id IS NULL",
    "ALTER TABLE public.ci_variables ADD CONSTRAINT fk_v FOREIGN KEY (project_id) REFERENCES "
    "public.projects (id)",
    "UPDATE ci_builds SET user_id = NULL FROM users WHERE users.id = ci_builds.user_id AND "
    "users.state = 'blocked'",
    "ALTER TABLE user_details ADD CONSTRAINT fk_o FOREIGN KEY (provisioned_by_group_id) REFERENCES "
    "namespaces (id)",
    "ALTER TABLE ci_builds ADD CONSTRAINT fk_be5624bf37 FOREIGN KEY (project_id) REFERENCES "
    "projects(id) NOT VALID",
    "SELECT e.key, e.value FROM vulnerability_occurrences v, jsonb_each(v.raw_metadata::jsonb) AS "
    "e WHERE v.id = 3",
    "CREATE TRIGGER check_projects BEFORE UPDATE ON projects FOR EACH ROW EXECUTE PROCEDURE "
    "check_projects_update()",
    "SELECT b.id FROM (WITH ci_builds AS (SELECT 1 AS id) SELECT id FROM ci_builds) x JOIN "
    "ci_builds b ON b.id = x.id",
    "WITH ci_variables AS (SELECT id FROM projects) INSERT INTO ci_variables (project_id) SELECT "
    "id FROM ci_variables",
    "INSERT INTO \"ci_variables\" (\"key\", \"encrypted_value\", \"project_id\") VALUES ('a', 'v', "
    "1) RETURNING \"id\"",
    "/*application:test,correlation_id:abc*/ UPDATE \"projects\" SET \"updated_at\" = now() WHERE "
    "\"projects\".\"id\" = 1",
    "SELECT \"application_settings\".* FROM \"application_settings\" ORDER BY "
    "\"application_settings\".\"id\" DESC LIMIT 1",
    "ALTER TABLE merge_trains ADD CONSTRAINT fk_p FOREIGN KEY (pipeline_id) REFERENCES "
    "ci_pipelines (id) ON DELETE SET NULL",
    "CREATE TABLE _test_gitlab_ci_links (id bigint PRIMARY KEY, project_id bigint REFERENCES "
    "projects (id) ON DELETE CASCADE)",
    "SELECT \"users\".\"id\" FROM \"users\" WHERE \"users\".\"id\" >= 41654 ORDER BY "
    "\"users\".\"id\" ASC LIMIT 1 OFFSET 1000",
    "(SELECT id FROM ci_builds WHERE status = 'failed') UNION ALL (SELECT build_id FROM "
    "ci_running_builds) ORDER BY 1 LIMIT 20",
    "UPDATE merge_requests SET head_pipeline_id = (SELECT max(id) FROM ci_pipelines WHERE "
    "merge_request_id = merge_requests.id)",
    "ALTER TABLE emails ADD CONSTRAINT fk_emails_user_id FOREIGN KEY (user_id) REFERENCES "
    "users(id) ON DELETE CASCADE NOT VALID",
    "DELETE FROM ci_runner_projects USING projects WHERE projects.id = "
    "ci_runner_projects.project_id AND projects.pending_delete",
    "ALTER TABLE ONLY ci_pipelines ADD CONSTRAINT fk_86635dbd80 FOREIGN KEY (project_id) "
    "REFERENCES projects(id) ON DELETE CASCADE",
    "SELECT partition, fully_qualified_table_name, count(*) FROM "
    "loose_foreign_keys_deleted_records WHERE status = 1 GROUP BY 1, 2",
    "INSERT INTO \"project_authorizations\" (\"user_id\", \"project_id\", \"access_level\") VALUES "
    "(1, 2, 30) ON CONFLICT DO NOTHING",
    "SELECT id, row_number() OVER (PARTITION BY project_id ORDER BY created_at DESC) AS rn FROM "
    "deployments WHERE environment_id = 3",
    "CREATE TABLE \"_test_table\" (\"id\" bigserial primary key, \"project_id\" bigint NOT NULL, "
    "\"created_at\" timestamptz NOT NULL)",
    "WITH gone AS (DELETE FROM ci_refs WHERE project_id = 9 RETURNING id) INSERT INTO todos "
    "(target_id, user_id) SELECT id, 1 FROM gone",
    "MERGE INTO ci_project_mirrors m USING projects p ON m.project_id = p.id WHEN MATCHED THEN "
    "UPDATE SET namespace_id = p.namespace_id",
    "UPDATE \"loose_foreign_keys_deleted_records\" SET \"status\" = 2 WHERE \"status\" = 1 AND "
    "\"partition\" = 84 AND \"id\" IN (1, 2, 3)",
    "INSERT INTO ci_project_mirrors (project_id, namespace_id) SELECT project_id, namespace_id "
    "FROM ci_pending_builds WHERE project_id = 1",
    "DELETE FROM ci_build_trace_chunks USING ci_builds WHERE ci_builds.id = "
    "ci_build_trace_chunks.build_id AND ci_builds.status = 'success'",
    "SELECT \"ci_builds\".* FROM \"ci_builds\" WHERE \"ci_builds\".\"type\" = 'Ci::Build' AND "
    "\"ci_builds\".\"user_id\" BETWEEN 1 AND 10000",
    "WITH ids AS (SELECT id FROM projects WHERE namespace_id = 22) SELECT count(*) FROM "
    "ci_pipelines WHERE project_id IN (SELECT id FROM ids)",
    "SELECT p.id, l.id FROM projects p CROSS JOIN LATERAL (SELECT id FROM ci_pipelines c WHERE "
    "c.project_id = p.id ORDER BY id DESC LIMIT 1) l",
    "/* allow_cross_joins_across_databases */ SELECT p.id FROM projects p WHERE EXISTS (SELECT 1 "
    "FROM ci_pipelines c WHERE c.project_id = p.id)",
    "SELECT u.v, p.id FROM unnest(ARRAY[1,2,3]) AS u(v), LATERAL (SELECT id FROM ci_pipelines "
    "WHERE project_id = u.v ORDER BY id DESC LIMIT 1) p",
    "WITH pending AS (SELECT id, project_id FROM ci_pending_builds ORDER BY id LIMIT 100) SELECT "
    "b.id FROM ci_builds b JOIN pending p ON p.id = b.id",
    "CREATE TABLE _test_gitlab_main_links (id bigint PRIMARY KEY, build_id bigint, CONSTRAINT fk_b "
    "FOREIGN KEY (build_id) REFERENCES ci_builds (id))",
    "UPDATE \"projects\" SET \"archived\" = TRUE WHERE \"projects\".\"archived\" = FALSE AND "
    "\"projects\".\"id\" >= 1 AND \"projects\".\"id\" < 1001",
    "INSERT INTO \"postgres_async_indexes\" (\"name\", \"table_name\", \"definition\") VALUES "
    "('index_projects_on_hidden', 'projects', 'CREATE INDEX')",
    "select * from builds inner join pipelines on builds.pipeline_id = pipelines.id where "
    "pipelines.project_id = 5 order by builds.created_at desc limit 10",
    "SELECT \"issues\".* FROM \"issues\" INNER JOIN \"projects\" ON \"projects\".\"id\" = "
    "\"issues\".\"project_id\" ORDER BY \"issues\".\"id\" DESC LIMIT 1",
    "CREATE TABLE _test_gitlab_ci_links (id bigint PRIMARY KEY, pipeline_id bigint, FOREIGN KEY "
    "(pipeline_id) REFERENCES ci_pipelines (id) ON DELETE CASCADE)",
    "select count(*) from projects inner join ci_runner_projects on ci_runner_projects.project_id "
    "= projects.id where ci_runner_projects.runner_id IN (1, 2, 3)",
    "select projects.* from security_scans inner join ci_builds on security_scans.build_id = "
    "ci_builds.id inner join projects on ci_builds.project_id = projects.id",
    "SELECT \"ci_builds\".* FROM \"ci_builds\" INNER JOIN \"projects\" ON \"projects\".\"id\" = "
    "\"ci_builds\".\"project_id\" /* allow_cross_joins_across_databases */",
    "select projects.* from projects inner join project_ci_feature_usages on "
    "project_ci_feature_usages.project_id = projects.id where project_ci_feature_usages.feature = "
    "1",
    "WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t JOIN a ON a.id = t.n) SELECT "
    "sum(n) FROM t, b",
    "SELECT * FROM a LEFT JOIN LATERAL (SELECT 1 FROM b WHERE b.x = a.x LIMIT 1) s ON true CROSS "
    "JOIN c NATURAL JOIN d",
    "SELECT x, count(*) OVER (PARTITION BY y ORDER BY z ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) "
    "FROM a",
    "SELECT * FROM (VALUES (1, 2), (3, 4)) v (x, y), a AS b (c, d) WHERE (x, y) IN (SELECT e, f "
    "FROM g)",
    "SELECT * FROM a WHERE x = ALL (ARRAY(SELECT y FROM b)) AND NOT EXISTS (TABLE c)",
    "INSERT INTO a DEFAULT VALUES RETURNING *",
    "INSERT INTO a (x) OVERRIDING SYSTEM VALUE SELECT y FROM b ON CONFLICT ON CONSTRAINT k DO "
    "NOTHING",
    "WITH m AS (UPDATE a SET x = 1 FROM b RETURNING a.*), n AS (DELETE FROM c USING m RETURNING *) "
    "INSERT INTO d SELECT * FROM n, e",
    "MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN DO NOTHING",
    "COPY a (x, y) FROM STDIN WITH (FORMAT csv) WHERE x > 1",
    "COPY (SELECT * FROM a JOIN b USING (id)) TO STDOUT",
    "CREATE TABLE a (LIKE b INCLUDING ALL, x int REFERENCES c ON DELETE CASCADE, CHECK (x > 0), "
    "EXCLUDE USING gist (y WITH &&))",
    "CREATE TABLE a (x int GENERATED ALWAYS AS IDENTITY, y int GENERATED ALWAYS AS (x * 2) STORED) "
    "PARTITION BY RANGE (x)",
    "CREATE TABLE a PARTITION OF b FOR VALUES FROM (MINVALUE, 1) TO (10, MAXVALUE)",
    "CREATE UNLOGGED TABLE IF NOT EXISTS a AS TABLE b WITH NO DATA",
    "ALTER TABLE ONLY a ADD CONSTRAINT c FOREIGN KEY (x, y) REFERENCES b (x, y) MATCH FULL "
    "DEFERRABLE, DROP COLUMN z",
    "CREATE OR REPLACE RECURSIVE VIEW a (n) AS SELECT 1 FROM b",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON ONLY a USING gin (x gin_trgm_ops) INCLUDE (y) "
    "WITH (fillfactor = 70) WHERE z",
    "CREATE RULE r AS ON UPDATE TO a WHERE OLD.x > 1 DO INSTEAD (INSERT INTO b VALUES (NEW.x); "
    "DELETE FROM c)",
    "LOCK TABLE a, ONLY b IN ACCESS EXCLUSIVE MODE NOWAIT",
    "TRUNCATE TABLE a, b RESTART IDENTITY CASCADE",
    "EXPLAIN (ANALYZE, FORMAT json) SELECT * FROM a, b",
    "PREPARE p (int) AS SELECT * FROM a WHERE x = $1",
    "DECLARE c SCROLL CURSOR FOR SELECT * FROM a ORDER BY x",
    "SELECT * INTO TEMP a FROM b WHERE x",
    "SELECT xmlforest(a.x, (SELECT 1 FROM b) AS y), xmlpi(name z), x IS DOCUMENT FROM a",
    "SELECT extract(year FROM x), position('a' IN y), overlay(x PLACING y FROM 1), trim(BOTH 'x' "
    "FROM y) FROM a",
    "SELECT x AT TIME ZONE 'UTC', (y).z, (w).*, v[1:2], u[1][2] FROM a",
    "SELECT * FROM a ORDER BY x USING > NULLS LAST FETCH FIRST 3 ROWS WITH TIES",
    "SELECT GROUPING(x), y FROM a GROUP BY CUBE (x, y), ROLLUP (z)",
    "SELECT * FROM a TABLESAMPLE bernoulli (1), ONLY b, c *",
    "WITH x AS MATERIALIZED (SELECT 1 FROM a) SEARCH DEPTH FIRST BY y SET z SELECT * FROM x",
    "VACUUM (FULL, ANALYZE) a (x), b",
    "GRANT SELECT (x), UPDATE ON a, b TO c WITH GRANT OPTION",
    "CREATE TRIGGER t BEFORE UPDATE OF x ON a REFERENCING OLD TABLE AS o FOR EACH ROW WHEN (OLD.x "
    "IS DISTINCT FROM NEW.x) EXECUTE FUNCTION f()",
    "CREATE PUBLICATION p FOR TABLE a (x), b WHERE (y)"};

static void tables_are_those_of_the_json_tree(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        compare(statements[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(tables_are_those_of_the_json_tree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
