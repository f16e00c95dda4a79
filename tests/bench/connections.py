#!/usr/bin/python3
"""What connections cost the proxy, next to PgBouncer: memory of idle clients, and CPU of connecting.

    connections.py [idle] [connect]     default: both

IDLE (2000) clients without TLS, a quarter of them with it; CONNECTS (1000) in each of ROUNDS (3) rounds. PGINTERLOCK names
the program. Memory is growth of the process's PSS, CPU its user and system time, each for one client.

`to a database`: the session makes a link to main, as every one does. `client only`: the login ends after the authentication, since the
entrypoint asked for does not exist: what accepting and logging in cost without a database.
"""

import functools
import hashlib
import os
import pathlib
import resource
import shutil
import ssl
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import wire  # noqa: E402
from harness import AS_POSTGRES, DATA, Interlock, Postgres, free_port, temporary_folder, wait_until  # noqa: E402

IDLE, CONNECTS, ROUNDS = (int(os.environ.get(name, value)) for name, value in
                          (("IDLE", 2000), ("CONNECTS", 1000), ("ROUNDS", 3)))
BATCH = 50  # clients with a link to the database at a time
PASSWORD = "a long enough password"

# The salt of a user is always the same: one derivation for the client serves all its connections.
hashlib.pbkdf2_hmac = functools.lru_cache(hashlib.pbkdf2_hmac)


class Certificate:
    def __init__(self, folder):
        self.crt, self.key = folder / "server.crt", folder / "server.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                        "30", "-subj", "/CN=localhost", "-keyout", self.key, "-out", self.crt], check=True, capture_output=True)
        self.key.chmod(0o644)  # it guards nothing, and PgBouncer runs as another user


class PgBouncer:
    """In transaction mode: its clients share five connections, so that logging in makes none."""

    def __init__(self, cluster, folder, certificate, users, auth, tls):
        self.folder, self.port = temporary_folder(), free_port()
        ini = self.folder / "pgbouncer.ini"
        ini.write_text(f"""[databases]
app = host=127.0.0.1 port={cluster.port} dbname=app user=app
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = {auth}
auth_file = {users}
pool_mode = transaction
max_client_conn = 20000
default_pool_size = 5
log_connections = 0
log_disconnections = 0
""" + (f"client_tls_sslmode = require\nclient_tls_cert_file = {certificate.crt}\nclient_tls_key_file = {certificate.key}\n"
            if tls else ""))
        self.process = subprocess.Popen([*AS_POSTGRES, "/usr/sbin/pgbouncer", "-q", ini], cwd="/",
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._accepts, "PgBouncer")

    def _accepts(self):
        try:
            wire.Connection("127.0.0.1", self.port).close()
            return True
        except OSError:
            return False

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)


class Bench:
    def __init__(self):
        self.cluster = Postgres("connections", settings=["log_statement = none", "max_connections = 400"])
        self.cluster.start().create_database("app")
        self.folder = temporary_folder()
        self.certificate = Certificate(self.folder)
        self.users = self.folder / "users.txt"
        self.users.write_text(f'"app" "{PASSWORD}"\n')
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE

    def close(self):
        self.cluster.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        Postgres.forget_template()

    def interlock(self, auth="trust", tls=False):
        more = {"tls": {"mode": "require", "cert": str(self.certificate.crt), "key": str(self.certificate.key)}} if tls else {}
        return Interlock(self.cluster, self.cluster, databases={"main": self.cluster.conninfo()}, log={"level": "error"},
                         workers=1, entrypoints={"app": "routed"}, auth={"method": auth, "users": str(self.users)},
                         classification={"tables": str(DATA / "gitlab_schemas.yml")}, **more).start()

    def bouncer(self, auth="trust", tls=False):
        return PgBouncer(self.cluster, self.folder, self.certificate, self.users, auth, tls)

    def connect(self, target, tls=False, database="app"):
        return wire.connect("127.0.0.1", target.port, user="app", database=database, password=PASSWORD,
                            tls_context=self.context if tls else None)


