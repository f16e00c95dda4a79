"""What the tests of shared connections have in common."""

import pytest

import wire
from harness import POOL_MODE, wait_until

own_mode = pytest.mark.skipif(POOL_MODE is not None, reason="these tests say themselves how connections are shared")


def rows(messages):
    return [tuple(None if value is None else value.decode() for value in row) for row in wire.rows(messages)]


def code(messages):
    """The SQLSTATE of the first error, or None."""
    found = wire.errors(messages)
    return found[0]["C"] if found else None


def simple(client, sql):
    return client.query(sql)


def extended(client, sql):
    return client.exchange(wire.parse("", sql), wire.bind(), wire.describe(), wire.execute(), wire.sync())


def done(messages):
    """The messages, which must not have an error."""
    assert code(messages) is None, wire.errors(messages)
    return messages


def value(client, sql, ask=simple):
    """The only value of the only row."""
    return rows(done(ask(client, sql)))[0][0]


def pid_of(client):
    """The server's process that serves it now."""
    return int(value(client, "SELECT pg_backend_pid()"))


def questions(cluster):
    """How often a connection was asked what binds it, and which tables have code behind them."""
    log = cluster.log()
    return log.count("SELECT EXISTS (SELECT FROM pg_catalog.pg_locks"), log.count("statement: SET LOCAL search_path TO pg_catalog")


def wait_known(client, cluster, statement):
    """Until it is known which tables have code: the statement is asked about no more, and no connection that asks is
    waited for, or another made in its stead."""
    def quiet():
        before = questions(cluster)
        done(client.query(statement))
        done(client.query(statement))
        return questions(cluster) == before
    wait_until(quiet, "the tables with code to be known")


def learn_reading(client):
    """From now on it is known, on the client's worker, whether reading runs code: a COMMIT over both databases asks behind
    itself, and what follows waits for the answer."""
    for text in ("BEGIN", "SELECT count(*) FROM ci_builds WHERE id = 1", "SELECT count(*) FROM projects WHERE id = 1",
                 "COMMIT", "SELECT count(*) FROM ci_builds WHERE id = 1"):
        done(client.query(text))


def fatal(client):
    """The SQLSTATE of the FATAL error with which the proxy hangs up."""
    found = wire.errors(client.read_to_end())
    assert found and found[-1]["S"] == "FATAL", found
    return found[-1]["C"]


def hold(client):
    """Puts a client in a transaction, where it keeps its connection."""
    done(client.query("BEGIN"))
    done(client.query("SELECT 1"))


def settle(proxy, *clients):
    """As many connections to main as these clients are there, and none asks the catalogs. Else the next statement may wait
    for one to be made, and go to another's that comes free meanwhile; or the one that was used last is busy."""
    for client in clients:
        hold(client)
    for client in clients:
        done(client.query("COMMIT"))
    wait_known(clients[0], proxy.main, "SELECT count(*) FROM projects WHERE id < 0")


def nothing_comes(client, seconds=0.05):
    with pytest.raises(TimeoutError):
        client.read(seconds)


def waiting(*clients, sql="SELECT 1"):
    """Has clients ask, one after the other; they are in the queue when this returns."""
    for client in clients:
        client.send(wire.query(sql))
        nothing_comes(client)
