"""Random sessions through the proxy and on one PostgreSQL with all tables: answers and tables must come out the same.

What the proxy rejects - a transaction that modifies both databases - fails on the reference by a statement that errs, so
that both go on from the same state. A failure prints the session, which its seed repeats."""

import os
import random

import pytest

import wire
from harness import DEMO, Postgres

SEEDS = range(int(os.environ.get("SEEDS", 40)))
STEPS = 60
TABLES = {"issues": "title", "ci_runners": "description"}  # one of main, one of ci, with a column to write
ERR = "SELECT 1/0"


@pytest.fixture(scope="module")
def reference():
    cluster = Postgres("reference").start()
    yield cluster.create_database("app", DEMO / "main.sql", DEMO / "ci.sql", DEMO / "shared.sql")
    cluster.close()


class Script:
    """Makes the steps of one session."""

    def __init__(self, seed):
        self.random, self.mark, self.serial = random.Random(seed), f"seed {seed} ", 0

    def table(self):
        return self.random.choice(list(TABLES))

    def name(self):
        return self.random.choice("abc")

    def statement(self):
        pick, table, name = self.random.random(), self.table(), self.name()
        column = TABLES[table]
        if pick < 0.22:
            return f"SELECT count(*) FROM {table} WHERE {column} LIKE '{self.mark}%'"
        if pick < 0.40:
            self.serial += 1
            return f"INSERT INTO {table} ({column}) VALUES ('{self.mark}{self.serial}')"
        if pick < 0.45:
            return f"UPDATE {table} SET {column} = {column} || 'x' WHERE {column} LIKE '{self.mark}%'"
        if pick < 0.48:
            return f"DELETE FROM {table} WHERE {column} LIKE '{self.mark}%x'"
        if pick < 0.52:
            return f"SELECT 1/0 FROM {table}"
        if pick < 0.60:
            return "BEGIN"
        if pick < 0.66:
            return self.random.choice(["COMMIT", "COMMIT", "END"])
        if pick < 0.70:
            return self.random.choice(["ROLLBACK", "ABORT"])
        if pick < 0.75:
            return f"SAVEPOINT {name}"
        if pick < 0.78:
            return f"RELEASE {name}"
        if pick < 0.82:
            return f"ROLLBACK TO {name}"
        if pick < 0.86:
            local = self.random.choice(["", "", "LOCAL "])
            return self.random.choice([f"SET {local}work_mem = '{self.random.randint(1, 9)}MB'", "RESET work_mem",
                                       f"SET {local}my.value = '{self.random.randint(1, 99)}'"])
        if pick < 0.91:
            return ("SELECT current_setting('work_mem'), current_setting('transaction_isolation'),"
                    f" coalesce(current_setting('my.value', true), '') FROM {table} WHERE id = 1")
        if pick < 0.94:
            return self.random.choice([f"PREPARE {name} AS SELECT count(*) FROM {table} WHERE {column} LIKE '{self.mark}%'",
                                       f"EXECUTE {name}", f"DEALLOCATE {name}", f"EXECUTE {name}"])
        if pick < 0.97:
            return self.random.choice([f"DECLARE {name} CURSOR FOR SELECT {column} FROM {table} WHERE {column}"
                                       f" LIKE '{self.mark}%' ORDER BY id", f"FETCH 2 FROM {name}", f"CLOSE {name}"])
        return self.random.choice(["SELECT 1", "SHOW work_mem", "SHOW transaction_isolation"])

    def step(self, status):
        """How it is sent, and the statements. `status`: of the transaction."""
        if status == b"I" and self.random.random() < 0.1:
            return "simple", ["START TRANSACTION ISOLATION LEVEL REPEATABLE READ"]
        if status == b"T" and self.random.random() < 0.03:  # after an error PostgreSQL's new transaction loses its level
            return "simple", [self.random.choice(["COMMIT AND CHAIN", "ROLLBACK AND CHAIN"])]
        how = self.random.choice(["simple"] * 4 + ["several"] + ["extended"] * 2 + ["pipeline"])
        return how, [self.statement() for _ in range(1 if how in ("simple", "extended") else self.random.randint(2, 4))]


def run(connection, how, statements):
    if how in ("simple", "several"):
        return connection.query("; ".join(statements))
    parts = [part for text in statements for part in (wire.parse("", text), wire.bind(), wire.describe(), wire.execute())]
    return connection.exchange(*parts, wire.sync())


def summary(messages):
    """What must be the same: the order of messages, rows, tags, states, and the codes of errors and notices."""
    result = []
    for each in messages:
        if each.type in "EN":
            result.append((each.type, wire.error_fields(each.body)["C"]))
        elif each.type == "D":
            result.append(("D", wire.row_values(each.body)))
        elif each.type in "CZ":
            result.append((each.type, each.body))
        elif each.type != "S":
            result.append((each.type,))
    return result


def rejected(messages):
    return [error for error in wire.errors(messages) if error["C"].startswith("XD")]


def without_codes_of_rejections(messages):
    return [("E", "22012") if each[0] == "E" and each[1].startswith("XD") else each for each in summary(messages)]


def stand_in(how, statements, messages):
    """The step for the reference: the statement that was rejected errs."""
    if not rejected(messages):
        return statements
    done = sum(each.type in "CI" for each in messages)
    return [*statements[:done], ERR, *statements[done + 1:]]


