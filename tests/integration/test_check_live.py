"""check --live on real clusters: each thing that stands in the split's way is told, and what doesn't isn't."""

import json
import os
import re
import subprocess

import pytest

from harness import DEMO, PROGRAM, Interlock, Postgres

# The demo's tables and a few that nobody has made.
TABLES = {
    "gitlab_main": ["users", "namespaces", "projects", "issues", "merge_requests", "notes", "audit_events", "plans", "routes"],
    "gitlab_ci": ["ci_runners", "ci_pipelines", "ci_stages", "ci_builds", "ci_pending_builds"],
    "gitlab_shared": ["loose_foreign_keys_deleted_records"],
    "gitlab_internal": ["schema_migrations", "ar_internal_metadata"],
}


@pytest.fixture(scope="module")
def clusters():
    made = [Postgres("main").start(), Postgres("ci").start()]
    yield made
    for cluster in made:
        cluster.close()


@pytest.fixture
def audit(clusters, tmp_path):
    """Fresh databases, `app` of main with its tables and `app_ci` of ci with its own; audit() gives the findings."""
    main, ci = clusters
    for cluster, dbname in ((main, "app"), (ci, "app_ci")):
        cluster.sql(f"DROP DATABASE IF EXISTS {dbname}", "postgres")
    main.create_database("app", DEMO / "main.sql", DEMO / "shared.sql")
    ci.create_database("app_ci", DEMO / "ci.sql", DEMO / "shared.sql")
    (tmp_path / "tables.yml").write_text("".join(f"{t}: :{s}\n" for s, names in TABLES.items() for t in names))
    proxy = Interlock(main, ci, classification={"tables": str(tmp_path / "tables.yml")})

    def run(*arguments, status=None):
        done = subprocess.run([PROGRAM, "check", "--live", "--config", proxy.config, *arguments], capture_output=True, text=True,
                              timeout=60, env={**os.environ, "PGUSER": "postgres"})
        assert status is None or done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
        assert "Sanitizer" not in done.stderr, done.stderr
        return done

    def find(check, *words, status=1, problem=None):
        """The findings of one check whose line has all the words."""
        lines = [json.loads(line) for line in run("--json", status=status).stdout.splitlines()]
        assert all(set(line) == {"check", "severity", "database", "object", "message", "advice"} for line in lines)
        return [line for line in lines if line["check"] == check and all(word in json.dumps(line) for word in words)
                and (problem is None or (line["severity"] == "problem") == problem)]
    find.run, find.main, find.ci, find.proxy, find.tables = run, main, ci, proxy, tmp_path / "tables.yml"
    yield find
    proxy.close()


def test_a_pair_that_is_split_well_is_fine(audit):
    done = audit.run(status=0)
    assert re.search(r"^0 problems, \d+ notes: fine$", done.stdout, re.M)
    assert not re.search(r"^  problem", done.stdout, re.M) and done.stderr == ""


def test_an_unclassified_table_or_view_is_a_problem(audit):
    audit.main.sql("CREATE TABLE nobodys (id int); CREATE VIEW nobodys_view AS SELECT 1 AS one; CREATE TEMP TABLE mine (id int)")
    assert [line["object"] for line in audit("unclassified", problem=True)] == ["public.nobodys", "public.nobodys_view"]


def test_what_an_extension_owns_needs_no_classification(audit):
    audit.main.sql("CREATE EXTENSION pg_stat_statements")
    assert not audit("unclassified", status=0)


def test_a_classified_name_without_a_table_is_a_note(audit):
    (found,) = audit("missing", "ci_pending_builds", status=0)
    assert (found["object"], found["severity"], found["database"]) == ("ci_pending_builds", "note", None)
    assert not audit("missing", "projects", status=0)


def test_a_table_that_is_not_where_it_belongs_is_a_problem(audit):
    audit.main.sql("CREATE TABLE ci_pending_builds (id bigint)")
    (found,) = audit("one_sided", "ci_pending_builds")
    assert found["severity"] == "problem" and "not in ci" in found["message"]
    assert audit("one_sided", "projects")[0]["severity"] == "note"


