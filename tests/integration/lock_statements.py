"""The statements of test_lock_oracle.py: written in every kind, and generated over all tables and subquery positions."""

import random

TABLES = """users namespaces projects issues merge_requests notes members labels label_links keys todos snippets web_hooks milestones
    routes audit_events audit_events_0 uploads user_uploads ci_runners ci_pipelines ci_stages p_ci_builds ci_builds ci_builds_100
    ci_minutes ci_variables ci_triggers ci_refs ci_namespace_mirrors ci_unit_tests loose_foreign_keys_deleted_records
    schema_migrations""".split()
VIEWS = "project_routes_view active_projects_view notes_view milestone_counts ci_builds_views_100 ci_counts group_wikis_routes_view".split()
RELATIONS = TABLES + VIEWS

ON_TABLES = [
    "UPDATE {t} SET name = name || 'x' WHERE project_id = 1", "DELETE FROM {t} WHERE project_id = 2 RETURNING name",
    "INSERT INTO {t} (id, name, project_id) OVERRIDING SYSTEM VALUE VALUES (77, 'x', 1)", "LOCK TABLE {t} IN SHARE MODE",
    "SELECT * FROM {t} FOR UPDATE", "TRUNCATE {t} CASCADE", "ALTER TABLE {t} ADD COLUMN IF NOT EXISTS extra int",
    "COMMENT ON TABLE {t} IS 'x'", "CREATE INDEX ON {t} (name)", "ANALYZE {t}", "GRANT SELECT ON {t} TO PUBLIC",
    "CREATE TEMP TABLE new_things (LIKE {t})", "ALTER TABLE {t} RENAME COLUMN name TO title",
    "CREATE TRIGGER t AFTER INSERT ON {t} FOR EACH STATEMENT EXECUTE FUNCTION track_deleted()",
    "EXPLAIN ANALYZE UPDATE {t} SET status = 1 WHERE false", "COPY {t} TO STDOUT",
]
ON_RELATIONS = [
    "SELECT count(*) FROM {t}", "TABLE {t}", "SELECT * FROM ONLY {t} x", "EXPLAIN SELECT * FROM {t}", "COPY (SELECT name FROM {t}) TO STDOUT",
    "PREPARE p AS SELECT * FROM {t}", "DECLARE c CURSOR FOR SELECT * FROM {t}", "SELECT pg_relation_size('{t}')",
    "CREATE TEMP VIEW new_things AS SELECT * FROM {t}", "SELECT (NULL::{t}).name", "DROP VIEW IF EXISTS {t} CASCADE",
    "DO $$ BEGIN PERFORM count(*) FROM {t}; END $$", "CREATE TEMP TABLE new_things AS SELECT * FROM {t}",
]
ON_RELATIONS.remove("DROP VIEW IF EXISTS {t} CASCADE")  # of a table an error

