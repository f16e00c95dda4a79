#!/usr/bin/env bash
# Every test, or those named; installs what is missing and builds first. The last line is `N passed, N failed`.
#
#   tests/run.sh [NAME...]    NAME: a unit test (config_yaml), a fuzzer (fuzz_config_settings), a file of integration tests
#                             (test_wire.py, test_wire) or one of its tests (test_wire.py::test_copy_out), or
#                             `instructions`: no part of a decision got over 10 % dearer
#
# FUZZ_SECONDS (10): how long each fuzzer runs. JOBS (all cores): parallel builds and unit tests.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

jobs=${JOBS:-$(nproc)}
fuzz_seconds=${FUZZ_SECONDS:-10}
python=/usr/bin/python3 # Debian's, which has Debian's psycopg
temp=$(mktemp -d)
passed=0 failed=0
chmod 755 "$temp"
trap 'rm -rf "$temp"' EXIT

say() { printf '\n== %s\n' "$*"; }

die() {
    echo "$*" >&2
    echo "$passed passed, $((failed + 1)) failed"
    exit 1
}

# One thing that passed or failed as a whole.
count() {
    if [ "$2" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)) && echo "FAILED: $1"; fi
}

build() {
    local log="$temp/build-$1.log"
    say "build $1"
    if ! { cmake --preset "$1" && cmake --build --preset "$1" -j "$jobs"; } >"$log" 2>&1; then
        tail -n 40 "$log"
        die "the $1 build failed"
    fi
    # clang's are about macros of others' headers.
    [ "$1" = fuzz ] || ! grep 'warning:' "$log" | sort -u | grep . || count "no compiler warnings in the $1 build" 1
}

# --- what was asked for ---

units=() fuzzers=() files=() instructions=no
for name in "$@"; do
    name=${name#tests/unit/} name=${name#tests/integration/} name=${name#tests/fuzz/}
    case $name in
    instructions) instructions=yes ;;
    fuzz_*) fuzzers+=("${name%.c}") ;;
    *.py::*) files+=("tests/integration/$name") ;;
    test_*) files+=("tests/integration/${name%.py}.py") ;;
    *) name=${name%.c} && units+=("unit_${name#unit_}") ;;
    esac
