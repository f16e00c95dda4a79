"""Transactions across two databases behave as one would: lazily begun, failed together, written on one side only."""

import psycopg
import pytest

import wire
from harness import fails, one, rejected

READ_MAIN = "SELECT count(*) FROM projects"
READ_CI = "SELECT count(*) FROM ci_builds"


def status(connection):
    return connection.info.transaction_status.name


def issues(proxy, title):
    return proxy.main.value("SELECT count(*) FROM issues WHERE title = %s", params=(title,))


def runners(proxy, description):
    return proxy.ci.value("SELECT count(*) FROM ci_runners WHERE description = %s", params=(description,))


def in_transaction(cluster):
    return cluster.value("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'"
                         " AND datname = %s", params=(cluster.dbname,))


# --- blocks ---

def test_begin_is_lazy(db, proxy):
    db.execute("BEGIN")
    assert status(db) == "INTRANS"
    assert in_transaction(proxy.main) == in_transaction(proxy.ci) == 0
    db.execute(READ_CI)
    assert (in_transaction(proxy.main), in_transaction(proxy.ci)) == (0, 1)
    db.execute(READ_MAIN)
    assert (in_transaction(proxy.main), in_transaction(proxy.ci)) == (1, 1)
    db.execute("COMMIT")
    assert in_transaction(proxy.main) == in_transaction(proxy.ci) == 0


def test_an_empty_block_begins_and_ends(db):
    db.execute("BEGIN")
    assert status(db) == "INTRANS"
    db.execute("COMMIT")
    assert status(db) == "IDLE"


@pytest.mark.parametrize("end", ["COMMIT", "END", "COMMIT WORK"])
def test_a_block_reads_both_and_writes_main(db, proxy, unique, end):
    db.execute("BEGIN")
    builds = one(db, READ_CI)
    db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))
    assert one(db, READ_CI) == builds
    db.execute(end)
    assert issues(proxy, unique) == 1


@pytest.mark.parametrize("end", ["ROLLBACK", "ABORT"])
def test_a_block_that_is_rolled_back_leaves_nothing(db, proxy, unique, end):
    db.execute("BEGIN")
    db.execute(READ_MAIN)
    db.execute("INSERT INTO ci_runners (description) VALUES (%s)", (unique,))
    db.execute(end)
    assert runners(proxy, unique) == 0
    assert status(db) == "IDLE"


def test_isolation_level_and_read_only_reach_both_databases(db):
    db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    for table in ("projects", "ci_builds"):
        assert db.execute(f"SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')"
                          f" FROM {table} LIMIT 1").fetchone() == ("repeatable read", "on")
    with fails("25006"):
        db.execute("UPDATE ci_builds SET name = name")
    db.execute("ROLLBACK")


def test_set_transaction_reaches_a_database_that_joins_later(db):
    db.execute("BEGIN")
    db.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
    for table in ("ci_builds", "projects"):
        assert one(db, f"SELECT current_setting('transaction_isolation') FROM {table} LIMIT 1") == "serializable"
    db.execute("COMMIT")


def test_begin_in_a_block_warns(db):
    notices = []
    db.add_notice_handler(lambda diag: notices.append(diag.sqlstate))
    db.execute("BEGIN")
    db.execute(READ_CI)
    db.execute("BEGIN")
    db.execute("COMMIT")
    assert notices == ["25001"]


def test_commit_outside_a_block_warns(db):
    notices = []
    db.add_notice_handler(lambda diag: notices.append(diag.sqlstate))
    db.execute("COMMIT")
    assert notices == ["25P01"]


# --- failed blocks ---

@pytest.mark.parametrize("bad", ["SELECT 1/0 FROM projects", "SELECT 1/0 FROM ci_builds"])
def test_an_error_on_either_database_fails_the_block(db, bad):
    db.execute("BEGIN")
    db.execute(READ_MAIN)
    db.execute(READ_CI)
    with fails("22012"):
        db.execute(bad)
    assert status(db) == "INERROR"
    for text in (READ_MAIN, READ_CI, "SELECT 1"):
        with fails("25P02"):
            db.execute(text)
    db.execute("ROLLBACK")
    assert status(db) == "IDLE"


