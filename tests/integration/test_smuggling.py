"""Attempts to smuggle a table past the classifier by how a text is written: each is told from the data afterwards, which
may have changed only where it belongs."""

import pytest

import wire
from smuggling import attempt, gate, nothing_is_misplaced, pair, raw  # noqa: F401 (fixtures)

LONG = 8 << 20


@pytest.fixture
def db(gate):
    with gate.connect() as connection:
        yield connection


@pytest.fixture
def bytes_to(gate):
    with wire.connect("127.0.0.1", gate.port, user="app", database="app") as connection:
        yield connection


# Writings of one and the same: PostgreSQL reads each as an update of ci_builds.
UPDATES = {
    "form feed": "UPDATE\fci_builds\fSET name = 'x'",
    "carriage return ends a line comment": "-- nothing\rUPDATE ci_builds SET name = 'x'",
    "line comment inside": "UPDATE --\n ci_builds -- projects\r SET name = 'x'",
    "nested comment": "/* /* */ SELECT 1; */ UPDATE/**/ci_builds/*/**/*/SET name = 'x'",
    "comment of another server": "/*!50000 SELECT */ UPDATE ci_builds /*!99999 x */ SET name = 'x'",
    "a comment that looks like an end": "/* '*/ UPDATE ci_builds SET name = 'x' --'",
    "a string that looks like a comment": "UPDATE ci_builds SET name = '/*' WHERE name <> '*/'",
    "unicode identifier": 'UPDATE U&"\\0063i_builds" SET name = $$x$$',
    "unicode identifier, six digits": 'UPDATE U&"\\+000063i_builds" SET name = $$x$$',
    "unicode identifier with another escape": "UPDATE U&\"!0063i_builds\" UESCAPE '!' SET name = 'x'",
    "unicode identifier with its escape on the next line": "UPDATE U&\"!0063i_builds\"\n/* */UESCAPE\t'!' SET name = 'x'",
    "quoted": 'UPDATE "ci_builds" SET name = $$x$$',
    "upper case": "UPDATE CI_BUILDS SET NAME = 'x'",
    "schema": "UPDATE public.ci_builds SET name = 'x'",
    "quoted schema": 'UPDATE "public"."ci_builds" SET name = $$x$$',
    "database": "UPDATE app_ci.public.ci_builds SET name = 'x'",
    "only": "UPDATE ONLY (ci_builds) SET name = 'x'",
    "star": "UPDATE ci_builds * SET name = 'x'",
    "alias of the other": "UPDATE ci_builds projects SET name = 'x'",
    "a tagged dollar quote": "UPDATE ci_builds SET name = $a$ $$ ; $b$ $a$ WHERE name <> $b$ $a$ $b$",
    "a dollar quote with letters beyond ASCII": "UPDATE ci_builds SET name = $é$; UPDATE projects SET name = 'x'; $é$",
    "dollars in an identifier": "UPDATE ci_builds AS a$b$ SET name = 'x' WHERE a$b$.name <> $b$; $b$",
    "escape string": "UPDATE ci_builds SET name = E'\\'; UPDATE projects SET name = \\'x\\'; --'",
    "strings on two lines": "UPDATE ci_builds SET name = 'a'\n'b; UPDATE projects SET name = '",
    "bit string": "UPDATE ci_builds SET name = (B'01'::text || X'1F'::text)",
    "national string": "UPDATE ci_builds SET name = N'a'",
    "operators": "UPDATE ci_builds SET name = 'x' WHERE -id <-- minus\n 1 AND 2 >/* */- id",
    "with": "WITH projects AS (UPDATE ci_builds SET name = 'x' RETURNING 1) SELECT * FROM projects",
    "with of a name that it shadows": "WITH ci_builds AS (SELECT 1) UPDATE ci_builds SET name = 'x'",
    "explain analyze": "EXPLAIN (ANALYZE 'on', COSTS off) UPDATE ci_builds SET name = 'x'",
    "explain analyze, told twice": "EXPLAIN (ANALYZE false, ANALYZE) UPDATE ci_builds SET name = 'x'",
    "merge": "MERGE INTO ci_builds b USING (VALUES (1)) v (id) ON b.id = v.id WHEN MATCHED THEN UPDATE SET name = 'x'",
    "prepared and executed": "PREPARE p AS UPDATE ci_builds SET name = $1; EXECUTE p('x'); DEALLOCATE p",
    "copy of a write": "COPY (UPDATE ci_builds SET name = 'x' RETURNING 1) TO STDOUT",
    "a block": "DO $$ BEGIN UPDATE ci_builds SET name = 'x'; END $$",
    "a block in a string": "DO 'BEGIN UPDATE ci_builds SET name = ''x''; END'",
    "a block in an escaped string": "DO E'BEGIN UPDATE c\\151_builds SET name = \\'x\\'; END'",
    "a block in a unicode string": "DO U&'BEGIN UPDATE \\0063i_builds SET name = ''x''; END'",
    "a block in a block": "DO $a$ BEGIN EXECUTE $b$ UPDATE ci_builds SET name = 'x' $b$; END $a$",
    "an escaped string in a block": "DO $a$ BEGIN EXECUTE E'UPDATE c\\151_builds SET name = $1' USING 'projects'; END $a$",
    "a name that format() is given": "DO $a$ BEGIN EXECUTE format('UPDATE %I SET name = %L', 'ci_builds', 'x'); END $a$",
    "a name that is appended": "DO $a$ BEGIN EXECUTE 'UPDATE ' || quote_ident('ci_builds') || ' SET name = $1' USING 'x'; END $a$",
    "a block that says its language first": "DO LANGUAGE plpgsql $$ BEGIN UPDATE ci_builds SET name = 'x'; END $$",
    "semicolons": ";;; UPDATE ci_builds SET name = 'x';;;",
    "a long comment before it": "/*" + "-" * LONG + "*/UPDATE ci_builds SET name = 'x'",
    "a long string before it": "WITH w AS (SELECT '" + "''" * (LONG // 2) + "') UPDATE ci_builds SET name = 'x'",
    "many statements before it": "SELECT 1;" * 20000 + "UPDATE ci_builds SET name = 'x'",
}


@pytest.mark.parametrize("text", UPDATES.values(), ids=UPDATES)
def test_an_update_is_seen_however_it_is_written(bytes_to, pair, text):
    pair.ci.sql("UPDATE ci_builds SET name = 'job'")
    pair.changed()
    for _ in range(3):  # the second time it is taken from the cache
        assert raw(bytes_to, text) is None
    assert pair.changed() == {("ci", "ci_builds")}


# Names that PostgreSQL reads as something else than a classified table, however much they look like one.
OTHER_NAMES = {
    "no-break space": "UPDATE ci_builds\u00a0 SET name = 'x'",
    "no-break space before": "UPDATE \u00a0ci_builds SET name = 'x'",
    "ideographic space": "UPDATE ci_builds\u3000 SET name = 'x'",
    "zero width space": "UPDATE ci\u200b_builds SET name = 'x'",
    "quoted capitals": 'UPDATE "Ci_builds" SET name = $$x$$',
    "dotless i": "UPDATE c\u0131_builds SET name = 'x'",
    "dotted capital i": "UPDATE C\u0130_BUILDS SET name = 'x'",
    "long s": "UPDATE ci_build\u017f SET name = 'x'",
    "full width": "UPDATE \uff43\uff49_builds SET name = 'x'",
    "combining": "UPDATE ci_builds\u0301 SET name = 'x'",
    "trailing space in quotes": 'UPDATE "ci_builds " SET name = $$x$$',
    "schema in the quotes": 'UPDATE "public.ci_builds" SET name = $$x$$',
    "beyond 63 bytes": "UPDATE ci_builds" + "x" * 60 + " SET name = 'x'",
}


@pytest.mark.parametrize("text", OTHER_NAMES.values(), ids=OTHER_NAMES)
def test_a_name_that_only_looks_like_a_table_is_none(bytes_to, pair, text):
    assert raw(bytes_to, text) == "XD005"
    assert pair.changed() == set()


def test_a_vertical_tab_is_not_taken_for_less_than_white_space(bytes_to, pair):
    # White space since PostgreSQL 16, a syntax error before: in either case the statement goes where ci_builds is.
    assert raw(bytes_to, "UPDATE\vci_builds SET name = 'x'") == "42601"
    assert raw(bytes_to, "UPDATE\vci_builds SET name = (SELECT name FROM\vprojects)") == "XD006"


def test_a_name_is_cut_at_63_bytes_as_the_server_does(pair, make_proxy, tmp_path):
    long = "ci_" + "b" * 58 + "é"  # 63 bytes; one more letter is cut off, between characters
    (tmp_path / "tables.yml").write_text(f'projects: :gitlab_main\n"{long}": :gitlab_ci\n')
    create = f'CREATE TABLE "{long}" (id int); ALTER TABLE "{long}" OWNER TO app'
    pair.main.sql(create), pair.ci.sql(create)
    proxy = make_proxy(main=pair.main, ci=pair.ci, classification={"tables": str(tmp_path / "tables.yml")})
    with proxy.connect() as db:
        for name in (long, long + "x", long + "é", f'"{long}é"'):
            assert attempt(db, f"INSERT INTO {name} VALUES (1)") is None
    count = f'SELECT count(*) FROM "{long}"'
    assert (pair.main.value(count), pair.ci.value(count)) == (0, 4)


# Names in strings, in every way a string can be written.
@pytest.mark.parametrize("name", [
    "'ci_builds_id_seq'", "E'ci_builds\\x5fid_seq'", "E'\\143i_builds_id_seq'", "E'c\\u0069_builds_id_seq'",
    "U&'\\0063i_builds_id_seq'", "U&'!0063i_builds_id_seq' UESCAPE '!'", "$$ci_builds_id_seq$$", "$q$public.ci_builds_id_seq$q$",
    "'CI_BUILDS_ID_SEQ'", "'\"ci_builds_id_seq\"'", "'public.\"ci_builds_id_seq\"'", "' ci_builds_id_seq '",
    "'ci_builds'\n'_id_seq'", "'ci_builds_id_seq'::text::regclass", "CAST('ci_builds_id_seq' AS regclass)",
    "regclass 'ci_builds_id_seq'", "'ci_builds_id_seq'::pg_catalog.regclass", "pg_get_serial_sequence('ci_builds', 'id')",
    "to_regclass('ci_builds_id_seq')", "regclassin('ci_builds_id_seq')"])
def test_a_sequence_is_seen_however_its_name_is_written(db, pair, name):
    for _ in range(3):
        assert attempt(db, f"SELECT nextval({name})") is None
    assert pair.changed() == {("ci", "ci_builds_id_seq")}


def test_two_sequences_are_no_shape_of_each_other(db, pair):
    for _ in range(3):
        assert attempt(db, "SELECT nextval('ci_builds_id_seq')") is None
        assert attempt(db, "SELECT nextval('projects_id_seq')") is None
    assert pair.changed() == {("ci", "ci_builds_id_seq"), ("main", "projects_id_seq")}


# SQL that stands in a string and is run by a function.
@pytest.mark.parametrize("call", [
    "query_to_xml('SELECT name FROM ci_builds', true, false, '')",
    "query_to_xml_and_xmlschema($q$ SELECT name FROM ci_builds $q$, true, false, '')",
    "query_to_xml(E'SELECT name FROM c\\151_builds', true, false, '')",
    "table_to_xml('ci_builds', true, false, '')",
    "(SELECT string_agg(word, ' ') FROM ts_stat('SELECT to_tsvector(name) FROM ci_builds'))"])
def test_sql_that_a_function_is_given_is_read(db, call):
    assert attempt(db, f"SELECT {call}::text") is None
    assert attempt(db, f"SELECT {call}::text FROM projects") == "XD001"


# -- several statements in one text ----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "UPDATE ci_builds SET name = 'x'; UPDATE projects SET name = 'x'",
    "SELECT 1; SELECT 2\n; UPDATE ci_builds SET name = 'x'\n; UPDATE projects SET name = 'x'",  # psql's \;
    "UPDATE projects SET name = 'x'; DO $$ BEGIN DELETE FROM ci_builds; END $$",
    "PREPARE a AS UPDATE ci_builds SET name = 'x'; EXECUTE a; PREPARE b AS DELETE FROM notes; EXECUTE b",
    "UPDATE projects SET name = 'x'; COPY (DELETE FROM ci_builds RETURNING 1) TO STDOUT",
])
def test_several_statements_in_one_text_are_one_transaction(bytes_to, pair, text):
    assert raw(bytes_to, text) == "XD002"
    assert pair.changed() == set()


