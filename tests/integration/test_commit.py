"""COMMIT of a block over two databases waits for the one that was modified, not for one that was only read."""

import contextlib
import os
import signal

import pytest

import wire
from harness import POOL_MODE, Interlock, wait_until
from pooling import done, extended, learn_reading, own_mode, value, wait_known


@pytest.fixture(scope="module")
def proxy(main_cluster, ci_cluster):
    """Through which no structure changes: what was learned of it stays."""
    with Interlock(main_cluster, ci_cluster, workers=1) as proxy:
        yield proxy


def issues(proxy, title):
    return proxy.main.value("SELECT count(*) FROM issues WHERE title = %s", params=(title,))


def in_transaction(cluster):
    return cluster.value("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'"
                         " AND datname = %s", params=(cluster.dbname,))


@contextlib.contextmanager
def stopped_reader(connection, proxy, unique):
    """A block that has read ci and written main, while ci's server process stands still: it goes on at the end."""
    learn_reading(connection)
    messages = [connection.query(text) for text in ("BEGIN", f"SELECT '{unique}' FROM ci_builds WHERE id = 1",
                                                    f"INSERT INTO issues (title) VALUES ('{unique}')")]
    assert not [error for answer in messages for error in wire.errors(answer)]
    (pid,) = proxy.ci.backends(f"%{unique}%")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGCONT)


def test_commit_does_not_wait_for_a_database_that_was_only_read(proxy, unique):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        with stopped_reader(connection, proxy, unique):
            assert wire.tags(connection.query("COMMIT")) == ["COMMIT"]
            assert issues(proxy, unique) == 1
            connection.send(wire.query("BEGIN"), wire.query("SELECT count(*) FROM ci_builds WHERE id = 1"), wire.query("COMMIT"))
        assert wire.tags(connection.read_until("Z")) == ["BEGIN"]
        assert wire.rows(connection.read_until("Z")) == [[b"1"]]
        assert wire.tags(connection.read_until("Z")) == ["COMMIT"]
    assert in_transaction(proxy.ci) == 0


def test_a_database_that_was_only_read_may_end_during_commit(proxy, unique):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        if POOL_MODE == "transaction":  # before that is known, each table may have code that takes a lock of the session
            wait_known(connection, proxy.ci, "SELECT count(*) FROM ci_builds WHERE id = 1")
        with stopped_reader(connection, proxy, unique) as pid:
            assert wire.tags(connection.query("COMMIT")) == ["COMMIT"]
            os.kill(pid, signal.SIGTERM)
        assert wire.rows(connection.query("SELECT count(*) FROM projects WHERE id < 0")) == [[b"0"]]
        assert wire.rows(connection.query("SELECT count(*) FROM ci_builds WHERE id = 1")) == [[b"1"]]


@own_mode
@pytest.mark.parametrize("mode", ["off", "session", "transaction"])
def test_what_ended_with_it_is_told(make_pool, unique, mode):
    proxy = make_pool(mode, size=1)
    with proxy.wire() as client:
        done(client.query("SELECT pg_advisory_lock(7) FROM ci_builds WHERE id = 1"))
        with stopped_reader(client, proxy, unique) as pid:
            client.send(wire.query("COMMIT"))
            os.kill(pid, signal.SIGTERM)
        assert wire.tags(client.read_until("Z")) == ["COMMIT"]
        locks = "/* database: ci */ SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        assert [error["C"] for error in wire.errors(client.query(locks))] == ["08006"]
        assert value(client, locks) == "0"


def test_sync_does_not_wait_for_it_either(proxy, unique):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as client:
        with stopped_reader(client, proxy, unique):
            assert wire.tags(done(extended(client, "COMMIT"))) == ["COMMIT"]
            assert issues(proxy, unique) == 1
        assert value(client, "SELECT count(*) FROM ci_builds WHERE id = 1", extended) == "1"


def read_what_comes(client, seconds=0.2):
    """The messages up to a pause."""
    messages = []
    with contextlib.suppress(TimeoutError):
        while True:
            messages.append(client.read(seconds))
    return messages


def test_what_it_brings_back_is_not_told_behind_what_is_set_next(proxy, unique):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as client:
        for text in ("BEGIN", "UPDATE ci_builds SET name = name WHERE id = 1", "SET LOCAL TimeZone = 'Asia/Tokyo'",
                     f"SELECT '{unique}' FROM projects WHERE id = 1"):
            done(client.query(text))
        (pid,) = proxy.main.backends(f"%{unique}%")
        os.kill(pid, signal.SIGSTOP)
        try:
            for text in ("COMMIT", "/* database: ci */ SET TimeZone = 'Europe/Berlin'"):
                client.send(wire.parse("", text), wire.bind(), wire.describe(), wire.execute(), wire.sync())
            messages = read_what_comes(client)
        finally:
            os.kill(pid, signal.SIGCONT)
        while wire.types(messages).count("Z") < 2:
            messages += client.read_until("Z")
        messages += client.query("SELECT count(*) FROM projects WHERE id < 0") + client.query("SHOW TimeZone")
        told = [each.body for each in messages if each.type == "S"]
        assert wire.rows(messages)[-1] == [b"Europe/Berlin"]
        assert told[-1] == b"TimeZone\0Europe/Berlin\0"


def test_others_get_the_connection_that_was_modified_meanwhile(make_pool, unique):
    proxy = make_pool(size=1)
    with proxy.wire() as one, proxy.wire() as other:
        with stopped_reader(one, proxy, unique):
            done(one.query("COMMIT"))
            assert wire.rows(done(other.query("SELECT count(*) FROM projects WHERE id < 0"))) == [[b"0"]]
        assert wire.rows(done(other.query("SELECT count(*) FROM ci_builds WHERE id < 0"))) == [[b"0"]]


