"""The allowlist file: what it lets pass, from when and until when, and what is said of its entries."""

import contextlib
import json
import signal
import subprocess

import psycopg
import pytest

from harness import PROGRAM, fails, one, rejected, wait_until

JOIN = "SELECT count(*) FROM projects p JOIN ci_builds b ON b.project_id = p.id WHERE b.id = {}"


def entry(**fields):
    return "- " + json.dumps(fields) + "\n"


class Allowing:
    """A proxy with an allowlist and a record of violations."""

    def __init__(self, make_proxy, text="", start=True, **overrides):
        self.proxy = make_proxy(start=False, allowlist="list.yml", violations="violations.jsonl", **overrides)
        self.path = self.proxy.folder / "list.yml"
        self.record = self.proxy.folder / "violations.jsonl"
        self.path.write_text(text)
        if start:
            self.proxy.start()

    def lines(self):
        return [json.loads(line) for line in self.record.read_text().splitlines()] if self.record.exists() else []

    def fingerprints(self):
        return {line["fingerprint"] for line in self.lines()}

    def reload(self, text):
        self.path.write_text(text)
        before = len(self.proxy.log())
        self.proxy.signal(signal.SIGHUP)
        self.proxy.wait_for_log("configuration (not )?reloaded", before)

    def command(self, *arguments, stdin=None):
        return subprocess.run([PROGRAM, *arguments[:1], "--config", self.proxy.config, *arguments[1:]],
                              input=stdin, capture_output=True, text=True, timeout=60)

    def check(self):
        run = self.command("check")
        assert run.returncode == 0, run
        return [line for line in run.stdout.splitlines() if line.startswith("notice: ")]


@pytest.fixture
def allowing(make_proxy):
    def make(text="", **overrides):
        return Allowing(make_proxy, text, **overrides)
    return make


@pytest.fixture
def one_database(allowing, main_cluster):
    """main and ci are one database, so that a permitted statement can run."""
    main_cluster.sql("SET ROLE app; CREATE TABLE IF NOT EXISTS ci_builds "
                     "(id bigserial PRIMARY KEY, project_id bigint, status text)")

    def make(text="", **overrides):
        return allowing(text, databases={"main": main_cluster.conninfo(), "ci": {"same_as": "main"}}, **overrides)
    yield make
    main_cluster.sql("DROP TABLE ci_builds")


def runs(connection, text):
    with contextlib.suppress(psycopg.Error):
        connection.execute(text)
        return True


# --- what passes ---

def test_a_reported_violation_can_be_listed_and_then_the_rule_enforced(one_database):
    own = one_database(rules={"cross_join": "report"})
    with own.proxy.connect() as db:
        db.execute(JOIN.format(1))
        fingerprint, = own.fingerprints()
        own.proxy.write_config(rules={"cross_join": "enforce"})
        own.reload(entry(rule="cross_join", fingerprint=fingerprint))
        wait_until(lambda: not runs(db, JOIN.replace("b.id", "b.status").format("'x'")), "the rule to be enforced")
        assert one(db, JOIN.format(2)) == 0
        with own.proxy.connect() as other:
            assert one(other, JOIN.format(3)) == 0


def test_statements_that_differ_in_constants_have_one_fingerprint_by_every_protocol(one_database):
    own = one_database()
    with own.proxy.connect() as db:
        for value in range(4):  # a text that comes again is known by its shape
            with rejected("XD001"):
                db.execute(JOIN.format(value))
        with rejected("XD001"):
            db.execute(JOIN.format("%s"), (5,))
        with rejected("XD001"):
            db.execute("/* a */ " + JOIN.format("'6'").lower())
    assert len(own.fingerprints()) == 1
    own.reload(entry(rule="cross_join", fingerprint=own.fingerprints().pop()))
    with own.proxy.connect() as db:
        for value in range(4):
            assert one(db, JOIN.format(value)) == 0
        assert one(db, JOIN.format("%s"), (5,)) == 0
        assert one(db, "/* a */ " + JOIN.format("'6'").lower()) == 0


def test_what_no_database_can_execute_is_rejected_though_listed(allowing):
    own = allowing(entry(rule="cross_join", tables=["ci_builds", "projects"]))
    with own.proxy.connect() as db:
        with rejected("XD001") as error:
            db.execute(JOIN.format(1))
    assert "neither a permit" in error.diag.message_detail


def test_an_entry_whose_last_day_is_past_lets_nothing_pass_and_is_said_at_start(allowing):
    text = entry(rule="cross_transaction", tables=["ci_builds", "projects"], until="2001-01-01")
    own = allowing(text)
    own.proxy.wait_for_log("cross_transaction of ci_builds, projects held until 2001-01-01 and is expired")
    assert any("expired" in line for line in own.check())
    with own.proxy.connect(autocommit=False) as db:
        db.execute("UPDATE projects SET name = name WHERE id = 1")
        with rejected("XD002"):
            db.execute("UPDATE ci_builds SET status = status WHERE id = 1")
        db.rollback()


