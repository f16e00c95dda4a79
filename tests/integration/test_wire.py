"""Through the proxy a client reads byte for byte what it would read from PostgreSQL itself. One list of conversations, all
compared in one way; longer than a file should be, so that it can be read through."""

import struct

import pytest

import wire
from compare import SIDES, connections, plain
from harness import POOL_MODE, wait_until


@pytest.fixture(params=sorted(SIDES))
def same(request, proxy):
    """same(script): runs `script(connection, table)` on both and compares all that came back."""
    opened = []

    def run(script):
        direct, through = connections(proxy, request.param)
        opened.extend((direct, through))
        expected, got = plain(script(direct, SIDES[request.param])), plain(script(through, SIDES[request.param]))
        assert got == expected
        assert plain(through.query("SELECT 1")) == plain(direct.query("SELECT 1"))
        return got
    yield run
    for each in opened:
        each.close()


# --- simple queries ---

SIMPLE = {
    "select": "SELECT id FROM {t} ORDER BY id LIMIT 3",
    "no rows": "SELECT id FROM {t} WHERE false",
    "empty": "",
    "a semicolon": ";",
    "a comment": "-- nothing",
    "several": "SELECT 1; SELECT id FROM {t} WHERE id = 1; SELECT 2",
    "several with an empty one": "SELECT 1;; ;SELECT 2",
    "error": "SELECT 1/0 FROM {t}",
    "error between": "SELECT 1 FROM {t} WHERE id = 1; SELECT 1/0 FROM {t}; SELECT 3",
    "syntax error": "SELEC id FROM {t}",
    "syntax error after a statement": "SELECT id FROM {t}; SELEC",
    "unknown column": "SELECT nothing FROM {t}",
    "nulls and types": "SELECT NULL, 1::int2, 'x'::bytea, ARRAY[1,NULL], ROW(1,'a'), now() IS NULL FROM {t} WHERE id = 1",
    "notice": "DO $$ BEGIN RAISE NOTICE 'hi from %', (SELECT max(id) FROM {t} WHERE id = 1); END $$",
    "warnings and error with fields": "DO $$ BEGIN PERFORM 1 FROM {t}; RAISE WARNING 'w'; RAISE EXCEPTION 'x' USING"
                                      " ERRCODE = 'P0042', DETAIL = 'd', HINT = 'h', TABLE = 't', COLUMN = 'c',"
                                      " CONSTRAINT = 'k', DATATYPE = 'y', SCHEMA = 's'; END $$",
    "set": "SET application_name = 'x'; SHOW application_name",
    "set with a parameter status": "SET DateStyle = 'SQL, DMY'",
    "set to an error": "SET work_mem = 'x'",
    "block": "BEGIN; SELECT id FROM {t} WHERE id = 1; COMMIT",
    "block that fails": "BEGIN; SELECT 1/0 FROM {t}; COMMIT",
    "commit outside": "COMMIT",
    "rollback outside": "ROLLBACK",
    "update": "BEGIN; UPDATE {t} SET name = name WHERE id = 1 RETURNING id; ROLLBACK",
    "explain": "EXPLAIN (COSTS OFF) SELECT * FROM {t}",
    "show": "SHOW server_version",
    "show all kinds": "SHOW transaction_isolation; SHOW TIME ZONE",
    "cursor": "BEGIN; DECLARE c CURSOR FOR SELECT id FROM {t} ORDER BY id; FETCH 2 FROM c; MOVE 1 FROM c; CLOSE c; COMMIT",
    "prepare": "PREPARE p AS SELECT id FROM {t} WHERE id = $1; EXECUTE p(1); DEALLOCATE p",
    "temporary table": "CREATE TEMP TABLE x AS SELECT id FROM {t} WHERE id < 3; SELECT id + 0 FROM x ORDER BY 1; DROP TABLE x",
    "listen": "LISTEN a; UNLISTEN a",
    "unknown function": "SELECT no_such_function(1) FROM {t}",
    "discard": "DISCARD ALL",
    "a name in a regclass literal": "SELECT '{t}'::regclass",
    "values and table": "VALUES (1, 'a'), (2, 'b')",
}


@pytest.mark.parametrize("name", SIMPLE)
def test_simple_query(same, name):
    same(lambda connection, table: connection.query(SIMPLE[name].format(t=table)))


