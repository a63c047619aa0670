"""What layers see: mining, the atlas, and Figs. 1, 2, 3 and 4."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from zfnet_jax.data import batches
from zfnet_jax.files import write_arrays
from zfnet_jax.reproduce.study import SEED, Study
from zfnet_jax.runs.checkpoint import open_checkpoints
from zfnet_jax.runs.run import Run, load_photo, open_run
from zfnet_jax.studies import photos
from zfnet_jax.studies.drawing import draw
from zfnet_jax.studies.evolution.figure import figure4
from zfnet_jax.studies.evolution.measure import evolution
from zfnet_jax.studies.features import atlas, chosen, mined_folder, winners
from zfnet_jax.studies.features.figure import figure2, maps_across
from zfnet_jax.studies.layers.deconv_layer import deconv_layer
from zfnet_jax.studies.layers.diagram import deconvnet_diagram
from zfnet_jax.studies.layers.figure1 import figure1
from zfnet_jax.studies.layers.figure3 import figure3
from zfnet_jax.studies.step import Entry, Made, Step

WINNERS = 9  # of each map, as in the paper
FIRST_LAYER_MAPS, EVOLVING_MAPS = 4, 6  # drawn in Fig. 1, and per layer in Fig. 4
_PROJECTION = 0.5  # what the projection of a winner costs, in images forwarded


def mine(study: Study) -> Step:
    """The winners of every map over the validation images."""
    lacks, split = study.lacks("validation"), None
    if not lacks:
        split = study.split("validation")
    return Step(
        name="mine",
        title="Finding what every feature map responds to",
        make=lambda: Made(mined_files(mine_run(study, study.run, "validation", WINNERS))),
        options={"data": split and split.fingerprint, "k": WINNERS, **mined_folder.PAPER},
        commands=(study.command("mine", images=True),),
        images=len(split) + _PROJECTION * WINNERS * _maps(study.run) if split else 0,
        seconds=8,
        missing=lacks,
    )


def mine_epochs(study: Study) -> Step:
    """The strongest image of every map over the training images, at every kept checkpoint."""
    lacks, split, kept = study.lacks("train"), None, _kept(study)
    if len(kept) < 2:
        lacks = "the run kept a single checkpoint: Fig. 4 needs several epochs of one training"
    if not lacks:
        split = study.split("train")

    def make() -> Made:
        files: list[Path] = []
        for step in kept:
            run = study.run if step == study.run.step else open_run(study.workdir, step)
            files += mined_files(mine_run(study, run, "train", 1))
        return Made(files)

    return Step(
        name="mine_epochs",
        title=f"Following feature maps through {len(kept)} checkpoints",
        make=make,
        options={"data": split and split.fingerprint, "k": 1, "steps": kept, **mined_folder.PAPER},
        commands=tuple(
            study.command(
                "mine", "--split=train", "--k=1", f"--step={step}", step=False, images=True
            )
            for step in kept
        ),
        images=len(kept) * (len(split) + _PROJECTION * _maps(study.run)) if split else 0,
        seconds=3 * len(kept),
        missing=lacks,
    )


def mine_run(study: Study, run: Run, split_name: str, k: int) -> Path:
    """Mines one checkpoint on the study's images, if that was not done; the folder."""
    split = study.split(split_name)
    return mined_folder.make_once(run, split, split_name, k, progress=False)


def mined_files(folder: Path) -> list[Path]:
    names = ("winners.npz", "projections.npz", "patches.npz", "info.json")
    return [folder / name for name in names]


def mined(study: Study) -> winners.Winners:
    """What the step `mine` has left."""
    return winners.load(mined_folder.folder_of(study.run, "validation"))


def atlas_step(study: Study) -> Step:
    def make() -> Made:
        folder = mined_folder.folder_of(study.run, "validation")
        atlas.write_atlas([folder], study.report / "atlas", progress=False)
        return Made(sorted(path for path in (study.report / "atlas").rglob("*") if path.is_file()))

    return Step(
        "atlas",
        "Making the atlas of all feature maps",
        make,
        needs=("mine",),
        commands=(study.command("atlas", "--split=validation", step=False),),
        seconds=2 + 0.02 * _maps(study.run),
        entry=Entry(
            "All feature maps",
            "4",
            "Every map of every layer, with its nine strongest images: sort by class purity"
            " to find the maps that stand for one class.",
        ),
    )


