"""What the console tells is true: clients, why they keep connections, pools, servers, counts."""

import contextlib
import os
import re
import socket
import threading
import time

import psycopg
import psycopg.rows
import pytest

import wire
from console import ADMIN, client, clients, pool, show, stats, wait_client
from harness import one, wait_until
from pooling import hold, learn_reading, own_mode, wait_known, waiting
from test_auth import certificates  # noqa: F401  pylint: disable=unused-import

pytestmark = own_mode


@pytest.fixture
def make_shared(make_pool):
    """A proxy whose clients share connections, with a console."""
    def make(mode="transaction", settings=None, **limits):
        return make_pool(mode, settings={**ADMIN, **(settings or {})}, **limits)
    return make


def kept(proxy, name):
    return client(proxy, name)["kept_by"]


# -- clients ---------------------------------------------------------------------------------------------------------


def test_a_client_is_told_with_who_and_where_it_is(make_shared):
    proxy = make_shared()
    with proxy.connect("app_ci", application_name="a", user="app") as db:
        row = client(proxy, "a")
        assert (row["type"], row["user"], row["database"], row["addr"]) == ("C", "app", "app_ci", "127.0.0.1")
        with socket.socket(fileno=os.dup(db.fileno())) as own:
            assert row["port"] == own.getsockname()[1]
        assert row["id"] == db.info.backend_pid
        assert (row["tls"], row["worker"], row["wait"], row["wait_us"]) == ("", 0, 0, 0)
    wait_until(lambda: not clients(proxy), "the client to be gone")


def test_tls_is_told_with_its_version_and_cipher(make_shared, certificates):
    proxy = make_shared(settings={"tls": {"mode": "prefer", "cert": str(certificates.server),
                                          "key": str(certificates.server_key)}})
    with proxy.connect(application_name="a", sslmode="require"):
        assert re.fullmatch(r"TLSv1\.3/TLS_[A-Z0-9_]+", client(proxy, "a")["tls"])


def test_a_client_on_a_unix_socket_has_no_port(make_shared):
    proxy = make_shared()
    with proxy.connect(application_name="a", host=str(proxy.folder)):
        row = client(proxy, "a")
        assert (row["addr"], row["port"]) == ("unix", None)


def test_times_are_those_of_the_clock(make_shared):
    proxy = make_shared()
    before = time.time() - 1
    with proxy.connect(application_name="a"):
        row = client(proxy, "a")
        for name in ("connect_time", "request_time"):
            told = time.mktime(time.strptime(row[name], "%Y-%m-%d %H:%M:%S UTC")) - time.timezone
            assert before - 1 <= told <= time.time() + 1


def test_states_of_a_client(make_shared):
    proxy = make_shared()
    with proxy.connect(application_name="a") as db:
        assert client(proxy, "a")["state"] == "idle"
        db.execute("BEGIN")
        db.execute("SELECT 1")
        assert client(proxy, "a")["state"] == "idle in transaction"
        with pytest.raises(psycopg.Error):
            db.execute("SELECT 1/0")
        assert client(proxy, "a")["state"] == "idle in transaction (aborted)"
        db.execute("ROLLBACK")
        assert client(proxy, "a")["state"] == "idle"
    with proxy.wire(parameters={"application_name": "b"}) as db:
        db.send(wire.query("SELECT pg_sleep(60)"))
        row = wait_client(proxy, "b", state="active")
        assert row["kept_by"] == "main: statement"
        db.cancel()
        db.read_until("Z")
        assert client(proxy, "b")["state"] == "idle"


def test_a_client_that_logs_in_is_there(make_shared):
    proxy = make_shared()
    with wire.Connection("127.0.0.1", proxy.port):
        row = wait_until(lambda: clients(proxy), "the client")[0]
        assert (row["state"], row["user"], row["id"]) == ("login", None, None)


def test_the_console_itself_is_a_client(make_shared):
    rows = show(make_shared(), "CLIENTS")
    assert [(row["database"], row["user"], row["state"]) for row in rows] == [("pginterlock", "ops", "active")]


def test_the_name_of_the_application_follows_its_setting(make_shared):
    proxy = make_shared()
    with proxy.connect(application_name="a") as db:
        db.execute("SET application_name = 'b'")
        assert client(proxy, "b")["kept_by"] == ""