done
all=$([ $# -eq 0 ] && echo yes || echo no)
[ $all = no ] || instructions=yes

deploy/dependencies.sh build server test || die "the packages could not be installed"

# --- unit tests: each program tells how many of its tests passed ---

run_unit() {
    local program=$1 log=$2
    if timeout 300 "$program" >"$log" 2>&1; then echo 0; else echo $?; fi >"$log.status"
}
export -f run_unit

run_units() {
    local preset=$1 folder=build/$1/tests logs=$temp/unit-$1 name log
    mkdir "$logs"
    say "unit tests, $preset"
    local names=("${units[@]}")
    [ $all = no ] || mapfile -t names < <(cd "$folder" && find . -maxdepth 1 -name 'unit_*' -type f -executable -printf '%f\n' | sort)
    for name in "${names[@]}"; do
        [ -x "$folder/$name" ] || die "no such test: ${name#unit_}"
    done
    printf '%s\n' "${names[@]}" | xargs -P "$jobs" -I{} bash -c "run_unit $folder/{} $logs/{}.log"
    for name in "${names[@]}"; do
        log=$logs/$name.log
        local good bad
        good=$(sed -nE 's/^\[  PASSED  \] ([0-9]+) test.*/\1/p' "$log" | awk '{n += $1} END {print n + 0}')
        bad=$(sed -nE 's/^\[  FAILED  \] [^:]*: *([0-9]+) test.*/\1/p' "$log" | awk '{n += $1} END {print n + 0}')
        [ "$(cat "$log.status")" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
        passed=$((passed + good)) failed=$((failed + bad))
        if [ "$bad" -gt 0 ]; then
            echo "FAILED: $name ($preset)"
            grep -vE '^\[ (RUN|      OK) ' "$log" | tail -n 60
        fi
    done
}

# --- fuzzers, briefly ---

run_fuzzer() {
    local name=$1 temp=$2 seconds=$3 source=tests/fuzz/corpus/${1#fuzz_}
    mkdir -p "$temp/corpus-$name"
    [ ! -d "$source" ] || cp "$source"/* "$temp/corpus-$name/" 2>/dev/null
    if ASAN_OPTIONS=detect_leaks=1 timeout $((seconds + 120)) "build/fuzz/tests/$name" -max_total_time="$seconds" -timeout=20 \
        -rss_limit_mb=4096 -artifact_prefix="$temp/$name-" "$temp/corpus-$name" >"$temp/$name.log" 2>&1; then
        echo 0
    else
        echo 1
    fi >"$temp/$name.status"
}
export -f run_fuzzer

run_fuzzers() {
    local names=("${fuzzers[@]}") name
    build fuzz
    [ $all = no ] || mapfile -t names < <(cd build/fuzz/tests && find . -maxdepth 1 -name 'fuzz_*' -type f -executable -printf '%f\n' | sort)
    say "fuzzers, $fuzz_seconds s each"
    printf '%s\n' "${names[@]}" | xargs -P "$jobs" -I{} bash -c "run_fuzzer {} $temp $fuzz_seconds"
    for name in "${names[@]}"; do
        local status
        status=$(cat "$temp/$name.status")
        [ "$status" -eq 0 ] || tail -n 40 "$temp/$name.log"
        count "$name" "$status"
    done
}

# --- what a decision costs, in instructions ---

run_instructions() {
    local log=$temp/instructions.log status=0
    say "instructions"
    { cmake --build --preset release --target bench_micro -j "$jobs" && "$python" tests/bench/micro.py; } >"$log" 2>&1 || status=$?
    if [ $status -ne 0 ]; then tail -n 60 "$log"; else grep -h accept "$log"; fi
    count "instructions" $status
}

# --- integration tests ---

install_node_pg() {
    [ $all = yes ] || [[ " ${files[*]} " == *test_node_pg* || " ${files[*]} " == *test_pool_clients* ]] || return 0
    if npm install --prefix "$temp/node" --silent --no-audit --no-fund pg@8 >"$temp/npm.log" 2>&1; then
        export NODE_PG_MODULES=$temp/node/node_modules
    else
        tail -n 5 "$temp/npm.log"
        count "npm install pg" 1
    fi
}

run_pytest() { # PRESET NAME FILE...: with that build of the program, into $temp/pytest-NAME.*
    local preset=$1 name=$2
    shift 2
    TMPDIR=$temp PGINTERLOCK=$PWD/build/$preset/pginterlock PYTHONDONTWRITEBYTECODE=1 \
        ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=0 UBSAN_OPTIONS=print_stacktrace=1 \
        "$python" -m pytest -q -p no:cacheprovider --tb=short --junitxml "$temp/pytest-$name.xml" "$@" \
        >"$temp/pytest-$name.log" 2>&1
}

count_pytest() {
    local name=$1 totals
    say "integration tests, $name"
    grep -vE '^\.+( +\[ *[0-9]+%\])?$' "$temp/pytest-$name.log"
    if ! totals=$("$python" - "$temp/pytest-$name.xml" <<'PYTHON'
import sys, xml.etree.ElementTree as tree
suite = tree.parse(sys.argv[1]).getroot().find("testsuite")
bad = int(suite.get("failures")) + int(suite.get("errors"))
print(int(suite.get("tests")) - bad - int(suite.get("skipped")), bad)
PYTHON
    ); then
        count "pytest, $name" 1
        return
    fi
    passed=$((passed + ${totals% *})) failed=$((failed + ${totals#* }))
}

run_integration() {
    local names=("${files[@]}")
    install_node_pg
    [ $all = no ] || names=(tests/integration --ignore-glob='*/test_pool*')
    # What a sanitizer can see in a running proxy; runs share nothing and mostly wait, so two go at once.
    local sanitized=(tests/integration/test_{routing,transactions,commit,cancel,wire,startup,protocol_violations,session,auth,failures,live_cases,violations,facts_oracle,node_types}.py)
    # What depends on whose connection a client's is, with connections that clients take turns with.
    local pooled=(tests/integration/test_{routing,transactions,commit,cancel,wire,session,differential,clients,activerecord,node_pg,object_names_sessions,outer_transaction,allowed_schemas,one_database,whole_way}.py)
    [ $all = yes ] || sanitized=("${names[@]}")
    {
        run_pytest asan asan "${sanitized[@]}"
        if [ $all = yes ]; then
            POOL_MODE=transaction run_pytest release transaction "${pooled[@]}"
            run_pytest release pools tests/integration/test_pool*.py
        fi
    } &
    run_pytest release release "${names[@]}"
    wait $!
    count_pytest release
    count_pytest asan
    [ $all = no ] || { count_pytest transaction; count_pytest pools; }
}

build release
build asan
if [ $all = yes ] || [ ${#units[@]} -gt 0 ]; then
    run_units release
    run_units asan
fi
if [ $instructions = yes ]; then run_instructions; fi
if [ $all = yes ] || [ ${#fuzzers[@]} -gt 0 ]; then run_fuzzers; fi
if [ $all = yes ] || [ ${#files[@]} -gt 0 ]; then run_integration; fi

echo
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
