"""Prepared statements of clients that share connections: each client has its own names, and a connection is taught a
text once."""

import contextlib

import pytest

import wire
from pooling import code, done, hold, own_mode, pid_of, rows, settle, value, waiting

pytestmark = own_mode

ALIVE = "SELECT count(*) FROM pg_prepared_statements WHERE NOT from_sql"


def prepare(client, name, sql, types=()):
    return done(client.exchange(wire.parse(name, sql, types), wire.sync()))


def run(client, name, *values):
    """Runs what is prepared; the messages."""
    return client.exchange(wire.bind("", name, values), wire.execute(), wire.sync())


def ran(client, name, *values):
    return rows(done(run(client, name, *values)))


@pytest.fixture
def proxy(make_pool):
    return make_pool(size=1)


@pytest.fixture
def table(main_cluster, unique):
    """An own table in main, which the classification knows by its prefix."""
    name = "_test_statements"
    main_cluster.sql(f"DROP TABLE IF EXISTS {name}; CREATE TABLE {name} (a int, b int); INSERT INTO {name} VALUES (1, 2);"
                     f" ALTER TABLE {name} OWNER TO app")
    yield name
    main_cluster.sql(f"DROP TABLE IF EXISTS {name}")


def test_a_text_is_taught_once_for_all_clients(proxy):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.wire()) for _ in range(4)]
        for number, client in enumerate(clients):
            prepare(client, f"of {number}", "SELECT $1::int + 1")
        for number, client in enumerate(clients):
            assert ran(client, f"of {number}", str(number)) == [(str(number + 1),)]
        assert value(clients[0], ALIVE) == "1"


def test_other_types_are_another_statement(proxy):
    with proxy.wire() as text, proxy.wire() as number:
        prepare(text, "s", "SELECT pg_typeof($1)", types=(25,))
        prepare(number, "s", "SELECT pg_typeof($1)", types=(23,))
        for _ in range(2):
            assert ran(text, "s", "1") == [("text",)]
            assert ran(number, "s", "1") == [("integer",)]
        assert value(text, ALIVE) == "2"


def test_two_clients_use_one_name_for_two_texts(proxy):
    with proxy.wire() as one_client, proxy.wire() as other:
        prepare(one_client, "s", "SELECT 'one'")
        prepare(other, "s", "SELECT 'other'")
        for _ in range(3):
            assert ran(one_client, "s") == [("one",)]
            assert ran(other, "s") == [("other",)]


def test_the_unnamed_statement_is_its_clients_own(proxy):
    with proxy.wire() as one_client, proxy.wire() as other:
        done(one_client.exchange(wire.parse("", "SELECT 'one'"), wire.sync()))
        done(other.exchange(wire.parse("", "SELECT 'other'"), wire.sync()))
        for _ in range(2):
            assert ran(one_client, "") == [("one",)]
            assert ran(other, "") == [("other",)]
        done(one_client.query("SELECT 1"))  # which ends it
        assert code(run(one_client, "")) == "26000"
        assert ran(other, "") == [("other",)]


def test_a_statement_follows_its_client_to_any_connection(make_pool):
    proxy = make_pool(size=3)
    with proxy.wire() as client, contextlib.ExitStack() as stack:
        settle(proxy, client, *(stack.enter_context(proxy.wire()) for _ in range(2)))
        prepare(client, "s", "SELECT pg_backend_pid(), $1::int")
        seen = set()
        for number in range(3):
            pid, got = ran(client, "s", str(number))[0]
            assert got == str(number)
            seen.add(pid)
            hold(stack.enter_context(proxy.wire()))  # takes the one used last
            if number == 1:
                break
        pid, got = ran(client, "s", "7")[0]
        assert got == "7"
        assert len(seen | {pid}) == 3


def test_a_connection_keeps_only_so_many(make_pool):
    proxy = make_pool(size=1, max_prepared_statements=5)
    with proxy.wire() as client:
        for number in range(20):
            prepare(client, f"s{number}", f"SELECT {number}")
        assert int(value(client, ALIVE)) <= 5
        for number in (0, 19, 7, 0):  # what was thrown out comes back when it is asked for
            assert ran(client, f"s{number}") == [(str(number),)]
            assert int(value(client, ALIVE)) <= 5


def test_what_is_used_stays_and_what_is_not_goes(make_pool):
    proxy = make_pool(size=1, max_prepared_statements=3)
    with proxy.wire() as client:
        prepare(client, "kept", "SELECT 'kept'")
        for number in range(6):
            prepare(client, f"s{number}", f"SELECT {number}")
            assert ran(client, "kept") == [("kept",)]
        texts = {row[0] for row in rows(client.query("SELECT statement FROM pg_prepared_statements"))}
        assert texts == {"SELECT 'kept'", "SELECT 5", "SELECT 4"}


