"""The record of violations: what is written when, and that nothing of a client's values gets into it."""

import contextlib
import json
import os
import re
import signal
import stat
import subprocess

import psycopg
import pytest

from harness import PROGRAM, rejected, wait_until

JOIN = "SELECT count(*) FROM projects p JOIN ci_builds b ON b.project_id = p.id WHERE b.id = {}"
INTERVAL = 10  # seconds between two lines of an entry


class Record:
    """The file that a proxy records violations in."""

    def __init__(self, proxy, name="violations.jsonl"):
        self.path = proxy.folder / name

    def lines(self):
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def of(self, **fields):
        return [line for line in self.lines() if all(line[key] == value for key, value in fields.items())]

    def count(self, **fields):
        return sum(line["count"] for line in self.of(**fields))

    def only(self):
        lines = self.lines()
        assert len(lines) == 1, lines
        return lines[0]


@pytest.fixture
def recording(make_proxy):
    """A proxy of the test's own with a record: recording(rules={...})."""
    def make(**overrides):
        proxy = make_proxy(violations="violations.jsonl", **overrides)
        proxy.record = Record(proxy)
        return proxy
    return make


@pytest.fixture
def one_database(recording, main_cluster):
    """main and ci are one database, so that violations can be let pass."""
    def make(**overrides):
        return recording(databases={"main": main_cluster.conninfo(), "ci": {"same_as": "main"}}, **overrides)
    return make


@pytest.fixture
def ci_tables_on_main(main_cluster):
    """The table that JOIN needs, on main too, for as long as the test takes."""
    main_cluster.sql("SET ROLE app; CREATE TABLE ci_builds (id bigserial PRIMARY KEY, project_id bigint, status text)")
    yield
    main_cluster.sql("DROP TABLE ci_builds")


def reject(db, text):
    with contextlib.suppress(psycopg.errors.Error):
        db.execute(text)


# --- what a line tells ---

def test_a_rejected_statement_is_written_at_once(recording):
    proxy = recording()
    with proxy.connect(application_name="the test") as db:
        with rejected("XD001"):
            db.execute(JOIN.format(1))
        line = proxy.record.only()
    assert re.fullmatch("[0-9a-f]{16}", line["fingerprint"])
    assert line["rule"] == "cross_join" and line["sqlstate"] == "XD001" and line["action"] == "rejected"
    assert line["statement"] == ("select count (*) from projects p join ci_builds b on b.project_id = p.id"
                                 " where b.id = ?")
    assert line["tables"] == ["projects", "ci_builds"]
    assert sorted(line["gitlab_schemas"]) == ["gitlab_ci", "gitlab_main"]
    assert set(line["databases"]) == {"main", "ci"}
    assert line["entrypoint"] == "app" and line["application_name"] == "the test"
    assert line["tags"] == {} and line["count"] == 1 and line["earlier"] is None and line["url"] is None
    assert line["executable"] is False
    assert line["message"] == "statement uses tables of more than one database: main and ci"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line["first_seen"])
    assert line["first_seen"] <= line["last_seen"]


def test_the_file_is_for_its_owner_and_group(recording):
    proxy = recording()
    with proxy.connect() as db:
        reject(db, JOIN.format(1))
    mode = stat.S_IMODE(proxy.record.path.stat().st_mode)
    assert mode == 0o640 & ~current_umask()


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_repetitions_are_counted_in_a_later_line(recording):
    proxy = recording()
    with proxy.connect() as db:
        for number in range(7):
            reject(db, JOIN.format(number))
        assert proxy.record.only()["count"] == 1
        wait_until(lambda: len(proxy.record.lines()) == 2, "the second line", INTERVAL + 10)
    assert [line["count"] for line in proxy.record.lines()] == [1, 6]


def test_what_is_not_yet_written_is_written_at_the_end(recording):
    proxy = recording()
    with proxy.connect() as db:
        for number in range(5):
            reject(db, JOIN.format(number))
    proxy.stop()
    assert [line["count"] for line in proxy.record.lines()] == [1, 4]


def test_two_workers_share_the_file(recording):
    proxy = recording(workers=2)
    connections = [proxy.connect() for _ in range(4)]
    for number, db in enumerate(connections * 25):
        reject(db, JOIN.format(number))
    for db in connections:
        db.close()
    proxy.stop()
    assert proxy.record.count() == 100
    assert len(proxy.record.lines()) == 4  # from each worker the first and the rest
    assert len({line["fingerprint"] for line in proxy.record.lines()}) == 1