def test_a_listed_transaction_commits_on_both_databases(allowing, unique):
    own = allowing(entry(rule="cross_transaction", tables=["ci_builds", "projects"], until="9999-12-31",
                         url="https://example.com/7"))
    with own.proxy.connect(autocommit=False) as db:
        db.execute("UPDATE projects SET name = %s WHERE id = 1", (unique,))
        db.execute("UPDATE ci_builds SET status = %s WHERE id = 1", (unique,))
        db.commit()
    with own.proxy.connect() as db:
        assert one(db, "SELECT name FROM projects WHERE id = 1") == unique
        assert one(db, "SELECT status FROM ci_builds WHERE id = 1") == unique
        db.execute("UPDATE projects SET name = 'Project 1' WHERE id = 1")
        db.execute("UPDATE ci_builds SET status = 'success' WHERE id = 1")
    line, = [line for line in own.lines() if line["action"] == "allowlist"]
    assert line["rule"] == "cross_transaction"
    assert line["url"] == "https://example.com/7"
    assert line["earlier"]["tables"] == ["projects"]


def test_a_table_that_the_transaction_modified_before_and_that_is_not_listed_keeps_it_rejected(allowing):
    own = allowing(entry(rule="cross_transaction", tables=["ci_builds", "projects"]))
    with own.proxy.connect(autocommit=False) as db:
        db.execute("UPDATE projects SET name = name WHERE id = 1")
        db.execute("UPDATE issues SET title = title WHERE id = 1")
        with rejected("XD002"):
            db.execute("UPDATE ci_builds SET status = status WHERE id = 1")
        db.rollback()


def test_execute_is_let_pass_as_what_it_prepared(allowing):
    own = allowing()
    prepare = "PREPARE {} AS UPDATE ci_builds SET status = status WHERE id = 1"
    for attempt in range(2):
        with own.proxy.connect(autocommit=False) as db:
            db.execute(prepare.format(f"q{attempt}"))
            db.execute("UPDATE projects SET name = name WHERE id = 1")
            if attempt == 0:
                with rejected("XD002"):
                    db.execute("EXECUTE q0")
                own.reload(entry(rule="cross_transaction", fingerprint=own.fingerprints().pop()))
            else:
                db.execute("EXECUTE q1")
            db.rollback()


def test_a_pinned_connection_may_be_listed(allowing):
    own = allowing(entry(rule="wrong_database", tables=["ci_builds"]))
    with own.proxy.connect("app_main") as db:
        with fails("42P01"):
            db.execute("SELECT 1 FROM ci_builds")
        with rejected("XD004"):
            db.execute("SELECT 1 FROM ci_builds, ci_pipelines")


# --- reload ---

def test_a_reload_takes_and_gives_permission(one_database):
    own = one_database()
    listed = entry(rule="cross_join", tables=["ci_builds", "projects"])
    with own.proxy.connect() as db:
        with rejected("XD001"):
            db.execute(JOIN.format(1))
        own.reload(listed)
        wait_until(lambda: runs(db, JOIN.format(2)), "the entry to hold")
        own.reload("")
        wait_until(lambda: not runs(db, JOIN.format(3)), "it to hold no more")


def test_a_broken_list_is_said_with_its_line_and_the_old_one_stays(one_database):
    own = one_database(entry(rule="cross_join", tables=["ci_builds", "projects"]))
    with own.proxy.connect() as db:
        before = len(own.proxy.log())
        own.reload("\n- {rule: cross_join, tables: [ci_bilds]}\n")
        assert 'list.yml:2: tables: \\"ci_bilds\\" has no gitlab_schema' in own.proxy.log()[before:]
        assert one(db, JOIN.format(1)) == 0
    run = own.command("check")
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1 and "list.yml:2: " in run.stderr


# --- what is said of entries ---

def test_unused_entries_are_said_by_check_and_at_start(one_database):
    used = entry(rule="cross_join", tables=["ci_builds", "projects"])
    own = one_database(used, start=False)
    assert not own.check()  # nothing is recorded yet
    own.proxy.start()
    with own.proxy.connect() as db:
        db.execute(JOIN.format(1))
        with rejected("XD001"):
            db.execute("SELECT 1 FROM ci_builds, users")
    wait_until(lambda: len(own.lines()) == 2, "the record")
    by_fingerprint, = (line["fingerprint"] for line in own.lines() if "users" in line["tables"])
    own.path.write_text(used + entry(rule="cross_join", fingerprint=by_fingerprint)
                        + entry(rule="cross_join", fingerprint="0123456789abcdef", until="9999-12-31")
                        + entry(rule="cross_transaction", tables=["ci_builds", "projects"]))
    notices = own.check()
    assert len(notices) == 2, notices
    assert "list.yml:3: cross_join 0123456789abcdef was used by no violation in" in notices[0]
    assert "list.yml:4: cross_transaction of ci_builds, projects was used by no violation in" in notices[1]
    own.proxy.stop()
    before = len(own.proxy.log())
    own.proxy.start()
    own.proxy.wait_for_log("cross_join 0123456789abcdef was used by no violation", before)