def test_more_in_one_pipeline_than_a_connection_keeps(make_pool):
    proxy = make_pool(size=1, max_prepared_statements=2)
    with proxy.wire() as client:
        for number in range(6):
            prepare(client, f"s{number}", f"SELECT {number}")
        parts = [wire.bind("", f"s{number}") + wire.execute() for number in (0, 1, 2, 3, 4, 5, 0, 1)]
        got = client.exchange(*parts, wire.sync())
        assert [row[0] for row in rows(done(got))] == ["0", "1", "2", "3", "4", "5", "0", "1"]


def test_portals_outlive_the_statement_that_is_thrown_out(make_pool):
    proxy = make_pool(size=1, max_prepared_statements=1)
    with proxy.wire() as client:
        prepare(client, "a", "SELECT generate_series(1, 4)")
        prepare(client, "b", "SELECT 'b'")
        done(client.query("BEGIN"))
        first = client.exchange(wire.bind("p", "a"), wire.execute("p", 2), wire.sync())
        assert rows(done(first)) == [("1",), ("2",)]
        assert ran(client, "b") == [("b",)]
        rest = client.exchange(wire.execute("p"), wire.sync())
        assert rows(done(rest)) == [("3",), ("4",)]
        done(client.query("COMMIT"))


# -- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["Close", "DEALLOCATE s", "DEALLOCATE ALL", "DISCARD ALL", "DEALLOCATE PREPARE s"])
def test_a_statement_ends_for_its_client_and_for_nobody_else(proxy, how):
    with proxy.wire() as client, proxy.wire() as other:
        for each in (client, other):
            prepare(each, "s", "SELECT 'same'")
        if how == "Close":
            done(client.exchange(wire.close("S", "s"), wire.sync()))
        else:
            done(client.query(how))
        assert code(run(client, "s")) == "26000"
        assert ran(other, "s") == [("same",)]
        prepare(client, "s", "SELECT 'anew'")
        assert ran(client, "s") == [("anew",)]
        assert ran(other, "s") == [("same",)]


def test_a_client_that_goes_takes_its_names_with_it(proxy):
    with proxy.wire() as client:
        prepare(client, "s", "SELECT 1")
        client.terminate()
    with proxy.wire() as client:
        assert code(run(client, "s")) == "26000"
        assert code(client.query("EXECUTE s")) == "26000"


@pytest.mark.parametrize("how", ["DEALLOCATE no_such", "EXECUTE no_such"])
def test_what_is_not_there_is_the_servers_error(proxy, how):
    with proxy.wire() as client:
        assert code(client.query(how)) == "26000"


def test_a_name_can_be_taken_only_once(proxy):
    with proxy.wire() as client:
        prepare(client, "s", "SELECT 1")
        assert code(client.exchange(wire.parse("s", "SELECT 2"), wire.sync())) == "42P05"
        assert ran(client, "s") == [("1",)]


def test_a_text_that_does_not_parse_is_refused_each_time(proxy):
    with proxy.wire() as client, proxy.wire() as other:
        for each in (client, other, client):
            assert code(each.exchange(wire.parse("s", "SELECT no_such_column"), wire.sync())) == "42703"
            assert code(run(each, "s")) == "26000"
        prepare(client, "s", "SELECT 1")
        assert ran(client, "s") == [("1",)]


def test_what_did_not_parse_may_later(proxy, main_cluster, table):
    with proxy.wire() as client, proxy.wire() as other:
        prepare(other, "s", "SELECT 'fine'")
        assert code(client.exchange(wire.parse("s", f"SELECT c FROM {table}"), wire.sync())) == "42703"
        main_cluster.sql(f"ALTER TABLE {table} ADD c int DEFAULT 3")
        prepare(client, "s", f"SELECT c FROM {table}")
        assert ran(client, "s") == [("3",)]
        assert ran(other, "s") == [("fine",)]


def test_a_statement_prepared_in_a_transaction_that_is_undone_stays(proxy):
    with proxy.wire() as client, proxy.wire() as other:
        done(client.query("BEGIN"))
        prepare(client, "s", "SELECT 'stays'")
        done(client.query("ROLLBACK"))
        pid_of(other)
        assert ran(client, "s") == [("stays",)]


# -- what changes beneath ------------------------------------------------------------------------


