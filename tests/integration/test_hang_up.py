"""A client that hangs up in the middle of something leaves no transaction open on any database, and no connection to it.
One that has only sent its end gets its answers."""

import ctypes
import ctypes.util
import shutil
import signal
import socket
import struct

import pytest

import wire
from harness import wait_until
from pooling import done, own_mode, rows
from test_auth import Certificates, tls

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


in_all_modes = pytest.mark.parametrize("mode", ["transaction", "session", "off"])


# They have begun when these return.
COPIES = {
    "with nothing yet": lambda *at: copy(*at, wire.terminate()),
    "with a row": lambda *at: copy(*at, wire.copy_data("some\n") + wire.terminate()),
    "by the extended protocol": lambda *at: extended_copy(*at, wire.copy_data("some\n") + wire.terminate()),
}


def states(proxy):
    return [state for state, in proxy.main.sql("SELECT state FROM pg_stat_activity WHERE application_name = %s",
                                               params=(proxy.name,))]


@in_all_modes
@pytest.mark.parametrize("ask", COPIES.values(), ids=COPIES)
def test_a_goodbye_within_a_copy(make_pool, unique, mode, ask):
    proxy = make_pool(mode, size=1)
    with proxy.wire() as client:
        ask(client, unique)
        assert [error["C"] for error in wire.errors(client.read_to_end())] == ["08P01"]  # as a server says it
    wait_until(lambda: not set(states(proxy)) - {"idle"}, "the transaction to end")
    assert proxy.main.value("SELECT count(*) FROM users WHERE username IN (%s, 'some')", params=(unique,)) == 0


@in_all_modes
@pytest.mark.parametrize("middle", MIDDLES.values(), ids=MIDDLES)
def test_in_the_middle_of(make_pool, unique, mode, middle):
    proxy = make_pool(mode, size=1)
    with proxy.wire() as client:
        middle(client, unique)
        wait_until(lambda: set(states(proxy)) - {"idle"}, "the transaction to begin")
    wait_until(lambda: not set(states(proxy)) - {"idle"}, "the transaction to end")


# -- only its sending side -----------------------------------------------------------------------


def statements(sql):
    return wire.parse("", sql) + wire.bind() + wire.execute()


SLOW = "SELECT 'main' FROM (SELECT pg_sleep(0.3) FROM projects LIMIT 1) t"
CI = "SELECT 'ci' FROM (SELECT pg_sleep(0.2) FROM ci_builds LIMIT 1) t"
LAST_WORDS = {
    "a statement": (wire.query(SLOW), ["main"]),
    "statements for two databases": (wire.query(SLOW) + wire.query(CI) + wire.query(SLOW), ["main", "ci", "main"]),
    "a text for two databases": (wire.query(f"{SLOW}; {CI}"), ["main", "ci"]),
    "a pipeline": (statements(SLOW) + wire.sync(), ["main"]),
    "a pipeline and Terminate": (statements(SLOW) + wire.sync() + wire.terminate(), ["main"]),
    "statements with a Flush": (statements(SLOW) + wire.flush(), ["main"]),
    "a pipeline and one without an end": (statements(SLOW) + wire.sync() + statements(SLOW), ["main"]),
    "a statement and a part of another": (wire.query(SLOW) + wire.query(SLOW)[:-2], ["main"]),
    "a COPY": (wire.query("CREATE TEMP TABLE t (x text)") + wire.query("COPY t FROM STDIN") + wire.copy_data("a row\n")
               + wire.copy_done() + wire.query("SELECT x FROM t"), ["a row"]),
    "the rest of a transaction": (wire.query("BEGIN") + wire.query(SLOW) + wire.query(CI) + wire.query("COMMIT"), ["main", "ci"]),
}


def ask_and_end(client, *parts):
    client.send(*parts)
    client.socket.shutdown(socket.SHUT_WR)
    return client.read_to_end()


def texts(messages):
    return [value for value, in rows(done(messages))]


@in_all_modes
@pytest.mark.parametrize("asked, expected", LAST_WORDS.values(), ids=LAST_WORDS)
def test_who_has_sent_its_end_gets_its_answers(make_pool, mode, asked, expected):
    proxy = make_pool(mode)
    for host in "127.0.0.1", str(proxy.folder):
        with wire.connect(host, proxy.port, user="app", database="app") as client:
            assert texts(ask_and_end(client, asked)) == expected


@in_all_modes
def test_who_has_sent_its_end_before_it_is_let_in_gets_its_answers(make_pool, mode):
    """As printf … | nc does."""
    proxy = make_pool(mode)
    for _ in range(2):  # on a new connection, and on one of the pool's
        with wire.Connection("127.0.0.1", proxy.port) as client:
            messages = ask_and_end(client, wire.startup({"user": "app", "database": "app"}), wire.query(SLOW), wire.query(CI))
            assert texts(messages) == ["main", "ci"]


