"""Clients that take turns with connections: how many there are, who gets the next one, and what time brings."""

import concurrent.futures
import contextlib
import select
import threading
import time

import psycopg
import pytest

import wire
from harness import one, wait_until
from pooling import code, done, fatal, hold, own_mode, pid_of, rows, wait_known, waiting

pytestmark = own_mode


# -- how many ------------------------------------------------------------------------------------


def test_forty_clients_never_make_more_connections_than_the_size(make_pool):
    proxy = make_pool(size=5)
    most, stop, failures = [0], threading.Event(), []

    def work(number):
        try:
            with proxy.connect() as db:
                while not stop.is_set():
                    with db.transaction():
                        assert one(db, "SELECT %s::int", (number,)) == number
        except (psycopg.Error, AssertionError) as problem:
            failures.append(problem)
    threads = [threading.Thread(target=work, args=(n,)) for n in range(40)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        most[0] = max(most[0], len(proxy.pids()))
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]
    assert most[0] == 5


@pytest.mark.parametrize("workers", [1, 2])
def test_many_clients_share_twenty_connections(make_pool, workers):
    proxy = make_pool(size=20, settings={"workers": workers})
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.wire()) for _ in range(800)]  # psycopg can't use descriptors over 1023
        for turn in range(3):
            for number, client in enumerate(clients):
                client.send(wire.query(f"SELECT {number} + {turn}"))
            for number, client in enumerate(clients):
                assert rows(client.read_until("Z")) == [(str(number + turn),)]
            assert len(proxy.pids()) <= 20


def test_a_size_is_shared_out_to_the_workers(make_pool):
    proxy = make_pool(size=3, settings={"workers": 2})
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.wire()) for _ in range(8)]
        for client in clients:
            client.send(wire.query("SELECT pg_sleep(0.2)"))
        for client in clients:
            assert code(client.read_until("Z")) is None
        assert len(proxy.pids()) == 3


