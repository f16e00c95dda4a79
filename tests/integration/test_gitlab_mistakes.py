"""What GitLab's own checks of queries are known to get wrong is right here: they look for words in the text, take names
of common table expressions for the whole statement, do not follow ROLLBACK TO, and do not look into every place where a
query can stand. Each through `explain`; and all of them once on real databases, through the proxy."""

import json
import subprocess

import psycopg
import pytest

from harness import DATA, PROGRAM, yaml_text

CI_WRITE = "UPDATE ci_builds SET name = name WHERE id = 1"
MAIN_WRITE = "UPDATE projects SET name = name WHERE id = 1"


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """session(statement, …): for each the rule that it breaks, or None."""
    folder = tmp_path_factory.mktemp("mistakes")
    config = folder / "pginterlock.yml"
    config.write_text(yaml_text({"databases": {"main": "host=127.0.0.1 dbname=app", "ci": "host=127.0.0.1 dbname=app_ci"},
                                 "classification": {"tables": str(DATA / "gitlab_schemas.yml")}, "auth": {"method": "trust"}}))

    def run(*statements):
        script = folder / "session.sql"
        script.write_text("".join(text + "\n;\n" for text in statements))
        done = subprocess.run([PROGRAM, "explain", "--json", "--config", config, "-f", script], capture_output=True, text=True,
                              timeout=60)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(answers) == len(statements), done.stdout + done.stderr
        return [answer["violation"] and answer["violation"]["rule"] for answer in answers]
    return run


# A statement that only reads projects, whatever its words.
READS = [
    "SELECT ' for update' FROM projects",
    "SELECT * FROM projects WHERE name = 'waiting for update'",
    "SELECT name AS \" for update\" FROM projects",
    "SELECT \" for update\" FROM projects",
    "SELECT * FROM projects /* for update */ -- for update",
    "SELECT $$ for update $$, E'\\' for update' FROM projects",
    "SELECT 'INSERT INTO projects; DELETE FROM projects; TRUNCATE projects' FROM projects",
    "SELECT \"update\" FROM projects \"delete\"",
    "EXPLAIN UPDATE projects SET name = 'x'",
    "EXPLAIN (ANALYZE false) DELETE FROM projects",
    "PREPARE p AS DELETE FROM projects",
    "DECLARE c CURSOR FOR SELECT * FROM projects",
    "WITH projects AS (SELECT 1) SELECT * FROM projects FOR UPDATE",
    "SELECT * FROM notes WHERE id IN (SELECT id FROM projects)",
    "LOCK projects", "SELECT nextval('projects_id_seq')", "COPY projects TO STDOUT",
    "WITH w AS (SELECT * FROM projects) SELECT * FROM w FOR UPDATE",
]


@pytest.mark.parametrize("text", READS)
def test_words_do_not_make_a_reader_a_writer(session, text):
    assert session("BEGIN", text, CI_WRITE) == [None, None, None]


# A statement that modifies projects, or locks its rows, however it is written.
MODIFIES = [
    "SELECT * FROM projects FOR UPDATE", "SELECT * FROM projects FOR SHARE", "SELECT * FROM projects FOR NO KEY UPDATE",
    "SELECT * FROM projects FOR KEY SHARE", "SELECT * FROM projects FOR\n\tUPDATE", "SELECT * FROM projects FOR/**/UPDATE",
    "SELECT * FROM projects\nfor  Update NOWAIT", "SELECT * FROM projects FOR SHARE SKIP LOCKED",
    "SELECT * FROM notes, projects FOR UPDATE OF projects", "SELECT * FROM (SELECT * FROM projects) p FOR UPDATE",
    "SELECT * FROM notes WHERE id IN (SELECT id FROM projects FOR SHARE)",
    "WITH w AS (SELECT * FROM projects FOR UPDATE) SELECT 1",
    "TRUNCATE projects", "TRUNCATE TABLE ONLY projects RESTART IDENTITY CASCADE", "COPY projects FROM STDIN",
    "MERGE INTO projects USING notes ON false WHEN NOT MATCHED THEN INSERT DEFAULT VALUES",
    "WITH w AS (DELETE FROM projects RETURNING *) SELECT * FROM w",
    "WITH projects AS (SELECT 1) UPDATE projects SET name = 'x'", "WITH projects AS (SELECT 1) DELETE FROM public.projects",
    "EXPLAIN ANALYZE DELETE FROM projects", "DO $$ BEGIN DELETE FROM projects; END $$", "DELETE FROM \"projects\"",
    "INSERT INTO projects SELECT * FROM projects", "COPY (INSERT INTO projects DEFAULT VALUES RETURNING id) TO STDOUT",
    "DELETE FROM ONLY public.projects *", "ALTER TABLE projects ADD COLUMN x int",
]