def test_names_of_strangers_that_are_no_utf8_can_be_read(make_pool, tmp_path):
    users = tmp_path / "userlist.txt"
    users.write_text('"ops" "secret"\n')
    users.chmod(0o600)
    proxy = make_pool(settings={**ADMIN, "auth": {"method": "password", "users": str(users)}})
    with wire.Connection("127.0.0.1", proxy.port) as stranger, \
            psycopg.connect(**proxy.parameters("pginterlock", user="ops", password="secret"), autocommit=True,
                            row_factory=psycopg.rows.dict_row) as console:
        stranger.send(wire.startup({"user": b"x\xff", "database": b"\xc3\xa4\xc3",
                                    "application_name": b"\xc3\xa4" * 1000}))
        assert stranger.read().type == "R"
        row = next(row for row in console.execute("SHOW CLIENTS") if row["state"] == "login")
        assert (row["user"], row["database"], row["application_name"]) == ("x_", "ä_", "ä" * 512)


# -- why a connection is kept ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("take, release, reason", [
    ("CREATE TEMP TABLE t (i int)", "DROP TABLE t", "temporary table"),
    ("CREATE TEMP TABLE t (i int)", "DISCARD TEMP", "temporary table"),
    ("LISTEN a", "UNLISTEN a", "LISTEN"),
    ("SELECT pg_advisory_lock(1)", "SELECT pg_advisory_unlock(1)", "advisory lock"),
    ("PREPARE p AS SELECT 1", "DEALLOCATE p", "PREPARE"),
    ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "CLOSE c", "cursor WITH HOLD"),
    ("BEGIN; SELECT 1", "COMMIT", "transaction"),
    ("BEGIN; SELECT 1", "ROLLBACK", "transaction"),
])
def test_why_a_connection_is_kept_and_for_how_long(make_shared, take, release, reason):
    proxy = make_shared(size=2)
    with proxy.connect(application_name="a") as db:
        assert kept(proxy, "a") == ""
        assert client(proxy, "a")["servers"] == ""
        db.execute(take)
        pid = one(db, "SELECT pg_backend_pid()")
        row = client(proxy, "a")
        assert (row["servers"], row["kept_by"]) == (f"main:{pid}", f"main: {reason}")
        server = next(row for row in show(proxy, "SERVERS") if row["remote_pid"] == pid)
        assert (server["state"], server["client"], server["kept_by"]) == ("active", row["id"], reason)
        db.execute(release)
        wait_client(proxy, "a", servers="", kept_by="")  # as soon as the server has told that nothing is left
        server = next(row for row in show(proxy, "SERVERS") if row["remote_pid"] == pid)
        assert (server["state"], server["client"], server["kept_by"]) == ("idle", None, "")


def test_several_reasons_stand_side_by_side(make_shared):
    proxy = make_shared(size=2)
    with proxy.connect(application_name="a") as db:
        db.execute("LISTEN a")
        db.execute("CREATE TEMP TABLE t (i int)")
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM ci_builds")
        row = client(proxy, "a")
        assert row["kept_by"] == "main: LISTEN, temporary table, transaction; ci: transaction"
        assert [part.split(":")[0] for part in row["servers"].split(", ")] == ["main", "ci"]
        db.execute("COMMIT")
        db.execute("UNLISTEN *")
        wait_client(proxy, "a", kept_by="main: temporary table")
        db.execute("DROP TABLE t")
        wait_client(proxy, "a", kept_by="")


def test_a_copy_keeps_its_connection(make_shared):
    proxy = make_shared(size=2)
    with proxy.wire(parameters={"application_name": "a"}) as db:
        wait_known(db, proxy.main, "SELECT 1 FROM projects LIMIT 1")
        db.send(wire.query("COPY projects FROM STDIN"))
        db.read_until("G")
        assert "COPY" in kept(proxy, "a")
        db.send(wire.copy_fail("enough"))
        db.read_until("Z")
        assert kept(proxy, "a") == ""


def test_a_parsed_statement_that_sql_executes_keeps_its_connection(make_shared):
    proxy = make_shared(size=2)
    with proxy.wire(parameters={"application_name": "a"}) as db:
        db.send(wire.parse("s", "SELECT 1"), wire.sync())
        db.read_until("Z")
        assert client(proxy, "a")["prepared_statements"] == 1
        assert kept(proxy, "a") == ""
        db.query("EXECUTE s")
        wait_client(proxy, "a", kept_by="main: EXECUTE of a prepared statement")
        db.query("DISCARD ALL")
        db.query("SELECT 1")  # brings its application_name back
        wait_client(proxy, "a", kept_by="", prepared_statements=0)


