"""The console: who gets in, and how it speaks."""

import random
import signal
import socket
import subprocess

import psycopg
import pytest
from psycopg.pq import TransactionStatus

import wire
from console import ADMIN, show
from harness import PROGRAM, fails, wait_until

COLUMNS = {
    "CLIENTS": "type user database state addr port connect_time request_time wait wait_us servers kept_by tls"
               " application_name prepared_statements id worker",
    "CONFIG": "key value changeable",
    "DATABASES": "name host port database force_user pool_size min_pool_size reserve_pool_size max_connections"
                 " current_connections same_as entrypoints",
    "HELP": "command description",
    "POOLS": "database user cl_active cl_waiting sv_active sv_idle sv_tested sv_login maxwait maxwait_us pool_mode",
    "SERVERS": "type user database state addr port connect_time remote_pid tls prepared_statements client kept_by worker",
    "STATS": "database total_server_assignment_count total_xact_count total_query_count total_received total_sent"
             " total_wait_count total_wait_time",
    "VERSION": "version",
    "VIOLATIONS": "rule action count",
}
TEXT, INT8 = 25, 20


@pytest.fixture(scope="module")
def console_proxy(main_cluster, ci_cluster):
    from harness import Interlock
    with Interlock(main_cluster, ci_cluster, pool={"mode": "session"}, **ADMIN) as proxy:
        yield proxy


def console(proxy, **more):
    return wire.connect("127.0.0.1", proxy.port, user="ops", database="pginterlock", **more)


def exchange(connection, *parts):
    connection.send(*parts)
    return connection.read_until("Z")


def ask(connection, sql):
    return exchange(connection, wire.query(sql))


def sqlstate(messages):
    return wire.errors(messages)[0]["C"]


# -- who gets in -----------------------------------------------------------------------------------------------------


def refusal(proxy, **parameters):
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(**proxy.parameters("pginterlock", **parameters), connect_timeout=20)
    return str(refused.value)


def test_who_is_not_named_is_denied(console_proxy):
    assert 'FATAL:  permission denied for database "pginterlock"' in refusal(console_proxy)
    with pytest.raises(wire.ServerError) as refused:
        wire.connect("127.0.0.1", console_proxy.port, user="OPS", database="pginterlock")
    assert refused.value.sqlstate == "42501"


def test_without_the_key_there_is_no_console(proxy):
    assert 'database "pginterlock" does not exist' in refusal(proxy, user="ops")


def test_the_console_wants_the_same_password_as_any_entrypoint(make_proxy, tmp_path):
    users = tmp_path / "userlist.txt"
    users.write_text('"ops" "good"\n"app" "secret"\n')
    users.chmod(0o600)
    proxy = make_proxy(auth={"method": "scram-sha-256", "users": str(users)}, **ADMIN)
    assert "password authentication failed" in refusal(proxy, user="ops", password="bad")
    assert "permission denied" in refusal(proxy, user="app", password="secret")
    with psycopg.connect(**proxy.parameters("pginterlock", user="ops", password="good"), autocommit=True) as db:
        assert db.execute("SHOW VERSION").fetchone()[0].startswith("pginterlock ")


def test_the_database_can_have_another_name(make_proxy):
    proxy = make_proxy(admin={"database": "pgbouncer", "users": ["ops"]})
    run = proxy.psql("SHOW VERSION", "pgbouncer", PGUSER="ops")
    assert run.stdout.startswith("pginterlock ")


def test_the_console_has_room_when_there_is_none_for_clients(make_pool):
    proxy = make_pool(settings=ADMIN, max_client_conn=1)
    with proxy.wire():
        with pytest.raises(wire.ServerError) as refused:
            proxy.wire()
        assert refused.value.sqlstate == "53300"
        assert show(proxy, "VERSION")


def test_no_connection_to_a_database_is_made_for_it(make_pool):
    proxy = make_pool(settings=ADMIN, size=2)
    with console(proxy) as db:
        for what in COLUMNS:
            assert not wire.errors(ask(db, f"SHOW {what}"))
        assert proxy.pids() == [] and proxy.pids(proxy.ci) == []


