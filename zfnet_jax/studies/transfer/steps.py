"""What a reproduction makes of other data: Tables 4 to 7 and Fig. 9, and what they come from."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from zfnet_jax import parallel
from zfnet_jax.data import voc as voc_data
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.drawing import draw, write_tables
from zfnet_jax.studies.images import decode_for
from zfnet_jax.studies.options import arguments, identity
from zfnet_jax.studies.saved import Result
from zfnet_jax.studies.step import Entry, Made, Step
from zfnet_jax.studies.transfer import features, scratch, study, voc
from zfnet_jax.studies.transfer.accuracies import curves
from zfnet_jax.studies.transfer.data_sets import SPLIT, STAND_IN, DataSet
from zfnet_jax.studies.transfer.figure import figure9
from zfnet_jax.studies.transfer.options import ScratchOptions, VocOptions
from zfnet_jax.studies.transfer.table import caltech_table, stand_in_table, voc_table
from zfnet_jax.studies.transfer.trial import Trial

VOC_NAME = "voc/2012"  # in TFDS
VOC_IMAGES = 11_540  # of both splits
STANDS_IN = "Built-in pictures of other classes stand in for photos: the numbers do not compare."

_SECONDS_PER_NUMBER = 1.2e-6  # of what a head sees, to choose C and train, on two CPU cores
_TABLES = {4: ("caltech101",), 5: ("caltech256",), 7: ("caltech101", "caltech256")}
_TITLES = {
    4: "Table 4: Caltech-101",
    5: "Table 5: Caltech-256",
    7: "Table 7: features of each layer",
}
_ENTRIES = {
    4: Entry(
        "Table 4: Caltech-101",
        "5.2",
        "The pretrained net should lie far above the one trained from scratch.",
    ),
    5: Entry(
        "Table 5: Caltech-256",
        "5.2",
        "As in Table 4, with more classes.",
    ),
    7: Entry(
        "Table 7: features by depth",
        "5.3",
        "Accuracy should rise layer by layer.",
        "From 44.8% (layer 1) to 86.2% (layer 5) on Caltech-101.",
    ),
}


def prepare(context: Context, data: DataSet) -> Step:
    """Decodes the images to the size that the net was trained on."""

    def decode() -> None:
        if data.source is not None:
            decode_for(
                context.run,
                data.source,
                data.prepared / SPLIT,
                workers=os.cpu_count() or 1,
                progress=False,
            )

    def make() -> Made:
        parallel.by_writer(decode)
        data.open()  # finds what is wrong with it
        return Made([data.prepared / SPLIT / "manifest.json"])

    return Step(
        name=f"data_{data.name}",
        title=f"Preparing the images: {data.protocol.title}",
        make=make,
        options=dict(data.identity),
        seconds=0 if data.source is None else 2 + 0.005 * data.count,
    )


def transfer(context: Context, trial: Trial) -> Step:
    """Softmax and SVM on features of the layers, for Tables 4, 5 and 7 and Fig. 9."""
    run, data = context.run, trial.data

    def make() -> Made:
        results = study.measured(
            run,
            *data.open(),
            trial.heads,
            given=[data.where],
            batch_size=run.config.eval_batch_size,
            progress=False,
        )
        return Made(_files(results))

    # A head works on the features of N training images, or if fewer on N x N inner products.
    classes = data.protocol.classes or 10
    dims = features.dimensions(run, [layer for one in trial.heads for layer in one.layers])
    numbers = sum(
        one.folds * images * min(images, dims[layer])
        for one in trial.heads
        for layer in one.layers
        for images in (n * classes for n in one.per_class)
    )
    return Step(
        name=f"transfer_{data.name}",
        title=f"Trying the features on {data.protocol.title}",
        make=make,
        needs=(f"data_{data.name}",),
        options={"scores": [identity(one) for one in trial.heads]},
        commands=tuple(
            context.command("transfer", data.where, *arguments(one)) for one in trial.heads
        ),
        images=data.count,
        seconds=10 + _SECONDS_PER_NUMBER * numbers,
    )


def from_scratch(context: Context, trial: Trial, nets: ScratchOptions) -> Step:
    """Nets trained on the folds alone, those of a trial, for Tables 4 and 5 and Fig. 9."""
    data, recipe = trial.data, trial.recipe
    where = f"--prepared_dir={data.prepared}"

    def make() -> Made:
        results = scratch.measured(
            context.run, recipe, *data.open(), nets, given=[where], progress=True
        )
        return Made(_files(results))

    classes = data.protocol.classes or 10
    return Step(
        name=f"scratch_{data.name}",
        title=f"Training nets from scratch on {data.protocol.title}",
        make=make,
        needs=(f"data_{data.name}",),
        options={**identity(nets), "recipe": scratch.recipe_digest(recipe)},
        commands=(context.command("scratch", where, *arguments(nets), step=False),),
        images=3 * recipe.epochs * nets.folds * sum(nets.per_class) * classes,
        seconds=10 * nets.folds * len(nets.per_class),
    )


def table(
    context: Context, number: int, trials: Mapping[str, Trial], reasons: Mapping[str, str]
) -> Step:
    """Table 4, 5 or 7, of what its needs have measured alone.

    Args:
      trials: by name of the data set.
      reasons: why others are not there, see `data_sets.data_sets`.
    """
    wanted = _TABLES[number]
    names = [name for name in wanted if name in trials] or [n for n in (STAND_IN,) if n in trials]
    used = [trials[name] for name in names]
    if number == 7:
        used = [dataclasses.replace(one, nets=None) for one in used]
    stands_in = names == [STAND_IN]
    notes = []
    if number != 7 and context.run.architecture.classifier != "dense":
        notes.append(
            "No nets trained from scratch: this one has no dense layer to size by classes."
        )

    if number == 7 and (line := features.of_table7(context.run)[1]):
        notes.append(line)

    def make() -> Made:
        found = {one.data.name: one.results(context.run) for one in used}
        if not stands_in:
            made = caltech_table(number, found)
            return Made(write_tables(context, f"table{number}", [made]), notes)
        protocol = trials[STAND_IN].data.protocol
        counts = (protocol.layers,) if number == 7 else protocol.table
        made = stand_in_table(number, found[STAND_IN], counts)
        return Made(write_tables(context, f"table{number}", [made]), [STANDS_IN, *notes])

    # Of the stand-in there is no table but in the report.
    command = context.command("tables", f"--table={number}", f"--out={context.report / 'tables'}")
    return Step(
        name=f"table{number}",
        title=_TITLES[number],
        make=make,
        needs=_needs(used),
        commands=() if stands_in else (command,),
        missing=None if used else "; ".join(reasons[name] for name in wanted if name in reasons),
        entry=_ENTRIES[number],
        version=2,
    )


def fig9(context: Context, trials: Mapping[str, Trial], reasons: Mapping[str, str]) -> Step:
    """Fig. 9, of what its needs have measured alone; arguments as of `table`."""

    def make() -> Made:
        drawn = curves({name: one.results(context.run) for name, one in trials.items()})
        notes = [STANDS_IN] if list(trials) == [STAND_IN] else []
        return Made(draw(context, {"figure9": lambda: figure9(drawn)}), notes)

    return Step(
        name="fig9",
        title="Fig. 9: accuracy by training images of each class",
        make=make,
        needs=_needs(list(trials.values())),
        commands=(context.command("figures", "--figure=9", f"--out={context.figures}"),),
        seconds=2,
        missing=None if trials else "; ".join(reasons.values()),
        entry=Entry(
            "Figure 9: accuracy by training images per class",
            "5.2",
            "How few images per class the pretrained features need to beat the best earlier"
            " method.",
            "Six images per class were enough.",
        ),
        version=2,
    )


def try_voc(context: Context, data_dir: str) -> Step:
    """The softmax on PASCAL VOC 2012, for Table 6.

    Args:
      data_dir: where TFDS keeps the set; '' if nobody said.
    """
    run, options, prepared = context.run, VocOptions(), _voc_images(context)
    there = run.architecture.outputs

    def decode() -> None:
        voc_data.prepare(
            prepared,
            name=VOC_NAME,
            data_dir=data_dir,
            image_size=run.config.data.image_size,
            workers=os.cpu_count() or 1,
            progress=False,
        )

    def make() -> Made:
        parallel.by_writer(decode)
        result = voc.measured(
            run,
            *_voc_splits(context),
            options,
            given=[f"--data_dir={data_dir}"],
            batch_size=run.config.eval_batch_size,
            progress=False,
        )
        # With what tells which classes the images show: others make another result.
        annotations = [prepared / name / "presence.npy" for name in voc_data.SPLITS]
        return Made([*result.files, *annotations])

    return Step(
        name="voc",
        title="Trying the features on PASCAL VOC 2012",
        make=make,
        options={**identity(options), "layer": there[max(there)]},
        commands=(context.command("voc", f"--data_dir={data_dir}", *arguments(options)),),
        images=VOC_IMAGES,
        seconds=300,
        missing=None
        if data_dir
        else "it needs PASCAL VOC 2012: --voc=FOLDER, where TFDS keeps voc/2012",
        version=2,
    )


def table6(context: Context) -> Step:
    def make() -> Made:
        found = voc.load(context.run, *_voc_splits(context), VocOptions())
        return Made(write_tables(context, "table6", [voc_table(found)]))

    command = context.command("tables", "--table=6", f"--out={context.report / 'tables'}")
    return Step(
        "table6",
        "Table 6: PASCAL VOC 2012",
        make,
        needs=("voc",),
        commands=(command,),
        entry=Entry(
            "Table 6: PASCAL VOC 2012",
            "5.2",
            "Pictures of several objects are unlike those of ImageNet: the features should do"
            " well all the same.",
        ),
    )


def _voc_images(context: Context) -> Path:
    """The folder of the prepared images."""
    return Path("data") / f"voc2012-{context.run.config.data.image_size}"


def _voc_splits(context: Context) -> tuple[voc.Annotated, voc.Annotated]:
    """The images that are trained on, and those that are judged on."""
    train, validation = voc_data.SPLITS
    folder = _voc_images(context)
    return voc_data.open_split(folder, train), voc_data.open_split(folder, validation)


def _needs(trials: Sequence[Trial]) -> tuple[str, ...]:
    """The steps that measure what trials have."""
    kinds = {"transfer": trials, "scratch": [one for one in trials if one.nets is not None]}
    return tuple(f"{kind}_{one.data.name}" for kind, some in kinds.items() for one in some)


def _files(results: Sequence[Result]) -> list[Path]:
    return [path for one in results for path in one.files]
