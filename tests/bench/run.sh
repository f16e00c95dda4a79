#!/usr/bin/env bash
# The figures of PERFORMANCE.md. Installs what is missing and builds first.
#
#   tests/bench/run.sh [OPTION...]         the proxy next to a direct connection and PgBouncer: suite.py, --help tells the options
#   tests/bench/run.sh micro [--accept]    instructions of each part of a decision against instructions.tsv; --accept: make
#                                          these the ones to compare with
#   tests/bench/run.sh decide [ROUNDS]     time of a decision next to libpg_query's bare parse
#   tests/bench/run.sh connections [PART]  what each connection costs: memory, CPU of logging in; see connections.py
#   tests/bench/run.sh lint [MB]           how fast `lint` reads logs
set -euo pipefail
cd "$(dirname "$0")/../.."

build() {
    deploy/dependencies.sh build bench
    cmake --preset release >/dev/null
    cmake --build --preset release --target "$@" -j "${JOBS:-$(nproc)}" >/dev/null
}

export PGINTERLOCK=$PWD/build/release/pginterlock PYTHONDONTWRITEBYTECODE=1
case ${1:-} in
micro)
    build bench_micro
    exec /usr/bin/python3 tests/bench/micro.py "${@:2}"
    ;;
decide)
    build bench_decide
    exec build/release/tests/bench_decide "${@:2}"
    ;;
lint | connections)
    build pginterlock
    exec /usr/bin/python3 "tests/bench/$1.py" "${@:2}"
    ;;
'' | -*)
    build pginterlock bench_client
    exec /usr/bin/python3 tests/bench/suite.py "$@"
    ;;
*)
    echo "tests/bench/run.sh: no such part: $1: use micro, decide, connections or lint, or options of the suite (--help)" >&2
    exit 2
    ;;
esac
