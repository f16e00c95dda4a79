"""What code behind a table leaves on a connection that clients share (a trigger's setting, a default's lock) reaches no
other client, although no statement tells of it; and where there is no such code nothing is asked for after a statement."""

import contextlib

import pytest

import wire
from harness import wait_until
from pooling import code, done, extended, own_mode, pid_of, questions, simple, value, wait_known

pytestmark = own_mode

T = "_test_gitlab_ci_code"  # classified by its prefix, and in no cluster's schema
SQL_SETS = "SELECT set_config('work_mem', '7MB', false)"
HELPERS = f"""
CREATE FUNCTION code.sets() RETURNS text LANGUAGE sql AS $$ {SQL_SETS} $$;
CREATE FUNCTION code.sets_too() RETURNS text LANGUAGE sql AS $$ SELECT code.sets() $$;
CREATE FUNCTION code.sets_for(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM code.sets(); RETURN $1; END $$;
CREATE FUNCTION code.on_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN SET work_mem = '7MB'; RETURN NEW; END $$;
CREATE FUNCTION code.locks() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock(77); RETURN NEW; END $$;
CREATE FUNCTION code.harmless() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  SET LOCAL work_mem = '9MB'; PERFORM pg_advisory_xact_lock(78); UPDATE {T}
  SET n = 1 WHERE false; -- it says EXECUTE here
  RETURN NEW; END $$;
"""
ON_ROW = f"CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON {{}} FOR EACH ROW EXECUTE FUNCTION code.on_row()"
TABLE = f"CREATE TABLE {T} (n int PRIMARY KEY)"
INSERT = f"INSERT INTO {T} VALUES (1)"

SHOW = "SHOW work_mem /* database: ci */"

# What is made, and the statement that runs it unseen.
SETS = {
    "a trigger": (f"{TABLE}; {ON_ROW.format(T)}", INSERT),
    "a trigger, by COPY": (f"{TABLE}; {ON_ROW.format(T)}", f"COPY {T} FROM STDIN"),
    "a trigger's condition": (f"{TABLE}; CREATE TRIGGER t AFTER INSERT ON {T} FOR EACH ROW"
                              f" WHEN (set_config('work_mem', '7MB', false) = '') EXECUTE FUNCTION code.harmless()", INSERT),
    "a deferred trigger": (f"{TABLE}; CREATE CONSTRAINT TRIGGER t AFTER INSERT ON {T} DEFERRABLE INITIALLY DEFERRED"
                           f" FOR EACH ROW EXECUTE FUNCTION code.on_row()", INSERT),
    "a default": (f"{TABLE}; ALTER TABLE {T} ADD t text DEFAULT code.sets_too()", INSERT),
    "a default that calls it itself": (f"{TABLE}; ALTER TABLE {T} ADD t text DEFAULT set_config('work_mem', '7MB', false)",
                                       INSERT),
    "a generated column": (f"{TABLE}; ALTER TABLE {T} ADD t int GENERATED ALWAYS AS (code.sets_for(n)) STORED", INSERT),
    "a check": (f"{TABLE}; ALTER TABLE {T} ADD CHECK (code.sets_for(n) = n)", INSERT),
    "a domain's check": (f"CREATE DOMAIN code.d AS int CHECK (code.sets_for(VALUE) = VALUE); CREATE TABLE {T} (n code.d)",
                         INSERT),
    "an index": (f"{TABLE}; CREATE INDEX ON {T} (code.sets_for(n))", INSERT),
    "a rule": (f"{TABLE}; CREATE RULE r AS ON INSERT TO {T} DO ALSO SELECT code.sets()", INSERT),
    "a view": (f"CREATE VIEW {T} AS SELECT code.sets()", f"SELECT * FROM {T}"),
    "a view that calls it itself": (f"CREATE VIEW {T} AS {SQL_SETS}", f"SELECT * FROM {T}"),
    "a view of a view": (f"CREATE VIEW code.v AS {SQL_SETS}; CREATE VIEW {T} AS SELECT * FROM code.v", f"SELECT * FROM {T}"),
    "a policy": (f"{TABLE}; INSERT INTO {T} VALUES (5); ALTER TABLE {T} ENABLE ROW LEVEL SECURITY;"
                 f"CREATE POLICY p ON {T} USING (code.sets() <> '')", f"SELECT * FROM {T}"),
    "a cascade": (f"{TABLE}; CREATE TABLE {T}_2 (n int REFERENCES {T} ON DELETE CASCADE); {ON_ROW.format(T + '_2')};"
                  f"INSERT INTO {T} VALUES (1); INSERT INTO {T}_2 VALUES (1)", f"DELETE FROM {T}"),
    "a partition": (f"CREATE TABLE {T} (n int) PARTITION BY LIST (n); CREATE TABLE {T}_2 PARTITION OF {T} DEFAULT;"
                    f"{ON_ROW.format(T + '_2')}", INSERT),
    "another table's trigger": (f"CREATE TABLE code.audit (n int); {ON_ROW.format('code.audit')}; {TABLE};"
                                "CREATE FUNCTION code.audits() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                                "  INSERT INTO code.audit VALUES (1); RETURN NEW; END $$;"
                                f"CREATE TRIGGER t AFTER INSERT ON {T} FOR EACH ROW EXECUTE FUNCTION code.audits()", INSERT),
    "dynamic SQL": (f"{TABLE}; CREATE FUNCTION code.runs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                    "  EXECUTE 'SET work_' || 'mem = ''7MB'''; RETURN NEW; END $$;"
                    f"CREATE TRIGGER t AFTER INSERT ON {T} FOR EACH ROW EXECUTE FUNCTION code.runs()", INSERT),
}


