"""Random sessions for test_random_wire.py: valid protocol messages, drawn from a seed. Longer than a file should be,
because what is drawn depends on all that has been.

A session is a list of steps; a step is a list of messages that are sent without waiting in between, and answered by as
many ReadyForQuery as it has Query and Sync. What is drawn next may depend on what a server answered to the steps
before (its transaction status, whether anything failed), so that sessions get far; once drawn, a session can be sent
again to anybody, and with steps left out.

Tables: `notes` and `issues` in main, `ci_builds` and `ci_stages` in ci, all (id int primary key, v text, n int);
`schema_migrations` everywhere. One file, a little over the house's 500 lines: what is drawn, and what may follow it.
"""

import random
import struct
from collections import namedtuple

import wire

SIDES = {"main": ("notes", "issues"), "ci": ("ci_builds", "ci_stages")}
SETTINGS = {"work_mem": ("'1MB'", "'2MB'", "DEFAULT", "'much'"), "application_name": ("'one'", "'two'", "''"),
            "statement_timeout": ("0", "'20s'", "30000"), "DateStyle": ("'ISO, DMY'", "'SQL, DMY'", "'ISO, MDY'"),
            "extra_float_digits": ("0", "1", "99"), "my.own": ("'a'", "'b'")}

# text: for people; messages: (kind, bytes); wait: types that the client reads on to before it sends the last message
Step = namedtuple("Step", "text messages wait", defaults=(None,))


def expected_ready(step):
    return sum(kind in "QS" for kind, _ in step.messages)