def fig1(study: Study) -> Step:
    pooled = [conv.name for conv in study.run.architecture.convs if conv.pool]

    def make() -> Made:
        photo = photos.chosen(study).photos[0]
        pixels = load_photo(photo.path, study.run.config.data.image_size)
        arrays = deconv_layer(study.run, pixels, pooled[0], FIRST_LAYER_MAPS)
        path = study.report / "figures" / "figure1.npz"
        write_arrays(path, arrays)
        return Made([*draw(study, {"figure1": lambda: figure1(arrays)}), path])

    named = study.sources.images
    photo = named[0] if named else study.report / "photos" / "ROW.png"
    return Step(
        "fig1",
        "Fig. 1: a layer and the deconvnet layer attached to it",
        make,
        needs=("photos",),
        commands=(study.command("figures", "--figure=1", f"--image={photo}", _out(study)),),
        seconds=6,
        missing=None if pooled else "no layer of this net has a pool",
        entry=Entry(
            "Figure 1: a layer and its deconvnet",
            "2.1",
            "Follow one map up on the right and down on the left: below, each value from"
            " above returns to the place of the maximum that its switch remembers.",
        ),
    )


def fig2(study: Study) -> Step:
    def make() -> Made:
        found, maps = mined(study), {}
        for layer in found.info["layers"]:
            maps[layer] = chosen.random_maps(found, layer, 2 * maps_across(found, layer), SEED)
        files = draw(study, {"figure2": lambda: figure2(found, maps, with_patches=True)})
        return Made(files, ["The maps are drawn at random from those that are not dead."], maps)

    return Step(
        "fig2",
        "Fig. 2: what feature maps respond to",
        make,
        needs=("mine",),
        commands=(study.command("figures", "--figure=2", "--split=validation", _out(study)),),
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


def fig3(study: Study) -> Step:
    def make() -> Made:
        net, size = study.run.architecture, study.run.input_size
        drawings = {
            "figure3": lambda: figure3(net, size, channels=3),
            "figure3_deconvnet": lambda: deconvnet_diagram(net, size, channels=3),
        }
        return Made(draw(study, drawings))

    command = study.command("figures", "--figure=3", _out(study), step=False)
    return Step(
        "fig3",
        "Fig. 3: the architecture",
        make,
        commands=(command,),
        seconds=2,
        entry=Entry(
            "Figure 3: the architecture",
            "3",
            "Sizes of maps shrink from left to right while their number grows, but for the"
            " last conv layer.",
            "224 x 224 pixels, five conv layers of 96, 256, 384, 384 and 256 maps, two dense"
            " layers of 4096 units.",
        ),
    )


def fig4(study: Study) -> Step:
    def make() -> Made:
        root = study.workdir / "analysis" / "mining"
        folders = [root / f"train-{step}" for step in _kept(study)]
        arrays = evolution(folders, EVOLVING_MAPS, SEED)
        path = study.report / "figures" / "figure4.npz"
        write_arrays(path, arrays)
        maps = {str(layer): arrays[f"{layer}/map"] for layer in arrays["layers"]}
        note = "Mined at " + ", ".join(_epochs(arrays)) + "."
        files = draw(study, {"figure4": lambda: figure4(arrays, across=3)})
        return Made([*files, path], [note], maps)

    return Step(
        "fig4",
        "Fig. 4: how features form during training",
        make,
        needs=("mine_epochs",),
        commands=(
            study.command("figures", "--figure=4", "--split=train", _out(study), step=False),
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


def _kept(study: Study) -> list[int]:
    """Steps of the checkpoints that Fig. 4 shows: of the config's epochs, and the newest.

    All up to that one where it is not known how many steps an epoch has.
    """
    run = study.run
    with open_checkpoints(study.workdir / "checkpoints") as checkpoints:
        steps = [step for step in checkpoints.all_steps() if step <= run.step]
    about = json.loads((study.workdir / "run.json").read_text(encoding="utf-8"))
    images = about.get("images", {}).get("train")
    if images is None:  # trained elsewhere
        return steps
    an_epoch = batches.train_steps_per_epoch(images, run.config.batch_size)
    wanted = {epoch * an_epoch for epoch in run.config.checkpoint.keep_epochs}
    return [step for step in steps if step in wanted or step == run.step]


def _epochs(arrays: dict[str, np.ndarray]) -> list[str]:
    if np.isnan(arrays["epoch"]).any():
        return [f"step {step}" for step in arrays["step"]]
    return [f"epoch {epoch:g}" for epoch in arrays["epoch"]]


def _maps(run: Run) -> int:
    return sum(conv.maps for conv in run.architecture.convs)


def _out(study: Study) -> str:
    return f"--out={study.report / 'figures'}"
