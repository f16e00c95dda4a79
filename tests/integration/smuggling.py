"""What the attempts at smuggling stand on: two clusters that both have all tables, as after a copy, so that a statement
that goes the wrong way succeeds there, and a look at the data, which tells where it went.

A copy of another database's table has the word `stray` in a text column of every row: who reads it reads the wrong
place. Nothing may ever change in a copy."""

import contextlib

import psycopg
import pytest

import wire
from harness import DEMO, Interlock, Postgres

MAIN_TABLES = ["users", "namespaces", "projects", "issues", "notes"]
CI_TABLES = ["ci_runners", "ci_pipelines", "ci_stages", "ci_builds"]
SHARED_TABLES = ["schema_migrations", "loose_foreign_keys_deleted_records"]
SIGN = {"users": "name", "namespaces": "name", "projects": "name", "issues": "title", "notes": "note",
        "ci_runners": "description", "ci_pipelines": "ref", "ci_stages": "name", "ci_builds": "name"}
HOME = {**{table: "main" for table in MAIN_TABLES}, **{table: "ci" for table in CI_TABLES}}
DIGEST = " UNION ALL ".join(f"SELECT '{table}', count(*), sum(hashtextextended(t::text, 0)) FROM {table} t"
                            for table in HOME)
# A sequence that was used for the copy's table is a trace, too.
SEQUENCES = " UNION ALL ".join(f"SELECT '{table}_id_seq', last_value, 0 FROM {table}_id_seq" for table in HOME)

ON, OFF = "on", "off"
# Read with standard_conforming_strings on: two strings, or three. Off: the payload stands outside of them.
HIDDEN = "SELECT 'a\\', '; UPDATE {table} SET {column} = $$smuggled$$; --'"
HIDDEN_READ = "SELECT 'a\\', ', (SELECT name FROM ci_builds LIMIT 1) --'"
HIDDEN_CI = HIDDEN.format(table="ci_builds", column="name")
HIDDEN_MAIN = HIDDEN.format(table="projects", column="name")
# The other way round: off, the update is a part of the string.
SHOWN = "SELECT 'a\\'; UPDATE ci_builds SET name = $$seen$$ --'"


class Pair:
    """The two clusters, and what has changed in them since the last look."""

    def __init__(self):
        self.clusters = {}
        for name, dbname in (("main", "app"), ("ci", "app_ci")):
            cluster = Postgres(name).start()
            self.clusters[name] = cluster.create_database(dbname, DEMO / "main.sql", DEMO / "ci.sql", DEMO / "shared.sql")
            copies = CI_TABLES if name == "main" else MAIN_TABLES
            cluster.sql("".join(f"UPDATE {table} SET {SIGN[table]} = 'stray';" for table in copies))
        self.main, self.ci = self.clusters["main"], self.clusters["ci"]
        self.seen = self.look()

    def look(self):
        return {name: {row[0]: row[1:] for row in cluster.sql(f"{DIGEST} UNION ALL {SEQUENCES}")}
                for name, cluster in self.clusters.items()}

    def changed(self):
        """(database, table or sequence) of all that changed since the last call."""
        before, self.seen = self.seen, self.look()
        return {(name, what) for name, now in self.seen.items() for what, value in now.items()
                if before[name][what] != value}

    def close(self):
        for cluster in self.clusters.values():
            cluster.close()


def home_of(what):
    return HOME[what.removesuffix("_id_seq")]


@pytest.fixture(scope="module")
def pair():
    pair = Pair()
    yield pair
    pair.close()


@pytest.fixture(scope="module")
def gate(pair):
    """The proxy in front of the pair."""
    with Interlock(pair.main, pair.ci) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def nothing_is_misplaced(pair):
    """After each test: whatever was written was written where it belongs."""
    pair.changed()
    yield
    wrong = {(database, what) for database, what in pair.changed() if home_of(what) != database}
    assert not wrong, f"changed in another database's copy: {wrong}"


@contextlib.contextmanager
def session(proxy, dbname="app", **more):
    with proxy.connect(dbname, **more) as connection:
        yield connection


def attempt(connection, text, params=None):
    """Runs it: the SQLSTATE of its failure, or None. Rows must not be a copy's."""
    try:
        cursor = connection.execute(text, params)
        while True:
            if cursor.description:
                for row in cursor.fetchall():
                    assert "stray" not in str(row), f"read from a copy: {row}"
            if not cursor.nextset():
                return None
    except psycopg.Error as error:
        return error.sqlstate or "lost"


def raw(connection, text):
    """The same by the simple protocol only, whatever is in the text, on a raw connection."""
    answer = connection.query(text)
    for row in wire.rows(answer):
        assert b"stray" not in b"|".join(value or b"" for value in row), f"read from a copy: {row}"
    failed = wire.errors(answer)
    return failed[0]["C"] if failed else None


@contextlib.contextmanager
def bytes_to(gate, **parameters):
    with wire.connect("127.0.0.1", gate.port, user="app", database="app", parameters=parameters) as connection:
        yield connection


@contextlib.contextmanager
def role_setting(clusters, words):
    """What every new session of the role gets."""
    for cluster in clusters:
        cluster.sql(f"ALTER ROLE app {words}")
    try:
        yield
    finally:
        for cluster in clusters:
            cluster.sql("ALTER ROLE app RESET ALL")


def strings_are_read_right(connection, pair, mode):
    """All three texts, more than once, as they come from the cache then."""
    for _ in range(3):
        raw(connection, HIDDEN_CI)
        raw(connection, HIDDEN_MAIN)
        raw(connection, SHOWN)
        raw(connection, HIDDEN_READ)
    if mode == OFF:
        assert pair.changed() <= {("ci", "ci_builds"), ("main", "projects")}
        assert pair.ci.value("SELECT count(*) FROM ci_builds WHERE name = 'smuggled'") > 0
    else:
        assert pair.changed() == {("ci", "ci_builds")}
        assert pair.ci.value("SELECT count(*) FROM ci_builds WHERE name = 'seen'") > 0
    pair.ci.sql("UPDATE ci_builds SET name = 'job'")
    pair.main.sql("UPDATE projects SET name = 'project'")
    pair.changed()
