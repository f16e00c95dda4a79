"""SET pginterlock.allowed_gitlab_schemas restricts a session as GitLab's restrict_gitlab_migration does a migration."""

import psycopg
import pytest

import wire
from harness import fails, one, rejected

NAME = "pginterlock.allowed_gitlab_schemas"
RULE = "allowed_gitlab_schemas"
READ_MAIN = "SELECT count(*) FROM projects"
READ_CI = "SELECT count(*) FROM ci_builds"


def test_data_of_the_schema_only(db, unique):
    db.execute(f"SET {NAME} = 'gitlab_main'")
    assert one(db, f"SHOW {NAME}") == "gitlab_main"
    db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))
    with rejected("XD008", RULE, "ci_builds") as seen:
        db.execute(READ_CI)
    assert seen.diag.statement_position == "22"
    assert "ci_builds (gitlab_ci, database ci) read" in seen.diag.message_detail
    with rejected("XD008", RULE, "issues"):
        db.execute("ALTER TABLE issues ADD COLUMN nothing int")
    db.execute(f"RESET {NAME}")
    assert one(db, READ_CI) > 0


def test_structure_only(db, proxy):
    db.execute(f"SET {NAME} = ''")
    with rejected("XD008", RULE, "projects"):
        db.execute(READ_MAIN)
    db.execute("CREATE TABLE ci_refs (id bigserial PRIMARY KEY, name text)")
    try:
        db.execute("CREATE INDEX index_ci_refs_on_name ON ci_refs (name)")
        with rejected("XD008", RULE, "ci_refs"):
            db.execute("INSERT INTO ci_refs (name) VALUES ('x')")
        assert one(db, "SELECT count(*) FROM pg_class WHERE relname = 'ci_refs'") == 1
        assert one(db, "SELECT count(*) FROM schema_migrations") >= 0
    finally:
        proxy.ci.sql("DROP TABLE ci_refs")


def test_an_unknown_schema_is_refused_with_those_that_are_known(db):
    with fails("22023") as seen:
        db.execute(f"SET {NAME} = 'gitlab_main, gitlab_mian'")
    assert '"gitlab_mian" is no gitlab_schema' in seen.diag.message_primary
    assert "gitlab_main" in seen.diag.message_hint and "gitlab_ci" in seen.diag.message_hint
    assert one(db, READ_CI) > 0


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_set_local_ends_with_the_transaction(db, end):
    db.execute("BEGIN")
    db.execute(f"SET LOCAL {NAME} = 'gitlab_ci'")
    assert one(db, READ_CI) > 0
    with rejected("XD008"):
        db.execute(READ_MAIN)
    db.execute(end)
    assert one(db, f"SHOW {NAME}") == ""
    assert one(db, READ_MAIN) > 0


def test_a_rollback_undoes_it(db):
    db.execute("BEGIN")
    db.execute("SAVEPOINT s")
    db.execute(f"SET {NAME} = ''")
    with rejected("XD008"):
        db.execute(READ_MAIN)
    db.execute("ROLLBACK TO s")
    assert one(db, READ_MAIN) > 0
    db.execute("ROLLBACK")


@pytest.mark.parametrize("end", ["RESET ALL", "DISCARD ALL", f"SET {NAME} TO DEFAULT"])
def test_it_ends(db, end):
    db.execute(f"SET {NAME} = ''")
    with rejected("XD008"):
        db.execute(READ_MAIN)
    db.execute(end)
    assert one(db, READ_MAIN) > 0


def test_startup_options_set_it(proxy):
    with proxy.connect(options=f"-c {NAME}=gitlab_ci") as db:
        assert one(db, f"SHOW {NAME}") == "gitlab_ci"
        assert one(db, READ_CI) > 0
        with rejected("XD008", RULE):
            db.execute(READ_MAIN)
    with pytest.raises(psycopg.OperationalError, match="is no gitlab_schema"):
        proxy.connect(options=f"-c {NAME}=gitlab_mian")


def test_set_config_sets_it(db):
    db.execute(f"SELECT set_config('{NAME}', 'gitlab_ci', false)")
    with rejected("XD008", RULE):
        db.execute(READ_MAIN)


def test_set_config_counts_for_what_stands_behind_it_in_the_message(db):
    with rejected("XD008", RULE):
        db.execute(f"SELECT set_config('{NAME}', 'gitlab_ci', false); SELECT count(*) FROM projects; {READ_CI}")


def test_set_config_counts_for_what_stands_behind_it_in_the_pipeline(proxy):
    with proxy.connect(autocommit=False) as db:
        with rejected("XD008", RULE), db.pipeline():
            db.execute(f"SELECT set_config('{NAME}', 'gitlab_ci', false)")
            db.execute(READ_MAIN)
        db.rollback()


