"""asyncpg as it is out of the box, its statement cache included, with more clients than there are server connections.

`--direct` holds the expectations against PostgreSQL itself.
"""

import asyncio
import collections

import pytest

from harness import wait_until

asyncpg = pytest.importorskip("asyncpg")

CLIENTS = 8
LOCK = 730_001  # and those after it: advisory locks of this file


@pytest.fixture
def run(small_pool):
    """run(scenario): an async function of a function that connects; all that it opened is closed in the end."""
    def run_scenario(scenario):
        async def whole():
            opened = []

            async def connect(**more):
                parameters = {"host": "127.0.0.1", "port": small_pool.port, "user": "app", "database": "app", **more}
                opened.append(await asyncpg.connect(**parameters))
                return opened[-1]
            try:
                return await scenario(connect)
            finally:
                await asyncio.gather(*(one.close(timeout=10) for one in opened), return_exceptions=True)
        return asyncio.run(whole())
    return run_scenario


@pytest.fixture
def make_pool(small_pool):
    """A pool of asyncpg's, to be entered with `async with`."""
    def make(size, **more):
        return asyncpg.create_pool(host="127.0.0.1", port=small_pool.port, user="app", database="app", min_size=size,
                                   max_size=size, **more)
    return make


async def clients(connect, count=CLIENTS):
    return [await connect() for _ in range(count)]


# --- statements ---

def test_cached_statements_of_many_clients_find_their_texts(run):
    async def work(client, number):
        for n in range(1, 21):
            assert await client.fetchval("SELECT id FROM projects WHERE id = $1", n) == n
            assert await client.fetchval("SELECT name FROM ci_builds WHERE id = $1", n) == f"job {n}"
            # The same name of a statement (__asyncpg_stmt_N__) stands for another text at each client.
            assert await client.fetchval(f"SELECT $1::int + {number}", n) == n + number

    async def scenario(connect):
        await asyncio.gather(*(work(client, number) for number, client in enumerate(await clients(connect))))
    run(scenario)


def test_a_statement_cache_that_overflows_closes_what_it_drops(run):
    async def work(client):
        for turn in range(3):
            for n in range(12):
                assert await client.fetchval(f"SELECT $1::int + {n} FROM ci_builds WHERE id = 1", turn) == turn + n

    async def scenario(connect):
        await asyncio.gather(*[work(await connect(statement_cache_size=5)) for _ in range(4)])
    run(scenario)


def test_an_explicitly_prepared_statement_outlives_transactions(run):
    async def scenario(connect):
        one, *others = await clients(connect)
        statement = await one.prepare("SELECT id, name FROM ci_builds WHERE id = $1")
        assert [attribute.name for attribute in statement.get_attributes()] == ["id", "name"]
        for n in range(1, 15):
            async with one.transaction():
                assert (await statement.fetchrow(n))["id"] == n
            await asyncio.gather(*(other.fetchval("SELECT $1::int", n) for other in others))
        assert (await statement.fetchrow(3))["name"] == "job 3"
    run(scenario)


def test_executemany(run):
    async def work(client, number):
        await client.executemany("INSERT INTO ci_runners (description, creator_id) VALUES ($1, $2)",
                                 [(f"asyncpg many {number}", n) for n in range(200)])
        assert await client.fetchval("SELECT count(*) FROM ci_runners WHERE description = $1", f"asyncpg many {number}") == 200
        await client.execute("DELETE FROM ci_runners WHERE description = $1", f"asyncpg many {number}")

    async def scenario(connect):
        await asyncio.gather(*(work(client, number) for number, client in enumerate(await clients(connect))))
    run(scenario)


# --- schema changes under cached statements ---

TABLE = "ci_refs"  # classified, and in no cluster's schema


@pytest.fixture
def table(small_pool):
    small_pool.ci.sql(f"DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} (id int); GRANT ALL ON {TABLE} TO app;"
                      f"ALTER TABLE {TABLE} OWNER TO app; INSERT INTO {TABLE} VALUES (1)")
    yield TABLE
    small_pool.ci.sql(f"DROP TABLE {TABLE}")


def test_a_column_that_was_added_heals_cached_statements(run, table):
    async def scenario(connect):
        all_clients = await clients(connect, 4)
        query = f"SELECT * FROM {table} WHERE id = $1"
        for client in all_clients:
            assert tuple(await client.fetchrow(query, 1)) == (1,)
        await all_clients[0].execute(f"ALTER TABLE {table} ADD COLUMN name text DEFAULT 'new'")
        for client in all_clients:
            for _ in range(3):
                assert tuple(await client.fetchrow(query, 1)) == (1, "new")
        await all_clients[0].execute(f"ALTER TABLE {table} DROP COLUMN name; ALTER TABLE {table} ADD COLUMN number int DEFAULT 7")
        for client in all_clients:
            assert tuple(await client.fetchrow(query, 1)) == (1, 7)
    run(scenario)


