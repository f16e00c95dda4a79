"""Names that catalogs resolve, within blocks, scripts and pipelines, and where a database or a question fails."""

import itertools
import threading

import psycopg
import pytest

import wire
from harness import fails, one, rejected, wait_until
from pooling import code, done, nothing_comes, own_mode, value, wait_known

_counter = itertools.count(1)


@pytest.fixture
def ci_index(ci_cluster):
    name = f"a_ci_index_{next(_counter)}"
    ci_cluster.sql(f"SET ROLE app; CREATE INDEX {name} ON ci_builds (name)")
    yield name
    ci_cluster.sql(f"DROP INDEX IF EXISTS {name}")


@pytest.fixture
def ci_sequence(ci_cluster):
    name = f"ci_numbers_{next(_counter)}"
    ci_cluster.sql(f"SET ROLE app; CREATE SEQUENCE {name} OWNED BY ci_builds.id")
    yield name
    ci_cluster.sql(f"DROP SEQUENCE IF EXISTS {name}")


@pytest.fixture
def main_sequence(main_cluster):
    name = f"main_numbers_{next(_counter)}"
    main_cluster.sql(f"SET ROLE app; CREATE SEQUENCE {name} OWNED BY projects.id")
    yield name
    main_cluster.sql(f"DROP SEQUENCE IF EXISTS {name}")


@pytest.fixture
def raw(proxy):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        yield connection


def has(cluster, name):
    return cluster.value("SELECT to_regclass(%s) IS NOT NULL", params=(name,))


# --- blocks ---

def test_an_index_is_found_right_after_it_was_made_in_the_block(db, proxy):
    with db.transaction():
        db.execute("CREATE INDEX just_made ON ci_builds (status)")
        assert one(db, "SELECT count(*) FROM projects") > 0
        db.execute("ALTER INDEX just_made RENAME TO just_renamed")
        db.execute("DROP INDEX just_renamed")
    assert not has(proxy.ci, "just_made")


def test_a_database_joins_the_block_only_when_the_statement_goes_there(db, proxy, ci_index, main_sequence):
    with db.transaction():
        assert one(db, f"SELECT nextval('{main_sequence}')") == 1
        in_block = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND usename = 'app'"
        assert proxy.ci.value(in_block) == 0
        db.execute(f"COMMENT ON INDEX {ci_index} IS 'joined'")
        assert proxy.ci.value(in_block) == 1


def test_the_question_belongs_to_no_savepoint_of_the_client(db, proxy, ci_index):
    with db.transaction():
        one(db, "SELECT count(*) FROM ci_builds")
        with db.transaction(force_rollback=True):
            db.execute(f"DROP INDEX {ci_index}")
        db.execute(f"COMMENT ON INDEX {ci_index} IS 'still there'")
    assert has(proxy.ci, ci_index)


def test_in_a_failed_block_nothing_is_asked(db, proxy):
    db.execute("BEGIN")
    with fails("22012"):
        db.execute("SELECT 1/0 FROM ci_builds")
    with fails("25P02"):
        db.execute("DROP INDEX asked_for_in_a_failed_block")
    db.execute("ROLLBACK")
    for cluster in (proxy.main, proxy.ci):
        assert "'asked_for_in_a_failed_block'::pg_catalog.name" not in cluster.log()
    with fails("42704"):
        db.execute("DROP INDEX asked_for_in_a_failed_block")
    assert "'asked_for_in_a_failed_block'::pg_catalog.name" in proxy.main.log()


def test_an_unknown_name_fails_the_block_as_on_a_server(db):
    with fails("42704"):
        with db.transaction():
            db.execute("DROP INDEX no_such_index_in_block")
    assert one(db, "SELECT 1") == 1


def test_repeatable_read_still_begins_with_the_first_statement(db, ci_sequence):
    db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    assert one(db, f"SELECT nextval('{ci_sequence}')") == 1
    assert one(db, "SELECT count(*) FROM ci_builds") > 0
    db.execute("COMMIT")


def test_settings_of_the_session_reach_the_link_that_is_asked(db, ci_index):
    db.execute("SET search_path = public, pg_catalog")
    db.execute(f"DROP INDEX {ci_index}")


# --- scripts ---

def test_each_statement_of_a_script_is_resolved_in_its_turn(db, proxy, ci_index):
    db.execute(f"SELECT count(*) FROM projects; DROP INDEX {ci_index}; CREATE INDEX {ci_index} ON ci_runners (active);"
               f" COMMENT ON INDEX {ci_index} IS 'again'")
    assert proxy.ci.value("SELECT indrelid::regclass::text FROM pg_index WHERE indexrelid = %s::regclass",
                          params=(ci_index,)) == "ci_runners"


