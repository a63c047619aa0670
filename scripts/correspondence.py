"""Measures whether masking a part changes features alike in all images: Table 1 of the paper.

python -m scripts.correspondence --workdir=DIR --faces=FOLDER
python -m scripts.correspondence --workdir=DIR --pictures=face --count=15

FOLDER holds photos and a landmarks.json (zfnet_jax/data/landmarks.py); --pictures draws built-in
ones. The arrays, which Fig. 8 is drawn from, go to WORKDIR/analysis/correspondence/.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from zfnet_jax.command import shell
from zfnet_jax.data.pictures import OBJECTS, TRANSFER

if TYPE_CHECKING:
    from zfnet_jax.data.landmarks import PartPhotos

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_FACES = flags.DEFINE_string("faces", None, "Folder of photos with a landmarks.json.")
_PICTURES = flags.DEFINE_enum(
    "pictures", None, [*OBJECTS, *TRANSFER], "Class of built-in pictures, instead of photos."
)
_COUNT = flags.DEFINE_integer("count", 15, "Built-in pictures.")
_PARTS = flags.DEFINE_list("parts", ["right_eye", "left_eye", "nose"], "Parts to mask.")
_LAYERS = flags.DEFINE_multi_string(
    "layer", ["conv5", "fc7"], "An activation such as pool5 or fc6; may be repeated."
)
_MASK = flags.DEFINE_float("mask", 0.2, "Side of the grey square, as a share of the face's.")
_DRAWS = flags.DEFINE_integer("draws", 100, "Random places per image.")
_PERMUTATIONS = flags.DEFINE_integer("permutations", 9999, "Of the test against random places.")
_SEED = flags.DEFINE_integer("seed", 0, "Of places and permutations.", lower_bound=0)
_STEP = flags.DEFINE_integer("step", None, "Step of the checkpoint; the newest if not given.")
_BATCH = flags.DEFINE_integer("batch_size", 32, "Images per step.", lower_bound=1)


def main() -> None:
    from zfnet_jax.files import write_arrays, write_json
    from zfnet_jax.report.table import markdown
    from zfnet_jax.runs import provenance  # after the flags, so that --help needs no jax
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies.correspondence import measure as correspondence
    from zfnet_jax.studies.correspondence.table import table1

    run = open_run(_WORKDIR.value, _STEP.value)
    photos, name, source = _photos(run.input_size[0])
    options: dict[str, Any] = {
        "mask": _MASK.value,
        "draws": _DRAWS.value,
        "permutations": _PERMUTATIONS.value,
        "seed": _SEED.value,
    }
    arrays = correspondence.measure(run, photos, _LAYERS.value, **options, batch_size=_BATCH.value)
    path = Path(_WORKDIR.value) / "analysis" / "correspondence" / f"{name}-{run.step}.npz"
    write_arrays(path, arrays)
    images = {"images": len(photos), "data": photos.fingerprint, **source}
    info = provenance.of_run(run) | images | {"layers": _LAYERS.value, **options}
    write_json(path.with_suffix(".json"), info)
    print(f"step {run.step}: {path}\n\n{markdown(table1(arrays))}")


def _photos(size: int) -> tuple[PartPhotos, str, dict[str, Any]]:
    """The photos, a name for the result, and what they are."""
    from zfnet_jax.data import landmarks as parts

    faces, pictures = _FACES.value, _PICTURES.value
    if faces is not None and pictures is None:
        photos = parts.read_photos(faces, _PARTS.value, size)
        return photos, Path(faces).resolve().name, {"folder": faces}
    if pictures is not None and faces is None:
        photos = parts.draw_pictures(pictures, _PARTS.value, _COUNT.value, size)
        return photos, f"pictures-{pictures}", {"pictures": pictures}
    raise ValueError("give either --faces=FOLDER or --pictures=CLASS")


if __name__ == "__main__":
    shell.run(main)
