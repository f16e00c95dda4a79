"""lock-writes, unlock-writes and lock-status on real clusters: GitLab's locks, made, recognised and taken away."""

import os
import pty
import re
import subprocess

import psycopg
import pytest

from harness import DATA, DEMO, PROGRAM, Interlock, Postgres, fails, wait_until

FUNCTION = "gitlab_schema_prevent_write"
TRIGGER = "gitlab_schema_write_trigger_for_"
# Both databases hold the whole structure, as after a split by copying.
PARTS = """
CREATE SCHEMA gitlab_partitions_dynamic;
CREATE TABLE audit_events (id bigint, created_at date NOT NULL) PARTITION BY RANGE (created_at);
CREATE TABLE gitlab_partitions_dynamic.audit_events_202301 PARTITION OF audit_events
    FOR VALUES FROM ('2023-01-01') TO ('2023-02-01');
CREATE TABLE gitlab_partitions_dynamic.audit_events_202212 (LIKE audit_events);
CREATE TABLE p_ci_builds_archive (id bigint, partition_id bigint) PARTITION BY LIST (partition_id);
CREATE TABLE odd_name PARTITION OF p_ci_builds_archive FOR VALUES IN (100);
CREATE VIEW project_names AS SELECT name FROM projects;
CREATE TABLE not_in_the_file (id bigint);
"""


@pytest.fixture(scope="module")
def pair():
    made = [Postgres(name).start().create_database(dbname, DEMO / "main.sql", DEMO / "ci.sql", DEMO / "shared.sql")
            for name, dbname in (("main", "app"), ("ci", "app_ci"))]
    for cluster in made:
        cluster.sql(PARTS)
        for (name,) in cluster.sql("SELECT oid::regclass::text FROM pg_class WHERE relnamespace IN ('public'::regnamespace,"
                                   " 'gitlab_partitions_dynamic'::regnamespace) AND relkind IN ('r', 'p', 'v')"):
            cluster.sql(f"ALTER TABLE {name} OWNER TO app")
        cluster.sql("GRANT ALL ON SCHEMA public, gitlab_partitions_dynamic TO app")
    yield made
    for cluster in made:
        cluster.close()


@pytest.fixture
def locks(pair, tmp_path):
    """Runs the commands: locks("lock-writes"). Each test begins and ends without locks."""
    main, ci = pair
    tables = tmp_path / "tables.yml"
    tables.write_text((DATA / "gitlab_schemas.yml").read_text() + "p_ci_builds_archive: :gitlab_ci\n")
    config = Interlock(main, ci, classification={"tables": str(tables)})

    def run(command, *arguments, status=0):
        done = subprocess.run([PROGRAM, command, "--config", config.config, *arguments], capture_output=True, text=True,
                              timeout=110, env={**os.environ, "PGUSER": "app"})
        assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
        return done
    run.config, run.main, run.ci = config, main, ci
    run("unlock-writes")
    yield run
    run.config.write_config(databases={"main": main.conninfo(), "ci": ci.conninfo()})
    run("unlock-writes")
    config.close()


def locked(cluster):
    return {row[0] for row in cluster.sql(
        f"SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgfoid = to_regproc('{FUNCTION}') AND NOT tgisinternal")}


def as_app(cluster):
    return psycopg.connect(cluster.conninfo(user="app"), autocommit=True)


@pytest.mark.parametrize("write", ["INSERT INTO ci_builds (name) VALUES ('x')", "UPDATE ci_builds SET name = 'x'",
                                   "DELETE FROM ci_builds", "TRUNCATE ci_builds", "COPY ci_builds (name) FROM STDIN"])
def test_a_locked_table_refuses_every_write_in_gitlabs_words(locks, write):
    locks("lock-writes")
    with as_app(locks.main) as db, fails("2F002") as seen:
        if write.startswith("COPY"):
            with db.cursor().copy(write) as copy:
                copy.write("x\n")
        else:
            db.execute(write)
    assert seen.diag.message_primary == 'Table: "ci_builds" is write protected within this Gitlab database.'
    assert seen.diag.message_hint == "Make sure you are using the right database connection"


