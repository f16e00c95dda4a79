"""SQL from a grammar: every alternative as often as every other, with a fixed seed.

The grammar is a text of rules:

    name:
        an alternative, words as they come, <rule> in place of another, <rule?> half of the time, <rule*> once to three times
        another alternative

The first alternative of a rule must come to an end: it is what is taken where a text has become deep or long.
"""

import pathlib
import random
import re

PART = re.compile(r"<([a-z_0-9]+)([?*]?)>")


def read_grammar(path):
    rules, current = {}, None
    for line in pathlib.Path(path).read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if not line.startswith(" "):
            assert line.endswith(":"), line
            current = rules.setdefault(line[:-1], [])
        else:
            text, parts, at = line.strip(), [], 0
            for match in PART.finditer(text):
                parts += [text[at:match.start()], match.groups()]
                at = match.end()
            current.append(parts + [text[at:]])
    return rules


class Generator:
    def __init__(self, rules, seed, depth=11, length=1500):
        self.rules, self.random, self.depth, self.length = rules, random.Random(seed), depth, length
        self.used = {name: [0] * len(alternatives) for name, alternatives in rules.items()}
        self.left = 0
        for alternatives in rules.values():
            for parts in alternatives:
                for part in parts:
                    assert isinstance(part, str) or part[0] in rules, part

    def text(self, rule):
        self.left = self.length
        return " ".join(self.expand(rule, 0).split())

    def expand(self, rule, depth):
        alternatives = self.rules[rule]
        index = 0
        if len(alternatives) > 1 and depth < self.depth and self.left > 0:
            used = self.used[rule]
            index = min(range(len(alternatives)), key=lambda i: (used[i] + self.random.random() * 8))
        self.used[rule][index] += 1
        out = []
        for part in alternatives[index]:
            if isinstance(part, str):
                out.append(part)
                self.left -= len(part)
                continue
            name, mark = part
            ends = depth >= self.depth or self.left <= 0
            if mark == "?" and (ends or self.random.random() < 0.5):
                continue
            count = self.random.randint(1, 3) if mark == "*" and not ends else 1
            out.append(", ".join(self.expand(name, depth + 1) for _ in range(count)))
        return "".join(out)