def test_a_shared_table_that_one_database_lacks_is_a_problem(audit):
    audit.ci.sql("DROP TABLE loose_foreign_keys_deleted_records")
    assert audit("one_sided", "loose_foreign_keys_deleted_records", "not in ci", problem=True)


def copies(audit):
    """Both databases with all tables, as after a copy."""
    for cluster, script in ((audit.main, "ci.sql"), (audit.ci, "main.sql")):
        cluster.sql((DEMO / script).read_text())


def test_foreign_keys_across_the_split_are_problems(audit):
    copies(audit)
    audit.main.sql("ALTER TABLE ci_builds ADD CONSTRAINT fk_far FOREIGN KEY (project_id) REFERENCES projects NOT VALID")
    (found,) = audit("foreign_key")
    assert found["object"] == "public.ci_builds" and found["database"] == "main" and "fk_far" in found["message"]
    assert "projects (gitlab_main)" in found["message"] and "loose foreign key" in found["advice"]


def test_views_rules_and_policies_across_the_split_are_problems(audit):
    copies(audit)
    audit.tables.write_text(audit.tables.read_text() + "both_of_them: :gitlab_main\nbelow: :gitlab_ci\nmat: :gitlab_ci\nfine_view: :gitlab_ci\n")
    audit.ci.sql("CREATE VIEW below AS SELECT * FROM ci_builds; CREATE VIEW fine_view AS SELECT id FROM below;"
                 "CREATE VIEW both_of_them AS SELECT b.id FROM below b JOIN projects p ON p.id = b.project_id;"
                 "CREATE MATERIALIZED VIEW mat AS SELECT count(*) FROM projects;"
                 "CREATE RULE copied AS ON INSERT TO ci_runners DO ALSO INSERT INTO users (username) VALUES (NEW.description);"
                 "CREATE POLICY few ON ci_runners USING (EXISTS (SELECT FROM users u WHERE u.id = creator_id))")
    views = audit("view")
    assert sorted(line["object"] for line in views) == ["public.both_of_them", "public.mat"]
    assert all(line["severity"] == "problem" and line["database"] == "ci" for line in views)
    assert audit("rule", "copied", "users (gitlab_main)") and audit("policy", "few", "public.ci_runners")


def test_functions_are_judged_by_their_bodies(audit):
    audit.main.sql("""
        SET check_function_bodies = off;
        CREATE FUNCTION both_sql() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM projects, ci_builds';
        CREATE FUNCTION both_plpgsql(n int) RETURNS void LANGUAGE plpgsql AS $$
            BEGIN DELETE FROM ci_builds; UPDATE projects SET name = ''; END $$;
        CREATE FUNCTION atomic() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM projects; END;
        CREATE PROCEDURE far() LANGUAGE plpgsql AS $$ BEGIN TRUNCATE ci_builds; END $$;
        CREATE FUNCTION calls_both() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM both_sql(); END $$;
        CREATE FUNCTION calls_on() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM calls_both(); PERFORM calls_on(); END $$;
        CREATE FUNCTION told() RETURNS void LANGUAGE sql AS 'DELETE FROM ci_builds';
        CREATE FUNCTION wrongly_told() RETURNS void LANGUAGE sql AS 'DELETE FROM projects';
        CREATE FUNCTION dynamic(t text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'DELETE FROM ' || t; END $$;""")
    audit.proxy.write_config(classification={"tables": str(audit.tables),
                                             "functions": {"told": "gitlab_ci", "wrongly_told": "gitlab_ci"}})
    assert {line["object"]: line["severity"] for line in audit("function")} == {
        "public.both_sql()": "problem", "public.both_plpgsql(n integer)": "problem", "public.far()": "problem",
        "public.calls_both()": "problem", "public.calls_on()": "problem",
        "public.wrongly_told()": "problem", "public.dynamic(t text)": "note"}


