#!/usr/bin/python3
"""What each part of a decision costs in instructions, next to what it cost before.

    micro.py [--accept] [PROGRAM]    default: build/release/tests/bench_micro

Instructions do not depend on what else the machine does, so that a hundredth more is a hundredth more. Compares with
instructions.tsv: exit status 1 where a part got over 10 % dearer, or is not in the file, or is only there. --accept writes
the file.

libc picks its string functions by the processor, so those of the oldest one are asked for; the program and all else that
it calls are the same for every processor of an architecture. The file tells with which packages it was made.
"""

import argparse
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PROGRAM = HERE.parents[1] / "build" / "release" / "tests" / "bench_micro"
BASELINE = HERE / "instructions.tsv"
DEARER, CHEAPER = 1.10, 0.90
# Every choice that glibc 2.36's string functions make.
SWITCHED_OFF = ("AVX", "AVX2", "AVX512F", "AVX512VL", "AVX512BW", "AVX512CD", "AVX512DQ", "BMI1", "BMI2", "ERMS", "FSRM",
                "LZCNT", "MOVBE", "POPCNT", "RTM", "SSE3", "SSSE3", "SSE4_1", "SSE4_2", "XSAVEC", "AVX_Fast_Unaligned_Load",
                "Fast_Unaligned_Copy", "Prefer_PMINUB_for_stringop", "Slow_BSF", "Fast_Copy_Backward", "Fast_Rep_String")
PACKAGES = ("gcc-12", "libc6", "libpg-query-dev", "libxxhash-dev", "valgrind")


def counts(program):
    """Instructions per operation of every part: {(part, text): number}."""
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C",
                   "GLIBC_TUNABLES": "glibc.cpu.hwcaps=" + ",".join("-" + name for name in SWITCHED_OFF)}
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", program],
                             env=environment, capture_output=True, text=True)
        if run.returncode != 0:
            sys.exit(f"micro.py: {program} ended with {run.returncode}: {run.stderr[-2000:]}")
        found = {}
        for file in pathlib.Path(folder).iterdir():
            text = file.read_text()
            name = re.search(r"^desc: Trigger: Client Request: (.*)\|(.*)\|(\d+)$", text, re.M)
            total = re.search(r"^totals: (\d+)$", text, re.M)
            if name and total:
                found[name[1], name[2]] = int(total[1]) / int(name[3])
    return found


def with_walk(found):
    """The walk is what reading takes beyond scan and parse."""
    for part, text in list(found):
        if part == "read":
            found["walk", text] = found.pop((part, text)) - found["scan", text] - found["parse", text]
    return {key: round(value, 1) for key, value in sorted(found.items())}


def packages():
    query = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}, ", *PACKAGES], capture_output=True, text=True)
    return platform.machine() + ": " + query.stdout.rstrip(", ")


def write(found):
    lines = ["# Instructions per operation. Accept new figures with: tests/bench/run.sh micro --accept",
             "# " + packages(), "part\ttext\tinstructions"]
    BASELINE.write_text("\n".join(lines + [f"{part}\t{text}\t{value}" for (part, text), value in found.items()]) + "\n")


def read():
    lines = BASELINE.read_text().splitlines()
    rows = (line.split("\t") for line in lines[3:])
    return lines[1].lstrip("# "), {(part, text): float(value) for part, text, value in rows}


def compare(found, before):
    """Prints the table; how many parts are not as they should be."""
    bad = 0
    print(f"{'part':<18} {'text':<12} {'before':>10} {'now':>10} {'ratio':>7}")
    for key in sorted(found.keys() | before.keys()):
        old, new, remark = before.get(key), found.get(key), ""
        if old is None or new is None:
            remark, bad = "  only " + ("now" if old is None else "before") + ": accept", bad + 1
        elif new > old * DEARER:
            remark, bad = "  DEARER", bad + 1
        elif new < old * CHEAPER:
            remark = "  cheaper: accept, so that it stays so"
        shown = [f"{value:>10.1f}" if value is not None else f"{'-':>10}" for value in (old, new)]
        ratio = f"{new / old:>7.3f}" if old and new else f"{'-':>7}"
        print(f"{key[0]:<18} {key[1]:<12} {shown[0]} {shown[1]} {ratio}{remark}")
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accept", action="store_true", help="make these the figures to compare with")
    parser.add_argument("program", nargs="?", default=PROGRAM)
    arguments = parser.parse_args()
    if platform.machine() != "x86_64":
        print(f"micro.py: the figures are for x86_64, this is {platform.machine()}: nothing to compare")
        return 0
    found = with_walk(counts(arguments.program))
    if not found:
        sys.exit("micro.py: no part was counted: is this valgrind's callgrind?")
    made_with, before = read() if BASELINE.exists() else ("nothing", {})
    bad = compare(found, before)
    if arguments.accept:
        write(found)
        return 0
    if bad:
        print(f"\n{bad} parts are not as in {BASELINE.name}. If that is meant: tests/bench/run.sh micro --accept")
        if made_with != packages():
            print(f"The packages are others, which may be why:\n  then {made_with}\n  now  {packages()}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
