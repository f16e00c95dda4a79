"""`pginterlock lint`: SQL files, logs of a real server in its three formats and any log_line_prefix, and CSV of
pg_stat_statements."""

import json
import os
import pathlib
import pty
import subprocess
import xml.etree.ElementTree

import psycopg
import pytest

from harness import DATA, DEMO, PROGRAM, Postgres

SETTINGS = f"""\
databases:
  main: "host=127.0.0.1 port=5432 dbname=app"
  ci: "host=127.0.0.1 port=5433 dbname=app_ci"
classification: {{tables: {DATA}/gitlab_schemas.yml}}
entrypoints: {{app: routed, app_main: main, app_ci: ci}}
auth: {{method: trust}}
"""
JOIN = "SELECT p.id FROM projects p JOIN ci_builds b ON b.project_id = p.id WHERE p.name = 'hunter2'"
SECRET = "hunter2"


class Linter:
    def __init__(self, folder):
        self.folder = folder
        self.config = folder / "pginterlock.yml"
        self.config.write_text(SETTINGS)

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def run(self, *arguments, stdin=b""):
        return subprocess.run([PROGRAM, "lint", "--config", self.config, *arguments], capture_output=True, input=stdin,
                              cwd=self.folder, timeout=60)

    def findings(self, *arguments, status=None, stdin=b""):
        run = self.run("--format", "json", *arguments, stdin=stdin)
        found = [json.loads(line) for line in run.stdout.splitlines()]
        assert run.returncode == (status if status is not None else 1 if found else 0), run.stderr
        return found

    def rules(self, *arguments, stdin=b""):
        return [(f["rule"], f["line"]) for f in self.findings(*arguments, stdin=stdin)]


@pytest.fixture
def lint(tmp_path):
    return Linter(tmp_path)


def stderr_log(*lines, prefix="2026-11-23 06:45:00.123 UTC [{pid}] "):
    """Lines `(pid, text)` as the server writes them: a tab behind each newline of a message."""
    return "".join(prefix.format(pid=pid) + text.replace("\n", "\n\t") + "\n" for pid, text in lines)


# --- SQL files ---

def test_a_sql_file_without_violations(lint):
    run = lint.run(lint.file("a.sql", "SELECT * FROM projects;\nSELECT * FROM ci_builds;\n"))
    assert (run.returncode, run.stdout) == (0, b"")
    assert run.stderr == b"lint: 1 file, 2 statements, 0 violations\n"


def test_a_violation_in_sql_has_the_place_of_its_table(lint):
    lint.file("a.sql", "SELECT 1;\n\nSELECT *\n  FROM projects p,\n       ci_builds b;\n")
    run = lint.run("a.sql")
    assert run.returncode == 1
    first, second = run.stdout.decode().splitlines()[:2]
    assert first == "a.sql:5: cross_join XD001: statement uses tables of more than one database: main and ci"
    assert second.strip() == "POSITION: 5:8"


def test_columns_are_counted_in_characters(lint):
    [found] = lint.findings(lint.file("a.sql", "SELECT 1; SELECT 'äöü', * FROM projects, ci_builds;"))
    assert (found["line"], found["column"]) == (1, 42)


def test_each_occurrence_in_sql_is_told(lint):
    assert lint.rules(lint.file("a.sql", f"{JOIN};\n{JOIN};\n")) == [("cross_join", 1), ("cross_join", 2)]


def test_a_transaction_over_two_databases(lint):
    sql = "BEGIN;\nUPDATE projects SET name = 'x';\nUPDATE ci_builds SET name = 'y';\nCOMMIT;\nUPDATE ci_builds SET name = 'z';\n"
    assert lint.rules(lint.file("a.sql", sql)) == [("cross_transaction", 3)]


def test_what_a_rollback_to_undid_is_no_modification(lint):
    sql = "BEGIN;\nSAVEPOINT a;\nUPDATE projects SET name = 'x';\nROLLBACK TO a;\nUPDATE ci_builds SET name = 'y';\nCOMMIT;\n"
    assert lint.findings(lint.file("a.sql", sql)) == []


