"""Mining of one checkpoint, saved: find the winners, locate and project them; and the steps of it.

The atlas and Fig. 2 show what was mined of the validation images; Fig. 4 needs the training images
at several checkpoints.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zfnet_jax import geometry, parallel
from zfnet_jax.data.images import Split
from zfnet_jax.runs.run import Run, open_run
from zfnet_jax.studies import saved
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.drawing import draw
from zfnet_jax.studies.features import atlas, chosen, mining, winner_projection, winners
from zfnet_jax.studies.features.figure import figure2
from zfnet_jax.studies.features.options import FigureOptions, Options
from zfnet_jax.studies.features.winners import NAME, Winners, WinnersWriter
from zfnet_jax.studies.memory import images_at_once
from zfnet_jax.studies.options import arguments, command, identity
from zfnet_jax.studies.saved import Result, Subject
from zfnet_jax.studies.step import Entry, Made, Step

AS_THE_PAPER = Options()
_PROJECTION = 0.5  # what the projection of a winner costs, in images forwarded


def measured(
    run: Run,
    split: Split,
    options: Options,
    *,
    batch_size: int | None = None,
    prepared_dir: str | None = None,
    progress: bool,
) -> Result:
    """Mines a split, unless that is saved already.

    All devices and processes share the work. A pass over the images that was stopped goes on from
    FOLDER.pass.npz.

    Args:
      run: the net.
      split: the images of `options.split`.
      options: see there.
      batch_size: images per step of the pass, as the run evaluates if None, or as
        many as memory has room for; the result is the same.
      prepared_dir: where the images lie, if not where the run's config says.
      progress: whether to show how far it is.

    Returns:
      the saved result, which `winners.load` reads.

    Raises:
      ValueError, FloatingPointError: see `mining.mine`.
    """
    subject = Subject(
        NAME,
        options,
        (options.split, str(run.step)),
        {"fingerprint": split.fingerprint},
        version=2,
    )
    target = saved.folder_of(run, subject)
    unfinished_pass = target.with_name(f"{target.name}.pass.npz")
    progress = progress and parallel.is_writer()

    def make(folder: Path | None) -> None:
        mined = mining.mine(
            run,
            split,
            k=options.k,
            batch_size=batch_size or images_at_once(run, run.config.eval_batch_size),
            partial_path=unfinished_pass,
            progress=progress,
        )
        found = winner_projection.locate(
            run,
            split,
            mined,
            k=options.k,
            one_per_image=not options.all_positions,
            progress=progress,
        )
        with WinnersWriter(folder) if folder else contextlib.nullcontext() as writer:
            winner_projection.project_winners(
                run,
                split,
                found,
                writer,
                unit_value=options.unit_value,
                rectify=options.rectify,
                overlap=options.overlap,
                progress=progress,
            )
            if writer:
                writer.finish(found, split.keys)

    result = saved.made_once(
        run,
        subject,
        make,
        command=saved.command_of(run, "mine", options, prepared_dir=prepared_dir),
        about=_about(run, split),
    )
    if parallel.is_writer():
        unfinished_pass.unlink(missing_ok=True)
    return result


def of_validation(context: Context, options: Options = AS_THE_PAPER) -> Winners:
    """What is mined of the validation images, mined now if it was not."""
    return winners.load(_measured(context, context.run, options).folder)


def mine(context: Context, options: Options = AS_THE_PAPER) -> Step:
    """The winners of every map over the validation images."""
    lacks = context.lacks("validation")
    split = None if lacks else context.split("validation")
    return Step(
        name="mine",
        title="Finding what every feature map responds to",
        make=lambda: Made(winners.files(_measured(context, context.run, options).folder)),
        options={"data": split and split.fingerprint, **identity(options)},
        commands=(context.command("mine", *arguments(options), images=True),),
        images=len(split) + _PROJECTION * options.k * _maps(context.run) if split else 0,
        seconds=8,
        missing=lacks,
    )


def mine_epochs(context: Context, steps: Sequence[int]) -> Step:
    """The strongest image of every map over the training images, at several checkpoints."""
    options, lacks = Options(split="train", k=1), context.lacks("train")
    if len(steps) < 2:
        lacks = "the run kept a single checkpoint: Fig. 4 needs several epochs of one training"
    split = None if lacks else context.split("train")

    def make() -> Made:
        files: list[Path] = []
        for step in steps:
            same = step == context.run.step
            run = context.run if same else open_run(context.workdir, step)
            files += winners.files(_measured(context, run, options).folder)
        return Made(files)

    return Step(
        name="mine_epochs",
        title=f"Following feature maps through {len(steps)} checkpoints",
        make=make,
        options={
            "data": split and split.fingerprint,
            "steps": list(steps),
            **identity(options),
        },
        commands=tuple(
            context.command("mine", f"--step={step}", *arguments(options), step=False, images=True)
            for step in steps
        ),
        images=len(steps) * (len(split) + _PROJECTION * _maps(context.run)) if split else 0,
        seconds=3 * len(steps),
        missing=lacks,
    )


def atlas_step(context: Context, options: Options = AS_THE_PAPER) -> Step:
    out = context.report / "atlas"

    def make() -> Made:
        folder = of_validation(context, options).folder

        def write() -> list[Path]:
            atlas.write_atlas([folder], out, progress=False)
            return sorted(path for path in out.rglob("*") if path.is_file())

        files = parallel.by_writer(write)
        # Another report than the newest checkpoint's has an atlas of its own.
        elsewhere = [] if context.report.name == "report" else [f"--out={out}"]
        how = (f"--arrays={folder}", *elsewhere)
        return Made(files, commands=[context.command("atlas", *how, step=False)])

    return Step(
        "atlas",
        "Making the atlas of all feature maps",
        make,
        needs=("mine",),
        options=context.titles,
        seconds=2 + 0.02 * _maps(context.run),
        entry=Entry(
            "All feature maps",
            "4",
            "Every map of every layer, with its strongest images: sort by class purity"
            " to find the maps that stand for one class.",
        ),
    )


def fig2(context: Context) -> Step:
    options = FigureOptions()

    def make() -> Made:
        found = of_validation(context)
        maps = chosen.maps(found, options)
        files = draw(context, {"figure2": lambda: figure2(found, maps, options.patches)})
        note = "The maps are drawn at random from those that are not dead."
        arrays = (f"--arrays={found.folder}", *arguments(options), f"--out={context.figures}")
        return Made(files, [note], maps, [command("figures", "--figure=2", *arrays)])

    return Step(
        "fig2",
        "Fig. 2: what feature maps respond to",
        make,
        needs=("mine",),
        options=identity(options),
        seconds=6,
        entry=Entry(
            "Figure 2: features of a trained net",
            "4",
            "The nine patches of a map should have something in common, and the projections"
            " should show what: edges and colours below, textures in the middle, parts and"
            " whole objects above.",
            "Layer 2: corners and edges; 3: textures; 4: parts of objects; 5: whole objects"
            " in varied pose.",
        ),
    )


def _measured(context: Context, run: Run, options: Options) -> Result:
    split = context.split(options.split)
    return measured(run, split, options, prepared_dir=context.prepared_dir, progress=False)


def _about(run: Run, split: Split) -> dict[str, Any]:
    layers = [conv.name for conv in run.architecture.convs]
    return {
        "images": len(split),
        "class_names": list(split.class_names),  # of the labels; the net may know other classes
        "layers": layers,
        "receptive_fields": {layer: _field(run, layer) for layer in layers},
    }


def _field(run: Run, layer: str) -> list[Any]:
    """A layer's receptive field as `Winners.about` has it."""
    fields = geometry.receptive_fields(run.architecture, layer)
    rows, columns = ([field.size, field.jump, field.start] for field in fields)
    return rows if rows == columns else [rows, columns]


def _maps(run: Run) -> int:
    return sum(conv.maps for conv in run.architecture.convs)
