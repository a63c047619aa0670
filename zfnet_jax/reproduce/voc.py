"""What the features are worth on PASCAL VOC 2012: Table 6."""

from __future__ import annotations

import os
from pathlib import Path

from zfnet_jax.data import voc
from zfnet_jax.files import write_json
from zfnet_jax.reproduce.study import SEED, Study
from zfnet_jax.studies.drawing import write_tables
from zfnet_jax.studies.step import Entry, Made, Step
from zfnet_jax.studies.transfer import features
from zfnet_jax.studies.transfer import scores as transfer_scores
from zfnet_jax.studies.transfer.protocols import PARTS, VOC_GRID, VOC_TOLERANCE
from zfnet_jax.studies.transfer.table import VOC, VOC_FILE, transfer_table
from zfnet_jax.studies.transfer.voc import voc_study

NAME = "voc/2012"  # in TFDS
IMAGES = 11_540  # of both parts


def voc_step(study: Study) -> Step:
    run, size = study.run, study.run.config.data.image_size
    prepared = Path("data") / f"{VOC}-{size}"
    there = features.layers_of(run)
    layer = there[max(there)]
    path = transfer_scores.folder_of(study.workdir, VOC) / VOC_FILE

    def make() -> Made:
        voc.prepare(
            prepared,
            name=NAME,
            data_dir=study.sources.voc,
            image_size=size,
            workers=os.cpu_count() or 1,
            progress=False,
        )
        found = voc_study(
            run,
            *(voc.open_part(prepared, part) for part in voc.PARTS),
            layer=layer,
            grid=VOC_GRID,
            parts=PARTS,
            tolerance=VOC_TOLERANCE,
            seed=SEED,
            batch_size=run.config.eval_batch_size,
            progress=False,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, found)
        return Made([path])

    return Step(
        name="voc",
        title="Trying the features on PASCAL VOC 2012",
        make=make,
        options={"layer": layer, "grid": VOC_GRID, "parts": PARTS, "tolerance": VOC_TOLERANCE},
        commands=(study.command("voc", f"--data_dir={study.sources.voc}"),),
        images=IMAGES,
        seconds=300,
        missing=None
        if study.sources.voc
        else "it needs PASCAL VOC 2012: --voc=FOLDER, where TFDS keeps voc/2012",
    )


def table6(study: Study) -> Step:
    def make() -> Made:
        return Made(write_tables(study, "table6", [transfer_table(6, study.workdir)]))

    command = study.command("tables", "--table=6", f"--out={study.report / 'tables'}", step=False)
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
