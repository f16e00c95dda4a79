#!/usr/bin/python3
"""The proxy next to a direct connection and to PgBouncer, in interleaved rounds: tests/bench/run.sh builds and runs this.

Every round visits every cell of every measurement, and in it every target, from another first one each time; ratios are taken
between runs of one round. A run during which processes that are no part of it used more than --noise cores is left out of the
figures where there are others. Each run is a line of OUT/raw.jsonl; OUT/report.md and OUT/*.svg are made of them.
"""

import argparse
import json
import pathlib
import resource
import signal
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]
import machine  # noqa: E402
import report  # noqa: E402
from harness import PROGRAM  # noqa: E402
from loads import MEASUREMENTS  # noqa: E402
from targets import PGBOUNCER, Stage  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/run.sh", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, help="5; with --quick 2")
    parser.add_argument("--seconds", type=int, help="of each run: 5; with --quick 2")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=list(MEASUREMENTS), default=list(MEASUREMENTS),
                        help="of " + ", ".join(MEASUREMENTS))
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("build/bench"),
                        help="folder for the results (build/bench)")
    parser.add_argument("--pgbouncer", type=pathlib.Path, metavar="PROGRAM", default=pathlib.Path(PGBOUNCER),
                        help=f"another PgBouncer than Debian's, {PGBOUNCER}")
    parser.add_argument("--quick", action="store_true",
                        help="two rounds of 2 s, at most 64 clients, little data: does it run at all?")
    parser.add_argument("--noise", type=float, default=0.3, help="cores that others may use (0.3)")
    parser.add_argument("--wait", type=float, default=10, help="seconds to wait for a quiet machine before a run (10)")
    parser.add_argument("--report", action="store_true", help="measure nothing: make the report of what is in OUT")
    parser.add_argument("--write-docs", action="store_true",
                        help="put the report into PERFORMANCE.md, its pictures into tests/bench/figures")
    options = parser.parse_args()
    options.copy_mb, options.idle, options.max_clients = (50, 500, 64) if options.quick else (500, 10000, 1000)
    usual = 2 if options.quick else 5
    options.rounds, options.seconds = options.rounds or usual, options.seconds or usual
    if options.quick:
        options.wait = 0
    return options


def rotated(names, number):
    number %= len(names)
    return [*names[number:], *names[:number]]


def run_once(measurement, stage, name, cell, options):
    """The figures of one run, with what others used of the machine."""
    target = stage.target(name)
    try:
        if measurement.steady:
            return {"values": measurement.run(target, cell), "others": 0.0}
        machine.wait_for_quiet(options.noise, options.wait)
        with machine.Others() as others:
            values = measurement.run(target, cell)
        return {"values": values, "others": others.cores}
    finally:
        stage.end(target)


def measure(stage, options, raw):
    measurements = [MEASUREMENTS[name](stage, options) for name in options.only]
    failed = 0
    for number in range(options.rounds):
        for measurement in measurements:
            if number >= measurement.max_rounds:
                continue
            for cell in measurement.cells():
                names = [name for name in measurement.targets(cell) if stage.has(name)]
                for name in rotated(names, number):
                    row = {"measurement": measurement.name, "cell": cell, "target": name, "round": number}
                    try:
                        row.update(run_once(measurement, stage, name, cell, options))
                    except Exception as problem:  # is told in the report; the others go on
                        row["failed"], failed = f"{type(problem).__name__}: {problem}"[:500], failed + 1
                    raw.write(json.dumps(row) + "\n")
                    raw.flush()
                    print(f"round {number + 1}/{options.rounds} {report.line(row)}", file=sys.stderr, flush=True)
    return failed


def main():
    options = arguments()
    raw, about = options.out / "raw.jsonl", options.out / "about.json"
    failed = 0
    if not options.report:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends what was started, too
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        options.out.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        with Stage(options.max_clients, options.pgbouncer) as stage, raw.open("w") as file:
            facts = machine.describe(PROGRAM, options.pgbouncer)
            facts["pool"] = stage.has_pool
            facts["how"] = f"{options.rounds} rounds of {options.seconds} s" + (", --quick" if options.quick else "")
            failed = measure(stage, options, file)
        facts["minutes"] = round((time.monotonic() - begun) / 60)
        about.write_text(json.dumps(facts, indent=1) + "\n")
    rows = [json.loads(line) for line in raw.read_text().splitlines()]
    text, pictures = report.make(rows, json.loads(about.read_text()), options.noise)
    (options.out / "report.md").write_text(text)
    for name, picture in pictures.items():
        (options.out / name).write_text(picture)
    print(text)
    if options.write_docs:
        report.write_docs(HERE.parents[1], text, pictures)
    print(f"{options.out}/report.md", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
