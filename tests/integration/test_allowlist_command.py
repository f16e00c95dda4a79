"""`pginterlock allowlist`: from recorded violations to a list that lets them pass."""

import json
import re
import subprocess

import pytest

from harness import DATA, PROGRAM, rejected, yaml_text

JOIN = "SELECT count(*) FROM projects p JOIN ci_builds b ON b.project_id = p.id WHERE b.id = {}"


def line_of(number=1, **fields):
    """A line of a record as the proxy writes it."""
    return {"fingerprint": f"{number:016x}", "rule": "cross_join", "sqlstate": "XD001", "action": "report",
            "executable": True, "statement": f"select {number}", "tables": ["projects", "ci_builds"],
            "gitlab_schemas": ["gitlab_main", "gitlab_ci"], "databases": ["main", "ci"], "earlier": None,
            "message": "m", "url": None, "entrypoint": "app", "application_name": "a", "tags": {}, "count": 1,
            "first_seen": "2026-01-01T00:00:00Z", "last_seen": "2026-01-01T00:00:00Z", **fields}


class Command:
    def __init__(self, folder):
        self.folder = folder
        self.settings = {
            "databases": {"main": "host=127.0.0.1 dbname=app", "ci": {"same_as": "main"}},
            "classification": {"tables": str(DATA / "gitlab_schemas.yml")}, "auth": {"method": "trust"}}
        self.write_settings()

    def write_settings(self, **more):
        self.settings.update(more)
        (self.folder / "c.yml").write_text(yaml_text(self.settings))

    def allow(self, text):
        (self.folder / "allow.yml").write_text(text)
        self.write_settings(allowlist="allow.yml")

    def record(self, *lines):
        path = self.folder / "v.jsonl"
        path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
        return path

    def run(self, *arguments, **more):
        return subprocess.run([PROGRAM, "allowlist", "--config", self.folder / "c.yml", *arguments],
                              capture_output=True, text=True, timeout=30, **more)

    def made(self, *lines, arguments=()):
        """The list from these lines; it must load again."""
        run = self.run("--from", self.record(*lines), *arguments)
        assert run.returncode == 0, run.stderr
        (self.folder / "made.yml").write_text(run.stdout)
        settings = {**self.settings, "allowlist": "made.yml"}
        (self.folder / "again.yml").write_text(yaml_text(settings))
        check = subprocess.run([PROGRAM, "check", "--config", self.folder / "again.yml"], capture_output=True, text=True)
        assert check.returncode == 0, check.stderr
        return run

    def fingerprints(self, *lines, **more):
        return re.findall(r'^  fingerprint: "([0-9a-f]{16})"$', self.made(*lines, **more).stdout, re.MULTILINE)


@pytest.fixture
def command(tmp_path):
    return Command(tmp_path)


def test_one_entry_for_each_fingerprint_the_most_frequent_first(command):
    lines = [line_of(1), line_of(2, count=5), line_of(1, application_name="b", count=3), line_of(3)]
    assert command.fingerprints(*lines) == [f"{2:016x}", f"{1:016x}", f"{3:016x}"]


def test_a_comment_tells_what_it_is(command):
    tags = [{"controller": "projects", "action": "show"}, {"job": "PruneJob"}, {"endpoint_id": "GET /x"}]
    lines = [line_of(statement="select ? from projects, ci_builds", tags=tag, count=2,
                     first_seen=f"2026-01-0{day}T00:00:00Z", last_seen=f"2026-01-0{day + 3}T00:00:00Z")
             for day, tag in enumerate(tags, 1)]
    out = command.made(*lines).stdout
    assert "# select ? from projects, ci_builds\n" in out
    assert "# tables: projects, ci_builds\n" in out
    assert "# count: 6, first 2026-01-01T00:00:00Z, last 2026-01-06T00:00:00Z\n" in out
    assert "# from: projects#show, job PruneJob, endpoint_id GET /x\n" in out


def test_what_modified_before_is_told(command):
    out = command.made(line_of(rule="cross_transaction", tables=["ci_builds"],
                               earlier={"statement": "update projects", "tables": ["projects"]})).stdout
    assert "# modified before: projects\n" in out