def test_within_a_transaction_the_error_is_asyncpgs_and_the_next_one_heals(run, table):
    async def scenario(connect):
        one, other = await clients(connect, 2)
        query = f"SELECT * FROM {table} WHERE id = $1"
        assert tuple(await one.fetchrow(query, 1)) == (1,)
        await other.execute(f"ALTER TABLE {table} ADD COLUMN name text DEFAULT 'new'")
        with pytest.raises(asyncpg.InvalidCachedStatementError):
            async with one.transaction():
                await one.fetchrow(query, 1)
        async with one.transaction():
            assert tuple(await one.fetchrow(query, 1)) == (1, "new")
    run(scenario)


def test_who_prepares_after_the_change_gets_no_error_for_what_others_prepared_before(run, table):
    async def scenario(connect):
        query = f"SELECT * FROM {table} WHERE id = $1"
        before, after = await clients(connect, 3), await clients(connect, 3)
        await asyncio.gather(*(client.fetchrow(query, 1) for client in before))
        await before[0].execute(f"ALTER TABLE {table} ADD COLUMN name text DEFAULT 'new'")
        for client in after:
            async with client.transaction():
                assert tuple(await client.fetchrow(query, 1)) == (1, "new")
        for client in before:
            assert tuple(await client.fetchrow(query, 1)) == (1, "new")
    run(scenario)


# --- types ---

def test_types_are_looked_up_where_they_live(run, small_pool):
    small_pool.ci.sql("CREATE TYPE ci_mood AS ENUM ('sad', 'ok'); CREATE TYPE ci_pair AS (a int, b ci_mood)")

    async def work(client):
        row = await client.fetchrow("SELECT '{sad,ok}'::ci_mood[] AS moods, ROW(1, 'ok')::ci_pair AS pair,"
                                    " ARRAY[1, 2] AS r, int4range(1, 5) AS range, '{\"a\": 1}'::jsonb AS j FROM ci_builds WHERE id = 1")
        assert row["moods"] == ["sad", "ok"] and tuple(row["pair"]) == (1, "ok")
        assert row["r"] == [1, 2] and row["range"] == asyncpg.Range(1, 5) and row["j"] == '{"a": 1}'

    async def scenario(connect):
        await asyncio.gather(*(work(client) for client in await clients(connect)))
    try:
        run(scenario)
    finally:
        small_pool.ci.sql("DROP TYPE ci_pair; DROP TYPE ci_mood")


def test_codecs_that_a_client_sets_are_its_own(run):
    async def scenario(connect):
        import json
        one, other = await clients(connect, 2)
        await one.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        query = "SELECT $1::jsonb AS j FROM projects WHERE id = 1"
        for _ in range(5):
            assert await one.fetchval(query, {"a": 1}) == {"a": 1}
            assert await other.fetchval(query, '{"a": 1}') == '{"a": 1}'
    run(scenario)


# --- transactions ---

def test_transactions_and_savepoints_side_by_side(run, unique):
    async def work(client, number):
        title = f"{unique} {number}"
        async with client.transaction():
            await client.execute("INSERT INTO issues (title) VALUES ($1)", title)
            with pytest.raises(asyncpg.DivisionByZeroError):
                async with client.transaction():
                    await client.execute("INSERT INTO issues (title) VALUES ($1)", title)
                    await client.fetchval("SELECT 1 / $1::int", 0)
            async with client.transaction():
                await client.execute("INSERT INTO issues (title) VALUES ($1)", title)
        with pytest.raises(ZeroDivisionError):
            async with client.transaction(isolation="serializable"):
                assert await client.fetchval("SHOW transaction_isolation") == "serializable"
                await client.execute("DELETE FROM issues WHERE title = $1", title)
                raise ZeroDivisionError
        assert await client.fetchval("SELECT count(*) FROM issues WHERE title = $1", title) == 2

    async def scenario(connect):
        await asyncio.gather(*(work(client, number) for number, client in enumerate(await clients(connect))))
    run(scenario)