def test_an_open_pipeline_keeps_its_connection(make_shared):
    proxy = make_shared(size=2)
    with proxy.wire(parameters={"application_name": "a"}) as db:
        db.send(wire.parse("", "SELECT 1"), wire.bind(), wire.execute(), wire.flush())
        db.read_until("C")
        assert kept(proxy, "a") == "main: pipeline"
        db.send(wire.sync())
        db.read_until("Z")
        assert kept(proxy, "a") == ""


def test_what_load_changed_is_the_clients_to_the_end(make_pool):
    proxy = make_pool(settings=ADMIN, strings={"user": "postgres"})
    with proxy.connect(application_name="a") as db:
        db.execute("LOAD 'auto_explain'")
        db.execute("DISCARD ALL")
        pid = one(db, "SELECT pg_backend_pid()")
        assert kept(proxy, "a") == "main: LOAD"
        assert pid in proxy.main.backends()
    # Not its only one: where the first took long to ask the catalogs, behind the login, the client has another.
    wait_until(lambda: pid not in proxy.main.backends(), "the connection to be closed")


@pytest.mark.parametrize("mode", ["session", "off"])
def test_by_session_the_session_keeps_what_it_has_used(make_pool, mode):
    proxy = make_pool(mode, settings=ADMIN)
    with proxy.connect(application_name="a") as db:
        db.execute("SELECT count(*) FROM ci_builds")
        assert wait_until(lambda: [c for c in clients(proxy) if "ci" in c["kept_by"]], "the client")[0]["kept_by"] == \
            "main: session; ci: session"


# -- waiting, and pools ----------------------------------------------------------------------------------------------


def test_who_waits_is_seen_waiting_and_no_longer_when_served(make_shared):
    proxy = make_shared(size=1)
    with proxy.wire() as holder, proxy.wire(parameters={"application_name": "w"}) as waiter:
        hold(holder)
        waiting(waiter)
        row = wait_until(lambda: [c for c in clients(proxy, application_name="w", state="waiting")
                                  if c["wait_us"] >= 100000 or c["wait"] > 0], "the waiter")[0]
        assert row["servers"] == ""
        figures = pool(proxy)
        assert (figures["cl_active"], figures["cl_waiting"], figures["sv_active"], figures["sv_idle"]) == (1, 1, 1, 0)
        assert figures["maxwait"] * 1000000 + figures["maxwait_us"] >= row["wait"] * 1000000 + row["wait_us"]
        holder.query("COMMIT")
        waiter.read_until("Z")
        row = client(proxy, "w")
        assert (row["state"], row["wait"], row["wait_us"]) == ("idle", 0, 0)
        figures = pool(proxy)
        assert (figures["cl_active"], figures["cl_waiting"], figures["sv_active"], figures["sv_idle"]) == (2, 0, 0, 1)
        assert (figures["maxwait"], figures["maxwait_us"]) == (0, 0)
        counted = stats(proxy)
        assert counted["total_wait_count"] >= 2 and counted["total_wait_time"] >= 100000
    wait_until(lambda: pool(proxy)["cl_active"] == 0, "the clients to be gone")


def test_pools_are_told_for_each_database_and_user(make_pool):
    proxy = make_pool(settings=ADMIN, strings={"user": None}, size=3)
    with proxy.connect(user="app") as a, proxy.connect(user="postgres", autocommit=False) as b:
        a.execute("SELECT count(*) FROM ci_builds")
        b.execute("SELECT 1")
        wanted = {("main", "app"): (1, 0, 1, "transaction"), ("ci", "app"): (1, 0, 1, "transaction"),
                  ("main", "postgres"): (1, 1, 0, "transaction")}
        found = {}

        def told():  # soon: a connection may still be asked of tables' code
            found.update({(row["database"], row["user"]): (row["cl_active"], row["sv_active"], row["sv_idle"], row["pool_mode"])
                          for row in show(proxy, "POOLS")})
            return found == wanted
        wait_until(told, f"the pools to be {wanted}")


def test_the_user_of_a_pool_is_the_connection_strings_where_it_names_one(make_shared):
    proxy = make_shared()
    with proxy.connect(user="somebody"):
        assert pool(proxy)["user"] == "app"
        assert {row["user"] for row in show(proxy, "SERVERS")} == {"app"}