def test_a_script_that_crosses_is_rejected_as_a_whole(db, proxy, ci_index, unique):
    with rejected("XD002", "cross_transaction"):
        db.execute(f"INSERT INTO issues (title) VALUES ('{unique}'); DROP INDEX {ci_index}")
    assert has(proxy.ci, ci_index)
    assert proxy.main.value("SELECT count(*) FROM issues WHERE title = %s", params=(unique,)) == 0


def test_sql_prepare_and_execute_of_nextval(db, ci_sequence):
    one(db, "SELECT count(*) FROM projects")
    db.execute(f"PREPARE number AS SELECT nextval('{ci_sequence}')")
    one(db, "SELECT count(*) FROM projects")
    assert one(db, "EXECUTE number") == 1
    assert one(db, "EXECUTE number") == 2


# --- the extended protocol ---

def test_a_prepared_nextval_stays_with_its_table(db, ci_sequence):
    text = f"SELECT nextval('{ci_sequence}') WHERE %s"
    for expected in (1, 2, 3):
        assert one(db, "SELECT count(*) FROM projects") > 0
        assert db.execute(text, (True,), prepare=True).fetchone()[0] == expected


def test_prepared_ddl(db, proxy, ci_index):
    db.execute(f"DROP INDEX {ci_index}", prepare=True)
    assert not has(proxy.ci, ci_index)


def test_a_pipeline_over_two_databases_sequences(db, ci_sequence, main_sequence):
    with db.pipeline():
        cursors = [db.execute(f"SELECT nextval('{name}')")
                   for name in (ci_sequence, main_sequence, ci_sequence, main_sequence)]
    assert [cursor.fetchone()[0] for cursor in cursors] == [1, 1, 2, 2]


def test_ddl_in_a_raw_pipeline_sees_what_it_made(raw, proxy):
    messages = raw.exchange(
        *(part for text in ("CREATE INDEX in_a_pipeline ON ci_builds (status)",
                            "ALTER INDEX in_a_pipeline RENAME TO in_a_pipeline_2", "DROP INDEX in_a_pipeline_2")
          for part in (wire.parse(sql=text), wire.bind(), wire.execute())), wire.sync())
    assert wire.errors(messages) == []
    assert wire.tags(messages) == ["CREATE INDEX", "ALTER INDEX", "DROP INDEX"]


def test_the_question_does_not_commit_what_the_pipeline_did_before(raw, proxy, ci_index, unique):
    messages = raw.exchange(
        wire.parse(sql=f"INSERT INTO ci_runners (description) VALUES ('{unique}')"), wire.bind(), wire.execute(),
        wire.parse(sql=f"COMMENT ON INDEX {ci_index} IS 'x'"), wire.bind(), wire.execute(),
        wire.parse(sql="SELECT 1/0"), wire.bind(), wire.execute(), wire.sync())
    assert [error["C"] for error in wire.errors(messages)] == ["22012"]
    assert proxy.ci.value("SELECT count(*) FROM ci_runners WHERE description = %s", params=(unique,)) == 0


def test_answers_keep_their_order_around_a_question(raw, ci_sequence):
    parts = []
    for text in ("SELECT 'a' FROM projects LIMIT 1", f"SELECT nextval('{ci_sequence}')",
                 "SELECT 'b' FROM projects LIMIT 1"):
        parts += [wire.parse(sql=text), wire.bind(), wire.execute()]
    assert wire.rows(raw.exchange(*parts, wire.sync())) == [[b"a"], [b"1"], [b"b"]]


def test_the_client_sees_nothing_of_the_question(raw, ci_sequence):
    messages = raw.query(f"SELECT nextval('{ci_sequence}')")
    assert "".join(wire.types(messages)) == "TDCZ"


def test_an_unknown_name_in_a_pipeline_is_the_servers_error(raw):
    messages = raw.exchange(wire.parse(sql="DROP INDEX nobody_has_it"), wire.bind(), wire.execute(),
                            wire.parse(sql="SELECT 1"), wire.bind(), wire.execute(), wire.sync())
    assert [error["C"] for error in wire.errors(messages)] == ["42704"]
    assert wire.rows(raw.query("SELECT 1")) == [[b"1"]]


# --- where a database or the question fails ---

