"""Holds a conversation through the proxy against the same one on a direct connection."""

import wire
from harness import POOL_MODE

SIDES = {"main": "projects", "ci": "ci_builds"}
# What a session answers by itself carries no line of PostgreSQL's source: those fields are not compared for these.
OWN = {"25P02", "25001", "25P01"}
if POOL_MODE == "transaction":
    OWN.add("42P05")  # names of statements are the client's own there


def plain(messages):
    """Messages as comparable values: without process ids and keys, and errors as their fields."""
    result = []
    for each in wire.comparable(messages):
        if each.type in "EN":
            fields = wire.error_fields(each.body)
            if fields["C"] in OWN:
                fields = {key: value for key, value in fields.items() if key not in "FLR"}
            result.append((each.type, tuple(fields.items())))
        else:
            result.append(tuple(each))
    return result


def rest_of(connection):
    """The bytes up to the peer's hanging up."""
    data = b""
    try:
        while True:
            data += connection.read_bytes(1)
    except wire.Closed:
        return data


def connections(proxy, side):
    """One straight to the database, one through the proxy."""
    cluster = getattr(proxy, side)
    direct = wire.connect("127.0.0.1", cluster.port, user="app", database=cluster.dbname)
    through = wire.connect("127.0.0.1", proxy.port, user="app", database="app")
    if side == "ci":  # settles where statements without tables go
        through.query("SET pginterlock.database = 'ci'")
    return direct, through
