"""What a client leaves on a connection never reaches the next one, and is never lost to itself: settings go with the
client, and what binds it to its connection keeps that for exactly as long as it lasts."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

import wire
from harness import wait_until
from pooling import code, done, extended, fatal, hold, nothing_comes, own_mode, pid_of, rows, simple, value, wait_known, waiting

pytestmark = own_mode

SUPERUSER = {"user": "postgres"}  # may do all of it

# What makes a state, and what shows it.
BOUND = {
    "a temporary table": ("CREATE TEMP TABLE t (n int)",
                          "SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()"),
    "a temporary sequence": ("CREATE TEMP SEQUENCE s",
                             "SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()"),
    "a temporary type": ("CREATE TYPE pg_temp.int8 AS ENUM ('of one client')",
                         "SELECT count(*) FROM pg_type WHERE typnamespace = pg_my_temp_schema()"),
    "a temporary domain": ("CREATE DOMAIN pg_temp.int8 AS text",
                           "SELECT count(*) FROM pg_type WHERE typnamespace = pg_my_temp_schema()"),
    "a temporary function": ("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
                             "SELECT count(*) FROM pg_proc WHERE pronamespace = pg_my_temp_schema()"),
    "LISTEN": ("LISTEN here", "SELECT count(*) FROM pg_listening_channels()"),
    "an advisory lock": ("SELECT pg_advisory_lock(77)",
                         "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"),
    "a shared advisory lock": ("SELECT pg_try_advisory_lock_shared(7, 7)",
                               "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"),
    "PREPARE": ("PREPARE p AS SELECT 1", "SELECT count(*) FROM pg_prepared_statements WHERE from_sql"),
    "a cursor WITH HOLD": ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "SELECT count(*) FROM pg_cursors WHERE is_holdable"),
    "LOAD": ("LOAD 'auto_explain'", "SELECT count(*) FROM pg_settings WHERE name LIKE 'auto\\_explain.%'"),
}
SETTINGS = {
    "SET": ("SET work_mem = '7MB'", "SHOW work_mem"),
    "a setting that the client is told of": ("SET timezone = 'Asia/Tokyo'", "SHOW timezone"),
    "set_config()": ("SELECT set_config('work_mem', '9MB', false)", "SHOW work_mem"),
    "set_config() of what is computed": ("SELECT set_config('work_mem', 5 + 4 || 'MB', false)", "SHOW work_mem"),
    "a DO block": ("DO $$ BEGIN PERFORM set_config('work_mem', '8MB', false); END $$", "SHOW work_mem"),
    "a setting of an extension": ("SET my.own = 'x'", "SELECT coalesce(current_setting('my.own', true), '')"),
    "search_path": ("SET search_path = pg_catalog, public", "SHOW search_path"),
    "SET ROLE": ("SET ROLE app", "SELECT current_user"),
    "SET SESSION AUTHORIZATION": ("SET SESSION AUTHORIZATION app", "SELECT session_user"),
    "SET SESSION CHARACTERISTICS": ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
                                    "SHOW default_transaction_read_only"),
    "SET TIME ZONE": ("SET TIME ZONE -3", "SHOW timezone"),
    "SET NAMES": ("SET NAMES 'LATIN1'", "SHOW client_encoding"),
    "SET XML OPTION": ("SET XML OPTION DOCUMENT", "SHOW xmloption"),
    "SET within a transaction": ("BEGIN; SET work_mem = '7MB'; COMMIT", "SHOW work_mem"),
}


def look(client, sql):
    return rows(client.query(sql)), code(client.query(sql))


# -- by session ----------------------------------------------------------------------------------


@pytest.mark.parametrize("what", [*BOUND, *SETTINGS])
def test_by_session_nothing_reaches_the_next_client(make_pool, what):
    make, show = {**BOUND, **SETTINGS}[what]
    proxy = make_pool("session", size=1, strings=SUPERUSER)
    with proxy.wire() as fresh:
        before, pid = look(fresh, show), pid_of(fresh)
        done(fresh.query(make))
        assert look(fresh, show) != before
        fresh.terminate()
    with proxy.wire() as next_one:
        assert look(next_one, show) == before
        if what != "LOAD":  # which nothing but another connection undoes
            assert pid_of(next_one) == pid


def test_by_session_a_name_of_parse_is_free_for_the_next_client(make_pool):
    proxy = make_pool("session", size=1)
    for number in (1, 2):
        with proxy.wire() as client:
            done(client.exchange(wire.parse("mine", f"SELECT {number}"), wire.sync()))
            got = done(client.exchange(wire.bind("", "mine"), wire.execute(), wire.sync()))
            assert rows(got) == [(str(number),)]
            client.terminate()


def test_by_session_currval_is_not_the_last_clients(make_pool):
    proxy = make_pool("session", size=1)
    with proxy.wire() as client:
        done(client.query("SELECT nextval('users_id_seq')"))
        client.terminate()
    with proxy.wire() as client:
        assert code(client.query("SELECT currval('users_id_seq')")) == "55000"


@pytest.mark.parametrize("how", ["closes its socket", "in a pipeline", "within COPY", "with an error unread"])
def test_by_session_a_client_that_goes_in_the_middle_leaves_nothing(make_pool, how, unique):
    proxy = make_pool("session", size=1)
    with proxy.wire() as client:
        done(client.query("BEGIN"))
        done(client.query(f"INSERT INTO users (username) VALUES ('{unique}')"))
        if how == "in a pipeline":
            client.send(wire.parse("", "SELECT 1"), wire.bind())
        elif how == "within COPY":
            client.exchange(wire.query("COPY users (username) FROM STDIN"), until="G")
            client.send(wire.copy_data("half a row"))
        elif how == "with an error unread":
            client.send(wire.query("SELECT 1/0"))
    with proxy.wire() as client:
        assert value(client, f"SELECT count(*) FROM users WHERE username = '{unique}'") == "0"
        done(client.query("BEGIN"))
        assert wire.notices(client.query("ROLLBACK")) == []


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_client_killed_in_a_transaction_is_rolled_back(make_pool, unique, mode):
    proxy = make_pool(mode, size=1)
    script = (f"import psycopg, signal; db = psycopg.connect('host=127.0.0.1 port={proxy.port} user=app dbname=app');"
              f"db.execute(\"INSERT INTO users (username) VALUES ('{unique}')\"); print('in', flush=True); signal.pause()")
    killed = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert killed.stdout.readline() == b"in\n"
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    with proxy.wire() as client:
        assert value(client, f"SELECT count(*) FROM users WHERE username = '{unique}'") == "0"
        assert len(proxy.pids()) == 1


# -- by transaction: settings go with the client -------------------------------------------------


@pytest.mark.parametrize("ask", [simple, extended])
@pytest.mark.parametrize("what", SETTINGS)
def test_a_setting_is_its_clients_alone(make_pool, what, ask):
    make, show = SETTINGS[what]
    proxy = make_pool(size=1, strings=SUPERUSER)
    with proxy.wire() as sets, proxy.wire() as other:
        before = value(other, show, ask)
        for part in make.split("; ") if make.startswith("BEGIN") else [make]:
            done(ask(sets, part))
        after = value(sets, show, ask)
        assert after != before
        for _ in range(2):
            assert value(other, show, ask) == before
            assert value(sets, show, ask) == after
        assert len(proxy.pids()) == 1


def test_what_one_client_discards_another_still_has(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as keeps, proxy.wire() as discards:
        for client in keeps, discards:
            done(client.query("SET work_mem = '7MB'"))
        done(discards.query("DISCARD ALL"))
        assert value(keeps, "SHOW work_mem") == "7MB"
        assert value(discards, "SHOW work_mem") == "4MB"


@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("alter", ["ALTER ROLE app", "ALTER DATABASE app"])
def test_new_defaults_are_for_every_clients_next_transaction(make_pool, main_cluster, alter, block):
    proxy = make_pool(size=4, settings={"workers": 2})
    try:
        with contextlib.ExitStack() as stack:
            makes, *others = [stack.enter_context(proxy.wire()) for _ in range(4)]
            for other in others:
                assert value(other, "SHOW work_mem") == "4MB"
            if block:
                done(makes.query("BEGIN"))
            done(makes.query(f"{alter} SET work_mem = '7MB'"))
            if block:
                assert value(others[0], "SHOW work_mem") == "4MB"
                done(makes.query("COMMIT"))
            for other in others:
                assert value(other, "SHOW work_mem") == "7MB"
            for other in others:
                wait_known(other, main_cluster, "SELECT count(*) FROM projects")
            before = proxy.pids()
            for other in others:
                assert value(other, "SHOW work_mem") == "7MB"
            assert not set(proxy.pids()) - set(before)  # unused ones from before the change may still be ending
    finally:
        main_cluster.sql(f"{alter} RESET work_mem")


@pytest.mark.parametrize("undo", ["RESET work_mem", "RESET ALL", "SET work_mem TO DEFAULT", "DISCARD ALL"])
def test_what_is_reset_is_as_at_the_start(make_pool, undo):
    proxy = make_pool(size=1)
    with proxy.wire(parameters={"work_mem": "6MB"}) as client, proxy.wire() as other:
        done(client.query("SET work_mem = '7MB'"))
        before = value(other, "SHOW work_mem")
        done(client.query(undo))
        assert value(client, "SHOW work_mem") == "6MB"
        assert value(other, "SHOW work_mem") == before
        assert value(client, "SHOW work_mem") == "6MB"


@pytest.mark.parametrize("end", ["ROLLBACK", "COMMIT"])
@pytest.mark.parametrize("how", ["SET LOCAL work_mem = '7MB'", "SET work_mem = '7MB'",
                                 "SELECT set_config('work_mem', '7MB', true)",
                                 "SELECT set_config('work_mem', 3 + 4 || 'MB', false)"])
def test_a_transactions_settings_end_or_stay_with_it(make_pool, how, end):
    stays = end == "COMMIT" and "LOCAL" not in how and "true" not in how
    proxy = make_pool(size=1)
    with proxy.wire() as client, proxy.wire() as other:
        before = value(client, "SHOW work_mem")
        for sql in ("BEGIN", how):
            done(client.query(sql))
        assert value(client, "SHOW work_mem") == "7MB"
        done(client.query(end))
        assert value(other, "SHOW work_mem") == before
        assert value(client, "SHOW work_mem") == ("7MB" if stays else before)


def test_what_a_savepoint_undid_does_not_come_back(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as client, proxy.wire() as other:
        for sql in ("BEGIN", "SET work_mem = '5MB'", "SAVEPOINT a", "SET work_mem = '6MB'", "ROLLBACK TO a", "COMMIT"):
            done(client.query(sql))
        pid_of(other)
        assert value(client, "SHOW work_mem") == "5MB"


def test_parameters_and_options_of_the_startup_packet_go_with_the_client(make_pool):
    proxy = make_pool(size=1)
    options = {"options": "-c work_mem=5MB --statement-timeout=30s -csearch_path=public,pg_catalog"}
    with proxy.wire(parameters={"work_mem": "6MB", "application_name": "it's me"}) as named, \
            proxy.wire(parameters=options) as by_options, proxy.wire() as plain:
        for _ in range(2):
            assert value(named, "SHOW work_mem") == "6MB"
            assert value(named, "SHOW application_name") == "it's me"
            assert value(plain, "SHOW work_mem") not in ("5MB", "6MB")
            assert value(by_options, "SHOW work_mem") == "5MB"
            assert value(by_options, "SHOW statement_timeout") == "30s"
            assert value(by_options, "SHOW search_path") == "public,pg_catalog"
            assert value(plain, "SHOW statement_timeout") == "0"


def test_a_startup_parameter_that_the_server_refuses_ends_the_login_and_hurts_nobody(make_pool):
    proxy = make_pool(size=1)
    with pytest.raises(wire.ServerError) as refused:
        proxy.wire(parameters={"work_mem": "a lot"})
    assert refused.value.sqlstate == "22023"
    with pytest.raises(wire.ServerError) as refused:
        proxy.wire(parameters={"no_such": "1"})
    assert refused.value.sqlstate == "42704"
    with proxy.wire() as client:
        done(client.query("SELECT 1"))


def test_each_client_is_told_its_own_parameters_only(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire(parameters={"TimeZone": "Asia/Tokyo"}) as east, proxy.wire(parameters={"TimeZone": "UTC"}) as utc:
        assert (east.parameters["TimeZone"], utc.parameters["TimeZone"]) == ("Asia/Tokyo", "UTC")
        for _ in range(2):
            for client in (east, utc):
                assert "S" not in wire.types(client.query("SELECT 1"))
        told = [each.body for each in east.query("SET timezone = 'Asia/Seoul'") if each.type == "S"]
        assert told == [b"TimeZone\0Asia/Seoul\0"]
        assert "S" not in wire.types(utc.query("SELECT 1"))
        assert "S" not in wire.types(east.query("SELECT 1"))


def test_a_function_that_sets_its_own_settings_leaves_none(make_pool):
    proxy = make_pool(size=1)
    proxy.main.sql("CREATE OR REPLACE FUNCTION public._test_own() RETURNS text LANGUAGE sql SET work_mem = '7MB'"
                   " AS $$ SELECT current_setting('work_mem') $$")
    with proxy.wire() as client, proxy.wire() as other:
        before = value(other, "SHOW work_mem")
        assert value(client, "SELECT _test_own()") == "7MB"
        assert value(other, "SHOW work_mem") == before
        assert value(client, "SHOW work_mem") == before


def test_a_setting_that_a_function_makes_is_not_lost_and_does_not_leak(make_pool):
    proxy = make_pool(size=1)
    proxy.main.sql("CREATE OR REPLACE FUNCTION public._test_sets() RETURNS text LANGUAGE plpgsql"
                   " AS $$ BEGIN SET work_mem = '7MB'; RETURN 'set'; END $$")
    with proxy.wire() as client, proxy.wire() as other:
        before = value(other, "SHOW work_mem")
        assert value(client, "SELECT _test_sets()") == "set"
        assert value(other, "SHOW work_mem") == before


# -- by transaction: what binds ------------------------------------------------------------------


@pytest.mark.parametrize("ask", [simple, extended])
@pytest.mark.parametrize("what", BOUND)
def test_what_binds_a_client_is_seen_by_no_other(make_pool, what, ask):
    make, show = BOUND[what]
    proxy = make_pool(size=2, strings=SUPERUSER)
    with proxy.wire() as other:
        before = value(other, show)
        with proxy.wire() as bound:
            done(ask(bound, make))
            pid = pid_of(bound)
            for _ in range(3):
                assert value(other, show) == before
                assert value(bound, show) != before
                assert pid_of(bound) == pid != pid_of(other)
            bound.terminate()
        with contextlib.ExitStack() as stack:
            for _ in range(2):  # all connections that there are
                client = stack.enter_context(proxy.wire())
                hold(client)
                assert value(client, show) == before


LASTS = {
    "a temporary table": (["CREATE TEMP TABLE t (n int)"], "DROP TABLE t"),
    "one made of a query": (["CREATE TEMP TABLE t AS SELECT 1 AS n"], "DROP TABLE t"),
    "SELECT INTO": (["SELECT 1 AS n INTO TEMP t"], "DROP TABLE t"),
    "a temporary view": (["CREATE TEMP VIEW v AS SELECT 1 AS n"], "DROP VIEW v"),
    "DISCARD TEMP": (["CREATE TEMP TABLE t (n int)"], "DISCARD TEMP"),
    "two of them": (["CREATE TEMP TABLE t (n int)", "CREATE TEMP TABLE u (n int)", "DROP TABLE t"], "DROP TABLE u"),
    "within a transaction": (["BEGIN", "CREATE TEMP TABLE t (n int)", "COMMIT"], "DROP TABLE t"),
    "until it is undone": (["BEGIN", "CREATE TEMP TABLE t (n int)"], "ROLLBACK"),
    "until its transaction ends": (["BEGIN", "CREATE TEMP TABLE t (n int) ON COMMIT DROP"], "COMMIT"),
    "until a failed one ends": (["BEGIN", "LISTEN here", "SELECT 1/0"], "COMMIT"),
    "by a DO block": (["DO $$ BEGIN CREATE TEMP TABLE t (n int); END $$"], "DO $$ BEGIN DROP TABLE t; END $$"),
    "by dynamic SQL": (["DO $$ BEGIN EXECUTE 'LISTEN ' || 'here'; END $$"], "DO $$ BEGIN EXECUTE 'UNLISTEN here'; END $$"),
    "LISTEN": (["LISTEN here"], "UNLISTEN here"),
    "two channels": (["LISTEN here", "LISTEN there", "UNLISTEN here"], "UNLISTEN there"),
    "UNLISTEN all": (["LISTEN here", "LISTEN there"], "UNLISTEN *"),
    "an advisory lock": (["SELECT pg_advisory_lock(78)"], "SELECT pg_advisory_unlock(78)"),
    "taken twice": (["SELECT pg_advisory_lock(78)", "SELECT pg_advisory_lock(78)", "SELECT pg_advisory_unlock(78)"],
                    "SELECT pg_advisory_unlock(78)"),
    "two locks": (["SELECT pg_advisory_lock(78), pg_try_advisory_lock_shared(1, 2)", "SELECT pg_advisory_unlock(78)"],
                  "SELECT pg_advisory_unlock_all()"),
    "PREPARE": (["PREPARE p AS SELECT 1", "EXECUTE p"], "DEALLOCATE p"),
    "DEALLOCATE ALL": (["PREPARE p AS SELECT 1", "PREPARE q AS SELECT 1"], "DEALLOCATE ALL"),
    "a cursor WITH HOLD": (["DECLARE c CURSOR WITH HOLD FOR SELECT 1", "FETCH c"], "CLOSE c"),
    "CLOSE ALL": (["BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "COMMIT", "FETCH c"], "CLOSE ALL"),
    "DISCARD ALL": (["CREATE TEMP TABLE t (n int)", "LISTEN here", "SELECT pg_advisory_lock(78)", "PREPARE p AS SELECT 1",
                     "DECLARE c CURSOR WITH HOLD FOR SELECT 1"], "DISCARD ALL"),
}


@pytest.mark.parametrize("ask", [simple, extended])
@pytest.mark.parametrize("what", LASTS)
def test_what_binds_keeps_the_connection_as_long_as_it_lasts(make_pool, what, ask):
    make, undo = LASTS[what]
    proxy = make_pool(size=1)
    with proxy.wire() as bound, proxy.wire() as next_one:
        pid_of(next_one)
        for sql in make:
            ask(bound, sql)
        done(bound.query("SELECT 1") if "1/0" not in make[-1] else [])
        waiting(next_one)
        ask(bound, undo)
        done(next_one.read_until("Z"))


# What looks as if it would bind and doesn't.
FREE = ["SELECT pg_advisory_xact_lock(79)", "SELECT pg_advisory_unlock(79)", "NOTIFY here",
        "BEGIN; DECLARE c CURSOR FOR SELECT 1; FETCH c; COMMIT", "BEGIN; LISTEN here; ROLLBACK",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1; CLOSE c", "PREPARE p AS SELECT 1; EXECUTE p; DEALLOCATE p",
        "CREATE TEMP TABLE t (n int); DROP TABLE t", "SELECT now()", "DO $$ BEGIN PERFORM 1; END $$",
        "BEGIN; SAVEPOINT a; CREATE TEMP TABLE t (n int); ROLLBACK TO a; COMMIT", "UNLISTEN *", "SET work_mem = '7MB'"]


@pytest.mark.parametrize("sql", FREE)
def test_what_leaves_nothing_keeps_no_connection(make_pool, sql):
    proxy = make_pool(size=1)
    with proxy.wire() as client, proxy.wire() as next_one:
        pid_of(next_one)
        client.query(sql)
        done(next_one.query("SELECT 1"))


def test_a_client_that_goes_takes_its_lock_with_it(make_pool):
    proxy = make_pool(size=2)
    with proxy.wire() as holder, proxy.wire() as wants:
        done(holder.query("SELECT pg_advisory_lock(80)"))
        waiting(wants, sql="SELECT pg_advisory_lock(80)")
        holder.close()
        done(wants.read_until("Z"))


def test_notifications_arrive_while_a_client_listens(make_pool):
    proxy = make_pool(size=2)
    with proxy.wire() as listener, proxy.wire() as sender:
        done(listener.query("LISTEN news"))
        for number in range(3):
            done(sender.query(f"NOTIFY news, 'number {number}'"))
            got = listener.read()
            assert got.type == "A" and got.body[4:] == f"news\0number {number}\0".encode()
        done(listener.query("UNLISTEN news"))
        done(sender.query("NOTIFY news, 'late'"))
        nothing_comes(sender)
        nothing_comes(listener)


def test_what_else_is_in_a_pipeline_does_not_hide_what_binds(make_pool):
    """The name of a statement binds, too, and its end is seen without asking the server."""
    proxy = make_pool(size=1)
    with proxy.wire() as client:
        done(client.exchange(wire.parse("s", "SELECT 1"), wire.sync()))
        done(client.query("EXECUTE s"))
        parts = [part for sql in ("SELECT pg_advisory_lock(83)", "SELECT count(*) FROM users")
                 for part in (wire.parse("", sql), wire.bind(), wire.execute())]
        done(client.exchange(*parts, wire.sync()))
        done(client.exchange(wire.close("S", "s"), wire.sync()))
        assert value(client, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "1"


def test_a_client_hears_its_own_notifications_as_its_own(make_pool):
    proxy = make_pool(size=2)
    with proxy.wire() as client, proxy.wire() as other:
        done(client.query("LISTEN news"))
        heard = [each for each in client.query("NOTIFY news") if each.type == "A"]
        assert [int.from_bytes(each.body[:4], "big") for each in heard] == [client.pid]
        done(other.query("NOTIFY news"))
        assert int.from_bytes(client.read().body[:4], "big") not in (client.pid, other.pid)


def test_a_bound_client_that_idles_is_sent_away_and_its_state_goes(make_pool):
    proxy = make_pool(size=1, client_idle_timeout=1)
    with proxy.wire() as bound, proxy.wire() as next_one:
        done(bound.query("SELECT pg_advisory_lock(81)"))
        next_one.send(wire.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"))
        assert fatal(bound) == "57P05"
        assert rows(next_one.read_until("Z")) == [("0",)]


def test_what_binds_on_one_database_leaves_the_other_free(make_pool):
    proxy = make_pool(size=1)
    with proxy.wire() as bound, proxy.wire() as next_one:
        done(bound.query("SELECT count(*) FROM users"))
        done(bound.query("SELECT pg_advisory_lock(82) FROM ci_runners LIMIT 1; SELECT pg_advisory_lock(82), count(*)"
                         " FROM ci_runners"))
        done(next_one.query("SELECT count(*) FROM users"))
        waiting(next_one, sql="SELECT count(*) FROM ci_runners")
        bound.terminate()
        done(next_one.read_until("Z"))
        wait_until(lambda: len(proxy.pids(proxy.ci)) == 1, "one connection to ci")


# -- sequences -----------------------------------------------------------------------------------

DRAW = "INSERT INTO issues (title) VALUES ('drawn')"


@pytest.mark.parametrize("ask", ["SELECT lastval()", "SELECT currval('issues_id_seq')",
                                 "INSERT INTO users (username) VALUES ('drawn' || currval('issues_id_seq'))"])
def test_by_transaction_what_another_client_drew_is_nobodys(make_pool, ask):
    proxy = make_pool("transaction", size=1)
    extended = wire.parse("", ask) + wire.bind() + wire.execute() + wire.sync()
    with proxy.wire() as client, proxy.wire() as other:
        done(client.query(DRAW))
        done(other.query(DRAW))
        assert code(client.query(ask)) == "55000"
        assert code(client.exchange(extended)) == "55000"
        for message in (wire.query(ask), extended):
            client.query("BEGIN")
            done(client.query(DRAW))
            done(client.exchange(message))
            client.query("ROLLBACK")
        done(client.query(f"{DRAW}; {ask}"))
        done(client.exchange(wire.parse("", DRAW) + wire.bind() + wire.execute() + extended))


def test_by_transaction_a_statement_may_be_prepared_before_it_may_run(make_pool):
    proxy = make_pool("transaction", size=1)
    run = wire.bind("", "last") + wire.execute() + wire.sync()
    with proxy.wire() as client:
        done(client.exchange(wire.parse("last", "SELECT lastval()") + wire.sync()))
        assert code(client.exchange(run)) == "55000"
        client.query("BEGIN")
        drawn = rows(done(client.query(f"{DRAW} RETURNING id")))
        assert rows(done(client.exchange(run))) == drawn
        client.query("COMMIT")
        assert rows(done(client.query("SELECT nextval('issues_id_seq') = lastval()"))) == [("t",)]
