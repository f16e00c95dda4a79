"""PostgreSQL as the judge of what a statement touches: every table that it locks is one that `explain` lists, or is
reached from one in a way that the catalogs tell and `check --live` reports where it crosses the split."""

import collections
import json
import pathlib
import re
import subprocess

import psycopg
import pytest

from harness import PROGRAM, Postgres, yaml_text
from lock_statements import WRITTEN, statements

MAIN = """users namespaces projects issues merge_requests notes members labels label_links keys todos snippets web_hooks milestones
    routes audit_events uploads user_uploads project_routes_view active_projects_view notes_view milestone_counts
    group_wikis_routes_view new_things""".split()
CI = """ci_runners ci_pipelines ci_stages p_ci_builds ci_builds ci_minutes ci_variables ci_triggers ci_refs ci_namespace_mirrors
    ci_unit_tests ci_unit_test_failures ci_builds_views ci_counts ci_new""".split()
FUNCTIONS = {"runner_count": "gitlab_ci", "clear_variables": "gitlab_ci", "hook_count": "gitlab_main", "member_count": "gitlab_main",
             "next_milestone": "gitlab_main"}

# Relation locks on what users made, an index's and a TOAST table's as their table's, a sequence's as its owner's.
LOCKS = """
    SELECT DISTINCT coalesce(owner.relname, indexed.relname, toasted.relname, c.relname), l.mode
    FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
    LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_class indexed ON indexed.oid = i.indrelid
    LEFT JOIN pg_class toasted ON toasted.reltoastrelid = c.oid
    LEFT JOIN pg_depend d ON c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
    LEFT JOIN pg_class owner ON owner.oid = d.refobjid
    WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.database <> 0
      AND coalesce(i.indrelid, toasted.oid, c.oid) >= 16384 AND c.relname !~ '^pg_toast'"""

# How one relation is reached from another: (from, to, how, what does it).
DEPENDS = """
    SELECT c.relname, t.relname, CASE WHEN w.rulename = '_RETURN' THEN 'view' ELSE 'rule' END, c.relname
    FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
    JOIN pg_class t ON t.oid = d.refobjid AND t.oid <> c.oid AND t.relkind IN ('r', 'p', 'v', 'm') WHERE c.oid >= 16384
    UNION SELECT c.relname, t.relname, 'policy', c.relname
    FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    JOIN pg_depend d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_class'::regclass
    JOIN pg_class t ON t.oid = d.refobjid AND t.oid <> c.oid AND t.relkind IN ('r', 'p', 'v', 'm')
    UNION SELECT p.relname, c.relname, 'partition', c.relname
    FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid WHERE c.relkind IN ('r', 'p')
    UNION SELECT c.relname, f.relname, 'foreign_key', c.relname
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class f ON f.oid = k.confrelid WHERE k.contype = 'f'"""
TRIGGERS = """
    SELECT c.relname, p.proname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE NOT t.tgisinternal"""
SEQUENCES = """
    SELECT s.relname, t.relname FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_class t ON t.oid = d.refobjid
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')"""
BODIES = "SELECT proname, coalesce(pg_get_function_sqlbody(oid), prosrc) FROM pg_proc WHERE oid >= 16384"

Edge = collections.namedtuple("Edge", "origin target how object")
READING = {"view", "partition", "policy", "function"}  # what a mere reader passes; the rest is for writers and structure


class World:
    """The database, its settings file, and what is reached from what."""

    def __init__(self, folder):
        self.cluster = Postgres("locks").start().create_database("app", pathlib.Path(__file__).with_name("lock_schema.sql"))
        classified = {**{name: "gitlab_main" for name in MAIN}, **{name: "gitlab_ci" for name in CI},
                      "loose_foreign_keys_deleted_records": "gitlab_shared", "schema_migrations": "gitlab_internal"}
        self.schemas = classified
        (folder / "tables.yml").write_text("".join(f"{name}: :{schema}\n" for name, schema in classified.items()))
        self.config = folder / "pginterlock.yml"
        self.config.write_text(yaml_text({
            "databases": {"main": self.cluster.conninfo(user="postgres"), "ci": {"same_as": "main"}},
            "classification": {"tables": "tables.yml", "functions": FUNCTIONS}, "auth": {"method": "trust"}}))
        self.tables = {row[0] for row in self.cluster.sql("SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm')"
                                                          " AND relnamespace = 'public'::regnamespace")}
        self.uses = {name: set(re.findall(r"\w+", body)) & self.tables for name, body in self.cluster.sql(BODIES)}
        self.triggers = collections.defaultdict(set)  # by their function
        self.owners = dict(self.cluster.sql(SEQUENCES))
        self.edges = self.read_edges()

    def read_edges(self):
        edges = {Edge(*row) for row in self.cluster.sql(DEPENDS)}
        edges |= {Edge(edge.target, edge.origin, edge.how, edge.object) for edge in edges if edge.how in ("foreign_key", "partition")}
        for table, function in self.cluster.sql(TRIGGERS):
            edges |= {Edge(table, used, "trigger", table) for used in self.uses[function]}
            self.triggers[function].add(table)
        return edges

    def database(self, name):
        schema = self.schemas.get(re.sub(r"_[0-9]+$", "", name)) if name not in self.schemas else self.schemas[name]
        return {"gitlab_main": "main", "gitlab_ci": "ci"}.get(schema)

    def crossing(self):
        """The edges between two databases."""
        return {edge for edge in self.edges if {self.database(edge.origin), self.database(edge.target)} == {"main", "ci"}}

    def reached(self, listed, called):
        """All that the listed tables (name → access) and the called functions lead to."""
        seen = {name: access != "read" for name, access in listed.items()}  # name → whether more than read
        for function in called:
            seen.update(dict.fromkeys(self.uses[function] | self.triggers[function], True))
        todo = list(seen)
        while todo:
            name = todo.pop()
            for edge in self.edges:
                if edge.origin == name and (seen[name] or edge.how in READING):
                    if not seen.get(edge.target, False) and (edge.target not in seen or seen[name]):
                        seen[edge.target] = seen[name]
                        todo.append(edge.target)
        return set(seen)

    def check_live(self):
        done = subprocess.run([PROGRAM, "check", "--live", "--json", "--config", self.config], capture_output=True, text=True,
                              timeout=60)
        assert done.returncode == 1, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("locks"))
    yield world
    world.cluster.close()