# --- what is one entry ---

def test_applications_are_told_apart_by_their_current_name(recording):
    proxy = recording()
    with proxy.connect(application_name="first") as db:
        reject(db, JOIN.format(1))
        db.execute("SET application_name = 'second'")
        reject(db, JOIN.format(1))
    assert [line["application_name"] for line in proxy.record.lines()] == ["first", "second"]
    assert len({line["fingerprint"] for line in proxy.record.lines()}) == 1


def test_entrypoints_and_rules_are_told_apart(recording):
    proxy = recording()
    with proxy.connect("app_main") as db:
        reject(db, "SELECT * FROM ci_builds")
        reject(db, "INSERT INTO ci_builds (id) VALUES (1)")
    lines = proxy.record.lines()
    assert [line["rule"] for line in lines] == ["wrong_database", "write_lock"]
    assert {line["entrypoint"] for line in lines} == {"app_main"}
    assert all(line["executable"] for line in lines)


def test_marginalia_tags_tell_which_code_it_was(recording):
    proxy = recording()
    with proxy.connect() as db:
        for action, id in (("show", 1), ("show", 2), ("index", 3)):
            reject(db, f"{JOIN.format(id)} /*application:web,controller:projects,action:{action},correlation_id:C{id}*/")
    proxy.stop()
    first, index, again = proxy.record.lines()
    assert first["tags"] == {"application": "web", "controller": "projects", "action": "show", "correlation_id": "C1"}
    assert index["tags"]["action"] == "index"
    assert again["tags"]["correlation_id"] == "C2" and again["count"] == 1  # the last one's


def test_sqlcommenter_tags_tell_which_code_it_was(recording):
    proxy = recording()
    with proxy.connect() as db:
        reject(db, f"{JOIN.format(1)} /*action='show%20it',route='%2Fprojects',traceparent='00-a-b-01'*/")
    assert proxy.record.only()["tags"] == {"action": "show it", "route": "/projects", "traceparent": "00-a-b-01"}


def test_tags_of_prepared_statements_are_those_of_their_text(one_database, ci_tables_on_main):
    proxy = one_database(rules={"cross_join": "report"})
    with proxy.connect() as db:
        for _ in range(3):
            db.execute(JOIN.format("%s") + " /*job:PruneJob*/", (1,), prepare=True)
    proxy.stop()
    assert proxy.record.count(action="report") == 3
    assert {line["tags"]["job"] for line in proxy.record.lines()} == {"PruneJob"}


def test_a_statement_that_is_rejected_when_it_is_prepared_counts_once(recording):
    proxy = recording()
    with proxy.connect() as db:
        with rejected("XD001"):
            db.execute(JOIN.format("%s") + " /*job:PruneJob*/", (1,))
    proxy.stop()
    line = proxy.record.only()
    assert line["count"] == 1 and line["tags"] == {"job": "PruneJob"} and "b.id = ?" in line["statement"]


def test_a_prepared_statement_that_is_rejected_when_it_is_executed_counts_each_time(recording):
    proxy = recording()
    with proxy.connect() as db:
        for _ in range(3):
            db.execute("BEGIN")
            db.execute("UPDATE projects SET id = id WHERE id = 1")
            with rejected("XD002"):
                db.execute("UPDATE ci_builds SET id = id WHERE id = %s /*job:PruneJob*/", (1,), prepare=True)
            db.execute("ROLLBACK")
    proxy.stop()
    assert proxy.record.count(rule="cross_transaction") == 3
    assert {line["tags"]["job"] for line in proxy.record.lines()} == {"PruneJob"}


def test_tags_are_found_where_the_statement_was_known_by_its_shape(one_database, ci_tables_on_main):
    proxy = one_database(rules={"cross_join": "report"})
    with proxy.connect() as db:
        for number in range(6):
            db.execute(f"{JOIN.format(number)} /*job:Job{number % 2}*/")
    proxy.stop()
    assert proxy.record.count() == 6
    assert {line["tags"]["job"] for line in proxy.record.lines()} == {"Job0", "Job1"}
    assert len({line["fingerprint"] for line in proxy.record.lines()}) == 1


def test_each_of_several_statements_has_its_own_tags(recording):
    proxy = recording()
    with proxy.connect() as db:
        reject(db, f"SELECT 1 /*job:A*/; {JOIN.format(1)} /*job:B*/")
        reject(db, f"SELECT 1; {JOIN.format(1)}; SELECT 2 /*job:C*/")
    assert [line["tags"] for line in proxy.record.lines()] == [{"job": "B"}, {"job": "C"}]


