"""What a client is told of a COMMIT over two databases is true, whatever happens to either of them at whichever moment."""

import os
import signal

import pytest

import wire
from harness import wait_until
from losses import INTO, client, clusters, end_and_notice, held, off, parts, proxies, proxy, rows, writer  # noqa: F401
from pooling import done, own_mode

pytestmark = own_mode


def block(end):
    return lambda into: (["BEGIN", *into], [wire.query(end)])


# How a transaction comes: what is asked one by one before, and what ends it.
FORMS = {
    "COMMIT": block("COMMIT"),
    "END": block("END"),
    "COMMIT AND CHAIN": block("COMMIT AND CHAIN"),
    "COMMIT behind RELEASE": lambda into: (["BEGIN", "SAVEPOINT a", *into, "RELEASE a"], [wire.query("COMMIT")]),
    "COMMIT behind ROLLBACK TO": lambda into: (["BEGIN", *into, "SAVEPOINT a", "ROLLBACK TO a"], [wire.query("COMMIT")]),
    "COMMIT in the extended protocol": lambda into: (["BEGIN", *into], [*parts("COMMIT"), wire.sync()]),
    "COMMIT in a pipeline": lambda into: ([], [*parts("BEGIN", *into, "COMMIT", "SELECT 1"), wire.sync()]),
    "Sync": lambda into: ([], [*parts(*into), wire.sync()]),
    "COMMIT in a pipeline without BEGIN": lambda into: ([], [*parts(*into, "COMMIT", "SELECT 1"), wire.sync()]),
    "the end of a query": lambda into: ([], [wire.query(";".join(into))]),
    "COMMIT within a query": lambda into: ([], [wire.query(";".join(("BEGIN", *into, "COMMIT", "SELECT 1")))]),
}


@pytest.fixture(params=FORMS)
def form(request):
    """How connections are shared makes a difference for few of them."""
    if request.node.callspec.params["proxy"] == "session" and request.param not in ("COMMIT", "Sync", "the end of a query"):
        pytest.skip("as without a pool")
    return FORMS[request.param]


class Block:
    """A transaction that writes to both databases, up to its end, which has been sent."""

    def __init__(self, client, form, main, ci):
        before, end = form([INTO["main"].format(main), INTO["ci"].format(ci)])
        for text in before:
            done(client.query(text))
        self.client = client
        client.send(*end)

    def error(self):
        """The only one."""
        (error,) = wire.errors(self.client.read_until("Z"))
        return error["C"], error.get("D")


# -- at whichever moment ---------------------------------------------------------------------------------------------

def test_what_nothing_happens_to_is_committed_on_both(proxy, clusters, client, form, unique):
    Block(client, form, unique, unique)
    done(client.read_until("Z"))
    assert rows(clusters, unique) == (1, 1)


def test_what_the_first_database_refuses_is_committed_on_none(proxy, clusters, client, form, unique):
    block = Block(client, form, f"{unique} refused", unique)
    assert block.error() == ("P0001", None)
    assert rows(clusters, unique) == (0, 0)


def test_what_the_second_database_refuses_is_told_to_be_on_the_first(proxy, clusters, client, form, unique):
    block = Block(client, form, unique, f"{unique} refused")
    assert block.error() == ("P0001", 'Committed on "main"; not committed on "ci".')
    assert rows(clusters, unique) == (1, 0)


def test_a_first_database_that_is_lost_meanwhile_is_not_known(proxy, clusters, client, form, unique):
    with held(clusters["main"]) as waiting:
        block = Block(client, form, unique, unique)
        os.kill(waiting(), signal.SIGTERM)
        assert block.error() == ("08007", 'Whether the transaction was committed on "main" is not known; not committed on "ci".')
    assert rows(clusters, unique) == (0, 0)


def test_a_second_database_that_is_lost_meanwhile_is_not_known(proxy, clusters, client, form, unique):
    with held(clusters["ci"]) as waiting:
        block = Block(client, form, unique, unique)
        os.kill(waiting(), signal.SIGTERM)
        assert block.error() == ("08007", 'Committed on "main"; whether on "ci" is not known.')
    assert rows(clusters, unique) == (1, 0)


def test_a_second_database_that_is_lost_before_its_turn_is_told(proxy, clusters, client, form, unique):
    with held(clusters["main"]) as waiting:
        block = Block(client, form, unique, unique)
        waiting()
        end_and_notice(proxy, writer(clusters, "ci"))
    assert block.error() == ("08006", 'Committed on "main"; not committed on "ci".')
    assert rows(clusters, unique) == (1, 0)


