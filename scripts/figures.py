"""Draws the paper's figures: 1 to 9.

    python -m scripts.figures --figure=1 --workdir=DIR --image=PHOTO --out=FOLDER
    python -m scripts.figures --figure=2 --workdir=DIR --out=FOLDER [--chosen=conv3:5,17,80]
    python -m scripts.figures --figure=3 --workdir=DIR --out=FOLDER   (or --config=FILE)
    python -m scripts.figures --figure=4 --workdir=DIR --out=FOLDER
    python -m scripts.figures --figure=5 --workdir=DIR --out=FOLDER
    python -m scripts.figures --figure=6 --runs=DIR,DIR,DIR --out=FOLDER
    python -m scripts.figures --figure=7 --workdir=DIR --out=FOLDER
    python -m scripts.figures --figure=8 --workdir=DIR --out=FOLDER
    python -m scripts.figures --figure=9 --workdir=DIR --out=FOLDER [--data=caltech256]

Figures 2, 4, the second layers of 6 and projections in 7 draw what scripts.mine has found, 4 in
every checkpoint that was mined; 5, 7, 8 and 9 what scripts.invariance, scripts.occlusion,
scripts.correspondence and scripts.transfer have measured. Of results side by side each is drawn, or
of 5, 7 and 8 the one that --arrays=FOLDER names. Each figure is written as .png and .pdf; arrays
computed for it beside them, .npz.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from absl import flags
from ml_collections import ConfigDict, config_flags

from zfnet_jax.command import inputs, outputs, shell, step_flag

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zfnet_jax.studies.saved import Result

    Drawn = dict[str, tuple[Figure, str]]  # with a note, by the name of the file

_FIGURE = flags.DEFINE_enum(
    "figure", None, list("123456789"), "Number in the paper.", required=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_RUNS = flags.DEFINE_list("runs", [], "Folders of the runs to compare (6).")
_IMAGE = flags.DEFINE_string("image", None, "A photo (1).")
_LAYER = flags.DEFINE_string("layer", "conv1", "A layer with a pool (1).")
_CHOSEN = flags.DEFINE_multi_string(
    "chosen", [], "Maps to draw, such as conv3:5,17,80; may be repeated (2)."
)
_MAPS = flags.DEFINE_integer(
    "maps",
    None,
    "Maps per layer: strongest (1) or drawn at random (2, 4, 6); random squares (8).",
    lower_bound=1,
)
_PATCHES = flags.DEFINE_bool("patches", True, "Beside projections the photos' patches (2).")
_SEED = flags.DEFINE_integer("seed", 0, "Of the random maps (2, 4).", lower_bound=0)
_SPLIT = flags.DEFINE_string(
    "split", None, "The split; where several were mined train (4) or validation (others)."
)
_STEP = step_flag.define("the newest", "1, 2, 5 to 9")
_CLASSES = flags.DEFINE_integer("classes", 1000, "Classes of a --config (3).", lower_bound=1)
_STYLE = flags.DEFINE_enum("style", "screen", ["screen", "paper"], "How it looks.")
_ARRAYS = flags.DEFINE_string("arrays", None, "A saved result: its folder (2, 5, 7, 8).")
_DATA = flags.DEFINE_multi_string(
    "data", [], "Data sets of scripts.transfer; all of the run if not given (9)."
)
_OUT = flags.DEFINE_string("out", None, "The folder to write into.", required=True)
_CONFIG = config_flags.DEFINE_config_file("config", None, "A config instead of a run (3).")


def main() -> None:
    from zfnet_jax.report import figures  # after the flags, so that --help needs no matplotlib

    draw = {
        "1": _figure1,
        "2": _figure2,
        "3": _figure3,
        "4": _figure4,
        "5": _figure5,
        "6": _figure6,
        "7": _figure7,
        "8": _figure8,
        "9": _figure9,
    }
    out = outputs.folder(_OUT.value)
    style = cast("figures.Style", _STYLE.value)
    with figures.use(style):
        drawn = draw[_FIGURE.value](out)
    for name, (figure, note) in drawn.items():
        for kind in (".png", ".pdf"):
            path = out / (name + kind)
            figures.save(figure, path, style, note)
            print(path)


def _figure1(_: Path) -> Drawn:
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies.layers import study
    from zfnet_jax.studies.layers.figure1 import figure1
    from zfnet_jax.studies.layers.options import Options

    run = open_run(_required("workdir"), _STEP.value)
    options = Options(_required("image"), _LAYER.value, _MAPS.value or Options.maps)
    result = study.measured(run, options)
    print(result.folder)
    return {"figure1": (figure1(result.arrays), run.note)}


def _figure2(_: Path) -> Drawn:
    from zfnet_jax.studies import saved
    from zfnet_jax.studies.features import chosen, winners
    from zfnet_jax.studies.features.figure import figure2
    from zfnet_jax.studies.features.options import FigureOptions

    if _ARRAYS.value:
        mined = winners.load(_ARRAYS.value)
    else:
        mined = inputs.mined(_required("workdir"), _SPLIT.value, _STEP.value)
    options = FigureOptions(tuple(_CHOSEN.value), _MAPS.value, _PATCHES.value, _SEED.value)
    drawn = figure2(mined, chosen.maps(mined, options), options.patches)
    return {"figure2": (drawn, saved.load(mined.folder).note)}


def _figure3(_: Path) -> Drawn:
    from zfnet_jax import architecture
    from zfnet_jax.runs import origins
    from zfnet_jax.studies.layers.diagram import deconvnet_diagram
    from zfnet_jax.studies.layers.figure3 import figure3
    from zfnet_jax.windows import both

    config, known = _CONFIG.value, origins.NONE
    classes = 0 if config and config.model.get("classifier") == "none" else _CLASSES.value
    if config is None:
        workdir = Path(_required("workdir"))
        config = ConfigDict(json.loads((workdir / "config.json").read_text()))
        classes = len(json.loads((workdir / "run.json").read_text())["class_names"])
        known = origins.given(workdir)
    net = architecture.from_config(config.model, classes)
    size = both(config.augment.crop)
    return {
        "figure3": (figure3(net, size, channels=3, named=known), ""),
        "figure3_deconvnet": (deconvnet_diagram(net, size, channels=3), ""),
    }


def _figure4(out: Path) -> Drawn:
    from zfnet_jax.files import write_arrays
    from zfnet_jax.studies.evolution.figure import figure4
    from zfnet_jax.studies.evolution.measure import evolution
    from zfnet_jax.studies.evolution.options import Options
    from zfnet_jax.studies.evolution.study import ACROSS

    found = inputs.mined_alike(_required("workdir"), _SPLIT.value, usual="train")
    options = Options(_MAPS.value or Options.maps, _SEED.value)
    arrays = evolution([one.folder for one in found], options)
    write_arrays(out / "figure4.npz", arrays)
    print(out / "figure4.npz")
    return {"figure4": (figure4(arrays, ACROSS), "")}


def _figure5(_: Path) -> Drawn:
    from zfnet_jax.studies.invariance.figure import figure5, figure5_summary

    found = _results("invariance")
    photos = [one for one in found if "images" in one.about["options"]]
    summaries = [one for one in found if "split" in one.about["options"]]
    if _SPLIT.value:
        summaries = [one for one in summaries if one.about["options"]["split"] == _SPLIT.value]
        if not summaries:
            print(
                f"left out: invariance over {_SPLIT.value} images is not measured:"
                f" run python -m scripts.invariance --summary=N --split={_SPLIT.value}"
            )
    drawn, wrong = {}, []
    for stem, results, draw in (
        ("figure5", photos, figure5),
        ("figure5_summary", summaries, figure5_summary),
    ):
        for name, one in _by_name(results).items():
            try:
                drawn[stem + name] = draw(one.drawn), one.note
            except ValueError as error:
                print(f"left out: {one.folder}: {error}")
                wrong.append(error)
    if not drawn:
        raise wrong[0] if wrong else FileNotFoundError("there is nothing to draw")
    return drawn


def _figure6(_: Path) -> Drawn:
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies.first_layers import study
    from zfnet_jax.studies.first_layers.figure import figure6
    from zfnet_jax.studies.first_layers.options import FigureOptions

    filters, mined, notes = [], [], []
    for workdir in _required("runs"):
        found = None
        try:
            found = inputs.mined(workdir, _SPLIT.value, _STEP.value)
        except FileNotFoundError as error:
            print(f"{workdir}: its second layer is left out: {error}")
        run = open_run(workdir, found.about["step"] if found else _STEP.value)
        result = study.measured(run, found)
        print(result.folder)
        filters.append(study.drawn(result))
        mined.append(found)
        notes += [f"{result.about['run']}: {result.note}"] if result.note else []
    drawn = figure6(filters, mined, _MAPS.value or FigureOptions.maps)
    return {"figure6": (drawn, "; ".join(notes))}


def _figure7(_: Path) -> Drawn:
    from zfnet_jax.studies.occlusion.figure import figure7

    drawn = {}
    for name, result in _by_name(_results("occlusion")).items():
        step = result.about["step"]
        mined = None
        if _WORKDIR.value:
            try:
                mined = inputs.mined(_WORKDIR.value, _SPLIT.value, step)
            except FileNotFoundError as error:
                print(f"projections from other images are left out: {error}")
        drawn[f"figure7{name}"] = figure7(result.drawn, mined), result.note
    return drawn


def _figure8(_: Path) -> Drawn:
    from zfnet_jax.studies.correspondence.figure import DRAWS, figure8

    return {
        f"figure8{name}": (figure8(result.arrays, draws=_MAPS.value or DRAWS), result.note)
        for name, result in _by_name(_results("correspondence")).items()
    }


def _figure9(_: Path) -> Drawn:
    from zfnet_jax.runs import checkpoint
    from zfnet_jax.studies.transfer import scores
    from zfnet_jax.studies.transfer.accuracies import curves
    from zfnet_jax.studies.transfer.figure import figure9

    workdir = _required("workdir")
    found = scores.of_run(workdir, _DATA.value, checkpoint.step_of(workdir, _STEP.value))
    missing = [name for name in _DATA.value if name not in found]
    if missing or not found:
        of = f" of {', '.join(missing)}" if missing else ""
        raise FileNotFoundError(
            f"no transfer scores{of} in {workdir}: run python -m scripts.transfer"
            f"{scores.unread(workdir)}"
        )
    for note in (note for one in found.values() for note in one.notes):
        print(note)
    of_nets = [one.pretrained[0].note for one in found.values() if one.pretrained]
    return {"figure9": (figure9(curves(found)), "; ".join(dict.fromkeys(filter(None, of_nets))))}


def _results(study: str) -> list[Result]:
    """The result that --arrays names, or all that a study has left of a run's checkpoint."""
    from zfnet_jax.runs import checkpoint
    from zfnet_jax.studies import saved

    if _ARRAYS.value:
        path = Path(_ARRAYS.value)
        found = [saved.load(path.parent if path.suffix == ".npz" else path)]
    else:
        workdir = _required("workdir")
        step = checkpoint.step_of(workdir, _STEP.value)
        found = saved.find(workdir, study, step)
        if not found:
            at, flag = ("", "") if step is None else (f" at step {step}", f" --step={step}")
            raise FileNotFoundError(
                f"nothing is measured{at} in {Path(workdir) / saved.FOLDER / study}:"
                f" run python -m scripts.{study} --workdir={workdir}{flag}"
            )
        newest = max(one.about["step"] for one in found)
        found = [one for one in found if one.about["step"] == newest]
    wrong = [one for one in found if one.about["study"] != study]
    if wrong:
        raise ValueError(f"{wrong[0].folder} holds no arrays of figure {_FIGURE.value}")
    return found


def _by_name(results: list[Result]) -> dict[str, Result]:
    """By what a figure's name ends in: nothing for a single one, else the name of its folder."""
    if len(results) == 1:
        return {"": results[0]}
    return {f"-{one.folder.name}": one for one in results}


def _required(flag: str) -> Any:
    value = flags.FLAGS[flag].value
    if not value:
        raise ValueError(f"figure {_FIGURE.value} needs --{flag}")
    return value


if __name__ == "__main__":
    shell.run(main)
