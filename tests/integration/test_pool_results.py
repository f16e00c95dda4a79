"""Statements that clients of shared connections have in common: each gets what it would get if they were its own,
whatever the others' settings are and whatever becomes of the tables."""

import pytest

import wire
from pooling import code, done, own_mode, rows, wait_known

pytestmark = own_mode

TABLE = "ci_refs"  # classified, and in no cluster's schema
SELECT = f"SELECT * FROM {TABLE}"


@pytest.fixture
def table(ci_cluster):
    ci_cluster.sql(f"DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} (a int); INSERT INTO {TABLE} VALUES (1);"
                   f"ALTER TABLE {TABLE} OWNER TO app")
    yield ci_cluster
    ci_cluster.sql(f"DROP TABLE IF EXISTS {TABLE}")


def connect(proxy, **parameters):
    return wire.connect("127.0.0.1", proxy.port, "app", "app", parameters=parameters or None)


def prepare(client, sql, name="s"):
    """As most drivers do."""
    return client.exchange(wire.parse(name, sql), wire.sync())


def prepare_described(client, sql, name="s"):
    """As asyncpg and pgx do, which read rows by what they are told here."""
    return client.exchange(wire.parse(name, sql), wire.describe("S", name), wire.sync())


def run(client, name="s"):
    return client.exchange(wire.bind("", name), wire.execute(), wire.sync())


def change(cluster):
    """Past the proxy."""
    cluster.sql(f"ALTER TABLE {TABLE} ALTER a TYPE text")


def prepared(client):
    """What the server's connection knows, with the time when it was prepared."""
    return rows(client.query("SELECT statement, prepare_time FROM pg_prepared_statements"))


# --- settings ---

def test_constants_are_read_by_each_clients_own_settings(make_pool):
    sql = "SELECT extract(epoch FROM timestamptz '2020-01-01')::int, extract(day FROM date '02/01/2020')::int"
    proxy = make_pool(size=1)
    with connect(proxy, timezone="UTC", datestyle="ISO,DMY") as one, connect(proxy, timezone="Etc/GMT-1", datestyle="ISO,MDY") as other:
        for client in one, other:
            done(prepare(client, sql))
        for _ in range(2):
            assert rows(run(one)) == [("1577836800", "2")]
            assert rows(run(other)) == [("1577833200", "1")]


def test_tenants_by_search_path_have_statements_of_their_own(make_pool, main_cluster):
    main_cluster.sql("CREATE SCHEMA one; CREATE TABLE one.notes (a int); CREATE SCHEMA two; CREATE TABLE two.notes (b text, c text);"
                     "INSERT INTO one.notes VALUES (1); INSERT INTO two.notes VALUES ('x', 'y');"
                     "GRANT ALL ON SCHEMA one, two TO app; GRANT ALL ON one.notes, two.notes TO app")
    try:
        proxy = make_pool(size=1)
        with connect(proxy, search_path="one") as one, connect(proxy) as other:
            done(other.query("SET search_path = two"))
            for client in one, other:
                done(prepare(client, "SELECT * FROM notes"))
            for _ in range(2):
                assert rows(run(one)) == [("1",)]
                assert rows(run(other)) == [("x", "y")]
    finally:
        main_cluster.sql("DROP SCHEMA one CASCADE; DROP SCHEMA two CASCADE")


def test_what_was_prepared_under_a_transactions_own_setting_is_nobody_elses(make_pool):
    sql = "SELECT extract(epoch FROM timestamptz '2020-01-01')::int"
    proxy = make_pool(size=1)
    with connect(proxy, timezone="UTC") as one, connect(proxy, timezone="UTC") as other:
        done(one.query("BEGIN"))
        done(one.query("SET LOCAL timezone = 'Etc/GMT-1'"))
        done(prepare(one, sql))
        assert rows(run(one)) == [("1577833200",)]
        done(one.query("COMMIT"))
        done(prepare(other, sql))
        assert rows(run(other)) == [("1577836800",)]


@pytest.mark.parametrize("other", [{}, {"application_name": "b", "statement_timeout": "7s"}], ids=["the same", "that do not matter"])
def test_with_settings_that_are_the_same_a_statement_is_prepared_once(make_pool, other):
    proxy = make_pool(size=1)
    with connect(proxy, timezone="UTC") as one, connect(proxy, timezone="UTC", **other) as another:
        done(prepare(one, "SELECT 7"))
        before = prepared(one)
        assert len(before) == 1
        done(prepare(another, "SELECT 7", "of another name"))
        assert rows(run(another, "of another name")) == [("7",)]
        assert prepared(another) == before


# --- tables that change ---

def test_a_result_that_changed_is_an_error_to_whoever_was_told_of_it(make_pool, table):
    proxy = make_pool(size=1)
    with connect(proxy) as one, connect(proxy) as other:
        for client in one, other:
            done(prepare_described(client, SELECT))
            assert rows(run(client)) == [("1",)]
        change(table)
        for client in one, other:
            assert code(run(client)) == "0A000"
            assert code(run(client)) == "0A000"
            done(client.exchange(wire.close("S", "s"), wire.sync()))
            done(prepare_described(client, SELECT))
            assert rows(run(client)) == [("1",)]


