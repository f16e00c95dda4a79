#!/usr/bin/python3
"""The proxy next to a direct connection and to PgBouncer in session mode, in interleaved rounds on one cluster.

    compare.py [select] [copy] [idle]     default: all three

SECONDS (5) of each pgbench run, ROUNDS (5), CLIENTS (8), COPY_MB (500), IDLE (1000). PGINTERLOCK names the program.
CPU is user and system time of the proxy's process, in microseconds a transaction; figures are medians over the rounds.
"""

import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import wire  # noqa: E402
from harness import (AS_POSTGRES, BINDIR, DATA, Interlock, Postgres, cpu_seconds, free_port,  # noqa: E402
                     temporary_folder, wait_until)

SECONDS, ROUNDS, CLIENTS = (int(os.environ.get(name, value)) for name, value in
                            (("SECONDS", 5), ("ROUNDS", 5), ("CLIENTS", 8)))
COPY_MB, IDLE = int(os.environ.get("COPY_MB", 500)), int(os.environ.get("IDLE", 1000))


class PgBouncer:
    """PgBouncer in session mode, without logging a connection."""

    def __init__(self, cluster):
        self.folder, self.port = temporary_folder(), free_port()
        ini = self.folder / "pgbouncer.ini"
        ini.write_text(f"""[databases]
app = host=127.0.0.1 port={cluster.port} dbname=app user=app
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = session
max_client_conn = 5000
default_pool_size = 500
log_connections = 0
log_disconnections = 0
""")
        self.process = subprocess.Popen([*AS_POSTGRES, "/usr/sbin/pgbouncer", "-q", ini], cwd="/",
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._accepts, "PgBouncer")

    def _accepts(self):
        try:
            wire.connect("127.0.0.1", self.port, user="app", database="app").close()
            return True
        except (OSError, wire.ServerError, wire.Closed):
            return False

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)


def environment(port):
    return {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "app", "PGDATABASE": "app",
            "PGSSLMODE": "disable", "LC_ALL": "C"}


def pgbench(port, mode):
    """Transactions a second, and how many there were."""
    run = subprocess.run([BINDIR / "pgbench", "-n", "-S", "-j", "1", "-M", mode, "-c", str(CLIENTS), "-T", str(SECONDS)],
                         env=environment(port), capture_output=True, text=True, check=True)
    count = int(next(line for line in run.stdout.splitlines() if "actually processed" in line).split()[-1].split("/")[0])
    tps = float(next(line for line in run.stdout.splitlines() if line.startswith("tps")).split()[2])
    return tps, count


def rotated(targets, number):
    names = list(targets)
    return names[number % len(names):] + names[:number % len(names)]


def select(targets):
    print(f"\npgbench -S, {CLIENTS} clients, {ROUNDS} rounds of {SECONDS} s")
    print(f"{'mode':<10} {'target':<12} {'tps':>9} {'of direct':>10} {'cpu us/txn':>11} {'of pgbouncer':>13}")
    for mode in ("simple", "extended", "prepared"):
        tps, cpu = {name: [] for name in targets}, {name: [] for name in targets}
        for number in range(ROUNDS):
            for name in rotated(targets, number):
                port, pid = targets[name]
                before = cpu_seconds(pid) if pid else 0
                rate, count = pgbench(port, mode)
                tps[name].append(rate)
                cpu[name].append((cpu_seconds(pid) - before) * 1e6 / count if pid else 0)
        for name in targets:
            ratio = statistics.median(mine / other for mine, other in zip(tps[name], tps["direct"]))
            spent = statistics.median(cpu[name])
            against = statistics.median(mine / other for mine, other in zip(cpu[name], cpu["pgbouncer"])) if spent else 0
            print(f"{mode:<10} {name:<12} {statistics.median(tps[name]):>9.0f} {ratio:>10.2f} "
                  + (f"{spent:>11.1f} {against:>13.2f}" if spent else f"{'-':>11} {'-':>13}"))


