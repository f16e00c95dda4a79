"""A server's own defaults that change by a reload of its configuration: every client of a pool is told with its next
answer, as on a connection of its own, and keeps what it has set itself."""

import contextlib
import random

import pytest

import wire
from conftest import make_ci, make_main
from harness import wait_until
from pooling import done, extended, hold, own_mode, simple, value, wait_known

pytestmark = own_mode


@pytest.fixture(scope="module")
def servers():
    made = make_main(), make_ci()
    yield made
    for each in made:
        each.close()


@pytest.fixture
def main(servers):
    yield servers[0]
    servers[0].sql("ALTER SYSTEM RESET ALL")
    servers[0].sql("SELECT pg_reload_conf()")
    wait_until(lambda: servers[0].value("SHOW timezone") == "UTC" and servers[0].value("SHOW datestyle") == "ISO, MDY",
               "the defaults")


@pytest.fixture
def ci(servers):
    yield servers[1]
    reload(servers[1], "TimeZone", "UTC")


def reload(cluster, name, text):
    """Every connection of the cluster has the new default before its next statement."""
    cluster.sql(f"ALTER SYSTEM SET {name} = '{text}'")
    cluster.sql("SELECT pg_reload_conf()")
    wait_until(lambda: cluster.value(f"SHOW {name}") == text, "the new default")


def told(messages, name):
    """What an answer tells of the parameter."""
    pairs = [each.body.decode("latin1").split("\0") for each in messages if each.type == "S"]
    return [pair[1] for pair in pairs if pair[0] == name]


NEW = {"TimeZone": "Asia/Tokyo", "DateStyle": "German, DMY", "IntervalStyle": "iso_8601", "default_transaction_read_only": "on"}


@pytest.mark.parametrize("ask", [simple, extended])
@pytest.mark.parametrize("name", NEW)
def test_each_client_is_told_of_a_new_default_with_its_next_answer(make_pool, main, name, ask):
    proxy = make_pool(main=main, size=1)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.wire()) for _ in range(3)]
        for client in clients:
            done(ask(client, "SELECT 1"))
        reload(main, name, NEW[name])
        for client in clients:
            assert told(ask(client, "SELECT 1"), name) == [NEW[name]]
        for client in clients:
            assert told(ask(client, "SELECT 1"), name) == []
            assert value(client, f"SHOW {name}") == NEW[name]


def test_who_waits_for_many_connections_is_told_once(make_pool, main):
    proxy = make_pool(main=main, size=3)
    with contextlib.ExitStack() as stack:
        holders = [stack.enter_context(proxy.wire()) for _ in range(3)]
        for client in holders:  # each on a connection of its own
            done(client.query("BEGIN; SELECT 1"))
        for client in holders:
            done(client.query("COMMIT"))
        reload(main, "TimeZone", "Asia/Tokyo")
        for number, client in enumerate(holders):
            done(client.query("BEGIN"))
            assert told(client.query("SELECT 1"), "TimeZone") == ["Asia/Tokyo"]
        for client in holders:
            done(client.query("COMMIT"))
            assert told(client.query("SELECT 1"), "TimeZone") == []


def test_who_has_set_it_is_told_nothing_until_it_resets_it(make_pool, main):
    proxy = make_pool(main=main, size=1)
    with proxy.wire() as other, proxy.wire() as client, proxy.wire(parameters={"TimeZone": "Europe/Paris"}) as begun:
        done(client.query("SET timezone = 'Asia/Seoul'"))
        done(other.query("SELECT 1"))
        reload(main, "TimeZone", "Asia/Tokyo")
        for each in (client, begun, other, client, begun):
            got = each.query("SELECT 1")
            assert told(got, "TimeZone") == (["Asia/Tokyo"] if each is other else [])
        assert value(client, "SHOW timezone") == "Asia/Seoul"
        assert value(begun, "SHOW timezone") == "Europe/Paris"
        assert told(client.query("RESET timezone"), "TimeZone") == ["Asia/Tokyo"]


def test_a_client_that_comes_later_knows_the_new_default(make_pool, main):
    proxy = make_pool(main=main, size=1)
    with proxy.wire() as client:
        done(client.query("SELECT 1"))
        reload(main, "TimeZone", "Asia/Tokyo")
        done(client.query("SELECT 1"))
        with proxy.wire() as late:
            assert late.parameters["TimeZone"] == "Asia/Tokyo"
            assert told(late.query("SELECT 1"), "TimeZone") == []