@pytest.fixture(scope="module")
def explained(world, tmp_path_factory):
    """For each statement what `explain` lists: name → access. Each in a block that is rolled back, as on the server."""
    script = tmp_path_factory.mktemp("explain") / "statements.sql"
    script.write_text("".join(f"BEGIN;\n{text};\nROLLBACK;\n" for text in statements()))
    done = subprocess.run([PROGRAM, "explain", "--json", "--config", world.config, "-f", script], capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 1 and not done.stderr, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()][1::3]
    assert [answer["statement"] for answer in answers] == statements()
    assert all(answer["parsed"] for answer in answers)
    for answer in answers:
        for table in answer["tables"]:  # a sequence is listed by its own name, with the class of its table
            owner = world.owners.get(table["name"], table["name"])
            if owner in world.tables:
                assert table["database"] in (world.database(owner), "any"), (answer["statement"], table)
            table["name"] = owner
    return [{table["name"]: table["access"] for table in answer["tables"]} for answer in answers]


@pytest.fixture(scope="module")
def locked(world):
    """For each statement the relations that PostgreSQL has locked when it is done; None where it refused a generated one."""
    found, refused = [], []
    with psycopg.connect(**psycopg.conninfo.conninfo_to_dict(world.cluster.conninfo(user="app")), autocommit=True) as db:
        for text in statements():
            db.execute("BEGIN")
            try:
                if re.match(r"COPY .* TO STDOUT", text):
                    with db.cursor() as cursor, cursor.copy(text) as copy:
                        for _ in copy:
                            pass
                else:
                    db.execute(text)
            except psycopg.Error as error:
                refused.append(f"{text}: {error}")
                found.append(None)
                db.execute("ROLLBACK; DEALLOCATE ALL")
                continue
            found.append({world.owners.get(row[0], row[0]) for row in db.execute(LOCKS)})
            db.execute("ROLLBACK; DEALLOCATE ALL")
    told = f"{len(refused)} refused:\n" + "\n".join(refused)
    assert len(refused) < 30 and None not in found[:len(WRITTEN)], told
    return found


def called_in(world, text):
    return [name for name in world.uses if re.search(rf"\b{name}\b", text)]


def test_the_statements_are_many_and_of_every_kind(world):
    texts = statements()
    assert len(texts) > 1000 and len(set(texts)) > 1000
    kinds = {text.split()[0] for text in texts}
    assert len(kinds) >= 20, kinds
    assert len(world.tables) >= 40


def test_every_table_that_postgresql_locks_is_listed_or_reached(world, explained, locked):
    missed = []
    for text, listed, relations in zip(statements(), explained, locked):
        left = (relations or set()) - world.reached(listed, called_in(world, text))
        if left:
            missed.append(f"{text}: locks {sorted(left)}; listed {listed}")
    assert not missed, f"{len(missed)} missed:\n" + "\n".join(missed[:40])


def test_what_a_statement_names_itself_is_listed_without_help(world, explained, locked):
    """The names that stand in the text and are locked: nothing but the list counts for them."""
    missed = []
    for text, listed, relations in zip(statements(), explained, locked):
        named = {name for name in (relations or set()) & world.tables if re.search(rf"(?<![\w$]){name}(?![\w$])", text)}
        if named - set(listed):
            missed.append(f"{text}: {sorted(named - set(listed))}; listed {listed}")
    assert not missed, f"{len(missed)} missed:\n" + "\n".join(missed[:40])


def test_most_lists_are_just_what_is_locked(world, explained, locked):
    """So that the way through the catalogs is the exception: not everything is reached from everything."""
    exact = sum(set(listed) == relations for listed, relations in zip(explained, locked))
    assert exact > len(locked) // 3, f"{exact} of {len(locked)}"


@pytest.mark.parametrize("how, check", [("foreign_key", "foreign_key"), ("trigger", "trigger"), ("rule", "rule"),
                                        ("policy", "policy"), ("partition", "partition"), ("view", "view")])
def test_every_way_across_the_split_is_told_by_check_live(world, how, check):
    crossing = [edge for edge in world.crossing() if edge.how == how]
    assert crossing, f"the schema has no {how} across the split"
    told = {finding["object"] for finding in world.check_live() if finding["check"] == check and finding["severity"] == "problem"}
    for edge in crossing:
        assert any(re.search(rf"\b{edge.object}\b", name) for name in told), f"{edge} is not in {told}"


def test_a_function_whose_tables_the_classification_does_not_tell_is_told_by_check_live(world):
    settings = world.config.read_text()
    try:
        world.config.write_text(re.sub(r'"functions": \{[^}]*\}', '"functions": {}', settings))
        told = {finding["object"] for finding in world.check_live() if finding["check"] == "function"}
    finally:
        world.config.write_text(settings)
    assert {"public.runner_count()", "public.clear_variables()"} <= told
