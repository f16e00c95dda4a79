"""A database that breaks the protocol costs the statement that was asked of it, and nothing else."""

import contextlib
import signal
import socket
import struct
import threading

import pytest

import wire
from harness import wait_until
from pooling import nothing_comes


def message(kind, body=b""):
    return kind + struct.pack(">I", len(body) + 4) + body


READY = message(b"Z", b"I")
HELLO = (message(b"R", struct.pack(">I", 0)) + message(b"S", b"server_version\x0015.0\0") +
         message(b"S", b"client_encoding\0UTF8\0") + message(b"K", struct.pack(">II", 1, 2)) + READY)


CANCEL = 80877102
SETS = message(b"C", b"SET\0") + READY
NO_CODE = message(b"D", b"\0\1\0\0\0\1f") + message(b"C", b"SELECT 1\0") + READY


class Reset(bytes):
    """An answer behind which the connection is reset."""


class Closed(bytes):
    """An answer behind which it is closed."""


class FakeDatabase:
    """Lets everybody in, takes the settings that the proxy makes, and gives the same answer to whatever else is asked, or
    what a function of that makes of it."""

    def __init__(self, answer, hangs_up=False):
        self.answer, self.hangs_up = answer, hangs_up
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.cancelled, self.closed = threading.Event(), threading.Event()
        self.cancels = []  # pid and key of each request
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            length = struct.unpack(">I", connection.recv(4, socket.MSG_WAITALL))[0]
            kind = connection.recv(length - 4, socket.MSG_WAITALL)
            if struct.unpack(">I", kind[:4])[0] == CANCEL:
                self.cancels.append(struct.unpack(">II", kind[4:]))
                self.cancelled.set()
                self.closed.wait()  # who cancels waits for the server's hanging up
                return
            connection.sendall(HELLO)
            try:
                while asked := connection.recv(65536):
                    if asked[5:].startswith(b"SET client_encoding"):
                        connection.sendall(SETS)
                        continue
                    answer = self.answer(asked) if callable(self.answer) else self.answer
                    connection.sendall(answer)
                    if isinstance(answer, Reset):
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    if self.hangs_up or isinstance(answer, (Reset, Closed)):
                        return
            except ConnectionError:
                pass  # the proxy has had enough of it

    def close(self):
        self.closed.set()
        self.listener.close()


ANSWERS = {
    "a type that does not exist": message(b"?", b"x"),
    "a message of a client": message(b"Q", b"SELECT 1\0"),
    "a length below four": b"C\0\0\0\3",
    "a length beyond everything": b"T\xff\xff\xff\xff",
    "a row before its description ends the query twice": READY + READY,
    "the answer to another request": message(b"1"),
    "a status without a status": message(b"Z"),
    "a status of two bytes": message(b"Z", b"II"),
    "a login in the middle": message(b"R", struct.pack(">I", 3)) + message(b"V") + READY,
}


@pytest.fixture
def beside(make_proxy, main_cluster):
    """A proxy whose ci is the fake."""
    fakes = []

    def make(answer, hangs_up=False, **settings):
        fake = FakeDatabase(answer, hangs_up)
        fakes.append(fake)
        return make_proxy(databases={"main": main_cluster.conninfo(),
                                     "ci": f"host=127.0.0.1 port={fake.port} dbname=x sslmode=disable"}, **settings)
    make.fakes = fakes
    yield make
    for fake in fakes:
        fake.close()


def main_still_answers(connection):
    assert wire.tags(connection.query("SELECT 1 FROM projects LIMIT 1")) == ["SELECT 1"]


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_nonsense_from_a_database_is_an_error_and_a_closed_link(beside, answer):
    proxy = beside(answer)
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        errors = wire.errors(connection.query("SELECT 1 FROM ci_builds"))
        if answer != ANSWERS["a row before its description ends the query twice"]:
            assert errors[0]["C"] in ("08006", "08007"), errors
        main_still_answers(connection)


LAST_WORDS = message(b"E", b"SFATAL\0VFATAL\0C57P01\0Mgoodbye\0\0")


