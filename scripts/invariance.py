"""Measures how features and the answer change as photos are moved, enlarged and turned.

python -m scripts.invariance --workdir=DIR [--image=PHOTO --label=CLASS ...] [--summary=N]

The curves of the paper's Fig. 5, for the photos named and over N images of a split, go each to a
folder of their own in WORKDIR/studies/invariance/. Without --label a photo's class is the name of
its folder. A range is FIRST:LAST:STEP; the paper's stand for those not given, "" leaves a
transformation out.
"""

from __future__ import annotations

from absl import flags

from zfnet_jax.command import shell, step_flag, study_flags
from zfnet_jax.studies.invariance.options import Options

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_OPTIONS = study_flags.define(Options)
_PREPARED = flags.DEFINE_string(
    "prepared_dir", None, "Images, if not the run's: prepared, or photos in class folders."
)
_STEP = step_flag.define()


def main() -> None:
    from zfnet_jax import parallel  # after the flags, so that --help needs no jax
    from zfnet_jax.report.table import markdown
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies import images
    from zfnet_jax.studies.invariance import study
    from zfnet_jax.studies.invariance.table import tables_of

    options = _OPTIONS()
    if not options.images and not options.count:
        raise ValueError("invariance needs at least one image: give --image or --summary")
    run = open_run(_WORKDIR.value, _STEP.value)
    progress, results = parallel.is_writer(), []
    if options.images:
        results.append(study.of_photos(run, options.of_photos(), progress=progress))
    if options.count:
        split = images.open_split(run, options.split, _PREPARED.value)
        many = options.of_split()
        results.append(
            study.of_split(run, split, many, prepared_dir=_PREPARED.value, progress=progress)
        )
    if not parallel.is_writer():
        return
    for result in results:
        images = len(result.arrays["labels"])
        print(f"{run.checkpoint}: {result.folder}, {images} image{'s' * (images > 1)}\n")
        print(markdown(tables_of(result.arrays)) + "\n")


if __name__ == "__main__":
    shell.run(main, several=True)
