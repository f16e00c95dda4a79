"""Indexes, sequences, statistics and constraints that are named alone go where the table is that they belong to, as
the databases' catalogs have it: where each table exists on one side only, and where both sides have every table."""

import contextlib
import itertools

import psycopg
import pytest

from conftest import make_ci, make_main
from harness import DEMO, POOL_MODE, Interlock, Postgres, fails, one, rejected

_counter = itertools.count(1)


class Scene:
    """A proxy, its clusters, and objects that are made past it, as the role `app`."""

    def __init__(self, full, **overrides):
        self.full = full
        scripts = [DEMO / "main.sql", DEMO / "ci.sql", DEMO / "shared.sql"]
        self.main = Postgres("main").start().create_database("app", *scripts) if full else make_main()
        self.ci = Postgres("ci").start().create_database("app_ci", *scripts) if full else make_ci()
        self.proxy = Interlock(self.main, self.ci, **overrides).start()

    def close(self):
        self.proxy.close()
        self.main.close()
        self.ci.close()

    def clusters(self, home):
        return (self.main, self.ci) if self.full else (home,)

    def make(self, home, sql):
        """Runs `sql` with a fresh name for {} on the cluster, and on both where both have all; gives the name."""
        name = f"an_object_{next(_counter)}"
        self.make_named(home, name, sql)
        return name

    def make_named(self, home, name, sql):
        for cluster in self.clusters(home):
            cluster.sql("SET ROLE app; " + sql.replace("{}", name))

    def ci_index(self):
        return self.make(self.ci, "CREATE INDEX {} ON ci_builds (name)")

    def main_index(self):
        return self.make(self.main, "CREATE INDEX {} ON projects (name)")

    def ci_sequence(self):
        return self.make(self.ci, "CREATE SEQUENCE {} OWNED BY ci_builds.id")

    def main_sequence(self):
        return self.make(self.main, "CREATE SEQUENCE {} OWNED BY projects.id")

    @staticmethod
    def has(cluster, name):
        return cluster.value("SELECT to_regclass(%s) IS NOT NULL", params=(name,))

    def only_ci_changed(self, name, sql):
        """The query's value is true on ci, and where main has the object too, not on main."""
        assert self.ci.value(sql.replace("{}", name)), "not done on ci"
        if self.full:
            assert not self.main.value(sql.replace("{}", name)), "done on main"

    def connect(self, dbname="app"):
        return self.proxy.connect(dbname)


@pytest.fixture(scope="module", params=["one_sided", "full"])
def scene(request):
    made = Scene(request.param == "full")
    yield made
    made.close()


@pytest.fixture
def db(scene):
    with scene.connect() as connection:
        yield connection


@pytest.fixture
def main_last(db):
    """A session whose last statement ran on main: what only follows would go there."""
    assert one(db, "SELECT count(*) FROM projects") > 0
    return db


# --- each statement that names such an object alone ---

def test_drop_index_goes_to_its_table(scene, main_last):
    name = scene.ci_index()
    main_last.execute(f"DROP INDEX {name}")
    assert not scene.has(scene.ci, name)
    assert scene.has(scene.main, name) == scene.full


def test_drop_index_of_main_goes_to_main(scene, db):
    name = scene.main_index()
    one(db, "SELECT count(*) FROM ci_builds")
    db.execute(f"DROP INDEX {name}")
    assert not scene.has(scene.main, name)


def test_drop_index_concurrently(scene, main_last):
    name = scene.ci_index()
    main_last.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    assert not scene.has(scene.ci, name)


@pytest.mark.parametrize("statement", ["ALTER INDEX {} RENAME TO {}_new", "ALTER TABLE {} RENAME TO {}_new"])
def test_an_index_is_renamed(scene, main_last, statement):
    name = scene.ci_index()
    main_last.execute(statement.replace("{}", name))
    assert scene.has(scene.ci, name + "_new") and not scene.has(scene.main, name + "_new")


@pytest.mark.parametrize("statement, done", [
    ("ALTER INDEX {} SET (fillfactor = 50)",
     "SELECT reloptions IS NOT NULL FROM pg_class WHERE relname = '{}'"),
    ("ALTER TABLE {} SET (fillfactor = 50)",
     "SELECT reloptions IS NOT NULL FROM pg_class WHERE relname = '{}'"),
    ("COMMENT ON INDEX {} IS 'told'", "SELECT obj_description('{}'::regclass) = 'told'")])
def test_an_index_is_altered(scene, main_last, statement, done):
    name = scene.ci_index()
    main_last.execute(statement.replace("{}", name))
    scene.only_ci_changed(name, done)


