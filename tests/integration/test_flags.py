"""Flags are bits of their own: two branches that each take the next free one would merge without a conflict."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENUM = re.compile(r"^enum (\w+) \{(.*?)^\};", re.M | re.S)
FLAG = re.compile(r"^\s*(\w+) =\s+1u? << (\d+)", re.M)


def enums():
    for header in sorted(ROOT.glob("[a-z]*/*.h")):
        for name, body in ENUM.findall(header.read_text()):
            flags = FLAG.findall(body)
            if flags:
                yield pytest.param(flags, id=f"{header.name} {name}")


@pytest.mark.parametrize("flags", enums())
def test_no_two_flags_of_an_enum_share_a_bit(flags):
    names = {}
    for name, bit in flags:
        names.setdefault(int(bit), []).append(name)
    assert {bit: sharing for bit, sharing in names.items() if len(sharing) > 1} == {}
