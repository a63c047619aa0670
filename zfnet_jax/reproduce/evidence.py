"""What the answer depends on: Figs. 5, 7 and 8, and Table 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zfnet_jax.data import landmarks as parts
from zfnet_jax.data.landmarks import PartPhotos
from zfnet_jax.files import write_arrays, write_json
from zfnet_jax.reproduce.study import SEED, Study
from zfnet_jax.runs import provenance
from zfnet_jax.studies import photos
from zfnet_jax.studies.correspondence import measure as correspondence
from zfnet_jax.studies.correspondence.figure import figure8
from zfnet_jax.studies.correspondence.table import table1
from zfnet_jax.studies.drawing import draw, write_tables
from zfnet_jax.studies.invariance import figure as figure5
from zfnet_jax.studies.invariance import measure as invariance
from zfnet_jax.studies.invariance import study as invariance_study
from zfnet_jax.studies.invariance.statistics import statistics
from zfnet_jax.studies.invariance.table import invariance_tables
from zfnet_jax.studies.step import Entry, Made, Step

PARTS = ("right_eye", "left_eye", "nose")
MASK = 0.2  # side of the squares of Fig. 8, as a share of the face's
DRAWN_FACES = 15  # where the built-in pictures stand in for photos
SHOWN_FACES, SHOWN_DRAWS = 5, 3  # in Fig. 8
_BATCH = 32
_NAME = "report"  # of the studies: a user's own photos do not replace them, nor they those


def fig5(study: Study) -> Step:
    run, effort = study.run, study.effort
    sweeps = invariance.paper_sweeps(run.config.augment.crop)
    layers = invariance.first_and_last(run.architecture)
    split = None if study.lacks("validation") else study.split("validation")
    count = min(effort.summary, len(split)) if split else 0

    def make() -> Made:
        chosen = photos.chosen(study)
        paths, labels, _ = chosen.first(len(figure5.COLOURS))
        of_photos, arrays = invariance_study.study_photos(
            run, paths, labels, sweeps, layers, name=_NAME, progress=False
        )
        files = draw(study, {"figure5": lambda: figure5.figure5(arrays)})
        files += [of_photos, of_photos.with_suffix(".json")]
        notes = chosen.left_out(len(figure5.COLOURS))
        if split is None or not count:
            notes.append("No summary over many images: there are no validation images.")
            return Made(files, notes)
        of_split, many = invariance_study.study_split(
            run, split, "validation", count, sweeps, layers, name=f"{_NAME}-split", progress=False
        )
        files += draw(study, {"figure5_summary": lambda: figure5.figure5_summary(many)})
        files += write_tables(study, "figure5", invariance_tables(statistics(many)))
        files += [of_split, of_split.with_suffix(".json")]
        notes.append(f"The summary is over {count} validation images, evenly spread.")
        return Made(files, notes)

    amounts = sum(len(values) for values in sweeps.values())
    named = _named(study)
    return Step(
        name="fig5",
        title="Fig. 5: what moving, enlarging and turning changes",
        make=make,
        needs=("photos",),
        options={"summary": count, "data": split and split.fingerprint},
        commands=(
            study.command("invariance", *named, f"--summary={count}", images=True),
            study.command("figures", "--figure=5", f"--out={study.report / 'figures'}"),
        ),
        images=(count + photos.COUNT) * amounts,
        seconds=10,
        entry=Entry(
            "Figure 5: invariance",
            "4",
            "The distance in layer 1 should jump at the smallest change; in layer 7 it should"
            " grow slowly and nearly in proportion.",
            "Layer 7 is quasi-linear for shifts and scale; nothing is invariant to rotation"
            " but symmetric objects.",
        ),
    )


def masked(study: Study) -> Step:
    """The arrays that Fig. 8 and Table 1 are made of."""
    run, effort, faces = study.run, study.effort, study.sources.faces
    drawn = not faces and run.config.data.source == "pictures" and "face" in run.class_names
    photos_, missing = None, None
    if faces or drawn:
        try:
            photos_ = _faces(study, faces)
        except (ValueError, OSError) as error:
            missing = str(error)
    else:
        missing = "it needs photos of faces with their landmarks: --faces=FOLDER"
    layers = _compared_layers(study)
    options = {
        "mask": MASK,
        "draws": effort.draws,
        "permutations": effort.permutations,
        "seed": SEED,
    }

    def make() -> Made:
        assert photos_ is not None  # or the step is missing
        arrays = correspondence.measure(
            run,
            photos_,
            layers,
            mask=MASK,
            draws=effort.draws,
            permutations=effort.permutations,
            seed=SEED,
            batch_size=_BATCH,
            progress=False,
        )
        path = _masked_path(study)
        write_arrays(path, arrays)
        source = {"folder": faces} if faces else {"pictures": "face"}
        images = {"images": len(photos_), "data": photos_.fingerprint, **source}
        info = provenance.of_run(run) | images | {"layers": list(layers), **options}
        write_json(path.with_suffix(".json"), info)
        return Made([path, path.with_suffix(".json")])

    return Step(
        name="masked",
        title="Covering eyes, noses and random places",
        make=make,
        options={"data": photos_ and photos_.fingerprint, "layers": list(layers), **options},
        commands=(_correspondence(study),),
        images=len(photos_ or ()) * (len(PARTS) + 2 * effort.draws),
        seconds=10,
        missing=missing,
    )


def fig8(study: Study) -> Step:
    def make() -> Made:
        arrays = _masked(study)
        files = draw(study, {"figure8": lambda: figure8(arrays, SHOWN_FACES, SHOWN_DRAWS)})
        return Made(files, _kind(study))

    command = f"python -m scripts.figures --figure=8 --arrays={_masked_path(study)}"
    return Step(
        "fig8",
        "Fig. 8: faces with parts covered",
        make,
        needs=("masked",),
        commands=(f"{command} --out={study.report / 'figures'}",),
        seconds=3,
        entry=Entry(
            "Figure 8: covered parts",
            "4.3",
            "The same part is covered in every image, or a place at random.",
        ),
    )


def table1_step(study: Study) -> Step:
    def make() -> Made:
        return Made(write_tables(study, "table1", table1(_masked(study))), _kind(study))

    return Step(
        "table1",
        "Table 1: whether parts correspond",
        make,
        needs=("masked",),
        commands=(_correspondence(study),),
        entry=Entry(
            "Table 1: correspondence",
            "4.3",
            "Lower is more alike: parts should lie below random places, more clearly in layer"
            " 5 than in layer 7.",
            "Layer 5: 0.067 to 0.079 for parts, 0.107 for random places; layer 7: 0.068 to"
            " 0.069 and 0.073.",
        ),
    )


def _correspondence(study: Study) -> str:
    """The command that measures and prints Table 1."""
    faces, effort = study.sources.faces, study.effort
    return study.command(
        "correspondence",
        f"--faces={faces}" if faces else "--pictures=face",
        *(f"--layer={layer}" for layer in _compared_layers(study)),
        f"--draws={effort.draws}",
        f"--permutations={effort.permutations}",
    )


def _named(study: Study) -> list[str]:
    """The flags of a command that name the photos."""
    if not study.sources.images:
        photo = study.report / "photos" / "ROW.png"
        return [f"--image={photo}", "--label=CLASS"]
    images = [f"--image={path}" for path in study.sources.images]
    return images + [f"--label={label}" for label in study.sources.labels]


def _faces(study: Study, faces: str) -> PartPhotos:
    size = study.run.input_size[0]
    if faces:
        return parts.read_photos(faces, PARTS, size)
    return parts.draw_pictures("face", PARTS, DRAWN_FACES, size)


def _compared_layers(study: Study) -> tuple[str, ...]:
    """The last conv layer and the last layer before the softmax: 5 and 7 of the paper's net."""
    last = study.run.architecture.convs[-1].name
    return tuple(dict.fromkeys((last, invariance.first_and_last(study.run.architecture)[1])))


def _masked_path(study: Study) -> Path:
    faces = study.sources.faces
    name = Path(faces).resolve().name if faces else "pictures-face"
    folder = study.workdir / "analysis" / "correspondence"
    return folder / f"{name}-{study.run.step}.npz"


def _masked(study: Study) -> dict[str, np.ndarray]:
    """What the step `masked` has left."""
    with np.load(_masked_path(study)) as arrays:
        return dict(arrays)


def _kind(study: Study) -> list[str]:
    if study.sources.faces:
        return []
    return ["Drawn faces stand in for the paper's photos of dogs: the numbers do not compare."]
