"""Databases that die, at every point: the client always learns the truth and nothing is half applied."""

import contextlib
import os
import random
import signal
import threading

import psycopg
import pytest
from psycopg.pq import TransactionStatus

import wire
from harness import POOL_MODE, Interlock, child_pids, command_line, fails, free_port, one, wait_until

LOST = {"08000", "08001", "08003", "08006", "57P01", "57P02", "57P03", "08007"}


@pytest.fixture
def killable(own_clusters):
    main, ci = own_clusters
    with Interlock(main, ci) as proxy:
        yield proxy


def lost(connection, text, codes=LOST):
    """Runs what must fail because a database is gone; the error's SQLSTATE. The session must survive."""
    with pytest.raises(psycopg.Error) as raised:
        connection.execute(text)
    assert raised.value.sqlstate in codes, f"{raised.value.sqlstate}: {raised.value}"
    assert not connection.closed, raised.value
    return raised.value


def kill_backends(cluster):
    for pid in cluster.backends():
        os.kill(pid, signal.SIGKILL)


# --- a database that is down ---

def test_ci_down_is_an_error_on_the_statement_that_needs_it(make_proxy, proxy):
    port = free_port()
    own = make_proxy(databases={"main": proxy.main.conninfo(), "ci": f"host=127.0.0.1 port={port} dbname=app_ci"})
    with own.connect() as db:
        error = lost(db, "SELECT * FROM ci_builds", {"08001", "08006"})
        assert "127.0.0.1" in str(error)
        assert one(db, "SELECT count(*) FROM projects") > 0


def test_main_down_leaves_ci_usable(make_proxy, proxy):
    own = make_proxy(databases={"main": f"host=127.0.0.1 port={free_port()} dbname=app", "ci": proxy.ci.conninfo()})
    with own.connect() as db:
        assert one(db, "SELECT count(*) FROM ci_builds") > 0
        lost(db, "SELECT * FROM projects", {"08001", "08006"})
        assert one(db, "SELECT count(*) FROM ci_builds") > 0


def test_a_host_name_that_does_not_resolve_is_an_error_on_the_statement(make_proxy, proxy):
    own = make_proxy(databases={"main": proxy.main.conninfo(), "ci": "host=no-such-host.invalid dbname=app_ci"})
    with own.connect() as db:
        assert "no-such-host.invalid" in str(lost(db, "SELECT * FROM ci_builds", {"08001", "08006"}))
        assert one(db, "SELECT 1") == 1


def test_a_database_that_does_not_exist_is_an_error_on_the_statement(make_proxy, proxy):
    own = make_proxy(databases={"main": proxy.main.conninfo(), "ci": proxy.ci.conninfo(dbname="missing")})
    with own.connect() as db:
        lost(db, "SELECT * FROM ci_builds", {"08001", "08006", "3D000"})
        assert one(db, "SELECT count(*) FROM projects") > 0


def test_a_database_that_is_down_fails_the_block(make_proxy, proxy, unique):
    own = make_proxy(databases={"main": proxy.main.conninfo(), "ci": f"host=127.0.0.1 port={free_port()} dbname=app_ci"})
    with own.connect() as db:
        db.execute("BEGIN")
        db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))
        lost(db, "SELECT * FROM ci_builds", {"08001", "08006"})
        with fails("25P02"):
            db.execute("SELECT 1")
        db.execute("ROLLBACK")
        assert one(db, "SELECT count(*) FROM issues WHERE title = %s", (unique,)) == 0


def test_a_database_that_comes_back_is_used_again(killable):
    with killable.connect() as db:
        assert one(db, "SELECT count(*) FROM ci_builds") > 0
        killable.ci.stop()
        lost(db, "SELECT count(*) FROM ci_builds")
        assert one(db, "SELECT count(*) FROM projects") > 0
        killable.ci.start()
        assert one(db, "SELECT count(*) FROM ci_builds") > 0


# --- death in a block that spans both ---

STEPS = [
    ("read main", "SELECT count(*) FROM projects"),
    ("read ci", "SELECT count(*) FROM ci_builds"),
    ("write", "INSERT INTO issues (title) VALUES ('{title}')"),
    ("read ci again", "SELECT count(*) FROM ci_builds"),
    ("read main again", "SELECT count(*) FROM projects"),
]


