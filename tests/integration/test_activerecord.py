"""ActiveRecord from Debian, with models of both databases on one connection."""

import pathlib
import re
import shutil
import subprocess

import pytest

from harness import verdicts

PROGRAM = pathlib.Path(__file__).with_name("activerecord_program.rb")
CHECKS = re.findall(r'^check "(.+?)"', PROGRAM.read_text(), re.M)
RUBY = "/usr/bin/ruby" if pathlib.Path("/usr/bin/ruby").exists() else shutil.which("ruby")


@pytest.fixture(scope="module", params=["prepared statements on", "prepared statements off"])
def results(request, shared_proxy):
    """The program's lines, by the name of the check."""
    run = subprocess.run([RUBY, "-W0", PROGRAM, "on" if request.param.endswith("on") else "off"], capture_output=True, text=True,
                         env=shared_proxy.environment(), timeout=110)
    assert run.stdout, run.stderr
    return verdicts(run.stdout)


@pytest.mark.parametrize("name", CHECKS)
def test_activerecord(results, name):
    verdict, why = results.get(name, ("missing", "the program ended before"))
    assert verdict == "ok", why
