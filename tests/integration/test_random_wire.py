"""Random sessions: through the proxy over two databases a client reads what one PostgreSQL with all tables would have
answered, as long as it breaks no rule; and where it does, answers stay well formed and the databases whole.

RANDOM_SEEDS (a count, default 300) and RANDOM_SEED (the first one) say what is run. A mismatch prints its seed and the
shortest session found that still shows it.
"""

import os
import random
import struct

import pytest

import random_session
import wire
from harness import POOL_MODE, Interlock, Postgres, wait_until

SEEDS = int(os.environ.get("RANDOM_SEEDS", 300))
FIRST = int(os.environ.get("RANDOM_SEED", 1))
MINIMISE = os.environ.get("RANDOM_MINIMISE", "yes") != "no"
STEPS = 14
ANSWER_SECONDS = float(os.environ.get("RANDOM_PATIENCE", 10))
TABLES = {side: tables for side, tables in random_session.SIDES.items()}
# What a session answers by itself carries no line of PostgreSQL's source: those fields are not compared for these.
OWN = {"25P02", "25001", "25P01", "3B001", "55000", "42P05", "08P01", "26000"}


def schema(*tables):
    made = "".join(f"CREATE TABLE {t} (id int PRIMARY KEY, v text, n int);" for t in tables)
    return made + "CREATE TABLE schema_migrations (version text PRIMARY KEY);"


class Trio:
    """One PostgreSQL with all tables, and the proxy over two that share them out."""

    def __init__(self, tmp_path, **overrides):
        self.clusters = {}
        sides = {"main": TABLES["main"], "ci": TABLES["ci"], "all": TABLES["main"] + TABLES["ci"]}
        for name, tables in sides.items():
            script = tmp_path / f"{name}.sql"
            script.write_text(schema(*tables))
            self.clusters[name] = Postgres(name).start().create_database("app", script)
        self.tables = [(name, t) for name in ("main", "ci") for t in TABLES[name]]
        self.admins = {name: cluster.admin("app") for name, cluster in self.clusters.items()}
        self.proxy = Interlock(self.clusters["main"], self.clusters["ci"], **overrides).start()

    def close(self):
        for admin in self.admins.values():
            admin.close()
        try:
            self.proxy.close()
        finally:
            for cluster in self.clusters.values():
                cluster.close()

    def reset(self):
        """TRUNCATE, so that rows lie in the same order everywhere."""
        for side, t in self.tables:
            for name in (side, "all"):
                self.admins[name].execute(f"TRUNCATE {t}; INSERT INTO {t} SELECT i, 'row ' || i, i"
                                          " FROM generate_series(1, 5) i")

    def contents(self, where):
        """What is in all tables: of the proxy's two databases, or of the one."""
        return {t: self.admins["all" if where == "all" else side].execute(f"SELECT * FROM {t} ORDER BY id").fetchall()
                for side, t in self.tables}

    def connect(self, where):
        port = self.clusters["all"].port if where == "all" else self.proxy.port
        return wire.connect("127.0.0.1", port, user="app", database="app", timeout=ANSWER_SECONDS)


@pytest.fixture(scope="module")
def trio(tmp_path_factory):
    made = Trio(tmp_path_factory.mktemp("sql"))
    yield made
    made.close()


# -- sending and reading ---------------------------------------------------------------------------------------------


def send_step(connection, step, how):
    """Sends a step and reads its answers. `how`: 0 in one write, 1 a write for each message, else cut at random."""
    data = [part for _, part in step.messages]
    messages = []
    if step.wait:
        connection.send(*data[:-1])
        messages = connection.read_until(step.wait + "Z")
        if messages[-1].type == "G":
            connection.send(wire.copy_fail("not expected"))
        connection.send(data[-1])
    elif how == 0:
        connection.send(*data)
    elif how == 1:
        for part in data:
            connection.send(part)
    else:
        whole, cut = b"".join(data), random.Random(how)
        connection.send_split(whole, *sorted(cut.sample(range(1, len(whole)), min(3, len(whole) - 1))))
    for _ in range(random_session.expected_ready(step)):
        messages += connection.read_until("Z")
    return messages