# {a} is modified or read first; {b}, {c} stand in the subqueries.
POSITIONS = [
    "SELECT (SELECT max(id) FROM {b}) FROM {a}", "SELECT * FROM {a} WHERE id IN (SELECT project_id FROM {b})",
    "SELECT * FROM {a} x JOIN {b} y ON y.project_id = x.project_id LEFT JOIN {c} z ON z.id = y.id",
    "SELECT * FROM {a} x, LATERAL (SELECT * FROM {b} y WHERE y.id = x.id) z", "SELECT id FROM {a} UNION ALL SELECT id FROM {b} EXCEPT TABLE ids",
    "SELECT * FROM {a} ORDER BY (SELECT max(id) FROM {b}) LIMIT (SELECT count(*) FROM {c})",
    "SELECT count(*) FILTER (WHERE EXISTS (SELECT FROM {b})) OVER (PARTITION BY (SELECT 1 FROM {c} LIMIT 1)) FROM {a}",
    "SELECT project_id FROM {a} GROUP BY GROUPING SETS ((project_id), ()) HAVING count(*) > (SELECT min(id) FROM {b})",
    "SELECT CASE WHEN EXISTS (SELECT FROM {b}) THEN ARRAY(SELECT id FROM {c}) END FROM {a}",
    "SELECT ROW((SELECT max(id) FROM {b}), 1) = ANY (SELECT id, 1 FROM {c}) FROM {a}",
    "WITH w AS (SELECT * FROM {b}) SELECT * FROM {a}, w", "WITH {b} AS (SELECT * FROM {a}) SELECT * FROM {b}",
    "WITH {b} AS (SELECT * FROM {b}) SELECT * FROM {b}, {a}",
    "WITH RECURSIVE w AS (SELECT id, project_id FROM {a} UNION SELECT x.id, x.project_id FROM {b} x JOIN w ON w.id = x.id) SELECT * FROM w",
    "WITH d AS (DELETE FROM {m} WHERE false RETURNING *) SELECT * FROM d, {b}",
    "VALUES ((SELECT max(id) FROM {a})), ((SELECT max(id) FROM {b}))",
    "INSERT INTO {m} (id, name) OVERRIDING SYSTEM VALUE SELECT 1000 + id, name FROM {b} WHERE false",
    "INSERT INTO {m} (id, name, status) OVERRIDING SYSTEM VALUE VALUES (900, 'x', 0) RETURNING (SELECT max(id) FROM {b})",
    "UPDATE {m} SET name = (SELECT max(name) FROM {b}) WHERE id = (SELECT max(id) FROM {c}) RETURNING (SELECT 1 FROM {a} LIMIT 1)",
    "UPDATE {m} m SET name = b.name FROM {b} b WHERE b.id = m.id AND false", "DELETE FROM {m} m USING {b} b, {c} c WHERE b.id = m.id AND c.id = 0",
    "MERGE INTO {n} m USING {b} b ON b.id = m.id WHEN MATCHED AND b.status > (SELECT 100 + max(status) FROM {c}) THEN DELETE",
    "SELECT * FROM {a} TABLESAMPLE system ((SELECT 50 FROM {b} LIMIT 1))", "SELECT json_agg(x ORDER BY (SELECT 1 FROM {b} LIMIT 1)) FROM {a} x",
    "SELECT x.* FROM {a} x, XMLTABLE('/a' PASSING (SELECT '<a/>'::xml FROM {b} LIMIT 1) COLUMNS v text PATH '.') y",
    "SELECT * FROM {a} x WHERE x.id = ALL (SELECT id FROM {b} EXCEPT SELECT id FROM {c})", "SELECT * FROM generate_series(1, (SELECT count(*) FROM {b})), {a}",
    "CREATE TEMP TABLE new_things AS SELECT x.id FROM {a} x, {b}", "DO $$ DECLARE n int := (SELECT count(*) FROM {a}); BEGIN PERFORM 1 FROM {b}; END $$",
    "EXPLAIN ANALYZE SELECT * FROM {a} WHERE EXISTS (SELECT FROM {b})", "SELECT 1 WINDOW w AS (ORDER BY (SELECT max(id) FROM {a} LIMIT (SELECT 1 FROM {b} LIMIT 1)))",
]