def test_every_rule_of_sql_files(lint):
    sql = "SELECT * FROM nowhere;\nALTER TABLE ci_builds ADD FOREIGN KEY (project_id) REFERENCES projects (id);\n"
    assert lint.rules(lint.file("a.sql", sql)) == [("unclassified", 1), ("cross_foreign_key", 2)]


def test_a_violation_in_a_write_counts_in_its_transaction(lint):
    sql = "BEGIN;\nUPDATE projects SET name = '' FROM ci_builds;\nUPDATE ci_builds SET name = 'y';\nCOMMIT;\n"
    assert lint.rules(lint.file("a.sql", sql)) == [("cross_join", 2), ("cross_transaction", 3)]


def test_the_files_of_pg_dump(lint):
    sql = ("\\restrict abc;\nCOPY public.projects (id) FROM stdin;\n1\tSELECT * FROM projects, ci_builds;\n2\tit's\n\\.\n\n"
           f"{JOIN};\n\\unrestrict abc\n")
    assert lint.rules(lint.file("a.sql", sql)) == [("cross_join", 7)]


def test_copy_without_data_swallows_nothing(lint):
    assert lint.rules(lint.file("a.sql", f"COPY projects FROM STDIN;\n{JOIN};\n")) == [("cross_join", 2)]


def test_bodies_with_semicolons_are_one_statement(lint):
    sql = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END;\nDO $$ BEGIN PERFORM 1; END $$;\n"
    assert b"2 statements, 0 violations" in lint.run(lint.file("a.sql", sql)).stderr


def test_a_statement_of_several_megabytes(lint):
    values = ", ".join(f"({i}, '{'x' * 100};')" for i in range(30000))
    assert lint.rules(lint.file("a.sql", f"INSERT INTO projects VALUES {values};\n{JOIN};\n")) == [("cross_join", 2)]


def test_a_permit_of_the_proxy_is_one_here(lint):
    sql = ("BEGIN; UPDATE projects SET name = ''; /* allow_cross_database_modification_within_transaction url=x */ "
           "UPDATE ci_builds SET name = ''; COMMIT;")
    assert lint.findings(lint.file("a.sql", sql)) == []


@pytest.mark.parametrize("mode, expected", [("report", 1), ("off", 0)])
def test_a_rule_counts_unless_it_is_off(lint, mode, expected):
    lint.config.write_text(SETTINGS + f"rules: {{cross_transaction: {mode}}}\n")
    sql = "BEGIN; UPDATE projects SET name = ''; UPDATE ci_builds SET name = ''; COMMIT;"
    assert len(lint.findings(lint.file("a.sql", sql))) == expected


def test_a_pinned_entrypoint(lint):
    path = lint.file("a.sql", "UPDATE ci_builds SET name = '';")
    assert [f["rule"] for f in lint.findings("--entrypoint", "app_main", path)] == ["write_lock"]


# --- stderr logs ---

def test_a_multi_line_statement_of_a_log(lint):
    log = stderr_log((1, "LOG:  statement: SELECT *\n\tFROM projects,\n ci_builds"))
    [found] = lint.findings(lint.file("a.log", log))
    assert (found["rule"], found["line"], found["column"]) == ("cross_join", 1, None)
    assert found["statement"] == "SELECT * FROM projects, ci_builds"


def test_one_shape_of_a_log_is_told_once_with_its_count_and_first_line(lint):
    log = stderr_log((1, "LOG:  statement: SELECT 1"), *[(i, f"LOG:  statement: {JOIN} AND p.id IN ({i}, 7)") for i in range(5)])
    run = lint.run(lint.file("a.log", log))
    assert run.stdout.decode().count("cross_join XD001") == 1
    assert "a.log:2: cross_join XD001: " in run.stdout.decode() and "(5 times)" in run.stdout.decode()
    assert b"5 violations of 1 kind" in run.stderr


