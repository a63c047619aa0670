"""What a reproduction makes of other data: Tables 4 to 7 and Fig. 9, and what they come from."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from zfnet_jax.data import voc as voc_data
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.drawing import draw, write_tables
from zfnet_jax.studies.options import arguments, identity
from zfnet_jax.studies.saved import Result
from zfnet_jax.studies.step import Entry, Made, Step
from zfnet_jax.studies.transfer import data_sets, features, scores, scratch, study, voc
from zfnet_jax.studies.transfer.accuracies import curves
from zfnet_jax.studies.transfer.data_sets import SPLIT, STAND_IN, DataSet
from zfnet_jax.studies.transfer.figure import figure9
from zfnet_jax.studies.transfer.options import Head, Options, ScratchOptions, VocOptions
from zfnet_jax.studies.transfer.protocols import TABLE7_LAYERS, TABLE7_SOFTMAX
from zfnet_jax.studies.transfer.table import stand_in_table, transfer_table

VOC_NAME = "voc/2012"  # in TFDS
VOC_IMAGES = 11_540  # of both splits
STANDS_IN = "Built-in pictures of other classes stand in for photos: the numbers do not compare."

_STAND_IN_GRIDS: dict[str, Any] = {"softmax_grid": (10.0, 1e3), "svm_grid": (0.1, 1.0)}
_SECONDS_PER_PRODUCT = 4e-6  # about, to choose C and train, on two CPU cores
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

    def make() -> Made:
        if data.source is not None:
            data_sets.prepare(
                context.run,
                data.source,
                data.prepared / SPLIT,
                workers=os.cpu_count() or 1,
                progress=False,
            )
        data.open()  # finds what is wrong with it
        return Made([data.prepared / SPLIT / "manifest.json"])

    return Step(
        name=f"data_{data.name}",
        title=f"Preparing the images: {data.protocol.title}",
        make=make,
        options=dict(data.identity),
        seconds=0 if data.source is None else 2 + 0.005 * data.count,
    )


def transfer(context: Context, data: DataSet, *, folds: int, curve: bool) -> Step:
    """Softmax and SVM on features of the layers, for Tables 4, 5 and 7 and Fig. 9.

    Args:
      folds: of each.
      curve: whether Fig. 9 has more points than the tables.
    """
    run, protocol = context.run, data.protocol
    there = features.layers_of(run)
    layers = tuple(there[number] for number in TABLE7_LAYERS if number in there)
    softmax_layers = tuple(there[number] for number in TABLE7_SOFTMAX if number in there)
    counts = tuple(sorted({*protocol.table, *(protocol.curve if curve else ())}))
    common = Options(data=data.name, folds=folds)
    if data.name == STAND_IN:
        common = dataclasses.replace(common, **_STAND_IN_GRIDS)

    def asked(of_layers: tuple[str, ...], head: Head, per_class: tuple[int, ...]) -> Options:
        return dataclasses.replace(common, layers=of_layers, heads=(head,), per_class=per_class)

    options = (
        asked((there[max(there)],), "softmax", counts),
        asked(layers, "svm", (protocol.layers,)),
        asked(softmax_layers, "softmax", (protocol.layers,)),
    )

    def make() -> Made:
        results = study.measured(
            run,
            *data.open(),
            options,
            given=[data.where],
            batch_size=run.config.eval_batch_size,
            progress=False,
        )
        return Made(_files(results))

    # A head of N training images works on N x N inner products.
    classes = protocol.classes or 10
    products = sum(
        len(one.layers) * sum((n * classes) ** 2 for n in one.per_class) for one in options
    )
    return Step(
        name=f"transfer_{data.name}",
        title=f"Trying the features on {protocol.title}",
        make=make,
        needs=(f"data_{data.name}",),
        options={"scores": [identity(one) for one in options]},
        commands=tuple(context.command("transfer", data.where, *arguments(one)) for one in options),
        images=data.count,
        seconds=10 + _SECONDS_PER_PRODUCT * folds * products,
    )


def from_scratch(context: Context, data: DataSet, recipe: ConfigDict, *, folds: int) -> Step:
    """Nets trained on the folds alone, for Tables 4 and 5.

    Args:
      recipe: config of their trainings.
    """
    table = data.protocol.table
    options = ScratchOptions(data=data.name, per_class=table, folds=folds)
    where = f"--prepared_dir={data.prepared}"

    def make() -> Made:
        results = scratch.measured(
            context.run, recipe, *data.open(), options, given=[where], progress=True
        )
        return Made(_files(results))

    classes = data.protocol.classes or 10
    return Step(
        name=f"scratch_{data.name}",
        title=f"Training nets from scratch on {data.protocol.title}",
        make=make,
        needs=(f"data_{data.name}",),
        options={**identity(options), "recipe": scratch.recipe_digest(recipe)},
        commands=(context.command("scratch", where, *arguments(options), step=False),),
        images=3 * recipe.epochs * folds * sum(table) * classes,
        seconds=10 * folds * len(table),
    )


def table(
    context: Context,
    number: int,
    sets: Mapping[str, DataSet],
    reasons: Mapping[str, str],
    *,
    with_scratch: bool,
) -> Step:
    """Table 4, 5 or 7.

    Args:
      sets, reasons: see `data_sets.data_sets`.
      with_scratch: whether nets are trained from scratch.
    """
    wanted = _TABLES[number]
    used = [name for name in wanted if name in sets] or [n for n in (STAND_IN,) if n in sets]
    kinds = ("transfer", "scratch") if with_scratch and number != 7 else ("transfer",)
    stands_in = used == [STAND_IN]

    def make() -> Made:
        if not stands_in:
            made = transfer_table(number, context.workdir, context.run.step)
            return Made(write_tables(context, f"table{number}", [made]))
        found = scores.of_run(context.workdir, [STAND_IN], context.run.step)[STAND_IN]
        protocol = sets[STAND_IN].protocol
        counts = (protocol.layers,) if number == 7 else protocol.table
        made = stand_in_table(number, found, counts)
        return Made(write_tables(context, f"table{number}", [made]), [STANDS_IN, *found.notes])

    # Of the stand-in there is no table but in the report.
    command = context.command("tables", f"--table={number}", f"--out={context.report / 'tables'}")
    return Step(
        name=f"table{number}",
        title=_TITLES[number],
        make=make,
        needs=tuple(f"{kind}_{name}" for name in used for kind in kinds),
        commands=() if stands_in else (command,),
        missing=None if used else "; ".join(reasons[name] for name in wanted if name in reasons),
        entry=_ENTRIES[number],
    )


def fig9(context: Context, sets: Mapping[str, DataSet], reasons: Mapping[str, str]) -> Step:
    names = list(sets)

    def make() -> Made:
        found = scores.of_run(context.workdir, names, context.run.step)
        drawn = curves(found)
        notes = [STANDS_IN] if names == [STAND_IN] else []
        notes += [note for one in found.values() for note in one.notes]
        return Made(draw(context, {"figure9": lambda: figure9(drawn)}), notes)

    return Step(
        name="fig9",
        title="Fig. 9: accuracy by training images of each class",
        make=make,
        needs=tuple(f"transfer_{name}" for name in names),
        commands=(context.command("figures", "--figure=9", f"--out={context.figures}"),),
        seconds=2,
        missing=None if names else "; ".join(reasons.values()),
        entry=Entry(
            "Figure 9: accuracy by training images per class",
            "5.2",
            "How few images per class the pretrained features need to beat the best earlier"
            " method.",
            "Six images per class were enough.",
        ),
    )


def try_voc(context: Context, data_dir: str) -> Step:
    """The softmax on PASCAL VOC 2012, for Table 6.

    Args:
      data_dir: where TFDS keeps the set; '' if nobody said.
    """
    run, size = context.run, context.run.config.data.image_size
    prepared, options = Path("data") / f"voc2012-{size}", VocOptions()
    there = features.layers_of(run)

    def make() -> Made:
        voc_data.prepare(
            prepared,
            name=VOC_NAME,
            data_dir=data_dir,
            image_size=size,
            workers=os.cpu_count() or 1,
            progress=False,
        )
        train, validation = (voc_data.open_split(prepared, name) for name in voc_data.SPLITS)
        result = voc.measured(
            run,
            train,
            validation,
            options,
            given=[f"--data_dir={data_dir}"],
            batch_size=run.config.eval_batch_size,
            progress=False,
        )
        return Made(result.files)

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
    )


def table6(context: Context) -> Step:
    def make() -> Made:
        made = transfer_table(6, context.workdir, context.run.step)
        return Made(write_tables(context, "table6", [made]))

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


def _files(results: Sequence[Result]) -> list[Path]:
    return [path for one in results for path in one.files]
