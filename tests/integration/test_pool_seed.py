"""Random numbers after setseed() are a client's own: nobody else gets the numbers that its seed gives, and no other client
disturbs their order. PostgreSQL knows no way to undo it, so the connection ends with its client."""

import pytest

from pooling import code, done, extended, own_mode, pid_of, rows, simple, value, wait_known, waiting

pytestmark = own_mode

RANDOM = "SELECT random()"
SEEDS = {
    "setseed()": "SELECT setseed(0.5)",
    "SET": "SET seed = 0.5",
    "SET LOCAL": "BEGIN; SET LOCAL seed = 0.5; COMMIT",
    "set_config()": "SELECT set_config('seed', '0.5', false)",
    "a DO block": "DO $$ BEGIN PERFORM setseed(0.5); END $$",
    "in a statement that fails": "SELECT setseed(0.5) + 1/0",
    "among others": "SELECT 1; SELECT setseed(0.5)",
}


def numbers(client, count=3):
    return [value(client, RANDOM) for _ in range(count)]


def seed(client, sql, ask=simple):
    for part in sql.split("; ") if sql.startswith("BEGIN") else [sql]:
        assert code(ask(client, part)) in (None, "22012", "42883")


@pytest.fixture
def seeded(main_cluster):
    """What a direct connection's random() gives after the seed."""
    with main_cluster.admin(main_cluster.dbname) as direct:
        direct.execute("SELECT setseed(0.5)")
        return [str(direct.execute("SELECT random()::text").fetchone()[0]) for _ in range(20)]


@pytest.mark.parametrize("how", SEEDS)
def test_a_seeded_client_has_its_own_numbers_and_takes_its_connection_along(make_pool, seeded, how):
    proxy = make_pool(size=2)
    with proxy.wire() as other:
        with proxy.wire() as client:
            seed(client, SEEDS[how])
            pid = pid_of(client)
            for number in range(3):
                assert value(other, RANDOM) not in seeded
                assert pid_of(other) != pid
                if how != "in a statement that fails":
                    assert value(client, RANDOM) == seeded[number]
                assert pid_of(client) == pid
            client.terminate()
        proxy.wait_pids(1)
        assert pid not in proxy.pids()


def test_by_the_extended_protocol(make_pool, seeded):
    proxy = make_pool(size=2)
    with proxy.wire() as client, proxy.wire() as other:
        done(extended(client, SEEDS["setseed()"]))
        assert value(other, RANDOM) not in seeded
        assert [value(client, RANDOM, extended) for _ in range(3)] == seeded[:3]


def test_by_session_the_connection_ends_with_its_client(make_pool, seeded):
    proxy = make_pool("session", size=1)
    with proxy.wire() as client:
        done(client.query(SEEDS["setseed()"]))
        assert numbers(client) == seeded[:3]
        client.terminate()
    with proxy.wire() as other:
        assert not set(numbers(other)) & set(seeded)


def test_a_seed_of_the_startup_packet_binds_too(make_pool, seeded):
    proxy = make_pool(size=2)
    with proxy.wire(parameters={"options": "-c seed=0.5"}) as client, proxy.wire() as other:
        done(other.query("SELECT 1"))
        first = value(client, RANDOM)
        assert first in seeded
        assert not set(numbers(other)) & set(seeded)
        assert value(client, RANDOM) in seeded[seeded.index(first) + 1:]


CODE = {
    "a function": ("CREATE FUNCTION public._test_seeds() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM setseed(0.5); END $$",
                   "SELECT _test_seeds()"),
    "a function that calls it": ("CREATE FUNCTION public._test_seeds() RETURNS void LANGUAGE plpgsql AS"
                                 " $$ BEGIN PERFORM setseed(0.5); END $$;"
                                 "CREATE FUNCTION public._test_calls() RETURNS void LANGUAGE sql AS 'SELECT _test_seeds()'",
                                 "SELECT _test_calls()"),
    "a trigger": ("CREATE TABLE public._test_seeded (n int);"
                  "CREATE FUNCTION public._test_seeds() RETURNS trigger LANGUAGE plpgsql AS"
                  " $$ BEGIN PERFORM setseed(0.5); RETURN NEW; END $$;"
                  "CREATE TRIGGER t BEFORE INSERT ON public._test_seeded FOR EACH ROW EXECUTE FUNCTION _test_seeds();"
                  "GRANT ALL ON public._test_seeded TO app", "INSERT INTO _test_seeded VALUES (1)"),
    "a view": ("CREATE VIEW public._test_seeded AS SELECT 1 AS n WHERE setseed(0.5)::text = ''; GRANT ALL ON public._test_seeded TO app",
               "SELECT * FROM _test_seeded"),
}


@pytest.mark.parametrize("what", CODE)
def test_what_code_seeds_binds_and_other_code_does_not(make_pool, seeded, what):
    create, run = CODE[what]
    proxy = make_pool(size=1, settings={"rules": {"unclassified": "off"}})
    proxy.main.sql(create + ";CREATE FUNCTION public._test_plain() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$")
    try:
        with proxy.wire() as client, proxy.wire() as other:
            wait_known(client, proxy.main, "SELECT count(*) FROM users")
            done(client.query("SELECT _test_plain()"))
            pid = pid_of(other)  # one connection serves both
            done(client.query(run))
            waiting(other, sql=RANDOM)
            assert pid_of(client) == pid
            assert value(client, RANDOM) == seeded[0]
            client.terminate()
            assert rows(done(other.read_until("Z")))[0][0] not in seeded
            assert pid_of(other) != pid
    finally:
        proxy.main.sql("DROP FUNCTION _test_plain(); DROP VIEW IF EXISTS _test_seeded" if what == "a view" else
                       "DROP FUNCTION _test_plain(); DROP TABLE IF EXISTS _test_seeded;"
                       "DROP FUNCTION IF EXISTS _test_calls(); DROP FUNCTION _test_seeds()")