@pytest.mark.parametrize("text", MODIFIES)
def test_a_writer_is_one_without_the_usual_words(session, text):
    assert session("BEGIN", text, CI_WRITE) == [None, None, "cross_transaction"]


def test_a_prepared_write_counts_when_it_is_executed(session):
    assert session("PREPARE p AS DELETE FROM projects", "BEGIN", "EXECUTE p", CI_WRITE) == [None, None, None, "cross_transaction"]


def test_only_the_tables_of_a_locking_clause_are_locked(session):
    locks = "SELECT * FROM notes n, projects p FOR UPDATE OF n"
    (answer,) = [*session(locks)]
    assert answer is None
    # A shared table beside a locked one, and one of another database in no lock: nothing is modified twice.
    assert session("BEGIN", "SELECT * FROM ci_builds b, loose_foreign_keys_deleted_records l FOR UPDATE OF l", "ROLLBACK") == [None] * 3


# -- savepoints ------------------------------------------------------------------------------------------------------


def test_what_a_rollback_to_undid_no_longer_counts(session):
    assert session("BEGIN", "SAVEPOINT a", MAIN_WRITE, "ROLLBACK TO a", CI_WRITE) == [None] * 5
    assert session("BEGIN", MAIN_WRITE, "SAVEPOINT a", "ROLLBACK TO a", CI_WRITE) == [None] * 4 + ["cross_transaction"]


def test_what_a_release_kept_still_counts(session):
    assert session("BEGIN", "SAVEPOINT a", MAIN_WRITE, "RELEASE a", CI_WRITE) == [None] * 4 + ["cross_transaction"]
    assert session("BEGIN", "SAVEPOINT a", "SAVEPOINT b", MAIN_WRITE, "RELEASE b", "ROLLBACK TO a", CI_WRITE) == [None] * 7


def test_a_savepoint_of_a_name_that_was_used_before_is_the_inner_one(session):
    assert session("BEGIN", "SAVEPOINT a", MAIN_WRITE, "SAVEPOINT a", "ROLLBACK TO a", CI_WRITE) == [None] * 5 + ["cross_transaction"]


def test_a_rejection_is_undone_by_rollback_to_as_any_error(session):
    assert session("BEGIN", MAIN_WRITE, "SAVEPOINT a", CI_WRITE, "ROLLBACK TO a", MAIN_WRITE, "COMMIT") == [
        None, None, None, "cross_transaction", None, None, None]


# -- where a table can stand -----------------------------------------------------------------------------------------