def test_servers_are_those_that_the_database_knows(make_shared):
    proxy = make_shared(size=3)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            hold(stack.enter_context(proxy.wire()))
        servers = [row for row in show(proxy, "SERVERS") if row["database"] == "main"]
        assert sorted(row["remote_pid"] for row in servers) == sorted(proxy.pids())
        assert {(row["state"], row["addr"], row["port"]) for row in servers} == \
            {("active", "127.0.0.1", proxy.main.port)}
        assert {row["client"] for row in servers} == {row["id"] for row in clients(proxy)}
        assert {row["name"]: row["current_connections"] for row in show(proxy, "DATABASES")} == {"main": 3, "ci": 0}


# -- counts ----------------------------------------------------------------------------------------------------------


def test_transactions_and_queries_are_counted_where_they_ran(make_shared):
    proxy = make_shared(size=2)
    with proxy.wire() as client_before:
        wait_known(client_before, proxy.main, "SELECT 1 FROM projects LIMIT 1")
        wait_known(client_before, proxy.ci, "SELECT 1 FROM ci_builds LIMIT 1")
        learn_reading(client_before)  # behind its first COMMIT over both databases a client keeps its connections for that
    with proxy.connect() as db:
        db.execute("SELECT 1")
        before, ci = stats(proxy), stats(proxy, "ci")
        for _ in range(5):
            db.execute("SELECT count(*) FROM projects")
        with db.transaction():
            db.execute("SELECT count(*) FROM projects")
            db.execute("SELECT count(*) FROM ci_builds")
            db.execute("SELECT count(*) FROM ci_builds")
        db.execute("SELECT %s::int", (1,), prepare=True)
        after, ci_after = stats(proxy), stats(proxy, "ci")
    difference = {key: after[key] - before[key] for key in before if key != "database"}
    assert difference["total_xact_count"] == 7
    assert difference["total_server_assignment_count"] == 7
    assert 7 <= difference["total_query_count"] <= 8  # with COMMIT or without
    assert ci_after["total_xact_count"] - ci["total_xact_count"] == 1
    assert 2 <= ci_after["total_query_count"] - ci["total_query_count"] <= 3


def test_bytes_are_counted_while_connections_last_and_afterwards(make_shared):
    proxy = make_shared(size=1)
    with proxy.connect() as db:
        before = stats(proxy)
        db.execute("SELECT repeat('x', 100000), '%s'" % ("y" * 50000))
        after = stats(proxy)
    assert 150000 <= after["total_sent"] - before["total_sent"] <= 160000
    assert 50000 <= after["total_received"] - before["total_received"] <= 60000
    proxy.main.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
                   params=(proxy.name,))
    wait_until(lambda: not [row for row in show(proxy, "SERVERS") if row["database"] == "main"], "the end of it")
    assert stats(proxy)["total_sent"] >= after["total_sent"]


def test_violations_are_counted_by_rule_and_what_became_of_them(make_shared):
    proxy = make_shared(settings={"rules": {"wrong_database": "report"}})
    with proxy.connect() as db, proxy.connect("app_main") as pinned:
        for _ in range(3):
            with pytest.raises(psycopg.Error):
                db.execute("SELECT FROM projects, ci_builds")
        with contextlib.suppress(psycopg.Error):
            pinned.execute("SELECT FROM ci_builds")
    assert {(row["rule"], row["action"]): row["count"] for row in show(proxy, "VIOLATIONS")} == \
        {("cross_join", "rejected"): 3, ("wrong_database", "report"): 1}


# -- what is configured ----------------------------------------------------------------------------------------------


def test_databases_tell_where_they_are_and_who_leads_there(make_pool):
    proxy = make_pool(settings=ADMIN, size=7, min_size=1, max_db_connections=9)
    proxy.configure(databases={**proxy.databases(proxy.main, proxy.ci), "sec": {"same_as": "main"}},
                    entrypoints={"app": "routed", "only": "sec"})
    found = {row["name"]: row for row in show(proxy, "DATABASES")}
    assert set(found) == {"main", "ci", "sec"}
    main, sec = found["main"], found["sec"]
    assert (main["host"], main["port"], main["database"], main["force_user"]) == \
        ("127.0.0.1", str(proxy.main.port), "app", "app")
    assert (main["pool_size"], main["min_pool_size"], main["max_connections"]) == (7, 1, 9)
    assert (main["same_as"], main["entrypoints"]) == (None, "app")
    assert (sec["same_as"], sec["entrypoints"]) == ("main", "app, only")


