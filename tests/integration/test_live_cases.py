"""The multi-step cases made from GitLab's specifications, run on real tables: the same statements are accepted and
refused as `explain` says, and what is accepted really runs in the database that the case names."""

import json

import psycopg
import pytest

from harness import DATA, Interlock, Postgres

RULES = {"cross_join": "XD001", "cross_transaction": "XD002", "cross_foreign_key": "XD003", "wrong_database": "XD004",
         "write_lock": "2F002", "unclassified": "XD005", "unparsed": "XD006"}
ENTRYPOINTS = {"routed": "app", "pinned:main": "app_main", "pinned:ci": "app_ci"}


def multi_step_cases():
    for path in sorted((DATA / "cases").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            case = json.loads(line)
            if len(case["steps"]) > 1 and not case.get("ambiguous") and not case.get("single_database"):
                yield case


CASES = {case["id"]: case for case in multi_step_cases()}

# Columns that the statements of the cases name, on every table.
INTEGERS = """project_id namespace_id owner_id user_id author_id creator_id commit_id pipeline_id job_id noteable_id iid
    target_id group_id source_id merge_request_id build_id runner_id state_id stage_id""".split()
TEXTS = """name path ref sha type title note email key encrypted_value state fully_qualified_table_name
    primary_key_value partition""".split()
TIMES = "created_at updated_at contacted_at finished_at".split()
# A column is smallint where a case compares or sets it as a number, text where as text.
STATUS_NUMBERS = {"ci_refs", "loose_foreign_keys_deleted_records"}


def create_table(name):
    columns = ["id bigserial PRIMARY KEY"]
    columns += [f"{column} bigint" for column in INTEGERS] + [f"{column} text" for column in TEXTS]
    columns += [f"{column} timestamptz" for column in TIMES] + ["archived boolean", "last_activity_on date"]
    columns += [f"status {'smallint' if name in STATUS_NUMBERS else 'text'}"]
    if name in ("ci_project_mirrors", "ci_namespace_mirrors"):
        columns.append(f"UNIQUE ({'project_id' if 'project' in name else 'namespace_id'})")
    return f'CREATE TABLE IF NOT EXISTS "{name}" ({", ".join(columns)});'


def classified():
    """Table names by side, from the flat file; shared and internal ones on both."""
    tables = {"main": [], "ci": []}
    for line in (DATA / "gitlab_schemas.yml").read_text().splitlines():
        name, _, schema = line.partition(": :")
        name = name.strip('"')
        if schema == "gitlab_ci":
            tables["ci"].append(name)
        elif schema.startswith("gitlab_shared"):
            tables["main"].append(name)
            tables["ci"].append(name)
        elif schema.startswith("gitlab_internal"):
            continue
        elif schema:
            tables["main"].append(name)
    tables["ci"] += ["p_ci_builds", "p_ci_pipelines"]  # the dictionary's names
    return tables


@pytest.fixture(scope="module")
def clusters():
    tables, made = classified(), []
    for name, dbname in (("main", "app"), ("ci", "app_ci")):
        cluster = Postgres(name).start().create_database(dbname)
        made.append(cluster)
        script = "SET ROLE app; CREATE TABLE schema_migrations (version text PRIMARY KEY);"
        cluster.sql(script + "".join(create_table(table) for table in tables[name]))
    yield made
    for cluster in made:
        cluster.close()


@pytest.fixture(scope="module")
def proxies(clusters):
    main, ci = clusters
    with Interlock(main, ci) as flat, Interlock(
            main, ci, databases={"main": main.conninfo(), "sec": {"same_as": "main"}, "ci": ci.conninfo()},
            classification={"tables": str(DATA / "dictionary" / "docs"),
                            "schemas": str(DATA / "dictionary" / "gitlab_schemas"),
                            "connections": str(DATA / "dictionary" / "database_connections")}) as dictionary:
        yield {"flat": flat, "dictionary": dictionary}


def run_step(connection, step):
    """Runs one step; the proxy's SQLSTATE if it refuses, else None. A COPY is sent no rows."""
    try:
        if step["sql"].lstrip().upper().startswith("COPY") and "STDIN" in step["sql"].upper():
            with connection.cursor() as cursor, cursor.copy(step["sql"]):
                pass
        else:
            connection.execute(step["sql"])
    except psycopg.Error as error:
        return error.sqlstate
    return None


def databases_reached(clusters, marker):
    return {cluster.name for cluster in clusters if marker in cluster.log()}


@pytest.mark.parametrize("name", CASES)
def test_case(proxies, clusters, name):
    case = CASES[name]
    with proxies[case["classification"]].connect(ENTRYPOINTS[case["mode"]]) as connection:
        for number, step in enumerate(case["steps"], 1):
            marker = f"/* {name} {number} */"
            got = run_step(connection, {**step, "sql": f"{marker} {step['sql']}"})
            where = f"step {number}: {step['sql'][:120]}"
            if step["expect"] == "error":
                assert got in {RULES[rule] for rule in [step["error"], *step.get("also", [])]}, f"{got}: {where}"
                assert databases_reached(clusters, marker) == set(), where
                continue
            # Only PREPARE knows no rows or columns that a generic table lacks; the rest must really run.
            assert got is None, f"{got}: {where}"
            if step["expect"] in ("main", "ci"):
                assert databases_reached(clusters, marker) == {step["expect"]}, where
