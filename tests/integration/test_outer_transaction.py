"""rules.outer_transaction: ignore. Suites that run each test in one transaction find what crosses in production."""

import pathlib
import re
import subprocess

import pytest

from harness import one, rejected
from test_activerecord import RUBY

PROGRAM = pathlib.Path(__file__).with_name("transactional_tests_program.rb")
CHECKS = ["test_" + name.replace(" ", "_") for name in re.findall(r'^  test "(.+?)"', PROGRAM.read_text(), re.M)]
ISSUE = "INSERT INTO issues (title) VALUES (%s)"
RUNNER = "INSERT INTO ci_runners (description) VALUES (%s)"


@pytest.fixture(params=["two databases", "one database"])
def suite(request, make_proxy):
    if request.param == "two databases":
        return make_proxy(rules={"outer_transaction": "ignore"})
    single = request.getfixturevalue("single_cluster")
    return make_proxy(main=single, databases={"main": single.conninfo(), "ci": {"same_as": "main"}},
                      rules={"outer_transaction": "ignore"})


@pytest.mark.parametrize("prepared", ["on", "off"])
def test_rails_transactional_tests(suite, prepared):
    run = subprocess.run([RUBY, "-W0", PROGRAM, prepared], capture_output=True, text=True, env=suite.environment(), timeout=110)
    lines = run.stdout.splitlines()
    assert sorted(lines) == sorted(f"ok {name}" for name in CHECKS), run.stdout + run.stderr


def test_the_outermost_savepoint_is_the_transaction(suite, unique):
    with suite.connect() as db:
        db.execute("BEGIN")
        db.execute(ISSUE, (unique,))
        db.execute(RUNNER, (unique,))
        db.execute("SAVEPOINT active_record_1")
        db.execute(RUNNER, (unique,))
        with rejected("XD002", "cross_transaction", "issues"):
            db.execute(ISSUE, (unique,))
        db.execute("ROLLBACK TO SAVEPOINT active_record_1")
        db.execute(ISSUE, (unique,))
        db.execute("RELEASE SAVEPOINT active_record_1")
        db.execute("SAVEPOINT active_record_1")
        db.execute(RUNNER, (unique,))
        db.execute("RELEASE SAVEPOINT active_record_1")
        assert one(db, "SELECT count(*) FROM issues WHERE title = %s", (unique,)) == 2
        assert one(db, "SELECT count(*) FROM ci_runners WHERE description = %s", (unique,)) == 2
        db.execute("ROLLBACK")
        assert one(db, "SELECT count(*) FROM issues WHERE title = %s", (unique,)) == 0
        assert one(db, "SELECT count(*) FROM ci_runners WHERE description = %s", (unique,)) == 0


def test_a_block_over_two_databases_commits_on_both(make_proxy, unique):
    proxy = make_proxy(rules={"outer_transaction": "ignore"})
    with proxy.connect() as db:
        with db.transaction():
            db.execute(ISSUE, (unique,))
            db.execute(RUNNER, (unique,))
    assert proxy.main.value("SELECT count(*) FROM issues WHERE title = %s", params=(unique,)) == 1
    assert proxy.ci.value("SELECT count(*) FROM ci_runners WHERE description = %s", params=(unique,)) == 1


def test_without_a_savepoint_one_message_is_still_one_transaction(suite, unique):
    with suite.connect() as db, rejected("XD002", "cross_transaction"):
        db.execute(f"INSERT INTO issues (title) VALUES ('{unique}'); INSERT INTO ci_runners (description) VALUES ('{unique}')")


def test_the_default_counts_the_block(proxy, unique):
    with proxy.connect() as db:
        db.execute("BEGIN")
        db.execute(ISSUE, (unique,))
        with rejected("XD002", "cross_transaction"):
            db.execute(RUNNER, (unique,))