@pytest.mark.parametrize("victim", ["main", "ci"])
def test_a_backend_that_dies_at_every_point_of_a_block(killable, victim):
    cluster = getattr(killable, victim)
    for point in range(len(STEPS) + 1):
        title = f"{victim}-{point}"
        with killable.connect() as db:
            acknowledged, failed = False, None
            try:
                db.execute("BEGIN")
                for step, (_, text) in enumerate(STEPS):
                    if step == point:
                        cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                                    " AND backend_type = 'client backend'")
                        wait_until(lambda: not cluster.backends(), "the backends to end")
                    db.execute(text.format(title=title))
                if point == len(STEPS):
                    cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                                " AND backend_type = 'client backend'")
                    wait_until(lambda: not cluster.backends(), "the backends to end")
                acknowledged = db.execute("COMMIT").statusmessage == "COMMIT"
            except psycopg.Error as error:
                failed = error
                assert error.sqlstate in LOST | {"25P02"}, f"{point}: {error.sqlstate}: {error}"
                assert not db.closed, f"{point}: {error}"
                db.execute("ROLLBACK")
            count = killable.main.value("SELECT count(*) FROM issues WHERE title = %s", params=(title,))
            unknown = failed is not None and failed.sqlstate == "08007"
            assert count == 1 if acknowledged else unknown or count == 0, f"{point}: {failed}"
            # The session goes on, with a new link.
            assert one(db, "SELECT count(*) FROM ci_builds") > 0
            assert one(db, "SELECT count(*) FROM projects") > 0


@pytest.mark.parametrize("victim", ["main", "ci"])
def test_a_whole_server_that_is_killed_at_every_point_of_a_block(killable, victim):
    cluster = getattr(killable, victim)
    for point in range(len(STEPS) + 1):
        title = f"kill-{victim}-{point}"
        acknowledged, failed = False, None
        with killable.connect() as db:
            try:
                db.execute("BEGIN")
                for step, (_, text) in enumerate(STEPS):
                    if step == point:
                        cluster.kill()
                    db.execute(text.format(title=title))
                if point == len(STEPS):
                    cluster.kill()
                acknowledged = db.execute("COMMIT").statusmessage == "COMMIT"
            except psycopg.Error as error:
                failed = error
                assert error.sqlstate in LOST | {"25P02"}, f"{point}: {error.sqlstate}: {error}"
                assert not db.closed, f"{point}: {error}"
                if db.info.transaction_status != TransactionStatus.IDLE:
                    db.execute("ROLLBACK")
        if cluster.process is None:
            cluster.start()
        count = killable.main.value("SELECT count(*) FROM issues WHERE title = %s", params=(title,))
        unknown = failed is not None and failed.sqlstate == "08007"
        assert count == 1 if acknowledged else unknown or count == 0, f"{point}: {failed}"
    with killable.connect() as db:
        assert one(db, "SELECT count(*) FROM projects") > 0
        assert one(db, "SELECT count(*) FROM ci_builds") > 0


def slow_commit(cluster, table):
    """A trigger that keeps COMMIT waiting for an advisory lock."""
    cluster.sql(f"""
        CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_advisory_xact_lock(99); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION wait_at_commit()""")