# --- what was let pass ---

def test_what_is_let_pass_is_recorded_under_its_reason(one_database, ci_tables_on_main):
    proxy = one_database(rules={"cross_join": "report"})
    with proxy.connect() as db:
        db.execute(JOIN.format(1))
        db.execute("/* allow_cross_joins_across_databases url=https://example.com/1 */ " + JOIN.format(1))
        db.execute("SET pginterlock.allow = 'cross_join; url=https://example.com/2'")
        db.execute(JOIN.format(1))
    lines = proxy.record.lines()
    assert [line["action"] for line in lines] == ["report", "comment", "setting"]
    assert [line["url"] for line in lines] == [None, "https://example.com/1", "https://example.com/2"]
    assert len({line["fingerprint"] for line in lines}) == 1
    assert all(line["executable"] for line in lines)


def test_a_violation_that_waits_for_its_connection_counts_once(recording):
    proxy = recording(rules={"wrong_database": "report", "write_lock": "report"})
    with proxy.connect() as db:
        db.execute("BEGIN")
        db.execute("UPDATE projects SET id = id WHERE id = 1")
        # ci's connection is made only now, so that the message is handled again when it is there.
        db.execute("/* allow_cross_database_modification_within_transaction */ UPDATE ci_builds SET id = id WHERE id = 1")
        db.execute("ROLLBACK")
    proxy.stop()
    assert proxy.record.count(action="comment") == 1


def test_a_cross_transaction_tells_the_earlier_statement(recording):
    proxy = recording()
    with proxy.connect() as db:
        db.execute("BEGIN")
        db.execute("UPDATE projects SET star_count = 4711 WHERE id = 1")
        reject(db, "UPDATE ci_builds SET status = 'secret' WHERE id = 1")
        db.execute("ROLLBACK")
    line = proxy.record.only()
    assert line["rule"] == "cross_transaction" and line["tables"] == ["ci_builds"]
    assert line["earlier"] == {"statement": "update projects set star_count = ? where id = ?", "tables": ["projects"]}


# --- what must not get in ---

@pytest.mark.parametrize("text", [
    "SELECT 'hunter2' FROM projects, ci_builds",
    "SELECT E'hunter2\\'' FROM projects, ci_builds",
    "SELECT $x$hunter2$x$ FROM projects, ci_builds",
    "SELECT U&'hunter2' FROM projects, ci_builds",
    "SELECT * FROM projects JOIN WITH ci_builds 'hunter2'",
    "SELECT * FROM projects, ci_builds WHERE 'hunter2",
    "SELECT * FROM projects, ci_builds WHERE $hunter2$",
    "SELECT * FROM projects, ci_builds -- hunter2",
    "SELECT * FROM projects, ci_builds /* hunter2 */",
    "DO 'BEGIN PERFORM ''hunter2'' FROM projects, ci_builds; END'",
    "DO $$BEGIN PERFORM 'hunter2' FROM projects, ci_builds; END$$",
    "PREPARE q AS SELECT 'hunter2' FROM projects, ci_builds",
])
def test_values_of_a_statement_are_not_in_the_record_or_the_log(recording, text):
    proxy = recording(log={"level": "info"})
    with proxy.connect() as db:
        reject(db, text)
    wait_until(lambda: proxy.record.lines() != [], "a line")
    assert "hunter2" not in proxy.record.path.read_text()
    assert "hunter2" not in proxy.log()


def test_a_hostile_application_name_and_tags_stay_within_their_line(recording):
    proxy = recording()
    with proxy.connect(application_name='x"}\n{"rule": "\x1b[31m') as db:
        reject(db, JOIN.format(1) + " /*job:\"}\n{\x1b\u0085\u2028,controller:é*/")
    line = proxy.record.only()
    assert line["tags"]["controller"] == "é" and line["tags"]["job"].startswith('"}\n{\x1b')
    assert "\x1b" not in proxy.record.path.read_text() and "\u0085" not in proxy.record.path.read_text()
    assert proxy.record.path.read_bytes().count(b"\n") == 1


def test_a_text_that_is_no_utf8_becomes_utf8(recording):
    proxy = recording()
    with proxy.connect(client_encoding="LATIN1") as db:
        reject(db, JOIN.format(1) + " /*job:é*/")
    assert proxy.record.only()["tags"]["job"] == "_"


