"""A transaction that loses a database on its way to COMMIT is told to have, and isn't committed as if nothing had been there."""

import contextlib
import os
import signal

import pytest

import wire
from harness import wait_until
from losses import (INTO, READS, client, clusters, end_and_notice, ending, held, off, parts, proxies, proxy, rows,  # noqa: F401
                    writer)
from pooling import code, done, nothing_comes, own_mode, value

pytestmark = own_mode


# -- before its end --------------------------------------------------------------------------------------------------

def begin(client, title, *more):
    for text in ("BEGIN", INTO["ci"].format(title), INTO["main"].format(title), *more):
        done(client.query(text))


def commits_nothing(clusters, client, title):
    assert wire.tags(client.query("COMMIT")) == ["ROLLBACK"]
    assert rows(clusters, title) == (0, 0)


def test_a_block_that_lost_a_database_after_an_error_is_not_gone_back_into(proxy, clusters, client, unique):
    begin(client, unique, "SAVEPOINT a")
    assert code(client.query("SELECT 1 / 0 FROM projects")) == "22012"
    end_and_notice(proxy, writer(clusters, "ci"))
    assert code(client.query("ROLLBACK TO a")) == "25P02"
    commits_nothing(clusters, client, unique)


def test_a_block_that_lost_a_database_in_a_statement_is_not_gone_back_into(proxy, clusters, client, unique):
    begin(client, unique, "SAVEPOINT a")
    with ending(proxy, writer(clusters, "ci")):
        client.send(wire.query(READS["ci"]))
    assert code(client.read_until("Z")) == "08006"
    assert code(client.query("ROLLBACK TO a")) == "25P02"
    commits_nothing(clusters, client, unique)


def test_a_block_that_loses_a_database_while_it_goes_back_is_not_gone_back_into(proxy, clusters, client, unique):
    begin(client, unique, "SAVEPOINT a")
    assert code(client.query("SELECT 1 / 0 FROM projects")) == "22012"
    with ending(proxy, writer(clusters, "ci")):
        client.send(wire.query("ROLLBACK TO a"))
    client.read_until("Z")  # it may have answered yet
    assert code(client.query("ROLLBACK TO a")) in ("08006", "25P02")
    commits_nothing(clusters, client, unique)


def test_the_next_block_may_be_gone_back_into(proxy, clusters, client, unique):
    begin(client, unique)
    end_and_notice(proxy, writer(clusters, "ci"))
    done(client.query("ROLLBACK"))
    assert code(client.query(READS["ci"])) in ("08006", None)  # its loss is told, where it was the client's alone
    begin(client, unique, "SAVEPOINT a")
    assert code(client.query("SELECT 1 / 0 FROM projects")) == "22012"
    assert wire.tags(client.query("ROLLBACK TO a") + client.query("COMMIT")) == ["ROLLBACK", "COMMIT"]
    assert rows(clusters, unique) == (1, 1)


def test_a_database_that_is_lost_at_a_sync_within_the_block_is_told(proxy, clusters, client, unique):
    done(client.query("BEGIN"))
    client.send(*parts(INTO["ci"].format(unique), INTO["main"].format(unique)), wire.flush())
    for _ in range(2):
        client.read_until("C")
    with ending(proxy, writer(clusters, "ci")):
        client.send(wire.sync())
    done(client.read_until("Z"))
    assert code(client.query("COMMIT")) == "08006"
    assert rows(clusters, unique) == (0, 0)


def test_commit_of_a_failed_block_says_rollback_though_a_database_is_lost_in_it(proxy, clusters, client, unique):
    begin(client, unique)
    assert code(client.query("SELECT 1 / 0 FROM projects")) == "22012"
    with ending(proxy, writer(clusters, "ci")):
        client.send(wire.query("COMMIT"))
    assert wire.tags(done(client.read_until("Z"))) == ["ROLLBACK"]


def test_a_statement_that_is_lost_in_a_block_is_surely_not_committed(proxy, clusters, client, unique):
    begin(client, unique)
    with ending(proxy, writer(clusters, "ci")):
        client.send(wire.query(INTO["ci"].format(unique)))
    assert code(client.read_until("Z")) == "08006"
    commits_nothing(clusters, client, unique)


