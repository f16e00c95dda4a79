"""currval() and lastval() where clients share connections by transaction: a client gets its own number or an error, never
another client's; and in the common case, right behind what drew it, its number.

RANDOM_SEEDS (a count, default 30) and RANDOM_SEED (the first one) say what is run; a mismatch prints its steps."""

import contextlib
import os
import random
import signal
import statistics
import time

import pytest

import wire
from console import ADMIN, client as figures, wait_client
from harness import wait_until
from pooling import code, done, extended, hold, own_mode, pid_of, rows, settle, simple, value, waiting

pytestmark = own_mode

SEEDS = int(os.environ.get("RANDOM_SEEDS", 30))
FIRST = int(os.environ.get("RANDOM_SEED", 1))
MAKE = ("CREATE TABLE {0} (id serial PRIMARY KEY, t text); GRANT ALL ON {0} TO app; GRANT ALL ON SEQUENCE {0}_id_seq TO app;")


@pytest.fixture
def tables(main_cluster, ci_cluster):
    """The same tables on both: clients of the pool use main's, their twins are connected to ci directly."""
    for each in (main_cluster, ci_cluster):
        each.sql(MAKE.format("_test_a") + MAKE.format("_test_b"))
    yield
    for each in (main_cluster, ci_cluster):
        each.sql("DROP TABLE _test_a, _test_b")


INSERT = "INSERT INTO _test_a (t) VALUES ('x')"
COUNT = "SELECT count(*) FROM _test_a"
ASKS = ["SELECT currval('_test_a_id_seq')", "SELECT lastval()", "SELECT currval(pg_get_serial_sequence('_test_a', 'id'))"]


@pytest.mark.parametrize("ask", [simple, extended])
@pytest.mark.parametrize("sql", ASKS)
@pytest.mark.parametrize("size", [1, 2])
def test_what_was_just_inserted_is_known(make_pool, tables, size, sql, ask):
    proxy = make_pool(size=size)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.wire("app_main")) for _ in range(3)]
        settle(proxy, *clients[:size])
        for client in clients:
            client.query(sql)  # from now on it is counted
        for _ in range(3):
            for client in clients:
                drawn = rows(done(ask(client, f"{INSERT} RETURNING id")))
                assert rows(done(ask(client, sql))) == drawn
                assert rows(done(ask(client, sql))) == drawn  # nobody has used the connection since


def named(proxy, name):
    return proxy.wire("app_main", parameters={"application_name": name})


def wait_kept(proxy, client, name):
    """Inserts until the connection is seen to be kept, which passes by itself."""
    def kept():
        done(client.query(INSERT))
        return figures(proxy, name)["kept_by"] == "main: sequence"
    wait_until(kept, "a connection that is kept")


def test_a_client_that_asks_keeps_its_connection_for_one_statement(make_pool, tables):
    proxy = make_pool(size=2, settings=ADMIN)
    with named(proxy, "a") as client, proxy.wire("app_main") as other:
        settle(proxy, client, other)
        client.query(ASKS[0])
        drawn = rows(done(client.query(f"{INSERT} RETURNING id")))
        for _ in range(3):
            done(other.query(INSERT))
        assert rows(client.query(ASKS[0])) == drawn
        wait_kept(proxy, client, "a")
        done(client.query("SELECT 1"))
        assert figures(proxy, "a")["kept_by"] == ""


def test_a_connection_is_not_kept_for_ever(make_pool, tables):
    proxy = make_pool(size=2, settings=ADMIN)
    with named(proxy, "a") as client:
        client.query(ASKS[0])
        wait_kept(proxy, client, "a")
        wait_client(proxy, "a", kept_by="")


def test_who_has_long_not_asked_keeps_nothing(make_pool, tables):
    proxy = make_pool(size=1, settings=ADMIN)
    with named(proxy, "a") as client, proxy.wire("app_main") as other:
        settle(proxy, client)
        client.query(ASKS[0])
        for _ in range(8):
            done(client.query(INSERT))
            done(other.query(INSERT))
        done(client.query(INSERT))
        assert figures(proxy, "a")["kept_by"] == ""
        assert code(client.query(ASKS[0])) is None
        wait_kept(proxy, client, "a")


def test_who_draws_again_and_again_lets_others_in(make_pool, tables):
    proxy, many = make_pool(size=1), 3000
    with proxy.wire("app_main") as client, proxy.wire("app_main") as other:
        client.query(ASKS[0])
        (pid,) = proxy.pids()
        os.kill(pid, signal.SIGSTOP)  # else it may be through before the other one has asked
        try:
            client.send(wire.query(INSERT) * many)
            waiting(other, sql=INSERT)
        finally:
            os.kill(pid, signal.SIGCONT)
        done(other.read_until("Z"))
        assert int(value(other, COUNT)) < many