def test_long_statements_are_cut(recording):
    proxy = recording()
    columns = ", ".join(f"p.column_{number}" for number in range(3000))
    with proxy.connect() as db:
        reject(db, f"SELECT {columns} FROM projects p, ci_builds")
    assert len(proxy.record.only()["statement"]) == 4096


# --- bounds, files ---

def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) * 1024


def test_many_distinct_violations_take_bounded_memory(recording):
    proxy = recording(workers=1, log={"level": "error"})
    with open(f"/proc/{proxy.process.pid}/exe", "rb") as program:
        sanitized = b"__asan_init" in program.read()  # which keeps what is freed
    with proxy.connect() as db:
        def violate(start, end):
            for number in range(start, end):
                reject(db, f"SELECT {', '.join(f'p.c{number}_{i}' for i in range(60))} FROM projects p, ci_builds")
        violate(0, 5000)
        before = resident(proxy.process.pid)
        violate(5000, 10000)
        assert sanitized or resident(proxy.process.pid) - before < 8 * 1024 * 1024
    proxy.stop()
    lines = proxy.record.lines()
    assert len(lines) == 10000 and len({line["fingerprint"] for line in lines}) == 10000


def test_a_renamed_file_is_begun_anew_on_sighup(recording):
    proxy = recording(workers=1)
    with proxy.connect() as db:
        for number in range(3):
            reject(db, JOIN.format(number))
        old = Record(proxy, "violations.jsonl.1")
        os.rename(proxy.record.path, old.path)
        proxy.signal(signal.SIGHUP)
        wait_until(proxy.record.path.exists, "a new file")
        assert old.count() == 3
        reject(db, JOIN.format(9))
        assert proxy.record.only()["count"] == 1


def test_a_renamed_file_is_begun_anew_although_the_settings_are_broken(recording):
    proxy = recording(workers=1)
    with proxy.connect() as db:
        reject(db, JOIN.format(1))
        os.rename(proxy.record.path, proxy.folder / "old")
        proxy.config.write_text("nonsense: 1\n")
        proxy.signal(signal.SIGHUP)
        wait_until(proxy.record.path.exists, "a new file")
        reject(db, JOIN.format(1))
        assert proxy.record.only()["count"] == 1


def test_a_file_that_cannot_be_written_is_said_once_and_stops_nothing(recording):
    proxy = recording(workers=1)
    with proxy.connect() as db:
        reject(db, JOIN.format(1))
        proxy.record.path.unlink()
        proxy.record.path.mkdir()
        proxy.signal(signal.SIGHUP)
        wait_until(lambda: "violations can't be recorded" in proxy.log(), "the complaint")
        for number in range(5):
            with rejected("XD001"):
                db.execute(f"SELECT {number} AS a{number} FROM projects, ci_builds")
        assert db.execute("SELECT 1").fetchone() == (1,)
        assert proxy.log().count("violations can't be recorded") == 1
        proxy.record.path.rmdir()
        wait_until(lambda: proxy.record.path.exists() and proxy.record.count() == 5, "what was kept", INTERVAL + 10)
        assert "violations are recorded again" in proxy.log()


def test_a_folder_that_is_not_there_is_said_at_start(make_proxy):
    proxy = make_proxy(violations="nowhere/violations.jsonl", start=False)
    run = subprocess.run([PROGRAM, "run", "--config", proxy.config], capture_output=True, text=True, timeout=30)
    assert run.returncode == 2 and len(run.stderr.splitlines()) == 1
    assert re.search(r"pginterlock.yml:\d+: violations: can't find the folder", run.stderr)


# --- the log ---

def test_the_log_names_the_fingerprint_and_is_not_flooded(recording):
    proxy = recording(workers=1)
    with proxy.connect() as db:
        for number in range(200):
            reject(db, JOIN.format(number))
    fingerprint = proxy.record.only()["fingerprint"]
    assert proxy.log().count("statement rejected") == 1
    assert f"fingerprint={fingerprint}" in proxy.log()
    proxy.stop()
    assert proxy.log().count("statement rejected") == 2 and "count=199" in proxy.log()


def test_without_a_record_the_log_is_not_flooded_either(make_proxy):
    proxy = make_proxy(workers=1)
    with proxy.connect() as db:
        for number in range(50):
            reject(db, JOIN.format(number))
    proxy.stop()
    assert proxy.log().count("statement rejected") == 2