@pytest.mark.parametrize("how", ["backend", "server"])
def test_a_commit_whose_answer_is_lost_is_an_unknown_outcome(killable, how):
    slow_commit(killable.ci, "ci_runners")
    with killable.ci.admin("app_ci") as holder, \
            wire.connect("127.0.0.1", killable.port, user="app", database="app") as client:
        holder.execute("SELECT pg_advisory_lock(99)")
        client.query("BEGIN")
        client.query("SELECT count(*) FROM projects")
        client.query("INSERT INTO ci_runners (description) VALUES ('unknown')")
        client.send(wire.query("COMMIT"))
        waiting = wait_until(lambda: killable.ci.sql("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                                                     " AND query LIKE 'COMMIT%%'"), "COMMIT to wait")
        if how == "backend":
            os.kill(waiting[0][0], signal.SIGKILL)
        else:
            killable.ci.kill()
            killable.ci.start()
        messages = client.read_until()
        assert wire.errors(messages)[0]["C"] == "08007"
        assert messages[-1].body == b"I"
        assert wire.types(client.query("SELECT count(*) FROM projects")) == "TDCZ"


@pytest.mark.parametrize("entrypoint, victim", [("app_main", "main"), ("app_ci", "ci")])
def test_a_pinned_session_ends_with_its_connection_as_a_direct_one_does(killable, entrypoint, victim):
    with wire.connect("127.0.0.1", killable.port, user="app", database=entrypoint) as client:
        client.query("SELECT 1")
        getattr(killable, victim).sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        assert wire.errors(client.read_to_end())[0]["C"] == "57P01"


@pytest.mark.own_connection
def test_a_long_row_comes_whole_although_another_database_ends(killable, unique):
    with wire.connect("127.0.0.1", killable.port, user="app", database="app") as client:
        client.query(f"SELECT '{unique}' FROM ci_builds WHERE id = 1")
        (pid,) = killable.ci.backends(f"%{unique}%")
        client.send(wire.query("SELECT repeat('x', 50000000) FROM projects WHERE id = 1"))
        client.read_until("T")
        os.kill(pid, signal.SIGKILL)
        killable.wait_for_log("connection to a database was lost")
        (row,) = wire.rows(client.read_until("Z"))
        assert len(row[0]) == 50_000_000
        assert [error["C"] for error in wire.errors(client.query("SELECT 1 FROM ci_builds"))] == ["08006"]


def test_an_idle_session_survives_its_databases_restart(killable):
    with killable.connect() as db:
        db.execute("SET work_mem = '21MB'")
        assert one(db, "SELECT count(*) FROM ci_builds") > 0
        killable.ci.kill()
        killable.ci.start()

        def answered():
            try:
                return one(db, "SELECT current_setting('work_mem') FROM ci_builds LIMIT 1")
            except psycopg.Error as error:
                assert error.sqlstate in LOST
                assert not db.closed
                return None
        assert wait_until(answered, "ci to be used again") == "21MB"


def test_a_failing_database_in_an_implicit_transaction_applies_nothing(make_proxy, proxy, unique):
    own = make_proxy(databases={"main": proxy.main.conninfo(), "ci": f"host=127.0.0.1 port={free_port()} dbname=app_ci"})
    with own.connect() as db:
        lost(db, f"INSERT INTO issues (title) VALUES ('{unique}'); SELECT 1 FROM ci_builds", {"08001", "08006"})
    assert proxy.main.value("SELECT count(*) FROM issues WHERE title = %s", params=(unique,)) == 0


def test_a_client_that_dies_in_a_block_leaves_nothing(proxy, unique):
    client = wire.connect("127.0.0.1", proxy.port, user="app", database="app")
    client.query("BEGIN")
    client.query("SELECT count(*) FROM ci_builds")
    client.query(f"INSERT INTO issues (title) VALUES ('{unique}')")
    client.close()
    wait_until(lambda: not proxy.main.backends(f"%{unique}%"), "the link to close")
    assert proxy.main.value("SELECT count(*) FROM issues WHERE title = %s", params=(unique,)) == 0


class Worker(threading.Thread):
    """Runs transactions that read both databases and write one, and notes what it was told of each."""

    def __init__(self, proxy, number):
        super().__init__()
        self.proxy, self.random, self.prefix = proxy, random.Random(number), f"worker {number} "
        self.told, self.problem, self.stopping = {}, None, threading.Event()

    def run(self):
        try:
            while not self.stopping.is_set():
                self.session()
        except BaseException as problem:  # told by the test
            self.problem = problem

    def session(self):
        try:
            connection = wire.connect("127.0.0.1", self.proxy.port, user="app", database="app", timeout=60)
        except (wire.ServerError, wire.Closed):
            return  # main is starting up
        with connection:
            while not self.stopping.is_set():
                self.transaction(connection, f"{self.prefix}{len(self.told)}")

    def transaction(self, connection, mark):
        write = self.random.choice([f"INSERT INTO issues (title) VALUES ('{mark}')",
                                    f"INSERT INTO ci_runners (description) VALUES ('{mark}')"])
        reads = ["SELECT count(*) FROM projects", "SELECT count(*) FROM ci_builds"]
        self.random.shuffle(reads)
        texts = ["BEGIN", reads[0], write, reads[1], "COMMIT"]
        if self.random.random() < 0.5:
            messages = [message for text in texts for message in connection.query(text)]
        else:
            messages = connection.exchange(*[part for text in texts for part in
                                             (wire.parse("", text), wire.bind(), wire.execute())], wire.sync())
        codes = [error["C"] for error in wire.errors(messages)]
        assert set(codes) <= LOST | {"25P02"}, codes
        self.told[mark] = "unknown" if "08007" in codes else "committed" if "COMMIT" in wire.tags(messages) else "failed"
        if messages[-1].body != b"I":
            assert connection.query("ROLLBACK")[-1].body == b"I"


def test_no_acknowledged_commit_is_missing_while_backends_are_killed(killable):
    """kill -9 of a backend makes its whole server restart, with all sessions of it."""
    workers = [Worker(killable, number) for number in range(4)]
    for worker in workers:
        worker.start()
    chance = random.Random(1)
    try:
        for _ in range(12):
            cluster = chance.choice([killable.main, killable.ci])
            target = sum(len(worker.told) for worker in workers) + chance.randint(5, 60)
            wait_until(lambda: sum(len(worker.told) for worker in workers) > target
                       or any(worker.problem for worker in workers), "transactions to run")
            victims = [pid for pid in child_pids(cluster.process.pid) if b"app" in command_line(pid)]
            if victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chance.choice(victims), signal.SIGKILL)
    finally:
        for worker in workers:
            worker.stopping.set()
        for worker in workers:
            worker.join(90)
    assert [worker.problem for worker in workers if worker.problem] == []

    def there():
        try:
            return ({row[0] for row in killable.main.sql("SELECT title FROM issues WHERE title LIKE 'worker %'")}
                    | {row[0] for row in killable.ci.sql("SELECT description FROM ci_runners WHERE description LIKE 'worker %'")})
        except psycopg.OperationalError:
            return None  # still in recovery
    present = wait_until(there, "the servers to be back")
    told = {mark: what for worker in workers for mark, what in worker.told.items()}
    assert [mark for mark, what in told.items() if what == "committed" and mark not in present] == []
    assert [mark for mark, what in told.items() if what == "failed" and mark in present] == []
    assert sum(what == "committed" for what in told.values()) > 50


# --- signals ---

def test_sigterm_ends_idle_sessions_and_lets_a_transaction_finish(make_proxy, unique):
    own = make_proxy(shutdown_timeout=30)
    idle, busy = own.connect(), own.connect()
    busy.execute("BEGIN")
    busy.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))
    own.signal(signal.SIGTERM)
    with pytest.raises(psycopg.OperationalError):
        wait_until(lambda: idle.execute("SELECT 1") is None, "the idle session to be ended")
    wait_until(lambda: refuses(own), "the listener to close")
    busy.execute("SELECT count(*) FROM ci_builds")
    assert busy.execute("COMMIT").statusmessage == "COMMIT"
    assert own.process.wait(20) == 0
    assert own.main.value("SELECT count(*) FROM issues WHERE title = %s", params=(unique,)) == 1


