#!/usr/bin/env bash
# The README's figures: what a decision costs, and the proxy next to a direct connection and to PgBouncer.
#
#   tests/bench/run.sh [decide] [select] [copy] [idle]     default: all; see compare.py for its variables
set -euo pipefail
cd "$(dirname "$0")/../.."

[ $# -gt 0 ] || set -- decide select copy idle
deploy/dependencies.sh build bench
cmake --preset release >/dev/null
cmake --build --preset release --target pginterlock bench_decide -j "$(nproc)" >/dev/null

others=()
for name in "$@"; do
    case $name in
    decide) build/release/tests/bench_decide ;;
    select | copy | idle) others+=("$name") ;;
    *)
        echo "tests/bench/run.sh: no such figure: $name: use decide, select, copy or idle" >&2
        exit 2
        ;;
    esac
done
[ ${#others[@]} -eq 0 ] || PGINTERLOCK=$PWD/build/release/pginterlock PYTHONDONTWRITEBYTECODE=1 \
    /usr/bin/python3 tests/bench/compare.py "${others[@]}"