def test_set_config_with_a_parameter_is_refused(db):
    with fails("0A000"):
        db.execute(f"SELECT set_config('{NAME}', %s, false)", ("gitlab_ci",))
    with fails("22023") as seen:
        db.execute(f"SELECT set_config('{NAME}', 'gitlab_mian', false)")
    assert "gitlab_main" in seen.diag.message_hint


def test_what_was_prepared_before_is_held_against_it(db):
    db.execute("PREPARE own AS SELECT count(*) FROM ci_builds")
    for _ in range(2):  # with a name, by the protocol
        db.execute(READ_CI, prepare=True)
    db.execute(f"SET {NAME} = 'gitlab_main'")
    with rejected("XD008", RULE):
        db.execute("EXECUTE own")
    with rejected("XD008", RULE):
        db.execute(READ_CI, prepare=True)
    with rejected("XD008", RULE):
        db.execute("EXPLAIN ANALYZE EXECUTE own")
    db.execute(f"RESET {NAME}")
    assert one(db, READ_CI) > 0


def test_a_cursor_is_held_against_it(db):
    db.execute("BEGIN")
    db.execute("DECLARE c CURSOR FOR SELECT id FROM ci_builds")
    db.execute("FETCH 1 FROM c")
    db.execute(f"SET LOCAL {NAME} = 'gitlab_main'")
    with rejected("XD008", RULE):
        db.execute("FETCH 1 FROM c")
    db.execute("ROLLBACK")


def test_copy_is_held_against_it(db):
    db.execute(f"SET {NAME} = 'gitlab_main'")
    with rejected("XD008", RULE, "ci_builds"), db.cursor().copy("COPY ci_builds TO STDOUT") as copy:
        copy.read()
    with db.cursor().copy("COPY projects TO STDOUT") as copy:
        assert len(b"".join(copy)) > 0


def test_a_block_fails_until_it_is_rolled_back(db):
    db.execute(f"SET {NAME} = 'gitlab_main'")
    db.execute("BEGIN")
    with rejected("XD008"):
        db.execute(READ_CI)
    with fails("25P02"):
        db.execute(READ_MAIN)
    db.execute("ROLLBACK")
    assert one(db, READ_MAIN) > 0


def test_it_holds_on_a_pinned_entrypoint(proxy):
    with proxy.connect("app_ci") as db:
        db.execute(f"SET {NAME} = 'gitlab_main'")
        with rejected("XD008", RULE):
            db.execute(READ_CI)


# --- a comment that names no database ---

def test_a_comment_that_names_no_database_is_refused_with_those_that_are_known(db):
    with fails("22023") as seen:
        db.execute("/* database: nosuch */ SELECT 1")
    assert '"nosuch" is no database' in seen.diag.message_primary
    assert seen.diag.message_hint == "Databases: main, ci."
    assert seen.diag.source_function == "pginterlock"
    with fails("22023"):
        db.execute("/* database: nosuch */ SELECT %s::int", (1,))


def test_it_keeps_no_block_from_ending(db):
    db.execute("BEGIN")
    with fails("22023"):
        db.execute("/* database: nosuch */ SELECT 1")
    db.execute("ROLLBACK /* database: nosuch */")
    assert one(db, READ_MAIN) > 0


# --- statements that run another ---

def test_create_table_as_execute_in_explain_analyze_counts_what_it_reads(db, proxy):
    db.execute("PREPARE own AS SELECT id FROM ci_builds")
    with rejected("XD001", "cross_join"):
        db.execute("EXPLAIN ANALYZE CREATE TABLE issue_links AS EXECUTE own")
    try:
        db.execute("EXPLAIN ANALYZE CREATE TABLE ci_refs AS EXECUTE own")
        assert proxy.ci.value("SELECT count(*) FROM ci_refs") > 0
    finally:
        proxy.ci.sql("DROP TABLE IF EXISTS ci_refs")


def test_what_the_protocol_prepared_counts_where_sql_runs_it(proxy):
    def sqlstates(*parts):
        return [error["C"] for error in wire.errors(client.exchange(*parts))]
    with wire.connect("127.0.0.1", proxy.port, "app", "app") as client:
        client.exchange(wire.parse("q", "DELETE FROM ci_runners WHERE id < 0"), wire.sync())
        assert sqlstates(wire.query("BEGIN; DELETE FROM issues WHERE id < 0")) == []
        assert sqlstates(wire.query("EXPLAIN EXECUTE q")) == []
        assert sqlstates(wire.query("EXPLAIN ANALYZE EXECUTE q")) == ["XD002"]
        client.query("ROLLBACK")
        assert sqlstates(wire.query("EXPLAIN ANALYZE EXECUTE q")) == []
        client.exchange(wire.parse("r", "SELECT id FROM ci_builds"), wire.sync())
        assert sqlstates(wire.query("CREATE TABLE issue_links AS EXECUTE r")) == ["XD001"]
        assert sqlstates(wire.query("CREATE TEMP TABLE ids AS EXECUTE r")) == []