WRITTEN = """
SELECT 1
SELECT next_milestone()
SELECT hook_count(), member_count()
SELECT runner_count()
SELECT * FROM projects WHERE id = runner_count()
CALL clear_variables()
DO $$ BEGIN CALL clear_variables(); END $$
DO $$ BEGIN EXECUTE 'DELETE FROM ci_variables'; END $$
DO $$ BEGIN EXECUTE format('DELETE FROM %I', 'ci_variables'); END $$
SELECT nextval('projects_id_seq')
SELECT setval('ci_runners_id_seq', 900), currval('ci_runners_id_seq')
SELECT nextval(pg_get_serial_sequence('merge_requests', 'id'))
SELECT pg_total_relation_size('ci_builds'), pg_table_size('notes'), pg_indexes_size('labels')
SELECT 'ci_minutes'::regclass, to_regclass('web_hooks'), 'routes'::regclass::oid
SELECT has_table_privilege('ci_triggers', 'SELECT'), has_column_privilege('todos', 'name', 'SELECT')
SELECT query_to_xml('SELECT * FROM web_hooks', true, false, '')
SELECT table_to_xml('ci_unit_tests', true, false, '')
SELECT * FROM ts_stat('SELECT to_tsvector(name) FROM ci_minutes')
CREATE TABLE new_things (id bigint REFERENCES users, parent bigint REFERENCES milestones)
CREATE TABLE ci_new () INHERITS (ci_minutes)
CREATE TABLE audit_events_9 PARTITION OF audit_events FOR VALUES IN (900)
CREATE TABLE new_things AS TABLE milestones WITH NO DATA
SELECT * INTO new_things FROM routes
CREATE TABLE ci_new (LIKE ci_pipelines INCLUDING ALL)
CREATE TABLE ci_new OF composite_thing
CREATE VIEW new_things AS SELECT a.* FROM active_projects_view a, notes_view
CREATE OR REPLACE VIEW notes_view AS SELECT * FROM notes WHERE project_id IN (SELECT id FROM members)
CREATE MATERIALIZED VIEW ci_new AS SELECT * FROM ci_counts
REFRESH MATERIALIZED VIEW milestone_counts
REFRESH MATERIALIZED VIEW ci_counts
REFRESH MATERIALIZED VIEW ci_counts WITH NO DATA
CREATE RULE new_rule AS ON UPDATE TO routes DO ALSO DELETE FROM web_hooks WHERE id IN (SELECT id FROM todos)
CREATE RULE new_rule AS ON INSERT TO notes_view DO INSTEAD INSERT INTO notes DEFAULT VALUES
CREATE TRIGGER new_trigger AFTER UPDATE ON ci_runners FOR EACH ROW EXECUTE FUNCTION count_minutes()
CREATE CONSTRAINT TRIGGER new_trigger AFTER UPDATE ON ci_runners FROM ci_minutes FOR EACH ROW EXECUTE FUNCTION count_minutes()
CREATE POLICY new_policy ON routes USING (EXISTS (SELECT FROM members))
ALTER POLICY own ON notes USING (EXISTS (SELECT FROM users))
CREATE STATISTICS new_statistics ON name, status FROM milestones
CREATE INDEX ON p_ci_builds (name) WHERE status > 0
CREATE UNIQUE INDEX ON ci_builds (id, status)
CREATE SEQUENCE new_things_id_seq OWNED BY milestones.id
ALTER SEQUENCE projects_id_seq RESTART
ALTER SEQUENCE ci_runners_id_seq OWNED BY NONE
CREATE PUBLICATION new_publication FOR TABLE ci_minutes, ci_runners
CREATE FUNCTION new_function() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM todos'
CREATE FUNCTION new_function() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM ci_builds_views_100; END
CREATE FUNCTION new_function(x ci_minutes) RETURNS SETOF ci_runners LANGUAGE sql AS 'SELECT * FROM ci_runners'
ALTER TABLE audit_events DETACH PARTITION audit_events_0
ALTER TABLE p_ci_builds DETACH PARTITION ci_builds
ALTER TABLE user_uploads NO INHERIT uploads
ALTER TABLE milestones INHERIT uploads
ALTER TABLE ci_minutes ADD FOREIGN KEY (project_id) REFERENCES ci_pipelines
ALTER TABLE web_hooks ADD CONSTRAINT x FOREIGN KEY (project_id) REFERENCES projects NOT VALID
ALTER TABLE issues VALIDATE CONSTRAINT issues_project_id_fkey
ALTER TABLE issues DROP CONSTRAINT issues_project_id_fkey
ALTER TABLE labels DROP COLUMN status CASCADE
ALTER TABLE milestones ALTER COLUMN status TYPE bigint
ALTER TABLE routes ALTER COLUMN status SET DEFAULT next_milestone()
ALTER TABLE routes ADD COLUMN extra bigint DEFAULT nextval('ci_minutes_id_seq')
ALTER TABLE routes ADD CHECK (status >= 0)
ALTER TABLE users RENAME TO new_things
ALTER TABLE ci_runners RENAME TO ci_new
ALTER TABLE notes DISABLE ROW LEVEL SECURITY
ALTER TABLE projects DISABLE TRIGGER USER
ALTER TABLE members SET (fillfactor = 50)
ALTER TABLE keys CLUSTER ON keys_pkey
ALTER TABLE routes REPLICA IDENTITY FULL
ALTER VIEW notes_view RENAME TO new_things
ALTER VIEW notes_view ALTER COLUMN name SET DEFAULT 'x'
ALTER MATERIALIZED VIEW ci_counts RENAME TO ci_new
ALTER TRIGGER touch ON issues RENAME TO touched
ALTER RULE log_todo ON todos RENAME TO logged
DROP TABLE ci_stages
DROP TABLE ci_pipelines CASCADE
DROP TABLE ci_minutes, user_uploads
DROP TABLE audit_events_4
DROP TABLE IF EXISTS web_hooks, ci_minutes
DROP VIEW active_projects_view, notes_view
DROP VIEW project_routes_view CASCADE
DROP MATERIALIZED VIEW ci_counts
DROP TRIGGER minutes ON p_ci_builds
DROP TRIGGER mirror ON namespaces
DROP RULE drop_variables ON snippets
DROP POLICY far ON keys
DROP FUNCTION hook_count()
DROP FUNCTION count_minutes() CASCADE
DROP SEQUENCE ci_runners_id_seq CASCADE
COMMENT ON COLUMN web_hooks.name IS 'x'
COMMENT ON CONSTRAINT issues_project_id_fkey ON issues IS 'x'
COMMENT ON TRIGGER touch ON issues IS 'x'
COMMENT ON RULE log_todo ON todos IS 'x'
COMMENT ON POLICY own ON notes IS 'x'
COMMENT ON VIEW notes_view IS 'x'
COMMENT ON SEQUENCE projects_id_seq IS 'x'
GRANT SELECT ON ci_minutes, ci_runners TO PUBLIC
GRANT USAGE ON SEQUENCE ci_runners_id_seq TO PUBLIC
GRANT SELECT (name), UPDATE (name) ON milestones TO PUBLIC
REVOKE ALL ON notes_view FROM PUBLIC
TRUNCATE audit_events, ci_minutes
TRUNCATE ONLY uploads RESTART IDENTITY
TRUNCATE users CASCADE
LOCK TABLE projects, ci_pipelines IN ACCESS EXCLUSIVE MODE
LOCK active_projects_view
LOCK ONLY audit_events IN ROW SHARE MODE
CLUSTER routes USING routes_pkey
REINDEX TABLE ci_runners
ANALYZE milestones, ci_stages (name)
EXPLAIN (VERBOSE) DELETE FROM users USING ci_pipelines WHERE users.id = ci_pipelines.id
EXPLAIN ANALYZE DELETE FROM projects
EXPLAIN ANALYZE CREATE TABLE new_things AS SELECT * FROM group_wikis_routes_view
PREPARE p AS WITH w AS (DELETE FROM todos RETURNING *) SELECT * FROM w, notes_view
DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT * FROM routes JOIN milestones USING (id)
COPY (DELETE FROM ci_unit_tests RETURNING *) TO STDOUT
COPY (TABLE notes_view) TO STDOUT
INSERT INTO routes (name) SELECT name FROM web_hooks ON CONFLICT (id) DO UPDATE SET name = (SELECT max(name) FROM todos) WHERE routes.id IN (SELECT id FROM members)
INSERT INTO notes_view (id, name) SELECT 1000, name FROM users LIMIT 1
INSERT INTO p_ci_builds (id, name, status) VALUES (5000, 'x', 150)
INSERT INTO ci_builds_views_100 (id, name, status) VALUES (6000, 'x', 10)
INSERT INTO milestones DEFAULT VALUES
INSERT INTO merge_requests (name, project_id) VALUES ('x', 3)
INSERT INTO label_links (name, label_id) SELECT 'x', id FROM labels
UPDATE p_ci_builds SET status = status + 100 WHERE status < 100
UPDATE audit_events SET name = 'x'
UPDATE uploads SET name = 'x'
UPDATE ci_builds_views_100 SET name = 'x'
UPDATE namespaces SET name = 'x' WHERE id = 1
UPDATE projects SET id = id + 1000 WHERE false
UPDATE issues SET name = 'x'
DELETE FROM projects WHERE id = 1
DELETE FROM namespaces
DELETE FROM snippets
DELETE FROM ci_pipelines
DELETE FROM p_ci_builds
MERGE INTO issues i USING (SELECT * FROM projects JOIN members USING (id)) s ON s.id = i.id WHEN MATCHED THEN UPDATE SET name = (SELECT max(name) FROM web_hooks) WHEN NOT MATCHED THEN INSERT (name) VALUES ('x')
MERGE INTO ci_stages s USING ci_pipelines p ON p.id = s.pipeline_id WHEN MATCHED THEN DELETE
WITH w AS (UPDATE ci_runners SET name = 'x' RETURNING id), v AS MATERIALIZED (SELECT * FROM w, ci_triggers) SELECT * FROM v
WITH projects AS (SELECT 1 AS id) SELECT * FROM public.projects, projects x
WITH projects AS (SELECT 1 AS id) UPDATE projects SET name = 'x' WHERE id = 2
WITH a AS (WITH b AS (SELECT * FROM milestones) SELECT * FROM b), b AS (SELECT * FROM a) SELECT * FROM b
SELECT * FROM keys
SELECT * FROM notes
SELECT * FROM notes FOR SHARE
SELECT * FROM project_routes_view FOR UPDATE
SELECT * FROM projects p, routes r WHERE p.id = r.id FOR NO KEY UPDATE OF r
SELECT * FROM uploads FOR KEY SHARE SKIP LOCKED
SELECT * FROM pg_class c, pg_namespace n WHERE c.relname = 'projects'
SELECT * FROM information_schema.tables WHERE table_name = 'ci_builds'
SELECT (SELECT r FROM routes r LIMIT 1).name
SELECT row_to_json(x) FROM (SELECT * FROM ci_counts) x
SELECT json_populate_record(NULL::ci_triggers, '{}')
SELECT ARRAY[]::ci_minutes[]
SELECT * FROM json_to_recordset('[]') AS x(a ci_refs)
SELECT CAST(NULL AS members) IS NULL
SELECT * FROM ROWS FROM (generate_series(1, 2), unnest(ARRAY(SELECT id FROM todos))) x
SELECT * FROM projects NATURAL JOIN issues CROSS JOIN (VALUES ((SELECT max(id) FROM notes))) v
SELECT DISTINCT ON ((SELECT max(id) FROM keys)) name FROM labels
SELECT max(id) OVER (ORDER BY id ROWS (SELECT 1 FROM milestones LIMIT 1) PRECEDING) FROM labels
SELECT coalesce((SELECT id FROM users LIMIT 1), greatest(1, (SELECT id FROM todos LIMIT 1)), nullif(1, (SELECT count(*) FROM keys)))
SELECT * FROM (TABLE milestones UNION (TABLE web_hooks INTERSECT TABLE todos)) x
SELECT percentile_cont((SELECT 0.5 FROM milestones LIMIT 1)) WITHIN GROUP (ORDER BY (SELECT 1.0 FROM routes LIMIT 1)) FROM labels
SELECT xmlelement(name a, (SELECT max(name) FROM todos)), xmlforest((SELECT max(name) FROM keys) AS b)
SELECT ((SELECT array_agg(id) FROM todos))[(SELECT 1 FROM routes LIMIT 1):(SELECT 2 FROM keys LIMIT 1)]
SELECT EXISTS (SELECT FROM users) AND NOT (SELECT bool_or(true) FROM routes) IS TRUE, (SELECT 'a' FROM todos LIMIT 1) COLLATE "C"
SECURITY LABEL ON TABLE milestones IS NULL
IMPORT
""".strip().splitlines()
WRITTEN = [text for text in WRITTEN if text not in ("IMPORT", "SECURITY LABEL ON TABLE milestones IS NULL",
                                                    "CREATE TABLE ci_new OF composite_thing")]

# Tables that a MERGE may have as its target: no rules; and what INSERT's DEFAULTs fit.
MERGEABLE = [table for table in TABLES if table not in ("todos", "snippets")]
WITH_ID = [table for table in TABLES if not table.startswith(("audit", "p_ci", "ci_builds"))]


def generated(seed=20221101, each=9):
    chance = random.Random(seed)
    for text in ON_TABLES:
        yield from (text.format(t=table) for table in TABLES)
    for text in ON_RELATIONS:
        yield from (text.format(t=relation) for relation in RELATIONS)
    for text in POSITIONS:
        for _ in range(each):
            a, b, c = chance.sample(TABLES if "TABLESAMPLE" in text else RELATIONS, 3)
            yield text.replace("EXCEPT TABLE ids", "EXCEPT SELECT id FROM {c}").format(
                a=a, b=b, c=c, m=chance.choice([table for table in WITH_ID if table not in ("todos", "snippets")]),
                n=chance.choice([table for table in MERGEABLE if table not in (a, b, c)]))


def statements():
    return WRITTEN + list(generated())
