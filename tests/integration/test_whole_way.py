"""The whole way of a team that splits its database, once: from one database in which everything passes and is recorded,
over an allowlist and `enforce`, to two databases with locks."""

import json
import os
import re
import signal
import subprocess

import psycopg
import pytest

from harness import BINDIR, DEMO, PROGRAM, Interlock, Postgres, fails, rejected, wait_until

RULES = ["cross_join", "cross_transaction", "cross_foreign_key", "wrong_database", "write_lock", "unclassified", "unparsed"]
CLUSTER_FILES = (DEMO / "main.sql", DEMO / "ci.sql", DEMO / "shared.sql")
# As the two had grown together before anybody thought of a split.
GROWN = "ALTER TABLE ci_builds ADD CONSTRAINT fk_project FOREIGN KEY (project_id) REFERENCES projects ON DELETE CASCADE"


class Application:
    """What the team's application asks its database, in the state that its code is in."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.joins, self.long_transaction = True, True  # what is still to be mended

    def connect(self):
        return self.proxy.connect(application_name="rails", autocommit=False)

    def show_builds(self):
        """The page with a project's builds."""
        tag = "/*application:Shop,controller:builds,action:index,correlation_id:{}*/"
        with self.connect() as db:
            if self.joins:
                rows = db.execute("SELECT b.name, p.name FROM ci_builds b JOIN projects p ON p.id = b.project_id"
                                  f" WHERE b.project_id = 7 {tag.format('a1')}").fetchall()
                return sorted(rows)
            builds = db.execute(f"SELECT name FROM ci_builds WHERE project_id = 7 {tag.format('b2')}").fetchall()
            (project,) = db.execute(f"SELECT name FROM projects WHERE id = 7 {tag.format('b2')}").fetchone()
            return sorted((name, project) for (name,) in builds)

    def finish_build(self, status):
        """The job that runs when a build has ended."""
        tag = "/*application:Shop,job_class:FinishedWorker*/"
        with self.connect() as db:
            db.execute(f"UPDATE ci_builds SET status = '{status}' WHERE id = 1 {tag}")
            if not self.long_transaction:
                db.commit()
            db.execute(f"UPDATE projects SET star_count = star_count + 1 WHERE id = 7 {tag}")

    def list_issues(self):
        with self.connect() as db:
            return db.execute("SELECT count(*) FROM issues JOIN projects ON projects.id = issues.project_id").fetchone()[0]

    def run(self, status):
        assert len(self.show_builds()) > 0
        assert self.list_issues() > 0
        self.finish_build(status)


class Team:
    """The proxy, its files and commands."""

    def __init__(self, main, ci):
        self.main, self.ci = main, ci
        self.proxy = Interlock(main, ci, databases={"main": main.conninfo(), "ci": {"same_as": "main"}},
                               rules=dict.fromkeys(RULES, "report"), violations="violations.jsonl")
        self.record = self.proxy.folder / "violations.jsonl"
        self.proxy.start()

    def lines(self):
        return [json.loads(line) for line in self.record.read_text().splitlines()] if self.record.exists() else []

    def change(self, **settings):
        """New settings, by a reload; nobody is disconnected."""
        self.proxy.write_config(**settings)
        start = len(self.proxy.log())
        self.proxy.signal(signal.SIGHUP)
        assert "not" not in self.proxy.wait_for_log(r"configuration (not )?reloaded", start).group(0)

    def rotate(self):
        self.record.rename(self.record.with_suffix(".1"))
        start = len(self.proxy.log())
        self.proxy.signal(signal.SIGHUP)
        self.proxy.wait_for_log("configuration reloaded", start)

    def command(self, name, *arguments, status=0):
        done = subprocess.run([PROGRAM, name, "--config", self.proxy.config, *arguments], capture_output=True, text=True, timeout=100,
                              env={**os.environ, "PGUSER": "app"})
        assert done.returncode == status, f"{name}: {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def problems(self, status):
        """What `check --live` says stands in the split's way."""
        lines = map(json.loads, self.command("check", "--live", "--json", status=status).stdout.splitlines())
        return [(line["check"], line["database"], line["object"]) for line in lines if line["severity"] == "problem"]


@pytest.fixture
def team():
    main = Postgres("main").start().create_database("app", *CLUSTER_FILES)
    ci = Postgres("ci").start().create_database("app_ci")
    main.sql(GROWN)
    made = Team(main, ci)
    yield made
    made.proxy.close()
    main.close()
    ci.close()