# -- the simple protocol ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", COLUMNS)
def test_each_table_has_its_columns(console_proxy, what):
    with console(console_proxy) as db:
        messages = ask(db, f"SHOW {what};")
    described = wire.columns(messages[0].body)
    assert [column.name for column in described] == COLUMNS[what].split()
    assert {column.type for column in described} <= {TEXT, INT8}
    kinds = wire.types(messages)
    assert kinds == "T" + "D" * (len(kinds) - 3) + "CZ"
    assert wire.tags(messages) == ["SHOW"] and messages[-1].body == b"I"


def test_psql_gets_its_tables(console_proxy):
    for what in COLUMNS:
        run = console_proxy.psql(f"SHOW {what};\n", "pginterlock", PGUSER="ops")
        assert run.stderr == ""
    run = console_proxy.psql("SHOW VERSION \\; RELOAD \\; show help;\n", "pginterlock", PGUSER="ops")
    assert run.stdout.startswith("pginterlock ")
    assert "SHOW CLIENTS|" in run.stdout and run.stderr == ""


@pytest.mark.parametrize("text", ["show version", "SHOW\tVersion ;", "/* a /* b */ ; */ SHOW -- ;\nVERSION;;",
                                  ";;show version"])
def test_words_are_in_any_case_between_blanks_and_comments(console_proxy, text):
    with console(console_proxy) as db:
        messages = ask(db, text)
    assert wire.types(messages) == "TDCZ"


def test_several_commands_are_answered_in_turn(console_proxy):
    with console(console_proxy) as db:
        messages = ask(db, "SHOW VERSION; SHOW POOLS; RELOAD; SHOW VERSION")
        assert wire.types(messages).replace("D", "") == "TCTCCTCZ"
        assert wire.tags(messages) == ["SHOW", "SHOW", "RELOAD", "SHOW"]


@pytest.mark.parametrize("text", ["", ";", " ; ; ", "-- nothing", "/* open"])
def test_nothing_is_an_empty_query(console_proxy, text):
    with console(console_proxy) as db:
        assert wire.types(ask(db, text)) == "IZ"


@pytest.mark.parametrize("text, position", [("SELECT 1", 1), ("SHOW fish", 6), ("SHOW", 5), ("RELOAD now", 8),
                                            ("SHOW VERSION VERSION", 14), ("/* ä */ 'x'", 9), ("PAUSE", 1),
                                            ("SHOW VERSION; KILL", 15)])
def test_what_is_unknown_is_refused_with_what_there_is(console_proxy, text, position):
    with console(console_proxy) as db:
        messages = ask(db, text)
        assert wire.types(messages) == "EZ" and messages[-1].body == b"I"
        error = wire.errors(messages)[0]
        assert (error["S"], error["C"], error["P"]) == ("ERROR", "42601", str(position))
        for what in COLUMNS:
            assert what in error["H"]
        assert wire.types(ask(db, "SHOW VERSION")) == "TDCZ"


def test_a_text_with_a_mistake_is_not_begun(console_proxy):
    before = console_proxy.log().count("reload asked for")
    with console(console_proxy) as db:
        assert sqlstate(ask(db, "RELOAD; RELOD")) == "42601"
    assert console_proxy.log().count("reload asked for") == before


def test_queries_that_are_sent_together_are_answered_in_order(console_proxy):
    with console(console_proxy) as db:
        db.send(*[wire.query(f"SHOW {what}") for what in COLUMNS] * 20)
        for _ in range(20):
            for what in COLUMNS:
                messages = db.read_until("Z")
                assert [c.name for c in wire.columns(messages[0].body)] == COLUMNS[what].split()


def test_a_query_in_small_pieces_is_one_query(console_proxy):
    with console(console_proxy) as db:
        db.send_split(wire.query("SHOW VERSION"))
        assert wire.types(db.read_until("Z")) == "TDCZ"


# -- the extended protocol -------------------------------------------------------------------------------------------


