"""Cancel requests that come at an awkward time: before the server has the statement, or when it has just answered. On
a connection of its own the client's statement would be running, and what it sends later would be out of reach."""

import contextlib
import os
import signal

import pytest

import wire
from harness import DEMO, POOL_MODE, Postgres, wait_until
from pooling import code, done, extended, hold, nothing_comes, own_mode, simple

LOCK = 77
asked = pytest.mark.parametrize("ask", [wire.query, lambda sql: wire.parse("", sql) + wire.bind() + wire.execute() + wire.sync()],
                                ids=["simple", "extended"])


@contextlib.contextmanager
def no_connections(cluster):
    """Its postmaster takes none, and no cancel request either; who is connected is served."""
    os.kill(cluster.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(cluster.process.pid, signal.SIGCONT)


@contextlib.contextmanager
def locked(cluster):
    """An advisory lock that statements wait for until they are let go."""
    with cluster.admin(cluster.dbname) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        yield lambda: holder.execute("SELECT pg_advisory_unlock_all()")


def wait_for_waiter(cluster_connection):
    wait_until(lambda: cluster_connection.execute(
        "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchall(), "a statement to wait")


@contextlib.contextmanager
def cancelling(proxy, client):
    """The connection of a cancel request that the proxy has read."""
    start = len(proxy.log())
    with wire.Connection(client.host, client.port) as other:
        other.send(wire.cancel_request(client.pid, client.key))
        proxy.wait_for_log(rf"cancel requested .*pid={client.pid}\b", start)
        yield other


@pytest.fixture
def own(own_clusters, make_proxy):
    return make_proxy(*own_clusters)


def connect(proxy):
    return wire.connect("127.0.0.1", proxy.port, user="app", database="app")


@asked
def test_a_statement_whose_database_is_being_connected_to_is_cancelled(own, ask):
    with connect(own) as client:
        done(client.query("SELECT 1 FROM projects LIMIT 1"))
        with no_connections(own.ci):
            client.send(ask("SELECT 1 FROM ci_builds LIMIT 1"))
            nothing_comes(client)
            client.cancel()
            assert code(client.read_until()) == "57014"
            assert code(client.query("SELECT 1 FROM projects LIMIT 1")) is None
        assert wire.rows(client.query("SELECT 1 FROM ci_builds LIMIT 1")) == [[b"1"]]


@asked
def test_a_transaction_fails_with_its_statement_that_was_cancelled_before_it_was_sent(own, ask):
    with connect(own) as client:
        done(client.query("BEGIN"))
        done(client.query("SELECT 1 FROM projects LIMIT 1"))
        with no_connections(own.ci):
            client.send(ask("SELECT 1 FROM ci_builds LIMIT 1"))
            nothing_comes(client)
            client.cancel()
            messages = client.read_until()
            assert code(messages) == "57014"
            assert messages[-1].body == b"E"
            assert code(client.query("SELECT 1")) == "25P02"
            assert wire.tags(client.query("ROLLBACK")) == ["ROLLBACK"]
        assert wire.rows(client.query("SELECT 1 FROM ci_builds LIMIT 1")) == [[b"1"]]


def test_the_rest_of_a_query_is_cancelled_that_waits_for_a_connection(own):
    with connect(own) as client:
        done(client.query("SELECT 1 FROM projects LIMIT 1"))
        with no_connections(own.ci):
            client.send(wire.query("SELECT 1 FROM projects LIMIT 1; SELECT 1 FROM ci_builds LIMIT 1; SELECT 2"))
            assert client.read_until("C")
            nothing_comes(client)
            client.cancel()
            messages = client.read_until()
            assert code(messages) == "57014" and wire.tags(messages) == []
        done(client.query("SELECT 1 FROM ci_builds LIMIT 1"))


def test_a_cancel_is_kept_for_what_was_sent_and_nothing_later(own):
    with connect(own) as client:
        done(client.query("SELECT 1 FROM projects LIMIT 1"))
        with no_connections(own.ci):
            client.send(wire.query("SELECT 1 FROM ci_builds LIMIT 1"))
            nothing_comes(client)
            client.cancel()
            client.cancel()  # what it was for is over
            assert code(client.read_until()) == "57014"
        for table in "ci_builds", "projects":
            done(client.query(f"SELECT 1 FROM {table} LIMIT 1"))


def test_a_cancel_that_comes_too_late_for_one_database_cancels_what_waits_for_it(own):
    with connect(own) as client, own.main.admin("app") as look:
        for table in "ci_builds", "projects":
            done(client.query(f"SELECT 1 FROM {table} LIMIT 1"))
        with locked(own.main) as let_go:
            client.send(*(wire.parse("", sql) + wire.bind() + wire.execute() + wire.sync() for sql in (
                f"SELECT pg_advisory_xact_lock({LOCK}) FROM projects LIMIT 1",
                "SELECT pg_sleep(60) FROM (SELECT 1 FROM ci_builds LIMIT 1) t")))
            wait_for_waiter(look)
            with no_connections(own.main), cancelling(own, client):
                let_go()
                assert code(client.read_until()) is None  # it has ended by itself
                # Now the second statement waits for what becomes of the request.
            assert code(client.read_until(timeout=20)) == "57014"
        done(client.query("SELECT 1 FROM ci_builds LIMIT 1"))


def test_the_connection_of_a_cancel_request_ends_when_it_can_hit_nothing_more(own):
    """PQcancel() returns then: a statement that is sent afterwards must not be hit by it."""
    with connect(own) as client, own.main.admin("app") as look:
        done(client.query("SELECT 1 FROM projects LIMIT 1"))
        with locked(own.main) as let_go:
            client.send(wire.query(f"SELECT pg_advisory_xact_lock({LOCK})"))
            wait_for_waiter(look)
            with no_connections(own.main):
                with cancelling(own, client) as request:
                    nothing_comes(request)
                    let_go()
                    assert code(client.read_until()) is None
                    nothing_comes(request)
                    os.kill(own.main.process.pid, signal.SIGCONT)
                    assert request.read_to_end() == []
        done(client.query("SELECT pg_sleep(0.05)"))


def test_who_hangs_up_on_a_cancel_request_does_not_take_it_back(own):
    with connect(own) as client, own.main.admin("app") as look:
        done(client.query("SELECT 1 FROM projects LIMIT 1"))
        with locked(own.main):
            client.send(wire.query(f"SELECT pg_advisory_xact_lock({LOCK})"))
            wait_for_waiter(look)
            with no_connections(own.main):
                with cancelling(own, client) as request:
                    nothing_comes(request)
            assert code(client.read_until()) == "57014"
        done(client.query("SELECT 1"))


@pytest.fixture
def by_socket():
    """A cluster with two Unix sockets, of which the file of one has another name than the server gave it, as in a
    folder that is mounted elsewhere; and the hosts by which to find them."""
    name = f"@{os.urandom(8).hex()}"
    cluster = Postgres("main")
    other = cluster.folder / "mounted"
    other.mkdir()
    with (cluster.data / "postgresql.conf").open("a") as conf:
        conf.write(f"unix_socket_directories = '{cluster.folder}, {name}'\n")
    cluster.start().create_database("app", DEMO / "main.sql", DEMO / "shared.sql")
    os.link(cluster.folder / f".s.PGSQL.{cluster.port}", other / f".s.PGSQL.{cluster.port}")
    os.rename(cluster.folder / f".s.PGSQL.{cluster.port}", cluster.folder / "hidden")
    yield cluster, {"another name": str(other), "abstract": name}
    os.rename(cluster.folder / "hidden", cluster.folder / f".s.PGSQL.{cluster.port}")
    cluster.close()


@pytest.mark.parametrize("kind", ["another name", "abstract"])
def test_a_cancel_request_finds_a_unix_socket_as_the_connection_did(by_socket, ci_cluster, make_proxy, kind):
    cluster, hosts = by_socket
    proxy = make_proxy(cluster, ci_cluster, databases={"main": cluster.conninfo(host=hosts[kind]), "ci": ci_cluster.conninfo()})
    with connect(proxy) as client:
        done(client.query("SELECT 1 FROM projects LIMIT 1"))
        client.send(wire.query("SELECT pg_sleep(60)"))
        wait_until(lambda: "pg_sleep(60)" in cluster.log(), "the server to have read it")
        client.cancel()
        assert code(client.read_until(timeout=20)) == "57014"


def test_cancel_requests_that_nobody_takes_hold_up_nothing_else(own_clusters, make_proxy):
    """Another database's name is looked up meanwhile, which is the work of libuv's threads."""
    main, ci = own_clusters
    proxy = make_proxy(main, ci, databases={"main": main.conninfo(), "ci": ci.conninfo(host="localhost")},
                       **({"pool": {"mode": POOL_MODE, "size": 40}} if POOL_MODE else {}))
    with contextlib.ExitStack() as stack, main.admin("app") as look:
        other, *clients = [stack.enter_context(connect(proxy)) for _ in range(33)]
        let_go = stack.enter_context(locked(main))
        for client in clients:
            client.send(wire.query(f"SELECT pg_advisory_xact_lock({LOCK}) FROM projects LIMIT 1"))
        wait_until(lambda: len(look.execute("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchall()) == 32,
                   "all of them to wait")
        with no_connections(main):
            requests = [stack.enter_context(cancelling(proxy, client)) for client in clients]
            nothing_comes(requests[-1])
            done(other.query("SELECT 1 FROM ci_builds LIMIT 1", timeout=10))
        for client in clients:
            assert code(client.read_until()) == "57014"
        let_go()


def test_a_request_that_nobody_takes_is_given_up_after_login_timeout(own_clusters, make_proxy):
    """What waits for its fate has waited long enough then."""
    proxy = make_proxy(*own_clusters, login_timeout=1)
    main = own_clusters[0]
    with connect(proxy) as client, main.admin("app") as look:
        for table in "ci_builds", "projects":
            done(client.query(f"SELECT 1 FROM {table} LIMIT 1"))
        with locked(main) as let_go:
            client.send(*(wire.parse("", sql) + wire.bind() + wire.execute() + wire.sync() for sql in (
                f"SELECT pg_advisory_xact_lock({LOCK}) FROM projects LIMIT 1",
                "SELECT pg_sleep(60) FROM (SELECT 1 FROM ci_builds LIMIT 1) t")))
            wait_for_waiter(look)
            with no_connections(main), cancelling(proxy, client) as request:
                nothing_comes(request)
                let_go()
                assert code(client.read_until()) is None
                assert code(client.read_until(timeout=10)) == "57014"
        done(client.query("SELECT 1 FROM ci_builds LIMIT 1"))


@own_mode
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_connection_that_a_late_request_may_hit_goes_to_nobody_else(own_clusters, make_pool, mode):
    main, ci = own_clusters
    proxy = make_pool(mode, main, ci, size=1, settings={"login_timeout": 1})
    with contextlib.ExitStack() as stack, main.admin("app") as look:
        client = stack.enter_context(proxy.wire())
        done(client.query("SELECT 1 FROM projects LIMIT 1"))
        [pid] = proxy.pids()
        with locked(main) as let_go:
            client.send(wire.query(f"SELECT pg_advisory_xact_lock({LOCK})"))
            wait_for_waiter(look)
            with no_connections(main):
                stack.enter_context(cancelling(proxy, client))
                nothing_comes(client)
                let_go()
                assert code(client.read_until()) is None
                client.terminate()
                wait_until(lambda: not look.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchall(),
                           "the connection to end")
        with proxy.wire() as another:
            done(another.query("SELECT pg_sleep(0.5)"))


@own_mode
@pytest.mark.parametrize("ask", [simple, extended])
def test_a_statement_whose_names_wait_for_a_connection_is_cancelled_once(make_pool, ask):
    """Whose index it is the databases are asked, on a connection that is not there yet."""
    proxy = make_pool("transaction", size=1)
    with proxy.wire() as holder, proxy.wire() as client:
        for table in "projects", "ci_builds":
            done(client.query(f"SELECT 1 FROM {table} LIMIT 1"))
        hold(holder)
        done(holder.query("SELECT 1 FROM ci_builds LIMIT 1"))
        client.send(wire.query("DROP INDEX no_such_index_anywhere") if ask is simple else
                    wire.parse("", "DROP INDEX no_such_index_anywhere") + wire.sync())
        nothing_comes(client)
        client.cancel()
        messages = client.read_until()
        assert [each["C"] for each in wire.errors(messages)] == ["57014"] and wire.tags(messages) == []
        done(holder.query("ROLLBACK"))
        assert wire.rows(client.query("SELECT 'next'")) == [[b"next"]]
