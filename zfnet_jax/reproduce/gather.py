"""What the report says, read from what the steps of a reproduction have left."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zfnet_jax import dotted
from zfnet_jax.reproduce.contents import CHAPTERS, Chapter
from zfnet_jax.reproduce.record import FOLDER
from zfnet_jax.runs import checkpoint
from zfnet_jax.studies.step import Entry
from zfnet_jax.windows import by


@dataclasses.dataclass(frozen=True)
class Shown:
    """An entry of the report, with what there is to show.

    Attributes:
      folder: the name of the report's.
      step: the name of the step that makes it.
      record: of its step (see `reproduce.record`); None if it was never made.
      chain: the records of all steps that it comes from, its own last.
      reason: why it was not made, or why what there is may no longer be true; '' if all is well.
    """

    folder: str
    step: str
    entry: Entry
    record: Mapping[str, Any] | None
    chain: tuple[Mapping[str, Any], ...]
    reason: str

    def files(self, kind: str) -> list[str]:
        """Its figures and tables of a kind such as '.png', as paths from the report's folder."""
        return [
            path.as_posix()
            for path in self._inside()
            if path.suffix == kind and path.parts[0] in ("figures", "tables")
        ]

    def pages(self) -> list[str]:
        """Web pages of its own."""
        return [path.as_posix() for path in self._inside() if path.name == "index.html"]

    def _inside(self) -> Iterator[Path]:
        for path in map(Path, self.record["files"] if self.record else ()):
            if path.parts[0] == self.folder:
                yield path.relative_to(self.folder)


@dataclasses.dataclass(frozen=True)
class Report:
    """All that the report says.

    Attributes:
      folder: where it lies; the paths in it are relative to this.
      name: of the run.
      facts: about net, data and training, by what they are called.
      config: fields by dotted name.
      step: of the checkpoint that it is of; None if nothing is made yet.
      chapters: each with its entries, in order.
      has_atlas: whether there are feature maps to link to.
    """

    folder: Path
    name: str
    facts: Mapping[str, str]
    config: Mapping[str, Any]
    step: int | None
    chapters: tuple[tuple[Chapter, tuple[Shown, ...]], ...]
    has_atlas: bool


def gather(report: Path) -> Report:
    """Reads what the steps have left in the folder of a report, which lies in its run's."""
    workdir, steps = report.parent, report / FOLDER
    plan = json.loads((steps / "plan.json").read_text(encoding="utf-8"))
    records = {
        name: _record(workdir, steps / f"{name}.json")
        for name in plan
        if (steps / f"{name}.json").exists()
    }
    shown = [_shown(report.name, name, plan, records) for name in plan if plan[name].get("entry")]
    chapters = [
        (chapter, tuple(one for one in shown if one.entry.section in chapter.sections))
        for chapter in CHAPTERS
    ]
    config = json.loads((workdir / "config.json").read_text(encoding="utf-8"))
    return Report(
        folder=report,
        name=workdir.resolve().name,
        facts=_facts(workdir, config, plan, records),
        config=dict(dotted.fields(config)),
        step=made["step"] if (made := _of_newest_plan(plan, records)) else None,
        chapters=tuple((chapter, entries) for chapter, entries in chapters if entries),
        has_atlas=(report / "atlas" / "index.html").exists(),
    )


def _record(workdir: Path, path: Path) -> dict[str, Any]:
    """What a step has left: 'files' that are still there, and those that are 'gone'."""
    record = json.loads(path.read_text(encoding="utf-8"))
    files = record["files"]
    there = [name for name in files if (workdir / name).exists()]
    return record | {"files": there, "gone": [name for name in files if name not in there]}


def _shown(folder: str, name: str, plan: Mapping[str, Any], records: Mapping[str, Any]) -> Shown:
    step, record = plan[name], records.get(name)
    entry, reason = Entry(**step["entry"]), step["reason"]
    if step["state"] == "failed":
        reason += "; the same reproduction tries it again"
    if record is None:
        return Shown(folder, name, entry, None, (), reason or "it was not asked for yet")
    if not _is_current(step, record):
        stale = "made from an earlier checkpoint, data, options or code"
        reason = f"{stale}; since then: {reason}" if reason else f"{stale}: reproduce it again"
    elif shown_files := [name for name in record["gone"] if name.startswith(f"{folder}/")]:
        reason = f"{', '.join(shown_files)} is gone: reproduce it again"
    chain = tuple(records[need] for need in _needed(name, plan) if need in records)
    return Shown(folder, name, entry, record, chain, reason)


def _needed(name: str, plan: Mapping[str, Any]) -> list[str]:
    """All steps that a step comes from, itself last."""
    found: dict[str, None] = {}
    for need in plan[name]["needs"]:
        found |= dict.fromkeys(_needed(need, plan))
    return [*found, name]


def _of_newest_plan(
    plan: Mapping[str, Any], records: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """A record of the checkpoint that was reproduced last; of a plan of which nothing is made yet,
    of the newest one; None if there are no records."""
    current = [one for name, one in records.items() if _is_current(plan[name], one)]
    newest: Mapping[str, Any] | None = None
    for one in current or records.values():
        newest = one if newest is None or one["step"] > newest["step"] else newest
    return newest


def _is_current(step: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    return record["fingerprint"] == step["fingerprint"]


def _facts(
    workdir: Path,
    config: Mapping[str, Any],
    plan: Mapping[str, Any],
    records: Mapping[str, Any],
) -> dict[str, str]:
    """What a reader wants to know of a run first."""
    run = json.loads((workdir / "run.json").read_text(encoding="utf-8"))
    model = config["model"]
    convs = [model[name] for name in model["layers"]]
    facts = {
        "Conv layers": ", ".join(str(conv["maps"]) for conv in convs) + " maps",
        "First layer": f"{convs[0]['kernel']} x {convs[0]['kernel']}, stride {convs[0]['stride']}",
        "Dense layers": ", ".join(map(str, model["dense"])) or "none",
        "Input": f"{by(config['augment']['crop'])} pixels",
        "Classes": str(len(run["class_names"]) or "none, it has no classifier"),
    }
    if imported := run.get("imported"):
        facts["Imported from"] = imported["file"]
    images = run.get("images", {})
    if images:
        facts["Images"] = ", ".join(f"{count:,} {split}" for split, count in images.items())
    if newest := _of_newest_plan(plan, records):
        epoch = "" if newest["epoch"] is None else f", epoch {newest['epoch']:g}"
        standing = checkpoint.standing(workdir, newest["step"])
        which = f" ({standing})" if standing else ""
        facts["Checkpoint"] = f"step {newest['step']}{epoch}{which}"
    # What a draft does as a full reproduction does is not made again: its record still says draft.
    if any(
        record["draft"]
        and (plan[name]["draft"] or record["fingerprint"] != plan[name]["fingerprint"])
        for name, record in records.items()
    ):
        facts["Effort"] = "a draft: fewer images, draws and folds"
    return facts