def test_a_database_that_idles_too_long_in_the_block_is_told(proxy, clusters, client, unique):
    begin(client, unique, "/* database: ci */ DO $$ BEGIN SET idle_in_transaction_session_timeout TO 100; END $$")
    before = len(proxy.log())
    assert code(client.query("SELECT pg_sleep(0.3) FROM projects WHERE id = 1")) is None
    proxy.wait_for_log("connection to a database was lost", before)
    assert code(client.query("COMMIT")) == "08006"
    assert rows(clusters, unique) == (0, 0)


@contextlib.contextmanager
def sleeping(client, clusters, *messages):
    """While main runs the statement with pg_sleep() among the messages."""
    client.send(*messages)
    wait_until(lambda: clusters["main"].sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), "pg_sleep()")
    yield


SLEEPS = "INSERT INTO _test_gitlab_main_held (title) SELECT '{}' FROM pg_sleep(0.5)"


def test_a_database_that_is_lost_before_the_end_of_a_query_is_told(proxy, clusters, client, unique):
    with sleeping(client, clusters, wire.query(f"{INTO['ci'].format(unique)};{SLEEPS.format(unique)}")):
        end_and_notice(proxy, writer(clusters, "ci"))
    (error,) = wire.errors(client.read_until("Z"))
    assert (error["C"], error["D"]) == ("08006", "The transaction was rolled back.")
    assert rows(clusters, unique) == (0, 0)


def test_a_database_that_is_lost_before_a_pipelines_commit_undoes_it(proxy, clusters, client, unique):
    with sleeping(client, clusters, *parts(INTO["ci"].format(unique), SLEEPS.format(unique), "COMMIT"), wire.sync()):
        end_and_notice(proxy, writer(clusters, "ci"))
    assert code(client.read_until("Z")) == "08006"
    assert rows(clusters, unique) == (0, 0)


# -- a simple query behind an open pipeline: it commits by itself where it runs, before the pipeline ends elsewhere --

def test_a_pipeline_that_is_lost_before_the_query_behind_it_ends_is_told(proxy, clusters, client, unique):
    with sleeping(client, clusters, *parts(INTO["ci"].format(unique)), wire.query(SLEEPS.format(unique))):
        end_and_notice(proxy, writer(clusters, "ci"))
    (error,) = wire.errors(client.read_until("Z"))
    assert (error["C"], error["D"]) == ("08006", 'Committed on "main"; not committed on "ci".')
    assert rows(clusters, unique) == (1, 0)


def test_a_pipeline_that_fails_behind_the_query_that_ended_it_is_told(proxy, clusters, client, unique):
    client.send(*parts(INTO["ci"].format(f"{unique} refused")), wire.query(INTO["main"].format(unique)))
    (error,) = wire.errors(client.read_until("Z"))
    assert (error["C"], error["D"]) == ("P0001", 'Committed on "main"; not committed on "ci".')
    assert rows(clusters, unique) == (1, 0)


# -- pipelines -------------------------------------------------------------------------------------------------------

def test_each_pipeline_that_was_sent_is_told_of_the_loss(off, clusters, unique):
    with off.wire() as client:
        done(client.query(READS["ci"]))
        pid = int(value(client, "/* database: ci */ SELECT pg_backend_pid()"))
        with ending(off, pid):
            client.send(*[part for _ in range(2) for part in (*parts(INTO["ci"].format(unique)), wire.sync())])
            client.send(*parts(INTO["ci"].format(unique)), wire.flush())
            nothing_comes(client)
        messages = [message for _ in range(3) for message in client.read_until("EZ")] + client.read_until("Z")
        assert [message.type for message in messages + client.read_until("E")] == ["E", "Z", "E", "Z", "E"]
        done(client.exchange(wire.sync()))
        assert value(client, READS["ci"]) == "1"
    assert rows(clusters, unique) == (0, 0)


