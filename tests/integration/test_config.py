"""Whatever is wrong with the settings: exit status 2 and one line that says where, what and what to do."""

import os
import re
import signal
import socket
import subprocess

import pytest

from harness import PROGRAM, Interlock, free_port, one

GOOD = """\
listen: ["127.0.0.1:6432"]
databases:
  main: "host=127.0.0.1 port=5432 dbname=app"
  ci: "host=127.0.0.1 port=5433 dbname=app_ci"
classification:
  tables: tables.yml
entrypoints:
  app: routed
  app_main: main
auth: {method: trust}
"""
TABLES = "projects: :gitlab_main\nci_builds: :gitlab_ci\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tables.yml").write_text(TABLES)
    (tmp_path / "userlist.txt").write_text('"app" "secret"\n')
    (tmp_path / "userlist.txt").chmod(0o600)
    return tmp_path


def check(folder, text, *command, environment=None):
    (folder / "c.yml").write_text(text)
    return subprocess.run([PROGRAM, *(command or ("check",)), "--config", folder / "c.yml"], capture_output=True,
                          text=True, timeout=30, env={**os.environ, **(environment or {})})


def replaced(old, new):
    assert old in GOOD
    return GOOD.replace(old, new)


# name: (text, line, words that the message must have)
BAD = {
    "an unknown key": (GOOD + "colour: red\n", 11, ["colour"]),
    "an unknown rule": (GOOD + "rules:\n  cross_joint: enforce\n", 12, ["cross_joint"]),
    "a bad mode of a rule": (GOOD + "rules: {cross_join: maybe}\n", 11, ["maybe"]),
    "a scalar for a list": (replaced('["127.0.0.1:6432"]', "127.0.0.1:6432"), 1, ["listen"]),
    "a list for a map": (replaced("auth: {method: trust}", "auth: [trust]"), 10, ["auth"]),
    "a duplicate key": (GOOD + "auth: {method: trust}\n", 11, ["auth"]),
    "a duplicate database": (GOOD.replace("  ci: ", "  main: "), 4, ["main"]),
    "main that isn't first": (GOOD.replace("  main: \"host", "  zz: \"host").replace("  ci: ", "  main: "), 3, ["main"]),
    "a bad connection string": (replaced("port=5433", "prot=5433"), 4, ["prot"]),
    "an unknown database in an entrypoint": (replaced("app_main: main", "app_main: mian"), 9, ["mian"]),
    "a bad port": (replaced(":6432", ":66432"), 1, ["66432"]),
    "no port": (replaced(":6432", ""), 1, ["127.0.0.1"]),
    "a missing classification file": (replaced("tables.yml", "nowhere.yml"), 6, ["nowhere.yml"]),
    "no classification": (GOOD.replace("classification:\n  tables: tables.yml\n", ""), 1, ["classification"]),
    "no databases": (re.sub(r"databases:\n(  .*\n)+?classification", "classification", GOOD), 1, ["databases"]),
    "an unknown authentication method": (replaced("trust", "honour"), 10, ["honour"]),
    "a missing userlist": (replaced("method: trust", "method: md5, users: nowhere.txt"), 10, ["nowhere.txt"]),
    "no userlist": (replaced("method: trust", "method: md5"), 10, ["users"]),
    "trust on an address that isn't loopback": (replaced("127.0.0.1:6432", "0.0.0.0:6432"), 1, ["allow_insecure"]),
    "a missing certificate": (GOOD + "tls: {mode: require, cert: no.crt, key: no.key}\n", 11, ["no.crt"]),
    "tls without a certificate": (GOOD + "tls: {mode: require}\n", 11, ["cert"]),
    "an unknown tls mode": (GOOD + "tls: {mode: maybe}\n", 11, ["maybe"]),
    "a bad log level": (GOOD + "log: {level: loud}\n", 11, ["loud"]),
    "a bad number": (GOOD + "workers: many\n", 11, ["many"]),
    "an unset variable": (replaced("port=5433", "port=${NO_SUCH_VARIABLE}"), 4, ["NO_SUCH_VARIABLE"]),
    "same_as an unknown database": (replaced('ci: "host=127.0.0.1 port=5433 dbname=app_ci"', "ci: {same_as: man}"), 4, ["man"]),
    "same_as itself": (replaced('ci: "host=127.0.0.1 port=5433 dbname=app_ci"', "ci: {same_as: ci}"), 4, ["ci"]),
    "broken YAML": (GOOD + "x: [1, 2\n", None, []),
    "a tab": (GOOD + "\tx: 1\n", 11, []),
    "not a map": ("- a\n- b\n", 1, []),
    "an empty file": ("", None, []),
    "an allowlist that is not there": (GOOD + "allowlist: a.yml\n", 11, ["a.yml"]),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("command", ["check", "run"])
def test_bad_settings_are_one_line_and_exit_status_2(folder, name, command):
    text, line, words = BAD[name]
    run = check(folder, text, command)
    assert run.returncode == 2, run
    lines = run.stderr.splitlines()
    assert len(lines) == 1, run.stderr
    match = re.match(r"(?:pginterlock: )?(\S+):(\d+): .+", lines[0])
    assert match, lines[0]
    if line:
        assert int(match.group(2)) == line, lines[0]
    for word in words:
        assert word in lines[0], lines[0]
    assert "secret" not in run.stderr


def test_good_settings_are_fine(folder):
    assert check(folder, GOOD).returncode == 0


def test_variables_come_from_the_environment(folder):
    text = replaced("port=5433", "port=${CI_PORT:-5433}")
    assert check(folder, text).returncode == 0
    assert check(folder, text, environment={"CI_PORT": "no number"}).returncode == 2


@pytest.mark.parametrize("text, line, word", [
    ("projects: :gitlab_main\nci_builds\n", None, ""),
    ("projects: :gitlab_main\nprojects: :gitlab_ci\n", 2, "projects"),
    ("projects: [1]\n", 1, "projects"),
    ("projects:\n", 1, "projects"),
])
def test_a_bad_classification_is_said_with_its_own_file(folder, text, line, word):
    (folder / "tables.yml").write_text(text)
    run = check(folder, GOOD)
    assert run.returncode == 2
    match = re.match(r"(?:pginterlock: )?\S*tables\.yml:(\d+): ", run.stderr)
    assert match and word in run.stderr and len(run.stderr.splitlines()) == 1, run.stderr
    if line:
        assert int(match.group(1)) == line


@pytest.mark.parametrize("text, line", [('"app" "hunter2"\n"app\n', 2), ('app hunter2\n', 1), ('"app"\n', 1)])
def test_a_bad_userlist_is_said_without_its_secrets(folder, text, line):
    (folder / "userlist.txt").write_text(text)
    run = check(folder, replaced("method: trust", "method: md5, users: userlist.txt"))
    assert run.returncode == 2
    assert re.match(rf"(?:pginterlock: )?\S*userlist\.txt:{line}: ", run.stderr), run.stderr
    assert "hunter2" not in run.stderr


def test_a_missing_settings_file(folder):
    for command in ("check", "run", "explain"):
        run = subprocess.run([PROGRAM, command, "--config", folder / "none.yml"], capture_output=True, text=True, input="")
        assert run.returncode == 2 and "none.yml" in run.stderr and len(run.stderr.splitlines()) == 1


def test_a_port_that_is_taken(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = check(folder, replaced("6432", str(port)), "run")
    assert run.returncode == 2
    assert str(port) in run.stderr and len(run.stderr.splitlines()) == 1, run.stderr


def test_an_address_that_is_not_ours(folder):
    text = replaced("127.0.0.1:6432", "192.0.2.1:6432").replace("method: trust", "method: trust, allow_insecure: true")
    run = check(folder, text, "run")
    assert run.returncode == 2 and "192.0.2.1" in run.stderr and len(run.stderr.splitlines()) == 1, run.stderr


def test_a_certificate_that_is_none(folder):
    (folder / "x.crt").write_text("nonsense")
    (folder / "x.key").write_text("nonsense")
    (folder / "x.key").chmod(0o600)
    run = check(folder, GOOD + "tls: {mode: require, cert: x.crt, key: x.key}\n", "run")
    assert run.returncode == 2 and "x.crt" in run.stderr and len(run.stderr.splitlines()) == 1, run.stderr


# --- the command line ---

@pytest.mark.parametrize("arguments", [[], ["--nonsense"], ["fly"], ["run"], ["run", "--config"], ["check", "extra"],
                                       ["explain", "--config", "/none.yml", "--entrypoint"]])
def test_bad_usage_is_exit_status_2(arguments):
    run = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, input="", timeout=20)
    assert run.returncode == 2 and run.stderr, run


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["check", "--help"], ["explain", "--help"]])
def test_help_and_version_are_fine(arguments):
    run = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=20)
    assert run.returncode == 0 and run.stdout and not run.stderr


