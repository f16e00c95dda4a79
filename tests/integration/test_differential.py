"""Random sessions through the proxy and on one PostgreSQL with all tables: answers and tables must come out the same.

What the proxy rejects - a transaction that modifies both databases - fails on the reference by a statement that errs, so
that both go on from the same state. A failure prints the session, which its seed repeats."""

import os
import random

import pytest

import wire
from harness import DEMO, Postgres

SEEDS = range(int(os.environ.get("SEEDS", 60)))
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