@pytest.fixture
def prepared_on_both(request, proxies):
    """A session whose statement "s" is prepared on either database."""
    with proxies[request.param].wire() as client:
        done(client.exchange(wire.parse("s", "SELECT 1"), wire.sync()))
        for name in ("ci", "main"):
            done(client.query(f"SET pginterlock.database = '{name}'"))
            done(client.exchange(wire.bind("", "s"), wire.execute(), wire.sync()))
        done(client.query("RESET pginterlock.database"))
        yield client


@pytest.mark.parametrize("prepared_on_both", ["off", "session"], indirect=True)
def test_closing_a_statement_commits_nothing_of_the_pipeline(clusters, prepared_on_both, unique):
    messages = prepared_on_both.exchange(*parts(INTO["ci"].format(unique), INTO["main"].format(unique)), wire.close("S", "s"),
                                         *parts("SELECT 1 / 0 FROM projects"), wire.sync())
    assert code(messages) == "22012"
    assert rows(clusters, unique) == (0, 0)


@pytest.mark.parametrize("prepared_on_both", ["off"], indirect=True)
def test_another_databases_answer_does_not_take_a_failed_pipeline_for_the_next(clusters, prepared_on_both):
    """Else a setting that was undone with it would be repeated there."""
    client = prepared_on_both
    pid = int(value(client, "/* database: ci */ SELECT pg_backend_pid()"))
    client.exchange(*parts("SET work_mem = '7MB'"), wire.flush(), until="C")
    os.kill(pid, signal.SIGSTOP)
    try:
        with sleeping(client, clusters, wire.close("S", "s"), *parts("SELECT pg_sleep(0.5), 1 / (random() * 0)::int FROM projects"),
                      wire.sync(), *parts(READS["main"]), wire.sync()):
            os.kill(pid, signal.SIGCONT)
            assert code(client.read_until("Z")) == "22012"
    finally:
        os.kill(pid, signal.SIGCONT)
    done(client.read_until("Z"))
    assert value(client, "SHOW work_mem") == value(client, "/* database: ci */ SHOW work_mem") == "4MB"


# -- what no statement says ------------------------------------------------------------------------------------------

@pytest.fixture
def unseen(clusters):
    """A function of ci's that writes."""
    clusters["ci"].sql("""SET ROLE app; CREATE FUNCTION writes_unseen(text) RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN EXECUTE 'INSERT INTO _test_gitlab_ci_held (title) VALUES ($1)' USING $1; END $$""")
    yield "/* database: ci */ SELECT writes_unseen('{}')"
    clusters["ci"].sql("DROP FUNCTION writes_unseen")


def test_a_database_that_wrote_unseen_and_is_lost_before_its_turn_is_told(proxy, clusters, client, unseen, unique):
    with held(clusters["main"]) as waiting:
        for text in ("BEGIN", unseen.format(unique), INTO["main"].format(unique)):
            done(client.query(text))
        client.send(wire.query("COMMIT"))
        waiting()
        end_and_notice(proxy, writer(clusters, "ci"))
    (error,) = wire.errors(client.read_until("Z"))
    assert (error["C"], error["D"]) == ("08006", 'Committed on "main"; not committed on "ci".')
    assert rows(clusters, unique) == (1, 0)


@pytest.mark.parametrize("text", ["{}", "{}; SHOW pginterlock.allow", "BEGIN; {}; COMMIT"], ids=["alone", "in parts", "block"])
def test_what_wrote_unseen_and_is_lost_is_not_known(proxy, clusters, client, unseen, unique, text):
    with held(clusters["ci"]) as waiting:
        client.send(wire.query(text.format(unseen.format(unique))))
        os.kill(waiting(), signal.SIGTERM)
        assert code(client.read_until("Z")) == "08007"


# -- the proxy's own end ---------------------------------------------------------------------------------------------

def test_a_proxy_that_ends_brings_a_commit_to_its_end_though_its_client_has_left(make_pool, clusters, unique):
    proxy = make_pool("off", settings={"rules": {"cross_transaction": "report"}})
    with held(clusters["main"]) as waiting:
        with proxy.wire() as client:
            begin(client, unique)
            client.send(wire.query("COMMIT"), wire.terminate())
        waiting()
        proxy.signal(signal.SIGTERM)
        proxy.wait_for_log("stopping: ")
    proxy.process.wait(20)
    assert rows(clusters, unique) == (1, 1)
