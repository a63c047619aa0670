"""scripts/environment.sh installs once, again after an interruption, and again a changed list."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

# In the place of .venv/bin/python: notes what pip is to install, and fails where a file says so.
PIP = """#!/bin/sh
[ ! -e broken ] || exit 1
echo "$@" >>installed
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose pip is a pretence."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/environment.sh", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    executable = tmp_path / ".venv" / "bin" / "python"
    executable.parent.mkdir(parents=True)
    executable.write_text(PIP)
    executable.chmod(0o755)
    executable.with_name("activate").touch()
    return tmp_path


def source(checkout: Path, then: str = "") -> tuple[int, list[str]]:
    """Exit code of a script that sources the file, and all that pip has installed so far."""
    lines = f"set -euo pipefail\nsource scripts/environment.sh\n{then}\n"
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(
        ["bash", "-c", lines], cwd=checkout, env=environment, capture_output=True, check=False
    )
    path = checkout / "installed"
    calls = path.read_text().splitlines() if path.exists() else []
    return done.returncode, [call.partition("check ")[2] for call in calls]


def test_each_level_is_installed_once(checkout):
    core, tests = "-r requirements.txt", "-e .[test]"
    then = 'ensure tests -e ".[test]"'
    assert source(checkout) == (0, [core])
    assert source(checkout, then) == (0, [core, tests])
    assert source(checkout, then) == (0, [core, tests])


def test_an_interrupted_install_is_done_again(checkout):
    (checkout / "broken").touch()
    code, calls = source(checkout, "touch went_on")
    assert code != 0
    assert not calls
    assert not (checkout / "went_on").exists()
    (checkout / "broken").unlink()
    assert source(checkout) == (0, ["-r requirements.txt"])


def test_a_changed_list_is_installed_again_and_other_changes_are_not(checkout):
    source(checkout)
    file = checkout / "pyproject.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("line-length = 100", "line-length = 99"), encoding="utf-8")
    assert len(source(checkout)[1]) == 1
    file.write_text(text.replace('"tqdm>=4.66,<5"', '"tqdm>=4.67,<5"'), encoding="utf-8")
    assert len(source(checkout)[1]) == 2


def test_the_tests_that_scripts_name_are_there():
    words = []
    for path in (ROOT / "scripts").glob("*.sh"):
        words += re.findall(r"tests/[\w/{},.]+\.py", path.read_text(encoding="utf-8"))
    expanded = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {' '.join(words)}"], capture_output=True, text=True
    ).stdout.split()
    assert len(expanded) > 5
    assert [path for path in expanded if not (ROOT / path).is_file()] == []
