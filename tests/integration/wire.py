"""A raw PostgreSQL wire client for tests: every byte that is sent and received is in the test's hands.

Messages are `Message(type, body)`: type a one-character string, body the bytes after the length. Builders
(query(), parse(), …) are plain functions that return bytes, so that a test can join, cut and break them:

    connection = wire.connect("127.0.0.1", 5432, user="app", database="app", password="secret")
    messages = connection.exchange(wire.parse("", "SELECT $1::int"), wire.bind(values=["7"]),
                                   wire.execute(), wire.sync())
    assert wire.rows(messages) == [[b"7"]]

Everything that waits has a deadline (`timeout`, seconds) and raises TimeoutError; a peer that hangs up is Closed,
an ErrorResponse while logging in is ServerError.
"""

import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct
import time
from collections import namedtuple

Message = namedtuple("Message", "type body")

PROTOCOL_3_0 = 3 << 16
CANCEL_CODE, SSL_CODE, GSSENC_CODE = 80877102, 80877103, 80877104
TIMEOUT = 20.0


class Closed(Exception):
    """The peer closed the connection."""


class ServerError(Exception):
    """An ErrorResponse; `fields` by their one-letter codes."""

    def __init__(self, fields):
        super().__init__("{} {}: {}".format(fields.get("S"), fields.get("C"), fields.get("M")))
        self.fields = fields
        self.sqlstate = fields.get("C")


# -- builders: what a client sends -----------------------------------------------------------------------------------


def _bytes(text):
    return text if isinstance(text, bytes) else text.encode()


def string(text):
    return _bytes(text) + b"\0"


def message(kind, body=b""):
    return _bytes(kind) + struct.pack(">I", len(body) + 4) + body


def packet(code, rest=b""):
    """A packet before startup: without a type."""
    return struct.pack(">II", len(rest) + 8, code) + rest


def startup(parameters, protocol=PROTOCOL_3_0):
    """`parameters`: a dict, or a list of pairs where the order or a repeated name matters."""
    pairs = parameters.items() if isinstance(parameters, dict) else parameters
    return packet(protocol, b"".join(string(name) + string(value) for name, value in pairs) + b"\0")


def ssl_request():
    return packet(SSL_CODE)


def gssenc_request():
    return packet(GSSENC_CODE)


def cancel_request(pid, key):
    return packet(CANCEL_CODE, struct.pack(">II", pid, key))


def query(sql):
    return message("Q", string(sql))


def parse(name="", sql="", types=()):
    return message("P", string(name) + string(sql) + struct.pack(f">H{len(types)}I", len(types), *types))


def _value(value):
    if value is None:
        return struct.pack(">i", -1)
    return struct.pack(">i", len(_bytes(value))) + _bytes(value)


def _formats(formats):
    return struct.pack(f">H{len(formats)}H", len(formats), *formats)


def bind(portal="", statement="", values=(), formats=(), result_formats=()):
    """`values`: str, bytes or None; formats: 0 text, 1 binary."""
    return message("B", string(portal) + string(statement) + _formats(formats) + struct.pack(">H", len(values))
                   + b"".join(map(_value, values)) + _formats(result_formats))


def describe(kind="P", name=""):
    return message("D", _bytes(kind) + string(name))


def execute(portal="", max_rows=0):
    return message("E", string(portal) + struct.pack(">I", max_rows))


def close(kind="P", name=""):
    return message("C", _bytes(kind) + string(name))


def flush():
    return message("H")


def sync():
    return message("S")


def terminate():
    return message("X")


def copy_data(data):
    return message("d", _bytes(data))


def copy_done():
    return message("c")


def copy_fail(reason):
    return message("f", string(reason))


def function_call(oid, values=(), formats=(), result_format=0):
    return message("F", struct.pack(">I", oid) + _formats(formats) + struct.pack(">H", len(values))
                   + b"".join(map(_value, values)) + struct.pack(">H", result_format))


def password_message(text):
    return message("p", string(text))


# -- readers: what a server sends ------------------------------------------------------------------------------------


def error_fields(body):
    """The fields of an ErrorResponse or NoticeResponse, as text by their codes."""
    return {field[:1].decode(): field[1:].decode(errors="surrogateescape") for field in body.split(b"\0") if field}


def errors(messages):
    return [error_fields(each.body) for each in messages if each.type == "E"]


def notices(messages):
    return [error_fields(each.body) for each in messages if each.type == "N"]


def row_values(body):
    """The values of a DataRow: bytes, or None for NULL."""
    count, at, values = struct.unpack_from(">H", body)[0], 2, []
    for _ in range(count):
        length = struct.unpack_from(">i", body, at)[0]
        at += 4
        values.append(None if length < 0 else body[at:at + length])
        at += max(length, 0)
    return values


def rows(messages):
    return [row_values(each.body) for each in messages if each.type == "D"]


Column = namedtuple("Column", "name table attribute type length modifier format")


def columns(body):
    """The columns of a RowDescription."""
    count, at, found = struct.unpack_from(">H", body)[0], 2, []
    for _ in range(count):
        end = body.index(b"\0", at)
        found.append(Column(body[at:end].decode(), *struct.unpack_from(">IhIhih", body, end + 1)))
        at = end + 19
    return found


