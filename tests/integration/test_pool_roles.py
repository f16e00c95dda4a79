"""Shared connections whose role has got other settings between the making of one and of the next."""

import pytest

import wire
from harness import Interlock
from pooling import own_mode
from smuggling import OFF, ON, bytes_to, nothing_is_misplaced, pair, raw, role_setting, strings_are_read_right  # noqa: F401

pytestmark = own_mode


def strings_of(client):
    return wire.rows(client.query("SHOW standard_conforming_strings"))[0][0].decode()


@pytest.mark.parametrize("where", [["main", "ci"], ["main"], ["ci"]])
def test_strings_are_read_right_on_connections_of_before_and_after(pair, where):
    """Whichever connection a client gets, it is read as that one reads, and tells."""
    with Interlock(pair.main, pair.ci, workers=1, pool={"mode": "transaction", "size": 2}) as shared, \
            bytes_to(shared) as before:
        strings_are_read_right(before, pair, ON)
        with role_setting([pair.clusters[name] for name in where], "SET standard_conforming_strings = off"):
            raw(before, "BEGIN; SELECT 1 FROM projects LIMIT 1; SELECT 1 FROM ci_builds LIMIT 1")  # keeps the old ones
            with bytes_to(shared) as after:
                strings_are_read_right(after, pair, strings_of(after))
                raw(before, "COMMIT")
                for client in (before, after, before, after):
                    strings_are_read_right(client, pair, strings_of(client))
