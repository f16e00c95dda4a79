#!/bin/sh
# Installs the Debian packages that pginterlock needs, by name. Run as root on Debian 12; does nothing where all are there.
#
#   deploy/dependencies.sh [GROUP...]     build: to compile; server: a PostgreSQL to try it with; test: all of the tests;
#                                         bench: the figures. Default: all of them.
set -eu

build="build-essential cmake ninja-build pkg-config clang-14 libclang-rt-14-dev
       libpq-dev libuv1-dev libssl-dev libpg-query-dev libyaml-dev libjansson-dev libsystemd-dev
       libxxhash-dev uthash-dev postgresql-server-dev-15 libcmocka-dev"
server="postgresql-15 postgresql-client-15 util-linux"
test="$server openssl procps python3 python3-pytest python3-psycopg python3-asyncpg ruby ruby-activerecord ruby-pg valgrind"
bench="$server pgbouncer postgresql-contrib openssl procps python3 python3-psycopg valgrind linux-perf"

packages=""
[ $# -gt 0 ] || set -- build server test bench
for group in "$@"; do
    case $group in
    build) packages="$packages $build" ;;
    server) packages="$packages $server" ;;
    test)
        packages="$packages $test"
        # npm may be there without Debian's package of it, which would then be a conflict.
        command -v npm >/dev/null 2>&1 || packages="$packages nodejs npm ca-certificates"
        ;;
    bench) packages="$packages $bench" ;;
    *)
        echo "dependencies.sh: no such group: $group: use build, server, test or bench" >&2
        exit 2
        ;;
    esac
done

missing=""
for package in $packages; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || :)
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "dependencies.sh: missing:$missing: run it as root, or install these" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
echo "installing:$missing" >&2

# PostgreSQL's package makes a cluster and starts it, and PgBouncer's starts a service; nothing here needs either.
if ! [ -e /etc/postgresql-common/createcluster.conf ]; then
    mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
    made_conf=yes
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086 # a list of words
if ! { apt-get update -q && apt-get install -qy --no-install-recommends -o Dpkg::Options::=--force-confold $missing; } \
    >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "dependencies.sh: apt-get failed: see above" >&2
    exit 1
fi
[ "${made_conf:-}" != yes ] || echo "no default cluster was made: see /etc/postgresql-common/createcluster.conf" >&2
