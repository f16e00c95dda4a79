"""Attempts to smuggle a table past the classifier by what the session was told before: settings that change how a text
is read, names that were given before, transactions that take them back, and reloads in between."""

import contextlib
import itertools

import pytest

import wire
from harness import Interlock
from smuggling import (HIDDEN_CI, HIDDEN_MAIN, HIDDEN_READ, OFF, ON, SHOWN, attempt, bytes_to, gate,  # noqa: F401 (fixtures)
                       nothing_is_misplaced, pair, raw, role_setting, strings_are_read_right)

FRESH = itertools.count(1)  # values that no row has yet


@pytest.fixture
def db(gate):
    with gate.connect() as connection:
        yield connection


# -- standard_conforming_strings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [
    ["SET standard_conforming_strings = off"], ["SET SESSION standard_conforming_strings TO 'off'"],
    ['SET "standard_conforming_strings" = 0'], ["SELECT set_config('standard_conforming_strings', 'off', false)"],
    ["SELECT set_config('standard_' || 'conforming_strings', lower('OFF'), false)"],
    ["DO $$ BEGIN PERFORM set_config('standard_conforming_' || 'strings', 'off', false); END $$"],
    ["DO $$ BEGIN SET standard_conforming_strings = off; END $$"],
    ["DO $$ BEGIN EXECUTE 'SET standard_conforming_' || 'strings = off'; END $$"],
    ["BEGIN", "SET standard_conforming_strings = off", "COMMIT"],
    ["SET standard_conforming_strings = off; SELECT 1"], ["PREPARE p AS SELECT set_config($1, $2, false)",
                                                          "EXECUTE p('standard_conforming_strings', 'off')"],
    ["UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings'"],
])
def test_strings_are_read_as_the_server_does_once_a_session_changed_that(gate, pair, words):
    with bytes_to(gate) as connection:
        strings_are_read_right(connection, pair, ON)
        for text in words:
            raw(connection, text)
        assert wire.rows(connection.query("SHOW standard_conforming_strings")) == [[b"off"]]
        strings_are_read_right(connection, pair, OFF)


@pytest.mark.parametrize("words", [
    ["BEGIN", "SET standard_conforming_strings = off", "ROLLBACK"], ["BEGIN", "SET LOCAL standard_conforming_strings = off", "COMMIT"],
    ["SET standard_conforming_strings = off", "RESET standard_conforming_strings"],
    ["SET standard_conforming_strings = off", "RESET ALL"], ["SET standard_conforming_strings = off", "DISCARD ALL"],
    ["SET standard_conforming_strings = off", "SET standard_conforming_strings TO DEFAULT"],
    ["BEGIN", "SAVEPOINT a", "SET standard_conforming_strings = off", "ROLLBACK TO a", "COMMIT"],
    ["SET LOCAL standard_conforming_strings = off"], ["SET standard_conforming_strings = off; SELECT 1/0"],
    ["BEGIN", "SET standard_conforming_strings = off", "SELECT 1/0", "COMMIT"],
])
def test_strings_are_read_as_the_server_does_once_a_change_was_taken_back(gate, pair, words):
    with bytes_to(gate) as connection:
        for text in words:
            raw(connection, text)
        strings_are_read_right(connection, pair, ON)


def test_within_a_block_strings_are_read_by_what_the_block_has_set(gate, pair):
    with bytes_to(gate) as connection:
        raw(connection, "BEGIN; SAVEPOINT a; SET LOCAL standard_conforming_strings = off")
        assert raw(connection, HIDDEN_READ) is None
        raw(connection, "ROLLBACK TO a")
        assert raw(connection, HIDDEN_CI) is None
        raw(connection, "COMMIT")
        assert pair.changed() == set()
        strings_are_read_right(connection, pair, ON)


def test_one_text_is_read_by_what_was_set_before_it(gate, pair):
    with bytes_to(gate) as connection:
        raw(connection, "SET standard_conforming_strings = off;" + HIDDEN_CI)
        assert pair.changed() == set()  # the server reads all of a text before it runs any


@pytest.mark.parametrize("body", ["DO $$ BEGIN PERFORM 'a\\', '; UPDATE ci_builds SET name = ''x''; --'; \n END $$",
                                  "CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE plpgsql AS"
                                  " $$ BEGIN PERFORM 'a\\', '; UPDATE ci_builds SET name = ''x''; --'; \n END $$; SELECT pg_temp.f()"])
