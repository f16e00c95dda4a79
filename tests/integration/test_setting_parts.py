"""Settings whose statement gives only a part of their value, or that end with the transaction whatever their statement
says: on every link, and on a connection that others had, they are what a direct connection would have."""

import pytest

import wire
from pooling import done, own_mode, rows, value

SHOWN = ["datestyle", "default_transaction_isolation", "default_transaction_read_only", "default_transaction_deferrable",
         "transaction_isolation", "transaction_read_only"]
CHARACTERISTICS = "SET SESSION CHARACTERISTICS AS TRANSACTION "
CASES = {
    "the order after the style": ["SET datestyle TO German", "SET datestyle TO ymd"],
    "the style after the order": ["SET datestyle TO dmy", "SET datestyle = SQL"],
    "a style that brings its order": ["SET datestyle TO 'SQL, YMD'", "SET datestyle TO German"],
    "a part in a block": ["SET datestyle TO SQL", "BEGIN", "SET datestyle TO dmy", "SELECT 1", "COMMIT"],
    "a part that is rolled back": ["SET datestyle TO SQL", "BEGIN", "SET datestyle TO dmy", "SELECT 1", "ROLLBACK"],
    "a part behind a savepoint": ["BEGIN", "SET datestyle TO SQL", "SAVEPOINT a", "SET datestyle TO dmy", "ROLLBACK TO a",
                                  "COMMIT"],
    "a part for a block": ["SET datestyle TO SQL", "BEGIN", "SET LOCAL datestyle TO dmy", "SELECT 1", "COMMIT"],
    "both kinds in a block": ["BEGIN", "SET datestyle TO SQL", "SET LOCAL datestyle TO dmy", "COMMIT"],
    "a part by set_config()": ["SET datestyle TO dmy", "SELECT set_config('datestyle', 'SQL', false)"],
    "a part by set_config() in a block": ["BEGIN", "SET datestyle TO dmy", "SELECT set_config('datestyle', 'SQL', false)",
                                          "SELECT set_config('datestyle', 'ymd', true)", "COMMIT"],
    "a part in a chain": ["BEGIN", "SET datestyle TO SQL", "COMMIT AND CHAIN", "SET datestyle TO dmy", "COMMIT"],
    "two parts in one query": ["SET datestyle TO SQL; SET datestyle TO dmy"],
    "a part and its reset": ["SET datestyle TO dmy", "RESET datestyle", "SET datestyle TO SQL", "SET datestyle TO DEFAULT"],
    "characteristics one after the other": [CHARACTERISTICS + "READ ONLY", CHARACTERISTICS + "ISOLATION LEVEL SERIALIZABLE"],
    "several characteristics": [CHARACTERISTICS + "ISOLATION LEVEL REPEATABLE READ, READ ONLY, DEFERRABLE",
                                CHARACTERISTICS + "NOT DEFERRABLE, READ WRITE"],
    "a characteristic that is reset": [CHARACTERISTICS + "READ ONLY, DEFERRABLE", "RESET default_transaction_read_only"],
    "a default, then its characteristic": ["SET default_transaction_read_only = on", CHARACTERISTICS + "READ WRITE"],
    "characteristics in a block": ["BEGIN", CHARACTERISTICS + "READ ONLY", "COMMIT"],
    "characteristics that are rolled back": ["BEGIN", CHARACTERISTICS + "READ ONLY", "ROLLBACK"],
    "a transaction's own by SET": ["BEGIN; SET transaction_isolation = 'serializable'", "SELECT 1", "COMMIT"],
    "a transaction's own by set_config()": ["BEGIN", "SELECT set_config('transaction_read_only', 'on', false)", "COMMIT"],
    "a transaction's own in a chain": ["BEGIN; SET transaction_isolation = 'serializable'", "COMMIT AND CHAIN", "SELECT 1",
                                       "ROLLBACK"],
    "a transaction's own without a block": ["SET transaction_read_only = on"],
}
LOOK = "SELECT " + ", ".join(f"current_setting('{name}')" for name in SHOWN) + " FROM (SELECT count(*) FROM {}) x"


def look(client, table):
    return rows(done(client.query(LOOK.format(table))))


def seen_after(client, sql, table):
    done(client.query(sql))
    return look(client, table)


@pytest.fixture(scope="module")
def expected(shared_proxy):
    """What a direct connection has after each statement."""
    found = {}
    for what, statements in CASES.items():
        with wire.connect("127.0.0.1", shared_proxy.main.port, user="app", database="app") as direct:
            found[what] = [seen_after(direct, sql, "users") for sql in statements]
    return found


@pytest.mark.parametrize("first", ["users", "ci_builds"])
@pytest.mark.parametrize("what", CASES)
def test_on_both_databases(proxy, expected, what, first):
    second = {"users": "ci_builds", "ci_builds": "users"}[first]
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as client:
        told = client.parameters
        for sql, wanted in zip(CASES[what], expected[what]):
            for table in (None, first, second):
                messages = done(client.query(LOOK.format(table) if table else sql))
                told.update(each.body.decode().split("\0")[:2] for each in messages if each.type == "S")
                assert table is None or rows(messages) == wanted, sql
            assert told["DateStyle"] == wanted[0][0], f"what the client was told after {sql}"


@own_mode
@pytest.mark.parametrize("what", CASES)
def test_on_a_connection_that_another_had(make_pool, expected, what):
    shared = make_pool(size=1)
    with shared.wire() as client, shared.wire() as other:
        for sql, wanted in zip(CASES[what], expected[what]):
            got = done(client.query(sql))
            if got[-1].body == b"I":
                assert value(other, "SHOW datestyle") == "ISO, MDY"
                assert value(other, "SHOW default_transaction_read_only") == "off"
            assert look(client, "users") == wanted, sql


@pytest.mark.parametrize("ask", ["SELECT current_setting('datestyle') FROM ci_builds LIMIT 1",
                                 "SET datestyle TO dmy; SELECT current_setting('datestyle') FROM ci_builds LIMIT 1"])
def test_a_part_that_is_set_in_a_query_over_both_databases(proxy, ask):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as client:
        got = done(client.query("SET datestyle TO SQL; SET datestyle TO dmy; SELECT count(*) FROM users; " + ask))
        assert rows(got)[-1] == ("SQL, DMY",)
        assert value(client, "SHOW datestyle") == "SQL, DMY"


def test_a_part_that_is_set_within_a_pipeline(proxy):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as client:
        done(client.query("SET datestyle TO SQL"))
        parts = [each for sql in ("SET datestyle TO dmy", "SELECT current_setting('datestyle') FROM users LIMIT 1",
                                  "SELECT current_setting('datestyle') FROM ci_builds LIMIT 1")
                 for each in (wire.parse("", sql), wire.bind(), wire.execute())]
        assert rows(done(client.exchange(*parts, wire.sync()))) == [("SQL, DMY",)] * 2
