"""A reload that moves a table to the other database, between what was prepared and its execution; and what only the
databases themselves know: functions and views that are there already, which `check --live` tells and locks stop."""

import contextlib
import json
import os
import signal
import subprocess

import pytest

import wire
from harness import DATA, PROGRAM
from smuggling import attempt, nothing_is_misplaced, pair, raw  # noqa: F401 (fixtures)


class Moving:
    """A proxy whose classification gives `notes` to main, and after move() to ci."""

    def __init__(self, proxy, tables):
        self.proxy, self.tables = proxy, tables

    def move(self):
        text = self.tables.read_text()
        assert "notes: :gitlab_main" in text
        self.tables.write_text(text.replace("\nnotes: :gitlab_main", "\nnotes: :gitlab_ci"))
        start = len(self.proxy.log())
        self.proxy.signal(signal.SIGHUP)
        assert "not" not in self.proxy.wait_for_log(r"configuration (not )?reloaded", start).group(0)
        # The worker's mailbox is emptied before it serves the next client.
        with self.proxy.connect() as db:
            assert db.execute("SELECT current_database() FROM notes LIMIT 1").fetchone() == ("app_ci",)

    def session(self):
        return wire.connect("127.0.0.1", self.proxy.port, user="app", database="app")


@pytest.fixture
def moving(make_proxy, pair, tmp_path):
    tables = tmp_path / "tables.yml"
    tables.write_text((DATA / "gitlab_schemas.yml").read_text())
    return Moving(make_proxy(main=pair.main, ci=pair.ci, workers=1, classification={"tables": str(tables)}), tables)


def states(answer):
    return [fields["C"] for fields in wire.errors(answer)]


def prepared_by_sql(connection):
    assert raw(connection, "PREPARE p AS UPDATE notes SET note = note || 'm'") is None
    yield
    connection.query("EXECUTE p")


def explained_by_sql(connection):
    assert raw(connection, "PREPARE p AS UPDATE notes SET note = note || 'm'") is None
    yield
    connection.query("EXPLAIN ANALYZE EXECUTE p")


def bound_by_its_name(connection):
    assert raw(connection, "PREPARE p AS UPDATE notes SET note = note || 'm'") is None
    yield
    connection.exchange(wire.bind("", "p"), wire.execute(), wire.sync())


def parsed(connection):
    assert states(connection.exchange(wire.parse("s", "UPDATE notes SET note = note || 'm'"), wire.sync())) == []
    yield
    connection.exchange(wire.bind("", "s"), wire.execute(), wire.sync())


def parsed_and_run_by_sql(connection):
    assert states(connection.exchange(wire.parse("s", "UPDATE notes SET note = note || 'm'"), wire.sync())) == []
    yield
    connection.query("EXECUTE s")


def known_text(connection):
    for _ in range(3):
        assert raw(connection, "UPDATE notes SET note = note || 'x' WHERE id < 3") is None
    yield
    connection.query("UPDATE notes SET note = note || 'x' WHERE id < 3")
    connection.query("UPDATE notes SET note = note || 'moved' WHERE id < 3")


@pytest.mark.parametrize("way", [prepared_by_sql, explained_by_sql, bound_by_its_name, parsed,
                                 parsed_and_run_by_sql, known_text], ids=lambda way: way.__name__)
def test_what_was_prepared_before_a_table_moved_does_not_write_its_old_place(moving, pair, way):
    with moving.session() as connection:
        steps = way(connection)
        next(steps)
        pair.changed()
        moving.move()
        with contextlib.suppress(StopIteration):
            next(steps)
    assert ("main", "notes") not in pair.changed()


def test_what_was_prepared_to_read_does_not_read_the_old_place(moving, pair):
    pair.main.sql("CREATE TABLE IF NOT EXISTS old_notes AS TABLE notes; UPDATE notes SET note = 'stray'")
    pair.ci.sql("UPDATE notes SET note = 'new place'")
    try:
        with moving.session() as connection:
            connection.exchange(wire.parse("s", "SELECT note FROM notes LIMIT 1"), wire.sync())
            connection.query("PREPARE p AS SELECT note FROM notes LIMIT 1")
            moving.move()
            answer = connection.exchange(wire.bind("", "s"), wire.execute(), wire.sync())
            assert wire.rows(answer) == [[b"new place"]]  # prepared there, unseen
            assert states(connection.query("EXECUTE s")) in ([], ["XD007"])
            assert states(connection.query("EXECUTE p")) == ["XD004"]
            assert states(connection.query("DEALLOCATE p; PREPARE p AS SELECT note FROM notes LIMIT 1")) == []
            assert wire.rows(connection.query("EXECUTE p")) == [[b"new place"]]
    finally:
        pair.main.sql("UPDATE notes n SET note = o.note FROM old_notes o WHERE o.id = n.id; DROP TABLE old_notes")
        pair.ci.sql("UPDATE notes SET note = 'stray'")
        pair.changed()