def refuses(proxy):
    try:
        wire.Connection("127.0.0.1", proxy.port, timeout=2).close()
        return False
    except OSError:
        return True


def test_sigterm_is_bounded_by_its_setting(make_proxy, unique):
    own = make_proxy(shutdown_timeout=1)
    with wire.connect("127.0.0.1", own.port, user="app", database="app") as client:
        client.query("BEGIN")
        client.query(f"INSERT INTO issues (title) VALUES ('{unique}')")
        own.signal(signal.SIGTERM)
        assert wire.errors(client.read_to_end())[0]["C"] == "57P01"
    assert own.process.wait(10) == 0
    assert own.main.value("SELECT count(*) FROM issues WHERE title = %s", params=(unique,)) == 0


def test_an_idle_client_hears_why_it_is_ended(make_proxy):
    own = make_proxy()
    with wire.connect("127.0.0.1", own.port, user="app", database="app") as client:
        own.signal(signal.SIGTERM)
        error = wire.errors(client.read_to_end())[0]
        assert (error["S"], error["C"]) == ("FATAL", "57P01")
    assert own.process.wait(10) == 0


def test_sighup_takes_new_rules_without_dropping_a_connection(make_proxy):
    own = make_proxy()
    with own.connect() as db:
        with fails("XD005"):
            db.execute("SELECT * FROM no_such_thing")
        own.write_config(rules={"unclassified": "off"})
        own.signal(signal.SIGHUP)

        def reaches_main():
            try:
                db.execute("SELECT * FROM no_such_thing")
            except psycopg.Error as error:
                return error.sqlstate == "42P01"
        wait_until(reaches_main, "the new settings to hold")
        assert one(db, "SELECT count(*) FROM ci_builds") > 0


