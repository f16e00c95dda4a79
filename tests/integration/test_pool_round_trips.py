"""Clients with other settings share one connection: what each has set comes with its statement, in the same round trip."""

import socket
import threading

import pytest

import wire
from harness import POOL_MODE

pytestmark = pytest.mark.skipif(POOL_MODE is not None, reason="these tests say themselves how connections are shared")


class Tap:
    """Passes bytes on to a server and counts how often the proxy speaks after the server did."""

    def __init__(self, port):
        self.server_port, self.turns, self.proxys_turn = port, 0, True
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                proxy, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.server_port))
            for pair in ((proxy, server, True), (server, proxy, False)):
                threading.Thread(target=self.pump, args=pair, daemon=True).start()

    def pump(self, source, target, is_proxy):
        try:
            while data := source.recv(65536):
                with self.lock:
                    self.turns += is_proxy and self.proxys_turn
                    self.proxys_turn = not is_proxy
                target.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, target):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def turns_of(self, client, message):
        before = self.turns
        client.send(message)
        messages = client.read_until("Z")
        return self.turns - before, messages

    def close(self):
        self.listener.close()


@pytest.fixture
def tapped(make_proxy, main_cluster):
    """Two clients that share one connection, and what passes between it and the server."""
    tap = Tap(main_cluster.port)
    proxy = make_proxy(databases={"main": main_cluster.conninfo(port=tap.port), "ci": {"same_as": "main"}}, workers=1,
                       pool={"mode": "transaction", "size": 1})
    clients = [wire.connect("127.0.0.1", proxy.port, user="app", database="app",
                            parameters={"application_name": name, "DateStyle": style})
               for name, style in (("one", "SQL, DMY"), ("other", "German"))]
    for client in clients:
        client.query("SELECT 1 FROM projects LIMIT 1")
    yield tap, clients
    for client in clients:
        client.close()
    tap.close()


ASK = "SELECT current_setting('application_name'), '2026-11-23'::date FROM projects LIMIT 1"
EXPECTED = [(b"one", b"23/11/2026"), (b"other", b"23.11.2026")]


def extended(sql):
    return wire.parse("", sql) + wire.bind("", "") + wire.describe("P", "") + wire.execute("") + wire.sync()


@pytest.mark.parametrize("message", [wire.query(ASK), extended(ASK)], ids=["simple", "extended"])
def test_settings_come_in_the_statements_round_trip(tapped, message):
    tap, clients = tapped
    for _ in range(3):
        for client, row in zip(clients, EXPECTED):
            turns, messages = tap.turns_of(client, message)
            assert [tuple(found) for found in wire.rows(messages)] == [row]
            assert turns == 1
            assert not [body for kind, body in messages if kind == "S"]  # the client knows its own settings


def test_a_named_statement_of_an_earlier_pipeline_has_them_too(tapped):
    tap, clients = tapped
    for client in clients:
        client.send(wire.parse("s", ASK) + wire.sync())
        client.read_until("Z")
    for client, row in zip(clients * 2, EXPECTED * 2):
        turns, messages = tap.turns_of(client, wire.bind("", "s") + wire.execute("") + wire.sync())
        assert [tuple(found) for found in wire.rows(messages)] == [row]
        assert turns == 1


def test_a_statement_that_fails_undoes_them_for_itself_only(tapped):
    _, clients = tapped
    for client, row in zip(clients * 2, EXPECTED * 2):
        assert wire.errors(client.query("SELECT 1 / (id - id) FROM projects LIMIT 1"))[0]["C"] == "22012"
        for turn in range(2):
            assert [tuple(found) for found in wire.rows(client.query(ASK))] == [row]


def test_a_transaction_begins_after_them(tapped):
    """Within it they would go with its ROLLBACK."""
    _, clients = tapped
    for client, row in zip(clients * 2, EXPECTED * 2):
        for message in (wire.query("BEGIN"), wire.query(ASK), wire.query("ROLLBACK AND CHAIN"), wire.query(ASK),
                        wire.query("ROLLBACK"), wire.query(ASK)):
            client.send(message)
            messages = client.read_until("Z")
            assert not [body for kind, body in messages if kind == "S"]
            assert message == wire.query(ASK) and [tuple(found) for found in wire.rows(messages)] == [row] or message != wire.query(ASK)


@pytest.mark.parametrize("sql", ["BEGIN", "SELECT set_config('work_mem', '1MB', false)"])
def test_what_another_statement_of_the_pipeline_does_is_not_undone(tapped, sql):
    _, clients = tapped
    pipeline = (wire.parse("", ASK) + wire.bind("", "") + wire.execute("") +
                wire.parse("", sql) + wire.bind("", "") + wire.execute("") + wire.sync())
    for client, row in zip(clients * 2, EXPECTED * 2):
        client.send(pipeline)
        assert tuple(wire.rows(client.read_until("Z"))[0]) == row
        client.query("ROLLBACK")
        assert [tuple(found) for found in wire.rows(client.query(ASK))] == [row]


WORK_MEM = "SELECT current_setting('work_mem') FROM projects LIMIT 1"  # of which the server does not tell


@pytest.fixture
def with_work_mem(tapped):
    """The clients, each with what it is to see."""
    pairs = list(zip(tapped[1], (b"5MB", b"6MB")))
    for client, size in pairs:
        client.query(f"SET work_mem = '{size.decode()}'")
    for client, size in pairs:
        assert wire.rows(client.query(WORK_MEM)) == [[size]]
    return pairs


@pytest.mark.parametrize("texts", [("BEGIN", "ROLLBACK"), ("ROLLBACK",)], ids=" ".join)
def test_a_query_behind_an_open_pipeline_does_not_undo_them(with_work_mem, texts):
    for client, size in with_work_mem * 2:
        client.exchange(wire.parse("", WORK_MEM), wire.query(texts[0]))
        for text in texts[1:]:
            client.query(text)
        assert wire.rows(client.query(WORK_MEM)) == [[size]]


@pytest.mark.parametrize("messages", [(wire.bind("p", "b"), wire.parse("", WORK_MEM), wire.execute("p")),
                                      (wire.bind("p", "b"), wire.bind("", "s"), wire.execute("p"))], ids=["Parse", "Bind"])
def test_a_portal_of_begin_that_is_run_behind_does_not_undo_them(with_work_mem, messages):
    for client, _ in with_work_mem:
        client.exchange(wire.parse("b", "BEGIN"), wire.parse("s", WORK_MEM), wire.sync())
    for client, size in with_work_mem * 2:
        assert wire.tags(client.exchange(*messages, wire.sync())) == ["BEGIN"]
        client.query("ROLLBACK")
        assert wire.rows(client.query(WORK_MEM)) == [[size]]


def test_a_parse_that_the_proxy_answers_leaves_no_transaction_open(tapped, with_work_mem):
    for client, _ in with_work_mem:
        client.exchange(wire.parse("s", WORK_MEM), wire.sync())
    for client, size in with_work_mem * 2:
        client.exchange(wire.parse("t", WORK_MEM), wire.sync())
        with wire.connect("127.0.0.1", tapped[0].server_port, user="postgres", database="app") as direct:
            assert wire.rows(direct.query("SELECT DISTINCT state FROM pg_stat_activity WHERE application_name IN "
                                          "('one', 'other')")) == [[b"idle"]]
        assert wire.rows(client.query(WORK_MEM)) == [[size]]
        client.exchange(wire.close("S", "t"), wire.sync())
