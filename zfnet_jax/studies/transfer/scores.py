"""The saved scores of a run as tables and figures read them: one checkpoint, one set of options."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from zfnet_jax.runs import origins
from zfnet_jax.studies import saved
from zfnet_jax.studies.options import in_words
from zfnet_jax.studies.saved import Result
from zfnet_jax.studies.transfer.options import Options, VocOptions
from zfnet_jax.studies.transfer.protocols import PROTOCOLS

NAME, VOC = "transfer", "voc"  # of the studies
Method = Literal["pretrained", "scratch"]

_DEFAULTS = in_words(Options())
_VOC_DEFAULTS = in_words(VocOptions())


@dataclasses.dataclass(frozen=True)
class Scores:
    """The scores of a data set that may stand in one table.

    Attributes:
      pretrained: of heads on the features of one checkpoint, each chosen and trained alike.
      scratch: of nets trained on the same folds alone, by one recipe.
      notes: what else there is, and is not among them.
    """

    data: str
    pretrained: tuple[Result, ...]
    scratch: tuple[Result, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def about(self) -> Mapping[str, Any]:
        """What is said of one of them: of data and folds all say the same."""
        return (*self.pretrained, *self.scratch)[0].about

    @property
    def layers(self) -> dict[int, str]:
        """The layers of the net by the paper's numbers, and the activation each ends with."""
        if not self.pretrained:
            return {}
        return {int(number): name for number, name in self.pretrained[0].about["layers"].items()}

    @property
    def origins(self) -> dict[str, str]:
        """What layers are called where the net comes from; see `runs.origins`."""
        return origins.given(saved.run_of(self.pretrained[0].folder)) if self.pretrained else {}


def of_run(
    workdir: str | Path, data: Sequence[str] = (), step: int | None = None
) -> dict[str, Scores]:
    """The scores that a run's folder holds, by data set.

    Where scores of several options lie there, those of the defaults, which are the paper's as far
    as it has any, count; else the newest ones.

    Args:
      data: names of data sets; all if empty. Those without scores are not in the result.
      step: of the checkpoint; of each data set the newest that has scores of it if None.
    """
    found = [
        one for one in saved.find(workdir, NAME) if not data or one.about["options"]["data"] in data
    ]
    names = data or sorted({one.about["options"]["data"] for one in found})
    result = {}
    for name in names:
        own = [one for one in found if one.about["options"]["data"] == name]
        if scores := _chosen(name, own, step):
            result[name] = scores
    return _with_steps(result)


def unread(workdir: str | Path) -> str:
    """What to add where a run's folder holds no scores: that it has those of an earlier version."""
    if not (Path(workdir) / "analysis" / "transfer").exists():
        return ""
    return "; results of earlier versions, in analysis/transfer, are not read"


def of_voc(workdir: str | Path, step: int | None = None) -> tuple[Result | None, list[str]]:
    """The result of PASCAL VOC 2012 that counts, by the same rule, and notes on others."""
    found = saved.find(workdir, VOC)
    step, notes = _one_step(found, step, "average precisions")
    found = [one for one in found if one.about["step"] == step]
    kept, more = _one_set(found, _voc, _VOC_DEFAULTS, "average precisions")
    return (kept[-1] if kept else None), [*notes, *more]


def _chosen(data: str, found: Sequence[Result], step: int | None) -> Scores | None:
    of_nets = [one for one in found if one.about["method"] == "pretrained"]
    step, notes = _one_step(of_nets, step, f"{data}, scores")
    of_step = [
        one for one in found if one.about["method"] == "scratch" or one.about["step"] == step
    ]
    its, more = _one_set(of_step, _folds, _DEFAULTS, f"{data}, scores")
    notes += more
    pretrained: list[Result] = []
    heads = sorted({one.about["options"].get("head", "") for one in its} - {""})
    for head in heads:
        of_head = [one for one in its if one.about["options"].get("head") == head]
        kept, more = _one_set(of_head, _head, _DEFAULTS, f"{data}, {head} scores")
        pretrained, notes = [*pretrained, *kept], [*notes, *more]
    scratch = [one for one in its if one.about["method"] == "scratch"]
    scratch, more = _one_set(scratch, _recipe, {}, f"{data}, scores from scratch")
    if not its:
        return None
    return Scores(data, tuple(pretrained), tuple(scratch), (*notes, *more))


