"""What the tests stand on: throw-away PostgreSQL clusters, the proxy as a process, and waiting for conditions."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import psycopg

import wire

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
DEMO = ROOT / "deploy" / "demo"
BINDIR = pathlib.Path(os.environ.get("PG_BINDIR", "/usr/lib/postgresql/15/bin"))
# All tests can be run with connections that clients take turns with: session or transaction.
POOL_MODE = os.environ.get("POOL_MODE") or None
PROGRAM = pathlib.Path(os.environ.get("PGINTERLOCK", ROOT / "build" / "release" / "pginterlock"))
AS_POSTGRES = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
PATIENCE = float(os.environ.get("TEST_PATIENCE", 20))  # seconds that any condition may take


def wait_until(condition, what, patience=None):
    """Calls `condition` until it is true, and gives its value; a failed assertion after `patience` seconds."""
    deadline = time.monotonic() + (patience or PATIENCE)
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        pause.wait(0.01)


def reserved_port():
    """A port of loopback, and the socket that keeps it from being given to anybody else while it is open. Who asks for
    that very port with SO_REUSEADDR, as PostgreSQL and the proxy do, can listen there."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    return s.getsockname()[1], s


def free_port():
    port, reservation = reserved_port()
    reservation.close()
    return port


def temporary_folder(prefix="pginterlock-"):
    """A folder that `postgres` may enter, short enough for a Unix socket's path."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o755)
    return folder


def child_pids(pid):
    """The processes whose parent is `pid`."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if int(pathlib.Path("/proc", entry, "stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                    found.append(int(entry))
    return found


def command_line(pid):
    """Empty if the process has ended."""
    try:
        return pathlib.Path("/proc", str(pid), "cmdline").read_bytes()
    except OSError:
        return b""