def test_a_rejection_fails_the_block(db):
    db.execute("BEGIN")
    db.execute(READ_MAIN)
    with rejected("XD001"):
        db.execute("SELECT 1 FROM projects, ci_builds")
    assert status(db) == "INERROR"
    with fails("25P02"):
        db.execute(READ_MAIN)
    db.execute("ROLLBACK")


def test_commit_of_a_failed_block_says_rollback(db, proxy, unique):
    db.execute("BEGIN")
    db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))
    with fails("22012"):
        db.execute("SELECT 1/0 FROM ci_builds")
    assert db.execute("COMMIT").statusmessage == "ROLLBACK"
    assert issues(proxy, unique) == 0


def test_a_rejection_before_anything_ran_fails_the_block_too(db):
    db.execute("BEGIN")
    with rejected("XD005"):
        db.execute("SELECT * FROM no_such_thing")
    assert status(db) == "INERROR"
    with fails("25P02"):
        db.execute("SELECT 1")
    assert db.execute("COMMIT").statusmessage == "ROLLBACK"


# --- savepoints ---

def test_rollback_to_revives_a_failed_block_on_both(db, proxy, unique):
    db.execute("BEGIN")
    db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))
    db.execute("SAVEPOINT a")
    with fails("22012"):
        db.execute("SELECT 1/0 FROM ci_builds")
    db.execute("ROLLBACK TO a")
    assert one(db, READ_CI) > 0
    db.execute("COMMIT")
    assert issues(proxy, unique) == 1


def test_rollback_to_revives_a_block_that_a_rejection_failed(db):
    db.execute("BEGIN")
    db.execute("SAVEPOINT a")
    db.execute("UPDATE projects SET star_count = star_count WHERE id = 1")
    with rejected("XD002"):
        db.execute("UPDATE ci_builds SET name = name WHERE id = 1")
    db.execute("ROLLBACK TO SAVEPOINT a")
    assert status(db) == "INTRANS"
    db.execute("UPDATE ci_builds SET name = name WHERE id = 1")  # what was undone no longer counts
    db.execute("ROLLBACK")


def test_savepoints_are_replayed_on_a_database_that_joins_later(db, proxy, unique):
    db.execute("BEGIN")
    db.execute(READ_MAIN)
    db.execute("SAVEPOINT a")
    db.execute('SAVEPOINT "B b"')
    db.execute("INSERT INTO ci_runners (description) VALUES (%s)", (unique + " lost",))
    db.execute('ROLLBACK TO "B b"')
    db.execute("INSERT INTO ci_runners (description) VALUES (%s)", (unique + " kept",))
    db.execute("RELEASE a")
    db.execute("COMMIT")
    assert (runners(proxy, unique + " lost"), runners(proxy, unique + " kept")) == (0, 1)


def test_release_merges_what_was_modified_into_the_outer_level(db):
    db.execute("BEGIN")
    db.execute("SAVEPOINT a")
    db.execute("UPDATE projects SET star_count = star_count WHERE id = 1")
    db.execute("RELEASE a")
    with rejected("XD002"):
        db.execute("UPDATE ci_builds SET name = name WHERE id = 1")
    db.execute("ROLLBACK")


def test_an_unknown_savepoint_is_the_servers_error(db):
    db.execute("BEGIN")
    db.execute(READ_CI)
    with fails("3B001"):
        db.execute("ROLLBACK TO nowhere")
    db.execute("ROLLBACK")


def test_savepoint_outside_a_block_is_an_error(db):
    with fails("25P01"):
        db.execute("SAVEPOINT a")


# --- COMMIT ---

def test_a_deferred_constraint_that_fails_at_commit_rolls_back(db, proxy):
    proxy.main.sql("ALTER TABLE issues ALTER CONSTRAINT issues_project_id_fkey DEFERRABLE INITIALLY DEFERRED")
    try:
        db.execute("BEGIN")
        db.execute(READ_CI)
        db.execute("INSERT INTO issues (title, project_id) VALUES ('orphan', 999999)")
        with fails("23503"):
            db.execute("COMMIT")
        assert status(db) == "IDLE"
        assert issues(proxy, "orphan") == 0
        assert in_transaction(proxy.ci) == 0
    finally:
        proxy.main.sql("ALTER TABLE issues ALTER CONSTRAINT issues_project_id_fkey NOT DEFERRABLE")