def test_who_says_goodbye_is_not_waited_for(beside):
    proxy = beside(LAST_WORDS)
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        assert [error["C"] for error in wire.errors(connection.query("SELECT 1 FROM ci_builds"))] == ["08006"]
        main_still_answers(connection)


def test_who_says_goodbye_to_a_question_of_the_pools_is_not_waited_for(beside):
    """What code stands behind the tables is asked when the first client has given its connection back."""
    def answer(asked):
        if b"pg_trigger" in asked:
            return LAST_WORDS
        unbound = message(b"D", struct.pack(">H", 5) + (struct.pack(">I", 1) + b"f") * 5)
        return (unbound if b"pg_listening_channels" in asked else b"") + message(b"C", b"SELECT 0\0") + READY
    proxy = beside(answer, pool={"mode": "transaction", "size": 1}, workers=1)
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        assert wire.tags(connection.query("SELECT 1 FROM ci_builds")) == ["SELECT 0"]
        proxy.wait_for_log("cannot learn which tables have code behind them database=ci error=goodbye")
        proxy.wait_for_log("an unused connection to a database ended database=ci error=goodbye")
        assert wire.tags(connection.query("SELECT 1 FROM ci_builds")) == ["SELECT 0"]


@pytest.mark.parametrize("size, cut", [(100, 1), (100, 4), (100, 5), (100, 20), (100_000, 1), (100_000, 5), (100_000, 50_000)])
def test_an_answer_that_is_cut_short_is_a_lost_connection(beside, size, cut):
    row = message(b"D", struct.pack(">HI", 1, size) + b"x" * size)
    description = message(b"T", struct.pack(">H", 1) + b"a\0" + struct.pack(">IHIHIH", 0, 0, 25, 0, 0, 0))
    proxy = beside((description + row)[:len(description) + cut], hangs_up=True)
    connection = wire.connect("127.0.0.1", proxy.port, user="app", database="app")
    connection.send(wire.query("SELECT 1 FROM ci_builds"))
    if size == 100 or cut < 5:  # nothing of the row has been passed on
        assert wire.errors(connection.read_until("Z"))[0]["C"] == "08006"
        main_still_answers(connection)
    else:  # the client waits for the rest of a row that nobody has: only an end can tell it
        with pytest.raises((wire.Closed, ConnectionError)):
            connection.read_until("Z")
    connection.close()
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as another:
        main_still_answers(another)


@pytest.fixture
def refuses(beside):
    """A ci whose COMMIT is refused, but for the first where what reading runs is to be known; it says that it is nothing."""
    def make(known):
        left = [1 if known else 0]

        def answer(asked):
            if b"pg_amproc" in asked:
                return NO_CODE
            if b"COMMIT" in asked and left[0] > 0:
                left[0] -= 1
                return message(b"C", b"COMMIT\0") + READY
            if b"COMMIT" in asked:
                return message(b"E", b"SERROR\0C40001\0Mnot today\0\0") + READY
            begun = message(b"1") + message(b"2") + message(b"C", b"BEGIN\0")
            return (begun if b"BEGIN" in asked else b"") + message(b"C", b"SELECT 0\0") + message(b"Z", b"T" if begun else b"I")
        return beside(answer, workers=1)
    return make


def commit_over_both(connection, title):
    for text, tag in (("BEGIN", "BEGIN"), ("SELECT 1 FROM ci_builds", "SELECT 0"),
                      (f"INSERT INTO issues (title) VALUES ('{title}')", "INSERT 0 1")):
        assert wire.tags(connection.query(text)) == [tag]
    return connection.query("COMMIT")


def test_a_reader_that_refuses_to_commit_changes_nothing(refuses, main_cluster, unique):
    proxy = refuses(known=True)
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        for _ in range(2):
            assert wire.tags(commit_over_both(connection, unique)) == ["COMMIT"]
            main_still_answers(connection)
        proxy.wait_for_log("a transaction that only read was not committed")
    assert len(main_cluster.sql("DELETE FROM issues WHERE title = %s RETURNING 1", params=(unique,))) == 2