def test_hostile_texts_stay_within_their_comment(command):
    text = "x\n- rule: cross_join\r\u2028\u2029\u0085\x7f\ufeff\ufffe\u0000- é \U0001f600".replace("\u0000", "")
    out = command.made(line_of(statement=text, tables=[text], tags={"controller": text}, url=text)).stdout
    assert out.count("- rule:") == 5 and len(re.findall("^- rule:", out, re.MULTILINE)) == 1
    assert "é \U0001f600" in out


def test_what_is_permitted_by_comment_needs_no_entry(command):
    assert command.fingerprints(line_of(1, action="comment"), line_of(2, action="setting")) == [f"{2:016x}"]
    assert command.fingerprints(line_of(1, action="comment"), line_of(1, action="rejected")) == [f"{1:016x}"]


def test_what_no_permit_helps_is_left_out_and_said(command):
    run = command.made(line_of(1, executable=False, action="rejected"),
                       line_of(2, rule="unroutable", sqlstate="XD007", executable=False, action="rejected"))
    assert run.stdout.splitlines()[-1] == "[]"
    assert len(run.stderr.splitlines()) == 2 and f"{1:016x}" in run.stderr and f"{2:016x}" in run.stderr


def test_nothing_recorded_is_an_empty_list(command):
    assert command.made().stdout.splitlines()[-1] == "[]"


def test_url_and_until_are_given_to_new_entries(command):
    out = command.made(line_of(), arguments=["--url", 'https://example.com/"1"', "--until", "2099-12-31"]).stdout
    assert '  url: "https://example.com/\\"1\\""\n  until: 2099-12-31\n' in out


def test_the_url_of_a_recorded_permit_is_kept(command):
    out = command.made(line_of(action="setting", url="https://example.com/2"), arguments=["--url", "u"]).stdout
    assert '  url: "https://example.com/2"\n' in out


def test_configured_entries_keep_their_url_and_date(command):
    command.allow(f'- {{rule: cross_join, fingerprint: "{1:016x}", url: "https://example.com/3", until: 2098-01-31}}\n')
    out = command.made(line_of(1), line_of(2), arguments=["--url", "new", "--until", "2099-12-31"]).stdout
    assert '  url: "https://example.com/3"\n  until: 2098-01-31\n' in out
    assert '  url: "new"\n  until: 2099-12-31\n' in out


def test_a_configured_entry_by_tables_hands_on_its_url(command):
    command.allow("- {rule: cross_join, tables: [ci_builds, projects], url: 'https://example.com/4'}\n")
    run = command.made(line_of(1, tables=["projects", "ci_builds", "schema_migrations"], action="allowlist"))
    assert '  url: "https://example.com/4"\n' in run.stdout and run.stderr == ""


def test_an_expired_entry_is_said_and_takes_a_new_date(command):
    command.allow(f'- {{rule: cross_join, fingerprint: "{1:016x}", until: 2020-01-31}}\n')
    run = command.made(line_of(1))
    assert "  until: 2020-01-31\n" in run.stdout and re.search(r"allow\.yml:1: .*2020-01-31.*--until", run.stderr)
    run = command.made(line_of(1), arguments=["--until", "2099-12-31"])
    assert "  until: 2099-12-31\n" in run.stdout and run.stderr == ""


def test_what_was_not_seen_any_more_is_said(command):
    command.allow(f'- {{rule: cross_join, fingerprint: "{1:016x}"}}\n- {{rule: cross_join, tables: [users, ci_builds]}}\n')
    run = command.made(line_of(1))
    assert len(run.stderr.splitlines()) == 1
    assert re.search(r"allow\.yml:2: cross_join of ci_builds, users was not seen", run.stderr)


def test_the_record_may_come_on_standard_input(command):
    run = command.run("--from", "-", input=json.dumps(line_of(7)) + "\n")
    assert run.returncode == 0 and f"{7:016x}" in run.stdout


