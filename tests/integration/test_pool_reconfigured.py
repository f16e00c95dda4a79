"""A reload of pool settings while clients are there: new sizes and times hold at once, for who waits or idles already, too,
and nobody is lost."""

import contextlib
import random
import select
import threading

import psycopg
import pytest

import wire
from harness import wait_until
from pooling import code, done, fatal, hold, nothing_comes, own_mode, pid_of, waiting

pytestmark = own_mode


def reconfigure(proxy, **pool):
    proxy.configure(pool={"mode": "transaction", **pool})


# -- times ---------------------------------------------------------------------------------------


def test_a_shorter_query_wait_timeout_ends_who_waits_already(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as holder, proxy.wire() as waits:
        hold(holder)
        waiting(waits)
        reconfigure(proxy, size=1, query_wait_timeout=1)
        assert fatal(waits) == "57014"
        done(holder.query("COMMIT"))


def test_a_longer_query_wait_timeout_is_for_who_waits_already(make_pool):
    proxy = make_pool(size=1, query_wait_timeout=2)
    with proxy.wire() as holder, proxy.wire() as waits:
        hold(holder)
        waiting(waits)
        reconfigure(proxy, size=1, query_wait_timeout=0)
        nothing_comes(waits, 3)
        done(holder.query("COMMIT"))
        done(waits.read_until("Z"))


def test_a_client_idle_timeout_ends_who_idles_already(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as fresh, proxy.wire() as used, proxy.wire() as busy:
        done(used.query("SELECT 1"))
        hold(busy)
        reconfigure(proxy, size=1, client_idle_timeout=1)
        assert fatal(fresh) == fatal(used) == "57P05"
        done(busy.query("COMMIT"))


def test_a_client_idle_timeout_that_goes_ends_nobody(make_pool):
    proxy = make_pool(size=1, client_idle_timeout=2)
    with proxy.wire() as idle:
        proxy.configure(pool={"mode": "transaction", "size": 1, "entrypoints": {"app_ci": {"client_idle_timeout": 1}}})
        nothing_comes(idle, 3)
        done(idle.query("SELECT 1"))


def test_an_idle_transaction_timeout_ends_a_transaction_that_idles_already(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as holder, proxy.wire() as waits:
        hold(holder)
        waiting(waits)
        reconfigure(proxy, size=1, idle_transaction_timeout=1)
        assert fatal(holder) == "25P03"
        done(waits.read_until("Z"))


def test_a_server_idle_timeout_ends_what_idles_already(make_pool):
    proxy = make_pool(size=2)
    with proxy.wire() as client:
        done(client.query("SELECT 1"))
        reconfigure(proxy, size=2, server_idle_timeout=1)
        proxy.wait_pids(0)
        done(client.query("SELECT 1"))


def test_a_server_lifetime_ends_what_is_older_already(make_pool):
    proxy = make_pool(size=2)
    with proxy.wire() as busy, proxy.wire() as idle:
        hold(busy)
        done(idle.query("SELECT 1"))
        old = proxy.wait_pids(2)
        reconfigure(proxy, size=2, server_lifetime=1)
        wait_until(lambda: len(set(old) & set(proxy.pids())) == 1, "the idle one to end")
        wait_until(lambda: pid_of(idle) not in old, "a new one")
        done(busy.query("COMMIT"))
        wait_until(lambda: not set(old) & set(proxy.pids()), "the other one to end")


# -- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("larger", [{"size": 2}, {"size": 1, "reserve_size": 1, "reserve_timeout": 0},
                                    {"size": 1, "reserve_size": 1, "reserve_timeout": 1}], ids=str)
def test_room_that_comes_is_for_who_waits_already(make_pool, larger):
    proxy = make_pool(size=1)
    with proxy.wire() as holder, proxy.wire() as waits:
        hold(holder)
        waiting(waits)
        reconfigure(proxy, **larger)
        done(waits.read_until("Z"))
        done(holder.query("COMMIT"))


def test_a_servers_limit_that_is_raised_is_for_who_waits_already(make_pool):
    proxy = make_pool(size=5, max_db_connections=1, strings={"user": None})
    with proxy.wire() as holder, proxy.wire(user="postgres") as other, proxy.wire() as waits:
        hold(holder)
        waiting(other, waits)
        reconfigure(proxy, size=5, max_db_connections=3)
        for client in (other, waits):
            done(client.read_until("Z"))
        done(holder.query("COMMIT"))


def test_a_servers_limit_that_is_lowered_serves_who_waits_one_after_another(make_pool):
    proxy = make_pool(size=3, max_db_connections=3, strings={"user": None})
    with contextlib.ExitStack() as stack:
        holders = [stack.enter_context(proxy.wire()) for _ in range(3)]
        others = [stack.enter_context(proxy.wire(user=user)) for user in ("postgres", "app") * 2]
        for client in holders:
            hold(client)
        waiting(*others)
        reconfigure(proxy, size=3, max_db_connections=1)
        for client in holders:
            done(client.query("COMMIT"))
        for client in others:
            done(client.read_until("Z"))
        assert len(proxy.wait_pids(1)) == 1


def test_a_smaller_min_size_lets_connections_go_that_nobody_uses(make_pool):
    proxy = make_pool(size=4, min_size=4, server_idle_timeout=1)
    proxy.wait_pids(4)
    reconfigure(proxy, size=4, min_size=1, server_idle_timeout=1)
    proxy.wait_pids(1)


@pytest.mark.parametrize("what", ["databases", "users"])
def test_pools_that_are_kept_warm_do_not_take_from_each_other(make_pool, main_cluster, what):
    """At a server's limit, where there is no room for all of them."""
    class Other:
        def conninfo(self, **more):
            return main_cluster.conninfo(**{**more, "dbname": "postgres"})
    strings = {"user": None} if what == "users" else {}
    proxy = make_pool(ci=Other() if what == "databases" else None, size=4, min_size=3, max_db_connections=4, strings=strings)
    with proxy.wire() as client, proxy.wire(user="postgres") as other:
        for each in (client, other):
            done(each.query("SELECT 1"))
        before = proxy.wait_pids(4)
        with pytest.raises(AssertionError, match="in vain"):
            wait_until(lambda: proxy.pids() != before, "a connection to be made anew", 2)


def test_a_deadlock_that_a_lower_limit_makes_is_found(make_pool):
    main_table, ci_table = "SELECT count(*) FROM users", "SELECT count(*) FROM ci_runners"
    proxy = make_pool(size=2)
    with proxy.wire() as a, proxy.wire() as b, proxy.wire() as c, proxy.wire() as d:
        for client, sql in ((a, main_table), (b, ci_table), (c, main_table), (d, ci_table)):
            done(client.query("BEGIN"))
            done(client.query(sql))
        waiting(a, sql=ci_table)
        waiting(b, sql=main_table)
        reconfigure(proxy, size=1)
        for client in (c, d):
            done(client.query("COMMIT"))
        ready, _, _ = select.select([a.socket, b.socket], [], [], 20)
        refused, other = (a, b) if a.socket in ready else (b, a)
        answer = refused.read_until("Z")
        assert code(answer) == "40P01" and answer[-1].body == b"E"
        done(refused.query("ROLLBACK"))
        done(other.read_until("Z"))
        done(other.query("COMMIT"))
        for client in (a, b):
            done(client.query(main_table))
            done(client.query(ci_table))


# -- modes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("before, after", [("transaction", "session"), ("session", "transaction"), ("transaction", "off"),
                                           ("session", "off")])