def test_lines_that_are_no_violations_are_counted_and_left_out(allowing):
    own = allowing(entry(rule="cross_join", fingerprint="0123456789abcdef"), start=False)
    own.record.write_text('{"rule": "cross_join", "fingerprint": "0123456789abcdef", "tables": []}\n'
                          '\n{"rule": 7}\n[1]\n{"rul\n\xff\n{"rule": "cross_join", "tables": [1], "earlier": 2}\n')
    notice, = own.check()
    assert "4 lines are no recorded violations" in notice


def test_a_start_does_not_wait_for_a_long_record(allowing):
    own = allowing(entry(rule="cross_join", fingerprint="0123456789abcdef"), start=False)
    own.record.write_text('{"rule": "unparsed", "fingerprint": "0123456789abcdef"}\n')
    with own.record.open("a") as file:
        file.truncate(65 << 20)
    own.proxy.start()
    own.proxy.wait_for_log("violations.jsonl is too long to be read at start")
    assert any("0123456789abcdef was used by no violation" in line for line in own.check())


# --- the other commands ---

def test_explain_obeys_the_list(one_database):
    own = one_database(entry(rule="cross_join", tables=["ci_builds", "projects"], url="u")
                       + entry(rule="cross_join", tables=["ci_builds", "users"], until="2001-01-01"))
    run = own.command("explain", "--json", JOIN.format(1) + "; SELECT 1 FROM ci_builds, users")
    assert run.returncode == 1
    first, second = (json.loads(line) for line in run.stdout.splitlines())
    assert first["violation"] is None
    assert first["observed"][0]["reason"] == "allowlist" and first["observed"][0]["url"] == "u"
    assert second["violation"]["rule"] == "cross_join"
    run = own.command("explain", JOIN.format(1))
    assert run.returncode == 0 and "LET PASS (allowlist u) cross_join" in run.stdout


def test_explain_lint_and_the_record_tell_the_same_fingerprint(allowing, tmp_path):
    own = allowing()
    with own.proxy.connect() as db:
        with rejected("XD001"):
            db.execute(JOIN.format(1))
    recorded = own.fingerprints().pop()
    run = own.command("explain", "--json", JOIN.format(2))
    assert json.loads(run.stdout)["fingerprint"] == recorded
    run = own.command("explain", JOIN.format(3))
    assert f"  FINGERPRINT: {recorded}\n" in run.stdout
    script = tmp_path / "a.sql"
    script.write_text("SELECT 1;\n" + JOIN.format(4) + ";\n")
    run = own.command("lint", "--format", "json", str(script))
    assert json.loads(run.stdout)["allowlist_fingerprint"] == recorded


def test_fetch_is_let_pass_as_what_was_declared(allowing):
    own = allowing(entry(rule="cross_transaction", tables=["ci_builds", "projects"]))
    with own.proxy.connect(autocommit=False) as db:
        db.execute("DECLARE listed CURSOR FOR SELECT id FROM ci_builds FOR UPDATE")
        db.execute("DECLARE other CURSOR FOR SELECT id FROM ci_pipelines FOR UPDATE")
        db.execute("UPDATE projects SET name = name WHERE id = 1")
        db.execute("SAVEPOINT a")
        with rejected("XD002"):
            db.execute("FETCH 1 FROM other")
        db.execute("ROLLBACK TO a")
        db.execute("FETCH 1 FROM listed")
        db.rollback()
    assert {line["action"] for line in own.lines()} == {"rejected", "allowlist"}


def test_lint_obeys_the_list(one_database, tmp_path):
    own = one_database(entry(rule="cross_join", tables=["ci_builds", "projects"])
                       + entry(rule="cross_join", tables=["ci_builds", "users"], until="2001-01-01"))
    script = tmp_path / "a.sql"
    script.write_text(JOIN.format(1) + ";\nSELECT 1 FROM ci_builds, users;\n")
    run = own.command("lint", "--format", "json", str(script))
    assert run.returncode == 1
    assert "users" in run.stdout and "projects" not in run.stdout
    script.write_text(JOIN.format(1) + ";\n")
    assert own.command("lint", str(script)).returncode == 0