def test_with_ci_down_names_of_main_are_found(own_clusters, make_proxy):
    main, ci = own_clusters
    proxy = make_proxy(main=main, ci=ci)
    main.sql("SET ROLE app; CREATE INDEX of_main ON projects (name)")
    ci.stop()
    with proxy.connect() as connection:
        connection.execute("COMMENT ON INDEX of_main IS 'found'")
        with fails("42704"):
            connection.execute("DROP INDEX of_nobody")
        with connection.transaction():
            connection.execute("DROP INDEX of_main")
        assert one(connection, "SELECT count(*) FROM projects") > 0


def test_with_main_down_names_of_ci_are_found(own_clusters, make_proxy):
    main, ci = own_clusters
    proxy = make_proxy(main=main, ci=ci)
    ci.sql("SET ROLE app; CREATE INDEX of_ci ON ci_builds (name)")
    main.stop()
    with proxy.connect() as connection:
        connection.execute("DROP INDEX of_ci")
    assert not has(ci, "of_ci")


def test_a_database_that_comes_back_is_asked_again(own_clusters, make_proxy):
    main, ci = own_clusters
    proxy = make_proxy(main=main, ci=ci)
    ci.sql("SET ROLE app; CREATE INDEX of_ci ON ci_builds (name)")
    ci.stop()
    with proxy.connect() as connection:
        with fails("42P01"):
            connection.execute("COMMENT ON INDEX of_ci IS 'x'")
        ci.start()

        def found():
            try:
                return connection.execute("COMMENT ON INDEX of_ci IS 'x'")
            except psycopg.Error as error:
                assert error.diag.sqlstate == "42P01"
        wait_until(found, "the index to be found")


class LockedCatalog:
    """Holds a catalog, so that whoever reads it waits."""

    def __init__(self, cluster):
        self.cluster = cluster

    def __enter__(self):
        self.connection = self.cluster.admin(self.cluster.dbname)
        self.connection.execute("BEGIN; LOCK pg_catalog.pg_depend IN ACCESS EXCLUSIVE MODE")
        return self

    def waiting(self):
        return self.cluster.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                                  " AND query LIKE '%%tn.nspname%%' AND pid <> pg_backend_pid()",
                                  dbname="postgres") > 0

    def __exit__(self, *_):
        self.connection.execute("ROLLBACK")
        self.connection.close()


def run_and_cancel(connection, locked, text):
    error = []

    def run():
        try:
            connection.execute(text)
        except psycopg.Error as raised:
            error.append(raised)
    thread = threading.Thread(target=run)
    thread.start()
    wait_until(locked.waiting, "the question to wait")
    connection.cancel()
    thread.join(20)
    assert error, "nothing was cancelled"
    return error[0]


def test_a_cancelled_question_is_a_cancelled_statement(db, proxy):
    with LockedCatalog(proxy.ci) as locked:
        error = run_and_cancel(db, locked, "DROP INDEX cancelled_while_asked")
    assert error.sqlstate == "57014"
    assert one(db, "SELECT count(*) FROM ci_builds") > 0
    with fails("42704"):
        db.execute("DROP INDEX cancelled_while_asked")


def test_a_cancelled_question_fails_the_block(db, proxy):
    with LockedCatalog(proxy.ci) as locked:
        db.execute("BEGIN")
        one(db, "SELECT count(*) FROM ci_builds")
        error = run_and_cancel(db, locked, "DROP INDEX cancelled_in_block")
        assert error.sqlstate == "57014"
        with fails("25P02"):
            db.execute("SELECT 1")
    db.execute("ROLLBACK")
    assert one(db, "SELECT count(*) FROM ci_builds") > 0


def test_a_cancelled_question_outside_the_block_fails_it_too(db, proxy):
    with LockedCatalog(proxy.ci) as locked:
        db.execute("BEGIN")
        one(db, "SELECT count(*) FROM projects")
        error = run_and_cancel(db, locked, "DROP INDEX cancelled_outside_block")
        assert error.sqlstate == "57014"
        with fails("25P02"):
            db.execute("SELECT 1")
    db.execute("ROLLBACK")
    assert one(db, "SELECT 1") == 1


def test_a_cancelled_question_skips_the_pipeline(db, proxy):
    with LockedCatalog(proxy.ci) as locked:
        error = run_and_cancel(db, locked, "SELECT count(*) FROM ci_runners; DROP INDEX cancelled_in_script")
    assert error.sqlstate == "57014"
    with LockedCatalog(proxy.ci) as locked:
        raw = wire.connect("127.0.0.1", proxy.port, user="app", database="app")
        raw.send(wire.parse(sql="SELECT 1 FROM ci_runners LIMIT 1"), wire.bind(), wire.execute(),
                 wire.parse(sql="DROP INDEX cancelled_in_pipeline"), wire.bind(), wire.execute(),
                 wire.parse(sql="SELECT 2"), wire.bind(), wire.execute(), wire.sync())
        wait_until(locked.waiting, "the question to wait")
        raw.cancel()
        messages = raw.read_until()
    assert [error["C"] for error in wire.errors(messages)] == ["57014"]
    assert wire.rows(messages) == [[b"1"]]
    assert wire.rows(raw.query("SELECT 3")) == [[b"3"]]
    raw.close()