def test_a_body_is_not_read_by_what_its_own_text_has_set(gate, pair, body):
    for words in ("SET standard_conforming_strings = off", "RESET ALL", "SELECT set_config('standard_' || 'x', 'off', false)"):
        with bytes_to(gate) as connection:
            assert raw(connection, f"{words}; {body}") == "0A000"
            assert raw(connection, "SET work_mem = '8MB'; DO $$ BEGIN PERFORM E'\\\\'; END $$") is None
    assert pair.changed() == set()


@pytest.mark.parametrize("before", ["", "SELECT 1 FROM ci_builds LIMIT 1; SELECT 1 FROM projects LIMIT 1;",
                                    "BEGIN; COMMIT;", "SELECT 1 FROM projects LIMIT 1; SELECT 1 FROM ci_builds LIMIT 1;"])
@pytest.mark.parametrize("hidden", [HIDDEN_CI, HIDDEN_MAIN])
def test_a_text_that_is_run_in_parts_is_read_by_what_was_set_before_all_of_it(gate, pair, before, hidden):
    for changed in ("SET standard_conforming_strings = off;", "SELECT set_config('standard_conforming_strings', 'off', false);"):
        with bytes_to(gate) as connection:
            raw(connection, changed + before + hidden)
        with bytes_to(gate) as connection:
            raw(connection, before + changed + hidden + "; SELECT 2")
        assert pair.changed() == set()


@pytest.mark.parametrize("parameters", [{"standard_conforming_strings": "off"}, {"options": "-c standard_conforming_strings=off"},
                                        {"options": "--standard-conforming-strings=off"},
                                        {"options": "-c standard_conforming\\_strings=off -c work_mem=4MB"}])
def test_strings_are_read_as_the_startup_packet_says(gate, pair, parameters):
    with bytes_to(gate, **parameters) as connection:
        strings_are_read_right(connection, pair, OFF)


# What ALTER ROLE sets is for connections that are made after it: clients that share older ones don't meet it.
@pytest.mark.parametrize("where, mode", [(["main", "ci"], OFF), (["main"], OFF), (["ci"], ON)])
def test_strings_are_read_as_the_role_has_it_wherever_it_is_set(pair, where, mode):
    with role_setting([pair.clusters[name] for name in where], "SET standard_conforming_strings = off"):
        with Interlock(pair.main, pair.ci) as fresh, bytes_to(fresh) as connection:
            strings_are_read_right(connection, pair, mode)


def pipeline(connection, *texts):
    """Each by Parse, Bind, Execute, and one Sync behind them all; the SQLSTATE of the error, or None."""
    parts = [part for text in texts for part in (wire.parse("", text), wire.bind(), wire.execute())]
    answer = connection.exchange(*parts, wire.sync())
    for row in wire.rows(answer):
        assert b"stray" not in b"|".join(value or b"" for value in row), f"read from a copy: {row}"
    failed = wire.errors(answer)
    return failed[0]["C"] if failed else None


@pytest.mark.parametrize("text", [
    "SET standard_conforming_strings = off", "SELECT set_config('standard_conforming_strings', 'off', false)",
    "SELECT set_config('standard_conforming_' || 'strings', 'o' || 'ff', false)",
    "DO $$ BEGIN PERFORM set_config('standard_conforming_' || 'strings', 'off', false); END $$",
    "DO $$ BEGIN EXECUTE 'SET standard_conforming_' || 'strings = off'; END $$",
    "UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings'",
])
def test_within_a_pipeline_strings_are_read_as_they_were_set_before(gate, pair, text):
    with bytes_to(gate) as connection:
        pipeline(connection, text, HIDDEN_READ)
    with bytes_to(gate) as connection:
        pipeline(connection, "SELECT 1 FROM ci_builds LIMIT 1", text, HIDDEN_READ.replace("ci_builds", "projects"))


