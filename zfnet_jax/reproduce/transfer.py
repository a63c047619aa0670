"""What the features are worth elsewhere: the overlap search, Tables 4, 5 and 7, and Fig. 9."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from zfnet_jax.data.prepared import INDEX_SUFFIX
from zfnet_jax.reproduce.elsewhere import SPLIT, STAND_IN, DataSet
from zfnet_jax.reproduce.study import SEED, Study
from zfnet_jax.studies.drawing import draw, write_tables
from zfnet_jax.studies.overlap import measure as overlap
from zfnet_jax.studies.overlap import page as overlap_page
from zfnet_jax.studies.overlap import study as overlap_study
from zfnet_jax.studies.step import Entry, Made, Step
from zfnet_jax.studies.transfer import features, scratch
from zfnet_jax.studies.transfer import measure as transfer
from zfnet_jax.studies.transfer import scores as transfer_scores
from zfnet_jax.studies.transfer.accuracies import curves
from zfnet_jax.studies.transfer.figure import figure9
from zfnet_jax.studies.transfer.heads import Head
from zfnet_jax.studies.transfer.protocols import (
    GRIDS,
    PARTS,
    TABLE7_LAYERS,
    TABLE7_SOFTMAX,
    TEST_PER_CLASS,
    TOLERANCE,
)
from zfnet_jax.studies.transfer.table import stand_in_table, transfer_table

STAND_IN_GRIDS: dict[Head, tuple[float, ...]] = {"softmax": (10.0, 1e3), "svm": (0.1, 1.0)}
_SECONDS_PER_PRODUCT = 4e-6  # about, to choose C and train, on two CPU cores
TITLES = {
    4: "Table 4: Caltech-101",
    5: "Table 5: Caltech-256",
    7: "Table 7: features of each layer",
}
STANDS_IN = "Built-in pictures of other classes stand in for photos: the numbers do not compare."
ENTRIES = {
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


def overlap_step(study: Study, sets: Mapping[str, DataSet], reasons: Mapping[str, str]) -> Step:
    """Images that are both in the training images and in another data set."""
    config = study.run.config.data
    lacks = study.lacks("train")
    if not lacks and config.streaming:
        lacks = "the training images are streamed: run python -m scripts.overlap on their folder"
    ours = Path(config.prepared_dir) / (SPLIT + INDEX_SUFFIX * config.streaming)
    pages = {name: study.report / "overlap" / name for name in sets}

    def make() -> Made:
        files, notes = [], []
        for name, data in sets.items():
            shared = overlap_study.search(
                ours,
                data.prepared / SPLIT,
                threshold=overlap.THRESHOLD,
                workers=os.cpu_count() or 1,
                progress=False,
            )
            found, photos = shared.found, [one.photo for one in shared.sets]
            files += overlap_page.write_folder(pages[name], found, *photos)
            notes.append(
                f"{data.protocol.title[0].upper()}{data.protocol.title[1:]}:"
                f" {len(found['pairs'])} pairs of"
                f" {found['a']['photos']:,} training and {found['b']['photos']:,} other images"
                f" correlate at {found['threshold']:g} or more."
            )
        return Made(files, notes)

    split = None if lacks else study.split("train")
    return Step(
        name="overlap",
        title="Section 5.2: images in both data sets",
        make=make,
        needs=tuple(f"data_{name}" for name in sets),
        options={"data": split and split.fingerprint, "threshold": overlap.THRESHOLD},
        commands=tuple(
            f"python -m scripts.overlap {ours} {sets[name].prepared / SPLIT} --out={pages[name]}"
            for name in sets
        ),
        seconds=5 + 5e-4 * len(split or ()),
        missing=lacks or (None if sets else "; ".join(reasons.values())),
        entry=Entry(
            "Images in both data sets",
            "5.2",
            "Near-duplicates of test images among the training images would flatter the"
            " transferred net.",
            "44 images of Caltech-101 and 243 of Caltech-256, removed from training.",
        ),
    )


def transfer_step(study: Study, data: DataSet) -> Step:
    """Softmax and SVM on features of the layers, for Tables 4, 5 and 7 and Fig. 9."""
    run, protocol, folds = study.run, data.protocol, study.effort.folds
    there = features.layers_of(run)
    last = there[max(there)]
    layers = [there[number] for number in TABLE7_LAYERS if number in there]
    curve = sorted({*protocol.table, *(protocol.curve if study.effort.curve else ())})
    grids = STAND_IN_GRIDS if data.name == STAND_IN else GRIDS
    softmax_layers = [there[number] for number in TABLE7_SOFTMAX if number in there]
    # Each: layers, head, training images of each class.
    parts: tuple[tuple[list[str], Head, list[int]], ...] = (
        ([last], "softmax", curve),
        (layers, "svm", [protocol.layers]),
        (softmax_layers, "softmax", [protocol.layers]),
    )

    def make() -> Made:
        split, classes = data.open()
        study_ = transfer.make_study(
            split, classes, data=data.name, seed=SEED, test_per_class=TEST_PER_CLASS
        )
        for of_layers, head, per_class in parts:
            transfer.run_study(
                run,
                split,
                classes,
                study_,
                layers=of_layers,
                head_names=[head],
                per_class=per_class,
                fold_count=folds,
                options=transfer.Options(grids, PARTS, TOLERANCE),
                batch_size=run.config.eval_batch_size,
                replace=True,  # those of an earlier checkpoint are no longer true
                progress=False,
            )
        return Made(_answers(study, data, "pretrained"))

    # A head of N training images works on N x N inner products.
    classes = protocol.classes or 10
    products = sum(
        len(of_layers) * sum((n * classes) ** 2 for n in per_class)
        for of_layers, _, per_class in parts
    )
    command = study.command("transfer", f"--data={data.name}", data.flag, f"--folds={folds}")
    if grids != GRIDS:
        command += "".join(
            f" --{head}_grid={','.join(f'{c:g}' for c in grid)}" for head, grid in grids.items()
        )
    commands = [
        " ".join(
            [
                command,
                *(f"--layer={layer}" for layer in of_layers),
                f"--head={head}",
                f"--per_class={','.join(map(str, per_class))}",
            ]
        )
        for of_layers, head, per_class in parts
    ]
    return Step(
        name=f"transfer_{data.name}",
        title=f"Trying the features on {protocol.title}",
        make=make,
        needs=(f"data_{data.name}",),
        options={
            "layers": layers,
            "softmax_layers": softmax_layers,
            "per_class": curve,
            "table7": protocol.layers,
            "folds": folds,
            "grids": grids,
            "parts": PARTS,
            "tolerance": TOLERANCE,
        },
        commands=tuple(commands),
        images=len(parts) * data.count,
        seconds=10 + _SECONDS_PER_PRODUCT * folds * products,
    )


def scratch_step(study: Study, data: DataSet) -> Step:
    """Nets trained on the folds alone, for Tables 4 and 5."""
    folds, epochs = study.effort.scratch_folds, study.recipe.epochs
    table = data.protocol.table

    def make() -> Made:
        split, _ = data.open()
        scratch.train_folds(
            study.recipe,
            split,
            transfer_scores.folder_of(study.workdir, data.name),
            run=study.workdir.resolve().name,
            per_class=table,
            folds=folds,
            progress=True,
        )
        return Made(_answers(study, data, "scratch"))

    classes = data.protocol.classes or 10
    return Step(
        name=f"scratch_{data.name}",
        title=f"Training nets from scratch on {data.protocol.title}",
        make=make,
        needs=(f"transfer_{data.name}",),
        options={"epochs": epochs, "per_class": list(table), "folds": folds},
        commands=(
            study.command(
                "scratch",
                f"--data={data.name}",
                f"--prepared_dir={data.prepared}",
                f"--per_class={','.join(map(str, table))}",
                f"--folds={folds}",
                step=False,
            ),
        ),
        images=3 * epochs * folds * sum(table) * classes,
        seconds=10 * folds * len(table),
    )


def table_step(
    study: Study, number: int, sets: Mapping[str, DataSet], reasons: Mapping[str, str]
) -> Step:
    """Table 4, 5 or 7."""
    wanted = {4: ("caltech101",), 5: ("caltech256",), 7: ("caltech101", "caltech256")}[number]
    used = [name for name in wanted if name in sets] or [n for n in (STAND_IN,) if n in sets]
    scratch = number != 7 and study.effort.scratch_folds > 0
    kinds = ("transfer", "scratch") if scratch else ("transfer",)

    def make() -> Made:
        if used == [STAND_IN]:
            found = transfer_scores.load(transfer_scores.folder_of(study.workdir, STAND_IN))
            protocol = sets[STAND_IN].protocol
            counts = (protocol.layers,) if number == 7 else protocol.table
            made = stand_in_table(number, found, counts)
            return Made(write_tables(study, f"table{number}", [made]), [STANDS_IN])
        made = transfer_table(number, study.workdir)
        return Made(write_tables(study, f"table{number}", [made]))

    return Step(
        name=f"table{number}",
        title=TITLES[number],
        make=make,
        needs=tuple(f"{kind}_{name}" for name in used for kind in kinds),
        # Of the stand-in there is no table but in the report.
        commands=(
            study.command(
                "tables", f"--table={number}", f"--out={study.report / 'tables'}", step=False
            ),
        )
        if used != [STAND_IN]
        else (),
        missing=None if used else "; ".join(reasons[name] for name in wanted if name in reasons),
        entry=ENTRIES[number],
    )


def fig9(study: Study, sets: Mapping[str, DataSet], reasons: Mapping[str, str]) -> Step:
    names = list(sets)

    def make() -> Made:
        found = curves(study.workdir, names)
        notes = [STANDS_IN] if names == [STAND_IN] else []
        return Made(draw(study, {"figure9": lambda: figure9(found)}), notes)

    return Step(
        name="fig9",
        title="Fig. 9: accuracy by training images of each class",
        make=make,
        needs=tuple(f"transfer_{name}" for name in names),
        commands=(study.command("figures", "--figure=9", f"--out={study.figures}", step=False),),
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


def _answers(study: Study, data: DataSet, method: str) -> list[Path]:
    """The files behind the scores of a method; scores.json itself grows with other methods'."""
    folder = transfer_scores.folder_of(study.workdir, data.name)
    scores = transfer_scores.load(folder).scores
    return [transfer_scores.answers_path(folder, one) for one in scores if one.method == method]
