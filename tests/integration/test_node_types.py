"""tests/data/node_types.tsv: what becomes of every node type of the server's grammar, complete and true."""

import re

import pytest

from harness import DATA
from test_facts_oracle import Dump, corpus, dumps  # noqa: F401, fixtures
from relations import HEADERS, Walk

MARKS = {1: "'", 4: "+", 8: "-", 16: "~", 32: "^", 2: "#", 64: "@", 128: "{}", 256: "()"}  # enum table_flag
UNMADE = "not made by the parser"


def tags():
    """Every tag of the server's nodes, in its order, without the one that is none."""
    text = re.sub(r"/\*.*?\*/", "", (HEADERS / "nodes.h").read_text(), flags=re.S)
    names = re.findall(r"\bT_(\w+)", re.search(r"typedef enum NodeTag\s*\{(.*?)\}", text, re.S).group(1))
    return [name for name in names if name != "Invalid"]


def facts_line(facts):
    """As tests/unit/routing_facts_support.h writes facts."""
    lines = []
    for statement in facts["statements"]:
        tables = [(table["schema"] + "." if table["schema"] else "") + table["name"] + " " + table["access"] +
                  "".join(mark for flag, mark in MARKS.items() if table["flags"] & flag) for table in statement["tables"]]
        inner = f" ({statement['inner']})" if statement["inner"] != "empty" else ""
        lines.append(statement["kind"] + inner + (": " if tables else "") + ", ".join(tables))
    return " | ".join(lines)


def read_table():
    lines = [line.split("\t") for line in (DATA / "node_types.tsv").read_text().splitlines() if not line.startswith("#")]
    return {line[0]: line[1:] for line in lines}


def nodes_of(text, dumps):  # noqa: F811
    tree = dumps[0].ask(text)["tree"]
    walk = Walk(lambda body: dumps[0].ask(body)["tree"], lambda body: dumps[1].ask(body)["tree"])
    return walk.statement(tree, text).nodes | {"RawStmt"}


def test_every_node_type_has_an_entry_and_every_entry_is_one():
    assert list(read_table()) == tags()


def test_every_statement_of_the_grammar_is_a_statement_here():
    unmade = {"RawStmt", "ReturnStmt", "ReplicaIdentityStmt"}  # parts of others
    for node, (how, *_) in read_table().items():
        if node.endswith("Stmt") and how != UNMADE and node not in unmade:
            assert how == "statement", node


@pytest.mark.parametrize("node, entry", [pair for pair in read_table().items() if pair[1][0] != UNMADE],
                         ids=lambda value: value if isinstance(value, str) else "")
def test_an_example_has_the_node_and_gives_these_facts(node, entry, dumps):  # noqa: F811
    how, example, expected = entry
    assert node in nodes_of(example, dumps)
    assert facts_line(dumps[0].ask(example)["facts"]) == expected


def test_what_the_parser_is_said_not_to_make_is_nowhere_in_the_corpus(corpus, dumps):  # noqa: F811
    unmade = {node for node, entry in read_table().items() if entry[0] == UNMADE}
    for text in corpus[0][::4]:
        assert not nodes_of(text, dumps) & unmade, text
