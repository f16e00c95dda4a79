"""Many clients, and what each costs: memory, options of its socket, and the way out for all at once."""

import contextlib
import ctypes
import os
import pathlib
import resource
import signal
import socket
import subprocess

import pytest

import wire
from harness import POOL_MODE, PROGRAM, wait_until


@contextlib.contextmanager
def proxys_socket(proxy, client):
    """The proxy's end of a client's connection, to look at."""
    libc, pidfd = ctypes.CDLL(None, use_errno=True), os.pidfd_open(proxy.process.pid)
    mine, found = client.getsockname(), None
    try:
        for name in os.listdir(f"/proc/{proxy.process.pid}/fd"):
            fd = libc.syscall(438, pidfd, int(name), 0)  # pidfd_getfd
            if fd < 0:
                continue
            with contextlib.suppress(OSError):
                found = socket.socket(fileno=os.dup(fd))
                if found.family == socket.AF_INET and found.getpeername() == mine:
                    os.close(fd)
                    break
            if found:
                found.close()
                found = None
            os.close(fd)
        assert found, "the proxy has no such connection"
        yield found
    finally:
        os.close(pidfd)
        if found:
            found.close()


def tcp_options(proxy):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as client:
        with proxys_socket(proxy, client.socket) as other:
            return {"keepalive": other.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), **{
                name: other.getsockopt(socket.IPPROTO_TCP, getattr(socket, "TCP_" + name.upper()))
                for name in ("nodelay", "keepidle", "keepintvl", "keepcnt", "user_timeout")}}


def system_default(name):
    return int(pathlib.Path("/proc/sys/net/ipv4", name).read_text())


def test_clients_sockets_ask_for_signs_of_life_as_the_system_does(make_proxy):
    assert tcp_options(make_proxy()) == {
        "keepalive": 1, "nodelay": 1, "keepidle": system_default("tcp_keepalive_time"),
        "keepintvl": system_default("tcp_keepalive_intvl"), "keepcnt": system_default("tcp_keepalive_probes"),
        "user_timeout": 0}


def test_tcp_settings_are_the_clients_sockets(make_proxy):
    proxy = make_proxy(tcp_keepidle=11, tcp_keepintvl=12, tcp_keepcnt=13, tcp_user_timeout=14000)
    assert tcp_options(proxy) == {"keepalive": 1, "nodelay": 1, "keepidle": 11, "keepintvl": 12, "keepcnt": 13,
                                  "user_timeout": 14000}


def test_tcp_settings_change_for_later_clients_on_reload(make_proxy):
    proxy = make_proxy(tcp_keepidle=11, tcp_user_timeout=14000)
    assert tcp_options(proxy)["keepidle"] == 11
    proxy.write_config(tcp_keepidle=0, tcp_user_timeout=0, tcp_keepalive=False)
    proxy.signal(signal.SIGHUP)
    proxy.wait_for_log("configuration reloaded")
    options = tcp_options(proxy)
    assert options["keepidle"] == system_default("tcp_keepalive_time")
    assert (options["user_timeout"], options["keepalive"]) == (0, 0)


