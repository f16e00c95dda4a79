"""Asking the console, for the tests of it."""

import psycopg
from psycopg.rows import dict_row

from harness import wait_until

ADMIN = {"admin": {"users": ["ops"]}}


def show(proxy, what):
    """The rows of SHOW as dicts."""
    with psycopg.connect(**proxy.parameters("pginterlock", user="ops"), autocommit=True, row_factory=dict_row,
                         connect_timeout=20) as console:
        return console.execute(f"SHOW {what}").fetchall()


def clients(proxy, **wanted):
    """The rows of SHOW CLIENTS that have these values, without the console's own."""
    return [row for row in show(proxy, "CLIENTS") if row["database"] != "pginterlock"
            and all(row[name] == value for name, value in wanted.items())]


def client(proxy, name):
    """The row of the client of this application_name."""
    found = clients(proxy, application_name=name)
    assert len(found) == 1, found
    return found[0]


def wait_client(proxy, name, **wanted):
    """…as soon as it has these values."""
    def matches():
        found = clients(proxy, application_name=name, **wanted)
        return found[0] if found else None
    return wait_until(matches, f"{name} with {wanted} among {show(proxy, 'CLIENTS')}")


def pool(proxy, database="main"):
    found = [row for row in show(proxy, "POOLS") if row["database"] == database]
    assert len(found) == 1, found
    return found[0]


def stats(proxy, database="main"):
    return next(row for row in show(proxy, "STATS") if row["database"] == database)