CROSS_JOINS = {
    "no word JOIN": "SELECT * FROM projects p, ci_builds b WHERE p.id = b.project_id",
    "a subquery in WHERE": "SELECT * FROM projects WHERE id IN (SELECT project_id FROM ci_builds)",
    "a subquery in RETURNING": "DELETE FROM projects WHERE false RETURNING (SELECT count(*) FROM ci_builds)",
    "a subquery in VALUES": "VALUES ((SELECT count(*) FROM projects)), ((SELECT count(*) FROM ci_builds))",
    "a subquery in inserted VALUES": "INSERT INTO projects (name) VALUES ((SELECT max(name) FROM ci_builds))",
    "a subquery in ON CONFLICT": "INSERT INTO projects (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = (SELECT max(name) FROM ci_builds)",
    "a subquery in ON CONFLICT's WHERE":
        "INSERT INTO projects (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = '' WHERE EXISTS (SELECT FROM ci_builds)",
    "a subquery in LIMIT": "SELECT * FROM projects LIMIT (SELECT count(*) FROM ci_builds)",
    "a subquery in FILTER": "SELECT count(*) FILTER (WHERE EXISTS (SELECT FROM ci_builds)) FROM projects",
    "a subquery in ORDER BY": "SELECT * FROM projects ORDER BY (SELECT count(*) FROM ci_builds)",
    "a subquery in SET": "UPDATE projects SET (name, path) = (SELECT name, name FROM ci_builds LIMIT 1)",
    "a set operation": "SELECT id FROM projects UNION ALL SELECT id FROM ci_builds",
    "LATERAL": "SELECT * FROM projects p, LATERAL (SELECT * FROM ci_builds b WHERE b.project_id = p.id) x",
    "a CTE that shadows the table inside itself": "WITH ci_builds AS (SELECT * FROM ci_builds) SELECT * FROM ci_builds, projects",
    "a CTE beside the qualified table": "WITH ci_builds AS (SELECT 1) SELECT * FROM public.ci_builds, projects",
    "a CTE in one branch, the table in the other":
        "SELECT * FROM (WITH ci_builds AS (SELECT 1 AS id) SELECT id FROM ci_builds) x, projects UNION SELECT id, id FROM ci_builds",
    "a CTE that comes later": "WITH a AS (SELECT * FROM ci_builds), ci_builds AS (SELECT 1) SELECT * FROM a, projects",
    "a partition by its own name": "SELECT * FROM projects, gitlab_partitions_dynamic.ci_builds_101",
    "a DO block": "DO $$ BEGIN PERFORM 1 FROM projects, ci_builds; END $$",
    "a permit in a string": "SELECT '/* allow_cross_joins_across_databases */' FROM projects, ci_builds",
    "a permit in a quoted name": "SELECT 1 AS \"/* allow_cross_joins_across_databases */\" FROM projects, ci_builds",
    "a permit in a line comment": "SELECT 1 -- /* allow_cross_joins_across_databases */\n FROM projects, ci_builds",
    "a permit in an inner comment": "/* a /* allow_cross_joins_across_databases */ */ SELECT 1 FROM projects, ci_builds",
    "a permit with another word before it": "/* no allow_cross_joins_across_databases */ SELECT 1 FROM projects, ci_builds",
    "a permit in a dollar quote": "SELECT $$/* allow_cross_joins_across_databases */$$ FROM projects, ci_builds",
    "a permit of the other rule": "/* allow_cross_database_modification_within_transaction */ SELECT 1 FROM projects, ci_builds",
}
NO_CROSS_JOINS = {
    "a CTE of the other's name": "WITH ci_builds AS (SELECT 1 AS id) SELECT * FROM projects, ci_builds",
    "a CTE of the other's name, quoted": "WITH \"ci_builds\" AS (SELECT 1 AS id) SELECT * FROM projects, ci_builds",
    "an alias of the other's name": "SELECT ci_builds.* FROM projects ci_builds",
    "a column of the other's name": "SELECT ci_builds FROM projects",
    "a string of the other's name": "SELECT 'ci_builds', $$ FROM ci_builds $$ FROM projects",
    "a comment of the other's name": "SELECT 1 FROM projects /* JOIN ci_builds */ -- ci_builds",
    "a function's alias": "SELECT * FROM projects, generate_series(1, 2) ci_builds",
    "a shared table": "SELECT * FROM projects, loose_foreign_keys_deleted_records",
    "the catalogs": "SELECT * FROM projects, pg_class, information_schema.tables",
    "an index's name in upper case": "SELECT * FROM PROJECTS NATURAL JOIN Notes",
}


@pytest.mark.parametrize("text", CROSS_JOINS.values(), ids=CROSS_JOINS)
def test_tables_of_two_databases_are_found_wherever_they_stand(session, text):
    assert session(text) == ["cross_join"]


@pytest.mark.parametrize("text", NO_CROSS_JOINS.values(), ids=NO_CROSS_JOINS)
def test_what_only_looks_like_a_table_is_none(session, text):
    assert session(text) == [None]


def test_a_permit_in_a_string_does_not_permit_a_transaction(session):
    fake = "UPDATE ci_builds SET name = '/* allow_cross_database_modification_within_transaction */'"
    assert session("BEGIN", MAIN_WRITE, fake) == [None, None, "cross_transaction"]


def test_text_that_cannot_be_parsed_is_not_let_through(session):
    assert session("SELEC * FROM projects, ci_builds") == ["unparsed"]


# -- the same on real databases --------------------------------------------------------------------------------------


def through(proxy, *statements):
    """The SQLSTATE of the first statement that fails, or None, and whether it was the last one."""
    with proxy.connect() as db:
        for text in statements:
            try:
                if "STDIN" in text or "STDOUT" in text:
                    with db.cursor() as cursor, cursor.copy(text) as copy:
                        if "STDOUT" in text:
                            assert all(True for _ in copy)
                else:
                    db.execute(text)
            except psycopg.Error as error:
                return error.sqlstate, text == statements[-1]
    return None, True


def test_all_of_it_holds_through_the_proxy(proxy):
    """Nothing is committed. A column that isn't there, or a key that forbids it, is for the server to say."""
    told = {text: through(proxy, "BEGIN", text, CI_WRITE) for text in READS + MODIFIES}
    assert {text: told[text] for text in READS if told[text][0] is not None and told[text][0] != "42703"} == {}
    assert {text: told[text] for text in MODIFIES if told[text][1] and told[text][0] != "XD002"} == {}
    assert sum(told[text] == ("XD002", True) for text in MODIFIES) > 15, told
    assert {text: got for text in CROSS_JOINS.values() if (got := through(proxy, text)) != ("XD001", True)} == {}
    assert {text: got for text in NO_CROSS_JOINS.values() if (got := through(proxy, text))[0] not in (None, "42703")} == {}
    assert through(proxy, "BEGIN", "SAVEPOINT a", MAIN_WRITE, "ROLLBACK TO a", CI_WRITE, "ROLLBACK") == (None, True)