def row_description(body):
    """Without the tables' OIDs, which differ between databases."""
    parts, at = [body[:2]], 2
    for _ in range(struct.unpack_from(">H", body)[0]):
        end = body.index(b"\0", at) + 1
        oid = struct.unpack_from(">I", body, end)[0]
        parts += [body[at:end], b"table" if oid else b"none", body[end + 4:end + 18]]
        at = end + 18
    return b"".join(parts)


def comparable(messages, parameters):
    """The messages as values to be compared, up to each ReadyForQuery.

    By design not the same: process ids; when within a batch a NotificationResponse or a ParameterStatus comes (only
    that the client knows the same at the end of it counts, since the proxy's databases report each for itself, and
    not in a failed block, which a database need not know of yet);
    file, line and routine of what the proxy says by itself; and that a table which nobody knows is refused as
    unclassified (XD005) rather than as missing (42P01)."""
    result, batch, notifications = [], [], []
    for each in wire.comparable(messages):
        if each.type == "S":
            name, value, _ = each.body.decode().split("\0")
            parameters[name] = value
        elif each.type == "A":
            notifications.append(tuple(each))
        elif each.type in "EN":
            fields = wire.error_fields(each.body)
            if fields["C"] in ("XD005", "42P01") and "temp" in fields["M"]:
                fields = {"C": "no such table"}
            elif fields["C"] in OWN:
                fields = {key: value for key, value in fields.items() if key not in "FLR"}
            batch.append((each.type, tuple(sorted(fields.items()))))
        elif each.type == "T":
            batch.append((each.type, row_description(each.body)))
        elif each.type == "Z":
            known = tuple(sorted(parameters.items())) if each.body != b"E" else ()
            result.append((*batch, *sorted(notifications), tuple(each), known))
            batch, notifications = [], []
        else:
            batch.append(tuple(each))
    return result + batch


class Mismatch(Exception):
    """`kind`: what makes two of them the same, as far as minimising goes."""

    def __init__(self, text, kind=None):
        super().__init__(text)
        self.kind = kind


def kind_of(one, other):
    def brief(each):
        return (each[0], dict(each[1]).get("C")) if each[:1] and each[0] in ("E", "N") else each[:1]
    return brief(one), brief(other)


def same(one, other):
    """Also where the one says, of what it does not have, another of the errors that PostgreSQL has for that: in a block
    that failed by the proxy's doing no server is asked for errors that come before 25P02, and a portal of COMMIT or
    ROLLBACK is gone or done."""
    if one == other:
        return True
    if not one[:1] == other[:1] == ("E",):
        return False
    codes = (dict(one[1]).get("C"), dict(other[1]).get("C"))
    return codes in (("34000", "55000"), ("25P02", "55000")) or (codes[0] in ("26000", "34000", "55000", "42601") and codes[1] == "25P02")


def compare_step(step, expected, got):
    if expected == got:
        return
    for batch, (one, other) in enumerate(zip(expected, got)):
        for index, (a, b) in enumerate(zip(one, other)):
            if not same(a, b):
                raise Mismatch(f"{random_session.describe(step)}\n  batch {batch}, answer {index}:"
                               f"\n  PostgreSQL {str(a)[:900]}\n  the proxy  {str(b)[:900]}", kind_of(a, b))
        if len(one) != len(other):
            raise Mismatch(f"{random_session.describe(step)}\n  batch {batch}:\n  PostgreSQL {str(one)[:900]}"
                           f"\n  the proxy  {str(other)[:900]}")
    if len(expected) != len(got):
        raise Mismatch(f"{random_session.describe(step)}\n  PostgreSQL {str(expected)[:900]}"
                       f"\n  the proxy  {str(got)[:900]}")


class Broken(Exception):
    """PostgreSQL itself does not answer as many: the session, shortened, makes no sense."""


def both_answer(trio, connections, parameters, step, how):
    """Sends the step to both, compares; what PostgreSQL answered."""
    try:
        expected = send_step(connections["all"], step, how)
    except (TimeoutError, wire.Closed) as problem:
        raise Broken(str(problem)) from None
    try:
        got = send_step(connections["proxy"], step, how)
    except (TimeoutError, wire.Closed, OSError) as problem:
        raise Mismatch(f"{random_session.describe(step)}\n  PostgreSQL {str(expected)[:900]}"
                       f"\n  the proxy  {type(problem).__name__}: {str(problem)[:900]}") from None
    compare_step(step, comparable(expected, parameters["all"]), comparable(got, parameters["proxy"]))
    return expected


