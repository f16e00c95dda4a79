"""The fixtures: one pair of clusters and one proxy for the whole run, and fresh ones where a test breaks things."""

import itertools
import os
import signal

import pytest

from harness import DEMO, POOL_MODE, Direct, Interlock, Pooled, Postgres

TEST_SECONDS = float(os.environ.get("TEST_SECONDS", 120))
_counter = itertools.count(1)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """No test may hang: SIGALRM ends it wherever it waits."""
    def expired(*_):
        raise AssertionError(f"the test takes more than {TEST_SECONDS} s")
    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, TEST_SECONDS)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def pytest_configure(config):
    config.addinivalue_line("markers", "own_connection: about a connection that is the client's alone, which one that"
                            " clients share by transaction is not")


def pytest_collection_modifyitems(items):
    if POOL_MODE == "transaction":
        for item in items:
            if item.get_closest_marker("own_connection"):
                item.add_marker(pytest.mark.skip(reason="connections are shared by transaction"))


def pytest_addoption(parser):
    parser.addoption("--direct", action="store_true",
                     help="run against one PostgreSQL with all tables instead of the proxy: tries the tests themselves")


def make_main():
    return Postgres("main").start().create_database("app", DEMO / "main.sql", DEMO / "shared.sql")


def make_ci():
    return Postgres("ci").start().create_database("app_ci", DEMO / "ci.sql", DEMO / "shared.sql")


# What tests read of the rows that they share: whoever changes it puts it back.
SHARED_ROWS = {
    "main": "SELECT md5(string_agg(row(id, name, path, star_count)::text, ' ' ORDER BY id)) FROM projects WHERE id <= 20",
    "ci": "SELECT md5(string_agg(row(id, name, status, project_id)::text, ' ' ORDER BY id)) FROM ci_builds WHERE id <= 120",
}
_shared_clusters = {}  # with what the query told at first


def share(cluster):
    _shared_clusters[cluster] = cluster.value(SHARED_ROWS[cluster.name])
    yield cluster
    del _shared_clusters[cluster]
    cluster.close()


@pytest.fixture(scope="session")
def main_cluster():
    yield from share(make_main())


@pytest.fixture(scope="session")
def ci_cluster():
    yield from share(make_ci())


@pytest.fixture(scope="module", autouse=True)
def shared_rows_stay():
    yield
    for cluster, before in _shared_clusters.items():
        assert cluster.value(SHARED_ROWS[cluster.name]) == before, f"a test of this file changed rows of {cluster.name} that others read"


@pytest.fixture(scope="session", autouse=True)
def forget_template():
    yield
    Postgres.forget_template()


@pytest.fixture(scope="session")
def shared_proxy(request):
    """One proxy for all tests that leave it and the clusters as they were."""
    if request.config.getoption("--direct"):
        cluster = Postgres("direct").start()
        cluster.create_database("app", DEMO / "main.sql", DEMO / "ci.sql", DEMO / "shared.sql")
        yield Direct(cluster)
        cluster.close()
        return
    proxy = Interlock(request.getfixturevalue("main_cluster"), request.getfixturevalue("ci_cluster"))
    proxy.start()
    yield proxy
    proxy.close()


@pytest.fixture
def proxy(shared_proxy):
    if not isinstance(shared_proxy, Direct):
        assert shared_proxy.process.poll() is None, f"the proxy has died: {shared_proxy.log()[-3000:]}"
    return shared_proxy


@pytest.fixture(scope="session")
def small_pool(request):
    """A proxy whose clients share two connections to each database by transaction: they change hands all the time."""
    if request.config.getoption("--direct"):
        yield request.getfixturevalue("shared_proxy")
        return
    proxy = Interlock(request.getfixturevalue("main_cluster"), request.getfixturevalue("ci_cluster"), workers=1,
                      pool={"mode": "transaction", "size": 2, "query_wait_timeout": 60})
    proxy.start()
    yield proxy
    proxy.close()


@pytest.fixture
def make_proxy(main_cluster, ci_cluster):
    """Starts a proxy of the test's own: make_proxy(rules={...})."""
    made = []

    def make(main=None, ci=None, start=True, **overrides):
        proxy = Interlock(main or main_cluster, ci or ci_cluster, **overrides)
        made.append(proxy)
        return proxy.start() if start else proxy
    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture
def make_pool(main_cluster, ci_cluster):
    """Starts a proxy of the test's own, whose clients share connections: make_pool("transaction", size=1)."""
    made = []

    def make(mode="transaction", main=None, ci=None, strings=None, settings=None, **pool):
        proxy = Pooled(main or main_cluster, ci or ci_cluster, {"mode": mode, **pool}, strings or {}, settings or {})
        made.append(proxy)
        return proxy.start()
    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture
def db(proxy):
    """A session on the routed entrypoint."""
    with proxy.connect() as connection:
        yield connection


@pytest.fixture
def db_main(proxy):
    with proxy.connect("app_main") as connection:
        yield connection


@pytest.fixture
def db_ci(proxy):
    with proxy.connect("app_ci") as connection:
        yield connection


@pytest.fixture
def own_clusters():
    """Two clusters that the test may kill."""
    main, ci = make_main(), make_ci()
    yield main, ci
    main.close()
    ci.close()


@pytest.fixture
def unique(request):
    """A name that no other test uses, for the rows that this one writes."""
    return f"{request.node.name}-{next(_counter)}"


@pytest.fixture(scope="module")
def single_cluster():
    """One database with the tables of both."""
    cluster = Postgres("single").start().create_database("app", DEMO / "main.sql", DEMO / "ci.sql", DEMO / "shared.sql")
    yield cluster
    cluster.close()