def test_reindex_index(scene, main_last):
    name = scene.ci_index()
    files = "SELECT pg_relation_filenode(%s)"
    before = [cluster.value(files, params=(name,)) for cluster in scene.clusters(scene.ci)]
    main_last.execute(f"REINDEX INDEX {name}")
    after = [cluster.value(files, params=(name,)) for cluster in scene.clusters(scene.ci)]
    assert after[-1] != before[-1]
    assert after[:-1] == before[:-1]


def test_cluster_using_an_index(scene, main_last):
    name = scene.ci_index()
    main_last.execute(f"CLUSTER ci_builds USING {name}")
    scene.only_ci_changed(name, "SELECT indisclustered FROM pg_index WHERE indexrelid = '{}'::regclass")


@pytest.mark.parametrize("statement, done", [
    ("ALTER SEQUENCE {} INCREMENT 7", "SELECT seqincrement = 7 FROM pg_sequence WHERE seqrelid = '{}'::regclass"),
    ("ALTER SEQUENCE {} RESTART WITH 90", "SELECT last_value = 90 FROM {}"),
    ("COMMENT ON SEQUENCE {} IS 'told'", "SELECT obj_description('{}'::regclass) = 'told'"),
    ("GRANT SELECT ON SEQUENCE {} TO public", "SELECT relacl IS NOT NULL FROM pg_class WHERE relname = '{}'"),
    ("GRANT SELECT ON {} TO public", "SELECT relacl IS NOT NULL FROM pg_class WHERE relname = '{}'"),
    ("SELECT setval('{}', 55)", "SELECT last_value = 55 FROM {}"),
    ("SELECT nextval('{}')", "SELECT is_called FROM {}"),
    ("DO $$ BEGIN PERFORM nextval('{}'); END $$", "SELECT is_called FROM {}")])
def test_a_sequence_with_a_name_of_its_own(scene, main_last, statement, done):
    name = scene.ci_sequence()
    main_last.execute(statement.replace("{}", name))
    scene.only_ci_changed(name, done)


def test_drop_and_rename_of_a_sequence(scene, main_last):
    name = scene.ci_sequence()
    main_last.execute(f"ALTER SEQUENCE {name} RENAME TO {name}_new")
    one(main_last, "SELECT count(*) FROM projects")
    main_last.execute(f"DROP SEQUENCE {name}_new")
    assert not scene.has(scene.ci, name) and not scene.has(scene.ci, name + "_new")
    assert scene.has(scene.main, name) == scene.full


def test_currval_and_lastval_follow_nextval(scene, main_last):
    name = scene.ci_sequence()
    # Who shares connections by transaction knows what was drawn within the transaction.
    with main_last.transaction() if POOL_MODE == "transaction" else contextlib.nullcontext():
        value = one(main_last, f"SELECT nextval('{name}')")
        assert one(main_last, "SELECT lastval()") == value
        one(main_last, "SELECT count(*) FROM projects")
        assert one(main_last, f"SELECT currval('{name}')") == value


@pytest.mark.own_connection  # one transaction couldn't modify both
def test_lastval_follows_the_insert_that_drew_it(main_last, unique):
    drawn = one(main_last, "INSERT INTO ci_runners (description) VALUES (%s) RETURNING id", (unique,))
    assert one(main_last, "SELECT count(*) FROM projects") > 0
    main_last.execute("UPDATE projects SET star_count = star_count WHERE id = 1")
    assert one(main_last, "SELECT lastval()") == drawn


def test_a_sequence_is_read_as_a_table(scene, main_last):
    name = scene.ci_sequence()
    one(main_last, f"SELECT setval('{name}', 66)")
    one(main_last, "SELECT count(*) FROM projects")
    assert one(main_last, f"SELECT last_value FROM {name}") == 66


def test_an_identity_column_has_a_sequence_of_its_table(scene, main_last):
    name = scene.make(scene.ci, "ALTER TABLE ci_runners ADD COLUMN {}_n bigint GENERATED BY DEFAULT AS IDENTITY"
                                " (SEQUENCE NAME {})")
    one(main_last, f"SELECT setval('{name}', 77)")
    scene.only_ci_changed(name, "SELECT last_value = 77 FROM {}")


def test_nextval_in_an_insert_goes_with_the_table(scene, main_last, unique):
    name = scene.ci_sequence()
    main_last.execute(f"INSERT INTO ci_runners (id, description) VALUES (1000 + nextval('{name}'), %s)", (unique,))
    with rejected("XD001", "cross_join"):
        main_last.execute(f"INSERT INTO issues (id, title) VALUES (1000 + nextval('{name}'), 'x')")


