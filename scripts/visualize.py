"""Draws what every layer of a trained net sees in a photo.

python -m scripts.visualize --workdir=DIR --image=PHOTO --out=FILE.png

Beside the picture its arrays are saved, FILE.npz. With --unit one unit alone, by any rule:

python -m scripts.visualize --workdir=DIR --image=PHOTO --unit=conv5:17 --out=FILE.png
"""

from __future__ import annotations

import numpy as np
from absl import flags

from zfnet_jax.command import outputs, shell, step_flag, study_flags
from zfnet_jax.studies.layers.options import StrongestOptions, UnitOptions, unit_of

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_OPTIONS = study_flags.define(StrongestOptions)
_OUT = flags.DEFINE_string("out", None, "The picture to write: .png, .pdf or .svg.", required=True)
_STEP = step_flag.define()
_UNIT = study_flags.define(UnitOptions)


def main() -> None:
    from zfnet_jax.files import write_arrays
    from zfnet_jax.report import figures
    from zfnet_jax.runs.run import load_photo, open_run
    from zfnet_jax.studies.layers import strongest  # after the flags, so that --help needs no jax
    from zfnet_jax.studies.layers.strongest_figure import figure_strongest

    out = outputs.file(_OUT.value, outputs.PICTURES)
    run = open_run(_WORKDIR.value, _STEP.value)
    options = _OPTIONS()
    photo = load_photo(options.image, run.config.data.image_size)
    one = _UNIT()
    if one.unit is None:
        arrays = strongest.strongest_maps(run, photo, options.maps, options.layers)
    else:
        arrays = strongest.one_unit(run, photo, *unit_of(one.unit), one.rectify, one.overlap)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(out.with_suffix(".npz"), arrays)
    drawn = arrays | {"class_names": np.array(run.class_titles)}
    with figures.use("screen"):
        figures.save(figure_strongest(drawn, run.origins), out, note=run.note)
    if run.class_names:
        best = np.argsort(-arrays["probabilities"], kind="stable")[:3]
        answer = (f"{run.class_titles[n]} {arrays['probabilities'][n]:.1%}" for n in best)
        print(f"the net's answer: {', '.join(answer)}")
    beyond = [n for n in arrays["layers"] if not np.isfinite(arrays[f"{n}/projection"]).all()]
    if beyond:
        print(f"{', '.join(beyond)}: projections that go beyond float32 are drawn grey")
    print(f"{run.checkpoint}: {out}, its arrays in {out.with_suffix('.npz')}")


if __name__ == "__main__":
    shell.run(main)