@pytest.mark.parametrize("ask", [simple, extended])
def test_who_asks_gets_the_connection_that_it_drew_on(make_pool, tables, ask):
    proxy = make_pool(size=2)
    with proxy.wire("app_main") as client, proxy.wire("app_main") as other:
        settle(proxy, client, other)
        client.query(ASKS[0])
        drawn = rows(done(client.query(f"{INSERT} RETURNING id")))
        hold(other)
        done(client.query("SELECT 1"))
        first = pid_of(client)
        done(other.query(INSERT))
        done(other.query("COMMIT"))
        assert pid_of(other) != first  # which was used last, and is taken first
        assert rows(done(ask(client, ASKS[0]))) == drawn


def test_who_waits_gets_a_connection_that_is_kept_in_vain(make_pool, tables):
    proxy = make_pool(size=1)
    with proxy.wire("app_main") as client, proxy.wire("app_main") as other:
        client.query(ASKS[0])
        waits = []
        for _ in range(5):
            done(client.query(INSERT))
            since = time.monotonic()
            done(other.query(INSERT))
            waits.append(time.monotonic() - since)
            assert code(client.query(ASKS[0])) == "55000"
        assert statistics.median(waits) < 0.5  # 20 ms and what the machine adds, where nobody waits a second


def test_a_connection_is_not_kept_through_an_empty_block(make_pool, tables):
    proxy = make_pool(size=1)
    with proxy.wire("app_main") as client, proxy.wire("app_main") as other:
        client.query(ASKS[0])
        done(client.query(INSERT))
        done(client.query("BEGIN"))
        done(other.query(INSERT))
        assert code(client.query(ASKS[0])) == "55000"


def test_two_clients_that_keep_connections_for_each_other_are_no_deadlock(make_pool, tables):
    proxy = make_pool(size=1)
    here, there = "INSERT INTO issues (title) VALUES ('x')", "INSERT INTO ci_runners (description) VALUES ('x')"
    with proxy.wire() as client, proxy.wire() as other:
        for each, ask, sql in ((client, "SELECT currval('issues_id_seq')", here), (other, "SELECT currval('ci_runners_id_seq')", there)):
            each.query(ask)
            done(each.query(sql))
        client.send(wire.query(there))
        other.send(wire.query(here))
        for each in (client, other):
            done(each.read_until("Z"))


@pytest.mark.parametrize("ask", [simple, extended])
def test_what_must_run_alone_or_first_still_does(make_pool, tables, ask):
    proxy = make_pool(size=1)
    proxy.main.sql("CREATE PROCEDURE _test_commits() LANGUAGE plpgsql AS "
                   "$$ BEGIN INSERT INTO _test_a (t) VALUES ('p'); COMMIT; INSERT INTO _test_a (t) VALUES ('p'); END $$")
    try:
        with proxy.wire("app_main") as client, proxy.wire("app_main") as other:
            other.query(ASKS[0])
            for sql in ("VACUUM _test_a", "CALL _test_commits()", "COMMIT PREPARED 'none'", "ROLLBACK PREPARED 'none'"):
                done(other.query(INSERT))
                assert code(ask(client, sql)) == ("42704" if "PREPARED" in sql else None)
            done(other.query(INSERT))
            done(client.query("BEGIN"))
            done(client.query(f"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; {INSERT}"))
            done(client.query("COMMIT"))
    finally:
        proxy.main.sql("DROP PROCEDURE _test_commits()")


def test_a_pipeline_that_fails_before_it_draws_shows_no_others_number(make_pool, tables):
    proxy = make_pool(size=1)
    ask = wire.parse("", ASKS[0]) + wire.bind() + wire.execute() + wire.sync()
    fails = wire.parse("", "SELECT 1/0") + wire.bind() + wire.execute()
    draws = wire.parse("", INSERT) + wire.bind() + wire.execute() + wire.sync()
    reads = wire.parse("", "SELECT 1") + wire.bind() + wire.execute() + wire.sync()
    with proxy.wire("app_main") as client, proxy.wire("app_main") as other:
        client.query(ASKS[0])
        for parts in ([fails, draws, ask], [reads, fails, draws, ask], [reads, fails, draws, reads, ask]):
            done(other.query(INSERT))
            client.send(b"".join(parts))
            got = [message for part in range(sum(part.endswith(wire.sync()) for part in parts)) for message in client.read_until("Z")]
            assert [error["C"] for error in wire.errors(got)] == ["22012", "55000"]


def test_what_another_client_drew_when_it_only_bound_is_not_told(make_pool, tables):
    proxy = make_pool(size=1)
    proxy.main.sql("CREATE FUNCTION _test_draws() RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS "
                   "$$ BEGIN RETURN nextval('_test_a_id_seq'); END $$")
    try:
        with proxy.wire("app_main") as client, proxy.wire("app_main") as other:
            for sql in (ASKS[0], INSERT):
                client.query(sql)
            done(other.exchange(wire.parse("", "SELECT _test_draws()"), wire.bind(), wire.sync()))
            done(other.query("SELECT 1"))  # behind it the connection is idle again
            assert code(client.query(ASKS[0])) == "55000"
    finally:
        proxy.main.sql("DROP FUNCTION _test_draws()")


