"""What is measured: each class is one measurement with its cells (what varies) and its targets; one run of it gives figures.

Figures of a run: tps (transactions a second), cpu_us (CPU of the target's process in microseconds per transaction), p50_us,
p99_us, p999_us (latency); others are told where they are made. CPU is user and system time, from /proc, beginning when all
clients are connected.
"""

import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import time
import unittest.mock

import harness
import machine
import wire
from harness import BINDIR, cpu_seconds, temporary_folder
from targets import Target
from turns import Turns

ALL = ("direct", "pgbouncer", "pgbouncer-pool", "pginterlock", "pginterlock-pool")
SESSION = ("direct", "pgbouncer", "pginterlock")
POOLED = ("direct", "pgbouncer-pool", "pginterlock-pool", "pginterlock-pool-2")
CLIENT = pathlib.Path(__file__).resolve().parents[2] / "build" / "release" / "tests" / "bench_client"


def environment(target):
    return {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(target.port), "PGUSER": "app", "PGDATABASE": "app",
            "PGSSLMODE": "disable", "LC_ALL": "C"}


def cpu_of(target):
    return cpu_seconds(target.pid) if target.pid else 0.0


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _sockets(pid):
    try:
        folder = f"/proc/{pid}/fd"
        return sum(os.readlink(f"{folder}/{entry}").startswith("socket:") for entry in os.listdir(folder))
    except OSError:
        return 0


LONG_ENOUGH = 3600  # seconds, for pgbench, which counts those of connecting too


