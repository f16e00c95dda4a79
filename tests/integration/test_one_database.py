"""One physical database that is checked as two: one link, one real transaction, all rules on."""

import shutil

import psycopg
import pytest

from harness import DATA, one, rejected

JOIN = "SELECT count(*) FROM projects p JOIN ci_builds b ON b.project_id = p.id"
JOIN_PERMIT = "/* allow_cross_joins_across_databases url=x */ "
WRITE_PERMIT = "/* allow_cross_database_modification_within_transaction url=x */ "
ISSUE = "INSERT INTO issues (title) VALUES (%s)"
RUNNER = "INSERT INTO ci_runners (description) VALUES (%s)"


@pytest.fixture(params=["same_as", "fallback_database"])
def one_database(request, make_proxy, single_cluster, tmp_path):
    if request.param == "same_as":
        return make_proxy(main=single_cluster, databases={"main": single_cluster.conninfo(), "ci": {"same_as": "main"}})
    dictionary = DATA / "dictionary"
    connections = tmp_path / "connections"
    shutil.copytree(dictionary / "database_connections", connections)
    return make_proxy(main=single_cluster, databases={"main": single_cluster.conninfo()}, entrypoints={"app": "routed"},
                      classification={"tables": str(dictionary / "docs"), "schemas": str(dictionary / "gitlab_schemas"),
                                      "connections": str(connections)})


def rows(cluster, unique):
    return cluster.sql("SELECT (SELECT count(*) FROM issues WHERE title = %s),"
                       " (SELECT count(*) FROM ci_runners WHERE description = %s)", params=(unique, unique))[0]


def test_a_cross_join_is_rejected_and_a_permit_lets_it_run(one_database):
    with one_database.connect() as db:
        with rejected("XD001", "cross_join"):
            db.execute(JOIN)
        assert one(db, JOIN_PERMIT + JOIN) > 0


def test_a_cross_transaction_is_rejected(one_database, single_cluster, unique):
    with one_database.connect() as db:
        with rejected("XD002", "cross_transaction", "ci_runners"), db.transaction():
            db.execute(ISSUE, (unique,))
            db.execute(RUNNER, (unique,))
        with rejected("XD002", "cross_transaction"), db.pipeline(), db.transaction():
            db.execute(ISSUE, (unique,))
            db.execute(RUNNER, (unique,))
        with rejected("XD002", "cross_transaction"):
            db.execute(f"INSERT INTO issues (title) VALUES ('{unique}');"
                       f" INSERT INTO ci_runners (description) VALUES ('{unique}')")
    assert rows(single_cluster, unique) == (0, 0)


def test_a_permitted_one_is_one_real_transaction(one_database, single_cluster, unique):
    with one_database.connect() as db:
        with pytest.raises(psycopg.errors.DivisionByZero), db.transaction():
            db.execute(ISSUE, (unique,))
            db.execute(WRITE_PERMIT + RUNNER, (unique,))
            assert one(db, "SELECT pg_backend_pid() FROM ci_runners LIMIT 1") == \
                one(db, "SELECT pg_backend_pid() FROM issues LIMIT 1")
            db.execute("SELECT 1/0")
        assert rows(single_cluster, unique) == (0, 0)
        with db.transaction():
            db.execute(ISSUE, (unique,))
            db.execute(WRITE_PERMIT + RUNNER, (unique,))
        assert rows(single_cluster, unique) == (1, 1)