def test_a_block_over_several_messages(same):
    def script(connection, table):
        messages = []
        for text in ("BEGIN", f"SELECT id FROM {table} WHERE id = 1", "SAVEPOINT a", f"SELECT 1/0 FROM {table}",
                     "SELECT 1", f"SELECT id FROM {table}", "ROLLBACK TO a", f"SELECT id FROM {table} WHERE id = 2",
                     "RELEASE a", "COMMIT"):
            messages += connection.query(text)
        return messages
    assert "I" in [got[1].decode() for got in same(script) if got[0] == "Z"]


def test_commit_of_a_failed_block(same):
    same(lambda connection, table: connection.query("BEGIN") + connection.query(f"SELECT 1/0 FROM {table}")
         + connection.query("COMMIT"))


def test_a_wide_and_a_long_result(same):
    same(lambda connection, table: connection.query(
        f"SELECT repeat('x', 3000000), n FROM generate_series(1, 3) n, {table} WHERE id = 1"))
    same(lambda connection, table: connection.query(
        f"SELECT n, 'row ' || n FROM generate_series(1, 20000) n, {table} WHERE id = 1"))


def test_a_long_query_text(same):
    def script(connection, table):
        return connection.query(f"SELECT length('{'y' * 3_000_000}') FROM {table} WHERE id = 1")
    same(script)


# --- the extended protocol ---

def extended(*parts):
    return lambda connection, table: connection.exchange(
        *(part(table) if callable(part) else part for part in parts), wire.sync())


def select(condition="id = $1", columns="id", types=()):
    return lambda table: wire.parse("", f"SELECT {columns} FROM {table} WHERE {condition} ORDER BY id", types)


EXTENDED = {
    "a whole cycle": [select(), wire.bind(values=["1"]), wire.describe(), wire.execute()],
    "without describe": [select(), wire.bind(values=["1"]), wire.execute()],
    "describe of a statement": [select("id = $1 AND name = $2"), wire.describe("S")],
    "types given": [select(types=[20]), wire.describe("S"), wire.bind(values=["2"]), wire.execute()],
    "binary both ways": [select(types=[20]), wire.bind(values=[struct.pack(">q", 1)], formats=[1], result_formats=[1]),
                         wire.describe(), wire.execute()],
    "a null parameter": [select(), wire.bind(values=[None]), wire.execute()],
    "named statement and portal": [lambda t: wire.parse("s", f"SELECT id FROM {t} WHERE id < $1 ORDER BY id"),
                                   wire.bind("p", "s", values=["4"]), wire.describe("P", "p"), wire.execute("p"),
                                   wire.close("P", "p"), wire.close("S", "s")],
    "one statement twice": [lambda t: wire.parse("s", f"SELECT id FROM {t} WHERE id = $1"),
                            wire.bind("", "s", values=["1"]), wire.execute(), wire.bind("", "s", values=["2"]),
                            wire.execute(), wire.close("S", "s")],
    "close of what isn't there": [wire.close("S", "nothing"), wire.close("P", "nothing")],
    "bind of what isn't there": [wire.bind("", "nothing"), wire.execute()],
    "describe of what isn't there": [wire.describe("S", "nothing")],
    "describe of a portal that isn't there": [wire.describe("P", "nothing")],
    "execute of what isn't there": [wire.execute("nothing")],
    "a statement twice parsed": [select(), wire.parse("dup", "SELECT 1"), wire.parse("dup", "SELECT 2")],
    "empty query": [wire.parse("", ""), wire.bind(), wire.describe(), wire.execute()],
    "only a comment": [wire.parse("", "/* nothing */"), wire.describe("S"), wire.bind(), wire.execute()],
    "no result": [wire.parse("", "SET application_name = 'e'"), wire.bind(), wire.describe(), wire.execute()],
    "an update": [lambda t: wire.parse("", f"UPDATE {t} SET name = name WHERE id = $1"), wire.bind(values=["1"]),
                  wire.describe(), wire.execute()],
    "an update that returns": [lambda t: wire.parse("", f"UPDATE {t} SET name = name WHERE id = $1 RETURNING id"),
                               wire.describe("S"), wire.bind(values=["1"]), wire.execute()],
    "an error in parse": [wire.parse("", "SELEC"), wire.bind(), wire.execute()],
    "an error in bind": [select(types=[20]), wire.bind(values=["x"]), wire.execute()],
    "too few parameters": [select(), wire.bind(values=[]), wire.execute()],
    "an error in execute": [select("id / 0 > 1"), wire.bind(), wire.execute()],
    "an error in the middle skips to sync": [select(), wire.bind(values=["1"]), wire.execute(), wire.parse("", "SELEC"),
                                             select(), wire.bind(values=["2"]), wire.execute()],
    "several statements in parse": [wire.parse("", "SELECT 1; SELECT 2"), wire.bind(), wire.execute()],
    "a portal in parts": [select("id <= 5"), wire.bind(), wire.execute("", 2), wire.execute("", 2), wire.execute("", 2)],
    "a portal run twice": [select("id <= 2"), wire.bind(), wire.execute(), wire.execute()],
    "a block": [wire.parse("", "BEGIN"), wire.bind(), wire.execute(), select(), wire.bind(values=["1"]), wire.execute(),
                wire.parse("", "COMMIT"), wire.bind(), wire.execute()],
    "a flush in between": [select(), wire.flush(), wire.bind(values=["1"]), wire.flush(), wire.execute()],
    "nothing": [],
    "a query with a position": [select("nothing = $1")],
}


