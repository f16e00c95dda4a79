"""`pg` from npm: its pool, prepared statements, transactions and cursors-by-limit on both databases."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from harness import verdicts

PROGRAM = pathlib.Path(__file__).with_name("node_pg_program.js")
CHECKS = re.findall(r'^check\("(.+?)"', PROGRAM.read_text(), re.M)
MODULES = os.environ.get("NODE_PG_MODULES")  # the folder node_modules that holds pg; tests/run.sh makes it

pytestmark = pytest.mark.skipif(not MODULES or not shutil.which("node"),
                                reason="NODE_PG_MODULES names no folder with npm's pg: use tests/run.sh")


@pytest.fixture(scope="module")
def results(shared_proxy):
    run = subprocess.run(["node", PROGRAM], capture_output=True, text=True, timeout=110,
                         env=shared_proxy.environment(NODE_PATH=str(MODULES)))
    assert run.stdout, run.stderr
    return verdicts(run.stdout)


@pytest.mark.parametrize("name", CHECKS)
def test_node_pg(results, name):
    verdict, why = results.get(name, ("missing", "the program ended before"))
    assert verdict == "ok", why