def test_triggers_that_reach_across_the_split_are_problems(audit):
    audit.main.sql("""
        SET check_function_bodies = off;
        CREATE FUNCTION reach() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN DELETE FROM ci_builds WHERE project_id = OLD.id; RETURN OLD; END $$;
        CREATE FUNCTION near() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO loose_foreign_keys_deleted_records DEFAULT VALUES; DELETE FROM issues; RETURN OLD; END $$;
        CREATE TRIGGER reaching BEFORE DELETE ON projects FOR EACH ROW EXECUTE FUNCTION reach();
        CREATE TRIGGER nearby BEFORE DELETE ON projects FOR EACH ROW EXECUTE FUNCTION near()""")
    (found,) = audit("trigger")
    assert found["object"] == "public.projects" and "reaching" in found["message"] and "ci_builds (gitlab_ci)" in found["message"]


def test_a_partition_of_another_databases_table_is_a_problem(audit):
    audit.main.sql("CREATE TABLE audit_events (id bigint) PARTITION BY LIST (id);"
                   "CREATE TABLE audit_events_1 PARTITION OF audit_events FOR VALUES IN (1);"
                   "CREATE TABLE ci_pending_builds PARTITION OF audit_events FOR VALUES IN (2)")
    (found,) = audit("partition")
    assert found["object"] == "public.ci_pending_builds"


def test_unlocked_copies_collide_and_drift_until_they_are_locked(audit):
    copies(audit)
    assert audit("lock", "public.ci_builds", "main") and audit("lock", "public.projects", "ci")
    assert audit("sequence", "public.ci_builds_id_seq", problem=True)
    subprocess.run([PROGRAM, "lock-writes", "--config", audit.proxy.config], check=True, capture_output=True,
                   env={**os.environ, "PGUSER": "postgres"})
    assert not audit("lock", status=0) and not audit("sequence", problem=True, status=0)


def test_sequences_that_take_turns_or_have_ranges_do_not_collide(audit):
    for cluster, start, low in ((audit.main, 1, 1), (audit.ci, 2, 1000001)):
        cluster.sql(f"CREATE SEQUENCE turns_seq INCREMENT 2 START {start};"
                    f"CREATE SEQUENCE ranges_seq MINVALUE {low} MAXVALUE {low + 999999} START {low};"
                    "CREATE SEQUENCE clash_seq; CREATE TABLE plans (id bigint GENERATED ALWAYS AS IDENTITY)")
    assert not audit("sequence", "turns_seq") and not audit("sequence", "ranges_seq")
    assert audit("sequence", "clash_seq", problem=False)
    assert audit("sequence", "plans_id_seq", problem=True)


def test_a_default_that_draws_from_another_databases_sequence_is_a_problem(audit):
    copies(audit)
    audit.main.sql("ALTER TABLE issues ADD COLUMN number bigint DEFAULT nextval('ci_builds_id_seq'),"
                   " ADD COLUMN other bigint DEFAULT nextval('notes_id_seq')")
    (found,) = audit("sequence", "the default")
    assert found["object"] == "public.issues" and found["severity"] == "problem" and found["database"] == "main"
    assert "number" in found["message"] and "ci_builds (gitlab_ci)" in found["message"]


def test_types_with_other_oids_or_labels_are_told(audit):
    audit.main.sql("CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TYPE unused AS ENUM ('a');"
                   "CREATE TYPE labels AS ENUM ('a', 'b'); CREATE DOMAIN age AS int;"
                   "ALTER TABLE projects ADD mood mood, ADD age age")
    audit.ci.sql("CREATE TYPE padding AS ENUM (); CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TYPE unused AS ENUM ('a');"
                 "CREATE TYPE labels AS ENUM ('a'); CREATE DOMAIN age AS int")
    mood = audit("type", "public.mood", "OID")
    assert mood[0]["severity"] == "problem" and "binary" in mood[0]["message"]
    assert audit("type", "public.unused", "OID", problem=False) and audit("type", "public.age", "OID", problem=False)
    assert audit("type", "public.labels", "differently", problem=True)
    assert audit("type", "public.padding", "not in main", problem=False)


