"""The names of prepared statements are one space, whether SQL or the protocol gave them, as on a connection of one's own.

RANDOM_SEEDS (a count, default 30) and RANDOM_SEED (the first one) say what is run; a mismatch prints its steps."""

import contextlib
import os
import random

import pytest

import wire
from pooling import code, done, own_mode, pid_of, rows, value

pytestmark = own_mode

SEEDS = int(os.environ.get("RANDOM_SEEDS", 30))
FIRST = int(os.environ.get("RANDOM_SEED", 1))


def parse(client, name, number):
    return client.exchange(wire.parse(name, f"SELECT {number}"), wire.sync())


def close(client, name):
    return client.exchange(wire.close("S", name), wire.sync())


def run(client, name):
    return client.exchange(wire.bind("", name), wire.execute(), wire.sync())


def test_close_ends_what_sql_has_prepared(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as client, proxy.wire() as other:
        done(client.query("PREPARE q AS SELECT 1"))
        done(close(client, "q"))
        assert value(other, "SELECT count(*) FROM pg_prepared_statements WHERE name = 'q'") == "0"  # it is free again
        done(parse(client, "q", 2))
        assert rows(run(client, "q")) == [("2",)]
        assert rows(client.query("EXECUTE q")) == [("2",)]


def test_close_and_parse_in_one_pipeline(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as client:
        done(client.query("PREPARE q AS SELECT 1"))
        got = done(client.exchange(wire.close("S", "q"), wire.parse("q", "SELECT 2"), wire.bind("", "q"), wire.execute(),
                                   wire.sync()))
        assert rows(got) == [("2",)]


def test_close_behind_an_error_closes_nothing(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as client:
        done(client.query("PREPARE q AS SELECT 1"))
        assert code(client.exchange(wire.parse("", "SELECT no_such"), wire.close("S", "q"), wire.sync())) == "42703"
        assert rows(client.query("EXECUTE q")) == [("1",)]
        assert code(parse(client, "q", 2)) == "42P05"


def test_sql_cannot_take_a_name_of_the_protocols(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as client:
        done(parse(client, "q", 1))
        assert code(client.query("PREPARE q AS SELECT 2")) == "42P05"
        done(client.query("DEALLOCATE q"))
        done(client.query("PREPARE q AS SELECT 2"))
        assert rows(run(client, "q")) == [("2",)]


def test_a_verb_that_was_parsed_has_its_name_too(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as client:
        done(client.exchange(wire.parse("q", "BEGIN"), wire.sync()))
        assert code(client.query("PREPARE q AS SELECT 2")) == "42P05"
        done(close(client, "q"))
        done(client.query("PREPARE q AS SELECT 2"))


def test_closed_on_another_database(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as client:
        done(client.query("PREPARE q AS SELECT count(*) FROM ci_runners"))
        done(client.query("SELECT count(*) FROM users"))
        done(close(client, "q"))
        done(client.exchange(wire.parse("q", "SELECT count(*) FROM users"), wire.sync()))
        done(run(client, "q"))
        assert code(client.query("EXECUTE q")) is None


STEPS = {
    "PREPARE": lambda client, name, number: client.query(f"PREPARE {name} AS SELECT {number}"),
    "EXECUTE": lambda client, name, _: client.query(f"EXECUTE {name}"),
    "EXPLAIN EXECUTE": lambda client, name, _: client.query(f"EXPLAIN (COSTS OFF) EXECUTE {name}"),
    "DEALLOCATE": lambda client, name, _: client.query(f"DEALLOCATE {name}"),
    "DEALLOCATE ALL": lambda client, *_: client.query("DEALLOCATE ALL"),
    "DISCARD ALL": lambda client, *_: client.query("DISCARD ALL"),
    "Parse": parse,
    "Parse DEALLOCATE": lambda client, name, _: client.exchange(
        wire.parse("", f"DEALLOCATE {name}"), wire.bind(), wire.execute(), wire.sync()),
    "Parse EXECUTE": lambda client, name, _: client.exchange(
        wire.parse("", f"EXECUTE {name}"), wire.bind(), wire.execute(), wire.sync()),
    "Bind": lambda client, name, _: run(client, name),
    "Describe": lambda client, name, _: client.exchange(wire.describe("S", name), wire.sync()),
    "Close": lambda client, name, _: close(client, name),
    "Close, Parse": lambda client, name, number: client.exchange(
        wire.close("S", name), wire.parse(name, f"SELECT {number}"), wire.sync()),
    "SELECT": lambda client, _, number: client.query(f"SELECT {number}"),
    "BEGIN": lambda client, *_: client.query("BEGIN"),
    "COMMIT": lambda client, *_: client.query("COMMIT"),
    "ROLLBACK": lambda client, *_: client.query("ROLLBACK"),
}


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_random_clients_get_what_their_twins_get(make_pool, main_cluster, seed):
    rng, steps = random.Random(seed), []
    proxy = make_pool(size=2)
    with contextlib.ExitStack() as stack:
        pairs = [[stack.enter_context(wire.connect("127.0.0.1", port, user="app", database="app"))
                  for port in (proxy.port, main_cluster.port)] for _ in range(2)]
        for number in range(60):
            client, name, step = rng.randrange(2), rng.choice(["q", "r"]), rng.choice([*STEPS])
            steps.append((client, step, name, number))
            got = [STEPS[step](each, name, number) for each in pairs[client]]
            ours, twins = [(code(each), rows(each), wire.tags(each), wire.types(each).replace("S", "")) for each in got]
            assert ours == twins, "\n".join(map(str, steps))
