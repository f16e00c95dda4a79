"""Who gets in, and how: every authentication method and TLS mode, with good and bad credentials."""

import re
import shutil
import signal
import ssl
import struct
import subprocess

import psycopg
import pytest

import wire
from harness import AS_POSTGRES, Postgres, free_port, one, temporary_folder, wait_until

PASSWORD = "it's \"secret\" pä"
USERS = f'"app" "{PASSWORD.replace(chr(34), chr(34) * 2)}"\n'


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Certificates:
    """A root, a server's certificate for localhost and 127.0.0.1, and clients' certificates."""

    def __init__(self):
        self.folder = temporary_folder()
        self.root, self.root_key = self.folder / "root.crt", self.folder / "root.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                "-subj", "/CN=test root", "-keyout", self.root_key, "-out", self.root)
        self.server, self.server_key = self.make("server", "localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        self.app, self.app_key = self.make("app", "app")
        self.other, self.other_key = self.make("other", "somebody else")

    def make(self, name, common_name, extension=None):
        crt, key, csr, ext = (self.folder / f"{name}.{end}" for end in ("crt", "key", "csr", "ext"))
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-subj", f"/CN={common_name}", "-keyout", key, "-out", csr)
        ext.write_text((extension or "") + "\n")
        openssl("x509", "-req", "-in", csr, "-CA", self.root, "-CAkey", self.root_key, "-CAcreateserial",
                "-days", "30", "-extfile", ext, "-out", crt)
        key.chmod(0o600)
        return crt, key


@pytest.fixture(scope="module")
def certificates():
    made = Certificates()
    yield made
    shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture
def userlist(tmp_path):
    def write(text):
        path = tmp_path / "userlist.txt"
        path.write_text(text)
        path.chmod(0o600)
        return str(path)
    return write


def refused(proxy, sqlstate=None, message=None, **parameters):
    with pytest.raises(psycopg.OperationalError) as raised:
        proxy.connect(**parameters).close()
    text = str(raised.value)
    if message:
        assert message in text, text
    return text


def tls(certificates, mode, **more):
    return {"mode": mode, "cert": str(certificates.server), "key": str(certificates.server_key), **more}


# --- passwords ---

@pytest.mark.parametrize("method", ["password", "md5", "scram-sha-256"])
def test_the_right_password_gets_in(make_proxy, userlist, method):
    proxy = make_proxy(auth={"method": method, "users": userlist(USERS)})
    with proxy.connect(password=PASSWORD) as db:
        assert one(db, "SELECT count(*) FROM ci_builds") > 0


@pytest.mark.parametrize("method", ["password", "md5", "scram-sha-256"])
def test_a_wrong_password_does_not(make_proxy, userlist, method):
    proxy = make_proxy(auth={"method": method, "users": userlist(USERS)})
    refused(proxy, password="hunter2", message='password authentication failed for user "app"')
    assert "hunter2" not in proxy.log() and PASSWORD not in proxy.log()


@pytest.mark.parametrize("method", ["password", "md5", "scram-sha-256"])
def test_an_unknown_user_hears_the_same_as_one_with_a_wrong_password(make_proxy, userlist, method):
    proxy = make_proxy(auth={"method": method, "users": userlist(USERS)})
    refused(proxy, user="nobody", password=PASSWORD, message='password authentication failed for user "nobody"')


def test_a_scram_verifier_serves_scram(make_proxy, userlist, proxy):
    proxy.main.sql("SET password_encryption = 'scram-sha-256'; CREATE ROLE verifier PASSWORD 'sesame'")
    verifier = proxy.main.value("SELECT rolpassword FROM pg_authid WHERE rolname = 'verifier'")
    proxy.main.sql("DROP ROLE verifier")
    own = make_proxy(auth={"method": "scram-sha-256", "users": userlist(f'"app" "{verifier}"\n')})
    own.connect(password="sesame").close()
    refused(own, password="open sesame")


def test_an_md5_secret_serves_md5(make_proxy, userlist, proxy):
    secret = proxy.main.value("SELECT 'md5' || md5('sesame' || 'app')")
    own = make_proxy(auth={"method": "md5", "users": userlist(f'"app" "{secret}"\n')})
    own.connect(password="sesame").close()
    refused(own, password="open sesame")


def test_trust_lets_anyone_in_on_loopback(make_proxy):
    make_proxy(auth={"method": "trust"}).connect().close()


def test_a_unix_socket_serves_as_well(make_proxy, userlist):
    proxy = make_proxy(auth={"method": "scram-sha-256", "users": userlist(USERS)})
    with proxy.connect(host=str(proxy.folder), password=PASSWORD) as db:
        assert one(db, "SELECT count(*) FROM ci_builds") > 0


def test_an_unknown_database_is_refused(proxy):
    refused(proxy, dbname="nowhere", message='database "nowhere" does not exist')


def test_no_database_means_the_users_name(make_proxy):
    with make_proxy().connect(dbname="") as db:
        assert one(db, "SELECT 1") == 1  # user app, entrypoint app


def test_passwords_from_the_userlist_are_used_towards_the_databases(make_proxy, userlist):
    hba = ["host all all 127.0.0.1/32 scram-sha-256"]
    cluster = Postgres("scram", hba=hba).start().create_database("app")
    try:
        with cluster.admin("app") as admin:
            admin.execute("ALTER ROLE app PASSWORD 'inner'")
        own = make_proxy(main=cluster, ci=cluster, databases={"main": cluster.conninfo()},
                         entrypoints={"app": "routed"}, auth={"method": "scram-sha-256", "users": userlist('"app" "inner"\n')})
        with own.connect(password="inner") as db:
            assert one(db, "SELECT 1") == 1
    finally:
        cluster.close()


def test_a_database_that_refuses_the_login_says_so_to_the_client(make_proxy, userlist):
    cluster = Postgres("refusing", hba=["host all all 127.0.0.1/32 reject"]).start().create_database("app")
    try:
        own = make_proxy(main=cluster, ci=cluster, databases={"main": cluster.conninfo()}, entrypoints={"app": "routed"})
        refused(own, message="pg_hba.conf")
    finally:
        cluster.close()


# --- TLS ---

def test_prefer_serves_with_and_without_tls(make_proxy, certificates):
    proxy = make_proxy(tls=tls(certificates, "prefer"))
    for sslmode, on in (("require", True), ("disable", False)):
        with proxy.connect(sslmode=sslmode) as db:
            assert db.pgconn.ssl_in_use is on if hasattr(db.pgconn, "ssl_in_use") else True
            assert one(db, "SELECT count(*) FROM ci_builds") > 0


def test_the_servers_certificate_is_verified_by_the_client(make_proxy, certificates):
    proxy = make_proxy(tls=tls(certificates, "require"))
    proxy.connect(sslmode="verify-full", sslrootcert=str(certificates.root)).close()
    refused(proxy, sslmode="verify-full", sslrootcert=str(certificates.app), message="certificate verify failed")


def test_require_refuses_without_tls(make_proxy, certificates):
    refused(make_proxy(tls=tls(certificates, "require")), sslmode="disable")


def test_disable_offers_none(make_proxy):
    proxy = make_proxy(tls={"mode": "disable"})
    refused(proxy, sslmode="require", message="server does not support SSL")
    proxy.connect(sslmode="prefer").close()


def test_channel_binding_works_over_tls(make_proxy, certificates, userlist):
    proxy = make_proxy(tls=tls(certificates, "require"), auth={"method": "scram-sha-256", "users": userlist(USERS)})
    with proxy.connect(sslmode="require", channel_binding="require", password=PASSWORD) as db:
        assert one(db, "SELECT 1") == 1
    refused(proxy, sslmode="require", channel_binding="require", password="wrong")


def test_a_clients_certificate_gets_its_user_in(make_proxy, certificates):
    proxy = make_proxy(tls=tls(certificates, "verify-full", ca=str(certificates.root)), auth={"method": "cert"})
    with proxy.connect(sslmode="require", sslcert=str(certificates.app), sslkey=str(certificates.app_key)) as db:
        assert one(db, "SELECT count(*) FROM ci_builds") > 0


def test_a_certificate_for_another_user_does_not(make_proxy, certificates):
    proxy = make_proxy(tls=tls(certificates, "verify-full", ca=str(certificates.root)), auth={"method": "cert"})
    refused(proxy, sslmode="require", sslcert=str(certificates.other), sslkey=str(certificates.other_key))


def test_no_certificate_does_not(make_proxy, certificates):
    proxy = make_proxy(tls=tls(certificates, "verify-full", ca=str(certificates.root)), auth={"method": "cert"})
    refused(proxy, sslmode="require", sslcert="/nonexistent.crt", sslkey="/nonexistent.key")


def test_tls_before_1_2_is_refused(make_proxy, certificates):
    proxy = make_proxy(tls=tls(certificates, "require"))
    refused(proxy, sslmode="require", ssl_min_protocol_version="TLSv1", ssl_max_protocol_version="TLSv1.1")


def test_a_large_result_passes_through_tls(make_proxy, certificates):
    proxy = make_proxy(tls=tls(certificates, "require"))
    with proxy.connect(sslmode="require") as db:
        assert len(one(db, "SELECT repeat('x', 20000000) FROM ci_builds LIMIT 1")) == 20_000_000


def resumes(proxy, version=None, user="app", password=None, again=lambda: None):
    """Whether a second connection resumes the first one's TLS session; both log in. `again` runs between them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if version:
        context.maximum_version = version
    first = wire.connect("127.0.0.1", proxy.port, user=user, database="app", password=password, tls_context=context)
    assert first.query("SELECT 1")[-1].type == "Z"  # the ticket has come before the answer
    ticket = first.socket.session
    first.terminate()
    again()
    second = wire.Connection("127.0.0.1", proxy.port)
    second.send(wire.ssl_request())
    assert second.read_bytes(1) == b"S"
    second.socket = context.wrap_socket(second.socket, session=ticket)
    second.log_in({"user": user, "database": "app"}, password)
    assert wire.rows(second.query("SELECT 1")) == [[b"1"]]
    reused = second.socket.session_reused
    second.terminate()
    return reused


def test_a_tls_session_is_resumed_and_still_binds_the_channel(make_proxy, certificates, userlist):
    proxy = make_proxy(tls=tls(certificates, "require"), auth={"method": "scram-sha-256", "users": userlist(USERS)})
    assert resumes(proxy, password=PASSWORD) is True


def test_a_channel_binding_that_was_negotiated_away_is_told_as_that(make_proxy, certificates, userlist):
    proxy = make_proxy(tls=tls(certificates, "require"), auth={"method": "scram-sha-256", "users": userlist(USERS)})
    with wire.Connection("127.0.0.1", proxy.port) as connection:
        connection.send(wire.ssl_request())
        assert connection.read_bytes(1) == b"S"
        connection.socket = ssl._create_unverified_context().wrap_socket(connection.socket)
        connection.send(wire.startup({"user": "app", "database": "app"}))
        assert connection.read_until("R")[-1][0] == "R"
        first = wire.Scram(PASSWORD, flag="y").first()
        connection.send(wire.message("p", wire.string("SCRAM-SHA-256") + struct.pack("!I", len(first)) + first))
        error, = wire.errors(connection.read_to_end())
    assert (error["S"], error["C"]) == ("FATAL", "28000")
    assert error["M"].startswith("SCRAM channel binding negotiation error")


def test_a_tls_session_before_1_3_is_not_resumed(make_proxy, certificates):
    proxy = make_proxy(tls=tls(certificates, "require"))
    assert resumes(proxy, ssl.TLSVersion.TLSv1_2) is False


def test_a_tls_session_is_not_resumed_where_clients_have_certificates(make_proxy, certificates):
    proxy = make_proxy(tls=tls(certificates, "require", ca=str(certificates.root)))
    assert resumes(proxy) is False


def test_a_reload_ends_what_could_be_resumed(make_proxy, certificates):
    proxy = make_proxy(tls=tls(certificates, "require"))

    def reload():
        proxy.signal(signal.SIGHUP)
        proxy.wait_for_log("configuration reloaded")
    assert resumes(proxy, again=reload) is False


@pytest.fixture(scope="module")
def tls_cluster(certificates):
    cluster = Postgres("tls", settings=["ssl = on", "ssl_cert_file = 'server.crt'", "ssl_key_file = 'server.key'",
                                        "ssl_ca_file = 'root.crt'"],
                       hba=["hostssl all all 127.0.0.1/32 cert clientcert=verify-full"])
    for source, name in ((certificates.server, "server.crt"), (certificates.server_key, "server.key"),
                         (certificates.root, "root.crt")):
        shutil.copy(source, cluster.data / name)
        (cluster.data / name).chmod(0o600)
        if AS_POSTGRES:
            shutil.chown(cluster.data / name, "postgres", "postgres")
    yield cluster.start().create_database("app")
    cluster.close()


def test_towards_a_database_tls_and_certificates_are_libpqs(make_proxy, certificates, tls_cluster):
    conninfo = tls_cluster.conninfo(sslmode="verify-full", sslrootcert=certificates.root, sslcert=certificates.app,
                                    sslkey=certificates.app_key)
    proxy = make_proxy(main=tls_cluster, ci=tls_cluster, databases={"main": conninfo}, entrypoints={"app": "routed"})
    with proxy.connect() as db:
        assert one(db, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") is True
        assert len(one(db, "SELECT repeat('y', 5000000)")) == 5_000_000


def test_a_statement_on_an_encrypted_link_is_cancelled(make_proxy, certificates, tls_cluster):
    conninfo = tls_cluster.conninfo(sslcert=certificates.app, sslkey=certificates.app_key)
    proxy = make_proxy(main=tls_cluster, ci=tls_cluster, databases={"main": conninfo}, entrypoints={"app": "routed"})
    with wire.connect("127.0.0.1", proxy.port, user="app", database="app") as client:
        client.send(wire.query("SELECT pg_sleep(60)"))
        wait_until(lambda: tls_cluster.backends("SELECT pg_sleep%"), "the statement to run")
        client.cancel()
        messages = client.read_until()
        assert [wire.error_fields(m.body)["C"] for m in messages if m.type == "E"] == ["57014"]
        assert wire.rows(client.query("SELECT 1")) == [[b"1"]]
        client.terminate()


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_database_is_told_that_a_session_ends(make_proxy, proxy, certificates, tls_cluster, encrypted):
    cluster = tls_cluster if encrypted else proxy.main
    conninfo = cluster.conninfo(**({"sslcert": certificates.app, "sslkey": certificates.app_key} if encrypted else {}))
    own = make_proxy(main=cluster, ci=cluster, databases={"main": conninfo}, entrypoints={"app": "routed"})
    said = len(cluster.log())
    with own.connect(autocommit=False) as db:
        pid = one(db, "SELECT pg_backend_pid()")
        assert one(db, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") is encrypted
        db.pgconn.finish()  # within a transaction: a server that isn't told says so
    wait_until(lambda: not cluster.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", params=(pid,)), "the server's end")
    assert not re.search("unexpected EOF|SSL error|reset by peer", cluster.log()[said:])


# --- conninfo ---

def test_several_hosts_are_tried_in_order(make_proxy, proxy):
    conninfo = f"host=127.0.0.1,127.0.0.1 port={free_port()},{proxy.main.port} dbname=app"
    own = make_proxy(databases={"main": conninfo, "ci": proxy.ci.conninfo()})
    with own.connect() as db:
        assert one(db, "SELECT count(*) FROM projects") > 0


def test_target_session_attrs_is_respected(make_proxy, proxy):
    own = make_proxy(databases={"main": proxy.main.conninfo(target_session_attrs="read-only"), "ci": proxy.ci.conninfo()})
    with own.connect() as db:  # main counts as down: the session lives
        with pytest.raises(psycopg.Error):
            db.execute("SELECT count(*) FROM projects")
        assert one(db, "SELECT count(*) FROM ci_builds") > 0


def test_a_databases_unix_socket_works(make_proxy, proxy):
    proxy.main.set_hba(["local all all trust", "host all all 127.0.0.1/32 trust"])
    own = make_proxy(databases={"main": f"host={proxy.main.folder} port={proxy.main.port} dbname=app",
                                "ci": proxy.ci.conninfo()})
    with own.connect() as db:
        assert one(db, "SELECT inet_server_addr()") is None


def test_a_host_name_is_resolved(make_proxy, proxy):
    own = make_proxy(databases={"main": f"host=localhost port={proxy.main.port} dbname=app", "ci": proxy.ci.conninfo()})
    with own.connect() as db:
        assert one(db, "SELECT 1") == 1
