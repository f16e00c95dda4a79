"""What a session does while a database that its last block only read has not answered COMMIT yet."""

import contextlib
import os
import signal

import pytest

import wire
from harness import wait_until
from pooling import code, done, extended, fatal, learn_reading, nothing_comes, own_mode, rows, value, wait_known, waiting

MODES = ["off", "session", "transaction"]
MAIN = "SELECT count(*) FROM projects WHERE id = 1"
CI = "SELECT count(*) FROM ci_builds WHERE id = 1"

pytestmark = own_mode


@contextlib.contextmanager
def trailing(client, proxy, unique):
    """Behind the COMMIT of a block that has read ci and written main, while ci's server process stands still."""
    learn_reading(client)
    for text in ("BEGIN", f"SELECT '{unique}' FROM ci_builds WHERE id = 1", "UPDATE projects SET name = name WHERE id = 1"):
        done(client.query(text))
    (pid,) = proxy.ci.backends(f"%{unique}%")
    os.kill(pid, signal.SIGSTOP)
    try:
        assert wire.tags(done(client.query("COMMIT"))) == ["COMMIT"]
        yield pid
    finally:
        os.kill(pid, signal.SIGCONT)


def block(client):
    for text in ("BEGIN", "UPDATE projects SET name = name WHERE id = 1", "SAVEPOINT a", "ROLLBACK TO a", "COMMIT"):
        done(client.query(text))


def pipeline(client):
    client.send(*[part for _ in range(3) for part in (wire.parse("", MAIN), wire.bind(), wire.execute())], wire.sync())
    assert rows(done(client.read_until("Z"))) == [("1",)] * 3


# What a client may go on with on the other database.
GOES_ON = {
    "a simple query": lambda client: value(client, MAIN),
    "several statements": lambda client: done(client.query(f"{MAIN}; {MAIN}")),
    "the extended protocol": lambda client: value(client, MAIN, extended),
    "a pipeline": pipeline,
    "a block": block,
    "statements in parts": lambda client: done(client.query(f"UPDATE projects SET name = name WHERE id = 1; SHOW pginterlock.allow; {MAIN}")),
    "a setting": lambda client: (done(client.query("SET work_mem = '5MB'")), value(client, "SHOW work_mem")),
    "a long text": lambda client: value(client, f"{MAIN} AND '{'x' * 2_000_000}' <> ''"),
    "an error": lambda client: client.query("SELECT 1 / 0"),
    "copying": lambda client: done(client.copy_in("COPY projects (id) FROM STDIN")[1]),
    "a rejection": lambda client: client.query("SELECT 1 FROM projects, ci_builds"),
    "nothing": lambda client: done(client.query("")),
}


@pytest.mark.parametrize("mode", MODES)
def test_a_client_goes_on_with_the_other_database(make_pool, unique, mode):
    proxy = make_pool(mode)
    with proxy.wire() as client:
        with trailing(client, proxy, unique):
            for what, go_on in GOES_ON.items():
                try:
                    go_on(client)
                except TimeoutError:
                    pytest.fail(f"waits: {what}")
        assert value(client, CI) == "1"


@pytest.mark.parametrize("ask", [wire.query, lambda sql: wire.parse("", sql) + wire.bind() + wire.execute() + wire.sync()],
                         ids=["simple", "extended"])
@pytest.mark.parametrize("mode", MODES)
def test_a_statement_for_the_database_that_is_silent_waits(make_pool, unique, mode, ask):
    proxy = make_pool(mode, size=1)
    with proxy.wire() as client:
        with trailing(client, proxy, unique):
            assert value(client, MAIN) == "1"
            client.send(ask(CI), ask(MAIN))
            nothing_comes(client)
        assert rows(done(client.read_until("Z")) + done(client.read_until("Z"))) == [("1",), ("1",)]


@pytest.mark.parametrize("statement, tag", [("DISCARD ALL", "DISCARD ALL"), ("CLOSE ALL", "CLOSE CURSOR ALL"),
                                            ("DEALLOCATE ALL", "DEALLOCATE ALL")], ids=["discard", "close", "deallocate"])
@pytest.mark.parametrize("mode", ["off", "session"])
def test_what_goes_to_all_databases_waits(make_pool, unique, mode, statement, tag):
    proxy = make_pool(mode)
    with proxy.wire() as client:
        with trailing(client, proxy, unique):
            client.send(wire.query(statement), wire.query(CI))
            nothing_comes(client)
        assert wire.tags(done(client.read_until("Z"))) == [tag]
        assert rows(done(client.read_until("Z"))) == [("1",)]


@pytest.mark.parametrize("mode", MODES)
def test_a_block_that_joins_the_silent_database_waits_there(make_pool, unique, mode):
    proxy = make_pool(mode)
    with proxy.wire() as client:
        with trailing(client, proxy, unique):
            for text in ("BEGIN", MAIN, "SAVEPOINT a"):
                done(client.query(text))
            client.send(wire.query("UPDATE ci_builds SET name = name WHERE id = 1"))
            nothing_comes(client)
        assert wire.tags(done(client.read_until("Z"))) == ["UPDATE 1"]
        assert wire.tags(done(client.query("COMMIT"))) == ["COMMIT"]


