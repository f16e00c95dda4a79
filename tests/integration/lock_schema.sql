-- What test_lock_oracle.py runs its statements on: tables of both gitlab schemas in one database, tied together in every
-- way that PostgreSQL knows. Every table has id, name, project_id and status, so that one statement fits them all.
CREATE TABLE users (id bigint PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0);
CREATE TABLE namespaces (id bigint PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0, owner_id bigint REFERENCES users);
CREATE TABLE projects (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0,
    namespace_id bigint REFERENCES namespaces ON DELETE CASCADE);
CREATE TABLE issues (id bigserial PRIMARY KEY, name text, project_id bigint REFERENCES projects ON DELETE CASCADE, status int DEFAULT 0);
CREATE TABLE merge_requests (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text,
    project_id bigint REFERENCES projects ON DELETE SET NULL, status int DEFAULT 0);
CREATE TABLE notes (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0);
CREATE TABLE members (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0);
CREATE TABLE labels (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0,
    doubled int GENERATED ALWAYS AS (status * 2) STORED);
CREATE TABLE label_links (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0, label_id bigint REFERENCES labels);
CREATE TABLE keys (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0);
CREATE TABLE todos (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0);
CREATE TABLE snippets (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0);
CREATE TABLE web_hooks (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0);
CREATE TABLE milestones (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0);
CREATE TABLE routes (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0);
CREATE TABLE audit_events (id bigint NOT NULL, name text, project_id bigint, status int NOT NULL DEFAULT 0) PARTITION BY LIST (status);
CREATE TABLE audit_events_0 PARTITION OF audit_events FOR VALUES IN (0, 1, 2, 3);
CREATE TABLE audit_events_4 PARTITION OF audit_events DEFAULT;
CREATE TABLE uploads (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0);
CREATE TABLE user_uploads () INHERITS (uploads);

CREATE TABLE ci_runners (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0);
CREATE TABLE ci_pipelines (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0);
CREATE TABLE ci_stages (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0,
    pipeline_id bigint REFERENCES ci_pipelines ON DELETE CASCADE);
CREATE TABLE p_ci_builds (id bigint NOT NULL, name text, project_id bigint, status int NOT NULL DEFAULT 0,
    PRIMARY KEY (id, status)) PARTITION BY RANGE (status);
CREATE TABLE ci_builds PARTITION OF p_ci_builds FOR VALUES FROM (0) TO (100);
CREATE TABLE ci_builds_100 PARTITION OF p_ci_builds FOR VALUES FROM (100) TO (200);
CREATE TABLE ci_minutes (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0);
CREATE TABLE ci_variables (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0);
CREATE TABLE ci_triggers (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0);
CREATE TABLE ci_refs (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0);
CREATE TABLE ci_namespace_mirrors (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0);
CREATE TABLE ci_unit_tests (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0);
CREATE TABLE loose_foreign_keys_deleted_records (id bigserial PRIMARY KEY, name text, project_id bigint, status int DEFAULT 0);
CREATE TABLE schema_migrations (id bigint, name text, project_id bigint, status int DEFAULT 0);

-- views, in views; materialized ones
CREATE VIEW project_routes_view AS SELECT p.id, p.name, p.project_id, p.status FROM projects p JOIN routes r ON r.project_id = p.id;
CREATE VIEW active_projects_view AS SELECT * FROM project_routes_view WHERE status = 0;
CREATE VIEW notes_view AS SELECT * FROM notes;
CREATE MATERIALIZED VIEW milestone_counts AS SELECT count(*) AS id, '' AS name, project_id, 0 AS status FROM milestones GROUP BY project_id;
CREATE VIEW ci_builds_views_100 AS SELECT id, name, project_id, status FROM p_ci_builds;
CREATE MATERIALIZED VIEW ci_counts AS SELECT count(*) AS id, '' AS name, project_id, 0 AS status FROM ci_builds_views_100 GROUP BY project_id;