def _with_steps(found: Mapping[str, Scores]) -> dict[str, Scores]:
    """The scores, with a note on those of an older checkpoint than others are of."""
    steps = {name: one.pretrained[0].about["step"] for name, one in found.items() if one.pretrained}
    newest = max(steps.values(), default=None)
    result = dict(found)
    for name, step in steps.items():
        if step != newest:
            note = f"{name}: the scores are of step {step}, others' of step {newest}"
            result[name] = dataclasses.replace(found[name], notes=(*found[name].notes, note))
    return result


def _one_step(
    results: Sequence[Result], step: int | None, what: str
) -> tuple[int | None, list[str]]:
    """The step asked for; if none is, the newest of the results, and a note on the others."""
    steps = sorted({one.about["step"] for one in results})
    if step is not None or not steps:
        return step, []
    *others, newest = steps
    words = ", ".join(map(str, others))
    return newest, [f"not shown: {what} of step {words}"] if others else []


def _one_set(
    results: Sequence[Result],
    setting: Callable[[Result], Mapping[str, Any]],
    defaults: Mapping[str, Any],
    what: str,
) -> tuple[list[Result], list[str]]:
    """Of results, the newest last, those of one setting; and a note on each other setting.

    The setting of the defaults, or else the newest, or the newest of several.
    """
    sets: dict[str, list[Result]] = {}
    for one in results:
        key = json.dumps(setting(one), sort_keys=True)
        sets[key] = [*sets.pop(key, []), one]  # the set that has the newest comes last
    if not sets:
        return [], []
    usual = [key for key in sets if _is_usual(json.loads(key), defaults)]
    chosen = (usual or list(sets))[-1]
    here = json.loads(chosen)
    notes = []
    for key in sets:
        there = json.loads(key)
        differing = [f"{name} {_words(there[name])}" for name in there if there[name] != here[name]]
        if differing:
            notes.append(f"not shown: {what} of {', '.join(differing)}")
    return sets[chosen], notes


def _folds(one: Result) -> dict[str, Any]:
    options = one.about["options"]
    protocol = PROTOCOLS.get(options["data"])
    clutter = protocol.clutter if protocol else ()
    return {
        "images": one.about["data"]["fingerprint"],
        "leave_out": [name for name in options["left_out"] if name not in clutter],
        "test_per_class": options["test_per_class"],
        "seed": options["seed"],
    }


def _head(one: Result) -> dict[str, Any]:
    options = one.about["options"]
    return {
        "weights": one.about["weights"],
        f"{options['head']}_grid": options["grid"],
        "cv_folds": options["cv_folds"],
        "tolerance": options["tolerance"],
    }


def _recipe(one: Result) -> dict[str, Any]:
    return {"epochs": one.about["epochs"], "recipe": one.about["data"]["recipe"]}


def _voc(one: Result) -> dict[str, Any]:
    options, layers = one.about["options"], one.about["layers"]
    last = layers[max(layers, key=int)]
    return options | {
        "layer": None if options["layer"] == last else options["layer"],
        "weights": one.about["weights"],
        "images": one.about["data"],
    }


def _is_usual(setting: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
    """Whether all of it that has a default has it."""
    return all(setting[name] == defaults[name] for name in setting.keys() & defaults.keys())


def _words(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_words, value)) or "none"
    if isinstance(value, dict):
        return _words(list(value.values()))
    return f"{value:g}" if isinstance(value, float) else str(value)
