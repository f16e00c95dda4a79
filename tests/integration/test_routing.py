"""Each statement goes where its tables live; what can live nowhere is rejected with all that the error should carry."""

import datetime
import re

import psycopg
import pytest

from harness import DATA, one, rejected

CROSS_JOIN = "SELECT count(*) FROM projects p JOIN ci_builds b ON b.project_id = p.id"


def position_of(text, table):
    return str(text.index(table) + 1)


# --- where statements go ---

@pytest.mark.parametrize("table, database", [
    ("projects", "app"), ("users", "app"), ("issues", "app"), ("public.notes", "app"), ('"namespaces"', "app"),
    ("ci_builds", "app_ci"), ("ci_pipelines", "app_ci"), ("CI_RUNNERS", "app_ci"), ("public.ci_stages", "app_ci")])
def test_a_read_goes_to_its_tables_database(db, table, database):
    assert one(db, f"SELECT current_database() FROM {table} LIMIT 1") == database


def test_a_statement_without_tables_goes_to_main(db):
    assert one(db, "SELECT current_database()") == "app"


def test_parameters_do_not_matter_to_the_route(db):
    assert one(db, "SELECT current_database() FROM ci_builds WHERE id = %s", (1,)) == "app_ci"
    assert one(db, "SELECT current_database() FROM projects WHERE id = %s", (1,)) == "app"


def test_reads_alternate_between_the_databases(db):
    for _ in range(5):
        assert one(db, "SELECT count(*) FROM projects") > 0
        assert one(db, "SELECT count(*) FROM ci_builds") > 0


def test_a_write_to_main_lands_on_main(db, proxy, unique):
    db.execute("INSERT INTO issues (project_id, title) VALUES (1, %s)", (unique,))
    assert proxy.main.value("SELECT count(*) FROM issues WHERE title = %s", params=(unique,)) == 1


def test_a_write_to_ci_lands_on_ci(db, proxy, unique):
    db.execute("INSERT INTO ci_runners (description) VALUES (%s)", (unique,))
    assert proxy.ci.value("SELECT count(*) FROM ci_runners WHERE description = %s", params=(unique,)) == 1


def test_insert_update_and_delete_tell_their_row_counts(db, unique):
    assert db.execute("INSERT INTO ci_runners (description) SELECT %s FROM generate_series(1, 3)", (unique,)).rowcount == 3
    assert db.execute("UPDATE ci_runners SET active = false WHERE description = %s", (unique,)).rowcount == 3
    assert db.execute("DELETE FROM ci_runners WHERE description = %s", (unique,)).rowcount == 3


def test_writes_outside_a_transaction_may_alternate(db, unique):
    db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))
    db.execute("INSERT INTO ci_runners (description) VALUES (%s)", (unique,))
    db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))


def test_a_server_error_keeps_all_its_fields(db):
    with pytest.raises(psycopg.errors.UniqueViolation) as raised:
        db.execute("INSERT INTO users (id, username) VALUES (1, 'x')")
    diag = raised.value.diag
    assert (diag.constraint_name, diag.table_name, diag.schema_name) == ("users_pkey", "users", "public")
    assert one(db, "SELECT 1") == 1


def test_a_servers_syntax_error_comes_back(db):
    with pytest.raises(psycopg.errors.SyntaxError) as raised:
        db.execute("SELEC 1")
    assert raised.value.diag.statement_position == "1"


def test_a_syntax_error_that_names_tables_of_two_databases_is_unparsed(db):
    with rejected("XD006", "unparsed"):
        db.execute("SELECT FROM projects JOIN WITH ci_builds")


def test_a_sequence_belongs_to_its_table(db):
    assert one(db, "SELECT nextval('ci_builds_id_seq') > 0")
    assert one(db, "SELECT nextval('projects_id_seq') > 0")


def test_a_table_named_in_a_regclass_literal_settles_the_database(db):
    assert one(db, "SELECT pg_relation_size('ci_builds') > 0")
    assert one(db, "SELECT 'ci_pipelines'::regclass::text") == "ci_pipelines"


def test_a_shared_table_is_written_where_the_transaction_writes(db, proxy, unique):
    with db.transaction():
        db.execute("INSERT INTO ci_runners (description) VALUES (%s)", (unique,))
        db.execute("INSERT INTO loose_foreign_keys_deleted_records (fully_qualified_table_name, primary_key_value)"
                   " VALUES (%s, 1)", (unique,))
    count = "SELECT count(*) FROM loose_foreign_keys_deleted_records WHERE fully_qualified_table_name = %s"
    assert proxy.ci.value(count, params=(unique,)) == 1
    assert proxy.main.value(count, params=(unique,)) == 0


def test_a_shared_table_goes_with_either_database(db):
    assert one(db, "SELECT current_database() FROM ci_builds LEFT JOIN loose_foreign_keys_deleted_records l"
                   " ON l.primary_key_value = ci_builds.id LIMIT 1") == "app_ci"
    assert one(db, "SELECT current_database() FROM projects LEFT JOIN loose_foreign_keys_deleted_records l"
                   " ON l.primary_key_value = projects.id LIMIT 1") == "app"