def tags(messages):
    return [each.body[:-1].decode() for each in messages if each.type == "C"]


def copied(messages):
    """What a COPY TO STDOUT sent."""
    return b"".join(each.body for each in messages if each.type == "d")


def types(messages):
    """The types in a row, such as "TDCZ"."""
    return "".join(each.type for each in messages)


def comparable(messages):
    """Without what differs between two connections of the same server: process ids and cancel keys."""
    def masked(each):
        if each.type == "K":
            return Message("K", b"*" * len(each.body))
        if each.type == "A":
            return Message("A", b"****" + each.body[4:])
        return each
    return [masked(each) for each in messages]


# -- passwords -------------------------------------------------------------------------------------------------------


def md5_password(user, password, salt):
    inner = hashlib.md5(_bytes(password) + _bytes(user)).hexdigest()
    return "md5" + hashlib.md5(inner.encode() + salt).hexdigest()


def _der(data, at=0):
    """Tag and content bounds of the DER element at `at`: (tag, start, end)."""
    tag, length, start = data[at], data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(data[start:start + size], "big")
        start += size
    return tag, start, start + length


def end_point_hash(certificate):
    """tls-server-end-point (RFC 5929): the certificate (DER) under the hash of its own signature algorithm."""
    _, start, _ = _der(certificate)
    _, _, tbs_end = _der(certificate, start)
    _, algorithm, _ = _der(certificate, tbs_end)
    _, oid_start, oid_end = _der(certificate, algorithm)
    oid = certificate[oid_start:oid_end].hex()
    stronger = {"2a864886f70d01010c": "sha384", "2a864886f70d01010d": "sha512",
                "2a8648ce3d040303": "sha384", "2a8648ce3d040304": "sha512"}
    return hashlib.new(stronger.get(oid, "sha256"), certificate).digest()


class Scram:
    """A client's side of SCRAM-SHA-256; with `binding`, of SCRAM-SHA-256-PLUS."""

    def __init__(self, password, binding=None, flag="n"):
        self.password = _bytes(password)
        self.header = b"p=tls-server-end-point,," if binding is not None else flag.encode() + b",,"
        self.binding = self.header + (binding or b"")
        self.first_bare = b"n=,r=" + base64.b64encode(os.urandom(18))
        self.signature = None

    def first(self):
        return self.header + self.first_bare

    def final(self, server_first):
        fields = dict(field.split(b"=", 1) for field in server_first.split(b","))
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(fields[b"s"]), int(fields[b"i"]))
        bare = b"c=" + base64.b64encode(self.binding) + b",r=" + fields[b"r"]
        signed = b",".join((self.first_bare, server_first, bare))
        key = hmac.digest(salted, b"Client Key", "sha256")
        mask = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        self.signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        return bare + b",p=" + base64.b64encode(bytes(a ^ b for a, b in zip(key, mask)))

    def verify(self, server_final):
        if server_final != b"v=" + base64.b64encode(self.signature):
            raise ValueError("the server doesn't know the password either: " + repr(server_final))


# -- connections -----------------------------------------------------------------------------------------------------