def test_a_driver_may_ask_in_binary(console_proxy):
    with psycopg.connect(**console_proxy.parameters("pginterlock", user="ops"), autocommit=True) as db:
        text = db.execute("SHOW DATABASES", prepare=True).fetchall()
        with db.cursor(binary=True) as cursor:
            assert cursor.execute("SHOW DATABASES").fetchall() == text
        assert [row[0] for row in text] == ["ci", "main"]
        assert text[0][5] == 0 or isinstance(text[0][5], int)


def test_a_prepared_statement_can_be_described_run_and_closed(console_proxy):
    with console(console_proxy) as db:
        messages = exchange(db, wire.parse("s", "SHOW CLIENTS"), wire.describe("S", "s"), wire.bind("", "s"),
                            wire.describe(), wire.execute(), wire.bind("", "s"), wire.execute(), wire.close("S", "s"),
                            wire.sync())
        assert wire.types(messages).replace("D", "") == "1tT2TC2C3Z"
        assert sqlstate(exchange(db, wire.bind("", "s"), wire.sync())) == "26000"


def test_rows_come_in_the_portions_that_are_asked_for(console_proxy):
    with console(console_proxy) as db:
        whole = wire.rows(ask(db, "SHOW CONFIG"))
        db.send(wire.parse("", "SHOW CONFIG"), wire.bind())
        db.send(*[wire.execute(max_rows=10)] * 5, wire.sync())
        messages = db.read_until("Z")
        assert wire.rows(messages) == whole
        assert wire.types(messages).replace("D", "") == "12ssssCZ"


def test_what_has_no_rows_says_so(console_proxy):
    with console(console_proxy) as db:
        messages = exchange(db, wire.parse("", "RELOAD"), wire.bind(), wire.describe(), wire.execute(), wire.sync())
        assert wire.types(messages) == "12nCZ" and wire.tags(messages) == ["RELOAD"]
        messages = exchange(db, wire.parse("", ""), wire.bind(), wire.describe(), wire.execute(), wire.sync())
        assert wire.types(messages) == "12nIZ"


@pytest.mark.parametrize("parts, code", [
    ([wire.parse("", "SELECT 1")], "42601"),
    ([wire.parse("", "SHOW VERSION; SHOW VERSION")], "42601"),
    ([wire.parse("a", "SHOW VERSION"), wire.parse("a", "SHOW VERSION")], "42P05"),
    ([wire.bind("", "unknown")], "26000"),
    ([wire.parse("", "SHOW VERSION"), wire.bind(values=["1"])], "08P01"),
    ([wire.parse("", "SHOW VERSION"), wire.bind(result_formats=[0, 0])], "08P01"),
    ([wire.parse("", "SHOW VERSION"), wire.bind(result_formats=[2])], "22023"),
    ([wire.describe("S", "unknown")], "26000"),
    ([wire.describe("P", "unknown")], "34000"),
    ([wire.execute("unknown")], "34000"),
    ([wire.parse("", "RELOAD"), wire.bind(), wire.execute(), wire.execute()], "55000"),
])
def test_after_an_error_everything_up_to_sync_is_skipped(console_proxy, parts, code):
    with console(console_proxy) as db:
        messages = exchange(db, *parts, wire.parse("later", "SHOW VERSION"), wire.execute(), wire.sync())
        assert sqlstate(messages) == code
        assert wire.types(messages)[-2:] == "EZ"
        assert sqlstate(exchange(db, wire.bind("", "later"), wire.sync())) == "26000"
        assert wire.types(ask(db, "SHOW VERSION")) == "TDCZ"


def test_function_calls_are_refused(console_proxy):
    with console(console_proxy) as db:
        assert sqlstate(exchange(db, wire.function_call(1))) == "0A000"


# -- what drivers send around it -------------------------------------------------------------------------------------