def test_when_the_second_of_a_permitted_pair_fails_the_detail_says_which_committed(db, proxy, unique):
    proxy.ci.sql("ALTER TABLE ci_builds ALTER CONSTRAINT ci_builds_commit_id_fkey DEFERRABLE INITIALLY DEFERRED")
    try:
        db.execute("BEGIN")
        db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))
        db.execute("/* allow_cross_database_modification_within_transaction */"
                   " INSERT INTO ci_builds (commit_id, name) VALUES (999999, %s)", (unique,))
        with fails("23503") as seen:
            db.execute("COMMIT")
        committed = issues(proxy, unique)
        assert proxy.ci.value("SELECT count(*) FROM ci_builds WHERE name = %s", params=(unique,)) == 0
        assert "main" in seen.diag.message_detail and "ci" in seen.diag.message_detail
        assert committed in (0, 1)
        if committed:
            assert "committed" in seen.diag.message_detail
    finally:
        proxy.ci.sql("ALTER TABLE ci_builds ALTER CONSTRAINT ci_builds_commit_id_fkey NOT DEFERRABLE")


@pytest.mark.parametrize("verb", ["COMMIT", "ROLLBACK"])
def test_and_chain_keeps_the_isolation_level_and_frees_the_write_side(db, verb):
    db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    db.execute("UPDATE projects SET star_count = star_count WHERE id = 1")
    db.execute(f"{verb} AND CHAIN")
    assert status(db) == "INTRANS"
    assert one(db, "SELECT current_setting('transaction_isolation') FROM ci_builds LIMIT 1") == "repeatable read"
    db.execute("UPDATE ci_builds SET name = name WHERE id = 1")
    db.execute("ROLLBACK")


# --- implicit transactions ---

def test_a_simple_query_with_several_statements_answers_each(db):
    cursor = db.execute("SELECT 1; SELECT count(*) FROM projects; SELECT count(*) FROM ci_builds; SELECT 2")
    values = [cursor.fetchone()[0]]
    while cursor.nextset():
        values.append(cursor.fetchone()[0])
    assert values[0] == 1 and values[3] == 2 and values[1] > 0 and values[2] > 0


def test_several_statements_for_one_database_are_atomic(db, proxy, unique):
    with fails("22012"):
        db.execute(f"INSERT INTO issues (title) VALUES ('{unique}'); SELECT 1/0 FROM projects")
    assert issues(proxy, unique) == 0


def test_several_statements_for_two_databases_are_atomic(db, proxy, unique):
    with fails("22012"):
        db.execute(f"INSERT INTO issues (title) VALUES ('{unique}'); SELECT 1/0 FROM ci_builds; SELECT 1")
    assert issues(proxy, unique) == 0
    assert status(db) == "IDLE"
    assert in_transaction(proxy.main) == in_transaction(proxy.ci) == 0


def test_several_statements_may_not_modify_two_databases(db, proxy, unique):
    with rejected("XD002", "cross_transaction"):
        db.execute(f"INSERT INTO issues (title) VALUES ('{unique}');"
                   f" INSERT INTO ci_runners (description) VALUES ('{unique}')")
    assert issues(proxy, unique) == runners(proxy, unique) == 0


def test_a_block_within_a_simple_query_ends_where_it_says(db, proxy, unique):
    db.execute(f"BEGIN; INSERT INTO issues (title) VALUES ('{unique}'); COMMIT;"
               f" INSERT INTO ci_runners (description) VALUES ('{unique}')")
    assert issues(proxy, unique) == runners(proxy, unique) == 1


def test_a_simple_query_may_leave_a_block_open(db):
    db.execute("SELECT 1; BEGIN; SELECT count(*) FROM ci_builds; SELECT count(*) FROM projects")
    assert status(db) == "INTRANS"
    db.execute("ROLLBACK")


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_script_is_atomic_after_a_block_that_a_script_opened(db, proxy, unique, end):
    db.execute("SELECT 1; BEGIN")
    with fails("22012"):
        db.execute(f"{end}; INSERT INTO issues (title) VALUES ('{unique}'); SELECT 1/0")
    assert issues(proxy, unique) == 0


