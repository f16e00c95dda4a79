"""Who is refused: clients over the limit, and those of whom each waits for what the other holds."""

import contextlib
import threading

import psycopg
import pytest

import wire
from harness import wait_until
from pooling import code, done, hold, nothing_comes, own_mode, waiting

pytestmark = own_mode


# -- limits that a reload lowers ----------------------------------------------------------------


@pytest.mark.parametrize("lower", [{"size": 2}, {"size": 4, "max_db_connections": 2}], ids=["size", "max_db_connections"])
def test_a_limit_that_a_reload_lowers_ends_idle_connections(make_pool, lower):
    proxy = make_pool(size=4)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.wire()) for _ in range(4)]
        for client in clients:
            hold(client)
        for client in clients[1:]:
            done(client.query("COMMIT"))
        proxy.configure(pool={"mode": "transaction", **lower})
        proxy.wait_pids(2)
        done(clients[0].query("COMMIT"))  # whose connection was not taken from it
        for client in clients:
            done(client.query("SELECT 1"))


# -- max_client_conn -----------------------------------------------------------------------------


def refused(proxy, **more):
    with pytest.raises(wire.ServerError) as problem:
        proxy.wire(**more)
    return problem.value.fields


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("mode", ["off", "session", "transaction"])
def test_one_client_over_the_limit_is_refused(make_pool, mode, workers):
    proxy = make_pool(mode, max_client_conn=3, settings={"workers": workers})
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.wire()) for _ in range(3)]
        fields = refused(proxy)
        assert (fields["S"], fields["C"], fields["M"]) == ("FATAL", "53300", "sorry, too many clients already")
        clients[0].terminate()
        wait_until(lambda: stays(stack, proxy), "room for another")
        refused(proxy)


def stays(stack, proxy):
    try:
        return stack.enter_context(proxy.wire())
    except wire.ServerError:
        return None


def test_psql_shows_why_it_is_refused(make_pool):
    proxy = make_pool(max_client_conn=1)
    with proxy.wire():
        run = proxy.psql("SELECT 1", check=False)
    assert run.returncode == 2
    assert "FATAL:  sorry, too many clients already" in run.stderr


def test_a_cancel_request_needs_no_room(make_pool):
    proxy = make_pool(max_client_conn=1)
    with proxy.wire() as client:
        client.send(wire.query("SELECT pg_sleep(60)"))
        wait_until(lambda: proxy.main.backends("%pg_sleep(60)%"), "the statement to run")
        client.cancel()
        assert code(client.read_until("Z")) == "57014"


def test_a_login_that_fails_gives_its_place_back(make_pool):
    proxy = make_pool(max_client_conn=1)
    for _ in range(3):
        assert refused(proxy, dbname="no_such")["C"] == "3D000"
    for _ in range(3):  # and one that is given up
        half = wire.Connection("127.0.0.1", proxy.port)
        half.send(wire.startup({"user": "app", "database": "app"})[:20])
        half.close()
    with proxy.wire() as client:
        done(client.query("SELECT 1"))


def test_a_reload_changes_the_limit_for_who_comes(make_pool):
    proxy = make_pool()
    with proxy.wire() as first, proxy.wire() as second:
        proxy.configure(pool={"mode": "transaction", "max_client_conn": 2})
        assert refused(proxy)["C"] == "53300"
        proxy.configure(pool={"mode": "transaction", "max_client_conn": 1})  # who is in stays in
        for client in (first, second):
            done(client.query("SELECT 1"))
        proxy.configure(pool={"mode": "transaction", "max_client_conn": 3})
        with proxy.wire() as third:
            done(third.query("SELECT 1"))


# -- each waits for the other --------------------------------------------------------------------

MAIN, CI = "SELECT count(*) FROM users", "SELECT count(*) FROM ci_runners"


def open_on(client, sql):
    done(client.query("BEGIN"))
    done(client.query(sql))