# --- databases_from ---

DATABASE_YML = """\
default: &default
  adapter: postgresql
  host: 127.0.0.1
  username: app
  variables:
    statement_timeout: 17s
production:
  main:
    <<: *default
    port: {main}
    database: app
  ci:
    <<: *default
    port: {ci}
    database: app_ci
"""


def rails(text, tmp_path, main, ci):
    path = tmp_path / "database.yml"
    path.write_text(text.replace("{main}", str(main)).replace("{ci}", str(ci)))
    return {"file": str(path), "environment": "production"}


def test_databases_come_from_a_rails_file(make_proxy, proxy, tmp_path):
    own = make_proxy(databases=None, databases_from=rails(DATABASE_YML, tmp_path, proxy.main.port, proxy.ci.port))
    with own.connect() as db:
        assert one(db, "SELECT current_database() FROM projects LIMIT 1") == "app"
        assert one(db, "SELECT current_database() FROM ci_builds LIMIT 1") == "app_ci"
        assert one(db, "SELECT current_setting('statement_timeout') FROM ci_builds LIMIT 1") == "17s"


def test_two_databases_that_are_one_are_said_at_start(make_proxy, proxy, tmp_path):
    text = DATABASE_YML.replace("app_ci", "app")
    own = make_proxy(databases=None, databases_from=rails(text, tmp_path, proxy.main.port, proxy.main.port))
    own.wait_for_log(r"same_as|same database")


