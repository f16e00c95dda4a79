-- A small piece of GitLab's ci database: its table names, and columns enough for a tour.
CREATE TABLE ci_runners (
    id bigserial PRIMARY KEY,
    description text,
    active boolean NOT NULL DEFAULT true,
    creator_id bigint,
    contacted_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz
);
CREATE TABLE ci_pipelines (
    id bigserial PRIMARY KEY,
    project_id bigint,
    user_id bigint,
    ref text,
    sha text,
    status text NOT NULL DEFAULT 'created',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz
);
CREATE TABLE ci_stages (
    id bigserial PRIMARY KEY,
    pipeline_id bigint REFERENCES ci_pipelines ON DELETE CASCADE,
    project_id bigint,
    name text,
    position integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz
);
CREATE TABLE ci_builds (
    id bigserial PRIMARY KEY,
    commit_id bigint REFERENCES ci_pipelines ON DELETE CASCADE,
    stage_id bigint REFERENCES ci_stages ON DELETE CASCADE,
    runner_id bigint REFERENCES ci_runners,
    project_id bigint,
    user_id bigint,
    name text,
    status text NOT NULL DEFAULT 'created',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz
);
CREATE INDEX index_ci_builds_on_project_id ON ci_builds (project_id);
INSERT INTO ci_runners (description, creator_id) SELECT 'runner ' || n, n FROM generate_series(1, 3) n;
INSERT INTO ci_pipelines (project_id, user_id, ref, sha, status)
    SELECT 1 + n % 20, 1 + n % 10, 'main', md5(n::text), 'success' FROM generate_series(1, 40) n;
INSERT INTO ci_stages (pipeline_id, project_id, name, position)
    SELECT n, 1 + n % 20, 'test', 0 FROM generate_series(1, 40) n;
INSERT INTO ci_builds (commit_id, stage_id, runner_id, project_id, user_id, name, status)
    SELECT 1 + n % 40, 1 + n % 40, 1 + n % 3, 1 + (1 + n % 40) % 20, 1 + n % 10, 'job ' || n, 'success'
    FROM generate_series(1, 120) n;