# Behind a table whose rows make COMMIT wait for the lock that the test holds.
SLOW = """CREATE TABLE _test_gitlab_main_slow (title text);
    CREATE FUNCTION slow_commit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(11); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON _test_gitlab_main_slow DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION slow_commit();
    GRANT ALL ON _test_gitlab_main_slow TO app"""
PERMIT = "/* allow_cross_database_modification_within_transaction */"


@pytest.fixture
def slow(main_cluster):
    main_cluster.sql(SLOW)
    with main_cluster.admin(main_cluster.dbname) as holder:
        holder.execute("SELECT pg_advisory_lock(11)")
        yield holder
    main_cluster.sql("DROP TABLE _test_gitlab_main_slow; DROP FUNCTION slow_commit")


WRITES_BOTH = ("INSERT INTO _test_gitlab_main_slow VALUES ('{0}')", PERMIT + " UPDATE ci_builds SET name = '{0}' WHERE id = 1")
ENDS = {
    "a block": lambda client, texts: ([done(client.query(text)) for text in ("BEGIN", *texts)],
                                      client.send(wire.query("COMMIT"))),
    "a block by the extended protocol": lambda client, texts: (
        [done(extended(client, text)) for text in ("BEGIN", *texts)],
        client.send(wire.parse("", "COMMIT"), wire.bind(), wire.execute(), wire.sync())),
    "several statements": lambda client, texts: client.send(wire.query("; ".join(texts))),
    "a pipeline": lambda client, texts: client.send(
        *[part for text in texts for part in (wire.parse("", text), wire.bind(), wire.execute())], wire.sync()),
}


@own_mode
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("mode", ["off", "session", "transaction"])
def test_a_database_lost_while_another_commits_is_told(make_pool, slow, unique, mode, end):
    proxy = make_pool(mode)
    before = proxy.ci.value("SELECT name FROM ci_builds WHERE id = 1")
    with proxy.wire() as client:
        ENDS[end](client, [text.format(unique) for text in WRITES_BOTH])
        wait_until(lambda: proxy.main.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"),
                   "main's COMMIT to wait")
        (pid,) = proxy.ci.backends(f"%{unique}%")
        os.kill(pid, signal.SIGTERM)
        proxy.wait_for_log("connection to a database was lost")
        slow.execute("SELECT pg_advisory_unlock(11)")
        messages = client.read_until("Z")
        (error,) = wire.errors(messages)
        assert (error["C"], error["D"]) == ("08006", 'Committed on "main"; not committed on "ci".')
        assert 'connection to database "ci" was lost: terminating connection due to administrator command' in error["M"]
        assert "COMMIT" not in wire.tags(messages)
        assert value(client, "SELECT name FROM ci_builds WHERE id = 1") == before
        assert value(client, f"SELECT count(*) FROM _test_gitlab_main_slow WHERE title = '{unique}'") == "1"


@own_mode
@pytest.mark.parametrize("mode", ["off", "session", "transaction"])
def test_where_the_second_commits_outcome_is_unknown_the_first_ones_is_told(make_pool, unique, mode):
    proxy = make_pool(mode)
    with proxy.wire() as client:
        for text in ("BEGIN", f"INSERT INTO issues (title) VALUES ('{unique}')",
                     f"{PERMIT} INSERT INTO ci_runners (description) VALUES ('{unique}')"):
            done(client.query(text))
        (pid,) = proxy.ci.backends(f"%{unique}%")
        os.kill(pid, signal.SIGSTOP)
        try:
            client.send(wire.query("COMMIT"))
            wait_until(lambda: issues(proxy, unique) == 1, "main to commit")
            os.kill(pid, signal.SIGTERM)
        finally:
            os.kill(pid, signal.SIGCONT)
        (error,) = wire.errors(client.read_until("Z"))
        assert (error["C"], error["D"]) == ("08007", 'Committed on "main"; whether on "ci" is not known.')


@own_mode
@pytest.mark.parametrize("begins", [True, False], ids=["a block", "no block"])
@pytest.mark.parametrize("mode", ["off", "session", "transaction"])
def test_a_database_lost_behind_its_last_statement_undoes_several_statements(make_pool, unique, mode, begins):
    """The last statement runs, on the other database, until it has been lost."""
    proxy = make_pool(mode)
    texts = [f"INSERT INTO issues (title) VALUES ('{unique}')",
             f"{PERMIT} INSERT INTO ci_runners (description) SELECT '{unique}' FROM pg_advisory_xact_lock(11)"]
    with proxy.ci.admin(proxy.ci.dbname) as holder, proxy.wire() as client:
        holder.execute("SELECT pg_advisory_lock(11)")
        client.send(wire.query("; ".join(["BEGIN", *texts, "COMMIT"] if begins else texts)))
        wait_until(lambda: proxy.ci.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"), "ci to wait")
        (pid,) = proxy.main.backends(f"%{unique}%")
        os.kill(pid, signal.SIGTERM)
        proxy.wait_for_log("connection to a database was lost")
        holder.execute("SELECT pg_advisory_unlock(11)")
        messages = client.read_until("Z")
        assert [error["C"] for error in wire.errors(messages)] == ["08006"]
        if messages[-1].body != b"I":
            done(client.query("ROLLBACK"))
        assert value(client, f"SELECT count(*) FROM ci_runners WHERE description = '{unique}'") == "0"
        assert value(client, "SELECT count(*) FROM projects WHERE id = 1") == "1"