def cpu_seconds(pid):
    fields = pathlib.Path("/proc", str(pid), "stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Postgres:
    """One cluster in a folder of its own, on loopback and a Unix socket."""

    _template = None  # an initdb'ed folder, made once: initdb takes longer than copying

    def __init__(self, name, settings=(), hba=None):
        self.name = name
        self.folder = temporary_folder()
        self.data = self.folder / "data"
        self.port = self.reservation = None
        self.process = None
        self._initdb()
        with (self.data / "postgresql.conf").open("a") as conf:
            for line in ("listen_addresses = '127.0.0.1'", f"unix_socket_directories = '{self.folder}'", "fsync = off",
                         "full_page_writes = off", "shared_buffers = 32MB",
                         "max_connections = 200", "max_prepared_transactions = 10", "autovacuum = off",
                         "jit = off", "log_statement = all", "log_line_prefix = '%m [%p] %d '", "timezone = 'UTC'",
                         "client_min_messages = notice", "lock_timeout = '20s'", *settings):
                conf.write(line + "\n")
        if hba:
            self.set_hba(hba)

    def _initdb(self):
        if Postgres._template is None:
            template = temporary_folder("pginterlock-template-")
            self._give_to_postgres(template)
            subprocess.run([*AS_POSTGRES, BINDIR / "initdb", "-D", template / "data", "-U", "postgres", "-A", "trust",
                            "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"], check=True, capture_output=True, cwd="/")
            Postgres._template = template
        subprocess.run(["cp", "-a", Postgres._template / "data", self.data], check=True)
        self._give_to_postgres(self.folder)

    @classmethod
    def forget_template(cls):
        if cls._template:
            shutil.rmtree(cls._template, ignore_errors=True)
            cls._template = None

    @staticmethod
    def _give_to_postgres(folder):
        if AS_POSTGRES:
            shutil.chown(folder, "postgres", "postgres")

    def set_hba(self, lines):
        (self.data / "pg_hba.conf").write_text("\n".join(["local all postgres trust", *lines]) + "\n")
        if self.process:
            self.process.send_signal(signal.SIGHUP)

    def start(self):
        for attempt in range(5):
            if self.port is None:
                self.port, self.reservation = reserved_port()
            log = (self.folder / "log").open("ab")
            # A session of its own: a signal that a terminal sends to the tests is not for the server.
            self.process = subprocess.Popen([*AS_POSTGRES, BINDIR / "postgres", "-D", self.data, "-p", str(self.port)],
                                            stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/",
                                            start_new_session=True)
            log.close()
            if self._accepts():
                return self
            self.port = None  # taken by somebody else in between
        raise AssertionError(f"{self.name} does not start: {self.log()[-2000:]}")

    def _accepts(self):
        def tried():
            if self.process.poll() is not None:
                return "ended"
            try:
                self.admin("postgres").close()
                return "accepts"
            except psycopg.OperationalError:
                return None
        return wait_until(tried, f"{self.name} to accept connections", 60) == "accepts"

    def stop(self, how=signal.SIGINT):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)
        self.process = None

    def kill(self):
        """kill -9 of the postmaster and of all its children, as a machine that loses power."""
        children = child_pids(self.process.pid)
        self.process.kill()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(60)
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in children), "the backends to end")
        self.process = None

    def close(self):
        """At once: a last checkpoint of what is thrown away took seconds on a busy machine."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.stop(signal.SIGQUIT)
        if self.reservation:
            self.reservation.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def admin(self, dbname):
        return psycopg.connect(host=str(self.folder), port=self.port, user="postgres", dbname=dbname, autocommit=True)

    def sql(self, text, dbname=None, params=None):
        """Runs `text` as superuser past the proxy; the rows of the last statement, if it has any."""
        with self.admin(dbname or self.dbname) as connection:
            cursor = connection.execute(text, params)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else None

    def value(self, text, dbname=None, params=None):
        return self.sql(text, dbname, params)[0][0]

    def create_database(self, dbname, *scripts):
        self.dbname = dbname
        with self.admin("postgres") as connection:
            connection.execute("DO $$ BEGIN CREATE ROLE app LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
            connection.execute(f"CREATE DATABASE {dbname} OWNER app")
        with psycopg.connect(host=str(self.folder), port=self.port, user="postgres", dbname=dbname,
                             autocommit=True) as connection:
            connection.execute("ALTER SCHEMA public OWNER TO app; SET ROLE app")
            for script in scripts:
                connection.execute(pathlib.Path(script).read_text())
        return self

    def conninfo(self, **more):
        parts = {"host": "127.0.0.1", "port": self.port, "dbname": self.dbname, **more}
        return " ".join(f"{key}={value}" for key, value in parts.items())

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def backends(self, pattern="%", dbname=None):
        """Pids of the client backends on the database whose last query is like `pattern`."""
        return [row[0] for row in self.sql(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
            " AND pid <> pg_backend_pid() AND query LIKE %s", params=(dbname or self.dbname, pattern))]


def yaml_text(settings):
    """A settings file: one key a line, values as JSON, which is YAML."""
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items())


class Interlock:
    """The proxy in front of two clusters. Keyword arguments add to or replace the keys of its settings file; None
    removes one."""

    def __init__(self, main, ci, **overrides):
        self.main, self.ci = main, ci
        self.folder = temporary_folder()
        self.port, self.reservation = reserved_port()
        self.config = self.folder / "pginterlock.yml"
        self.overrides = overrides
        self.process = None
        self.write_config()

    def write_config(self, **overrides):
        self.overrides = {**self.overrides, **overrides}
        settings = {
            "listen": [f"127.0.0.1:{self.port}", f"{self.folder}:{self.port}"],
            "databases": {"main": self.main.conninfo(), "ci": self.ci.conninfo()},
            "classification": {"tables": str(DATA / "gitlab_schemas.yml")},
            "entrypoints": {"app": "routed", "app_main": "main", "app_ci": "ci"},
            "auth": {"method": "trust"},
            "log": {"level": "debug"},
            "workers": 2,
            "shutdown_timeout": 10,
            **({"pool": {"mode": POOL_MODE}} if POOL_MODE else {}),
            **self.overrides,
        }
        self.config.write_text(yaml_text({key: value for key, value in settings.items() if value is not None}))

    def start(self):
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([PROGRAM, "run", "--config", self.config], stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, start_new_session=True, cwd="/")

        def accepts():
            assert self.process.poll() is None, f"pginterlock ended by itself: {self.log()[-3000:]}"
            try:
                socket.create_connection(("127.0.0.1", self.port), 5).close()
                # The addresses are opened one after another, the Unix socket last; its file is there before it listens.
                if "listen" not in self.overrides:
                    with socket.socket(socket.AF_UNIX) as unix:
                        unix.connect(str(self.folder / f".s.PGSQL.{self.port}"))
                return True
            except OSError:
                return False
        wait_until(accepts, "pginterlock to accept connections")
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        """SIGTERM, and waits. The exit status must be 0 and no sanitizer may have anything to say."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"pginterlock does not end on SIGTERM: {self.log()[-2000:]}") from None
        status, self.process = self.process.returncode, None
        assert not re.search(r"Sanitizer|runtime error:|Assertion", self.log()), self.log()[-6000:]
        assert status == 0, f"pginterlock ended with {status}: {self.log()[-3000:]}"

    def close(self):
        try:
            self.stop()
        finally:
            if self.process and self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.reservation.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def wait_for_log(self, pattern, start=0):
        return wait_until(lambda: re.search(pattern, self.log()[start:]), f"/{pattern}/ in the log")

    def parameters(self, dbname="app", **more):
        return {"host": "127.0.0.1", "port": self.port, "user": "app", "dbname": dbname, **more}

    def connect(self, dbname="app", autocommit=True, **more):
        connection = psycopg.connect(**self.parameters(dbname, **more), autocommit=autocommit, connect_timeout=20)
        connection.prepare_threshold = None  # the tests say themselves what is prepared
        return connection

    def environment(self, dbname="app", **more):
        """For programs that take libpq's variables."""
        return {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "app", "PGDATABASE": dbname,
                "LC_ALL": "C.UTF-8", **more}

    def psql(self, script, dbname="app", *arguments, check=True, **more):
        """psql over `script` on its standard input: unaligned, tuples only, stops at the first error."""
        run = subprocess.run([BINDIR / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", *arguments], input=script, text=True,
                             capture_output=True, timeout=120, env=self.environment(dbname, **more))
        assert not check or run.returncode == 0, f"psql: {run.returncode}: {run.stdout}{run.stderr}"
        return run


class Pooled(Interlock):
    """One worker, so that limits hold to the connection, and clients that take turns. Its connections to databases
    are told from others' by their application_name. `strings`: more for the connection strings."""

    def __init__(self, main, ci, pool, strings, settings):
        self.name = f"pool-{os.urandom(4).hex()}"
        self.strings = {"user": "app", "application_name": self.name, **strings}
        super().__init__(main, ci, databases=self.databases(main, ci), **{"workers": 1, "pool": pool, **settings})

    def databases(self, main, ci):
        strings = {key: value for key, value in self.strings.items() if value is not None}
        return {"main": main.conninfo(**strings), "ci": ci.conninfo(**strings)}

    def configure(self, **overrides):
        """Writes the file anew and has it loaded."""
        before = len(self.log())
        self.write_config(**overrides)
        self.signal(signal.SIGHUP)
        self.wait_for_log("configuration (not )?reloaded", before)

    def wire(self, dbname="app", user="app", **more):
        return wire.connect("127.0.0.1", self.port, user=user, database=dbname, **more)

    def pids(self, cluster=None):
        """The backends of its connections on a cluster, main by default."""
        return [row[0] for row in (cluster or self.main).sql(
            "SELECT pid FROM pg_stat_activity WHERE application_name = %s ORDER BY backend_start, pid",
            params=(self.name,))]

    def wait_pids(self, count, cluster=None, patience=None):
        wait_until(lambda: len(self.pids(cluster)) == count, f"{count} connections", patience)
        return self.pids(cluster)


class Direct:
    """Stands in for the proxy where one is wanted that surely does nothing: one cluster with all tables."""

    def __init__(self, postgres):
        self.main = self.ci = postgres
        self.port, self.folder = postgres.port, postgres.folder
        self.process = postgres.process

    parameters, connect = Interlock.parameters, Interlock.connect
    environment, psql = Interlock.environment, Interlock.psql

    def log(self):
        return self.main.log()


@contextlib.contextmanager
def rejected(sqlstate, rule=None, table=None):
    """Expects the statements inside to be rejected by the proxy; gives an object whose `.diag` is the error's."""
    seen = type("Seen", (), {"diag": None})()
    try:
        yield seen
    except psycopg.Error as error:
        seen.diag = error.diag
        assert error.diag.sqlstate == sqlstate, f"{error.diag.sqlstate}: {error}"
        assert error.diag.severity == "ERROR"
        if rule:
            assert error.diag.source_function == f"pginterlock_{rule}"
        if table:
            assert error.diag.table_name == table
    else:
        raise AssertionError(f"nothing was rejected, {sqlstate} expected")


@contextlib.contextmanager
def fails(sqlstate):
    """Expects the statements inside to fail with the SQLSTATE, whoever says it."""
    seen = type("Seen", (), {"diag": None, "error": None})()
    try:
        yield seen
    except psycopg.Error as error:
        seen.diag, seen.error = error.diag, error
        assert error.diag.sqlstate == sqlstate, f"{error.diag.sqlstate}: {error}"
    else:
        raise AssertionError(f"nothing failed, {sqlstate} expected")


def one(connection, text, params=None):
    """The first column of the first row."""
    row = connection.execute(text, params).fetchone()
    return row[0] if row else None


def verdicts(output):
    """A driver's program says `ok NAME` or `failed NAME: WHY` a line: (verdict, why) by name."""
    lines = (line.partition(" ") for line in output.splitlines())
    checks = ((verdict, rest.partition(": ")) for verdict, _, rest in lines)
    return {name: (verdict, why) for verdict, (name, _, why) in checks}