@pytest.mark.parametrize("form", ["text", "json", "junit", "sarif"])
def test_no_literal_of_a_log_is_printed(lint, form):
    log = stderr_log((1, f"LOG:  statement: {JOIN} -- {SECRET}"), (1, f"LOG:  statement: SELECT '{SECRET}' projects ci_builds '{SECRET}"),
                     (1, f"LOG:  statement: SELECT $a${SECRET}$a$, E'\\'{SECRET}' FROM projects /* {SECRET} */, ci_builds"),
                     (1, f"LOG:  statement: SELECT '\\'{SECRET} FROM projects, ci_builds WHERE x = '{SECRET}"))
    run = lint.run("--format", form, lint.file("a.log", log))
    assert run.returncode == 1 and run.stdout.count(b"XD00") >= 3
    assert SECRET.encode() not in run.stdout + run.stderr


def test_interleaved_sessions_are_kept_apart(lint):
    log = stderr_log((1, "LOG:  statement: BEGIN"), (2, "LOG:  statement: BEGIN"),
                     (1, "LOG:  statement: UPDATE projects SET name = ''"), (2, "LOG:  statement: UPDATE ci_builds SET name = ''"),
                     (1, "LOG:  statement: COMMIT"), (2, "LOG:  statement: UPDATE projects SET name = 'x'"))
    assert lint.rules(lint.file("a.log", log)) == [("cross_transaction", 6)]


def test_parse_bind_and_execute_count_once(lint):
    log = stderr_log(*[(1, f"LOG:  duration: 0.1 ms  {step} s1: {JOIN}") for step in ("parse", "bind", "execute")],
                     (1, f"DETAIL:  parameters: $1 = '{SECRET}'"))
    [found] = lint.findings(lint.file("a.log", log))
    assert (found["line"], found["count"]) == (3, 1)


def test_what_failed_is_no_statement_and_fails_its_block(lint):
    log = stderr_log((1, "LOG:  statement: BEGIN"), (1, "LOG:  statement: UPDATE projects SET name = ''"),
                     (1, "ERROR:  something"), (1, f"STATEMENT:  {JOIN}"), (1, "LOG:  statement: UPDATE ci_builds SET name = ''"),
                     (1, "LOG:  statement: ROLLBACK"), (1, "LOG:  statement: UPDATE ci_builds SET name = ''"))
    assert lint.findings(lint.file("a.log", log)) == []


def test_a_disconnection_ends_a_transaction(lint):
    log = stderr_log((1, "LOG:  statement: BEGIN"), (1, "LOG:  statement: UPDATE projects SET name = ''"),
                     (1, "LOG:  disconnection: session time: 0:00:01.000 user=a database=b host=[local]"),
                     (1, "LOG:  statement: UPDATE ci_builds SET name = ''"))
    assert lint.findings(lint.file("a.log", log)) == []


def test_a_log_that_begins_and_lacks_lines_in_the_middle(lint):
    log = "\trest of a statement\n" + stderr_log(
        (1, f"STATEMENT:  {JOIN}"), (1, "LOG:  statement: UPDATE projects SET name = ''"), (1, "LOG:  statement: COMMIT"),
        (1, "LOG:  statement: BEGIN"), (1, "LOG:  statement: UPDATE projects SET name = ''"),
        (1, "LOG:  statement: BEGIN"), (1, "LOG:  statement: UPDATE ci_builds SET name = ''"))
    assert lint.findings(lint.file("a.log", log)) == []


@pytest.mark.parametrize("warned", ["before", "after"])
def test_a_begin_within_a_block_changes_nothing(lint, warned):
    begin, warning = (1, "LOG:  statement: BEGIN"), (1, "WARNING:  there is already a transaction in progress")
    log = stderr_log(begin, (1, "LOG:  statement: UPDATE projects SET name = ''"),
                     *([warning, begin] if warned == "before" else [begin, warning]),
                     (1, "LOG:  statement: UPDATE ci_builds SET name = ''"))
    assert [rule for rule, _ in lint.rules(lint.file("a.log", log))] == ["cross_transaction"]


def test_transactions_are_told_by_their_number(lint):
    lines = [("3/7", "UPDATE projects SET name = ''"), ("3/7", "UPDATE ci_builds SET name = ''"),
             ("3/8", "UPDATE projects SET name = ''"), ("3/9", "UPDATE ci_builds SET name = 'x' WHERE id = 1")]
    log = "".join(f"[1] {vxid} LOG:  duration: 20 ms  statement: {sql}\n" for vxid, sql in lines)
    assert lint.rules("-P", "[%p] %v ", lint.file("a.log", log)) == [("cross_transaction", 2)]


