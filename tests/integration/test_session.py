"""What a session remembers - settings, cursors, temporary tables, prepared statements, locks - holds on every link."""

import psycopg
import pytest

from harness import POOL_MODE, fails, one, rejected, wait_until


def setting(db, name, table):
    return one(db, f"SELECT current_setting('{name}') FROM {table} LIMIT 1")


def on_both(db, name):
    return setting(db, name, "projects"), setting(db, name, "ci_builds")


# --- settings ---

def test_set_reaches_a_link_that_is_already_open(db):
    assert one(db, "SELECT count(*) FROM ci_builds") > 0
    db.execute("SET work_mem = '7MB'")
    assert on_both(db, "work_mem") == ("7MB", "7MB")


def test_set_reaches_a_link_that_is_opened_later(db):
    db.execute("SET work_mem = '8MB'")
    assert on_both(db, "work_mem") == ("8MB", "8MB")


def test_reset_reaches_both(db):
    db.execute("SET work_mem = '9MB'")
    assert on_both(db, "work_mem") == ("9MB", "9MB")
    db.execute("RESET work_mem")
    assert on_both(db, "work_mem") == ("4MB", "4MB")


def test_reset_all_reaches_both(db):
    db.execute("SET work_mem = '9MB'; SET random_page_cost = 7")
    assert on_both(db, "random_page_cost") == ("7", "7")
    db.execute("RESET ALL")
    assert on_both(db, "work_mem") == ("4MB", "4MB")
    assert on_both(db, "random_page_cost") == ("4", "4")


def test_set_config_reaches_both(db):
    db.execute("SELECT set_config('work_mem', '11MB', false)")
    assert on_both(db, "work_mem") == ("11MB", "11MB")


def test_set_config_with_parameters_reaches_both(db):
    db.execute("SELECT set_config(%s, %s, false)", ("work_mem", "12MB"))
    assert on_both(db, "work_mem") == ("12MB", "12MB")


@pytest.mark.parametrize("text, parameters, stays", [
    ("SELECT set_config(%s, %s, %s)", ("work_mem", "13MB", True), False),
    ("SELECT set_config(%s, %s, %s)", ("work_mem", "13MB", False), True),
    ("SELECT set_config('work_mem', '13MB', %s)", (True,), False),
    ("SELECT set_config('work_mem', '13MB', %s)", (False,), True),
    ("SELECT set_config('work_mem', '13MB', 'ON')", None, False),
    ("SELECT set_config('work_mem', '13MB', local) FROM (VALUES (true)) v (local)", None, False),
])
def test_set_config_ends_with_its_block_where_it_is_told_to(db, text, parameters, stays):
    before = on_both(db, "work_mem")
    with db.transaction():
        db.execute(text, parameters)
        assert on_both(db, "work_mem") == ("13MB", "13MB")
    assert on_both(db, "work_mem") == (("13MB", "13MB") if stays else before)
    with db.transaction(force_rollback=True):
        db.execute(text, parameters)
    assert on_both(db, "work_mem") == (("13MB", "13MB") if stays else before)


def test_settings_with_lists_and_quotes_reach_both(db):
    db.execute("SET search_path TO \"$user\", public, 'odd''name'")
    main, ci = on_both(db, "search_path")
    assert main == ci and "public" in main


def test_custom_settings_reach_both(db):
    db.execute("SET my_app.tenant = 'it''s'")
    assert on_both(db, "my_app.tenant") == ("it's", "it's")


def test_a_setting_that_fails_changes_nothing(db):
    with fails("22023"):
        db.execute("SET work_mem = 'much'")
    assert on_both(db, "work_mem") == ("4MB", "4MB")


def test_set_session_characteristics_reach_both(db):
    db.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    assert on_both(db, "transaction_isolation") == ("repeatable read", "repeatable read")


def test_time_zone_reaches_both(db):
    db.execute("SET TIME ZONE 'Europe/Berlin'")
    assert on_both(db, "timezone") == ("Europe/Berlin", "Europe/Berlin")


