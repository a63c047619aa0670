"""Sets the reports of several runs side by side on one page.

python -m scripts.compare --workdir=DIR --workdir=DIR --out=FOLDER

Each run must have been reproduced (scripts.reproduce). The page opens from the file system.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from zfnet_jax.command import outputs, shell, step_flag

_WORKDIRS = flags.DEFINE_multi_string("workdir", None, "Folder of a run; repeat it.", required=True)
_STEP = step_flag.define("any", "that each report must be of")
_OUT = flags.DEFINE_string("out", None, "The folder to write into.", required=True)


def main() -> None:
    from zfnet_jax.reproduce import comparison  # after the flags, so that --help needs nothing

    print(
        comparison.write_comparison(
            [Path(path) for path in _WORKDIRS.value], outputs.folder(_OUT.value), _STEP.value
        )
    )


if __name__ == "__main__":
    shell.run(main)