def test_sessions_go_on_in_the_next_file(lint):
    first = lint.file("1.log", stderr_log((1, "LOG:  statement: BEGIN"), (1, "LOG:  statement: UPDATE projects SET name = ''")))
    second = lint.file("2.log", stderr_log((1, "LOG:  statement: UPDATE ci_builds SET name = ''")))
    [found] = lint.findings(first, second)
    assert (found["file"], found["line"]) == (str(second), 1)


def test_several_statements_of_one_message_are_a_transaction(lint):
    log = stderr_log((1, "LOG:  statement: UPDATE projects SET name = ''; UPDATE ci_builds SET name = ''"))
    [found] = lint.findings(lint.file("a.log", log))
    assert found["rule"] == "cross_transaction" and found["statement"].startswith("UPDATE ci_builds")


def test_an_execute_of_what_was_prepared_before_the_log(lint):
    log = stderr_log((1, "LOG:  statement: EXECUTE q(1)"), (1, "DETAIL:  prepare: PREPARE q AS UPDATE projects SET name = ''"))
    log = stderr_log((1, "LOG:  statement: BEGIN")) + log + stderr_log((1, "LOG:  statement: UPDATE ci_builds SET name = ''"))
    assert [rule for rule, _ in lint.rules(lint.file("a.log", log))] == ["cross_transaction"]


def test_a_log_without_sessions_has_statements_only(lint):
    log = "".join(f"LOG:  statement: {sql}\n" for sql in ("BEGIN", "UPDATE projects SET name = ''", "UPDATE ci_builds SET name = ''", JOIN))
    run = lint.run("--log-line-prefix", "", "-F", "json", lint.file("a.log", log))
    assert [json.loads(line)["rule"] for line in run.stdout.splitlines()] == ["cross_join"]
    assert b"neither %p nor %c" in run.stderr


def test_text_of_another_encoding(lint):
    log = stderr_log((1, "LOG:  statement: SELECT 'ä' FROM projects, ci_builds")).encode("latin1")
    assert lint.rules(lint.file("a.log", log)) == [("cross_join", 1)]


# --- a real server's logs ---

WORK = [
    "BEGIN", "UPDATE projects SET name = 'hunter2'", "SAVEPOINT s", "UPDATE ci_builds SET name = 'hunter2'", "ROLLBACK TO s",
    "UPDATE ci_runners\n   SET description = 'hunter2'", "COMMIT",
    JOIN,
    "UPDATE ci_builds SET name = 'a'",
    "BEGIN", "UPDATE projects SET name = 'b'", "SELECT 1/0", "ROLLBACK",
    "UPDATE ci_builds SET name = 'c'; UPDATE projects SET name = 'hunter2'",
]
EXPECTED = {
    ("cross_transaction", "UPDATE ci_builds SET name = ?", 1), ("cross_transaction", "UPDATE ci_runners SET description = ?", 1),
    ("cross_join", "SELECT p.id FROM projects p JOIN ci_builds b ON b.project_id = p.id WHERE p.name = ?", 1),
    ("cross_join", "SELECT p.id FROM projects p, ci_builds b WHERE p.id = $1 AND b.id = $2", 2),
    ("cross_transaction", "UPDATE projects SET name = ?", 1),
}


def server_logs(folder, *settings):
    """What a server logs of WORK: the folder with server.log, server.csv and server.json."""
    cluster = Postgres("log", ["logging_collector = on", "log_directory = 'log'", "log_filename = 'server.log'",
                               "log_destination = 'stderr,csvlog,jsonlog'", "log_connections = on", "log_disconnections = on",
                               "log_file_mode = 0644", *settings])
    try:
        cluster.start().create_database("app", DEMO / "main.sql", DEMO / "ci.sql")
        with cluster.admin("app") as connection:
            for sql in WORK:
                try:
                    connection.execute(sql)
                except psycopg.errors.DivisionByZero:
                    pass
            for _ in range(2):
                connection.execute("SELECT p.id FROM projects p, ci_builds b WHERE p.id = %s AND b.id = %s", (1, 2), prepare=True)
        cluster.stop()
        for name in ("server.log", "server.csv", "server.json"):
            (folder / name).write_bytes((cluster.data / "log" / name).read_bytes())
    finally:
        cluster.close()
    return folder