def test_set_role_reaches_both(make_proxy, proxy):
    superuser = make_proxy(databases={"main": proxy.main.conninfo(user="postgres"),
                                      "ci": proxy.ci.conninfo(user="postgres")})
    with superuser.connect() as db:
        db.execute("SET ROLE app")
        assert one(db, "SELECT current_user::text FROM projects LIMIT 1") == "app"
        assert one(db, "SELECT current_user::text FROM ci_builds LIMIT 1") == "app"
        db.execute("RESET ROLE")
        assert one(db, "SELECT current_user::text FROM ci_builds LIMIT 1") == "postgres"


def test_startup_parameters_reach_both(proxy):
    with proxy.connect(options="-c work_mem=13MB -c my.x=a\\ b", application_name="the app") as db:
        assert on_both(db, "work_mem") == ("13MB", "13MB")
        assert on_both(db, "my.x") == ("a b", "a b")
        assert on_both(db, "application_name") == ("the app", "the app")


def test_reset_all_returns_to_the_startup_parameters(proxy):
    with proxy.connect(options="-c work_mem=13MB") as db:
        db.execute("SET work_mem = '14MB'")
        assert on_both(db, "work_mem") == ("14MB", "14MB")
        db.execute("RESET ALL")
        assert on_both(db, "work_mem") == ("13MB", "13MB")


def test_client_encoding_holds_for_both(proxy):
    with proxy.connect(client_encoding="LATIN1") as db:
        assert on_both(db, "client_encoding") == ("LATIN1", "LATIN1")
        assert one(db, "SELECT 'é' FROM ci_builds LIMIT 1") == "é"


def test_parameter_status_of_a_set_reaches_the_client(db):
    db.execute("SET application_name = 'renamed'")
    assert db.info.parameter_status("application_name") == "renamed"
    assert one(db, "SELECT count(*) FROM ci_builds") > 0
    assert db.info.parameter_status("application_name") == "renamed"


# --- process id ---

@pytest.mark.own_connection
def test_the_client_is_told_mains_process_id(db):
    assert db.info.backend_pid == one(db, "SELECT pg_backend_pid()")


# --- cursors ---

@pytest.mark.parametrize("table", ["projects", "ci_builds"])
def test_a_cursor_is_fetched_where_it_was_declared(db, table):
    with db.transaction():
        db.execute(f"DECLARE c SCROLL CURSOR FOR SELECT id FROM {table} ORDER BY id")
        assert len(db.execute("FETCH 3 FROM c").fetchall()) == 3
        db.execute("SELECT count(*) FROM projects")
        db.execute("SELECT count(*) FROM ci_builds")
        assert db.execute("FETCH NEXT FROM c").fetchone()[0] == 4
        db.execute("MOVE FIRST IN c")
        assert db.execute("FETCH NEXT FROM c").fetchone()[0] == 2
        db.execute("CLOSE c")
        with fails("34000"), db.transaction():
            db.execute("FETCH c")


def test_two_cursors_on_two_databases(db):
    with db.transaction():
        db.execute("DECLARE m CURSOR FOR SELECT current_database() FROM projects")
        db.execute("DECLARE c CURSOR FOR SELECT current_database() FROM ci_builds")
        for _ in range(3):
            assert db.execute("FETCH m").fetchone()[0] == "app"
            assert db.execute("FETCH c").fetchone()[0] == "app_ci"
        db.execute("CLOSE ALL")


def test_a_cursor_with_hold_survives_its_transaction(db):
    with db.transaction():
        db.execute("DECLARE held CURSOR WITH HOLD FOR SELECT id FROM ci_builds ORDER BY id")
    db.execute("SELECT count(*) FROM projects")
    assert db.execute("FETCH held").fetchone()[0] == 1
    db.execute("CLOSE held")