def test_a_name_that_was_given_anew_within_one_text_is_the_new_one(bytes_to, pair):
    assert raw(bytes_to, "PREPARE p AS UPDATE projects SET name = 'one'; DEALLOCATE p;"
                         "PREPARE p AS UPDATE ci_builds SET name = 'two'; EXECUTE p; DEALLOCATE p") is None
    assert pair.changed() == {("ci", "ci_builds")}


@pytest.mark.parametrize("text, sqlstate", [
    ("ALTER TABLE notes RENAME TO ci_refs; UPDATE ci_refs SET note = 'x'", "XD001"),
    ("ALTER TABLE notes RENAME TO nobodys; UPDATE nobodys SET note = 'x'", "XD005"),
    ("CREATE VIEW ci_refs AS SELECT * FROM projects", "XD001"),
    ("CREATE VIEW nobodys AS SELECT * FROM projects, ci_builds", "XD005"),
    ("CREATE VIEW group_view AS SELECT 1; CREATE RULE r AS ON INSERT TO projects DO ALSO DELETE FROM ci_builds", "XD005"),
    ("CREATE RULE r AS ON INSERT TO projects DO ALSO DELETE FROM ci_builds", "XD001"),
    ("CREATE TABLE keys AS TABLE ci_builds", "XD001"),
    ("SELECT * INTO keys FROM ci_builds", "XD001"),
    ("MERGE INTO projects p USING ci_builds b ON p.id = b.id WHEN MATCHED THEN DELETE", "XD001"),
    ("CREATE TABLE ci_refs (LIKE projects)", "XD001"),
    ("CREATE TABLE ci_refs () INHERITS (projects)", "XD001"),
    ("ALTER SEQUENCE projects_id_seq OWNED BY ci_builds.id", "XD001"),
    ("CREATE POLICY p ON projects USING (EXISTS (SELECT FROM ci_builds))", "XD001"),
    ("CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'DELETE FROM ci_builds; DELETE FROM projects'", "XD001"),
    ("CREATE FUNCTION f() RETURNS void BEGIN ATOMIC DELETE FROM ci_builds; DELETE FROM projects; END", "XD001"),
    ("CREATE FUNCTION f() RETURNS text BEGIN ATOMIC SELECT p.name language, b.name plpgsql FROM ci_builds b, projects p; "
     "SELECT language plpgsql FROM ci_builds, (SELECT name AS language FROM projects) p; END", "XD001"),
    ("GRANT USAGE ON TYPE projects, ci_builds TO app", "XD001"),
])
def test_structure_that_would_tie_two_databases_together_is_refused(bytes_to, pair, text, sqlstate):
    assert raw(bytes_to, text) == sqlstate
    assert pair.changed() == set()