class Pgbench:
    """One pgbench over a target, with a log of some of its transactions. It runs so many seconds from when all of its clients are
    connected."""

    def __init__(self, folder, target, *arguments, clients=8, seconds=5, sampling=0.2):
        self.target, self.clients, self.seconds = target, clients, seconds
        self.prefix = folder / f"log-{time.monotonic_ns()}"
        self.connected = None
        self.throttled = any(str(each).startswith("--rate") for each in arguments)
        sampled = [f"--sampling-rate={sampling}"] if sampling < 1 else []
        self.process = subprocess.Popen(
            [BINDIR / "pgbench", "-n", "-j", "1", "-l", f"--log-prefix={self.prefix}", *sampled, *arguments,
             "-c", str(clients), "-T", str(LONG_ENOUGH)],
            env=environment(target), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait_for_clients(self):
        """What connecting costs is another figure."""
        while self.process.poll() is None and _sockets(self.process.pid) < self.clients:
            time.sleep(0.002)  # between two looks at pgbench, which tells nobody that it is connected
        self.connected = time.monotonic()

    def finish(self):
        """Transactions a second, and how many there were."""
        if self.connected is None:
            self.wait_for_clients()
        try:
            out, error = self.process.communicate(timeout=max(0, self.connected + self.seconds - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGALRM)  # as its own timer does
            out, error = self.process.communicate()
        if self.process.returncode != 0 or "aborted" in error or "\ntps" not in out:
            raise RuntimeError(f"pgbench through {self.target.name}: {error.strip()[:500]}")
        lines = out.splitlines()
        count = int(next(line for line in lines if "actually processed" in line).split()[-1].split("/")[0])
        return float(next(line for line in lines if line.startswith("tps")).split()[2]), count

    def latencies(self):
        """Microseconds, in order; without the time that a throttled transaction waited for its turn."""
        found = []
        for file in self.prefix.parent.glob(self.prefix.name + "*"):
            for line in file.read_text().splitlines():
                fields = line.split()
                if fields[2].isdigit():
                    found.append(int(fields[2]) - (int(fields[6]) if self.throttled else 0))
            file.unlink()
        return sorted(found)


def run_pgbench(folder, target, *arguments, **options):
    run = Pgbench(folder, target, *arguments, **options)
    run.wait_for_clients()
    before = cpu_of(target)
    tps, count = run.finish()
    values = {"tps": tps, "count": count}
    if target.pid and count:
        values["cpu_us"] = (cpu_of(target) - before) * 1e6 / count
    ordered = run.latencies()
    if ordered:
        values.update(p50_us=percentile(ordered, 0.5), p99_us=percentile(ordered, 0.99), p999_us=percentile(ordered, 0.999))
    return values


class Measurement:
    """Each run has a process of its own: where the system puts its pages and threads makes five percent of difference, and
    connections that it keeps would weigh on who comes next."""

    max_rounds = 1000
    steady = False  # others on the machine make no difference

    def __init__(self, stage, options):
        self.stage, self.options, self.folder = stage, options, stage.folder

    def script(self, name, text):
        path = self.folder / (name + ".sql")
        if not path.exists():
            path.write_text(text)
        return path

    def targets(self, cell):
        return self.all_targets

    def warm_up(self, target, clients):
        """A pool's connections to the server are made when they are first needed: not while it is measured."""
        if target.pid:
            subprocess.run([BINDIR / "pgbench", "-n", "-S", "-c", str(clients), "-t", "2"], env=environment(target), check=True,
                           capture_output=True)

    def pgbench(self, target, *arguments, clients=8, **options):
        self.warm_up(target, clients)
        return run_pgbench(self.folder, target, *arguments, clients=clients, seconds=self.options.seconds, **options)


class Select(Measurement):
    """pgbench -S; `same text`: simple queries with one text, where `simple` has another number in every one."""

    name, all_targets = "select", ALL

    def cells(self):
        return [{"mode": mode, "clients": 8} for mode in ("same text", "simple", "extended", "prepared")]

    def targets(self, cell):
        return [name for name in ALL if name != "pgbouncer-pool" or cell["mode"] != "prepared" or self.stage.bouncer_prepares]

    def run(self, target, cell):
        if cell["mode"] == "same text":
            text = self.script("same", "SELECT abalance FROM pgbench_accounts WHERE aid = 4711;\n")
            return self.pgbench(target, "-M", "simple", "-f", text, clients=cell["clients"])
        return self.pgbench(target, "-S", "-M", cell["mode"], clients=cell["clients"])


class Latency(Measurement):
    """pgbench -S with one client: what stands between it and its answer."""

    name, all_targets = "latency", SESSION

    def cells(self):
        return [{"mode": mode, "clients": 1} for mode in ("simple", "extended", "prepared")]

    def run(self, target, cell):
        return self.pgbench(target, "-S", "-M", cell["mode"], clients=1)


class Clients(Measurement):
    """pgbench -S -M simple over how many clients there are."""

    name, all_targets = "clients", ALL

    def cells(self):
        return [{"clients": count} for count in (1, 8, 64, 256, 1000) if count <= self.options.max_clients]

    def run(self, target, cell):
        return self.pgbench(target, "-S", "-M", "simple", clients=cell["clients"])


class Pool(Measurement):
    """64 clients on a pool of 20 connections; direct has 64."""

    name = "pool"

    def cells(self):
        return [{"mode": mode, "clients": 64} for mode in ("simple", "extended")]

    def targets(self, cell):
        return POOLED

    def run(self, target, cell):
        return self.pgbench(target, "-S", "-M", cell["mode"], clients=cell["clients"])


class Workers(Measurement):
    """8 clients on one worker and on two. busiest: the share of the proxy's CPU that its busiest thread used."""

    name, all_targets = "workers", ("pginterlock", "pginterlock-2")

    def cells(self):
        return [{"mode": mode, "clients": 8} for mode in ("simple", "prepared")]

    def run(self, target, cell):
        before = machine.threads_cpu(target.pid)
        values = self.pgbench(target, "-S", "-M", cell["mode"], clients=cell["clients"])
        used = [after - before.get(thread, 0) for thread, after in machine.threads_cpu(target.pid).items()]
        return {**values, "busiest": max(used) / max(sum(used), 1e-9)}


class Sizes(Measurement):
    """Results of rows of 1 KB, from one to a thousand, 8 clients. mb: megabytes a second; cpu_mb: microseconds a megabyte."""

    name, all_targets = "sizes", SESSION

    def cells(self):
        return [{"kb": size} for size in (1, 10, 100, 1000)]

    def run(self, target, cell):
        text = self.script(f"size-{cell['kb']}", f"SELECT repeat('x', 1000) FROM generate_series(1, {cell['kb']});\n")
        values = self.pgbench(target, "-M", "simple", "-f", text)
        values["mb"] = values["tps"] * cell["kb"] / 1000
        if "cpu_us" in values:
            values["cpu_mb"] = values["cpu_us"] * 1000 / cell["kb"]
        return values


class Copy(Measurement):
    """COPY of rows of 100 bytes by psql, out and in, and one value of 100 MB. mb: megabytes a second; cpu_gb: seconds a gigabyte;
    grown_kb: by how much the process was bigger than before at its biggest."""

    name, all_targets = "copy", SESSION

    def cells(self):
        return [{"way": "out"}, {"way": "in"}, {"way": "one value"}]

    def run(self, target, cell):
        megabytes = 100 if cell["way"] == "one value" else self.options.copy_mb
        rows = megabytes * 1_000_000 // 101
        text, source = {
            "out": (f"COPY (SELECT repeat('x', 100) FROM generate_series(1, {rows})) TO STDOUT", None),
            "in": ("COPY bench_rows (payload) FROM STDIN WHERE false", self._rows(rows)),
            "one value": ("SELECT repeat('x', 100000000)", None),
        }[cell["way"]]
        self.warm_up(target, 1)  # what is made once is not growth
        size = machine.reset_peak(target.pid) if target.pid else 0
        before, begun = cpu_of(target), time.monotonic()
        with open(source or "/dev/null", "rb") as stdin:
            subprocess.run([BINDIR / "psql", "-qXAt", "-c", text], env=environment(target), check=True, stdin=stdin,
                           stdout=subprocess.DEVNULL)
        values = {"mb": megabytes / (time.monotonic() - begun)}
        if target.pid:
            values.update(cpu_gb=(cpu_of(target) - before) * 1000 / megabytes, grown_kb=max(0, machine.peak(target.pid) - size))
        return values

    def _rows(self, count):
        path = self.folder / "rows"
        if not path.exists():
            line = b"x" * 100 + b"\n"
            with path.open("wb") as file:
                for _ in range(count // 10000):
                    file.write(line * 10000)
                file.write(line * (count % 10000))
        return path


class Unseen(Measurement):
    """Simple queries, 8 clients; a share of them is another text each time, beyond its constants (the name of a column)."""

    name, all_targets = "unseen", SESSION

    def cells(self):
        return [{"percent": percent} for percent in (0, 10, 100)]

    def run(self, target, cell):
        text = "\\set aid random(1, 1000000)\n{0}SELECT abalance AS {1} FROM pgbench_accounts WHERE aid = :aid;\n"
        seen = self.script("seen", text.format("", "a"))
        unseen = self.script("unseen", text.format("\\set n random(1, 2000000000)\n", "a:n"))
        weights = [(seen, 100 - cell["percent"]), (unseen, cell["percent"])]
        scripts = [part for path, weight in weights if weight for part in ("-f", f"{path}@{weight}")]
        return self.pgbench(target, "-M", "simple", *scripts)


class TpcB(Measurement):
    """pgbench's own script: a block of five statements that write."""

    name, all_targets = "tpcb", ALL

    def cells(self):
        return [{"mode": "simple", "clients": 8}]

    def run(self, target, cell):
        return self.pgbench(target, "-M", cell["mode"], clients=cell["clients"], sampling=1)


class Block(Measurement):
    """BEGIN, a SELECT from a table of ci, an UPDATE of one of main, COMMIT; directly on a connection to each, where both have
    the block, as through the proxy, or only main's."""

    name, all_targets = "block", ("direct", "pginterlock", "pginterlock-pool")

    def cells(self):
        return [{"direct": "both"}, {"direct": "main"}]

    def run(self, target, cell):
        connections = [target.conninfo()]
        if target.name == "direct":
            connections.append(self.stage.ci.conninfo(user="app", sslmode="disable"))
            connections += ["both"] if cell["direct"] == "both" else []
        before = cpu_of(target)
        found = run_client("blocks", self.options.seconds, *connections)
        values = {"tps": found["count"] / found["seconds"], "mean_us": found["seconds"] * 1e6 / found["count"],
                  "p50_us": found["p50"], "p99_us": found["p99"], "p999_us": found["p999"]}
        if target.pid:
            values["cpu_us"] = (cpu_of(target) - before) * 1e6 / found["count"]
        return values


def run_client(*arguments):
    run = subprocess.run([CLIENT, *map(str, arguments)], capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(run.stderr.strip()[:500])
    return {name: float(value) for name, value in map(str.split, run.stdout.splitlines())}


class Connect(Measurement):
    """Connections opened and closed by four clients at once, without a query. tps: connections a second; cpu_us: per connection."""

    name, all_targets = "connect", ("pgbouncer", "pgbouncer-pool", "pginterlock", "pginterlock-pool")

    def cells(self):
        return [{"tls": False}, {"tls": True}]

    def run(self, target, cell):
        self.warm_up(target, 4)
        before = cpu_of(target)
        conninfo = target.conninfo(sslmode="require" if cell["tls"] else "disable")
        found = run_client("connect", min(3, self.options.seconds), 4, conninfo)
        return {"tps": found["count"] / found["seconds"], "cpu_us": (cpu_of(target) - before) * 1e6 / found["count"]}


class Mixed(Measurement):
    """One client looks rows up 2,000 times a second while four others insert 1,000 rows with 48 KB of text, 40 times a second;
    beside it another looks them up directly, and sees what is the databases' and the machine's. p50_us, p99_us, p999_us of
    the first, direct_… of the other; stalls: how many of 10,000 took over 2 ms, and direct_stalls; most_us: the longest.
    turn_us: the longest turn of the loop in which nothing else ran on its processor; disturbed: how many of 10,000 turns took
    over 2 ms, all of which are others'. These two where perf is there."""

    name, all_targets = "mixed", ("pgbouncer", "pginterlock", "pginterlock-pool")

    def cells(self):
        return [{}]

    def run(self, target, cell):
        row = "'" + "x" * 37 + "'"
        insert = self.script("insert", "\\set n random(100000, 999999)\nINSERT INTO bench_rows VALUES (:n," + row + ")"
                             + "".join(f",({number},{row})" for number in range(100001, 101000)) + ";\n")
        self.stage.main.sql("TRUNCATE bench_rows")
        self.warm_up(target, 5)
        seconds = self.options.seconds
        writers = Pgbench(self.folder, target, "-M", "simple", "--rate=40", "-f", insert, clients=4, seconds=seconds + 1)
        writers.wait_for_clients()
        readers = [Pgbench(self.folder, where, "-S", "-M", "extended", "--rate=2000", clients=1, seconds=seconds, sampling=1)
                   for where in (target, self.stage.target("direct"))]
        with Turns(target.pid) as turns:
            for reader in readers:
                reader.finish()
        values = {}
        if turns.own:
            values["turn_us"] = turns.own[-1]
            values["disturbed"] = (sum(each > 2000 for each in turns.disturbed) * 10000
                                   / len(turns.own + turns.disturbed))
        for prefix, reader in zip(("", "direct_"), readers):
            ordered = reader.latencies()
            values.update({prefix + "p50_us": percentile(ordered, 0.5), prefix + "p99_us": percentile(ordered, 0.99),
                           prefix + "p999_us": percentile(ordered, 0.999), prefix + "most_us": ordered[-1],
                           prefix + "stalls": sum(each > 2000 for each in ordered) * 10000 / len(ordered)})
        values["inserts"], _ = writers.finish()
        writers.latencies()
        return values


class Idle(Measurement):
    """Memory (PSS) of a fresh process for each idle client. kb: KiB. Without a pool each of ours has a connection to the
    server, and there are no more of them than the server takes."""

    name, max_rounds, steady = "idle", 2, True

    def cells(self):
        most = self.options.idle if self.stage.has_pool else 2 * self.options.max_clients
        return [{"clients": min(self.options.idle, most)}]

    def targets(self, cell):
        return ("pgbouncer-pool", "pginterlock-pool" if self.stage.has_pool else "pginterlock")

    def run(self, target, cell):
        bouncer = target.name.startswith("pgbouncer")
        process = (self.stage.new_bouncer if bouncer else self.stage.new_proxy)("transaction")
        try:
            return {"kb": self._hold(process.port, process.process.pid, cell["clients"])}
        finally:
            process.close()

    @staticmethod
    def _hold(port, pid, count):
        for each in [wire.connect("127.0.0.1", port, user="app", database="app") for _ in range(10)]:
            each.terminate()  # what is made once is there
        before = machine.resident(pid)
        held = [wire.connect("127.0.0.1", port, user="app", database="app") for _ in range(count)]
        full = machine.resident(pid)
        for each in held:
            each.terminate()
        return (full - before) / count


class Instructions(Measurement):
    """What a transaction takes, of 8 clients, in the proxy's own code and its libraries, counted by valgrind; the kernel's part, which is
    the bigger, is not in it. The difference of two runs, so that starting up is not in it either."""

    name, max_rounds, steady = "instructions", 1, True
    all_targets = ("pgbouncer", "pgbouncer-pool", "pginterlock", "pginterlock-pool")

    def cells(self):
        return [{"mode": mode, "clients": 8} for mode in ("simple", "extended", "prepared")]

    def targets(self, cell):
        return [name for name in self.all_targets
                if name != "pgbouncer-pool" or cell["mode"] != "prepared" or self.stage.bouncer_prepares]

    def run(self, target, cell):
        few, many = (50, 150) if self.options.quick else (100, 500)  # of each client
        more = self._count(target.name, cell, many) - self._count(target.name, cell, few)
        return {"instructions": more / (many - few) / cell["clients"]}

    def _count(self, name, cell, transactions):
        out = temporary_folder()
        out.chmod(0o777)  # PgBouncer's user writes to it
        valgrind = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}/counts"]
        wrapper = out / "program"
        wrapper.write_text("#!/bin/sh\nexec " + shlex.join([*valgrind, str(harness.PROGRAM)]) + ' "$@"\n')
        wrapper.chmod(0o755)
        pool = "transaction" if "-pool" in name else "session"
        with unittest.mock.patch.object(harness, "PROGRAM", wrapper):
            process = (self.stage.new_bouncer(pool, under=valgrind) if name.startswith("pgbouncer")
                       else self.stage.new_proxy(pool))
        try:
            target = Target(name, process.port)
            subprocess.run([BINDIR / "pgbench", "-n", "-S", "-M", cell["mode"], "-c", str(cell["clients"]), "-t",
                            str(transactions)], env=environment(target), check=True, capture_output=True)
        finally:
            process.close()
        counted = re.search(r"^totals: (\d+)", (out / "counts").read_text(), re.M)
        shutil.rmtree(out)
        return int(counted[1])


MEASUREMENTS = {each.name: each for each in (Select, Latency, Clients, Pool, Workers, Sizes, Copy, Unseen, TpcB, Block, Connect, Mixed,
                                             Idle, Instructions)}
