#!/usr/bin/env bash
# A first look, from nothing: builds pginterlock, starts two throw-away PostgreSQL clusters (main and ci) with a small
# GitLab-like schema, runs the proxy in front of them and takes a tour in psql. Then it prints the connection string and
# stays until Ctrl-C. It leaves nothing behind but the build folder and the installed packages.
#
#   deploy/quickstart.sh [--once]    --once: end after the tour
set -euo pipefail
cd "$(dirname "$0")/.."

once=no
case "${1:-}" in
--once) once=yes ;;
"") ;;
*)
    echo "usage: deploy/quickstart.sh [--once]" >&2
    exit 2
    ;;
esac

bin=/usr/lib/postgresql/15/bin
program=$PWD/build/release/pginterlock
temp=$(mktemp -d /tmp/pginterlock-quickstart.XXXXXX)
chmod 755 "$temp"
pids=() # what was started, in order
step="preparing"

as_postgres=() # PostgreSQL refuses to run as root
[ "$(id -u)" -ne 0 ] || as_postgres=(setpriv --reuid=postgres --regid=postgres --clear-groups)

end_process() { # PID SIGNAL: ends it and waits for it
    kill -"$2" "$1" 2>/dev/null || return 0
    wait "$1" 2>/dev/null || true
}

cleanup() {
    local status=$? i
    trap - EXIT INT TERM
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        end_process "${pids[i]}" "$([ "$i" -ge 2 ] && echo TERM || echo INT)" # the proxy; PostgreSQL's fast shutdown
    done
    if [ "$status" -ne 0 ] && [ "$status" -ne 130 ]; then
        echo "quickstart: failed while $step (exit status $status)" >&2
        for log in "$temp"/*.log; do
            [ ! -s "$log" ] || { echo "--- the end of $(basename "$log"):" && tail -n 15 "$log"; } >&2
        done
    fi
    rm -rf "$temp"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

free_port() { # a TCP port on loopback that nobody listens on
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

wait_for() { # PID COMMAND...: until it succeeds; fails if the process ends first
    local pid=$1 deadline=$((SECONDS + 60))
    shift
    until "$@" >/dev/null 2>&1; do
        kill -0 "$pid" 2>/dev/null || return 1
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

start_cluster() { # NAME DATABASE: sets port_NAME
    local name=$1 database=$2 folder=$temp/$1 port pid
    step="starting the PostgreSQL cluster $name"
    mkdir "$folder"
    [ "$(id -u)" -ne 0 ] || chown postgres:postgres "$folder"
    (cd / && "${as_postgres[@]}" "$bin/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync) >"$temp/$name.log" 2>&1
    for _ in 1 2 3 4 5; do
        port=$(free_port)
        (cd / && exec_postgres "$folder" "$port") >>"$temp/$name.log" 2>&1 &
        pid=$!
        if wait_for "$pid" psql -h "$folder" -p "$port" -U postgres -qc 'SELECT 1' postgres; then
            pids+=("$pid")
            break
        fi
        end_process "$pid" INT # the port was taken in between: another one
        pid=
    done
    [ -n "$pid" ] || return 1
    psql -h "$folder" -p "$port" -U postgres -Xq -c "CREATE ROLE app LOGIN" -c "CREATE DATABASE $database OWNER app" postgres
    psql -h "$folder" -p "$port" -U app -Xq -v ON_ERROR_STOP=1 -f "deploy/demo/$name.sql" -f deploy/demo/shared.sql "$database" \
        >>"$temp/$name.log" 2>&1
    printf -v "port_$name" %s "$port"
}

exec_postgres() { # FOLDER PORT
    exec "${as_postgres[@]}" "$bin/postgres" -D "$1/data" -p "$2" -c listen_addresses=127.0.0.1 \
        -c "unix_socket_directories=$1" -c fsync=off -c max_connections=50 -c shared_buffers=32MB
}

start_proxy() {
    step="starting pginterlock"
    grep -hE '^(CREATE TABLE )' deploy/demo/main.sql | sed -E 's/CREATE TABLE ([a-z_]+).*/\1: :gitlab_main/' >"$temp/tables.yml"
    grep -hE '^(CREATE TABLE )' deploy/demo/ci.sql | sed -E 's/CREATE TABLE ([a-z_]+).*/\1: :gitlab_ci/' >>"$temp/tables.yml"
    cat >>"$temp/tables.yml" <<YAML
schema_migrations: :gitlab_internal
loose_foreign_keys_deleted_records: :gitlab_shared
YAML
    port=$(free_port)
    cat >"$temp/pginterlock.yml" <<YAML
listen: ["127.0.0.1:$port"]
databases:
  main: "host=127.0.0.1 port=$port_main dbname=app"
  ci: "host=127.0.0.1 port=$port_ci dbname=app_ci"
classification:
  tables: tables.yml
entrypoints:
  app: routed       # each statement goes where its tables live
  app_main: main    # pinned: everything goes to main
  app_ci: ci
auth: {method: trust}
YAML
    "$program" run --config "$temp/pginterlock.yml" >"$temp/pginterlock.log" 2>&1 &
    pids+=($!)
    wait_for $! psql "host=127.0.0.1 port=$port user=app dbname=app" -Xqc 'SELECT 1'
}

