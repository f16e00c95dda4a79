"""Hostile and huge texts get an answer or a clear error, cheaply, while others are served."""

import os
import random
import signal
import threading
import time

import pytest

import wire
from harness import cpu_seconds

FREE = 0.1  # CPU seconds that any text may take, and again for each 100 KB
SANITIZED = 25  # how much slower a build with sanitizers may be


BOUNDED = 64 * 1024  # KiB by which memory may grow, whatever passes


def memory(proxy):
    """KiB of resident memory."""
    for line in open(f"/proc/{proxy.process.pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1])


def skip(connection, count):
    """Reads `count` bytes without keeping them."""
    while count > 0:
        count -= len(connection.read_bytes(min(count, 1 << 16)))


def allowed(text, proxy):
    factor = SANITIZED if b"__asan_init" in open(f"/proc/{proxy.process.pid}/exe", "rb").read() else 1
    return (FREE + FREE * len(text) / 100_000) * factor


TEXTS = {
    "100,000 terms": "SELECT 1" + "+1" * 100_000,
    "100,000 terms over a table": "SELECT 1" + "+1" * 100_000 + " FROM ci_builds WHERE id = 1",
    "10,000 parentheses": "SELECT " + "(" * 10_000 + "1" + ")" * 10_000,
    "10,000 open parentheses": "SELECT " + "(" * 10_000,
    "10,000 nested subqueries": "SELECT * FROM " + "(SELECT * FROM " * 10_000 + "ci_builds" + ") x" * 10_000,
    "10,000 nested arrays": "SELECT " + "ARRAY[" * 10_000 + "1" + "]" * 10_000,
    "64 KB of /*": "SELECT 1 " + "/*" * 32_768,
    "64 KB of closed comments": "SELECT 1 " + "/*" * 16_384 + "*/" * 16_384,
    "64 KB of operators": "SELECT 1 " + "+-" * 32_768 + " 1",
    "64 KB of quotes": "SELECT " + "'" * 65_536,
    "64 KB of double quotes": "SELECT " + '"' * 65_537,
    "64 KB of dollars": "SELECT " + "$" * 65_536,
    "64 KB of open dollar quotes": "SELECT " + "$a$ $b$ " * 8_192,
    "64 KB of NOT": "SELECT " + "NOT " * 16_384 + "true",
    "64 KB of minus": "SELECT " + "- " * 32_768 + "1",
    "20,000 statements": "SELECT 1;" * 20_000,
    "a 1 MB IN list": "SELECT count(*) FROM ci_builds WHERE id IN (" + ",".join(map(str, range(150_000))) + ")",
    # PREPARE: the server need not plan them.
    "5,000 unions": "PREPARE u AS " + " UNION ALL ".join(["SELECT id FROM ci_builds"] * 5_000),
    "5,000 common table expressions": "WITH " + ", ".join(f"c{n} AS (SELECT 1)" for n in range(5_000)) + " SELECT 1",
    "5,000 joined tables": "PREPARE j AS SELECT 1 FROM " + ", ".join(f"ci_builds b{n}" for n in range(5_000)),
    "20,000 casts": "SELECT 1" + "::int" * 20_000,
    "a long identifier": "SELECT * FROM " + "x" * 100_000,
    "10,000 CASEs": "SELECT " + "CASE WHEN true THEN " * 10_000 + "1" + " END" * 10_000,
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_deep_text_gets_an_answer_cheaply(proxy, name):
    text = TEXTS[name]
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app", timeout=100) as connection:
        before = cpu_seconds(proxy.process.pid)
        # Statement by statement the server would take its own time over 100,000 of them: the route is what is tested.
        messages = connection.query("SET statement_timeout = '20s'")
        messages = connection.query(text)
        spent = cpu_seconds(proxy.process.pid) - before
        assert messages[-1].type == "Z"
        for error in wire.errors(messages):
            assert error["M"] and error["C"]
        assert spent <= allowed(text, proxy), f"{spent} s of CPU for {len(text)} bytes"


@pytest.mark.parametrize("table", ["projects", "ci_builds"])
def test_a_20_mb_literal_passes(proxy, table):
    text = f"SELECT length('{'x' * 20_000_000}') FROM {table} WHERE id = 1"
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app", timeout=100) as connection:
        before = cpu_seconds(proxy.process.pid)
        assert wire.rows(connection.query(text)) == [[b"20000000"]]
        assert cpu_seconds(proxy.process.pid) - before <= allowed(text, proxy)


def test_a_nul_in_a_query_is_a_protocol_violation(proxy):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        connection.send(wire.message("Q", b"SELECT 1\0 FROM ci_builds\0"))
        assert wire.errors(connection.read_to_end())[0]["C"] == "08P01"


@pytest.mark.parametrize("text", [b"SELECT '\xff'", b"SELECT '\xc3'", b"SELECT \xe2\x82 FROM ci_builds",
                                  b"SELECT '\xed\xa0\x80'", b"SELECT '\xf8\x88\x80\x80\x80'", b"-- \xc0\xaf"])
def test_invalid_utf_8_is_an_error_as_the_servers(proxy, text):
    errors = []
    for port in (proxy.main.port, proxy.port):
        with wire.connect("127.0.0.1", port, user="app", database="app") as connection:
            error = wire.errors(connection.exchange(wire.message("Q", text + b"\0")))[0]
            errors.append((error["C"], error["M"]))
            assert wire.types(connection.query("SELECT 1")) == "TDCZ"
    assert errors[0] == errors[1]


def test_bytes_of_another_encoding_pass(proxy):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app",
                      parameters={"client_encoding": "LATIN1"}) as connection:
        messages = connection.exchange(wire.message("Q", b"SELECT '\xe9' FROM ci_builds WHERE id = 1\0"))
        assert wire.rows(messages) == [[b"\xe9"]]


@pytest.mark.parametrize("encoding", ["SJIS", "BIG5", "GBK", "UHC", "GB18030", "JOHAB"])
def test_encodings_whose_bytes_can_hide_a_quote_are_refused(proxy, encoding):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        errors = wire.errors(connection.query(f"SET client_encoding = '{encoding}'"))
        assert errors and errors[0]["S"] == "ERROR" and "client_encoding" in errors[0]["M"]


def test_others_are_served_while_one_is_slow(proxy):
    """Small queries of other clients go on while one client sends the costly texts."""
    answered, stop = [], threading.Event()

    def small():
        with wire.connect("127.0.0.1", proxy.port, user="app", database="app", timeout=30) as connection:
            while not stop.is_set():
                begun = time.monotonic()
                connection.query("SELECT 1 FROM ci_builds WHERE id = 1")
                answered.append(time.monotonic() - begun)
    clients = [threading.Thread(target=small) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        with wire.connect("127.0.0.1", proxy.port, user="app", database="app", timeout=100) as connection:
            for name in ("100,000 terms", "10,000 parentheses", "100,000 terms over a table"):
                connection.query(TEXTS[name])
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert len(answered) > 20
    assert max(answered) < 10


def test_a_client_that_never_reads_stops_being_served_without_growing(proxy):
    """Back-pressure: the proxy holds a bounded part of what a client does not take."""
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app", timeout=100) as connection, \
            wire.connect("127.0.0.1", proxy.port, user="app", database="app") as other:
        before = memory(proxy)
        connection.send(wire.query("SELECT repeat('x', 1000), n FROM generate_series(1, 300000) n, ci_builds WHERE id = 1"))
        first = connection.read()
        for _ in range(50):
            assert wire.types(other.query("SELECT 1 FROM ci_builds WHERE id = 1")) == "TDCZ"
        assert memory(proxy) - before < BOUNDED
        count = sum(1 for message in connection.read_until() if message.type == "D")
        assert first.type == "T" and count == 300_000


def test_a_client_that_logs_in_too_slowly_is_ended(make_proxy):
    own = make_proxy(login_timeout=1)
    with wire.Connection("127.0.0.1", own.port, timeout=20) as connection:
        connection.send(wire.startup({"user": "app"})[:6])
        for message in connection.read_to_end():
            assert message.type == "E"


def test_a_200_mb_value_passes_in_constant_memory(make_proxy):
    own = make_proxy()
    with wire.connect("127.0.0.1", own.port, user="app", database="app", timeout=100) as connection:
        connection.query("SELECT 1 FROM ci_builds WHERE id = 1")
        before = memory(own)
        connection.send(wire.query("SELECT repeat('x', 200000000) FROM ci_builds WHERE id = 1"))
        assert connection.read().type == "T"
        skip(connection, 1 + 4 + 2 + 4 + 100_000_000)
        assert memory(own) - before < BOUNDED
        skip(connection, 100_000_000)
        assert wire.types(connection.read_until()) == "CZ"
        assert memory(own) - before < BOUNDED


def test_a_100_mb_parameter_passes(make_proxy):
    own = make_proxy()
    with wire.connect("127.0.0.1", own.port, user="app", database="app", timeout=100) as connection:
        messages = connection.exchange(wire.parse("", "SELECT length($1::text) FROM ci_builds WHERE id = 1"),
                                       wire.bind(values=["y" * 100_000_000]), wire.execute(), wire.sync())
        assert wire.rows(messages) == [[b"100000000"]]


def pieces(data, sizes, largest):
    at = 0
    while at < len(data):
        size = sizes.randint(1, largest)
        yield data[at:at + size]
        at += size


@pytest.mark.parametrize("largest", [50, 9_000, 200_000])
def test_copy_data_arrives_as_it_was_sent_however_it_is_cut(make_proxy, unique, largest):
    """Messages of every size, in packets of every size, long enough to be read in big pieces."""
    own, sizes = make_proxy(), random.Random(largest)
    lines = b"".join(f"{unique}-{sizes.getrandbits(200)}\n".encode() for _ in range(3000 if largest == 50 else 60_000))
    stream = b"".join(wire.copy_data(piece) for piece in pieces(lines, sizes, largest)) + wire.copy_done()
    with wire.connect("127.0.0.1", own.port, user="app", database="app", timeout=100) as connection:
        connection.query("BEGIN")
        connection.exchange(wire.query("COPY ci_runners (description) FROM STDIN"), until="G")
        for packet in pieces(stream, sizes, largest):
            connection.send(packet)
        assert wire.errors(connection.read_until()) == []
        found = connection.query(f"SELECT description FROM ci_runners WHERE description LIKE '{unique}%' ORDER BY id")
        connection.query("ROLLBACK")
    assert b"".join(row[0] + b"\n" for row in wire.rows(found)) == lines


def test_copy_in_that_the_database_does_not_take_is_held_back(make_proxy):
    """The backend is stopped: what the client sends must wait in the client, not in the proxy."""
    own = make_proxy()
    row = b"x" * 999 + b"\n"
    with wire.connect("127.0.0.1", own.port, user="app", database="app", timeout=100) as connection:
        connection.query("BEGIN")
        connection.exchange(wire.query("COPY ci_runners (description) FROM STDIN"), until="G")
        before = memory(own)
        connection.send(b"".join(wire.copy_data(row * 100) for _ in range(10)))
        (backend,) = own.ci.backends("COPY ci_runners%")
        os.kill(backend, signal.SIGSTOP)
        try:
            connection.socket.settimeout(1)
            with pytest.raises(TimeoutError):
                while True:
                    connection.socket.sendall(wire.copy_data(row * 1000))
            assert memory(own) - before < BOUNDED
        finally:
            os.kill(backend, signal.SIGCONT)
