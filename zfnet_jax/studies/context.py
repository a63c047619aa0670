"""A run opened with its images: what the steps of a reproduction work on."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from zfnet_jax.data.images import Split
from zfnet_jax.runs import provenance, titles
from zfnet_jax.runs.checkpoint import newest_step
from zfnet_jax.runs.run import Run, open_run
from zfnet_jax.runs.steps import Which
from zfnet_jax.studies.images import in_classes_of, open_split
from zfnet_jax.studies.options import command, content_digest


def report_of(workdir: Path, step: int | None) -> Path:
    """The folder of the report on a checkpoint of a run, the newest if None: each but the newest
    has one of its own, so that none takes the place of another."""
    newest = newest_step(workdir / "checkpoints")
    return workdir / ("report" if step in (None, newest) else f"report-step{step}")


class Context:
    """Everything is read when it is asked for.

    Attributes:
      run: the net.
      workdir: its folder.
      prepared_dir: other images than those of the run's config, if not empty; see `images`.
      report: where figures, tables and the report lie, see `report_of`.
    """

    def __init__(self, workdir: Path, step: Which | None = None, prepared_dir: str = "") -> None:
        """
        Args:
          workdir: the run's folder.
          step: of the checkpoint, see `open_run`.
          prepared_dir: other images than those of the run's config, if not empty; see `images`.
        """
        self.run: Run = open_run(workdir, step)
        self._step = None if step is None else self.run.step
        self.report = report_of(self.workdir, self._step)
        self.prepared_dir = prepared_dir
        self._splits: dict[str, Split] = {}

    @property
    def workdir(self) -> Path:
        return self.run.directory

    @property
    def figures(self) -> Path:
        """The report's folder for figures."""
        return self.report / "figures"

    def split(self, name: str) -> Split:
        """The 'train' or 'validation' images; errors as in `images.open_split`."""
        if name not in self._splits:
            self._splits[name] = open_split(self.run, name, self.prepared_dir)
        return self._splits[name]

    def lacks(self, name: str, *, of_classes: bool = False) -> str | None:
        """Why the images of a split cannot be had; None if they can.

        Args:
          of_classes: whether the net must know their classes.
        """
        if of_classes and self.run.lacks_classes:
            return self.run.lacks_classes
        try:
            split = self.split(name)
            if of_classes:
                in_classes_of(self.run, split)
        except (ValueError, OSError) as error:
            return f"there are no {name} images: {error}"
        if split.image_size != self.run.config.data.image_size:
            return (
                f"the {name} images have {split.image_size} pixels, the net's"
                f" {self.run.config.data.image_size}"
            )
        return None

    @property
    def titles(self) -> dict[str, str]:
        """Digest of the titles that the run's classes were given, if any: it is among the options
        of steps that show them."""
        given = titles.given(self.workdir)
        text = json.dumps(given, sort_keys=True)
        return {"class_titles": hashlib.sha256(text.encode()).hexdigest()[:16]} if given else {}

    @functools.cached_property
    def net(self) -> str:
        """Digest of weights and preprocessing."""
        return provenance.net_digest(self.run)

    def command(self, script: str, *given: str, step: bool = True, images: bool = False) -> str:
        """A command on this run, as it is typed in a shell.

        Args:
          given: its further flags.
          step: whether the script is told which checkpoint, if it is not the newest.
          images: whether it is told where the run's images lie, if not where the config says.
        """
        more = [f"--workdir={self.workdir}", *given]
        if images and self.prepared_dir:
            more.append(f"--prepared_dir={self.prepared_dir}")
        if step and self._step is not None:
            more.append(f"--step={self._step}")
        return command(script, *more)


def other_run(workdir: str | Path) -> dict[str, Any]:
    """What tells a finished run from another, from its folder alone.

    Raises:
      FileNotFoundError: there is no run.
    """
    workdir = Path(workdir)
    if not (workdir / "config.json").exists():
        raise FileNotFoundError(f"{workdir} holds no run")
    names = (path.name for path in (workdir / "checkpoints").glob("*") if path.name.isdigit())
    steps = sorted(map(int, names))
    return {
        "run": workdir.resolve().name,
        "config": content_digest(workdir / "config.json"),
        "data": _json(workdir / "run.json").get("data"),
        "step": steps[-1] if steps else None,
        "checkpoint": _json(workdir / "checkpoints" / str(steps[-1]) / "record" / "metadata").get(
            "digest"
        )
        if steps
        else None,
    }


def _json(path: Path) -> dict[str, Any]:
    """A file's content; nothing if there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