def test_a_plan_whose_columns_changed_heals(proxy, main_cluster, table):
    """PostgreSQL says 0A000 to this for ever; here a statement is anew what its text says, at latest on the second go."""
    with proxy.wire() as client, proxy.wire() as other:
        for each in (client, other):
            prepare(each, "s", f"SELECT * FROM {table}")
            assert ran(each, "s") == [("1", "2")]
        main_cluster.sql(f"ALTER TABLE {table} ADD c int DEFAULT 3")
        for each in (client, other):
            first = run(each, "s")
            assert code(first) in (None, "0A000")
            assert ran(each, "s") == [("1", "2", "3")]


def test_a_table_that_is_made_anew_is_found(proxy, main_cluster, table):
    with proxy.wire() as client:
        prepare(client, "s", f"SELECT a FROM {table}")
        assert ran(client, "s") == [("1",)]
        main_cluster.sql(f"DROP TABLE {table}; CREATE TABLE {table} (a int); INSERT INTO {table} VALUES (9);"
                         f" ALTER TABLE {table} OWNER TO app")
        assert ran(client, "s") == [("9",)]


def test_one_text_under_two_search_paths_reads_two_tables(proxy, main_cluster, table):
    main_cluster.sql(f"DROP SCHEMA IF EXISTS _test_other CASCADE; CREATE SCHEMA _test_other AUTHORIZATION app;"
                     f" CREATE TABLE _test_other.{table} AS SELECT 5 AS a; ALTER TABLE _test_other.{table} OWNER TO app")
    try:
        with proxy.wire() as here, proxy.wire(parameters={"search_path": "_test_other, public"}) as there:
            for each in (here, there):
                prepare(each, "s", f"SELECT a FROM {table}")
            for _ in range(2):
                assert ran(here, "s") == [("1",)]
                assert ran(there, "s") == [("5",)]
    finally:
        main_cluster.sql("DROP SCHEMA _test_other CASCADE")


def test_one_text_is_read_by_each_clients_own_rules_for_strings(proxy):
    sql = r"SELECT 'a\\b'"
    with proxy.wire() as standard, proxy.wire(parameters={"standard_conforming_strings": "off"}) as old:
        for each in (standard, old):
            prepare(each, "s", sql)
        for _ in range(2):
            assert ran(standard, "s") == [(r"a\\b",)]
            assert ran(old, "s") == [(r"a\b",)]


@pytest.mark.parametrize("parameter,sql,values", [
    ("DateStyle", "SELECT '01/02/2020'::date + 0", ("ISO, MDY", "ISO, DMY")),
    ("TimeZone", "SELECT '2020-01-01 00:00'::timestamptz AT TIME ZONE 'UTC'", ("UTC", "Asia/Tokyo")),
    ("TimeZone", "SELECT '2020-01-01 00:00+00'::timestamptz::text", ("UTC", "Asia/Tokyo")),
    ("IntervalStyle", "SELECT '1 day -2 hours'::interval::text", ("postgres", "iso_8601")),
    ("array_nulls", "SELECT '{null}'::text[]", ("on", "off")),
    ("transform_null_equals", "SELECT count(*) FROM users WHERE NULL = NULL", ("on", "off")),
    ("bytea_output", "SELECT '\\x6162'::bytea::text", ("hex", "escape")),
    ("client_encoding", "SELECT octet_length('\u00e9')", ("UTF8", "LATIN1")),
    ("extra_float_digits", "SELECT (0.1::float8 * 3)::text", ("0", "3")),
    ("backslash_quote", "SELECT current_setting('backslash_quote')", ("on", "off")),
])
def test_one_text_under_two_settings_gives_each_its_own(proxy, parameter, sql, values):
    def direct(setting):
        with wire.connect("127.0.0.1", proxy.main.port, user="app", database="app",
                          parameters={parameter: setting}) as client:
            return rows(client.query(sql))
    with contextlib.ExitStack() as stack:
        clients = [(stack.enter_context(proxy.wire(parameters={parameter: setting})), direct(setting))
                   for setting in values]
        for client, _ in clients:
            prepare(client, "s", sql)
        for _ in range(3):
            for client, expected in clients:
                assert ran(client, "s") == expected


