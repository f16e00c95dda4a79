"""Shared connections when things go wrong or change: cancels, servers that die or refuse, reloads, the end; and what
passes through them in bulk."""

import contextlib
import random
import shutil
import signal
import subprocess
import threading
import time

import psycopg
import pytest

import wire
from console import ADMIN, clients
from harness import AS_POSTGRES, wait_until
from pooling import code, done, fatal, hold, nothing_comes, own_mode, pid_of, rows, value, waiting

pytestmark = own_mode


# -- cancel --------------------------------------------------------------------------------------


def test_a_cancel_reaches_the_statement_that_runs(make_pool):
    proxy = make_pool(size=2)
    with proxy.wire() as client, proxy.wire() as other:
        for each in (client, other):
            each.send(wire.query("SELECT pg_sleep(2)"))
        wait_until(lambda: len(proxy.main.backends("%pg_sleep(2)%")) == 2, "both to run")
        client.cancel()
        assert code(client.read_until("Z")) == "57014"
        done(other.read_until("Z"))
        done(client.query("SELECT 1"))


def test_a_cancel_of_an_idle_client_reaches_nobody(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as idle, proxy.wire() as busy:
        pid_of(idle)
        busy.send(wire.query("SELECT pg_sleep(0.5)"))
        wait_until(lambda: proxy.main.backends("%pg_sleep(0.5)%"), "it to run")
        for _ in range(3):
            idle.cancel()
        done(busy.read_until("Z"))


def test_a_cancel_ends_the_wait_for_a_connection(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as holder, proxy.wire() as waits:
        hold(holder)
        waiting(waits)
        waits.cancel()
        assert code(waits.read_until("Z")) == "57014"
        done(holder.query("COMMIT"))
        done(waits.query("SELECT 1"))


def test_a_cancel_of_the_wait_within_a_transaction_fails_it(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as holder, proxy.wire() as waits:
        done(holder.query("BEGIN"))
        done(holder.query("SELECT count(*) FROM ci_runners"))
        done(waits.query("BEGIN"))
        done(waits.query("SELECT count(*) FROM users"))
        waiting(waits, sql="SELECT count(*) FROM ci_runners")
        waits.cancel()
        got = waits.read_until("Z")
        assert code(got) == "57014" and got[-1].body == b"E"
        assert code(waits.query("SELECT 1")) == "25P02"
        done(waits.query("ROLLBACK"))


@pytest.mark.parametrize("workers", [1, 2])
def test_cancels_in_a_storm_hit_only_who_asked(make_pool, workers):
    """Connections change hands all the time; a cancel that comes late must not hit the next client."""
    proxy = make_pool(size=3, settings={"workers": workers})
    stop, failures, cancelled = threading.Event(), [], []

    def innocent():
        with proxy.wire() as client:
            while not stop.is_set():
                got = client.query("SELECT count(*) FROM generate_series(1, 2000)")
                if code(got) is not None:
                    failures.append(wire.errors(got))

    def stormy(seed):
        rng = random.Random(seed)
        with proxy.wire() as client:
            while not stop.is_set():
                client.send(wire.query(f"SELECT pg_sleep({rng.random() * 0.01})"))
                client.cancel()
                got = code(client.read_until("Z"))
                cancelled.append(got)
                if got not in (None, "57014"):
                    failures.append(got)
    threads = [threading.Thread(target=innocent) for _ in range(4)]
    threads += [threading.Thread(target=stormy, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    enough = time.monotonic() + 30  # a slow machine has a smaller storm
    try:
        wait_until(lambda: len(cancelled) >= 3000 or failures or time.monotonic() > enough, "the storm", 60)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert not failures, failures[:3]
    assert "57014" in cancelled


# -- servers -------------------------------------------------------------------------------------


def end_backends(proxy, *pids):
    for pid in pids:
        proxy.main.sql("SELECT pg_terminate_backend(%s, 5000)", params=(pid,))


def test_idle_connections_that_the_server_ends_are_made_anew_unseen(make_pool):
    proxy = make_pool(size=2)
    with proxy.wire() as client:
        first = pid_of(client)
        end_backends(proxy, *proxy.pids())  # another may have been made while the first asked the catalogs
        wait_until(lambda: not proxy.pids(), "it to be gone")
        assert pid_of(client) != first


def test_a_connection_that_dies_under_a_statement_is_that_clients_error_alone(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as client, proxy.wire() as other:
        pid = pid_of(client)
        client.send(wire.query("SELECT pg_sleep(60)"))
        wait_until(lambda: proxy.main.backends("%pg_sleep(60)%"), "it to run")
        waiting(other)
        end_backends(proxy, pid)
        assert code(client.read_until("Z")) == "08006"
        done(other.read_until("Z"))
        done(client.query("SELECT 1"))


def test_a_connection_that_dies_in_a_transaction_fails_it(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as client, proxy.wire() as other:
        hold(client)
        pid = pid_of(client)
        waiting(other)
        end_backends(proxy, pid)
        done(other.read_until("Z"))
        assert code(client.query("SELECT 1")) is not None
        client.query("ROLLBACK")
        done(client.query("SELECT 1"))


def test_a_bound_client_is_told_that_what_bound_it_is_gone(make_pool):
    proxy = make_pool(size=2)
    with proxy.wire() as client:
        done(client.query("CREATE TEMP TABLE t (n int)"))
        end_backends(proxy, *proxy.pids())
        wait_until(lambda: not proxy.pids(), "it to be gone")
        assert code(client.query("SELECT 1")) is not None
        assert code(client.query("SELECT * FROM t")) is not None


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_server_that_is_stopped_and_started_again_is_found(make_pool, own_clusters, how):
    main, ci = own_clusters
    proxy = make_pool(size=2, main=main, ci=ci)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.wire()) for _ in range(4)]
        for client in clients[:2]:
            hold(client)
        waiting(*clients[2:])
        main.stop(how)
        for client in clients[2:]:
            assert code(client.read_until("Z")) is not None
        for client in clients[:2]:
            assert code(client.query("SELECT 1")) is not None
            client.query("ROLLBACK")
        done(clients[3].query("SELECT count(*) FROM ci_runners"))
        main.start()
        for client in clients:
            wait_until(lambda each=client: code(each.query("SELECT 1")) is None, "main to be back")


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_server_that_refuses_is_quoted_to_who_waits(make_pool, own_clusters, mode):
    main, ci = own_clusters
    main.set_hba(["host all app 127.0.0.1/32 scram-sha-256", "host all all 127.0.0.1/32 trust"])
    main.sql("ALTER ROLE app PASSWORD 'right'", "postgres")
    proxy = make_pool(mode, size=2, main=main, ci=ci, strings={"password": "wrong"})
    for _ in range(2):
        with pytest.raises(wire.ServerError) as refused:
            proxy.wire("app_main")
        assert refused.value.sqlstate == "28P01"
        assert "password authentication failed" in refused.value.fields["M"]


def test_who_waits_at_a_server_without_room_is_served_by_what_is_there(make_pool, own_clusters):
    main, ci = own_clusters
    main.sql("ALTER ROLE app CONNECTION LIMIT 1", "postgres")
    proxy = make_pool(size=3, main=main, ci=ci)
    with proxy.wire() as holder, proxy.wire() as waits:
        hold(holder)
        waits.send(wire.query("SELECT 1"))
        proxy.wait_for_log("too many connections for role")
        nothing_comes(waits)
        done(holder.query("COMMIT"))
        done(waits.read_until("Z"))


# -- what keeps a client's connection can't be asked ---------------------------------------------


@contextlib.contextmanager
def catalogs_locked(proxy):
    """Nobody can ask the server what keeps a connection; gives a function that tells whether somebody tries."""
    with proxy.main.admin("app") as admin:
        admin.execute("BEGIN; LOCK TABLE pg_depend IN ACCESS EXCLUSIVE MODE")
        yield lambda: admin.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)").fetchone()[0]
        admin.execute("ROLLBACK")


def ask_in_vain(proxy, client, how):
    """The client takes a lock, and the question what it has fails."""
    done(client.query("SET lock_timeout = '50ms'" if how == "timeout" else "SET lock_timeout = '1min'"))
    done(client.query("SELECT pg_advisory_lock(1), pg_advisory_unlock(1)"))  # what it needs of catalogs is known now
    with catalogs_locked(proxy) as asked:
        done(client.query("SELECT pg_advisory_lock(1)"))
        if how == "cancel":
            wait_until(asked, "the question to wait")
            client.cancel()
        wait_until(lambda: clients(proxy, kept_by="main: not known"), "the question to fail")


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_what_keeps_a_connection_is_asked_again_where_it_is_not_known(make_pool, how):
    proxy = make_pool(size=1, settings=ADMIN)
    with proxy.wire() as client, proxy.wire() as other:
        ask_in_vain(proxy, client, how)
        waiting(other)
        done(client.query("SELECT 1"))
        wait_until(lambda: clients(proxy, kept_by="main: advisory lock"), "the answer")
        done(client.query("SELECT pg_advisory_unlock(1)"))
        done(other.read_until("Z"))


def test_a_connection_of_which_that_is_not_known_ends_with_its_client(make_pool):
    proxy = make_pool(size=1, settings=ADMIN)
    with proxy.wire() as client, proxy.wire() as other:
        before = pid_of(client)
        ask_in_vain(proxy, client, "timeout")
        waiting(other, sql="SELECT pg_backend_pid()")
        client.terminate()
        assert rows(done(other.read_until("Z"))) != [(str(before),)]
        wait_until(lambda: before not in proxy.pids(), "it to end")


# -- reload and end ------------------------------------------------------------------------------


def test_a_reload_makes_the_pool_larger_and_smaller(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as a, proxy.wire() as b:
        hold(a)
        waiting(b)
        proxy.configure(pool={"mode": "transaction", "size": 2})
        done(b.read_until("Z"))
        hold(b)
        assert len(proxy.pids()) == 2
        proxy.configure(pool={"mode": "transaction", "size": 1})
        for client in (a, b):
            done(client.query("COMMIT"))
        proxy.wait_pids(1)


def test_a_reload_with_other_connection_strings_ends_the_old_connections(make_pool):
    proxy = make_pool(size=2)
    with proxy.wire() as busy, proxy.wire() as idle:
        done(idle.query("SELECT 1"))
        hold(busy)
        old = pid_of(busy)
        proxy.name += "-anew"
        proxy.strings["application_name"] = proxy.name
        proxy.configure(databases=proxy.databases(proxy.main, proxy.ci))
        with proxy.wire() as fresh:
            assert pid_of(fresh) in proxy.pids()
        assert pid_of(idle) in proxy.pids()
        assert pid_of(busy) == old  # its transaction goes on
        done(busy.query("COMMIT"))
        assert pid_of(busy) in proxy.pids()
        wait_until(lambda: old not in [row[0] for row in proxy.main.sql("SELECT pid FROM pg_stat_activity")],
                   "the old one to end")


def test_who_waits_during_a_reload_with_other_connection_strings_is_served(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as holder, proxy.wire() as waits:
        hold(holder)
        waiting(waits)
        old = proxy.pids()
        proxy.strings["connect_timeout"] = "7"
        proxy.configure(databases=proxy.databases(proxy.main, proxy.ci))
        done(holder.query("COMMIT"))
        done(waits.read_until("Z"))
        wait_until(lambda: not set(old) & set(proxy.pids()), "the old one to end")
        for client in (holder, waits):
            done(client.query("SELECT 1"))


@pytest.mark.parametrize("before,after", [("transaction", "session"), ("session", "transaction"), ("off", "transaction"),
                                          ("transaction", "off")])
def test_a_reload_changes_the_mode_for_who_comes(make_pool, before, after):
    proxy = make_pool(before, size=2)
    with proxy.wire() as old:
        done(old.query("SET work_mem = '7MB'"))
        proxy.configure(pool={"mode": after, "size": 2})
        assert value(old, "SHOW work_mem") == "7MB"
        with proxy.wire() as one_client:
            assert value(one_client, "SHOW work_mem") != "7MB"
            done(one_client.query("CREATE TEMP TABLE t (n int)"))
            assert value(old, "SHOW work_mem") == "7MB"
        assert value(old, "SHOW work_mem") == "7MB"


def ends_well(proxy):
    """By itself: another SIGTERM would cut its end short."""
    wait_until(lambda: proxy.process.poll() is not None, "the proxy to end")
    proxy.stop()


def test_sigterm_lets_who_waits_have_a_turn(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as holder, proxy.wire() as waits, proxy.wire() as idle:
        hold(holder)
        waiting(waits)
        proxy.signal(signal.SIGTERM)
        assert fatal(idle) == "57P01"
        done(holder.query("COMMIT"))
        done(waits.read_until("Z"))
        for client in (holder, waits):
            assert fatal(client) == "57P01"
    ends_well(proxy)
    assert not proxy.pids()


def test_sigterm_ends_who_waits_in_vain(make_pool):
    proxy = make_pool(size=1, settings={"shutdown_timeout": 1})
    with proxy.wire() as holder, proxy.wire() as waits:
        hold(holder)
        waiting(waits)
        proxy.signal(signal.SIGTERM)
        for client in (waits, holder):
            assert fatal(client) == "57P01"
    ends_well(proxy)


@pytest.mark.parametrize("mode", ["off", "session", "transaction"])
@pytest.mark.parametrize("behind", [b"", wire.query("SELECT 1") * 2], ids=["nothing behind", "statements behind"])
@pytest.mark.parametrize("goodbye", [b"", wire.terminate()], ids=["without a word", "Terminate"])
def test_sigterm_does_not_wait_for_what_clients_have_left_running(make_pool, mode, behind, goodbye):
    proxy = make_pool(mode)
    with proxy.wire() as client:
        client.send(wire.query("SELECT pg_sleep(60)"), behind)
        wait_until(lambda: proxy.main.backends("%pg_sleep(60)%"), "it to run")
        client.send(goodbye)
    proxy.signal(signal.SIGTERM)
    proxy.process.wait(8)  # its shutdown_timeout is 10 s
    proxy.stop()
    end_backends(proxy, *proxy.pids())


# -- in bulk -------------------------------------------------------------------------------------


def test_copy_in_both_directions(make_pool, unique):
    proxy = make_pool(size=1)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.wire()) for _ in range(3)]
        lines = b"".join(f"{unique}-{n}\n".encode() for n in range(5000))
        before, _ = clients[0].copy_in("BEGIN", end=wire.query("SELECT 1"))
        done(before)
        before, after = clients[0].copy_in("COPY users (username) FROM STDIN", lines[:30000], lines[30000:])
        assert wire.tags(done(after)) == ["COPY 5000"]
        waiting(clients[1])
        done(clients[0].query("COMMIT"))
        done(clients[1].read_until("Z"))
        got = done(clients[2].query(f"COPY (SELECT username FROM users WHERE username LIKE '{unique}%' ORDER BY id) TO STDOUT"))
        assert wire.copied(got) == lines
        proxy.main.sql("DELETE FROM users WHERE username LIKE %s", params=(unique + "%",))


def test_a_copy_that_the_client_leaves_is_undone(make_pool, unique):
    proxy = make_pool(size=1)
    with proxy.wire() as goes, proxy.wire() as stays:
        goes.exchange(wire.query("COPY users (username) FROM STDIN"), until="G")
        goes.send(wire.copy_data(f"{unique}\n"))
        waiting(stays)
        goes.close()
        done(stays.read_until("Z"))
        assert value(stays, f"SELECT count(*) FROM users WHERE username = '{unique}'") == "0"


def test_a_client_that_does_not_read_holds_only_its_own_connection(make_pool):
    proxy = make_pool(size=2)
    with proxy.wire() as slow, proxy.wire() as quick:
        slow.send(wire.query("SELECT repeat('x', 1000) FROM generate_series(1, 50000)"))
        for _ in range(20):
            done(quick.query("SELECT 1"))
        assert len(wire.rows(done(slow.read_until("Z")))) == 50000


def test_pipelines_of_many_clients_keep_their_answers_apart(make_pool):
    proxy = make_pool(size=2)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.wire()) for _ in range(8)]
        for number, client in enumerate(clients):
            for turn in range(20):
                client.send(wire.parse("", "SELECT $1::int * 100 + $2::int"), wire.bind("", "", (str(number), str(turn))),
                            wire.execute(), wire.sync() if turn % 3 else wire.flush() + wire.sync())
        for number, client in enumerate(clients):
            for turn in range(20):
                assert rows(done(client.read_until("Z"))) == [(str(number * 100 + turn),)]


def encrypt(cluster):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "30", "-subj", "/CN=localhost", "-keyout", cluster.data / "server.key",
                    "-out", cluster.data / "server.crt"], check=True, capture_output=True)
    if AS_POSTGRES:
        shutil.chown(cluster.data / "server.key", "postgres", "postgres")
    cluster.set_hba(["hostssl all all 127.0.0.1/32 trust"])
    cluster.sql("ALTER SYSTEM SET ssl = on", "postgres")
    cluster.sql("SELECT pg_reload_conf()", "postgres")
    wait_until(lambda: cluster.value("SHOW ssl") == "on", "TLS")


def test_connections_to_the_databases_may_be_encrypted(make_pool, own_clusters):
    main, ci = own_clusters
    for cluster in (main, ci):
        encrypt(cluster)
    proxy = make_pool(size=1, main=main, ci=ci, strings={"sslmode": "require"})
    with proxy.wire() as a, proxy.wire() as b:
        for client in (a, b, a, b):
            assert value(client, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == "t"
        a.send(wire.query("SELECT pg_sleep(60)"))
        wait_until(lambda: main.backends("%pg_sleep(60)%"), "it to run")
        a.cancel()
        assert code(a.read_until("Z")) == "57014"
        done(b.query("SELECT 1"))


def test_a_pool_under_load_of_every_kind_stays_whole(make_pool):
    """Clients of both databases that come, go, fail, set things and hang up, on two workers."""
    proxy = make_pool(size=3, settings={"workers": 2})
    stop, failures, turns = threading.Event(), [], []

    def work(seed):
        rng = random.Random(seed)
        try:
            while not stop.is_set():
                with proxy.connect(rng.choice(["app", "app_main"])) as db:
                    for _ in range(rng.randrange(1, 8)):
                        kind = rng.randrange(6)
                        if kind == 0:
                            db.execute(f"SET work_mem = '{seed + 1}MB'")
                            assert db.execute("SHOW work_mem").fetchone()[0] == f"{seed + 1}MB"
                        elif kind == 1:
                            with contextlib.suppress(psycopg.errors.DivisionByZero), db.transaction():
                                db.execute("SELECT 1/0")
                        elif kind == 2:
                            assert db.execute("SELECT %s::int", (seed,), prepare=True).fetchone()[0] == seed
                        elif kind == 3:
                            with db.transaction():
                                db.execute("CREATE TEMP TABLE mine (n int) ON COMMIT DROP")
                                db.execute("INSERT INTO mine VALUES (%s)", (seed,))
                                assert db.execute("SELECT n FROM mine").fetchall() == [(seed,)]
                        elif kind == 4:
                            db.execute("SELECT count(*) FROM users")
                        else:
                            db.cursor().stream("SELECT generate_series(1, 100)").close()
                turns.append(seed)
        except Exception as problem:  # pylint: disable=broad-except
            failures.append(problem)
    threads = [threading.Thread(target=work, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(turns) >= 800 or failures, "the load", 60)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert not failures, failures[:3]
    assert len(proxy.pids()) <= 3