# --- the tour ---

chapter() { printf '\n\033[1m%s\033[0m\n' "-- $*"; }
[ -t 1 ] || chapter() { printf '\n%s\n' "-- $*"; }

run_psql() { # ENTRYPOINT: runs the script on its standard input, showing each statement
    psql "host=127.0.0.1 port=$port user=app dbname=$1" -X -v VERBOSITY=verbose -v ECHO=queries -v PROMPT1= -P pager=off 2>&1
}

expect_rejection() { # SQLSTATE ENTRYPOINT: the script on standard input must be rejected so
    local output
    output=$(run_psql "$2")
    printf '%s\n' "$output"
    if ! grep -q "ERROR:  $1:" <<<"$output"; then
        echo "quickstart: this should have been rejected with SQLSTATE $1" >&2
        return 1
    fi
}

tour() {
    step="taking the tour"
    chapter "One connection string. A read of main's table goes to main ..."
    run_psql app <<<"SELECT id, name, current_database() FROM projects ORDER BY id LIMIT 2;"
    chapter "... and a read of ci's table goes to ci, on the same connection."
    run_psql app <<<"SELECT id, name, current_database() FROM ci_builds ORDER BY id LIMIT 2;"

    chapter "A transaction may read both databases and write one."
    run_psql app <<'SQL'
BEGIN;
SELECT count(*) AS builds_of_project_1 FROM ci_builds WHERE project_id = 1;
SELECT name FROM projects WHERE id = 1;
UPDATE projects SET star_count = star_count + 1 WHERE id = 1 RETURNING id, star_count;
COMMIT;
SQL
    chapter "What can't live across two databases is rejected before it reaches one. XD001, cross_join:"
    expect_rejection XD001 app <<<"SELECT p.name, b.status FROM projects p JOIN ci_builds b ON b.project_id = p.id;"

    chapter "XD002, cross_transaction: a transaction that would modify both"
    expect_rejection XD002 app <<'SQL'
BEGIN;
UPDATE projects SET star_count = star_count + 1 WHERE id = 1;
UPDATE ci_builds SET status = 'running' WHERE id = 1;
ROLLBACK;
SQL
    chapter "XD003, cross_foreign_key:"
    expect_rejection XD003 app <<<"ALTER TABLE ci_builds ADD CONSTRAINT fk_project FOREIGN KEY (project_id) REFERENCES projects (id);"

    chapter "XD004, wrong_database: a connection that is pinned to main reads a table of ci"
    expect_rejection XD004 app_main <<<"SELECT * FROM ci_builds WHERE id = 1;"

    chapter "2F002, write_lock: ... or writes one"
    expect_rejection 2F002 app_main <<<"UPDATE ci_builds SET status = 'failed' WHERE id = 1;"

    chapter "XD005, unclassified: a table that nobody has put in the classification"
    expect_rejection XD005 app <<<"CREATE TABLE release_notes (id bigint);"
}

step="installing packages"
deploy/dependencies.sh build server
PATH=$bin:$PATH
step="building"
echo "Building ..."
{ cmake --preset release && cmake --build --preset release --target pginterlock -j "$(nproc)"; } >"$temp/build.log" 2>&1
echo "Starting two PostgreSQL clusters and pginterlock in front of them ..."
start_cluster main app
start_cluster ci app_ci
start_proxy
tour

chapter "That was the tour."
echo "Connect with:  psql 'host=127.0.0.1 port=$port user=app dbname=app'"
echo "(pinned: dbname=app_main, dbname=app_ci; the settings: $temp/pginterlock.yml)"
[ "$once" = no ] || exit 0
echo "Ctrl-C ends it."
step="serving"
wait "${pids[2]}"