@pytest.mark.parametrize("verb, kept", [("ABORT", 0), ("COMMIT", 1)])
def test_a_transaction_verb_in_a_pipeline_ends_what_the_pipeline_began(proxy, unique, verb, kept):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        texts = [f"INSERT INTO ci_runners (description) VALUES ('{unique}')", "SELECT 1 FROM issues", verb, "SELECT 1/0"]
        connection.exchange(*[part for text in texts for part in (wire.parse("", text), wire.bind(), wire.execute())],
                            wire.sync())
    assert runners(proxy, unique) == kept


def test_begin_in_a_pipeline_makes_what_came_before_part_of_the_block(proxy, unique):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        texts = [f"INSERT INTO ci_runners (description) VALUES ('{unique}')", "SELECT 1 FROM issues", "BEGIN"]
        connection.exchange(*[part for text in texts for part in (wire.parse("", text), wire.bind(), wire.execute())],
                            wire.sync())
        connection.query("ROLLBACK")
    assert runners(proxy, unique) == 0


def test_a_pipeline_up_to_sync_is_atomic(db, proxy, unique):
    with fails("22012"), db.pipeline():
        db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))
        db.execute(READ_CI)
        db.execute("SELECT 1/0 FROM ci_builds")
    assert issues(proxy, unique) == 0
    assert status(db) == "IDLE"


# A simple query behind an open pipeline is part of its transaction, and ends it.
@pytest.mark.parametrize("text, count", [
    ("SELECT count(*) FROM ci_builds", 1), ("SELECT count(*) FROM projects", 1), ("SHOW pginterlock.database", 1), ("", 1),
    ("SELECT 1/0 FROM ci_builds", 0), ("SELECT 1/0 FROM projects", 0), ("SELECT 1 FROM projects, ci_builds", 0),
    ("DELETE FROM ci_builds", 0), ("SELECT 1 FROM unheard_of", 0), ("SELECT 1; SELECT 1/0 FROM ci_builds", 0),
    ("SELEC", 0), ("SELECT '\\xff'", 0), ("SET pginterlock.database = 'nosuch'", 0), ("ROLLBACK", 0), ("COMMIT", 1)],
    ids=map(str, range(15)))
def test_a_simple_query_ends_the_pipeline_before_it(proxy, unique, text, count):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        insert = f"INSERT INTO issues (title) VALUES ('{unique}')"
        query = wire.message("Q", text.encode("latin-1").replace(b"\\xff", b"\xff") + b"\0")
        answer = connection.exchange(wire.parse("", insert), wire.bind(), wire.execute(), query)
        assert answer[-1].body == b"I"
        assert issues(proxy, unique) == count  # before the client's Sync
        connection.exchange(wire.sync())
        assert issues(proxy, unique) == count
        assert not wire.errors(connection.query(READ_CI)) and not wire.errors(connection.query(READ_MAIN))


def test_sql_fetches_from_a_portal_where_it_is_and_modifies_as_its_statement_does(proxy, unique):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        insert = f"INSERT INTO issues (title) VALUES ('{unique}') RETURNING title"
        connection.query("BEGIN")
        connection.exchange(wire.parse("", READ_CI), wire.bind("far"), wire.parse("w", insert), wire.bind("near", "w"), wire.sync())
        assert len(wire.rows(connection.query("FETCH ALL FROM far"))) == 1
        assert len(wire.rows(connection.query("FETCH ALL FROM near"))) == 1
        (error,) = wire.errors(connection.query("DELETE FROM ci_builds WHERE false"))
        assert error["C"] == "XD002"
        connection.query("ROLLBACK")
    assert issues(proxy, unique) == 0


def test_a_pipeline_over_both_databases_commits(db, proxy, unique):
    with db.pipeline():
        db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))
        builds = db.execute(READ_CI)
        projects = db.execute(READ_MAIN)
    assert builds.fetchone()[0] > 0 and projects.fetchone()[0] > 0
    assert issues(proxy, unique) == 1