def test_within_a_pipeline_another_databases_answer_does_not_tell_how_strings_are_read(gate, pair):
    """Close of a statement that both databases have is answered by both: one of them knows nothing of the setting."""
    set_off = "SELECT set_config('standard_conforming_' || 'strings', 'o' || 'ff', false)"
    for _ in range(20):  # the other one's answer has to come first
        with bytes_to(gate) as connection:
            connection.exchange(wire.parse("s", "SELECT 1 FROM loose_foreign_keys_deleted_records FOR UPDATE"), wire.sync())
            raw(connection, "BEGIN; UPDATE ci_builds SET name = name")
            connection.exchange(wire.bind("", "s"), wire.execute(), wire.sync())
            raw(connection, "ROLLBACK")
            connection.send(wire.parse("", set_off), wire.bind(), wire.execute(), wire.close("S", "s"), wire.flush())
            connection.read_until("3")
            pipeline(connection, HIDDEN_READ)


def test_a_setting_is_repeated_on_another_link_with_the_meaning_that_it_had(gate, pair):
    """A SET whose strings hold a statement where backslashes escape."""
    hidden = "SET search_path = 'public', 'a\\', '; UPDATE projects SET name = $$smuggled$$; --'"
    with bytes_to(gate) as connection:
        raw(connection, "SET standard_conforming_strings = off")
        raw(connection, "SELECT 1 FROM ci_builds LIMIT 1")
        raw(connection, "SELECT 1 FROM projects LIMIT 1")
        raw(connection, "SET standard_conforming_strings = on")
        raw(connection, hidden)
        raw(connection, "SELECT 1 FROM ci_builds LIMIT 1")
    assert pair.changed() == set()
    with bytes_to(gate) as connection:
        raw(connection, "SELECT 1 FROM projects LIMIT 1; BEGIN; COMMIT; SET standard_conforming_strings = off;" + hidden)
        raw(connection, "SELECT 1 FROM ci_builds LIMIT 1")
    assert pair.changed() == set()
    with role_setting([pair.ci], "SET standard_conforming_strings = off"), bytes_to(gate) as connection:
        raw(connection, hidden)
        raw(connection, "SELECT 1 FROM ci_builds LIMIT 1")
    assert pair.changed() == set()
    with role_setting([pair.ci], "SET standard_conforming_strings = off"), bytes_to(gate) as connection:
        raw(connection, "BEGIN")
        raw(connection, hidden)
        raw(connection, "SELECT 1 FROM ci_builds LIMIT 1")
        raw(connection, "COMMIT")
    assert pair.changed() == set()


def test_a_statement_is_prepared_on_another_link_with_the_meaning_that_it_had(gate, pair):
    """A shared table's statement is parsed on one database and bound on the other, where strings are read anew."""
    hidden = ("SELECT 'a\\', ', (SELECT name FROM ci_builds LIMIT 1), '' FROM loose_foreign_keys_deleted_records --'"
              " FROM loose_foreign_keys_deleted_records FOR UPDATE")
    with bytes_to(gate) as connection:
        connection.exchange(wire.parse("s", hidden), wire.sync())
        raw(connection, "SET standard_conforming_strings = off")
        raw(connection, "BEGIN; UPDATE projects SET name = name")
        answer = connection.exchange(wire.bind("", "s"), wire.execute(), wire.sync())
        assert b"stray" not in b"".join(message.body for message in answer)
        raw(connection, "ROLLBACK")


# -- client encodings ------------------------------------------------------------------------------------------------


UNSAFE = ["SJIS", "BIG5", "GBK", "GB18030", "UHC", "JOHAB", "SHIFT_JIS_2004"]


@pytest.mark.parametrize("encoding", [*UNSAFE, "shift-jis", "Win_950", "mskanji", "windows936"])
def test_encodings_that_can_hide_a_backslash_are_refused(gate, encoding):
    with bytes_to(gate) as connection:
        for text in (f"SET NAMES '{encoding}'", f"SET client_encoding = '{encoding}'", f"SET client_encoding TO \"{encoding}\"",
                     f"BEGIN; SET LOCAL client_encoding = '{encoding}'"):
            assert raw(connection, text) == "0A000"
            raw(connection, "ROLLBACK")
            assert wire.rows(connection.query("SHOW client_encoding")) == [[b"UTF8"]]