@pytest.mark.parametrize("local, lasting", [
    ("SET LOCAL datestyle = 'ISO, DMY'", "SET datestyle = 'ISO, DMY'"),
    ("SELECT set_config('datestyle', 'ISO' || ', DMY', true)", "SELECT set_config('datestyle', 'ISO' || ', DMY', false)"),
], ids=["SET", "set_config"])
def test_a_text_that_was_prepared_under_other_settings_is_nobody_elses(proxy, local, lasting):
    sql = "SELECT '01/02/2020'::date + 0"
    with proxy.wire() as client, proxy.wire() as other:
        done(client.query("BEGIN"))
        done(client.query(local))
        prepare(client, "s", sql)
        assert ran(client, "s") == [("2020-02-01",)]
        done(client.query("COMMIT"))
        prepare(other, "s", sql)
        assert ran(other, "s") == [("2020-01-02",)]
        done(client.query(lasting))
        prepare(client, "t", sql)
        assert ran(client, "t") == [("2020-02-01",)]
        done(client.query("RESET ALL"))
        assert ran(client, "t") == [("2020-02-01",)]  # as it was read by Parse
        prepare(client, "u", sql)
        assert ran(client, "u") == [("2020-01-02",)]
        assert ran(other, "s") == [("2020-01-02",)]


def test_a_temporary_table_of_the_name_changes_nothing_for_others(proxy, table):
    sql = f"SELECT * FROM {table}"
    with proxy.wire() as hides, proxy.wire() as other:
        for turn in range(3):
            prepare(other, f"s{turn}", sql)
            assert ran(other, f"s{turn}") == [("1", "2")]
            done(hides.query(f"CREATE TEMP TABLE {table} AS SELECT 'hidden {turn}' AS t"))
            prepare(hides, f"s{turn}", sql)
            assert ran(hides, f"s{turn}") == [(f"hidden {turn}",)]
            done(hides.query(f"DROP TABLE {table}"))
            prepare(other, f"t{turn}", sql)
            for name in (f"s{turn}", f"t{turn}"):
                assert ran(other, name) == [("1", "2")]


def test_one_text_under_two_search_paths_may_have_other_types(proxy, main_cluster, table):
    main_cluster.sql(f"DROP SCHEMA IF EXISTS _test_other CASCADE; CREATE SCHEMA _test_other AUTHORIZATION app;"
                     f" CREATE TABLE _test_other.{table} AS SELECT 'text' AS t; ALTER TABLE _test_other.{table} OWNER TO app")
    try:
        with proxy.wire() as here, proxy.wire(parameters={"search_path": "_test_other, public"}) as there:
            for each in (here, there):
                prepare(each, "s", f"SELECT * FROM {table}")
            for _ in range(2):
                assert ran(here, "s") == [("1", "2")]
                assert ran(there, "s") == [("text",)]
    finally:
        main_cluster.sql("DROP SCHEMA _test_other CASCADE")


def test_a_statement_of_one_role_is_not_run_as_another(make_pool, main_cluster, table):
    proxy = make_pool(size=1, strings={"user": "postgres"})
    main_cluster.sql(f"ALTER TABLE {table} OWNER TO postgres; REVOKE ALL ON {table} FROM app")
    with proxy.wire(parameters={"role": "app"}) as app, proxy.wire() as superuser:
        prepare(superuser, "s", f"SELECT a, current_user FROM {table}")
        assert ran(superuser, "s") == [("1", "postgres")]
        prepare(app, "s", f"SELECT a, current_user FROM {table}")
        assert code(run(app, "s")) == "42501"
        assert ran(superuser, "s") == [("1", "postgres")]


# -- SQL and protocol ----------------------------------------------------------------------------


def test_execute_in_sql_runs_what_came_by_parse(proxy):
    with proxy.wire() as client, proxy.wire() as other:
        prepare(client, "s", "SELECT $1::int + 1")
        prepare(other, "s", "SELECT 'other'")
        assert rows(done(client.query("EXECUTE s(4)"))) == [("5",)]
        assert ran(client, "s", "6") == [("7",)]
        done(client.query("DEALLOCATE s"))  # which lets the connection go
        assert ran(other, "s") == [("other",)]
        assert code(client.query("EXECUTE s(4)")) == "26000"


def test_explain_execute_of_what_came_by_parse(proxy):
    with proxy.wire() as client:
        prepare(client, "s", "SELECT count(*) FROM users")
        assert "Aggregate" in rows(done(client.query("EXPLAIN EXECUTE s")))[0][0]


def test_bind_runs_what_prepare_made(proxy):
    with proxy.wire() as client, proxy.wire() as other:
        done(client.query("PREPARE s (int) AS SELECT $1 + 1"))
        assert ran(client, "s", "4") == [("5",)]
        waiting(other)
        done(client.exchange(wire.close("S", "s"), wire.sync()))
        done(other.read_until("Z"))
        assert code(client.query("EXECUTE s(1)")) == "26000"