def test_a_hint_settles_where_a_shared_table_is_read(db):
    assert one(db, "/* database: ci */ SELECT current_database() FROM schema_migrations") == "app_ci"
    assert one(db, "/* database: main */ SELECT current_database() FROM schema_migrations") == "app"


# --- rejections ---

@pytest.mark.parametrize("text, table", [
    (CROSS_JOIN, "ci_builds"),
    ("SELECT * FROM projects WHERE id IN (SELECT project_id FROM ci_builds)", "ci_builds"),
    ("SELECT id FROM ci_builds UNION SELECT id FROM projects", "projects"),
    ("WITH b AS (SELECT * FROM ci_builds) SELECT * FROM projects, b", None),
    ("INSERT INTO projects (name, path) SELECT name, name FROM ci_builds WHERE id < 0", "ci_builds"),
    ("DELETE FROM ci_builds USING projects WHERE ci_builds.project_id = projects.id AND projects.id < 0", "projects"),
    ("UPDATE projects SET name = (SELECT name FROM ci_builds LIMIT 1) WHERE id < 0", "ci_builds"),
])
def test_tables_of_two_databases_in_one_statement_are_a_cross_join(db, text, table):
    with rejected("XD001", "cross_join") as seen:
        db.execute(text)
    if table:
        assert seen.diag.table_name == table
        assert seen.diag.statement_position == position_of(text, table)


def test_a_rejection_names_every_table_with_schema_and_database(db):
    with rejected("XD001", "cross_join", "ci_builds") as seen:
        db.execute(CROSS_JOIN)
    for word in ("projects", "gitlab_main", "main", "ci_builds", "gitlab_ci", "ci"):
        assert re.search(rf"\b{word}\b", seen.diag.message_detail), seen.diag.message_detail
    assert seen.diag.message_hint
    assert seen.diag.severity_nonlocalized == "ERROR"


def test_a_rejections_position_counts_characters(db):
    text = "SELECT 'äöü€😀', p.id FROM projects p, ci_builds b"
    with rejected("XD001", "cross_join") as seen:
        db.execute(text)
    assert seen.diag.statement_position == position_of(text, "ci_builds")


def test_a_rejection_never_reaches_a_database(db, proxy):
    marker = "rejected_marker_1742"
    with rejected("XD001"):
        db.execute(f"/* {marker} */ {CROSS_JOIN}")
    assert marker not in proxy.main.log()
    assert marker not in proxy.ci.log()


def test_psql_shows_a_caret_under_the_offending_table(proxy):
    run = proxy.psql(CROSS_JOIN + ";\n", check=False)
    lines = run.stderr.splitlines()
    line = next(i for i, text in enumerate(lines) if text.startswith("LINE 1:"))
    assert lines[line + 1].index("^") == lines[line].index("ci_builds")


def test_a_session_goes_on_after_a_rejection(db):
    with rejected("XD001"):
        db.execute(CROSS_JOIN)
    assert one(db, "SELECT count(*) FROM ci_builds") > 0


def test_an_unclassified_table_is_rejected(db):
    with rejected("XD005", "unclassified", "no_such_thing") as seen:
        db.execute("SELECT * FROM no_such_thing")
    assert seen.diag.statement_position == "15"


def test_creating_an_unclassified_table_is_rejected(db):
    with rejected("XD005", "unclassified", "brand_new"):
        db.execute("CREATE TABLE brand_new (id int)")


def test_a_foreign_key_between_databases_is_rejected(db):
    with rejected("XD003", "cross_foreign_key"):
        db.execute("ALTER TABLE ci_builds ADD CONSTRAINT fk FOREIGN KEY (project_id) REFERENCES projects (id)")


def test_a_pinned_session_may_not_read_the_other_database(db_main, db_ci):
    with rejected("XD004", "wrong_database", "ci_builds"):
        db_main.execute("SELECT * FROM ci_builds")
    with rejected("XD004", "wrong_database", "projects"):
        db_ci.execute("SELECT * FROM projects")


def test_a_pinned_session_may_not_write_the_other_database(db_main):
    with rejected("2F002", "write_lock", "ci_builds") as seen:
        db_main.execute("DELETE FROM ci_builds WHERE id < 0")
    assert seen.diag.message_primary == 'Table: "ci_builds" is write protected within this Gitlab database.'
    assert seen.diag.message_hint


def test_a_transaction_may_not_modify_two_databases(db):
    db.execute("BEGIN")
    db.execute("UPDATE projects SET star_count = star_count WHERE id = 1")
    text = "UPDATE ci_builds SET name = name WHERE id = 1"
    with rejected("XD002", "cross_transaction", "ci_builds") as seen:
        db.execute(text)
    assert seen.diag.statement_position == position_of(text, "ci_builds")
    assert "projects" in seen.diag.message_detail
    assert "UPDATE projects" in seen.diag.message_detail  # the earlier statement
    db.execute("ROLLBACK")