def test_sizes_and_regclass_of_an_index(scene, main_last):
    name = scene.ci_index()
    assert one(main_last, f"SELECT current_database() || pg_relation_size('{name}')").startswith("app_ci")
    one(main_last, "SELECT count(*) FROM projects")
    assert one(main_last, f"SELECT current_database() WHERE '{name}'::regclass IS NOT NULL") == "app_ci"


@pytest.mark.parametrize("statement, gone", [
    ("DROP STATISTICS {}", True), ("ALTER STATISTICS {} SET STATISTICS 5", False),
    ("ALTER STATISTICS {} RENAME TO {}_new", True), ("COMMENT ON STATISTICS {} IS 'told'", False)])
def test_statistics_belong_to_their_table(scene, main_last, statement, gone):
    name = scene.make(scene.ci, "CREATE STATISTICS {} ON name, status FROM ci_builds")
    main_last.execute(statement.replace("{}", name))
    left = "SELECT count(*) FROM pg_statistic_ext WHERE stxname = %s"
    assert scene.ci.value(left, params=(name,)) == (0 if gone else 1)
    assert scene.main.value(left, params=(name,)) == (1 if scene.full else 0)


# --- SET CONSTRAINTS ---

LATE = "ALTER TABLE {table} ADD CONSTRAINT {} FOREIGN KEY ({column}) REFERENCES {to} DEFERRABLE INITIALLY IMMEDIATE"


def late_constraint(scene, home, table, column, to):
    sql = LATE.replace("{table}", table).replace("{column}", column).replace("{to}", to)
    return scene.make(home, sql)


def drop_constraint(scene, home, table, name):
    for cluster in scene.clusters(home):
        cluster.sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")


def test_set_constraints_goes_to_the_constraints_table(scene, main_last):
    name = late_constraint(scene, scene.ci, "ci_stages", "pipeline_id", "ci_pipelines")
    with fails("23503"):
        with main_last.transaction():
            main_last.execute(f"SET CONSTRAINTS {name} DEFERRED")
            main_last.execute("ALTER TABLE ci_stages DROP CONSTRAINT ci_stages_pipeline_id_fkey")
            main_last.execute("INSERT INTO ci_stages (pipeline_id) VALUES (-1)")  # checked at COMMIT
            assert one(main_last, "SELECT count(*) FROM projects") > 0  # main joins without it
    drop_constraint(scene, scene.ci, "ci_stages", name)


def test_set_constraints_of_no_database_is_the_servers_error(db):
    with fails("42704"):
        with db.transaction():
            db.execute("SET CONSTRAINTS no_such_constraint DEFERRED")


def test_set_constraints_all_still_holds_on_every_database(scene, main_last):
    name = late_constraint(scene, scene.ci, "ci_stages", "pipeline_id", "ci_pipelines")
    with main_last.transaction(force_rollback=True):
        main_last.execute("SET CONSTRAINTS ALL DEFERRED")
        main_last.execute("ALTER TABLE ci_stages DROP CONSTRAINT ci_stages_pipeline_id_fkey")
        main_last.execute("INSERT INTO ci_stages (pipeline_id) VALUES (-1)")
    drop_constraint(scene, scene.ci, "ci_stages", name)


# --- rules ---

def test_two_databases_indexes_in_one_drop_are_a_cross_join(scene, db):
    one_index, other = scene.main_index(), scene.ci_index()
    with rejected("XD001", "cross_join", "ci_builds") as seen:
        db.execute(f"DROP INDEX {one_index}, {other}")
    assert "projects (gitlab_main, database main)" in seen.diag.message_detail
    assert all(scene.has(cluster, other) for cluster in scene.clusters(scene.ci))


def test_several_indexes_of_one_database_go_together(scene, main_last):
    names = [scene.ci_index() for _ in range(3)]
    main_last.execute("DROP INDEX " + ", ".join(names))
    assert not any(scene.has(scene.ci, name) for name in names)


def test_drop_index_modifies_its_database(scene, db, unique):
    name = scene.ci_index()
    with rejected("XD002", "cross_transaction", "ci_builds"):
        with db.transaction():
            db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))
            db.execute(f"DROP INDEX {name}")
    with rejected("XD002", "cross_transaction", "issues"):
        with db.transaction():
            db.execute(f"DROP INDEX {name}")
            db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))
    assert scene.has(scene.ci, name)