# -- texts that are cut or broken ------------------------------------------------------------------------------------


def test_a_statement_behind_a_nul_is_never_run(gate, pair):
    for hidden in (b"SELECT 1\0; UPDATE ci_builds SET name = 'x'", b"UPDATE projects SET name = 'x'\0 WHERE false"):
        with wire.connect("127.0.0.1", gate.port, user="app", database="app") as connection:
            connection.send(wire.message("Q", hidden + b"\0"))
            assert wire.errors(connection.read_to_end())[0]["C"] == "08P01"
    assert pair.changed() == set()


def test_a_parse_with_a_nul_is_never_run(gate, pair):
    with wire.connect("127.0.0.1", gate.port, user="app", database="app") as connection:
        connection.send(wire.message("P", b"\0UPDATE projects SET name = 'x'\0 WHERE false\0\0\0"),
                        wire.bind(), wire.execute(), wire.sync())
        assert wire.errors(connection.read_to_end())[0]["C"] == "08P01"
    assert pair.changed() == set()


@pytest.mark.parametrize("text", [
    b"SELECT 1 \xe2\x80; UPDATE ci_builds SET name = 'x'", b"SELECT '\xc0\xa7; UPDATE ci_builds SET name = 'x'; --'",
    b"SELECT '\xf8\x88\x80\x80\xa7'; UPDATE ci_builds SET name = 'x'", b"UPDATE \xc1\xa3i_builds SET name = 'x'"])