def test_a_cancel_request_at_the_first_database_undoes_both(proxy, clusters, client, form, unique):
    with held(clusters["main"]) as waiting:
        block = Block(client, form, unique, unique)
        waiting()
        client.cancel()
        assert block.error() == ("57014", None)
    assert rows(clusters, unique) == (0, 0)


def test_a_cancel_request_at_the_second_database_is_told(proxy, clusters, client, form, unique):
    with held(clusters["ci"]) as waiting:
        block = Block(client, form, unique, unique)
        waiting()
        client.cancel()
        assert block.error() == ("57014", 'Committed on "main"; not committed on "ci".')
    assert rows(clusters, unique) == (1, 0)


def test_a_client_that_hangs_up_meanwhile_is_committed_on_both(proxy, clusters, form, unique):
    with held(clusters["main"]) as waiting:
        with proxy.wire() as client:
            Block(client, form, unique, unique)
            waiting()
    wait_until(lambda: rows(clusters, unique) == (1, 1), "COMMIT on both")


def test_what_triggers_say_at_commit_is_passed_on(proxy, clusters, client, form, unique):
    Block(client, form, unique, f"{unique} warned")
    messages = [wire.error_fields(message.body) for message in client.read_until("Z") if message.type == "N"]
    assert [fields["M"] for fields in messages if fields["C"] == "01000"] == ["said at COMMIT"]


# -- three databases -------------------------------------------------------------------------------------------------

@pytest.fixture
def three(make_proxy, clusters, tmp_path):
    """A third database, on ci's server, which is written, too; its table is made and dropped with it."""
    ci = clusters["ci"]
    with ci.admin("postgres") as connection:
        connection.execute("CREATE DATABASE app_sec OWNER app")
    ci.sql("CREATE TABLE vulnerabilities (title text); GRANT ALL ON vulnerabilities TO app", "app_sec")
    tables = tmp_path / "schemas.yml"
    tables.write_text("issues: gitlab_main\n_test_gitlab_ci_held: gitlab_ci\nvulnerabilities: gitlab_sec\n")
    yield make_proxy(databases={"main": clusters["main"].conninfo(), "ci": ci.conninfo(),
                                "sec": ci.conninfo().replace("dbname=app_ci", "dbname=app_sec")},
                     classification={"tables": str(tables)}, rules={"cross_transaction": "report"})
    with ci.admin("postgres") as connection:
        connection.execute("DROP DATABASE app_sec WITH (FORCE)")


def begin_three(client, title):
    for text in ("BEGIN", f"INSERT INTO vulnerabilities VALUES ('{title}')", f"INSERT INTO issues (title) VALUES ('{title}')",
                 INTO["ci"].format(title)):
        done(client.query(text))


def of_three(clusters, title):
    return (len(clusters["main"].sql("DELETE FROM issues WHERE title LIKE %s RETURNING 1", params=(f"{title}%",))),
            rows(clusters, title)[1], clusters["ci"].value("SELECT count(*) FROM vulnerabilities", "app_sec"))


def test_of_three_databases_it_is_told_which_have_committed(three, clusters, unique):
    with wire.connect("127.0.0.1", three.port, user="app", database="app") as client:
        begin_three(client, f"{unique} refused")
        (error,) = wire.errors(client.query("COMMIT"))
        assert error["D"] == 'Committed on "main"; not committed on "ci", "sec".'
        assert of_three(clusters, unique) == (1, 0, 0)


def test_of_three_databases_it_is_told_of_which_it_is_not_known(three, clusters, unique):
    with wire.connect("127.0.0.1", three.port, user="app", database="app") as client, held(clusters["ci"]) as waiting:
        begin_three(client, unique)
        client.send(wire.query("COMMIT"))
        os.kill(waiting(), signal.SIGTERM)
        (error,) = wire.errors(client.read_until("Z"))
        assert error["D"] == 'Committed on "main"; whether on "ci" is not known; not committed on "sec".'
        assert of_three(clusters, unique) == (1, 0, 0)


def test_three_databases_commit(three, clusters, unique):
    with wire.connect("127.0.0.1", three.port, user="app", database="app") as client:
        begin_three(client, unique)
        done(client.query("COMMIT"))
        assert of_three(clusters, unique) == (1, 1, 1)