@pytest.mark.parametrize("name", EXTENDED)
def test_extended_query(same, name):
    same(extended(*EXTENDED[name]))


def test_a_name_closed_and_given_again_in_what_is_skipped_keeps_its_statement(same):
    def script(connection, table):
        again = [part for n in range(3) for part in (wire.close("S", "s"), wire.parse("s", f"SELECT {n}"))]
        messages = connection.exchange(wire.parse("s", f"SELECT id FROM {table} WHERE id = $1"), wire.sync())
        messages += connection.exchange(wire.parse("", "SELECT 1 / 0"), wire.bind(), wire.execute(), *again, wire.sync())
        return messages + connection.exchange(wire.bind("", "s", values=["1"]), wire.execute(), wire.sync())
    same(script)


def test_two_syncs_at_once(same):
    def script(connection, table):
        cycle = [wire.parse("", f"SELECT id FROM {table} WHERE id = 1"), wire.bind(), wire.execute(), wire.sync()]
        connection.send(*cycle, *cycle)
        return connection.read_until() + connection.read_until()
    same(script)


def test_flush_gives_the_answers_so_far(same):
    def script(connection, table):
        messages = connection.exchange(wire.parse("", f"SELECT id FROM {table} WHERE id = 1"), wire.flush(), until="1")
        messages += connection.exchange(wire.bind(), wire.flush(), until="2")
        messages += connection.exchange(wire.describe(), wire.flush(), until="T")
        messages += connection.exchange(wire.execute(), wire.flush(), until="C")
        return messages + connection.exchange(wire.sync())
    same(script)


def test_an_error_before_flush_is_sent_at_once(same):
    def script(connection, table):
        messages = connection.exchange(wire.parse("", "SELEC"), until="E")
        return messages + connection.exchange(wire.bind(), wire.execute(), wire.sync())
    same(script)


def test_a_portal_that_is_suspended_over_several_syncs_of_a_block(same):
    def script(connection, table):
        messages = connection.query("BEGIN")
        messages += connection.exchange(wire.parse("", f"SELECT id FROM {table} ORDER BY id"), wire.bind("p"),
                                        wire.execute("p", 2), wire.sync())
        messages += connection.exchange(wire.execute("p", 3), wire.sync())
        messages += connection.exchange(wire.execute("p", 1), wire.close("P", "p"), wire.sync())
        return messages + connection.query("COMMIT")
    same(script)


def test_simple_and_extended_in_one_write(same):
    def script(connection, table):
        connection.send(wire.query(f"SELECT id FROM {table} WHERE id = 1"), wire.parse("", "SELECT 2"), wire.bind(),
                        wire.execute(), wire.sync(), wire.query("SELECT 3"))
        return connection.read_until() + connection.read_until() + connection.read_until()
    same(script)


def test_a_hundred_pipelined_statements(same):
    def script(connection, table):
        parts = []
        for n in range(100):
            parts += [wire.parse("", f"SELECT id, {n} FROM {table} WHERE id = 1"), wire.bind(), wire.describe(), wire.execute()]
        return connection.exchange(*parts, wire.sync())
    same(script)


def test_a_large_parameter(same):
    same(lambda connection, table: connection.exchange(
        wire.parse("", f"SELECT length($1::text) FROM {table} WHERE id = 1"), wire.bind(values=["z" * 5_000_000]),
        wire.execute(), wire.sync()))


