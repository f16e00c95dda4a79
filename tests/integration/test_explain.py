"""What `pginterlock explain` prints and how it ends, and what a rule's mode changes in it.

The program is $PGINTERLOCK, by default build/release/pginterlock.
"""
import json
import subprocess

import pytest

from test_cases import DATA, PROGRAM

SETTINGS = """
databases:
  main: "host=127.0.0.1 port=5432 dbname=app"
  ci: {ci}
classification:
  tables: {data}/gitlab_schemas.yml
  functions: {{archive_build: gitlab_ci}}
entrypoints: {{app: routed, app_main: main, app_ci: ci}}
auth: {{method: trust}}
rules: {{{rules}}}
"""
APART, ONE = '"host=127.0.0.1 port=5433 dbname=app_ci"', "{same_as: main}"


@pytest.fixture
def explain(tmp_path):
    def run(*arguments, rules="", ci=APART, stdin=""):
        config = tmp_path / "pginterlock.yml"
        config.write_text(SETTINGS.format(ci=ci, data=DATA, rules=rules))
        command = [PROGRAM, "explain", "--config", config, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture
def answers(explain):
    def run(sql, *arguments, **settings):
        return [json.loads(line) for line in explain("--json", *arguments, sql, **settings).stdout.splitlines()]

    return run


def rules_of(told):
    return [answer["violation"] and answer["violation"]["rule"] for answer in told]


def test_an_answer_has_every_field(answers):
    (answer,) = answers(" SELECT 1 FROM projects ;")
    assert answer == {
        "statement": "SELECT 1 FROM projects",
        "kind": "select",
        "tables": [{"name": "projects", "gitlab_schema": "gitlab_main", "database": "main", "access": "read"}],
        "database": "main",
        "parsed": True,
        "violation": None,
    }


def test_a_violation_has_every_field(answers):
    (answer,) = answers("SELECT 'é' FROM projects p, ci_builds b")
    violation = answer["violation"]
    assert sorted(violation) == ["detail", "hint", "message", "position", "rule", "sqlstate"]
    assert (violation["rule"], violation["sqlstate"]) == ("cross_join", "XD001")
    assert violation["position"] == 1 + "SELECT 'é' FROM projects p, ci_builds b".index("ci_builds")
    assert "projects (gitlab_main, database main)" in violation["detail"]
    assert "ci_builds (gitlab_ci, database ci)" in violation["detail"]
    assert answer["database"] == "none"


@pytest.mark.parametrize(
    "sql, rule, sqlstate, at, entrypoint",
    [
        ("SELECT 1 FROM nowhere", "unclassified", "XD005", "nowhere", "app"),
        ("SELEC projects, ci_refs", "unparsed", "XD006", "ci_refs", "app"),
        ("ALTER TABLE ci_refs ADD FOREIGN KEY (a) REFERENCES users", "cross_foreign_key", "XD003", "users", "app"),
        ("SELECT 1 FROM detached_partitions, ci_refs, users", "cross_join", "XD001", "users", "app"),
        ("DELETE FROM\n ci_refs", "write_lock", "2F002", "ci_refs", "app_main"),
        ("SELECT 1 FROM ci_refs", "wrong_database", "XD004", "ci_refs", "app_main"),
        ("SELECT nextval('ci_refs_id_seq')", "wrong_database", "XD004", "'ci_refs", "app_main"),
        ("DROP TABLE users, ci_refs", "cross_join", "XD001", "ci_refs", "app"),
        ("DO $$ BEGIN DELETE FROM ci_refs; END $$", "write_lock", "2F002", "ci_refs", "app_main"),
    ],
)
def test_the_position_is_that_of_the_offending_table(answers, sql, rule, sqlstate, at, entrypoint):
    (answer,) = answers(sql, "--entrypoint", entrypoint)
    violation = answer["violation"]
    assert (violation["rule"], violation["sqlstate"]) == (rule, sqlstate)
    assert violation["position"] == 1 + sql.index(at)


def test_a_position_counts_from_its_own_statement(answers):
    assert answers("SELECT 1; /* é */ SELECT 1 FROM nowhere")[1]["violation"]["position"] == 23


def test_the_write_lock_speaks_as_the_trigger_does(answers):
    violation = answers("DELETE FROM ci_refs", "--entrypoint", "app_main")[0]["violation"]
    assert violation["message"] == 'Table: "ci_refs" is write protected within this Gitlab database.'
    assert violation["hint"].startswith("Make sure you are using the right database connection")


def test_a_transactions_detail_tells_what_modified_before_without_its_literals(answers):
    told = answers("BEGIN; UPDATE users SET name = 'secret'; SELECT 1; DELETE FROM ci_refs WHERE id = 4711")
    assert rules_of(told) == [None, None, None, "cross_transaction"]
    detail = told[3]["violation"]["detail"]
    assert "ci_refs (gitlab_ci, database ci)" in detail and "UPDATE users (gitlab_main, database main)" in detail
    assert "secret" not in detail and "4711" not in detail


def test_what_two_databases_cannot_prepare_is_unroutable(answers):
    told = answers("BEGIN; SELECT 1 FROM users; SELECT 1 FROM ci_refs; PREPARE TRANSACTION 'x'")
    assert (told[3]["violation"]["rule"], told[3]["violation"]["sqlstate"]) == ("unroutable", "XD007")


@pytest.mark.parametrize(
    "sql, database",
    [
        ("SELECT 1", "any"),
        ("SELECT 1 FROM detached_partitions", "any"),
        ("COMMIT", "all"),
        ("SET work_mem = '1MB'", "all"),
        ("SHOW pginterlock.database", "none"),
        ("SELECT 1 FROM users, ci_refs", "none"),
        ("SELECT 1 FROM users", "main"),
        ("DELETE FROM detached_partitions", "main"),
        ("DELETE FROM ci_refs", "ci"),
    ],
)
def test_the_database_is_one_or_any_or_all_or_none(answers, sql, database):
    assert answers(sql)[0]["database"] == database


@pytest.mark.parametrize(
    "sql, access",
    [
        ("SELECT 1 FROM ci_refs", "read"),
        ("SELECT 1 FROM ci_refs a, ci_refs b FOR SHARE OF b", "lock"),
        ("CREATE INDEX ON ci_refs (id)", "ddl"),
        ("UPDATE ci_refs SET id = (SELECT max(id) FROM ci_refs)", "write"),
        ("LOCK ci_refs", "read"),
        ("EXPLAIN DELETE FROM ci_refs", "read"),
        ("EXPLAIN ANALYZE DELETE FROM ci_refs", "write"),
        ("COPY ci_refs FROM STDIN", "write"),
    ],
)
def test_the_access_is_the_strongest(answers, sql, access):
    assert [table["access"] for table in answers(sql)[0]["tables"]] == [access]


def test_what_cannot_be_parsed_says_so(answers):
    (answer,) = answers("SELEC ci_refs")
    assert answer["parsed"] is False and answer["violation"] is None and answer["database"] == "ci"


def test_a_failed_block_answers_25P02(answers):
    told = answers("BEGIN; SELECT 1 FROM nowhere; SELECT 1; ROLLBACK; SELECT 1 FROM users")
    assert (told[2]["database"], told[2]["error"]["sqlstate"]) == ("none", "25P02")
    assert told[4]["database"] == "main"


def test_a_database_that_is_none_is_22023(answers):
    assert answers("SET pginterlock.database = 'nowhere'")[0]["error"]["sqlstate"] == "22023"


def test_a_functions_database_is_told(answers):
    (violation,) = [answer["violation"] for answer in answers("SELECT archive_build(1) FROM users")]
    assert violation["message"].endswith("main and ci")
    assert "permits it" not in violation["hint"]


@pytest.mark.parametrize(
    "arguments, stdin, status",
    [
        (["SELECT 1 FROM users"], "", 0),
        (["SELECT 1 FROM users, ci_refs"], "", 1),
        ([], "SELECT 1 FROM users;\n", 0),
        (["-f", "-"], "SELECT 1 FROM nowhere\n", 1),
        ([""], "", 0),
        (["SELECT 1", "SELECT 2"], "", 2),
        (["SELECT 1", "-f", "-"], "", 2),
        (["-f", "/nonexistent.sql"], "", 2),
        (["--entrypoint", "nowhere", "SELECT 1"], "", 2),
        (["--nonsense"], "", 2),
    ],
)
def test_the_exit_status_tells_violations_from_bad_usage(explain, arguments, stdin, status):
    run = explain(*arguments, stdin=stdin)
    assert run.returncode == status
    assert (len(run.stderr.splitlines()) == 1) == (status == 2)


def test_the_text_has_a_caret_under_the_table(explain):
    lines = explain("SELECT 'é'\n FROM users,\n  ci_refs").stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if "LINE 3:" in line)
    assert lines[at + 1].index("^") == lines[at].index("ci_refs")