def test_tables_stay_writable_and_readable_where_they_belong(locks):
    locks("lock-writes")
    with as_app(locks.ci) as db:
        db.execute("UPDATE ci_builds SET name = name")
        db.execute("SELECT count(*) FROM projects")
        with fails("2F002"):
            db.execute("UPDATE projects SET name = name")
    with as_app(locks.main) as db:
        db.execute("UPDATE projects SET name = name")
        db.execute("SELECT count(*) FROM ci_builds")


def test_shared_tables_views_and_unclassified_tables_are_left_alone(locks):
    locks("lock-writes")
    both = locked(locks.main) | locked(locks.ci)
    assert "loose_foreign_keys_deleted_records" not in both
    assert "not_in_the_file" not in both and "project_names" not in both
    assert "ci_builds" in both and "projects" in both


def test_partitions_are_locked_attached_or_not_in_any_schema(locks):
    locks("lock-writes")
    assert {"audit_events", "gitlab_partitions_dynamic.audit_events_202301",
            "gitlab_partitions_dynamic.audit_events_202212"} <= locked(locks.ci)
    assert {"p_ci_builds_archive", "odd_name"} <= locked(locks.main)
    with as_app(locks.ci) as db, fails("2F002"):
        db.execute("INSERT INTO gitlab_partitions_dynamic.audit_events_202301 VALUES (1, '2023-01-02')")


def test_the_setting_opens_one_table_for_a_session(locks):
    locks("lock-writes")
    with as_app(locks.main) as db:
        db.execute("SET lock_writes.ci_builds = 'false'")
        db.execute("UPDATE ci_builds SET name = name")
        with fails("2F002"):
            db.execute("UPDATE ci_runners SET description = description")
        db.execute("SET lock_writes.ci_builds = ''")
        with fails("2F002"):
            db.execute("UPDATE ci_builds SET name = name")


def test_locking_twice_changes_nothing(locks):
    locks("lock-writes")
    before = locks.main.sql("SELECT oid FROM pg_trigger ORDER BY 1")
    assert re.search(r"^main: 0 tables locked, \d+ were locked already, 0 unlocked$", locks("lock-writes").stdout, re.M)
    assert locks.main.sql("SELECT oid FROM pg_trigger ORDER BY 1") == before
    assert locks("lock-status").stdout.endswith("fine\n")


def test_unlocking_removes_every_lock(locks):
    locks("lock-writes")
    locks("unlock-writes")
    assert not locked(locks.main) and not locked(locks.ci)
    with as_app(locks.main) as db:
        db.execute("UPDATE ci_builds SET name = name")


def test_a_dry_run_prints_sql_that_does_it_and_changes_nothing(locks):
    locks.main.sql(f"DROP FUNCTION IF EXISTS {FUNCTION}() CASCADE")
    printed = locks("lock-writes", "--dry-run", "--database", "main").stdout
    assert not locked(locks.main)
    locks.main.sql("SET ROLE app; " + printed)
    assert "ci_builds" in locked(locks.main)
    assert "ci_builds" not in locked(locks.ci)
    locks("lock-status", "--database", "main")
    assert "DROP TRIGGER" in locks("unlock-writes", "--dry-run", "--database", "main").stdout
    assert "ci_builds" in locked(locks.main)


def test_a_table_made_since_is_drift_until_locked(locks):
    locks("lock-writes")
    locks.ci.sql("CREATE TABLE gitlab_partitions_dynamic.audit_events_202302 PARTITION OF audit_events"
                 " FOR VALUES FROM ('2023-02-01') TO ('2023-03-01');"
                 "ALTER TABLE gitlab_partitions_dynamic.audit_events_202302 OWNER TO app")
    try:
        status = locks("lock-status", status=1)
        assert re.search(r"^ci +gitlab_partitions_dynamic\.audit_events_202302 +gitlab_main +locked +unlocked +drift$",
                         status.stdout, re.M), status.stdout
        assert "1 not as they should be" in status.stdout
        locks("lock-writes")
        locks("lock-status")
    finally:
        locks.ci.sql("DROP TABLE gitlab_partitions_dynamic.audit_events_202302")