def settled(how, messages):
    """Of extended cycles what a statement gives: where in the cycle it fails may differ for what stands in."""
    return [each for each in messages if how in ("simple", "several") or each[0] in "DCEZ"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_session_comes_out_the_same(proxy, reference, seed):
    script, story, status = Script(seed), [], b"I"
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as through, \
            wire.connect("127.0.0.1", reference.port, user="app", database="app") as direct:
        for number in range(STEPS):
            how, statements = script.step(status)
            story.append(f"{number}: {how}: {'; '.join(statements)}")
            got = run(through, how, statements)
            status = got[-1].body
            expected = run(direct, how, stand_in(how, statements, got))
            assert settled(how, without_codes_of_rejections(got)) == settled(how, summary(expected)), "\n".join(story)
        through.query("ROLLBACK")
        direct.query("ROLLBACK")
    for table, column in TABLES.items():
        text = f"SELECT {column} FROM {table} WHERE {column} LIKE %s ORDER BY 1"
        cluster = proxy.main if table == "issues" else proxy.ci
        parameters = (f"seed {seed} %",)
        assert cluster.sql(text, params=parameters) == reference.sql(text, params=parameters), "\n".join(story)


class MessageScript(Script):
    """Makes sequences of messages of the extended protocol, up to Sync, that a client may send; writes only to ci."""

    # Text and how many parameters it takes.
    SQL = [("SELECT title FROM issues WHERE id < 4 ORDER BY id", 0), ("SELECT name FROM ci_builds WHERE id < 4 ORDER BY id", 0),
           ("SELECT id FROM projects WHERE id = $1::int", 1), ("SELECT id FROM ci_builds WHERE id < $1::int ORDER BY id", 1),
           ("SELECT 1", 0), ("", 0), ("SELECT 1/(id - 2) FROM ci_builds WHERE id < 4 ORDER BY id", 0), ("SELEC", 0),
           ("SHOW work_mem", 0), ("SELECT nothing FROM ci_builds", 0), ("BEGIN", 0), ("COMMIT", 0), ("ROLLBACK", 0),
           ("SAVEPOINT a", 0), ("ROLLBACK TO a", 0), ("SET work_mem = '3MB'", 0), ("SET LOCAL work_mem = '5MB'", 0),
           ("COPY (SELECT id FROM ci_builds WHERE id < 3 ORDER BY id) TO STDOUT", 0)]

    def __init__(self, seed):
        super().__init__(seed)
        self.named = {}  # what was parsed under a name, maybe in vain

    def sql(self):
        if self.random.random() < 0.15:
            self.serial += 1
            return f"INSERT INTO ci_runners (description) VALUES ('{self.mark}{self.serial}') RETURNING 1", 0
        return self.random.choice(self.SQL[:4] if self.random.random() < 0.4 else self.SQL)

    def cycle(self):
        """A statement from Parse to Close, or one that was parsed before."""
        name, portal = self.random.choice(["", "", "s", "t"]), self.random.choice(["", "", "p"])
        if name in self.named and self.random.random() < 0.5:
            (text, count), parts = self.named[name], []
        else:
            text, count = self.sql()
            parts = [wire.close("S", name), wire.parse(name, text)]
            if name:
                self.named[name] = text, count
        maybe = self.random.random
        parts += [wire.describe("S", name)] if maybe() < 0.2 else []
        parts += [wire.close("P", portal), wire.bind(portal, name, values=["3"] * count)]
        parts += [wire.describe("P", portal)] if maybe() < 0.4 else []
        parts += [wire.flush()] if maybe() < 0.2 else []
        parts += [wire.execute(portal, self.random.choice([0, 0, 0, 1, 2]))]
        parts += [wire.execute(portal, 1)] if maybe() < 0.2 and text.startswith("SELECT") else []
        parts += [wire.close("P", portal)] if maybe() < 0.3 else []
        return b"".join(parts)

    def exchange(self, status, failed):
        """`failed`: whether an error has made it unsure what was parsed."""
        if status == b"E":
            return wire.query(self.random.choice(["ROLLBACK", "COMMIT", "ROLLBACK TO a", "SELECT 1"]))
        if failed:
            self.named.clear()
            return wire.close("S", "s") + wire.close("S", "t") + wire.sync()
        if self.random.random() < 0.1:
            return wire.query(self.random.choice(self.SQL)[0].replace("$1", "3"))
        return b"".join(self.cycle() for _ in range(self.random.randint(1, 4))) + wire.sync()


def parse_names(data):
    """The messages in readable form, for the story."""
    shown, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at + 1:at + 5], "big") + 1
        shown.append(f"{chr(data[at])}{data[at + 5:at + length]!r}")
        at += length
    return " ".join(shown)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_messages_come_out_the_same(proxy, reference, seed):
    script, story, status, failed = MessageScript(f"messages {seed}"), [], b"I", False
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as through, \
            wire.connect("127.0.0.1", reference.port, user="app", database="app") as direct:
        for number in range(STEPS):
            data = script.exchange(status, failed)
            story.append(f"{number}: {parse_names(data)}")
            try:
                got, expected = through.exchange(data), direct.exchange(data)
            except (TimeoutError, wire.Closed) as problem:
                raise AssertionError("\n".join(story)) from problem
            assert summary(got) == summary(expected), "\n".join(story)
            status = got[-1].body
            failed = bool(wire.errors(got)) or failed and status == b"E"
