"""Random clients that set things on shared connections: each must always see what its twin on a connection of its own
sees, whoever used the connection in between. By transaction there are fewer connections than clients; by session each
gets what another one has left.

RANDOM_SEEDS (a count, default 60) and RANDOM_SEED (the first one) say what is run; a mismatch prints its seed and steps.
"""

import contextlib
import os
import random

import pytest

import wire
from harness import Pooled
from pooling import code, extended, own_mode, rows, simple

pytestmark = own_mode

SEEDS = int(os.environ.get("RANDOM_SEEDS", 60))
FIRST = int(os.environ.get("RANDOM_SEED", 1))
CLIENTS, STEPS = 3, 30

VALUES = {
    "work_mem": ["'5MB'", "'6MB'", "'7 MB'"],
    "datestyle": ["German", "'SQL, DMY'", "'ISO, MDY'", "YMD", "SQL"],
    "timezone": ["'Asia/Tokyo'", "UTC", "'Europe/Paris'"],
    "intervalstyle": ["iso_8601", "postgres"],
    "search_path": ["public", "pg_catalog, public", "'nowhere'", "\"Odd, name\", public"],
    "statement_timeout": ["'20s'", "30000"],
    "extra_float_digits": ["0", "2"],
    "application_name": ["mine", "'it''s'", r"E'back\\slash'"],
    "standard_conforming_strings": ["on", "off"],
    "client_min_messages": ["error", "warning"],
    "default_transaction_isolation": ["serializable", "'repeatable read'"],
    "my.own": ["'x'", "y"],
    "bytea_output": ["escape", "hex"],
    "lock_timeout": ["'1min'"],
    "client_encoding": ["LATIN1", "UTF8"],
}
LOOK = "SELECT current_user, session_user, " + ", ".join(f"coalesce(current_setting('{name}', true), '')"
                                                          for name in [*VALUES, "default_transaction_read_only"])
STARTUPS = [{}, {"DateStyle": "German", "TimeZone": "Asia/Seoul"}, {"options": "-c work_mem=9MB -c intervalstyle=iso_8601"},
            {"application_name": "at the start", "search_path": "public"}, {"client_encoding": "LATIN1"},
            {"role": "app"}, {"options": "-c default_transaction_isolation=serializable"}, {"my.own": "start"}]


def change(rng, inside):
    name = rng.choice(list(VALUES))
    value = rng.choice(VALUES[name])
    text = value.replace("'", "''") if value[:1] not in "'E" else value[value.index("'") + 1:-1]
    # Of what code sets only what set_config() is seen to set, but of no extension: a limit in README.
    local, other_local = rng.choice(["true", "false"]), rng.choice(["true", "false"])
    code = [f"DO $$ BEGIN PERFORM set_config('{name}', '{text}', {local}); END $$",
            f"SELECT set_config('lock_timeout', '7s', {other_local}), set_config('{name}', '{text}', {local})"]
    if name == "my.own":
        code = []
    return rng.choice([
        f"SET {name} = {value}", f"SET {name} TO {value}", f"SET SESSION {name} = {value}", f"SET LOCAL {name} = {value}",
        f"RESET {name}", f"SET {name} TO DEFAULT", f"SELECT set_config('{name}', '{text}', false)",
        f"SELECT set_config('{name}', '{text}', true)", f"SELECT set_config('{name}', '{text}' || '', false)", *code])


def whole(rng, _):
    return rng.choice(["RESET ALL", "DISCARD ALL", "SET ROLE app", "SET ROLE NONE", "RESET ROLE", "SET ROLE postgres",
                       "SET SESSION AUTHORIZATION app", "SET SESSION AUTHORIZATION DEFAULT", "RESET SESSION AUTHORIZATION",
                       "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "RESET default_transaction_read_only",
                       "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE",
                       "SET SESSION CHARACTERISTICS AS TRANSACTION NOT DEFERRABLE",  # else the server may wait for other clients
                       "SET TIME ZONE -5", "SET TIME ZONE LOCAL", "SET NAMES 'UTF8'", "SET LOCAL ROLE app"])