@pytest.mark.parametrize("text", [
    "SELECT set_config('client_encoding', '{}', false)", "SELECT set_config('client_' || 'encoding', '{}', false)",
    "DO $$ BEGIN PERFORM set_config('client_encoding', '{}', false); END $$",
    "UPDATE pg_settings SET setting = '{}' WHERE name = 'client_encoding'"])
@pytest.mark.parametrize("encoding", ["SJIS", "GBK"])
def test_an_encoding_that_was_set_past_the_classifier_ends_the_session(gate, pair, text, encoding):
    with bytes_to(gate) as connection:
        connection.send(wire.query(text.format(encoding)), wire.query("UPDATE ci_builds SET name = '\x83\\x'"))
        failed = wire.errors(connection.read_to_end())
        assert failed and failed[-1]["C"] == "0A000" and failed[-1]["S"] == "FATAL"
    assert pair.changed() == set()


@pytest.mark.parametrize("encoding", UNSAFE)
@pytest.mark.parametrize("parameters", [{"client_encoding": "{}"}, {"options": "-c client_encoding={}"}])
def test_a_session_does_not_start_with_such_an_encoding(gate, encoding, parameters):
    with pytest.raises(wire.ServerError) as seen:
        with bytes_to(gate, **{key: value.format(encoding) for key, value in parameters.items()}):
            pass
    assert seen.value.sqlstate == "0A000"


def test_nor_where_the_role_has_it(pair):
    with role_setting([pair.main], "SET client_encoding = 'SJIS'"), Interlock(pair.main, pair.ci) as fresh:
        with pytest.raises(wire.ServerError) as seen, bytes_to(fresh):
            pass
    assert seen.value.sqlstate == "0A000"
    with role_setting([pair.ci], "SET client_encoding = 'SJIS'"), Interlock(pair.main, pair.ci) as fresh, \
            bytes_to(fresh) as connection:
        assert wire.rows(connection.query("SELECT current_setting('client_encoding') FROM ci_builds LIMIT 1")) == [[b"UTF8"]]


@pytest.mark.parametrize("text", ["SET client_encoding = 'SJIS'", "SELECT set_config('client_encoding', 'SJIS', false)",
                                  "SELECT set_config('client_' || 'encoding', 'SJIS', false)",
                                  "DO $$ BEGIN PERFORM set_config('client_encoding', 'SJIS', false); END $$"])
def test_nor_is_anything_run_behind_it_in_a_pipeline(gate, pair, text):
    """The last byte of Ã and a backslash are one character of SJIS: the string would end where an escaped quote stands."""
    hidden = "SELECT E'\u00c3\\', (SELECT name FROM ci_builds LIMIT 1) --', 1"
    with bytes_to(gate) as connection:
        connection.send(wire.parse("", text), wire.bind(), wire.execute(), wire.parse("", hidden), wire.bind(), wire.execute(),
                        wire.sync())
        answer = []
        with contextlib.suppress(wire.Closed, ConnectionError):
            answer = connection.read_until("Z")
        assert b"stray" not in b"".join(message.body for message in answer)


# -- search_path -----------------------------------------------------------------------------------------------------


def test_a_search_path_does_not_change_whose_a_name_is(db, pair):
    for cluster in (pair.main, pair.ci):
        cluster.sql("CREATE SCHEMA IF NOT EXISTS other AUTHORIZATION app; DROP TABLE IF EXISTS other.projects, other.ci_builds;"
                    "SET ROLE app; CREATE TABLE other.projects (name text); CREATE TABLE other.ci_builds (name text)")
    for words in ("SET search_path = other", "SET SCHEMA 'other'", "SELECT set_config('search_path', 'other', false)"):
        assert attempt(db, words) is None
        assert attempt(db, "INSERT INTO ci_builds VALUES ('x')") is None
        assert attempt(db, "INSERT INTO projects VALUES ('x')") is None
        assert attempt(db, "SELECT * FROM projects, other.ci_builds") == "XD001"
        assert attempt(db, "CREATE VIEW notes AS SELECT * FROM ci_builds") == "XD001"
        assert attempt(db, "RESET search_path") is None
    counts = "SELECT (SELECT count(*) FROM other.projects), (SELECT count(*) FROM other.ci_builds)"
    assert (pair.main.sql(counts), pair.ci.sql(counts)) == ([(3, 0)], [(0, 3)])


# -- names that were given before ------------------------------------------------------------------------------------