def run_session(trio, next_step, seed):
    """Runs steps until next_step(what PostgreSQL answered last) gives None; raises Mismatch."""
    trio.reset()
    connections, answers = {}, None
    try:
        connections = {where: trio.connect(where) for where in ("all", "proxy")}
        for connection in connections.values():
            connection.socket.settimeout(ANSWER_SECONDS)
        parameters = {where: dict(connection.parameters) for where, connection in connections.items()}
        ways = random.Random(f"ways {seed}")
        while (step := next_step(answers)) is not None:
            answers = both_answer(trio, connections, parameters, step, ways.choice((0, 0, 1, 2 + ways.randrange(1000))))
    finally:
        for connection in connections.values():
            connection.terminate()
    wait_gone(trio)
    if trio.contents("all") != trio.contents("proxy"):
        raise Mismatch(f"the tables differ at the end: {trio.contents('all')} {trio.contents('proxy')}")


def wait_gone(trio):
    """The sessions' transactions are rolled back when their backends have ended, or wait in the pool."""
    pooled = "AND state <> 'idle'" if POOL_MODE else ""
    for name, admin in trio.admins.items():
        def sessions(admin=admin):
            return admin.execute(f"SELECT query FROM pg_stat_activity WHERE usename = 'app' {pooled}").fetchall()
        try:
            wait_until(lambda: not sessions(), f"the sessions on {name} to end", ANSWER_SECONDS)
        except AssertionError:
            left = sessions()
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
            raise Mismatch(f"a session on {name} did not end: {left}") from None


def replay(trio, steps, seed):
    """The mismatch of a session that is given, or None. One that breaks a rule shows nothing."""
    rest = iter(steps)
    try:
        run_session(trio, lambda answers: next(rest, None), seed)
    except Mismatch as mismatch:
        return None if "XD00" in str(mismatch) else mismatch
    except Broken:
        pass
    return None


def minimised(trio, steps, seed, mismatch):
    """Leaves out what it can: steps from the end, then messages."""
    found = replay(trio, steps, seed)
    if found is None:
        return steps, f"{mismatch}\n  (not seen again when the session was repeated)"
    mismatch, kind = found, found.kind
    index = len(steps) - 1
    while index >= 0:
        shorter = steps[:index] + steps[index + 1:]
        found = replay(trio, shorter, seed)
        if found and found.kind == kind:
            steps, mismatch = shorter, found
        index -= 1
    for index in range(len(steps)):
        again = True
        while again:
            again = False
            for candidate in random_session.shortened(steps[index]):
                shorter = steps[:index] + [candidate] + steps[index + 1:]
                found = replay(trio, shorter, seed)
                if found and found.kind == kind:
                    steps, mismatch, again = shorter, found, True
                    break
    return steps, mismatch


def drawn_session(trio, seed):
    """Draws and runs one session: None, or its steps and the mismatch."""
    drawing, steps = random_session.Drawing(seed), []

    def next_step(answers):
        if answers is not None:
            drawing.answered(answers)
        if len(steps) == STEPS:
            return None
        steps.append(drawing.step())
        return steps[-1]
    try:
        run_session(trio, next_step, seed)
    except Mismatch as mismatch:
        return steps, mismatch
    return None


def report(seed, steps, mismatch):
    listing = "\n".join(f"  {number}. {random_session.describe(step)}" for number, step in enumerate(steps, 1))
    return f"seed {seed}:\n{listing}\n  differs: {mismatch}"


def test_random_sessions_read_as_from_one_database(trio):
    failures = []
    for seed in range(FIRST, FIRST + SEEDS):
        failed = drawn_session(trio, seed)
        if failed:
            if MINIMISE:
                failed = minimised(trio, failed[0], seed, failed[1])
            failures.append(report(seed, *failed))
            if len(failures) == 3:
                break
    assert not failures, "\n\n".join(failures)


# -- sessions that break rules ---------------------------------------------------------------------------------------