@pytest.mark.parametrize("mode", MODES)
def test_a_statement_that_waits_can_be_cancelled(make_pool, unique, mode):
    proxy = make_pool(mode)
    with proxy.wire() as client:
        with trailing(client, proxy, unique):
            client.send(wire.query(CI))
            nothing_comes(client)
            client.cancel()
            assert code(client.read_until("Z")) == "57014"
            assert value(client, MAIN) == "1"
        assert value(client, CI) == "1"


@pytest.mark.parametrize("mode", MODES)
def test_what_ended_with_the_database_is_told_with_its_next_statement(make_pool, unique, mode):
    proxy = make_pool(mode)
    with proxy.wire() as client:
        learn_reading(client)
        done(client.query("SELECT pg_advisory_lock(7) FROM ci_builds WHERE id = 1"))
        for text in ("BEGIN", f"SELECT '{unique}' FROM ci_builds WHERE id = 1", "UPDATE projects SET name = name WHERE id = 1"):
            done(client.query(text))
        (pid,) = proxy.ci.backends(f"%{unique}%")
        os.kill(pid, signal.SIGSTOP)
        try:
            client.send(wire.query("COMMIT"))
            os.kill(pid, signal.SIGTERM)
        finally:
            os.kill(pid, signal.SIGCONT)
        done(client.read_until("Z"))
        wait_until(lambda: not proxy.ci.backends(f"%{unique}%"), "the end of its process")
        assert value(client, MAIN) == "1"
        assert [code(client.query(CI)) for _ in range(2)] == ["08006", None]


@pytest.mark.parametrize("mode", ["off", "session"])
def test_a_statement_that_was_closed_meanwhile_is_forgotten_there(make_pool, unique, mode):
    proxy = make_pool(mode)
    with proxy.wire() as client:
        done(client.exchange(wire.parse("s", "SELECT 1"), wire.sync()))
        for database in ("ci", "main"):  # a statement without tables is prepared wherever it is run
            done(client.query(f"SET pginterlock.database = '{database}'"))
            done(client.exchange(wire.bind("", "s"), wire.execute(), wire.sync()))
        done(client.query("RESET pginterlock.database"))
        with trailing(client, proxy, unique):
            done(client.exchange(wire.close("S", "s"), wire.sync()))
        done(client.exchange(wire.parse("s", CI), wire.bind("", "s"), wire.execute(), wire.sync()))


def test_others_get_the_connection_although_the_session_is_in_its_next_block(make_pool, unique):
    proxy = make_pool(size=1)
    with proxy.wire() as client, proxy.wire() as other:
        wait_known(client, proxy.ci, CI)
        with trailing(client, proxy, unique):
            done(client.query("BEGIN"))
            done(client.query("UPDATE projects SET name = name WHERE id = 1"))
            other.send(wire.query(CI))
            nothing_comes(other)
        assert rows(done(other.read_until("Z"))) == [("1",)]
        done(client.query("COMMIT"))


@pytest.mark.parametrize("known", [True, False], ids=["known", "asked"])
def test_who_waits_with_a_connection_that_trails_is_in_no_deadlock(make_pool, unique, known):
    proxy = make_pool(size=1)
    with proxy.wire() as client, proxy.wire() as other:
        if known:  # else the server is asked what keeps its connection, first
            wait_known(client, proxy.ci, CI)
        with trailing(client, proxy, unique):
            done(other.query("BEGIN"))
            done(other.query("UPDATE projects SET name = name WHERE id = 1"))
            waiting(client, sql=MAIN)
            waiting(other, sql=CI)
        assert rows(done(other.read_until("Z"))) == [("1",)]
        done(other.query("COMMIT"))
        assert rows(done(client.read_until("Z"))) == [("1",)]


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_client_that_says_goodbye_leaves_a_connection_that_goes_on(make_pool, unique, mode):
    proxy = make_pool(mode, size=1)
    with proxy.wire() as client:
        with trailing(client, proxy, unique) as pid:
            client.send(wire.terminate())
            nothing_comes(client)
        assert client.read_to_end() == []
    with proxy.wire() as client:
        assert value(client, CI) == "1"
        assert proxy.pids(proxy.ci) == [pid]


@pytest.mark.parametrize("mode", MODES)
def test_who_waits_is_not_idle(make_pool, unique, mode):
    proxy = make_pool(mode, client_idle_timeout=1)
    with proxy.wire() as client:
        with trailing(client, proxy, unique):
            client.send(wire.query(CI))
            nothing_comes(client, 2.5)
        assert rows(done(client.read_until("Z"))) == [("1",)]
        assert fatal(client) == "57P05"


@pytest.mark.parametrize("mode", MODES)
def test_a_proxy_that_ends_does_not_wait_for_it(make_pool, unique, mode):
    proxy = make_pool(mode)
    with proxy.wire() as client:
        with trailing(client, proxy, unique):
            proxy.signal(signal.SIGTERM)
            assert fatal(client) == "57P01"
