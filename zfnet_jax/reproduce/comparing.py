"""Fig. 6: first layers of several runs side by side, and what can be said of them in numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zfnet_jax.files import write_arrays
from zfnet_jax.reproduce import looking
from zfnet_jax.reproduce.study import Study
from zfnet_jax.studies.context import other_run
from zfnet_jax.studies.drawing import draw, write_tables
from zfnet_jax.studies.features import winners
from zfnet_jax.studies.first_layers.diagnosis import diagnose
from zfnet_jax.studies.first_layers.figure import figure6
from zfnet_jax.studies.first_layers.filters import first_layer
from zfnet_jax.studies.first_layers.table import diagnosis_table
from zfnet_jax.studies.step import Entry, Made, Step

FEATURES = 48  # second-layer maps of each run


def fig6(study: Study, mining: Step) -> Step:
    others, missing = study.sources.compare, None
    identities: list[dict[str, Any]] = []
    try:
        identities = [other_run(workdir) for workdir in others]
    except OSError as error:
        missing = f"--compare: {error}"

    def make() -> Made:
        filters, found, diagnoses, files = [], [], [], []
        studies = [study, *(Study(Path(workdir)) for workdir in others)]
        for index, one in enumerate(studies):
            mined = None
            if not one.lacks("validation"):
                folder = looking.mine_run(one, one.run, "validation", looking.WINNERS)
                mined = winners.load(folder)
            filters.append(first_layer(one.run))
            found.append(mined)
            diagnoses.append(diagnose(one.run, mined))
            files.append(study.report / "figures" / f"figure6_{index}.npz")
            write_arrays(files[-1], filters[-1])
        files += draw(study, {"figure6": lambda: figure6(filters, found, FEATURES)})
        files += write_tables(study, "figure6", [diagnosis_table(diagnoses)])
        notes = [] if others else ["Only this run: --compare=DIR,DIR sets others beside it."]
        return Made(files, notes)

    runs = ",".join(map(str, (study.workdir, *others)))
    images = mining.images * len(others)
    return Step(
        name="fig6",
        title="Fig. 6: first layers side by side",
        make=make,
        needs=() if mining.missing else ("mine",),
        options={"others": identities},
        commands=(
            *(f"python -m scripts.mine --workdir={workdir}" for workdir in others),
            f"python -m scripts.figures --figure=6 --split=validation --runs={runs}"
            f" --out={study.report / 'figures'}",
            study.command("diagnose", *(f"--workdir={one}" for one in others), step=False),
        ),
        images=images,
        seconds=4 + 8 * len(others),
        missing=missing,
        entry=Entry(
            "Figure 6: first layers",
            "4.1",
            "One filter much stronger than the rest, filters of noise or of none but low"
            " frequencies, dead maps and checkered patterns in layer 2 are what the paper"
            " mended.",
            "11 x 11 filters with stride 4 miss mid frequencies and alias; 7 x 7 with stride"
            " 2 do so less.",
        ),
    )