def test_sighup_with_a_broken_file_keeps_the_old_one_and_says_why(make_proxy):
    own = make_proxy()
    with own.connect() as db:
        own.config.write_text("listen: [\n")
        before = len(own.log())
        own.signal(signal.SIGHUP)
        own.wait_for_log(r"pginterlock\.yml:\d+: ", before)
        assert one(db, "SELECT count(*) FROM ci_builds") > 0
        own.connect().close()


def test_sighup_takes_a_new_classification(make_proxy, tmp_path):
    path = tmp_path / "tables.yml"
    path.write_text("projects: :gitlab_main\nci_builds: :gitlab_ci\n")
    own = make_proxy(classification={"tables": str(path)})
    with own.connect() as db:
        with fails("XD005"):
            db.execute("SELECT count(*) FROM ci_runners")
        path.write_text("projects: :gitlab_main\nci_builds: :gitlab_ci\nci_runners: :gitlab_ci\n")
        own.signal(signal.SIGHUP)

        def classified():
            try:
                return one(db, "SELECT count(*) FROM ci_runners") > 0
            except psycopg.Error as error:
                assert error.sqlstate == "XD005"
        wait_until(classified, "the new classification")


def test_new_listen_addresses_open_and_old_ones_close_on_sighup(make_proxy):
    own = make_proxy()
    old, new = own.port, free_port()
    with own.connect() as db:
        own.port = new
        own.write_config()
        own.signal(signal.SIGHUP)
        wait_until(lambda: not refuses(own), "the new address")
        with own.connect() as other:
            assert one(other, "SELECT 1") == 1
        own.port = old
        wait_until(lambda: refuses(own), "the old address to close")
        assert one(db, "SELECT count(*) FROM ci_builds") > 0


def test_a_second_sigterm_ends_at_once(make_proxy):
    own = make_proxy(shutdown_timeout=60)
    with wire.connect("127.0.0.1", own.port, user="app", database="app") as client:
        client.query("BEGIN")
        client.query("SELECT count(*) FROM projects")
        own.signal(signal.SIGTERM)
        wait_until(lambda: refuses(own), "the listener to close")
        own.signal(signal.SIGTERM)
        client.read_to_end()
    assert own.process.wait(10) == 0


# --- the log ---

def test_the_log_never_has_literals_above_debug(make_proxy):
    own = make_proxy(log={"level": "info"})
    with own.connect() as db:
        with fails("XD001"):
            db.execute("SELECT 'top secret' FROM projects, ci_builds WHERE name = 'hush hush'")
    own.wait_for_log(r"cross_join")
    assert "secret" not in own.log() and "hush" not in own.log()


def test_the_log_can_be_json_lines(make_proxy):
    import json
    own = make_proxy(log={"level": "info", "format": "json"})
    with own.connect() as db, fails("XD001"):
        db.execute("SELECT 1 FROM projects, ci_builds")
    own.wait_for_log(r"cross_join")
    for line in own.log().splitlines():
        assert isinstance(json.loads(line), dict), line


# --- what outlives a lost connection ---

def test_a_prepared_statement_heals_when_its_connection_was_lost(proxy, ci_cluster):
    """Drivers keep the names of their statements for as long as the session lives, and it outlives the connection."""
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        connection.exchange(wire.parse("kept", "SELECT count(*) FROM ci_builds WHERE id > $1"), wire.sync())
        run = (wire.bind("", "kept", ["0"]), wire.execute(), wire.sync())
        expected = wire.rows(connection.exchange(*run))
        ci_cluster.sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                       " WHERE datname = 'app_ci' AND pid <> pg_backend_pid()")
        if POOL_MODE != "transaction":  # there a client has no connection between transactions that it could lose
            assert [error["C"] for error in wire.errors(connection.exchange(*run))] == ["08006"]
        assert wire.rows(connection.exchange(*run)) == expected


def test_a_pinned_session_ends_with_its_connection_as_a_direct_one_does(proxy):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app_ci") as connection:
        connection.send(wire.query("SELECT pg_terminate_backend(pg_backend_pid())"))
        assert wire.errors(connection.read_to_end())[-1]["C"] == "57P01"