def test_prepare_transaction_across_two_is_unroutable(db, proxy):
    db.execute("BEGIN")
    db.execute("SELECT 1 FROM projects LIMIT 1")
    db.execute("SELECT 1 FROM ci_builds LIMIT 1")
    try:
        with rejected("XD007", "unroutable"):
            db.execute("PREPARE TRANSACTION 'two'")
    finally:
        db.execute("ROLLBACK")
        for (gid,) in proxy.main.sql("SELECT gid FROM pg_prepared_xacts"):
            proxy.main.sql(f"ROLLBACK PREPARED '{gid}'")


def test_an_unclassified_table_wins_over_a_cross_join(db):
    with rejected("XD005", "unclassified"):
        db.execute("SELECT * FROM projects, ci_builds, no_such_thing")


# --- modes and permits ---

def test_report_lets_a_cross_transaction_pass_and_logs_it(make_proxy, unique):
    proxy = make_proxy(rules={"cross_transaction": "report"})
    with proxy.connect() as db:
        with db.transaction():
            db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))
            db.execute("INSERT INTO ci_runners (description) VALUES (%s)", (unique,))
        assert one(db, "SELECT count(*) FROM issues WHERE title = %s", (unique,)) == 1
        assert one(db, "SELECT count(*) FROM ci_runners WHERE description = %s", (unique,)) == 1
    proxy.wait_for_log(r"cross_transaction")


def test_report_cannot_make_two_databases_one(make_proxy):
    proxy = make_proxy(rules={"cross_join": "report"})
    with proxy.connect() as db, rejected("XD001", "cross_join") as seen:
        db.execute(CROSS_JOIN)
    assert seen.diag.message_detail


def test_a_rule_that_is_off_lets_an_unclassified_table_go_to_main(make_proxy):
    proxy = make_proxy(rules={"unclassified": "off"})
    with proxy.connect() as db, pytest.raises(psycopg.errors.UndefinedTable):
        db.execute("SELECT * FROM no_such_thing")


def test_a_comment_permits_a_cross_transaction(db, unique):
    db.execute("BEGIN")
    db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))
    db.execute("/* allow_cross_database_modification_within_transaction url=https://example.com/1 */"
               " INSERT INTO ci_runners (description) VALUES (%s)", (unique,))
    db.execute("COMMIT")
    assert one(db, "SELECT count(*) FROM issues WHERE title = %s", (unique,)) == 1
    assert one(db, "SELECT count(*) FROM ci_runners WHERE description = %s", (unique,)) == 1


def test_a_permit_in_a_string_or_a_line_comment_is_none(db):
    for fake in ("-- allow_cross_database_modification_within_transaction\n",
                 "/* /* allow_cross_database_modification_within_transaction */ */",
                 "/* see allow_cross_database_modification_within_transaction */"):
        db.execute("BEGIN")
        db.execute("UPDATE projects SET star_count = star_count WHERE id = 1")
        with rejected("XD002"):
            db.execute(fake + " UPDATE ci_builds SET name = '/* allow_cross_database_modification_within_transaction */'")
        db.execute("ROLLBACK")


def test_a_setting_permits_a_cross_transaction(db, unique):
    db.execute("SET pginterlock.allow = 'cross_transaction; url=https://example.com/1'")
    with db.transaction():
        db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))
        db.execute("INSERT INTO ci_runners (description) VALUES (%s)", (unique,))
    db.execute("RESET pginterlock.allow")
    with rejected("XD002"), db.transaction():
        db.execute("INSERT INTO issues (title) VALUES (%s)", (unique,))
        db.execute("INSERT INTO ci_runners (description) VALUES (%s)", (unique,))


def test_same_as_allows_a_join_only_with_a_permit(make_proxy, proxy):
    cluster = proxy.main
    both = make_proxy(databases={"main": cluster.conninfo(), "ci": {"same_as": "main"}})
    with both.connect() as db:
        with rejected("XD001"):
            db.execute("SELECT 1 FROM projects, ci_builds")
        with pytest.raises(psycopg.errors.UndefinedTable):  # it reaches main, which has no such table
            db.execute("/* allow_cross_joins_across_databases */ SELECT 1 FROM projects, ci_builds")


def test_a_dictionary_classifies_as_the_flat_file_does(make_proxy):
    proxy = make_proxy(classification={"tables": str(DATA / "dictionary" / "docs"),
                                       "schemas": str(DATA / "dictionary" / "gitlab_schemas")})
    with proxy.connect() as db:
        assert one(db, "SELECT current_database() FROM projects LIMIT 1") == "app"
        assert one(db, "SELECT current_database() FROM ci_builds LIMIT 1") == "app_ci"
        with rejected("XD001", "cross_join"):
            db.execute(CROSS_JOIN)


def test_results_are_typed_as_ever(db):
    row = db.execute("SELECT now(), 1.5::numeric, ARRAY[1, 2], '{\"a\": 1}'::jsonb FROM ci_builds LIMIT 1").fetchone()
    assert isinstance(row[0], datetime.datetime)
    assert row[2:] == ([1, 2], {"a": 1})