def test_a_connection_that_is_made_later_is_told_of_before_its_rows(make_pool, main):
    proxy = make_pool(main=main, size=3)
    with proxy.wire() as client, proxy.wire() as holder, proxy.wire() as other:
        wait_known(client, main, "SELECT count(*) FROM users")  # while that is asked, a second one may be made
        hold(holder)
        hold(other)
        reload(main, "DateStyle", "German, DMY")
        got = done(client.query("SELECT date '2026-02-01'"))
        assert wire.types(got).startswith("S") and told(got, "DateStyle") == ["German, DMY"]
        assert wire.rows(got) == [[b"01.02.2026"]]


def test_in_a_transaction_the_first_answer_tells(make_pool, main):
    proxy = make_pool(main=main, size=1)
    with proxy.wire() as client, proxy.wire() as other:
        for each in (client, other):
            done(each.query("SELECT 1"))
        reload(main, "TimeZone", "Asia/Tokyo")
        done(other.query("SELECT 1"))
        done(client.query("BEGIN"))
        assert told(client.query("SELECT 1"), "TimeZone") == ["Asia/Tokyo"]
        assert told(client.query("SET LOCAL timezone = 'UTC'"), "TimeZone") == ["UTC"]
        assert told(client.query("ROLLBACK"), "TimeZone") == ["Asia/Tokyo"]


def test_another_databases_new_default_is_kept_from_clients(make_pool, main, ci):
    proxy = make_pool(main=main, ci=ci, size=1)
    with proxy.wire() as client, proxy.wire() as other:
        for each in (client, other):
            done(each.query("SELECT count(*) FROM users"))
            done(each.query("SELECT count(*) FROM ci_runners"))
        reload(ci, "TimeZone", "Asia/Tokyo")
        known = {client: "UTC", other: "UTC"}
        for _ in range(3):
            for each in (client, other):
                for table in ("ci_runners", "users"):
                    got = done(each.query(f"SELECT current_setting('timezone') FROM {table} LIMIT 1"))
                    known[each] = (told(got, "TimeZone") or [known[each]])[-1]
        assert known == {client: "UTC", other: "UTC"}
        for each in (client, other):
            assert value(each, "SELECT current_setting('timezone') FROM ci_runners LIMIT 1") == "UTC"


def test_how_texts_are_read_stays_what_each_client_was_told(make_pool, main):
    proxy = make_pool(main=main, size=1)
    with proxy.wire() as client, proxy.wire() as other:
        for each in (client, other):
            done(each.query("SELECT 1"))
        reload(main, "standard_conforming_strings", "off")
        # Who comes first is told, as on a connection of its own, by an answer that is read in the new way already.
        assert told(other.query("SELECT 1"), "standard_conforming_strings") == ["off"]
        assert wire.rows(other.query(r"SELECT length('\n')")) == [[b"1"]]
        for _ in range(2):
            got = done(client.query(r"SELECT length('\n')"))
            assert wire.rows(got) == [[b"2"]] and told(got, "standard_conforming_strings") == []
            assert wire.rows(other.query(r"SELECT length('\n')")) == [[b"1"]]


@pytest.mark.parametrize("seed", range(12))
def test_random_clients_know_and_see_what_their_twins_do(make_pool, main, seed):
    rng, steps = random.Random(seed), []
    proxy = make_pool(main=main, size=2)
    with contextlib.ExitStack() as stack:
        pairs = [[stack.enter_context(wire.connect("127.0.0.1", port, user="app", database="app",
                                                   parameters={"application_name": "a test"}))
                  for port in (proxy.port, main.port)] for _ in range(4)]
        for _ in range(40):
            if rng.random() < 0.2:
                name = rng.choice(["TimeZone", "DateStyle"])
                text = rng.choice(["Asia/Tokyo", "UTC", "Europe/Paris"] if name == "TimeZone"
                                  else ["German, DMY", "ISO, MDY", "SQL, MDY"])
                steps.append(("reload", name, text))
                reload(main, name, text)
                continue
            number = rng.randrange(len(pairs))
            sql = rng.choice(["SELECT 1"] * 6 + [
                "SET timezone = 'Asia/Seoul'", "RESET timezone", "SET datestyle = 'German'", "RESET datestyle", "SELECT 1/0",
                "BEGIN; SET LOCAL timezone = 'Asia/Seoul'; ROLLBACK", "BEGIN; SET timezone = 'Asia/Seoul'; COMMIT", "RESET ALL"])
            ask = rng.choice([simple, extended]) if ";" not in sql else simple
            steps.append((number, ask.__name__, sql))
            for client in pairs[number]:
                for each in ask(client, sql):
                    if each.type == "S":
                        name, text, _ = each.body.decode().split("\0")
                        client.parameters[name] = text
            pool, twin = pairs[number]
            if sql == "SELECT 1/0":
                continue  # it may have undone what was set in front of it: the next answer tells
            assert pool.parameters == twin.parameters, "\n".join(map(str, steps))
            assert value(pool, "SELECT now()::date || current_setting('timezone')", simple) == \
                value(twin, "SELECT now()::date || current_setting('timezone')", simple), "\n".join(map(str, steps))


