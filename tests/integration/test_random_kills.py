"""Transactions of every kind, while backends are ended and stopped, servers restarted, statements cancelled, clients cut
off and settings reloaded, all at random: what a client was told of each transaction is true on both databases, nobody
hangs, and nothing is left."""

import collections
import contextlib
import os
import random
import signal
import threading

import psycopg
import pytest

import wire
from conftest import make_ci, make_main
from console import ADMIN, clients, show
from harness import Pooled, wait_until
from pooling import own_mode, value

pytestmark = own_mode

CLIENTS, DISTURBANCES = 6, 24
FIRST = int(os.environ.get("KILLS_SEED", 1))  # KILLS_SEEDS=100 for a long run
SEEDS = int(os.environ.get("KILLS_SEEDS", 1))
PERMIT = "/* allow_cross_database_modification_within_transaction */ "
LEDGERS = {"main": "_test_gitlab_main_ledger", "ci": "_test_gitlab_ci_ledger"}
# COMMIT fails where a second row is written.
ONCE = {"main": "_test_gitlab_main_once", "ci": "_test_gitlab_ci_once"}
DISTURBED = {"08001", "08006", "08007", "57P01", "57P03", "57014", "25P02", "40P01", "23505"}


@pytest.fixture(scope="module")
def servers():
    made = {"main": make_main(), "ci": make_ci()}
    for name, cluster in made.items():
        cluster.sql(f"SET ROLE app; CREATE TABLE {LEDGERS[name]} (mark text);"
                    f"CREATE TABLE {ONCE[name]} (n int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO {ONCE[name]} VALUES (1)")
    yield made
    for cluster in made.values():
        cluster.close()


class Client(threading.Thread):
    """Runs transactions and notes what it was told of each: `told` is (databases, outcome, DETAIL) by mark."""

    def __init__(self, proxy, name, seed):
        super().__init__(daemon=True)
        self.proxy, self.name, self.random = proxy, name, random.Random(f"{name} {seed}")
        self.connection, self.stopping, self.problem, self.told = None, threading.Event(), None, {}

    def run(self):
        try:
            while not self.stopping.is_set():
                with contextlib.suppress(wire.ServerError, wire.Closed, OSError), self.proxy.wire(timeout=40) as self.connection:
                    while not self.stopping.is_set():
                        self.random.choice([self.writes, self.writes, self.writes, self.keeps])()
        except BaseException as problem:  # told by the test
            self.problem = problem

    def ask(self, *parts):
        """The answer; whether it has no error. What was left in a block is rolled back."""
        messages = self.connection.exchange(*parts)
        errors = wire.errors(messages)
        assert {error["C"] for error in errors} <= DISTURBED, errors
        return messages, not errors

    def rolled_back(self, messages):
        while messages[-1].body != b"I":
            messages, _ = self.ask(wire.query("ROLLBACK"))

    def inserts(self, mark, databases):
        texts = [f"{PERMIT}INSERT INTO {LEDGERS[each]} SELECT '{mark}' FROM pg_sleep({self.random.choice([0, 0, 0.01])})"
                 for each in databases]
        if self.random.random() < 0.2:
            texts.append(f"{PERMIT}INSERT INTO {ONCE[self.random.choice(databases)]} VALUES (1)")
        return texts

    def writes(self):
        databases = self.random.choice([["main"], ["ci"], ["main", "ci"], ["ci", "main"]])
        mark = f"{self.name}-{len(self.told)}"
        texts = self.inserts(mark, databases)
        self.told[mark] = databases, "failed", ""
        how = self.random.choice([self.block, self.block, self.script, self.pipeline])
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: self.told.update({mark: (databases, *outcome)}))
            outcome = "failed", ""
            last = how(texts)
            if last is not None:
                outcome = "unknown", ""
                messages, fine = self.ask(*last)
                told = wire.errors(messages)
                unknown = any(error["C"] == "08007" for error in told)
                outcome = ("committed" if fine else "unknown" if unknown else "failed",
                           told[-1].get("D", "") if told else "")
                self.rolled_back(messages)

    def block(self, texts):
        """What ends it; None: it has failed before."""
        reads = [f"SELECT '{self.random.random()}', count(*) FROM {self.random.choice([*LEDGERS.values()])} WHERE mark = ''"]
        texts = ["BEGIN", *self.random.choice([[], reads]), *texts, *self.random.choice([[], reads])]
        for text in texts:
            messages, fine = self.ask(wire.query(text))
            if not fine:
                self.rolled_back(messages)
                return None
        return [wire.query("COMMIT")]

    @staticmethod
    def script(texts):
        return [wire.query("; ".join(texts))]

    @staticmethod
    def pipeline(texts):
        return [part for text in texts for part in (wire.parse("", text), wire.bind(), wire.execute())] + [wire.sync()]

    def keeps(self):
        """What binds it to its connection, with which it may go."""
        hint = f"/* database: {self.random.choice(['main', 'ci'])} */ "
        makes, ends = self.random.choice([
            (f"SELECT pg_advisory_lock({self.ident})", "SELECT pg_advisory_unlock_all()"), (f"LISTEN {self.name}", "UNLISTEN *"),
            ("CREATE TEMP TABLE mine AS SELECT 1", "DROP TABLE mine"), ("PREPARE mine AS SELECT 1", "DEALLOCATE mine"),
            ("DECLARE mine CURSOR WITH HOLD FOR SELECT 1", "CLOSE mine")])
        _, fine = self.ask(wire.query(hint + makes))
        if not fine or self.random.random() < 0.3 or not self.ask(wire.query(hint + ends))[1]:
            raise wire.Closed()


