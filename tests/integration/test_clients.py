"""Programs that people use, doing real work on both databases through one connection string."""

import re
import subprocess

import psycopg
import pytest

from harness import BINDIR, DATA, fails, one


# --- psql ---

def test_psql_runs_a_script_over_both_databases(proxy, unique):
    run = proxy.psql(f"""
        \\set title '{unique}'
        BEGIN;
        SELECT count(*) > 0 FROM ci_builds;
        INSERT INTO issues (project_id, title) VALUES (1, :'title');
        SAVEPOINT a;
        UPDATE projects SET star_count = star_count WHERE id = 1;
        RELEASE a;
        COMMIT;
        SELECT count(*) FROM issues WHERE title = :'title';
        SELECT current_database() FROM ci_builds LIMIT 1 \\gset
        \\echo :current_database
    """)
    assert run.stdout.split() == ["t", "1", "app_ci"]


def test_psql_single_transaction_mode(proxy, unique):
    run = proxy.psql(f"INSERT INTO ci_runners (description) VALUES ('{unique}'); SELECT count(*) > 0 FROM projects;",
                     "app", "-1")
    assert run.stdout.split() == ["t"]


def test_psql_c_with_several_statements(proxy):
    run = subprocess.run([BINDIR / "psql", "-XAtc", "SELECT 1; SELECT current_database() FROM ci_builds LIMIT 1",
                          "-c", "SELECT current_database() FROM projects LIMIT 1"], env=proxy.environment(),
                         capture_output=True, text=True, timeout=60)
    assert run.stdout.split() == ["1", "app_ci", "app"], run.stderr


def test_psql_copy_from_and_to(proxy, tmp_path, unique):
    rows = "".join(f"{unique}\t{n}\n" for n in range(1000))
    (tmp_path / "in.tsv").write_text(rows)
    proxy.psql(f"""
        \\copy ci_runners (description, creator_id) FROM '{tmp_path}/in.tsv'
        \\copy (SELECT description, creator_id FROM ci_runners WHERE description = '{unique}' ORDER BY creator_id) TO '{tmp_path}/out.tsv'
        \\copy (SELECT id FROM projects ORDER BY id) TO '{tmp_path}/projects.tsv'
    """)
    assert (tmp_path / "out.tsv").read_text() == rows
    assert (tmp_path / "projects.tsv").read_text().splitlines()[0] == "1"
    assert proxy.ci.value("SELECT count(*) FROM ci_runners WHERE description = %s", params=(unique,)) == 1000


def test_psql_copy_in_csv_with_an_error_leaves_nothing(proxy, tmp_path, unique):
    (tmp_path / "in.csv").write_text(f"{unique},1\n{unique},x\n")
    run = proxy.psql(f"\\copy ci_runners (description, creator_id) FROM '{tmp_path}/in.csv' (FORMAT csv)", check=False)
    assert run.returncode == 3 and "invalid input syntax" in run.stderr
    assert proxy.ci.value("SELECT count(*) FROM ci_runners WHERE description = %s", params=(unique,)) == 0


def describe(proxy, commands):
    """With what stands under the columns: indexes and foreign keys."""
    return proxy.psql("\\pset tuples_only off\n" + commands).stdout


def test_psql_describes_a_table_that_exists_only_in_ci(proxy):
    described = describe(proxy, "\\d ci_builds")
    assert "commit_id|bigint" in described
    assert "index_ci_builds_on_project_id" in described
    assert "REFERENCES ci_pipelines(id)" in described


def test_psql_describes_a_table_that_exists_only_in_main(proxy):
    described = describe(proxy, "\\d projects\n\\d+ issues")
    assert "namespace_id|bigint" in described and "REFERENCES projects(id)" in described


def test_psql_describes_as_it_would_directly(proxy):
    for cluster, table in ((proxy.main, "projects"), (proxy.ci, "ci_builds")):
        direct = subprocess.run([BINDIR / "psql", "-XA", "-h", str(cluster.folder), "-p", str(cluster.port), "-U", "postgres",
                                 cluster.dbname, "-c", f"\\d+ {table}"], capture_output=True, text=True, timeout=60)
        assert describe(proxy, f"\\d+ {table}\n") == direct.stdout


@pytest.mark.parametrize("made_from, last", [("projects", "ci_builds"), ("ci_builds", "projects")])
def test_psql_describes_a_temporary_table_wherever_it_is(proxy, made_from, last):
    described = describe(proxy, f"CREATE TEMPORARY TABLE passing AS SELECT id AS passing_id FROM {made_from} LIMIT 1;\n"
                                f"\\d {last}\n\\d passing")
    assert "passing_id|bigint" in described


@pytest.fixture
def views(proxy):
    sides = ((proxy.main, "_test_gitlab_main_sv", "projects"), (proxy.ci, "_test_gitlab_ci_sv", "ci_builds"))
    for cluster, view, table in sides:
        cluster.sql(f"CREATE VIEW {view} AS SELECT id FROM {table}")
    yield [view for _, view, _ in sides]
    for cluster, view, _ in sides:
        cluster.sql(f"DROP VIEW {view}")