class Connection:
    """Bytes to and from a server. connect() also logs in; a Connection alone says nothing by itself."""

    def __init__(self, host, port, timeout=TIMEOUT):
        """`host`: a name or address, or a folder with a Unix socket."""
        self.host, self.port, self.timeout = host, port, timeout
        self.received = bytearray()
        self.parameters, self.pid, self.key, self.tls_context, self.login = {}, None, None, None, []
        if host.startswith("/"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(f"{host}/.s.PGSQL.{port}")
        else:
            self.socket = socket.create_connection((host, port), timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Hangs up without a word."""
        self.socket.close()

    def terminate(self):
        try:
            self.send(terminate())
        except OSError:
            pass
        self.close()

    # sending

    def send(self, *parts):
        self.socket.settimeout(self.timeout)
        self.socket.sendall(b"".join(parts))

    def send_split(self, data, *positions):
        """`data` in writes of their own, cut at the positions; every byte alone if there are none."""
        cuts = [0, *(positions or range(1, len(data))), len(data)]
        for start, end in zip(cuts, cuts[1:]):
            self.send(data[start:end])

    # receiving

    def _receive(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"nothing came; so far: {bytes(self.received[:200])!r}")
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(1 << 18)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
            data = b""
        except TimeoutError:
            raise TimeoutError(f"nothing came; so far: {bytes(self.received[:200])!r}") from None
        if not data:
            raise Closed()
        self.received += data

    def _deadline(self, timeout):
        return time.monotonic() + (self.timeout if timeout is None else timeout)

    def read_bytes(self, count, timeout=None):
        deadline = self._deadline(timeout)
        while len(self.received) < count:
            self._receive(deadline)
        data = bytes(self.received[:count])
        del self.received[:count]
        return data

    def read(self, timeout=None):
        """The next message."""
        deadline = self._deadline(timeout)
        while len(self.received) < 5:
            self._receive(deadline)
        length = struct.unpack_from(">I", self.received, 1)[0] + 1
        while len(self.received) < length:
            self._receive(deadline)
        data = self.read_bytes(length)
        return Message(chr(data[0]), data[5:])

    def read_until(self, types="Z", timeout=None):
        """The messages up to and with the first of one of these types."""
        deadline, messages = self._deadline(timeout), []
        while not messages or messages[-1].type not in types:
            try:
                messages.append(self.read(deadline - time.monotonic()))
            except (Closed, TimeoutError) as problem:
                problem.args = (f"waiting for one of {types!r} after {messages!r}: {problem}",)
                raise
        return messages

    def read_to_end(self, timeout=None):
        """The messages up to the peer's hanging up."""
        deadline, messages = self._deadline(timeout), []
        while True:
            try:
                messages.append(self.read(deadline - time.monotonic()))
            except Closed:
                if self.received:
                    raise AssertionError(f"cut off in a message: {bytes(self.received)!r}") from None
                return messages

    def exchange(self, *parts, until="Z", timeout=None):
        """Sends and reads up to ReadyForQuery, or to another type."""
        self.send(*parts)
        return self.read_until(until, timeout)

    def query(self, sql, timeout=None):
        return self.exchange(query(sql), timeout=timeout)

    def copy_in(self, sql, *chunks, end=None):
        """COPY FROM STDIN: the messages before the data, and those after."""
        before = self.exchange(query(sql), until="GZ")
        return before, self.exchange(*map(copy_data, chunks), end or copy_done())

    # beginning

    def start_tls(self, context=None):
        """SSLRequest; True and encrypted if the peer agrees. Without a context no certificate is checked."""
        self.send(ssl_request())
        if self.read_bytes(1) != b"S":
            return False
        if context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if self.received:
            raise AssertionError("unencrypted bytes after the answer to SSLRequest")
        name = None if self.host.startswith("/") else self.host
        self.socket, self.tls_context = context.wrap_socket(self.socket, server_hostname=name), context
        return True

    def log_in(self, parameters, password=None, protocol=PROTOCOL_3_0, plus=None):
        """StartupMessage up to the first ReadyForQuery; leaves the messages in `login`. `plus`: whether to bind the
        channel (None: where it is offered)."""
        self.send(startup(parameters, protocol))
        user = dict(parameters).get("user", "")
        scram = None
        while not self.login or self.login[-1].type != "Z":
            got = self.read()
            self.login.append(got)
            if got.type == "E":
                raise ServerError(error_fields(got.body))
            if got.type == "S":
                name, value, _ = got.body.decode().split("\0")
                self.parameters[name] = value
            elif got.type == "K":
                self.pid, self.key = struct.unpack(">II", got.body)
            elif got.type == "R":
                scram = self._authenticate(got.body, user, password, plus, scram)
        return self

    def _authenticate(self, body, user, password, plus, scram):
        kind, data = struct.unpack_from(">I", body)[0], body[4:]
        if kind in (3, 5, 10) and password is None:
            raise ValueError(f"the server asks for a password (authentication request {kind})")
        if kind == 3:
            self.send(password_message(password))
        elif kind == 5:
            self.send(password_message(md5_password(user, password, data)))
        elif kind == 10:
            return self._begin_scram(data.decode().split("\0"), password, plus)
        elif kind == 11:
            self.send(message("p", scram.final(data)))
        elif kind == 12:
            scram.verify(data)
        elif kind != 0:
            raise ValueError(f"authentication request {kind}")
        return scram

    def _begin_scram(self, offered, password, plus):
        plus = "SCRAM-SHA-256-PLUS" in offered if plus is None else plus
        binding = end_point_hash(self.socket.getpeercert(binary_form=True)) if plus else None
        scram = Scram(password, binding)
        first = scram.first()
        mechanism = "SCRAM-SHA-256-PLUS" if plus else "SCRAM-SHA-256"
        self.send(message("p", string(mechanism) + struct.pack(">I", len(first)) + first))
        return scram

    def cancel(self, pid=None, key=None):
        """Asks on a connection of its own, encrypted if this one is, and waits for the peer's hanging up."""
        with Connection(self.host, self.port, self.timeout) as other:
            if self.tls_context:
                other.start_tls(self.tls_context)
            other.send(cancel_request(self.pid if pid is None else pid, self.key if key is None else key))
            other.read_to_end()


def connect(host, port, user="postgres", database=None, password=None, parameters=None, protocol=PROTOCOL_3_0,
            tls=False, tls_context=None, plus=None, timeout=TIMEOUT):
    """A connection that is logged in. `tls`: True to insist on it; `parameters`: more for the StartupMessage."""
    connection = Connection(host, port, timeout)
    try:
        if (tls or tls_context) and not connection.start_tls(tls_context):
            raise ConnectionError("the server refused TLS")
        names = {"user": user}
        if database is not None:
            names["database"] = database
        return connection.log_in({**names, **(parameters or {})}, password, protocol, plus)
    except BaseException:
        connection.close()
        raise