def check_answers(step, messages, before):
    """One ReadyForQuery for each Query and Sync, behind answers that fit; the status moves only as it may. Gives the
    status. `before`: the one before the step."""
    assert wire.types(messages).count("Z") == random_session.expected_ready(step)
    status, failed = before, False
    for each in messages:
        if each.type in "EN":
            fields = wire.error_fields(each.body)
            assert {"S", "C", "M"} <= fields.keys() and len(fields["C"]) == 5, fields
            assert fields["S"] in (("ERROR",) if each.type == "E" else ("WARNING", "NOTICE", "INFO")), fields
            if each.type == "E":
                failed = True
                assert not fields["C"].startswith("XX"), fields
        elif each.type == "T":
            wire.columns(each.body)
        elif each.type == "D":
            wire.row_values(each.body)
        elif each.type == "Z":
            now = each.body.decode()
            assert now in "ITE"
            assert now != "E" or failed or status == "E", "a block that failed without an error"
            status, failed = now, False
        else:
            assert each.type in "123CGHISdcntsA", each
    return status


def rude_session(trio, seed):
    """A session that does not care for rules, within a block that is rolled back at its end, and one that is not."""
    drawing = random_session.Drawing(seed, rude=True)
    ways = random.Random(f"ways {seed}")
    listing, status = [], "I"
    with trio.connect("proxy") as connection:
        try:
            for _ in range(STEPS):
                step = drawing.step()
                listing.append(random_session.describe(step))
                messages = send_step(connection, step, ways.choice((0, 1, 2 + ways.randrange(1000))))
                status = check_answers(step, messages, status)
                drawing.answered(messages)
            if status != "I":
                connection.query("ROLLBACK")
            before = trio.contents("proxy")
            undone(trio, connection, drawing, listing)
            assert trio.contents("proxy") == before, "what was rolled back is there"
            assert connection.query("SELECT 1")[-1].body == b"I"
        except (AssertionError, TimeoutError, wire.Closed, OSError) as problem:
            steps = "\n".join(f"  {number}. {each}" for number, each in enumerate(listing, 1))
            raise AssertionError(f"seed {seed}:\n{steps}\n  {type(problem).__name__}: {str(problem)[:2000]}") from None
        connection.terminate()


def undone(trio, connection, drawing, listing):
    """Writes to both sides in a block, with savepoints and rejections, and ROLLBACK."""
    connection.query("BEGIN")
    for _ in range(8):
        sql = drawing.pick(lambda: drawing.write(drawing.any_side()), drawing.read, drawing.wrong, drawing.setting,
                           lambda: drawing.savepoint())()
        listing.append(f"in the block: {sql}")
        messages = connection.query(sql)
        assert messages[-1].body in (b"T", b"E"), messages
    assert connection.query("ROLLBACK")[-1].body == b"I"


def test_sessions_that_break_rules_get_whole_answers(trio):
    for seed in range(FIRST, FIRST + SEEDS):
        trio.reset()
        rude_session(trio, seed)
    assert trio.proxy.process.poll() is None



# -- what random sessions have found, each a session of its own --------------------------------------------------------


def step(*messages, wait=None):
    return random_session.Step("", [(each[:1].decode(), each) for each in messages], wait)


def cycle(sql, values=()):
    return wire.parse("", sql) + wire.bind(values=values) + wire.execute()


def pipeline(*messages):
    """The messages, which may be several in one, and Sync."""
    parts, data = [], b"".join(messages)
    while data:
        length = struct.unpack_from(">I", data, 1)[0] + 1
        parts.append(data[:length])
        data = data[length:]
    return [*parts, wire.sync()]