# -- memory ----------------------------------------------------------------------------------------------------------


def memory(pid):
    """KiB of its own."""
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def lose_links(bench):
    """Ends every link: clients of a routed entrypoint stay."""
    # With a client that doesn't use select(), which can't watch the thousandth descriptor.
    with wire.connect(str(bench.cluster.folder), bench.cluster.port, user="postgres", database="app") as admin:
        admin.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        wait_until(lambda: not wire.rows(admin.query("SELECT 1 FROM pg_stat_activity WHERE usename = 'app'")), "links to end")


def hold(bench, target, count, tls, linked, bouncer=False):
    """KiB for each of `count` idle clients."""
    def batch(size):
        made = [bench.connect(target, tls) for _ in range(size)]
        if not linked and not bouncer:
            lose_links(bench)
        return made
    for each in batch(BATCH):  # what is made once is there
        each.terminate()
    wait_until(lambda: len(os.listdir(f"/proc/{target.process.pid}/fd")) < BATCH, "the first clients' end")
    before, held = memory(target.process.pid), []
    while len(held) < count:
        held += batch(min(BATCH, count - len(held)))
    grown = memory(target.process.pid) - before
    for each in held:
        each.terminate()
    return grown / count


def idle(bench):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print("\nidle clients: KiB of memory (PSS) each")
    for tls, count in ((False, IDLE), (True, IDLE // 4)):
        name = f"{count} clients, " + ("TLS" if tls else "no TLS")
        for what, make, kind in (("pgbouncer", bench.bouncer, {"linked": False, "bouncer": True}),
                                 ("pginterlock, client only", bench.interlock, {"linked": False}),
                                 ("pginterlock, with a link", bench.interlock, {"linked": True})):
            target = make(tls=tls)
            try:
                each = hold(bench, target, min(count, 300) if kind["linked"] else count, tls, **kind)
            finally:
                target.close()
            print(f"{name:<24} {what:<28} {each:>8.1f}", flush=True)


# -- connecting ------------------------------------------------------------------------------------------------------


def cpu_microseconds(pid):
    """User and system time of all its threads, to the nanosecond: /proc/PID/stat counts in hundredths of a second."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()) / 1000


def spend(bench, target, tls, refused):
    """CPU microseconds of one connection."""
    def once():
        try:
            bench.connect(target, tls, "nowhere" if refused else "app").terminate()
            assert not refused
        except wire.ServerError as error:
            assert refused, error
    once()
    count = CONNECTS if refused or isinstance(target, PgBouncer) else CONNECTS // 4
    before = cpu_microseconds(target.process.pid)
    for _ in range(count):
        once()
    return (cpu_microseconds(target.process.pid) - before) / count


def connect(bench):
    print(f"\nconnecting and leaving, medians of {ROUNDS} rounds: CPU microseconds of the proxy each")
    print(f"{'':<28} {'pgbouncer':>10} {'client only':>12} {'to a database':>14}")
    for name, auth, tls in (("trust", "trust", False), ("SCRAM, plain userlist", "scram-sha-256", False),
                            ("TLS, trust", "trust", True), ("TLS, SCRAM", "scram-sha-256", True)):
        bouncer, proxy = bench.bouncer(auth, tls), bench.interlock(auth, tls)
        columns = [(bouncer, False), (proxy, True), (proxy, False)]
        spent = [[] for _ in columns]
        try:
            for _ in range(ROUNDS):
                for figures, (target, refused) in zip(spent, columns):
                    figures.append(spend(bench, target, tls, refused))
        finally:
            bouncer.close()
            proxy.close()
        print(f"{name:<28} {statistics.median(spent[0]):>10.0f} {statistics.median(spent[1]):>12.0f} "
              f"{statistics.median(spent[2]):>14.0f}", flush=True)


def main():
    wanted = sys.argv[1:] or ["idle", "connect"]
    bench = Bench()
    try:
        if "idle" in wanted:
            idle(bench)
        if "connect" in wanted:
            connect(bench)
    finally:
        bench.close()


if __name__ == "__main__":
    main()