@pytest.fixture
def ci(ci_cluster):
    def forget():
        ci_cluster.sql(f"DROP SCHEMA IF EXISTS code CASCADE; DROP TABLE IF EXISTS {T}_2, {T}_quiet;"
                       f"DO $$ BEGIN DROP TABLE IF EXISTS {T} CASCADE;"
                       f"EXCEPTION WHEN wrong_object_type THEN DROP VIEW {T}; END $$;")
    forget()
    ci_cluster.sql(f"CREATE SCHEMA code; GRANT ALL ON SCHEMA code TO app; {HELPERS} CREATE TABLE {T}_quiet (n int);"
                   f"GRANT ALL ON {T}_quiet TO app; ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO app")
    yield ci_cluster
    ci_cluster.sql("ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM app")
    forget()


def learn(client, cluster):
    wait_known(client, cluster, f"SELECT n FROM {T}_quiet")


def run(client, sql, ask=simple):
    if not sql.startswith("COPY"):
        done(ask(client, sql))
        return
    client.exchange(wire.query(sql), until="G")
    done(client.exchange(wire.copy_data("1\n"), wire.copy_done()))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("what", SETS)
def test_a_setting_that_code_behind_a_table_makes_reaches_nobody(make_pool, ci, what, known):
    make, statement = SETS[what]
    ci.sql(make)
    proxy = make_pool(size=1)
    with proxy.wire() as one, proxy.wire() as other:
        if known:
            learn(other, ci)
        before = value(other, SHOW)
        run(one, statement)
        assert value(other, SHOW) == before == "4MB"
        assert len(proxy.pids(ci)) == 1


def test_a_lock_that_a_trigger_takes_keeps_the_connection(make_pool, ci):
    ci.sql(f"{TABLE}; CREATE TRIGGER t AFTER INSERT ON {T} FOR EACH ROW EXECUTE FUNCTION code.locks()")
    proxy = make_pool(size=2)
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() /* database: ci */"
    with proxy.wire() as one, proxy.wire() as other:
        learn(other, ci)
        done(extended(one, INSERT))
        assert (value(other, locks), value(one, locks)) == ("0", "1")
        done(one.query("SELECT pg_advisory_unlock(77) /* database: ci */"))
        assert value(one, locks) == "0"
        assert value(other, "SELECT 1") == "1"


def test_a_lock_stays_although_its_statement_failed(make_pool, ci):
    ci.sql(f"{TABLE}; CREATE TRIGGER t BEFORE INSERT ON {T} FOR EACH ROW EXECUTE FUNCTION code.locks()")
    proxy = make_pool(size=2)
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() /* database: ci */"
    with proxy.wire() as one, proxy.wire() as other:
        learn(other, ci)
        assert code(one.query(f"INSERT INTO {T} VALUES (NULL)")) == "23502"
        assert (value(other, locks), value(one, locks)) == ("0", "1")
    with proxy.wire() as one, proxy.wire() as other:
        assert code(one.query("SELECT pg_advisory_lock(79), 1 / (0 * random())::int /* database: ci */")) == "22012"
        assert (value(other, locks), value(one, locks)) == ("0", "1")


def test_a_function_called_by_its_number_is_looked_after(make_pool, ci):
    proxy = make_pool(size=2)
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
    with proxy.wire() as one, proxy.wire() as other:
        done(one.exchange(wire.function_call(2880, ["77"])))  # pg_advisory_lock(bigint)
        assert (value(other, locks), value(one, locks)) == ("0", "1")