def test_nextval_modifies_nothing(scene, db, unique):
    name = scene.ci_sequence()
    with db.transaction():
        db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))
        assert one(db, f"SELECT nextval('{name}')") == 1
        db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))


def test_an_index_of_a_table_without_a_class_is_unclassified(scene, db):
    scene.ci.sql("SET ROLE app; CREATE TABLE IF NOT EXISTS strangers (id int); CREATE INDEX of_strangers ON strangers (id)")
    try:
        with rejected("XD005", "unclassified", "strangers"):
            db.execute("DROP INDEX of_strangers")
        assert one(db, "SELECT 1") == 1
    finally:
        scene.ci.sql("DROP TABLE strangers")


# --- pinned entrypoints ---

def test_a_pinned_session_alters_structure_of_every_table_at_its_own_database(scene):
    if not scene.full:
        pytest.skip("main has no tables of ci there")
    name = scene.ci_index()
    with scene.connect("app_main") as connection:
        connection.execute(f"DROP INDEX {name}")
    assert not scene.has(scene.main, name) and scene.has(scene.ci, name)


def test_a_pinned_session_draws_no_numbers_of_another_databases_table(scene):
    name = scene.ci_sequence()
    with scene.connect("app_main") as connection:
        if scene.full:
            with rejected("XD004", "wrong_database", "ci_builds"):
                connection.execute(f"SELECT nextval('{name}')")
        else:
            with fails("42P01"):
                connection.execute(f"SELECT nextval('{name}')")
    with scene.connect("app_ci") as connection:
        assert one(connection, f"SELECT nextval('{name}')") == 1


def test_a_pinned_session_looks_only_into_its_own_database(scene, unique):
    start = len(scene.ci.log())
    with scene.connect("app_main") as connection:
        with fails("42704"):
            connection.execute("DROP INDEX nowhere_but_asked_for")
    assert "nowhere_but_asked_for" not in scene.ci.log()[start:]


# --- names ---

def test_a_name_of_no_catalog_is_the_servers_error(scene, main_last):
    with fails("42704") as seen:
        main_last.execute("DROP INDEX no_such_index")
    assert seen.diag.message_primary == 'index "no_such_index" does not exist'
    with fails("42P01"):
        main_last.execute("SELECT nextval('no_such_sequence')")
    main_last.execute("DROP INDEX IF EXISTS no_such_index")


@pytest.mark.parametrize("name", ['"Upper Case"', '"quo""te"', "\"apo'stro\\phe\"", '"größe ☃"', "x" * 63,
                                  '"' + "é" * 31 + '"', '"dot.ted"'])
def test_names_that_need_care(scene, main_last, name):
    for cluster in scene.clusters(scene.ci):
        cluster.sql(f"SET ROLE app; CREATE INDEX {name} ON ci_builds (name)")
    main_last.execute(f"COMMENT ON INDEX {name} IS 'told'")
    main_last.execute("SET standard_conforming_strings = off")
    one(main_last, "SELECT count(*) FROM projects")
    main_last.execute(f"DROP INDEX {name}")
    assert not scene.has(scene.ci, name)
    for cluster in scene.clusters(scene.ci)[:-1]:
        cluster.sql(f"DROP INDEX {name}")


def test_a_qualified_name(scene, main_last):
    name = scene.ci_index()
    main_last.execute(f"DROP INDEX public.{name}")
    assert not scene.has(scene.ci, name)


def test_a_name_too_long_is_cut_as_the_server_cuts_it(scene, main_last):
    name = "y" * 63
    for cluster in scene.clusters(scene.ci):
        cluster.sql(f"SET ROLE app; CREATE INDEX {name} ON ci_builds (name)")
    main_last.execute(f"DROP INDEX {name}yyy")
    assert not scene.has(scene.ci, name)
    for cluster in scene.clusters(scene.ci)[:-1]:
        cluster.sql(f"DROP INDEX {name}")


def test_a_table_and_an_index_of_one_name(scene, main_last):
    if scene.full:
        pytest.skip("no catalog has both in one schema")
    scene.ci.sql("SET ROLE app; CREATE INDEX notes ON ci_builds (name)")  # a table of main is called so
    main_last.execute("DROP INDEX notes")
    assert not scene.has(scene.ci, "notes") and scene.has(scene.main, "notes")
    assert one(main_last, "SELECT count(*) FROM notes") >= 0