def test_the_first_who_asks_is_not_told_what_others_drew_before(make_pool, tables):
    proxy = make_pool(size=1)
    with proxy.wire("app_main") as client, proxy.wire("app_main") as other:
        done(other.query(INSERT))
        done(client.query("BEGIN"))
        done(client.query("UPDATE _test_a SET t = 'z'"))
        assert code(client.query(ASKS[0])) == "55000"


def test_what_a_client_did_not_draw_itself_is_not_known(make_pool, tables):
    proxy = make_pool(size=1)
    with proxy.wire("app_main") as client, proxy.wire("app_main") as other:
        client.query(ASKS[0])
        done(other.query(INSERT))
        for block in (["BEGIN"], []):
            for sql in [*block, "INSERT INTO _test_b (t) VALUES ('y')"]:
                done(client.query(sql))
            assert code(client.query(ASKS[0])) == "55000"
            client.query("ROLLBACK")
        assert code(client.exchange(wire.parse("", "INSERT INTO _test_a (id, t) VALUES (-1, 'x')"), wire.bind(), wire.execute(),
                                    wire.parse("", ASKS[0]), wire.bind(), wire.execute(), wire.sync())) == "55000"


def test_discarded_sequences_are_not_known(make_pool, tables):
    proxy = make_pool(size=1)
    with proxy.wire("app_main") as client:
        client.query(ASKS[0])
        for discard in ("DISCARD SEQUENCES", "DISCARD ALL"):
            done(client.query(INSERT))
            done(client.query(discard))
            assert code(client.query(ASKS[0])) == "55000"


def test_what_was_discarded_is_not_known_where_it_was_drawn(make_pool, tables):
    proxy = make_pool(size=2)
    with proxy.wire("app_main") as client, proxy.wire("app_main") as other:
        settle(proxy, client, other)
        client.query(ASKS[0])
        done(client.query(INSERT))
        done(client.query("SELECT 1"))
        drew = pid_of(client)
        done(other.query("BEGIN"))
        assert pid_of(other) == drew
        done(client.query("DISCARD SEQUENCES"))
        done(other.query("COMMIT"))
        assert code(client.query(ASKS[0])) == "55000"


def test_who_never_asks_pays_nothing(make_pool, tables):
    proxy = make_pool(size=1)
    start = len(proxy.main.log())
    with proxy.wire("app_main") as client, proxy.wire("app_main") as other:
        for each in (client, other, client):
            done(each.query(INSERT))
        assert "DISCARD" not in proxy.main.log()[start:]


DRAWS = [INSERT, "INSERT INTO _test_b (t) VALUES ('y')", "INSERT INTO _test_a (t) SELECT 'x' FROM generate_series(1, 2)",
         "SELECT nextval('_test_a_id_seq')", "SELECT nextval('_test_b_id_seq')", "SELECT setval('_test_a_id_seq', 500)",
         f"{INSERT}; SELECT currval('_test_a_id_seq')", f"{INSERT}; SELECT lastval()",
         "INSERT INTO _test_b (t) VALUES (currval('_test_a_id_seq')::text)"]
LOOKS = [*ASKS, "SELECT currval('_test_b_id_seq')", "SELECT currval('_test_a_id_seq'), lastval()"]
OTHERS = ["SELECT 1", "UPDATE _test_a SET t = 'z' WHERE id = 1", "DELETE FROM _test_b", "DISCARD SEQUENCES", "SELECT 1/0",
          "INSERT INTO _test_b (id, t) VALUES (-1, 'z') ON CONFLICT DO NOTHING"]


@pytest.mark.parametrize("size, clients", [(1, 2), (2, 3)])
@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_random_clients_get_their_twins_number_or_an_error(make_pool, tables, size, clients, seed):
    rng, steps, refused = random.Random(seed), [], 0
    proxy = make_pool(size=size)
    with contextlib.ExitStack() as stack:
        pairs = [[stack.enter_context(proxy.wire("app_main")),
                  stack.enter_context(wire.connect("127.0.0.1", proxy.ci.port, user="app", database=proxy.ci.dbname))]
                 for _ in range(clients)]
        settle(proxy, *(pair[0] for pair in pairs[:size]))
        for pair in pairs:
            pair[0].query(ASKS[0])
        for _ in range(40):
            number = rng.randrange(clients)
            block = rng.random() < 0.3
            texts = [rng.choice(rng.choices([DRAWS, LOOKS, OTHERS], [4, 4, 2])[0]) for _ in range(3 if block else 1)]
            texts = ["BEGIN", *texts, rng.choice(["COMMIT", "ROLLBACK"])] if block else texts
            for sql in texts:
                ask = simple if ";" in sql else rng.choice([simple, extended])
                steps.append((number, ask.__name__, sql))
                ours, twins = ((code(got), rows(got)) for got in (ask(each, sql) for each in pairs[number]))
                if ours[0] == "55000" and twins[0] is None:
                    refused += 1
                    for each in pairs[number]:
                        each.query("ROLLBACK")
                    break
                assert ours == twins, "\n".join(map(str, steps))
    assert refused < 25