@pytest.mark.parametrize("autocommit", [True, False])
def test_a_driver_may_work_in_transactions(console_proxy, autocommit):
    with psycopg.connect(**console_proxy.parameters("pginterlock", user="ops"), autocommit=autocommit) as db:
        assert "RELOAD" in [row[0] for row in db.execute("SHOW HELP")]
        assert db.info.transaction_status == (TransactionStatus.IDLE if autocommit else TransactionStatus.INTRANS)
        assert db.execute("RELOAD").statusmessage == "RELOAD"
        db.commit()
        assert db.info.transaction_status == TransactionStatus.IDLE
        with fails("42601"):
            db.execute("SELECT 1")
        if not autocommit:
            with fails("25P02"):
                db.execute("SHOW VERSION")
        db.rollback()
        with db.transaction():
            assert db.execute("SHOW VERSION").fetchone()[0].startswith("pginterlock ")
            assert db.info.transaction_status == TransactionStatus.INTRANS
        assert db.info.transaction_status == TransactionStatus.IDLE


def test_psql_may_work_in_transactions(console_proxy):
    run = console_proxy.psql("\\set AUTOCOMMIT off\nSHOW VERSION;\nRELOAD;\nCOMMIT;\n", "pginterlock", PGUSER="ops")
    assert run.stdout.startswith("pginterlock ") and run.stderr == ""


@pytest.mark.parametrize("text, tags, status", [
    ("BEGIN", ["BEGIN"], b"T"), ("begin transaction isolation level serializable, read only;", ["BEGIN"], b"T"),
    ("START TRANSACTION READ ONLY", ["BEGIN"], b"T"), ("BEGIN; COMMIT WORK", ["BEGIN", "COMMIT"], b"I"),
    ("BEGIN; END", ["BEGIN", "COMMIT"], b"I"), ("BEGIN; ABORT TRANSACTION", ["BEGIN", "ROLLBACK"], b"I"),
    ("BEGIN; SHOW VERSION; ROLLBACK", ["BEGIN", "SHOW", "ROLLBACK"], b"I"),
])
def test_transactions_are_told_as_a_server_tells_them(console_proxy, text, tags, status):
    with console(console_proxy) as db:
        messages = ask(db, text)
        assert wire.tags(messages) == tags and messages[-1].body == status


@pytest.mark.parametrize("texts, code", [(["BEGIN", "BEGIN"], "25001"), (["COMMIT"], "25P01"), (["ROLLBACK"], "25P01")])
def test_a_transaction_that_is_or_is_not_there_is_warned_of(console_proxy, texts, code):
    with console(console_proxy) as db:
        for text in texts:
            messages = ask(db, text)
        notice = next(wire.error_fields(each.body) for each in messages if each.type == "N")
        assert (notice["S"], notice["C"]) == ("WARNING", code) and wire.types(messages) == "NCZ"


@pytest.mark.parametrize("mistake", [[wire.query("SHOW fish")], [wire.parse("", "SHOW fish"), wire.sync()], [wire.function_call(1)]])
def test_after_an_error_a_transaction_has_to_be_ended(console_proxy, mistake):
    with console(console_proxy) as db:
        ask(db, "BEGIN")
        assert exchange(db, *mistake)[-1].body == b"E"
        assert sqlstate(ask(db, "SHOW VERSION")) == "25P02"
        assert sqlstate(exchange(db, wire.parse("", "SHOW VERSION"), wire.bind(), wire.execute(), wire.sync())) == "25P02"
        messages = ask(db, "COMMIT")
        assert wire.tags(messages) == ["ROLLBACK"] and messages[-1].body == b"I"
        assert wire.types(ask(db, "SHOW VERSION")) == "TDCZ"


def test_rows_are_fetched_in_portions_over_a_transaction(console_proxy):
    with console(console_proxy) as db:
        whole = wire.rows(ask(db, "SHOW CONFIG"))
        ask(db, "BEGIN")
        found = wire.rows(exchange(db, wire.parse("", "SHOW CONFIG"), wire.bind("p"), wire.execute("p", 10), wire.sync()))
        messages = exchange(db, wire.execute("p"), wire.sync())
        assert found + wire.rows(messages) == whole and len(found) == 10
        ask(db, "COMMIT")
        assert sqlstate(exchange(db, wire.execute("p"), wire.sync())) == "34000"


