"""Makes the atlas of a run: a web page of every feature map, which opens from the file system.

python -m scripts.atlas --workdir=DIR [--split=validation] [--step=best]
python -m scripts.atlas --workdir=DIR --arrays=FOLDER [--arrays=FOLDER ...]

Needs the winners that `python -m scripts.mine` leaves; every checkpoint that was mined becomes a
place on the page's epoch slider, unless --step names one. Of what was mined with several options
(--k among them) it shows the paper's, or the folders that are named. It goes to
WORKDIR/report/atlas, or to --out.
"""

from __future__ import annotations

import sys
from pathlib import Path

from absl import flags

from zfnet_jax.command import inputs, outputs, shell, step_flag

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_SPLIT = flags.DEFINE_string("split", None, "The split; validation where several were mined.")
_STEP = step_flag.define("every one that was mined")
_OUT = flags.DEFINE_string("out", None, "Folder to write into; WORKDIR/report/atlas.")
_ARRAYS = flags.DEFINE_multi_string(
    "arrays", [], "What was mined, instead of looking for it: a folder for each checkpoint."
)


def main() -> None:
    from zfnet_jax.studies import saved  # after the flags, so that --help needs no jax
    from zfnet_jax.studies.features import atlas

    if _ARRAYS.value:
        results = [saved.load(folder) for folder in _ARRAYS.value]
    else:
        results = inputs.mined_alike(_WORKDIR.value, _SPLIT.value, step=_STEP.value, same_k=True)
    default = Path(_WORKDIR.value) / "report" / "atlas"
    out = outputs.folder(_OUT.value) if _OUT.value else default
    atlas.write_atlas([one.folder for one in results], out, progress=sys.stderr.isatty())
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    steps = ", ".join(str(one.about["step"]) for one in results)
    print(f"steps {steps}, {size / 1e6:.1f} MB: {out / 'index.html'}")


if __name__ == "__main__":
    shell.run(main)