@pytest.mark.parametrize("mode", ["report", "off"])
@pytest.mark.parametrize(
    "rule, sql, entrypoint, database",
    [
        ("unclassified", "SELECT 1 FROM nowhere", "app", "main"),
        ("wrong_database", "SELECT 1 FROM ci_refs", "app_main", "main"),
        ("write_lock", "DELETE FROM ci_refs", "app_main", "main"),
    ],
)
def test_a_rule_that_is_not_enforced_lets_pass(answers, rule, mode, sql, entrypoint, database):
    (answer,) = answers(sql, "--entrypoint", entrypoint, rules=f"{rule}: {mode}")
    assert (answer["violation"], answer["database"]) == (None, database)
    assert [seen["rule"] for seen in answer.get("observed", [])] == ([rule] if mode == "report" else [])


@pytest.mark.parametrize("mode", ["report", "off"])
def test_no_mode_makes_two_databases_one(answers, mode):
    (answer,) = answers("SELECT 1 FROM users, ci_refs", rules=f"cross_join: {mode}")
    assert answer["violation"]["rule"] == "cross_join" and "No single database" in answer["violation"]["detail"]
    assert rules_of(answers("SELECT 1 FROM users, ci_refs", rules=f"cross_join: {mode}", ci=ONE)) == [None]


