"""The start of a connection reads as PostgreSQL's, up to what the proxy says itself."""

import pytest

import wire
from compare import connections, plain, rest_of


def test_the_login_reads_as_postgresqls(proxy):
    direct, through = connections(proxy, "main")
    assert plain(through.login) == plain(direct.login)
    direct.close()
    through.close()


def test_parameters_at_startup_read_as_postgresqls(proxy):
    more = {"client_encoding": "LATIN1", "DateStyle": "German", "options": "-c intervalstyle=iso_8601 -c geqo=off",
            "application_name": "näme"}
    with wire.connect("127.0.0.1", proxy.main.port, user="app", database="app", parameters=more) as direct, \
            wire.connect("127.0.0.1", proxy.port, user="app", database="app", parameters=more) as through:
        assert plain(through.login) == plain(direct.login)
        assert plain(through.query("SHOW geqo")) == plain(direct.query("SHOW geqo"))


@pytest.mark.parametrize("more", [{"no_such_setting": "1"}, {"options": "-c work_mem=much"}, {"options": "--nonsense"},
                                  {"client_encoding": "KLINGON"}, {"DateStyle": "never"}])
def test_a_bad_startup_parameter_is_mains_error(proxy, more):
    raised = []
    for port in (proxy.main.port, proxy.port):
        with pytest.raises(wire.ServerError) as error:
            wire.connect("127.0.0.1", port, user="app", database="app", parameters=more).close()
        raised.append({key: error.value.fields.get(key) for key in "SVCM"})
    assert raised[0] == raised[1]


def test_a_role_that_does_not_exist_is_mains_error(proxy):
    raised = []
    for port in (proxy.main.port, proxy.port):
        with pytest.raises(wire.ServerError) as error:
            wire.connect("127.0.0.1", port, user="stranger", database="app").close()
        raised.append({key: error.value.fields.get(key) for key in "SVCM"})
    assert raised[0] == raised[1]


@pytest.mark.parametrize("protocol, more", [(wire.PROTOCOL_3_0 + 2, {}), (wire.PROTOCOL_3_0, {"_pq_.feature": "on"}),
                                            (wire.PROTOCOL_3_0 + 9999, {"_pq_.a": "1", "_pq_.b": "2"})])
def test_newer_protocols_are_negotiated(proxy, protocol, more):
    logins = []
    for port in (proxy.main.port, proxy.port):
        with wire.connect("127.0.0.1", port, user="app", database="app", parameters=more, protocol=protocol) as made:
            logins.append(plain(made.login))
    assert logins[0] == logins[1]
    assert any(each[0] == "v" for each in logins[1])


def test_protocol_2_is_refused_in_postgresqls_words(proxy):
    for port in (proxy.main.port, proxy.port):
        with wire.Connection("127.0.0.1", port) as connection:
            connection.send(wire.startup({"user": "app"}, protocol=2 << 16))
            assert b"unsupported frontend protocol 2.0: server supports 3.0 to 3.0" in rest_of(connection)


@pytest.mark.parametrize("data", [b"\0\0\0\0", b"\0\0\0\7", b"\0\0\x27\x15", b"X\0\0\0\4", b"\x16\3\1\0\xaa", b"GET / HTTP/1.0\r\n\r\n",
                                  wire.packet(wire.CANCEL_CODE, b"short"), wire.packet(wire.CANCEL_CODE, b"much too long")])
def test_what_is_no_startup_packet_gets_no_answer(proxy, data):
    for port in (proxy.main.port, proxy.port):
        with wire.Connection("127.0.0.1", port) as connection:
            connection.send(data)
            assert rest_of(connection) == b""


def test_gssapi_is_declined(proxy):
    with wire.Connection("127.0.0.1", proxy.port) as connection:
        connection.send(wire.gssenc_request())
        assert connection.read_bytes(1) == b"N"
        assert connection.log_in({"user": "app", "database": "app"}).query("SELECT 1")[-1].type == "Z"


def test_replication_is_refused(proxy):
    with pytest.raises(wire.ServerError) as error:
        wire.connect("127.0.0.1", proxy.port, user="app", database="app", parameters={"replication": "database"})
    assert error.value.sqlstate == "0A000"


def test_a_startup_packet_that_arrives_byte_by_byte(proxy):
    with wire.Connection("127.0.0.1", proxy.port) as connection:
        connection.send_split(wire.startup({"user": "app", "database": "app"}))
        assert connection.read_until("Z")[-1].body == b"I"