PREFIXES = ["%m [%p] ", "%t:%r:%u@%d:[%p]: ", "%t [%c-%l] %q%u@%d/%a %h ", "%n %p %-10u|%10d| %b %e ", "%m %s %v %x %Q %P %i [%p]: %%",
            "user=%u,db=%d,app=%a,client=%h,pid=%p "]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("settings", [("log_statement = all",), ("log_statement = none", "log_min_duration_statement = 0")],
                         ids=["statements", "durations"])
def test_a_real_server_in_each_format_and_prefix(lint, prefix, settings):
    server_logs(lint.folder, f"log_line_prefix = '{prefix}'", *settings)
    logs = [("server.log", ["--log-line-prefix", prefix])]
    logs += [("server.csv", []), ("server.json", [])] if prefix == PREFIXES[0] else []
    for name, arguments in logs:
        found = lint.findings(*arguments, name)
        assert {(f["rule"], f["statement"], f["count"]) for f in found if f["rule"] != "unclassified"} == EXPECTED, name


def test_verbose_errors_of_a_real_server(lint):
    server_logs(lint.folder, "log_line_prefix = '%m [%p] '", "log_error_verbosity = verbose")
    assert {f["rule"] for f in lint.findings("server.log")} >= {"cross_join", "cross_transaction"}


# --- pg_stat_statements ---

def test_rows_of_pg_stat_statements(lint):
    csv = ('userid,"query",calls\n1,"SELECT * FROM projects, ""ci_builds"" WHERE id = $1",12\n1,BEGIN,5\n'
           '1,"UPDATE projects\nSET name = $1",3\n1,UPDATE ci_builds SET name = $1,3\n1,<insufficient privilege>,9\n')
    [found] = lint.findings(lint.file("statements.csv", csv))
    assert (found["rule"], found["line"], found["count"]) == ("cross_join", 2, 12)


# --- inputs ---

def test_standard_input(lint):
    [found] = lint.findings("-", stdin=f"{JOIN};".encode())
    assert (found["file"], found["rule"]) == ("stdin", "cross_join")


def test_several_files_of_several_kinds(lint):
    sql, log = lint.file("a.sql", JOIN), lint.file("b.txt", stderr_log((1, f"LOG:  statement: {JOIN}")))
    assert [f["file"] for f in lint.findings(sql, log)] == [str(sql), str(log)]


def test_an_empty_file(lint):
    assert lint.findings(lint.file("empty.log", "")) == []


@pytest.mark.parametrize("arguments, word", [
    (["none.sql"], "none.sql: No such file"), (["."], "Is a directory"), (["--log-line-prefix", "%z", "a.sql"], "%z"),
    (["--log-line-prefix", "%", "a.sql"], "escape"), (["--format", "yaml", "a.sql"], "yaml"), ([], "FILE"),
    (["--entrypoint", "nobody", "a.sql"], "nobody"), (["other.log"], "log_line_prefix"), (["bad.sql"], "bad.sql:2: "),
])
def test_bad_input_is_one_line_and_exit_status_2(lint, arguments, word):
    lint.file("a.sql", "SELECT 1;")
    lint.file("other.log", "<7> 2026 LOG:  statement: SELECT 1\n")
    lint.file("bad.sql", b"SELECT 1;\nSELECT '\xff';\n")
    run = lint.run(*arguments)
    lines = [line for line in run.stderr.decode().splitlines() if not line.startswith("lint: ")]
    assert run.returncode == 2 and len(lines) == 1 and word in lines[0], run.stderr


def test_what_can_be_read_is_checked_all_the_same(lint):
    assert [f["rule"] for f in lint.findings("none.sql", lint.file("a.sql", JOIN), status=2)] == ["cross_join"]


# --- outputs ---