def test_unnamed_statement_is_replaced_by_a_simple_query(same):
    def script(connection, table):
        messages = connection.exchange(wire.parse("", f"SELECT id FROM {table} WHERE id = 1"), wire.sync())
        messages += connection.query("SELECT 1")
        return messages + connection.exchange(wire.bind(), wire.execute(), wire.sync())
    same(script)


def test_named_statements_outlive_transactions_until_closed(same):
    def script(connection, table):
        messages = connection.exchange(wire.parse("keep", f"SELECT id FROM {table} WHERE id = $1"), wire.sync())
        messages += connection.query("BEGIN") + connection.query("SELECT 1/0")
        messages += connection.query("ROLLBACK")
        messages += connection.exchange(wire.bind("", "keep", values=["1"]), wire.execute(), wire.sync())
        messages += connection.exchange(wire.close("S", "keep"), wire.sync())
        return messages + connection.exchange(wire.bind("", "keep", values=["1"]), wire.execute(), wire.sync())
    same(script)


def test_a_long_result_that_pauses(same):
    same(lambda connection, table: connection.query(
        "SELECT repeat('x', 1000), CASE WHEN i % 2000 = 0 THEN pg_sleep(0.01) END FROM generate_series(1, 12000) i"))


# --- COPY ---

def test_copy_out(same):
    same(lambda connection, table: connection.query(f"COPY (SELECT id FROM {table} WHERE id < 4 ORDER BY id) TO STDOUT"))


def test_copy_out_binary_and_csv(same):
    same(lambda connection, table: connection.query(f"COPY (SELECT id FROM {table} WHERE id = 1) TO STDOUT (FORMAT binary)"))
    same(lambda connection, table: connection.query(f"COPY (SELECT id FROM {table} WHERE id = 1) TO STDOUT (FORMAT csv, HEADER)"))


def test_copy_out_extended(same):
    same(extended(lambda t: wire.parse("", f"COPY (SELECT id FROM {t} WHERE id < 3 ORDER BY id) TO STDOUT"), wire.bind(),
                  wire.describe(), wire.execute()))


def test_copy_out_that_fails(same):
    same(lambda connection, table: connection.query(f"COPY (SELECT 1/(id-2) FROM {table} ORDER BY id) TO STDOUT"))


def copy_in(end, *chunks):
    def script(connection, table):
        messages = connection.query("BEGIN")
        before, after = connection.copy_in(f"COPY {table} (id, name{', path' if table == 'projects' else ''}) FROM STDIN",
                                           *(chunk.replace("|", "\t/p" if table == "projects" else "") for chunk in chunks),
                                           end=end)
        messages += before + after + connection.query(f"SELECT count(*) FROM {table} WHERE id > 900000")
        return messages + connection.query("ROLLBACK")
    return script


def test_copy_in(same):
    same(copy_in(None, "900001\ta|\n", "900002\tb|\n900003\t", "c|\n"))


def test_copy_in_that_the_client_fails(same):
    same(copy_in(wire.copy_fail("no more"), "900001\ta|\n"))


def test_copy_in_of_bad_rows(same):
    same(copy_in(None, "900001\ta|\n", "not a number\tb|\n"))


def test_copy_in_with_flush_and_sync_among_the_data(same):
    def script(connection, table):
        messages = connection.query("BEGIN")
        connection.send(wire.query(f"COPY {table} (id, name{', path' if table == 'projects' else ''}) FROM STDIN"))
        messages += connection.read_until("G")
        row = "900001\ta\t/p\n" if table == "projects" else "900001\ta\n"
        messages += connection.exchange(wire.flush(), wire.copy_data(row), wire.sync(), wire.copy_done())
        return messages + connection.query("ROLLBACK")
    same(script)


def test_copy_in_extended(same):
    def script(connection, table):
        columns = "id, name, path" if table == "projects" else "id, name"
        row = "900001\ta\t/p\n" if table == "projects" else "900001\ta\n"
        messages = connection.query("BEGIN")
        messages += connection.exchange(wire.parse("", f"COPY {table} ({columns}) FROM STDIN"), wire.bind(),
                                        wire.describe(), wire.execute(), wire.flush(), until="G")
        messages += connection.exchange(wire.copy_data(row), wire.copy_done(), wire.sync())
        return messages + connection.query("ROLLBACK")
    same(script)


@pytest.mark.parametrize("message", [wire.query("SELECT 1"), wire.bind(), wire.function_call(1598)])
@pytest.mark.parametrize("table", SIDES.values())
def test_another_message_during_copy_in_is_a_protocol_violation(proxy, table, message):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        connection.exchange(wire.query(f"COPY {table} (id) FROM STDIN"), until="G")
        connection.send(wire.copy_data("900001\n"), message)
        assert wire.errors(connection.read_to_end())[-1]["C"] == "08P01"