@pytest.mark.parametrize("bad, what", [
    ("{", "no JSON object"), ("[]\n", "no JSON object"), ("{}\n", "fingerprint"), ('{"fingerprint": 1}\n', "fingerprint"),
    (line_of(fingerprint="xyz"), "fingerprint"), (line_of(rule="nonsense"), "rule"), (line_of(action="x"), "action"),
    (line_of(count=0), "count"), (line_of(count="1"), "count"), (line_of(tables="projects"), "tables"),
    (line_of(tables=[1]), "tables"), (line_of(first_seen="now"), "first_seen"), (line_of(statement=None), "statement"),
    (line_of(earlier={"tables": 1}), "earlier")])
def test_bad_lines_are_said_with_their_place(command, bad, what):
    run = command.run("--from", command.record(line_of(), bad))
    assert run.returncode == 2 and run.stdout == ""
    assert len(run.stderr.splitlines()) == 1 and re.match(r"\S*v\.jsonl:2: .+: .+", run.stderr) and what in run.stderr


@pytest.mark.parametrize("arguments, what", [
    ((), "--from"), (("--from", "nowhere.jsonl"), "nowhere.jsonl:1: "), (("--from", "-", "--until", "soon"), "soon"),
    (("--from", "-", "--until", "2026-02-30"), "2026-02-30"), (("--from", "-", "--until", "2020-01-01"), "over"),
    (("--from", "-", "--json"), "--json")])
def test_bad_usage_is_said(command, arguments, what):
    run = command.run(*arguments, input="")
    assert run.returncode == 2 and run.stdout == "" and what in run.stderr and len(run.stderr.splitlines()) == 1


def test_from_report_over_record_and_allowlist_to_enforce(make_proxy, main_cluster):
    """The whole way: what was recorded under `report` passes under `enforce`, and nothing else."""
    tables = "SET ROLE app; CREATE TABLE ci_builds (id bigserial PRIMARY KEY, project_id bigint, status text)"
    main_cluster.sql(tables)
    try:
        proxy = make_proxy(databases={"main": main_cluster.conninfo(), "ci": {"same_as": "main"}}, workers=1,
                           violations="v.jsonl", rules={rule: "report" for rule in (
                               "cross_join", "cross_transaction", "wrong_database", "write_lock", "unclassified")})

        def violate(entrypoint):
            with proxy.connect(entrypoint) as db:
                for number in range(3):
                    db.execute(JOIN.format(number))
                    db.execute(JOIN.format("%s"), (number,), prepare=True)
                db.execute(f"PREPARE q AS {JOIN.format(1)} AND p.id = 2")
                db.execute("EXECUTE q")
                db.execute("BEGIN")
                db.execute("UPDATE projects SET star_count = star_count WHERE id = 1")
                db.execute("UPDATE ci_builds SET status = 'x' WHERE id = 1")
                db.execute("ROLLBACK")
                db.execute("CREATE TABLE no_such_class (id int)")
                db.execute("INSERT INTO no_such_class SELECT id FROM ci_builds")
                db.execute("DROP TABLE no_such_class")

        for entrypoint in ("app", "app_ci"):
            violate(entrypoint)
        proxy.stop()
        run = subprocess.run([PROGRAM, "allowlist", "--config", proxy.config, "--from", proxy.folder / "v.jsonl"],
                             capture_output=True, text=True)
        assert run.returncode == 0 and run.stderr == "", run.stderr
        (proxy.folder / "allow.yml").write_text(run.stdout)
        (proxy.folder / "v.jsonl").unlink()
        proxy.write_config(rules=None, allowlist="allow.yml")
        proxy.start()
        for entrypoint in ("app", "app_ci"):
            violate(entrypoint)
        with proxy.connect() as db, rejected("XD001"):
            db.execute("SELECT 1 AS another FROM projects, ci_builds")
        lines = [json.loads(line) for line in (proxy.folder / "v.jsonl").read_text().splitlines()]
        assert {line["action"] for line in lines} == {"allowlist", "rejected"}
    finally:
        main_cluster.sql("DROP TABLE IF EXISTS ci_builds, no_such_class")
