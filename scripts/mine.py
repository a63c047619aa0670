"""Finds what every feature map of a trained net responds to, and projects it to pixels.

python -m scripts.mine --workdir=DIR [--split=validation] [--step=N]

For every map of every conv layer the images with the strongest activations (paper, Fig. 2). The
same command again goes on with a pass over the images that was stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from absl import flags

from zfnet_jax.command import inputs, processes, shell

if TYPE_CHECKING:
    from zfnet_jax.deconvnet import Rectify
    from zfnet_jax.pooling import Overlap

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_SPLIT = flags.DEFINE_enum("split", "validation", ["train", "validation"], "Images to search.")
_STEP = flags.DEFINE_integer("step", None, "Step of the checkpoint; the newest if not given.")
_K = flags.DEFINE_integer("k", 9, "Winners per map.", lower_bound=1)
_ALL_POSITIONS = flags.DEFINE_bool("all_positions", False, "Several winners per image may count.")
_UNIT_VALUE = flags.DEFINE_float(
    "unit_value", None, "Value that projections start from; the recorded activation if not given."
)
_RECTIFY = flags.DEFINE_enum(
    "rectify", "deconvnet", ["deconvnet", "forward_mask", "guided"], "Rectification going down."
)
_OVERLAP = flags.DEFINE_enum(
    "overlap", "sum", ["sum", "max", "mean", "overwrite"], "Rule of unpooling."
)
_PREPARED = flags.DEFINE_string("prepared_dir", None, "Prepared images, if not the run's.")
_BATCH = flags.DEFINE_integer("batch_size", None, "Images per step; as the run evaluates.")


def main() -> None:
    from zfnet_jax import parallel  # after the flags, so that --help needs no jax
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies.features import mined_folder, mining

    processes.join()
    run = open_run(_WORKDIR.value, _STEP.value)
    split = inputs.open_split(run, _SPLIT.value, _PREPARED.value)
    folder = mined_folder.folder_of(run, _SPLIT.value)
    found = mined_folder.make(
        run,
        split,
        folder,
        split_name=_SPLIT.value,
        k=_K.value,
        one_per_image=not _ALL_POSITIONS.value,
        unit_value=_UNIT_VALUE.value,
        rectify=cast("Rectify", _RECTIFY.value),
        overlap=cast("Overlap", _OVERLAP.value),
        batch_size=_BATCH.value or run.config.eval_batch_size,
        progress=True,
    )
    if parallel.is_writer():
        dead = ", ".join(
            f"{conv.name} {len(mining.dead_maps(found, conv.name))} of {conv.maps}"
            for conv in run.architecture.convs
        )
        print(f"step {run.step}: {folder}; dead maps: {dead}")


if __name__ == "__main__":
    shell.run(main)