# -- connections of the client's own ---------------------------------------------------------------

OWN = {"TimeZone": "Asia/Tokyo", "DateStyle": "German, DMY", "IntervalStyle": "iso_8601"}


def values(client, name):
    """What the client has on both databases, and is told meanwhile."""
    answers = [client.query(f"SELECT current_setting('{name}') FROM {table} LIMIT 1") for table in ("projects", "ci_builds")]
    return [wire.rows(done(each))[0][0].decode() for each in answers], [text for each in answers for text in told(each, name)]


@pytest.mark.parametrize("name", OWN)
def test_another_databases_new_default_is_nobodys(make_pool, main, ci, name):
    proxy = make_pool("off", main=main, ci=ci)
    with proxy.wire() as client:
        before, _ = values(client, name)
        reload(ci, name, OWN[name])
        try:
            assert values(client, name) == (before, [])
            assert client.parameters[name] == before[0]
        finally:
            ci.sql(f"ALTER SYSTEM RESET {name}")


@pytest.mark.parametrize("name", OWN)
def test_the_first_databases_new_default_holds_on_the_others(make_pool, main, ci, name):
    proxy = make_pool("off", main=main, ci=ci)
    with proxy.wire() as client:
        values(client, name)
        reload(main, name, OWN[name])
        assert values(client, name) == ([OWN[name]] * 2, [OWN[name]])


def test_the_first_databases_new_default_within_a_transaction_holds_on_the_others_behind_it(make_pool, main, ci):
    proxy = make_pool("off", main=main, ci=ci)
    with proxy.wire() as client:
        values(client, "TimeZone")
        done(client.query("BEGIN"))
        values(client, "TimeZone")
        reload(main, "TimeZone", "Asia/Tokyo")
        values(client, "TimeZone")
        done(client.query("COMMIT"))
        values(client, "TimeZone")
        assert values(client, "TimeZone") == (["Asia/Tokyo"] * 2, [])


@pytest.mark.parametrize("how", ["RESET timezone", "SET timezone TO DEFAULT", "RESET ALL", "BEGIN; RESET timezone; COMMIT", "DISCARD ALL"])
def test_a_reset_goes_back_to_the_first_databases_default_everywhere(make_pool, main, ci, how):
    reload(main, "TimeZone", "Asia/Tokyo")
    proxy = make_pool("off", main=main, ci=ci)
    with proxy.wire() as client:
        assert values(client, "TimeZone") == (["Asia/Tokyo"] * 2, [])
        done(client.query("SET timezone = 'Asia/Seoul'"))
        assert values(client, "TimeZone")[0] == ["Asia/Seoul"] * 2
        for text in how.split("; "):
            done(client.query(text))
        assert values(client, "TimeZone")[0] == ["Asia/Tokyo"] * 2


def test_what_a_statement_sets_on_another_database_is_told(make_pool, main, ci):
    proxy = make_pool("off", main=main, ci=ci)
    with proxy.wire() as client:
        values(client, "TimeZone")
        assert told(client.query("/* database: ci */ SET timezone = 'Asia/Seoul'"), "TimeZone") == ["Asia/Seoul"]
        assert values(client, "TimeZone") == (["Asia/Seoul"] * 2, [])
        set_it = "SELECT set_config('timezone', 'Asia/Tokyo', false) FROM ci_builds WHERE id = 1"
        assert told(client.query(set_it), "TimeZone") == ["Asia/Tokyo"]
        assert values(client, "TimeZone") == (["Asia/Tokyo"] * 2, [])