@pytest.mark.parametrize("text", [
    "SET client_encoding TO 'UTF8'", "set client_encoding = utf8", "SET NAMES 'utf-8'", "SET client_encoding TO DEFAULT",
    "SET SESSION datestyle = ISO, MDY", "SET application_name = 'a; '' SHOW fish'", r"SET application_name = E'\';'",
    "SET LOCAL extra_float_digits = 3", "SET TIME ZONE 'UTC'", "SET statement_timeout TO -1", "RESET ALL", "RESET statement_timeout",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET idle_in_transaction_session_timeout = 0"])
def test_what_drivers_set_is_taken(console_proxy, text):
    with console(console_proxy) as db:
        assert wire.tags(ask(db, f"{text}; SHOW VERSION")) == [text.split()[0].upper(), "SHOW"]
        assert wire.tags(exchange(db, wire.parse("", text), wire.bind(), wire.execute(), wire.sync())) == [text.split()[0].upper()]


@pytest.mark.parametrize("text, code, position", [
    ("SET default_pool_size = 5", "42704", 5), ("RESET fish", "42704", 7), ("SET client_encoding = 'LATIN1'", "0A000", 23),
    ("SET NAMES SJIS", "0A000", 11), ("SET client_encoding", "42601", 20), ("SET datestyle ISO", "42601", 15),
    ("SET datestyle TO", "42601", 17), ("SET", "42601", 4), ("RESET", "42601", 6), ("SET \"x\" = 1", "42601", 5),
    ("START", "42601", 6), ("BEGIN fish", "42601", 7), ("COMMIT READ ONLY", "42601", 8), ("ROLLBACK TO a", "42601", 10)])
def test_what_cannot_be_set_or_begun_is_refused(console_proxy, text, code, position):
    with console(console_proxy) as db:
        error = wire.errors(ask(db, text))[0]
        assert (error["C"], error["P"]) == (code, str(position))


def test_discard_forgets_prepared_statements(console_proxy):
    with console(console_proxy) as db:
        exchange(db, wire.parse("s", "SHOW VERSION"), wire.sync())
        assert wire.tags(ask(db, "DISCARD ALL")) == ["DISCARD ALL"]
        assert sqlstate(exchange(db, wire.bind("", "s"), wire.sync())) == "26000"


@pytest.mark.parametrize("mode, told", [("off", True), ("session", False), ("transaction", False)])
def test_that_no_pool_is_in_use_is_told(make_proxy, mode, told):
    proxy = make_proxy(pool={"mode": mode}, **ADMIN)
    with console(proxy) as db:
        messages = ask(db, "SHOW POOLS")
        notices = [wire.error_fields(each.body)["M"] for each in messages if each.type == "N"]
        assert notices == (["no entrypoint shares connections: pool.mode is off"] if told else [])
        assert wire.types(messages).replace("N", "") == "TCZ"


# -- what is no protocol ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"?\0\0\0\4", b"Q\0\0\0\3", wire.message("Q", b"SHOW VERSION"), b"Q\xff\xff\xff\xff",
                                  wire.message("P", b"x"), wire.message("B", b"\0\0\0"), wire.message("D", b"?\0"),
                                  wire.message("E", b"\0"), wire.message("Q", b" " * 100000 + b"\0"),
                                  wire.message("p", b"x\0")])
def test_who_breaks_the_protocol_is_told_and_disconnected(console_proxy, data):
    with console(console_proxy) as db:
        db.send(data)
        fatal = db.read()
        assert fatal.type == "E"
        assert wire.error_fields(fatal.body)["S"] == "FATAL" and wire.error_fields(fatal.body)["C"] == "08P01"
        with pytest.raises((wire.Closed, ConnectionError)):
            db.read()


