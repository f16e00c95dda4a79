"""COMMIT PREPARED and ROLLBACK PREPARED go to the database where the prepared transaction is."""

import pytest

import wire
from pooling import code, done, extended, own_mode, simple, value

MODES = ["off", "session", "transaction"]
TABLES = {"main": "projects", "ci": "ci_builds"}

pytestmark = own_mode


def prepared(cluster, gid):
    return cluster.value("SELECT count(*) FROM pg_prepared_xacts WHERE gid = %s", params=(gid,))


def prepare(client, database, gid, ask=simple):
    for text in ("BEGIN", f"UPDATE {TABLES[database]} SET name = name WHERE id = 1", f"PREPARE TRANSACTION '{gid}'"):
        done(ask(client, text))


@pytest.fixture
def routed(make_pool):
    """A client of a mode; no prepared transaction is left behind."""
    proxies = []

    def make(mode, **more):
        proxies.append(make_pool(mode, **more))
        return proxies[-1].wire(), proxies[-1]
    yield make
    for proxy in proxies:
        for cluster in (proxy.main, proxy.ci):
            for gid, database in cluster.sql("SELECT gid, database FROM pg_prepared_xacts"):
                cluster.sql(f"ROLLBACK PREPARED '{gid}'", dbname=database)


@pytest.mark.parametrize("ask", [simple, extended])
@pytest.mark.parametrize("verb", ["COMMIT", "ROLLBACK"])
@pytest.mark.parametrize("database", TABLES)
@pytest.mark.parametrize("mode", MODES)
def test_it_ends_where_it_was_prepared(routed, unique, mode, database, verb, ask):
    client, proxy = routed(mode)
    cluster = getattr(proxy, database)
    with client, proxy.wire() as other:
        prepare(other, database, unique, ask)
        assert prepared(cluster, unique) == 1
        for table in TABLES.values():  # the last database used tells nothing
            value(client, f"SELECT count(*) FROM {table} WHERE id = 1", ask)
            assert code(ask(client, f"{verb} PREPARED '{unique}-none'")) == "42704"
        assert wire.tags(done(ask(client, f"{verb} PREPARED '{unique}'"))) == [f"{verb} PREPARED"]
        assert prepared(cluster, unique) == 0


def test_what_others_prepare_meanwhile_is_found(routed, unique):
    client, proxy = routed("off")
    with client, proxy.wire() as other:
        for database in ("ci", "main", "ci"):
            assert code(client.query(f"COMMIT PREPARED '{unique}'")) == "42704"
            prepare(other, database, unique)
            done(client.query(f"COMMIT PREPARED '{unique}'"))


def test_a_statement_that_was_prepared_before_finds_it_each_time(routed, unique):
    client, proxy = routed("off")
    with client:
        done(client.exchange(wire.parse("s", f"COMMIT PREPARED '{unique}'"), wire.sync()))
        for database in ("ci", "main", "ci"):
            prepare(client, database, unique)
            done(client.exchange(wire.bind("", "s"), wire.execute(), wire.sync()))
            assert prepared(getattr(proxy, database), unique) == 0


def test_of_two_of_that_name_the_last_database_s_is_ended(routed, unique):
    client, proxy = routed("off")
    with client:
        prepare(client, "main", unique)
        prepare(client, "ci", unique)
        done(client.query(f"COMMIT PREPARED '{unique}'"))
        assert (prepared(proxy.main, unique), prepared(proxy.ci, unique)) == (1, 0)
        done(client.query(f"COMMIT PREPARED '{unique}'"))
        assert prepared(proxy.main, unique) == 0


def test_names_are_taken_as_they_are(routed, unique):
    client, proxy = routed("transaction")
    gid = unique + "'' \\ \"%é" + "x" * 150
    with client:
        for setting in ("on", "off"):
            done(client.query(f"SET standard_conforming_strings = {setting}"))
            prepare(client, "ci", gid if setting == "on" else gid.replace("\\", "\\\\"))
            done(client.query("SELECT 1 FROM projects WHERE id = 1"))
            done(client.query(f"COMMIT PREPARED '{gid if setting == 'on' else gid.replace(chr(92), chr(92) * 2)}'"))


def test_only_those_of_the_database_itself_count(routed, unique):
    client, proxy = routed("off")
    proxy.ci.sql(f"BEGIN; PREPARE TRANSACTION '{unique}'", dbname="postgres")
    with client:
        done(client.query("SELECT 1 FROM projects WHERE id = 1"))
        assert code(client.query(f"COMMIT PREPARED '{unique}'")) == "42704"  # ci's server would say 0A000


def test_a_hint_and_a_pinned_connection_decide_it(routed, unique):
    client, proxy = routed("off")
    with client, proxy.wire("app_main") as pinned:
        prepare(client, "ci", unique)
        assert code(client.query(f"/* database: main */ COMMIT PREPARED '{unique}'")) == "42704"
        assert code(pinned.query(f"COMMIT PREPARED '{unique}'")) == "42704"
        done(client.query("SET pginterlock.database = 'main'"))
        assert code(client.query(f"COMMIT PREPARED '{unique}'")) == "42704"
        done(client.query("RESET pginterlock.database"))
        done(client.query(f"COMMIT PREPARED '{unique}'"))


@pytest.mark.parametrize("ask", [simple, extended])
def test_within_a_transaction_it_is_refused_as_on_a_server(routed, unique, ask):
    client, proxy = routed("off")
    with client:
        prepare(client, "ci", unique)
        done(ask(client, "BEGIN"))
        assert code(ask(client, f"COMMIT PREPARED '{unique}'")) == "25001"
        done(ask(client, "ROLLBACK"))
        assert prepared(proxy.ci, unique) == 1


def test_where_a_database_cannot_be_asked_nobody_says_that_there_is_none(make_pool, unique, main_cluster):
    class Nowhere:
        name, dbname = "ci", "app_ci"

        @staticmethod
        def conninfo(**_):
            return "host=127.0.0.1 port=1 dbname=app_ci user=app"
    proxy = make_pool("off", ci=Nowhere)
    with proxy.wire() as client:
        assert code(client.query(f"COMMIT PREPARED '{unique}'")) == "08001"
        prepare(client, "main", unique)
        done(client.query(f"COMMIT PREPARED '{unique}'"))
        assert prepared(main_cluster, unique) == 0