FOUND = {
    "an error behind a Sync whose answer has not come": [step(
        *pipeline(cycle("SELECT id FROM notes")),
        *pipeline(wire.execute("no such"), cycle("SELECT id FROM ci_stages")),
        *pipeline(wire.describe("P", "?")), *pipeline(cycle("SELECT 1")))],
    "a parameter set on the second database in a pipeline over both": [
        step(*pipeline(cycle("SELECT id FROM notes"), cycle("SELECT id FROM ci_builds"),
                       cycle("SET TIME ZONE 'Europe/Berlin'")))],
    "a portal of a transaction verb, twice": [
        step(*pipeline(cycle("BEGIN"), cycle("SAVEPOINT a"))),
        step(*pipeline(wire.parse("", "RELEASE a"), wire.bind(), wire.execute(), wire.execute()))],
    "a statement of the other database, and nothing, in a failed block": [
        step(*pipeline(wire.parse("s", "SELECT id FROM ci_builds WHERE id > $1::int"))),
        step(*map(wire.query, ("BEGIN", "SELECT 1 / (n - n) FROM notes"))),
        step(*pipeline(wire.bind("", "s", ["3"]))), step(*pipeline(cycle("")))],
    "nothing in a block that failed without a server": [
        step(*map(wire.query, ("BEGIN", "ROLLBACK TO nowhere"))), step(*pipeline(cycle("")))],
    "an error between a setting and two Syncs": [
        step(*pipeline(cycle("SET work_mem = '2MB'"), wire.bind("", "no such")), wire.sync()),
        step(wire.query("SELECT current_setting('work_mem') FROM ci_builds"))],
    "AND CHAIN from a failed block": [
        step(*map(wire.query, ("BEGIN READ ONLY", "SELECT 1/0 FROM notes", "ROLLBACK AND CHAIN",
                               "INSERT INTO notes VALUES (9)", "SELECT id FROM ci_builds", "COMMIT")))],
    "a setting of a block over both, and AND CHAIN": [
        step(*map(wire.query, ("BEGIN READ WRITE", "SELECT id FROM notes", "SET work_mem = '2MB'",
                               "SELECT id FROM ci_builds", "SET application_name = 'x'", "COMMIT AND CHAIN",
                               "SELECT current_setting('application_name') FROM notes",
                               "SELECT current_setting('application_name') FROM ci_builds", "ROLLBACK")))],
    "a pipeline behind a setting that is not answered yet": [
        step(wire.query("SET work_mem = '2MB'"), *pipeline(cycle("SELECT 1"), cycle("SELECT nothing"))),
        step(wire.query("SELECT current_setting('work_mem') FROM notes")),
        step(wire.query("SELECT current_setting('work_mem') FROM ci_builds"))],
    "AND CHAIN keeps characteristics that came late": [
        step(*map(wire.query, ("BEGIN", "SELECT id FROM notes", "SELECT id FROM ci_builds", "BEGIN READ ONLY",
                               "COMMIT AND CHAIN", "SELECT id FROM notes", "DELETE FROM ci_builds", "ROLLBACK"))),
        step(*map(wire.query, ("BEGIN", "SET TRANSACTION READ ONLY", "SELECT id FROM notes", "SELECT id FROM ci_builds",
                               "ROLLBACK AND CHAIN", "DELETE FROM ci_builds", "ROLLBACK")))],
    "set_config() in a portal that is suspended": [
        step(*pipeline(wire.parse("", "SELECT set_config('work_mem', 1::text || 'MB', false)"), wire.bind(),
                       wire.execute("", 1))),
        step(wire.query("SELECT current_setting('work_mem') FROM notes")),
        step(wire.query("SELECT current_setting('work_mem') FROM ci_builds"))],
    "several set_config() in one query": [
        step(wire.query("SELECT set_config('work_mem', 3::text || 'MB', false) FROM notes WHERE id = 1;"
                        " SELECT set_config('my.own', 'set', false) FROM notes WHERE id = 1")),
        step(wire.query("SELECT current_setting('work_mem'), current_setting('my.own') FROM ci_builds"))],
    "BEGIN with characteristics behind a savepoint that is not on a server yet": [
        step(*map(wire.query, ("BEGIN", "SELECT id FROM notes", "SAVEPOINT a", "BEGIN READ WRITE", "SELECT id FROM notes",
                               "ROLLBACK TO a", "COMMIT")))],
    "BEGIN whose characteristics come too late in a pipeline, and another": [
        step(*pipeline(cycle("SELECT id FROM notes"), cycle("BEGIN ISOLATION LEVEL REPEATABLE READ"))),
        step(*pipeline(cycle("BEGIN"), cycle("SELECT id FROM notes"), cycle("COMMIT")))],
}


def test_a_transaction_verb_whose_messages_arrive_byte_by_byte(trio):
    trio.reset()
    answers = []
    for where in ("all", "proxy"):
        with trio.connect(where) as connection:
            connection.send_split(b"".join(pipeline(cycle("BEGIN"), cycle("SELECT id FROM notes"), cycle("COMMIT"))))
            answers.append(comparable(connection.read_until("Z"), {}))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("name", FOUND)
def test_a_session_that_read_otherwise_once(trio, name):
    mismatch = replay(trio, FOUND[name], 0)
    assert mismatch is None, str(mismatch)
