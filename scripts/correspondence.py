"""Measures whether masking a part changes features alike in all images: Table 1 of the paper.

python -m scripts.correspondence --workdir=DIR --faces=FOLDER
python -m scripts.correspondence --workdir=DIR --pictures=face --count=15

FOLDER holds photos and a landmarks.json (zfnet_jax/data/landmarks.py); --pictures draws built-in
ones. The arrays, which Fig. 8 is drawn from, go to a folder of their own in
WORKDIR/studies/correspondence/.
"""

from __future__ import annotations

from absl import flags

from zfnet_jax.command import shell, step_flag, study_flags
from zfnet_jax.studies.correspondence.options import Options

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_OPTIONS = study_flags.define(Options)
_STEP = step_flag.define()
_BATCH = flags.DEFINE_integer("batch_size", 32, "Images per step.", lower_bound=1)


def main() -> None:
    from zfnet_jax import parallel  # after the flags, so that --help needs no jax
    from zfnet_jax.report.table import markdown
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies.correspondence import study
    from zfnet_jax.studies.correspondence.table import table1

    run, options = open_run(_WORKDIR.value, _STEP.value), _OPTIONS()
    images = study.read_images(run, options)
    result = study.measured(run, options, images, batch_size=_BATCH.value, progress=True)
    if not parallel.is_writer():
        return
    tables = table1(result.arrays, run.architecture.outputs)
    print(f"{run.checkpoint}: {result.folder}\n\n{markdown(tables)}")


if __name__ == "__main__":
    shell.run(main, several=True)
