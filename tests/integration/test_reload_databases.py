"""A reload that adds a database while clients are there, and takes it away again. Who is there goes on with the databases
that it began with, who comes gets the new ones; where the list's order has changed, too, and connections are shared."""

import pytest

import wire
from harness import DATA
from pooling import done, own_mode, rows, value, waiting

pytestmark = own_mode

WHERE = {table: f"SELECT current_database() FROM {table} LIMIT 1" for table in ("projects", "ci_builds", "sec_scans")}
BEFORE = ["app", "app_ci", "app"]  # without a database of its own gitlab_sec is in main
AFTER = ["app", "app_ci", "app_sec"]


@pytest.fixture
def sec(main_cluster):
    """A third database. Its table is in main, too, so that each place can be told from the answer."""
    main_cluster.sql("CREATE DATABASE app_sec")
    for dbname in ("app_sec", main_cluster.dbname):
        main_cluster.sql("CREATE TABLE sec_scans AS SELECT 1 AS id; GRANT ALL ON sec_scans TO app", dbname)
    yield "app_sec"
    main_cluster.sql("DROP TABLE sec_scans")
    main_cluster.sql("DROP DATABASE app_sec WITH (FORCE)", "postgres")


class Growing:
    """A proxy in front of two databases, or three; `place` says where in the list the third one comes."""

    def __init__(self, proxy, place):
        self.proxy, self.place = proxy, place
        self.two = proxy.databases(proxy.main, proxy.ci)
        self.third = proxy.main.conninfo(**{**proxy.strings, "dbname": "app_sec"})

    def grow(self):
        names = ["main", "ci"]
        names.insert(self.place, "sec")
        self._configure({name: self.two.get(name, self.third) for name in names})

    def shrink(self):
        self._configure(self.two)

    def _configure(self, databases):
        self.proxy.configure(databases=databases)
        self.proxy.wire().terminate()  # a worker's mailbox is emptied before it serves the next client

    def client(self):
        return self.proxy.wire()


def places(client, tables=WHERE):
    return [value(client, WHERE[table]) for table in tables]


@pytest.fixture(params=["off", "session", "transaction"])
def mode(request):
    return request.param


@pytest.fixture(params=[1, 2], ids=["between", "behind"])
def growing(request, make_pool, mode, sec, tmp_path):
    tables = tmp_path / "tables.yml"
    tables.write_text((DATA / "gitlab_schemas.yml").read_text() + "\nsec_scans: :gitlab_sec\n")
    return Growing(make_pool(mode, settings={"classification": {"tables": str(tables)}}), request.param)


@pytest.mark.parametrize("first", ["who was there", "who comes"])
def test_a_client_that_idles_goes_on_with_its_databases_and_one_that_comes_has_the_new_one(growing, first):
    with growing.client() as fresh, growing.client() as used:
        assert places(used) == BEFORE
        growing.grow()
        with growing.client() as new:
            if first == "who comes":
                assert places(new) == AFTER
            assert places(fresh) == places(used) == BEFORE
            assert places(new) == AFTER
            assert places(fresh) == places(used) == BEFORE


@pytest.mark.parametrize("begun_on", ["projects", "ci_builds"])
def test_a_block_goes_on_over_the_databases_that_it_began_with(growing, begun_on):
    with growing.client() as old:
        done(old.query("BEGIN"))
        places(old, [begun_on])
        growing.grow()
        with growing.client() as new:
            assert places(new) == AFTER
            assert places(old) == BEFORE
            done(old.query("COMMIT"))
            assert places(old) == BEFORE


def test_a_pipeline_of_many_databases_ends_where_it_began(growing):
    """Each statement is prepared before the reload, and run after it."""
    with growing.client() as old:
        for table, sql in WHERE.items():
            done(old.exchange(wire.parse(table, sql), wire.sync()))
        growing.grow()
        with growing.client() as new:
            assert places(new) == AFTER
        run = [message for table in WHERE for message in (wire.bind("", table), wire.execute())]
        assert [place for (place,) in rows(done(old.exchange(*run, wire.sync())))] == BEFORE


def test_a_database_that_goes_again_stays_to_who_has_it(growing):
    growing.grow()
    with growing.client() as used, growing.client() as fresh:
        assert places(used) == AFTER
        growing.shrink()
        with growing.client() as new:
            assert places(new) == BEFORE
            assert places(used) == places(fresh) == AFTER
            assert places(new) == BEFORE
        growing.grow()
        assert places(used) == places(fresh) == AFTER


@pytest.mark.parametrize("growing", [1, 2], ids=["between", "behind"], indirect=True)
@pytest.mark.parametrize("mode", ["session", "transaction"], indirect=True)
def test_who_waits_for_a_connection_gets_one_of_its_database(growing):
    growing.proxy.configure(pool={"mode": growing.proxy.overrides["pool"]["mode"], "size": 1})
    with growing.client() as holder, growing.client() as waits:
        done(holder.query("BEGIN"))
        assert places(holder, ["ci_builds"]) == ["app_ci"]
        waiting(waits, sql=WHERE["ci_builds"])
        growing.grow()
        with growing.client() as new:
            assert places(new, ["sec_scans"]) == ["app_sec"]
            done(holder.query("COMMIT"))
            holder.terminate()
            assert rows(done(waits.read_until("Z"))) == [("app_ci",)]
            assert places(new, ["sec_scans"]) == ["app_sec"]