def test_statement_timeout_ends_the_question(db, proxy):
    with LockedCatalog(proxy.ci):
        db.execute("SET statement_timeout = '300ms'")
        with fails("57014"):
            db.execute("DROP INDEX timed_out_while_asked")
    db.execute("RESET statement_timeout")
    assert one(db, "SELECT count(*) FROM ci_builds") > 0


@pytest.mark.parametrize("in_block", [False, True])
def test_a_link_lost_while_asked(db, proxy, main_sequence, in_block):
    """Outside the block its catalog is not heard, no more; within it, it is the block that is lost. A server that once
    made a temporary table doesn't end while the catalog is locked, after it has said that it would."""
    db.execute("CREATE TEMP TABLE gone (n int) /* database: ci */")
    db.execute("DROP TABLE gone")
    with LockedCatalog(proxy.ci) as locked:
        if in_block:
            db.execute("BEGIN")
            one(db, "SELECT count(*) FROM ci_builds")
        error, row = [], []

        def run():
            try:
                row.append(one(db, f"SELECT nextval('{main_sequence}')"))
            except psycopg.Error as raised:
                error.append(raised)
        thread = threading.Thread(target=run)
        thread.start()
        wait_until(locked.waiting, "the question to wait")
        proxy.ci.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                     " AND query LIKE '%%tn.nspname%%' AND pid <> pg_backend_pid()", dbname="postgres")
        thread.join(20)
    if not in_block:
        assert (row, error) == ([1], [])
        return
    assert error[0].sqlstate == "08006"
    with fails("25P02"):
        db.execute("SELECT 1")
    db.execute("ROLLBACK")
    assert one(db, "SELECT count(*) FROM ci_builds") > 0


OF_CI = "SELECT count(*) FROM ci_builds WHERE id = 1"


def end_who_asks(cluster, pattern):
    """Ends the server's process that waits for the locked catalog; it has hung up when this returns."""
    (pid,) = cluster.backends(pattern)
    cluster.sql("SELECT pg_terminate_backend(%s, 5000)", params=(pid,), dbname="postgres")


@own_mode
def test_on_a_shared_connection_nothing_is_lost_with_the_question(make_pool, main_sequence):
    """Between two transactions nothing of the client's is there."""
    proxy = make_pool(size=1, settings={"workers": 1})
    with proxy.wire() as client:
        wait_known(client, proxy.ci, OF_CI)
        with LockedCatalog(proxy.ci) as locked:
            client.send(wire.query(f"SELECT nextval('{main_sequence}')"))
            wait_until(locked.waiting, "the question to wait")
            end_who_asks(proxy.ci, "%tn.nspname%")
        assert wire.rows(done(client.read_until("Z"))) == [[b"1"]]
        assert value(client, OF_CI) == "1"


@own_mode
def test_a_link_lost_while_asked_what_binds_it_is_told_with_the_next_statement_for_it(make_pool):
    """The client has had its answer then, and waits for nothing."""
    proxy = make_pool(size=1, settings={"workers": 1})
    binding = "%pg_listening_channels%"
    with proxy.wire() as client:
        wait_known(client, proxy.ci, OF_CI)
        with LockedCatalog(proxy.ci):
            done(client.query("SELECT pg_advisory_lock(7) FROM ci_builds WHERE id = 1"))
            wait_until(lambda: proxy.ci.backends(binding), "the question to wait")
            end_who_asks(proxy.ci, binding)
        nothing_comes(client)
        assert value(client, "SELECT count(*) FROM projects WHERE id < 0") == "0"
        assert code(client.query(OF_CI)) == "08006"
        assert value(client, OF_CI) == "1"


def test_a_catalog_that_may_not_be_read_is_not_heard(own_clusters, make_proxy):
    main, ci = own_clusters
    proxy = make_proxy(main=main, ci=ci)
    main.sql("SET ROLE app; CREATE INDEX of_main ON projects (name)")
    ci.sql("REVOKE SELECT ON pg_catalog.pg_depend FROM public")
    with proxy.connect() as connection:
        one(connection, "SELECT count(*) FROM ci_builds")
        connection.execute("DROP INDEX of_main")
    assert not has(main, "of_main")