def memory(pid, field="Pss:"):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    return 0


def peak(pid):
    return int(next(line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
                    if line.startswith("VmHWM")).split()[1])


def copy(targets):
    print(f"\nCOPY of {COPY_MB} MB to the client, {ROUNDS} rounds")
    print(f"{'target':<12} {'MB/s':>9} {'of direct':>10} {'peak growth KiB':>16}")
    rows = COPY_MB * 1_000_000 // 101
    text = f"COPY (SELECT repeat('x', 100) FROM generate_series(1, {rows})) TO STDOUT"
    speed, grown = {name: [] for name in targets}, {}
    for number in range(ROUNDS):
        for name in rotated(targets, number):
            port, pid = targets[name]
            before, begun = memory(pid, "Rss:") if pid else 0, time.monotonic()
            subprocess.run([BINDIR / "psql", "-qXAt", "-c", text], env=environment(port), check=True, stdout=subprocess.DEVNULL)
            speed[name].append(COPY_MB / (time.monotonic() - begun))
            grown[name] = max(grown.get(name, 0), peak(pid) - before if pid else 0)
    for name in targets:
        ratio = statistics.median(mine / other for mine, other in zip(speed[name], speed["direct"]))
        print(f"{name:<12} {statistics.median(speed[name]):>9.0f} {ratio:>10.2f} {grown[name] if targets[name][1] else '-':>16}")


def hold(port, pid, count):
    """KiB of memory for each of `count` idle clients."""
    for each in [wire.connect("127.0.0.1", port, user="app", database="app") for _ in range(10)]:
        each.terminate()  # what is made once is there
    before = memory(pid)
    held = [wire.connect("127.0.0.1", port, user="app", database="app") for _ in range(count)]
    full = memory(pid)
    for each in held:
        each.terminate()
    return (full - before) / count


def idle(targets, cluster):
    print(f"\n{IDLE} idle clients, KiB of memory (PSS) each")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"{'pginterlock, with a link to main each':<42} {hold(*targets['pginterlock'], IDLE):>8.1f}")
    down = {"main": f"host=127.0.0.1 port={free_port()} dbname=app", "ci": cluster.conninfo()}
    with Interlock(cluster, cluster, databases=down, log={"level": "error"}) as proxy:
        print(f"{'pginterlock, without links (main is down)':<42} {hold(proxy.port, proxy.process.pid, IDLE):>8.1f}")


def main():
    wanted = sys.argv[1:] or ["select", "copy", "idle"]
    cluster = Postgres("bench", settings=["log_statement = none", f"max_connections = {IDLE + 200}", "shared_buffers = 512MB"])
    cluster.start().create_database("app")
    bouncer = proxy = None
    try:
        subprocess.run([BINDIR / "pgbench", "-i", "-q", "-s", "10"], env=environment(cluster.port), check=True, capture_output=True)
        tables = cluster.folder / "tables.yml"
        tables.write_text((DATA / "gitlab_schemas.yml").read_text() + "".join(
            f"pgbench_{name}: :gitlab_main\n" for name in ("accounts", "branches", "tellers", "history")))
        bouncer = PgBouncer(cluster)
        proxy = Interlock(cluster, cluster, classification={"tables": str(tables)}, log={"level": "warning"},
                          workers=int(os.environ.get("WORKERS", 0))).start()
        targets = {"direct": (cluster.port, None), "pgbouncer": (bouncer.port, bouncer.process.pid),
                   "pginterlock": (proxy.port, proxy.process.pid)}
        if "select" in wanted:
            select(targets)
        if "copy" in wanted:
            copy(targets)
        if "idle" in wanted:
            idle(targets, cluster)
    finally:
        for each in (proxy, bouncer, cluster):
            if each:
                each.close()
        Postgres.forget_template()


if __name__ == "__main__":
    main()