@pytest.mark.parametrize("mode", ["report", "off"])
def test_a_table_without_a_class_counts_as_mains(answers, mode):
    told = answers("SELECT 1 FROM nowhere, ci_refs; CREATE TABLE nowhere (a int REFERENCES ci_refs)", rules=f"unclassified: {mode}")
    assert rules_of(told) == ["cross_join", "cross_foreign_key"]
    assert told[0]["violation"]["position"] == 24
    told = answers("DELETE FROM nowhere", "--entrypoint", "app_ci", rules=f"unclassified: {mode}")
    assert rules_of(told) == ["write_lock"]


@pytest.mark.parametrize("mode", ["report", "off"])
def test_a_transaction_over_two_passes_where_it_is_not_enforced(answers, mode):
    told = answers("BEGIN; DELETE FROM users; DELETE FROM ci_refs; DELETE FROM users; COMMIT", rules=f"cross_transaction: {mode}")
    assert [answer["database"] for answer in told] == ["all", "main", "ci", "main", "all"]
    assert rules_of(told) == [None] * 5


@pytest.mark.parametrize("verb", ["ROLLBACK TO", "RELEASE"])
def test_a_savepoint_that_is_not_there_fails_the_block(answers, verb):
    told = answers(f"BEGIN; SAVEPOINT a; {verb} nosuch; SELECT 1; ROLLBACK TO a; SELECT 1; ROLLBACK; SELECT 1")
    assert [answer.get("error", {}).get("sqlstate") for answer in told] == \
        [None, None, "3B001", "25P02", None, None, None, None]


def test_what_the_words_get_wrong_is_an_error(answers):
    told = answers("/* database: nosuch */ SELECT 1; SET pginterlock.allowed_gitlab_schemas = 'gitlab_mian'; SELECT 1 FROM ci_builds")
    assert [answer.get("error", {}).get("sqlstate") for answer in told] == ["22023", "22023", None]
    assert [answer["database"] for answer in told] == ["none", "none", "ci"]


def test_an_ignored_outer_transaction_is_explained_so(answers):
    sql = ("BEGIN; DELETE FROM projects; DELETE FROM ci_builds; SAVEPOINT a; DELETE FROM projects; DELETE FROM ci_builds;"
           " ROLLBACK TO a; DELETE FROM ci_builds")
    assert rules_of(answers(sql, rules="outer_transaction: ignore")) == \
        [None, None, None, None, None, "cross_transaction", None, None]


@pytest.mark.parametrize("sql, dynamic", [
    ("DO $$ BEGIN EXECUTE 'DELETE FROM ' || current_schema; END $$", True),
    ("CREATE FUNCTION f(t text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE t; END $$", True),
    ("SELECT query_to_xml($1, true, false, '')", True), ("SELECT nextval($1)", True),
    ("SELECT schema_to_xml('public', true, false, '')", True), ("SELECT nextval('projects_id_seq')", False),
    ("SELECT nextval(pg_get_serial_sequence('projects', 'id'))", False), ("DO $$ BEGIN PERFORM 1; END $$", False)])
def test_sql_that_is_made_while_it_runs_is_marked(answers, explain, sql, dynamic):
    (answer,) = answers(sql)
    assert answer.get("dynamic", False) == dynamic
    assert ("made while it runs" in explain(sql).stdout) == dynamic


def test_executing_what_is_dynamic_is_marked_too(answers):
    told = answers("PREPARE p AS SELECT query_to_xml($1, true, false, ''); EXECUTE p('SELECT 1'); EXECUTE q")
    assert [answer.get("dynamic", False) for answer in told] == [True, True, False]