REACHES = {
    "Bind": lambda name: (wire.bind("", name), wire.execute(), wire.sync()),
    "Describe": lambda name: (wire.describe("S", name), wire.sync()),
    "EXECUTE": lambda name: (wire.query(f"EXECUTE {name}"),),
    "EXPLAIN EXECUTE": lambda name: (wire.query(f"EXPLAIN EXECUTE {name}"),),
    "CREATE TABLE AS EXECUTE": lambda name: (wire.query(f"CREATE TEMP TABLE t AS EXECUTE {name}"),),
    "DEALLOCATE": lambda name: (wire.query(f"DEALLOCATE {name}"),),
    "quoted": lambda name: (wire.query(f'EXECUTE "{name}"'),),
    "escaped": lambda name: (wire.query(f"EXECUTE U&\"\\0070{name[1:]}\""),),
    "Close": lambda name: (wire.close("S", name), wire.sync()),
}


@pytest.mark.parametrize("how", REACHES)
def test_another_clients_statement_is_out_of_reach_under_its_name_on_the_server(proxy, how):
    with proxy.wire() as owner, proxy.wire() as thief:
        prepare(owner, "s", "SELECT 'secret'")
        name = rows(owner.query("SELECT name FROM pg_prepared_statements"))[0][0]
        assert name.startswith("pginterlock_")
        got = thief.exchange(*REACHES[how](name))
        assert "D" not in wire.types(got)
        assert how == "Close" or code(got) is not None
        assert ran(owner, "s") == [("secret",)]


@pytest.mark.parametrize("how", ["PREPARE pginterlock_1 AS SELECT 'mine'", "parse"])
def test_a_client_cannot_put_its_own_under_such_a_name(proxy, how):
    with proxy.wire() as thief, proxy.wire() as victim:
        for number in range(1, 4):
            if how == "parse":
                thief.exchange(wire.parse(f"pginterlock_{number}", "SELECT 'mine'"), wire.sync())
            else:
                thief.query(how.replace("_1", f"_{number}"))
        thief.terminate()
        prepare(victim, "s", "SELECT 'own'")
        assert ran(victim, "s") == [("own",)]


def test_such_a_name_made_by_code_that_nobody_sees_does_no_harm(proxy):
    with proxy.wire() as thief, proxy.wire() as victim:
        for number in range(1, 8):
            done(thief.query(f"DO $$ BEGIN EXECUTE 'PREPARE pginterlock_{number} AS SELECT ''mine'''; END $$"))
        victim.send(wire.parse("s", "SELECT 'own'"), wire.sync())
        thief.terminate()
        done(victim.read_until("Z"))
        assert ran(victim, "s") == [("own",)]


# -- pipelines -----------------------------------------------------------------------------------


def test_a_pipeline_prepares_runs_and_closes(proxy):
    with proxy.wire() as client:
        for turn in range(3):
            got = client.exchange(wire.parse("s", f"SELECT {turn}"), wire.describe("S", "s"), wire.bind("", "s"),
                                  wire.execute(), wire.close("S", "s"), wire.sync())
            assert rows(done(got)) == [(str(turn),)]
            assert wire.types(got) == "1tT2DC3Z"


def test_after_an_error_the_rest_of_a_pipeline_is_skipped_and_its_statement_not_known(proxy):
    with proxy.wire() as client, proxy.wire() as other:
        got = client.exchange(wire.parse("", "SELECT 1/0"), wire.bind(), wire.execute(), wire.parse("s", "SELECT 'late'"),
                              wire.sync())
        assert code(got) == "22012"
        assert code(run(client, "s")) == "26000"
        prepare(other, "s", "SELECT 'late'")
        assert ran(other, "s") == [("late",)]


def test_many_pipelines_in_one_write(proxy):
    with proxy.wire() as client:
        parts = []
        for number in range(50):
            parts += [wire.parse(f"s{number}", f"SELECT {number}"), wire.bind("", f"s{number}"), wire.execute(), wire.sync()]
        client.send(*parts)
        for number in range(50):
            assert rows(done(client.read_until("Z"))) == [(str(number),)]
        for number in range(50):
            assert ran(client, f"s{number}") == [(str(number),)]


def test_a_statement_that_was_to_make_room_behind_an_error_is_known_still(make_pool):
    proxy = make_pool(size=1, max_prepared_statements=1)
    with proxy.wire() as client:
        prepare(client, "s", "SELECT 'first'")
        got = client.exchange(wire.parse("", "SELECT 1/0"), wire.bind(), wire.execute(), wire.parse("t", "SELECT 'late'"),
                              wire.sync())
        assert code(got) == "22012"
        for _ in range(2):
            assert ran(client, "s") == [("first",)]
            prepare(client, "t", "SELECT 'second'")
            assert ran(client, "t") == [("second",)]
            done(client.exchange(wire.close("S", "t"), wire.sync()))
