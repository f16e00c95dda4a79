"""What a client sends without taking the answers, or faster than a database takes it, does not pile up in the proxy,
and comes through once there is room again."""

import fcntl
import os
import socket
import struct
import termios
import threading

import pytest

import wire
from harness import wait_until
from pooling import code, done, own_mode, rows

pytestmark = own_mode

SLEEP = wire.parse("", "SELECT pg_sleep(600)") + wire.bind() + wire.execute() + wire.flush()
FLOODS = {
    "Sync": (b"", wire.sync()),
    "Close of nothing": (b"", wire.close("S", "x")),
    "what is rejected": (b"", wire.query("SELECT FROM ci_builds, users")),
    "what has a warning": (b"", wire.query("COMMIT")),
    "Close behind what takes long": (SLEEP, wire.close("S", "x")),
    "Bind behind what takes long": (wire.parse("q", "SELECT $1") + SLEEP, wire.bind("", "q", ["x" * 5000])),
}
PIECE = 64 * 1024
MEGABYTES = 40
GROWS_KB = 12 * 1024


def resident_kb(proxy):
    with open(f"/proc/{proxy.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


@pytest.fixture(autouse=True)
def freed_is_given_back(monkeypatch):
    """AddressSanitizer keeps what is freed, up to 256 MB, to find who uses it: that is not the proxy's growth."""
    options = os.environ.get("ASAN_OPTIONS")
    monkeypatch.setenv("ASAN_OPTIONS", f"{options}:quarantine_size_mb=1" if options else "quarantine_size_mb=1")


def flood(client, message):
    """Sends until the proxy takes no more for a second, or all of it."""
    data = message * (PIECE // len(message) + 1)
    client.socket.settimeout(1)
    try:
        for _ in range(MEGABYTES * 1024 * 1024 // len(data)):
            client.socket.sendall(data)
    except TimeoutError:
        pass


@pytest.mark.parametrize("mode", ["transaction", "off"])
@pytest.mark.parametrize("what", FLOODS)
def test_a_client_that_takes_no_answers_is_made_to_wait(make_pool, what, mode):
    first, again = FLOODS[what]
    proxy = make_pool(mode, size=2)
    with proxy.wire() as client:
        done(client.query("SELECT 1"))
        client.send(first)
        before = resident_kb(proxy)
        flood(client, again)
        assert resident_kb(proxy) - before < GROWS_KB


def open_files(proxy):
    return len(os.listdir(f"/proc/{proxy.process.pid}/fd"))


@pytest.mark.parametrize("how", ["closes its socket", "sends no more"])
@pytest.mark.parametrize("mode", ["transaction", "off"])
@pytest.mark.parametrize("what", ["Sync", "Close of nothing", "what is rejected"])
def test_a_client_that_was_made_to_wait_may_hang_up(make_pool, what, mode, how):
    proxy = make_pool(mode, size=2)
    with proxy.wire() as client:
        done(client.query("SELECT 1"))
    before = open_files(proxy)
    with proxy.wire() as client:
        flood(client, FLOODS[what][1])
        if how == "sends no more":
            client.socket.shutdown(socket.SHUT_WR)
            while client.socket.recv(1 << 20):
                pass
    wait_until(lambda: open_files(proxy) <= before, "the client's socket to go")


def untaken(client):
    """Bytes that have come for the client."""
    return struct.unpack("i", fcntl.ioctl(client.socket, termios.FIONREAD, bytes(4)))[0]


def sends(client, data):
    thread = threading.Thread(target=client.socket.sendall, args=(data,))
    thread.start()
    return thread


@pytest.mark.parametrize("mode", ["transaction", "off"])
@pytest.mark.parametrize("message, answer, count", [(wire.sync(), "Z", 400_000), (wire.close("S", "x"), "3", 100_000),
                                                    (wire.query("COMMIT"), "Z", 30_000)])
def test_who_takes_answers_late_gets_all_of_them(make_pool, mode, message, answer, count):
    proxy = make_pool(mode, size=2)
    with proxy.wire() as client:
        client.socket.settimeout(None)
        sending = sends(client, message * count + wire.query("SELECT 'last'"))
        wait_until(lambda: untaken(client) > 16_000, "answers to pile up")
        seen = 0
        while (got := client.read(20)).type != "D":
            seen += got.type == answer
        sending.join()
        assert seen == count
        assert client.read_until("Z")[-1].body == b"I"


@pytest.mark.parametrize("mode", ["transaction", "off"])
def test_a_pipeline_of_very_many_statements_comes_through(make_pool, mode):
    count = 40_000
    proxy = make_pool(mode, size=2)
    with proxy.wire() as client:
        client.socket.settimeout(None)
        one = wire.bind("", "q", ["7"]) + wire.execute()
        sending = sends(client, wire.parse("q", "SELECT $1::int") + one * count + wire.close("S", "x") * count
                        + wire.sync())
        got = client.read_until("Z", 60)
        sending.join()
        assert code(got) is None
        assert len(rows(got)) == count
        assert sum(message.type == "3" for message in got) == count