def test_what_was_prepared_on_one_database_is_not_run_on_another(gate, pair):
    with bytes_to(gate) as connection:
        raw(connection, "PREPARE p AS UPDATE ci_builds SET name = 'p'")
        for text in ("/* database: main */ EXECUTE p", "SET pginterlock.database = 'main'; EXECUTE p",
                     "/* database: main */ EXPLAIN ANALYZE EXECUTE p"):
            assert raw(connection, text) == "2F002"
        raw(connection, "RESET pginterlock.database")
        assert pair.changed() == set()
        assert raw(connection, "EXECUTE p") is None
        assert pair.changed() == {("ci", "ci_builds")}


def test_statements_of_both_protocols_share_their_names(gate, pair):
    with bytes_to(gate) as connection:
        raw(connection, "PREPARE p AS UPDATE ci_builds SET name = 'sql'")
        answer = connection.exchange(wire.parse("p", "UPDATE projects SET name = 'protocol'"), wire.sync())
        assert wire.errors(answer)[0]["C"] == "42P05"
        answer = connection.exchange(wire.bind("", "p"), wire.execute(), wire.sync())
        assert wire.errors(answer) == [] and pair.changed() == {("ci", "ci_builds")}
        raw(connection, "DEALLOCATE p")
        connection.exchange(wire.parse("p", "UPDATE projects SET name = 'protocol'"), wire.sync())
        assert raw(connection, "PREPARE p AS UPDATE ci_builds SET name = 'sql'") == "42P05"
        assert raw(connection, "EXECUTE p") is None
        assert pair.changed() == {("main", "projects")}


def test_a_name_that_was_given_anew_is_the_new_one(gate, pair):
    with bytes_to(gate) as connection:
        connection.exchange(wire.parse("s", "UPDATE projects SET name = 'old'"), wire.sync())
        connection.exchange(wire.bind("", "s"), wire.execute(), wire.sync())
        assert pair.changed() == {("main", "projects")}
        connection.exchange(wire.close("S", "s"), wire.parse("s", "UPDATE ci_builds SET name = 'new'"), wire.sync())
        connection.exchange(wire.bind("", "s"), wire.execute(), wire.sync())
        assert pair.changed() == {("ci", "ci_builds")}


@pytest.mark.parametrize("ends", ["ROLLBACK", "COMMIT", "CLOSE c"])
def test_a_cursor_of_an_old_name_is_not_the_new_one(db, pair, ends):
    assert attempt(db, "BEGIN; DECLARE c CURSOR FOR SELECT name FROM ci_builds") is None
    assert attempt(db, "FETCH c") is None
    assert attempt(db, ends) is None
    assert attempt(db, "ROLLBACK; BEGIN; DECLARE c CURSOR FOR SELECT name FROM projects") is None
    assert attempt(db, "FETCH c") is None
    assert attempt(db, "DECLARE c CURSOR FOR SELECT name FROM ci_builds") == "42P03"
    attempt(db, "ROLLBACK")


def test_a_write_at_a_cursor_is_seen(db, pair):
    assert attempt(db, "BEGIN; DECLARE c CURSOR FOR SELECT * FROM ci_builds; FETCH c") is None
    assert attempt(db, "UPDATE projects SET name = 'x' WHERE CURRENT OF c") in ("34000", "XD001", "24000")
    attempt(db, "ROLLBACK; BEGIN; DECLARE c CURSOR FOR SELECT * FROM ci_builds; FETCH c")
    assert attempt(db, "UPDATE ci_builds SET name = 'x' WHERE CURRENT OF c") is None
    assert attempt(db, "UPDATE projects SET name = 'x'") == "XD002"
    attempt(db, "ROLLBACK")
    assert pair.changed() == set()