def test_a_transaction_reads_both_databases(run, small_pool):
    async def work(client, number):
        for _ in range(10):
            async with client.transaction():
                await client.execute("UPDATE projects SET star_count = star_count + 1 WHERE id = $1", 1 + number)
                assert await client.fetchval("SELECT name FROM ci_builds WHERE id = $1", 2) == "job 2"

    async def scenario(connect):
        await asyncio.gather(*(work(client, number) for number, client in enumerate(await clients(connect))))
    run(scenario)
    stars = small_pool.main.value("SELECT sum(star_count) FROM projects")
    small_pool.main.sql("UPDATE projects SET star_count = 0")
    assert stars == 10 * CLIENTS


def test_cursors_within_transactions(run):
    async def work(client):
        async with client.transaction():
            ids = [row["id"] async for row in client.cursor("SELECT id FROM ci_builds ORDER BY id", prefetch=7)]
            assert ids == sorted(ids) and len(ids) >= 30
            cursor = await client.cursor("SELECT id FROM ci_builds ORDER BY id")
            assert await cursor.forward(10) == 10
            assert (await cursor.fetchrow())["id"] == 11

    async def scenario(connect):
        await asyncio.gather(*(work(client) for client in await clients(connect)))
    run(scenario)


# --- what is the session's ---

def test_settings_stay_with_their_client(run):
    async def work(client, number):
        await client.execute(f"SET application_name = 'client {number}'")
        await client.execute("SELECT set_config('TimeZone', $1, false)", f"Etc/GMT+{number}")
        for _ in range(20):
            row = await client.fetchrow("SELECT current_setting('application_name'), current_setting('TimeZone') FROM ci_builds LIMIT 1")
            assert tuple(row) == (f"client {number}", f"Etc/GMT+{number}")
        await client.reset()
        assert await client.fetchval("SHOW application_name") == ""

    async def scenario(connect):
        await asyncio.gather(*(work(client, number) for number, client in enumerate(await clients(connect))))
    run(scenario)


def test_server_settings_of_connect_stay_with_their_client(run):
    async def work(client, number):
        for _ in range(10):
            assert await client.fetchval("SHOW application_name") == f"c{number}"
            assert await client.fetchval("SHOW statement_timeout") == f"{number + 1}min"

    async def scenario(connect):
        some = [await connect(server_settings={"application_name": f"c{n}", "statement_timeout": str(60_000 * (n + 1))})
                for n in range(6)]
        await asyncio.gather(*(work(client, number) for number, client in enumerate(some)))
    run(scenario)


def test_advisory_locks_are_each_clients_own(run):
    """A counter that only the lock protects: nobody else may hold it, whichever connection it is on."""
    inside = collections.Counter()

    async def work(client):
        for _ in range(5):
            await client.execute("SELECT pg_advisory_lock($1)", LOCK)
            inside["now"] += 1
            inside["most"] = max(inside["most"], inside["now"])
            await client.fetchval("SELECT 1")
            inside["now"] -= 1
            assert await client.fetchval("SELECT pg_advisory_unlock($1)", LOCK)

    async def scenario(connect):
        # As many as may wait within the server, where each holds a connection.
        await asyncio.gather(*(work(client) for client in await clients(connect, 2)))
    run(scenario)
    assert inside["most"] == 1


def test_listeners_hear_while_their_connection_is_lent_to_nobody(run):
    async def scenario(connect):
        listener, *others = await clients(connect, 5)
        heard = asyncio.Queue()
        await listener.add_listener("asyncpg_news", lambda _connection, _pid, channel, payload: heard.put_nowait((channel, payload)))
        await asyncio.gather(*(other.execute("SELECT pg_notify('asyncpg_news', $1)", str(n)) for n, other in enumerate(others)))
        assert sorted([await asyncio.wait_for(heard.get(), 20) for _ in others]) == [("asyncpg_news", str(n)) for n in range(4)]
        await listener.remove_listener("asyncpg_news", next(iter(listener._listeners["asyncpg_news"])).cb)
        await others[0].execute("NOTIFY asyncpg_news, 'late'")
        assert await listener.fetchval("SELECT count(*) FROM pg_listening_channels()") == 0
        assert heard.empty()
    run(scenario)


def test_temporary_tables_are_each_clients_own(run):
    async def work(client, number):
        await client.execute("CREATE TEMP TABLE scratch (n int)")
        await client.executemany("INSERT INTO scratch VALUES ($1)", [(number,)] * 5)
        assert await client.fetchval("SELECT sum(n) FROM scratch") == number * 5
        await client.execute("DROP TABLE scratch")

    async def scenario(connect):
        await asyncio.gather(*(work(client, number) for number, client in enumerate(await clients(connect))))
    run(scenario)


# --- asyncpg's own pool, which resets what it takes back ---