class Disturber:
    def __init__(self, proxy, servers, workers, seed):
        self.proxy, self.servers, self.workers, self.random = proxy, servers, workers, random.Random(seed)

    def backend(self):
        cluster = self.servers[self.random.choice(["main", "ci"])]
        return cluster, self.random.choice(self.proxy.pids(cluster) or [None])

    def ends(self):
        cluster, pid = self.backend()
        if pid:
            cluster.sql("SELECT pg_terminate_backend(%s)", params=(pid,))

    def ends_before_it_reads(self):
        _, pid = self.backend()
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                self.wait_for(5, 0.3)
                os.kill(pid, signal.SIGTERM)
                os.kill(pid, signal.SIGCONT)

    def stops(self):
        _, pid = self.backend()
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                self.wait_for(20, 0.5)
                os.kill(pid, signal.SIGCONT)

    def restarts(self):
        cluster = self.servers[self.random.choice(["main", "ci"])]
        cluster.stop(signal.SIGINT)
        cluster.start()

    def cancels(self):
        with contextlib.suppress(OSError, AttributeError, TypeError, wire.Closed):
            self.random.choice(self.workers).connection.cancel()

    def cuts_off(self):
        with contextlib.suppress(OSError, AttributeError):
            self.random.choice(self.workers).connection.socket.shutdown(2)

    def reloads(self):
        self.proxy.configure(pool={**self.proxy.overrides["pool"], "size": self.random.choice([2, 4, 8]),
                                   "server_lifetime": self.random.choice([1, 3600]), "min_size": self.random.choice([0, 2])})

    def wait_for(self, transactions, seconds):
        """…or for so long, where clients can do none."""
        target = self.count() + transactions
        with contextlib.suppress(AssertionError):
            wait_until(lambda: self.count() >= target or self.problems(), "transactions", seconds)

    def count(self):
        return sum(len(each.told) for each in self.workers)

    def problems(self):
        return [each.problem for each in self.workers if each.problem]

    def run(self):
        kinds = [self.ends, self.ends_before_it_reads, self.stops, self.cancels, self.cuts_off, self.reloads]
        whats = [self.restarts, *(kinds[n % len(kinds)] for n in range(DISTURBANCES))]
        self.random.shuffle(whats)
        for what in whats:
            what()
            self.wait_for(self.random.randrange(25), 2)
            assert self.problems() == []


def check_told(told, present):
    """`present`: how often each mark is there, by database."""
    wrong = []
    for mark, (databases, outcome, detail) in told.items():
        there = {each for each in databases if present[each][mark]}
        yes, _, no = detail.partition("; ")
        partly = {each for each in databases if detail.startswith("Committed on") and f'"{each}"' in yes}
        is_true = {"committed": there == set(databases), "failed": there == partly,
                   "unknown": partly <= there and not ("not committed" in no and there != partly)}[outcome]
        if not is_true or any(present[each][mark] > 1 for each in databases):
            wrong.append((mark, databases, outcome, detail, there))
    assert wrong == []


def check_nothing_is_left(proxy, servers, mode):
    wait_until(lambda: not clients(proxy), "the clients to be gone")
    busy = ("cl_active", "cl_waiting", "sv_active", "sv_tested", "sv_login")
    wait_until(lambda: mode == "off" or not any(row[each] for row in show(proxy, "POOLS") for each in busy), "idle pools")
    for cluster in servers.values():
        for what in ("pg_locks WHERE locktype = 'advisory'", "pg_stat_activity WHERE usename = 'app' AND state <> 'idle'"):
            wait_until(lambda c=cluster, w=what: c.value(f"SELECT count(*) FROM {w}") == 0, f"none of {what}")
    with contextlib.ExitStack() as stack:
        # Clients come to the two workers by turns, and each of these has half of the connections.
        for entrypoint in ["app_main", "app_main", "app_ci", "app_ci"] * (2 if mode == "transaction" else 0):
            client = stack.enter_context(proxy.wire(entrypoint))
            client.query("BEGIN")
            assert value(client, "SELECT count(*) FROM pg_listening_channels()") == "0"
            assert value(client, "SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()") == "0"


def marks(cluster):
    try:
        return collections.Counter(row[0] for row in cluster.sql(f"SELECT mark FROM {LEDGERS[cluster.name]}"))
    except psycopg.OperationalError:
        return None


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
@pytest.mark.parametrize("mode", ["off", "session", "transaction"])
def test_what_clients_were_told_is_true_whatever_ends(servers, mode, seed):
    pool = {"mode": mode, "size": 8 if mode == "session" else 4, "query_wait_timeout": 30}
    with Pooled(servers["main"], servers["ci"], pool, {}, {"workers": 2, **ADMIN}) as proxy:
        workers = [Client(proxy, f"kills_{mode}_{seed}_{number}", seed) for number in range(CLIENTS)]
        for each in workers:
            each.start()
        try:
            Disturber(proxy, servers, workers, seed).run()
        finally:
            for each in workers:
                each.stopping.set()
            for each in workers:
                each.join(60)
        assert [each.problem or each.is_alive() for each in workers if each.problem or each.is_alive()] == []
        proxy.configure(pool=pool)
        check_nothing_is_left(proxy, servers, mode)
        told = {mark: what for each in workers for mark, what in each.told.items()}
        check_told(told, {name: marks(cluster) for name, cluster in servers.items()})
        assert sum(outcome == "committed" for _, outcome, _ in told.values()) > 50