def test_an_index_that_each_side_has_on_a_table_of_its_own_follows(scene, db):
    name = scene.make(scene.ci, "SELECT 1 AS {}")
    scene.main.sql(f"SET ROLE app; CREATE INDEX {name} ON projects (name)")
    scene.ci.sql(f"SET ROLE app; CREATE INDEX {name} ON ci_builds (name)")
    one(db, "SELECT count(*) FROM ci_builds")
    db.execute(f"DROP INDEX {name}")
    assert scene.has(scene.main, name) and not scene.has(scene.ci, name)
    scene.main.sql(f"DROP INDEX {name}")


def test_names_by_search_path(scene, db):
    scene.ci.sql("SET ROLE app; CREATE SCHEMA IF NOT EXISTS aside; CREATE TABLE aside.projects (id int);"
                 "CREATE INDEX by_path ON aside.projects (id)")
    try:
        one(db, "SELECT count(*) FROM projects")
        db.execute("SET search_path = public")
        with fails("42704"):
            db.execute("DROP INDEX by_path")
        db.execute("/* database: ci */ DROP INDEX aside.by_path")
    finally:
        scene.ci.sql("DROP SCHEMA aside CASCADE")


# --- temporary tables ---

def test_an_index_of_a_temporary_table_is_dropped_where_that_is(db):
    db.execute("CREATE TEMPORARY TABLE mine AS SELECT id, name FROM ci_builds")
    db.execute("CREATE INDEX of_mine ON mine (id)")
    one(db, "SELECT count(*) FROM projects")
    db.execute("DROP INDEX of_mine")


def test_an_index_of_anothers_temporary_table_is_not_seen(scene, db):
    with scene.connect() as other:
        other.execute("CREATE TEMPORARY TABLE theirs AS SELECT id FROM ci_builds")
        other.execute("CREATE INDEX of_theirs ON theirs (id)")
        other.execute("COMMENT ON INDEX of_theirs IS 'mine'")
        one(db, "SELECT count(*) FROM projects")
        with fails("42704"):
            db.execute("DROP INDEX of_theirs")
        other.execute("DROP INDEX of_theirs")


def test_dropping_an_index_of_a_temporary_table_modifies_nothing(db, unique):
    db.execute("CREATE TEMPORARY TABLE mine AS SELECT id FROM ci_builds")
    db.execute("CREATE INDEX of_mine ON mine (id)")
    with db.transaction():
        db.execute("DROP INDEX of_mine")
        db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))


# --- what has changed is noticed ---

def test_an_index_that_was_made_again_on_another_database_is_found_there(scene, db):
    name = scene.ci_index()
    db.execute(f"COMMENT ON INDEX {name} IS 'seen'")
    db.execute(f"DROP INDEX {name}")
    if scene.full:
        scene.main.sql(f"DROP INDEX {name}")
    db.execute(f"CREATE INDEX {name} ON projects (name)")
    one(db, "SELECT count(*) FROM ci_builds")
    db.execute(f"DROP INDEX {name}")
    assert not scene.has(scene.main, name)


def test_what_a_transaction_made_and_undid_is_not_remembered(scene, db):
    name = scene.ci_index()
    with db.transaction(force_rollback=True):
        db.execute(f"DROP INDEX {name}")
        db.execute(f"CREATE INDEX {name} ON ci_runners (description)")
        db.execute(f"COMMENT ON INDEX {name} IS 'gone soon'")
    one(db, "SELECT count(*) FROM projects")
    db.execute(f"DROP INDEX {name}")
    assert not scene.has(scene.ci, name)


def test_each_name_is_asked_for_once(scene, main_last):
    name = scene.ci_sequence()
    for _ in range(5):
        one(main_last, f"SELECT nextval('{name}')")
    asked = [line for line in scene.ci.log().splitlines() if name in line and "pg_depend" in line]
    assert len(asked) == 1


def test_statements_without_such_names_ask_nothing(scene, db):
    start = len(scene.main.log())
    one(db, "SELECT count(*) FROM projects WHERE id = 1")
    one(db, "SELECT nextval('projects_id_seq')")
    db.execute("COMMENT ON TABLE projects IS 'projects'")
    assert "pg_depend" not in scene.main.log()[start:]


def test_an_unknown_index_is_told_in_the_servers_words(scene, db):
    text = "ALTER INDEX no_such_index_either RENAME TO x"
    with scene.main.admin("app") as direct:
        with pytest.raises(psycopg.Error) as expected:
            direct.execute(text)
    with fails(expected.value.diag.sqlstate) as seen:
        db.execute(text)
    assert seen.diag.message_primary == expected.value.diag.message_primary