def test_two_that_wait_for_each_other_are_told_apart(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as one_client, proxy.wire() as other:
        open_on(one_client, MAIN)
        open_on(other, CI)
        waiting(one_client, sql=CI)
        answer = other.query(MAIN)
        assert code(answer) == "40P01" and answer[-1].body == b"E"
        nothing_comes(one_client)
        assert code(other.query("SELECT 1")) == "25P02"
        done(other.query("ROLLBACK"))
        done(one_client.read_until("Z"))
        done(one_client.query("COMMIT"))
        open_on(other, CI)
        done(other.query(MAIN))
        done(other.query("COMMIT"))


def test_in_a_pipeline_the_deadlock_is_told_in_its_place(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as one_client, proxy.wire() as other:
        open_on(one_client, MAIN)
        waiting_in = wire.parse("", CI) + wire.bind() + wire.execute()
        done(other.query("BEGIN"))
        done(other.exchange(waiting_in, wire.sync()))
        waiting(one_client, sql=CI)
        got = other.exchange(waiting_in, wire.parse("", MAIN), wire.bind(), wire.execute(), wire.sync())
        assert wire.types(got) == "12DCEZ" and code(got) == "40P01"
        done(other.query("ROLLBACK"))
        done(one_client.read_until("Z"))


def test_a_connection_that_is_only_asked_about_is_not_taken_into_the_next_transaction(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as one_client, proxy.wire() as other:
        open_on(one_client, MAIN)
        other.send(wire.query("SELECT pg_advisory_xact_lock(count(*)) FROM ci_runners"), wire.query("BEGIN"), wire.query(MAIN))
        for _ in range(2):
            done(other.read_until("Z"))
        nothing_comes(other)
        done(one_client.query(CI))  # where nobody is any more
        done(one_client.query("COMMIT"))
        done(other.read_until("Z"))


def test_whoever_can_still_go_on_is_waited_for(make_pool):
    proxy = make_pool(size=2)
    with proxy.wire() as a, proxy.wire() as b, proxy.wire() as c:
        open_on(a, MAIN)
        open_on(b, CI)
        open_on(c, CI)
        waiting(a, sql=CI)  # main has another connection: both may yet come back
        done(b.query(MAIN))
        done(b.query("COMMIT"))
        done(a.read_until("Z"))
        for client in (a, c):
            done(client.query("COMMIT"))


def test_many_in_a_ring_are_found(make_pool):
    proxy = make_pool(size=2)
    with contextlib.ExitStack() as stack:
        a, b, c, d = (stack.enter_context(proxy.wire()) for _ in range(4))
        for client, sql in ((a, MAIN), (b, MAIN), (c, CI), (d, CI)):
            open_on(client, sql)
        waiting(a, b, sql=CI)
        waiting(c, sql=MAIN)
        assert code(d.query(MAIN)) == "40P01"
        done(d.query("ROLLBACK"))
        done(a.read_until("Z"))
        done(a.query("COMMIT"))
        for client in (b, c):
            done(client.read_until("Z"))


def test_the_reserve_may_yet_come(make_pool):
    proxy = make_pool(size=1, reserve_size=1, reserve_timeout=1)
    with proxy.wire() as a, proxy.wire() as b:
        open_on(a, MAIN)
        open_on(b, CI)
        waiting(a, sql=CI)
        done(b.query(MAIN))
        done(a.read_until("Z"))


def test_a_deadlock_at_a_limit_that_two_pools_share_is_found(make_pool):
    proxy = make_pool(size=5, max_db_connections=1, strings={"user": None})
    with proxy.wire() as a, proxy.wire(user="postgres") as b:
        open_on(a, MAIN)
        open_on(b, CI)
        waiting(a, sql=CI)
        assert code(b.query(MAIN)) == "40P01"
        done(b.query("ROLLBACK"))
        done(a.read_until("Z"))


def test_crowds_that_cross_each_other_all_come_through(make_pool):
    """Clients that lock the databases in either order, and run again what failed."""
    proxy = make_pool(size=2)
    failures, refused_once = [], []

    def work(first, second):
        try:
            with proxy.connect() as db:
                for _ in range(25):
                    while True:
                        try:
                            with db.transaction():
                                db.execute(first)
                                db.execute(second)
                            break
                        except psycopg.errors.DeadlockDetected:
                            refused_once.append(1)
        except psycopg.Error as problem:
            failures.append(problem)
    threads = [threading.Thread(target=work, args=pair) for pair in [(MAIN, CI), (CI, MAIN)] * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not failures, failures
    assert refused_once