def other(rng, _):
    return rng.choice(["SELECT 1", "SELECT 1/0", "SET work_mem = 'a lot'", "SET no_such_thing = 1",
                       "SELECT count(*) FROM users", "SET work_mem = '5MB'; SELECT 1/0", "SET work_mem = '6MB'; SELECT 2",
                       "BEGIN; SET work_mem = '7MB'; COMMIT", "BEGIN; SET work_mem = '8MB'; ROLLBACK",
                       "SET LOCAL work_mem = '9MB'; SELECT current_setting('work_mem')"])


BLOCK = ["COMMIT", "ROLLBACK", "SAVEPOINT a", "ROLLBACK TO a", "RELEASE a", "SAVEPOINT a", "COMMIT AND CHAIN", "END"]


def next_step(rng, client, blocked):
    """Only one client at a time is in a block, so that a connection is left for the others."""
    inside = client.status != b"I"
    if inside and rng.random() < 0.35:
        return rng.choice(BLOCK)
    if not inside and not blocked and rng.random() < 0.15:
        return rng.choice(["BEGIN", "START TRANSACTION READ ONLY", "BEGIN ISOLATION LEVEL SERIALIZABLE"])
    return rng.choices([change, whole, other], [6, 2, 2])[0](rng, inside)


class Pair:
    """A client of the pool, and its twin on a connection of its own."""

    def __init__(self, stack, proxy, startup):
        self.startup, self.status = startup, b"I"
        self.both = [stack.enter_context(wire.connect("127.0.0.1", port, user="postgres", database="app",
                                                      parameters={"application_name": "a test", **startup}, timeout=10))
                     for port in (proxy.port, proxy.main.port)]

    def run(self, sql, ask):
        """What the two say: ((pool's), (twin's))."""
        return tuple(self._run(connection, sql, ask) for connection in self.both)

    def _run(self, connection, sql, ask):
        got = ask(connection, sql)
        for each in got:
            if each.type == "S":
                name, value, _ = each.body.decode("latin1").split("\0")
                connection.parameters[name] = value
        self.status = got[-1].body
        return code(got), wire.tags(got), rows(got), got[-1].body

    def parameters(self):
        return tuple({name: value for name, value in connection.parameters.items() if name != "in_hot_standby"}
                     for connection in self.both)


@pytest.fixture(scope="module", params=[("transaction", 2), ("session", CLIENTS)], ids=["transaction", "session"])
def proxy(request, main_cluster, ci_cluster):
    mode, size = request.param
    made = Pooled(main_cluster, ci_cluster, {"mode": mode, "size": size}, {"user": "postgres"}, {})
    with made:
        yield made


def differs(proxy, seed):
    """None, or how the two first differed."""
    rng, done = random.Random(seed), []
    with contextlib.ExitStack() as stack:
        pairs = [Pair(stack, proxy, rng.choice(STARTUPS)) for _ in range(CLIENTS)]
        done.append([pair.startup for pair in pairs])
        for _ in range(STEPS):
            number = rng.randrange(CLIENTS)
            pair = pairs[number]
            sql = next_step(rng, pair, any(each.status != b"I" for each in pairs if each is not pair))
            several = "; " in sql and not sql.startswith("DO")
            ask = simple if several else rng.choice([simple, extended])
            done.append((number, ask.__name__, sql))
            ours, twins = pair.run(sql, ask)
            if ours != twins:
                return done, ours, twins
            for each, seen in enumerate(pairs):
                if seen.status == b"E":
                    continue  # an error that the proxy gave itself undoes settings on the server only with ROLLBACK
                ours, twins = seen.run(LOOK, rng.choice([simple, extended]))
                if ours != twins:
                    return done, f"client {each} sees", ours, twins
                ours, twins = seen.parameters()
                if ours != twins:
                    return done, f"client {each} was told", {k: (v, twins.get(k)) for k, v in ours.items()
                                                             if v != twins.get(k)}
    return None


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_each_client_sees_what_its_twin_sees(proxy, seed):
    found = differs(proxy, seed)
    assert found is None, "\n".join(map(str, found[0])) + "\n" + "\n".join(map(str, found[1:]))