def test_a_wrong_lock_is_drift_and_is_dropped(locks):
    locks("lock-writes")
    locks.main.sql(f"CREATE TRIGGER {TRIGGER}projects BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON projects"
                   f" FOR EACH STATEMENT EXECUTE FUNCTION {FUNCTION}()")
    assert re.search(r"^main +public\.projects +gitlab_main +unlocked +locked +drift$",
                     locks("lock-status", status=1).stdout, re.M)
    assert re.search(r"^main: .* 1 unlocked$", locks("lock-writes").stdout, re.M)
    with as_app(locks.main) as db:
        db.execute("UPDATE projects SET name = name")


@pytest.mark.parametrize("harm, words", [
    (f"ALTER TABLE ci_builds DISABLE TRIGGER {TRIGGER}ci_builds", "disabled"),
    (f"DROP TRIGGER {TRIGGER}ci_builds ON ci_builds; CREATE TRIGGER {TRIGGER}ci_builds BEFORE INSERT ON ci_builds"
     f" FOR EACH STATEMENT EXECUTE FUNCTION {FUNCTION}()", "doesn't stop every"),
    (f"ALTER TRIGGER {TRIGGER}ci_builds ON ci_builds RENAME TO something", "another table's name"),
    (f"CREATE OR REPLACE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'", "not GitLab's")])
def test_a_lock_that_lets_writes_pass_is_drift_and_is_mended(locks, harm, words):
    locks("lock-writes")
    locks.main.sql(harm)
    status = locks("lock-status", status=1).stdout
    assert words in status and "drift" in status
    locks("lock-writes")
    assert locks("lock-status").stdout.endswith("fine\n")
    with as_app(locks.main) as db, fails("2F002"):
        db.execute("UPDATE ci_builds SET name = name")


def test_gitlabs_own_locks_are_recognised_and_removed(locks):
    locks.main.sql(f"""
        SET ROLE app;
        CREATE OR REPLACE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE given text := current_setting(concat('lock_writes.', TG_TABLE_NAME), true);
        BEGIN
          IF given = 'false' THEN RETURN NEW; END IF;
          RAISE EXCEPTION 'Table: "%" is write protected within this Gitlab database.', TG_TABLE_NAME
            USING ERRCODE = 'modifying_sql_data_not_permitted', HINT = 'Make sure you are using the right database connection';
        END $$;
        CREATE TRIGGER {TRIGGER}ci_builds BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ci_builds
          FOR EACH STATEMENT EXECUTE FUNCTION {FUNCTION}()""")
    assert re.search(r"^main: \d+ tables locked, 1 were locked already", locks("lock-writes").stdout, re.M)
    assert "given" in locks.main.value(f"SELECT prosrc FROM pg_proc WHERE proname = '{FUNCTION}'")
    locks("unlock-writes")
    assert not locked(locks.main)


def test_what_gitlab_counts_is_there(locks):
    """GitLab takes a table for locked where information_schema has three rows: INSERT, UPDATE and DELETE."""
    locks("lock-writes")
    assert locks.main.value("SELECT count(*) FROM information_schema.triggers WHERE event_object_table = 'ci_builds'"
                            f" AND event_object_schema = 'public' AND trigger_name = '{TRIGGER}ci_builds'") == 3


def test_a_long_name_is_cut_as_postgresql_cuts_it(locks, tmp_path):
    name = "ci_" + "ü" * 30
    tables = tmp_path / "more.yml"
    tables.write_text((DATA / "gitlab_schemas.yml").read_text() + f"{name}: :gitlab_ci\n")
    locks.config.write_config(classification={"tables": str(tables)})
    locks.main.sql(f'CREATE TABLE "{name}" (id bigint); ALTER TABLE "{name}" OWNER TO app')
    try:
        locks("lock-writes")
        cut = locks.main.value(f"SELECT tgname FROM pg_trigger WHERE tgrelid = '\"{name}\"'::regclass")
        assert cut == locks.main.value(f"SELECT '{TRIGGER}{name}'::name::text")
        locks("lock-writes")
        locks("lock-status")
    finally:
        locks.main.sql(f'DROP TABLE "{name}"')


