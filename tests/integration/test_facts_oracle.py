"""The classifier's facts against the relations that pg_query's JSON tree names, over a corpus made from a grammar."""

import json
import re
import subprocess
import sys

import pytest

from harness import DATA, PROGRAM, ROOT

sys.path.insert(0, str(ROOT / "tests" / "oracle"))
from generator import Generator, read_grammar  # noqa: E402
from relations import ACCESS, Walk  # noqa: E402

DUMP = PROGRAM.parent / "tests" / "facts_dump"
SEED, COUNT, PARTS = 20240501, 5600, 8
OTHER, LOOSE = 64, 1 | 256  # flags of routing/facts.h: another kind of object; only in a string or as a type


class Dump:
    """facts_dump as something to ask."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([DUMP, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, text):
        self.process.stdin.write(text.encode() + b"\0")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(20) == 0


@pytest.fixture(scope="module")
def dumps():
    both = Dump(), Dump("plpgsql")
    yield both
    for dump in both:
        dump.close()


@pytest.fixture(scope="module")
def corpus():
    generator = Generator(read_grammar(ROOT / "tests" / "oracle" / "grammar.txt"), SEED)
    texts = {}  # in the order of their making, each once
    while len(texts) < COUNT:
        texts[generator.text("statement")] = None
    return list(texts), generator


def name_at(text, position):
    """The names of the possibly qualified name, or in the string, that stands at a byte of the text."""
    rest = text.encode()[position:].decode()
    quoted = re.match(r"""(?:[eE]|[uU]&)?'((?:[^']|'')*)'|\$(\w*)\$(.*?)\$\2\$""", rest, re.S)
    part = r'(?:[uU]&)?"(?:[^"]|"")*"|[^\W\d][\w$]*'
    if quoted and "\\" in quoted.group():
        return ["U&"]
    if quoted:
        return re.findall(part, quoted.group(1) or quoted.group(3) or "")
    return re.findall(part, re.match(rf"(?:{part})(?:\s*\.\s*(?:{part}))*|", rest).group())


def spelt(name):
    """The identifier as the tree has it."""
    if name.startswith(("U&", "u&")):
        return None  # anything: an escape character may follow
    text = name[1:-1].replace('""', '"') if name.startswith('"') else re.sub("[A-Z]", lambda m: m.group().lower(), name)
    return text.encode()[:63].decode(errors="ignore")


def compare(text, dumps):
    """What is wrong with the facts of a text, and the kinds of nodes in it."""
    answer = dumps[0].ask(text)
    if answer["tree"] is None:
        return ["does not parse: " + answer["facts"]["error"]], set()
    walk = Walk(lambda body: dumps[0].ask(body)["tree"], lambda body: dumps[1].ask(body)["tree"])
    expected = walk.statement(answer["tree"], text)
    found, wrong = {}, []
    for statement in answer["facts"]["statements"]:
        if statement["kind"] == "unparsed":
            wrong.append("unparsed: " + answer["facts"]["error"])
        for table in statement["tables"]:
            key = table["schema"], table["name"]
            other = found.setdefault(key, table)  # the same name may be a temporary table's, too
            found[key] = {"access": max(table["access"], other["access"], key=ACCESS.get), "flags": table["flags"] & other["flags"],
                          "position": min(table["position"], other["position"])}
    if "$body$" not in text:
        wrong += [f"extra {key}" for key, table in found.items() if key not in expected.relations and key not in expected.loose
                  and not table["flags"] & OTHER]
    wrong += [f"missing {key}" for key in expected.relations | dict.fromkeys(expected.loose) if key not in found]
    for key, access in expected.relations.items():
        table = found.get(key)
        if table and ACCESS[table["access"]] != access:
            wrong.append(f"{key} is {table['access']}, not {access}")
        if table and table["flags"] & LOOSE:
            wrong.append(f"{key} counts as a type or a string only")
        if table and key in expected.places and "$body$" not in text and key not in expected.loose:
            if table["position"] != min(expected.places[key]):
                wrong.append(f"{key} at {table['position']}, not {expected.places[key]}")
    for (schema, name), table in found.items():
        if table["position"] < 0:
            wrong.append(f"{name} has no place")
        elif "$body$" not in text and name not in (names := [spelt(n) for n in name_at(text, table["position"])]) and None not in names:
            wrong.append(f"{name} is not what stands at {table['position']}: {names}")
    return wrong, expected.nodes


@pytest.mark.parametrize("part", range(PARTS))
def test_relations_of_a_large_corpus_are_those_of_the_tree(part, corpus, dumps):
    wrong = [(text, bad) for text in corpus[0][part::PARTS] if (bad := compare(text, dumps)[0])]
    assert not wrong, "\n".join(f"{text}\n    {bad}" for text, bad in sorted(wrong, key=lambda pair: len(pair[0]))[:20])


def written():
    """The statements of the acceptance cases, but those with code in them, whose declarations the tree doesn't tell."""
    for path in sorted(DATA.glob("*cases/*.jsonl")):
        for line in path.read_text().splitlines():
            for step in json.loads(line)["steps"] if line else ():
                if not re.match(r"DO\b|CREATE (OR REPLACE )?FUNCTION|.*query_to_xml", step["sql"]):
                    yield step["sql"]


def test_relations_of_written_statements_are_those_of_the_tree(dumps):
    parsed = [text for text in dict.fromkeys(written()) if "\0" not in text and dumps[0].ask(text)["tree"] is not None]
    assert len(parsed) > 1000
    wrong = [(text, bad) for text in parsed if (bad := compare(text, dumps)[0])]
    assert not wrong, "\n".join(f"{text}\n    {bad}" for text, bad in wrong[:20])


def test_the_corpus_uses_all_of_its_grammar(corpus):
    generator = corpus[1]
    assert not [f"{rule} {index}" for rule, uses in generator.used.items() for index, use in enumerate(uses) if not use]
