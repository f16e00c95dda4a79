-- A small piece of GitLab's main database: its table names, and columns enough for a tour.
CREATE TABLE users (
    id bigserial PRIMARY KEY,
    username text NOT NULL UNIQUE,
    name text,
    email text,
    admin boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz
);
CREATE TABLE namespaces (
    id bigserial PRIMARY KEY,
    name text NOT NULL,
    path text NOT NULL UNIQUE,
    owner_id bigint REFERENCES users,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz
);
CREATE TABLE projects (
    id bigserial PRIMARY KEY,
    name text NOT NULL,
    path text NOT NULL,
    namespace_id bigint REFERENCES namespaces,
    archived boolean NOT NULL DEFAULT false,
    star_count integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz
);
CREATE TABLE issues (
    id bigserial PRIMARY KEY,
    project_id bigint REFERENCES projects ON DELETE CASCADE,
    author_id bigint REFERENCES users,
    title text NOT NULL,
    state text NOT NULL DEFAULT 'opened',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz
);
CREATE TABLE notes (
    id bigserial PRIMARY KEY,
    note text,
    noteable_type text,
    noteable_id bigint,
    project_id bigint,
    author_id bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz
);
INSERT INTO users (username, name, email, admin)
    SELECT 'user' || n, 'User ' || n, 'user' || n || '@example.com', n = 1 FROM generate_series(1, 10) n;
INSERT INTO namespaces (name, path, owner_id) SELECT 'Group ' || n, 'group' || n, n FROM generate_series(1, 5) n;
INSERT INTO projects (name, path, namespace_id)
    SELECT 'Project ' || n, 'project' || n, 1 + n % 5 FROM generate_series(1, 20) n;
INSERT INTO issues (project_id, author_id, title)
    SELECT 1 + n % 20, 1 + n % 10, 'Issue ' || n FROM generate_series(1, 60) n;
INSERT INTO notes (note, noteable_type, noteable_id, project_id, author_id)
    SELECT 'Note ' || n, 'Issue', 1 + n % 60, 1 + n % 20, 1 + n % 10 FROM generate_series(1, 100) n;