def test_bytes_that_are_no_utf8_are_refused(bytes_to, pair, text):
    answer = bytes_to.exchange(wire.message("Q", text + b"\0"))
    assert wire.errors(answer)[0]["C"] == "22021"
    assert pair.changed() == set()


def test_text_that_cannot_be_parsed_goes_by_the_names_in_it(bytes_to, pair):
    assert raw(bytes_to, "SELECT 1; UPDAET ci_builds SET name = 'x'") == "42601"
    assert raw(bytes_to, "UPDATE ci_builds SET name = 'x'; SELEC projects") == "XD006"
    assert raw(bytes_to, 'UPDATE U&"\\0063i_builds" SET name = $$x$$; SELEC projects') == "XD006"
    assert pair.changed() == set()


# -- where the client can't be taken at its word ---------------------------------------------------------------------


def test_copy_with_a_program_goes_where_its_table_is(db, pair):
    for text in ("COPY ci_builds TO PROGRAM 'true'", "COPY ci_builds FROM PROGRAM 'true'",
                 "COPY (SELECT name FROM ci_builds) TO PROGRAM 'true'"):
        marker = f"/* {text.count('(')}{len(text)} */"
        assert attempt(db, f"{marker} {text}") == "42501"  # the server's word: it isn't a superuser
        assert marker in pair.ci.log() and marker not in pair.main.log()
    assert attempt(db, "COPY (SELECT 1 FROM ci_builds, projects) TO PROGRAM 'true'") == "XD001"


def test_a_hint_does_not_open_another_databases_table(db, pair):
    for text, sqlstate in (("/* database: main */ UPDATE ci_builds SET name = 'x'", "2F002"),
                           ("/* database: main */ SELECT name FROM ci_builds", "XD004"),
                           ("/* database: main */ EXPLAIN ANALYZE DELETE FROM ci_builds", "2F002"),
                           ("/* database: main */ DO $$ BEGIN DELETE FROM ci_builds; END $$", "2F002")):
        assert attempt(db, text) == sqlstate
    assert pair.changed() == set()