def test_who_was_told_of_a_result_gets_no_other_from_another_connection(make_pool, table):
    proxy = make_pool(size=2)
    with connect(proxy) as told, connect(proxy) as holder:
        done(prepare_described(told, SELECT))
        assert rows(run(told)) == [("1",)]
        change(table)
        done(holder.query("BEGIN"))
        done(holder.query("SELECT 1 FROM ci_builds LIMIT 1"))  # on the connection that knows the statement
        refused = run(told)
        assert code(refused) == "0A000"
        assert wire.errors(refused)[0]["R"] == "RevalidateCachedQuery"  # by which drivers know it
        assert rows(refused) == []
        done(told.exchange(wire.close("S", "s"), wire.sync()))
        done(prepare_described(told, SELECT))
        assert rows(run(told)) == [("1",)]


def type_told(messages):
    """The type of the only column."""
    return wire.columns(next(message.body for message in done(messages) if message.type == "T"))[0][3]


def run_described(client, name="s", formats=()):
    """As libpq does each time, and pgjdbc the first time."""
    return client.exchange(wire.bind("", name, result_formats=formats), wire.describe("P"), wire.execute(), wire.sync())


@pytest.mark.parametrize("formats", [(), (1,)], ids=["text", "binary"])
def test_who_asked_once_for_a_portals_result_gets_no_other_from_another_connection(make_pool, table, formats):
    proxy = make_pool(size=2)
    with connect(proxy) as told, connect(proxy) as holder:
        done(prepare(told, SELECT))
        done(run_described(told, formats=formats))
        done(run(told))
        change(table)
        done(holder.query("BEGIN"))
        done(holder.query("SELECT 1 FROM ci_builds LIMIT 1"))  # on the connection that knows the statement
        for _ in range(2):
            refused = run(told)
            assert code(refused) == "0A000" and rows(refused) == []
        done(told.exchange(wire.close("S", "s"), wire.sync()))
        done(prepare(told, SELECT))
        assert rows(run_described(told)) == rows(run(told)) == [("1",)]


def test_who_asks_for_each_portals_result_hears_of_it(make_pool, table):
    proxy = make_pool(size=2)
    with connect(proxy) as told, connect(proxy) as holder:
        wait_known(told, proxy.ci, "SELECT 1 FROM ci_builds LIMIT 1")
        done(prepare(told, SELECT))
        for _ in range(2):
            assert type_told(run_described(told)) == 23  # int4
        change(table)
        done(holder.query("BEGIN"))
        done(holder.query("SELECT 1 FROM ci_builds LIMIT 1"))
        for _ in range(2):
            assert type_told(run_described(told)) == 25  # text
        assert rows(run(told)) == [("1",)]  # and goes by that


def test_a_change_that_leaves_the_result_as_it_was_is_no_error(make_pool, table):
    proxy = make_pool(size=2)
    with connect(proxy) as told, connect(proxy) as holder:
        done(prepare_described(told, SELECT))
        done(holder.query(f"ALTER TABLE {TABLE} ADD CHECK (a > 0)"))
        table.sql(f"CREATE TABLE again AS {SELECT}; DROP TABLE {TABLE}; ALTER TABLE again RENAME TO {TABLE}; ALTER TABLE {TABLE} OWNER TO app")
        assert rows(run(told)) == [("1",)]
        done(holder.query("BEGIN"))
        done(holder.query("SELECT 1 FROM ci_builds LIMIT 1"))
        assert rows(run(told)) == [("1",)]


def test_an_error_about_a_result_fails_its_transaction(make_pool, table):
    proxy = make_pool(size=2)
    with connect(proxy) as told, connect(proxy) as holder:
        done(prepare_described(told, SELECT))
        change(table)
        done(holder.query("BEGIN"))
        done(holder.query("SELECT 1 FROM ci_builds LIMIT 1"))
        done(told.query("BEGIN"))
        assert code(run(told)) == "0A000"
        assert code(told.query("SELECT 1")) == "25P02"
        done(told.query("ROLLBACK"))
        assert rows(done(told.query("SELECT 1"))) == [("1",)]


@pytest.mark.parametrize("how", ["at once", "in a transaction", "in one message"])
def test_who_prepares_after_a_change_gets_it_without_an_error(make_pool, table, how):
    alter = f"ALTER TABLE {TABLE} ALTER a TYPE text, ADD b int"
    proxy = make_pool(size=2)
    with connect(proxy) as one, connect(proxy) as other:
        done(prepare_described(one, SELECT))
        for sql in {"at once": [alter], "in a transaction": ["BEGIN", alter, "COMMIT"], "in one message": [f"SELECT 1; {alter}"]}[how]:
            done(other.query(sql))
        done(prepare_described(other, SELECT))
        assert rows(run(other)) == [("1", None)]
        assert code(run(one)) == "0A000"


def test_who_prepares_after_a_change_gets_it_on_another_worker_too(make_pool, table):
    proxy = make_pool(size=2, settings={"workers": 2})
    with connect(proxy) as one, connect(proxy) as other:
        for client in one, other:
            done(prepare_described(client, SELECT))
        done(other.query(f"ALTER TABLE {TABLE} ADD b int"))
        for client in one, other:
            done(prepare_described(client, SELECT, "new"))
            assert rows(run(client, "new")) == [("1", None)]


def test_a_table_that_is_gone_is_the_servers_error(make_pool, table):
    proxy = make_pool(size=2)
    with connect(proxy) as told, connect(proxy) as holder:
        done(prepare_described(told, SELECT))
        table.sql(f"DROP TABLE {TABLE}")
        done(holder.query("BEGIN"))
        done(holder.query("SELECT 1 FROM ci_builds LIMIT 1"))
        for _ in range(2):
            assert code(run(told)) == "42P01"
        table.sql(f"CREATE TABLE {TABLE} (a int); ALTER TABLE {TABLE} OWNER TO app")
        assert rows(done(run(told))) == []