def test_an_updatable_cursor_modifies_at_fetch(db):
    db.execute("BEGIN")
    db.execute("UPDATE projects SET star_count = star_count WHERE id = 1")
    db.execute("DECLARE u CURSOR FOR SELECT id FROM ci_builds FOR UPDATE")
    with rejected("XD002", "cross_transaction"):
        db.execute("FETCH u")
    db.execute("ROLLBACK")


# --- temporary tables ---

def test_a_temporary_table_lives_where_its_rows_come_from(db):
    db.execute("CREATE TEMP TABLE picked AS SELECT id FROM ci_builds WHERE id <= 3")
    assert one(db, "SELECT count(*) FROM picked") == 3
    assert one(db, "SELECT count(*) FROM picked JOIN ci_builds USING (id)") == 3
    with rejected("XD001", "cross_join"):
        db.execute("SELECT * FROM picked JOIN projects USING (id)")
    db.execute("DROP TABLE picked")
    with rejected("XD005"):
        db.execute("SELECT * FROM picked")


def test_a_temporary_table_hides_a_classified_one(db):
    db.execute("CREATE TEMP TABLE ci_builds (id int)")
    assert one(db, "SELECT count(*) FROM ci_builds") == 0
    db.execute("DROP TABLE ci_builds")
    assert one(db, "SELECT count(*) FROM ci_builds") > 0


def test_a_temporary_table_that_is_rolled_back_is_forgotten(db):
    db.execute("BEGIN")
    db.execute("CREATE TEMP TABLE fleeting (id int)")
    db.execute("ROLLBACK")
    with rejected("XD005"):
        db.execute("SELECT * FROM fleeting")


def test_writing_a_temporary_table_modifies_no_database(db):
    db.execute("CREATE TEMP TABLE scratch (id int)")
    db.execute("BEGIN")
    db.execute("INSERT INTO scratch VALUES (1)")
    db.execute("UPDATE ci_builds SET name = name WHERE id = 1")
    db.execute("ROLLBACK")


# --- prepared statements ---

def test_prepare_and_execute_find_their_database(db):
    db.execute("PREPARE m AS SELECT current_database() FROM projects WHERE id = $1")
    db.execute("PREPARE c (bigint) AS SELECT current_database() FROM ci_builds WHERE id = $1")
    assert one(db, "EXECUTE m(1)") == "app"
    assert one(db, "EXECUTE c(1)") == "app_ci"
    db.execute("DEALLOCATE m")
    with fails("26000"):
        db.execute("EXECUTE m(1)")
    db.execute("DEALLOCATE ALL")
    with fails("26000"):
        db.execute("EXECUTE c(1)")


def test_execute_modifies_as_its_statement_does(db):
    db.execute("PREPARE w AS UPDATE projects SET star_count = star_count WHERE id = 1")
    db.execute("BEGIN")
    db.execute("UPDATE ci_builds SET name = name WHERE id = 1")
    with rejected("XD002", "cross_transaction"):
        db.execute("EXECUTE w")
    db.execute("ROLLBACK")


def test_protocol_level_prepared_statements_live_on_both(db):
    for _ in range(3):
        assert db.execute("SELECT current_database() FROM projects WHERE id = %s", (1,), prepare=True).fetchone()[0] == "app"
        assert db.execute("SELECT current_database() FROM ci_builds WHERE id = %s", (1,),
                          prepare=True).fetchone()[0] == "app_ci"


def test_discard_all_starts_over_on_both(db):
    db.execute("SET work_mem = '15MB'")
    db.execute("PREPARE c AS SELECT 1 FROM ci_builds")
    db.execute("CREATE TEMP TABLE gone (id int)")
    assert on_both(db, "work_mem") == ("15MB", "15MB")
    db.execute("DISCARD ALL")
    assert on_both(db, "work_mem") == ("4MB", "4MB")
    with fails("26000"):
        db.execute("EXECUTE c")
    with rejected("XD005"):
        db.execute("SELECT * FROM gone")