def test_copy_data_outside_copy_is_ignored(same):
    def script(connection, table):
        connection.send(wire.copy_data("stray"), wire.copy_done(), wire.copy_fail("stray"))
        return connection.query(f"SELECT id FROM {table} WHERE id = 1")
    same(script)


def test_several_statements_with_a_copy_in_between(same):
    def script(connection, table):
        return connection.query(f"SELECT 1; COPY (SELECT id FROM {table} WHERE id < 3 ORDER BY id) TO STDOUT; SELECT 2")
    same(script)


@pytest.mark.parametrize("sql, statement, values", [
    ("SELECT id FROM {} WHERE id = $1", "", ["1"]),
    ("SELECT id FROM {} WHERE id = $1", "", []),  # refused by the server
    ("SELECT id FROM {} WHERE id = $1", "unknown", []),
    ("UPDATE {} SET id = id WHERE id = $1", "", ["1"]),
    ("BEGIN", "", []),
    ("", "", []),
])
def test_describe_right_behind_bind(same, sql, statement, values):
    same(lambda connection, table: connection.exchange(
        wire.parse("", sql.format(table)), wire.bind("", statement, values=values), wire.describe("P", ""),
        wire.describe("P", ""), wire.execute(), wire.sync()) + connection.query("ROLLBACK"))


# --- splits ---

def conversation(table):
    return b"".join([
        wire.query(f"SELECT id FROM {table} WHERE id = 1"),
        wire.parse("s", f"SELECT id FROM {table} WHERE id = $1"), wire.bind("p", "s", values=["2"]),
        wire.describe("P", "p"), wire.execute("p", 1), wire.close("S", "s"), wire.sync(),
        wire.parse("", f"SELECT id FROM {table} WHERE id = $1"), wire.bind(values=["2"]), wire.describe("P", ""), wire.execute(),
        wire.sync(),
        wire.query("SELECT 1/0"),
        wire.query(f"COPY (SELECT id FROM {table} WHERE id = 1) TO STDOUT"),
    ])


def converse(connection, table, send):
    send(connection, conversation(table))
    return [message for _ in range(5) for message in connection.read_until()]


def test_messages_that_arrive_byte_by_byte(same):
    same(lambda connection, table: converse(connection, table, lambda c, data: c.send_split(data)))


def test_messages_split_at_every_byte(proxy):
    table = SIDES["ci"]
    data = conversation(table)
    direct, through = connections(proxy, "ci")
    expected = plain(converse(direct, table, lambda c, d: c.send(d)))
    for position in range(1, len(data)):
        assert plain(converse(through, table, lambda c, d: c.send_split(d, position))) == expected, position
    direct.close()
    through.close()


# --- the two databases in one conversation ---

def test_a_pipeline_that_alternates_keeps_the_order_of_answers(proxy):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        parts = []
        for n in range(50):
            table = "projects" if n % 2 else "ci_builds"
            parts += [wire.parse("", f"SELECT {n} FROM {table} WHERE id = 1"), wire.bind(), wire.execute()]
        messages = connection.exchange(*parts, wire.sync())
        assert [int(row[0]) for row in wire.rows(messages)] == list(range(50))
        assert wire.types(messages) == "12DC" * 50 + "Z"


def test_an_error_in_a_pipeline_over_two_databases_skips_to_sync(proxy):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        def cycle(text):
            return [wire.parse("", text), wire.bind(), wire.execute()]
        messages = connection.exchange(*cycle("SELECT 1 FROM projects WHERE id = 1"), *cycle("SELECT 1/0 FROM ci_builds"),
                                       *cycle("SELECT 3 FROM projects"), wire.sync())
        assert wire.types(messages) == "12DC1EZ"  # a constant is folded when the portal is bound
        assert messages[-1].body == b"I"


def test_a_rejection_in_a_pipeline_skips_to_sync(proxy):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        messages = connection.exchange(
            wire.parse("", "SELECT 1 FROM projects WHERE id = 1"), wire.bind(), wire.execute(),
            wire.parse("", "SELECT 1 FROM projects, ci_builds"), wire.bind(), wire.execute(),
            wire.parse("", "SELECT 3"), wire.bind(), wire.execute(), wire.sync())
        assert wire.types(messages) == "12DCEZ"
        assert wire.errors(messages)[0]["C"] == "XD001"
        assert wire.rows(connection.query("SELECT 1")) == [[b"1"]]


