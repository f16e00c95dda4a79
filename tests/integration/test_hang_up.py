"""A client that hangs up in the middle of something leaves no transaction open on any database, and no connection to it."""

import pytest

import wire
from harness import wait_until
from pooling import own_mode

pytestmark = own_mode

INSERT = "INSERT INTO users (username) VALUES ('{}')"
COPY = "BEGIN; " + INSERT + "; COPY users (username) FROM STDIN"


def pipeline(client, unique, rest):
    client.send(wire.parse("", INSERT.format(unique)), wire.bind(), wire.execute(), rest)


def extended_copy(client, unique, rest):
    client.exchange(wire.parse("", INSERT.format(unique)), wire.bind(), wire.execute(),
                    wire.parse("", "COPY users (username) FROM STDIN"), wire.bind(), wire.execute(), wire.flush(), until="G")
    client.send(rest)


def copy(client, unique, rest=b""):
    client.exchange(wire.query(COPY.format(unique)), until="G")
    client.send(rest)


MIDDLES = {
    "a header behind a pipeline": lambda *at: pipeline(*at, wire.sync()[:-2]),
    "a Parse behind a pipeline": lambda *at: pipeline(*at, wire.parse("", "SELECT 1")[:-3]),
    "a long Bind behind a pipeline": lambda *at: pipeline(*at, wire.parse("", "SELECT $1")
                                                          + wire.bind("", "", ["x" * 100_000])[:-3]),
    "a COPY within a text of several": copy,
    "a row of such a COPY": lambda *at: copy(*at, wire.copy_data("some\nmore")[:-2]),
}


# They have begun when these return.
COPIES = {
    "with nothing yet": lambda *at: copy(*at, wire.terminate()),
    "with a row": lambda *at: copy(*at, wire.copy_data("some\n") + wire.terminate()),
    "by the extended protocol": lambda *at: extended_copy(*at, wire.copy_data("some\n") + wire.terminate()),
}


def states(proxy):
    return [state for state, in proxy.main.sql("SELECT state FROM pg_stat_activity WHERE application_name = %s",
                                               params=(proxy.name,))]


@pytest.mark.parametrize("mode", ["transaction", "session", "off"])
@pytest.mark.parametrize("ask", COPIES.values(), ids=COPIES)
def test_a_goodbye_within_a_copy(make_pool, unique, mode, ask):
    proxy = make_pool(mode, size=1)
    with proxy.wire() as client:
        ask(client, unique)
        assert [error["C"] for error in wire.errors(client.read_to_end())] == ["08P01"]  # as a server says it
    wait_until(lambda: not set(states(proxy)) - {"idle"}, "the transaction to end")
    assert proxy.main.value("SELECT count(*) FROM users WHERE username IN (%s, 'some')", params=(unique,)) == 0


@pytest.mark.parametrize("mode", ["transaction", "session", "off"])
@pytest.mark.parametrize("middle", MIDDLES.values(), ids=MIDDLES)
def test_in_the_middle_of(make_pool, unique, mode, middle):
    proxy = make_pool(mode, size=1)
    with proxy.wire() as client:
        middle(client, unique)
        wait_until(lambda: set(states(proxy)) - {"idle"}, "the transaction to begin")
    wait_until(lambda: not set(states(proxy)) - {"idle"}, "the transaction to end")