@pytest.mark.parametrize("which, last", [(0, "ci_builds"), (1, "projects")])
def test_psql_shows_a_views_definition_wherever_it_is(proxy, views, which, last):
    shown = describe(proxy, f"\\d {last}\n\\sv {views[which]}")
    assert f"CREATE OR REPLACE VIEW public.{views[which]} AS" in shown


def test_psql_lists_tables(proxy):
    assert "projects" in proxy.psql("\\dt").stdout
    assert "ci_builds" in proxy.psql("\\dt", "app_ci").stdout


def test_psql_watches_a_ci_table(proxy):
    with subprocess.Popen([BINDIR / "psql", "-XAtq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env=proxy.environment()) as watching:
        watching.stdin.write("SELECT 'seen ' || current_database() FROM ci_builds LIMIT 1 \\watch 0.05\n")
        watching.stdin.flush()
        seen = 0
        while seen < 3:
            line = watching.stdout.readline()
            assert line, "psql has ended"
            seen += line == "seen app_ci\n"
        watching.kill()


def test_psql_gexec_and_gdesc(proxy):
    run = proxy.psql("SELECT 'SELECT current_database() FROM ' || t || ' LIMIT 1' FROM (VALUES ('projects'), ('ci_builds')) v (t) \\gexec\n"
                     "SELECT id, name FROM ci_builds \\gdesc\n")
    assert run.stdout.split() == ["app", "app_ci", "id|bigint", "name|text"]


def test_psql_with_fetch_count_reads_through_a_cursor(proxy):
    run = proxy.psql("\\set FETCH_COUNT 7\nSELECT id FROM ci_builds ORDER BY id LIMIT 30;")
    assert run.stdout.split() == [str(n) for n in range(1, 31)]


def test_psql_bind_through_pgbouncer_style_reconnect(proxy):
    run = proxy.psql("SELECT 1;\n\\c app_ci\nSELECT current_database() FROM schema_migrations;\n\\c app\n"
                     "SELECT current_database() FROM projects LIMIT 1;")
    assert run.stdout.split() == ["1", "app_ci", "app"]


# --- pgbench ---

SCRIPT = """\
\\set id random(1, 20)
SELECT name FROM projects WHERE id = :id;
SELECT count(*) FROM ci_builds WHERE project_id = :id;
BEGIN;
SELECT status FROM ci_builds WHERE id = :id;
UPDATE projects SET star_count = star_count + 1 WHERE id = :id;
COMMIT;
UPDATE ci_builds SET status = 'running' WHERE id = :id;
"""


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench_works_on_both_databases(proxy, tmp_path, mode):
    script = tmp_path / "script.sql"
    script.write_text(SCRIPT)
    run = subprocess.run([BINDIR / "pgbench", "-n", "-M", mode, "-c", "8", "-j", "2", "-t", "50", "-f", script],
                         env=proxy.environment(), capture_output=True, text=True, timeout=100)
    stars = proxy.main.value("SELECT sum(star_count) FROM projects")
    proxy.main.sql("UPDATE projects SET star_count = 0")
    proxy.ci.sql("UPDATE ci_builds SET status = 'success'")
    assert run.returncode == 0, run.stderr
    assert "number of transactions actually processed: 400/400" in run.stdout
    assert stars == 400


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbenchs_own_scripts(make_proxy, tmp_path, mode):
    tables = tmp_path / "tables.yml"
    tables.write_text((DATA / "gitlab_schemas.yml").read_text() + "".join(
        f"pgbench_{name}: :gitlab_main\n" for name in ("accounts", "branches", "tellers", "history")))
    own = make_proxy(classification={"tables": str(tables)})

    def pgbench(*arguments):
        run = subprocess.run([BINDIR / "pgbench", *arguments], env=own.environment(), capture_output=True, text=True, timeout=100)
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout
    pgbench("-i", "-q")
    assert "200/200" in pgbench("-n", "-M", mode, "-c", "4", "-t", "50")
    assert "200/200" in pgbench("-n", "-S", "-C", "-M", mode, "-c", "4", "-t", "50")


# --- psycopg 3 ---

def test_psycopg_binary_results(db):
    cursor = db.cursor(binary=True)
    row = cursor.execute("SELECT id, name, created_at, 1.25::numeric, ARRAY[id] FROM ci_builds WHERE id = %b", (1,)).fetchone()
    assert row[0] == 1 and row[4] == [1] and row[2].year >= 2020


def test_psycopg_server_side_cursors_on_both_databases(db):
    with db.transaction():
        with db.cursor("m") as main, db.cursor("c") as ci:
            main.execute("SELECT id FROM projects ORDER BY id")
            ci.execute("SELECT id FROM ci_builds ORDER BY id")
            main.itersize = ci.itersize = 3
            assert [row[0] for row in main] == list(range(1, 21))
            assert [row[0] for row in ci][:5] == [1, 2, 3, 4, 5]


def test_psycopg_scrollable_cursor(db):
    with db.transaction(), db.cursor("s", scrollable=True) as cursor:
        cursor.execute("SELECT id FROM ci_builds ORDER BY id")
        cursor.scroll(10)
        assert cursor.fetchone()[0] == 11
        cursor.scroll(0, mode="absolute")
        assert cursor.fetchone()[0] == 1


def test_psycopg_pipeline_mode(db, proxy, unique):
    with db.pipeline() as pipeline:
        for n in range(20):
            db.execute("INSERT INTO ci_runners (description, creator_id) VALUES (%s, %s)", (unique, n))
        pipeline.sync()
        cursors = [db.execute(f"SELECT count(*) FROM {table}") for table in ("projects", "ci_builds") * 10]
    assert all(cursor.fetchone()[0] > 0 for cursor in cursors)
    assert proxy.ci.value("SELECT count(*) FROM ci_runners WHERE description = %s", params=(unique,)) == 20


def test_psycopg_pipeline_recovers_after_an_error(db):
    with pytest.raises(psycopg.errors.DivisionByZero), db.pipeline():
        db.execute("SELECT 1 FROM projects")
        db.execute("SELECT 1/0 FROM ci_builds")
        db.execute("SELECT 2 FROM projects")
    assert one(db, "SELECT count(*) FROM ci_builds") > 0


def test_psycopg_copy_in_and_out(db, unique):
    with db.cursor() as cursor:
        with cursor.copy("COPY ci_runners (description, creator_id) FROM STDIN") as copy:
            for n in range(5000):
                copy.write_row((unique, n))
        with cursor.copy("COPY (SELECT creator_id FROM ci_runners WHERE description = %s ORDER BY 1) TO STDOUT", (unique,)) as copy:
            assert [int(row[0]) for row in copy.rows()] == list(range(5000))


def test_psycopg_copy_in_binary(db, unique):
    with db.cursor() as cursor:
        with cursor.copy("COPY issues (title, project_id) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["text", "int8"])
            for n in range(1, 11):
                copy.write_row((unique, n))
    assert one(db, "SELECT count(*) FROM issues WHERE title = %s", (unique,)) == 10


def test_psycopg_copy_in_that_raises_leaves_nothing(db, unique):
    with pytest.raises((ZeroDivisionError, psycopg.errors.QueryCanceled)), db.cursor() as cursor:
        with cursor.copy("COPY ci_runners (description) FROM STDIN") as copy:
            copy.write_row((unique,))
            raise ZeroDivisionError
    assert one(db, "SELECT count(*) FROM ci_runners WHERE description = %s", (unique,)) == 0


def test_psycopg_prepares_by_itself(proxy):
    with proxy.connect() as db:
        db.prepare_threshold = 2
        for n in range(1, 12):
            assert one(db, "SELECT id FROM ci_builds WHERE id = %s", (n,)) == n
            assert one(db, "SELECT id FROM projects WHERE id = %s", (n,)) == n
        assert one(db, "SELECT count(*) FROM pg_prepared_statements") >= 1


def test_psycopg_nested_transactions(db, proxy, unique):
    with db.transaction():
        db.execute("INSERT INTO ci_runners (description) VALUES (%s)", (unique,))
        assert one(db, "SELECT count(*) FROM projects") > 0
        with fails("22012"), db.transaction():
            db.execute("INSERT INTO ci_runners (description) VALUES (%s)", (unique,))
            db.execute("SELECT 1/0 FROM projects")
    assert proxy.ci.value("SELECT count(*) FROM ci_runners WHERE description = %s", params=(unique,)) == 1


def test_psycopg_without_autocommit(proxy, unique):
    with proxy.connect(autocommit=False) as db:
        db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))
        assert one(db, "SELECT count(*) FROM ci_builds") > 0
        db.commit()
        db.execute("INSERT INTO ci_runners (description) VALUES (%s)", (unique,))
        db.rollback()
    assert proxy.main.value("SELECT count(*) FROM issues WHERE title = %s", params=(unique,)) == 1
    assert proxy.ci.value("SELECT count(*) FROM ci_runners WHERE description = %s", params=(unique,)) == 0


def test_psycopg_executemany(db, unique):
    with db.cursor() as cursor:
        cursor.executemany("INSERT INTO ci_runners (description, creator_id) VALUES (%s, %s)", [(unique, n) for n in range(50)])
        assert cursor.rowcount == 50
    assert one(db, "SELECT count(*) FROM ci_runners WHERE description = %s", (unique,)) == 50


def test_pg_dump_of_a_pinned_entrypoint(proxy):
    run = subprocess.run([BINDIR / "pg_dump", "-t", "ci_stages"], env=proxy.environment("app_ci"), capture_output=True,
                         text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert "CREATE TABLE public.ci_stages" in run.stdout and re.search(r"COPY public.ci_stages", run.stdout)