def test_one_that_may_have_written_unseen_is_told_of(refuses, main_cluster, unique):
    proxy = refuses(known=False)
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        (error,) = wire.errors(commit_over_both(connection, unique))
        assert (error["C"], error["D"]) == ("40001", 'Committed on "main"; not committed on "ci".')
        main_still_answers(connection)
    assert main_cluster.value("DELETE FROM issues WHERE title = %s RETURNING 1", params=(unique,)) == 1


IN_BLOCK, FAILED_BLOCK = message(b"Z", b"T"), message(b"Z", b"E")
REFUSED = message(b"E", b"SERROR\0C40001\0Mnot today\0\0")
DONE, UNDONE = message(b"C", b"COMMIT\0"), message(b"C", b"ROLLBACK\0")
NOT_KNOWN = ("08007", 'Committed on "main"; whether on "ci" is not known.')
NOT_COMMITTED = 'Committed on "main"; not committed on "ci".'

# How ci answers COMMIT behind main's, and what is told of it: nothing, or SQLSTATE and detail.
SECOND_COMMITS = {
    "it commits": (DONE + READY, None),
    "it commits, and closes": (Closed(DONE), None),
    "it commits, and resets": (Reset(DONE), None),
    "it commits, and goes": (DONE + LAST_WORDS, None),
    "it refuses": (REFUSED + READY, ("40001", NOT_COMMITTED)),
    "it refuses, and closes": (Closed(REFUSED), ("40001", NOT_COMMITTED)),
    "it refuses in words that nobody can read": (message(b"E", b"S") + READY, ("08P01", NOT_COMMITTED)),
    "it rolls back": (UNDONE + READY, ("40000", NOT_COMMITTED)),
    "it closes": (Closed(), NOT_KNOWN),
    "it resets": (Reset(), NOT_KNOWN),
    "it goes": (LAST_WORDS, NOT_KNOWN),
    "it says nothing of it": (READY, NOT_KNOWN),
    "it breaks off": (Closed(DONE[:7]), NOT_KNOWN),
}


def in_blocks(commit):
    """A database that begins, writes, and answers COMMIT so."""
    def answer(asked):
        if b"ROLLBACK" in asked:
            return UNDONE + READY
        if b"COMMIT" in asked:
            return commit
        begun = message(b"1") + message(b"2") + message(b"C", b"BEGIN\0")
        return (begun if b"BEGIN" in asked else b"") + message(b"C", b"UPDATE 0\0") + IN_BLOCK
    return answer


def write_both(connection, title, *more):
    for text in ("BEGIN", "UPDATE ci_builds SET name = 'x'", f"INSERT INTO issues (title) VALUES ('{title}')", *more):
        assert not wire.errors(connection.query(text))


def deleted(cluster, title):
    """How many rows there were."""
    return len(cluster.sql("DELETE FROM issues WHERE title = %s RETURNING 1", params=(title,)))


@pytest.mark.parametrize("commit, told", SECOND_COMMITS.values(), ids=SECOND_COMMITS)
def test_what_the_second_database_says_to_commit_is_told(beside, main_cluster, unique, commit, told):
    proxy = beside(in_blocks(commit), rules={"cross_transaction": "report"})
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        write_both(connection, unique)
        messages = connection.query("COMMIT")
        assert [(error["C"], error["D"]) for error in wire.errors(messages)] == ([told] if told else [])
        assert wire.tags(messages) == ([] if told else ["COMMIT"])
        assert messages[-1].body == b"I"
        main_still_answers(connection)
    assert deleted(main_cluster, unique) == 1


@pytest.mark.parametrize("block", [IN_BLOCK, FAILED_BLOCK], ids=["open", "failed"])
def test_a_database_that_stays_in_the_block_is_left(beside, main_cluster, unique, block):
    """Its connection would be another client's with an open transaction."""
    proxy = beside(in_blocks(DONE + block), rules={"cross_transaction": "report"})
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        write_both(connection, unique)
        connection.query("COMMIT")
        proxy.wait_for_log("connection to a database was lost .*does not belong there")
        main_still_answers(connection)
    assert deleted(main_cluster, unique) == 1