@in_all_modes
def test_who_has_sent_its_end_may_take_much_and_slowly(make_pool, mode):
    proxy = make_pool(mode)
    with proxy.wire() as client:
        client.send(wire.query("SELECT repeat('x', 100000) FROM generate_series(1, 600)"), wire.query(CI))
        client.socket.shutdown(socket.SHUT_WR)
        wait_until(lambda: proxy.main.sql("SELECT pid FROM pg_stat_activity WHERE application_name = %s"
                                          " AND wait_event = 'ClientWrite'", params=(proxy.name,)), "answers to pile up")
        answers = texts(client.read_to_end())
        assert len(answers) == 601 and answers[-1] == "ci"


@in_all_modes
def test_who_has_gone_altogether_holds_no_connection_by_its_statement(make_pool, mode):
    proxy = make_pool(mode, size=1)
    with proxy.wire() as client:
        client.send(wire.query("SELECT pg_sleep(60)"))
        wait_until(lambda: proxy.main.backends("%pg_sleep(60)%"), "it to run")
    proxy.wait_for_log(rf"session ended client=\S+ pid={client.pid} ")
    with proxy.wire() as another:
        assert texts(another.query("SELECT 'next'")) == ["next"]
    for pid in proxy.pids():
        proxy.main.sql("SELECT pg_terminate_backend(%s)", params=(pid,))


@in_all_modes
def test_sigterm_lets_who_has_sent_its_end_have_its_answers(make_pool, mode):
    proxy = make_pool(mode)
    with proxy.wire() as client:
        client.send(wire.query("SELECT 'slow' FROM (SELECT pg_sleep(2)) t"))
        client.socket.shutdown(socket.SHUT_WR)
        wait_until(lambda: proxy.main.backends("%pg_sleep(2)%"), "it to run")
        proxy.signal(signal.SIGTERM)
        assert texts(client.read_to_end()) == ["slow"]


# -- over TLS ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates():
    made = Certificates()
    yield made
    shutil.rmtree(made.folder, ignore_errors=True)


class OpenSSL:
    """A socket under OpenSSL itself: Python's does not read after its own close_notify."""

    def __init__(self, plain, timeout):
        self.plain, self.library = plain, ctypes.CDLL(ctypes.util.find_library("ssl"))
        pointers = {}
        for name, arguments in (("TLS_client_method", []), ("SSL_CTX_new", ["TLS_client_method"]), ("SSL_new", ["SSL_CTX_new"])):
            function = getattr(self.library, name)
            function.restype = ctypes.c_void_p
            pointers[name] = ctypes.c_void_p(function(*(pointers[each] for each in arguments)))
        self.ssl = pointers["SSL_new"]
        plain.settimeout(None)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(timeout), 0))
        self.library.SSL_set_fd(self.ssl, plain.fileno())
        assert self.library.SSL_connect(self.ssl) == 1

    def settimeout(self, seconds):
        pass

    def sendall(self, data):
        assert self.library.SSL_write(self.ssl, data, len(data)) == len(data)

    def recv(self, size):
        """Empty only where the peer has sent its close_notify: nothing is cut off."""
        buffer = ctypes.create_string_buffer(size)
        length = self.library.SSL_read(self.ssl, buffer, size)
        problem = self.library.SSL_get_error(self.ssl, length) if length <= 0 else 0
        assert problem in (0, 6), f"SSL_get_error: {problem}"
        return buffer.raw[:max(length, 0)]

    def close(self):
        self.plain.close()


def notify(client):
    assert client.socket.library.SSL_shutdown(client.socket.ssl) == 0


def end_tcp(client):
    client.socket.plain.shutdown(socket.SHUT_WR)


def notify_and_end(client):
    notify(client)
    end_tcp(client)


def by_tls(proxy):
    client = wire.Connection("127.0.0.1", proxy.port)
    client.send(wire.ssl_request())
    assert client.read_bytes(1) == b"S"
    client.socket = OpenSSL(client.socket, client.timeout)
    client.log_in({"user": "app", "database": "app"})
    return client


@in_all_modes
@pytest.mark.parametrize("end", [notify, end_tcp, notify_and_end])
def test_who_has_sent_its_end_over_tls_gets_its_answers(make_pool, certificates, mode, end):
    proxy = make_pool(mode, settings={"tls": tls(certificates, "require")})
    for words in "a statement", "a pipeline and one without an end", "the rest of a transaction":
        asked, expected = LAST_WORDS[words]
        with by_tls(proxy) as client:
            client.send(asked)
            end(client)
            assert texts(client.read_to_end()) == expected


@in_all_modes
@pytest.mark.parametrize("end", [None, notify])
def test_who_has_gone_altogether_from_tls_holds_no_connection_by_its_statement(make_pool, certificates, mode, end):
    proxy = make_pool(mode, size=1, settings={"tls": tls(certificates, "require")})
    with by_tls(proxy) as client:
        client.send(wire.query("SELECT pg_sleep(60)"))
        wait_until(lambda: proxy.main.backends("%pg_sleep(60)%"), "it to run")
        if end:
            end(client)
    proxy.wait_for_log(rf"session ended client=\S+ pid={client.pid} ")
    for pid in proxy.pids():
        proxy.main.sql("SELECT pg_terminate_backend(%s)", params=(pid,))
