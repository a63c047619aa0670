"""README and docs: every command names a script, flags and config fields that there are."""

from __future__ import annotations

import functools
import importlib
import re
import shlex
import sys

import pytest
from ml_collections import ConfigDict

from tests import forked
from tests.conftest import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
ADDED = {"activity", "absolute", "wide", "list"}  # by docs/extending.md; it has its own test


def commands(text: str) -> list[str]:
    """Those of code blocks and of code in lines, comments and continued lines aside."""
    text = re.sub(r"\bzfnet-jax (?=\w)", "python -m scripts.", text)  # the same from any folder
    blocks = re.findall(r"^```(?:bash)?\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    lines += re.findall(r"`(python -m scripts[^`]*)`", text)
    return [line.split("  #")[0].strip() for line in lines if "python -m scripts." in line]


@functools.cache
def flags_of(script: str) -> frozenset[str]:
    command = [sys.executable, "-m", f"scripts.{script}", "--help"]
    shown = forked.run(command).stdout
    return frozenset(re.findall(r"^  -*(?:-\w,)?--(?:\[no\])?(\w+)", shown, flags=re.MULTILINE))


@functools.cache
def config_of(name: str) -> ConfigDict | None:
    """None for a sweep, whose fields the config it starts from has."""
    file, _, arg = name.partition(":")
    # They read a folder, of a run or of photos; their fields are those of all.
    if file in ("configs/finetune.py", "configs/folder.py"):
        file, arg = "configs/imagenette.py", ""
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    return module.get_config(*([arg] if arg else []))


def problems(command: str) -> list[str]:
    words = shlex.split(command.replace("[", "").replace("]", ""), comments=True)
    words = words[words.index("-m") + 1 :]
    script, arguments = words[0].removeprefix("scripts."), words[1:]
    if not (ROOT / "scripts" / f"{script}.py").exists():
        return [f"no script {script}"]
    found, config = [], None
    for word in arguments:
        for argument in word.split("|"):
            if not argument.startswith("--"):
                continue
            flag, _, value = argument[2:].partition("=")
            name, *fields = flag.split(".")
            if name not in flags_of(script) and name.removeprefix("no") not in flags_of(script):
                found.append(f"scripts.{script} has no flag --{name}")
            if flag == "config" and value.startswith("configs/"):
                config = config_of(value)
            at = config
            for field in fields:
                if at is None or field not in at:
                    found.append(f"no field {flag}")
                    break
                at = at[field]
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_can_be_run_as_they_stand(path):
    wrong = []
    for command in commands(path.read_text(encoding="utf-8")):
        if not ADDED & set(re.findall(r"\w+", command)):
            wrong += [f"{command}: {problem}" for problem in problems(command)]
    assert not wrong, "\n".join(wrong)


def test_the_documents_have_commands_and_a_wrong_one_is_noticed():
    assert len([one for path in DOCUMENTS for one in commands(path.read_text("utf-8"))]) > 60
    assert problems("python -m scripts.train --config=configs/zfnet.py --workdir=x") == []
    assert problems("python -m scripts.trian --workdir=x")
    assert problems(*commands("`zfnet-jax trian --workdir=x`"))
    assert problems("python -m scripts.train --config=configs/zfnet.py --work_dir=x")
    assert problems("python -m scripts.train --config=configs/zfnet.py --config.epoch=3")


def test_linked_files_exist():
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.name}: {target}"