def test_a_connection_that_a_client_gives_back_is_the_next_clients(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as one_client, proxy.wire() as other:
        assert pid_of(one_client) == pid_of(other) == pid_of(one_client)


def test_by_session_a_client_keeps_its_connection_until_it_goes(make_pool):
    proxy = make_pool("session", size=2)
    with proxy.wire() as one_client, proxy.wire() as other:
        first, second = pid_of(one_client), pid_of(other)
        assert first != second
        assert pid_of(one_client) == first
        one_client.terminate()
        with proxy.wire() as third:
            assert pid_of(third) == first


def test_by_session_who_finds_all_connections_taken_is_let_in_and_waits_with_a_statement(make_pool):
    proxy = make_pool("session", size=1)
    with proxy.wire() as holder, proxy.wire() as next_one:
        pid = pid_of(holder)
        waiting(next_one, sql="SELECT pg_backend_pid()")
        holder.terminate()
        assert rows(done(next_one.read_until("Z"))) == [(str(pid),)]
        with proxy.wire() as last:
            waiting(last)


def test_by_session_all_are_let_in_who_come_at_once_when_nothing_is_known_yet(make_pool):
    proxy = make_pool("session", size=2)
    with contextlib.ExitStack() as stack:
        with concurrent.futures.ThreadPoolExecutor(12) as threads:
            clients = [stack.enter_context(each.result()) for each in [threads.submit(proxy.wire) for _ in range(12)]]
        for client in clients:
            client.send(wire.query("SELECT 1"))
        served = set()
        while len(served) < len(clients):
            sockets = {client.socket: client for client in clients if client not in served}
            ready = select.select(sockets, [], [], 10)[0]
            assert ready, "nobody is served any more"
            for client in map(sockets.get, ready):
                done(client.read_until("Z"))
                client.terminate()
                served.add(client)
        assert len(proxy.pids()) <= 2


def test_users_have_pools_of_their_own(make_pool):
    proxy = make_pool(size=1, strings={"user": None})
    with proxy.wire() as app, proxy.wire(user="postgres") as postgres:
        for client, name in ((app, "app"), (postgres, "postgres"), (app, "app"), (postgres, "postgres")):
            assert rows(client.query("SELECT current_user, session_user")) == [(name, name)]
        assert pid_of(app) != pid_of(postgres)


def test_the_reserve_comes_in_when_a_client_has_waited_long(make_pool):
    proxy = make_pool(size=1, reserve_size=1, reserve_timeout=1)
    with proxy.wire() as holder, proxy.wire() as waits, proxy.wire() as waits_too:
        hold(holder)
        before = time.monotonic()
        assert code(waits.query("BEGIN; SELECT 1")) is None
        assert time.monotonic() - before > 0.9
        waiting(waits_too)
        assert len(proxy.pids()) == 2
        holder.query("COMMIT")
        assert code(waits_too.read_until("Z")) is None


def test_a_servers_connections_are_bounded_over_two_users(make_pool):
    proxy = make_pool(size=5, max_db_connections=2, strings={"user": None})
    with proxy.wire() as holder, proxy.wire(user="postgres") as other, proxy.wire() as waits:
        hold(holder)
        hold(other)
        waiting(waits)
        assert len(proxy.pids()) == 2
        other.query("COMMIT")  # this user's idle connection ends for the other's sake
        assert code(waits.read_until("Z")) is None
        assert len(proxy.pids()) <= 2
        holder.query("COMMIT")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_servers_connections_are_bounded_over_two_of_its_databases(make_pool, main_cluster, host):
    proxy = make_pool(size=5, max_db_connections=1, ci=both_on(main_cluster, host))
    with proxy.wire("app_main") as holder, proxy.wire("app_ci") as waits:
        hold(holder)
        waiting(waits)
        assert len(proxy.pids()) == 1
        holder.query("COMMIT")
        assert code(waits.read_until("Z")) is None
        assert len(proxy.pids()) == 1


def both_on(cluster, host="127.0.0.1"):
    """The same server's database `postgres`, in the place of a cluster."""
    class Other:
        def conninfo(self, **more):
            return cluster.conninfo(**{**more, "dbname": "postgres", "host": host})
    return Other()


def test_nobody_starves_at_a_limit_that_two_users_share(make_pool):
    """Whoever always has somebody waiting doesn't keep the only connection for himself."""
    proxy = make_pool(size=5, max_db_connections=1, strings={"user": None})
    stop, failures = threading.Event(), []

    def work():
        try:
            with proxy.connect() as db:
                while not stop.is_set():
                    db.execute("SELECT pg_sleep(0.01)")
        except psycopg.Error as problem:
            failures.append(problem)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        with proxy.wire(user="postgres", timeout=10) as other:
            for _ in range(2):
                assert code(other.query("SELECT 1")) is None
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures, failures


# -- whose turn ----------------------------------------------------------------------------------


def test_clients_are_served_in_order_of_arrival(make_pool, unique):
    proxy = make_pool(size=1)
    proxy.main.sql("CREATE TABLE IF NOT EXISTS public._test_order (n serial, who int); TRUNCATE _test_order;"
                   " GRANT ALL ON _test_order, _test_order_n_seq TO app")
    with contextlib.ExitStack() as stack:
        holder, *clients = [stack.enter_context(proxy.wire()) for _ in range(13)]
        hold(holder)
        order = [7, 3, 11, 0, 5, 1, 9, 2, 10, 4, 8, 6]
        for number in order:
            waiting(clients[number], sql=f"INSERT INTO _test_order (who) VALUES ({number})")
        holder.query("COMMIT")
        for client in clients:
            assert code(client.read_until("Z")) is None
    assert [row[0] for row in proxy.main.sql("SELECT who FROM _test_order ORDER BY n")] == order


def test_a_client_that_comes_back_goes_behind_who_waits(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as greedy, proxy.wire() as waits:
        hold(greedy)
        waiting(waits, sql="SELECT clock_timestamp()")
        greedy.send(wire.query("COMMIT"), wire.query("SELECT clock_timestamp()"))
        greedy.read_until("Z")
        again, waited = (rows(client.read_until("Z"))[0][0] for client in (greedy, waits))
        assert waited < again


def test_who_waits_too_long_is_told_and_let_go(make_pool):
    proxy = make_pool(size=1, query_wait_timeout=1)
    with proxy.wire() as holder, proxy.wire() as waits:
        hold(holder)
        waits.send(wire.query("SELECT 1"))
        assert fatal(waits) == "57014"
        assert code(holder.query("COMMIT")) is None
        with proxy.wire() as next_one:
            assert code(next_one.query("SELECT 1")) is None


def test_who_hangs_up_while_waiting_gives_its_place_up(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as holder, proxy.wire() as goes, proxy.wire() as stays:
        hold(holder)
        waiting(goes, stays)
        goes.close()
        holder.query("COMMIT")
        assert code(stays.read_until("Z")) is None
        assert len(proxy.pids()) == 1


def test_two_databases_in_one_block_on_pools_of_one(make_pool):
    proxy = make_pool(size=1)

    def work(number):
        with proxy.connect() as db:
            for _ in range(20):
                with db.transaction():
                    assert one(db, "SELECT count(*) FROM ci_runners") is not None
                    assert one(db, "SELECT count(*) FROM users") is not None
                done.append(number)
    done = []
    # All come to main through ci or, on other connections' behalf, the other way round: they must not hold each other.
    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 80
    assert len(proxy.pids()) == len(proxy.pids(proxy.ci)) == 1


# -- what time brings ----------------------------------------------------------------------------


def test_connections_are_made_at_start_and_again_when_they_are_lost(make_pool):
    proxy = make_pool(size=4, min_size=2)
    first = proxy.wait_pids(2)
    proxy.wait_pids(2, proxy.ci)
    proxy.main.sql("SELECT pg_terminate_backend(%s)", params=(first[0],))
    wait_until(lambda: len(pids := proxy.pids()) == 2 and first[0] not in pids, "another in its place")


def test_a_connection_that_nobody_uses_ends(make_pool):
    proxy = make_pool(size=4, min_size=1, server_idle_timeout=1)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.wire()) for _ in range(3)]
        wait_known(clients[0], proxy.main, "SELECT 1 FROM projects LIMIT 1")
        for client in clients:
            hold(client)
        assert len(proxy.pids()) == 3
        for client in clients:
            client.query("COMMIT")
        proxy.wait_pids(1)


def test_an_old_connection_ends_when_it_is_free(make_pool):
    proxy = make_pool(size=1, server_lifetime=1)
    with proxy.wire() as client:
        hold(client)
        first = pid_of(client)
        assert one_second_of(client) == first  # not before
        client.query("COMMIT")
        wait_until(lambda: first not in proxy.pids(), "it to end")
        assert pid_of(client) != first


def one_second_of(client):
    return int(rows(client.query("SELECT pg_backend_pid() FROM pg_sleep(1.5)"))[0][0])


def test_a_connection_that_is_never_idle_ends_too_when_it_is_old(make_pool):
    proxy = make_pool(size=1, server_lifetime=1)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.wire()) for _ in range(3)]
        seen, ask = set(), wire.query("SELECT pg_backend_pid() FROM pg_sleep(0.05)")
        for client in clients:
            client.send(ask)
        deadline = time.monotonic() + 10
        while len(seen) < 2 and time.monotonic() < deadline:
            for client in clients:  # two always wait
                seen.add(rows(client.read_until("Z"))[0][0])
                client.send(ask)
        assert len(seen) > 1


