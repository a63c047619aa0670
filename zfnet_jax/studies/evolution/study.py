"""Fig. 4 of a run, from what was mined of its checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from zfnet_jax import parallel
from zfnet_jax.data import batches
from zfnet_jax.files import write_arrays
from zfnet_jax.runs.checkpoint import open_checkpoints
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.drawing import draw
from zfnet_jax.studies.evolution.figure import figure4
from zfnet_jax.studies.evolution.measure import evolution
from zfnet_jax.studies.evolution.options import Options
from zfnet_jax.studies.features import finding
from zfnet_jax.studies.options import arguments, identity
from zfnet_jax.studies.step import Entry, Made, Step

ACROSS = 3  # blocks of the figure side by side


def kept_steps(context: Context) -> list[int]:
    """Steps of the checkpoints that Fig. 4 shows: of the config's epochs, and the newest.

    All up to that one where it is not known how many steps an epoch has.
    """
    run = context.run
    with open_checkpoints(context.workdir / "checkpoints") as checkpoints:
        steps = [step for step in checkpoints.all_steps() if step <= run.step]
    about = json.loads((context.workdir / "run.json").read_text(encoding="utf-8"))
    images = about.get("images", {}).get("train")
    if images is None:  # trained elsewhere
        return steps
    an_epoch = batches.train_steps_per_epoch(images, run.config.batch_size)
    wanted = {epoch * an_epoch for epoch in run.config.checkpoint.keep_epochs}
    return [step for step in steps if step in wanted or step == run.step]


def fig4(context: Context, mining: Step) -> Step:
    """Fig. 4, of the kept checkpoints; `mining` mines them on the training images."""
    options = Options()

    def make() -> Made:
        arrays = evolution(_mined(context), options)
        path = context.figures / "figure4.npz"
        parallel.by_writer(lambda: write_arrays(path, arrays))
        maps = {str(layer): arrays[f"{layer}/map"] for layer in arrays["layers"]}
        note = "Mined at " + ", ".join(_epochs(arrays)) + "."
        files = draw(context, {"figure4": lambda: figure4(arrays, ACROSS)})
        return Made([*files, path], [note], maps)

    return Step(
        "fig4",
        "Fig. 4: how features form during training",
        make,
        needs=(mining.name,),
        options=identity(options),
        commands=(
            context.command(
                "figures",
                "--figure=4",
                "--split=train",
                *arguments(options),
                f"--out={context.figures}",
                step=False,
            ),
        ),
        seconds=8,
        entry=Entry(
            "Figure 4: features during training",
            "4",
            "Orange marks say that another image has taken over: in the lower layers they"
            " should end early, in the upper ones late.",
            "Lower layers converge within a few epochs, upper ones only after 40 to 50.",
        ),
    )


def _mined(context: Context) -> list[Path]:
    """What was mined of the kept checkpoints."""
    kept, data = kept_steps(context), context.split("train").fingerprint
    alike = finding.mined(context.workdir, "train", data=data).alike()
    return [one.folder for one in alike if one.about["step"] in kept]


def _epochs(arrays: dict[str, np.ndarray]) -> list[str]:
    if np.isnan(arrays["epoch"]).any():
        return [f"step {step}" for step in arrays["step"]]
    return [f"epoch {epoch:g}" for epoch in arrays["epoch"]]