def copy_database(source, target):
    """Structure and data, as a team would: pg_dump into the other server."""
    dump = subprocess.run([BINDIR / "pg_dump", "--dbname", source.conninfo(user="postgres")], capture_output=True, check=True)
    subprocess.run([BINDIR / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", "--dbname", target.conninfo(user="postgres")], input=dump.stdout,
                   capture_output=True, check=True)


def as_app(cluster):
    """Past the proxy."""
    return psycopg.connect(cluster.conninfo(user="app"), autocommit=True)


def status_of(cluster):
    return cluster.value("SELECT status FROM ci_builds WHERE id = 1")


def test_from_one_database_to_two(team):
    application = Application(team.proxy)

    # Everything is on `report`: the application runs as ever, and what it breaks is recorded, once for each place.
    for _ in range(3):
        application.run("first")
    assert status_of(team.main) == "first"
    recorded = {line["rule"]: line for line in team.lines()}
    assert set(recorded) == {"cross_join", "cross_transaction"}
    assert all(line["action"] == "report" for line in team.lines())
    assert recorded["cross_join"]["tags"]["action"] == "index"
    assert recorded["cross_transaction"]["tags"]["job_class"] == "FinishedWorker"
    assert recorded["cross_transaction"]["earlier"]["tables"] == ["ci_builds"]

    # What was recorded becomes the allowlist …
    made = team.command("allowlist", "--from", team.record, "--url", "https://example.com/issues/1")
    assert "FinishedWorker" in made.stdout and made.stdout.count("https://example.com/issues/1") == 2
    (team.proxy.folder / "allowlist.yml").write_text(made.stdout)

    # … and the rules are enforced: the same code runs on, and what is new is refused.
    team.change(rules=dict.fromkeys(RULES, "enforce"), allowlist="allowlist.yml")
    team.command("check")
    application.run("listed")
    assert status_of(team.main) == "listed"
    with application.connect() as db, rejected("XD001", "cross_join"):
        db.execute("SELECT * FROM ci_pipelines c JOIN users u ON u.id = c.user_id")
    with application.connect() as db, rejected("XD002", "cross_transaction"):
        db.execute("UPDATE users SET name = 'x' WHERE id = 1")
        db.execute("DELETE FROM ci_stages WHERE id = 1")

    # The join is mended. In a fresh record its entry is not used any more, which `check` says.
    application.joins = False
    team.rotate()
    application.run("mended")
    wait_until(lambda: team.lines(), "the record to tell the transaction")
    notices = [line for line in team.command("check").stdout.splitlines() if "used by no violation" in line]
    assert len(notices) == 1 and "cross_join" in notices[0] and recorded["cross_join"]["fingerprint"] in notices[0]
    made = team.command("allowlist", "--from", team.record)
    assert "cross_join" not in made.stdout and "https://example.com/issues/1" in made.stdout
    assert recorded["cross_join"]["fingerprint"] in made.stderr
    (team.proxy.folder / "allowlist.yml").write_text(made.stdout)

    # What stands in the way of the split, and is taken out of it.
    assert team.problems(status=1) == [("foreign_key", "main", "public.ci_builds")]
    team.main.sql("ALTER TABLE ci_builds DROP CONSTRAINT fk_project")
    assert team.problems(status=0) == []
    assert "same" in team.command("lock-writes").stdout  # nothing to lock while it is one

    # The split: ci is a database of its own, with a copy of everything.
    copy_database(team.main, team.ci)
    team.change(databases={"main": team.main.conninfo(), "ci": team.ci.conninfo()})
    unlocked = team.problems(status=1)
    assert {check for check, _, _ in unlocked} == {"lock", "sequence"}
    assert ("lock", "main", "public.ci_builds") in unlocked and ("lock", "ci", "public.projects") in unlocked

    # The application does not notice, its listed transaction neither; what it writes is where it belongs.
    application.run("split")
    assert (status_of(team.main), status_of(team.ci)) == ("mended", "split")
    stars = "SELECT star_count FROM projects WHERE id = 7"
    assert team.main.value(stars) == team.ci.value(stars) + 1
    # The mended join would not run any more, allowlist or not.
    application.joins = True
    with rejected("XD001", "cross_join"):
        application.show_builds()
    application.joins = False

    # lock-writes: a write that slips past the proxy, on a direct connection to the wrong database, is stopped there.
    with as_app(team.main) as slipped:
        slipped.execute("UPDATE ci_builds SET status = 'slipped' WHERE id = 2")  # before: nobody minds
    team.command("lock-status", status=1)
    assert re.search(r"^ci: \d+ tables? locked", team.command("lock-writes").stdout, re.M)
    with as_app(team.main) as slipped, fails("2F002") as seen:
        slipped.execute("UPDATE ci_builds SET status = 'slipped' WHERE id = 1")
    assert seen.diag.message_primary == 'Table: "ci_builds" is write protected within this Gitlab database.'
    for text in ("DELETE FROM projects", "TRUNCATE notes CASCADE", "INSERT INTO users (username) VALUES ('x')"):
        with as_app(team.ci) as slipped, fails("2F002"):
            slipped.execute(text)
    with as_app(team.ci) as direct:
        direct.execute("UPDATE ci_builds SET status = 'direct' WHERE id = 2")  # where it belongs it may
    team.command("lock-status", status=0)
    assert team.problems(status=0) == []
    application.run("locked")
    assert (status_of(team.main), status_of(team.ci)) == ("mended", "locked")

    # The last entry's code is mended: nothing is recorded any more, and the list is empty.
    application.long_transaction = False
    team.rotate()
    application.run("done")
    assert (status_of(team.main), status_of(team.ci)) == ("mended", "done")
    assert team.lines() == []
    made = team.command("allowlist", "--from", team.record)
    assert recorded["cross_transaction"]["fingerprint"] in made.stderr and "fingerprint" not in made.stdout
    (team.proxy.folder / "allowlist.yml").write_text(made.stdout)
    team.change()
    application.run("clean")
    application.long_transaction = True
    with rejected("XD002", "cross_transaction"):
        application.finish_build("again")
    assert status_of(team.ci) == "clean"