# -- temporary tables named like real ones ---------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [
    ["BEGIN", "{create}", "ROLLBACK"], ["BEGIN", "{create} ON COMMIT DROP", "COMMIT"], ["{create}", "DROP TABLE ci_builds"],
    ["{create}", "DROP TABLE pg_temp.ci_builds"], ["{create}", "DISCARD TEMP"], ["{create}", "DISCARD ALL"],
    ["{create}", "ALTER TABLE ci_builds RENAME TO mine"], ["BEGIN", "SAVEPOINT a", "{create}", "ROLLBACK TO a", "COMMIT"],
    ["{create}; SELECT 1/0"], ["{create}", "DO $$ BEGIN DROP TABLE ci_builds; END $$"],
    ["{create}", "ALTER TABLE pg_temp.ci_builds RENAME TO projects"],
])
@pytest.mark.parametrize("create", ["/* database: main */ CREATE TEMP TABLE ci_builds (name text)",
                                    "/* database: main */ CREATE TEMP TABLE ci_builds AS SELECT 'x'::text AS name"])
def test_a_temporary_table_that_is_gone_hides_nothing(gate, pair, create, gone):
    if "ON COMMIT" in "".join(gone) and " AS " in create:
        create, gone = create.replace(" AS ", " ON COMMIT DROP AS "), [text.replace(" ON COMMIT DROP", "") for text in gone]
    with bytes_to(gate) as connection:
        for text in gone:
            raw(connection, text.format(create=create))
        raw(connection, f"UPDATE ci_builds SET name = '{next(FRESH)}'")
    assert pair.changed() == {("ci", "ci_builds")}


def test_a_temporary_table_hides_the_real_one_as_long_as_it_is_there(gate, pair):
    with bytes_to(gate) as connection:
        raw(connection, "/* database: main */ CREATE TEMP TABLE ci_builds (name text)")
        assert raw(connection, "INSERT INTO ci_builds VALUES ('mine')") is None
        assert wire.rows(connection.query("SELECT name FROM ci_builds, (SELECT 1 FROM projects LIMIT 1) p")) == [[b"mine"]]
        assert raw(connection, f"UPDATE public.ci_builds SET name = '{next(FRESH)}'") is None
    assert pair.changed() == {("ci", "ci_builds")}


@pytest.mark.parametrize("words", [
    ["SET search_path = public, pg_temp"], ["SET search_path TO 'public', 'pg_temp'"], ["SET SESSION search_path = \"$user\", public, pg_temp"],
    ["SELECT set_config('search_path', 'public, pg_temp', false)"], ["BEGIN; SET search_path = public, pg_temp; COMMIT"],
    ["SET search_path = public, pg_temp", "BEGIN; RESET search_path; ROLLBACK"], ["BEGIN; SET LOCAL search_path = public, pg_temp"]])
def test_a_temporary_table_that_comes_last_hides_nothing(gate, pair, words):
    with bytes_to(gate) as connection:
        raw(connection, "/* database: main */ CREATE TEMP TABLE ci_builds (name text)")
        for text in words:
            assert raw(connection, text) is None
        assert raw(connection, f"UPDATE ci_builds SET name = '{next(FRESH)}'") is None
        assert raw(connection, "INSERT INTO pg_temp.ci_builds VALUES ('mine')") is None
        raw(connection, "COMMIT")
    assert pair.changed() == {("ci", "ci_builds")}


@pytest.mark.parametrize("words", [
    ["SET search_path = pg_temp, public"], ["SET search_path = public"], ["SET search_path = public, pg_temp", "RESET search_path"],
    ["SET search_path = public, pg_temp", "SET search_path = public"], ["SET search_path = public, pg_temp", "RESET ALL"],
    ["BEGIN; SET search_path = public, pg_temp; ROLLBACK"], ["BEGIN; SET LOCAL search_path = public, pg_temp; COMMIT"]])
def test_a_temporary_table_that_comes_first_is_meant(gate, pair, words):
    with bytes_to(gate) as connection:
        raw(connection, "/* database: main */ CREATE TEMP TABLE ci_builds (name text)")
        for text in words:
            assert raw(connection, text) is None
        assert raw(connection, "INSERT INTO ci_builds VALUES ('mine')") is None
        assert wire.rows(connection.query("SELECT name FROM ci_builds")) == [[b"mine"]]
    assert pair.changed() == set()


# -- functions, procedures, parameters -------------------------------------------------------------------------------


