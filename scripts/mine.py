"""Finds what every feature map of a trained net responds to, and projects it to pixels.

python -m scripts.mine --workdir=DIR [--split=validation] [--step=N]

For every map of every conv layer the images with the strongest activations (paper, Fig. 2). They go
to a folder of their own in WORKDIR/studies/features/; what is mined with other options lies beside
it. The same command again goes on with a pass over the images that was stopped.
"""

from __future__ import annotations

from absl import flags

from zfnet_jax.command import shell, step_flag, study_flags
from zfnet_jax.studies.features.options import Options

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_OPTIONS = study_flags.define(Options)
_STEP = step_flag.define()
_PREPARED = flags.DEFINE_string(
    "prepared_dir", None, "Images, if not the run's: prepared, or photos in class folders."
)
_BATCH = flags.DEFINE_integer("batch_size", None, "Images per step; as the run evaluates.")


def main() -> None:
    from zfnet_jax import parallel  # after the flags, so that --help needs no jax
    from zfnet_jax.runs import origins
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies import images
    from zfnet_jax.studies.features import mining, study, winners

    run, options = open_run(_WORKDIR.value, _STEP.value), _OPTIONS()
    result = study.measured(
        run,
        images.open_split(run, options.split, _PREPARED.value),
        options,
        batch_size=_BATCH.value,
        prepared_dir=_PREPARED.value,
        progress=True,
    )
    if not parallel.is_writer():
        return
    found = winners.load(result.folder)
    dead = ", ".join(
        f"{conv.name}{origins.in_brackets(conv.name, run.origins)}"
        f" {len(mining.dead_maps(found.winners, conv.name))} of {conv.maps}"
        for conv in run.architecture.convs
    )
    print(f"{run.checkpoint}: {result.folder}; dead maps: {dead}")


if __name__ == "__main__":
    shell.run(main, several=True)
