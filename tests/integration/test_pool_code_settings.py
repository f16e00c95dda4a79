"""What set_config() and DO set in a block, where their text doesn't say it: it lasts for as long as on a direct connection, on
both databases and whoever had the connection."""

import pytest

import wire
from pooling import done, extended, own_mode, rows, simple, value

pytestmark = own_mode

COMPUTED = {
    "set_config() for good": "SELECT set_config('work_mem', 5 + 3 || 'MB', random() > 2)",
    "set_config() for the transaction": "SELECT set_config('work_mem', 5 + 3 || 'MB', random() < 2)",
    "a DO block for good": "DO $$ BEGIN PERFORM set_config('work_mem', 5 + 3 || 'MB', false); END $$",
    "a DO block for the transaction": "DO $$ BEGIN PERFORM set_config('work_mem', 5 + 3 || 'MB', true); END $$",
}


@pytest.mark.parametrize("then", [("BEGIN",), ("COMMIT", "BEGIN")])
@pytest.mark.parametrize("how", ["a pipeline", "one text"])
@pytest.mark.parametrize("what", COMPUTED)
def test_what_a_transaction_set_is_not_mixed_up_with_the_next_ones_set_local(make_pool, main_cluster, what, how, then):
    texts = [*(["BEGIN"] if len(then) > 1 else []), COMPUTED[what], *then, "SET LOCAL work_mem = '9MB'"]

    def values(client, elsewhere):
        if how == "a pipeline":
            parts = [wire.parse("", text) + wire.bind() + wire.execute() for text in texts]
            done(client.exchange(*parts, wire.sync()))
        else:
            done(client.query("; ".join(texts)))
        within = value(client, "SHOW work_mem")
        done(client.query("COMMIT"))
        elsewhere()
        return within, value(client, "SHOW work_mem")
    with wire.connect("127.0.0.1", main_cluster.port, "app", "app") as direct:
        expected = values(direct, lambda: None)
    proxy = make_pool(size=1)
    with proxy.wire() as client, proxy.wire() as other:
        got = values(client, lambda: other.query("SET work_mem = '6MB'"))
    assert got == expected


TWO = "SELECT set_config('work_mem', '6MB', {}), set_config('intervalstyle', 'iso_8601', {})"
DO = "DO $$ BEGIN PERFORM set_config('work_mem', '6MB', {}); END $$"
CODE = {
    "DO": [DO.format("false")],
    "DO, locally": [DO.format("true")],
    "DO after SET LOCAL of the same": ["SET LOCAL work_mem = '5MB'", DO.format("false")],
    "DO, locally, after SET LOCAL of the same": ["SET LOCAL work_mem = '5MB'", DO.format("true")],
    "DO before SET LOCAL of the same": [DO.format("false"), "SET LOCAL work_mem = '5MB'"],
    "DO after SET LOCAL of another": ["SET LOCAL datestyle = 'German'", DO.format("false")],
    "DO behind a savepoint that is undone": ["SAVEPOINT a", DO.format("false"), "ROLLBACK TO a"],
    "two in one statement": [TWO.format("false", "false")],
    "two in one statement, locally": [TWO.format("true", "true")],
    "two in one statement, the first locally": [TWO.format("true", "false")],
    "two in one statement, the second locally": [TWO.format("false", "true")],
}
ENDS = {"COMMIT": ["COMMIT"], "ROLLBACK": ["ROLLBACK"], "COMMIT AND CHAIN": ["COMMIT AND CHAIN", "ROLLBACK"]}


def seen(client, statements, table):
    """What a client sees of its settings after each statement."""
    found = []
    for sql in statements:
        done(client.query(sql))
        found.append((sql, rows(done(client.query(
            f"SELECT current_setting('work_mem'), current_setting('intervalstyle'), current_setting('datestyle'), "
            f"current_setting('transaction_read_only') FROM (SELECT count(*) FROM {table}) x")))))
    return found


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("code", CODE.values(), ids=CODE)
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_what_code_sets_in_a_block_lasts_as_the_server_says(make_pool, main_cluster, mode, code, end):
    proxy = make_pool(mode, size=1)
    statements = ["BEGIN READ ONLY", *code, *end, "SELECT 1"]
    with wire.connect("127.0.0.1", main_cluster.port, user="app", database="app") as direct:
        expected = seen(direct, statements, "users")
    for table in ("users", "ci_builds"):
        with proxy.wire() as client:
            assert seen(client, statements, table) == expected
            assert seen(client, ["SELECT 1"], "ci_builds") == expected[-1:]