def test_no_secret_is_shown(make_pool, tmp_path):
    users = tmp_path / "userlist.txt"
    users.write_text('"ops" "hush-userlist"\n"app" "hush-userlist"\n')
    users.chmod(0o600)
    proxy = make_pool(settings={**ADMIN, "auth": {"method": "password", "users": str(users)}},
                      strings={"password": "hush-conninfo"})
    with psycopg.connect(**proxy.parameters("pginterlock", user="ops", password="hush-userlist"),
                         autocommit=True) as console, proxy.connect(password="hush-userlist") as db:
        db.execute("SELECT 'hush-literal'")
        for what in ("CLIENTS", "SERVERS", "POOLS", "STATS", "DATABASES", "CONFIG", "VIOLATIONS"):
            assert "hush" not in repr(console.execute(f"SHOW {what}").fetchall())


# -- workers ---------------------------------------------------------------------------------------------------------


def test_figures_of_all_workers_are_put_together(make_shared):
    proxy = make_shared(size=8, settings={"workers": 2})
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(proxy.wire()) for _ in range(8)]
        for db in found:
            hold(db)
        assert sorted(row["worker"] for row in clients(proxy)) == [0] * 4 + [1] * 4
        assert {row["worker"] for row in show(proxy, "SERVERS") if row["state"] == "active"} == {0, 1}
        figures = pool(proxy)
        assert (figures["cl_active"], figures["sv_active"]) == (8, 8)
        assert {row["client"] for row in show(proxy, "SERVERS") if row["state"] == "active"} == \
            {db.pid for db in found}
        before = stats(proxy)["total_xact_count"]
        for db in found:
            db.query("COMMIT")
        assert stats(proxy)["total_xact_count"] == before + 8


def test_figures_are_told_while_clients_come_and_go(make_shared):
    proxy = make_shared(size=3, settings={"workers": 2})
    stop, failures = threading.Event(), []

    def guarded(work):
        def run():
            try:
                while not stop.is_set():
                    work()
            except Exception as problem:  # pylint: disable=broad-except
                failures.append(problem)
        return threading.Thread(target=run)

    def come_and_go():
        with proxy.connect() as db:
            db.execute("SELECT count(*) FROM ci_builds")
            db.execute("CREATE TEMP TABLE t (i int)")
            with db.transaction():
                db.execute("SELECT 1")

    def look():
        for what in ("CLIENTS", "SERVERS", "POOLS", "STATS", "DATABASES", "VIOLATIONS", "CONFIG"):
            show(proxy, what)

    def hang_up():
        with wire.connect("127.0.0.1", proxy.port, user="ops", database="pginterlock") as console:
            console.send(wire.query("SHOW CLIENTS; RELOAD; SHOW SERVERS"))

    threads = [guarded(come_and_go) for _ in range(6)] + [guarded(look), guarded(look), guarded(hang_up)]
    for thread in threads:
        thread.start()
    threading.Event().wait(3)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]
    wait_until(lambda: not clients(proxy), "all clients to be gone")
    figures = pool(proxy)
    assert (figures["cl_active"], figures["cl_waiting"], figures["sv_active"]) == (0, 0, 0)


def test_many_clients_are_listed_once_each_while_others_come_and_go(make_shared):
    proxy = make_shared(size=3, settings={"workers": 2, "log": {"level": "info"}})
    with contextlib.ExitStack() as stack:
        staying = {stack.enter_context(proxy.wire()).pid for _ in range(600)}
        going = [stack.enter_context(proxy.wire()) for _ in range(250)]
        stop = threading.Event()

        def come_and_go():
            for number, connection in enumerate(going):
                connection.close()
                if number % 3 == 0:
                    going.append(stack.enter_context(proxy.wire()))
                if stop.is_set():
                    return
        thread = threading.Thread(target=come_and_go)
        thread.start()
        try:
            while thread.is_alive():
                told = [row["id"] for row in clients(proxy) if row["id"] is not None]
                assert len(told) == len(set(told))
                assert staying <= set(told)
        finally:
            stop.set()
            thread.join()