def test_an_idle_client_is_sent_away(make_pool):
    proxy = make_pool(client_idle_timeout=1)
    with proxy.wire() as client:
        client.query("SELECT 1")
        assert fatal(client) == "57P05"


def test_a_client_that_idles_in_a_transaction_is_sent_away_and_rolled_back(make_pool, unique):
    proxy = make_pool(size=1, idle_transaction_timeout=1)
    with proxy.wire() as client, proxy.wire() as next_one:
        client.query("BEGIN")
        assert code(client.query(f"INSERT INTO users (username) VALUES ('{unique}')")) is None
        assert fatal(client) == "25P03"
        assert rows(next_one.query(f"SELECT count(*) FROM users WHERE username = '{unique}'")) == [("0",)]


@pytest.mark.parametrize("end", [b"", wire.flush()], ids=["nothing", "Flush"])
def test_a_client_that_does_not_end_its_pipeline_idles_in_a_transaction(make_pool, unique, end):
    proxy = make_pool(size=1, idle_transaction_timeout=1)
    with proxy.wire() as client, proxy.wire() as next_one:
        client.send(wire.parse("", f"INSERT INTO users (username) VALUES ('{unique}')"), wire.bind(), wire.execute(), end)
        assert fatal(client) == "25P03"
        assert rows(next_one.query(f"SELECT count(*) FROM users WHERE username = '{unique}'")) == [("0",)]


def test_asking_for_the_answers_of_an_open_pipeline_does_not_prolong_its_clients_time(make_pool):
    proxy = make_pool(idle_transaction_timeout=4)
    with proxy.wire() as client:
        began = time.monotonic()
        client.send(wire.parse("", "SELECT 1"), wire.bind(), wire.execute())
        assert fatal(client) == "25P03"
        assert 3.9 < time.monotonic() - began < 7


@pytest.mark.parametrize("limit", ["client_idle_timeout", "idle_transaction_timeout"])
def test_a_statement_may_take_longer_than_an_idle_client_may(make_pool, limit):
    proxy = make_pool(**{limit: 1})
    with proxy.wire() as client:
        client.query("BEGIN")
        assert code(client.query("SELECT pg_sleep(2)")) is None


def test_timeouts_are_an_entrypoints_own(make_pool):
    proxy = make_pool(client_idle_timeout=1, entrypoints={"app_ci": {"client_idle_timeout": 0}})
    with proxy.wire("app_ci") as patient, proxy.wire("app_main") as client:
        assert fatal(client) == "57P05"
        assert code(patient.query("SELECT 1")) is None


def test_sizes_are_a_databases_own(make_pool):
    proxy = make_pool(size=3, min_size=1, databases={"ci": {"size": 5, "min_size": 4}})
    proxy.wait_pids(4, proxy.ci)
    proxy.wait_pids(1)


def test_modes_are_an_entrypoints_own(make_pool):
    proxy = make_pool("transaction", size=2, entrypoints={"app_main": {"mode": "session"}, "app_ci": {"mode": "off"}})
    with proxy.wire("app_main") as by_session, proxy.wire("app_main") as other:
        assert pid_of(by_session) != pid_of(other)
    with proxy.wire("app_ci") as alone:
        own = pid_of(alone)
        alone.terminate()
        wait_until(lambda: own not in proxy.pids(proxy.ci), "the client's own connection to end with it")