def test_its_pool_takes_connections_back_clean(small_pool, make_pool):
    async def scenario():
        async with make_pool(1) as pool:
            async with pool.acquire() as client:
                await client.execute("SET application_name = 'left'; SET search_path = pg_catalog")
                await client.execute("LISTEN left_channel")
                await client.execute("SELECT pg_advisory_lock($1)", LOCK + 1)
                await client.execute("CREATE TEMP TABLE left_table (n int)")
                await client.execute("DROP TABLE left_table")
            async with pool.acquire() as client:
                assert await client.fetchval("SHOW application_name") == ""
                assert await client.fetchval("SHOW search_path") == '"$user", public'
                assert await client.fetchval("SELECT count(*) FROM pg_listening_channels()") == 0
                assert await client.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1", LOCK + 1) == 0
    asyncio.run(scenario())


def test_many_tasks_on_its_pool_over_fewer_server_connections(small_pool, make_pool):
    async def task(pool, n):
        async with pool.acquire() as client:
            async with client.transaction():
                assert await client.fetchval("SELECT id FROM projects WHERE id = $1", 1 + n % 20) == 1 + n % 20
                assert await client.fetchval("SELECT id FROM ci_builds WHERE id = $1", 1 + n % 20) == 1 + n % 20
            return await pool.fetchval("SELECT $1::int FROM ci_builds WHERE id = 1", n)

    async def scenario():
        async with make_pool(10) as pool:
            async def limited(n, limit=asyncio.Semaphore(5)):  # a task holds one of the pool's and asks for another
                async with limit:
                    return await task(pool, n)
            assert await asyncio.gather(*(limited(n) for n in range(100))) == list(range(100))
    asyncio.run(scenario())


# --- cancel ---

def test_a_timeout_cancels_its_own_statement_only(run):
    async def innocent(client, stop):
        while not stop.is_set():
            assert await client.fetchval("SELECT $1::int FROM ci_builds WHERE id = 1", 5) == 5

    async def guilty(client):
        for _ in range(5):
            with pytest.raises(asyncio.TimeoutError):
                await client.fetchval("SELECT pg_sleep(60) FROM ci_builds WHERE id = 1", timeout=0.1)
            assert await client.fetchval("SELECT 1") == 1

    async def scenario(connect):
        stop = asyncio.Event()
        one, *others = await clients(connect, 5)
        at_work = [asyncio.create_task(innocent(other, stop)) for other in others]
        await guilty(one)
        stop.set()
        await asyncio.gather(*at_work)
    run(scenario)


def test_cancelling_a_task_that_waits_for_a_connection(run, small_pool, request):
    if request.config.getoption("--direct"):
        pytest.skip("nobody waits for a connection there")

    async def scenario(connect):
        holders = await clients(connect, 2)
        waiting = await connect()
        blocks = [holder.transaction() for holder in holders]
        for holder, block in zip(holders, blocks):
            await block.start()
            await holder.fetchval("SELECT count(*) FROM projects")
        with pytest.raises(asyncio.TimeoutError):
            await waiting.fetchval("SELECT count(*) FROM projects", timeout=0.2)
        for block in blocks:
            await block.rollback()
        assert await waiting.fetchval("SELECT id FROM projects WHERE id = 1") == 1
    run(scenario)


# --- COPY ---

def test_copy_both_ways_side_by_side(run, unique):
    async def work(client, number):
        mark = f"{unique} {number}"
        records = [(mark, n) for n in range(1000)]
        assert await client.copy_records_to_table("ci_runners", records=records, columns=["description", "creator_id"]) == "COPY 1000"
        got = bytearray()

        async def take(data):
            got.extend(data)
        await client.copy_from_query("SELECT creator_id FROM ci_runners WHERE description = $1 ORDER BY 1", mark, output=take)
        assert got.decode().split() == [str(n) for n in range(1000)]
        await client.execute("DELETE FROM ci_runners WHERE description = $1", mark)

    async def scenario(connect):
        await asyncio.gather(*(work(client, number) for number, client in enumerate(await clients(connect))))
    run(scenario)


def test_a_client_that_hangs_up_leaves_no_transaction_behind(run, small_pool, unique):
    async def scenario(connect):
        for _ in range(4):
            client = await connect()
            await client.execute("BEGIN")
            await client.execute("INSERT INTO issues (title) VALUES ($1)", unique)
            client.terminate()
        last = await connect()
        assert await last.fetchval("SELECT count(*) FROM issues WHERE title = $1", unique) == 0
    run(scenario)
    wait_until(lambda: small_pool.main.value(
        "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'") == 0, "the transactions to end")