@pytest.mark.parametrize("text, word", [
    (DATABASE_YML.replace("database: app_ci", "database: <%= ENV['X'] %>"), "ERB"),
    (DATABASE_YML.replace("production", "staging"), "production"),
    (DATABASE_YML.replace("  ci:", "  nonsense:"), "nonsense"),
    (DATABASE_YML.replace("username: app", "usrname: app"), "usrname"),
    (DATABASE_YML.replace("adapter: postgresql", "adapter: mysql2"), "mysql2"),
])
def test_a_bad_rails_file_is_said_with_its_own_line(folder, text, word):
    source = rails(text, folder, 5432, 5433)
    settings = re.sub(r"databases:\n(  .*\n)+?classification",
                      f"databases_from: {{file: {source['file']}, environment: production}}\nclassification", GOOD)
    run = check(folder, settings)
    assert run.returncode == 2 and len(run.stderr.splitlines()) == 1
    assert word in run.stderr and re.search(r"\.yml:\d+: ", run.stderr), run.stderr


# --- listening ---

def test_several_addresses_are_served(make_proxy):
    port = free_port()
    own = make_proxy(start=False)
    own.write_config(listen=[f"127.0.0.1:{own.port}", f"127.0.0.1:{port}", f"{own.folder}:{own.port}"])
    own.start()
    for host, number in (("127.0.0.1", own.port), ("127.0.0.1", port), (str(own.folder), own.port)):
        own.connect(host=host, port=number).close()


def test_a_unix_socket_that_was_left_behind_is_replaced(make_proxy):
    own = make_proxy()
    own.process.send_signal(signal.SIGKILL)
    own.process.wait()
    assert (own.folder / f".s.PGSQL.{own.port}").exists()
    own.start()
    own.connect(host=str(own.folder)).close()
    own.stop()
    assert not (own.folder / f".s.PGSQL.{own.port}").exists()


def test_two_proxies_cannot_share_a_unix_socket(make_proxy):
    first = make_proxy()
    second = Interlock(first.main, first.ci, listen=[f"{first.folder}:{first.port}"])
    run = subprocess.run([PROGRAM, "run", "--config", second.config], capture_output=True, text=True, timeout=20)
    second.close()
    assert run.returncode == 2 and len(run.stderr.splitlines()) == 1, run.stderr
    first.connect(host=str(first.folder)).close()
