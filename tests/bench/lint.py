"""How fast `pginterlock lint` reads logs: tests/bench/lint.py [MB]

Writes a log of typical statements (GitLab's, with marginalia, over 64 sessions; by default 200 MB) as stderr log, csvlog and
jsonlog into a temporary folder, reads each and prints megabytes a second of CPU. The program is $PGINTERLOCK, by default
build/release/pginterlock.
"""

import csv
import json
import os
import pathlib
import random
import resource
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("PGINTERLOCK", ROOT / "build" / "release" / "pginterlock")
COLUMNS = ", ".join(f'"ci_builds"."{name}"' for name in (
    "id status finished_at created_at updated_at started_at runner_id coverage commit_id name options allow_failure stage "
    "stage_idx tag ref user_id type description project_id").split())
TAGS = " /*application:web,correlation_id:{hash},endpoint_id:ProjectsController#show,db_config_database:gitlab,db_config_name:ci*/"
STATEMENTS = [
    "SELECT " + COLUMNS + ' FROM "ci_builds" WHERE "ci_builds"."commit_id" = {id} AND "ci_builds"."name" IN (\'{n}\', \'x\')'
    ' ORDER BY "ci_builds"."id" DESC LIMIT 20' + TAGS,
    'SELECT "projects".* FROM "projects" INNER JOIN "users" ON "users"."id" = "projects"."creator_id"'
    ' WHERE "projects"."namespace_id" = {id} LIMIT 1' + TAGS,
    'UPDATE "projects" SET "updated_at" = \'2026-11-23 {n}\' WHERE "projects"."id" = {id}' + TAGS,
    'INSERT INTO "ci_pipelines" ("project_id", "sha",\n"status")\nVALUES ({id}, \'{hash}\', \'created\') RETURNING "id"',
    'SELECT 1 AS one FROM "issues" WHERE "issues"."project_id" = {id} LIMIT 1',
]
CONFIG = f"""\
databases: {{main: "dbname=app", ci: "dbname=app_ci"}}
classification: {{tables: {ROOT}/tests/data/gitlab_schemas.yml}}
entrypoints: {{app: routed}}
auth: {{method: trust}}
"""


def messages(rng, number):
    """What the server logs of one execution: (message, detail)."""
    text = rng.choice(STATEMENTS).format(id=rng.randrange(10**7), n=number, hash=f"{rng.getrandbits(160):040x}")
    kind = rng.random()
    if kind < 0.4:
        return [(f"statement: {text}", None), ("duration: 0.123 ms", None)]
    if kind < 0.7:
        return [(f"duration: 0.456 ms  statement: {text}", None)]
    return [(f"duration: 0.1 ms  {step} <unnamed>: {text}", "parameters: $1 = '7'" if step != "parse" else None)
            for step in ("parse", "bind", "execute")]


def write_logs(folder, size):
    rng, written, number = random.Random(1), 0, 0
    with open(folder / "stderr.log", "w") as plain, open(folder / "csv.csv", "w") as table, open(folder / "json.json", "w") as lines:
        rows = csv.writer(table, lineterminator="\n")
        while written < size:
            pid, number = 1000 + rng.randrange(64), number + 1
            when = f"2026-11-23 06:{number // 60000 % 60:02}:{number // 1000 % 60:02}.{number % 1000:03} UTC"
            for message, detail in messages(rng, number):
                tabbed = message.replace("\n", "\n\t")
                written += plain.write(f"{when} [{pid}] LOG:  {tabbed}\n")
                if detail:
                    written += plain.write(f"{when} [{pid}] DETAIL:  {detail}\n")
                session = f"65f1a2b3.{pid:x}"
                rows.writerow([when, "app", "gitlab", pid, "10.0.0.1:4711", session, number, "SELECT", when, "", 0, "LOG", "00000",
                               message, detail, "", "", "", "", "", "", "", "puma", "client backend", "", 0])
                lines.write(json.dumps({"timestamp": when, "user": "app", "dbname": "gitlab", "pid": pid, "session_id": session,
                                        "ps": "SELECT", "session_start": when, "vxid": "", "txid": 0, "error_severity": "LOG",
                                        "message": message, "detail": detail or "", "application_name": "puma",
                                        "backend_type": "client backend", "query_id": 0}) + "\n")


def main():
    size = int(sys.argv[1]) * 1000000 if len(sys.argv) > 1 else 200000000
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "pginterlock.yml").write_text(CONFIG)
        write_logs(folder, size)
        for file in ("stderr.log", "csv.csv", "json.json"):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            run = subprocess.run([PROGRAM, "lint", "--config", folder / "pginterlock.yml", folder / file], capture_output=True,
                                 text=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if run.returncode != 0:
                sys.exit(run.stderr)
            seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            megabytes = (folder / file).stat().st_size / 1e6
            print(f"{file:12} {megabytes:6.0f} MB {seconds:6.2f} s of CPU {megabytes / seconds:6.0f} MB/s; {run.stderr.strip()}")
        print(f"memory: {after.ru_maxrss // 1024} MiB at most")


if __name__ == "__main__":
    main()
