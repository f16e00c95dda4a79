"""What a client must not send ends its connection with a protocol_violation, and one that goes leaves nothing."""

import struct

import pytest

import wire
from compare import rest_of
from harness import wait_until

VIOLATIONS = {
    "an unknown type": wire.message("y", b""),
    "a byte that is no type": b"\x00\x00\x00\x00\x04",
    "a length below four": b"Q" + struct.pack(">I", 3),
    "a length above a gigabyte": b"Q" + struct.pack(">I", 0x7FFFFFFF),
    "a huge sync": b"S" + struct.pack(">I", 100_000),
    "a backend's message": wire.message("Z", b"I"),
    "a password after login": wire.password_message("x"),
    "a query without its end": wire.message("Q", b"SELECT 1"),
    "a query with bytes after its end": wire.message("Q", b"SELECT 1\0more"),
    "a parse without types": wire.message("P", b"\0SELECT 1\0"),
    "a parse with too few types": wire.message("P", b"\0SELECT 1\0" + struct.pack(">H", 3)),
    "a bind cut short": wire.message("B", b"\0\0" + struct.pack(">HHi", 0, 1, 100) + b"x"),
    "a bind with a negative length": wire.message("B", b"\0\0" + struct.pack(">HHi", 0, 1, -7) + struct.pack(">H", 0)),
    "a large bind with a bad length at its end": wire.message(
        "B", b"\0\0" + struct.pack(">HHi", 0, 2, 1_000_000) + b"x" * 1_000_000 + struct.pack(">iH", 5, 0)),
    "a describe of neither": wire.message("D", b"X\0"),
    "a close of neither": wire.message("C", b"X\0"),
    "an execute cut short": wire.message("E", b"\0\0"),
    "a sync with a body": wire.message("S", b"x"),
    "a flush with a body": wire.message("H", b"x"),
    "an empty describe": wire.message("D", b""),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_protocol_violation_closes_the_connection(proxy, name):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        connection.query("SELECT 1 FROM ci_builds WHERE id = 1")
        connection.send(VIOLATIONS[name])
        connection.send(wire.sync())
        messages = connection.read_to_end()
        assert [error["C"] for error in wire.errors(messages)] == ["08P01"]
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        assert wire.types(connection.query("SELECT 1")) == "TDCZ"


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0\0", b"\0\0\0\7\0\0\0\0", struct.pack(">I", 0x7FFFFFFF),
                                  b"GET / HTTP/1.0\r\n\r\n", wire.packet(wire.PROTOCOL_3_0, b"user"),
                                  wire.packet(wire.PROTOCOL_3_0, b"user\0app\0database"), wire.packet(wire.PROTOCOL_3_0, b"\0"),
                                  wire.packet(wire.SSL_CODE, b"more"), wire.packet(wire.CANCEL_CODE, b"\0")])
def test_a_broken_startup_packet_closes_the_connection(proxy, data):
    with wire.Connection("127.0.0.1", proxy.port) as connection:
        connection.send(data)
        connection.socket.shutdown(1)
        assert rest_of(connection)[:1] in (b"", b"E", b"N")
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        assert wire.types(connection.query("SELECT 1")) == "TDCZ"


def test_a_client_that_hangs_up_frees_its_links(proxy):
    connection = wire.connect("127.0.0.1", proxy.port, user="app", database="app")
    connection.query("BEGIN; SELECT 1 FROM projects; SELECT 'bye bye' FROM ci_builds LIMIT 1")
    assert proxy.ci.backends("%bye bye%")
    connection.close()
    wait_until(lambda: not proxy.ci.backends("%bye bye%"), "the link to close")


@pytest.mark.own_connection
def test_terminate_frees_the_links(proxy):
    connection = wire.connect("127.0.0.1", proxy.port, user="app", database="app")
    connection.query("SELECT 'farewell' FROM ci_builds LIMIT 1")
    connection.terminate()
    wait_until(lambda: not proxy.ci.backends("%farewell%"), "the link to close")


def test_copy_data_behind_a_long_bind_is_no_part_of_it(proxy):
    """The server asks for copy data while a Bind is on its way, which it then does not want."""
    bind = wire.bind(values=["x" * 60_000])
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        connection.send(wire.parse("", "COPY ci_runners (description) FROM STDIN"), wire.bind(), wire.execute(), wire.flush(),
                        bind[:40_000])
        connection.read_until("G")
        connection.send(bind[40_000:] + wire.copy_data("never\n") + wire.sync())
        (error,) = wire.errors(connection.read_until("Z"))
        assert (error["S"], error["C"]) == ("ERROR", "08P01")
        assert wire.types(connection.query("SELECT 1")) == "TDCZ"
