"""What is measured against what: two clusters, PgBouncer and this proxy in front of them, each with a session's pool and with a
transaction's. All on loopback, on free ports, and ended by who started them."""

import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import wire  # noqa: E402
from harness import AS_POSTGRES, BINDIR, DATA, PROGRAM, Interlock, Postgres, free_port, temporary_folder, wait_until  # noqa: E402

PGBOUNCER = "/usr/sbin/pgbouncer"  # Debian's
POOL_SIZE = 20
IDS = 10000  # rows of projects and ci_builds: client.c knows it too
TABLES = ("pgbench_accounts", "pgbench_branches", "pgbench_tellers", "pgbench_history", "bench_rows")
MAX_CLIENTS = 12000


class PgBouncer:
    """PgBouncer without logging each connection. `program`: it, and what it is run under."""

    def __init__(self, cluster, certificate, mode, size, program):
        self.folder, self.port = temporary_folder(), free_port()
        key, cert = self.folder / "server.key", self.folder / "server.crt"
        for source, copy in zip(certificate, (key, cert)):
            shutil.copy(source, copy)
            if AS_POSTGRES:
                shutil.chown(copy, "postgres", "postgres")
        ini = self.folder / "pgbouncer.ini"
        ini.write_text(f"""[databases]
app = host=127.0.0.1 port={cluster.port} dbname=app user=app
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
max_client_conn = {MAX_CLIENTS}
default_pool_size = {size}
log_connections = 0
log_disconnections = 0
client_tls_sslmode = allow
client_tls_key_file = {key}
client_tls_cert_file = {cert}
""")
        # In a session of its own, as ours: the kernel shares the processors out between sessions (sched_autogroup).
        self.process = subprocess.Popen([*AS_POSTGRES, *program, "-q", ini], cwd="/", start_new_session=True,
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


class Target:
    """Where to connect, and whose CPU counts (pid None: nobody's)."""

    def __init__(self, name, port, pid=None, process=None):
        self.name, self.port, self.pid, self.process = name, port, pid, process

    def conninfo(self, **more):
        parts = {"host": "127.0.0.1", "port": self.port, "user": "app", "dbname": "app", "sslmode": "disable", **more}
        return " ".join(f"{key}={value}" for key, value in parts.items())


def _pgbouncer_prepares(program):
    """Whether its transaction pools know prepared statements, as from 1.21 on."""
    run = subprocess.run([program, "--version"], capture_output=True, text=True)
    return tuple(int(part) for part in run.stdout.split()[1].split(".")[:2]) >= (1, 21)


def _settings_taken(**settings):
    """Whether this build knows the settings."""
    stand_in = type("Cluster", (), {"conninfo": lambda self: "host=127.0.0.1 dbname=app"})()
    proxy = Interlock(stand_in, stand_in, **settings)
    run = subprocess.run([PROGRAM, "check", "--config", proxy.config], capture_output=True)
    shutil.rmtree(proxy.folder, ignore_errors=True)
    return run.returncode == 0


class Stage:
    """The clusters, and the targets, each started when it is first asked for."""

    def __init__(self, max_clients, pgbouncer=PGBOUNCER):
        self.max_clients, self.pgbouncer = max_clients, str(pgbouncer)
        self.bouncer_prepares = _pgbouncer_prepares(self.pgbouncer)
        self.folder = temporary_folder()
        self._made, self._closing = {}, []
        self.pools = {"transaction": {"mode": "transaction", "size": POOL_SIZE, "max_client_conn": MAX_CLIENTS},
                      "session": {"mode": "session", "size": max_clients + 20, "max_client_conn": MAX_CLIENTS}}
        self.has_pool = all(_settings_taken(pool=pool) for pool in self.pools.values())

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def _start(self):
        settings = ["log_statement = none", f"max_connections = {2 * self.max_clients + 300}", "shared_buffers = 512MB",
                    "max_wal_size = 4GB"]
        self.main = Postgres("main", settings=settings)
        self._closing.append(self.main)
        self.main.start().create_database("app")
        self.ci = Postgres("ci", settings=["log_statement = none", "max_connections = 300"])
        self._closing.append(self.ci)
        self.ci.start().create_database("app_ci")
        subprocess.run([BINDIR / "pgbench", "-i", "-q", "-s", "10", self._url(self.main)], check=True, capture_output=True)
        self.main.sql("SET ROLE app; CREATE UNLOGGED TABLE bench_rows (id bigint, payload text);"
                      "CREATE TABLE projects (id bigint PRIMARY KEY, star_count int);"
                      f"INSERT INTO projects SELECT i, 0 FROM generate_series(1, {IDS}) i; ANALYZE projects")
        self.ci.sql("SET ROLE app; CREATE TABLE ci_builds (id bigint PRIMARY KEY, status text);"
                    f"INSERT INTO ci_builds SELECT i, 'success' FROM generate_series(1, {IDS}) i; ANALYZE ci_builds")
        self._tables = self.folder / "tables.yml"
        self._tables.write_text((DATA / "gitlab_schemas.yml").read_text() + "".join(f"{name}: :gitlab_main\n" for name in TABLES))
        self._certificate = self.folder / "server.key", self.folder / "server.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "30",
                        "-keyout", self._certificate[0], "-out", self._certificate[1]], check=True, capture_output=True)

    @staticmethod
    def _url(cluster):
        return f"host=127.0.0.1 port={cluster.port} dbname={cluster.dbname} user=app"

    def __exit__(self, *_):
        self.close()

    def close(self):
        for each in reversed(self._closing):
            each.close()
        Postgres.forget_template()
        shutil.rmtree(self.folder, ignore_errors=True)

    def has(self, name):
        return self.has_pool or not name.startswith("pginterlock-pool")

    def new_proxy(self, pool="session", **settings):
        """A process of its own, which the caller closes."""
        if self.has_pool:
            settings["pool"] = self.pools[pool]
        return Interlock(self.main, self.ci, **{
            "classification": {"tables": str(self._tables)}, "log": {"level": "warning"}, "workers": 1,
            "tls": {"mode": "prefer", "cert": str(self._certificate[1]), "key": str(self._certificate[0])}, **settings}).start()

    def new_bouncer(self, pool, under=()):
        return PgBouncer(self.main, self._certificate, pool, self.pools[pool]["size"], [*under, self.pgbouncer])

    def target(self, name):
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name):
        if name == "direct":
            return Target(name, self.main.port)
        pool = "transaction" if "-pool" in name else "session"
        process = (self.new_bouncer(pool) if name.startswith("pgbouncer")
                   else self.new_proxy(pool, workers=2 if name.endswith("-2") else 1))
        self._closing.append(process)
        return Target(name, process.port, process.process.pid, process)

    def end(self, target):
        """A new process when it is next asked for."""
        if target.process:
            self._closing.remove(target.process)
            del self._made[target.name]
            target.process.close()
