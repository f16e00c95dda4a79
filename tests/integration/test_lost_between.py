"""A connection that ends between two statements, or while the proxy itself asks something of it, for which the client
doesn't wait or of which it doesn't know: the statement that it is for fails once, and is not run nevertheless."""

import contextlib
import os
import signal
import threading

import pytest

import wire
from pooling import code, done, nothing_comes, own_mode, value, wait_known

pytestmark = own_mode

OF_CI = "SELECT count(*) FROM ci_builds WHERE id = 1"
WRITE = "INSERT INTO ci_runners (description) SELECT '{}' WHERE pg_try_advisory_xact_lock(11)"


@contextlib.contextmanager
def ending(pid):
    """The server's process gets what it is sent only when it has been told to end."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
        os.kill(pid, signal.SIGTERM)
    finally:
        os.kill(pid, signal.SIGCONT)


def messages_of(protocol, text):
    if protocol == "simple":
        return [wire.query(text)]
    return [wire.parse("", text), wire.bind(), wire.describe(), wire.execute(), wire.sync()]


@pytest.mark.parametrize("protocol", ["simple", "extended"])
@pytest.mark.parametrize("mode", ["off", "session", "transaction"])
def test_what_a_setting_is_repeated_for_is_not_run_when_that_has_failed(make_pool, unique, mode, protocol):
    """The function keeps the setting from going along with the statement."""
    proxy = make_pool(mode, size=1, settings={"workers": 1})
    with proxy.wire() as client:
        if mode == "transaction":
            wait_known(client, proxy.ci, OF_CI)
        done(client.query(OF_CI))
        for text in ("BEGIN", "SET work_mem = '5MB'", "SELECT count(*) FROM projects WHERE id < 0", "COMMIT"):
            done(client.query(text))
        (pid,) = proxy.ci.backends()
        with ending(pid):
            client.send(*messages_of(protocol, WRITE.format(unique)))
            nothing_comes(client)
        got = client.read_until("Z")
        assert code(got) == "08006"
        assert not wire.tags(got)
        count = f"SELECT count(*) FROM ci_runners WHERE description = '{unique}'"
        assert value(client, count) == "0"
        assert value(client, "/* database: ci */ SHOW work_mem") == "5MB"


def test_in_a_block_it_fails_that(make_pool, unique):
    proxy = make_pool(size=1, settings={"workers": 1})
    with proxy.wire() as client:
        wait_known(client, proxy.ci, OF_CI)
        for text in ("SET work_mem = '5MB'", "BEGIN", "SELECT count(*) FROM projects WHERE id < 0"):
            done(client.query(text))
        (pid,) = proxy.ci.backends()
        with ending(pid):
            client.send(wire.query(WRITE.format(unique)))
            nothing_comes(client)
        assert code(client.read_until("Z")) == "08006"
        assert code(client.query("SELECT 1")) == "25P02"
        assert wire.tags(client.query("COMMIT")) == ["ROLLBACK"]
        assert value(client, OF_CI) == "1"


def test_a_catalog_of_which_the_settings_could_not_be_made_is_not_heard(make_pool, main_cluster):
    main_cluster.sql("SET ROLE app; CREATE SEQUENCE numbers_lost_between OWNED BY projects.id")
    try:
        proxy = make_pool(size=1, settings={"workers": 1})
        with proxy.wire() as client:
            wait_known(client, proxy.ci, OF_CI)
            done(client.query("SET work_mem = '5MB'"))
            (pid,) = proxy.ci.backends()
            with ending(pid):
                client.send(wire.query("SELECT nextval('numbers_lost_between')"))
                nothing_comes(client)
            assert wire.rows(done(client.read_until("Z"))) == [[b"1"]]
            assert value(client, OF_CI) == "1"
    finally:
        main_cluster.sql("DROP SEQUENCE numbers_lost_between")


def test_at_login_it_is_the_clients_end_and_says_why(make_pool):
    proxy = make_pool(size=1, settings={"workers": 1})
    with proxy.wire() as client:
        wait_known(client, proxy.main, "SELECT count(*) FROM projects WHERE id < 0")
    refused = []

    def log_in():
        try:
            with proxy.wire(parameters={"application_name": "comes", "work_mem": "5MB"}):
                refused.append(None)
        except wire.ServerError as error:
            refused.append(error.fields["C"])
    thread = threading.Thread(target=log_in)
    (pid,) = proxy.main.backends()
    with ending(pid):
        thread.start()
        proxy.wait_for_log("client authenticated .*application=comes")
        assert not refused
    thread.join(20)
    assert refused == ["57P01"]
    with proxy.wire() as client:
        assert value(client, "SELECT 1") == "1"


NAMED = {
    "a table that it hid": ("CREATE TEMP TABLE projects (name text, path text)", "INSERT INTO projects (name, path) VALUES ('{0}', '{0}')"),
    "a table": ("CREATE TEMP TABLE lost_with_it (n int)", "SELECT * FROM lost_with_it"),
    "PREPARE": ("PREPARE lost_with_it AS SELECT 1", "EXECUTE lost_with_it"),
    "a cursor": ("DECLARE lost_with_it CURSOR WITH HOLD FOR SELECT 1", "FETCH lost_with_it"),
}


@pytest.mark.parametrize("what", NAMED)
@pytest.mark.parametrize("mode", ["off", "session", "transaction"])
def test_who_names_what_was_lost_with_it_is_told_so(make_pool, unique, mode, what):
    makes, names = NAMED[what]
    proxy = make_pool(mode, settings={"workers": 1})
    with proxy.wire() as client:
        done(client.query("/* database: ci */ " + makes))
        done(client.query("SELECT count(*) FROM users"))
        (pid,) = proxy.ci.backends()
        os.kill(pid, signal.SIGTERM)
        proxy.wait_for_log("connection to a database was lost")
        assert code(client.query(names.format(unique))) == "08006"
        assert proxy.main.value("SELECT count(*) FROM projects WHERE name = %s", params=(unique,)) == 0
        assert value(client, OF_CI) == "1"
        assert value(client, "SELECT count(*) FROM projects WHERE id = 1") == "1"
