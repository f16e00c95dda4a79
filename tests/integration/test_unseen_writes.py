"""What a read writes unseen (behind an operator, a cast, a view …) is not lost untold: COMMIT of a block over two databases
waits for such a database, behind the one that was modified, and tells if it fails."""

import pytest

import wire
from pooling import code, done, extended, learn_reading, own_mode, simple, value

pytestmark = own_mode

T = "_test_gitlab_ci_unseen"  # classified by its prefix, and in no cluster's schema
BASE = f"""
CREATE SCHEMA unseen; GRANT ALL ON SCHEMA unseen TO app;
CREATE TABLE {T} (n int); INSERT INTO {T} VALUES (1);
CREATE TABLE unseen.key (n int PRIMARY KEY); INSERT INTO unseen.key VALUES (1);
CREATE TABLE unseen.log (n int REFERENCES unseen.key DEFERRABLE INITIALLY DEFERRED);
CREATE TYPE unseen.word AS (n int);
CREATE FUNCTION unseen.writes(m int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO unseen.log VALUES (m); RETURN m; END $$;
GRANT ALL ON ALL TABLES IN SCHEMA public, unseen TO app;
"""
# What is made, and what is then read. The log's row violates a deferred constraint where n is not 1.
READS = {
    "a function": ("", f"SELECT unseen.writes(n) FROM {T}"),
    "an operator": ("CREATE FUNCTION unseen.both(a int, b int) RETURNS int LANGUAGE sql AS 'SELECT unseen.writes(a)';"
                    "CREATE OPERATOR unseen.<-> (FUNCTION = unseen.both, LEFTARG = int, RIGHTARG = int)",
                    f"SELECT n OPERATOR(unseen.<->) 1 FROM {T}"),
    "a cast": ("CREATE FUNCTION unseen.word_of(a int) RETURNS unseen.word LANGUAGE sql AS 'SELECT row(unseen.writes(a))::unseen.word';"
               "CREATE CAST (int AS unseen.word) WITH FUNCTION unseen.word_of(int)", f"SELECT n::unseen.word FROM {T}"),
    "an order": ("CREATE OPERATOR unseen.< (FUNCTION = int4lt, LEFTARG = int, RIGHTARG = int);"
                 "CREATE OPERATOR unseen.= (FUNCTION = int4eq, LEFTARG = int, RIGHTARG = int);"
                 "CREATE FUNCTION unseen.ranks(a int, b int) RETURNS int LANGUAGE sql AS 'SELECT unseen.writes(a)';"
                 "CREATE OPERATOR CLASS unseen.ops FOR TYPE int USING btree AS"
                 " OPERATOR 1 unseen.<, OPERATOR 3 unseen.=, FUNCTION 1 unseen.ranks(int, int)",
                 f"SELECT n FROM {T}, generate_series(1, 2) ORDER BY n USING OPERATOR(unseen.<)"),
    "a view": (f"CREATE VIEW {T}_view AS SELECT unseen.writes(n) FROM {T}", f"SELECT * FROM {T}_view"),
    "a view of a query in a string": (f"CREATE VIEW {T}_view AS SELECT"
                                           f" query_to_xml('SELECT unseen.writes(' || n || ')', true, true, '') FROM {T}",
                                           f"SELECT * FROM {T}_view"),
    "a policy": ("CREATE FUNCTION unseen.may(a int) RETURNS boolean LANGUAGE sql AS 'SELECT unseen.writes(a) IS NOT NULL';"
                 f"CREATE POLICY p ON {T} USING (unseen.may(n)); ALTER TABLE {T} ENABLE ROW LEVEL SECURITY", f"SELECT * FROM {T}"),
    "a domain": ("CREATE FUNCTION unseen.fine(a int) RETURNS boolean LANGUAGE sql AS 'SELECT unseen.writes(a) IS NOT NULL';"
                 "CREATE DOMAIN unseen.number AS int CHECK (unseen.fine(VALUE))", f"SELECT n::unseen.number FROM {T}"),
    "an attribute": (f"CREATE FUNCTION unseen.also(t {T}) RETURNS int LANGUAGE sql AS 'SELECT unseen.writes(t.n)'", f"SELECT t.also FROM {T} t"),
    "an attribute of anything": ("CREATE FUNCTION unseen.also(t anyelement, m int DEFAULT 2) RETURNS int LANGUAGE sql AS 'SELECT unseen.writes(m)'",
                                 f"SELECT t.also FROM {T} t"),
    "a name like lower": ("CREATE FUNCTION unseen.lower(a int) RETURNS int LANGUAGE sql AS 'SELECT unseen.writes(a)'", f"SELECT lower(n) FROM {T}"),
    "a name of newer servers": ("CREATE FUNCTION unseen.any_value(a int) RETURNS int LANGUAGE sql AS 'SELECT unseen.writes(a)'",
                                     f"SELECT any_value(n) FROM {T}"),
}
MODIFY = "INSERT INTO issues (title) VALUES ('{}')"


