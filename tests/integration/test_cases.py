"""The acceptance cases through `pginterlock explain --json`, each as one fresh session; ambiguous ones left out.

The program is $PGINTERLOCK, by default build/release/pginterlock.
"""
import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("PGINTERLOCK", str(ROOT / "build" / "release" / "pginterlock"))
DATA = ROOT / "tests" / "data"
ENTRYPOINTS = {"routed": "app", "pinned:main": "app_main", "pinned:ci": "app_ci"}


def settings(case):
    """The configuration that a case supposes, as text."""
    flat = case["classification"] == "flat"
    ci = "{same_as: main}" if case.get("single_database") else '"host=127.0.0.1 port=5433 dbname=app_ci"'
    lines = ["databases:", '  main: "host=127.0.0.1 port=5432 dbname=app"', f"  ci: {ci}"]
    if flat:
        lines += ["classification:", f"  tables: {DATA}/gitlab_schemas.yml"]
    else:
        lines += [
            "  sec: {same_as: main}",
            "classification:",
            f"  tables: {DATA}/dictionary/docs",
            f"  schemas: {DATA}/dictionary/gitlab_schemas",
            f"  connections: {DATA}/dictionary/database_connections",
        ]
    lines += ["entrypoints: {app: routed, app_main: main, app_ci: ci}", "auth: {method: trust}"]
    return "\n".join(lines) + "\n"


def explain(case, folder):
    """What the program answers: an object for each statement."""
    config, sql = folder / "pginterlock.yml", folder / "session.sql"
    config.write_text(settings(case))
    sql.write_text("".join(step["sql"].rstrip().rstrip(";") + ";\n" for step in case["steps"]))
    run = subprocess.run(
        [PROGRAM, "explain", "--config", config, "--entrypoint", ENTRYPOINTS[case["mode"]], "--json", "-f", sql],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode in (0, 1), run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()], run.returncode


def difference(case, folder):
    """Where the answers differ from what the case expects, in words; None: nowhere."""
    answers, status = explain(case, folder)
    if len(answers) != len(case["steps"]):
        return f"{case['id']}: {len(answers)} answers for {len(case['steps'])} statements"
    if (status == 1) != any(answer["violation"] for answer in answers):
        return f"{case['id']}: exit status {status}"
    for step, answer in zip(case["steps"], answers):
        rule = answer["violation"] and answer["violation"]["rule"]
        if step["expect"] == "error":
            fine = rule in [step["error"], *step.get("also", [])]
        else:
            fine = rule is None and (step["expect"] in ("any", "ok") or answer["database"] == step["expect"])
        if not fine:
            return f"{case['id']}: expected {step}, got {rule or answer['database']}"
    return None


@pytest.mark.parametrize("path", sorted((DATA / "cases").glob("*.jsonl")), ids=lambda path: path.stem)
def test_cases(path, tmp_path):
    cases = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    differences = [difference(case, tmp_path) for case in cases if not case.get("ambiguous")]
    assert not [text for text in differences if text]
