"""What a client's startup packet sets is the session's own default: RESET goes back to it, whichever connection serves it."""

import pytest

import wire
from harness import POOL_MODE

pytestmark = pytest.mark.skipif(POOL_MODE is not None, reason="these tests say themselves how connections are shared")

STARTUP = {"application_name": "x", "search_path": "pg_catalog", "options": "-c DateStyle=SQL,DMY --work-mem=1MB"}
SHOWN = "application_name", "search_path", "DateStyle", "work_mem"
RESETS = ["RESET application_name", "SET DateStyle TO DEFAULT", "RESET ALL"]
CHANGE = "SET application_name = 'z'; SET DateStyle = 'German'; SET search_path = 'public'"

SCRIPTS = {
    "by itself": lambda reset: [CHANGE, reset],
    "within a block": lambda reset: [CHANGE, "BEGIN", reset, "COMMIT"],
    "in a block that is undone": lambda reset: [CHANGE, "BEGIN", reset, "ROLLBACK"],
    "behind a savepoint that is undone": lambda reset: ["BEGIN", CHANGE, "SAVEPOINT a", reset, "ROLLBACK TO a", "COMMIT"],
    "in a savepoint that is released": lambda reset: ["BEGIN", CHANGE, "SAVEPOINT a", reset, "RELEASE a", "COMMIT"],
    "in a block that failed": lambda reset: [CHANGE, "BEGIN", reset, "SELECT 1 / 0", "COMMIT"],
    "in a block that is chained": lambda reset: [CHANGE, f"BEGIN READ ONLY; {reset}; COMMIT AND CHAIN; SHOW transaction_read_only",
                                                 "COMMIT"],
    "before it is set in a block that is chained": lambda reset: ["BEGIN", CHANGE, reset, "COMMIT AND CHAIN",
                                                                  "SET LOCAL application_name = 'v'"],
    "in a block that is undone and chained": lambda reset: [CHANGE, f"BEGIN READ ONLY; {reset}; ROLLBACK AND CHAIN", "COMMIT"],
    "among others in one text": lambda reset: [f"{CHANGE}; {reset}; SELECT current_setting('application_name')"],
    "before it is set again": lambda reset: [CHANGE, reset, "SET application_name = 'w'"],
    "after it was discarded": lambda reset: [CHANGE, "DISCARD ALL", CHANGE, reset, "DISCARD ALL"],
}


def seen(connection, statements):
    """What the client reads after each statement, and what it has been told once it has looked: a value that comes back
    is told with the next statement."""
    told, found = dict(connection.parameters), []
    for statement in statements:
        for sql in (statement, *(f"SHOW {name}" for name in SHOWN)):
            messages = connection.query(sql)
            found.append((sql, wire.tags(messages), [tuple(row) for row in wire.rows(messages)],
                          [error["C"] for error in wire.errors(messages)]))
            for kind, body in messages:
                if kind == "S":
                    name, value = body.decode().split("\0")[:2]
                    told[name] = value
        found.append({name: told[name] for name in SHOWN if name in told})
    return found


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_reset_goes_back_to_the_startup_packets_value(make_pool, main_cluster, mode, script, reset):
    proxy = make_pool(mode, size=1)
    statements = script(reset)
    with wire.connect("127.0.0.1", main_cluster.port, user="app", database="app", parameters=STARTUP) as direct:
        expected = seen(direct, statements)
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app", parameters=STARTUP) as client:
        assert seen(client, statements) == expected


def test_set_local_to_default_lasts_for_its_block(make_pool):
    with wire.connect("127.0.0.1", make_pool(size=1).port, user="app", database="app", parameters=STARTUP) as client:
        for sql in ("SET application_name = 'z'", "BEGIN", "SET LOCAL application_name TO DEFAULT"):
            client.query(sql)
        assert wire.rows(client.query("SHOW application_name")) == [[b"x"]]
        client.query("COMMIT")
        assert wire.rows(client.query("SHOW application_name")) == [[b"z"]]


def test_the_next_client_of_the_connection_has_its_own_defaults(make_pool):
    proxy = make_pool(size=1)
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app", parameters=STARTUP) as client, \
            wire.connect("127.0.0.1", proxy.port, user="app", database="app") as other:
        name = wire.rows(other.query("SHOW application_name"))
        for sql in ("RESET ALL", "BEGIN; RESET application_name; COMMIT", "SET application_name = 'z'"):
            client.query(sql)
            assert wire.rows(other.query("SHOW application_name")) == name != [[b"x"]]
            assert wire.rows(other.query("SHOW work_mem")) == [[b"4MB"]]
        client.query("DISCARD ALL")
        assert wire.rows(client.query("SHOW application_name")) == [[b"x"]]


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_parameter_of_its_own_name_wins_over_options(make_pool, main_cluster, mode):
    """Whatever stands first: the server reads `options` before all others."""
    proxy = make_pool(mode, size=1)
    options = {"options": "-c work_mem=5MB -c client_encoding=SQL_ASCII -c work_mem=7MB", "lock_timeout": "9s"}
    for parameters in ({"work_mem": "6MB", "client_encoding": "UTF8", **options}, {**options, "work_mem": "6MB"}):
        with wire.connect("127.0.0.1", main_cluster.port, user="app", database="app", parameters=parameters) as direct, \
                proxy.wire(parameters=parameters) as client:
            for name in ("work_mem", "client_encoding", "lock_timeout"):
                assert wire.rows(client.query(f"SHOW {name}")) == wire.rows(direct.query(f"SHOW {name}")), name
            assert client.parameters["client_encoding"] == direct.parameters["client_encoding"]
            client.terminate()