def test_parameter_status_comes_once_for_both_databases(proxy):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        connection.query("SELECT 1 FROM ci_builds")
        messages = connection.query("SET application_name = 'once'")
        messages += connection.query("SELECT 1 FROM ci_builds WHERE id = 1")
        messages += connection.query("SELECT 1 FROM projects WHERE id = 1")
        assert wire.types(messages).count("S") == 1


def test_a_portal_on_each_database_at_once(proxy):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        connection.query("BEGIN")
        connection.exchange(wire.parse("m", "SELECT id FROM projects ORDER BY id"), wire.bind("m", "m"),
                            wire.parse("c", "SELECT id FROM ci_builds ORDER BY id"), wire.bind("c", "c"), wire.sync())
        messages = connection.exchange(wire.execute("m", 2), wire.execute("c", 2), wire.execute("m", 1),
                                       wire.execute("c", 1), wire.sync())
        assert wire.types(messages) == "DDsDDsDsDsZ"
        connection.query("COMMIT")


def test_an_implicit_transaction_over_two_databases_answers_as_one(proxy):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        messages = connection.query("SELECT 1 FROM projects WHERE id = 1; SELECT 2 FROM ci_builds WHERE id = 1; SELECT 3")
        assert wire.types(messages) == "TDCTDCTDCZ"
        assert wire.tags(messages) == ["SELECT 1"] * 3


# --- function call ---

def test_a_function_call_passes_on_a_pinned_entrypoint(proxy):
    oid = proxy.main.value("SELECT 'int4pl'::regproc::oid::int")
    call = wire.function_call(oid, ["40", "2"])
    with wire.connect("127.0.0.1", proxy.main.port, user="app", database="app") as direct, \
            wire.connect("127.0.0.1", proxy.port, user="app", database="app_main") as through:
        assert plain(through.exchange(call)) == plain(direct.exchange(call))


def test_a_function_call_is_refused_or_answered_on_a_routed_entrypoint(proxy):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        messages = connection.exchange(wire.function_call(177, ["40", "2"]))
        assert wire.types(messages) in ("VZ", "EZ")
        for error in wire.errors(messages):
            assert error["C"] in ("0A000", "XD007") and error["M"]
        assert wire.types(connection.query("SELECT 1")) == "TDCZ"


# --- asynchronous messages and cancelling ---

def test_a_notification_arrives_while_idle(proxy):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as listener, \
            wire.connect("127.0.0.1", proxy.port, user="app", database="app") as sender:
        listener.query("LISTEN c")
        sender.query("NOTIFY c, 'payload'")
        got = listener.read()
        assert got.type == "A"
        assert got.body[4:] == b"c\0payload\0"
        # A client that shares connections has a process id of its own.
        assert POOL_MODE == "transaction" or got.body[:4] == struct.pack(">I", sender.pid)


@pytest.mark.parametrize("side", sorted(SIDES))
def test_cancel_reaches_the_running_link(proxy, side):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        connection.send(wire.query(f"SELECT pg_sleep(60) FROM {SIDES[side]} WHERE id = 1"))
        cluster = getattr(proxy, side)
        wait_until(lambda: cluster.backends("SELECT pg_sleep(60)%"), "the query to run")
        connection.cancel()
        assert wire.errors(connection.read_until())[0]["C"] == "57014"
        assert wire.types(connection.query("SELECT 1")) == "TDCZ"


def test_cancel_with_a_wrong_key_does_nothing(proxy):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        connection.cancel(key=connection.key ^ 1)
        connection.cancel(pid=1)
        assert wire.types(connection.query("SELECT 1")) == "TDCZ"


def test_a_statement_of_prepare_that_is_bound_by_name_counts_as_execute_does(proxy):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        connection.query("PREPARE p AS UPDATE issues SET title = title WHERE id = 1")
        connection.query("BEGIN")
        connection.query("UPDATE ci_runners SET description = description WHERE id = 1")
        messages = connection.exchange(wire.bind("", "p"), wire.execute(), wire.sync())
        assert wire.errors(messages)[0]["C"] == "XD002"
        connection.query("ROLLBACK")
        messages = connection.exchange(wire.bind("", "p"), wire.execute(), wire.sync())
        assert wire.tags(messages) == ["UPDATE 1"]
