"""Which saved mining a reader takes where there are several; no net is opened for it.

Of one checkpoint and split, first those of the images that the run was trained with, then those of
other images; among these first those mined as the paper does, then those that differ from it in the
number of winners alone, then others; of equals the newest.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from zfnet_jax.runs import provenance
from zfnet_jax.studies import saved
from zfnet_jax.studies.features.options import Options
from zfnet_jax.studies.features.winners import NAME
from zfnet_jax.studies.options import in_words
from zfnet_jax.studies.saved import Result


@dataclasses.dataclass(frozen=True)
class Mined:
    """What was mined of a run on one split, at least one result.

    Attributes:
      workdir: the run's folder.
      results: the one to take first, first.
    """

    workdir: Path
    results: tuple[Result, ...]

    def steps(self) -> list[int]:
        """Of the checkpoints, ascending."""
        return sorted({one.about["step"] for one in self.results})

    def of_step(self, step: int | None) -> list[Result]:
        """The results of one checkpoint, of the newest that was mined if `step` is None.

        FileNotFoundError: that one is not mined.
        """
        step = self.steps()[-1] if step is None else step
        found = [one for one in self.results if one.about["step"] == step]
        if not found:
            raise FileNotFoundError(
                f"step {step} is not mined, only {', '.join(map(str, self.steps()))}: run python"
                f" -m scripts.mine --workdir={self.workdir} --step={step}"
            )
        return found

    def alike(self, *, same_k: bool = False) -> list[Result]:
        """Of each checkpoint the first result that was mined as the very first of all was.

        Checkpoints that were only mined otherwise are left out.

        Args:
          same_k: whether the number of winners must be the same too.
        """
        way = _way(self.results[0], same_k)
        found: dict[int, Result] = {}
        for one in self.results:
            if _way(one, same_k) == way:
                found.setdefault(one.about["step"], one)
        return [found[step] for step in sorted(found)]


def mined(
    workdir: str | Path, split: str | None, usual: str = "validation", data: str | None = None
) -> Mined:
    """What was mined of a run on a split.

    Args:
      workdir: the run's folder.
      split: if None, the one that was mined, `usual` where several were.
      usual: see `split`.
      data: fingerprint of the images that come first; if None, of those that the run was trained
        with.

    Raises:
      FileNotFoundError: nothing was mined, or nothing on that split.
    """
    workdir, results = Path(workdir), saved.find(workdir, NAME)
    splits = {one.about["options"]["split"] for one in results}
    if split is None and splits:
        split = usual if len(splits) > 1 else splits.pop()
    results = [one for one in results if one.about["options"]["split"] == split]
    if not results:
        on = f" on {split}" if split else ""
        raise FileNotFoundError(
            f"nothing is mined{on} in {workdir / saved.FOLDER / NAME}: run python -m scripts.mine"
            f" --workdir={workdir}"
        )
    data = data or provenance.trained_with(workdir, str(split))
    results.reverse()  # the newest first; sorting keeps the order of equals
    results.sort(key=lambda one: _rank(one, data))
    return Mined(workdir, tuple(results))


def _rank(result: Result, data: str | None) -> tuple[bool, int]:
    """The lower, the earlier it is taken; see the top of the module."""
    options = result.about["options"]
    paper = in_words(Options(split=options["split"]))
    differing = {name for name, value in paper.items() if options[name] != value}
    way = 0 if not differing else 1 if differing == {"k"} else 2
    return data is not None and result.about["data"]["fingerprint"] != data, way


def _way(result: Result, with_k: bool) -> dict[str, Any]:
    """All that was chosen, with or without the number of winners, the images, and the form of what
    is saved."""
    options = result.about["options"] | ({} if with_k else {"k": None})
    return options | result.about["data"] | {"version": result.about.get("version", 1)}