def test_a_function_over_another_databases_table_can_only_be_made_where_the_table_is(db, pair):
    body = "$$ BEGIN UPDATE ci_builds SET name = 'called'; END $$"
    assert attempt(db, f"CREATE FUNCTION smuggle() RETURNS void LANGUAGE plpgsql AS {body}") is None
    assert attempt(db, f"CREATE PROCEDURE smuggle_too() LANGUAGE plpgsql AS {body}") is None
    exists = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'smuggle%'"
    assert (pair.main.value(exists), pair.ci.value(exists)) == (0, 2)
    assert attempt(db, "SELECT smuggle()") == "42883"  # without tables: main, which does not have it
    assert attempt(db, "CALL smuggle_too()") == "42883"
    assert pair.changed() == set()


# -- what is only known while it runs --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["SELECT to_regclass($1)::text", "SELECT pg_relation_size($1::regclass) > 0",
                                  "SELECT has_table_privilege($1, 'select')"])
def test_a_table_that_a_parameter_names_is_only_looked_up(gate, pair, text):
    with bytes_to(gate) as connection:
        answer = connection.exchange(wire.parse("", text), wire.bind(values=["ci_builds"]), wire.execute(), wire.sync())
        assert wire.errors(answer) == []
    assert pair.changed() == set()


def reported(gate, connection, run):
    """What the log says of dynamic SQL after `run`."""
    start = len(gate.log())
    assert wire.errors(run(connection)) == []
    return gate.wait_for_log(r"(?m)^.*dynamic SQL.*$", start).group(0)


@pytest.mark.parametrize("text", [
    "DO $$ BEGIN EXECUTE 'UPDATE ' || 'proj' || 'ects SET name = ''{secret}'' '; END $$",
    "DO $$ DECLARE t text; BEGIN FOR t IN VALUES ('ci_') LOOP EXECUTE 'TABLE proj' || 'ects /* {secret} */'; END LOOP; END $$",
    "SELECT 1; DO $$ BEGIN EXECUTE 'SEL' || 'ECT ''{secret}'' '; END $$",
    "SELECT query_to_xml('TABLE proj' || 'ects', true, false, '{secret}')",
    "PREPARE p AS SELECT query_to_xml($1, true, false, ''); EXECUTE p('SELECT 1 AS {secret}')"])
def test_dynamic_sql_is_reported_without_its_text(gate, make_proxy, pair, text):
    proxy = make_proxy(main=pair.main, ci=pair.ci)
    with bytes_to(proxy) as connection:
        line = reported(proxy, connection, lambda each: each.query(text.format(secret="secret")))
    assert "WARN" in line and "secret" not in line and "count=1" in line


@pytest.mark.parametrize("text, value", [("SELECT nextval($1)", "projects_id_seq"), ("SELECT setval($1, 99)", "projects_id_seq"),
                                         ("SELECT nextval(($1 || '_seq')::regclass)", "projects_id"),
                                         ("SELECT query_to_xml($1, true, false, '')", "TABLE projects")])
def test_a_table_that_a_parameter_names_is_reported_where_it_is_more_than_looked_up(make_proxy, pair, text, value):
    proxy = make_proxy(main=pair.main, ci=pair.ci)
    with bytes_to(proxy) as connection:
        line = reported(proxy, connection, lambda each: each.exchange(
            wire.parse("", text), wire.bind(values=[value]), wire.execute(), wire.sync()))
    assert "WARN" in line and value not in line


def test_dynamic_sql_that_is_only_prepared_is_not_reported(make_proxy, pair):
    proxy = make_proxy(main=pair.main, ci=pair.ci, workers=1)
    with bytes_to(proxy) as connection:
        for text in ("PREPARE p AS SELECT query_to_xml($1, true, false, '')", "EXPLAIN SELECT query_to_xml('SEL' || 'ECT 1', true, false, '')",
                     "CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SEL' || 'ECT 1'; END $$"):
            assert raw(connection, text) is None
        assert "dynamic SQL" not in proxy.log()
        assert raw(connection, "EXECUTE p('SELECT 1')") is None
    proxy.wait_for_log("dynamic SQL")


def test_dynamic_sql_does_not_flood_the_log(make_proxy, pair):
    proxy = make_proxy(main=pair.main, ci=pair.ci, workers=1)
    with bytes_to(proxy) as connection:
        for _ in range(200):
            assert raw(connection, "DO $$ BEGIN EXECUTE 'SEL' || 'ECT 1'; END $$") is None
    proxy.wait_for_log("dynamic SQL")
    assert proxy.log().count("dynamic SQL") < 10