@pytest.mark.parametrize("commit, code, tags", [
    (DONE + READY, None, ["COMMIT"]), (UNDONE + READY, None, ["ROLLBACK"]), (Closed(DONE), None, ["COMMIT"]),
    (Closed(), "08007", []), (REFUSED + READY, "40001", []), (READY, "08007", [])],
    ids=["commits", "rolls back", "commits and closes", "closes", "refuses", "says nothing"])
def test_what_the_only_database_says_to_commit_is_told(beside, commit, code, tags):
    proxy = beside(in_blocks(commit))
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        for text in ("BEGIN", "UPDATE ci_builds SET name = 'x'", "/* database: ci */ SET work_mem = '7MB'"):
            assert not wire.errors(connection.query(text))
        messages = connection.query("COMMIT")
        assert [error["C"] for error in wire.errors(messages)] == ([code] if code else [])
        assert wire.tags(messages) == tags
        assert wire.rows(connection.query("/* database: main */ SHOW work_mem")) == [[b"7MB" if tags == ["COMMIT"] else b"4MB"]]


@pytest.mark.parametrize("commit, code, tags", [
    (UNDONE + READY, None, ["ROLLBACK"]), (REFUSED + READY, "40001", []), (Closed(), "08007", []), (READY, "08007", [])],
    ids=["rolls back", "refuses", "closes", "says nothing"])
def test_what_the_first_database_says_to_commit_undoes_the_second(beside, main_cluster, unique, commit, code, tags):
    proxy = beside(in_blocks(commit), rules={"cross_transaction": "report"})
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        # ci is known to be modified, main may have been unseen: ci's turn comes first.
        insert = f"concat('INSERT INTO iss', 'ues (title) VALUES (''{unique}'')')"
        for text in ("BEGIN", "UPDATE ci_builds SET name = 'x'", f"/* database: main */ DO $$ BEGIN EXECUTE {insert}; END $$"):
            assert not wire.errors(connection.query(text))
        messages = connection.query("COMMIT")
        assert [error["C"] for error in wire.errors(messages)] == ([code] if code else [])
        assert wire.tags(messages) == tags
        main_still_answers(connection)
    assert deleted(main_cluster, unique) == 0


def test_a_cancel_request_that_a_database_does_not_take_does_not_hold_up_the_end(beside):
    running = threading.Event()

    def answer(asked):
        running.set()
        return b""
    proxy = beside(answer)
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection, \
            wire.Connection("127.0.0.1", proxy.port) as request:
        connection.send(wire.query("SELECT 1 FROM ci_builds"))
        assert running.wait(20)
        request.send(wire.cancel_request(connection.pid, connection.key))
        assert beside.fakes[0].cancelled.wait(20)
    proxy.signal(signal.SIGTERM)
    proxy.process.wait(8)  # its shutdown_timeout is 10 s
    proxy.stop()


def test_cancel_requests_that_come_while_one_is_under_way_go_together(beside):
    """…in one more: else a client could have any number of connections made to a server that takes none of them."""
    running = threading.Event()

    def answer(asked):
        running.set()
        return b""
    proxy = beside(answer)
    fake = beside.fakes[0]
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(wire.connect("127.0.0.1", proxy.port, user="app", database="app"))
        client.send(wire.query("SELECT 1 FROM ci_builds"))
        assert running.wait(20)
        requests = [stack.enter_context(wire.Connection("127.0.0.1", proxy.port)) for _ in range(30)]
        for request in requests:
            request.send(wire.cancel_request(client.pid, client.key))
        assert fake.cancelled.wait(20)
        wait_until(lambda: proxy.log().count("cancel requested") == len(requests), "the requests to be read")
        for request in requests:
            nothing_comes(request, 0.01)
        assert fake.cancels == [(1, 2)]
        fake.closed.set()
        for request in requests:
            assert request.read_to_end() == []
        assert fake.cancels == [(1, 2)] * 2