def test_random_bytes_do_no_harm(console_proxy):
    dice = random.Random(4)
    good = [wire.query("SHOW CLIENTS"), wire.parse("", "SHOW POOLS"), wire.bind(), wire.describe(), wire.execute(),
            wire.sync(), wire.query("RELOAD")]
    for _ in range(300):
        with console(console_proxy) as db:
            data = bytearray(b"".join(dice.choices(good, k=6)))
            for _ in range(dice.randrange(4)):
                data[dice.randrange(len(data))] = dice.randrange(256)
            db.send(bytes(data[:dice.randrange(len(data))]) if dice.random() < 0.5 else bytes(data))
    assert show(console_proxy, "VERSION")


# -- coming and going ------------------------------------------------------------------------------------------------


def test_who_hangs_up_before_the_answer_is_forgotten(console_proxy):
    for _ in range(200):
        with console(console_proxy) as db:
            db.send(wire.query("SHOW CLIENTS; RELOAD; SHOW CLIENTS"))
    wait_until(lambda: len(show(console_proxy, "CLIENTS")) == 1, "the clients to be gone")


def test_what_was_asked_before_the_end_of_sending_is_answered(console_proxy):
    with console(console_proxy) as db:
        db.send(wire.query("SHOW CLIENTS"), wire.query("SHOW VERSION"))
        db.socket.shutdown(socket.SHUT_WR)
        assert wire.types(db.read_until("Z")).startswith("TD")
        assert wire.types(db.read_until("Z")) == "TDCZ"
        with pytest.raises(wire.Closed):
            db.read()


def test_a_stop_ends_the_console(make_proxy):
    proxy = make_proxy(**ADMIN)
    with console(proxy) as idle, console(proxy) as busy:
        busy.send(*[wire.query("SHOW CLIENTS; RELOAD")] * 200)
        proxy.signal(signal.SIGTERM)
        fatal = idle.read()
        assert wire.error_fields(fatal.body)["C"] == "57P01"
        assert proxy.process.wait(20) == 0


# -- reload ----------------------------------------------------------------------------------------------------------


def test_reload_reads_the_settings_anew(make_proxy):
    proxy = make_proxy(**ADMIN)
    with console(proxy) as db:
        proxy.write_config(connect_timeout=7)
        assert wire.tags(ask(db, "RELOAD")) == ["RELOAD"]
        config = {row[0].decode(): row[1] for row in wire.rows(ask(db, "SHOW CONFIG"))}
        assert config["connect_timeout"] == b"7"


def test_a_reload_that_fails_says_why_and_changes_nothing(make_proxy):
    proxy = make_proxy(**ADMIN)
    with psycopg.connect(**proxy.parameters("pginterlock", user="ops"), autocommit=True) as db:
        proxy.write_config(connect_timeout="soon")
        with fails("F0000") as seen:
            db.execute("RELOAD")
        assert "connect_timeout" in seen.diag.message_primary and "pginterlock.yml:" in seen.diag.message_primary
        assert dict(row[:2] for row in db.execute("SHOW CONFIG"))["connect_timeout"] == "15"


def test_who_is_no_longer_named_is_sent_away(make_proxy):
    proxy = make_proxy(**ADMIN)
    with console(proxy) as db:
        proxy.write_config(admin={"users": ["other"]})
        assert wire.tags(ask(db, "RELOAD")) == ["RELOAD"]
        db.send(wire.query("SHOW CLIENTS"))
        fatal = wire.error_fields(db.read().body)
        assert (fatal["S"], fatal["C"]) == ("FATAL", "42501")


# -- settings --------------------------------------------------------------------------------------------------------


def test_check_tells_the_console_and_refuses_a_wrong_one(make_proxy):
    proxy = make_proxy(start=False, **ADMIN)

    def check():
        return subprocess.run([PROGRAM, "check", "--config", proxy.config], capture_output=True, text=True)
    assert "console: pginterlock, for ops\n" in check().stdout
    proxy.write_config(admin={"users": ["ops"], "database": "app_ci"})
    run = check()
    assert run.returncode == 2
    assert 'admin.database "app_ci" is an entrypoint: choose another name' in run.stderr
    assert f"{proxy.config}:" in run.stderr