FETCHED = ["BEGIN", "DECLARE c CURSOR FOR SELECT set_config('work_mem', v, false) FROM (VALUES ('6MB')) t(v)", "FETCH c"]
EXECUTED = ["PREPARE p(text) AS SELECT set_config('work_mem', $1, false)", "EXECUTE p('6MB')", "DEALLOCATE p"]
LATE = {
    "FETCH": [*FETCHED, "COMMIT"],
    "FETCH that is undone": [*FETCHED, "ROLLBACK"],
    "DECLARE without FETCH": [*FETCHED[:2], "COMMIT"],
    "EXECUTE": EXECUTED,
    "PREPARE without EXECUTE": [EXECUTED[0], EXECUTED[2]],
    "EXPLAIN": ["EXPLAIN SELECT set_config('work_mem', '6MB', false)"],
    "EXPLAIN ANALYZE": ["EXPLAIN ANALYZE SELECT set_config('work_mem', '6MB', false)"],
    "UPDATE pg_settings": ["UPDATE pg_settings SET setting = '6MB' WHERE name = 'work_mem'"],
    "UPDATE pg_settings in a block": ["BEGIN", "UPDATE pg_catalog.pg_settings SET setting = '6MB' WHERE name = 'work_mem'",
                                      "COMMIT"],
    "UPDATE pg_settings that is undone": ["BEGIN", "UPDATE pg_settings SET setting = '6MB' WHERE name = 'work_mem'",
                                          "ROLLBACK"],
}


@pytest.mark.parametrize("ask", [simple, extended])
@pytest.mark.parametrize("statements", LATE.values(), ids=LATE)
def test_set_config_counts_when_it_runs(make_pool, main_cluster, statements, ask):
    proxy = make_pool(size=1)

    def end(client):
        for sql in statements:
            done(ask(client, sql))
        return value(client, "SHOW work_mem")
    with wire.connect("127.0.0.1", main_cluster.port, user="app", database="app") as direct:
        default, expected = value(direct, "SHOW work_mem"), end(direct)
    with proxy.wire() as client, proxy.wire() as other:
        assert end(client) == expected
        assert value(other, "SHOW work_mem") == default
        assert value(client, "SHOW work_mem") == expected
        assert value(client, "SELECT current_setting('work_mem') FROM ci_builds LIMIT 1") == expected


def test_what_planning_runs_reaches_nobody_else(make_pool):
    """Bind without Execute plans: a function that says IMMUTABLE of itself is run."""
    proxy = make_pool(size=1, strings={"user": "postgres"})
    with proxy.wire() as client, proxy.wire() as other:
        default = value(other, "SHOW work_mem")
        done(client.query("CREATE FUNCTION planned() RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN "
                          "PERFORM set_config('work_mem', '6MB', false); RETURN ''; END $$"))
        try:
            done(other.query("SELECT 1"))
            done(client.exchange(wire.parse("", "SELECT planned()"), wire.bind(), wire.sync()))
            assert value(other, "SHOW work_mem") == default
        finally:
            done(client.query("DROP FUNCTION planned()"))


COMMENTED = ["SET {} -- the last line", "/* first */ SET {} /* and last */", "SET /* between */ {}--\n"]


@pytest.mark.parametrize("ask", [simple, extended])
@pytest.mark.parametrize("text", COMMENTED)
def test_a_comment_takes_no_other_setting_along(make_pool, text, ask):
    proxy = make_pool(size=1)
    mine = {"work_mem": "7MB", "timezone": "Asia/Tokyo", "statement_timeout": "7min"}
    with proxy.wire() as client, proxy.wire() as other:
        for name, setting in mine.items():
            done(ask(client, text.format(f"{name} = '{setting}'")))
        done(other.query("SET statement_timeout = '6min'"))
        for _ in range(2):
            assert value(other, "SHOW statement_timeout") == "6min"
            assert {name: value(client, f"SHOW {name}") for name in mine} == mine
            assert value(client, "SELECT current_setting('statement_timeout') FROM ci_builds LIMIT 1") == "7min"