def test_who_waits_while_the_mode_changes_is_served(make_pool, before, after):
    proxy = make_pool(before, size=1)
    with contextlib.ExitStack() as stack:
        holder = stack.enter_context(proxy.wire())
        hold(holder)
        waits = stack.enter_context(proxy.wire())
        waiting(waits)
        proxy.configure(pool={"mode": after, "size": 1})
        nothing_comes(waits)
        later = stack.enter_context(proxy.wire())
        if after != "off":
            waiting(later)
        done(holder.query("COMMIT"))
        holder.terminate()
        done(waits.read_until("Z"))
        waits.terminate()
        if after == "off":
            done(later.query("SELECT 1"))
        else:
            done(later.read_until("Z"))


# -- any of it, at any time ----------------------------------------------------------------------


def some_pool(rng):
    return {"mode": rng.choice(["transaction"] * 4 + ["session"]), "size": rng.choice([1, 2, 3, 6]),
            "min_size": rng.choice([0, 0, 1, 4]), "reserve_size": rng.choice([0, 0, 2]), "reserve_timeout": rng.choice([0, 1]),
            "server_lifetime": rng.choice([0, 1, 3600]), "server_idle_timeout": rng.choice([0, 1, 600]),
            "query_wait_timeout": rng.choice([0, 60, 120]), "max_db_connections": rng.choice([0, 0, 2, 3, 9]),
            "max_client_conn": rng.choice([0, 40, 5000])}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_reloads_of_any_kind_lose_nobody(make_pool, workers, seed):
    """Sessions end after some transactions, so that none keeps others waiting for ever where the mode is session."""
    rng = random.Random(seed)
    proxy = make_pool(size=2, settings={"workers": workers})
    stop, failures, turns = threading.Event(), [], []
    statements = ["SELECT count(*) FROM users", "SELECT count(*) FROM ci_runners"]

    def work(number):
        order = random.Random(number)
        try:
            while not stop.is_set():
                with proxy.connect() as db:
                    for _ in range(5):
                        with contextlib.suppress(psycopg.errors.DeadlockDetected), db.transaction():
                            for statement in order.sample(statements, order.choice([1, 1, 2])):
                                db.execute(statement, prepare=order.random() < 0.5)
                        turns.append(number)
        except psycopg.Error as problem:
            failures.append(problem)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for _ in range(60):
        proxy.configure(pool=some_pool(rng))
        before = len(turns)
        wait_until(lambda: len(turns) > before + rng.choice([0, 20, 60]) or failures, "clients to go on")
    stop.set()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not failures, failures[:3]
    proxy.configure(pool={"mode": "transaction", "size": 2, "server_idle_timeout": 1})
    for cluster in (proxy.main, proxy.ci):
        proxy.wait_pids(0, cluster)


def test_a_shorter_wait_ends_who_waits_for_the_other_database_in_a_block(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as holder, proxy.wire() as waits:
        done(holder.query("BEGIN; SELECT count(*) FROM ci_runners"))
        done(waits.query("BEGIN; SELECT count(*) FROM users"))
        waiting(waits, sql="SELECT count(*) FROM ci_runners")
        reconfigure(proxy, size=1, query_wait_timeout=1)
        assert fatal(waits) == "57014"
        assert code(holder.query("SELECT count(*) FROM users")) is None
        done(holder.query("COMMIT"))
