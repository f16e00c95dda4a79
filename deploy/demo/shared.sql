-- Tables that every one of GitLab's databases has a copy of.
CREATE TABLE schema_migrations (
    version text PRIMARY KEY
);
CREATE TABLE loose_foreign_keys_deleted_records (
    id bigserial PRIMARY KEY,
    fully_qualified_table_name text NOT NULL,
    primary_key_value bigint NOT NULL,
    status smallint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO schema_migrations VALUES ('20221101000000');
