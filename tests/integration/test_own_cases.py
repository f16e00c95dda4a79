"""This project's own acceptance cases, in the same format and run as those in test_cases.py are."""
import concurrent.futures
import json

import pytest

from test_cases import DATA, difference


def judge(case, folder):
    own = folder / case["id"]
    own.mkdir()
    return difference(case, own)


@pytest.mark.parametrize("path", sorted((DATA / "own_cases").glob("*.jsonl")), ids=lambda path: path.stem)
def test_own_cases(path, tmp_path):
    cases = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        differences = list(pool.map(lambda case: judge(case, tmp_path), cases))
    assert not [text for text in differences if text]