@pytest.fixture
def ci(ci_cluster):
    def forget():
        ci_cluster.sql(f"DROP SCHEMA IF EXISTS unseen CASCADE; DROP TABLE IF EXISTS {T} CASCADE")
    forget()
    ci_cluster.sql(BASE)
    yield ci_cluster
    forget()


@pytest.fixture
def connect(make_pool):
    def connected(mode):
        proxy = make_pool(mode, strings={"options": "'-c search_path=public,unseen'"})
        client = proxy.wire()
        learn_reading(client)
        return client
    return connected


def create(ci, make):
    ci.sql(f"{make}; GRANT ALL ON ALL TABLES IN SCHEMA public, unseen TO app")


def log_of(ci):
    return ci.value("SELECT count(*) FROM unseen.log")


def begin(client, *statements):
    for text in ("BEGIN", *statements):
        done(client.query(text))


@pytest.mark.parametrize("mode", ["off", "transaction"])
@pytest.mark.parametrize("what", READS)
def test_a_write_that_fails_at_commit_is_told(connect, ci, unique, what, mode):
    make, read = READS[what]
    create(ci, make)
    with connect(mode) as client:
        ci.sql(f"UPDATE {T} SET n = 2")
        begin(client, read, MODIFY.format(unique))
        (error,) = wire.errors(client.query("COMMIT"))
        assert (error["C"], error["D"]) == ("23503", 'Committed on "main"; not committed on "ci".')
        assert log_of(ci) == 0
        if what != "an attribute of anything":
            ci.sql(f"UPDATE {T} SET n = 1")
            begin(client, read, MODIFY.format(unique))
            assert wire.tags(done(client.query("COMMIT"))) == ["COMMIT"]
            assert log_of(ci) >= 1


@pytest.mark.parametrize("what", READS)
def test_it_is_told_where_nothing_else_was_modified(connect, ci, what):
    make, read = READS[what]
    create(ci, make)
    with connect("off") as client:
        ci.sql(f"UPDATE {T} SET n = 2")
        begin(client, "SELECT count(*) FROM projects", read)
        assert code(client.query("COMMIT")) == "23503"


@pytest.mark.parametrize("what", READS)
def test_it_is_undone_where_the_modified_database_fails(connect, main_cluster, ci, what):
    make, read = READS[what]
    create(ci, make)
    main_cluster.sql("CREATE TABLE _test_gitlab_main_late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED);"
                     "GRANT ALL ON _test_gitlab_main_late TO app")
    try:
        with connect("off") as client:
            begin(client, read, "INSERT INTO _test_gitlab_main_late VALUES (1), (1)")
            assert code(client.query("COMMIT")) == "23505"
            done(client.query(f"SELECT count(*) FROM {T} WHERE false"))
        assert log_of(ci) == 0
    finally:
        main_cluster.sql("DROP TABLE _test_gitlab_main_late")