def test_junit_has_a_suite_for_each_file(lint):
    run = lint.run("--format", "junit", lint.file("a<&>.sql", f"{JOIN};{JOIN};"), lint.file("fine.sql", "SELECT 1;"))
    root = xml.etree.ElementTree.fromstring(run.stdout)
    assert (root.tag, root.get("tests"), root.get("failures")) == ("testsuites", "3", "2")
    first, second = root.findall("testsuite")
    assert first.get("name").endswith("a<&>.sql") and first.get("failures") == "2" and second.get("failures") == "0"
    assert [case.find("failure").get("type") for case in first] == ["XD001", "XD001"]
    assert len(second.findall("testcase")) == 1 and second.find("testcase/failure") is None


def test_sarif_has_what_its_schema_requires(lint):
    run = lint.run("--format", "sarif", lint.file("a b.sql", f"\n{JOIN};"))
    log = json.loads(run.stdout)
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-2.1.0.json")
    [sarif] = log["runs"]
    driver = sarif["tool"]["driver"]
    assert driver["name"] == "pginterlock" and all(rule["id"] for rule in driver["rules"])
    [result] = sarif["results"]
    assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "cross_join"
    assert result["message"]["text"] and result["level"] == "error" and result["occurrenceCount"] == 1
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].endswith("/a%20b.sql") and place["region"] == {"startLine": 2, "startColumn": 34}


def test_sarif_without_results(lint):
    assert json.loads(lint.run("--format", "sarif", lint.file("a.sql", "SELECT 1;")).stdout)["runs"][0]["results"] == []


def test_json_names_the_tables(lint):
    [found] = lint.findings(lint.file("a.sql", JOIN))
    assert [(t["name"], t["gitlab_schema"], t["database"], t["access"]) for t in found["tables"]] == [
        ("projects", "gitlab_main", "main", "read"), ("ci_builds", "gitlab_ci", "ci", "read")]
    assert found["sqlstate"] == "XD001" and found["table"] == "ci_builds" and len(found["fingerprint"]) == 32


def test_names_cannot_write_to_the_terminal(lint):
    run = lint.run(lint.file("a.log", stderr_log((1, 'LOG:  statement: SELECT * FROM "\x1b[2J", projects'))))
    assert b"\x1b" not in run.stdout and b"unclassified" in run.stdout


def test_a_progress_bar_only_on_a_terminal(lint):
    path = lint.file("a.log", stderr_log(*[(1, f"LOG:  statement: SELECT * FROM projects WHERE id = {i}") for i in range(40000)]))
    assert b"%" not in lint.run(path).stderr
    terminal, end = pty.openpty()
    with subprocess.Popen([PROGRAM, "lint", "--config", lint.config, path], stdout=subprocess.DEVNULL, stderr=end) as process:
        os.close(end)
        drawn = b""
        while True:
            try:
                piece = os.read(terminal, 4096)
            except OSError:
                break
            drawn += piece
        assert process.wait(60) == 0
    os.close(terminal)
    assert b"#" in drawn and b"% of 3 MB" in drawn and b"40000 statements" in drawn


@pytest.mark.parametrize("mode", ["routed", "pinned:main", "pinned:ci"])
def test_the_acceptance_cases_as_files(lint, mode):
    expected = {}
    for path in sorted(pathlib.Path(DATA, "cases").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            case = json.loads(line)
            if case["classification"] == "flat" and case["mode"] == mode and not case.get("single_database") and not case.get("ambiguous"):
                file = lint.file(f"{len(expected)}.sql", "".join(step["sql"].rstrip().rstrip(";") + ";\n" for step in case["steps"]))
                errors = [{step["error"], *step.get("also", [])} for step in case["steps"] if step["expect"] == "error"]
                expected[str(file)] = (case["id"], errors)
    entrypoint = {"routed": "app", "pinned:main": "app_main", "pinned:ci": "app_ci"}[mode]
    found = {}
    for finding in lint.findings("--entrypoint", entrypoint, *expected):
        found.setdefault(finding["file"], []).append(finding["rule"])
    for file, (case, errors) in expected.items():
        rules = found.get(file, [])
        assert len(rules) == len(errors) and all(rule in error for rule, error in zip(rules, errors)), (case, rules, errors)
    assert expected