def test_a_cursor_of_a_table_that_moved_goes_on_where_it_was_opened(moving, pair):
    with moving.session() as connection:
        raw(connection, "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT note FROM notes; COMMIT")
        moving.move()
        assert raw(connection, "FETCH c") is None
    assert pair.changed() == set()


@pytest.mark.parametrize("messages", [[wire.query("UPDATE notes SET note = note || 'n'")],
                                      [wire.execute("o"), wire.sync()]], ids=["a text", "a portal"])
def test_an_open_block_goes_on_as_it_began_and_what_comes_behind_it_does_not(moving, pair, messages):
    with moving.session() as connection:
        raw(connection, "BEGIN; UPDATE notes SET note = note || 'o'")
        connection.exchange(wire.parse("s", "UPDATE notes SET note = note || 'p'"), wire.bind("o", "s"), wire.sync())
        moving.move()
        assert states(connection.exchange(*messages)) == []
        assert raw(connection, "UPDATE ci_builds SET name = 'x'") == "XD002"
        raw(connection, "ROLLBACK")
        assert pair.changed() == set()
        assert raw(connection, "UPDATE notes SET note = note || 'c'") is None
    assert pair.changed() == {("ci", "notes")}


# -- what the databases know -----------------------------------------------------------------------------------------

SMUGGLE = "CREATE FUNCTION smuggle() RETURNS void LANGUAGE plpgsql AS $$ BEGIN UPDATE ci_builds SET name = 'called'; END $$"
DYNAMIC = ("CREATE FUNCTION smuggle_dynamic(t text) RETURNS void LANGUAGE plpgsql AS"
           " $$ BEGIN EXECUTE 'UPDATE ' || t || ' SET name = ''called'''; END $$")
VIEW = "CREATE SCHEMA other AUTHORIZATION app; CREATE VIEW other.projects AS SELECT * FROM public.ci_builds"


@pytest.fixture
def planted(pair, make_proxy):
    """Made past the proxy, on main: functions and a view of a table's name over another database's."""
    pair.main.sql(f"SET ROLE app; {SMUGGLE}; {DYNAMIC}; RESET ROLE; {VIEW}; ALTER VIEW other.projects OWNER TO app")
    proxy = make_proxy(main=pair.main, ci=pair.ci)
    yield proxy
    pair.main.sql("DROP FUNCTION smuggle(), smuggle_dynamic(text); DROP SCHEMA other CASCADE")


def command(proxy, *arguments):
    return subprocess.run([PROGRAM, *arguments, "--config", proxy.config], capture_output=True, text=True, timeout=100,
                          env={**os.environ, "PGUSER": "app"})


def test_check_live_tells_the_functions_and_views_that_the_classifier_cannot_see_into(planted):
    done = command(planted, "check", "--live", "--json")
    told = {(line["check"], line["object"]) for line in map(json.loads, done.stdout.splitlines()) if line["database"] == "main"}
    assert {("function", "public.smuggle()"), ("function", "public.smuggle_dynamic(t text)"), ("view", "other.projects")} <= told


def test_the_locks_stop_what_a_function_does_out_of_sight(planted, pair):
    assert command(planted, "lock-writes").returncode == 0
    try:
        with planted.connect() as db:
            assert attempt(db, "SELECT smuggle()") == "2F002"
            assert attempt(db, "SELECT smuggle_dynamic('ci_builds')") == "2F002"
            assert attempt(db, "SELECT smuggle_dynamic($$projects$$)") is None
            assert attempt(db, "DO $$ BEGIN EXECUTE 'UPDATE ci_' || 'builds SET name = NULL'; END $$") == "2F002"
            assert attempt(db, "UPDATE other.projects SET name = 'x'") == "2F002"
    finally:
        assert command(planted, "unlock-writes").returncode == 0
    assert pair.changed() == {("main", "projects")}