@pytest.mark.parametrize("ask", [simple, extended])
def test_nothing_is_asked_after_statements_of_tables_without_such_code(make_pool, ci, ask):
    ci.sql(f"{TABLE}; CREATE TRIGGER t AFTER INSERT ON {T} FOR EACH ROW EXECUTE FUNCTION code.harmless();"
           f"CREATE TABLE {T}_2 (n int, t text DEFAULT code.sets())")
    proxy = make_pool(size=1)
    with proxy.wire() as client:
        learn(client, ci)
        before = questions(ci)
        done(ask(client, INSERT))
        done(ask(client, f"SELECT count(*) FROM {T}_2"))  # its default is for who inserts
        assert questions(ci) == before
        done(ask(client, f"INSERT INTO {T}_2 VALUES (1)"))
        assert value(client, "SELECT 1") == "1"
        assert questions(ci) == (before[0] + 1, before[1])


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_code_that_comes_through_the_proxy_is_known_at_once(make_pool, ci, end):
    ci.sql(f"{TABLE}; ALTER TABLE {T} OWNER TO app")
    proxy = make_pool(size=2)
    with proxy.wire() as makes, proxy.wire() as one, proxy.wire() as other:
        learn(one, ci)
        done(makes.query("BEGIN"))
        done(makes.query(f"ALTER TABLE {T} ADD t text DEFAULT code.sets()"))
        before = questions(ci)
        done(one.query(f"SELECT n FROM {T}_quiet"))
        done(makes.query(end))
        done(makes.query(INSERT))
        for client in one, other:  # who have both connections then
            done(client.query("BEGIN"))
            assert value(client, SHOW) == "4MB"
        for client in one, other:
            done(client.query("COMMIT"))
        wait_until(lambda: value(one, f"SELECT count(*) FROM {T}_quiet") == "0" and questions(ci)[1] > before[1],
                   "the tables to be asked about")


def test_any_ddl_may_run_an_event_trigger(make_pool, ci):
    ci.sql("CREATE FUNCTION code.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM code.sets(); END $$;"
           "CREATE EVENT TRIGGER _test_code ON ddl_command_start EXECUTE FUNCTION code.on_ddl()")
    try:
        proxy = make_pool(size=1)
        with proxy.wire() as one, proxy.wire() as other:
            learn(other, ci)
            done(one.query("CREATE TEMP TABLE gone ON COMMIT DROP AS SELECT 1 AS n /* database: ci */"))
            assert value(other, SHOW) == "4MB"
    finally:
        ci.sql("DROP EVENT TRIGGER _test_code")


def test_what_cannot_be_asked_counts_as_code(make_pool, ci):
    ci.sql(f"{TABLE}; {ON_ROW.format(T)}; REVOKE SELECT ON pg_policy FROM PUBLIC")
    try:
        proxy = make_pool(size=1)
        with proxy.wire() as one, proxy.wire() as other:
            for _ in range(2):
                done(one.query(f"DELETE FROM {T}"))
                done(one.query(INSERT))
                assert value(other, SHOW) == "4MB"
            assert proxy.log().count("cannot learn which tables have code behind them") == 1
    finally:
        ci.sql("GRANT SELECT ON pg_policy TO PUBLIC")


@contextlib.contextmanager
def catalog_locked(ci):
    """What asks about code behind tables has to wait; gives a function that tells whether it does."""
    with ci.admin(ci.dbname) as admin:
        admin.execute("BEGIN; LOCK pg_catalog.pg_policy IN ACCESS EXCLUSIVE MODE")
        yield lambda: admin.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)").fetchone()[0]
        admin.execute("ROLLBACK")


READ = f"SELECT n FROM {T}_quiet"


def test_another_connection_is_made_while_one_asks_for_long(make_pool, ci):
    def is_made():
        """False: the question, which waits 100 ms for the catalog, was over too soon."""
        proxy = make_pool(size=2)
        with proxy.wire() as one, proxy.wire() as other, catalog_locked(ci) as asked:
            done(one.query(READ))
            try:
                wait_until(asked, "the question to wait", 1)
            except AssertionError:
                return False
            done(other.query(READ))
            return asked()
    assert any(is_made() for _ in range(5))


def test_a_locked_catalog_holds_up_nobody_for_long(make_pool, ci):
    proxy = make_pool(size=1)
    with proxy.wire() as one, proxy.wire(timeout=10) as other, catalog_locked(ci) as asked:
        done(one.query(READ))
        done(other.query(READ))
        assert not asked()