def test_a_busy_table_is_not_waited_behind_and_is_named(locks):
    with as_app(locks.main) as holder:
        holder.execute("BEGIN")
        holder.execute("LOCK ci_builds IN ROW EXCLUSIVE MODE")
        done = locks("lock-writes", "--retries", "1", status=1)
        assert "main: public.ci_builds is busy" in done.stderr.replace("database ", "")
        assert "ci_runners" in locked(locks.main) and "projects" in locked(locks.ci)
        holder.execute("ROLLBACK")
    locks("lock-writes")


def test_it_comes_back_to_a_table_that_was_busy(locks):
    with as_app(locks.main) as holder:
        holder.execute("BEGIN")
        holder.execute("LOCK ci_builds IN ROW EXCLUSIVE MODE")
        run = subprocess.Popen([PROGRAM, "lock-writes", "--config", locks.config.config], stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "PGUSER": "app"})
        wait_until(lambda: "ci_runners" in locked(locks.main), "the free tables to be locked first")
        holder.execute("ROLLBACK")
        assert run.wait(60) == 0
        run.stdout.close()
    assert "ci_builds" in locked(locks.main)


def test_a_table_that_somebody_else_locked_meanwhile_is_no_failure(locks):
    trigger = (f"CREATE TRIGGER {TRIGGER}ci_builds BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ci_builds"
               f" FOR EACH STATEMENT EXECUTE FUNCTION {FUNCTION}()")
    with as_app(locks.main) as holder:
        holder.execute("BEGIN")
        holder.execute("LOCK ci_builds IN ROW EXCLUSIVE MODE")
        run = subprocess.Popen([PROGRAM, "lock-writes", "--config", locks.config.config], stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "PGUSER": "app"})
        wait_until(lambda: "ci_runners" in locked(locks.main), "the free tables to be locked first")
        holder.execute(trigger)
        holder.execute("COMMIT")
        assert run.wait(60) == 0
        run.stdout.close()
    locks("lock-status")


def test_databases_that_are_the_same_are_not_locked(locks):
    locks.config.write_config(databases={"main": locks.main.conninfo(), "ci": {"same_as": "main"}})
    done = locks("lock-writes")
    assert "ci: same as main: nothing to do" in done.stdout
    assert not locked(locks.main)
    assert "nothing to do" in locks("lock-writes", "--database", "ci").stdout


def test_one_database_that_is_down_leaves_the_other_to_be_locked(locks):
    locks.config.write_config(databases={"main": locks.main.conninfo(), "ci": "host=127.0.0.1 port=1 dbname=x password=secret"})
    done = locks("lock-writes", status=2)
    assert re.match(r".*\.yml:\d+: database ci \(.*host=127\.0\.0\.1.*\) can't be reached: ", done.stderr)
    assert done.stderr.count("\n") == 1 and "secret" not in done.stderr
    assert "ci_builds" in locked(locks.main)


def test_progress_is_shown_on_a_terminal_only(locks):
    assert locks("lock-writes").stderr == ""
    locks("unlock-writes")
    outer, inner = pty.openpty()
    run = subprocess.Popen([PROGRAM, "lock-writes", "--config", locks.config.config], stdout=subprocess.DEVNULL, stderr=inner,
                           env={**os.environ, "PGUSER": "app"})
    os.close(inner)
    shown = b""
    try:
        while chunk := os.read(outer, 4096):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    os.close(outer)
    assert run.wait(60) == 0
    assert re.search(rb"main: \d+ of \d+ tables", shown)


@pytest.mark.parametrize("arguments, words", [(["--database", "nope"], "nope"), (["--retries", "many"], "many"),
                                              (["--json"], "json"), (["extra"], "extra")])
def test_bad_usage_is_one_line_and_2(locks, arguments, words):
    done = locks("lock-writes", *arguments, status=2)
    assert words in done.stderr and done.stderr.count("\n") == 1


def test_a_user_who_may_not_is_told(locks):
    locks.main.sql("DO $$ BEGIN CREATE ROLE outsider LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
    locks("lock-writes")
    locks("unlock-writes")
    locks.config.write_config(databases={"main": locks.main.conninfo(user="outsider"), "ci": locks.ci.conninfo()})
    done = locks("lock-writes", "--database", "main", status=2)
    assert "permission denied for table" in done.stderr and "connect as the owner" in done.stderr and done.stderr.count("\n") == 1
