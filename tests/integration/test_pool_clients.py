"""Programs that people use, more of them than there are connections: what they print and what they leave in the databases
is what they would with connections of their own."""

import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import threading

import psycopg
import pytest

from harness import BINDIR, DATA, one, wait_until
from pooling import own_mode

pytestmark = own_mode

HERE = pathlib.Path(__file__).parent
MODULES = os.environ.get("NODE_PG_MODULES")  # as in test_node_pg.py
RUBY = "/usr/bin/ruby" if pathlib.Path("/usr/bin/ruby").exists() else shutil.which("ruby")


def run(program, environment, *arguments, **more):
    done = subprocess.run([program, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=100, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def direct_environment(cluster):
    return {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(cluster.port), "PGUSER": "app", "PGDATABASE": cluster.dbname,
            "LC_ALL": "C.UTF-8"}


def at_once(*tasks):
    with concurrent.futures.ThreadPoolExecutor(len(tasks)) as threads:
        return [each.result() for each in [threads.submit(*task) for task in tasks]]


# --- psql ---

TOUR = [f"\\{command}{more}" for command in
        "d dA dAc dAf dAo dAp da db dc dC dd dD ddp dE des det deu dew df dF dFd dFp dFt di dl dL dm dn do dO dP dRp dRs ds"
        " dt dT du dv dX dx dy l z dconfig".split() for more in ("", "S", "+", "S+")
        if not (command in ("dA", "l", "z", "dconfig", "dl", "des", "det", "deu", "dew", "db", "dx", "dy", "du", "dF", "dFd", "dFp",
                            "dFt", "dP", "dRp", "dRs", "dX", "ddp", "dAc", "dAf", "dAo", "dAp") and "S" in more)]


def toured(environment, tables):
    """What psql prints of everything, and of each table."""
    commands = [*TOUR, *(f"\\d{more} {table}" for table in tables for more in ("", "+")), "\\d *.schema_migrations", "\\dt public.*",
                "\\df *.lower", "\\dT int*", "\\dn pub*", "\\sf lower(text)", "\\dp projects", "\\drds"]
    done = run(BINDIR / "psql", environment, "-X", "-v", "ON_ERROR_STOP=0", input="\n".join(commands))
    return done.stdout, done.stderr


@pytest.mark.parametrize("entrypoint, cluster, tables", [
    ("app_main", "main_cluster", ["projects", "issues", "users"]),
    ("app", "main_cluster", ["projects", "issues", "users"]),
    ("app_ci", "ci_cluster", ["ci_builds", "ci_pipelines", "p_ci_builds"])])
def test_psqls_tour_prints_what_it_prints_directly(make_pool, request, entrypoint, cluster, tables):
    proxy = make_pool(size=1)
    expected = toured(direct_environment(request.getfixturevalue(cluster)), tables)
    assert len(expected[0]) > 50000 and "foreign key" in expected[0].lower()
    environment = proxy.environment(entrypoint)
    for printed in at_once(*[(toured, environment, tables)] * 3):
        assert printed == expected


# --- pgbench ---

@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_pgbench_with_four_clients_for_each_connection_keeps_the_books(make_pool, request, tmp_path, mode, protocol):
    tables = tmp_path / "tables.yml"
    tables.write_text((DATA / "gitlab_schemas.yml").read_text() + "".join(
        f"pgbench_{name}: :gitlab_main\n" for name in ("accounts", "branches", "tellers", "history")))
    proxy = make_pool(mode, size=5, settings={"classification": {"tables": str(tables)}})
    environment = proxy.environment()
    run(BINDIR / "pgbench", environment, "-i", "-q", "-s", "2")
    request.addfinalizer(lambda: proxy.main.sql(
        "DROP TABLE pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history"))
    ways = [["-j", 20]]  # a thread each
    if protocol != "prepared":  # where a thread waits for one client's PREPARE while its others have the connections
        ways += [["-j", 1], ["-j", 4, "-C"]]
    for more in ways:
        done = run(BINDIR / "pgbench", environment, "-n", "-M", protocol, "-c", 20, "-t", 10, *more)
        assert "number of transactions actually processed: 200/200" in done.stdout, done.stdout + done.stderr
        assert "number of failed transactions: 0 " in done.stdout
    sums = proxy.main.sql("SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(bbalance) FROM pgbench_branches),"
                          " (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT sum(delta) FROM pgbench_history)")[0]
    assert len(set(sums)) == 1
    assert proxy.main.value("SELECT count(*) FROM pgbench_history") == 200 * len(ways)
    assert len(proxy.pids()) <= 5


# --- pg_dump ---

@pytest.mark.parametrize("entrypoint, cluster", [("app_main", "main_cluster"), ("app_ci", "ci_cluster")])
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_pg_dump_writes_the_direct_dump_byte_for_byte(make_pool, request, mode, entrypoint, cluster):
    proxy = make_pool(mode, size=1)
    dump = lambda environment, *more: run(BINDIR / "pg_dump", environment, "--restrict-key=same", *more).stdout
    for more in ([], ["--inserts", "--create", "--clean", "--if-exists"]):
        expected = dump(direct_environment(request.getfixturevalue(cluster)), *more)
        assert len(expected) > 10000
        assert at_once(*[(dump, proxy.environment(entrypoint), *more)] * 2) == [expected] * 2


# --- psycopg 3, preparing as it does by itself ---

def psycopgs(proxy, count, task, dbname="app"):
    """Runs `task` on as many connections at once; none goes before all have come."""
    all_here = threading.Barrier(count)

    def work(number):
        with psycopg.connect(**proxy.parameters(dbname), autocommit=True, connect_timeout=20) as connection:
            assert connection.prepare_threshold == 5
            all_here.wait(20)
            return task(connection, number)
    return at_once(*((work, number) for number in range(count)))


def test_psycopg_prepares_by_itself_on_few_connections(small_pool):
    def task(connection, number):
        found = []
        for n in range(30):
            table = ("projects", "ci_builds")[n % 2]
            found.append(one(connection, f"SELECT id * 100 + %s FROM {table} WHERE id = %s", (number, 1 + n % 20)))
        return found
    assert psycopgs(small_pool, 8, task) == [[(1 + n % 20) * 100 + number for n in range(30)] for number in range(8)]


def test_psycopg_server_side_cursors_on_few_connections(small_pool):
    def task(connection, number):
        with connection.transaction(), connection.cursor("same name", scrollable=True) as cursor:
            cursor.itersize = 3
            cursor.execute("SELECT id FROM ci_builds WHERE id > %s ORDER BY id LIMIT 20", (number,))
            first = [row[0] for row in cursor]
            cursor.scroll(0, mode="absolute")
            return first, cursor.fetchone()[0]
    assert psycopgs(small_pool, 8, task) == [(list(range(n + 1, n + 21)), n + 1) for n in range(8)]


def test_psycopg_pipelines_on_few_connections(small_pool):
    def task(connection, number):
        with connection.pipeline():
            cursors = [connection.execute(f"SELECT %s + count(*) * 0 FROM {table}", (number * 1000 + n,))
                       for n, table in enumerate(["projects", "ci_builds", "ci_builds"] * 8)]
        return [cursor.fetchone()[0] for cursor in cursors]
    assert psycopgs(small_pool, 8, task) == [[number * 1000 + n for n in range(24)] for number in range(8)]


def test_psycopg_copies_on_few_connections(small_pool, unique):
    def task(connection, number):
        mark = f"{unique} {number}"
        with connection.cursor() as cursor:
            with cursor.copy("COPY ci_runners (description, creator_id) FROM STDIN") as copy:
                for n in range(500):
                    copy.write_row((mark, n))
            with cursor.copy("COPY (SELECT creator_id FROM ci_runners WHERE description = %s ORDER BY 1) TO STDOUT",
                             (mark,)) as copy:
                found = [int(row[0]) for row in copy.rows()]
        connection.execute("DELETE FROM ci_runners WHERE description = %s", (mark,))
        return found
    assert psycopgs(small_pool, 8, task) == [list(range(500))] * 8


def test_psycopg_hears_notifications_on_few_connections(make_pool, unique):
    proxy, all_listen = make_pool(size=4), threading.Barrier(3)

    def task(connection, number):
        heard = set()
        connection.add_notify_handler(lambda notification: heard.add(notification.payload))
        connection.execute("LISTEN here")
        all_listen.wait(20)
        connection.execute("SELECT pg_notify('here', %s)", (f"{unique} {number}",))
        wait_until(lambda: connection.execute("SELECT 1") and len(heard) == 3, "three notifications")
        return heard
    assert psycopgs(proxy, 3, task) == [{f"{unique} {number}" for number in range(3)}] * 3


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_psycopg_two_phase_commit_on_few_connections(small_pool, unique, end):
    def task(connection, number):
        connection.autocommit = False
        xid = connection.xid(1, unique[-40:] + str(number), "branch")
        connection.tpc_begin(xid)
        connection.execute("INSERT INTO ci_runners (description) VALUES (%s)", (unique,))
        connection.tpc_prepare()
        getattr(connection, f"tpc_{end}")()
        connection.tpc_begin(connection.xid(1, unique[-40:] + str(number) + "too", "branch"))
        connection.execute("INSERT INTO ci_runners (description) VALUES (%s)", (unique,))
        getattr(connection, f"tpc_{end}")()
        return connection.info.transaction_status
    # Pinned: which database has a prepared transaction its name does not tell.
    assert psycopgs(small_pool, 4, task, "app_ci") == [psycopg.pq.TransactionStatus.IDLE] * 4
    assert small_pool.ci.value("SELECT count(*) FROM pg_prepared_xacts") == 0
    count = small_pool.ci.value("SELECT count(*) FROM ci_runners WHERE description = %s", params=(unique,))
    assert count == (8 if end == "commit" else 0)


# --- ActiveRecord and node's pg ---

def verdicts(environment, *command):
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("ok ", "failed "))]
    assert lines, done.stderr
    return [line for line in lines if line.startswith("failed ")], len(lines)


@pytest.mark.parametrize("prepared", ["on", "off"])
def test_activerecord_on_few_connections(small_pool, prepared):
    """Its own pool has five, of which the last checks use all."""
    checks = (HERE / "activerecord_program.rb").read_text().count('\ncheck "')
    found = verdicts(small_pool.environment(), RUBY, "-W0", HERE / "activerecord_program.rb", prepared)
    assert found == ([], checks)


@pytest.mark.skipif(not MODULES or not shutil.which("node"), reason="NODE_PG_MODULES names no folder with npm's pg: use tests/run.sh")
def test_node_pg_with_named_statements_on_few_connections(make_pool):
    """Six clients each, of which one listens and so keeps its connection."""
    proxy = make_pool(size=6)
    program = (proxy.environment(NODE_PATH=str(MODULES)), "node", HERE / "node_pg_program.js")
    checks = (HERE / "node_pg_program.js").read_text().count('\ncheck("')
    assert at_once(*[(verdicts, *program)] * 4) == [([], checks)] * 4