def test_a_pipeline_may_not_modify_two_databases(db, proxy, unique):
    with rejected("XD002", "cross_transaction"), db.pipeline():
        db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))
        db.execute("INSERT INTO ci_runners (description) VALUES (%s)", (unique,))
    assert issues(proxy, unique) == runners(proxy, unique) == 0


# --- settings within a block ---

def test_set_local_holds_on_both_databases_until_the_end(db):
    db.execute("BEGIN")
    db.execute("SET LOCAL statement_timeout = '77s'")
    for table in ("projects", "ci_builds"):
        assert one(db, f"SELECT current_setting('statement_timeout') FROM {table} LIMIT 1") == "77s"
    db.execute("COMMIT")
    for table in ("projects", "ci_builds"):
        assert one(db, f"SELECT current_setting('statement_timeout') FROM {table} LIMIT 1") == "0"


def test_set_is_undone_by_rollback_on_both_databases(db):
    db.execute("BEGIN")
    db.execute("SET work_mem = '5MB'")
    assert one(db, "SELECT current_setting('work_mem') FROM ci_builds LIMIT 1") == "5MB"
    db.execute("ROLLBACK")
    for table in ("projects", "ci_builds"):
        assert one(db, f"SELECT current_setting('work_mem') FROM {table} LIMIT 1") == "4MB"


def test_set_that_is_committed_stays_on_both_databases(db):
    db.execute("BEGIN")
    db.execute("SET work_mem = '6MB'")
    db.execute("COMMIT")
    for table in ("ci_builds", "projects"):
        assert one(db, f"SELECT current_setting('work_mem') FROM {table} LIMIT 1") == "6MB"


def test_prepare_transaction_on_one_database_works(db, proxy):
    db.execute("BEGIN")
    db.execute("UPDATE ci_builds SET name = name WHERE id = 1")
    db.execute("PREPARE TRANSACTION 'only_ci'")
    assert proxy.ci.value("SELECT count(*) FROM pg_prepared_xacts WHERE gid = 'only_ci'") == 1
    db.execute("/* database: ci */ ROLLBACK PREPARED 'only_ci'")
    assert proxy.ci.value("SELECT count(*) FROM pg_prepared_xacts") == 0


def test_vacuum_runs_outside_a_block_on_its_database(db):
    db.execute("VACUUM ci_builds")
    db.execute("VACUUM projects")
    with pytest.raises(psycopg.errors.ActiveSqlTransaction):
        db.execute("BEGIN")
        db.execute("VACUUM ci_builds")
    db.execute("ROLLBACK")


def test_copy_within_a_query_that_is_run_statement_by_statement(proxy):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        messages = connection.exchange(
            wire.query("BEGIN; SELECT 1 FROM projects LIMIT 1; COPY ci_runners (description) FROM STDIN; ROLLBACK"), until="G")
        messages += connection.exchange(wire.copy_data("a\n"), wire.copy_data("b\n"), wire.copy_done())
        assert wire.tags(messages) == ["BEGIN", "SELECT 1", "COPY 2", "ROLLBACK"]


def test_characteristics_that_and_chain_handed_on_outlive_a_failure(db):
    db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    db.execute(READ_CI)
    db.execute("COMMIT AND CHAIN")
    with fails("22012"):
        db.execute("SELECT 1/0 FROM ci_builds")
    db.execute("COMMIT AND CHAIN")
    assert one(db, "SELECT current_setting('transaction_isolation') FROM ci_builds LIMIT 1") == "repeatable read"
    db.execute("ROLLBACK")


@pytest.mark.parametrize("before", [[], ["SELECT 1"]])
def test_a_begin_within_a_savepoint_changes_no_characteristics(proxy, before):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as connection:
        for sql in ["BEGIN", *before, "SAVEPOINT a"]:
            connection.query(sql)
        messages = connection.query("BEGIN ISOLATION LEVEL REPEATABLE READ")
        assert [each["C"] for each in wire.errors(messages)] == ["25001"]
        assert [each["C"] for each in wire.notices(messages)] == ["25001"]
        assert wire.tags(connection.query("ROLLBACK TO a")) == ["ROLLBACK"]
        assert wire.rows(connection.query("SHOW transaction_isolation")) == [[b"read committed"]]
        assert wire.tags(connection.query("COMMIT")) == ["COMMIT"]
