"""Slides a square over photos: what does a trained net look at? (paper, Fig. 7)

python -m scripts.occlusion --workdir=DIR --image=PHOTO [--image=PHOTO ...] [--label=CLASS ...]

For every position of the square: the summed activity of the strongest map of a layer, the
probability of a class and the most probable class. Arrays and figure go to a folder of their own in
WORKDIR/studies/occlusion/. Without --label the class is the most probable one of the uncovered
photo; a net without a classifier has the map's activity alone. Sizes not given are shares of what
the net sees: of 224 pixels, 48 and 8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from absl import flags

from zfnet_jax.command import inputs, shell, step_flag, study_flags
from zfnet_jax.names import fit
from zfnet_jax.studies.occlusion.options import Options

if TYPE_CHECKING:
    from zfnet_jax.report.figures import Style
    from zfnet_jax.runs.run import Run
    from zfnet_jax.studies.features.winners import Winners

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_OPTIONS = study_flags.define(Options)
_STEP = step_flag.define()
_BATCH = flags.DEFINE_integer("batch_size", 32, "Squares per step.", lower_bound=1)
_STYLE = flags.DEFINE_enum("style", "screen", ["screen", "paper"], "How the figure looks.")


def main() -> None:
    from zfnet_jax import parallel  # after the flags, so that --help needs no jax
    from zfnet_jax.report import figures
    from zfnet_jax.runs import origins
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies.occlusion import study
    from zfnet_jax.studies.occlusion.figure import figure7

    run = open_run(_WORKDIR.value, _STEP.value)
    options = _OPTIONS()
    result = study.measured(
        run,
        options,
        batch_size=_BATCH.value,
        progress=parallel.is_writer(),
    )
    if not parallel.is_writer():
        return
    arrays = result.drawn
    layer = str(arrays["layer"])
    _print_answers(arrays, layer + origins.in_brackets(layer, run.origins))
    mined = _mined(run)
    style = cast("Style", _STYLE.value)
    figures.draw(lambda: figure7(arrays, mined), result.folder / "figure7", style, run.note)
    print(f"{run.checkpoint}: {result.folder}")


def _print_answers(arrays: dict[str, np.ndarray], layer: str) -> None:
    """For each photo how far the probability falls, and how often another class wins; without
    classes how far the map's activity falls."""
    for n, name in enumerate(arrays["names"]):
        if "label" not in arrays:
            lowest = arrays["activity"][n].min() / max(arrays["whole_activity"][n], 1e-9)
            print(
                f"{fit(name)}: map {arrays['map'][n]} of {layer}, at worst {lowest:.1%}"
                " of its activity; the net has no classifier"
            )
            continue
        label = arrays["label"][n]
        other = np.mean(arrays["class"][n] != arrays["whole_class"][n])
        print(
            f"{fit(name)}: {arrays['class_names'][label]} {arrays['whole_probability'][n]:.1%},"
            f" at worst {arrays['probability'][n].min():.1%};"
            f" the answer changes at {other:.1%} of the positions"
        )


def _mined(run: Run) -> Winners | None:
    """What was mined of the run's validation images at this step."""
    try:
        return inputs.mined(_WORKDIR.value, "validation", run.step)
    except FileNotFoundError as error:
        print(f"projections from other images are left out: {error}")
        return None


if __name__ == "__main__":
    shell.run(main, several=True)