@pytest.mark.parametrize("what", ["PLANS", "SEQUENCES", "TEMP"])
def test_discard_of_a_part_works(db, what):
    db.execute("SELECT count(*) FROM ci_builds")
    assert db.execute(f"DISCARD {what}").statusmessage == f"DISCARD {what}"


# --- notifications and locks ---

def test_a_notification_reaches_a_listener_in_another_session(proxy, db):
    with proxy.connect() as listener:
        listener.execute("LISTEN news")
        listener.execute("SELECT count(*) FROM ci_builds")
        db.execute("SELECT count(*) FROM ci_builds")
        db.execute("NOTIFY news, 'hello'")
        notified = next(listener.notifies())
        assert (notified.channel, notified.payload) == ("news", "hello")
        # A client that shares connections has a process id of its own.
        assert POOL_MODE == "transaction" or notified.pid == db.info.backend_pid
        listener.execute("UNLISTEN *")


def test_pg_notify_in_a_transaction_is_sent_at_commit(proxy, db):
    with proxy.connect() as listener:
        listener.execute("LISTEN later")
        with db.transaction():
            db.execute("SELECT count(*) FROM ci_builds")
            db.execute("SELECT pg_notify('later', 'x')")
        assert next(listener.notifies()).payload == "x"


def test_advisory_locks_of_two_sessions_meet(proxy, db):
    with proxy.connect() as other:
        other.execute("SELECT count(*) FROM ci_builds")
        db.execute("SELECT pg_advisory_lock(4711)")
        assert one(other, "SELECT pg_try_advisory_lock(4711)") is False
        assert one(db, "SELECT pg_advisory_unlock(4711)") is True
        assert one(other, "SELECT pg_try_advisory_lock(4711)") is True


def test_a_transactions_advisory_lock_is_freed_at_its_end(proxy, db):
    with proxy.connect() as other:
        db.execute("BEGIN")
        db.execute("UPDATE ci_builds SET name = name WHERE id = 1")
        db.execute("SELECT pg_advisory_xact_lock(4712)")
        assert one(other, "SELECT pg_try_advisory_xact_lock(4712)") is False
        db.execute("COMMIT")
        assert one(other, "SELECT pg_try_advisory_xact_lock(4712)") is True


def test_locks_are_freed_when_the_session_ends(proxy, db):
    other = proxy.connect()
    other.execute("SELECT pg_advisory_lock(4713)")
    other.close()
    wait_until(lambda: one(db, "SELECT pg_try_advisory_lock(4713)"), "the lock to be freed")


# --- pginterlock.database ---

def test_pginterlock_database_pins_the_session(db):
    db.execute("SET pginterlock.database = 'ci'")
    assert one(db, "SHOW pginterlock.database") == "ci"
    assert one(db, "SELECT current_database()") == "app_ci"
    with rejected("XD004", "wrong_database"):
        db.execute("SELECT * FROM projects")
    db.execute("RESET pginterlock.database")
    assert one(db, "SELECT count(*) FROM projects") > 0


def test_set_local_pginterlock_database_pins_one_transaction(db):
    db.execute("BEGIN")
    db.execute("SET LOCAL pginterlock.database TO 'ci'")
    assert one(db, "SELECT current_database()") == "app_ci"
    db.execute("COMMIT")
    assert one(db, "SELECT current_database()") == "app"


def test_pginterlock_database_is_transactional(db):
    db.execute("BEGIN")
    db.execute("SET pginterlock.database = ci")
    db.execute("ROLLBACK")
    assert one(db, "SELECT current_database()") == "app"


def test_pginterlock_database_refuses_a_name_that_is_none(db):
    with fails("22023"):
        db.execute("SET pginterlock.database = 'nowhere'")


@pytest.mark.parametrize("end", ["RESET ALL", "DISCARD ALL"])
def test_reset_all_and_discard_all_end_the_pin(db, end):
    db.execute("SET pginterlock.database = 'ci'")
    db.execute(end)
    assert one(db, "SELECT current_database()") == "app"