@pytest.mark.parametrize("ask", [simple, extended])
def test_what_a_pipeline_wrote_unseen_is_told(connect, ci, unique, ask):
    with connect("off") as client:
        ci.sql(f"UPDATE {T} SET n = 2")
        one, two = f"SELECT unseen.writes(n) FROM {T}", MODIFY.format(unique)
        if ask is simple:
            found = wire.errors(client.query(f"{one}; {two}"))
        else:
            parts = [part for text in (one, two) for part in (wire.parse("", text), wire.bind(), wire.execute())]
            found = wire.errors(client.exchange(*parts, wire.sync()))
        assert [error["C"] for error in found] == ["23503"]
        assert found[0]["D"] == 'Committed on "main"; not committed on "ci".'


def test_what_a_portal_wrote_before_the_pipeline_went_on_is_not_forgotten(connect, ci):
    with connect("off") as client:
        ci.sql(f"UPDATE {T} SET n = 2")
        texts = f"SELECT unseen.writes(n) FROM {T}", f"SELECT count(*) FROM {T}", "SELECT count(*) FROM projects"
        parts = [part for text in texts for part in (wire.parse("", text), wire.bind(), wire.execute())]
        assert code(client.exchange(*parts, wire.sync())) == "23503"


def test_a_temporary_view_counts(connect, ci, unique):
    with connect("off") as client:
        done(client.query(f"CREATE TEMPORARY VIEW {T}_mine AS SELECT unseen.writes(n) FROM {T}"))
        ci.sql(f"UPDATE {T} SET n = 2")
        begin(client, f"SELECT * FROM {T}_mine", MODIFY.format(unique))
        assert code(client.query("COMMIT")) == "23503"


def test_what_the_block_itself_made_counts(connect, ci, unique):
    with connect("off") as client:
        ci.sql(f"UPDATE {T} SET n = 2")
        begin(client, f"CREATE VIEW {T}_view AS SELECT unseen.writes(n) FROM {T}", f"SELECT * FROM {T}_view",
              "SELECT count(*) FROM projects")
        assert code(client.query("COMMIT")) == "23503"


def asked(cluster):
    return cluster.log().count("SET LOCAL statement_timeout TO '5s'")


def test_code_that_comes_through_the_proxy_is_asked_for_anew(connect, ci, unique):
    make, read = READS["an operator"]
    with connect("off") as client:
        ci.sql(f"UPDATE {T} SET n = 2")
        done(client.query("/* database: ci */ " + make.split(";")[0]))
        done(client.query("/* database: ci */ " + make.split(";")[1]))
        begin(client, read, MODIFY.format(unique))
        assert code(client.query("COMMIT")) == "23503"


def test_while_it_is_known_nothing_is_asked(connect, ci):
    with connect("off") as client:
        before = asked(ci)
        assert before > 0
        for _ in range(3):
            learn_reading(client)
        assert asked(ci) == before


def test_the_question_leaves_the_clients_settings_alone(make_pool, ci):
    proxy = make_pool("off")
    with proxy.wire() as client:
        done(client.query("SET statement_timeout = '7s'"))
        learn_reading(client)
        assert value(client, "/* database: ci */ SHOW statement_timeout") == "7s"
        assert value(client, "/* database: ci */ SHOW lock_timeout") == "20s"


def test_a_catalog_that_is_locked_holds_up_nobody_for_long(make_pool, ci, unique):
    with ci.admin(ci.dbname) as admin:
        admin.execute("BEGIN; LOCK pg_catalog.pg_policy IN ACCESS EXCLUSIVE MODE")
        proxy = make_pool("off")
        with proxy.wire(timeout=10) as client:
            learn_reading(client)
            begin(client, f"SELECT unseen.writes(n) FROM {T}", MODIFY.format(unique))
            assert wire.tags(done(client.query("COMMIT"))) == ["COMMIT"]
        admin.execute("ROLLBACK")