@pytest.fixture
def files():
    """Room for the clients of this process, too."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def clients_without_links(proxy, cluster, count):
    """Clients that are logged in and idle; their links are gone."""
    made = []
    while len(made) < count:
        made += [wire.connect("127.0.0.1", proxy.port, user="app", database="app") for _ in range(min(50, count - len(made)))]
        for pid in cluster.backends():
            cluster.sql("SELECT pg_terminate_backend(%s)", params=(pid,))
        wait_until(lambda: not cluster.backends(), "the links to end")
    return made


def memory(proxy):
    """KiB that are its own; not what it shares with others that run, whose number changes."""
    text = pathlib.Path(f"/proc/{proxy.process.pid}/smaps_rollup").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("Anonymous:")).split()[1])


@pytest.fixture
def own_proxy(make_proxy, own_clusters):
    main, ci = own_clusters
    return make_proxy(main=main, ci=ci, workers=1, log={"level": "error"}), main


@pytest.mark.skipif(any(each in pathlib.Path(PROGRAM).read_bytes() for each in (b"__asan_init", b"__tsan_init")),
                    reason="a sanitizer's memory isn't the program's")
def test_an_idle_client_stays_small(own_proxy, files):
    proxy, main = own_proxy
    warm, before = clients_without_links(proxy, main, 50), memory(proxy)
    held = clients_without_links(proxy, main, 400)
    each = (memory(proxy) - before) / len(held)
    for client in warm + held:
        client.close()
    # 1.7 are the client's; the rest is what it is to be told about the link that it lost, and pages not filled.
    assert each <= 2.6, f"{each:.1f} KiB for each of {len(held)} clients"


def test_a_client_whose_links_are_gone_goes_on(own_proxy, files):
    proxy, main = own_proxy
    client, = clients_without_links(proxy, main, 1)
    if POOL_MODE != "transaction":  # there it has none between transactions, and nothing is to be told
        assert client.query("SELECT count(*) FROM projects")[0].type == "E"  # told once
    assert client.query("SELECT count(*) FROM projects")[0].type == "T"
    client.terminate()


def test_thousands_of_clients_are_accepted_and_end_at_once(own_proxy, files):
    proxy, _ = own_proxy
    inside = f"/proc/{proxy.process.pid}/fd"
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(wire.Connection("127.0.0.1", proxy.port)) for _ in range(2000)]
        wait_until(lambda: len(os.listdir(inside)) > 2000, "the proxy to accept them all")
        another = stack.enter_context(wire.connect("127.0.0.1", proxy.port, user="app", database="app"))
        assert wire.rows(another.query("SELECT 1")) == [[b"1"]]
        proxy.stop()
        for client in [*clients, another]:
            client.read_to_end()


def test_too_few_files_are_told_at_start(make_proxy):
    proxy = make_proxy(start=False)
    with (proxy.folder / "log").open("ab") as log:
        proxy.process = subprocess.Popen(["prlimit", "--nofile=900:900", PROGRAM, "run", "--config", proxy.config],
                                         stdout=log, stderr=log, start_new_session=True, cwd="/")
    proxy.wait_for_log("few files may be open .* files=900 clients=300")
    proxy.wait_for_log("is ready")  # it serves as many as it can


def test_as_many_files_are_allowed_as_the_system_lets(own_proxy):
    proxy, _ = own_proxy
    limits = pathlib.Path(f"/proc/{proxy.process.pid}/limits").read_text()
    soft, hard = next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3:5]
    assert soft == hard


# -- is it still there? --------------------------------------------------------------------------


@contextlib.contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.own_connection
@pytest.mark.parametrize("before", [[], ["BEGIN", "SELECT 1"]])
def test_an_empty_query_on_a_pinned_connection_is_its_servers_to_answer(proxy, before):
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app_main") as client:
        pid = int(wire.rows(client.query("SELECT pg_backend_pid()"))[0][0])
        for sql in before:
            client.query(sql)
        with stopped(pid):
            client.send(wire.query(";"))
            with pytest.raises(TimeoutError):
                client.read(0.1)
        status = b"T" if before else b"I"
        assert [(each.type, each.body) for each in client.read_until("Z")] == [("I", b""), ("Z", status)]


@pytest.mark.parametrize("before, status", [(["BEGIN"], b"T"), (["BEGIN", "SELECT 1"], b"T"), (["BEGIN", "SELECT 1/0"], b"E"),
                                            (["BEGIN; SELECT 1/0", "ROLLBACK"], b"I"), ([], b"I")])
@pytest.mark.parametrize("dbname", ["app", "app_main"])
def test_an_empty_query_leaves_the_transaction_as_it_is(proxy, dbname, before, status):
    with wire.connect("127.0.0.1", proxy.port, user="app", database=dbname) as client:
        for sql in before:
            client.query(sql)
        for _ in range(2):
            assert [(each.type, each.body) for each in client.query("")] == [("I", b""), ("Z", status)]
        assert wire.tags(client.query("ROLLBACK")) == ["ROLLBACK"]
