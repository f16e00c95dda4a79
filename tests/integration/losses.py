"""What the tests of COMMIT over two databases have in common: tables whose rows keep COMMIT waiting, and who looks."""

import contextlib
import os
import signal

import pytest

import wire
from harness import Pooled, wait_until
from pooling import value

MODES = ["off", "session", "transaction"]
HELD = 4711  # an advisory lock: who holds it keeps COMMIT waiting
INTO = {"main": "INSERT INTO _test_gitlab_main_held (title) VALUES ('{}')", "ci": "INSERT INTO _test_gitlab_ci_held (title) VALUES ('{}')"}
READS = {"main": "SELECT count(*) FROM projects WHERE id = 1", "ci": "SELECT count(*) FROM ci_builds WHERE id = 1"}


@pytest.fixture(scope="module")
def clusters(main_cluster, ci_cluster):
    """With a table on each whose rows keep COMMIT waiting for a lock, and may refuse it."""
    both = {"main": main_cluster, "ci": ci_cluster}
    for name, cluster in both.items():
        table = f"_test_gitlab_{name}_held"
        cluster.sql(f"""
            SET ROLE app; CREATE TABLE {table} (title text);
            CREATE FUNCTION {table}() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_advisory_xact_lock({HELD});
                   IF new.title LIKE '%refused' THEN RAISE 'refused at COMMIT'; END IF;
                   IF new.title LIKE '%warned' THEN RAISE WARNING 'said at COMMIT'; END IF; RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER held AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION {table}()""")
    yield both
    for name, cluster in both.items():
        cluster.sql(f"DROP TABLE _test_gitlab_{name}_held; DROP FUNCTION _test_gitlab_{name}_held()")


@pytest.fixture(scope="module")
def proxies(clusters):
    """One for each way to share connections; a transaction over two databases is let pass."""
    with contextlib.ExitStack() as stack:
        yield {mode: stack.enter_context(Pooled(clusters["main"], clusters["ci"], {"mode": mode}, {},
                                                {"rules": {"cross_transaction": "report"}})) for mode in MODES}


@pytest.fixture(params=MODES)
def proxy(proxies, request):
    return proxies[request.param]


@pytest.fixture
def off(proxies):
    return proxies["off"]


@contextlib.contextmanager
def held(cluster):
    """COMMIT waits there; gives a function that waits until one does, and says which process."""
    def waiting():
        return wait_until(lambda: cluster.sql("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = %s"
                                              " AND NOT granted", params=(HELD,)), "COMMIT to wait")[0][0]
    with cluster.admin(cluster.dbname) as holder:
        holder.execute(f"SELECT pg_advisory_lock({HELD})")
        yield waiting


def rows(clusters, title):
    return tuple(clusters[name].value(f"SELECT count(*) FROM _test_gitlab_{name}_held WHERE title LIKE %s", params=(f"{title}%",))
                 for name in ("main", "ci"))


def parts(*texts):
    return [part for text in texts for part in (wire.parse("", text), wire.bind(), wire.execute())]


@pytest.fixture
def client(proxy, clusters):
    """In the end the session has to be of use, and nothing may be open in a database."""
    with proxy.wire() as client:
        yield client
        client.query("ROLLBACK")
        for read in READS.values():
            client.query(read)  # may be told, once, that its connection was lost
        assert [value(client, read) for read in READS.values()] == ["1", "1"]
    for cluster in clusters.values():
        assert cluster.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND state LIKE 'idle in%%'",
                             params=(proxy.name,)) == 0


def end_and_notice(proxy, pid):
    before = len(proxy.log())
    os.kill(pid, signal.SIGTERM)
    proxy.wait_for_log("connection to a database was lost", before)


def writer(clusters, name):
    """The process whose open transaction has written."""
    ((pid,),) = clusters[name].sql("SELECT pid FROM pg_locks WHERE mode = 'RowExclusiveLock' AND granted"
                                   f" AND relation = '_test_gitlab_{name}_held'::regclass")
    return pid


@contextlib.contextmanager
def ending(proxy, pid):
    """The process gets what it is sent only when it has been told to end; it has when this is over."""
    before = len(proxy.log())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
        os.kill(pid, signal.SIGTERM)
    finally:
        os.kill(pid, signal.SIGCONT)
    proxy.wait_for_log("connection to a database was lost", before)
