"""A study's options: flags, commands and identity all come from one dataclass."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import shlex
from typing import Literal

import pytest
from absl import flags

from tests.conftest import ROOT
from zfnet_jax.command import study_flags
from zfnet_jax.studies.options import arguments, command, identity, in_words, option, options_of


@dataclasses.dataclass(frozen=True)
class Options:
    images: tuple[str, ...] = option((), "A photo.", flag="image", file=True)
    per_class: tuple[int, ...] = option((15, 30), "Images.", lowest=1)
    grid: tuple[float, ...] = option((0.1, 10.0), "C.", lowest=0)
    heads: tuple[Literal["softmax", "svm"], ...] = option((), "A head.", flag="head")
    square: int | None = option(None, "Pixels.")
    fill: Literal["grey", "mean"] = option("grey", "It shows.")
    crops: Literal[1, 10] = option(10, "Crops.")
    level: float = option(0.95, "Level.")
    name: str | None = option(None, "A name.")
    split: Literal["train", "validation"] | None = option(None, "A split.")
    ties: bool = option(True, "Whether ties count.")


@pytest.fixture
def own_flags(monkeypatch) -> flags.FlagValues:
    """Flags of this test alone."""
    own = flags.FlagValues()
    monkeypatch.setattr(flags, "FLAGS", own)
    for name in [one for one in dir(flags) if one.startswith("DEFINE")]:
        define = getattr(flags, name)
        monkeypatch.setattr(
            flags, name, lambda *a, define=define, **how: define(*a, flag_values=own, **how)
        )
    return own


CHANGED = Options(
    images=("a b.png", "c,d.png"),
    per_class=(7,),
    grid=(1e-3, 1 / 3),
    heads=("svm", "softmax"),
    square=14,
    fill="mean",
    crops=1,
    level=0.9,
    name="it's",
    split="train",
    ties=False,
)


@pytest.mark.parametrize("options", [Options(), CHANGED, Options(square=3, ties=False)])
def test_the_printed_command_sets_the_same_options(own_flags, options):
    read = study_flags.define(Options)
    line = command("study", "--workdir=a run", *arguments(options))
    flags.DEFINE_string("workdir", None, "")
    parsed = shlex.split(line)
    assert parsed[:3] == ["python", "-m", "scripts.study"]
    own_flags(parsed[2:])
    assert own_flags.workdir == "a run"
    assert read() == options


def test_defaults_are_not_printed():
    assert arguments(Options()) == []
    assert arguments(Options(square=14, level=0.95, ties=False)) == ["--square=14", "--noties"]


@pytest.mark.parametrize("line", ["--per_class=15,x", "--per_class=0", "--grid=nan", "--grid=-1"])
def test_a_list_of_what_is_no_number_is_named(own_flags, line):
    read = study_flags.define(Options)
    own_flags(["study", line])
    with pytest.raises(ValueError, match=rf"{line}: give .*numbers of at least"):
        read()


def test_a_choice_that_is_none_is_refused(own_flags):
    study_flags.define(Options)
    for line in ("--fill=black", "--split=test"):
        with pytest.raises(flags.IllegalFlagValueError, match=line[2:6]):
            own_flags(["study", line])


def test_files_are_told_apart_by_content_and_name(tmp_path):
    def of(name: str, content: bytes) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return json.dumps(identity(Options(images=(str(path),))))

    first = of("here/cat/1.png", b"1")
    assert of("there/cat/1.png", b"1") == first
    assert of("here/cat/1.png", b"2") != first
    assert of("here/dog/1.png", b"1") != first


def test_every_option_counts():
    """Whatever option is changed, it is another result; and all of it is JSON."""
    plain = identity(Options())
    for one in dataclasses.fields(Options):
        if one.name != "images":
            changed = dataclasses.replace(Options(), **{one.name: getattr(CHANGED, one.name)})
            assert identity(changed) != plain
    assert json.loads(json.dumps(in_words(CHANGED)))["images"] == ["a b.png", "c,d.png"]


STUDIES = sorted((ROOT / "zfnet_jax" / "studies").glob("*/options.py"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.parent.name)
def test_the_options_of_every_study_are_such(path):
    """Each class of a study's options.py has flags, and importing it loads no jax."""
    module = importlib.import_module(f"zfnet_jax.studies.{path.parent.name}.options")
    classes = [
        node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)
    ]
    for name in classes:
        for one in options_of(getattr(module, name)):
            assert one.text.endswith(".")
    assert "import jax" not in path.read_text()