# --- pinned entrypoints and same_as ---

def test_a_pinned_entrypoint_runs_everything_on_its_database(db_ci):
    assert one(db_ci, "SELECT current_database()") == "app_ci"
    assert one(db_ci, "SELECT current_database() FROM schema_migrations") == "app_ci"
    assert one(db_ci, "SELECT count(*) FROM ci_builds") > 0


def test_a_pinned_session_may_look_any_name_up_in_the_catalogs(db_main):
    assert one(db_main, "SELECT to_regclass('ci_builds')") is None
    db_main.execute("SELECT 1 FROM pg_class WHERE relname = 'ci_builds'")


def test_same_as_shares_one_physical_transaction(make_proxy, proxy, unique):
    cluster = proxy.main
    both = make_proxy(databases={"main": cluster.conninfo(), "ci": {"same_as": "main"}},
                      rules={"cross_transaction": "report"})
    cluster.sql("SET ROLE app; CREATE TABLE IF NOT EXISTS ci_refs (id bigserial, name text)")
    try:
        with both.connect() as db:
            with pytest.raises(psycopg.errors.DivisionByZero), db.transaction():
                db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))
                db.execute("INSERT INTO ci_refs (name) VALUES (%s)", (unique,))
                assert one(db, "SELECT count(*) FROM issues WHERE title = %s", (unique,)) == 1
                assert one(db, "SELECT pg_backend_pid() FROM ci_refs LIMIT 1") == one(
                    db, "SELECT pg_backend_pid() FROM issues LIMIT 1")
                db.execute("SELECT 1/0")
            assert one(db, "SELECT count(*) FROM ci_refs WHERE name = %s", (unique,)) == 0
    finally:
        cluster.sql("DROP TABLE ci_refs")


def test_ddl_goes_where_its_table_lives(db, proxy):
    db.execute("CREATE TABLE ci_refs (id bigserial PRIMARY KEY, name text)")
    try:
        assert proxy.ci.value("SELECT to_regclass('ci_refs')::text") == "ci_refs"
        db.execute("CREATE INDEX index_ci_refs_on_name ON ci_refs (name)")
        db.execute("ALTER TABLE ci_refs ADD COLUMN extra int")
        db.execute("COMMENT ON TABLE ci_refs IS 'refs'")
        db.execute("ALTER INDEX index_ci_refs_on_name RENAME TO index_ci_refs_on_name_2")
        db.execute("DROP INDEX index_ci_refs_on_name_2")
    finally:
        proxy.ci.sql("DROP TABLE ci_refs")


def test_a_do_block_runs_where_its_tables_live(db, unique, proxy):
    db.execute(f"DO $$ BEGIN INSERT INTO ci_runners (description) VALUES ('{unique}'); END $$")
    assert proxy.ci.value("SELECT count(*) FROM ci_runners WHERE description = %s", params=(unique,)) == 1


def test_explain_runs_where_its_tables_live(db):
    assert "ci_builds" in db.execute("EXPLAIN SELECT * FROM ci_builds").fetchone()[0]
    assert db.execute("EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM projects").fetchone()[0]


def test_a_link_agrees_with_what_the_client_was_told(proxy, ci_cluster):
    """The client reads dates by what it was told at the start, and the classifier reads strings by it."""
    for setting in ("timezone = 'Asia/Tokyo'", "datestyle = 'German'", "standard_conforming_strings = off"):
        ci_cluster.sql(f"ALTER DATABASE app_ci SET {setting}", "app_ci")
    try:
        with proxy.connect() as db:
            settings = ("SELECT current_setting('timezone'), current_setting('datestyle'), "
                        "current_setting('standard_conforming_strings') FROM ")
            assert db.execute(settings + "ci_builds LIMIT 1").fetchone() == \
                db.execute(settings + "projects LIMIT 1").fetchone()
    finally:
        ci_cluster.sql("ALTER DATABASE app_ci RESET ALL", "app_ci")