-- functions, which triggers, defaults and statements call
CREATE FUNCTION track_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO loose_foreign_keys_deleted_records (name) VALUES (TG_TABLE_NAME); RETURN NULL; END $$;
CREATE FUNCTION touch_project() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN UPDATE projects SET status = status WHERE id = NEW.project_id; RETURN NEW; END $$;
CREATE FUNCTION count_minutes() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO ci_minutes (name) VALUES ('x'); RETURN NULL; END $$;
CREATE FUNCTION next_milestone() RETURNS bigint LANGUAGE sql AS 'SELECT max(id) + 1 FROM milestones';
CREATE FUNCTION runner_count() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM ci_runners';
CREATE FUNCTION member_count() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM members; END;
CREATE FUNCTION hook_count() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(*) FROM web_hooks); END $$;
CREATE PROCEDURE clear_variables() LANGUAGE plpgsql AS $$ BEGIN DELETE FROM ci_variables; END $$;
CREATE TRIGGER track AFTER DELETE ON projects FOR EACH ROW EXECUTE FUNCTION track_deleted();
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON issues FOR EACH ROW EXECUTE FUNCTION touch_project();
CREATE TRIGGER minutes AFTER UPDATE ON p_ci_builds FOR EACH ROW EXECUTE FUNCTION count_minutes();
CREATE RULE log_todo AS ON INSERT TO todos DO ALSO INSERT INTO audit_events (id, name) VALUES (1, 'todo');
CREATE POLICY own ON notes USING (EXISTS (SELECT FROM members m WHERE m.project_id = notes.project_id) OR true);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
ALTER TABLE notes FORCE ROW LEVEL SECURITY;

-- what crosses the split: check --live has to know each of these
CREATE FUNCTION mirror_namespace() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN UPDATE ci_namespace_mirrors SET name = NEW.name; RETURN NEW; END $$;
CREATE TRIGGER mirror AFTER UPDATE ON namespaces FOR EACH ROW EXECUTE FUNCTION mirror_namespace();
ALTER TABLE ci_refs ADD CONSTRAINT fk_projects FOREIGN KEY (project_id) REFERENCES projects ON DELETE CASCADE;
CREATE RULE drop_variables AS ON DELETE TO snippets DO ALSO DELETE FROM ci_variables WHERE project_id = OLD.project_id;
CREATE POLICY far ON keys USING (EXISTS (SELECT FROM ci_triggers) OR true);
ALTER TABLE keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE keys FORCE ROW LEVEL SECURITY;
CREATE VIEW group_wikis_routes_view AS SELECT p.id, p.name, p.project_id, p.status FROM projects p JOIN ci_pipelines c ON c.project_id = p.id;
CREATE TABLE ci_unit_test_failures () INHERITS (uploads);

INSERT INTO users SELECT n, 'n', n, 0 FROM generate_series(1, 5) n;
INSERT INTO namespaces SELECT n, 'n', n, 0, n FROM generate_series(1, 5) n;
INSERT INTO projects (name, project_id, namespace_id) SELECT 'n', n, n FROM generate_series(1, 5) n;
INSERT INTO issues (name, project_id) SELECT 'n', n FROM generate_series(1, 5) n;
INSERT INTO merge_requests (name, project_id) SELECT 'n', n FROM generate_series(1, 5) n;
INSERT INTO labels (name, project_id) SELECT 'n', n FROM generate_series(1, 5) n;
INSERT INTO label_links (name, project_id, label_id) SELECT 'n', n, n FROM generate_series(1, 5) n;
INSERT INTO audit_events SELECT n, 'n', n, n FROM generate_series(1, 5) n;
INSERT INTO ci_pipelines (name, project_id) SELECT 'n', n FROM generate_series(1, 5) n;
INSERT INTO ci_stages (name, project_id, pipeline_id) SELECT 'n', n, n FROM generate_series(1, 5) n;
INSERT INTO p_ci_builds SELECT n, 'n', n, n * 30 FROM generate_series(1, 5) n;
INSERT INTO ci_refs (name, project_id) SELECT 'n', n FROM generate_series(1, 5) n;
DO $$ DECLARE t text; BEGIN
    FOREACH t IN ARRAY '{notes,members,keys,todos,snippets,web_hooks,milestones,routes,uploads,user_uploads,ci_runners,ci_minutes,ci_variables,ci_triggers,ci_namespace_mirrors,ci_unit_tests}'::text[] LOOP
        EXECUTE format('INSERT INTO %I (name, project_id) SELECT ''n'', n FROM generate_series(1, 5) n', t);
    END LOOP;
END $$;