def test_an_extensions_types_are_told_with_its_name(audit):
    audit.main.sql("CREATE EXTENSION hstore")
    audit.ci.sql("CREATE EXTENSION citext; CREATE EXTENSION hstore")
    assert audit("type", "public.hstore", "extension hstore", "OID", status=0)


def test_settings_that_differ_are_problems(audit):
    audit.ci.sql("ALTER DATABASE app_ci SET timezone = 'Asia/Tokyo'; ALTER DATABASE app_ci SET search_path = 'other', public;"
                 "ALTER DATABASE app_ci SET standard_conforming_strings = off; ALTER DATABASE app_ci SET datestyle = 'German'")
    found = {line["object"]: line for line in audit("setting", problem=True)}
    assert set(found) == {"TimeZone", "search_path", "standard_conforming_strings", "DateStyle"}
    assert found["TimeZone"]["message"] == '"UTC" in main, "Asia/Tokyo" in ci'


def test_another_encoding_and_collation_are_problems(audit):
    audit.ci.sql("DROP DATABASE app_ci", "postgres")
    audit.ci.sql("CREATE DATABASE app_ci ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0", "postgres")
    found = {line["object"] for line in audit("setting", problem=True)}
    assert {"encoding", "collation"} <= found


def test_a_role_that_owns_tables_on_one_side_only_is_a_problem(audit):
    for name in ("owner_here", "nobody_here"):
        audit.main.sql(f"DO $$ BEGIN CREATE ROLE {name} LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
    audit.main.sql("CREATE TABLE routes (id int); ALTER TABLE routes OWNER TO owner_here")
    try:
        assert audit("role", "owner_here")[0]["severity"] == "problem"
        assert audit("role", "nobody_here")[0]["severity"] == "note"
    finally:
        audit.main.sql("DROP OWNED BY owner_here, nobody_here; DROP ROLE owner_here, nobody_here")


def test_one_database_checked_as_two_tells_what_its_split_would_break(audit):
    audit.main.sql((DEMO / "ci.sql").read_text())
    audit.main.sql("ALTER TABLE ci_builds ADD CONSTRAINT fk_far FOREIGN KEY (project_id) REFERENCES projects NOT VALID")
    audit.proxy.write_config(databases={"main": audit.main.conninfo(), "ci": {"same_as": "main"}})
    assert audit("foreign_key", "fk_far", problem=True)
    assert not audit("lock") and not audit("sequence") and not audit("one_sided")


def test_text_is_one_line_each_under_a_heading(audit):
    audit.main.sql('CREATE TABLE "odd\nname" (id int)')
    text = audit.run(status=1).stdout
    assert re.search(r"^tables and views without a classification:\n  problem  main +public\.odd\?name: .*: add it to the"
                     r" classification$", text, re.M)
    assert re.search(r"^1 problem, \d+ notes?$", text, re.M)
    assert text.startswith("configuration: ")


def test_a_database_that_is_down_is_named_and_the_other_is_checked(audit):
    audit.main.sql("CREATE TABLE nobodys (id int)")
    audit.proxy.write_config(databases={"main": audit.main.conninfo(), "ci": "host=127.0.0.1 port=1 dbname=x password=secret"})
    done = audit.run("--json", status=2)
    assert re.match(r"\S+\.yml:\d+: database ci \(.*host=127\.0\.0\.1.*\) can't be reached: ", done.stderr)
    assert done.stderr.count("\n") == 1 and "secret" not in done.stderr + done.stdout
    assert [line["object"] for line in map(json.loads, done.stdout.splitlines()) if line["check"] == "unclassified"] == [
        "public.nobodys"]


def test_json_without_live_is_bad_usage(audit):
    done = subprocess.run([PROGRAM, "check", "--json", "--config", audit.proxy.config], capture_output=True, text=True)
    assert done.returncode == 2 and "--live" in done.stderr and done.stderr.count("\n") == 1