class Drawing:
    """Draws steps. `side` is where the open transaction writes (None: nowhere yet); with `rude` it does not care."""

    def __init__(self, seed, rude=False):
        self.random = random.Random(seed)
        self.rude = rude
        self.status = "I"
        self.several = False
        self.side = None
        self.names = 0
        self.prepared = {}  # by Parse or PREPARE: name to (side or None, number of parameters, writes)
        self.temporary = {}
        self.cursors = {}
        self.savepoints = []
        self.text = []
        self.messages = []

    # -- what one draws from

    def pick(self, *choices):
        return self.random.choice(choices)

    def chance(self, probability):
        return self.random.random() < probability

    def name(self, prefix):
        self.names += 1
        return f"{prefix}{self.names}"

    def any_side(self):
        return self.pick("main", "ci")

    def write_side(self):
        """Where the step may write."""
        if self.rude:
            return self.any_side()
        if self.side is None:
            self.side = self.any_side()
        return self.side

    def table(self, side):
        return self.random.choice(SIDES[side])

    # -- SQL

    def read(self, side=None):
        side = side or self.any_side()
        t = self.table(side)
        if self.rude and self.chance(0.1):
            return f"SELECT count(*) FROM {self.table('main')} a JOIN {self.table('ci')} b USING (id)"
        return self.pick(
            f"SELECT id, v FROM {t} ORDER BY id LIMIT {self.random.randint(0, 4)}",
            f"SELECT count(*), sum(n), max(v) FROM {t}",
            f"SELECT v FROM {t} WHERE id = {self.random.randint(1, 9)}",
            f"SELECT a.id FROM {SIDES[side][0]} a, {SIDES[side][1]} b WHERE a.id = b.id ORDER BY 1",
            f"SELECT repeat('x', 3000), id FROM {t} ORDER BY id",
            f"TABLE {t} ORDER BY 1",
            f"WITH w AS (SELECT id FROM {t}) SELECT count(*) FROM w",
            f"SELECT current_setting('work_mem'), current_setting('application_name'), count(*) FROM {t}",
            f"SELECT coalesce(current_setting('my.own', true), ''), current_setting('extra_float_digits') FROM {t} WHERE id = 1")

    def neutral(self):
        return self.pick("SELECT 1", "VALUES (1, 'a'), (2, NULL)", "SELECT count(*) FROM schema_migrations",
                         "SHOW transaction_isolation", "SHOW work_mem", "SHOW application_name",
                         "SELECT current_setting('transaction_read_only')", "/* nothing */ SELECT NULL::int",
                         "SELECT generate_series(1, 3)")

    def wrong(self):
        t = self.table(self.any_side())
        if self.several:  # what can't be read as a whole counts as one statement over all its tables
            return self.pick(f"SELECT 1 / (n - n) FROM {t}", f"SELECT nothing FROM {t}", "SHOW no_such_setting",
                             "FETCH 1 FROM no_such_cursor", "EXECUTE no_such_statement", "SELECT 1/0")
        return self.pick(f"SELECT 1 / (n - n) FROM {t}", f"SELECT nothing FROM {t}", "SELEC 1", "SELECT 1/0",
                         f"SELECT no_such_function(1) FROM {t}", "SHOW no_such_setting", f"SELECT '{t}'::int",
                         "FETCH 1 FROM no_such_cursor", "EXECUTE no_such_statement", "DEALLOCATE no_such_statement",
                         "CLOSE no_such_cursor", "SAVEPOINT", f"SELECT 'x'::int FROM {t}",
                         "DECLARE c CURSOR FOR SELECT nothing")

    def write(self, side):
        t, k = self.table(side), self.random.randint(1, 12)
        return self.pick(
            f"INSERT INTO {t} VALUES ({k}, 'new {k}', {k})",
            f"INSERT INTO {t} VALUES ({k}, 'new', 0) ON CONFLICT DO NOTHING",
            f"INSERT INTO {t} VALUES ({k}, 'up', 0) ON CONFLICT (id) DO UPDATE SET n = {t}.n + 1 RETURNING id, n",
            f"UPDATE {t} SET n = n + 1 WHERE id <= {k}", f"UPDATE {t} SET v = 'v{k}' WHERE id = {k} RETURNING v",
            f"DELETE FROM {t} WHERE id = {k}", f"DELETE FROM {t} WHERE id > {k} RETURNING id",
            f"SELECT id FROM {t} WHERE id = {k} FOR UPDATE",
            f"WITH w AS (DELETE FROM {t} WHERE id = {k} RETURNING *) SELECT count(*) FROM w",
            f"TRUNCATE {t}" if self.chance(0.1) else f"INSERT INTO {t} (id, v) SELECT id + 20, v FROM {t} WHERE id < 3")

    def setting(self):
        name = self.random.choice(sorted(SETTINGS))
        value = self.random.choice(SETTINGS[name])
        return self.pick(f"SET {name} = {value}", f"SET LOCAL {name} = {value}", f"RESET {name}",
                         f"SET SESSION {name} TO {value}", "RESET ALL" if self.chance(0.3) else f"SET {name} TO DEFAULT",
                         "SET TIME ZONE 'Europe/Berlin'", "SET my.own = 'c'",
                         f"SELECT set_config('my.own', 'set', {self.pick('true', 'false')})",
                         f"SELECT set_config('work_mem', {self.pick('1, 2', '3, 4')[0]}::text || 'MB', false)")

    def verb(self):
        """A transaction verb that fits the status more often than not."""
        begin = self.pick("BEGIN", "START TRANSACTION", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN READ WRITE",
                          "BEGIN WORK", "BEGIN TRANSACTION READ ONLY" if self.chance(0.2) else "BEGIN")
        end = self.pick("COMMIT", "ROLLBACK", "END", "ABORT", "COMMIT", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN",
                        "COMMIT AND NO CHAIN", "PREPARE TRANSACTION" if not self.several and self.chance(0.05) else "COMMIT")
        if self.status == "I":
            return begin if self.chance(0.8) else self.pick(end, self.savepoint())
        if self.status == "E":
            return self.pick(end, self.savepoint(("ROLLBACK TO ",)), self.savepoint(("ROLLBACK TO ", "ROLLBACK TO ",
                                                                                     "RELEASE ", "SAVEPOINT ")))
        return self.pick(end, self.savepoint(), self.savepoint(), self.savepoint(), begin if self.chance(0.3) else end)

    def savepoint(self, verbs=("SAVEPOINT ", "SAVEPOINT ", "RELEASE ", "ROLLBACK TO ", "ROLLBACK TO SAVEPOINT ",
                               "RELEASE SAVEPOINT ")):
        verb, name = self.pick(*verbs), self.pick("a", "b", "c")
        if self.savepoints and verb != "SAVEPOINT " and self.chance(0.8):
            name = self.random.choice(self.savepoints)
        if verb == "SAVEPOINT ":
            self.savepoints.append(name)
        return verb + name

    def sql(self):
        """Any statement that may stand anywhere."""
        return self.random.choices(
            [self.read, lambda: self.write(self.write_side()), self.neutral, self.setting, self.wrong, self.of_name],
            [6, 5, 3, 2, 0.7, 1])[0]()

    def of_name(self):
        """Something that has been made before, by its name; else a read."""
        kind = self.pick("temporary", "prepared", "cursor")
        if kind == "temporary" and self.temporary:
            t = self.random.choice(sorted(self.temporary))
            return self.pick(f"SELECT count(*) FROM {t}", f"INSERT INTO {t} VALUES (7, 'seven')", f"TABLE {t}",
                             f"UPDATE {t} SET v = 'u'")
        if kind == "prepared":
            found = self.usable()
            if found:
                name, (_, count, _) = found
                return f"EXECUTE {name}" + (f"({', '.join(['3'] * count)})" if count else "")
        if kind == "cursor" and self.cursors:
            c = self.random.choice(sorted(self.cursors))
            return self.pick(f"FETCH 2 FROM {c}", f"FETCH ALL FROM {c}", f"MOVE 1 FROM {c}", f"FETCH NEXT FROM {c}")
        return self.read()

    def usable(self):
        """A prepared statement that may run now."""
        names = [name for name, (side, _, writes) in self.prepared.items()
                 if self.rude or not writes or self.side in (None, side)]
        if not names:
            return None
        name = self.random.choice(sorted(names))
        side, _, writes = self.prepared[name]
        if writes and not self.rude:
            self.side = side
        return name, self.prepared[name]

    # -- messages

    def add(self, kind, data, text):
        self.messages.append((kind, data))
        self.text.append(text)

    def query(self, sql):
        self.add("Q", wire.query(sql), f"Q {sql!r}")

    def sync(self):
        self.add("S", wire.sync(), "Sync")

    def parse(self, name, sql):
        self.add("P", wire.parse(name, sql), f"Parse {name!r} {sql!r}")

    def bind(self, portal, name, values=(), binary=False):
        data = wire.bind(portal, name, values, result_formats=[1] if binary else ())
        self.add("B", data, f"Bind {portal!r} {name!r} {list(values)}{' binary' if binary else ''}")

    def describe(self, kind, name):
        self.add("D", wire.describe(kind, name), f"Describe {kind} {name!r}")

    def execute(self, portal="", rows=0):
        self.add("E", wire.execute(portal, rows), f"Execute {portal!r} {rows}")

    def close(self, kind, name):
        self.add("C", wire.close(kind, name), f"Close {kind} {name!r}")

    def flush(self):
        self.add("H", wire.flush(), "Flush")

    def one_cycle(self, sql, values=()):
        """Parse to Execute of one statement, in one of the ways that drivers do it."""
        statement = self.name("s") if self.chance(0.2) else ""
        portal = self.name("p") if self.chance(0.2) else ""
        self.parse(statement, sql)
        if self.chance(0.3):
            self.describe("S", statement)
        if self.chance(0.1):
            self.flush()
        self.bind(portal, statement, values, self.chance(0.2))
        if self.chance(0.6):
            self.describe("P", portal)
        rows = self.random.randint(1, 2) if self.chance(0.2) else 0
        self.execute(portal, rows)
        if rows and self.chance(0.6):
            self.execute(portal, self.random.randint(0, 2))
        if self.chance(0.1):
            self.flush()
        if statement and self.chance(0.5):
            self.close("S", statement)
        if self.chance(0.2):
            self.close("P", portal)

    def parameterised(self):
        """(text, number of parameters, side, writes)"""
        if self.chance(0.6):
            side = self.any_side()
            t = self.table(side)
            return (*self.pick((f"SELECT v, n FROM {t} WHERE id = $1::int", 1),
                               (f"SELECT id FROM {t} WHERE id > $1::int ORDER BY id", 1),
                               (f"SELECT $1::int + $2::int, count(*) FROM {t}", 2)), side, False)
        if self.chance(0.2):
            return "SELECT $1::int + 1", 1, None, False
        side = self.write_side()
        t = self.table(side)
        return (*self.pick((f"UPDATE {t} SET n = $1::int WHERE id = $2::int", 2),
                           (f"INSERT INTO {t} VALUES ($1::int, 'bound', 0)", 1),
                           (f"DELETE FROM {t} WHERE id = $1::int RETURNING id", 1)), side, True)

    def values(self, count):
        return [self.pick("1", "2", "3", "5", "8", None, "x" if self.chance(0.1) else "4") for _ in range(count)]

    def extended(self):
        """One statement of a pipeline."""
        way = self.random.choices(["sql", "parameters", "prepared", "verb", "bad", "close"], [6, 4, 4, 1, 0.6, 0.4])[0]
        found = self.usable() if way == "prepared" else None
        if found:
            name, (_, count, _) = found
            portal = self.name("p") if self.chance(0.2) else ""
            self.bind(portal, name, self.values(count), self.chance(0.2))
            if self.chance(0.5):
                self.describe("P", portal)
            self.execute(portal)
        elif way == "parameters":
            sql, count, _, _ = self.parameterised()
            self.one_cycle(sql, self.values(count))
        elif way == "verb":
            self.one_cycle(self.verb())
        elif way == "bad":
            self.pick(lambda: self.bind("", "no such"), lambda: self.execute("no such"), lambda: self.describe("S", "?"),
                      lambda: self.parse("", "SELECT 1; SELECT 2"), lambda: self.one_cycle(""),
                      lambda: self.describe("P", "?"))()
        elif way == "close":
            self.close(self.pick("S", "P"), self.pick("", "no such"))
        else:
            self.one_cycle(self.sql())

    # -- steps

    def step_simple(self):
        self.query(self.sql())

    def step_verb(self):
        self.query(self.verb())

    def step_several(self):
        count = self.random.randint(2, 5)
        self.several = not self.rude
        texts = [self.sql() if self.chance(0.85) else self.verb() for _ in range(count)]
        self.several = False
        self.query("; ".join(texts) + self.pick("", ";", " ; ; "))

    def step_empty(self):
        self.query(self.pick("", ";", "-- nothing", " /* nothing */ ; "))

    def step_queries(self):
        """Several queries in one write."""
        for _ in range(self.random.randint(2, 4)):
            self.query(self.sql())

    def step_transactions(self):
        """Whole transactions in one write, each on a side of its own."""
        if self.status != "I" and not self.rude:
            return self.step_simple()
        for _ in range(self.random.randint(1, 3)):
            self.side = None
            self.query("BEGIN")
            for _ in range(self.random.randint(1, 3)):
                self.query(self.sql())
            self.query(self.pick("COMMIT", "ROLLBACK"))
        return None

    def step_pipeline(self):
        groups = self.random.randint(1, 4)
        for _ in range(groups):
            for _ in range(self.random.randint(0 if groups > 1 else 1, 4)):
                self.extended()
            self.sync()

    def step_alternating(self):
        """Pipelines in one write that write here and there, each for itself."""
        if self.status != "I" and not self.rude:
            return self.step_pipeline()
        for _ in range(self.random.randint(2, 5)):
            self.side = None
            for _ in range(self.random.randint(1, 2)):
                self.one_cycle(self.pick(self.read, self.neutral, lambda: self.write(self.write_side()))())
            self.sync()
        return None

    def step_mixed(self):
        """Pipelines and queries in one write."""
        for _ in range(self.random.randint(2, 4)):
            if self.chance(0.5):
                self.query(self.sql())
            else:
                self.extended()
                self.sync()

    def step_flush(self):
        """Answers are read up to the Execute's before Sync is sent."""
        self.one_cycle(self.sql())
        self.messages = [each for each in self.messages if each[0] != "H"]
        while self.messages[-1][0] != "E":
            self.messages.pop()
        self.text.append("Flush, wait, Sync")
        self.messages.append(("H", wire.flush()))
        self.messages.append(("S", wire.sync()))
        return "CIsEG"

    def step_prepare(self):
        sql, count, side, writes = self.parameterised()
        name = self.name("s")
        if self.prepared and self.chance(0.1):
            name = self.random.choice(sorted(self.prepared))  # taken already
        if self.chance(0.7):
            self.parse(name, sql)
            if self.chance(0.5):
                self.describe("S", name)
            self.sync()
        else:
            name = self.name("s")
            self.query(f"PREPARE {name} AS {sql}")
        self.made = lambda: self.prepared.setdefault(name, (side, count, writes))

    def step_unprepare(self):
        if not self.prepared:
            return self.step_simple()
        name = self.random.choice(sorted(self.prepared))
        del self.prepared[name]
        if self.chance(0.5):
            self.close("S", name)
            self.sync()
        else:
            self.query(f"DEALLOCATE {name}")
        return None

    def step_portal(self):
        """A portal that is read bit by bit over several Syncs of a block."""
        portal = self.name("p")
        self.parse("", f"SELECT id, v FROM {self.table(self.any_side())} ORDER BY id")
        self.bind(portal, "", (), self.chance(0.3))
        self.execute(portal, 2)
        self.sync()
        if self.chance(0.5):
            self.query(self.read())
        self.execute(portal, self.random.randint(0, 2))
        if self.chance(0.5):
            self.close("P", portal)
        self.sync()

    def step_cursor(self):
        name, side = self.name("c"), self.any_side()
        hold = self.pick("", "", "WITH HOLD ")
        self.query(f"DECLARE {name} CURSOR {hold}FOR SELECT id, v FROM {self.table(side)} ORDER BY id")
        if self.chance(0.5):
            self.query(f"FETCH 1 FROM {name}")
        if self.chance(0.3):
            self.query(self.pick(f"CLOSE {name}", "CLOSE ALL"))
        else:
            self.made = lambda: self.cursors.setdefault(name, side)

    def step_temporary(self):
        name, side = self.name("temp"), self.any_side()
        self.query(f"CREATE TEMP TABLE {name} AS SELECT id, v FROM {self.table(side)} WHERE id < 4")
        self.query(f"INSERT INTO {name} VALUES (9, 'nine')")
        self.query(f"SELECT * FROM {name} ORDER BY id")
        if self.chance(0.4):
            self.query(f"DROP TABLE {name}")
        else:
            self.made = lambda: self.temporary.setdefault(name, side)

    def step_copy_out(self):
        t = self.table(self.any_side())
        sql = self.pick(f"COPY {t} TO STDOUT", f"COPY (SELECT id FROM {t} ORDER BY 1) TO STDOUT (FORMAT csv)",
                        f"COPY (SELECT 1 / (n - n) FROM {t}) TO STDOUT", f"COPY {t} (id) TO STDOUT; SELECT 1")
        if self.chance(0.7) or ";" in sql:
            self.query(sql)
        else:
            self.one_cycle(sql)
            self.sync()

    def step_copy_in(self):
        t, k = self.table(self.write_side()), self.random.randint(30, 60)
        sql = self.pick(f"COPY {t} FROM STDIN", f"COPY {t} (id, v) FROM STDIN (FORMAT csv)", f"COPY {t} (nothing) FROM STDIN")
        if self.chance(0.2):
            sql = f"{self.read()}; {sql}; {self.read()}"
        rows = self.pick(f"{k}\tcopied\t1\n", f"{k},copied\n", "1\ttwice\t1\n", "not a number\n", "")
        extended = self.chance(0.4) and ";" not in sql
        if extended:
            self.parse("", sql)
            self.bind("", "")
            self.execute("")
        else:
            self.query(sql)
        for _ in range(self.random.randint(0, 2)):
            self.add("d", wire.copy_data(rows), f"CopyData {rows!r}")
        if self.chance(0.8):
            self.add("c", wire.copy_done(), "CopyDone")
        else:
            self.add("f", wire.copy_fail("on purpose"), "CopyFail")
        if extended:
            self.sync()

    def step_notify(self):
        self.query(self.pick("LISTEN one", "NOTIFY one", "NOTIFY one, 'payload'", "UNLISTEN *", "LISTEN two",
                             "SELECT pg_notify('two', 'p')"))

    def step_forget(self):
        self.query(self.pick("DISCARD ALL", "DEALLOCATE ALL", "DISCARD TEMP", "CLOSE ALL", "DISCARD PLANS", "RESET ALL",
                             "DEALLOCATE PREPARE ALL"))
        self.prepared, self.temporary, self.cursors = {}, {}, {}

    STEPS = {"simple": 8, "verb": 9, "several": 6, "empty": 0.4, "queries": 3, "transactions": 2, "pipeline": 7,
             "alternating": 3, "mixed": 3, "flush": 2, "prepare": 3, "unprepare": 0.7, "portal": 1.5, "cursor": 2,
             "temporary": 1, "copy_out": 1, "copy_in": 2, "notify": 0.7, "forget": 0.6}

    def step(self):
        self.messages, self.text, self.made = [], [], None
        kind = self.random.choices(list(self.STEPS), list(self.STEPS.values()))[0]
        wait = getattr(self, "step_" + kind)()
        return Step("; ".join(self.text), self.messages, wait)

    def answered(self, messages):
        """What came back for the last step."""
        failed = any(each.type == "E" for each in messages)
        self.status = messages[-1].body.decode()
        if failed or self.status == "E":
            self.temporary, self.cursors = {}, {}
        tags = wire.tags(messages)
        if any(tag.startswith("ROLLBACK") for tag in tags):
            self.temporary, self.cursors = {}, {}
        if self.status == "I":
            self.side, self.cursors, self.savepoints = None, {}, []
        if self.made and not failed:
            self.made()


def shortened(step):
    """The step with each of its messages left out in turn, where the rest still makes sense."""
    for index in range(len(step.messages) - 1):
        messages = step.messages[:index] + step.messages[index + 1:]
        if step.messages[-1][0] == "S" or all(kind in "Q" for kind, _ in messages):
            yield step._replace(messages=messages)


def describe(step):
    """The step for people, message by message."""
    parts = []
    for kind, data in step.messages:
        body = data[5:]
        if kind == "E":
            portal, rows = body[:-4].rstrip(b"\0"), struct.unpack(">I", body[-4:])[0]
            parts.append(f"E {portal.decode()!r} {rows}")
        else:
            parts.append(f"{kind} {body.rstrip(bytes(1)).decode(errors='backslashreplace').replace(chr(0), '|')}".strip())
    return " · ".join(parts) + (f"   (reads up to {step.wait} before the last)" if step.wait else "")
